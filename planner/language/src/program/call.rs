//! Calls of modules: `module "lab" { source = "./modules/lab" … }`.
//!
//! Which folder a `source` names is said by `source`; reading the folder is `load`'s.
//! Invariant: arguments fit the variables that the called module declares, or that was reported.

use std::collections::{BTreeMap, BTreeSet};

use indexmap::IndexMap;
use lustre_model::diagnostic::{Diagnostic, Diagnostics, Span};
use lustre_model::types::Type;

use crate::program::declare::{constant, label_name, list, missing, repetition, unknown_inner};
use crate::program::{Module, ModuleId, Repetition, Variable, duplicate};
use crate::stray;
use crate::suggest::did_you_mean;
use crate::syntax::{AttributeSyntax, BlockSyntax, Expr};

/// A block `module`.
#[derive(Debug, Clone)]
pub struct ModuleCall {
    /// Its label.
    pub name: String,
    /// Where type and label are.
    pub span: Span,
    /// Where its blocks come from, and where that is said.
    pub(crate) source: Option<(String, Span)>,
    pub(crate) repetition: Repetition,
    pub(crate) depends_on: Vec<Expr>,
    /// Values of variables of the called module.
    pub(crate) arguments: IndexMap<String, AttributeSyntax>,
    /// What is called; none when it could not be read, which was reported.
    pub(crate) callee: Option<Callee>,
}

/// What a caller has to know of a module.
#[derive(Debug, Clone)]
pub(crate) struct Callee {
    pub(crate) module: ModuleId,
    pub(crate) outputs: BTreeSet<String>,
    pub(crate) variables: BTreeMap<String, Parameter>,
    /// Outputs that are ephemeral.
    pub(crate) ephemeral: BTreeSet<String>,
    /// Why outputs should not be used any more.
    pub(crate) deprecated: BTreeMap<String, String>,
    /// Some of its text did not parse.
    pub(crate) incomplete: bool,
}

/// What a caller has to know of a variable.
#[derive(Debug, Clone)]
pub(crate) struct Parameter {
    pub(crate) constraint: Type,
    pub(crate) required: bool,
    pub(crate) ephemeral: bool,
    pub(crate) deprecated: Option<String>,
}

impl Callee {
    pub(super) fn new(id: ModuleId, module: &Module) -> Self {
        let parameter = |variable: &Variable| Parameter {
            constraint: variable.constraint.clone(),
            required: variable.is_required(),
            ephemeral: variable.ephemeral,
            deprecated: variable.deprecated.clone(),
        };
        let outputs = || module.outputs.values();
        let deprecated = outputs().filter_map(|it| Some((it.name.clone(), it.deprecated.clone()?)));
        Self {
            module: id,
            outputs: module.outputs.keys().cloned().collect(),
            variables: module.variables.iter().map(|(name, it)| (name.clone(), parameter(it))).collect(),
            ephemeral: outputs().filter(|it| it.ephemeral).map(|it| it.name.clone()).collect(),
            deprecated: deprecated.collect(),
            incomplete: module.incomplete,
        }
    }
}

impl Module {
    pub(super) fn declare_call(&mut self, mut block: BlockSyntax, diagnostics: &mut Diagnostics) {
        let Some(name) = label_name(&block, diagnostics) else { return };
        if let Some(first) = self.calls.get(&name) {
            diagnostics.push(duplicate("module", &name, block.header_span, first.span));
            return;
        }
        for inner in &block.body.blocks {
            unknown_inner(inner, &[], "module", diagnostics);
        }
        let repetition = repetition(&mut block, diagnostics);
        let depends_on = block.body.attributes.shift_remove("depends_on");
        let source = block.body.attributes.shift_remove("source");
        if source.is_none() {
            diagnostics.push(missing("source", block.header_span));
        }
        if let Some(version) = block.body.attributes.shift_remove("version") {
            let diagnostic = Diagnostic::error("E0221", "`version` of a module is not supported");
            let detail = "There is no registry of modules; a release is chosen in `source`.";
            diagnostics.push(diagnostic.detail(detail).at(version.name_span));
        }
        let source = source.and_then(|source| {
            let text = constant(&source.value, &Type::String, "source", diagnostics)?;
            Some((text.as_str()?.to_owned(), source.value.span))
        });
        let call = ModuleCall {
            span: block.header_span,
            source,
            repetition,
            depends_on: list(depends_on.as_ref(), diagnostics),
            arguments: block.body.attributes,
            callee: None,
            name: name.clone(),
        };
        self.calls.insert(name, call);
    }
}

impl ModuleCall {
    /// Returns whether it has `for_each` or `count`.
    pub fn is_repeated(&self) -> bool {
        !matches!(self.repetition, Repetition::Single)
    }

    /// Returns whether its instances are numbered.
    pub fn is_counted(&self) -> bool {
        matches!(self.repetition, Repetition::Count(_))
    }

    /// Reports arguments that the module does not take, and those that it needs and does not get.
    pub(super) fn misfits(&self) -> Vec<Diagnostic> {
        let Some(callee) = self.callee.as_ref().filter(|callee| !callee.incomplete) else {
            return Vec::new();
        };
        let unknown = self.arguments.iter().filter(|(name, _)| !callee.variables.contains_key(*name));
        let unknown = unknown.map(|(name, argument)| {
            let summary = format!("`module.{}` has no variable `{name}`", self.name);
            let diagnostic = Diagnostic::error("E0222", summary).at(argument.name_span);
            match did_you_mean(name, callee.variables.keys().map(String::as_str)) {
                Some(hint) => diagnostic.hint(hint),
                None => diagnostic.hint(format!("Declare it there: `variable \"{name}\" {{}}`.")),
            }
        });
        let given = |name: &String| self.arguments.contains_key(name);
        let needed = callee.variables.iter().filter(|(name, it)| it.required && !given(name));
        let needed = needed.map(|(name, _)| {
            let summary = format!("`module.{}` needs a value for its variable `{name}`", self.name);
            Diagnostic::error("E0223", summary).hint(format!("Write `{name} = …` here.")).at(self.span)
        });
        let deprecated = self.arguments.iter().filter_map(|(name, argument)| {
            let why = callee.variables.get(name)?.deprecated.as_ref()?;
            let summary = format!("variable `{name}` of `module.{}` is deprecated", self.name);
            Some(Diagnostic::warning("W0228", summary).detail(why).at(argument.name_span))
        });
        let mut dropped = Diagnostics::new();
        for (name, argument) in &self.arguments {
            if let Some(parameter) = callee.variables.get(name) {
                stray::report(&argument.value, &parameter.constraint, name, &mut dropped);
            }
        }
        unknown.chain(needed).chain(deprecated).chain(dropped).collect()
    }
}
