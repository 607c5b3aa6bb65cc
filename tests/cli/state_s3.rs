//! `state "s3"` against a real S3 server: every command that reads or changes a state, crashes, and two at once.

use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::bucket::Bucket;
use crate::folder::Folder;

const VALUES: &str = r#"
value "a" {
  input = 1
}

value "b" {
  input = value.a.output + 1
}

output "b" {
  value = value.b.output
}
"#;

/// Waits for something that happens by itself.
fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_state_in_a_bucket_is_planned_applied_listed_changed_and_destroyed() {
    let bucket = Bucket::new();
    let folder = Folder::with(&format!("{}{VALUES}", bucket.state("")));
    folder.must("plan");
    assert_eq!(bucket.objects(), Vec::<String>::new(), "a plan of nothing leaves nothing");
    folder.must("apply -auto-approve");
    assert_eq!(bucket.objects(), ["prod.state", "prod.state.lock"]);
    assert_eq!(folder.names(), [".lustre", "main.hcl"], "nothing is kept here but where it is");
    assert_eq!(folder.must("state list").stdout, "value.a\nvalue.b\n");
    assert_eq!(folder.must("output -raw b").stdout.trim(), "2");
    assert_eq!(folder.run("plan -detailed-exitcode").code, Some(0));
    folder.must("plan -out=saved.plan -replace=value.a");
    folder.must("apply saved.plan");
    folder.must("state mv value.b value.c");
    assert_eq!(folder.must("state list").stdout, "value.a\nvalue.c\n");
    let pulled = folder.must("state pull").stdout;
    folder.write("old.state", &folder.read("lustre.state.backup"));
    folder.must("state push -force old.state");
    assert_eq!(folder.must("state list").stdout, "value.a\nvalue.b\n");
    folder.write("new.state", &pulled);
    folder.must("state push new.state");
    folder.must("destroy -auto-approve");
    assert_eq!(folder.must("state list").stdout, "");
}

#[test]
fn attributes_may_name_variables_which_are_sealed_in_a_plan() {
    let bucket = Bucket::new();
    let state = bucket.state("").replace("\"team/prod.state\"", "\"team/${var.stage}.state\"");
    let folder = Folder::with(&format!("{state}\nvariable \"stage\" {{\n  type = string\n}}\n{VALUES}"));
    folder.must("plan -var=stage=blue -out=blue.plan");
    folder.must("apply blue.plan");
    assert_eq!(bucket.objects(), ["blue.state", "blue.state.lock"]);
    folder.must("apply -auto-approve -var=stage=green");
    assert!(bucket.objects().contains(&"green.state".to_owned()));
}

#[test]
fn what_is_wrong_in_the_block_is_told_by_name() {
    for (written, code, said) in [
        ("bukket = \"b\"", "E0952", "Did you mean `bucket`?"),
        ("dynamodb_table = \"t\"", "E0952", "always locked"),
        ("access_key = \"AK\"", "E0964", "AWS_ACCESS_KEY_ID"),
        ("lock_expiry = 1", "E0953", "seconds"),
        ("lock_expiry = \"soon\"", "E0953", "90s"),
        ("assume_role {\n}", "E0952", "block `assume_role`"),
    ] {
        let bucket = Bucket::new();
        let folder = Folder::with(&format!("{}{VALUES}", bucket.state(written)));
        let found = folder.run("plan");
        assert_eq!(found.code, Some(1), "{written}: {}", found.all());
        assert!(found.stderr.contains(code) && found.stderr.contains(said), "{written}: {}", found.all());
    }
}

#[test]
fn a_damaged_empty_or_deleted_state_is_refused_and_kept() {
    let bucket = Bucket::new();
    let folder = Folder::with(&format!("{}{VALUES}", bucket.state("")));
    folder.must("apply -auto-approve");
    folder.must("apply -auto-approve -replace=value.a");
    let state = bucket.file("prod.state");
    let good = fs_err::read(&state).unwrap();
    for bytes in [Vec::new(), good[..good.len() / 2].to_vec(), b"{\"version\": 4}".to_vec()] {
        fs_err::write(&state, &bytes).unwrap();
        for words in ["plan", "state list", "apply -auto-approve"] {
            let said = folder.run(words);
            assert_eq!(said.code, Some(1), "{words}: {}", said.all());
            assert!(said.stderr.contains("s3://states/team/prod.state"), "{words}: {}", said.all());
        }
        assert_eq!(fs_err::read(&state).unwrap(), bytes, "it is as it was");
    }
    fs_err::remove_file(&state).unwrap();
    let said = folder.run("plan");
    assert_eq!(said.code, Some(1), "{}", said.all());
    assert!(said.stderr.contains("prod.state.history/"), "{}", said.all());
}

