//! `lustre state mv` and `rm`: other addresses, or none, for what is recorded.
//!
//! Invariant: a resource goes with all its parts, or not at all.

use std::collections::BTreeMap;

use lustre_model::address::{Address, Words};
use lustre_model::journal::{Event, Journal as _};
use lustre_model::recorded::World;

use super::{back_up, parse, parse_all, unrecorded};
use crate::cli::state::{MvFlags, RmFlags};
use crate::command::recorded::{self, Recorded};
use crate::command::spec;
use crate::exit::{Failure, Success};
use crate::terminal::Terminal;

/// Gives a resource, with its instances and parts, another address.
pub fn run(flags: &MvFlags, terminal: Terminal) -> Result<Success, Failure> {
    let (from, to) = (parse(&flags.from)?, parse(&flags.to)?);
    let recorded = recorded::lock(spec::place()?, "state mv", flags.lock.lock_timeout)?;
    let moves = moves(&recorded.world, &from, &to)?;
    for (from, to) in &moves {
        let verb = if flags.dry_run { "Would move" } else { "Move" };
        terminal.say(&format!("{verb} {from} to {to}"));
    }
    let events = moves.into_iter().map(|(from, to)| Event::Moved { from, to }).collect();
    finish((recorded, "state mv"), events, flags.dry_run, terminal)
}

/// Forgets resources.
pub fn forget(flags: &RmFlags, terminal: Terminal) -> Result<Success, Failure> {
    let wanted = parse_all(&flags.addresses)?;
    let recorded = recorded::lock(spec::place()?, "state rm", flags.lock.lock_timeout)?;
    let mut forgotten: Vec<Address> = Vec::new();
    for (address, text) in wanted.iter().zip(&flags.addresses) {
        refuse_part(address)?;
        let before = forgotten.len();
        forgotten.extend(recorded.world.objects.keys().filter(|known| address.covers(known)).cloned());
        if forgotten.len() == before {
            return Err(Failure::NoObject { address: text.clone() });
        }
    }
    forgotten.sort();
    forgotten.dedup();
    let needed = needed_by_others(&recorded.world, &forgotten);
    if let Some((address, other)) = needed {
        return Err(Failure::Said {
            cause: format!("{other} needs {address}, which would be forgotten"),
            hint: Some(format!("forget {other} too, or destroy it first")),
        });
    }
    for address in &forgotten {
        let verb = if flags.dry_run { "Would forget" } else { "Forget" };
        terminal.say(&format!("{verb} {address}"));
    }
    let events = forgotten.into_iter().map(|address| Event::Forgotten { address }).collect();
    finish((recorded, "state rm"), events, flags.dry_run, terminal)
}

/// What is forgotten and who still stands on it.
fn needed_by_others(world: &World, forgotten: &[Address]) -> Option<(Address, Address)> {
    let stays = world.objects.iter().filter(|(address, _)| forgotten.binary_search(address).is_err());
    stays.into_iter().find_map(|(address, object)| {
        let needed = object.dependencies.iter().find(|needed| forgotten.binary_search(needed).is_ok())?;
        Some((needed.clone(), address.clone()))
    })
}

/// Returns where each object goes.
fn moves(world: &World, from: &Address, to: &Address) -> Result<BTreeMap<Address, Address>, Failure> {
    refuse_part(from)?;
    refuse_part(to)?;
    let said = |cause: String, hint: &str| Failure::Said { cause, hint: Some(hint.to_owned()) };
    if from.kind != to.kind {
        let cause = format!("a {} cannot become a {}", from.kind, to.kind);
        return Err(said(cause, "move it to an address of its own kind"));
    }
    let covered: Vec<&Address> = world.objects.keys().filter(|address| from.covers(address)).collect();
    if covered.is_empty() {
        return Err(Failure::NoObject { address: from.to_string() });
    }
    let many = from.key.is_none() && covered.iter().any(|address| address.key.is_some());
    if many && to.key.is_some() {
        let cause = format!("{from} has several instances, and {to} is one");
        return Err(said(cause, "move them one by one, or name the destination without a key"));
    }
    let moved = |address: &Address| {
        let key = if many { address.key.clone() } else { to.key.clone() };
        let renamed =
            Words { modules: to.modules.clone(), name: to.name.clone(), key, ..Words::clone(address) };
        Address::from(renamed)
    };
    let moves: BTreeMap<Address, Address> =
        covered.into_iter().map(|address| (address.clone(), moved(address))).collect();
    if let Some(taken) = moves.values().find(|to| world.objects.contains_key(*to)) {
        return Err(said(
            format!("{taken} is in the state already"),
            "choose another address, or move that one first",
        ));
    }
    Ok(moves)
}

fn refuse_part(address: &Address) -> Result<(), Failure> {
    if address.parts.is_empty() {
        return Ok(());
    }
    let whole = address.whole();
    Err(Failure::Said {
        cause: format!("{address} is a part of {whole} and goes where that goes"),
        hint: Some(format!("name {whole}")),
    })
}

/// Records what was decided, behind a copy of the state.
fn finish(
    (recorded, operation): (Recorded, &str),
    events: Vec<Event>,
    dry_run: bool,
    terminal: Terminal,
) -> Result<Success, Failure> {
    if dry_run {
        return Ok(Success::Done);
    }
    let backup = back_up(&recorded)?;
    let journal = recorded.open(operation)?;
    journal.append(&events).map_err(|error| unrecorded(&error))?;
    journal.close()?;
    terminal.tell(&format!("The state as it was is in {}.", backup.display()));
    Ok(Success::Done)
}
