//! Agents of other releases: they come host after host, and go again where they do not work.

use std::time::Duration;

use fs_err as fs;

use super::cluster::{UNIT, files, spec};
use super::deployment::Deployment;
use super::machine::{Lab, Machine};
use super::spawned::wait_until;

/// How long systemd may take to notice what hangs, and agents to come back.
const BACK_MAX: Duration = Duration::from_mins(2);

/// The agent of another release: the same, and a few bytes that nobody reads.
fn other_release() -> Vec<u8> {
    let mut agent = fs::read(env!("CARGO_BIN_EXE_lustre-agent")).expect("the agent was built");
    agent.extend_from_slice(b"another release");
    agent
}

/// The process of a machine's agent.
fn pid(machine: &Machine) -> String {
    machine.sh(&format!("systemctl show -p MainPID --value {UNIT}"))
}

/// What a machine's agent is, by its process.
fn agent(machine: &Machine) -> (String, String) {
    let pid = pid(machine);
    let program = machine.sh(&format!("readlink /proc/{pid}/exe"));
    (pid, program)
}

/// Processes that agents keep, which no exchange of an agent may touch.
fn kept(machine: &Machine) -> String {
    machine.sh("pgrep -f 'lustre-agent (metadata|object|mount) --dir' | sort")
}

#[test]
fn a_newer_agent_takes_over_host_by_host_and_one_that_does_not_work_goes_again() {
    let lab = Lab::up(3);
    let mut deployment = Deployment::new();
    let all = [lab.machine(1), lab.machine(2), lab.machine(3)];
    let before = all.map(files);
    deployment.spec(&spec(&lab, true));
    deployment.must("apply -auto-approve");
    all[2].sh("echo hello > /mnt/fsx/a; sync");
    let (processes, old) = (all.map(kept), all.map(agent));

    // It starts, says nothing, and never listens. Where it is tried first, it goes again; the others keep what they have.
    deployment.upgrade("hangs", b"#!/bin/sh\necho I only sleep >&2\nexec sleep 600\n");
    let said = deployment.lustre("apply -auto-approve");
    let text = said.all().split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(said.code, Some(1), "{}", said.all());
    assert!(text.contains("W1001") && text.contains("gets another agent"), "{}", said.all());
    assert!(text.contains("the one before it was put back"), "{}", said.all());
    assert!(text.contains("keeps the agent that it has"), "{}", said.all());
    assert_eq!(all.map(|machine| agent(machine).1), old.clone().map(|(_, program)| program));
    assert_eq!(all.map(kept), processes);
    assert_eq!(all.map(|machine| machine.sh("ls /var/lib/lustre | grep -c before.json || true")), ["0"; 3]);
    assert_eq!(deployment.lustre("status").code, Some(0), "all is as it was");

    // It ends at once, with a word on why.
    deployment.upgrade("ends", b"#!/bin/sh\necho I will not live here >&2\nexit 3\n");
    let said = deployment.lustre("apply -auto-approve");
    let text = said.all().split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(said.code, Some(1), "{}", said.all());
    assert!(text.contains("I will not live here") && text.contains("was put back"), "{}", said.all());
    assert_eq!(all.map(|machine| agent(machine).1), old.clone().map(|(_, program)| program));

    // One that works: three agents are exchanged, and no process of theirs notices.
    deployment.upgrade("good", &other_release());
    let plan = deployment.must("plan");
    assert!(plan.contains("0 to add, 3 to change, 0 to destroy"), "{plan}");
    deployment.must("apply -auto-approve");
    for (machine, (_, program)) in all.iter().zip(&old) {
        assert_ne!(agent(machine).1, *program, "{}", machine.name);
    }
    assert_eq!(all.map(kept), processes);
    assert_eq!(all[2].sh("cat /mnt/fsx/a"), "hello");
    assert_eq!(deployment.lustre("plan -detailed-exitcode").code, Some(0), "nothing is left to do");

    // An agent that hangs is ended by systemd's watchdog, and comes back.
    let hung = pid(all[0]);
    all[0].sh(&format!("kill -STOP {hung}"));
    wait_until("systemd starts the agent anew", BACK_MAX, || pid(all[0]) != hung);
    wait_until("it answers", BACK_MAX, || deployment.lustre("status").code == Some(0));
    assert_eq!(all.map(kept), processes);

    deployment.must("destroy -auto-approve -allow-data-loss=cluster.lab");
    for (machine, before) in all.iter().zip(&before) {
        assert_eq!(files(machine), *before, "{} is as it was", machine.name);
    }
}

#[test]
fn an_upgrade_that_was_cut_off_is_known_to_the_next_apply_which_still_can_go_back() {
    let lab = Lab::up(1);
    let mut deployment = Deployment::new();
    let machine = lab.machine(1);
    deployment.spec(&super::deployment::host(&lab, "one", 1, ("ops", &super::deployment::good(&lab, 1))));
    deployment.must("apply -auto-approve");
    let (_, old) = agent(machine);
    let unit = machine.sh(&format!("cat /etc/systemd/system/{UNIT}"));
    let settings = machine.sh("cat /var/lib/lustre/agent.json");
    // As an apply leaves it that was killed behind the exchange: the unit is that of an agent that nobody saw answer.
    let hangs = b"#!/bin/sh\nexec sleep 600\n";
    deployment.upgrade("hangs", hangs);
    let folder = "/var/lib/lustre/bin/dead";
    machine.sh(&format!(
        "mkdir -p {folder}; printf '#!/bin/sh\\nexec sleep 600\\n' > {folder}/lustre-agent; chmod 755 {folder}/lustre-agent"
    ));
    let note = serde_json::json!({ "settings": settings, "kept": { "unit": format!("{unit}\n") } });
    let note = note.to_string().replace('\'', r"'\''");
    machine.sh(&format!(
        "printf %s '{note}' > /var/lib/lustre/before.json
         sed -i 's#bin/[0-9a-f]*/#bin/dead/#' /etc/systemd/system/{UNIT}
         systemctl daemon-reload; systemctl restart --no-block {UNIT}"
    ));
    let said = deployment.lustre("apply -auto-approve");
    let text = said.all().split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(said.code, Some(1), "{}", said.all());
    assert!(text.contains("was put back"), "{}", said.all());
    assert_eq!(agent(machine).1, old);
    assert_eq!(deployment.lustre("status").code, Some(0));
}
