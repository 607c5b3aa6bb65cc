//! `-target`, `-exclude` and `-replace`: plans for a part of a spec, and replacements on request.

use crate::folder::Folder;

const SPEC: &str = r#"
value "a" {
  input = "one"
}

value "b" {
  input = value.a.output
}

value "c" {
  for_each = toset(["x", "y"])
  input    = each.key
}

value "d" {
  input = [for it in value.c : it.output]
}

output "b" {
  value = value.b.output
}
"#;

fn applied(folder: &Folder) -> Vec<String> {
    folder.must("state list").stdout.lines().map(str::to_owned).collect()
}

#[test]
fn a_target_comes_with_what_it_needs_and_nothing_else() {
    let folder = Folder::with(SPEC);
    let said = folder.must("apply -auto-approve -target=value.b");
    assert_eq!(applied(&folder), ["value.a", "value.b"]);
    assert!(said.stderr.contains("this plan is for a part of the spec"), "{}", said.all());
    assert!(folder.must("output").stderr.contains("No outputs"));
    folder.must("apply -auto-approve");
    assert_eq!(applied(&folder).len(), 5);
    assert_eq!(folder.must("output -raw b").stdout, "one");
}

#[test]
fn stars_name_many_and_a_key_names_one() {
    let folder = Folder::with(SPEC);
    let mut command = folder.command("apply -auto-approve");
    command.arg("-target=value.c[\"x\"]");
    assert_eq!(crate::folder::finish(command, "").code, Some(0));
    assert_eq!(applied(&folder), ["value.c[\"x\"]"]);
    folder.must("apply -auto-approve -target=value.c*");
    assert_eq!(applied(&folder), ["value.c[\"x\"]", "value.c[\"y\"]"]);
}

#[test]
fn what_is_excluded_takes_along_what_needs_it() {
    let folder = Folder::with(SPEC);
    folder.must("apply -auto-approve -exclude=value.a");
    assert_eq!(applied(&folder), ["value.c[\"x\"]", "value.c[\"y\"]", "value.d"]);
}

#[test]
fn a_part_that_goes_takes_along_what_stands_on_it() {
    let folder = Folder::with(SPEC);
    folder.must("apply -auto-approve");
    folder.must("destroy -auto-approve -target=value.a");
    assert_eq!(applied(&folder), ["value.c[\"x\"]", "value.c[\"y\"]", "value.d"]);
    folder.must("destroy -auto-approve -exclude=value.d");
    assert_eq!(applied(&folder), ["value.c[\"x\"]", "value.c[\"y\"]", "value.d"]);
    folder.must("destroy -auto-approve");
    assert!(applied(&folder).is_empty());
}

#[test]
fn a_pattern_that_means_nothing_is_refused_and_named() {
    let folder = Folder::with(SPEC);
    let said = folder.run("plan -target=value.aa -exclude=host.*");
    assert_eq!(said.code, Some(1), "{}", said.all());
    for text in ["-target=value.aa means nothing", "Did you mean `value.a`?", "-exclude=host.* means nothing"]
    {
        assert!(said.stderr.contains(text), "{text}: {}", said.all());
    }
}

#[test]
fn what_is_replaced_on_request_is_made_anew() {
    let folder = Folder::with(SPEC);
    folder.must("apply -auto-approve");
    let said = folder.must("plan -replace=value.a");
    assert!(said.stdout.contains("value.a") && said.stdout.contains("1 to add"), "{}", said.all());
    let saved = folder.must("plan -replace=value.a -out=saved");
    assert!(saved.stdout.contains("saved"), "{}", saved.all());
    let refused = folder.run("apply -target=value.a saved");
    assert_eq!(refused.code, Some(1), "{}", refused.all());
    assert!(refused.stderr.contains("-target"), "{}", refused.all());
    folder.must("apply saved");
}

#[test]
fn a_mistyped_replacement_is_refused() {
    let folder = Folder::with(SPEC);
    folder.must("apply -auto-approve");
    let said = folder.run("plan -replace=value.aa");
    assert_eq!(said.code, Some(1), "{}", said.all());
    assert!(said.stderr.contains("-replace=value.aa") && said.stderr.contains("value.a`?"), "{}", said.all());
}
