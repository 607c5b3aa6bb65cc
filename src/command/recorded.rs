//! The recorded world as commands reach it: read it, or lock it and go on to change it.
//!
//! Where it is, the spec's `state` block says; without one it is `lustre.state` in the folder.
//! Invariant: a command that only looks leaves no file behind.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use fs_err as fs;
use lustre_model::recorded::{Lineage, World};
use lustre_store::{Folder, Holder, LocalJournal, Lock, newest_token};

use crate::clock;
use crate::exit::Failure;

/// Bytes of randomness in a lineage.
const LINEAGE_BYTES: usize = 16;

/// A state that was read.
pub struct Recorded {
    /// Where it is.
    pub path: PathBuf,
    /// What it records.
    pub world: Arc<World>,
    /// The token that agents answer to.
    pub token: u64,
    /// The lock, when it was taken.
    lock: Option<Lock>,
}

/// Reads a state; takes no lock.
pub fn read(path: PathBuf) -> Result<Recorded, Failure> {
    let token = newest_token(&path)?;
    let read = lustre_store::read(&Folder, &path)?;
    Ok(Recorded { path, world: Arc::new(read.world), token: token.max(read.token), lock: None })
}

/// Reads a state under its lock, so that nobody changes it meanwhile. A state that is not there is not made.
pub fn lock(path: PathBuf, operation: &str, wait: Duration) -> Result<Recorded, Failure> {
    let lock = lustre_store::lock(&path, holder(operation), wait)?;
    let read = lustre_store::read(&Folder, &path)?;
    let token = lock.token().max(read.token);
    Ok(Recorded { path, world: Arc::new(read.world), token, lock: Some(lock) })
}

/// Like [`lock`], but leaves no lock file where there is no state.
pub fn lock_if_there(path: PathBuf, operation: &str, wait: Duration) -> Result<Recorded, Failure> {
    if exists(&path) { lock(path, operation, wait) } else { read(path) }
}

fn exists(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok() || fs::symlink_metadata(lustre_store::journal_path(path)).is_ok()
}

impl Recorded {
    /// Opens the state for writing, making it when there is none.
    pub fn open(self, operation: &str) -> Result<Arc<LocalJournal>, Failure> {
        let lock = match self.lock {
            Some(lock) => lock,
            None => lustre_store::lock(&self.path, holder(operation), Duration::ZERO)?,
        };
        let lineage = Lineage(hex::encode(random()?));
        Ok(Arc::new(lustre_store::open(Arc::new(Folder), &self.path, lock, lineage)?))
    }
}

/// Says to others who works on the state.
fn holder(operation: &str) -> Holder {
    let user = std::env::var("USER").or_else(|_| std::env::var("LOGNAME"));
    let user = user.unwrap_or_else(|_| format!("uid {}", rustix::process::getuid().as_raw()));
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    Holder {
        who: format!("{user}@{host}"),
        operation: operation.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        since: clock::now(),
        pid: std::process::id(),
    }
}

fn random() -> Result<[u8; LINEAGE_BYTES], Failure> {
    let mut bytes = [0; LINEAGE_BYTES];
    std::io::Read::read_exact(&mut fs::File::open("/dev/urandom")?, &mut bytes)?;
    Ok(bytes)
}
