//! The plan as Terraform's users know it, with the impact of every change.
//!
//! ```text
//!   # cluster.scratch.target["scratch-OST0004"] will be created
//!   + target "scratch-OST0004" {
//!       + capacity = 2147483648
//!     }
//!
//! Plan: 1 to add, 0 to change, 0 to destroy.
//! ```
//! Invariant: everything that the plan does is in the text, and a change that loses bytes says DATA LOSS.

use lustre_model::address::{Address, quote};
use lustre_model::plan::{Action, ActionReason, Change, Gate, GateReason, Impact, Mode, OutputChange, Plan};
use lustre_model::resource::{Attributes, Kind};

use super::literal::{Mark, change as changed, line, unchanged, whole};
use super::{Style, Styled};

/// Shows a plan.
pub fn plan(plan: &Plan) -> Styled {
    let mut out = Styled::default();
    if plan.parts().mode == Mode::RefreshOnly {
        refresh(&mut out, plan);
        return out;
    }
    if !plan.has_changes() {
        out.push(Style::Heading, format!("{}\n", nothing(plan)));
        return out;
    }
    let changes: Vec<&Change> = plan.changes().iter().filter(|change| is_shown(change)).collect();
    if !changes.is_empty() {
        out.push(Style::Heading, "lustre will perform the following actions:\n\n");
    }
    for change in changes {
        object(&mut out, change);
    }
    for read in &plan.parts().reads {
        out.push(Style::Heading, format!("  # {read} will be read during apply\n\n"));
    }
    out.push(Style::Heading, format!("Plan: {}.\n", summary(plan)));
    outputs(&mut out, &plan.parts().outputs);
    gates(&mut out, &plan.closed_gates(&[]));
    out
}

/// Says that there is nothing to do.
pub(super) fn nothing(plan: &Plan) -> &'static str {
    match plan.parts().mode {
        Mode::Normal => "No changes. Everything is as the spec says.",
        Mode::Destroy => "No changes. Nothing is recorded, so there is nothing to destroy.",
        Mode::RefreshOnly if plan.changes().iter().any(|change| change.kind == Kind::Host) => {
            "No differences. Hosts report everything as recorded, and the outputs are as recorded."
        }
        Mode::RefreshOnly => {
            "No differences. No host is recorded, so nothing outside of the state can differ, and the outputs are as recorded."
        }
    }
}

/// Tells whether a change is more than that everything stays.
pub(super) fn is_shown(change: &Change) -> bool {
    change.action != Action::NoOp || change.previous_address.is_some() || change.imported.is_some()
}

/// Shows what a plan found out that touches no object.
fn refresh(out: &mut Styled, plan: &Plan) {
    let parts = plan.parts();
    if !plan.finds_differences() {
        out.push(Style::Heading, format!("{}\n", nothing(plan)));
        return;
    }
    if !parts.drift.is_empty() {
        let of = |change: &&Change| parts.drift.contains_key(&change.address);
        let who = match (plan.changes().iter().filter(of)).any(|change| change.kind.is_in_aws()) {
            true => "Hosts and AWS report",
            false => "Hosts report",
        };
        out.push(Style::Heading, format!("{who} that these are not as recorded:\n\n"));
    }
    for (address, cause) in &parts.drift {
        let before = plan.changes().iter().find(|change| change.address == *address);
        let host = before.and_then(|change| change.before.as_ref()?.get("host")?.as_str());
        let place = host.map(|host| format!(" on {host}")).unwrap_or_default();
        out.push(Style::Change, "  ~ ");
        out.push(Style::Plain, format!("{address}{place}: {cause}\n"));
    }
    if !parts.drift.is_empty() {
        let kept = "\nThe state goes on saying what was applied: `lustre apply` repairs towards it.\n";
        out.push(Style::Plain, kept);
    }
    outputs(out, &parts.outputs);
    if plan.has_changes() {
        out.push(Style::Plain, "\nOnly these outputs would be recorded; no host and no object is touched.\n");
    }
}

/// Counts of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Created, replaced ones among them.
    pub add: usize,
    /// Changed in place.
    pub change: usize,
    /// Deleted, replaced ones among them.
    pub destroy: usize,
}

/// Counts what a plan does.
pub fn counts(plan: &Plan) -> Counts {
    let mut counts = Counts::default();
    for change in plan.changes() {
        match change.action {
            Action::Create => counts.add += 1,
            Action::Update => counts.change += 1,
            Action::Delete => counts.destroy += 1,
            Action::Replace => {
                counts.add += 1;
                counts.destroy += 1;
            }
            Action::Read | Action::Forget | Action::NoOp => {}
        }
    }
    counts
}

/// Says how many objects come, change and go.
pub fn summary(plan: &Plan) -> String {
    let Counts { add, change, destroy } = counts(plan);
    let (import, forget) = (plan.parts().adopted.len(), plan.parts().forgotten.len());
    let before = if import == 0 { String::new() } else { format!("{import} to import, ") };
    let behind = if forget == 0 { String::new() } else { format!(", {forget} to forget") };
    format!("{before}{add} to add, {change} to change, {destroy} to destroy{behind}")
}

