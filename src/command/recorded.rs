//! The recorded world as commands reach it: read it, or lock it and go on to change it.
//!
//! Where it is, the spec's `state` block says; without one it is `lustre.state` in the folder.
//! Invariant: a command that only looks leaves no file behind.

use std::sync::Arc;
use std::time::Duration;

use fs_err as fs;
use lustre_model::recorded::{Lineage, World};
use lustre_store::{Backend, Holder, LockedState, OpenState, Place, Plain, Seal};

use super::migrate;
use crate::clock;
use crate::exit::Failure;

/// Bytes of randomness in a lineage.
const LINEAGE_BYTES: usize = 16;

/// Where a state is, and what seals it there.
#[derive(Clone)]
pub struct StatePlace {
    /// Where.
    pub place: Place,
    /// What it is sealed with.
    pub seal: Arc<dyn Seal>,
    /// What the spec says of where it is; none for a state that is not the spec's.
    pub written: Option<String>,
}

/// A state that was read.
pub struct Recorded {
    /// Where it is, and what it is sealed with; copies of it too.
    pub at: StatePlace,
    /// What it records.
    pub world: Arc<World>,
    /// The token that agents answer to.
    pub token: u64,
    /// The way to it.
    backend: Box<dyn Backend>,
    /// The lock, when it was taken.
    lock: Option<Box<dyn LockedState>>,
}

impl StatePlace {
    /// Takes a place of a state that is not the spec's and not encrypted.
    pub fn plain(place: Place) -> Self {
        Self { place, seal: Arc::new(Plain), written: None }
    }

    /// Returns another place of a state that is sealed as this is, and is not the spec's.
    pub fn elsewhere(&self, place: Place) -> Self {
        Self { place, seal: Arc::clone(&self.seal), written: None }
    }

    /// Returns the way to the state.
    pub fn backend(&self) -> Result<Box<dyn Backend>, Failure> {
        Ok(self.place.backend(Arc::clone(&self.seal))?)
    }
}

/// Reads a state; takes no lock.
pub fn read(at: StatePlace) -> Result<Recorded, Failure> {
    let backend = at.backend()?;
    let read = backend.read()?;
    Recorded { at, world: Arc::new(read.world), token: read.token, backend, lock: None }.checked()
}

/// Reads a state under its lock, so that nobody changes it meanwhile. A state that is not there is not made.
pub fn lock(at: StatePlace, operation: &str, wait: Duration) -> Result<Recorded, Failure> {
    let backend = at.backend()?;
    let mut lock = backend.lock(holder(operation), wait)?;
    let read = lock.read()?;
    Recorded { at, world: Arc::new(read.world), token: read.token, backend, lock: Some(lock) }.checked()
}

/// Like [`lock`], but leaves no lock behind where there is no state.
pub fn lock_if_there(at: StatePlace, operation: &str, wait: Duration) -> Result<Recorded, Failure> {
    if at.backend()?.exists()? { lock(at, operation, wait) } else { read(at) }
}

impl Recorded {
    /// Tells whether there is no state yet.
    pub fn is_absent(&self) -> bool {
        self.world.lineage.0.is_empty()
    }

    /// Fails when the state that the spec had before is still where it was, and this is none, an older copy, or another one.
    fn checked(self) -> Result<Self, Failure> {
        migrate::refuse_forgotten(&self.at, &self.world)?;
        Ok(self)
    }

    /// Makes the token of the lock exceed one that agents may have seen.
    pub fn raise(&mut self, floor: u64) -> Result<(), Failure> {
        self.lock.as_mut().map_or(Ok(()), |lock| Ok(lock.raise(floor)?))
    }

    /// Opens the state for writing, making it when there is none, and keeps in mind where it is.
    pub fn open(self, operation: &str) -> Result<Arc<OpenState>, Failure> {
        let lock = match self.lock {
            Some(lock) => lock,
            None => self.backend.lock(holder(operation), Duration::ZERO)?,
        };
        let lineage = Lineage(hex::encode(random()?));
        let open = lock.open(lineage)?;
        migrate::remember(&self.at)?;
        Ok(Arc::new(open))
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
