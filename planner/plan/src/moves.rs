//! Renamed and reordered instances of a block, found by what they are instead of what they are called.
//!
//! A `for_each` key may be renamed, a list under `count` reordered: an instance that is recorded under another key is
//! moved, not made anew. Blocks with another label are not looked at.
//! Invariant: carried out in order, no move goes to an address that is still taken.

use std::collections::{BTreeMap, BTreeSet};

use lustre_model::address::{Address, Key};
use lustre_model::plan::Move;
use lustre_model::recorded::World;
use lustre_model::resource::{Attributes, Kind};
use lustre_model::value::Value;

/// A key that no spec can have: it ends in a control character.
const ASIDE: &str = "moving\u{1}";

/// Begins the key of an object that the spec has no more and that gave way to another.
const REMOVED: &str = "removed";

/// Attributes that make an object what it is; none for kinds that are nothing but their name.
fn identity(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Host => &["connection", "address", "path"],
        Kind::Cluster => &["fs_name", "metadata_host", "metadata_path"],
        Kind::Bucket => &["host", "name", "path"],
        Kind::DataRepositoryAssociation => &["cluster", "file_system_path", "data_repository_path"],
        Kind::Mount => &["cluster", "host", "path"],
        Kind::SecurityGroup => &["region", "name"],
        Kind::Target | Kind::Value | Kind::Instance => &[],
    }
}

fn identify(kind: Kind, attributes: &Attributes) -> Option<Vec<&Value>> {
    let values =
        identity(kind).iter().map(|name| attributes.get(*name).filter(|value| value.is_wholly_known()));
    values.collect::<Option<Vec<_>>>().filter(|values| !values.is_empty())
}

/// Returns the moves that bring recorded instances of one block, with their parts, to where the spec has them.
///
/// `instances` are all instances of the block that the spec has.
pub fn moves(kind: Kind, instances: &BTreeMap<Address, &Attributes>, world: &World) -> Vec<Move> {
    if identity(kind).is_empty() {
        return Vec::new();
    }
    let Some(block) = instances.keys().next().map(Address::block) else { return Vec::new() };
    let recorded = world.objects.range(block.clone()..).take_while(|(address, _)| address.block() == block);
    let recorded = recorded.filter(|(address, object)| address.parts.is_empty() && object.kind == kind);
    let (mut by_identity, mut twice) = (BTreeMap::new(), BTreeSet::new());
    for (address, object) in recorded {
        let Some(identity) = identify(kind, &object.attributes) else { continue };
        if by_identity.insert(identity.clone(), address).is_some() {
            twice.insert(identity);
        }
    }
    let mut wanted: BTreeMap<Address, Address> = BTreeMap::new();
    for (to, attributes) in instances {
        let Some(identity) = identify(kind, attributes).filter(|identity| !twice.contains(identity)) else {
            continue;
        };
        // Two instances with one identity are a mistake that is reported elsewhere; the first gets it.
        if let Some(from) = by_identity.remove(&identity).filter(|from| *from != to) {
            wanted.insert(from.clone(), to.clone());
        }
    }
    give_way(&mut wanted, instances, world);
    ordered(wanted, world)
}

/// Finds another address for objects that the spec has no more, and whose address another one takes. They are deleted
/// there: the vacated address where the spec has nothing, or one that no spec can have.
fn give_way(
    wanted: &mut BTreeMap<Address, Address>,
    instances: &BTreeMap<Address, &Attributes>,
    world: &World,
) {
    let stays = |to: &&Address| world.objects.contains_key(*to) && !wanted.contains_key(*to);
    let displaced: Vec<Address> = wanted.values().filter(stays).cloned().collect();
    let vacant = |from: &&Address| !instances.contains_key(*from) && !wanted.values().any(|to| to == *from);
    let mut vacated = wanted.keys().filter(vacant).cloned().collect::<Vec<_>>().into_iter();
    for address in displaced {
        let removed = || {
            let name = address.key.as_ref().map_or_else(String::new, Key::to_string);
            address.block().with_key(Some(Key::Name(format!("{REMOVED} {name}"))))
        };
        let place = vacated.next().unwrap_or_else(removed);
        wanted.insert(address, place);
    }
}

/// Orders moves so that each goes to a free address, putting one object of a circle aside.
pub fn ordered(mut wanted: BTreeMap<Address, Address>, world: &World) -> Vec<Move> {
    let mut moves = Vec::new();
    while let Some((first, last)) = wanted.pop_first() {
        // Follow the chain from the first: whoever is in the way goes before.
        let mut chain = vec![Hop { recorded: first.clone(), from: first.clone(), to: last.clone() }];
        let mut next = last;
        while let Some((from, to)) = wanted.remove_entry(&next) {
            next = to.clone();
            chain.push(Hop { recorded: from.clone(), from, to });
        }
        if next == first {
            let aside = first.block().with_key(Some(Key::Name(ASIDE.to_owned())));
            let last = std::mem::replace(&mut chain[0].to, aside.clone());
            moves.extend(with_parts(&chain[0], world));
            chain[0] = Hop { recorded: first, from: aside, to: last };
        }
        moves.extend(chain.iter().rev().flat_map(|hop| with_parts(hop, world)));
    }
    moves
}

/// One move of a whole.
struct Hop {
    /// Where it is recorded before all moves.
    recorded: Address,
    from: Address,
    to: Address,
}

/// Adds the parts of what moves: their addresses begin with that of their whole.
fn with_parts(hop: &Hop, world: &World) -> Vec<Move> {
    let under = |whole: &Address, part: &Address| whole.clone().with_parts(part.parts.clone());
    let own = world.objects.range(hop.recorded.clone()..).map(|(address, _)| address);
    let own = own.take_while(|address| address.whole() == hop.recorded);
    own.map(|part| Move { from: under(&hop.from, part), to: under(&hop.to, part) }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use lustre_model::journal::Event;
    use lustre_model::recorded::{Object, Status};
    use proptest::prelude::{Just, Strategy as _, prop_assert_eq, proptest};

    fn host(number: usize) -> Attributes {
        let texts = [
            ("connection", "local".to_owned()),
            ("address", format!("10.0.0.{number}")),
            ("path", "/x".into()),
        ];
        texts.into_iter().map(|(name, text)| (name.to_owned(), Value::from(text))).collect()
    }

    fn at(index: usize) -> Address {
        Address::new("host", "oss").with_key(Some(Key::Index(index as u64)))
    }

    proptest! {
        #[test]
        fn any_new_order_of_a_list_is_only_moves(
            order in Just((0..8).collect::<Vec<usize>>()).prop_shuffle(), kept in 0_usize..9,
        ) {
            let mut world = World::default();
            for number in 0..8 {
                let object = Object {
                    kind: Kind::Host, attributes: host(number), private: BTreeMap::new(),
                    dependencies: BTreeSet::new(), status: Status::Present,
                };
                world.objects.insert(at(number), object);
            }
            let attributes: Vec<Attributes> = order.iter().take(kept).map(|number| host(*number)).collect();
            let instances = attributes.iter().enumerate().map(|(index, it)| (at(index), it)).collect();
            for Move { from, to } in moves(Kind::Host, &instances, &world) {
                world.apply(&Event::Moved { from, to }).expect("the address is free");
            }
            prop_assert_eq!(world.objects.len(), 8);
            for (index, attributes) in attributes.iter().enumerate() {
                prop_assert_eq!(&world.objects[&at(index)].attributes, attributes);
            }
        }
    }
}
