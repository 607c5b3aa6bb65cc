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
use lustre_model::recorded::World;
use lustre_model::resource::Kind;

/// Returns why there cannot be two of a kind at once; none when there can.
pub fn single(kind: Kind) -> Option<&'static str> {
    match kind {
        Kind::Value | Kind::SecurityGroup | Kind::Instance => None,
        Kind::Host => Some("Two agents would need one folder and one port."),
        Kind::Cluster | Kind::Target => {
            Some("Two of them would need one file system name, its folders and its ports.")
        }
        Kind::Bucket => Some("Two of them would need one folder, one name and one port."),
        Kind::DataRepositoryAssociation => Some("A directory of a cluster has one link."),
        Kind::Mount => Some("A mount point holds one mount."),
    }
}

/// What can go only behind an object that is replaced: what it was made on, also through others that go.
fn outlived(origin: &Address, changes: &BTreeMap<Address, Change>, recorded: &World) -> BTreeSet<Address> {
    let goes = |address: &Address| {
        let action = changes.get(address).map(|change| change.action);
        matches!(action, Some(Action::Replace | Action::Delete))
    };
    let mut found = BTreeSet::new();
    let mut waiting = vec![origin.clone()];
    while let Some(address) = waiting.pop() {
        let below = recorded.objects.get(&address).into_iter().flat_map(|object| &object.dependencies);
        for dependency in below.filter(|dependency| goes(dependency)) {
            if found.insert(dependency.clone()) {
                waiting.push(dependency.clone());
            }
        }
    }
    found
}

/// Chooses where old objects are kept, and returns the moves that bring them there.
///
/// `dependencies` are those of the spec, `recorded` the world before; `wanted` are the objects whose lifecycle asks for it,
/// with the place where it does.
pub fn depose(
    changes: &mut BTreeMap<Address, Change>,
    dependencies: &BTreeMap<Address, BTreeSet<Address>>,
    recorded: &World,
    wanted: &BTreeMap<Address, Span>,
) -> Result<Vec<Move>, Vec<Diagnostic>> {
    let replaced = |address: &Address| changes.get(address).filter(|it| it.action == Action::Replace);
    let mut first: BTreeSet<Address> = BTreeSet::new();
    let mut seen: BTreeSet<Address> = BTreeSet::new();
    let mut refused = Vec::new();
    let is_single = |change: &Change| change.action == Action::Replace && single(change.kind).is_some();
    let has_singles = changes.values().any(is_single);
    for (origin, span) in wanted.iter().filter(|(address, _)| replaced(address).is_some()) {
        let mut waits = BTreeSet::new();
        if has_singles {
            // What stands in the way of one may not stand in that of another; without such, one look is enough for all.
            seen.clear();
            waits = outlived(origin, changes, recorded);
        }
        let mut waiting = vec![origin.clone()];
        while let Some(address) = waiting.pop() {
            let change = replaced(&address);
            match change.and_then(|change| single(change.kind)) {
                Some(reason) if address == *origin || waits.contains(&address) => {
                    let summary = format!("{address} cannot be created before it is destroyed");
                    let detail = format!("What stands on it says `create_before_destroy`. {reason}");
                    refused.push(Diagnostic::error("E0816", summary).detail(detail).at(*span));
                    continue;
                }
                // It can go before: nothing that is kept aside was made on it.
                Some(_) => {}
                None => first.extend(change.map(|_| address.clone())),
            }
            // Through what stays too: the new object waits for all that is below.
            if seen.insert(address.clone()) {
                waiting.extend(dependencies.get(&address).into_iter().flatten().cloned());
            }
        }
    }
    if !refused.is_empty() {
        return Err(refused);
    }
    let mut moves = Vec::new();
    for address in first {
        let aside = address.clone().part(DEPOSED, recorded.serial.to_string());
        if let Some(change) = changes.get_mut(&address) {
            change.deposed = Some(aside.clone());
            moves.push(Move { from: address, to: aside });
        }
    }
    Ok(moves)
}