fn object(out: &mut Styled, change: &Change) {
    heading(out, change);
    let (letter, style) = match change.action {
        Action::Create => ("  + ", Style::Add),
        Action::Update => ("  ~ ", Style::Change),
        Action::Delete => ("  - ", Style::Remove),
        Action::Replace if change.deposed.is_some() => ("+/- ", Style::Change),
        Action::Replace => ("-/+ ", Style::Change),
        Action::Read => (" <= ", Style::Change),
        Action::Forget => ("  . ", Style::Change),
        Action::NoOp => ("    ", Style::Plain),
    };
    out.push(style, letter);
    out.push(Style::Plain, format!("{} {{\n", title(&change.address)));
    let empty = Attributes::new();
    let before = change.before.as_ref().unwrap_or(&empty);
    let after = change.after.as_ref().unwrap_or(&empty);
    attributes(out, change, (before, after));
    out.push(Style::Plain, "    }\n\n");
}

/// A resource as its block begins in a spec: `host "oss"`.
pub(super) fn title(address: &Address) -> String {
    match address.parts.last() {
        Some(part) => format!("{} {}", part.kind, quote(&part.name)),
        None => format!("{} {}", address.kind, quote(&address.name)),
    }
}

/// Says what will happen to the object: the words behind its address.
pub(super) fn what(change: &Change) -> &'static str {
    match (change.action, change.reason) {
        (Action::Create, Some(ActionReason::ResumeInterrupted)) => {
            "will be created, as an earlier apply was cut off"
        }
        (Action::Create, _) => "will be created",
        (Action::Update, Some(ActionReason::RepairBecauseDrifted)) if change.kind.is_in_aws() => {
            "will be repaired, as AWS reports that it is not as recorded"
        }
        (Action::Update, Some(ActionReason::RepairBecauseDrifted)) => {
            "will be repaired, as its host reports that it is not as recorded"
        }
        (Action::Update, Some(ActionReason::ResumeInterrupted)) => {
            "will be updated again, as an earlier apply was cut off"
        }
        (Action::Update, _) => "will be updated in-place",
        (Action::Delete, _) => "will be destroyed",
        (Action::Replace, Some(ActionReason::ReplaceBecauseGone)) => "is gone, so must be made anew",
        (Action::Replace, Some(ActionReason::ReplaceBecauseTainted)) => "is tainted, so must be replaced",
        (Action::Replace, Some(ActionReason::ReplaceByRequest)) => "will be replaced, as requested",
        (Action::Replace, _) => "must be replaced",
        (Action::Read, _) => "will be read during apply",
        (Action::Forget, _) => "will no longer be managed, and is not destroyed",
        (Action::NoOp, _) if change.imported.is_some() => "will be imported",
        (Action::NoOp, _) => "has moved",
    }
}

fn heading(out: &mut Styled, change: &Change) {
    let (address, what) = (&change.address, what(change));
    out.push(Style::Heading, format!("  # {address} {what}\n"));
    if let Some(id) = &change.imported {
        out.push(Style::Plain, format!("  # (imported from {})\n", quote(id)));
    }
    if let Some(previous) = &change.previous_address {
        out.push(Style::Plain, format!("  # (it was {previous})\n"));
    }
    if let Some(because) = change.reason.and_then(because) {
        out.push(Style::Plain, format!("  # (because {because})\n"));
    }
    match change.impact {
        Impact::Live => {}
        Impact::DataLoss => out.push(Style::Danger, format!("  # impact: {}\n", change.impact)),
        Impact::Pause | Impact::Outage | Impact::Recreate => {
            out.push(Style::Change, format!("  # impact: {}\n", change.impact));
        }
    }
    if let Some(cut_off) = cut_off(change) {
        out.push(Style::Plain, format!("  # ({cut_off})\n"));
    }
}

/// Says what the end of a link means for files that were not read yet.
pub(super) fn cut_off(change: &Change) -> Option<&'static str> {
    let ends = matches!(change.action, Action::Delete | Action::Replace);
    let cuts = ends && change.kind == Kind::DataRepositoryAssociation && change.impact > Impact::Live;
    cuts.then_some("files whose bytes are only in the bucket cannot be read until a link leads to the same objects again")
}

