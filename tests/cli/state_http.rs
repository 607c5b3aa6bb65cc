//! `state "http"` against a server that speaks Terraform's protocol: every command that reads or changes a state, and crashes.

use rustix::process::{Pid, Signal, kill_process};

use crate::folder::Folder;
use crate::server::{Outage, Server};

const VALUES: &str = "value \"a\" {\n  input = 1\n}\n\nvalue \"b\" {\n  input = value.a.output + 1\n}\n";

fn state(server: &Server, more: &str) -> String {
    let address = server.address();
    format!(
        r#"
lustre {{
  state "http" {{
    address        = "{address}"
    lock_address   = "{address}/lock"
    unlock_address = "{address}/lock"
    retry_wait_min = 0
    {more}
  }}
}}
"#
    )
}

#[test]
fn a_state_on_a_server_is_planned_applied_listed_changed_and_destroyed() {
    let server = Server::new();
    let folder = Folder::with(&format!("{}{VALUES}", state(&server, "")));
    folder.must("plan");
    assert!(server.contents().state.is_none(), "a plan posts nothing");
    folder.must("apply -auto-approve");
    assert!(server.contents().lock.is_none(), "the lock was given back");
    // Anybody else sees the same.
    let other = Folder::with(&format!("{}{VALUES}", state(&server, "")));
    assert_eq!(other.must("state list").stdout, "value.a\nvalue.b\n");
    assert_eq!(other.run("plan -detailed-exitcode").code, Some(0));
    other.must("plan -out=saved.plan -replace=value.a");
    other.must("apply saved.plan");
    folder.must("state mv value.b value.c");
    assert_eq!(other.must("state list").stdout, "value.a\nvalue.c\n");
    folder.must("destroy -auto-approve");
    assert_eq!(other.must("state list").stdout, "");
}

#[test]
fn a_lock_of_another_tool_is_told_waited_for_and_taken_away_by_its_number() {
    let server = Server::new();
    let folder = Folder::with(&format!("{}{VALUES}", state(&server, "")));
    folder.must("apply -auto-approve");
    let lock = br#"{"ID":"9f5f","Operation":"OperationTypeApply","Who":"ops@bastion","Created":"today"}"#;
    server.contents().lock = Some((lock.to_vec(), "9f5f".to_owned()));
    let said = folder.run("apply -auto-approve");
    assert_eq!(said.code, Some(1), "{}", said.all());
    for word in ["ops@bastion", "OperationTypeApply", "force-unlock 9f5f"] {
        assert!(said.stderr.contains(word), "{word}: {}", said.all());
    }
    assert_eq!(folder.run("force-unlock 1234").code, Some(1));
    let said = folder.must("force-unlock 9f5f");
    assert!(said.stderr.contains("ops@bastion"), "{}", said.all());
    folder.must("apply -auto-approve");
}

#[test]
fn an_apply_that_is_killed_goes_on_from_what_this_machine_has() {
    const KILLS: u32 = 5;
    let spec = "value \"a\" {\n  count = 1500\n  input = count.index\n}\n";
    let whole = Server::new();
    let folder = Folder::with(&format!("{}{spec}", state(&whole, "")));
    let begun = std::time::Instant::now();
    folder.must("apply -auto-approve");
    let lasted = begun.elapsed();
    let expected = folder.must("show -json").json()["values"].clone();
    for kill in 1..=KILLS {
        let server = Server::new();
        let folder = Folder::with(&format!("{}{spec}", state(&server, "")));
        let mut apply = folder.start("apply -auto-approve");
        std::thread::sleep(lasted * kill / (KILLS + 1));
        let _ended = kill_process(Pid::from_child(&apply), Signal::KILL);
        apply.wait().expect("it ends");
        folder.must("state list");
        let again = folder.run("apply -auto-approve");
        if again.code != Some(0) {
            let id = again.stderr.split("force-unlock ").nth(1).and_then(|rest| rest.split('`').next());
            folder.must(&format!("force-unlock {}", id.expect("the refusal names it")));
            folder.must("apply -auto-approve");
        }
        assert_eq!(folder.must("show -json").json()["values"], expected, "kill {kill}");
        let elsewhere = Folder::with(&format!("{}{spec}", state(&server, "")));
        assert_eq!(elsewhere.run("plan -detailed-exitcode").code, Some(0), "kill {kill}");
    }
}

