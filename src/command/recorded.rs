//! The recorded world as commands reach it: read it, or lock it and go on to change it.
//!
//! Where it is, the spec's `state` block says; without one it is `lustre.state` in the folder.
//! Invariant: a command that only looks leaves no file behind.

use std::sync::Arc;
use std::time::Duration;

use fs_err as fs;
use lustre_model::recorded::{Lineage, World};
use lustre_store::{Backend, Holder, LockedState, OpenState, Place, Plain, Recovered, Seal};

use super::migrate;
use crate::clock;
use crate::exit::Failure;

/// Bytes of randomness in a lineage.
const LINEAGE_BYTES: usize = 16;

/// Where a state is, and what seals it there.
pub struct StatePlace {
    /// Where.
    pub place: Place,
    /// What it is sealed with.
    pub seal: Arc<dyn Seal>,
    /// What is written of the place in the spec, when it is the spec's. While that stays the same, another place comes from
    /// other values of variables, and is no move.
    pub written: Option<String>,
}

/// A state that was read.
pub struct Recorded {
    /// Where it is.
    pub place: Place,
    /// What it is sealed with; copies of it too.
    pub seal: Arc<dyn Seal>,
    /// What is written of the place in the spec, when it is the spec's.
    written: Option<String>,
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
    /// Takes a place where states are not encrypted.
    pub fn plain(place: Place) -> Self {
        Self { place, seal: Arc::new(Plain), written: None }
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
    Recorded::new(at, read, (backend, None))
}

/// Reads a state under its lock, so that nobody changes it meanwhile. A state that is not there is not made.
pub fn lock(at: StatePlace, operation: &str, wait: Duration) -> Result<Recorded, Failure> {
    let backend = at.backend()?;
    let mut lock = backend.lock(holder(operation), wait)?;
    let read = lock.read()?;
    Recorded::new(at, read, (backend, Some(lock)))
}

/// Like [`lock`], but leaves no lock behind where there is no state.
pub fn lock_if_there(at: StatePlace, operation: &str, wait: Duration) -> Result<Recorded, Failure> {
    if at.backend()?.exists()? { lock(at, operation, wait) } else { read(at) }
}

impl Recorded {
    /// Takes what was read; fails when there is no state, but one where the spec had it before.
    fn new(
        at: StatePlace,
        read: Recovered,
        (backend, lock): (Box<dyn Backend>, Option<Box<dyn LockedState>>),
    ) -> Result<Self, Failure> {
        let StatePlace { place, seal, written } = at;
        let (world, token) = (Arc::new(read.world), read.token);
        let recorded = Self { place, seal, written, world, token, backend, lock };
        if recorded.is_absent() {
            migrate::refuse_forgotten(&recorded.at())?;
        }
        Ok(recorded)
    }

    /// Returns where it is, and what seals it there.
    pub fn at(&self) -> StatePlace {
        let (place, seal) = (self.place.clone(), Arc::clone(&self.seal));
        StatePlace { place, seal, written: self.written.clone() }
    }

    /// Tells whether there is no state yet.
    pub fn is_absent(&self) -> bool {
        self.world.lineage.0.is_empty()
    }

    /// Makes the token of the lock exceed one that agents may have seen.
    pub fn raise(&mut self, floor: u64) -> Result<(), Failure> {
        self.lock.as_mut().map_or(Ok(()), |lock| Ok(lock.raise(floor)?))
    }

    /// Opens the state for writing, making it when there is none, and keeps in mind where the spec has it.
    pub fn open(self, operation: &str) -> Result<Arc<OpenState>, Failure> {
        let at = self.at();
        let lock = match self.lock {
            Some(lock) => lock,
            None => self.backend.lock(holder(operation), Duration::ZERO)?,
        };
        let lineage = Lineage(hex::encode(random()?));
        let open = lock.open(lineage)?;
        migrate::remember(&at)?;
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
