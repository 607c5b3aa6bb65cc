//! Builds a plan: walks the blocks in order, decides about each object, and seals the result.
//!
//! Everything that is wrong with a spec is collected; a plan is made only when nothing is.
//! Invariant: a decision about an object is taken after those about everything that it refers to.

use std::collections::{BTreeMap, BTreeSet};

use lustre_language::{Imported, Input, Program, Scope, World as Outside, nearest};
use lustre_model::address::{Address, Key};
use lustre_model::diagnostic::{Diagnostic, Diagnostics, Span};
use lustre_model::journal::Event;
use lustre_model::pattern::Pattern;
use lustre_model::plan::{
    Action, ActionReason, Allowance, Change, Extent, Gate, GateReason, Impact, Mode, Move, OutputChange,
    PLAN_VERSION, Plan, PlanParts, SealedSpec, Source,
};
use lustre_model::recorded::{Output, Status, World};
use lustre_model::resource::{Attributes, Kind};
use lustre_model::value::Value;
use sha2::{Digest as _, Sha256};

use crate::claim::{Claim, claims};
use crate::depose::depose;
use crate::diff::deletion;
use crate::outside::Noting;
use crate::overlap::report_overlaps;
use crate::places::report_places;
use crate::refresh::refresh;
use crate::schema::prevents_destroy;
use crate::select::select;
use crate::steps::{Circle, steps};

pub(crate) mod walk;

use walk::{Decided, Walk};

/// A spec as text, with the values of its variables.
#[derive(Debug, Clone, Copy)]
pub struct SpecText<'a> {
    /// The loaded program.
    pub program: &'a Program,
    /// The files that it was loaded from, by name, in that order.
    pub files: &'a [(String, String)],
    /// Values of variables.
    pub inputs: &'a [Input],
}

/// How to plan.
#[derive(Debug, Clone)]
pub struct Options {
    /// Towards the spec, or towards nothing.
    pub mode: Mode,
    /// What is to be replaced.
    pub replace: Vec<Pattern>,
    /// What alone is planned, with all it needs; everything when empty.
    pub target: Vec<Pattern>,
    /// What is not planned, nor what needs it.
    pub exclude: Vec<Pattern>,
    /// What is taken over besides what `import` blocks name.
    pub imports: Vec<Imported>,
    /// What may lose bytes.
    pub allowances: Vec<Allowance>,
    /// What hosts report not to be as recorded, and why; shown beside what is planned.
    pub drift: BTreeMap<Address, String>,
    /// The version of lustre, for the plan.
    pub tool_version: String,
}

/// Makes a plan; `None` when the spec has mistakes, which are then among the diagnostics.
///
/// `found` is what was found wrong before, by loading the program.
pub fn plan(
    text: SpecText<'_>,
    recorded: &World,
    options: &Options,
    outside: &dyn Outside,
    found: Diagnostics,
) -> (Option<Plan>, Diagnostics) {
    let noting = Noting::new(outside);
    let mut walk = Walk::new(text, recorded, options, (&noting, found));
    if options.mode != Mode::Destroy {
        walk.blocks();
    }
    let mut decided = walk.decided();
    let variables = std::mem::take(&mut decided.variables);
    if decided.found.has_errors() {
        return (None, decided.found);
    }
    if options.mode == Mode::RefreshOnly {
        let spec = sealed(text.files, &noting, (variables, std::mem::take(&mut decided.data)));
        return refresh(decided, (text.program, recorded), options, spec);
    }
    towards((decided, variables), (text, recorded), options, &noting)
}

