//! Asks a bucket, from the host that will move its data, whether it answers to the credentials it is reached with.
//!
//! Lists one key and changes nothing.
//! Invariant: no credential and no secret appears in what is said.

use std::error::Error;
use std::sync::Arc;

use lustre_agent::RepositoryProbe;
use lustre_model::control::ProbeResult;
use lustre_model::hsm::RepositoryEndpoint;
use lustre_s3::{Endpoint, ObjectStorage, S3Client, StorageError};

/// Returns the probe that the agent carries out for links.
pub fn repository_probe() -> RepositoryProbe {
    Arc::new(|repository| Box::pin(probe(repository)))
}

async fn probe(repository: RepositoryEndpoint) -> ProbeResult {
    let endpoint = Endpoint {
        bucket: repository.bucket,
        endpoint_url: repository.endpoint_url,
        region: repository.region,
        path_style: repository.path_style,
        credentials_file: repository.credentials_file,
    };
    let client = match S3Client::connect(&endpoint).await {
        Ok(client) => client,
        Err(error) => return failed(&error, "mend `endpoint_url` or `credentials_file` of the link"),
    };
    match client.check().await {
        Ok(()) => ProbeResult::Ok,
        Err(error) => {
            let remedy = remedy(&error);
            failed(&error, remedy)
        }
    }
}

fn remedy(error: &StorageError) -> &'static str {
    match error {
        StorageError::AccessDenied { .. } => {
            "give these credentials s3:ListBucket and s3:GetObject on the bucket"
        }
        StorageError::NoCredentials { .. } => "set `credentials_file` of the link, or give the host a role",
        StorageError::NoSuchBucket { .. } | StorageError::NotFound { .. } => {
            "create the bucket, or mend its name"
        }
        StorageError::Unreachable { .. } => "check `endpoint_url`, and that this host can reach it",
        StorageError::Throttled { .. } => "try again later",
        StorageError::PreconditionFailed { .. } | StorageError::Other { .. } => {
            "check `endpoint_url`, `region` and `path_style` of the link"
        }
    }
}

fn failed(error: &dyn Error, remedy: &str) -> ProbeResult {
    ProbeResult::Failed { cause: super::chain(error), remedy: remedy.to_owned() }
}
