//! One object against what is recorded of it: what happens to it, why, and with what impact.
//!
//! Typed attributes, no text. Not the order of things; that is `steps`.
//! Invariant: an object that was just applied as planned, planned again from the same spec, is `NoOp`.

use std::collections::BTreeSet;

use lustre_model::address::Address;
use lustre_model::plan::{Action, ActionReason, Change, Impact};
use lustre_model::recorded::{Object, Status};
use lustre_model::resource::{Attributes, Kind};
use lustre_model::types::Type;
use lustre_model::value::Value;

use crate::schema::{Class, class, computed, loss};

/// An object as the spec wants it.
#[derive(Debug, Clone, PartialEq)]
pub struct Desired {
    /// Which.
    pub address: Address,
    /// What it is.
    pub kind: Kind,
    /// Everything but null; what is computed by apply is not here.
    pub attributes: Attributes,
    /// Attributes whose recorded value stays, whatever the spec says.
    pub ignore: Ignore,
}

/// `lifecycle.ignore_changes`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ignore {
    /// These.
    Names(Vec<String>),
    /// `all`.
    All,
}

/// Why an object is replaced although its attributes do not ask for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Force {
    /// Nothing forces it.
    None,
    /// What it stands on is replaced.
    Parent,
    /// `-replace=ADDRESS`.
    Request,
    /// `lifecycle.replace_triggered_by`.
    Trigger,
}

/// Compares an object of the spec with what is recorded.
pub fn change(desired: &Desired, recorded: Option<&Object>, force: Force) -> Change {
    let Some(recorded) = recorded else {
        let after = with_computed(desired.kind, desired.attributes.clone());
        return built(desired, (Action::Create, None, Impact::Live), None, after);
    };
    let before = &recorded.attributes;
    let mut after = ignoring(&desired.ignore, &desired.attributes, before);
    let changed = changed(&after, before, desired.kind);
    let replace_paths: Vec<String> =
        changed.iter().filter(|name| class(desired.kind, name) == Class::Replace).cloned().collect();
    let verdict = verdict(recorded, (&changed, &replace_paths), force);
    if verdict.0 == Action::NoOp {
        after = before.clone();
    } else if only_computed_stays(desired.kind, &changed, verdict.0) {
        keep_computed(desired.kind, &mut after, before);
    } else {
        after = with_computed(desired.kind, after);
    }
    let before = if verdict.0 == Action::Create { None } else { Some(before.clone()) };
    Change { replace_paths, ..built(desired, verdict, before, after) }
}

/// Plans the end of a recorded object.
pub fn deletion(address: &Address, recorded: &Object, reason: ActionReason) -> Change {
    Change {
        address: address.clone(),
        previous_address: None,
        kind: recorded.kind,
        action: Action::Delete,
        reason: Some(reason),
        impact: loss(recorded.kind),
        before: Some(recorded.attributes.clone()),
        after: None,
        replace_paths: Vec::new(),
        deposed: None,
        imported: None,
    }
}

type Verdict = (Action, Option<ActionReason>, Impact);

