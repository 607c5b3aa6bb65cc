//! What can stop a request, and what stops the whole target.
//!
//! Faults of requests are the model's [`Fault`]; what is here besides is damage that no request may paper over.
//! Invariant: a [`Halt`] undoes every change that its request made.

use lustre_model::fault::Fault;
use lustre_model::fid::Fid;
use lustre_model::id::ClientId;
use thiserror::Error;

use crate::log::LogError;
use crate::store::StoreError;

/// Why a target cannot go on. It must be stopped; what was acknowledged is in its log and store.
#[derive(Debug, Error)]
pub enum TargetError {
    /// The ordered store failed.
    #[error("the metadata store failed")]
    Store(#[from] StoreError),
    /// The log could not be written or read.
    #[error("the metadata log failed")]
    Log(#[from] LogError),
    /// The log contradicts itself or the store.
    #[error("the metadata log is damaged")]
    Damaged(#[from] LogDamage),
    /// A record does not have the checksum it was written with.
    #[error("a metadata record is damaged: key {key}")]
    Record {
        /// The key, escaped.
        key: String,
    },
    /// A record was written by a newer version.
    #[error("a metadata record has format {found}; this version reads formats up to {known}")]
    Format {
        /// What it has.
        found: u8,
        /// What is known.
        known: u8,
    },
    /// A record could not be encoded.
    #[error("a metadata record could not be encoded")]
    Encode(#[source] postcard::Error),
    /// Two records contradict each other.
    #[error("the namespace is inconsistent at {fid}: {what}")]
    Inconsistent {
        /// The inode.
        fid: Fid,
        /// What is wrong.
        what: &'static str,
    },
    /// The store belongs to another file system.
    #[error("the store belongs to file system {found}, not {wanted}")]
    WrongFileSystem {
        /// Whose it is.
        found: String,
        /// Whose it should be.
        wanted: String,
    },
}

impl TargetError {
    /// Whether the log found no room: what was to be committed is kept, and may be committed when there is room.
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Log(error) if error.is_full())
    }
}

/// How a log contradicts itself or the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum LogDamage {
    /// The file does not begin as a log does.
    #[error("it has no valid header")]
    Header,
    /// A record that was synced to disk does not have its checksum.
    #[error("record {sequence} was durable and is unreadable")]
    Record {
        /// Its number.
        sequence: u64,
    },
    /// Records are missing between the store and the log.
    #[error("the store ends at {applied} but the log begins behind {begins}")]
    Gap {
        /// Last record the store holds.
        applied: u64,
        /// Last record before the log.
        begins: u64,
    },
}

/// What a parked request waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Wait {
    /// Others to give up leases on the inode, or a truncation to end.
    Lease(Fid),
    /// The object targets to say how long the file is.
    Size(Fid),
    /// The object targets to have cut the file.
    Truncation(Fid),
    /// A mover to say what the inode's attributes are.
    Identity(Fid),
    /// A mover to bring bytes of the file.
    Bytes(Fid),
    /// Restores of the file to end.
    Restores(Fid),
    /// A session of this client to be evicted.
    Eviction(ClientId),
    /// A session that was there before a restart to come back or to end.
    Heard,
    /// The log to be on disk; the next sync covers it.
    Durable,
    /// The sync of the log that is under way.
    Syncing,
    /// Its next turn: it made progress, and others go first.
    Turn,
}

/// Why a request has no reply yet.
#[derive(Debug)]
pub(crate) enum Halt {
    /// It is refused.
    Fault(Fault),
    /// It runs again, from the start, when this happened.
    Wait(Wait),
    /// The target is broken.
    Broken(TargetError),
}

impl From<Fault> for Halt {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<TargetError> for Halt {
    fn from(error: TargetError) -> Self {
        Self::Broken(error)
    }
}

/// The outcome of a step of a request.
pub(crate) type Step<T> = Result<T, Halt>;
