//! The plan that touches no object: what hosts report beside what is recorded, and outputs as they are by what is applied.
//!
//! Recorded are outputs only. What drifted is shown and not recorded: the state says what was applied, which is what a later
//! apply repairs towards, and a report of a host is old as soon as it is made.
//! Invariant: no step, no move, nothing adopted or forgotten; [`Plan::seal`] refuses a plan of this mode that has any.

use std::collections::BTreeMap;
use std::sync::Arc;

use lustre_language::{EmptyWorld, Program};
use lustre_model::diagnostic::{Diagnostic, Diagnostics};
use lustre_model::plan::{
    Action, Change, Extent, Impact, PLAN_VERSION, Plan, PlanError, PlanParts, SealedSpec,
};
use lustre_model::recorded::{Object, Output, Status, World};

use crate::build::walk::Decided;
use crate::build::{Options, outputs};
use crate::resolve::Resolver;

/// Makes the plan; `decided` is what a plan towards the spec decided, of which only moves are looked at.
pub fn refresh(
    decided: Decided<'_>,
    (program, recorded): (&Program, &World),
    options: &Options,
    spec: SealedSpec,
) -> (Option<Plan>, Diagnostics) {
    let Decided { mut found, reads, world, outputs: wanted, .. } = decided;
    let parts = |changes, outputs| PlanParts {
        version: PLAN_VERSION,
        tool_version: options.tool_version.clone(),
        mode: options.mode,
        extent: Extent::Whole,
        lineage: recorded.lineage.clone(),
        serial: recorded.serial,
        spec: spec.clone(),
        drift: options.drift.clone(),
        moves: Vec::new(),
        reads: Vec::new(),
        adopted: Vec::new(),
        forgotten: Vec::new(),
        changes,
        steps: Vec::new(),
        dependencies: BTreeMap::new(),
        outputs,
        gates: Vec::new(),
        allowances: Vec::new(),
    };
    // Expressions name objects where the spec has them now.
    let scratch = PlanParts { reads, ..parts(unchanged(&world, is_there), Vec::new()) };
    let sealed = now((scratch, &world), (program, recorded), &wanted, &mut found)
        .and_then(|values| Plan::seal(parts(unchanged(recorded, |_| true), outputs(&values, recorded))));
    match sealed {
        Ok(plan) => (Some(plan), found),
        Err(error) => {
            found.push(Diagnostic::error("E0814", error.to_string()));
            (None, found)
        }
    }
}

/// Evaluates the outputs with what is recorded; one that needs more than that stays as it was recorded.
fn now(
    (scratch, world): (PlanParts, &World),
    (program, recorded): (&Program, &World),
    wanted: &BTreeMap<String, Output>,
    found: &mut Diagnostics,
) -> Result<BTreeMap<String, Output>, PlanError> {
    let resolver = Resolver::new(Plan::seal(scratch)?, Arc::new(EmptyWorld));
    let mut values = resolver.known_outputs(world);
    for output in program.outputs().filter(|output| wanted.contains_key(&output.name)) {
        if values.contains_key(&output.name) {
            continue;
        }
        let before = recorded.outputs.get(&output.name);
        let summary = format!("the output {:?} cannot be refreshed", output.name);
        let stays = if before.is_some() { "It stays as it was recorded" } else { "It is not recorded" };
        let detail =
            format!("{stays}: its value needs what is not applied yet, or what only an apply knows.");
        let hint = "`lustre plan` shows what it will be, and `lustre apply` records it.";
        found.push(Diagnostic::warning("W0852", summary).detail(detail).hint(hint).at(output.span));
        values.extend(before.map(|before| (output.name.clone(), before.clone())));
    }
    Ok(values)
}

/// Tells whether an object can be named by expressions: what is half made or half gone cannot.
fn is_there(object: &Object) -> bool {
    match object.status {
        Status::Present | Status::Updating | Status::Tainted { .. } | Status::Drifted { .. } => true,
        Status::Creating | Status::Deleting | Status::Gone { .. } => false,
    }
}

/// Returns recorded objects as ones that stay as they are.
fn unchanged(world: &World, wanted: impl Fn(&Object) -> bool) -> Vec<Change> {
    let objects = world.objects.iter().filter(|(_, object)| wanted(object));
    let change = objects.map(|(address, object)| Change {
        address: address.clone(),
        previous_address: None,
        kind: object.kind,
        action: Action::NoOp,
        reason: None,
        impact: Impact::Live,
        before: Some(object.attributes.clone()),
        after: Some(object.attributes.clone()),
        replace_paths: Vec::new(),
        deposed: None,
        imported: None,
    });
    change.collect()
}
