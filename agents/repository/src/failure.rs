//! Why an action failed, and what the metadata target is told of it.
//!
//! A conflict or an object that is gone is not tried again: only the metadata target knows what to do then. Everything else
//! is, also a denied access: somebody may be about to grant it, and the pauses between attempts grow.
//! Invariant: every failure has a code, a cause that names the object, and says whether trying again can help.

use lustre_model::attr::FileKind;
use lustre_model::fault::Fault;
use lustre_model::hsm::{HsmFailure, HsmOutcome, LinkId, RepositoryEndpoint};
use lustre_s3::{ConnectError, StorageError};
use thiserror::Error;

use crate::probe::{ProbeFailure, not_set_up, refused};

/// Why an action was not carried out.
#[derive(Debug, Error)]
pub enum ActionError {
    /// The bucket said no, or nothing.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The bucket cannot be asked.
    #[error("the repository cannot be used")]
    Connect(#[from] ConnectError),
    /// The bucket does not answer to what the link says of it.
    #[error("{failure}")]
    Unusable {
        /// Why, and what to do.
        failure: ProbeFailure,
        /// What the metadata target is told.
        code: HsmFailure,
    },
    /// The link was removed meanwhile.
    #[error("link {} is not known", .0.0)]
    UnknownLink(LinkId),
    /// The metadata target or an object target failed.
    #[error("the file system failed")]
    FileSystem(#[from] Fault),
    /// Somebody else wrote the object.
    #[error("{key} was changed in the bucket: expected {expected}, found {found}")]
    Changed {
        /// The key.
        key: String,
        /// The version that was expected, or that nothing was.
        expected: String,
        /// The version that is there.
        found: String,
    },
    /// Somebody wrote the file while its bytes were read.
    #[error("{key}: the file changed while it was being exported")]
    FileChanged {
        /// Where it was to go.
        key: String,
    },
    /// The bytes that came are not as many as the object has.
    #[error("{key} is shorter in the bucket than its listing said")]
    Short {
        /// The key.
        key: String,
    },
    /// Not a file, directory or symbolic link.
    #[error("{key}: a {kind:?} has no form in a bucket")]
    NotExportable {
        /// Where it was to go.
        key: String,
        /// What it is.
        kind: FileKind,
    },
    /// More than S3 takes.
    #[error("S3ExportFileSizeTooLarge: {key} is larger than 5 TiB")]
    TooLarge {
        /// Where it was to go.
        key: String,
    },
}

impl ActionError {
    /// Says beside a bucket's refusal what to do about it.
    pub(crate) fn with_remedy(repository: &RepositoryEndpoint, error: StorageError) -> Self {
        let failure = refused(repository, &error);
        Self::Unusable { failure, code: Self::Storage(error).code() }
    }

    /// Says what to do where a bucket cannot even be asked.
    pub(crate) fn with_remedy_to_connect(self) -> Self {
        match self {
            Self::Connect(error) => {
                let failure = not_set_up(&error);
                Self::Unusable { failure, code: Self::Connect(error).code() }
            }
            other => other,
        }
    }

    /// Returns what the metadata target is told.
    pub fn outcome(&self) -> HsmOutcome {
        let mut cause = self.to_string();
        let mut source = std::error::Error::source(self);
        while let Some(error) = source {
            cause = format!("{cause}: {error}");
            source = error.source();
        }
        HsmOutcome::Failed { cause, code: self.code(), retry: self.may_retry() }
    }

    /// Says whether the way to the bucket should be set up anew: credentials may have changed.
    pub(crate) fn doubts_connection(&self) -> bool {
        matches!(
            self,
            Self::Storage(StorageError::AccessDenied { .. } | StorageError::NoCredentials { .. })
                | Self::Connect(_)
                | Self::UnknownLink(_)
        )
    }

    fn code(&self) -> HsmFailure {
        match self {
            Self::Storage(error) => match error {
                StorageError::NotFound { .. } => HsmFailure::NotFound,
                StorageError::PreconditionFailed { .. } => HsmFailure::Changed,
                StorageError::AccessDenied { .. } | StorageError::NoCredentials { .. } => {
                    HsmFailure::AccessDenied
                }
                StorageError::Unreachable { .. } | StorageError::Throttled { .. } => HsmFailure::Unreachable,
                StorageError::NoSuchBucket { .. } | StorageError::Other { .. } => HsmFailure::Other,
            },
            Self::Changed { .. } | Self::FileChanged { .. } => HsmFailure::Changed,
            Self::Unusable { code, .. } => *code,
            Self::FileSystem(Fault::NoSpace | Fault::Quota) => HsmFailure::NoSpace,
            Self::Connect(_)
            | Self::UnknownLink(_)
            | Self::FileSystem(_)
            | Self::Short { .. }
            | Self::NotExportable { .. }
            | Self::TooLarge { .. } => HsmFailure::Other,
        }
    }

    fn may_retry(&self) -> bool {
        match self {
            Self::Storage(StorageError::NotFound { .. } | StorageError::PreconditionFailed { .. }) => false,
            // An archived storage class stays one until somebody restores the object in S3.
            Self::Storage(StorageError::Other { code, .. }) => code != "InvalidObjectState",
            Self::Storage(_) | Self::Connect(_) | Self::Unusable { .. } => true,
            Self::FileSystem(_) | Self::FileChanged { .. } => true,
            Self::Changed { .. }
            | Self::UnknownLink(_)
            | Self::Short { .. }
            | Self::NotExportable { .. }
            | Self::TooLarge { .. } => false,
        }
    }
}
