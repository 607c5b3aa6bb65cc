//! Where a bucket is and how it is reached.
//!
//! Values only; the connection is [`crate::S3Client`].
//! Invariant: secrets are not here, only the name of the file that holds them.

use thiserror::Error;

use crate::credentials::CredentialsError;

/// A bucket and the way to it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// Bucket name.
    pub bucket: String,
    /// An S3-compatible endpoint, or AWS's own when absent.
    pub endpoint_url: Option<String>,
    /// Region; `us-east-1` when absent.
    pub region: Option<String>,
    /// `https://host/bucket/key` instead of `https://bucket.host/key`.
    pub path_style: bool,
    /// A file in AWS's shared-credentials format; the SDK's chain (environment, profile, web identity, container,
    /// instance) when absent.
    pub credentials_file: Option<String>,
}

/// The client could not be set up; nothing was sent yet.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// The credentials file does not serve.
    #[error("no credentials for s3://{bucket}")]
    Credentials {
        /// The bucket they are for.
        bucket: String,
        /// Why not.
        #[source]
        source: CredentialsError,
    },
    /// The endpoint is not a URL.
    #[error("\"{endpoint_url}\" is not an endpoint: it must begin with http:// or https://")]
    EndpointUrl {
        /// What was given.
        endpoint_url: String,
    },
}
