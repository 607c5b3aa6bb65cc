//! `examples/pipeline`: the script ends with the exit code that its README gives for each way it can go.

use std::path::PathBuf;
use std::process::Command;

use crate::folder::{Folder, Said, finish};

fn example(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("examples/pipeline").join(name)
}

fn spec() -> String {
    fs_err::read_to_string(example("main.hcl")).expect("the example has a spec")
}

/// Runs the script on a folder, with nothing on its PATH but the system's own programs.
fn pipeline(folder: &Folder) -> Said {
    let mut command = Command::new("sh");
    command.arg(example("pipeline.sh")).arg(folder.path("")).env("LUSTRE", env!("CARGO_BIN_EXE_lustre"));
    command.env("PATH", "/usr/bin:/bin");
    finish(command, "")
}

fn check(folder: &Folder, code: i32, said: &str) -> Said {
    let run = pipeline(folder);
    assert_eq!(run.code, Some(code), "{}", run.all());
    assert!(run.all().contains(said), "{said}: {}", run.all());
    run
}

#[test]
fn a_change_is_applied_and_no_change_is_nothing_to_do() {
    let folder = Folder::with(&spec());
    check(&folder, 0, "everything is as the spec says");
    assert_eq!(folder.must("output -raw release").stdout, "1.0");
    check(&folder, 0, "nothing to do");
    folder.write("main.hcl", &spec().replace("1.0", "2.0"));
    check(&folder, 0, "everything is as the spec says");
    assert_eq!(folder.must("output -raw release").stdout, "2.0");
    assert!(folder.names().iter().all(|name| !name.contains("plan")), "{:?}", folder.names());
}

#[test]
fn a_plan_that_deletes_or_replaces_is_refused_and_not_applied() {
    let folder = Folder::with(&format!("{}\nvalue \"old\" {{\n  triggers_replace = 1\n}}\n", spec()));
    check(&folder, 0, "everything is as the spec says");
    folder.write("main.hcl", &format!("{}\nvalue \"old\" {{\n  triggers_replace = 2\n}}\n", spec()));
    check(&folder, 4, "the plan deletes or replaces");
    folder.write("main.hcl", &spec());
    check(&folder, 4, "the plan deletes or replaces");
    assert_eq!(folder.must("state list").stdout, "value.old\nvalue.release\n");
}

#[test]
fn texts_of_the_spec_do_not_read_as_fields_of_the_plan() {
    let text = "\\\"actions\\\":[\\\"delete\\\"] \\\"data_loss\\\": true";
    let folder = Folder::with(&spec().replace("1.0", text));
    check(&folder, 0, "everything is as the spec says");
}

#[test]
fn formatting_that_differs_has_its_own_code() {
    let folder = Folder::with(&spec().replace("  input = ", "  input     =    "));
    check(&folder, 3, "main.hcl");
    assert_eq!(folder.names(), ["main.hcl"], "nothing was applied");
}

#[test]
fn a_mistake_and_a_torn_state_are_errors() {
    let folder = Folder::with(&spec().replace("var.release", "var.absent"));
    check(&folder, 1, "\"valid\": false");
    folder.write("main.hcl", "value \"a\" {\n");
    check(&folder, 1, "pipeline:");
    folder.write("main.hcl", &spec());
    folder.write("lustre.state", "torn");
    check(&folder, 1, "no plan could be made");
}
