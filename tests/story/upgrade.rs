//! Agents of other releases on this machine, where nobody keeps an agent but the next apply.

use std::time::Instant;

use fs_err as fs;
use serde_json::Value as Json;

use crate::lab::{Lab, Said};

/// A release: this `lustre`, and beside it another agent.
fn release(lab: &Lab, name: &str, agent: &[u8]) {
    lab.sh(&format!("mkdir {name}"));
    let own = env!("CARGO_BIN_EXE_lustre");
    let program = lab.path(name).join("lustre");
    if fs::hard_link(own, &program).is_err() {
        fs::copy(own, &program).expect("a program can be copied");
    }
    fs::write(lab.path(name).join("lustre-agent"), agent).expect("written");
}

fn apply(lab: &Lab, release: &str) -> (Said, String) {
    let said = lab.try_sh(&format!("NO_COLOR=1 {release}/lustre apply -auto-approve"));
    let text = said.all().split_whitespace().collect::<Vec<_>>().join(" ");
    (said, text)
}

/// The process of the agent that runs, and its program.
fn agent(lab: &Lab) -> (u64, String) {
    let noted: Json = serde_json::from_str(&lab.read("agent/agent.pid")).expect("JSON");
    let pid = noted["proof"]["pid"].as_u64().expect("a number");
    let program = fs::read_link(format!("/proc/{pid}/exe")).expect("it runs");
    (pid, program.display().to_string())
}

/// All that the agent keeps.
fn kept(lab: &Lab) -> Vec<(u32, String)> {
    lab.processes().into_iter().filter(|(_, line)| line.contains("/agent/processes/")).collect()
}

#[test]
fn an_agent_of_another_release_takes_over_and_one_that_does_not_work_never_does() {
    let lab = Lab::new();
    lab.spec(&(lab.cluster(1, "NONE") + &lab.mount("mnt")));
    lab.apply();
    let (first, processes) = (agent(&lab), kept(&lab));
    fs::write(lab.path("mnt/file"), "kept").expect("written");

    // It cannot even be started: the one before is not touched.
    release(&lab, "ends", b"#!/bin/sh\necho I will not live here >&2\nexit 3\n");
    let (said, text) = apply(&lab, "ends");
    assert_eq!(said.code, Some(1), "{}", said.all());
    assert!(text.contains("I will not live here") && text.contains("was put back"), "{}", said.all());
    assert_eq!((agent(&lab), kept(&lab)), (first.clone(), processes.clone()));

    // It ends the one before, says that all is well, and never answers.
    let lies = format!(
        "#!/bin/sh\n[ \"$1\" = start ] || exit 0\nkill $(sed 's/.*\"pid\":\\([0-9]*\\).*/\\1/' {})\necho ready\n",
        lab.path("agent/agent.pid").display()
    );
    release(&lab, "lies", lies.as_bytes());
    let begun = Instant::now();
    let (said, text) = apply(&lab, "lies");
    assert_eq!(said.code, Some(1), "{}", said.all());
    assert!(text.contains("was put back"), "{}", said.all());
    assert!(begun.elapsed().as_secs() < 60, "in time: {:?}", begun.elapsed());
    let back = agent(&lab);
    assert!(back.0 != first.0 && back.1 == first.1, "{back:?} after {first:?}");
    assert_eq!(kept(&lab), processes);
    assert!(!lab.path("agent/before.json").exists());
    assert_eq!(lab.lustre(["status"]).code, Some(0), "all is as it was");

    let mut good = fs::read(env!("CARGO_BIN_EXE_lustre-agent")).expect("the agent was built");
    good.extend_from_slice(b"another release");
    release(&lab, "good", &good);
    let (said, text) = apply(&lab, "good");
    assert_eq!(said.code, Some(0), "{}", said.all());
    assert!(text.contains("W1001") && text.contains("0 added, 1 changed, 0 destroyed"), "{}", said.all());
    assert_ne!(agent(&lab).1, first.1);
    assert_eq!((kept(&lab), lab.read("mnt/file")), (processes, "kept".to_owned()));
    let again = apply(&lab, "good").1;
    assert!(again.contains("No changes"), "{again}");
    assert!(!lab.path("agent/before.json").exists());
}
