//! `-json-into=FILE`: words on the terminal, and what `-json` prints in a file.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::Value;

use crate::folder::Folder;

const SPEC: &str = "value \"a\" {\n  input = 1\n}\n\noutput \"a\" {\n  value = value.a.output\n}\n";

fn lines(folder: &Folder, name: &str) -> Vec<Value> {
    folder.read(name).lines().map(|line| serde_json::from_str(line).expect("each line is JSON")).collect()
}

fn types(lines: &[Value]) -> Vec<&str> {
    lines.iter().map(|line| line["type"].as_str().expect("every line has a type")).collect()
}

#[test]
fn plan_and_apply_print_words_and_leave_the_stream_in_a_file() {
    let folder = Folder::with(SPEC);
    let said = folder.must("plan -json-into=plan.jsonl");
    assert!(said.stdout.contains("value.a will be created"), "{}", said.all());
    assert_eq!(
        types(&lines(&folder, "plan.jsonl")),
        ["version", "planned_change", "change_summary", "outputs"]
    );
    let mode = fs_err::metadata(folder.path("plan.jsonl")).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    // It can ask, for a person reads.
    let said = folder.answer("apply -json-into apply.jsonl", "yes\n");
    assert_eq!(said.code, Some(0), "{}", said.all());
    assert!(
        said.stdout.contains("Apply complete!") && said.stderr.contains("value.a: Creating"),
        "{}",
        said.all()
    );
    let told = lines(&folder, "apply.jsonl");
    let types = types(&told);
    assert!(types.contains(&"apply_complete") && types.last() == Some(&"outputs"), "{types:?}");
    folder.must("destroy -auto-approve -json-into=destroy.jsonl");
    assert!(folder.read("destroy.jsonl").contains("\"remove\":1"), "{}", folder.read("destroy.jsonl"));
}

#[test]
fn a_failure_is_told_in_both() {
    let folder = Folder::with("value \"a\" {\n  input = var.absent\n}\n");
    let said = folder.run("plan -json-into=plan.jsonl");
    assert_eq!(said.code, Some(1), "{}", said.all());
    assert!(said.stderr.contains("absent"), "{}", said.all());
    let told = lines(&folder, "plan.jsonl");
    assert_eq!(types(&told), ["version", "diagnostic"], "{told:#?}");
}

#[test]
fn validate_leaves_its_one_document() {
    let folder = Folder::with("value \"a\" {\n  input = var.absent\n}\n");
    let said = folder.run("validate -json-into=validate.json");
    assert_eq!(said.code, Some(1), "{}", said.all());
    assert!(said.stderr.contains("absent"), "{}", said.all());
    let document: Value = serde_json::from_str(&folder.read("validate.json")).expect("it is one document");
    assert_eq!(document["error_count"], 1);
    folder.write("main.hcl", SPEC);
    let said = folder.must("validate -json-into=validate.json");
    assert!(said.stdout.contains("Success!"), "{}", said.all());
    let document: Value = serde_json::from_str(&folder.read("validate.json")).expect("it is one document");
    assert_eq!(document["valid"], true);
}

#[test]
fn a_file_that_cannot_be_written_is_refused_before_anything_is_done() {
    let folder = Folder::with(SPEC);
    let said = folder.run("apply -auto-approve -json-into=absent/apply.jsonl");
    assert_eq!(said.code, Some(1), "{}", said.all());
    assert!(said.stderr.contains("absent/apply.jsonl"), "it names the file: {}", said.all());
    assert_eq!(folder.names(), ["main.hcl"], "nothing was applied");
    assert_eq!(folder.run("plan -json -json-into=x").code, Some(1), "one of both");
}

#[test]
fn a_stream_that_cannot_be_gone_on_with_does_not_stop_the_work() {
    let folder = Folder::with(SPEC);
    let said = folder.must("apply -auto-approve -json-into=/dev/full");
    assert!(said.stderr.contains("the event stream in /dev/full is cut off"), "{}", said.all());
    assert_eq!(folder.must("state list").stdout, "value.a\n");
}