#[test]
fn an_unreachable_bucket_is_named_with_the_cause() {
    let bucket = Bucket::new();
    let spec = format!("{}{VALUES}", bucket.state(""));
    let folder = Folder::with(&spec.replace("bucket           = \"states\"", "bucket = \"others\""));
    let said = folder.run("plan");
    assert_eq!(said.code, Some(1), "{}", said.all());
    assert!(said.stderr.contains("others"), "{}", said.all());
}

/// So many values that an apply has several commits.
fn values(count: usize) -> String {
    format!("value \"a\" {{\n  count = {count}\n  input = count.index\n}}\n")
}

#[test]
fn an_apply_that_is_killed_anywhere_is_finished_by_the_next_after_its_lock_is_taken_away() {
    const KILLS: u32 = 6;
    let spec = values(1500);
    let whole = Bucket::new();
    let folder = Folder::with(&format!("{}{spec}", whole.state("")));
    let begun = Instant::now();
    folder.must("apply -auto-approve");
    let lasted = begun.elapsed();
    let expected = folder.must("show -json").json()["values"].clone();
    for kill in 1..=KILLS {
        let bucket = Bucket::new();
        let folder = Folder::with(&format!("{}{spec}", bucket.state("")));
        let mut apply = folder.start("apply -auto-approve");
        std::thread::sleep(lasted * kill / (KILLS + 1));
        let _ended = kill_process(Pid::from_child(&apply), Signal::KILL);
        apply.wait().expect("it ends");
        folder.must("state list");
        let again = folder.run("apply -auto-approve");
        if again.code != Some(0) {
            assert!(again.stderr.contains("force-unlock"), "{}", again.all());
            let id = again.stderr.split("force-unlock ").nth(1).and_then(|rest| rest.split('`').next());
            folder.must(&format!("force-unlock {}", id.expect("the refusal names it")));
            folder.must("apply -auto-approve");
        }
        assert_eq!(folder.must("show -json").json()["values"], expected, "kill {kill}");
        assert_eq!(folder.run("plan -detailed-exitcode").code, Some(0), "kill {kill}");
    }
}

#[test]
fn an_apply_that_is_stopped_past_its_lock_is_fenced_and_says_so() {
    let bucket = Bucket::new();
    let state = bucket.state("lock_expiry = 2");
    let folder = Folder::with(&format!("{state}{}", values(4000)));
    let mut old = folder.command("apply -auto-approve");
    old.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::piped());
    let old = old.spawn().expect("the binary starts");
    wait_until("a few commits", || {
        bucket.objects().iter().filter(|name| name.contains(".journal/")).count() > 2
    });
    kill_process(Pid::from_child(&old), Signal::STOP).expect("it runs");

    let other = Folder::with(&format!("{state}{}", values(4000)));
    let refused = other.run("apply -auto-approve");
    assert_eq!(refused.code, Some(1), "{}", refused.all());
    assert!(
        refused.stderr.contains("until") && refused.stderr.contains("-lock-timeout"),
        "{}",
        refused.all()
    );
    other.must("apply -auto-approve -lock-timeout=60s");
    let done = other.must("show -json").json()["values"].clone();

    kill_process(Pid::from_child(&old), Signal::CONT).expect("it is there");
    let output = old.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("the lock on the state was lost"), "{said}");
    assert!(said.contains("lustre.state.errored"), "what could not be recorded is kept: {said}");
    assert!(folder.names().contains(&"lustre.state.errored".to_owned()));
    let pushed = folder.run("state push lustre.state.errored");
    assert_eq!(pushed.code, Some(1), "and takes the place of nothing newer: {}", pushed.all());
    assert_eq!(other.must("show -json").json()["values"], done, "it changed nothing");
    assert_eq!(other.run("plan -detailed-exitcode").code, Some(0));
}

#[test]
fn many_at_once_take_turns_and_lose_nothing() {
    let bucket = Bucket::new();
    let folders: Vec<Folder> =
        (0..4).map(|_| Folder::with(&format!("{}{VALUES}", bucket.state("")))).collect();
    std::thread::scope(|scope| {
        for folder in &folders {
            scope.spawn(|| folder.must("apply -auto-approve -lock-timeout=60s -replace=value.a"));
        }
    });
    assert_eq!(folders[0].must("state list").stdout, "value.a\nvalue.b\n");
    assert_eq!(folders[0].run("plan -detailed-exitcode").code, Some(0));
}
