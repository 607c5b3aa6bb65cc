//! `lustre output`: what the last apply put out.

use lustre_model::recorded::Output;
use lustre_model::value::Kind;

use super::{recorded, spec};
use crate::cli::OutputFlags;
use crate::exit::{Failure, Success};
use crate::terminal::Terminal;
use crate::view::{styled, values};

/// Prints all outputs, or one.
pub fn run(flags: &OutputFlags, terminal: Terminal) -> Result<Success, Failure> {
    let recorded = recorded::read(spec::place()?)?;
    let outputs = &recorded.world.outputs;
    let Some(name) = &flags.name else {
        if flags.view.json {
            terminal.say(&format!("{:#}", values::outputs_json(outputs)));
        } else if outputs.is_empty() {
            terminal.tell("No outputs: the spec has none, or it was not applied yet.");
        } else {
            terminal.say_raw(&styled::draw(&values::outputs(outputs), terminal.out_colour()));
        }
        return Ok(Success::Done);
    };
    let output = outputs.get(name).ok_or_else(|| Failure::NoOutput { name: name.clone() })?;
    if flags.raw {
        terminal.say_raw(&raw(name, output)?);
    } else if flags.view.json {
        terminal.say(&output.value.to_plain().unwrap_or_default().to_string());
    } else {
        // Asked for by its name, also what is sensitive is shown.
        let shown = Output { value: output.value.unmarked(), sensitive: false };
        let drawn = values::output(&shown);
        terminal.say(&styled::draw(&drawn, terminal.out_colour()));
    }
    Ok(Success::Done)
}

fn raw(name: &str, output: &Output) -> Result<String, Failure> {
    let value = output.value.unmarked();
    match value.kind() {
        Kind::String(text) => Ok(text.to_string()),
        Kind::Bool(flag) => Ok(flag.to_string()),
        Kind::Number(number) => Ok(number.to_string()),
        Kind::Null(_)
        | Kind::Unknown(_)
        | Kind::List(..)
        | Kind::Set(..)
        | Kind::Map(..)
        | Kind::Tuple(_)
        | Kind::Object(..) => {
            Err(Failure::NotRaw { name: name.to_owned(), kind: value.type_of().friendly() })
        }
    }
}
