//! What `lustre-agent` does: the daemon of a host, and each of the processes that it starts from this same program.
//!
//! Command line and logs only; the daemon is `lustre_agent::daemon`, processes are their owners' entry functions.
//! Invariant: whatever ends a process, the reason is the last thing on its standard error, where the agent looks for it.

use std::error::Error;
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use lustre_agent::ProcessDir;
use lustre_agent::daemon::Started;
use tracing_subscriber::EnvFilter;

use self::repository_probe::repository_probe;
use crate::exit::chain;

mod mount;
mod mover;
mod repository_probe;

/// Names the variable that chooses what is logged.
const LOG_VARIABLE: &str = "LUSTRE_LOG";

/// What is logged without it.
const LOG_DEFAULT: &str = "info";

/// What a command that was typed logs without it.
const LOG_TYPED: &str = "warn";

/// The daemon of a host of lustre, and its processes.
#[derive(Debug, Parser)]
#[command(name = "lustre-agent", version)]
struct Line {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Makes the agent's key, unless it is there, and prints a signing request for it
    Enrol(Folder),
    /// Runs the agent in the foreground
    Run {
        #[command(flatten)]
        folder: Folder,
        /// Leave the session of the caller
        #[arg(long)]
        detached: bool,
    },
    /// Starts the agent in the background and returns when it listens; does nothing when it runs already
    Start(Folder),
    /// Looks whether conditions hold on this host: a JSON list of them on standard input, their results on standard output
    Probe,
    /// Runs a metadata target
    Metadata(Folder),
    /// Runs an object target
    Object(Folder),
    /// Moves data between a file system and its links' buckets
    Mover(Folder),
    /// Mounts a file system
    Mount(Folder),
    /// Serves a folder as a bucket
    Bucket(Folder),
    /// Looks whether a folder can be listed
    Answers { path: PathBuf },
}

#[derive(Debug, clap::Args)]
struct Folder {
    /// The folder of the agent or the process
    #[arg(long)]
    dir: PathBuf,
}

/// Runs the command line of this process and returns how the process shall end.
#[expect(clippy::print_stdout, reason = "the program's own voice")]
pub fn run() -> ExitCode {
    let line = Line::parse();
    log_to_stderr(LOG_DEFAULT);
    match carry_out(line.verb) {
        Ok(said) => {
            if let Some(said) = said {
                println!("{}", said.trim_end());
            }
            ExitCode::SUCCESS
        }
        Err(error) => {
            // The reason may not find room in a log on a full disk; it ends the process all the same, and does not abort it.
            let _ = writeln!(io::stderr(), "error: {}", chain(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

/// Mounts what a folder describes, for a command that was typed, until it is unmounted.
pub fn mounted(dir: &ProcessDir) -> Result<(), Box<dyn Error>> {
    log_to_stderr(LOG_TYPED);
    Ok(mount::run(dir)?)
}

fn carry_out(verb: Verb) -> Result<Option<String>, Box<dyn Error>> {
    match verb {
        Verb::Enrol(folder) => Ok(Some(lustre_agent::daemon::enrol(&folder.dir)?)),
        Verb::Run { folder, detached } => {
            if detached {
                lustre_agent::daemon::detach()?;
            }
            lustre_agent::daemon::run(&folder.dir, repository_probe())?;
            Ok(None)
        }
        Verb::Start(folder) => Ok(Some(match lustre_agent::daemon::start(&folder.dir)? {
            Started::Now => "ready".to_owned(),
            Started::Already => "ready, was running".to_owned(),
        })),
        Verb::Probe => {
            let probes = serde_json::from_reader(io::stdin().lock())?;
            let results = lustre_agent::daemon::probe(probes, &repository_probe())?;
            Ok(Some(serde_json::to_string(&results)?))
        }
        Verb::Metadata(folder) => keep(folder, lustre_agent::metadata_target::run),
        Verb::Object(folder) => keep(folder, lustre_agent::object_target::run),
        Verb::Mover(folder) => keep(folder, mover::run),
        Verb::Mount(folder) => keep(folder, mount::run),
        Verb::Bucket(folder) => keep(folder, lustre_agent::bucket::run),
        Verb::Answers { path } => {
            fs_err::read_dir(path)?;
            Ok(None)
        }
    }
}

/// Runs a process of the agent: alone in its folder, in a session of its own.
fn keep<E: Error + 'static>(
    folder: Folder,
    entry: impl FnOnce(&ProcessDir) -> Result<(), E>,
) -> Result<Option<String>, Box<dyn Error>> {
    lustre_agent::daemon::detach()?;
    let dir = ProcessDir::new(folder.dir);
    let _entered = dir.enter()?;
    entry(&dir).inspect_err(|error| dir.last_words(&chain(error)))?;
    Ok(None)
}

fn log_to_stderr(usual: &str) {
    let filter = EnvFilter::try_from_env(LOG_VARIABLE).unwrap_or_else(|_| EnvFilter::new(usual));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(|| BestEffort(io::stderr()))
        .with_ansi(io::stderr().is_terminal())
        .init();
}

/// A stream whose words are dropped where it does not take them.
///
/// A log lies on a disk that may be full. The subscriber tells of a failed write by panicking in the thread that had
/// something to say; that would end the supervision of a process, or a target, for a line of its log.
struct BestEffort<W>(W);

impl<W: Write> Write for BestEffort<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.0.write(bytes) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Err(error),
            Ok(0) | Err(_) => Ok(bytes.len()),
            Ok(count) => Ok(count),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        let _ = self.0.flush();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails as a file on a full disk does.
    struct Full;

    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Err(io::ErrorKind::StorageFull.into())
        }
    }

    #[test]
    fn a_log_on_a_full_disk_never_fails_who_writes_it() {
        let mut log = BestEffort(Full);
        log.write_all(b"a line\n").unwrap();
        log.flush().unwrap();
        tracing::subscriber::with_default(
            tracing_subscriber::fmt().with_writer(|| BestEffort(Full)).finish(),
            || tracing::warn!("words that nobody gets"),
        );
    }
}
