//! A program: the blocks of a folder and of the modules that it calls, sorted by what they are, with every reference
//! checked.
//!
//! ```text
//! lustre { required_version, state "local" {…} }      one
//! variable "x" {…}   locals {…}   output "x" {…}      as many as you like
//! module "m" { source = "./modules/m" }               a call of the blocks of another folder
//! host "here" {…}                                     resources: the block type is the kind
//! ```
//! The blocks of a folder are a [`Module`]; it is read and checked once, however often it is called. Calls form a tree
//! without circles. Nothing is evaluated here but types and what must be constant. Which attributes a resource has is not
//! known here; which kinds there are is told by the caller.
//! Invariant: names are unique within their sort and module; what is refused was reported and is not in the program.

use std::collections::BTreeSet;
use std::sync::Arc;

use indexmap::IndexMap;
use lustre_model::address::Address;
use lustre_model::diagnostic::{Diagnostic, Diagnostics, Sources, Span};
use lustre_model::types::Type;

use crate::syntax::{self, BlockSyntax, BodySyntax, Expr};

mod call;
mod check;
mod cycle;
mod data;
mod declare;
mod ephemeral;
mod load;
mod provider;
mod relocate;
mod source;
mod test_file;
mod version;

pub use self::call::ModuleCall;
pub(crate) use self::check::check_call;
pub(crate) use self::data::Named;
pub use self::load::{FolderError, Folders, NOT_SPEC};
pub(crate) use self::provider::Provider;
pub use self::provider::ProviderName;
pub use self::relocate::{Endpoint, Import, Moved, Removed};
pub use self::source::{INSTALLED, Remote};
pub use self::test_file::{Expected, TestCommand, TestFile, TestRun};

/// The names that blocks may have at the root, besides the kinds of resources.
pub(crate) const ROOT_BLOCKS: [&str; 11] = [
    "lustre", "variable", "locals", "output", "module", "moved", "removed", "import", "check", "data",
    "provider",
];

/// How kinds of data begin: `data.cluster`.
pub(crate) const DATA: &str = "data.";

/// The blocks of a folder and of the modules that it calls.
#[derive(Debug, Clone)]
pub struct Program {
    pub(crate) sources: Sources,
    /// Modules behind those that they call; the root is the last.
    pub(crate) modules: Vec<Module>,
    /// Repositories that modules come from.
    pub(crate) remotes: Vec<Remote>,
}

/// A module of a [`Program`], by its place there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ModuleId(pub(crate) usize);

/// The blocks of a folder.
#[derive(Debug, Clone)]
pub struct Module {
    /// Its folder, from the root's; `.` for the root.
    pub(crate) folder: String,
    pub(crate) kinds: Arc<[String]>,
    pub(crate) settings: Settings,
    pub(crate) variables: IndexMap<String, Variable>,
    pub(crate) locals: IndexMap<String, Local>,
    pub(crate) outputs: IndexMap<String, Output>,
    pub(crate) resources: IndexMap<(String, String), Resource>,
    pub(crate) calls: IndexMap<String, ModuleCall>,
    pub(crate) moved: Vec<Moved>,
    pub(crate) removed: Vec<Removed>,
    pub(crate) imports: Vec<Import>,
    pub(crate) providers: Vec<Provider>,
    pub(crate) assertions: IndexMap<String, Assertions>,
    /// Block types that do not exist, which references may repeat.
    pub(crate) unknown_kinds: BTreeSet<String>,
    /// Some text did not parse, so that names may be missing which are not missing.
    pub(crate) incomplete: bool,
}

/// The block `lustre`.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Where the state is kept; evaluated by `Scope::state_backend`.
    pub(crate) state: Option<BlockSyntax>,
    /// How state and plans are encrypted; evaluated by `Scope::encryption`.
    pub(crate) encryption: Option<BlockSyntax>,
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
    /// Whether its value is never written, into a plan or a state.
    pub ephemeral: bool,
    /// Why nobody should give it a value any more.
    pub deprecated: Option<String>,
    /// Where the block begins.
    pub span: Span,
    pub(crate) default: Option<Expr>,
    pub(crate) validations: Vec<Check>,
}