#[test]
fn a_server_that_is_gone_at_the_end_loses_nothing_and_the_way_on_is_told() {
    let server = Server::new();
    let folder = Folder::with(&format!("{}{VALUES}", state(&server, "")));
    // Lock, read, open, and then nothing answers any more.
    server.contents().outage = Some(Outage { at: 4, happens: false, for_ever: true });
    let said = folder.run("apply -auto-approve");
    assert_eq!(said.code, Some(1), "{}", said.all());
    server.contents().outage = None;
    assert!(said.stderr.contains(".lustre/state-"), "{}", said.all());
    let list = folder.must("state list");
    assert_eq!(list.stdout, "value.a\nvalue.b\n", "{} {}", said.all(), list.all());
    let id = said.stderr.split_whitespace().collect::<Vec<_>>().join(" ");
    let id = id.split("force-unlock ").nth(1).and_then(|rest| rest.split('`').next()).expect("it is named");
    folder.must(&format!("force-unlock {id}"));
    folder.must("apply -auto-approve");
    let elsewhere = Folder::with(&format!("{}{VALUES}", state(&server, "")));
    assert_eq!(elsewhere.must("state list").stdout, "value.a\nvalue.b\n");
}

#[test]
fn credentials_come_from_the_environment() {
    let server = Server::new();
    server.contents().credentials = Some("b3BzOnNlY3JldA==".to_owned());
    let folder = Folder::with(&format!("{}{VALUES}", state(&server, "")));
    let said = folder.run("plan");
    assert_eq!(said.code, Some(1), "{}", said.all());
    assert!(said.stderr.contains("LUSTRE_HTTP_PASSWORD"), "{}", said.all());
    let mut command = folder.command("plan");
    command.env("LUSTRE_HTTP_USERNAME", "ops").env("LUSTRE_HTTP_PASSWORD", "secret");
    assert_eq!(crate::folder::finish(command, "").code, Some(0));
}

#[test]
fn what_is_wrong_in_the_block_is_told_by_name() {
    for (written, code, said) in [
        ("adress = \"b\"", "E0952", "Did you mean `address`?"),
        ("update_method = \"put\"", "E0953", "capitals"),
        ("retry_max = 1000", "E0953", "at most"),
        ("client_certificate_pem = \"x\"", "E0953", "private key"),
    ] {
        let server = Server::new();
        let folder = Folder::with(&format!("{}{VALUES}", state(&server, written)));
        let found = folder.run("plan");
        assert_eq!(found.code, Some(1), "{written}: {}", found.all());
        assert!(found.stderr.contains(code) && found.stderr.contains(said), "{written}: {}", found.all());
    }
}

#[test]
fn a_foreign_or_damaged_document_is_refused_and_kept() {
    let server = Server::new();
    let folder = Folder::with(&format!("{}{VALUES}", state(&server, "")));
    folder.must("apply -auto-approve");
    let good = server.contents().state.clone().expect("it was posted");
    for bytes in [Vec::new(), good[..good.len() / 2].to_vec(), b"{\"version\": 4}".to_vec()] {
        server.contents().state = Some(bytes.clone());
        for words in ["plan", "apply -auto-approve", "state list"] {
            let said = folder.run(words);
            assert_eq!(said.code, Some(1), "{words}: {}", said.all());
        }
        assert_eq!(server.contents().state, Some(bytes));
        assert!(server.contents().lock.is_none(), "no lock is left behind");
    }
}
