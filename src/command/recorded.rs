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
use super::place::Site;
use crate::clock;
use crate::exit::Failure;

/// Bytes of randomness in a lineage.
const LINEAGE_BYTES: usize = 16;

/// A state that was read.
pub struct Recorded {
    /// Where it is.
    pub place: Place,
    /// What it records.
    pub world: Arc<World>,
    /// The token that agents answer to.
    pub token: u64,
    /// How the spec says where it is, when it is the spec's.
    site: Option<Site>,
    /// The way to it.
    backend: Box<dyn Backend>,
    /// The lock, when it was taken.
    lock: Option<Box<dyn LockedState>>,
}

/// Returns what seals the bytes of states that leave this process.
pub fn seal() -> Arc<dyn Seal> {
    Arc::new(Plain)
}

/// Returns the way to a state.
pub fn backend(place: &Place) -> Result<Box<dyn Backend>, Failure> {
    Ok(place.backend(seal())?)
}

/// Reads a state; takes no lock.
pub fn read(site: Site) -> Result<Recorded, Failure> {
    read_apart(site.place)?.of_spec(site.written)
}

/// Reads a state under its lock, so that nobody changes it meanwhile. A state that is not there is not made.
pub fn lock(site: Site, operation: &str, wait: Duration) -> Result<Recorded, Failure> {
    lock_apart(site.place, operation, wait)?.of_spec(site.written)
}

/// Like [`read`], for a state that is not the spec's.
pub fn read_apart(place: Place) -> Result<Recorded, Failure> {
    let backend = backend(&place)?;
    let read = backend.read()?;
    Ok(Recorded { place, world: Arc::new(read.world), token: read.token, site: None, backend, lock: None })
}

/// Like [`lock`], for a state that is not the spec's.
pub fn lock_apart(place: Place, operation: &str, wait: Duration) -> Result<Recorded, Failure> {
    let backend = backend(&place)?;
    let mut lock = backend.lock(holder(operation), wait)?;
    let read = lock.read()?;
    Ok(Recorded {
        place,
        world: Arc::new(read.world),
        token: read.token,
        site: None,
        backend,
        lock: Some(lock),
    })
}

/// Like [`lock`], but leaves no lock behind where there is no state.
pub fn lock_if_there(site: Site, operation: &str, wait: Duration) -> Result<Recorded, Failure> {
    if backend(&site.place)?.exists()? { lock(site, operation, wait) } else { read(site) }
}

impl Recorded {
    /// Tells whether there is no state yet.
    pub fn is_absent(&self) -> bool {
        self.world.lineage.0.is_empty()
    }

    /// Takes it for the state of the spec; fails when there is none here, but one where the spec had it before.
    fn of_spec(self, written: String) -> Result<Self, Failure> {
        let site = Site { place: self.place.clone(), written };
        if self.is_absent() {
            migrate::refuse_forgotten(&site)?;
        }
        Ok(Self { site: Some(site), ..self })
    }

    /// Makes the token of the lock exceed one that agents may have seen.
    pub fn raise(&mut self, floor: u64) -> Result<(), Failure> {
        self.lock.as_mut().map_or(Ok(()), |lock| Ok(lock.raise(floor)?))
    }

    /// Opens the state for writing, making it when there is none, and keeps in mind where it is.
    pub fn open(self, operation: &str) -> Result<Arc<OpenState>, Failure> {
        let site = self.site;
        let open = Self { site: None, ..self }.open_apart(operation)?;
        site.map_or(Ok(()), |site| migrate::remember(&site))?;
        Ok(open)
    }

    /// Like [`Recorded::open`], for a state that is not the spec's.
    pub fn open_apart(self, operation: &str) -> Result<Arc<OpenState>, Failure> {
        let lock = match self.lock {
            Some(lock) => lock,
            None => self.backend.lock(holder(operation), Duration::ZERO)?,
        };
        let lineage = Lineage(hex::encode(random()?));
        Ok(Arc::new(lock.open(lineage)?))
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
