//! What people see: texts of whole plans, kept as snapshots.

use crate::harness::{applied, carry_out, destroyed, nothing, options, planned, try_plan};
use lustre_plan::render::{json, text};

const QUICKSTART: &str = include_str!("../../../../examples/quickstart/main.hcl");

fn quickstart(targets: &str, world: &lustre_model::recorded::World) -> lustre_model::plan::Plan {
    let vars = [("root", "/srv/demo"), ("targets", targets)];
    try_plan(QUICKSTART, &vars, world, &options()).unwrap_or_else(|told| panic!("{told}"))
}

fn pretty(json: &serde_json::Value) -> String {
    serde_json::to_string_pretty(json).expect("JSON is written")
}

#[test]
fn quickstart_from_nothing() {
    let plan = quickstart("4", &nothing());
    insta::assert_snapshot!(text::plan(&plan).plain());
    insta::assert_snapshot!("quickstart_json", pretty(&json::plan(&plan)["resource_changes"][0]));
    let world = carry_out(&plan, &nothing());
    let again = quickstart("4", &world);
    assert_eq!(text::plan(&again).plain(), "No changes. Everything is as the spec says.\n");
    insta::assert_snapshot!("quickstart_grows", text::plan(&quickstart("6", &world)).plain());
    insta::assert_snapshot!("quickstart_shrinks", text::plan(&quickstart("3", &world)).plain());
    insta::assert_snapshot!("quickstart_destroyed", text::plan(&destroyed(&world)).plain());
}

#[test]
fn long_texts_and_nested_values_change_by_their_parts() {
    let before = r#"
value "a" {
  input = "one\ntwo\nthree\nfour\nfive\nsix\nseven\n"
}
value "b" {
  input = { list = [1, 2, 3], same = true, deep = { x = 1, y = null } }
}
value "c" {
  triggers_replace = "first"
}
value "gone" {
  input = "x"
}
output "b" {
  value = value.b.output.list
}
"#;
    let after = r#"
value "a" {
  input = "one\ntwo\nTHREE\nfour\nfive\nsix\nseven\neight\n"
}
value "b" {
  input = { list = [1, 3, 4], same = true, deep = { x = 2, y = null } }
}
value "d" {
  input = { open = 1, closed = sensitive("s3cret") }
}
value "c" {
  triggers_replace = "second"
  input            = value.b.output
}
output "b" {
  value = value.b.output.list
}
output "hidden" {
  value     = "s3cret"
  sensitive = true
}
"#;
    let world = applied(before, &nothing());
    let plan = planned(after, &world);
    let shown = text::plan(&plan).plain();
    assert!(!shown.contains("s3cret"), "{shown}");
    assert!(!json::plan(&plan).to_string().contains("s3cret"));
    insta::assert_snapshot!(shown);
    insta::assert_snapshot!("nested_json", pretty(&json::plan(&plan)["resource_changes"]));
    applied(after, &world);
}
