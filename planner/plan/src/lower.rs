//! What a cluster lowers into, and what the planner gives to buckets and links: places, ports, indices.
//!
//! ```text
//! cluster.x ─┬─ cluster.x.target["x-MDT0000"]
//!            └─ cluster.x.target["x-OST0000"], …      one per host and ordinal on that host
//! ```
//! What is recorded of a target under the same (cluster, host, ordinal) is kept: index and port. An object target that
//! cannot stay as it is goes, and another one with the next index takes its place: files that had bytes on the old one must
//! never find the new one under its name.
//! Invariant: lowering the same spec over the world that its plan made gives the same targets again.

use std::collections::{BTreeMap, BTreeSet};

use lustre_model::address::Address;
use lustre_model::diagnostic::{Diagnostic, Diagnostics, Span};
use lustre_model::id::{FsName, TargetId, TargetKind};
use lustre_model::recorded::{Object, Status, World};
use lustre_model::resource::{Attributes, Fields, Kind};
use lustre_model::types::Type;
use lustre_model::value::Value;

use crate::allot::{Allotted, listen};
use crate::spec::{Decoded, Storage, TargetSize};

/// Part of an address under which targets are.
pub const TARGET: &str = "target";

/// What the planner needs to give things out.
pub struct Giving<'a> {
    /// What is recorded, after moves.
    pub world: &'a World,
    /// What is given so far.
    pub allotted: &'a mut Allotted,
    /// Other objects of the spec.
    pub decoded: &'a Decoded,
    /// What is wrong.
    pub found: &'a mut Diagnostics,
    /// Tells of a recorded object target and its host whether the target has to go although its cluster stays.
    pub goes: &'a dyn Fn(&Address, &Address) -> bool,
}

/// A target as the spec wants it.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    /// Which.
    pub address: Address,
    /// Its attributes.
    pub attributes: Attributes,
    /// Direct dependencies.
    pub dependencies: BTreeSet<Address>,
}

/// Completes what the planner gives to an object, and returns the targets that it lowers into; none when something is wrong.
pub fn completed(
    (address, kind): (&Address, Kind),
    attributes: &mut Attributes,
    (storage, span): (Option<&Storage>, Span),
    giving: &mut Giving<'_>,
) -> Option<Vec<Target>> {
    match (kind, storage) {
        (Kind::Cluster, Some(storage)) => targets((address, attributes), storage, giving),
        (Kind::Bucket, _) => bucket(address, attributes, span, giving).map(|()| Vec::new()),
        (Kind::DataRepositoryAssociation, _) => link(address, attributes, giving).map(|()| Vec::new()),
        (
            Kind::Host
            | Kind::Cluster
            | Kind::Target
            | Kind::Mount
            | Kind::Value
            | Kind::SecurityGroup
            | Kind::Instance,
            _,
        ) => Some(Vec::new()),
    }
}

/// Lowers a cluster: completes its attributes, and returns its targets, the metadata target first.
fn targets(
    (cluster, attributes): (&Address, &mut Attributes),
    storage: &Storage,
    giving: &mut Giving<'_>,
) -> Option<Vec<Target>> {
    let fs_name: FsName = Fields::new(Kind::Cluster, attributes).parsed("fs_name").ok()?;
    let known = Known::new(cluster, giving.world);
    let place =
        Place { host: &storage.metadata_host, ordinal: 0, path: &storage.metadata_path, span: storage.span };
    let id = TargetId { fs_name: fs_name.clone(), kind: TargetKind::Mdt, index: 0 };
    let shared = Shared { cluster, fs_name: &fs_name };
    let mut metadata = target(&shared, &id, (place, &known), giving)?;
    copy(attributes, &mut metadata.attributes, &["layout"]);
    let listen = metadata.attributes.get("listen").cloned();
    exports(attributes, &storage.metadata_host, listen, giving.decoded);
    let metadata_address = metadata.address.clone();
    let mut targets = vec![metadata];
    for (ordinal, host, index) in indices(cluster, storage, &known, giving)? {
        let place = Place { host, ordinal, path: &storage.path, span: storage.span };
        let id = TargetId { fs_name: fs_name.clone(), kind: TargetKind::Ost, index };
        let mut object = target(&shared, &id, (place, &known), giving)?;
        object.attributes.insert("index".to_owned(), Value::from(u64::from(index)));
        object.attributes.insert("capacity".to_owned(), Value::from(capacity(storage)));
        copy(attributes, &mut object.attributes, &["data_compression_type"]);
        object.dependencies.insert(metadata_address.clone());
        targets.push(object);
    }
    Some(targets)
}

