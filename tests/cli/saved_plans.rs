//! Plans in files: carried out exactly, refused when they are stale, foreign, damaged or made for another state.

use crate::folder::Folder;

const SPEC: &str = "value \"a\" {\n  input = 1\n}\n\noutput \"a\" {\n  value = value.a.output\n}\n";

#[test]
fn a_saved_plan_is_applied_without_asking_and_without_reading_the_spec_again() {
    let folder = Folder::with(SPEC);
    let plan = folder.must("plan -out=saved.plan");
    assert!(plan.stdout.contains("saved.plan"), "the next command is told: {}", plan.all());
    folder.write("main.hcl", "value \"a\" {\n  input = 2\n}\n");
    folder.must("apply saved.plan");
    assert_eq!(folder.must("output -raw a").stdout, "1");
}

#[test]
fn a_stale_plan_is_refused() {
    let folder = Folder::with(SPEC);
    folder.must("plan -out=saved.plan");
    folder.must("apply -auto-approve");
    let stale = folder.run("apply saved.plan");
    assert_eq!(stale.code, Some(1), "{}", stale.all());
    assert!(stale.stderr.contains("stale") && stale.stderr.contains("plan again"), "{}", stale.all());
}

#[test]
fn a_plan_of_another_state_is_refused() {
    let (one, two) = (Folder::with(SPEC), Folder::with(SPEC));
    for folder in [&one, &two] {
        folder.must("apply -auto-approve");
        folder.write("main.hcl", &SPEC.replace('1', "2"));
    }
    one.must("plan -out=saved.plan");
    fs_err::copy(one.path("saved.plan"), two.path("saved.plan")).expect("a plan can be copied");
    let foreign = two.run("apply saved.plan");
    assert_eq!(foreign.code, Some(1), "{}", foreign.all());
    assert!(foreign.stderr.contains("was made for the state"), "{}", foreign.all());
}

#[test]
fn a_damaged_plan_is_refused_and_flags_that_shape_a_plan_too() {
    let folder = Folder::with(SPEC);
    folder.must("plan -out=saved.plan");
    let bytes = fs_err::read(folder.path("saved.plan")).expect("the plan is there");
    for cut in [0, 1, bytes.len() / 2, bytes.len() - 1] {
        fs_err::write(folder.path("cut.plan"), &bytes[..cut]).expect("it can be written");
        let said = folder.run("apply cut.plan");
        assert_eq!(said.code, Some(1), "{cut}: {}", said.all());
    }
    let flags = folder.run("apply -var x=1 saved.plan");
    assert_eq!(flags.code, Some(1), "{}", flags.all());
    assert!(flags.stderr.contains("-var"), "{}", flags.all());
}

#[test]
fn a_plan_to_destroy_can_be_saved() {
    let folder = Folder::with(SPEC);
    folder.must("apply -auto-approve");
    folder.must("plan -destroy -out=saved.plan");
    folder.must("apply saved.plan");
    assert_eq!(folder.must("state list").stdout, "");
}

#[test]
fn a_saved_plan_is_shown() {
    let folder = Folder::with(SPEC);
    folder.must("plan -out=saved.plan");
    assert!(folder.must("show saved.plan").stdout.contains("value.a"));
    let json = folder.must("show -json saved.plan").json();
    assert_eq!(json["resource_changes"][0]["address"], "value.a");
}

#[test]
fn a_plan_becomes_a_comment_for_a_pull_request() {
    let folder = Folder::with(&format!(
        "{SPEC}\ncheck \"small\" {{\n  assert {{\n    condition     = false\n    error_message = \"too </details> large\"\n  }}\n}}\n"
    ));
    folder.must("plan -out=saved.plan -markdown-into=comment.md");
    let shown = folder.must("show -markdown saved.plan").stdout;
    assert!(
        shown.starts_with("<!-- lustre plan -->\n### lustre plan: 1 to add, 0 to change, 0 to destroy\n"),
        "{shown}"
    );
    let written = folder.read("comment.md");
    assert!(written.contains("#### Warnings\n\n```\nmain.hcl:"), "a saved plan has no warnings: {written}");
    assert!(
        written.contains("too </details> large") && !shown.contains("too </details>"),
        "{written}{shown}"
    );
    use std::os::unix::fs::MetadataExt as _;
    let mode = fs_err::metadata(folder.path("comment.md")).expect("it is there").mode();
    assert_eq!(mode & 0o777, 0o600);
    let said = folder.run("show -markdown");
    assert_eq!(said.code, Some(1), "only a plan is a comment: {}", said.all());
}
