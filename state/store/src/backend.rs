//! What every place that keeps a state can do, so that commands need not know which it is.
//!
//! A file here is a backend. All of them keep the same snapshot and the same records; the suite in `tests/conformance` holds
//! them to the same behaviour.
//! Invariant: who has a [`LockedState`] is the only one who changes the state, or is kept by the place itself from changing it.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use lustre_model::recorded::{Lineage, World};

use crate::disk::Folder;
use crate::error::{LockError, StoreError};
use crate::lock::Holder;
use crate::open_state::OpenState;
use crate::seal::Seal;

pub mod http;
pub mod local;
pub mod s3;

/// How copies on this machine of a state elsewhere begin.
const COPY: &str = "lustre.state";

/// Where a spec keeps its state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In a folder of this machine.
    Local {
        /// The state's file.
        path: PathBuf,
    },
    /// In a bucket.
    S3(s3::S3Place),
    /// On a server that speaks Terraform's protocol.
    Http(http::HttpPlace),
}

impl Place {
    /// Sets up the way to it; `seal` is applied to all that is written there.
    pub fn backend(&self, seal: Arc<dyn Seal>) -> Result<Box<dyn Backend>, StoreError> {
        match self {
            Self::Local { path } => Ok(Box::new(local::Local::new(Arc::new(Folder), path.clone(), seal))),
            Self::S3(place) => Ok(Box::new(s3::connect(place, seal)?)),
            Self::Http(place) => Ok(Box::new(http::Http::new(place.clone(), seal)?)),
        }
    }

    /// Returns where a copy on this machine goes: `<state>.<suffix>`, in the working folder when the state is elsewhere.
    pub fn copy_path(&self, suffix: &str) -> PathBuf {
        let mut name = match self {
            Self::Local { path } => path.as_os_str().to_owned(),
            Self::S3(_) | Self::Http(_) => COPY.into(),
        };
        name.push(format!(".{suffix}"));
        PathBuf::from(name)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local { path } => write!(f, "{}", path.display()),
            Self::S3(place) => write!(f, "s3://{}/{}", place.endpoint.bucket, place.key),
            Self::Http(place) => write!(f, "{}", place.address),
        }
    }
}

/// How the files were found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recovery {
    /// There is no state.
    Absent,
    /// The snapshot is all.
    Clean,
    /// An apply was cut off; its acknowledged events were read from the journal.
    Replayed {
        /// How many events.
        events: u64,
        /// Bytes of a last write that was cut off before it was acknowledged, and is left out.
        torn: usize,
    },
}

/// A state as read from its files.
#[derive(Debug, Clone)]
pub struct Recovered {
    /// The world; empty, with an empty lineage, when there is no state.
    pub world: World,
    /// How it was found.
    pub recovery: Recovery,
    /// The newest fencing token that is known: agents answer to it.
    pub token: u64,
}

/// A lock that somebody holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// What `lustre force-unlock` is given.
    pub id: String,
    /// Who holds it.
    pub holder: Holder,
    /// How it ends when its holder does not give it back.
    pub ends: Ends,
}

/// How a lock ends when its holder does not give it back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ends {
    /// With the process that holds it.
    WithItsProcess,
    /// At this moment, RFC 3339 on its holder's clock, unless it is renewed before.
    At(String),
    /// Only when it is taken away.
    Never,
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.holder)?;
        match &self.ends {
            Ends::At(until) => write!(f, ", until {until} unless renewed"),
            Ends::WithItsProcess | Ends::Never => Ok(()),
        }
    }
}

/// What became of a lock that was to be taken from its holder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unlocked {
    /// Nobody held it.
    Free,
    /// It is free now; this one had it.
    Taken(Held),
    /// Another one is held.
    Other(Held),
    /// It cannot be taken: it ends with its process.
    EndsWithItsProcess(Held),
}

/// A place that keeps one state.
pub trait Backend: Send + Sync {
    /// Tells whether there is a state, readable or not.
    fn exists(&self) -> Result<bool, StoreError>;
    /// Reads the state; changes nothing and needs no lock.
    fn read(&self) -> Result<Recovered, StoreError>;
    /// Takes the lock; when somebody else has it, tries again until `wait` is over.
    fn lock(&self, holder: Holder, wait: Duration) -> Result<Box<dyn LockedState>, LockError>;
    /// Returns who holds the lock at this moment.
    fn holder(&self) -> Result<Option<Held>, LockError>;
    /// Takes the lock with this id from its holder.
    fn force_unlock(&self, id: &str) -> Result<Unlocked, LockError>;
}

/// A state under its lock, which ends when this is dropped.
pub trait LockedState: Send {
    /// Reads the state; nobody changes it meanwhile.
    fn read(&mut self) -> Result<Recovered, StoreError>;
    /// Makes the token of this lock exceed `floor`, which agents may have seen from a state kept elsewhere.
    fn raise(&mut self, floor: u64) -> Result<(), LockError>;
    /// Opens it for writing. One that does not exist is made, with the lineage that is given.
    fn open(self: Box<Self>, new_lineage: Lineage) -> Result<OpenState, StoreError>;
}
