//! What depends on what: resources that a block mentions, through locals too, and cycles among locals.
//!
//! Granularity is the instance where the key is written out: `host.oss["a"]` depends on that instance only.
//! Not here: the graph, which is the planner's.
//! Invariant: a dependency that evaluation needs is always named.

use std::collections::{BTreeMap, BTreeSet};

use lustre_model::address::Address;
use lustre_model::diagnostic::{Diagnostic, Diagnostics, Span};

use crate::mention;
use crate::program::{Output, Program, Repetition, Resource};
use crate::syntax::Expr;

/// A resource that something mentions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// The resource; with a key when one instance is meant.
    pub address: Address,
    /// Where it is mentioned first.
    pub span: Span,
}

impl Program {
    /// Returns the resources that must come before a resource: those it mentions anywhere, and its `depends_on`.
    pub fn references(&self, resource: &Resource) -> Vec<Reference> {
        let repetition = match &resource.repetition {
            Repetition::Single => None,
            Repetition::Count(expression) | Repetition::ForEach(expression) => Some(expression),
        };
        let mut expressions = resource.body.expressions();
        expressions.extend(repetition);
        expressions.extend(&resource.depends_on);
        expressions.extend(resource.lifecycle.expressions());
        self.resources_of(&expressions)
    }

    /// Returns the resources that must be expanded and evaluated before a resource's own `for_each` or `count`.
    pub fn expansion_references(&self, resource: &Resource) -> Vec<Reference> {
        match &resource.repetition {
            Repetition::Single => Vec::new(),
            Repetition::Count(expression) | Repetition::ForEach(expression) => {
                self.resources_of(&[expression])
            }
        }
    }

    /// Returns the resources that an output mentions.
    pub fn output_references(&self, output: &Output) -> Vec<Reference> {
        let checks = output.preconditions.iter().flat_map(|check| [&check.condition, &check.error_message]);
        let expressions: Vec<&Expr> =
            [&output.value].into_iter().chain(&output.depends_on).chain(checks).collect();
        self.resources_of(&expressions)
    }

    fn resources_of(&self, expressions: &[&Expr]) -> Vec<Reference> {
        let mut found: BTreeMap<Address, Span> = BTreeMap::new();
        let mut seen: BTreeSet<&str> = BTreeSet::new();
        let mut waiting: Vec<&Expr> = expressions.iter().rev().copied().collect();
        while let Some(expression) = waiting.pop() {
            for reference in mention::references(expression) {
                let Some(name) = reference.name(0) else { continue };
                if reference.root == "local" {
                    if seen.insert(name) {
                        waiting.extend(self.locals.get(name).map(|local| &local.value));
                    }
                } else if let Some(resource) = self.resource(reference.root, name) {
                    let key = reference.key(1).filter(|_| resource.is_repeated());
                    found.entry(resource.address().with_key(key)).or_insert(reference.span);
                }
            }
        }
        found.into_iter().map(|(address, span)| Reference { address, span }).collect()
    }

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
