//! A program: the blocks of a folder, sorted by what they are, with every reference checked.
//!
//! ```text
//! lustre { required_version, state "local" {…} }      one
//! variable "x" {…}   locals {…}   output "x" {…}      as many as you like
//! host "here" {…}                                     resources: the block type is the kind
//! ```
//! Nothing is evaluated here but types and what must be constant. Which attributes a resource has is not known here;
//! which kinds there are is told by the caller.
//! Invariant: names are unique within their sort; what is refused was reported and is not in the program.

use indexmap::IndexMap;
use lustre_model::address::Address;
use lustre_model::diagnostic::{Diagnostic, Diagnostics, Sources, Span};
use lustre_model::types::Type;

use crate::syntax::{self, BlockSyntax, BodySyntax, Expr};

mod check;
mod declare;
mod depend;
mod version;

pub(crate) use self::check::check_call;
pub use self::depend::Reference;

/// The names that blocks may have at the root, besides the kinds of resources.
pub(crate) const ROOT_BLOCKS: [&str; 4] = ["lustre", "variable", "locals", "output"];

/// The blocks of a folder.
#[derive(Debug, Clone)]
pub struct Program {
    pub(crate) sources: Sources,
    pub(crate) kinds: Vec<String>,
    pub(crate) settings: Settings,
    pub(crate) variables: IndexMap<String, Variable>,
    pub(crate) locals: IndexMap<String, Local>,
    pub(crate) outputs: IndexMap<String, Output>,
    pub(crate) resources: IndexMap<(String, String), Resource>,
    /// Some text did not parse, so that names may be missing which are not missing.
    pub(crate) incomplete: bool,
}

/// The block `lustre`.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Where the state is kept; evaluated by `Scope::state_backend`.
    pub(crate) state: Option<BlockSyntax>,
}

/// A block `variable`.
#[derive(Debug, Clone)]
pub struct Variable {
    /// Its label.
    pub name: String,
    /// What is accepted.
    pub constraint: Type,
    /// What it is for.
    pub description: Option<String>,
    /// Whether its value is never shown.
    pub sensitive: bool,
    /// Whether null is a value; otherwise null means the default.
    pub nullable: bool,
    /// Where the block begins.
    pub span: Span,
    pub(crate) default: Option<Expr>,
    pub(crate) validations: Vec<Check>,
}

impl Variable {
    /// Returns whether it must be given.
    pub fn is_required(&self) -> bool {
        self.default.is_none()
    }
}

/// A condition and what to say when it does not hold.
#[derive(Debug, Clone)]
pub(crate) struct Check {
    pub(crate) condition: Expr,
    pub(crate) error_message: Expr,
}

/// One attribute of a block `locals`.
#[derive(Debug, Clone)]
pub struct Local {
    /// Its name.
    pub name: String,
    /// Where its name is.
    pub span: Span,
    pub(crate) value: Expr,
    /// It is part of a cycle, which was reported.
    pub(crate) cyclic: bool,
}

/// A block `output`.
#[derive(Debug, Clone)]
pub struct Output {
    /// Its label.
    pub name: String,
    /// What it is.
    pub description: Option<String>,
    /// Whether its value is never shown.
    pub sensitive: bool,
    /// Where the block begins.
    pub span: Span,
    pub(crate) value: Expr,
    pub(crate) depends_on: Vec<Expr>,
    pub(crate) preconditions: Vec<Check>,
}

/// A block of a resource.
#[derive(Debug, Clone)]
pub struct Resource {
    /// Its type, `host`.
    pub kind: String,
    /// Its label.
    pub name: String,
    /// Where type and label are.
    pub span: Span,
    pub(crate) body: BodySyntax,
    pub(crate) repetition: Repetition,
    pub(crate) depends_on: Vec<Expr>,
    pub(crate) lifecycle: LifecycleSyntax,
}

impl Resource {
    /// Returns its address, without an instance key.
    pub fn address(&self) -> Address {
        Address::new(&self.kind, &self.name)
    }

    /// Returns where an attribute is, by the blocks that it is in and its own name, for what is found wrong later.
    pub fn attribute_span(&self, path: &[&str]) -> Option<Span> {
        let (name, blocks) = path.split_last()?;
        let mut body = &self.body;
        for kind in blocks {
            body = &body.blocks.iter().find(|block| block.kind == *kind)?.body;
        }
        let attribute = body.attributes.get(*name)?;
        Some(attribute.name_span.to(attribute.value.span))
    }

