//! `cluster`: FSx's fields, and where metadata and objects are kept.
//!
//! What it lowers into is [`Storage`]; its own attributes hold nothing about the number of targets, so that another
//! target is a change of targets and of nothing else.
//! Invariant: every field of FSx's create call is read here or refused here by name.

use std::collections::BTreeSet;

use lustre_model::address::Address;
use lustre_model::diagnostic::{Diagnostic, Span};
use lustre_model::id::FsName;
use lustre_model::resource::{Attributes, Kind};
use lustre_model::types::Type;
use lustre_model::value::Value;

use super::capacity::parse_size;
use super::layout;
use super::reader::{Need, Reader, absolute_path, attributes};

/// Most targets of a cluster on one host.
const TARGETS_PER_HOST_MAX: i64 = 1000;

/// Smallest object target: what its own bookkeeping needs many times over.
const CAPACITY_MIN: u64 = 16 << 20;

/// Largest `storage_capacity`, in GiB: an exbibyte.
const STORAGE_CAPACITY_MAX: i64 = 1 << 30;

/// How large object targets are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetSize {
    /// Bytes of each.
    Each(u64),
    /// Bytes of all together.
    Total(u64),
}

/// What a cluster lowers into.
#[derive(Debug, Clone, PartialEq)]
pub struct Storage {
    /// Where the metadata target is.
    pub metadata_host: Address,
    /// The folder that the metadata target's folder is in.
    pub metadata_path: Value,
    /// Where object targets are, in the order of the spec.
    pub hosts: Vec<Address>,
    /// The folder that object targets' folders are in.
    pub path: Value,
    /// How many object targets each host has.
    pub targets_per_host: u32,
    /// How large they are.
    pub size: TargetSize,
    /// The storage block.
    pub span: Span,
}

const PERSISTENT: &str = "Persistent types promise that no server takes data with it. The userspace engine keeps one \
                          copy of everything until targets are mirrored. Use SCRATCH_2, and export to a bucket.";

/// FSx's fields that are not implemented, with the reason.
const REFUSED: &[(&str, &str)] = &[
    ("subnet_ids", "There is no subnet to choose: name hosts in `metadata` and `storage`."),
    (
        "security_group_ids",
        "There is no network of ours to guard: the hosts' own firewall decides who connects.",
    ),
    ("network_type", "Processes listen on the `address` of their host."),
    ("kms_key_id", "Targets do not encrypt what they store; put their folders on an encrypted disk."),
    ("drive_cache_type", "Targets have no second tier of disks; the page cache is used."),
    ("data_read_cache_configuration", "It belongs to INTELLIGENT_TIERING, which is not built."),
    ("throughput_capacity", "It belongs to INTELLIGENT_TIERING, which is not built."),
    ("per_unit_storage_throughput", "FSx takes it for persistent types only, and those are not built."),
    ("metadata_configuration", "Metadata requests are not limited; FSx takes it for PERSISTENT_2 only."),
    ("root_squash_configuration", "Root is not squashed yet; do not rely on it."),
    ("log_configuration", "Links log through their agent; there is no log destination to choose."),
    ("efa_enabled", "Data travels over TCP."),
    ("weekly_maintenance_start_time", "Nothing is maintained behind your back."),
    ("daily_automatic_backup_start_time", "There are no backups yet."),
    ("automatic_backup_retention_days", "There are no backups yet."),
    ("copy_tags_to_backups", "There are no backups yet."),
    ("skip_final_backup", "There are no backups yet."),
    ("final_backup_tags", "There are no backups yet."),
    ("backup_id", "There are no backups yet."),
    ("file_system_type_version", "Clients and targets come from one binary and have its version."),
    ("import_path", "It is the older kind of link; use a `data_repository_association`."),
    ("export_path", "It is the older kind of link; use a `data_repository_association`."),
    ("imported_file_chunk_size", "It is a field of `data_repository_association`."),
    ("auto_import_policy", "It is a block of `data_repository_association`."),
    ("tags", "There is nothing that would read tags."),
    ("client_request_token", "Applying twice never builds twice."),
];

pub fn decode(reader: &mut Reader<'_>) -> (Attributes, Option<Storage>) {
    for (name, reason) in REFUSED {
        reader.refuse(name, reason);
    }
    let persistent = [("PERSISTENT_1", PERSISTENT), ("PERSISTENT_2", PERSISTENT)];
    let deployment_type = reader.word("deployment_type", &["SCRATCH_1", "SCRATCH_2"], &persistent);
    let tiering = [("INTELLIGENT_TIERING", "There is one tier of storage. Use SSD or HDD.")];
    let storage_type = reader.word("storage_type", &["SSD", "HDD"], &tiering);
    let compression = reader.word("data_compression_type", &["NONE", "LZ4"], &[]);
    let kernel = [("lustre", "Operating the Lustre kernel servers is not built yet.")];
    let engine = reader.word("engine", &["userspace"], &kernel);
    let fs_name = fs_name(reader);
    let layout = layout::decode(reader);
    let metadata = metadata(reader);
    let storage = storage(reader);
    let (metadata_host, metadata_path) = metadata.unzip();
    let attributes = attributes([
        ("deployment_type", deployment_type),
        ("storage_type", storage_type),
        ("data_compression_type", compression),
        ("engine", engine),
        ("mount_name", fs_name.clone()),
        ("fs_name", fs_name),
        ("layout", layout),
        ("metadata_host", metadata_host.as_ref().map(|host| Value::from(host.to_string()))),
        ("metadata_path", metadata_path.clone()),
    ]);
    let storage = metadata_host.zip(metadata_path).zip(storage);
    let storage =
        storage.map(|((metadata_host, metadata_path), (hosts, path, targets_per_host, size, span))| {
            Storage { metadata_host, metadata_path, hosts, path, targets_per_host, size, span }
        });
    (attributes, storage)
}

