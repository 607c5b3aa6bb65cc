//! The rules of `CONTRIBUTING.md` that a program can check, as ordinary tests.
//!
//! Reads the tracked files as text; builds nothing. Lengths of functions, arguments and bans of calls are clippy's
//! (`clippy.toml`, run by `make lint`).
//! Invariant: a rule that is not checked here or by clippy is a habit, not a rule.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Most lines of a file, tests inside not counted.
const FILE_LINES_MAX: usize = 600;

/// Most `expect` per 1000 lines outside tests, over the whole repository.
const EXPECTS_PER_KLOC_MAX: usize = 1;

/// Which of our crates each crate may use. Siblings never meet.
const ALLOWED: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("s3", &[]),
    ("fuse", &[]),
    ("language", &["model"]),
    ("plan", &["model", "language"]),
    ("apply", &["model", "wire"]),
    ("aws", &["model", "apply"]),
    ("store", &["model", "s3"]),
    ("wire", &["model"]),
    ("metadata", &["model"]),
    ("object", &["model"]),
    ("repository", &["model", "s3"]),
    ("mount", &["model", "wire", "fuse"]),
    ("agent", &["model", "wire", "metadata", "object", "repository"]),
    ("inputs", &["model", "language", "plan", "store"]),
];

/// The manifest of the fuzzers: a workspace of its own, so that nothing else needs libfuzzer.
const FUZZERS: &str = "fuzz/Cargo.toml";

/// Crates that hold no sockets and read no files, clock or randomness of their own.
const PURE: &[&str] =
    &["state/model", "planner/language", "planner/plan", "agents/metadata", "agents/object"];

/// What a pure crate must not name outside its tests.
const IMPURE: &[&str] = &[
    "std::fs",
    "fs_err",
    "std::net",
    "tokio::",
    "SystemTime::now",
    "Instant::now",
    "std::env::",
    "thread_rng",
    "rustix::",
];

/// File names that say nothing about their subject.
const EMPTY_NAMES: &[&str] = &["util", "utils", "common", "helper", "helpers", "manager", "misc", "mod"];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Files that git tracks or would track, relative to the root.
fn tracked(suffix: &str) -> Vec<PathBuf> {
    let listing = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output()
        .expect("git lists the files of this checkout");
    let text = String::from_utf8(listing.stdout).expect("paths are UTF-8");
    let files: BTreeSet<PathBuf> = text.lines().filter(|p| p.ends_with(suffix)).map(PathBuf::from).collect();
    assert!(suffix != ".rs" || files.len() > 10, "git lists hardly any {suffix} file");
    files.into_iter().filter(|path| root().join(path).exists()).collect()
}

fn read(path: &Path) -> String {
    fs_err::read_to_string(root().join(path)).expect("a tracked file can be read")
}

/// The file without its inline tests.
fn code(text: &str) -> &str {
    let cut = text.find("\n#[cfg(test)]\nmod ").or_else(|| text.find("\n#[cfg(test)]\n#[expect"));
    &text[..cut.unwrap_or(text.len())]
}

fn is_test(path: &Path) -> bool {
    path.components()
        .any(|part| ["tests", "benches", "fuzz"].iter().any(|folder| part.as_os_str() == *folder))
        || path.file_stem().is_some_and(|stem| stem == "tests")
}

/// Fails with every finding, one a line.
fn check(rule: &str, findings: &[String]) {
    assert!(findings.is_empty(), "{rule}:\n  {}", findings.join("\n  "));
}

/// Applies a rule to each line of code outside tests.
fn lines_with(rule: impl Fn(&str) -> bool) -> Vec<String> {
    let mut findings = Vec::new();
    for path in tracked(".rs").iter().filter(|path| !is_test(path)) {
        for (number, line) in code(&read(path)).lines().enumerate() {
            if rule(line) {
                findings.push(format!("{}:{}: {}", path.display(), number + 1, line.trim()));
            }
        }
    }
    findings
}

#[test]
fn every_file_says_at_its_door_what_it_is() {
    let missing: Vec<String> = tracked(".rs")
        .iter()
        .filter(|path| !read(path).starts_with("//!"))
        .map(|path| path.display().to_string())
        .collect();
    check("files that do not open with `//!`", &missing);
}

#[test]
fn no_file_outgrows_its_purpose() {
    let long: Vec<String> = tracked(".rs")
        .iter()
        .map(|path| (path, code(&read(path)).lines().count()))
        .filter(|(_, lines)| *lines > FILE_LINES_MAX)
        .map(|(path, lines)| format!("{} has {lines} lines", path.display()))
        .collect();
    check("split by noun or verb, not by size", &long);
}

#[test]
fn names_of_files_have_a_subject() {
    let empty: Vec<String> = tracked(".rs")
        .iter()
        .filter(|path| {
            path.iter().any(|part| {
                let name = part.to_string_lossy();
                EMPTY_NAMES.contains(&name.trim_end_matches(".rs"))
            })
        })
        .map(|path| path.display().to_string())
        .collect();
    check("name the subject instead", &empty);
}

