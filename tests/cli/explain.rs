//! `explain`: every code that the sources can give is explained, and every example gives its code.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::folder::Folder;

/// Codes that only tests use.
const OF_TESTS: [&str; 1] = ["W0001"];

fn texts() -> String {
    fs_err::read_to_string(root().join("src/command/explain/codes.md")).expect("the texts are there")
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Codes in the sources, outside of tests.
fn used() -> BTreeSet<String> {
    let mut waiting: Vec<PathBuf> = ["planner", "state", "src"].map(|folder| root().join(folder)).to_vec();
    let mut codes = BTreeSet::new();
    while let Some(folder) = waiting.pop() {
        for entry in fs_err::read_dir(folder).expect("a folder can be read").flatten() {
            let path = entry.path();
            if path.is_dir() && path.file_name().is_some_and(|name| name != "tests") {
                waiting.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") {
                codes.extend(codes_in(&path));
            }
        }
    }
    codes.into_iter().filter(|code| !OF_TESTS.contains(&code.as_str())).collect()
}

fn codes_in(path: &Path) -> Vec<String> {
    let text = fs_err::read_to_string(path).expect("a source can be read");
    let text = text.split("\n#[cfg(test)]").next().unwrap_or_default();
    let quoted = text.split('"');
    let is_code = |word: &&str| {
        word.len() == 5 && word.starts_with(['E', 'W']) && word[1..].bytes().all(|byte| byte.is_ascii_digit())
    };
    quoted.filter(is_code).map(str::to_owned).collect()
}

/// Code and title, with the text up to the next.
fn sections(texts: &str) -> Vec<(&str, &str)> {
    texts.split("\n## ").skip(1).filter_map(|section| section.split_once(' ')).collect()
}

#[test]
fn every_code_is_explained_and_every_explanation_has_its_code() {
    let texts = texts();
    let explained: Vec<&str> = sections(&texts).into_iter().map(|(code, _)| code).collect();
    let mut sorted = explained.clone();
    sorted.sort_unstable();
    sorted.dedup();
    assert_eq!(explained, sorted, "codes are in order, each once");
    let used = used();
    let explained: BTreeSet<String> = explained.into_iter().map(str::to_owned).collect();
    let missing: Vec<_> = used.difference(&explained).collect();
    let stale: Vec<_> = explained.difference(&used).collect();
    assert!(missing.is_empty() && stale.is_empty(), "missing: {missing:?}, stale: {stale:?}");
}

/// The fences of a section: file name and text.
fn fences(section: &str) -> Vec<(&str, &str)> {
    section
        .split("\n```hcl")
        .skip(1)
        .filter_map(|rest| {
            let (name, text) = rest.split_once('\n')?;
            let name = if name.trim().is_empty() { "main.hcl" } else { name.trim() };
            Some((name, text.split("\n```").next().unwrap_or(text)))
        })
        .collect()
}

/// The words of the command that an example is run with, where it says one.
fn command(section: &str) -> Option<&str> {
    let (_, rest) = section.split_once("\n```console\n$ lustre ")?;
    rest.lines().next()
}

#[test]
fn every_example_gives_its_code() {
    let texts = texts();
    let (mut run, mut wrong) = (0, Vec::new());
    for (code, section) in sections(&texts) {
        let files = fences(section);
        if files.is_empty() {
            continue;
        }
        let folder = Folder::new();
        for (name, text) in files {
            if let Some(parent) = Path::new(name).parent() {
                fs_err::create_dir_all(folder.path(&parent.to_string_lossy())).expect("a folder can be made");
            }
            folder.write(name, &format!("{text}\n"));
        }
        run += 1;
        if let Some(words) = command(section) {
            let said = folder.run(words);
            if !said.stderr.contains(code) {
                wrong.push(format!("{code}: {}", said.all()));
            }
            continue;
        }
        let said = folder.run("validate");
        if !said.stderr.contains(code) {
            let planned = folder.run("plan -refresh=false -input=false");
            let tested = || folder.run("test");
            if !planned.stderr.contains(code) && !tested().stderr.contains(code) {
                wrong.push(format!("{code}: {}", planned.all()));
            }
        }
    }
    assert!(run > 60, "only {run} examples were found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_code_is_explained_in_any_case_and_an_unknown_one_is_refused() {
    let folder = Folder::new();
    let text = folder.must("explain e0301").stdout;
    assert!(text.starts_with("E0301: ") && text.contains("local"), "{text}");
    assert!(folder.must("explain").stdout.lines().count() > 60);
    let said = folder.run("explain E9999");
    assert_eq!(said.code, Some(1), "{}", said.all());
}
