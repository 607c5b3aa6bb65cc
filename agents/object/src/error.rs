//! Why the store did not do what it was asked.
//!
//! Not the wire's faults; [`StoreError::fault`] says which one an error becomes.
//! Invariant: an error that names damage was found by a checksum, never guessed.

use std::io;
use std::sync::Arc;

use lustre_model::fault::Fault;
use lustre_model::layout::ObjectId;
use thiserror::Error;

/// Why an operation on the store failed.
#[derive(Debug, Error)]
pub enum StoreError {
    /// Stored bytes do not match their checksum.
    #[error("object {}.{} is damaged at byte {offset}", .object.fid, .object.ordinal)]
    Damaged {
        /// The object.
        object: ObjectId,
        /// First byte of the block or chunk.
        offset: u64,
    },
    /// The header of an object does not match its checksum.
    #[error("the header of object {}.{} is damaged", .object.fid, .object.ordinal)]
    HeaderDamaged {
        /// The object.
        object: ObjectId,
    },
    /// A write failed half-way and what it left could not be read; the object rests until the store is opened again.
    #[error("object {}.{} was left unreadable by a failed write", .object.fid, .object.ordinal)]
    Broken {
        /// The object.
        object: ObjectId,
    },
    /// The target's limit is reached.
    #[error("the target is full: {used} of {capacity} bytes are used and {needed} more are needed")]
    Full {
        /// Bytes stored and promised.
        used: u64,
        /// The limit.
        capacity: u64,
        /// Bytes that the request may take.
        needed: u64,
    },
    /// The disk under the target has no room, or only its reserve.
    #[error("the disk is full: {free} bytes are free, {reserve} of them are kept back")]
    DiskFull {
        /// Bytes free.
        free: u64,
        /// Bytes never given to objects.
        reserve: u64,
    },
    /// The range ends behind the largest object.
    #[error("byte {end} lies behind the largest object")]
    TooLarge {
        /// End of the range.
        end: u64,
    },
    /// Bytes could not be made durable; nothing is written any more until the store is opened again.
    #[error("writing stopped: {cause}")]
    Stopped {
        /// The error that stopped it.
        cause: Arc<io::Error>,
    },
    /// What is known of the whole store cannot be read.
    #[error("the ledger of the store is damaged")]
    LedgerDamaged,
    /// The store was made by another version.
    #[error("the store has format {found}; this version knows {known}")]
    Version {
        /// What it says.
        found: u32,
        /// What this version knows.
        known: u32,
    },
    /// The disk failed.
    #[error("{operation} failed")]
    Disk {
        /// What was tried.
        operation: &'static str,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
}

/// What a caller does about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// There is no room; freeing some helps.
    NoSpace,
    /// The request cannot succeed, or not before an operator looked.
    Final,
}

impl StoreError {
    /// Names the operation of a disk error; a full disk becomes [`StoreError::DiskFull`].
    pub(crate) fn disk(operation: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| {
            if is_full(&source) {
                Self::DiskFull { free: 0, reserve: 0 }
            } else {
                Self::Disk { operation, source }
            }
        }
    }

    /// Whether the store has stopped for a disk that was full, and not for one that fails: opened anew it goes on.
    pub fn is_stopped_by_full_disk(&self) -> bool {
        matches!(self, Self::Stopped { cause } if is_full(cause))
    }

    /// Returns whether room would help.
    pub fn refusal(&self) -> Refusal {
        match self {
            Self::Full { .. } | Self::DiskFull { .. } => Refusal::NoSpace,
            Self::Damaged { .. }
            | Self::HeaderDamaged { .. }
            | Self::Broken { .. }
            | Self::TooLarge { .. }
            | Self::Stopped { .. }
            | Self::LedgerDamaged
            | Self::Version { .. }
            | Self::Disk { .. } => Refusal::Final,
        }
    }

    /// Returns the fault that the wire and the kernel see.
    pub fn fault(&self) -> Fault {
        match self {
            Self::Damaged { .. } | Self::HeaderDamaged { .. } => Fault::Checksum,
            Self::Full { .. } | Self::DiskFull { .. } => Fault::NoSpace,
            Self::TooLarge { .. } => Fault::TooLarge,
            Self::Stopped { cause } if is_full(cause) => Fault::NoSpace,
            Self::Broken { .. }
            | Self::Stopped { .. }
            | Self::LedgerDamaged
            | Self::Version { .. }
            | Self::Disk { .. } => Fault::Io,
        }
    }
}

fn is_full(error: &io::Error) -> bool {
    [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded].contains(&error.kind())
}