fn verdict(recorded: &Object, (changed, replace): (&[String], &[String]), force: Force) -> Verdict {
    let kind = recorded.kind;
    let replaced = |reason| {
        // What stands on the object feels its absence; what holds bytes loses them.
        (Action::Replace, Some(reason), loss(kind).max(Impact::Recreate))
    };
    match (force, &recorded.status) {
        (Force::Parent, _) => return replaced(ActionReason::ReplaceBecauseParentReplaced),
        (Force::Request, _) => return replaced(ActionReason::ReplaceByRequest),
        (Force::Trigger, _) => return replaced(ActionReason::ReplaceByTriggers),
        (Force::None, Status::Tainted { .. }) => return replaced(ActionReason::ReplaceBecauseTainted),
        // Nothing is lost with what is gone.
        (Force::None, Status::Gone { .. }) => {
            let impact = if kind.is_in_aws() { Impact::Recreate } else { loss(kind).max(Impact::Recreate) };
            return (Action::Replace, Some(ActionReason::ReplaceBecauseGone), impact);
        }
        (Force::None, Status::Deleting) => return replaced(ActionReason::ReplaceBecauseHalfDeleted),
        (Force::None, Status::Creating | Status::Present | Status::Updating | Status::Drifted { .. }) => {}
    }
    if !replace.is_empty() {
        let triggered = kind == Kind::Value;
        let cannot = ActionReason::ReplaceBecauseCannotUpdate;
        return replaced(if triggered { ActionReason::ReplaceByTriggers } else { cannot });
    }
    let resumed = Some(ActionReason::ResumeInterrupted);
    match recorded.status {
        Status::Creating => (Action::Create, resumed, Impact::Live),
        Status::Updating => (Action::Update, resumed, update_impact(kind, changed)),
        Status::Drifted { .. } => {
            (Action::Update, Some(ActionReason::RepairBecauseDrifted), update_impact(kind, changed))
        }
        Status::Present if changed.is_empty() => (Action::NoOp, None, Impact::Live),
        Status::Present | Status::Deleting | Status::Tainted { .. } | Status::Gone { .. } => {
            (Action::Update, None, update_impact(kind, changed))
        }
    }
}

fn update_impact(kind: Kind, changed: &[String]) -> Impact {
    let impact = |name: &String| match class(kind, name) {
        Class::InPlace(impact) => impact,
        Class::Replace => Impact::Recreate,
    };
    changed.iter().map(impact).max().unwrap_or(Impact::Live)
}

fn built(desired: &Desired, verdict: Verdict, before: Option<Attributes>, after: Attributes) -> Change {
    let (action, reason, impact) = verdict;
    Change {
        address: desired.address.clone(),
        previous_address: None,
        kind: desired.kind,
        action,
        reason,
        impact,
        before,
        after: Some(after),
        replace_paths: Vec::new(),
        deposed: None,
        imported: None,
    }
}

/// Names whose planned value is not the recorded one, or not known yet; computed ones do not count.
fn changed(after: &Attributes, before: &Attributes, kind: Kind) -> Vec<String> {
    let names: BTreeSet<&String> = after.keys().chain(before.keys()).collect();
    let differs = |name: &&String| {
        let (after, before) = (after.get(*name), before.get(*name));
        !computed(kind).contains(&name.as_str())
            && (after != before || after.is_some_and(|value| !value.is_wholly_known()))
    };
    names.into_iter().filter(differs).cloned().collect()
}

fn ignoring(ignore: &Ignore, desired: &Attributes, before: &Attributes) -> Attributes {
    let names: Vec<&String> = match ignore {
        Ignore::All => return before.clone(),
        Ignore::Names(names) => names.iter().collect(),
    };
    let mut attributes = desired.clone();
    for name in names {
        match before.get(name) {
            Some(value) => attributes.insert(name.clone(), value.clone()),
            None => attributes.remove(name),
        };
    }
    attributes
}

/// Tells whether a change leaves what apply computed as it is.
fn only_computed_stays(kind: Kind, changed: &[String], action: Action) -> bool {
    let feeds_computed = kind == Kind::Value && changed.iter().any(|name| name == "input");
    action == Action::Update && !feeds_computed
}

fn keep_computed(kind: Kind, after: &mut Attributes, before: &Attributes) {
    for name in computed(kind) {
        if let Some(value) = before.get(*name) {
            after.insert((*name).to_owned(), value.clone());
        }
    }
}

/// Adds what only apply will know.
fn with_computed(kind: Kind, mut attributes: Attributes) -> Attributes {
    if kind.is_in_aws() {
        for name in computed(kind) {
            attributes.insert((*name).to_owned(), Value::unknown(Type::String).definite());
        }
        return attributes;
    }
    for name in computed(kind) {
        // `output` will be what `input` is: its type is known, and so is whether it must not be shown. Without `input`
        // there will be none.
        let Some(input) = attributes.get("input") else { continue };
        let unknown = Value::unknown(input.type_of()).marked(input.has_sensitive());
        let unknown = if input.is_definite() { unknown.definite() } else { unknown };
        attributes.insert((*name).to_owned(), unknown);
    }
    attributes
}
