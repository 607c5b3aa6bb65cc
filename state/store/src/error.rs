//! Why a state cannot be read, written or locked, and what to do about it.
//!
//! I/O errors carry the path.
//! Invariant: no variant stands for "there is no state"; that is not an error.

use std::io;
use std::path::PathBuf;

use lustre_model::recorded::{IllegalEvent, Lineage};
use lustre_s3::{ConnectError, StorageError};
use thiserror::Error;

use crate::backend::Held;
use crate::backend::http::HttpError;
use crate::seal::SealError;

/// A state cannot be read or written. The files are as they were.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The disk refused.
    #[error("the state could not be {verb}")]
    Io {
        /// What was tried.
        verb: &'static str,
        /// Why, with the path.
        #[source]
        source: io::Error,
    },
    /// The file has no bytes.
    #[error("{} is empty, so it is unknown what exists; restore it from a copy, or delete it together with its journal if nothing was ever applied", path.display())]
    Empty {
        /// Which file.
        path: PathBuf,
    },
    /// The file ends too early or its checksum does not fit.
    #[error("{} is damaged ({damage}), so it is unknown what exists; restore it from a copy, nothing was changed", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What does not fit.
        damage: Damage,
    },
    /// The file is not one of ours.
    #[error("{} is not a state of lustre; name another one in the `state` block", path.display())]
    Foreign {
        /// Which file.
        path: PathBuf,
    },
    /// Newer code wrote it.
    #[error("{} has version {found}, and this lustre reads versions up to {known}: use the newer lustre that wrote it", path.display())]
    Newer {
        /// Which file.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// The newest that this code reads.
        known: u32,
    },
    /// A journal without its snapshot.
    #[error("{} is missing, but its journal {} is there: restore the file from a copy", path.display(), journal.display())]
    SnapshotMissing {
        /// The snapshot.
        path: PathBuf,
        /// The journal.
        journal: PathBuf,
    },
    /// A journal of another state.
    #[error("{} belongs to the state {found}, not to {expected}: put the file that belongs to this state in its place", path.display())]
    OtherLineage {
        /// The journal.
        path: PathBuf,
        /// What it says.
        found: Lineage,
        /// The state's.
        expected: Lineage,
    },
    /// The snapshot is older than the journal's beginning.
    #[error("{} begins at serial {begins}, but the state ends at {ends}: an older copy of the state was put in place; restore the newest", path.display())]
    Gap {
        /// The journal.
        path: PathBuf,
        /// Its first serial.
        begins: u64,
        /// The snapshot's.
        ends: u64,
    },
    /// A record that does not follow from the ones before.
    #[error("{} holds a record that does not fit the state", path.display())]
    Illegal {
        /// The journal.
        path: PathBuf,
        /// Why.
        #[source]
        source: IllegalEvent,
    },
    /// The world does not serialise. A bug, but one that must not lose anything.
    #[error("the state cannot be put into words")]
    Encoding {
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// An earlier write failed; what is on the disk is not known until it is read again.
    #[error("an earlier write of the state failed; run the command again")]
    Poisoned,
    /// Somebody else works on the state now.
    #[error("the lock on the state was lost: somebody else has it now")]
    LockLost,
    /// The token of the newest lock cannot be read.
    #[error("the lock on the state cannot be read")]
    Lock {
        /// Why.
        #[source]
        source: Box<LockError>,
    },
    /// What was read cannot be decrypted, or should have been encrypted.
    #[error("{} cannot be read", path.display())]
    Unseal {
        /// Which file.
        path: PathBuf,
        /// Why, and what to do.
        #[source]
        source: SealError,
    },
    /// The bucket refused or did not answer.
    #[error("the state could not be {verb}")]
    Storage {
        /// What was tried.
        verb: &'static str,
        /// Why, with bucket and key.
        #[source]
        source: StorageError,
    },
    /// The server refused or did not answer.
    #[error("the state could not be {verb}")]
    Http {
        /// What was tried.
        verb: &'static str,
        /// Why, with the address.
        #[source]
        source: HttpError,
    },
    /// What was recorded here could not be posted at the end.
    #[error("what was done is recorded in {} and could not be posted; the lock on {address} is kept, so that nobody goes on without it: when {address} takes it, run `lustre force-unlock {id}` and then the command again, in this folder", mirror.display())]
    Unposted {
        /// The copy on this machine.
        mirror: PathBuf,
        /// The lock's number.
        id: String,
        /// The server's address.
        address: String,
        /// Why.
        #[source]
        source: Box<StoreError>,
    },
    /// What was recorded here was never posted, and the server has gone on without it.
    #[error("{} holds what was recorded up to serial {kept} and never reached {address}, which has gone on {found}; compare both (`lustre state pull` once {} is moved away), then delete one: `lustre state push` puts the file in place, deleting it forgets what only it has", mirror.display(), mirror.display())]
    Diverged {
        /// The copy on this machine.
        mirror: PathBuf,
        /// Its serial.
        kept: u64,
        /// The server's address.
        address: String,
        /// How it has gone on.
        found: String,
    },
    /// The way to the bucket could not be set up.
    #[error("the bucket of the state cannot be used")]
    Connect {
        /// Why.
        #[source]
        source: ConnectError,
    },
    /// Journal or older snapshots without a snapshot.
    #[error("{} is missing, but {found} is there: restore it from a copy, for example one below {}.history/; or delete all that is left of the state if it is to begin anew", path.display(), path.display())]
    SnapshotDeleted {
        /// The snapshot.
        path: PathBuf,
        /// What is left.
        found: String,
    },
    /// Others write all the time.
    #[error("{} changes faster than it can be read; try again", path.display())]
    Moving {
        /// The snapshot.
        path: PathBuf,
    },
    /// Older than what was appended under the same lock.
    #[error(
        "a state cannot go back to an older one in the same command that appended to it; run another command"
    )]
    Backwards,
    /// What is to be written cannot be encrypted.
    #[error("the state could not be encrypted")]
    Seal {
        /// Why, and what to do.
        #[source]
        source: SealError,
    },
}

