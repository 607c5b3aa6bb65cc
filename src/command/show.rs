//! `lustre show`: a saved plan, or the state.

use std::path::Path;

use lustre_model::plan::Plan;
use lustre_plan::render::{json, markdown};

use super::{recorded, spec};
use crate::cli::ShowFlags;
use crate::exit::{Failure, Success};
use crate::terminal::Terminal;
use crate::view::{plan, styled, values};

/// Prints it.
pub fn run(flags: &ShowFlags, terminal: Terminal) -> Result<Success, Failure> {
    match &flags.plan_file {
        Some(path) => {
            let saved = read_plan(path)?;
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

/// Reads a saved plan.
pub fn read_plan(path: &Path) -> Result<Plan, Failure> {
    let bytes = fs_err::read(path)?;
    lustre_plan::file::decode(&bytes)
        .map_err(|source| Failure::PlanFile { path: path.display().to_string(), source })
}
