//! Replacements that create before they destroy: the old object is kept aside until everybody uses the new one.
//!
//! ```text
//! value.a ──moved──▶ value.a.deposed["7"]      before the first step; 7 is the serial of the state
//! create value.a ──▶ update of who uses it ──▶ delete value.a.deposed["7"]
//! ```
//! What such an object stands on and is replaced too must be created first as well, else each would wait for the other.
//! Invariant: a kind that cannot be there twice is never deposed.

use std::collections::{BTreeMap, BTreeSet};

use lustre_model::address::{Address, DEPOSED};
use lustre_model::diagnostic::{Diagnostic, Span};
use lustre_model::plan::{Action, Change, Move};
use lustre_model::resource::Kind;

/// Returns why there cannot be two of a kind at once; none when there can.
pub fn single(kind: Kind) -> Option<&'static str> {
    match kind {
        Kind::Value => None,
        Kind::Host => Some("Two agents would need one folder and one port."),
        Kind::Cluster | Kind::Target => {
            Some("Two of them would need one file system name, its folders and its ports.")
        }
        Kind::Bucket => Some("Two of them would need one folder, one name and one port."),
        Kind::DataRepositoryAssociation => Some("A directory of a cluster has one link."),
        Kind::Mount => Some("A mount point holds one mount."),
    }
}

/// Chooses where old objects are kept, and returns the moves that bring them there.
///
/// `wanted` are the objects whose lifecycle asks for it, with the place where it does.
pub fn depose(
    changes: &mut BTreeMap<Address, Change>,
    dependencies: &BTreeMap<Address, BTreeSet<Address>>,
    serial: u64,
    wanted: &BTreeMap<Address, Span>,
) -> Result<Vec<Move>, Vec<Diagnostic>> {
    let replaced = |address: &Address| changes.get(address).filter(|it| it.action == Action::Replace);
    let mut first: BTreeSet<Address> = BTreeSet::new();
    let mut refused = Vec::new();
    // Each object is visited once, with the one that asks for it.
    let mut waiting: Vec<(Address, Span)> =
        wanted.iter().map(|(address, span)| (address.clone(), *span)).collect();
    while let Some((address, span)) = waiting.pop() {
        let Some(change) = replaced(&address).filter(|_| !first.contains(&address)) else { continue };
        if let Some(reason) = single(change.kind) {
            let summary = format!("{address} cannot be created before it is destroyed");
            let detail = format!("What stands on it says `create_before_destroy`. {reason}");
            refused.push(Diagnostic::error("E0816", summary).detail(detail).at(span));
            continue;
        }
        let below = dependencies.get(&address).into_iter().flatten();
        waiting.extend(below.map(|dependency| (dependency.clone(), span)));
        first.insert(address);
    }
    if !refused.is_empty() {
        return Err(refused);
    }
    let mut moves = Vec::new();
    for address in first {
        let aside = address.clone().part(DEPOSED, serial.to_string());
        if let Some(change) = changes.get_mut(&address) {
            change.deposed = Some(aside.clone());
            moves.push(Move { from: address, to: aside });
        }
    }
    Ok(moves)
}
