//! `fmt`: which files, what is printed, exit codes, and what is never touched.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt, symlink};
use std::path::PathBuf;

use crate::folder::{Folder, Said};

const WRONG: &str = "a=1\nlong = \"${b}\"\n";
const RIGHT: &str = "a    = 1\nlong = b\n";
const BAD: &str = "a = \"x\n";

fn folder(files: &[(&str, &str)]) -> Folder {
    let folder = Folder::new();
    for (name, text) in files {
        if let Some(parent) = folder.path(name).parent() {
            fs_err::create_dir_all(parent).expect("a folder can be made");
        }
        folder.write(name, text);
    }
    folder
}

#[track_caller]
fn said(said: &Said, code: i32, stdout: &str) {
    assert_eq!((said.code, said.stdout.as_str()), (Some(code), stdout), "{}", said.all());
}

#[test]
fn files_of_the_folder_are_written_and_named() {
    let folder = folder(&[
        ("main.hcl", WRONG),
        ("b.vars.hcl", WRONG),
        ("c.test.hcl", WRONG),
        ("right.hcl", RIGHT),
        (".hidden.hcl", WRONG),
        ("lustre.lock.hcl", WRONG),
        ("readme.md", WRONG),
        ("below/main.hcl", WRONG),
    ]);
    said(&folder.run("fmt"), 0, "b.vars.hcl\nc.test.hcl\nmain.hcl\n");
    for name in ["main.hcl", "b.vars.hcl", "c.test.hcl", "right.hcl"] {
        assert_eq!(folder.read(name), RIGHT, "{name}");
    }
    for name in [".hidden.hcl", "lustre.lock.hcl", "readme.md", "below/main.hcl"] {
        assert_eq!(folder.read(name), WRONG, "{name}");
    }
    said(&folder.run("fmt"), 0, "");
    assert!(!folder.names().iter().any(|name| name.ends_with(".new")), "{:?}", folder.names());
}

#[test]
fn folders_below_are_formatted_when_asked_but_not_hidden_or_linked_ones() {
    let folder = folder(&[
        ("a/b/x.hcl", WRONG),
        ("a/y.hcl", WRONG),
        (".lustre/z.hcl", WRONG),
        (".git/z.hcl", WRONG),
        ("z.hcl", RIGHT),
    ]);
    let outside = self::folder(&[("o.hcl", WRONG)]);
    symlink(outside.path(""), folder.path("linked")).expect("a link can be made");
    said(&folder.run("fmt -recursive"), 0, "a/b/x.hcl\na/y.hcl\n");
    assert_eq!(folder.read(".lustre/z.hcl"), WRONG);
    assert_eq!(folder.read(".git/z.hcl"), WRONG);
    assert_eq!(outside.read("o.hcl"), WRONG);
}

#[test]
fn check_changes_nothing_and_exits_3() {
    let folder = folder(&[("main.hcl", WRONG), ("right.hcl", RIGHT)]);
    said(&folder.run("fmt -check"), 3, "main.hcl\n");
    said(&folder.run("fmt -check -list=false"), 3, "");
    said(&folder.run("fmt -check right.hcl"), 0, "");
    assert_eq!(folder.read("main.hcl"), WRONG);
}

#[test]
fn a_diff_is_unified() {
    let folder = folder(&[("main.hcl", WRONG)]);
    let diff =
        "--- old/main.hcl\n+++ new/main.hcl\n@@ -1,2 +1,2 @@\n-a=1\n-long = \"${b}\"\n+a    = 1\n+long = b\n";
    said(&folder.run("fmt -diff -write=false -list=false"), 0, diff);
    said(&folder.run("fmt -diff -check"), 3, &format!("main.hcl\n{diff}"));
    assert_eq!(folder.read("main.hcl"), WRONG);
    said(&folder.run("fmt -diff"), 0, &format!("main.hcl\n{diff}"));
    assert_eq!(folder.read("main.hcl"), RIGHT);
    folder.write("main.hcl", "a=1");
    let diff = "--- old/main.hcl\n+++ new/main.hcl\n@@ -1 +1 @@\n-a=1\n\\ No newline at end of file\n+a = 1\n\
                \\ No newline at end of file\n";
    said(&folder.run("fmt -diff -list=false"), 0, diff);
}

#[test]
fn nothing_is_written_when_not_asked_and_the_result_can_be_printed() {
    let folder = folder(&[("main.hcl", WRONG)]);
    said(&folder.run("fmt -write=false"), 0, "main.hcl\n");
    said(&folder.run("fmt -write=false -list=false"), 0, RIGHT);
    said(&folder.run("fmt -write=false -list=false main.hcl main.hcl"), 0, &RIGHT.repeat(2));
    assert_eq!(folder.read("main.hcl"), WRONG);
    said(&folder.run("fmt -list=false"), 0, "");
    assert_eq!(folder.read("main.hcl"), RIGHT);
}

