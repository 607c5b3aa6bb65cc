//! How a host is reached before its agent answers: run a command, put a file, read one, look at one.
//!
//! Not the agent's control protocol; once an agent answers, only that is used. `local` is this machine.
//! Invariant: a file that is put is there whole under its name, or not at all; what could not be put leaves nothing behind.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::future::BoxFuture;
use thiserror::Error;

pub use local::Local;
pub use ssh::{Ssh, SshError, Surroundings};

mod local;
mod ssh;

/// A command to run on a host.
#[derive(Debug, Clone)]
pub struct Command {
    /// The program, found as the host finds programs.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// What it reads from its standard input.
    pub input: Vec<u8>,
    /// How long it may take; then it is killed.
    pub limit: Duration,
}

/// What a command said.
#[derive(Debug, Clone)]
pub struct Said {
    /// Its exit code, when it was not killed.
    pub code: Option<i32>,
    /// Its standard output.
    pub stdout: Vec<u8>,
    /// Its standard error.
    pub stderr: String,
}

/// A file to put on a host.
#[derive(Debug, Clone)]
pub enum Source<'a> {
    /// These bytes.
    Bytes(&'a [u8]),
    /// The content of a file of this machine.
    File(&'a Path),
}

/// What is at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// Nothing.
    Absent,
    /// A file of so many bytes.
    File {
        /// Bytes.
        size: u64,
    },
    /// A directory.
    Directory,
    /// Something else.
    Other,
}

/// The host could not be asked, or refused.
#[derive(Debug, Error)]
pub enum ConnectionError {
    /// A file or folder could not be read or written.
    #[error("on {host}")]
    File {
        /// Which host.
        host: String,
        /// Why, with the path.
        #[source]
        source: std::io::Error,
    },
    /// A file does not fit on the host's disk.
    #[error("on {host}: {needed} bytes are needed at {path}, and {free} are free")]
    NoRoom {
        /// Which host.
        host: String,
        /// In which folder.
        path: String,
        /// Bytes of the file.
        needed: u64,
        /// Bytes that its file system has for us.
        free: u64,
    },
    /// A program could not be started.
    #[error("on {host}: {program} could not be run")]
    Spawn {
        /// Which host.
        host: String,
        /// Which program.
        program: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A command took too long.
    #[error("on {host}: {program} did not end within {limit:?}")]
    TooLong {
        /// Which host.
        host: String,
        /// Which program.
        program: String,
        /// The limit.
        limit: Duration,
    },
    /// The host cannot be reached over SSH.
    #[error("{host} cannot be reached over SSH")]
    Ssh {
        /// Which host.
        host: String,
        /// Why.
        #[source]
        source: Box<SshError>,
    },
    /// A command said that it failed.
    #[error("on {host}: {program} failed: {said}")]
    Failed {
        /// Which host.
        host: String,
        /// Which program with its arguments.
        program: String,
        /// The end of what it said.
        said: String,
    },
}

impl ConnectionError {
    /// Tells whether the host cannot be reached any more, so that nothing is known of what was begun there.
    pub fn is_lost(&self) -> bool {
        matches!(self, Self::Ssh { .. })
    }

    /// Returns what a person can do, when that is known.
    pub fn remedy(&self) -> Option<String> {
        match self {
            Self::NoRoom { path, needed, .. } => Some(format!(
                "make {} MiB free on the disk of {path}, or give the host block a `path` on another disk, then apply again",
                needed.div_ceil(1 << 20)
            )),
            Self::File { source, .. }
                if matches!(source.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded) =>
            {
                Some("make room on the disk of that path, then apply again".to_owned())
            }
            Self::Ssh { source, .. } => source.remedy(),
            Self::File { .. } | Self::Spawn { .. } | Self::TooLong { .. } | Self::Failed { .. } => None,
        }
    }
}

/// Reaches one host.
pub trait Connection: Send + Sync {
    /// Names the host and the way to it, for messages.
    fn name(&self) -> &str;

    /// Runs a command to its end. A command that fails is not an error here.
    fn run<'a>(&'a self, command: &'a Command) -> BoxFuture<'a, Result<Said, ConnectionError>>;

    /// Runs a program of this machine on the host, with its arguments and input, and leaves nothing of it there.
    fn visit<'a>(&'a self, command: &'a Command) -> BoxFuture<'a, Result<Said, ConnectionError>>;

    /// Puts a file in place at once, creating its folders; `mode` are its permission bits.
    fn put<'a>(
        &'a self,
        source: Source<'a>,
        path: &'a Path,
        mode: u32,
    ) -> BoxFuture<'a, Result<(), ConnectionError>>;

    /// Reads a file of at most [`READ_MAX`] bytes; `None` when there is none.
    fn read<'a>(&'a self, path: &'a Path) -> BoxFuture<'a, Result<Option<Vec<u8>>, ConnectionError>>;

    /// Looks at a path without following a symbolic link at its end.
    fn stat<'a>(&'a self, path: &'a Path) -> BoxFuture<'a, Result<Found, ConnectionError>>;

    /// Removes a file, or a directory with all in it; nothing there is fine. Never leaves its file system.
    fn remove<'a>(&'a self, path: &'a Path) -> BoxFuture<'a, Result<(), ConnectionError>>;

    /// Removes a directory when it is empty.
    fn remove_empty<'a>(&'a self, path: &'a Path) -> BoxFuture<'a, Result<(), ConnectionError>>;
}

/// Largest file that [`Connection::read`] returns; what we read are small files of our own.
pub const READ_MAX: u64 = 1 << 20;

/// Most characters of a failed command's words that an error repeats.
const SAID_MAX: usize = 2000;

impl Command {
    /// Describes a command with nothing on its input and a minute to end.
    pub fn new(program: impl Into<PathBuf>, arguments: &[&str]) -> Self {
        Self {
            program: program.into(),
            arguments: arguments.iter().map(|&argument| argument.to_owned()).collect(),
            input: Vec::new(),
            limit: Duration::from_mins(1),
        }
    }
}

/// Runs a command that must succeed and returns what it printed.
pub async fn run_ok(connection: &dyn Connection, command: &Command) -> Result<Vec<u8>, ConnectionError> {
    succeeded(connection, command, connection.run(command).await?)
}

/// Returns what a command printed, when it succeeded.
pub fn succeeded(
    connection: &dyn Connection,
    command: &Command,
    said: Said,
) -> Result<Vec<u8>, ConnectionError> {
    if said.code == Some(0) {
        return Ok(said.stdout);
    }
    let mut words: Vec<&str> = vec![command.program.to_str().unwrap_or("?")];
    words.extend(command.arguments.iter().map(String::as_str));
    let text = said.stderr.trim();
    let start = text.char_indices().rev().nth(SAID_MAX).map_or(0, |(at, _)| at);
    Err(ConnectionError::Failed {
        host: connection.name().to_owned(),
        program: words.join(" "),
        said: text[start..].to_owned(),
    })
}
