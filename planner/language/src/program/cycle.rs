//! Cycles among the locals of a module.
//!
//! Circles that lead through resources or modules are found by whoever orders the graph.
//! Invariant: without its cyclic members, a module's locals can be evaluated in some order.

use std::collections::BTreeSet;

use lustre_model::diagnostic::{Diagnostic, Diagnostics};

use crate::mention;
use crate::program::Module;
use crate::syntax::Expr;

impl Module {
    /// Returns the locals that an expression mentions itself.
    pub(crate) fn locals_of<'a>(&'a self, expression: &'a Expr) -> impl Iterator<Item = &'a str> {
        mention::references(expression)
            .filter(|reference| reference.root == "local")
            .filter_map(|reference| reference.name(0))
            .filter(|name| self.locals.contains_key(*name))
    }

    /// Finds cycles among locals, reports each with its path and marks its members.
    pub(super) fn mark_cycles(&mut self, diagnostics: &mut Diagnostics) {
        let mut done: BTreeSet<String> = BTreeSet::new();
        let mut cycles: Vec<Vec<String>> = Vec::new();
        for start in self.locals.keys() {
            self.find_cycle(start, &mut done, &mut cycles);
        }
        for cycle in cycles {
            let first = cycle.first().and_then(|name| self.locals.get(name)).map(|local| local.span);
            let path: Vec<String> =
                cycle.iter().chain(cycle.first()).map(|name| format!("local.{name}")).collect();
            let mut diagnostic =
                Diagnostic::error("E0301", "cycle of locals").detail(format!("{}.", path.join(" → ")));
            diagnostic.span = first;
            diagnostics.push(diagnostic.hint("A value cannot be computed from itself."));
            for name in cycle {
                if let Some(local) = self.locals.get_mut(&name) {
                    local.cyclic = true;
                }
            }
        }
    }

    /// Walks depth first without recursion; a local met again on the path closes a cycle.
    fn find_cycle(&self, start: &str, done: &mut BTreeSet<String>, cycles: &mut Vec<Vec<String>>) {
        if done.contains(start) {
            return;
        }
        let next = |name: &str| {
            let local = self.locals.get(name).map(|local| &local.value);
            local
                .map(|value| self.locals_of(value).map(str::to_owned).collect::<Vec<_>>())
                .unwrap_or_default()
        };
        let mut path = vec![(start.to_owned(), next(start))];
        let mut on_path: BTreeSet<String> = BTreeSet::from([start.to_owned()]);
        while let Some((name, rest)) = path.last_mut() {
            let Some(child) = rest.pop() else {
                on_path.remove(name.as_str());
                done.insert(name.clone());
                path.pop();
                continue;
            };
            if on_path.contains(&child) {
                let from = path.iter().position(|(name, _)| *name == child).unwrap_or(0);
                cycles.push(path[from..].iter().map(|(name, _)| name.clone()).collect());
            } else if !done.contains(&child) {
                on_path.insert(child.clone());
                let children = next(&child);
                path.push((child, children));
            }
        }
    }
}