#[test]
fn crates_use_only_what_the_house_allows() {
    let allowed: BTreeMap<&str, &[&str]> = ALLOWED.iter().copied().collect();
    let mut findings = Vec::new();
    for path in tracked("Cargo.toml").into_iter().filter(|path| path != Path::new(FUZZERS)) {
        let text = read(&path);
        let name = text.lines().find_map(|line| line.strip_prefix("name = \"")).unwrap_or("");
        let Some(name) = name.trim_end_matches('"').strip_prefix("lustre-") else { continue };
        let Some(may_use) = allowed.get(name) else {
            findings.push(format!("{name} is not in the map"));
            continue;
        };
        let dependencies = text.split("[dependencies]").nth(1).unwrap_or("");
        let dependencies = dependencies.split("\n[").next().unwrap_or("");
        for line in dependencies.lines() {
            let Some(rest) = line.strip_prefix("lustre-") else { continue };
            let used = rest.split(['.', ' ', '=']).next().unwrap_or(rest);
            if !may_use.contains(&used) {
                findings.push(format!("{name} must not use {used}"));
            }
        }
    }
    check("dependencies against the map of ARCHITECTURE.md", &findings);
}

#[test]
fn the_map_in_the_docs_is_the_map_that_is_checked() {
    let text = read(Path::new("ARCHITECTURE.md"));
    let mut findings = Vec::new();
    for (name, may_use) in ALLOWED {
        let uses = if may_use.is_empty() { "none of ours".to_owned() } else { may_use.join(", ") };
        if !text.contains(&format!("| {name} | {uses} |")) {
            findings.push(format!("no row `| {name} | {uses} |`"));
        }
    }
    check("ARCHITECTURE.md", &findings);
}

#[test]
fn pure_crates_touch_nothing_outside_themselves() {
    let mut findings = Vec::new();
    for path in tracked(".rs").iter().filter(|path| !is_test(path)) {
        if !PURE.iter().any(|krate| path.starts_with(krate)) {
            continue;
        }
        for (number, line) in code(&read(path)).lines().enumerate() {
            let bare = line.split("//").next().unwrap_or(line);
            if let Some(word) = IMPURE.iter().find(|word| bare.contains(**word)) {
                findings.push(format!("{}:{}: {word}", path.display(), number + 1));
            }
        }
    }
    check("take it as an argument or through a trait", &findings);
}

#[test]
fn every_dependency_has_a_reason() {
    let manifest = read(Path::new("Cargo.toml"));
    let section = manifest.split("[workspace.dependencies]").nth(1).expect("versions live in one place");
    let section = section.split("\n[").next().unwrap_or("");
    let unexplained: Vec<String> = section
        .lines()
        .filter(|line| line.contains('=') && !line.starts_with("lustre-") && !line.contains(" # "))
        .map(str::to_owned)
        .collect();
    check("dependencies without a reason", &unexplained);
    let elsewhere: Vec<String> = tracked("Cargo.toml")
        .iter()
        .filter(|path| path.components().count() > 1 && *path != Path::new(FUZZERS))
        .flat_map(|path| {
            let text = read(path);
            let deps = text.split("dependencies]").skip(1).map(|part| part.split("\n[").next().unwrap_or(""));
            deps.flat_map(str::lines)
                .filter(|line| line.contains('=') && !line.contains("workspace"))
                .map(|line| format!("{}: {line}", path.display()))
                .collect::<Vec<_>>()
        })
        .collect();
    check("versions outside the workspace's manifest", &elsewhere);
}

#[test]
fn fuzzers_use_libfuzzer_and_what_is_replayed_and_nothing_else() {
    let text = read(Path::new(FUZZERS));
    let dependencies = text.split("[dependencies]").nth(1).unwrap_or("").split("\n[").next().unwrap_or("");
    let names = dependencies.lines().filter_map(|line| line.split_once(" = ")).map(|(name, _)| name);
    assert_eq!(names.collect::<Vec<_>>(), ["lustre-inputs", "libfuzzer-sys"]);
    let lock = read(Path::new("Cargo.lock"));
    assert!(!lock.contains("libfuzzer"), "the workspace needs no libfuzzer");
}

#[test]
fn nothing_is_left_unfinished_or_globbed() {
    check(
        "unfinished places",
        &lines_with(|line| ["TODO", "FIXME", "XXX"].iter().any(|word| line.contains(word))),
    );
    check("glob imports", &lines_with(|line| line.trim_start().starts_with("use ") && line.contains("::*")));
    check(
        "catch-all errors",
        &lines_with(|line| line.contains("Message(String)") || line.trim() == "Unknown,"),
    );
}

#[test]
fn panics_on_input_are_not_written() {
    check("unwrap outside tests", &lines_with(|line| line.contains(".unwrap()")));
    let expects = lines_with(|line| line.contains(".expect(\""));
    let lines = lines_with(|_| true).len();
    assert!(
        expects.len() <= 1 + lines * EXPECTS_PER_KLOC_MAX / 1000,
        "{} expects in {lines} lines:\n  {}",
        expects.len(),
        expects.join("\n  ")
    );
}

#[test]
fn no_path_of_one_machine_is_tracked() {
    let needles = [concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/ho", "me/")];
    let mut findings = Vec::new();
    for suffix in [".rs", ".md", ".toml", ".hcl", ".sh", ".py", "Makefile"] {
        for path in tracked(suffix) {
            for (number, line) in read(&path).lines().enumerate() {
                if needles.iter().any(|needle| line.contains(needle)) {
                    findings.push(format!("{}:{}", path.display(), number + 1));
                }
            }
        }
    }
    check("make it relative or configurable", &findings);
}

#[test]
fn links_in_the_docs_lead_somewhere() {
    let mut findings = Vec::new();
    for path in tracked(".md") {
        let text = read(&path);
        for part in text.split("](").skip(1) {
            let link = part.split([')', '#']).next().unwrap_or("");
            let folder = path.parent().unwrap_or(Path::new(""));
            if link.is_empty() || link.contains("://") || root().join(folder).join(link).exists() {
                continue;
            }
            findings.push(format!("{}: {link}", path.display()));
        }
    }
    check("dead links", &findings);
}