    /// Returns whether it has `for_each` or `count`.
    pub fn is_repeated(&self) -> bool {
        !matches!(self.repetition, Repetition::Single)
    }
}

/// How many instances a resource has.
#[derive(Debug, Clone)]
pub(crate) enum Repetition {
    Single,
    Count(Expr),
    ForEach(Expr),
}

/// The block `lifecycle`, not evaluated.
#[derive(Debug, Clone, Default)]
pub(crate) struct LifecycleSyntax {
    pub(crate) prevent_destroy: Option<Expr>,
    pub(crate) create_before_destroy: Option<Expr>,
    pub(crate) ignore_changes: Vec<(String, Span)>,
    pub(crate) ignore_all: bool,
    pub(crate) replace_triggered_by: Vec<Expr>,
    pub(crate) preconditions: Vec<Check>,
    pub(crate) postconditions: Vec<Check>,
}

impl LifecycleSyntax {
    pub(crate) fn expressions(&self) -> impl Iterator<Item = &Expr> {
        let checks = self.preconditions.iter().chain(&self.postconditions);
        let single =
            self.prevent_destroy.iter().chain(&self.create_before_destroy).chain(&self.replace_triggered_by);
        single.chain(checks.flat_map(|check| [&check.condition, &check.error_message]))
    }
}

impl Program {
    /// Reads the files of a folder, given as name and text, with the kinds of resources that exist.
    ///
    /// Files named `*.vars.hcl` and `*.test.hcl` are left out. Whatever is good in a folder with errors is in the
    /// program, so that evaluation finds further errors.
    pub fn load(files: impl IntoIterator<Item = (String, String)>, kinds: &[&str]) -> (Self, Diagnostics) {
        let mut program = Self {
            sources: Sources::default(),
            kinds: kinds.iter().map(|kind| (*kind).to_owned()).collect(),
            settings: Settings::default(),
            variables: IndexMap::new(),
            locals: IndexMap::new(),
            outputs: IndexMap::new(),
            resources: IndexMap::new(),
            incomplete: false,
        };
        let mut diagnostics = Diagnostics::new();
        for (name, text) in files {
            if name.ends_with(".vars.hcl") || name.ends_with(".test.hcl") {
                continue;
            }
            let id = program.sources.add(name, text);
            let before = diagnostics.len();
            let body = syntax::parse(&program.sources, id, &mut diagnostics);
            program.incomplete |= diagnostics.len() > before;
            program.declare(body, &mut diagnostics);
        }
        program.check(&mut diagnostics);
        (program, diagnostics)
    }

    /// Returns the texts that spans point into.
    pub fn sources(&self) -> &Sources {
        &self.sources
    }

    /// Returns the block `lustre`.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Returns the variables in the order of the text.
    pub fn variables(&self) -> impl Iterator<Item = &Variable> {
        self.variables.values()
    }

    /// Returns the outputs in the order of the text.
    pub fn outputs(&self) -> impl Iterator<Item = &Output> {
        self.outputs.values()
    }

    /// Returns the resources in the order of the text.
    pub fn resources(&self) -> impl Iterator<Item = &Resource> {
        self.resources.values()
    }

    /// Returns the resource of a kind and name.
    pub fn resource(&self, kind: &str, name: &str) -> Option<&Resource> {
        self.resources.get(&(kind.to_owned(), name.to_owned()))
    }

    /// Parses an expression typed by a user, for a console, and checks what it refers to.
    pub fn parse_expression(&mut self, text: &str) -> Result<Expr, Diagnostics> {
        let id = self.sources.add("<expression>", text);
        let mut diagnostics = Diagnostics::new();
        let expression = syntax::parse_expression(&self.sources, id, &mut diagnostics);
        if let Some(expression) = &expression {
            self.check_expression(expression, check::Place::Plain, &mut diagnostics);
        }
        match expression {
            Some(expression) if !diagnostics.has_errors() => Ok(expression),
            Some(_) | None => Err(diagnostics),
        }
    }
}

/// Reports that something was declared before.
pub(crate) fn duplicate(what: &str, name: &str, at: Span, first: Span) -> Diagnostic {
    Diagnostic::error("E0201", format!("duplicate {what} `{name}`"))
        .at(at)
        .related(first, "first declared here")
}
