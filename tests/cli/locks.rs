//! Two at once: the second is refused and told who holds the lock, or waits when asked to.

use std::time::Duration;

use lustre_store::{Holder, lock};

use crate::folder::Folder;

fn holder() -> Holder {
    Holder {
        who: "ops@bastion".to_owned(),
        operation: "apply".to_owned(),
        version: "0.1.0".to_owned(),
        since: "2026-01-01T00:00:00Z".to_owned(),
        pid: std::process::id(),
    }
}

#[test]
fn a_second_apply_is_refused_and_told_who_holds_the_lock() {
    let folder = Folder::with("value \"a\" {\n  input = 1\n}\n");
    let held = lock(&folder.path("lustre.state"), holder(), Duration::ZERO).expect("nobody has it");
    for words in ["apply -auto-approve", "destroy -auto-approve"] {
        let said = folder.run(words);
        assert_eq!(said.code, Some(1), "{}", said.all());
        assert!(
            said.stderr.contains("ops@bastion") && said.stderr.contains("2026-01-01T00:00:00Z"),
            "{}",
            said.all()
        );
        assert!(said.stderr.contains("-lock-timeout"), "{}", said.all());
    }
    drop(held);
    folder.must("apply -auto-approve");
}

#[test]
fn a_lock_is_waited_for_when_asked() {
    let folder = Folder::with("value \"a\" {\n  input = 1\n}\n");
    let held = lock(&folder.path("lustre.state"), holder(), Duration::ZERO).expect("nobody has it");
    let mut waiting = folder.start("apply -auto-approve -lock-timeout=60s");
    std::thread::sleep(Duration::from_millis(300));
    assert!(waiting.try_wait().expect("it can be looked at").is_none(), "it waits");
    drop(held);
    assert!(waiting.wait().expect("it ends").success());
    assert_eq!(folder.must("state list").stdout, "value.a\n");
}

#[test]
fn looking_needs_no_lock() {
    let folder =
        Folder::with("value \"a\" {\n  input = 1\n}\n\noutput \"a\" {\n  value = value.a.output\n}\n");
    folder.must("apply -auto-approve");
    let _held = lock(&folder.path("lustre.state"), holder(), Duration::ZERO).expect("nobody has it");
    folder.must("show");
    folder.must("state list");
    folder.must("output -raw a");
    folder.must("validate");
}

#[test]
fn a_plan_may_be_made_without_the_lock_and_an_apply_may_not() {
    let folder = Folder::with("value \"a\" {\n  input = 1\n}\n");
    folder.must("apply -auto-approve");
    let _held = lock(&folder.path("lustre.state"), holder(), Duration::ZERO).expect("nobody has it");
    let said = folder.run("plan");
    assert!(said.code == Some(1) && said.stderr.contains("the state is in use"), "{}", said.all());
    folder.must("plan -lock=false");
    assert_eq!(folder.run("apply -auto-approve -lock=false").code, Some(1));
}

#[test]
fn a_lock_that_cannot_be_taken_is_not_called_in_use() {
    let folder = Folder::with("value \"a\" {\n  input = 1\n}\n");
    folder.must("apply -auto-approve");
    folder.write("lustre.state.lock", "what nobody wrote");
    let said = folder.run("plan");
    assert_eq!(said.code, Some(1), "{}", said.all());
    assert!(said.stderr.contains("the state cannot be locked"), "{}", said.all());
    assert!(!said.stderr.contains("in use"), "{}", said.all());
}
