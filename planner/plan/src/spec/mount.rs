//! `mount`: a cluster's file system at a path of a host.
//!
//! Invariant: the path is absolute and has one spelling, so that two mounts on one path are seen.

use lustre_model::resource::{Attributes, Kind, MOUNT_OPTIONS};
use lustre_model::types::Type;
use lustre_model::value::Value;

use super::reader::{Need, Reader, absolute_path, attributes};

pub fn decode(reader: &mut Reader<'_>) -> Attributes {
    let cluster = reader.reference("cluster", Kind::Cluster);
    let host = reader.reference("host", Kind::Host);
    let path = reader.text("path", Need::Required, absolute_path);
    let options = options(reader);
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

/// Options of the mount, in the order given.
fn options(reader: &mut Reader<'_>) -> Option<Value> {
    let (value, span) = reader.typed("options", &Type::list(Type::String), Need::Optional)?;
    let unknown = value.parts().filter_map(Value::as_str).find(|option| !MOUNT_OPTIONS.contains(option));
    if let Some(option) = unknown {
        let reason = format!("{option:?} is not one of {}.", MOUNT_OPTIONS.join(", "));
        return reader.invalid("options", &value, (&reason, span));
    }
    Some(value)
}