/// Makes a plan from what was decided: everything that leads to the spec, or to nothing.
fn towards(
    (mut decided, variables): (Decided<'_>, BTreeMap<String, Value>),
    (text, recorded): (SpecText<'_>, &World),
    options: &Options,
    noting: &Noting<'_>,
) -> (Option<Plan>, Diagnostics) {
    let deletions = deletions(&decided.world, &decided.changes, (text.program, options.mode));
    decided.changes.extend(deletions);
    decided.changes.extend(decided.forgotten.iter().map(|(address, object)| {
        let change = deletion(address, object, ActionReason::DeleteBecauseNoResourceConfig);
        let (action, reason, impact) = (Action::Forget, None, Impact::Live);
        (address.clone(), Change { action, reason, impact, ..change })
    }));
    let extent = select(&mut decided, options);
    warn_of_idle_allowances(&options.allowances, &decided.changes, &mut decided.found);
    impacts(&mut decided.changes, &decided.world);
    report_claims(&decided.changes, &decided.spans, &mut decided.found);
    report_overlaps(&decided.changes, &decided.spans, &mut decided.found);
    report_places(&decided.changes, &decided.spans, &mut decided.found);
    // Outputs speak of the whole spec: a part of it leaves them as they are.
    let outputs = match extent {
        Extent::Whole => outputs(&decided.outputs, recorded),
        Extent::Part => outputs(&recorded.outputs, recorded),
    };
    let previous = origins(&decided.moves);
    set_aside(&mut decided);
    let steps = match steps(&decided.changes, &decided.dependencies, &decided.world) {
        Ok(steps) => steps,
        Err(circle) => {
            decided.found.push(step_circle(&circle));
            Vec::new()
        }
    };
    let gates = gates(&decided.changes, &decided.world);
    let dependencies = match (options.mode, extent) {
        (Mode::Normal, Extent::Whole) => other_dependencies(&decided),
        (Mode::Normal | Mode::Destroy | Mode::RefreshOnly, _) => BTreeMap::new(),
    };
    let spec = sealed(text.files, noting, (variables, decided.data));
    let changes = with_previous(decided.changes, &previous);
    let parts = PlanParts {
        version: PLAN_VERSION,
        tool_version: options.tool_version.clone(),
        mode: options.mode,
        extent,
        lineage: recorded.lineage.clone(),
        serial: recorded.serial,
        spec,
        drift: options.drift.clone(),
        moves: decided.moves,
        reads: decided.reads,
        adopted: decided.adopted,
        forgotten: decided.forgotten.into_keys().collect(),
        changes,
        steps,
        dependencies,
        outputs,
        gates,
        allowances: options.allowances.clone(),
    };
    if decided.found.has_errors() {
        return (None, decided.found);
    }
    match Plan::seal(parts) {
        Ok(plan) => (Some(plan), decided.found),
        Err(error) => {
            decided.found.push(Diagnostic::error("E0814", error.to_string()));
            (None, decided.found)
        }
    }
}

/// Returns what objects depend on that stay as they are and are recorded to depend on something else.
fn other_dependencies(decided: &Decided<'_>) -> BTreeMap<Address, BTreeSet<Address>> {
    let staying = decided.changes.iter().filter(|(_, change)| change.action == Action::NoOp);
    let other = staying.filter_map(|(address, _)| {
        let recorded = &decided.world.objects.get(address)?.dependencies;
        let wanted = decided.dependencies.get(address)?;
        (recorded != wanted).then(|| (address.clone(), wanted.clone()))
    });
    other.collect()
}

/// Gives old objects another address that stay until their replacements are there.
fn set_aside(decided: &mut Decided<'_>) {
    let deposing = depose(&mut decided.changes, &decided.dependencies, &decided.world, &decided.create_first);
    match deposing {
        Ok(moves) => {
            // Every old object is recorded, and no serial is met twice.
            if let Err(error) = decided.world.to_mut().apply(&Event::MovedAll { moves: moves.clone() }) {
                decided.found.push(Diagnostic::error("E0839", error.to_string()));
            }
            decided.moves.extend(moves);
        }
        Err(refused) => decided.found.extend(refused),
    }
}

/// Walks over a spec as a plan does, and then asks for something with all its values in sight.
///
/// What is wrong with the spec is returned beside; values that depend on it are unknown.
pub fn within<R>(
    (text, recorded): (SpecText<'_>, &World),
    options: &Options,
    outside: &dyn Outside,
    ask: impl FnOnce(&Scope<'_>) -> R,
) -> (R, Diagnostics) {
    let noting = Noting::new(outside);
    let mut walk = Walk::new(text, recorded, options, (&noting, Diagnostics::new()));
    walk.blocks();
    walk.ask(ask)
}

/// Returns what each object of a spec needs directly, and what is wrong with the spec.
pub fn dependencies(
    text: SpecText<'_>,
    recorded: &World,
    options: &Options,
    outside: &dyn Outside,
) -> (BTreeMap<Address, BTreeSet<Address>>, Diagnostics) {
    let noting = Noting::new(outside);
    let mut walk = Walk::new(text, recorded, options, (&noting, Diagnostics::new()));
    walk.blocks();
    let decided = walk.decided();
    (decided.dependencies, decided.found)
}

/// What is recorded and no longer wanted.
fn deletions(
    world: &World,
    changes: &BTreeMap<Address, Change>,
    (program, mode): (&Program, Mode),
) -> BTreeMap<Address, Change> {
    let gone = world.objects.iter().filter(|(address, _)| !changes.contains_key(address));
    let deletion = gone.map(|(address, object)| {
        let reason = match mode {
            Mode::Destroy => ActionReason::DeleteByRequest,
            Mode::Normal | Mode::RefreshOnly => delete_reason(address, (changes, world), program),
        };
        (address.clone(), deletion(address, object, reason))
    });
    deletion.collect()
}

fn delete_reason(
    address: &Address,
    (changes, world): (&BTreeMap<Address, Change>, &World),
    program: &Program,
) -> ActionReason {
    let whole = address.whole();
    if address.is_deposed() {
        return ActionReason::DeleteBecauseDeposed;
    }
    if !address.parts.is_empty() && changes.get(&whole).is_some_and(|change| change.after.is_some()) {
        let replaced = has_successor(address, changes, world);
        let (other, none) = (ActionReason::DeleteBecauseTargetReplaced, ActionReason::DeleteBecauseNoTarget);
        return if replaced { other } else { none };
    }
    if program.module_of(address).is_none() {
        return ActionReason::DeleteBecauseNoModule;
    }
    match (program.resource(address), &address.key) {
        (Some(_), Some(Key::Index(_))) => ActionReason::DeleteBecauseCountIndex,
        (Some(_), Some(Key::Name(_))) => ActionReason::DeleteBecauseEachKey,
        (Some(_), None) | (None, _) => ActionReason::DeleteBecauseNoResourceConfig,
    }
}

/// Tells whether another target is to be where a recorded one is.
fn has_successor(address: &Address, changes: &BTreeMap<Address, Change>, world: &World) -> bool {
    let place = |attributes: &Attributes| {
        let names = ["role", "host", "ordinal"];
        names.map(|name| attributes.get(name).cloned())
    };
    let Some(here) = world.objects.get(address).map(|object| place(&object.attributes)) else { return false };
    let whole = address.whole();
    let others = changes.range(whole.clone()..).take_while(|(other, _)| other.whole() == whole);
    others.filter_map(|(_, change)| change.after.as_ref()).any(|after| place(after) == here)
}

/// Lowers the impact of losing a cluster, or a target of one, that never held a file.
fn impacts(changes: &mut BTreeMap<Address, Change>, world: &World) {
    let empty: Vec<Address> = changes
        .values()
        .filter(|change| matches!(change.kind, Kind::Cluster | Kind::Target | Kind::Instance))
        .filter(|change| change.impact == Impact::DataLoss && !may_hold_data(&change.address, world))
        .map(|change| change.address.clone())
        .collect();
    for address in empty {
        if let Some(change) = changes.get_mut(&address) {
            change.impact = Impact::Recreate;
        }
    }
    let links: Vec<(Address, Impact)> = changes
        .values()
        .filter_map(|change| Some((change.address.clone(), link_impact(change, changes)?)))
        .collect();
    for (address, impact) in links {
        if let Some(change) = changes.get_mut(&address) {
            change.impact = impact;
        }
    }
}

/// The impact of a link's end, where it is not that of its kind: none beside that of its cluster's; and bytes go where files are
/// deleted with it that it does not export.
fn link_impact(change: &Change, changes: &BTreeMap<Address, Change>) -> Option<Impact> {
    let ends = matches!(change.action, Action::Delete | Action::Replace);
    if change.kind != Kind::DataRepositoryAssociation || !ends {
        return None;
    }
    let before = change.before.as_ref()?;
    let cluster = before.get("cluster").and_then(Value::as_str).and_then(|text| text.parse::<Address>().ok());
    if cluster.and_then(|cluster| changes.get(&cluster)).is_some_and(|change| change.action == Action::Delete)
    {
        return Some(Impact::Live);
    }
    let deletes = before.get("delete_data_in_filesystem").and_then(Value::as_bool).unwrap_or(false);
    let exported = before.get("auto_export_events").is_some_and(|events| {
        let events: Vec<&str> = events.parts().filter_map(Value::as_str).collect();
        events.contains(&"NEW") && events.contains(&"CHANGED")
    });
    (deletes && !exported).then_some(Impact::DataLoss)
}

/// A cluster holds files only once its metadata target was made; an instance holds something once it was there.
fn may_hold_data(address: &Address, world: &World) -> bool {
    if let Some(object) = world.objects.get(address).filter(|object| object.kind == Kind::Instance) {
        return object.status != Status::Creating;
    }
    let cluster = address.whole();
    let own = world.objects.range(cluster.clone()..).take_while(|(address, _)| address.whole() == cluster);
    let mut metadata = own
        .filter(|(_, object)| object.kind == Kind::Target)
        .filter(|(_, object)| object.attributes.get("role").and_then(|role| role.as_str()) == Some("MDT"));
    metadata.any(|(_, object)| object.status != Status::Creating)
}

/// Says which allowances name nothing: a typing error would only show when the apply stops.
fn warn_of_idle_allowances(
    allowances: &[Allowance],
    changes: &BTreeMap<Address, Change>,
    found: &mut Diagnostics,
) {
    let is_idle = |allowance: &&Allowance| {
        !allowance.0.contains('*') && !changes.keys().any(|address| allowance.covers(address))
    };
    for allowance in allowances.iter().filter(is_idle) {
        let summary = format!("-allow-data-loss={} names nothing in the spec or the state", allowance.0);
        let names: Vec<String> = changes.keys().map(Address::to_string).collect();
        let near = nearest(&allowance.0, names.iter().map(String::as_str));
        let hint = near.map(|near| format!("Did you mean `{near}`?"));
        let warning = Diagnostic::warning("W0851", summary);
        found.push(match hint {
            Some(hint) => warning.hint(hint),
            None => {
                warning.hint("`lustre state list` and the plan name what there is; `*` stands for any text.")
            }
        });
    }
}

/// Reports what two objects would both need.
fn report_claims(
    changes: &BTreeMap<Address, Change>,
    spans: &BTreeMap<Address, Span>,
    found: &mut Diagnostics,
) {
    let mut owners: BTreeMap<Claim, &Address> = BTreeMap::new();
    let span = |address: &Address| spans.get(address).or_else(|| spans.get(&address.whole())).copied();
    for (address, change) in changes {
        for claim in change.after.iter().flat_map(|after| claims(change.kind, after)) {
            let Some(owner) = owners.get(&claim) else {
                owners.insert(claim, address);
                continue;
            };
            let mut diagnostic =
                Diagnostic::error("E0807", format!("{owner} and {address} both need {claim}"));
            diagnostic.span = span(address);
            if let Some(first) = span(owner) {
                diagnostic = diagnostic.related(first, format!("{owner} is here"));
            }
            found.push(diagnostic);
        }
    }
}

/// Compares outputs with those that are recorded; those that stay are among the result.
pub(crate) fn outputs(wanted: &BTreeMap<String, Output>, recorded: &World) -> Vec<OutputChange> {
    let names: BTreeSet<&String> = wanted.keys().chain(recorded.outputs.keys()).collect();
    let change = |name: &String| {
        let (before, after) = (recorded.outputs.get(name).cloned(), wanted.get(name).cloned());
        let action = match (&before, &after) {
            (Some(before), Some(after)) if before == after => Action::NoOp,
            (Some(_), Some(_)) => Action::Update,
            (None, _) => Action::Create,
            (_, None) => Action::Delete,
        };
        OutputChange { name: name.clone(), action, before, after }
    };
    names.into_iter().map(change).collect()
}

fn step_circle(circle: &Circle) -> Diagnostic {
    let names: Vec<String> = circle.0.iter().map(Address::to_string).collect();
    let summary = format!("no order of steps is possible: {} wait for each other", names.join(", "));
    let hint = "Apply it in two parts: first remove what stands on them, then change them.";
    Diagnostic::error("E0815", summary).hint(hint)
}

fn gates(changes: &BTreeMap<Address, Change>, world: &World) -> Vec<Gate> {
    let mut gates = Vec::new();
    for change in changes.values().filter(|change| matches!(change.action, Action::Delete | Action::Replace))
    {
        let gate = |reason| Gate { address: change.address.clone(), reason };
        if change.impact == Impact::DataLoss {
            gates.push(gate(GateReason::DataLoss));
        }
        if protected(change, changes, world) {
            gates.push(gate(GateReason::PreventDestroy));
        }
    }
    gates
}

/// What the spec says counts; for what the spec has no more, what was recorded. A part is as its whole.
fn protected(change: &Change, changes: &BTreeMap<Address, Change>, world: &World) -> bool {
    let whole = change.address.whole();
    let planned = changes.get(&whole).and_then(|change| change.after.as_ref());
    let recorded = world.objects.get(&whole).map(|object| &object.attributes);
    planned.or(recorded).is_some_and(prevents_destroy)
}

fn sealed(
    files: &[(String, String)],
    noting: &Noting<'_>,
    (variables, data): (BTreeMap<String, Value>, BTreeMap<Address, Attributes>),
) -> SealedSpec {
    let sources: Vec<Source> =
        files.iter().map(|(path, text)| Source { path: path.clone(), text: text.clone() }).collect();
    let world = noting.noted();
    let mut hash = Sha256::new();
    let mut add = |text: &str| {
        // Lengths keep two texts from being read as one.
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text.as_bytes());
    };
    for source in &sources {
        add(&source.path);
        add(&source.text);
    }
    for (path, content) in &world.files {
        add(path);
        add(content.as_deref().unwrap_or("-"));
    }
    for (name, value) in &variables {
        add(name);
        add(&value.to_lossless().to_string());
    }
    for (address, attributes) in &data {
        add(&address.to_string());
        add(&Value::object(attributes.clone()).to_lossless().to_string());
    }
    let config_hash = hex::encode(hash.finalize());
    SealedSpec { sources, world, variables, data, config_hash }
}

/// Returns where each object that moved was recorded before, by where it is now.
fn origins(moves: &[Move]) -> BTreeMap<Address, Address> {
    let mut origins: BTreeMap<Address, Address> = BTreeMap::new();
    for Move { from, to } in moves {
        let first = origins.remove(from).unwrap_or_else(|| from.clone());
        origins.insert(to.clone(), first);
    }
    origins
}

/// Says of each object where it was recorded before it moved.
fn with_previous(changes: BTreeMap<Address, Change>, origins: &BTreeMap<Address, Address>) -> Vec<Change> {
    let previous = |change: Change| {
        let previous_address = origins.get(&change.address).cloned();
        Change { previous_address, ..change }
    };
    changes.into_values().map(previous).collect()
}
