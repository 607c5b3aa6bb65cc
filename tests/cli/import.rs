//! `lustre import`: one object becomes recorded, under the lock, with a backup, and nothing else changes.

use crate::folder::Folder;

const SPEC: &str = "value \"a\" {\n  input = \"4\"\n}\n\nvalue \"many\" {\n  for_each = toset([\"x\", \"y\"])\n  input    = each.key\n}\n";

#[test]
fn a_value_is_recorded_and_nothing_else_is() {
    let folder = Folder::with(SPEC);
    let said = folder.must("import value.a 4");
    assert!(said.stdout.contains("value.a: imported from \"4\""), "{}", said.all());
    assert_eq!(folder.must("state list").stdout, "value.a\n");
    assert!(!folder.names().contains(&"lustre.state.backup".to_owned()), "there was no state to keep");
    let said = folder.must("import value.many[\"y\"] old");
    assert!(said.stderr.contains("lustre.state.backup"), "{}", said.all());
    assert_eq!(folder.must("state list").stdout, "value.a\nvalue.many[\"y\"]\n");
    let plan = folder.must("plan");
    assert!(
        plan.stdout.contains("1 to add, 1 to change, 0 to destroy"),
        "y is \"old\" so far: {}",
        plan.all()
    );
}

#[test]
fn what_cannot_be_imported_is_refused_by_name_and_records_nothing() {
    let host = "host \"h\" {\n  connection = \"local\"\n  path       = \"/srv/none\"\n}\n";
    let folder = Folder::with(&format!("{SPEC}\n{host}"));
    for (words, said) in [
        ("import host.h h", "a host cannot be imported"),
        ("import value.absent 1", "the spec has no block for value.absent"),
        ("import value.many[\"z\"] 1", "value.many[\"z\"]"),
        ("import value.a[ 1", "value.a["),
        ("import data.cluster.x 1", "data.cluster.x"),
    ] {
        let run = folder.run(words);
        assert_eq!(run.code, Some(1), "{words}: {}", run.all());
        assert!(run.stderr.contains(said), "{words}: {}", run.all());
    }
    assert_eq!(folder.must("state list").stdout, "");
}

#[test]
fn what_is_recorded_already_is_refused() {
    let folder = Folder::with(SPEC);
    folder.must("apply -auto-approve");
    let said = folder.run("import value.a 4");
    assert_eq!(said.code, Some(1), "{}", said.all());
    assert!(
        said.stderr.contains("is in the state already") && said.stderr.contains("state rm"),
        "{}",
        said.all()
    );
}
