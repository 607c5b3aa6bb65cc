//! A cluster: one file system, apart from the targets that it lowers into.
//!
//! Words and values are FSx's. How many targets there are, and where, is in the targets.
//! Invariant: components of a layout are in file order, and only the last has no end.

use serde::{Deserialize, Serialize};

use super::{AttributeError, Fields};
use crate::address::Address;
use crate::control::Compression;
use crate::id::FsName;
use crate::layout::{ComponentTemplate, END_OF_FILE, LayoutTemplate, StripeCount};

/// `deployment_type`. The persistent types wait for mirrored targets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "FSx's words")]
pub enum DeploymentType {
    Scratch1,
    Scratch2,
}

/// `storage_type`: what the disks are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "FSx's words")]
pub enum StorageType {
    Ssd,
    Hdd,
}

/// How targets are realised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Engine {
    /// Our agents serve them.
    Userspace,
}

/// A component of the default layout as a spec writes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ComponentSpec {
    /// First byte behind it; `None` for the last.
    pub end: Option<u64>,
    /// How many targets; -1 for all.
    pub stripe_count: i32,
    /// Bytes in a stripe unit.
    pub stripe_size: u32,
}

impl ComponentSpec {
    /// Returns the component as the metadata target takes it.
    pub fn template(&self) -> ComponentTemplate {
        let stripe_count = match u16::try_from(self.stripe_count) {
            Ok(count) => StripeCount::Exact(count),
            Err(_) => StripeCount::All,
        };
        let end = self.end.unwrap_or(END_OF_FILE);
        ComponentTemplate { end, stripe_size: self.stripe_size, stripe_count, pool: None }
    }
}

/// A cluster as the executor reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterSpec {
    /// The file system's name; also its mount name.
    pub fs_name: FsName,
    /// FSx's deployment type.
    pub deployment_type: DeploymentType,
    /// What the disks are.
    pub storage_type: StorageType,
    /// How object targets store bytes.
    pub compression: Compression,
    /// How targets are realised.
    pub engine: Engine,
    /// Layout of new files.
    pub default_layout: LayoutTemplate,
    /// The host of the metadata target.
    pub metadata_host: Address,
    /// `address:port` where the metadata target answers.
    pub metadata_address: String,
}

impl ClusterSpec {
    pub(super) fn from_fields(fields: &Fields<'_>) -> Result<Self, AttributeError> {
        let deployment_type = match fields.text("deployment_type")?.as_str() {
            "SCRATCH_1" => DeploymentType::Scratch1,
            "SCRATCH_2" => DeploymentType::Scratch2,
            _ => return Err(fields.mistyped("deployment_type", "SCRATCH_1 or SCRATCH_2")),
        };
        let storage_type = match fields.text("storage_type")?.as_str() {
            "SSD" => StorageType::Ssd,
            "HDD" => StorageType::Hdd,
            _ => return Err(fields.mistyped("storage_type", "SSD or HDD")),
        };
        let engine = match fields.text("engine")?.as_str() {
            "userspace" => Engine::Userspace,
            _ => return Err(fields.mistyped("engine", "userspace")),
        };
        Ok(Self {
            fs_name: fields.parsed("fs_name")?,
            deployment_type,
            storage_type,
            compression: fields.compression("data_compression_type")?,
            engine,
            default_layout: fields.layout("layout")?,
            metadata_host: fields.parsed("metadata_host")?,
            metadata_address: fields.text("metadata_address")?,
        })
    }
}
