//! What only one object can have at a time: a port, a folder, a mount point.
//!
//! Known from attributes alone; whether a stranger has it, a probe on the host says.
//! Invariant: two objects that would get in each other's way have a claim in common.

use std::fmt;

use lustre_model::resource::{Attributes, Kind};
use lustre_model::value::Value;

/// Something that only one object can have.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Claim {
    /// `address:port`.
    Port(String),
    /// A folder of a target on a host.
    Folder {
        /// The host's address in the spec.
        host: String,
        /// The folder.
        path: String,
    },
    /// A mount point on a host.
    MountPoint {
        /// The host's address in the spec.
        host: String,
        /// The mount point.
        path: String,
    },
    /// A bucket's name on a host.
    BucketName {
        /// The host's address in the spec.
        host: String,
        /// The name.
        name: String,
    },
    /// A directory of a cluster that is linked.
    LinkedDirectory {
        /// The cluster's address in the spec.
        cluster: String,
        /// The directory.
        path: String,
    },
    /// A security group's name.
    SecurityGroupName {
        /// Its VPC and region.
        place: String,
        /// The name.
        name: String,
    },
    /// A file system's name.
    FsName(String),
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Port(address) => write!(f, "port {address}"),
            Self::Folder { host, path } => write!(f, "folder {path} on {host}"),
            Self::MountPoint { host, path } => write!(f, "mount point {path} on {host}"),
            Self::BucketName { host, name } => write!(f, "bucket name {name} on {host}"),
            Self::LinkedDirectory { cluster, path } => write!(f, "directory {path} of {cluster}"),
            Self::SecurityGroupName { place, name } => write!(f, "security group name {name} in {place}"),
            Self::FsName(name) => write!(f, "file system name {name}"),
        }
    }
}

/// Returns what an object claims, as far as its attributes are known.
pub fn claims(kind: Kind, attributes: &Attributes) -> Vec<Claim> {
    let text = |name: &str| attributes.get(name).and_then(Value::as_str).map(str::to_owned);
    let port = || text("listen").map(Claim::Port);
    let at = |place: fn(String, String) -> Claim, host: &str, path: &str| {
        text(host).zip(text(path)).map(|(host, path)| place(host, path))
    };
    let found: Vec<Option<Claim>> = match kind {
        Kind::Host => {
            let port = attributes.get("control_port").and_then(Value::as_u64);
            vec![text("address").zip(port).map(|(address, port)| Claim::Port(format!("{address}:{port}")))]
        }
        Kind::Cluster => vec![text("fs_name").map(Claim::FsName)],
        Kind::Target => vec![port(), at(|host, path| Claim::Folder { host, path }, "host", "path")],
        Kind::Bucket => vec![port(), at(|host, name| Claim::BucketName { host, name }, "host", "name")],
        Kind::DataRepositoryAssociation => {
            let place = |cluster, path| Claim::LinkedDirectory { cluster, path };
            vec![at(place, "cluster", "file_system_path")]
        }
        Kind::Mount => vec![at(|host, path| Claim::MountPoint { host, path }, "host", "path")],
        Kind::SecurityGroup => vec![text("region").zip(text("name")).map(|(region, name)| {
            let vpc = text("vpc_id").unwrap_or_else(|| "the default VPC".to_owned());
            Claim::SecurityGroupName { place: format!("{vpc} in {region}"), name }
        })],
        Kind::Value | Kind::Instance => Vec::new(),
    };
    found.into_iter().flatten().collect()
}
