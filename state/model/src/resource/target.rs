//! A target of a cluster: the unit of storage that one process serves.
//!
//! It has no block of its own; the planner lowers a cluster into its targets.
//! Invariant: (cluster, host, ordinal) names a target for ever; its index is given once.

use super::{AttributeError, Fields};
use crate::address::Address;
use crate::control::{Compression, ProcessId, ProcessSpec};
use crate::id::{FsName, TargetId, TargetKind};
use crate::layout::{LayoutTemplate, OstIndex};

/// What a target stores, with what only that kind has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TargetRole {
    /// Names, attributes and layouts.
    Metadata {
        /// Layout of new files.
        default_layout: LayoutTemplate,
    },
    /// Bytes of files.
    Object {
        /// Its index.
        index: OstIndex,
        /// Its limit in bytes.
        capacity: u64,
        /// How it stores them.
        compression: Compression,
    },
}

/// A target as the executor reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetSpec {
    /// The cluster it belongs to.
    pub cluster: Address,
    /// Its name.
    pub target: TargetId,
    /// Where it lives.
    pub host: Address,
    /// Counts the cluster's targets of that kind on that host from 0.
    pub ordinal: u32,
    /// Its own folder on the host.
    pub path: String,
    /// `address:port` where it answers.
    pub listen: String,
    /// What it stores.
    pub role: TargetRole,
}

impl TargetSpec {
    /// Returns the name of its process.
    pub fn process(&self) -> ProcessId {
        ProcessId::Target(self.target.clone())
    }

    /// Returns what its agent needs to run it.
    pub fn process_spec(&self) -> ProcessSpec {
        let (target, path, listen) = (self.target.clone(), self.path.clone(), self.listen.clone());
        match &self.role {
            TargetRole::Metadata { default_layout } => {
                ProcessSpec::Metadata { target, path, listen, default_layout: default_layout.clone() }
            }
            TargetRole::Object { index, capacity, compression } => ProcessSpec::Object {
                target,
                index: *index,
                path,
                listen,
                capacity: *capacity,
                compression: *compression,
            },
        }
    }

    pub(super) fn from_fields(fields: &Fields<'_>) -> Result<Self, AttributeError> {
        let fs_name: FsName = fields.parsed("fs_name")?;
        let (target, role) = match fields.text("role")?.as_str() {
            "MDT" => {
                let role = TargetRole::Metadata { default_layout: fields.layout("layout")? };
                (TargetId { fs_name, kind: TargetKind::Mdt, index: 0 }, role)
            }
            "OST" => {
                let index = fields.number("index")?;
                let role = TargetRole::Object {
                    index: OstIndex(index),
                    capacity: fields.number("capacity")?,
                    compression: fields.compression("data_compression_type")?,
                };
                (TargetId { fs_name, kind: TargetKind::Ost, index }, role)
            }
            _ => return Err(fields.mistyped("role", "MDT or OST")),
        };
        Ok(Self {
            cluster: fields.parsed("cluster")?,
            target,
            host: fields.parsed("host")?,
            ordinal: fields.number("ordinal")?,
            path: fields.text("path")?,
            listen: fields.text("listen")?,
            role,
        })
    }
}
