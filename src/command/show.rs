//! `lustre show`: a saved plan, or the state.

use lustre_plan::render::{json, markdown};

use super::{plan_file, recorded, spec};
use crate::cli::{ShowFlags, VariableFlags};
use crate::exit::{Failure, Success};
use crate::terminal::Terminal;
use crate::view::{plan, styled, values};

/// Prints it.
pub fn run(flags: &ShowFlags, terminal: Terminal) -> Result<Success, Failure> {
    match &flags.plan_file {
        Some(path) => {
            let saved = plan_file::read(path, &spec::folder_plans(&VariableFlags::default())?)?;
            if flags.view.json {
                terminal.say(&format!("{:#}", json::plan(&saved)));
            } else if flags.markdown {
                terminal.say_raw(&markdown::plan(&saved, &[]));
            } else {
                plan::show(terminal, &saved);
            }
        }
        None => {
            let recorded = recorded::read(spec::place()?)?;
            if flags.view.json {
                terminal.say(&format!("{:#}", values::world_json(&recorded.world)));
            } else {
                terminal.say_raw(&styled::draw(&values::world(&recorded.world), terminal.out_colour()));
            }
        }
    }
    Ok(Success::Done)
}
