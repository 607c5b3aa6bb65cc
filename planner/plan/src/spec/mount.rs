//! `mount`: a cluster's file system at a path of a host.
//!
//! Invariant: the path is absolute and has one spelling, so that two mounts on one path are seen.

use lustre_model::resource::{Attributes, Kind};
use lustre_model::types::Type;
use lustre_model::value::Value;

use super::reader::{Need, Reader, absolute_path, attributes};

pub fn decode(reader: &mut Reader<'_>) -> Attributes {
    let cluster = reader.reference("cluster", Kind::Cluster);
    let host = reader.reference("host", Kind::Host);
    let path = reader.text("path", Need::Required, absolute_path);
    let strings = Type::list(Type::String);
    let options = reader.typed("options", &strings, Need::Optional).map(|(value, _)| value);
    let of_cluster = |name: &str| cluster.as_ref().and_then(|(_, cluster)| cluster.get(name).cloned());
    attributes([
        ("fs_name", of_cluster("fs_name")),
        ("metadata_address", of_cluster("metadata_address")),
        ("cluster", cluster.as_ref().map(|(address, _)| Value::from(address.to_string()))),
        ("host", host.map(|(address, _)| Value::from(address.to_string()))),
        ("path", path),
        ("options", options.or_else(|| Some(Value::strings::<&str>([])))),
    ])
}
