//! Blocks about what is recorded: `moved`, `removed` and `import`.
//!
//! ```text
//! moved   { from = host.a          to = module.m.host.a }      another address for the same object
//! removed { from = value.x         lifecycle { destroy = false } }   forgotten, or deleted
//! import  { to   = value.x["a"]    id = "text" }               what is there already becomes recorded
//! ```
//! Addresses are relative to the module that the block is in. Whether anything is recorded there is the planner's business.
//! Invariant: both ends of a move are of one sort and kind, and they differ.

use lustre_model::address::{Key, ModuleStep};
use lustre_model::diagnostic::{Diagnostic, Diagnostics, Span};
use lustre_model::types::Type;

use crate::program::check::Place;
use crate::program::declare::{
    constant, duplicate_inner, known_arguments, labels, missing, repetition, unknown_inner,
};
use crate::program::{Module, Repetition};
use crate::suggest::did_you_mean;
use crate::syntax::{AttributeSyntax, BlockSyntax, Expr, ExprKind, Step};

/// An address that a block names, relative to its module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Modules from the outermost in.
    pub modules: Vec<ModuleStep>,
    /// Kind and name of a resource; none when the last of the modules is meant.
    pub resource: Option<(String, String)>,
    /// Instance of the resource.
    pub key: Option<Key>,
    /// Where it is written.
    pub span: Span,
}

impl Endpoint {
    /// Returns whether it names one instance of what is meant.
    pub fn is_instance(&self) -> bool {
        match self.resource {
            Some(_) => self.key.is_some(),
            None => self.modules.last().is_some_and(|step| step.key.is_some()),
        }
    }
}

/// A block `moved`.
#[derive(Debug, Clone)]
pub struct Moved {
    /// Where an object may be recorded.
    pub from: Endpoint,
    /// Where it is now.
    pub to: Endpoint,
    /// Where the block begins.
    pub span: Span,
}

/// A block `removed`.
#[derive(Debug, Clone)]
pub struct Removed {
    /// What is not in the spec any more.
    pub from: Endpoint,
    /// Whether it is deleted; otherwise it is forgotten.
    pub destroy: bool,
    /// Where the block begins.
    pub span: Span,
}

/// A block `import`.
#[derive(Debug, Clone)]
pub struct Import {
    /// Where the block begins.
    pub span: Span,
    pub(crate) to: Expr,
    pub(crate) id: Expr,
    pub(crate) repetition: Repetition,
}

impl Module {
    pub(super) fn declare_moved(&mut self, block: &BlockSyntax, diagnostics: &mut Diagnostics) {
        labels(block, 0, diagnostics);
        known_arguments(&block.body, &["from", "to"], "moved", diagnostics);
        block.body.blocks.iter().for_each(|inner| unknown_inner(inner, &[], "moved", diagnostics));
        let from = self.endpoint(block, "from", diagnostics);
        let to = self.endpoint(block, "to", diagnostics);
        let (Some(from), Some(to)) = (from, to) else { return };
        let span = block.header_span;
        let sort = |it: &Endpoint| it.resource.as_ref().map(|(kind, _)| kind.clone());
        if sort(&from) != sort(&to) {
            let summary = "a move changes what the object is";
            let detail = "Both ends are resources of one kind, or both are modules.";
            let diagnostic = Diagnostic::error("E0230", summary).detail(detail).at(to.span);
            diagnostics.push(diagnostic.related(from.span, "it moves from here"));
            return;
        }
        if (&from.modules, &from.resource, &from.key) == (&to.modules, &to.resource, &to.key) {
            diagnostics.push(Diagnostic::error("E0231", "a move to where it comes from").at(span));
            return;
        }
        self.moved.push(Moved { from, to, span });
    }

    pub(super) fn declare_removed(&mut self, block: &BlockSyntax, diagnostics: &mut Diagnostics) {
        labels(block, 0, diagnostics);
        known_arguments(&block.body, &["from"], "removed", diagnostics);
        let mut destroy = None;
        let mut first: Option<&BlockSyntax> = None;
        for inner in &block.body.blocks {
            if inner.kind != "lifecycle" {
                unknown_inner(inner, &["lifecycle"], "removed", diagnostics);
                continue;
            }
            if let Some(first) = first {
                diagnostics.push(duplicate_inner("lifecycle", inner.header_span, first.header_span));
                continue;
            }
            first = Some(inner);
            known_arguments(&inner.body, &["destroy"], "lifecycle", diagnostics);
            let flag = inner.body.attributes.get("destroy");
            let flag = flag.and_then(|it| constant(&it.value, &Type::Bool, "destroy", diagnostics));
            destroy = flag.and_then(|value| value.as_bool());
        }
        let Some(from) = self.endpoint(block, "from", diagnostics) else { return };
        let keyed = from.key.is_some() || from.modules.iter().any(|step| step.key.is_some());
        if keyed {
            let detail = "All instances are removed together; one of them goes by its key in `for_each`.";
            let diagnostic = Diagnostic::error("E0232", "`removed` names an instance").detail(detail);
            diagnostics.push(diagnostic.at(from.span));
            return;
        }
        self.removed.push(Removed { from, destroy: destroy.unwrap_or(true), span: block.header_span });
    }

