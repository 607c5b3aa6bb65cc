//! What goes wrong with a bucket, told apart as far as callers act differently on it.
//!
//! Not the SDK's errors: those end in `sdk.rs`.
//! Invariant: every error names its bucket and, where there is one, its key.

use std::fmt;

use thiserror::Error;

/// A bucket, or an object in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The bucket.
    pub bucket: String,
    /// The key, empty for the bucket itself.
    pub key: String,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.key.as_str() {
            "" => write!(f, "s3://{}", self.bucket),
            key => write!(f, "s3://{}/{}", self.bucket, key),
        }
    }
}

/// Why a request on a bucket failed, after its retries.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[expect(missing_docs, reason = "`place` is always what was asked for")]
pub enum StorageError {
    /// There is no such object (or upload).
    #[error("{place} does not exist")]
    NotFound { place: Place },
    /// The object is not in the version that the request was conditional on.
    #[error("{place} is not in the expected version")]
    PreconditionFailed { place: Place },
    /// The credentials are unknown or may not do this.
    #[error("access to {place} was denied ({code})")]
    AccessDenied { place: Place, code: String },
    /// The bucket does not exist.
    #[error("the bucket of {place} does not exist")]
    NoSuchBucket { place: Place },
    /// The service asked to slow down, more often than we retry.
    #[error("requests on {place} were throttled ({code})")]
    Throttled { place: Place, code: String },
    /// No answer was had.
    #[error("{place} cannot be reached: {cause}")]
    Unreachable { place: Place, cause: String },
    /// No credentials were found.
    #[error("no credentials were found for {place}: {cause}")]
    NoCredentials { place: Place, cause: String },
    /// Any other answer of the service.
    #[error("{place}: {code}: {detail}")]
    Other { place: Place, code: String, detail: String },
}

impl StorageError {
    /// Says whether the same request may succeed later without anybody changing anything.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Throttled { .. } | Self::Unreachable { .. } => true,
            Self::Other { code, .. } => {
                matches!(
                    code.as_str(),
                    "InternalError"
                        | "OperationAborted"
                        | "ServiceUnavailable"
                        | "ConditionalRequestConflict"
                        | "500"
                        | "502"
                        | "503"
                        | "504"
                )
            }
            Self::NotFound { .. }
            | Self::PreconditionFailed { .. }
            | Self::AccessDenied { .. }
            | Self::NoCredentials { .. }
            | Self::NoSuchBucket { .. } => false,
        }
    }
}
