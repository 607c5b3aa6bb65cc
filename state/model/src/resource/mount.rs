//! A mount of a cluster's file system on a host.
//!
//! Not the mount helper; that is a process of the agent.
//! Invariant: the path is absolute, and at most one mount has it on a host.

use super::{AttributeError, Fields};
use crate::address::Address;
use crate::control::{ProcessId, ProcessSpec};
use crate::id::FsName;

/// What `options` may hold, as `mount(8)` spells it; a later one overrides an earlier one that says the opposite.
pub const MOUNT_OPTIONS: [&str; 8] = ["ro", "rw", "nosuid", "suid", "nodev", "dev", "noexec", "exec"];

/// A mount as the executor reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountSpec {
    /// The cluster.
    pub cluster: Address,
    /// Its file system.
    pub fs_name: FsName,
    /// `address:port` where the metadata target answers.
    pub metadata_address: String,
    /// Where it is mounted.
    pub host: Address,
    /// At which path.
    pub path: String,
    /// Mount options.
    pub options: Vec<String>,
}

impl MountSpec {
    /// Returns the name of its process.
    pub fn process(&self) -> ProcessId {
        ProcessId::Mount(self.path.clone())
    }

    /// Returns what its agent needs to run it.
    pub fn process_spec(&self) -> ProcessSpec {
        ProcessSpec::Mount {
            fs_name: self.fs_name.clone(),
            metadata: self.metadata_address.clone(),
            path: self.path.clone(),
            options: self.options.clone(),
        }
    }

    pub(super) fn from_fields(fields: &Fields<'_>) -> Result<Self, AttributeError> {
        Ok(Self {
            cluster: fields.parsed("cluster")?,
            fs_name: fields.parsed("fs_name")?,
            metadata_address: fields.text("metadata_address")?,
            host: fields.parsed("host")?,
            path: fields.text("path")?,
            options: fields.texts("options")?,
        })
    }
}
