//! Programs that tests run, none without a limit.
//!
//! Not on the machines of the lab; those are asked through [`super::machine::Machine::sh`].
//! Invariant: a program that does not end fails its test, and is killed.

use std::io::Read;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long one program may take; the first lab makes a Debian.
const LIMIT: Duration = Duration::from_mins(10);

/// What a program said and how it ended.
#[derive(Debug)]
pub struct Said {
    /// Exit code; `None` when it was killed.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Said {
    /// Both streams, for messages.
    pub fn all(&self) -> String {
        format!("exit {:?}\n{}{}", self.code, self.stdout, self.stderr)
    }
}

/// Runs a program to its end.
pub fn run(mut command: Command) -> Said {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let out = child.stdout.take().map(|stream| std::thread::spawn(move || read(stream)));
    let err = child.stderr.take().map(|stream| std::thread::spawn(move || read(stream)));
    let deadline = Instant::now() + LIMIT;
    let status = loop {
        if let Some(status) = child.try_wait().expect("a child can be waited for") {
            break status;
        }
        if Instant::now() > deadline {
            child.kill().expect("a child can be killed");
            panic!("{command:?} did not end within {LIMIT:?}");
        }
        sleep(Duration::from_millis(5));
    };
    let text = |reader: Option<std::thread::JoinHandle<String>>| {
        reader.map(|reader| reader.join().expect("a reader ends")).unwrap_or_default()
    };
    Said { code: status.code(), stdout: text(out), stderr: text(err) }
}

/// Runs a program that must succeed, and returns what it printed.
pub fn must(command: Command) -> String {
    let shown = format!("{command:?}");
    let said = run(command);
    assert_eq!(said.code, Some(0), "{shown}\n{}", said.all());
    said.stdout
}

/// Waits until a condition holds, or fails the test.
pub fn wait_until(what: &str, limit: Duration, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + limit;
    while !condition() {
        assert!(Instant::now() < deadline, "waited {limit:?} in vain: {what}");
        sleep(Duration::from_millis(50));
    }
}

fn read(mut stream: impl Read) -> String {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).expect("a pipe can be read");
    String::from_utf8_lossy(&bytes).into_owned()
}