fn fs_name(reader: &mut Reader<'_>) -> Option<Value> {
    let check = |text: &str| text.parse::<FsName>().map(drop).map_err(|_| FS_NAME.to_owned());
    if reader.attribute("fs_name", Need::Optional).is_some() {
        let (value, span) = reader.typed("fs_name", &Type::String, Need::Required)?;
        let (value, span) = reader.known("fs_name", (value, span))?;
        let valid = check(value.as_str().unwrap_or_default());
        return match valid {
            Ok(()) => Some(value),
            Err(reason) => reader.invalid("fs_name", &value, (&reason, span)),
        };
    }
    let label = Value::from(reader.address().name.as_str());
    if check(&reader.address().name).is_ok() {
        return Some(label);
    }
    let reason = format!("{FS_NAME} The label is no such name, so give one with `fs_name`.");
    reader.invalid("fs_name", &label, (&reason, reader.span()))
}

const FS_NAME: &str = "It has 1 to 8 letters, digits, '_' or '-'.";

fn metadata(reader: &mut Reader<'_>) -> Option<(Address, Value)> {
    let block = reader.block("metadata", Need::Required)?;
    reader.nested("metadata block", block, |reader| {
        let host = reader.reference("host", Kind::Host);
        let path = reader.text("path", Need::Required, absolute_path);
        Some((host?.0, path?))
    })
}

type Objects = (Vec<Address>, Value, u32, TargetSize, Span);

fn storage(reader: &mut Reader<'_>) -> Option<Objects> {
    let total = reader.number("storage_capacity", Need::Optional, 1..=STORAGE_CAPACITY_MAX);
    let total_span = reader.attribute("storage_capacity", Need::Optional).map(|attribute| attribute.span);
    let total = match (total, total_span) {
        // What is wrong with it was told, and the rest is read all the same.
        (Some(value), Some(span)) => reader
            .known("storage_capacity", (value, span))
            .and_then(|(value, span)| Some((value.as_u64()?, span))),
        (_, _) => None,
    };
    let block = reader.block("storage", Need::Required)?;
    reader.nested("storage block", block, |reader| {
        let path = reader.text("path", Need::Required, absolute_path);
        let hosts = hosts(reader);
        let targets_per_host = targets_per_host(reader);
        let each = target_capacity(reader);
        let size = match (each, total, total_span) {
            (Some((_, span)), Some((_, other)), _) => {
                let summary = "either `target_capacity` or `storage_capacity`, never both";
                reader.push(Diagnostic::error("E0853", summary).at(span).related(other, "the other is here"));
                None
            }
            (Some((bytes, _)), None, _) => Some(TargetSize::Each(bytes)),
            (None, Some((gibibytes, _)), _) => Some(TargetSize::Total(gibibytes << 30)),
            (None, None, Some(_)) => None,
            (None, None, None) => {
                if reader.attribute("target_capacity", Need::Optional).is_none() {
                    let summary = "a cluster needs `target_capacity` in `storage`, or `storage_capacity`";
                    let hint = "Write `target_capacity = \"2GiB\"`: the limit of each object target.";
                    reader.push(Diagnostic::error("E0803", summary).hint(hint).at(reader.span()));
                }
                None
            }
        };
        Some((hosts?, path?, targets_per_host?, size?, reader.span()))
    })
}

fn targets_per_host(reader: &mut Reader<'_>) -> Option<u32> {
    let Some(attribute) = reader.attribute("targets_per_host", Need::Optional) else { return Some(1) };
    let value = reader.number("targets_per_host", Need::Optional, 1..=TARGETS_PER_HOST_MAX)?;
    let (value, _) = reader.known("targets_per_host", (value, attribute.span))?;
    value.as_u64().and_then(|count| u32::try_from(count).ok())
}

fn target_capacity(reader: &mut Reader<'_>) -> Option<(u64, Span)> {
    let attribute = reader.attribute("target_capacity", Need::Optional)?;
    let (value, span) = reader.known("target_capacity", (attribute.value.clone(), attribute.span))?;
    let bytes = parse_size(&value).and_then(|bytes| {
        let enough = bytes >= CAPACITY_MIN;
        if enough { Ok(bytes) } else { Err(format!("It is at least {} MiB.", CAPACITY_MIN >> 20)) }
    });
    match bytes {
        Ok(bytes) => Some((bytes, span)),
        Err(reason) => reader.invalid("target_capacity", &value, (&reason, span)),
    }
}

/// One host, or a list, set or map of hosts; each at most once.
fn hosts(reader: &mut Reader<'_>) -> Option<Vec<Address>> {
    let attribute = reader.attribute("hosts", Need::Required)?;
    let value = &attribute.value;
    if !value.is_known() {
        reader.known("hosts", (value.clone(), attribute.span))?;
    }
    let items: Vec<&Value> = match value.resource() {
        Some(_) => vec![value],
        None => value.parts().collect(),
    };
    if items.is_empty() {
        let reason = "It is a host, or a list or map of hosts, and not empty.";
        return reader.invalid("hosts", value, (reason, attribute.span));
    }
    let mut hosts = Vec::new();
    let mut seen = BTreeSet::new();
    for item in items {
        let (host, _) = reader.resource("hosts", Kind::Host, (item, attribute.span))?;
        if !seen.insert(host.clone()) {
            let reason =
                format!("{host} is named twice; `targets_per_host` says how many targets a host has.");
            return reader.invalid("hosts", value, (&reason, attribute.span));
        }
        hosts.push(host);
    }
    Some(hosts)
}
