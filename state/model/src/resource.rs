//! Kinds of objects, and their typed specs as the executor reads them.
//!
//! Not how HCL becomes attributes, with defaults and errors at spans (`planner/plan`), and not what is done with them.
//! Invariant: attributes of a kind are a flat map with known names; a typed spec can be read back from every map that the
//! planner made and that has no unknown left.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::address::Address;
use crate::value::Value;

mod association;
mod aws;
mod bucket;
mod cluster;
mod fields;
mod host;
mod instance;
mod mount;
mod security_group;
mod target;
mod value;

pub use association::AssociationSpec;
pub use aws::{AwsAccess, CloudQuestion, Tags};
pub use bucket::BucketSpec;
pub use cluster::{ClusterSpec, ComponentSpec, DeploymentType, Engine, StorageType};
pub use fields::Fields;
pub use host::{Connection, HostSpec, JumpSpec, PortRange, SshSpec};
pub use instance::{InstanceSpec, SpotSpec, VolumeSpec};
pub use mount::{MOUNT_OPTIONS, MountSpec};
pub use security_group::{Direction, Peer, RuleSpec, SecurityGroupSpec};
pub use target::{TargetRole, TargetSpec};
pub use value::ValueSpec;

/// Attributes of an object by name. Addresses of other objects are texts.
pub type Attributes = BTreeMap<String, Value>;

/// What an object is. The text is the block type; a target has no block, its cluster has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A machine reached by a connection.
    Host,
    /// A file system.
    Cluster,
    /// One unit of storage of a cluster.
    Target,
    /// A folder served as an S3 bucket.
    Bucket,
    /// A directory tied to a prefix of a bucket.
    DataRepositoryAssociation,
    /// A mount of a cluster on a host.
    Mount,
    /// A value that is remembered.
    Value,
    /// A security group of EC2.
    SecurityGroup,
    /// An instance of EC2.
    Instance,
}

impl Kind {
    /// All kinds that a spec can have blocks of.
    pub const BLOCKS: [Self; 8] = [
        Self::Host,
        Self::Cluster,
        Self::Bucket,
        Self::DataRepositoryAssociation,
        Self::Mount,
        Self::Value,
        Self::SecurityGroup,
        Self::Instance,
    ];

    /// Returns the block type.
    pub fn name(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Cluster => "cluster",
            Self::Target => "target",
            Self::Bucket => "bucket",
            Self::DataRepositoryAssociation => "data_repository_association",
            Self::Mount => "mount",
            Self::Value => "value",
            Self::SecurityGroup => "security_group",
            Self::Instance => "instance",
        }
    }

    /// Returns the kind of a block type.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::BLOCKS.into_iter().find(|kind| kind.name() == name)
    }

    /// Returns the attributes whose text is the address of another object.
    pub fn references(self) -> &'static [&'static str] {
        match self {
            Self::Host | Self::Value | Self::SecurityGroup | Self::Instance => &[],
            Self::Cluster => &["metadata_host"],
            Self::Target | Self::Mount => &["cluster", "host"],
            Self::Bucket => &["host"],
            Self::DataRepositoryAssociation => &["cluster", "metadata_host"],
        }
    }

    /// Tells whether deleting such an object deletes bytes of files that may be nowhere else.
    pub fn holds_data(self) -> bool {
        match self {
            // What is on an instance's volumes goes with it, whatever that is.
            Self::Cluster | Self::Target | Self::Instance => true,
            Self::Host | Self::Bucket | Self::DataRepositoryAssociation | Self::Mount | Self::Value => false,
            Self::SecurityGroup => false,
        }
    }

    /// Tells whether such an object is in AWS, reached through a provider, and on no host.
    pub fn is_in_aws(self) -> bool {
        match self {
            Self::SecurityGroup | Self::Instance => true,
            Self::Host | Self::Cluster | Self::Target | Self::Bucket | Self::DataRepositoryAssociation => {
                false
            }
            Self::Mount | Self::Value => false,
        }
    }

    /// Lets every reference in these attributes follow to the address that its object has now.
    pub fn rename_references(self, attributes: &mut Attributes, renamed: &BTreeMap<Address, Address>) {
        for name in self.references() {
            let Some(value) = attributes.get_mut(*name) else { continue };
            let address = value.as_str().and_then(|text| text.parse::<Address>().ok());
            if let Some(to) = address.and_then(|address| renamed.get(&address)) {
                *value = Value::from(to.to_string());
            }
        }
    }

    /// Returns the cluster and the number that such an object has from it for ever: an OST index or a link's id.
    pub fn allotted(self, attributes: &Attributes) -> Option<(Address, u32)> {
        let number = match self {
            Self::Target => "index",
            Self::DataRepositoryAssociation => "link_id",
            Self::Host | Self::Cluster | Self::Bucket | Self::Mount | Self::Value => return None,
            Self::SecurityGroup | Self::Instance => return None,
        };
        let fields = Fields::new(self, attributes);
        Some((fields.parsed("cluster").ok()?, fields.number(number).ok()?))
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// An attribute is not what its kind has there.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AttributeError {
    /// It is not there, or null.
    #[error("a {kind} needs \"{name}\"")]
    Missing {
        /// Of what.
        kind: Kind,
        /// Which.
        name: String,
    },
    /// It has another type, is not known, or does not parse.
    #[error("\"{name}\" of a {kind} is not {expected}")]
    Mistyped {
        /// Of what.
        kind: Kind,
        /// Which.
        name: String,
        /// What it should be.
        expected: String,
    },
}

/// A typed spec of any kind.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "the kinds' names")]
pub enum Resource {
    Host(HostSpec),
    Cluster(ClusterSpec),
    Target(TargetSpec),
    Bucket(BucketSpec),
    DataRepositoryAssociation(AssociationSpec),
    Mount(MountSpec),
    Value(ValueSpec),
    SecurityGroup(SecurityGroupSpec),
    Instance(Box<InstanceSpec>),
}

impl Resource {
    /// Reads the typed spec of a kind from its attributes; none may be unknown.
    pub fn from_attributes(kind: Kind, attributes: &Attributes) -> Result<Self, AttributeError> {
        let fields = Fields::new(kind, attributes);
        Ok(match kind {
            Kind::Host => Self::Host(HostSpec::from_fields(&fields)?),
            Kind::Cluster => Self::Cluster(ClusterSpec::from_fields(&fields)?),
            Kind::Target => Self::Target(TargetSpec::from_fields(&fields)?),
            Kind::Bucket => Self::Bucket(BucketSpec::from_fields(&fields)?),
            Kind::DataRepositoryAssociation => {
                Self::DataRepositoryAssociation(AssociationSpec::from_fields(&fields)?)
            }
            Kind::Mount => Self::Mount(MountSpec::from_fields(&fields)?),
            Kind::Value => Self::Value(ValueSpec::from_fields(&fields)),
            Kind::SecurityGroup => Self::SecurityGroup(SecurityGroupSpec::from_fields(&fields)?),
            Kind::Instance => Self::Instance(Box::new(InstanceSpec::from_fields(&fields)?)),
        })
    }
}
