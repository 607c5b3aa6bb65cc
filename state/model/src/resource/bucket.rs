//! A bucket: a folder that an agent serves as an S3 endpoint.
//!
//! Not a bucket of AWS. The folder belongs to the user and outlives the resource.
//! Invariant: `endpoint_url`, `credentials_file` and `data_repository_path` follow from the rest.

use super::{AttributeError, Fields};
use crate::address::Address;
use crate::control::{ProcessId, ProcessSpec};

/// A bucket as the executor reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketSpec {
    /// Who serves it.
    pub host: Address,
    /// The folder.
    pub path: String,
    /// The bucket's name.
    pub name: String,
    /// `address:port` where it answers.
    pub listen: String,
    /// Where the agent writes its keys, in AWS's shared-credentials format.
    pub credentials_file: String,
}

impl BucketSpec {
    /// Returns the name of its process.
    pub fn process(&self) -> ProcessId {
        ProcessId::Bucket(self.name.clone())
    }

    /// Returns what its agent needs to run it.
    pub fn process_spec(&self) -> ProcessSpec {
        ProcessSpec::Bucket {
            name: self.name.clone(),
            path: self.path.clone(),
            listen: self.listen.clone(),
            credentials_file: self.credentials_file.clone(),
        }
    }

    pub(super) fn from_fields(fields: &Fields<'_>) -> Result<Self, AttributeError> {
        Ok(Self {
            host: fields.parsed("host")?,
            path: fields.text("path")?,
            name: fields.text("name")?,
            listen: fields.text("listen")?,
            credentials_file: fields.text("credentials_file")?,
        })
    }
}
