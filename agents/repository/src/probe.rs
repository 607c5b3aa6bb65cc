//! Whether a bucket can be used, asked before a plan is carried out.
//!
//! Lists one key below the link's prefix; writes nothing.
//! Invariant: every failure says what is wrong and what to do about it.

use lustre_model::hsm::RepositoryEndpoint;
use lustre_s3::{ConnectError, ObjectStorage, S3Client, StorageError};

use crate::repositories::endpoint;

/// Why a bucket cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{cause}; {remedy}")]
pub struct ProbeFailure {
    /// What is wrong, one sentence.
    pub cause: String,
    /// What to do, one sentence.
    pub remedy: String,
}

/// Asks the bucket whether it answers to these credentials.
pub async fn probe(repository: &RepositoryEndpoint) -> Result<(), ProbeFailure> {
    let client = match S3Client::connect(&endpoint(repository)).await {
        Ok(client) => client,
        Err(error) => return Err(not_set_up(&error)),
    };
    match client.list(&repository.prefix, None, 1).await {
        Ok(_) => Ok(()),
        Err(error) => Err(refused(repository, &error)),
    }
}

pub(crate) fn not_set_up(error: &ConnectError) -> ProbeFailure {
    let source = std::error::Error::source(error).map(|source| format!(": {source}")).unwrap_or_default();
    let remedy = match error {
        ConnectError::Credentials { .. } => {
            "name a file in AWS's shared-credentials format that exists on the host that moves the data"
        }
        ConnectError::EndpointUrl { .. } => "give endpoint_url as http://host:port or https://host",
    };
    ProbeFailure { cause: format!("{error}{source}"), remedy: remedy.to_owned() }
}

pub(crate) fn refused(repository: &RepositoryEndpoint, error: &StorageError) -> ProbeFailure {
    let bucket = &repository.bucket;
    let place = repository.endpoint_url.as_deref().unwrap_or("AWS");
    let remedy = match error {
        StorageError::AccessDenied { .. } => format!(
            "check the keys, and that they allow s3:ListBucket, s3:GetObject, s3:PutObject and s3:DeleteObject on {bucket}"
        ),
        StorageError::NoCredentials { .. } => {
            "set credentials_file, or give the host AWS credentials (environment, profile or instance role)"
                .to_owned()
        }
        StorageError::NoSuchBucket { .. } | StorageError::NotFound { .. } => {
            format!("create the bucket {bucket} at {place}, or correct data_repository_path")
        }
        StorageError::Unreachable { .. } => {
            format!("check endpoint_url ({place}), and that the host that moves the data reaches it")
        }
        StorageError::Throttled { .. } => "try again later".to_owned(),
        StorageError::PreconditionFailed { .. } | StorageError::Other { .. } => {
            format!("check region, path_style and endpoint_url ({place})")
        }
    };
    ProbeFailure { cause: error.to_string(), remedy }
}
