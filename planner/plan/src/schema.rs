//! What a change of each attribute means: in place or a replacement, and what users of the file system feel.
//!
//! The matrix of FSx's updates, better where we can do it live. Not how attributes are read from a spec.
//! Invariant: an attribute that is not named here changes in place and live; what cannot change in place is named.

use lustre_model::plan::Impact;
use lustre_model::resource::{Attributes, Kind};

/// How an attribute changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// In place.
    InPlace(Impact),
    /// Only with the whole object.
    Replace,
}

/// Name of the attribute that says whether an object may be destroyed; every kind has it.
pub const PREVENT_DESTROY: &str = "prevent_destroy";

/// Returns how an attribute of a kind changes.
pub fn class(kind: Kind, name: &str) -> Class {
    let replace: &[&str] = match kind {
        // Another address is another machine, as far as anybody can know.
        Kind::Host => &["connection", "address", "path"],
        Kind::Cluster => {
            &["fs_name", "deployment_type", "storage_type", "engine", "metadata_host", "metadata_path"]
        }
        Kind::Target => &["cluster", "fs_name", "role", "index", "host", "ordinal", "path"],
        Kind::Bucket => &["host", "name", "path"],
        Kind::DataRepositoryAssociation => {
            &["cluster", "fs_name", "file_system_path", "data_repository_path", "bucket", "prefix", "link_id"]
        }
        Kind::Mount => &["cluster", "fs_name", "host", "path", "options", "metadata_address"],
        Kind::Value => &["triggers_replace"],
        Kind::SecurityGroup => &["region", "name", "description", "vpc_id"],
        Kind::Instance => &[
            "region",
            "ami",
            "instance_type",
            "subnet_id",
            "key_name",
            "iam_instance_profile",
            "placement_group",
            "instance_market_options",
            "root_block_device",
            "ebs_block_device",
            "ssh_authorized_keys",
            "user_data",
        ],
    };
    if replace.contains(&name) {
        return Class::Replace;
    }
    match kind {
        // Its process starts again with another spec; requests wait meanwhile.
        Kind::Target | Kind::Bucket if name != PREVENT_DESTROY => Class::InPlace(Impact::Pause),
        Kind::Host | Kind::Cluster | Kind::Target | Kind::Bucket | Kind::DataRepositoryAssociation => {
            Class::InPlace(Impact::Live)
        }
        Kind::Mount | Kind::Value | Kind::SecurityGroup | Kind::Instance => Class::InPlace(Impact::Live),
    }
}

/// Returns what users feel when an object of a kind goes, or goes and comes back.
pub fn loss(kind: Kind) -> Impact {
    match kind {
        Kind::Cluster | Kind::Target | Kind::Instance => Impact::DataLoss,
        // What is only behind a link cannot be read without it.
        Kind::Mount | Kind::Bucket | Kind::DataRepositoryAssociation => Impact::Outage,
        Kind::Host | Kind::Value | Kind::SecurityGroup => Impact::Live,
    }
}

/// Returns the attributes that only apply knows when the object is made or changed.
pub fn computed(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Value => &["output"],
        Kind::SecurityGroup => &["id", "arn", "owner_id"],
        Kind::Instance => {
            &["id", "arn", "private_ip", "public_ip", "private_dns", "availability_zone", "host_key"]
        }
        Kind::Host | Kind::Cluster | Kind::Target | Kind::Bucket => &[],
        Kind::DataRepositoryAssociation | Kind::Mount => &[],
    }
}

/// Tells whether an object's attributes protect it from being destroyed.
pub fn prevents_destroy(attributes: &Attributes) -> bool {
    attributes.get(PREVENT_DESTROY).and_then(|value| value.as_bool()).unwrap_or(false)
}
