//! From evaluated bodies to attributes of a kind: names, types, defaults, refusals; every mistake with its place.
//!
//! One file a kind. Values that are not known yet pass through; what the planner itself must know is demanded.
//! Not here: HCL, and what is recorded.
//! Invariant: nothing in a body is passed over in silence. What is not implemented is refused by name, with the reason.

use std::collections::BTreeMap;

use lustre_language::Body;
use lustre_model::address::Address;
use lustre_model::diagnostic::{Diagnostic, Diagnostics};
use lustre_model::resource::{Attributes, Kind};

mod about;
mod association;
mod bucket;
mod capacity;
mod cluster;
mod host;
mod instance;
mod layout;
mod mount;
mod outline;

mod reader;
mod security_group;
pub mod tags;
mod value;

pub use self::capacity::parse_size;
pub use self::cluster::{Storage, TargetSize};
pub use self::outline::{AttributeOutline, BlockOutline, NestedOutline, outline};
pub use self::reader::{Evaluation, Need, Reader, any};

/// What other objects of the spec have, by address; those that were decoded before.
pub type Decoded = BTreeMap<Address, (Kind, Attributes)>;

/// A block as it was decoded.
#[derive(Debug, Clone, PartialEq)]
pub struct Spec {
    /// Its attributes; null ones are left out, defaults are filled in.
    pub attributes: Attributes,
    /// What a cluster lowers into.
    pub storage: Option<Storage>,
}

/// Decodes the body of a resource; `None` when it has mistakes, which are then in `found` or were reported before.
pub fn decode(
    (address, kind): (&Address, Kind),
    (body, evaluation): (&Body, Evaluation),
    decoded: &Decoded,
    found: &mut Diagnostics,
) -> Option<Spec> {
    let before = errors(found);
    let mut reader = Reader::new((address, kind.name()), (body, evaluation), decoded, found);
    let (attributes, storage) = read(kind, &mut reader);
    reader.finish();
    let lacks_storage = kind == Kind::Cluster && storage.is_none();
    let good = evaluation == Evaluation::Complete && errors(found) == before && !lacks_storage;
    good.then_some(Spec { attributes, storage })
}

/// Reads a body by its kind.
fn read(kind: Kind, reader: &mut Reader<'_>) -> (Attributes, Option<Storage>) {
    let attributes = match kind {
        Kind::Host => host::decode(reader),
        Kind::Cluster => return cluster::decode(reader),
        Kind::Bucket => bucket::decode(reader),
        Kind::DataRepositoryAssociation => association::decode(reader),
        Kind::Mount => mount::decode(reader),
        Kind::Value => value::decode(reader),
        Kind::SecurityGroup => security_group::decode(reader),
        Kind::Instance => instance::decode(reader),
        Kind::Target => Attributes::new(),
    };
    (attributes, None)
}

fn errors(found: &Diagnostics) -> usize {
    let is_error =
        |diagnostic: &&Diagnostic| diagnostic.severity == lustre_model::diagnostic::Severity::Error;
    found.iter().filter(is_error).count() + found.dropped()
}
