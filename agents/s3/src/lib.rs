//! S3 behind a small interface of our own: what the mover and the state store need of a bucket, and nothing else.
//!
//! The only crate that builds the AWS SDK; no type of the SDK leaves it. It knows nothing of file systems, of FSx's
//! metadata keys or of links.
//! Invariant: entity tags are held without quotes, so that a listing, a HEAD and a PUT of one version compare equal.

mod client;
mod credentials;
mod endpoint;
mod error;
mod sdk;
mod storage;

pub use client::S3Client;
pub use credentials::{CredentialsError, KeyPair};
pub use endpoint::{ConnectError, Endpoint};
pub use error::{Place, StorageError};
pub use storage::{
    Condition, Copy, Fetched, Metadata, ObjectHead, ObjectStorage, ObjectSummary, Page, Part, PutOptions,
    UploadId,
};
