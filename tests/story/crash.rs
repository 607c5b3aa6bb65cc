//! SIGKILL to everything, at any moment: apply again, and nothing that was acknowledged is missing.

use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use crate::lab::{Lab, kill};

#[test]
fn nothing_acknowledged_is_lost_when_every_process_is_killed() {
    let lab = Lab::new();
    lab.spec(&(lab.cluster(4, "LZ4") + &lab.mount("mnt")));
    lab.apply();
    // A writer that notes each file after its write was answered; then everything is killed under it.
    let script = "i=0; while :; do i=$((i+1)); mkdir -p mnt/d$((i % 7)); \
                  head -c $((i * 997 % 200000)) /dev/urandom > copy; cp copy mnt/d$((i % 7))/f$i || exit 0; \
                  sha256sum < copy | sed \"s|-|mnt/d$((i % 7))/f$i|\" >> noted; done";
    let mut writer = Command::new("sh")
        .args(["-c", script])
        .current_dir(lab.path("."))
        .stderr(Stdio::null())
        .spawn()
        .expect("a shell starts");
    sleep(Duration::from_millis(1500));
    lab.kill_everything();
    sleep(Duration::from_millis(100));
    kill(writer.id());
    writer.wait().expect("the writer ends");

    lab.apply();
    let noted = fs_err::read_to_string(lab.path("noted")).expect("files were noted");
    assert!(noted.lines().count() >= 5, "the writer got somewhere: {noted}");
    lab.sh("sha256sum --quiet -c noted");
    let plan = lab.lustre(["plan", "-detailed-exitcode"]);
    assert_eq!(plan.code, Some(0), "{}", plan.all());
    // It can be written again, and read.
    lab.sh("echo again > mnt/again && test \"$(cat mnt/again)\" = again");
}

#[test]
fn an_apply_that_is_killed_at_any_moment_is_finished_by_the_next() {
    for (round, pause_ms) in [40_u64, 120, 250, 450, 800].into_iter().enumerate() {
        let lab = Lab::new();
        lab.spec(&(lab.cluster(2, "NONE") + &lab.mount("mnt")));
        let mut apply = begin_apply(&lab);
        sleep(Duration::from_millis(pause_ms));
        kill(apply.id());
        apply.wait().expect("apply ends");
        finish(&lab, &format!("round {round}"));
    }
}

#[test]
fn an_apply_that_is_killed_as_its_agent_begins_to_listen_is_finished_by_the_next() {
    for round in 0..3 {
        let lab = Lab::new();
        lab.spec(&(lab.cluster(1, "NONE") + &lab.mount("mnt")));
        let mut apply = begin_apply(&lab);
        // The agent is there, and the state does not know of it yet.
        while TcpStream::connect(("127.0.0.1", lab.control_port())).is_err() {
            assert!(apply.try_wait().expect("apply can be asked").is_none(), "apply ended without an agent");
            sleep(Duration::from_millis(1));
        }
        kill(apply.id());
        apply.wait().expect("apply ends");
        finish(&lab, &format!("round {round}"));
    }
}

fn begin_apply(lab: &Lab) -> Child {
    Command::new(env!("CARGO_BIN_EXE_lustre"))
        .arg(format!("-chdir={}", lab.path(".").display()))
        .args(["apply", "-auto-approve"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("lustre starts")
}

/// What an apply that was cut off must still come to.
fn finish(lab: &Lab, round: &str) {
    lab.apply();
    lab.sh("echo here > mnt/file && test \"$(cat mnt/file)\" = here");
    let processes = lab.processes();
    let agents = processes.iter().filter(|(_, line)| line.contains("lustre-agent run")).count();
    assert_eq!(agents, 1, "{round}: {processes:?}");
    lab.must(["destroy", "-auto-approve", "-allow-data-loss=cluster.*"]);
    assert!(lab.processes().is_empty(), "{round}: {:?}", lab.processes());
}
