//! The whole life of values: planned, applied, changed, looked at, destroyed.

use crate::folder::Folder;

const SPEC: &str = r#"
value "base" {
  input = "one"
}

value "each" {
  for_each = { a = 1, b = 2 }
  input    = "${value.base.output}-${each.key}-${each.value}"
}

output "all" {
  value = [for key in ["a", "b"] : value.each[key].output]
}
"#;

#[test]
fn values_are_planned_applied_and_then_there_is_nothing_to_do() {
    let folder = Folder::with(SPEC);
    let plan = folder.must("plan");
    assert!(plan.stdout.contains("value.each[\"a\"]"), "{}", plan.all());
    assert!(plan.stdout.contains("Plan: 3 to add, 0 to change, 0 to destroy"), "{}", plan.all());
    assert_eq!(folder.names(), ["main.hcl"], "a plan leaves nothing behind");

    let apply = folder.must("apply -auto-approve");
    assert!(
        apply.stdout.contains("Apply complete! Resources: 3 added, 0 changed, 0 destroyed."),
        "{}",
        apply.all()
    );
    assert!(
        apply.stderr.contains("value.base: Creation complete after"),
        "progress is told: {}",
        apply.all()
    );

    let again = folder.must("plan -detailed-exitcode");
    assert!(again.stdout.contains("No changes."), "{}", again.all());
    assert_eq!(folder.must("output -json all").stdout.trim(), r#"["one-a-1","one-b-2"]"#);
    assert_eq!(folder.must("state list").stdout, "value.base\nvalue.each[\"a\"]\nvalue.each[\"b\"]\n");
}

#[test]
fn a_change_is_an_update_and_a_removed_key_a_deletion() {
    let folder = Folder::with(SPEC);
    folder.must("apply -auto-approve");
    folder.write("main.hcl", &SPEC.replace("b = 2", "c = 3").replace("\"a\", \"b\"", "\"a\", \"c\""));
    let plan = folder.run("plan -detailed-exitcode");
    assert_eq!(plan.code, Some(2), "{}", plan.all());
    assert!(plan.stdout.contains("Plan: 1 to add, 0 to change, 1 to destroy"), "{}", plan.all());
    folder.must("apply -auto-approve");
    folder.write("main.hcl", &folder.read("main.hcl").replace("\"one\"", "\"two\""));
    let plan = folder.must("plan");
    assert!(plan.stdout.contains("0 to add, 3 to change, 0 to destroy"), "{}", plan.all());
    folder.must("apply -auto-approve");
    assert_eq!(folder.must("output -json all").stdout.trim(), r#"["two-a-1","two-c-3"]"#);
}

#[test]
fn destroy_leaves_nothing_in_the_state() {
    let folder = Folder::with(SPEC);
    folder.must("apply -auto-approve");
    let destroy = folder.must("destroy -auto-approve");
    assert!(destroy.stdout.contains("Destroy complete! Resources: 3 destroyed."), "{}", destroy.all());
    assert_eq!(folder.must("state list").stdout, "");
    let shown = folder.must("show");
    assert!(shown.stdout.contains("nothing"), "{}", shown.all());
    let again = folder.must("destroy -auto-approve");
    assert!(again.stdout.contains("No changes."), "{}", again.all());
}

#[test]
fn nothing_happens_without_a_yes() {
    let folder = Folder::with(SPEC);
    let no = folder.answer("apply", "y\n");
    assert_eq!(no.code, Some(1), "{}", no.all());
    assert!(
        no.stderr.contains("Only 'yes' will be accepted") && no.stderr.contains("Enter a value:"),
        "{}",
        no.all()
    );
    assert_eq!(folder.must("state list").stdout, "");
    let nobody = folder.run("apply -input=false");
    assert_eq!(nobody.code, Some(1), "{}", nobody.all());
    assert!(nobody.stderr.contains("-auto-approve"), "{}", nobody.all());
    let yes = folder.answer("apply", "yes\n");
    assert_eq!(yes.code, Some(0), "{}", yes.all());
    assert_eq!(folder.must("state list").stdout.lines().count(), 3);
}

#[test]
fn exit_codes_tell_changes_only_when_asked() {
    let folder = Folder::with(SPEC);
    assert_eq!(folder.run("plan").code, Some(0));
    assert_eq!(folder.run("plan -detailed-exitcode").code, Some(2));
    folder.must("apply -auto-approve");
    assert_eq!(folder.run("plan -detailed-exitcode").code, Some(0));
    folder.write("main.hcl", "value \"base\" {");
    assert_eq!(folder.run("plan -detailed-exitcode").code, Some(1));
}

#[test]
fn another_folder_is_worked_in_when_told() {
    let folder = Folder::new();
    fs_err::create_dir(folder.path("inner")).expect("a folder can be made");
    folder.write("inner/main.hcl", SPEC);
    folder.must("-chdir=inner apply -auto-approve");
    assert_eq!(folder.names(), ["inner"]);
    assert_eq!(folder.must("-chdir=inner state list").stdout.lines().count(), 3);
    assert_eq!(folder.run("-chdir=absent plan").code, Some(1));
}

#[test]
fn the_state_can_be_somewhere_else() {
    let folder = Folder::with(&format!(
        "lustre {{\n  state \"local\" {{\n    path = \"other.state\"\n  }}\n}}\n{SPEC}"
    ));
    folder.must("apply -auto-approve");
    assert!(folder.names().contains(&"other.state".to_owned()), "{:?}", folder.names());
    assert_eq!(folder.must("state list").stdout.lines().count(), 3);
}

#[test]
fn a_large_spec_is_applied_in_time_and_destroyed() {
    let folder = Folder::with("value \"many\" {\n  count = 1000\n  input = count.index\n}\n");
    let apply = folder.must("apply -auto-approve");
    assert!(apply.stdout.contains("Resources: 1000 added"), "{}", apply.stdout);
    assert_eq!(folder.run("plan -detailed-exitcode").code, Some(0));
    folder.must("destroy -auto-approve");
    assert_eq!(folder.must("state list").stdout, "");
}