impl Variable {
    /// Returns whether its value is never shown: it is sensitive, or nowhere written.
    pub(crate) fn is_hidden(&self) -> bool {
        self.sensitive || self.ephemeral
    }

    /// Returns where its default is; none when it must be given.
    pub fn default_span(&self) -> Option<Span> {
        self.default.as_ref().map(|default| default.span)
    }

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

/// A block `check`: what should hold, and only warns when it does not.
#[derive(Debug, Clone)]
pub struct Assertions {
    /// Its label.
    pub name: String,
    /// Where the block begins.
    pub span: Span,
    pub(crate) asserts: Vec<Check>,
}

impl Assertions {
    pub(crate) fn expressions(&self) -> impl Iterator<Item = &Expr> {
        self.asserts.iter().flat_map(Check::expressions)
    }
}

impl Check {
    pub(crate) fn expressions(&self) -> [&Expr; 2] {
        [&self.condition, &self.error_message]
    }
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
    /// Whether it passes ephemeral values on to the caller of its module.
    pub ephemeral: bool,
    /// Why nobody should use it any more.
    pub deprecated: Option<String>,
    /// Where the block begins.
    pub span: Span,
    pub(crate) value: Expr,
    pub(crate) depends_on: Vec<Expr>,
    pub(crate) preconditions: Vec<Check>,
}

impl Output {
    /// Returns its expressions, but for `depends_on`.
    pub(crate) fn expressions(&self) -> impl Iterator<Item = &Expr> {
        let checks = self.preconditions.iter().flat_map(|check| [&check.condition, &check.error_message]);
        std::iter::once(&self.value).chain(checks)
    }
}

/// A block of a resource.
#[derive(Debug, Clone)]
pub struct Resource {
    /// Its type, `host`; of data `data.cluster`.
    pub kind: String,
    /// Its label.
    pub name: String,
    /// Where type and label are.
    pub span: Span,
    pub(crate) body: BodySyntax,
    pub(crate) repetition: Repetition,
    pub(crate) depends_on: Vec<Expr>,
    pub(crate) lifecycle: LifecycleSyntax,
    /// The `check` that it stands in and that alone sees it; only data can.
    pub(crate) check: Option<String>,
    pub(crate) provider: Option<ProviderName>,
}

impl Resource {
    /// Returns the provider that it names, when it names one.
    pub fn provider(&self) -> Option<&ProviderName> {
        self.provider.as_ref()
    }

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

    /// Returns whether it is a `data` block: read, and never made.
    pub fn is_data(&self) -> bool {
        self.kind.starts_with(DATA)
    }

    /// Returns the `check` that data stands in, which alone sees it.
    pub fn check(&self) -> Option<&str> {
        self.check.as_deref()
    }

    /// Returns whether it says `depends_on`.
    pub fn has_depends_on(&self) -> bool {
        !self.depends_on.is_empty()
    }

    /// Returns whether it has `for_each` or `count`.
    pub fn is_repeated(&self) -> bool {
        !matches!(self.repetition, Repetition::Single)
    }

    /// Returns whether its instances are numbered.
    pub fn is_counted(&self) -> bool {
        matches!(self.repetition, Repetition::Count(_))
    }

    /// Returns whether something is checked before it is applied.
    pub fn has_preconditions(&self) -> bool {
        !self.lifecycle.preconditions.is_empty()
    }

    /// Returns whether something is checked behind that.
    pub fn has_postconditions(&self) -> bool {
        !self.lifecycle.postconditions.is_empty()
    }
}

/// How many instances a resource or a module call has.
#[derive(Debug, Clone)]
pub(crate) enum Repetition {
    Single,
    Count(Expr),
    ForEach(Expr),
}

impl Repetition {
    pub(crate) fn expression(&self) -> Option<&Expr> {
        match self {
            Self::Single => None,
            Self::Count(expression) | Self::ForEach(expression) => Some(expression),
        }
    }
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
        self.before().chain(self.after())
    }

    /// Returns what is evaluated before the resource has a value.
    pub(crate) fn before(&self) -> impl Iterator<Item = &Expr> {
        let single =
            self.prevent_destroy.iter().chain(&self.create_before_destroy).chain(&self.replace_triggered_by);
        single.chain(self.preconditions.iter().flat_map(Check::expressions))
    }

