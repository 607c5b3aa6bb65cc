//! `-refresh-only` and `refresh`: outputs are recorded as they are by what is applied, and nothing else changes.

use serde_json::json;

use crate::folder::Folder;

const APPLIED: &str = "value \"a\" {\n  input = 1\n}\n\noutput \"a\" {\n  value = value.a.output\n}\n";

/// The spec has another expression, another input and an object more than what is applied.
const AHEAD: &str = "value \"a\" {\n  input = 2\n}\n\nvalue \"b\" {\n  input = 3\n}\n\n\
                     output \"a\" {\n  value = \"now ${value.a.output}\"\n}\n\noutput \"b\" {\n  value = value.b.output\n}\n\n\
                     output \"c\" {\n  value = \"new\"\n}\n";

fn applied(next: &str) -> Folder {
    let folder = Folder::with(APPLIED);
    folder.must("apply -auto-approve");
    folder.write("main.hcl", next);
    folder
}

#[test]
fn outputs_are_recorded_from_what_is_applied_and_no_object_changes() {
    let folder = applied(AHEAD);
    let objects = || folder.must("show -json").json()["values"].clone();
    let plan = folder.run("plan -refresh-only -detailed-exitcode");
    assert_eq!(plan.code, Some(2), "{}", plan.all());
    assert!(plan.stdout.contains("\"now 1\"") && !plan.stdout.contains("will be created"), "{}", plan.all());
    assert!(plan.stderr.contains("W0852") && plan.stderr.contains("\"b\""), "{}", plan.all());
    let before = objects()["root_module"].clone();
    let said = folder.must("apply -refresh-only -auto-approve");
    assert!(said.stdout.contains("Refresh complete!"), "{}", said.all());
    assert_eq!(folder.must("output -raw a").stdout, "now 1");
    assert_eq!(folder.must("output -raw c").stdout, "new");
    assert_eq!(folder.run("output b").code, Some(1), "what it needs is not applied");
    assert_eq!(objects()["root_module"], before);
    assert_eq!(folder.must("state list").stdout, "value.a\n");
    folder.must("plan -refresh-only -detailed-exitcode");
    assert_eq!(folder.run("plan -detailed-exitcode").code, Some(2), "the spec is still ahead");
}

#[test]
fn a_saved_refresh_does_only_what_it_shows() {
    let folder = applied(AHEAD);
    folder.must("plan -refresh-only -out=saved.plan");
    assert!(folder.must("show saved.plan").stdout.contains("no host and no object is touched"));
    let json = folder.must("show -json saved.plan").json();
    assert_eq!(json["resource_changes"][0]["change"]["actions"], json!(["no-op"]));
    assert_eq!((&json["applyable"], &json["resource_drift"]), (&json!(true), &json!([])));
    folder.must("apply saved.plan");
    assert_eq!(folder.must("state list").stdout, "value.a\n");
    assert_eq!(folder.must("output -raw a").stdout, "now 1");
    assert_eq!(folder.run("apply saved.plan").code, Some(1), "it is stale now");
}

#[test]
fn where_nothing_can_differ_it_says_so() {
    let folder = applied(APPLIED);
    let said = folder.must("plan -refresh-only -detailed-exitcode");
    assert!(
        said.stdout.contains("No host is recorded, so nothing outside of the state can differ"),
        "{}",
        said.all()
    );
    let said = folder.must("apply -refresh-only");
    assert!(said.stdout.contains("a = 1"), "nothing to ask about: {}", said.all());
}

#[test]
fn it_asks_before_it_records() {
    let folder = applied(AHEAD);
    let said = folder.answer("apply -refresh-only", "no\n");
    assert_eq!(said.code, Some(1), "{}", said.all());
    assert!(said.stderr.contains("record these outputs"), "{}", said.all());
    assert_eq!(folder.must("output -raw a").stdout, "1");
}

#[test]
fn moves_are_followed_and_not_recorded() {
    let moved = "moved {\n  from = value.a\n  to   = value.z\n}\n\nvalue \"z\" {\n  input = 1\n}\n\noutput \"a\" {\n  value = value.z.output + 1\n}\n";
    let folder = applied(moved);
    folder.must("apply -refresh-only -auto-approve");
    assert_eq!(folder.must("output -raw a").stdout, "2");
    assert_eq!(folder.must("state list").stdout, "value.a\n");
}

#[test]
fn refresh_is_an_alias_and_says_so() {
    let folder = applied(AHEAD);
    let said = folder.must("refresh");
    assert!(said.stderr.contains("lustre apply -refresh-only -auto-approve"), "{}", said.all());
    assert_eq!(folder.must("output -raw a").stdout, "now 1");
    let said = folder.run("refresh -target=value.a");
    assert_eq!(said.code, Some(1), "{}", said.all());
    assert!(said.stderr.contains("-target"), "{}", said.all());
}
