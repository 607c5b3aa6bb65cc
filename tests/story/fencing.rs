//! Two applies on one state in a bucket, the first stopped past the end of its lock: the bucket lets it record nothing more, and
//! agents take no order under its token.

use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::bucket::Bucket;
use crate::lab::{Lab, wait_until};

/// Commits of the apply that runs.
fn segments(bucket: &Bucket) -> usize {
    bucket.objects().iter().filter(|name| name.contains(".journal/")).count()
}

#[test]
fn an_apply_stopped_past_its_lock_is_fenced_at_the_state_and_at_the_agents() {
    let (lab, bucket) = (Lab::new(), Bucket::new());
    let state = bucket.state("lock_expiry = 2");
    lab.spec(&format!("{state}{}", lab.cluster(1, "NONE")));
    lab.apply();
    lab.write("old/pulled.state", lab.must(["state", "pull"]).stdout);

    lab.spec(&format!("{state}{}", lab.cluster(3, "NONE")));
    let first = Command::new(env!("CARGO_BIN_EXE_lustre"))
        .arg(format!("-chdir={}", lab.path("").display()))
        .args(["apply", "-auto-approve"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program can be started");
    wait_until("the first apply has begun a step", || segments(&bucket) > 0);
    kill_process(Pid::from_child(&first), Signal::STOP).expect("it runs");
    assert!(segments(&bucket) > 0, "it was stopped in the middle");

    lab.must(["apply", "-auto-approve", "-lock-timeout=60s"]);
    let recorded = lab.must(["show", "-json"]).stdout;
    assert!(recorded.contains("story-OST0002"), "{recorded}");

    kill_process(Pid::from_child(&first), Signal::CONT).expect("it is there");
    let ended = first.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert_eq!(ended.status.code(), Some(1), "{said}");
    assert!(said.contains("the lock on the state was lost"), "{said}");
    assert_eq!(lab.must(["show", "-json"]).stdout, recorded, "it recorded nothing");
    lab.must(["plan", "-detailed-exitcode"]);
    lab.must(["status"]);

    // Whoever goes on from an old copy of the state has an old token, and no agent obeys it.
    lab.write("old/main.hcl", lab.cluster(4, "NONE"));
    let lustre = format!("{} -chdir=old", env!("CARGO_BIN_EXE_lustre"));
    lab.sh(&format!("{lustre} state push pulled.state"));
    let said = lab.try_sh(&format!("{lustre} apply -auto-approve"));
    assert_eq!(said.code, Some(1), "{}", said.all());
    assert!(said.all().contains("another apply took over"), "{}", said.all());
    lab.must(["status"]);
    lab.must(["destroy", "-auto-approve", "-allow-data-loss=*"]);
}
