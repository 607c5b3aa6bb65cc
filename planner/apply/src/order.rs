//! Which steps may begin now, while others end.
//!
//! Pure counting over the plan's own edges; compiles nothing.
//! Invariant: each step leaves exactly once: handed out as ready, or given up because one that it waits for failed.

use std::collections::BTreeSet;

use lustre_model::plan::{Plan, StepId};

/// The steps of a plan on their way.
#[derive(Debug)]
pub(crate) struct Order {
    /// How many steps each one still waits for.
    missing: Vec<usize>,
    /// Who waits for each.
    waiting: Vec<Vec<StepId>>,
    given_up: Vec<bool>,
    ready: BTreeSet<StepId>,
}

impl Order {
    /// Begins with the steps that wait for none.
    pub(crate) fn new(plan: &Plan) -> Self {
        let count = plan.steps().len();
        let mut order = Self {
            missing: vec![0; count],
            waiting: vec![Vec::new(); count],
            given_up: vec![false; count],
            ready: BTreeSet::new(),
        };
        for step in plan.steps() {
            let before: BTreeSet<StepId> = step.waits_for.iter().copied().collect();
            order.missing[place(step.id)] = before.len();
            for id in &before {
                order.waiting[place(*id)].push(step.id);
            }
            if before.is_empty() {
                order.ready.insert(step.id);
            }
        }
        order
    }

    /// Returns the ready steps, lowest first, without taking them.
    pub(crate) fn ready(&self) -> impl Iterator<Item = StepId> + '_ {
        self.ready.iter().copied()
    }

    /// Takes a ready step.
    pub(crate) fn take(&mut self, id: StepId) {
        self.ready.remove(&id);
    }

    /// Notes that a step succeeded; what waited for nothing else is ready now and returned.
    pub(crate) fn succeeded(&mut self, id: StepId) -> Vec<StepId> {
        let mut freed = Vec::new();
        for next in std::mem::take(&mut self.waiting[place(id)]) {
            let missing = &mut self.missing[place(next)];
            *missing -= 1;
            if *missing == 0 && !self.given_up[place(next)] {
                self.ready.insert(next);
                freed.push(next);
            }
        }
        freed
    }

    /// Notes that a step failed; returns everything that waited for it, directly or not, and is given up with it.
    pub(crate) fn failed(&mut self, id: StepId) -> Vec<StepId> {
        let mut lost = Vec::new();
        let mut stack = std::mem::take(&mut self.waiting[place(id)]);
        while let Some(next) = stack.pop() {
            if !std::mem::replace(&mut self.given_up[place(next)], true) {
                lost.push(next);
                stack.extend(self.waiting[place(next)].iter().copied());
            }
        }
        lost.sort();
        lost
    }
}

fn place(id: StepId) -> usize {
    id.0 as usize
}
