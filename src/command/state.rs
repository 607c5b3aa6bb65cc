//! `lustre state list|show`: what the state records.

use lustre_model::address::Address;
use lustre_plan::render::Styled;

use super::{recorded, spec};
use crate::exit::{Failure, Success};
use crate::terminal::Terminal;
use crate::view::{styled, values};

/// Prints the addresses, or those that these cover.
pub fn list(wanted: &[String], terminal: Terminal) -> Result<Success, Failure> {
    let wanted = wanted.iter().map(|text| parse(text)).collect::<Result<Vec<Address>, Failure>>()?;
    let recorded = recorded::read(spec::state_path()?)?;
    for address in recorded.world.objects.keys() {
        if wanted.is_empty() || wanted.iter().any(|wanted| wanted.covers(address)) {
            terminal.say(&address.to_string());
        }
    }
    Ok(Success::Done)
}

/// Prints one object.
pub fn show(wanted: &str, json: bool, terminal: Terminal) -> Result<Success, Failure> {
    let address = parse(wanted)?;
    let recorded = recorded::read(spec::state_path()?)?;
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

fn parse(text: &str) -> Result<Address, Failure> {
    text.parse().map_err(|source: lustre_model::address::AddressError| Failure::Said {
        cause: source.to_string(),
        hint: Some("`lustre state list` lists the addresses".to_owned()),
    })
}
