//! SIGKILL at any moment of an apply: the state is never torn, and the next apply finishes.

use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::folder::Folder;

/// Layers of values, each layer on the one before, so that an apply has many writes.
fn layers(layers: usize, width: usize) -> String {
    let mut spec = format!("value \"l0\" {{\n  count = {width}\n  input = count.index\n}}\n");
    for layer in 1..layers {
        let before = layer - 1;
        spec.push_str(&format!(
            "value \"l{layer}\" {{\n  count = {width}\n  input = value.l{before}[count.index].output + 1\n}}\n"
        ));
    }
    spec
}

#[test]
fn an_apply_that_is_killed_anywhere_is_finished_by_the_next() {
    killed_anywhere(&layers(12, 12), 12);
}

#[test]
fn an_apply_that_is_killed_anywhere_is_finished_by_the_next_when_its_state_is_encrypted() {
    let encryption = "lustre {\n  encryption {\n    key \"k\" {\n      passphrase_file = \"passphrase\"\n    }\n    state {\n      key = \"k\"\n    }\n  }\n}\n";
    killed_anywhere(&format!("{encryption}{}", layers(6, 6)), 5);
}

fn killed_anywhere(spec: &str, kills: u32) {
    let folder = || {
        let folder = Folder::with(spec);
        folder.write("passphrase", "a passphrase of a test\n");
        folder
    };
    let whole = folder();
    let begun = Instant::now();
    whole.must("apply -auto-approve");
    let lasted = begun.elapsed();
    let expected = whole.must("show -json").json()["values"].clone();

    for kill in 1..=kills {
        let folder = folder();
        let mut apply = folder.start("apply -auto-approve");
        std::thread::sleep(lasted * kill / (kills + 1));
        let pid = Pid::from_child(&apply);
        // It may have ended already; that is a moment as good as any.
        let _ended = kill_process(pid, Signal::KILL);
        apply.wait().expect("it ends");

        folder.must("state list");
        folder.must("apply -auto-approve");
        assert_eq!(folder.must("show -json").json()["values"], expected, "kill {kill}");
        assert_eq!(folder.run("plan -detailed-exitcode").code, Some(0), "kill {kill}");
    }
}

#[test]
fn an_interrupt_ends_an_apply_with_an_exact_state() {
    let folder = Folder::with(&layers(12, 12));
    let mut apply = folder.start("apply -auto-approve");
    std::thread::sleep(Duration::from_millis(30));
    let _ended = kill_process(Pid::from_child(&apply), Signal::INT);
    let code = apply.wait().expect("it ends").code();
    // Before the handler is there the signal ends the process itself; after the last step there is nothing to stop.
    assert!(matches!(code, None | Some(0 | 1)), "{code:?}");
    folder.must("apply -auto-approve");
    assert_eq!(folder.run("plan -detailed-exitcode").code, Some(0));
}

#[test]
fn an_empty_or_torn_state_is_an_error_and_never_nothing() {
    let folder = Folder::with("value \"a\" {\n  input = 1\n}\n");
    folder.must("apply -auto-approve");
    let whole = fs_err::read(folder.path("lustre.state")).expect("the state is there");
    for cut in [0, 1, whole.len() / 2, whole.len() - 2] {
        fs_err::write(folder.path("lustre.state"), &whole[..cut]).expect("it can be written");
        for words in ["plan", "apply -auto-approve", "show", "state list"] {
            let said = folder.run(words);
            assert_eq!(said.code, Some(1), "{words} with {cut} bytes: {}", said.all());
            assert!(said.stderr.contains("lustre.state"), "{}", said.all());
        }
        assert_eq!(fs_err::read(folder.path("lustre.state")).expect("it is kept"), &whole[..cut]);
    }
}
