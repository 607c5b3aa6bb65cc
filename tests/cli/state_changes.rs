//! `state mv`, `rm`, `pull` and `push`: what is recorded changes, nothing else does, and nothing is lost by accident.

use crate::folder::Folder;

const SPEC: &str = r#"
value "a" {
  input = "kept"
}

value "b" {
  for_each = { x = 1, y = 2 }
  input    = each.value
}

value "c" {
  input = value.a.output
}
"#;

fn applied() -> Folder {
    let folder = Folder::with(SPEC);
    folder.must("apply -auto-approve");
    folder
}

fn list(folder: &Folder) -> String {
    folder.must("state list").stdout
}

#[test]
fn addresses_are_listed_for_programs_too() {
    let folder = applied();
    let lines: Vec<String> = list(&folder).lines().map(str::to_owned).collect();
    let listed: Vec<String> =
        serde_json::from_value(folder.must("state list -json").json()).expect("an array of texts");
    assert_eq!(listed, lines);
}

#[test]
fn a_moved_resource_is_the_same_resource() {
    let folder = applied();
    folder.must("state mv value.a value.renamed");
    folder.write(
        "main.hcl",
        &SPEC.replace("value \"a\"", "value \"renamed\"").replace("value.a.", "value.renamed."),
    );
    let plan = folder.run("plan -detailed-exitcode");
    assert_eq!(plan.code, Some(0), "{}", plan.all());
}

#[test]
fn all_instances_move_with_their_block_and_one_moves_by_its_key() {
    let folder = applied();
    folder.must("state mv value.b value.d");
    assert_eq!(list(&folder), "value.a\nvalue.c\nvalue.d[\"x\"]\nvalue.d[\"y\"]\n");
    let mut command = folder.command("state mv");
    command.args(["value.d[\"x\"]", "value.e"]);
    let said = crate::folder::finish(command, "");
    assert_eq!(said.code, Some(0), "{}", said.all());
    assert_eq!(list(&folder), "value.a\nvalue.c\nvalue.d[\"y\"]\nvalue.e\n");
}

#[test]
fn moves_that_would_lose_something_are_refused() {
    let folder = applied();
    let before = list(&folder);
    for (words, cause) in [
        ("state mv value.a value.c", "in the state already"),
        ("state mv value.a host.a", "cannot become"),
        ("state mv value.absent value.d", "has no value.absent"),
        ("state mv value.b value.d[0]", "several instances"),
        ("state mv value.a nonsense", "expected"),
        ("state rm value.a", "value.c needs value.a"),
        ("state rm value.absent", "has no value.absent"),
    ] {
        let said = folder.run(words);
        assert_eq!(said.code, Some(1), "{words}: {}", said.all());
        assert!(said.stderr.contains(cause), "{words}: {}", said.all());
    }
    assert_eq!(list(&folder), before);
}

#[test]
fn what_is_forgotten_is_planned_anew_and_a_backup_brings_it_back() {
    let folder = applied();
    let dry = folder.must("state rm -dry-run value.c");
    assert!(dry.stdout.contains("Would forget value.c"), "{}", dry.all());
    assert!(list(&folder).contains("value.c"));
    folder.must("state rm value.c value.b");
    assert_eq!(list(&folder), "value.a\n");
    assert_eq!(folder.run("plan -detailed-exitcode").code, Some(2));
    let older = folder.run("state push lustre.state.backup");
    assert_eq!(older.code, Some(1), "{}", older.all());
    assert!(older.stderr.contains("serial"), "{}", older.all());
    folder.must("state push -force lustre.state.backup");
    assert_eq!(folder.run("plan -detailed-exitcode").code, Some(0));
}

#[test]
fn a_pulled_state_goes_where_there_is_none_and_nowhere_else() {
    let folder = applied();
    let pulled = folder.must("state pull").stdout;
    let other = Folder::with(SPEC);
    other.write("pulled", &pulled);
    other.must("state push pulled");
    assert_eq!(other.run("plan -detailed-exitcode").code, Some(0));
    let foreign = applied();
    foreign.write("pulled", &pulled);
    let refused = foreign.run("state push pulled");
    assert_eq!(refused.code, Some(1), "{}", refused.all());
    assert!(refused.stderr.contains("the recorded one is"), "{}", refused.all());
    for (broken, cause) in [
        (pulled.replace("kept", "lost"), "damaged"),
        (String::new(), "empty"),
        (pulled[..pulled.len() / 2].to_owned(), "damaged"),
        ("{}".to_owned(), "not a state"),
    ] {
        foreign.write("pulled", &broken);
        let refused = foreign.run("state push -force pulled");
        assert_eq!(refused.code, Some(1), "{}", refused.all());
        assert!(refused.stderr.contains(cause), "{cause}: {}", refused.all());
    }
    assert_eq!(foreign.run("plan -detailed-exitcode").code, Some(0));
}

#[test]
fn a_lock_that_nobody_holds_needs_no_unlocking() {
    let folder = applied();
    let said = folder.must("force-unlock 7");
    assert!(said.stderr.contains("Nobody holds"), "{}", said.all());
}

#[test]
fn an_apply_that_changes_nothing_but_an_order_records_it() {
    let spec =
        |more: &str| format!("value \"a\" {{\n  input = 1\n}}\n\nvalue \"b\" {{\n  input = 2\n{more}}}\n");
    let folder = Folder::with(&spec(""));
    folder.must("apply -auto-approve");
    folder.write("main.hcl", &spec("  depends_on = [value.a]\n"));
    assert_eq!(folder.run("plan -detailed-exitcode").code, Some(0));
    let apply = folder.must("apply");
    assert!(apply.stdout.contains("0 added, 0 changed, 0 destroyed"), "{}", apply.all());
    let destroy = folder.must("destroy -auto-approve").stderr;
    let at = |address: &str| destroy.find(&format!("{address}: Destroying")).expect("it goes");
    assert!(at("value.b") < at("value.a"), "{destroy}");
}