/// Completes a bucket: where it listens, and the URL that follows.
fn bucket(address: &Address, attributes: &mut Attributes, span: Span, giving: &mut Giving<'_>) -> Option<()> {
    let host: Address = Fields::new(Kind::Bucket, attributes).parsed("host").ok()?;
    let recorded = giving.world.objects.get(address).map(|object| &object.attributes);
    let kept = recorded.and_then(|recorded| kept_port(recorded, &host, giving.decoded));
    let wanted = attributes.get("port").and_then(Value::as_u64).and_then(|port| u16::try_from(port).ok());
    let port = match wanted.or(kept) {
        Some(port) => port,
        None => port(&host, span, giving)?,
    };
    let listen = listen_on(&host, port, giving.decoded);
    let url = match listen.as_str() {
        Some(listen) => Value::from(format!("http://{listen}")),
        None => Value::unknown(Type::String).definite(),
    };
    giving.allotted.take(Kind::Bucket, &Attributes::from([("listen".to_owned(), listen.clone())]));
    attributes.insert("listen".to_owned(), listen);
    attributes.insert("endpoint_url".to_owned(), url);
    Some(())
}

/// What makes a link another one.
const LINK_PLACE: [&str; 4] = ["cluster", "file_system_path", "bucket", "prefix"];

/// Completes a link: the id that it has in its cluster. One that leads to another place is another link.
fn link(address: &Address, attributes: &mut Attributes, giving: &mut Giving<'_>) -> Option<()> {
    let cluster: Address = Fields::new(Kind::DataRepositoryAssociation, attributes).parsed("cluster").ok()?;
    let recorded = giving.world.objects.get(address).map(|object| &object.attributes);
    let is_same = |recorded: &&Attributes| {
        LINK_PLACE.iter().all(|name| match (recorded.get(*name), attributes.get(*name)) {
            (Some(before), Some(now)) => before == now || !before.is_wholly_known() || !now.is_wholly_known(),
            (before, now) => before == now,
        })
    };
    let same = recorded.filter(is_same);
    let kept = same.and_then(|recorded| recorded.get("link_id")).and_then(Value::as_u64);
    let id = kept.unwrap_or_else(|| u64::from(giving.allotted.link_id(&cluster)));
    attributes.insert("link_id".to_owned(), Value::from(id));
    Some(())
}

/// Recorded targets of one cluster by what identifies them.
struct Known<'a>(BTreeMap<(String, String, u64), (&'a Address, &'a Object)>);

impl<'a> Known<'a> {
    fn new(cluster: &Address, world: &'a World) -> Self {
        // Parts order behind their whole, so that the targets of a cluster lie together.
        let range = world.objects.range(cluster.clone()..);
        let own = range.take_while(|(address, _)| address.whole() == *cluster);
        let known = own.filter(|(_, object)| object.kind == Kind::Target).filter_map(|(address, object)| {
            let fields = Fields::new(Kind::Target, &object.attributes);
            let identity =
                (fields.text("role").ok()?, fields.text("host").ok()?, fields.number("ordinal").ok()?);
            Some((identity, (address, object)))
        });
        Self(known.collect())
    }

    fn get(&self, kind: TargetKind, place: (&Address, u32)) -> Option<&'a Attributes> {
        self.find(kind, place).map(|(_, object)| &object.attributes)
    }

    fn find(&self, kind: TargetKind, place: (&Address, u32)) -> Option<(&'a Address, &'a Object)> {
        self.0.get(&(role(kind).to_owned(), place.0.to_string(), u64::from(place.1))).copied()
    }
}

fn role(kind: TargetKind) -> &'static str {
    match kind {
        TargetKind::Mdt => "MDT",
        TargetKind::Ost => "OST",
    }
}

/// Gives every (ordinal, host) its index: the recorded one, else the next. New ones go round the hosts.
fn indices<'a>(
    cluster: &Address,
    storage: &'a Storage,
    known: &Known<'_>,
    giving: &mut Giving<'_>,
) -> Option<Vec<(u32, &'a Address, u16)>> {
    let mut given = Vec::new();
    for ordinal in 0..storage.targets_per_host {
        for host in &storage.hosts {
            let recorded = known.find(TargetKind::Ost, (host, ordinal));
            let stays = recorded.filter(|(address, object)| {
                !(giving.goes)(address, host) && can_stay(address, object, &storage.path)
            });
            let kept = stays
                .and_then(|(_, object)| Fields::new(Kind::Target, &object.attributes).number("index").ok());
            let index = kept.or_else(|| giving.allotted.target_index(cluster));
            let Some(index) = index else {
                let summary = format!("{cluster} has had all object targets that a cluster can have");
                giving.found.push(Diagnostic::error("E0811", summary).at(storage.span));
                return None;
            };
            given.push((ordinal, host, index));
        }
    }
    given.sort_by_key(|(_, _, index)| *index);
    Some(given)
}