#[test]
fn standard_input_goes_to_standard_output() {
    let folder = Folder::new();
    said(&folder.answer("fmt -", WRONG), 0, RIGHT);
    said(&folder.answer("fmt -", RIGHT), 0, RIGHT);
    said(&folder.answer("fmt -check -", WRONG), 3, "");
    said(&folder.answer("fmt -check -", RIGHT), 0, "");
    let bad = folder.answer("fmt -", BAD);
    said(&bad, 1, "");
    assert!(bad.stderr.contains("<stdin>:1:"), "{}", bad.all());
    let bytes = folder.answer("fmt -", b"a = 1\nb = \"\xc3\xa4\xff\"\n");
    assert_eq!(bytes.code, Some(1), "{}", bytes.all());
    assert!(bytes.stderr.contains("<stdin>:2:7 is not UTF-8"), "{}", bytes.all());
    let both = folder.answer("fmt - main.hcl", WRONG);
    said(&both, 1, "");
    assert!(both.stderr.contains("give `-` alone"), "{}", both.all());
}

#[test]
fn bad_files_are_told_with_their_places_and_the_good_ones_are_written() {
    let folder =
        folder(&[("a.hcl", BAD), ("b.hcl", WRONG), ("c.hcl", "x {\n"), ("d.txt", ""), ("e.hcl", RIGHT)]);
    fs_err::write(folder.path("latin.hcl"), b"a = \"\xe9\"\n").expect("a file can be written");
    let all = folder.run("fmt . d.txt missing.hcl");
    assert_eq!((all.code, all.stdout.as_str()), (Some(1), "b.hcl\n"), "{}", all.all());
    for part in
        ["a.hcl:1:", "c.hcl:1:", "1 │ a = \"x", "d.txt is not a file *.hcl", "missing.hcl", "latin.hcl"]
    {
        assert!(all.stderr.contains(part), "{part}: {}", all.all());
    }
    assert_eq!((folder.read("a.hcl"), folder.read("b.hcl")), (BAD.to_owned(), RIGHT.to_owned()));
    let check = folder.run("fmt -check a.hcl b.hcl");
    assert_eq!(
        check.code,
        Some(1),
        "a file that cannot be read comes before one that differs: {}",
        check.all()
    );
}

#[test]
fn modes_links_and_read_only_files_are_respected() {
    let folder = folder(&[("main.hcl", WRONG), ("real/target.txt", WRONG)]);
    let mode =
        |name: &str| fs_err::metadata(folder.path(name)).expect("it is there").permissions().mode() & 0o777;
    fs_err::set_permissions(folder.path("main.hcl"), PermissionsExt::from_mode(0o640))
        .expect("a mode can be set");
    symlink("real/target.txt", folder.path("link.hcl")).expect("a link can be made");
    symlink("nowhere", folder.path("dangling.hcl")).expect("a link can be made");
    let before = fs_err::metadata(folder.path("main.hcl")).expect("it is there").ino();
    said(&folder.run("fmt"), 0, "link.hcl\nmain.hcl\n");
    assert_eq!(mode("main.hcl"), 0o640);
    let after = fs_err::metadata(folder.path("main.hcl")).expect("it is there").ino();
    assert_ne!(before, after, "the file is replaced, not rewritten");
    assert!(folder.path("link.hcl").is_symlink());
    assert_eq!(folder.read("real/target.txt"), RIGHT);
    // Who may write anything is refused nothing.
    folder.write("main.hcl", WRONG);
    fs_err::set_permissions(folder.path("main.hcl"), PermissionsExt::from_mode(0o444))
        .expect("a mode can be set");
    let writable = fs_err::OpenOptions::new().write(true).open(folder.path("main.hcl")).is_ok();
    let refused = folder.run("fmt main.hcl");
    assert_eq!(refused.code, Some(i32::from(!writable)), "{}", refused.all());
    assert_eq!(mode("main.hcl"), 0o444);
}

#[test]
fn line_ends_of_windows_stay() {
    let folder = folder(&[("main.hcl", "a=1\r\nlong = 2 # x\r\n")]);
    said(&folder.run("fmt"), 0, "main.hcl\n");
    assert_eq!(folder.read("main.hcl"), "a    = 1\r\nlong = 2 # x\r\n");
}

#[test]
fn the_examples_and_the_docs_are_in_canonical_form() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let folder = Folder::new();
    for specs in ["examples", "modules"] {
        let said = folder.run(&format!("fmt -check -recursive {}", root.join(specs).display()));
        assert_eq!(said.code, Some(0), "{}", said.all());
    }
    let mut checked = 0;
    for name in ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "examples/quickstart/README.md"] {
        let text = fs_err::read_to_string(root.join(name)).expect("a page can be read");
        for snippet in text.split("```hcl\n").skip(1).filter_map(|rest| rest.split("```").next()) {
            let said = folder.answer("fmt -check -diff -", snippet);
            assert_eq!(said.code, Some(0), "{name}: {}", said.all());
            checked += 1;
        }
    }
    assert!(checked > 0, "no page has a snippet");
}
