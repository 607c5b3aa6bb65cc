//! The agent that is there before another one comes: it is put back when the new one does not answer.
//!
//! How an agent comes to a host is [`crate::bootstrap`]'s; whether it answers, the fleet finds out. Processes of an agent go on
//! meanwhile, whichever agent there is.
//! Invariant: from before the first change until the new agent has answered, the host has a note of what to put back; an apply
//! that is killed in between leaves it to the next.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::connection::{Command, Connection, ConnectionError, Source, run_ok};
use crate::service::{self, Keeper};

/// Where the note is, in the agent's folder.
pub const NOTE: &str = "before.json";

/// Where an agent's settings are, in its folder.
pub const SETTINGS: &str = "agent.json";

/// Where an agent notes which process it is.
const RUNNING: &str = "agent.pid";

/// The name of an agent's program.
const PROGRAM: &str = "lustre-agent";

/// An agent that ran, and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Before {
    /// Its settings.
    settings: String,
    /// What keeps it.
    kept: Kept,
}

/// What keeps an agent running.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kept {
    /// This text of its unit.
    Unit(String),
    /// Nothing; this program was started.
    Program(PathBuf),
}

/// Returns the agent that a start with this program and these settings would replace by another one; `None` where there is none, and
/// where it is the same.
pub async fn replaced(
    connection: &dyn Connection,
    (keeper, folder): (Keeper, &str),
    (program, settings): (&Path, &str),
) -> Result<Option<Before>, ConnectionError> {
    let dir = Path::new(folder);
    if let Some(note) = connection.read(&dir.join(NOTE)).await? {
        // What is there now was never seen to answer.
        let damaged = |source: serde_json::Error| file_error(connection, &dir.join(NOTE), &source);
        return serde_json::from_slice(&note).map(Some).map_err(damaged);
    }
    let Some(known) = connection.read(&dir.join(SETTINGS)).await? else { return Ok(None) };
    let (kept, coming) = match keeper {
        Keeper::Systemd => {
            let Some(unit) = service::written(connection, folder).await? else { return Ok(None) };
            (Kept::Unit(unit), Kept::Unit(service::unit(program, folder)))
        }
        Keeper::Nobody => {
            let Some(runs) = running(connection, dir).await? else { return Ok(None) };
            (Kept::Program(runs), Kept::Program(program.to_owned()))
        }
    };
    let before = Before { settings: String::from_utf8_lossy(&known).into_owned(), kept };
    Ok((before.kept != coming || before.settings != settings).then_some(before))
}

/// Finds the program of an agent that nobody keeps, while it runs.
async fn running(connection: &dyn Connection, dir: &Path) -> Result<Option<PathBuf>, ConnectionError> {
    let Some(text) = connection.read(&dir.join(RUNNING)).await? else { return Ok(None) };
    let noted: serde_json::Value = serde_json::from_slice(&text).unwrap_or_default();
    let Some(pid) = noted["proof"]["pid"].as_u64() else { return Ok(None) };
    let said = connection.run(&Command::new("readlink", &[&format!("/proc/{pid}/exe")])).await?;
    let program = PathBuf::from(String::from_utf8_lossy(&said.stdout).trim());
    // Another process may have the number by now, and a program that was deleted cannot be started again.
    let is_agent = program.is_absolute() && program.file_name().is_some_and(|name| name == PROGRAM);
    Ok(is_agent.then_some(program))
}

/// Notes on the host what would have to be put back.
pub async fn note(connection: &dyn Connection, folder: &str, before: &Before) -> Result<(), ConnectionError> {
    let path = Path::new(folder).join(NOTE);
    let text = serde_json::to_vec(before).map_err(|source| file_error(connection, &path, &source))?;
    connection.put(Source::Bytes(&text), &path, 0o600).await
}

/// Forgets what was before.
pub async fn forget(connection: &dyn Connection, folder: &str) -> Result<(), ConnectionError> {
    connection.remove(&Path::new(folder).join(NOTE)).await
}

/// Has the agent run again that ran before.
pub async fn put_back(
    connection: &dyn Connection,
    folder: &str,
    before: &Before,
) -> Result<(), ConnectionError> {
    let settings = Path::new(folder).join(SETTINGS);
    connection.put(Source::Bytes(before.settings.as_bytes()), &settings, 0o644).await?;
    match &before.kept {
        Kept::Unit(text) => service::install(connection, folder, text).await,
        Kept::Program(program) => {
            run_ok(connection, &Command::new(program, &["start", "--dir", folder])).await.map(drop)
        }
    }
}

fn file_error(connection: &dyn Connection, path: &Path, source: &serde_json::Error) -> ConnectionError {
    let source = io::Error::new(io::ErrorKind::InvalidData, format!("{}: {source}", path.display()));
    ConnectionError::File { host: connection.name().to_owned(), source }
}
