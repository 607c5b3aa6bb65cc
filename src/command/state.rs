//! `lustre state …`: what the state records, and changes of it that touch no host.
//!
//! Invariant: whatever changes a state holds its lock, and leaves the state as it was in `<state>.backup` first.

use std::path::PathBuf;

use lustre_model::address::Address;
use lustre_model::journal::JournalError;
use lustre_plan::render::Styled;

use super::recorded::{self, Recorded};
use super::spec;
use crate::cli::state::StateCommand;
use crate::exit::{Failure, Success};
use crate::terminal::Terminal;
use crate::view::{styled, values};

mod rename;
mod transfer;

/// Carries out a command on the state.
pub fn run(command: &StateCommand, terminal: Terminal) -> Result<Success, Failure> {
    match command {
        StateCommand::List { addresses, view } => list(addresses, view.json, terminal),
        StateCommand::Show { address, view } => show(address, view.json, terminal),
        StateCommand::Mv(flags) => rename::run(flags, terminal),
        StateCommand::Rm(flags) => rename::forget(flags, terminal),
        StateCommand::Pull => transfer::pull(terminal),
        StateCommand::Push(flags) => transfer::push(flags, terminal),
        StateCommand::Rekey(flags) => transfer::rekey(flags, terminal),
    }
}

/// Prints the addresses, or those that these cover.
fn list(wanted: &[String], json: bool, terminal: Terminal) -> Result<Success, Failure> {
    let wanted = parse_all(wanted)?;
    let recorded = recorded::read(spec::place()?)?;
    let is_wanted =
        |address: &Address| wanted.is_empty() || wanted.iter().any(|wanted| wanted.covers(address));
    let addresses =
        recorded.world.objects.keys().filter(|address| is_wanted(address)).map(Address::to_string);
    if json {
        terminal.say(&format!("{:#}", serde_json::Value::from_iter(addresses)));
    } else {
        addresses.for_each(|address| terminal.say(&address));
    }
    Ok(Success::Done)
}

/// Prints one object.
fn show(wanted: &str, json: bool, terminal: Terminal) -> Result<Success, Failure> {
    let address = parse(wanted)?;
    let recorded = recorded::read(spec::place()?)?;
    let missing = || Failure::NoObject { address: wanted.to_owned() };
    let object = recorded.world.objects.get(&address).ok_or_else(missing)?;
    if json {
        terminal.say(&format!("{:#}", values::object_json(&address, object)));
    } else {
        let mut out = Styled::default();
        values::object(&mut out, &address, object);
        terminal.say_raw(&styled::draw(&out, terminal.out_colour()));
    }
    Ok(Success::Done)
}

fn parse_all(texts: &[String]) -> Result<Vec<Address>, Failure> {
    texts.iter().map(|text| parse(text)).collect()
}

/// Reads an address as it was typed.
pub(super) fn parse(text: &str) -> Result<Address, Failure> {
    text.parse().map_err(|source: lustre_model::address::AddressError| Failure::Said {
        cause: source.to_string(),
        hint: Some("`lustre state list` lists the addresses".to_owned()),
    })
}

/// Says why nothing was recorded.
pub(super) fn unrecorded(error: &JournalError) -> Failure {
    Failure::Said {
        cause: crate::exit::chain(error),
        hint: Some("nothing was changed; repair the cause and try again".to_owned()),
    }
}

/// Keeps a copy of a state beside it, in the form that `state push` takes, and returns where.
pub(super) fn back_up(recorded: &Recorded) -> Result<PathBuf, Failure> {
    let path = recorded.at.place.copy_path("backup");
    lustre_store::save(&path, (&recorded.world, recorded.token), recorded.at.seal.as_ref())?;
    Ok(path)
}
