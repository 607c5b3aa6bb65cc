//! Ephemeral values: where they may flow, decided by the text alone.
//!
//! What comes from a variable with `ephemeral = true` may go into locals, into variables and outputs of modules that are
//! ephemeral themselves, and into conditions. Everything else would be written into plan and state, and is refused.
//! Invariant: no argument of a resource, no repetition, and no output of the root is computed from an ephemeral value.

use std::collections::{BTreeMap, BTreeSet};

use lustre_model::diagnostic::{Diagnostic, Diagnostics, Span};

use crate::mention::{self, Reference};
use crate::program::Module;
use crate::syntax::{Expr, ExprKind, Step};

impl Module {
    pub(super) fn check_ephemeral(&self, diagnostics: &mut Diagnostics) {
        let sources = self.variables.values().any(|variable| variable.ephemeral)
            || self.calls.values().filter_map(|call| call.callee.as_ref()).any(|it| !it.ephemeral.is_empty());
        if !sources {
            return;
        }
        let locals = self.ephemeral_locals();
        let mut refuse = |expression: &Expr, what: &str| {
            if let Some(span) = self.ephemeral_mention(expression, &locals) {
                let summary = format!("an ephemeral value in {what}");
                let detail = "It would be written into plan and state. Ephemeral values go into locals, conditions, and \
                              variables and outputs of modules that say `ephemeral = true`.";
                diagnostics.push(Diagnostic::error("E0241", summary).detail(detail).at(span));
            }
        };
        for resource in self.resources.values() {
            let address = format!("`{}`", resource.address());
            let repetition = resource.repetition.expression();
            resource.body.expressions().into_iter().chain(repetition).for_each(|it| refuse(it, &address));
        }
        for provider in &self.providers {
            let what = format!("provider `{}`", provider.name.shown());
            provider.body.expressions().into_iter().for_each(|it| refuse(it, &what));
        }
        for call in self.calls.values() {
            let address = format!("`module.{}`", call.name);
            call.repetition.expression().iter().for_each(|it| refuse(it, &address));
            for (name, argument) in &call.arguments {
                let takes =
                    call.callee.as_ref().and_then(|it| it.variables.get(name)).is_none_or(|it| it.ephemeral);
                if !takes {
                    refuse(
                        &argument.value,
                        &format!("variable `{name}` of {address}, which is not ephemeral"),
                    );
                }
            }
        }
        for output in self.outputs.values().filter(|output| !output.ephemeral) {
            refuse(&output.value, &format!("output `{}`", output.name));
        }
        if let Some(state) = &self.settings.state {
            state.body.expressions().into_iter().for_each(|it| refuse(it, "`state`"));
        }
    }

    /// Refuses passphrases that plans would hold: written in the spec, read by a function, or of a variable that is kept.
    pub(super) fn check_passphrases(&self, diagnostics: &mut Diagnostics) {
        let keys =
            self.settings.encryption.iter().flat_map(|it| &it.body.blocks).filter(|it| it.kind == "key");
        for attribute in keys.filter_map(|key| key.body.attributes.get("passphrase")) {
            let mut references = mention::references(&attribute.value);
            let (first, more) = (references.next(), references.next().is_some());
            let whole = matches!(attribute.value.kind, ExprKind::Access(..)) && !more;
            let named = first.filter(|it| whole && it.root == "var" && it.steps.len() == 1);
            let variable = named.and_then(|it| self.variables.get(it.name(0)?));
            let kept = match variable {
                Some(variable) if !variable.ephemeral => "the variable is not ephemeral",
                Some(variable) if variable.default.is_some() => {
                    "the variable has a default, which the spec's text holds"
                }
                Some(_) => continue,
                None => "it is not a variable alone",
            };
            let diagnostic = Diagnostic::error("E0985", format!("the passphrase would be written into plans: {kept}"))
                .detail("Plans hold the spec's text, the values of its variables and the files that it reads.")
                .hint("Write `passphrase = var.NAME` of a variable with `ephemeral = true` and without a default, or say `passphrase_file` or `passphrase_environment`.");
            diagnostics.push(diagnostic.at(attribute.value.span));
        }
    }

    /// Returns the locals that are computed from ephemeral values: each is visited once.
    fn ephemeral_locals(&self) -> BTreeSet<&str> {
        let mut users: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        let mut waiting = Vec::new();
        let none = BTreeSet::new();
        for local in self.locals.values() {
            for used in self.locals_of(&local.value) {
                users.entry(used).or_default().push(&local.name);
            }
            if self.ephemeral_mention(&local.value, &none).is_some() {
                waiting.push(local.name.as_str());
            }
        }
        let mut found = BTreeSet::new();
        while let Some(name) = waiting.pop() {
            if found.insert(name) {
                waiting.extend(users.get(name).into_iter().flatten());
            }
        }
        found
    }

    /// Returns where an expression mentions an ephemeral value first.
    fn ephemeral_mention(&self, expression: &Expr, locals: &BTreeSet<&str>) -> Option<Span> {
        let is_ephemeral = |reference: &Reference<'_>| {
            let Some(name) = reference.name(0) else { return false };
            match reference.root {
                "var" => self.variables.get(name).is_some_and(|variable| variable.ephemeral),
                "local" => locals.contains(name),
                "module" => {
                    let callee = self.calls.get(name).and_then(|call| call.callee.as_ref());
                    let indexed = matches!(reference.steps.get(1), Some(Step::Index(..)));
                    let output = reference.name(if indexed { 2 } else { 1 });
                    callee.is_some_and(|callee| match output {
                        Some(output) => callee.ephemeral.contains(output),
                        None => !callee.ephemeral.is_empty(),
                    })
                }
                _ => false,
            }
        };
        mention::references(expression).find(is_ephemeral).map(|reference| reference.span)
    }
}
