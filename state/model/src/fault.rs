//! Why a file-system operation failed, as the wire and the kernel say it.
//!
//! Not for mistakes in a spec; those are diagnostics.
//! Invariant: every fault has exactly one errno, and no fault means success.

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The reason of a refusal. Numbers are Linux's (`asm-generic/errno.h`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Error)]
#[expect(missing_docs, reason = "each variant's message is its documentation")]
pub enum Fault {
    #[error("operation not permitted")]
    NotPermitted,
    #[error("no such file or directory")]
    NotFound,
    #[error("input/output error")]
    Io,
    #[error("permission denied")]
    AccessDenied,
    #[error("resource is busy")]
    Busy,
    #[error("file exists")]
    Exists,
    #[error("link between directories or file systems")]
    CrossLink,
    #[error("not a directory")]
    NotDirectory,
    #[error("is a directory")]
    IsDirectory,
    #[error("invalid argument")]
    Invalid,
    #[error("file is too large")]
    TooLarge,
    #[error("no space left on target")]
    NoSpace,
    #[error("read-only file system")]
    ReadOnly,
    #[error("too many links")]
    TooManyLinks,
    #[error("numerical result out of range")]
    Range,
    #[error("file name too long")]
    NameTooLong,
    #[error("directory not empty")]
    NotEmpty,
    #[error("no data available")]
    NoData,
    #[error("operation not supported")]
    NotSupported,
    #[error("stale file handle")]
    Stale,
    #[error("disk quota exceeded")]
    Quota,
    #[error("checksum mismatch: stored bytes are damaged")]
    Checksum,
    #[error("session was evicted")]
    Evicted,
    #[error("target is not reachable")]
    Unreachable,
    #[error("request came from an older session epoch")]
    Fenced,
    #[error("timed out")]
    TimedOut,
    #[error("too many levels of symbolic links")]
    Loop,
    #[error("the object target that held these bytes was removed")]
    Lost,
}

impl Fault {
    /// Returns the errno that an application sees.
    pub fn errno(self) -> i32 {
        match self {
            Self::NotPermitted => 1,
            Self::NotFound => 2,
            Self::Io | Self::Checksum | Self::Evicted | Self::Fenced | Self::Unreachable | Self::Lost => 5,
            Self::AccessDenied => 13,
            Self::Busy => 16,
            Self::Exists => 17,
            Self::CrossLink => 18,
            Self::NotDirectory => 20,
            Self::IsDirectory => 21,
            Self::Invalid => 22,
            Self::TooLarge => 27,
            Self::NoSpace => 28,
            Self::ReadOnly => 30,
            Self::TooManyLinks => 31,
            Self::Range => 34,
            Self::NameTooLong => 36,
            Self::NotEmpty => 39,
            Self::Loop => 40,
            Self::NoData => 61,
            Self::NotSupported => 95,
            Self::TimedOut => 110,
            Self::Stale => 116,
            Self::Quota => 122,
        }
    }
}
