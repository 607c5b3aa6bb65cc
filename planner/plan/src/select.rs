//! Plans for a part of a spec: `-target` and `-exclude`. Patterns that mean nothing are refused, those of `-replace` too.
//!
//! What is targeted comes with all that it needs, what is excluded takes along all that needs it; and what goes comes with
//! all that stands on it. The rest stays as it is recorded.
//! Invariant: whatever a step of the selection waits for is selected, recorded already, or not wanted by anybody.

use std::collections::{BTreeMap, BTreeSet};

use lustre_language::nearest;
use lustre_model::address::Address;
use lustre_model::diagnostic::{Diagnostic, Diagnostics};
use lustre_model::pattern::Pattern;
use lustre_model::plan::{Action, Change, Extent, Impact};
use lustre_model::recorded::World;

use crate::build::Options;
use crate::build::walk::Decided;

/// Who needs whom, by the spec and by the records.
struct Needs<'a> {
    changes: &'a BTreeMap<Address, Change>,
    needs: BTreeMap<&'a Address, BTreeSet<&'a Address>>,
    needed_by: BTreeMap<&'a Address, BTreeSet<&'a Address>>,
}

/// Leaves only the selected changes, when something was selected.
pub fn select(decided: &mut Decided<'_>, options: &Options) -> Extent {
    refuse_idle(("-replace", &options.replace), &decided.changes, &mut decided.found);
    if options.target.is_empty() && options.exclude.is_empty() {
        return Extent::Whole;
    }
    for (flag, patterns) in [("-target", &options.target), ("-exclude", &options.exclude)] {
        refuse_idle((flag, patterns), &decided.changes, &mut decided.found);
    }
    let needs = Needs::new(&decided.changes, &decided.dependencies, &decided.world);
    let mut selected = if options.target.is_empty() {
        decided.changes.keys().cloned().collect()
    } else {
        needs.with_needed(&options.target)
    };
    for address in needs.with_needing(&options.exclude) {
        selected.remove(&address);
    }
    let dropped: Vec<Address> =
        decided.changes.keys().filter(|address| !selected.contains(*address)).cloned().collect();
    let left_out = dropped.iter().filter(|address| decided.changes[*address].action != Action::NoOp).count();
    for address in dropped {
        leave(&address, decided);
    }
    decided.found.push(partial(left_out));
    Extent::Part
}

/// Leaves an object as it is recorded.
fn leave(address: &Address, decided: &mut Decided<'_>) {
    let adopted = decided.adopted.len();
    decided.adopted.retain(|adoption| adoption.address != *address);
    decided.forgotten.remove(address);
    decided.create_first.remove(address);
    let recorded = decided.world.objects.get(address).filter(|_| adopted == decided.adopted.len());
    let gone = decided.changes.get(address).is_some_and(|change| change.after.is_none());
    match (recorded, decided.changes.get_mut(address)) {
        (Some(object), Some(change)) if !gone => {
            change.action = Action::NoOp;
            change.reason = None;
            change.impact = Impact::Live;
            change.before = Some(object.attributes.clone());
            change.after = Some(object.attributes.clone());
            change.replace_paths = Vec::new();
        }
        (Some(_) | None, _) => {
            decided.changes.remove(address);
            decided.dependencies.remove(address);
            decided.spans.remove(address);
        }
    }
}

fn partial(left_out: usize) -> Diagnostic {
    let detail = match left_out {
        0 => "Nothing that would change is left out; outputs stay as they are.".to_owned(),
        1 => "1 change is left out, and outputs stay as they are.".to_owned(),
        _ => format!("{left_out} changes are left out, and outputs stay as they are."),
    };
    let hint = "Plan without -target and -exclude afterwards, so that nothing stays undone.";
    Diagnostic::warning("W0850", "this plan is for a part of the spec").detail(detail).hint(hint)
}

/// Refuses patterns that mean nothing: a typing error would plan nothing, or all.
fn refuse_idle(
    (flag, patterns): (&str, &[Pattern]),
    changes: &BTreeMap<Address, Change>,
    found: &mut Diagnostics,
) {
    for pattern in patterns {
        if changes.keys().any(|address| pattern.covers(address)) {
            continue;
        }
        let names: Vec<String> = changes.keys().map(Address::to_string).collect();
        let near = nearest(&pattern.0, names.iter().map(String::as_str));
        let hint = near.map_or_else(
            || "`lustre state list` and the plan name what there is.".to_owned(),
            |near| format!("Did you mean `{near}`?"),
        );
        let summary = format!("{flag}={} means nothing in the spec or the state", pattern.0);
        found.push(Diagnostic::error("E0850", summary).hint(hint));
    }
}

impl<'a> Needs<'a> {
    fn new(
        changes: &'a BTreeMap<Address, Change>,
        dependencies: &'a BTreeMap<Address, BTreeSet<Address>>,
        world: &'a World,
    ) -> Self {
        let mut needs: BTreeMap<&Address, BTreeSet<&Address>> = BTreeMap::new();
        for (address, wanted) in dependencies {
            needs.entry(address).or_default().extend(wanted);
        }
        for (address, object) in &world.objects {
            needs.entry(address).or_default().extend(&object.dependencies);
        }
        let mut needed_by: BTreeMap<&Address, BTreeSet<&Address>> = BTreeMap::new();
        for (address, wanted) in &needs {
            for needed in wanted {
                needed_by.entry(needed).or_default().insert(address);
            }
        }
        Self { changes, needs, needed_by }
    }

    fn goes(&self, address: &Address) -> bool {
        let action = self.changes.get(address).map(|change| change.action);
        matches!(action, Some(Action::Delete | Action::Replace | Action::Forget))
    }

    /// What patterns mean, with everything that has to be done before it.
    fn with_needed(&self, patterns: &[Pattern]) -> BTreeSet<Address> {
        self.closure(patterns, |address, next| {
            next.extend(self.needs.get(address).into_iter().flatten());
            if self.goes(address) {
                next.extend(self.needed_by.get(address).into_iter().flatten());
            }
        })
    }

    /// What patterns mean, with everything that cannot be done without it.
    fn with_needing(&self, patterns: &[Pattern]) -> BTreeSet<Address> {
        self.closure(patterns, |address, next| {
            next.extend(self.needed_by.get(address).into_iter().flatten());
            let needed = self.needs.get(address).into_iter().flatten();
            next.extend(needed.filter(|needed| self.goes(needed)));
        })
    }

    fn closure(
        &self,
        patterns: &[Pattern],
        follow: impl Fn(&'a Address, &mut Vec<&'a Address>),
    ) -> BTreeSet<Address> {
        let meant = |address: &&Address| patterns.iter().any(|pattern| pattern.covers(address));
        let mut found: BTreeSet<&Address> = self.changes.keys().filter(meant).collect();
        let mut waiting: Vec<&Address> = found.iter().copied().collect();
        let mut next = Vec::new();
        while let Some(address) = waiting.pop() {
            follow(address, &mut next);
            for other in next.drain(..) {
                // What something else needs is the whole with its parts: a mount needs a cluster's targets.
                let parts = self.changes.range(other.clone()..).map(|(part, _)| part);
                let parts = parts.take_while(|part| part.whole() == *other).filter(|part| *part != other);
                let own = address.whole() == *other;
                for one in [other].into_iter().chain(parts.filter(|_| !own)) {
                    if found.insert(one) {
                        waiting.push(one);
                    }
                }
            }
        }
        found.into_iter().cloned().collect()
    }
}
