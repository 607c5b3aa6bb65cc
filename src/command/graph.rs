//! `lustre graph`: what depends on what, in a spec or in a saved plan.
//!
//! Of a spec: every object that it is about, in the state that a plan would bring it to, with its direct dependencies. Of a
//! plan: its steps, in the order that apply must keep. Hosts are not asked.
//! Invariant: an arrow leads from what waits to what it waits for.

use std::collections::BTreeMap;

use lustre_model::plan::{Mode, Operation, Plan};

use super::spec::{self, Asking};
use super::{plan_file, recorded};
use crate::cli::{GraphFlags, GraphFormat, VariableFlags};
use crate::exit::{Failure, Success};
use crate::terminal::Terminal;
use crate::view::graph::{self as view, Drawing};
use crate::wiring;

/// Prints the graph.
pub fn run(flags: &GraphFlags, terminal: Terminal) -> Result<Success, Failure> {
    let drawing = match &flags.plan {
        Some(path) => {
            let plans = spec::folder_plans(&VariableFlags::default())?;
            steps(&plan_file::read(path, &plans)?)
        }
        None => objects()?,
    };
    terminal.say_raw(&match flags.format {
        GraphFormat::Dot => view::dot(&drawing),
        GraphFormat::Mermaid => view::mermaid(&drawing),
        GraphFormat::Svg => view::svg(&drawing),
    });
    Ok(Success::Done)
}

fn objects() -> Result<Drawing, Failure> {
    let spec = spec::load(&VariableFlags::default(), Asking::Refused)?;
    let recorded = recorded::read(spec.place()?)?;
    let (needs, found) = wiring::dependencies(&spec, &recorded.world, wiring::options(Mode::Normal));
    if found.has_errors() {
        return Err(Failure::Diagnosed { diagnostics: found, sources: spec::sources(&spec) });
    }
    let mut drawing = Drawing::default();
    let places: BTreeMap<_, usize> =
        needs.keys().enumerate().map(|(place, address)| (address, place)).collect();
    for (address, wanted) in &needs {
        let from = drawing.node(address.to_string());
        drawing.edges.extend(wanted.iter().filter_map(|needed| Some((from, *places.get(needed)?))));
    }
    Ok(drawing)
}

fn steps(plan: &Plan) -> Drawing {
    let mut drawing = Drawing::default();
    for step in plan.steps() {
        let verb = match step.operation {
            Operation::Create => "create",
            Operation::Update => "update",
            Operation::Delete => "delete",
            Operation::Read => "read",
        };
        let from = drawing.node(format!("{verb} {}", step.address));
        drawing.edges.extend(step.waits_for.iter().map(|id| (from, id.0 as usize)));
    }
    drawing
}