    /// Returns what is evaluated behind that.
    pub(crate) fn after(&self) -> impl Iterator<Item = &Expr> {
        self.postconditions.iter().flat_map(Check::expressions)
    }
}

impl Module {
    fn new(folder: &str, kinds: Arc<[String]>) -> Self {
        Self {
            folder: folder.to_owned(),
            kinds,
            settings: Settings::default(),
            variables: IndexMap::new(),
            locals: IndexMap::new(),
            outputs: IndexMap::new(),
            resources: IndexMap::new(),
            calls: IndexMap::new(),
            moved: Vec::new(),
            removed: Vec::new(),
            imports: Vec::new(),
            providers: Vec::new(),
            assertions: IndexMap::new(),
            unknown_kinds: BTreeSet::new(),
            incomplete: false,
        }
    }

    /// Returns the moves that it tells of.
    pub fn moved(&self) -> &[Moved] {
        &self.moved
    }

    /// Returns what it says was removed from it.
    pub fn removed(&self) -> &[Removed] {
        &self.removed
    }

    /// Returns the blocks `check`.
    pub fn assertions(&self) -> impl Iterator<Item = &Assertions> {
        self.assertions.values()
    }

    /// Returns the calls of modules.
    pub fn calls(&self) -> impl Iterator<Item = &ModuleCall> {
        self.calls.values()
    }

    /// Returns the call of a module of that name.
    pub fn call(&self, name: &str) -> Option<&ModuleCall> {
        self.calls.get(name)
    }

    /// Returns the resource of a kind and name.
    pub fn resource(&self, kind: &str, name: &str) -> Option<&Resource> {
        self.resources.get(&(kind.to_owned(), name.to_owned()))
    }
}

impl Program {
    /// Returns the texts that spans point into.
    pub fn sources(&self) -> &Sources {
        &self.sources
    }

    /// Returns the module that a call leads to.
    pub fn callee(&self, call: &ModuleCall) -> Option<&Module> {
        call.callee.as_ref().map(|callee| self.module(callee.module))
    }

    /// Returns the module of the folder itself.
    pub fn root(&self) -> &Module {
        self.module(ModuleId(self.modules.len().saturating_sub(1)))
    }

    pub(crate) fn module(&self, id: ModuleId) -> &Module {
        &self.modules[id.0]
    }

    /// Returns the repositories that modules come from, as far as the modules that name them could be read.
    pub fn remotes(&self) -> &[Remote] {
        &self.remotes
    }

    /// Tells whether some text of the root did not parse, so that blocks may be missing which are there.
    pub fn is_incomplete(&self) -> bool {
        self.root().incomplete
    }

    /// Returns the block `lustre`.
    pub fn settings(&self) -> &Settings {
        &self.root().settings
    }

    /// Returns the variables of the root in the order of the text.
    pub fn variables(&self) -> impl Iterator<Item = &Variable> {
        self.root().variables.values()
    }

    /// Returns the outputs of the root in the order of the text.
    pub fn outputs(&self) -> impl Iterator<Item = &Output> {
        self.root().outputs.values()
    }

    /// Returns the resources of the root in the order of the text.
    pub fn resources(&self) -> impl Iterator<Item = &Resource> {
        self.root().resources.values()
    }

    /// Returns the module that an address lies in, whatever the keys of its modules are.
    pub fn module_of(&self, address: &Address) -> Option<&Module> {
        address.modules.iter().try_fold(self.root(), |module, step| {
            let callee = module.calls.get(&step.name)?.callee.as_ref()?;
            Some(self.module(callee.module))
        })
    }

    /// Returns the resource that an address names, whatever its keys are.
    pub fn resource(&self, address: &Address) -> Option<&Resource> {
        self.module_of(address)?.resource(&address.kind, &address.name)
    }

    /// Parses an expression typed by a user, for a console, and checks what it refers to.
    pub fn parse_expression(&mut self, text: &str) -> Result<Expr, Diagnostics> {
        let id = self.sources.add("<expression>", text);
        let mut diagnostics = Diagnostics::new();
        let expression = syntax::parse_expression(&self.sources, id, &mut diagnostics);
        if let Some(expression) = &expression {
            self.root().check_expression(expression, check::Place::Plain, &mut diagnostics);
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