/// Tells whether an object target may be under its index: nothing of it was deleted yet, and its folder is where it was.
fn can_stay(address: &Address, object: &Object, folder: &Value) -> bool {
    let id = address.parts.last().map(|part| part.name.as_str()).unwrap_or_default();
    let there = object.attributes.get("path").and_then(Value::as_str);
    let moved = folder.as_str().zip(there).is_some_and(|(folder, there)| format!("{folder}/{id}") != there);
    match object.status {
        // What never held anything is made where it is wanted now.
        Status::Creating => true,
        Status::Present | Status::Updating | Status::Drifted { .. } => !moved,
        Status::Deleting | Status::Tainted { .. } | Status::Gone { .. } => false,
    }
}

/// What all targets of a cluster share.
struct Shared<'a> {
    cluster: &'a Address,
    fs_name: &'a FsName,
}

/// Where a target is to be.
struct Place<'a> {
    host: &'a Address,
    ordinal: u32,
    path: &'a Value,
    span: Span,
}

fn target(
    shared: &Shared<'_>,
    id: &TargetId,
    (place, known): (Place<'_>, &Known<'_>),
    giving: &mut Giving<'_>,
) -> Option<Target> {
    let recorded = known.get(id.kind, (place.host, place.ordinal));
    let port = match recorded.and_then(|recorded| kept_port(recorded, place.host, giving.decoded)) {
        Some(port) => port,
        None => port(place.host, place.span, giving)?,
    };
    let path = match place.path.as_str() {
        Some(folder) => Value::from(format!("{folder}/{id}")),
        None => Value::unknown(Type::String).definite(),
    };
    let attributes = [
        ("cluster", Value::from(shared.cluster.to_string())),
        ("fs_name", Value::from(shared.fs_name.as_str())),
        ("role", Value::from(role(id.kind))),
        ("host", Value::from(place.host.to_string())),
        ("ordinal", Value::from(u64::from(place.ordinal))),
        ("path", path),
        ("listen", listen_on(place.host, port, giving.decoded)),
    ];
    Some(Target {
        address: shared.cluster.clone().part(TARGET, id.to_string()),
        attributes: attributes.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        dependencies: BTreeSet::from([shared.cluster.clone(), place.host.clone()]),
    })
}

/// Returns the port that an object has and keeps: on another machine it may be somebody else's.
fn kept_port(recorded: &Attributes, host: &Address, decoded: &Decoded) -> Option<u16> {
    let (there, port) = listen(recorded)?;
    let (_, attributes) = decoded.get(host)?;
    let here = attributes.get("address")?;
    (here.as_str() == Some(there.as_str())).then_some(port)
}

fn port(host: &Address, span: Span, giving: &mut Giving<'_>) -> Option<u16> {
    let (_, attributes) = giving.decoded.get(host)?;
    let fields = Fields::new(Kind::Host, attributes);
    let Ok(range) = fields.parsed("port_range") else {
        let summary = format!("`port_range` of {host} must be known at plan");
        giving.found.push(Diagnostic::error("E0809", summary).at(span));
        return None;
    };
    // Hosts whose address is not known yet are told apart by their own address in the spec.
    let place = fields.text("address").unwrap_or_else(|_| host.to_string());
    let port = giving.allotted.port(&place, range);
    if port.is_none() {
        let summary = format!("{host} has no free port left");
        let hint = format!("Widen `port_range` of {host}; every target and bucket needs one.");
        giving.found.push(Diagnostic::error("E0810", summary).hint(hint).at(span));
    }
    port
}

fn listen_on(host: &Address, port: u16, decoded: &Decoded) -> Value {
    let address =
        decoded.get(host).and_then(|(_, attributes)| attributes.get("address")).and_then(Value::as_str);
    match address {
        Some(address) => Value::from(format!("{address}:{port}")),
        None => Value::unknown(Type::String).definite(),
    }
}

/// What users and other resources read of a cluster.
fn exports(attributes: &mut Attributes, host: &Address, listen: Option<Value>, decoded: &Decoded) {
    let unknown = || Value::unknown(Type::String).definite();
    let dns_name =
        decoded.get(host).and_then(|(_, host)| host.get("address")).cloned().unwrap_or_else(unknown);
    let listen = listen.unwrap_or_else(unknown);
    attributes.insert("dns_name".to_owned(), dns_name);
    attributes.insert("metadata_address".to_owned(), listen);
}

fn capacity(storage: &Storage) -> u64 {
    let count = storage.hosts.len() as u64 * u64::from(storage.targets_per_host);
    match storage.size {
        TargetSize::Each(bytes) => bytes,
        TargetSize::Total(bytes) => bytes / count.max(1),
    }
}

fn copy(from: &Attributes, to: &mut Attributes, names: &[&str]) {
    for name in names {
        if let Some(value) = from.get(*name) {
            to.insert((*name).to_owned(), value.clone());
        }
    }
}
