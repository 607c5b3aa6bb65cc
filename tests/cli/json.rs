//! What programs read: field names are Terraform's.

use serde_json::{Value, json};

use crate::folder::Folder;

const SPEC: &str = "value \"a\" {\n  input = 1\n}\n\noutput \"a\" {\n  value = value.a.output\n}\n";

#[test]
fn validate_reports_every_error_with_its_range_and_snippet() {
    let folder = Folder::with("value \"a\" {\n  input = var.absent\n}\n\nvalue \"b\" {\n  wrong = 1\n}\n");
    let said = folder.run("validate -json");
    assert_eq!(said.code, Some(1), "{}", said.all());
    let json = said.json();
    assert_eq!((&json["valid"], &json["error_count"]), (&json!(false), &json!(2)), "{json:#}");
    let first = &json["diagnostics"][0];
    assert_eq!(first["severity"], "error");
    assert_eq!(first["range"]["filename"], "main.hcl");
    assert_eq!(first["range"]["start"]["line"], 2);
    assert!(first["snippet"]["code"].as_str().is_some_and(|code| code.contains("var.absent")), "{first:#}");
    let folder = Folder::with(SPEC);
    let json = folder.must("validate -json").json();
    assert_eq!(
        json,
        json!({ "format_version": "1.0", "valid": true, "error_count": 0, "warning_count": 0, "diagnostics": [] })
    );
    assert!(folder.must("validate").stdout.contains("Success"));
}

#[test]
fn a_plan_has_the_fields_that_policies_read() {
    let folder = Folder::with(SPEC);
    folder.must("plan -out=p");
    let plan = folder.must("show -json p").json();
    assert!(plan["format_version"].is_string());
    let change = &plan["resource_changes"][0];
    assert_eq!(change["address"], "value.a");
    assert_eq!(
        (&change["mode"], &change["type"], &change["name"]),
        (&json!("managed"), &json!("value"), &json!("a"))
    );
    assert_eq!(change["change"]["actions"], json!(["create"]));
    assert_eq!(change["change"]["before"], Value::Null);
    assert_eq!(change["change"]["after"]["input"], json!(1));
    assert_eq!(plan["output_changes"]["a"]["actions"], json!(["create"]));
}

fn types(lines: &[Value]) -> Vec<&str> {
    lines.iter().map(|line| line["type"].as_str().expect("every line has a type")).collect()
}

#[test]
fn plan_and_apply_are_streams_of_events() {
    let folder = Folder::with(SPEC);
    let lines = folder.must("plan -json").lines();
    assert_eq!(types(&lines), ["version", "planned_change", "change_summary", "outputs"], "{lines:#?}");
    assert_eq!(lines[1]["change"]["resource"]["addr"], "value.a");
    assert_eq!(lines[1]["change"]["action"], "create");
    assert_eq!(lines[2]["changes"]["add"], 1);
    let refused = folder.run("apply -json");
    assert_eq!(refused.code, Some(1), "it cannot ask: {}", refused.all());

    let lines = folder.must("apply -json -auto-approve").lines();
    let expected = [
        "version",
        "planned_change",
        "change_summary",
        "outputs",
        "apply_start",
        "apply_complete",
        "change_summary",
        "outputs",
    ];
    assert_eq!(types(&lines), expected, "{lines:#?}");
    assert_eq!(lines[5]["hook"]["resource"]["addr"], "value.a");
    assert_eq!(lines[5]["hook"]["action"], "create");
    assert_eq!(lines[7]["outputs"]["a"]["value"], 1);
    for line in &lines {
        for field in ["@level", "@message", "@module", "@timestamp"] {
            assert!(line[field].is_string(), "{field}: {line}");
        }
    }
}

#[test]
fn errors_of_a_stream_are_lines_of_it() {
    let folder = Folder::with("value \"a\" {\n  input = var.absent\n}\n");
    let said = folder.run("plan -json");
    assert_eq!(said.code, Some(1));
    let lines = said.lines();
    let last = lines.last().expect("there are lines");
    assert_eq!((&last["type"], &last["@level"]), (&json!("diagnostic"), &json!("error")));
    assert_eq!(last["diagnostic"]["range"]["start"]["line"], 2);
}

#[test]
fn the_version_is_told() {
    let folder = Folder::new();
    let json = folder.must("version -json").json();
    assert_eq!(json["lustre_version"], env!("CARGO_PKG_VERSION"));
    assert!(folder.must("version").stdout.starts_with("lustre "));
    assert!(folder.must("-version").stdout.contains(env!("CARGO_PKG_VERSION")));
}