/// What does not fit in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[expect(missing_docs, reason = "each variant's message is its documentation")]
pub enum Damage {
    #[error("it ends too early")]
    Short,
    #[error("its checksum does not fit")]
    Checksum,
    #[error("bytes follow behind its end")]
    Long,
    #[error("a record in its middle is broken")]
    Record,
    #[error("its content is not what its version has")]
    Content,
}

/// The lock was not taken.
#[derive(Debug, Error)]
pub enum LockError {
    /// Somebody else works on the state.
    #[error("the state is locked by {held}")]
    Held {
        /// Who.
        held: Box<Held>,
    },
    /// Somebody else works on the state and did not say who.
    #[error("the state is locked by another process")]
    HeldByUnnamed,
    /// Both copies in the lock file are broken.
    #[error("{} is damaged; delete it when no other lustre works on this state", path.display())]
    Damaged {
        /// The lock file.
        path: PathBuf,
    },
    /// The disk refused.
    #[error("the lock could not be taken")]
    Io {
        /// Why, with the path.
        #[source]
        source: io::Error,
    },
    /// The bucket refused or did not answer.
    #[error("the lock could not be taken")]
    Storage {
        /// Why, with bucket and key.
        #[source]
        source: StorageError,
    },
    /// The bucket's store writes whatever the condition.
    #[error("the store of the bucket does not keep to {header}, so that two could change the state at once")]
    Unconditional {
        /// The condition's header.
        header: &'static str,
    },
    /// The server refused or did not answer.
    #[error("the lock could not be taken")]
    Http {
        /// Why, with the address.
        #[source]
        source: HttpError,
    },
    /// The lock was taken, but the state behind it cannot be used.
    #[error("the state cannot be used")]
    State {
        /// Why.
        #[source]
        source: Box<StoreError>,
    },
    /// What is written into it does not serialise. A bug.
    #[error("the lock cannot be put into words")]
    Encoding {
        /// Why.
        #[source]
        source: serde_json::Error,
    },
}
