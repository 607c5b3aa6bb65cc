//! What a bucket refuses, in S3's terms.
//!
//! The words that clients see are S3's error codes, given where the error is answered (`service.rs`).
//! Invariant: an error of the disk keeps its cause for the log; the client is told only that there was one.

use std::io;

use rustix::io::Errno;
use thiserror::Error;

/// Why a request on the bucket was not carried out.
#[derive(Debug, Error)]
pub enum BucketError {
    /// No object has that key.
    #[error("there is no such key")]
    NoSuchKey,
    /// No upload has that name.
    #[error("there is no such upload")]
    NoSuchUpload,
    /// A condition of the request does not hold.
    #[error("at least one of the conditions did not hold")]
    PreconditionFailed,
    /// A key over 1024 bytes, or an empty one.
    #[error("a key has 1 to 1024 bytes")]
    KeyLength,
    /// The key lies in the bucket's own folder.
    #[error("keys below .lustre-bucket/ are the bucket's own")]
    KeyReserved,
    /// A part that completion names is not there in that version.
    #[error("part {number} was not uploaded in that version")]
    InvalidPart {
        /// Its number.
        number: u32,
    },
    /// Parts are not in ascending order, or their numbers are not 1 to 10 000.
    #[error("parts must be listed once each, in ascending order, numbered 1 to 10000")]
    InvalidPartOrder,
    /// A part that is not the last is too small.
    #[error("part {number} is smaller than 5 MiB and not the last")]
    PartTooSmall {
        /// Its number.
        number: u32,
    },
    /// The bytes that arrived are not those that were announced.
    #[error("the bytes that arrived do not have the announced {digest}")]
    BadDigest {
        /// Which digest.
        digest: &'static str,
    },
    /// The body ended early or broke off.
    #[error("the body is incomplete")]
    IncompleteBody,
    /// The range begins behind the object.
    #[error("the range is not in the object")]
    InvalidRange,
    /// Another program changed the file while it was being read.
    #[error("the file changed while it was being read")]
    Changed,
    /// The file may not be read or written by the user that the bucket runs as.
    #[error("the file system denies access to the file")]
    AccessDenied,
    /// The disk is full.
    #[error("no space is left in the bucket's folder")]
    NoSpace,
    /// The disk failed.
    #[error("the disk failed")]
    Io(#[source] io::Error),
}

impl From<io::Error> for BucketError {
    fn from(error: io::Error) -> Self {
        let kind = error.kind();
        if kind == io::ErrorKind::NotFound {
            return Self::NoSuchKey;
        }
        if kind == io::ErrorKind::PermissionDenied {
            return Self::AccessDenied;
        }
        if matches!(kind, io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
            return Self::NoSpace;
        }
        Self::Io(error)
    }
}

impl From<Errno> for BucketError {
    fn from(errno: Errno) -> Self {
        io::Error::from(errno).into()
    }
}
