//! A key that only a command of the user can use: a KMS, an HSM, an agent. It wraps and unwraps data keys.
//!
//! ```text
//! wrap      stdin  {"version":1,"operation":"wrap","key":"kms","data_key":"…base64…"}
//!           stdout {"wrapped":"…base64…"}
//! unwrap    stdin  {"version":1,"operation":"unwrap","key":"kms","wrapped":"…base64…"}
//!           stdout {"data_key":"…base64…"}
//! ```
//! What the command says on standard error goes to ours. It is started once to write and once for each data key to read.
//! Invariant: a command that fails, says something else or says nothing in time is an error; a data key is never printed.

use std::borrow::Cow;
use std::io::{self, Read as _, Write as _};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use lustre_store::Wrapper;
use serde::Deserialize;
use serde_json::json;
use zeroize::Zeroizing;

/// How long a command may take.
const TIME_MAX: Duration = Duration::from_secs(60);

/// Behind this the user is told what is waited for.
const TIME_UNSAID: Duration = Duration::from_secs(3);

/// Most bytes of its answer.
const ANSWER_BYTES_MAX: u64 = 64 << 10;

/// The command of a key.
pub struct CommandKey {
    /// The key's name.
    pub name: String,
    /// The program and its arguments.
    pub words: Vec<String>,
}

/// What the command said.
#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow, default)]
    wrapped: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    data_key: Option<Cow<'a, str>>,
}

impl Wrapper for CommandKey {
    fn wrap(&self, data_key: &[u8]) -> Result<Vec<u8>, String> {
        let answer = self.ask("wrap", ("data_key", data_key))?;
        let said = serde_json::from_slice(&answer)
            .ok()
            .and_then(|answer: Answer<'_>| decode(answer.wrapped?.as_ref()));
        said.filter(|bytes| !bytes.is_empty()).ok_or_else(|| self.nonsense("wrapped"))
    }

    fn unwrap(&self, wrapped: &[u8]) -> Result<Zeroizing<Vec<u8>>, String> {
        let answer = self.ask("unwrap", ("wrapped", wrapped))?;
        let said = serde_json::from_slice(&answer)
            .ok()
            .and_then(|answer: Answer<'_>| decode(answer.data_key?.as_ref()));
        said.map(Zeroizing::new).filter(|bytes| !bytes.is_empty()).ok_or_else(|| self.nonsense("data_key"))
    }
}

impl CommandKey {
    fn program(&self) -> &str {
        self.words.first().map_or("", String::as_str)
    }

    fn nonsense(&self, field: &str) -> String {
        format!("{} did not answer with {{\"{field}\":\"…base64…\"}}", self.program())
    }

    /// Runs the command and returns its answer.
    fn ask(&self, operation: &str, (field, bytes): (&str, &[u8])) -> Result<Zeroizing<Vec<u8>>, String> {
        let (program, name, given) = (self.program(), json!(self.name), Zeroizing::new(BASE64.encode(bytes)));
        // Written by hand, because the data key must leave memory with this text.
        let head = format!("{{\"version\":1,\"operation\":\"{operation}\",\"key\":{name},\"{field}\":\"");
        let question = Zeroizing::new([head.as_str(), &given, "\"}\n"].concat());
        let mut command = Command::new(program);
        command.args(self.words.iter().skip(1)).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(|error| format!("{program} does not start: {error}"))?;
        let pid = child.id();
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let (answer, waiting) = mpsc::channel();
        std::thread::spawn(move || {
            // A command that does not listen has ended, or answers without.
            let _unheard = stdin.map(|mut stdin| stdin.write_all(question.as_bytes()));
            let mut bytes = Zeroizing::new(Vec::new());
            let read = stdout.map_or(Ok(0), |stdout| stdout.take(ANSWER_BYTES_MAX).read_to_end(&mut bytes));
            let ended = child.wait();
            let _nobody_waits = answer.send(read.and(ended).map(|status| (status, bytes)));
        });
        let told = waiting.recv_timeout(TIME_UNSAID).or_else(|_| {
            // Whoever runs this may be meant to touch a token, or to log in.
            let _unseen =
                writeln!(io::stderr(), "Waiting for {program}, the command of the key \"{}\" …", self.name);
            waiting.recv_timeout(TIME_MAX.saturating_sub(TIME_UNSAID))
        });
        let told = told.map_err(|_| {
            let process = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw);
            let _gone = process.map(|pid| rustix::process::kill_process(pid, rustix::process::Signal::KILL));
            format!("{program} did not end within {} s and was killed", TIME_MAX.as_secs())
        })?;
        let (status, bytes) = told.map_err(|error| format!("{program} cannot be heard: {error}"))?;
        if !status.success() {
            return Err(format!("{program} ended with {status}; see what it said above"));
        }
        Ok(bytes)
    }
}

fn decode(text: &str) -> Option<Vec<u8>> {
    BASE64.decode(text).ok()
}
