//! The value of a resource instance as other blocks and outputs see it.
//!
//! Invariant: an optional attribute that is not given is null there, not absent.

use lustre_model::address::Address;
use lustre_model::resource::{Attributes, Kind};
use lustre_model::types::Type;
use lustre_model::value::Value;

/// Attributes that may be left out.
pub fn optional(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Bucket => &["port"],
        Kind::DataRepositoryAssociation => &["endpoint_url", "region", "credentials_file"],
        Kind::Value => &["input", "triggers_replace", "output"],
        Kind::SecurityGroup => &["vpc_id", "tags"],
        Kind::Instance => &[
            "subnet_id",
            "vpc_security_group_ids",
            "key_name",
            "iam_instance_profile",
            "placement_group",
            "instance_market_options",
            "root_block_device",
            "ebs_block_device",
            "ssh_authorized_keys",
            "user_data",
            "tags",
        ],
        Kind::Host | Kind::Cluster | Kind::Target | Kind::Mount => &[],
    }
}

/// Builds the value of an instance; `parts` are the targets of a cluster.
pub fn published((address, kind): (&Address, Kind), attributes: &Attributes, parts: &[&Address]) -> Value {
    let mut shown = attributes.clone();
    for name in optional(kind) {
        shown.entry((*name).to_owned()).or_insert_with(|| Value::null(Type::Any));
    }
    if kind == Kind::Cluster {
        let names = parts.iter().filter_map(|part| part.parts.last()).map(|part| part.name.as_str());
        shown.insert("targets".to_owned(), Value::strings(names));
    }
    Value::resource_object(address.clone(), shown)
}
