//! `lustre test` with a cluster that is really there: applied by a run, used, and gone at the end; or named with its state.

use rustix::process::{Pid, Signal, kill_process};

use crate::lab::{Lab, ended, wait_until};

/// A run that applies, and `more` that plan behind it.
fn tests(more: usize) -> String {
    let made = "run \"made\" {\n  assert {\n    condition     = length(cluster.story.targets) == 3\n    error_message = \"Targets are \
                missing.\"\n  }\n}\n";
    let plans = (0..more).map(|at| format!("run \"plan{at}\" {{\n  command = plan\n}}\n"));
    plans.fold(made.to_owned(), |all, run| all + &run)
}

/// What is in the folder of temporary files, but for the mark that keeps it.
fn states(lab: &Lab) -> Vec<String> {
    let entries = fs_err::read_dir(lab.path("tmp")).expect("it can be listed").flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| name != ".keep").collect()
}

#[test]
fn a_cluster_is_applied_by_a_test_and_gone_afterwards() {
    let lab = Lab::new();
    lab.spec(&(lab.cluster(2, "NONE") + &lab.mount("a")));
    lab.write("tests/a.test.hcl", tests(20));
    let child = lab.start("test", &["test", "-json-into=test.jsonl"]);
    wait_until("the run that applies passes", || lab.read("test.out").contains("run \"made\"... pass"));
    // The mount outlives the run, so a file can be written while the next ones plan.
    fs_err::write(lab.path("a/file"), "bytes of a test").expect("it is a file system");
    assert_eq!(lab.mounts().len(), 1);
    assert_eq!(states(&lab).len(), 1);
    let code = ended(child);
    assert_eq!(code, Some(0), "{}{}", lab.read("test.out"), lab.read("test.err"));
    assert!(lab.read("test.out").contains("Success! 21 passed, 0 failed."), "{}", lab.read("test.out"));
    assert!(lab.read("test.jsonl").contains("\"test_summary\":{\"errored\":0"), "{}", lab.read("test.jsonl"));
    assert_eq!((lab.mounts(), lab.processes(), states(&lab)), (Vec::new(), Vec::new(), Vec::new()));
    assert!(!lab.path("mdt").exists() && !lab.path("ost").exists() && !lab.path("lustre.state").exists());
}

#[test]
fn what_a_test_cannot_destroy_is_named_and_can_be_destroyed_with_its_state() {
    let lab = Lab::new();
    let spec = lab.cluster(2, "NONE") + &lab.mount("a");
    lab.spec(&spec);
    lab.write("tests/a.test.hcl", tests(200));
    let child = lab.start("test", &["test", "-json-into=test.jsonl"]);
    let pid = Pid::from_child(&child);
    wait_until("the run that applies passes", || lab.read("test.out").contains("run \"made\"... pass"));
    kill_process(pid, Signal::STOP).expect("it runs");
    assert!(!lab.read("test.out").contains("tearing down"), "it was stopped too late");
    // What is mounted on the folder of a target keeps the folder from being removed.
    lab.sh("mount -t tmpfs none ost/story-OST0000");
    kill_process(pid, Signal::CONT).expect("it is there");
    let code = ended(child);
    let told = lab.read("test.err");
    assert_eq!(code, Some(1), "{}{told}", lab.read("test.out"));
    let words = told.split_whitespace().filter(|word| *word != "│").collect::<Vec<_>>().join(" ");
    assert!(words.contains("E0979") && words.contains("a test leaves behind"), "{told}");
    assert!(words.contains("story-OST0000") && words.contains("busy"), "{told}");
    let stream = lab.read("test.jsonl");
    assert!(stream.contains("\"test_cleanup\":{\"failed_resources\":[{\"instance\":"), "{stream}");
    let left = states(&lab);
    assert_eq!(left.len(), 1, "{left:?}");
    let state = lab.path("tmp").join(&left[0]).join("lustre.state").display().to_string();
    assert!(words.replace(' ', "").contains(&state), "the state is named: {told}");
    // As the message says.
    lab.sh("umount ost/story-OST0000");
    lab.spec(&format!("lustre {{\n  state \"local\" {{\n    path = \"{state}\"\n  }}\n}}\n{spec}"));
    lab.must(["destroy", "-auto-approve", "-allow-data-loss=*"]);
    assert_eq!((lab.mounts(), lab.processes()), (Vec::new(), Vec::new()));
    assert!(!lab.path("mdt").exists() && !lab.path("ost").exists());
}

#[test]
fn an_interrupt_while_a_test_destroys_names_what_is_left() {
    let lab = Lab::new();
    // Many targets, so that some are left when it is heard.
    let spec = lab.cluster(40, "NONE") + &lab.mount("a");
    lab.spec(&spec);
    lab.write("tests/a.test.hcl", tests(0));
    let child = lab.start("test", &["test"]);
    let pid = Pid::from_child(&child);
    wait_until("it is applied", || lab.read("test.out").contains("tearing down"));
    while !lab.mounts().is_empty() {
        std::hint::spin_loop();
    }
    kill_process(pid, Signal::INT).expect("it runs");
    let code = ended(child);
    let (out, told) = (lab.read("test.out"), lab.read("test.err"));
    let left = states(&lab);
    if left.is_empty() {
        // It was done before it heard.
        assert_eq!((lab.mounts(), lab.processes()), (Vec::new(), Vec::new()), "{out}{told}");
        return;
    }
    assert_eq!(code, Some(1), "{out}{told}");
    assert!(told.contains("E0979") && told.contains("interrupted"), "{out}{told}");
    let state = lab.path("tmp").join(&left[0]).join("lustre.state");
    lab.spec(&format!(
        "lustre {{\n  state \"local\" {{\n    path = \"{}\"\n  }}\n}}\n{spec}",
        state.display()
    ));
    lab.must(["destroy", "-auto-approve", "-allow-data-loss=*"]);
    assert_eq!((lab.mounts(), lab.processes()), (Vec::new(), Vec::new()));
}