pub(super) fn because(reason: ActionReason) -> Option<&'static str> {
    match reason {
        ActionReason::DeleteBecauseNoResourceConfig => Some("the spec has no such block"),
        ActionReason::DeleteBecauseNoModule => Some("the spec has no such module"),
        ActionReason::DeleteBecauseDeposed => Some("it was replaced"),
        ActionReason::DeleteBecauseEachKey => Some("its for_each has no such key"),
        ActionReason::DeleteBecauseCountIndex => Some("its count is lower now"),
        ActionReason::DeleteBecauseNoTarget => Some("the storage block asks for no target there any more"),
        ActionReason::DeleteBecauseTargetReplaced => {
            Some("another target takes its place; an index is never given twice")
        }
        ActionReason::ReplaceBecauseParentReplaced => Some("what it stands on is replaced"),
        ActionReason::ReplaceByTriggers => Some("triggers_replace changed"),
        ActionReason::ReplaceBecauseHalfDeleted => Some("an earlier apply began to delete it"),
        ActionReason::ReplaceBecauseCannotUpdate
        | ActionReason::ReplaceBecauseTainted
        | ActionReason::ReplaceBecauseGone
        | ActionReason::ReplaceByRequest
        | ActionReason::DeleteByRequest
        | ActionReason::RepairBecauseDrifted
        | ActionReason::ResumeInterrupted => None,
    }
}

pub(super) fn attributes(out: &mut Styled, change: &Change, (before, after): (&Attributes, &Attributes)) {
    let mut names: Vec<&String> = before.keys().chain(after.keys()).collect();
    names.sort();
    names.dedup();
    let (mut shown, mut hidden) = (Vec::new(), 0);
    for name in names {
        let (old, new) = (before.get(name), after.get(name));
        let mark = match (old, new) {
            (Some(old), Some(new)) if old == new => {
                hidden += 1;
                continue;
            }
            (Some(_), Some(_)) => Mark::Change,
            (None, _) => Mark::Add,
            (_, None) => Mark::Remove,
        };
        shown.push((name, mark, old, new));
    }
    let width = shown.iter().map(|(name, ..)| name.chars().count()).max().unwrap_or(0);
    for (name, mark, old, new) in shown {
        line(out, 1, mark);
        out.push(Style::Plain, format!("{name:width$} = "));
        match (old, new) {
            (Some(old), Some(new)) => changed(out, 1, old, new),
            (old, new) => {
                if let Some(value) = new.or(old) {
                    whole(out, 1, mark, value);
                }
            }
        }
        if change.replace_paths.contains(name) {
            out.push(Style::Remove, " # forces replacement");
        }
        out.push(Style::Plain, "\n");
    }
    unchanged(out, 1, (hidden, "attribute"));
}

pub(super) fn outputs(out: &mut Styled, changes: &[OutputChange]) {
    let changes: Vec<&OutputChange> = changes.iter().filter(|change| change.action != Action::NoOp).collect();
    if changes.is_empty() {
        return;
    }
    out.push(Style::Heading, "\nChanges to outputs:\n");
    let width = changes.iter().map(|change| change.name.chars().count()).max().unwrap_or(0);
    for change in changes {
        let mark = match change.action {
            Action::Create => Mark::Add,
            Action::Delete => Mark::Remove,
            Action::Update | Action::Replace | Action::Read | Action::Forget | Action::NoOp => Mark::Change,
        };
        line(out, 0, mark);
        out.push(Style::Plain, format!("{:width$} = ", change.name));
        let value = |output: &Option<lustre_model::recorded::Output>| {
            output.as_ref().map(|output| output.value.clone().marked(output.sensitive))
        };
        match (value(&change.before), value(&change.after)) {
            (Some(before), Some(after)) => changed(out, 0, &before, &after),
            (before, after) => {
                if let Some(value) = after.or(before) {
                    whole(out, 0, mark, &value);
                }
            }
        }
        out.push(Style::Plain, "\n");
    }
}

fn gates(out: &mut Styled, closed: &[&Gate]) {
    let of = |reason| closed.iter().filter(move |gate| gate.reason == reason).map(|gate| &gate.address);
    let loss: Vec<&Address> = of(GateReason::DataLoss).collect();
    if !loss.is_empty() {
        out.push(Style::Danger, "\nDATA LOSS: bytes of files would go, perhaps the only ones there are. ");
        out.push(Style::Plain, "Apply will stop before its first step unless you allow it:\n");
        for address in wholes(&loss) {
            out.push(Style::Plain, format!("  -allow-data-loss={}\n", shell(&address.to_string())));
        }
    }
    let kept: Vec<&Address> = of(GateReason::PreventDestroy).collect();
    if !kept.is_empty() {
        out.push(
            Style::Danger,
            "\nProtected by lifecycle.prevent_destroy, so apply will stop before its first step:\n",
        );
        for address in kept {
            out.push(Style::Plain, format!("  {address}\n"));
        }
        out.push(Style::Plain, "Set prevent_destroy = false and apply that first, or keep the block.\n");
    }
}

/// Leaves out parts whose whole is named too: its allowance covers them.
pub(super) fn wholes<'a>(addresses: &[&'a Address]) -> Vec<&'a Address> {
    let covered = |address: &Address| !address.parts.is_empty() && addresses.contains(&&address.whole());
    addresses.iter().filter(|address| !covered(address)).copied().collect()
}

/// Quotes for a shell what has brackets or quotes in it.
pub(super) fn shell(text: &str) -> String {
    if text.contains(['[', '"', ' ', '*']) {
        format!("'{}'", text.replace('\'', "'\\''"))
    } else {
        text.to_owned()
    }
}