    pub(super) fn declare_import(&mut self, mut block: BlockSyntax, diagnostics: &mut Diagnostics) {
        labels(&block, 0, diagnostics);
        if let Some(count) = block.body.attributes.get("count") {
            let diagnostic = Diagnostic::error("E0233", "`import` has no `count`").at(count.name_span);
            diagnostics.push(diagnostic.hint("Use `for_each`."));
            return;
        }
        let repetition = repetition(&mut block, diagnostics);
        known_arguments(&block.body, &["to", "id"], "import", diagnostics);
        block.body.blocks.iter().for_each(|inner| unknown_inner(inner, &[], "import", diagnostics));
        if self.folder != "." {
            let detail = "Only the folder that lustre runs in says what is imported, into modules too.";
            let diagnostic = Diagnostic::error("E0234", "`import` in a module").detail(detail);
            diagnostics.push(diagnostic.at(block.header_span));
            return;
        }
        let mut argument = |name: &str| {
            let found = block.body.attributes.get(name).map(|it| it.value.clone());
            if found.is_none() {
                diagnostics.push(missing(name, block.header_span));
            }
            found
        };
        let (to, id) = (argument("to"), argument("id"));
        let (Some(to), Some(id)) = (to, id) else { return };
        // Its instances are computed later; here only its shape counts.
        if let Err(diagnostic) = self.shape(&to, |_| Some(None)) {
            diagnostics.push(*diagnostic);
            return;
        }
        self.imports.push(Import { span: block.header_span, to, id, repetition });
    }

    pub(super) fn check_import(&self, import: &Import, diagnostics: &mut Diagnostics) {
        if let Some(repetition) = import.repetition.expression() {
            self.check_expression(repetition, Place::Plain, diagnostics);
        }
        let place = Place::Repeated(&import.repetition);
        self.check_expression(&import.id, place, diagnostics);
        for step in steps(&import.to) {
            if let Step::Index(index, _) = step {
                self.check_expression(index, place, diagnostics);
            }
        }
    }

    fn endpoint(&self, block: &BlockSyntax, name: &str, diagnostics: &mut Diagnostics) -> Option<Endpoint> {
        let Some(AttributeSyntax { value, .. }) = block.body.attributes.get(name) else {
            diagnostics.push(missing(name, block.header_span));
            return None;
        };
        let written = |index: &Expr| {
            let ExprKind::Literal(value) = &index.kind else { return None };
            let key = value.as_str().map(|name| Key::Name(name.to_owned()));
            key.or_else(|| value.as_u64().map(Key::Index)).map(Some)
        };
        self.shape(value, written).map_err(|diagnostic| diagnostics.push(*diagnostic)).ok()
    }

    /// Reads an expression as an address; `key` says which instance an index means.
    pub(crate) fn shape(
        &self,
        expression: &Expr,
        key: impl Fn(&Expr) -> Option<Option<Key>>,
    ) -> Result<Endpoint, Box<Diagnostic>> {
        let refuse = |span: Span, detail: &str| {
            Box::new(Diagnostic::error("E0235", "this is no address").detail(detail).at(span))
        };
        let general = "It is a resource, `host.oss[\"a\"]`, or a module, `module.lab`, without quotes.";
        let ExprKind::Access(base, _) = &expression.kind else {
            return Err(refuse(expression.span, general));
        };
        let ExprKind::Variable(root) = &base.kind else { return Err(refuse(expression.span, general)) };
        let mut steps = steps(expression).iter().peekable();
        let (mut modules, mut word) = (Vec::new(), Some((root.as_str(), base.span)));
        let mut resource = None;
        let mut own_key = None;
        while let Some((kind, span)) = word {
            let Some(Step::Attribute(name, _)) = steps.next() else {
                return Err(refuse(expression.span, general));
            };
            let index = match steps.peek() {
                Some(Step::Index(index, _)) => {
                    steps.next();
                    let key = key(index);
                    Some(key.ok_or_else(|| refuse(index.span, "A key is a text or a number."))?)
                }
                Some(Step::Attribute(..) | Step::Splat(..)) | None => None,
            };
            let index = index.flatten();
            if kind != "module" {
                self.known_kind(kind, span)?;
                resource = Some((kind.to_owned(), name.clone()));
                own_key = index;
                break;
            }
            modules.push(ModuleStep { name: name.clone(), key: index });
            word = match steps.next() {
                None => None,
                Some(Step::Attribute(next, span)) => Some((next.as_str(), *span)),
                Some(step @ (Step::Index(..) | Step::Splat(..))) => return Err(refuse(step.span(), general)),
            };
        }
        match steps.next() {
            Some(step) => Err(refuse(step.span(), "Nothing follows behind the resource and its key.")),
            None => Ok(Endpoint { modules, resource, key: own_key, span: expression.span }),
        }
    }

    fn known_kind(&self, kind: &str, span: Span) -> Result<(), Box<Diagnostic>> {
        if self.kinds.iter().any(|known| known == kind) {
            return Ok(());
        }
        let known = self.kinds.iter().map(String::as_str).chain(["module"]);
        let diagnostic = Diagnostic::error("E0236", format!("there is no kind `{kind}`")).at(span);
        Err(Box::new(match did_you_mean(kind, known) {
            Some(hint) => diagnostic.hint(hint),
            None => diagnostic,
        }))
    }
}

fn steps(expression: &Expr) -> &[Step] {
    match &expression.kind {
        ExprKind::Access(_, steps) => steps,
        ExprKind::Literal(_)
        | ExprKind::Template(_)
        | ExprKind::Tuple(_)
        | ExprKind::Object(_)
        | ExprKind::Variable(_)
        | ExprKind::Call(_)
        | ExprKind::Conditional(..)
        | ExprKind::Unary(..)
        | ExprKind::Binary(..)
        | ExprKind::For(_) => &[],
    }
}
