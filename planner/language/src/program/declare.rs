//! Sorting of blocks: what each root block declares, and which arguments it may have.
//!
//! Invariant: an unknown block or argument is reported with the nearest name that would have been right.

use lustre_model::address::is_identifier;
use lustre_model::diagnostic::{Diagnostic, Diagnostics, Span};
use lustre_model::types::Type;

use crate::constraint;
use crate::evaluate::Context;
use crate::program::provider::provider_of;
use crate::program::version;
use crate::program::{
    Assertions, Check, DATA, LifecycleSyntax, Local, Module, Output, ROOT_BLOCKS, Repetition, Resource,
    Variable, duplicate,
};
use crate::stray;
use crate::suggest::did_you_mean;
use crate::syntax::{AttributeSyntax, BlockSyntax, BodySyntax, Expr, ExprKind};
use crate::world::EmptyWorld;

impl Module {
    /// Takes in the blocks of one file.
    pub(super) fn declare(&mut self, body: BodySyntax, diagnostics: &mut Diagnostics) {
        for (name, attribute) in &body.attributes {
            let diagnostic = Diagnostic::error("E0202", format!("argument `{name}` outside of a block"));
            let hint = "At the root there are only blocks; a name for a value goes into `locals { … }`.";
            diagnostics.push(diagnostic.hint(hint).at(attribute.name_span));
        }
        for block in body.blocks {
            match block.kind.as_str() {
                "lustre" => self.declare_settings(block, diagnostics),
                "variable" => self.declare_variable(block, diagnostics),
                "locals" => self.declare_locals(block, diagnostics),
                "output" => self.declare_output(block, diagnostics),
                "module" => self.declare_call(block, diagnostics),
                "moved" => self.declare_moved(&block, diagnostics),
                "removed" => self.declare_removed(&block, diagnostics),
                "import" => self.declare_import(block, diagnostics),
                "check" => self.declare_check(block, diagnostics),
                "provider" => self.declare_provider(block, diagnostics),
                "data" => self.declare_data(block, diagnostics),
                kind if self.kinds.iter().any(|known| known == kind) => {
                    self.declare_resource(block, diagnostics)
                }
                _ => self.unknown_block(&block, diagnostics),
            }
        }
    }

    fn unknown_block(&mut self, block: &BlockSyntax, diagnostics: &mut Diagnostics) {
        let kinds = self.kinds.iter().map(String::as_str).filter(|kind| !kind.starts_with(DATA));
        let known = kinds.chain(ROOT_BLOCKS);
        let diagnostic =
            Diagnostic::error("E0203", format!("unknown block type `{}`", block.kind)).at(block.header_span);
        self.unknown_kinds.insert(block.kind.clone());
        let mut names: Vec<String> = known.clone().map(|name| format!("`{name}`")).collect();
        names.sort();
        let detail = format!("Block types here are {}.", names.join(", "));
        let diagnostic = diagnostic.detail(detail);
        diagnostics.push(match did_you_mean(&block.kind, known) {
            Some(hint) => diagnostic.hint(hint),
            None if block.kind == "resource" => {
                diagnostic.hint("The block type is the resource's: write `host \"name\" { … }`.")
            }
            None => diagnostic,
        });
    }

    fn declare_settings(&mut self, block: BlockSyntax, diagnostics: &mut Diagnostics) {
        labels(&block, 0, diagnostics);
        known_arguments(&block.body, &["required_version"], "lustre", diagnostics);
        if let Some(attribute) = block.body.attributes.get("required_version") {
            let text = constant(&attribute.value, &Type::String, "required_version", diagnostics);
            let text = text.and_then(|text| text.as_str().map(str::to_owned));
            let misfit = text.and_then(|text| version::check(&text, attribute.value.span));
            misfit.into_iter().for_each(|diagnostic| diagnostics.push(diagnostic));
        }
        for inner in block.body.blocks {
            let (slot, count) = match inner.kind.as_str() {
                "state" => (&mut self.settings.state, 1),
                "encryption" => (&mut self.settings.encryption, 0),
                _ => {
                    unknown_inner(&inner, &["state", "encryption"], "lustre", diagnostics);
                    continue;
                }
            };
            if let Some(first) = slot {
                diagnostics.push(duplicate("block", &inner.kind, inner.header_span, first.header_span));
            } else if labels(&inner, count, diagnostics) || count == 0 {
                // A label too many is told, and takes no encryption away.
                *slot = Some(inner);
            }
        }
    }

    fn declare_variable(&mut self, block: BlockSyntax, diagnostics: &mut Diagnostics) {
        let Some(name) = label_name(&block, diagnostics) else { return };
        let known = ["type", "default", "description", "sensitive", "nullable", "ephemeral", "deprecated"];
        known_arguments(&block.body, &known, "variable", diagnostics);
        if let Some(first) = self.variables.get(&name) {
            diagnostics.push(duplicate("variable", &name, block.header_span, first.span));
            return;
        }
        let attribute = |name: &str| block.body.attributes.get(name);
        let constraint =
            attribute("type").map_or(Some(Type::Any), |it| constraint::read(&it.value, diagnostics));
        let flag = |name: &str, default: bool, diagnostics: &mut Diagnostics| match attribute(name) {
            Some(it) => constant(&it.value, &Type::Bool, name, diagnostics).and_then(|value| value.as_bool()),
            None => Some(default),
        };
        let sensitive = flag("sensitive", false, diagnostics).unwrap_or(true);
        let nullable = flag("nullable", true, diagnostics).unwrap_or(true);
        let ephemeral = flag("ephemeral", false, diagnostics).unwrap_or(true);
        let mut validations = Vec::new();
        for inner in &block.body.blocks {
            if inner.kind == "validation" {
                validations.extend(check(inner, diagnostics));
            } else {
                unknown_inner(inner, &["validation"], "variable", diagnostics);
            }
        }
        let constraint = constraint.unwrap_or(Type::Any);
        if let Some(default) = attribute("default") {
            stray::report(&default.value, &constraint, &name, diagnostics);
        }
        let variable = Variable {
            constraint,
            description: told(&block.body, "description", diagnostics),
            sensitive,
            nullable,
            ephemeral,
            deprecated: told(&block.body, "deprecated", diagnostics),
            span: block.header_span,
            default: attribute("default").map(|it| it.value.clone()),
            validations,
            name: name.clone(),
        };
        self.variables.insert(name, variable);
    }

    fn declare_locals(&mut self, block: BlockSyntax, diagnostics: &mut Diagnostics) {
        labels(&block, 0, diagnostics);
        for inner in &block.body.blocks {
            unknown_inner(inner, &[], "locals", diagnostics);
        }
        for (name, AttributeSyntax { name_span, value }) in block.body.attributes {
            if let Some(first) = self.locals.get(&name) {
                diagnostics.push(duplicate("local", &name, name_span, first.span));
                continue;
            }
            self.locals.insert(name.clone(), Local { name, span: name_span, value, cyclic: false });
        }
    }

    fn declare_output(&mut self, block: BlockSyntax, diagnostics: &mut Diagnostics) {
        let Some(name) = label_name(&block, diagnostics) else { return };
        known_arguments(
            &block.body,
            &["value", "description", "sensitive", "depends_on", "ephemeral", "deprecated"],
            "output",
            diagnostics,
        );
        if let Some(first) = self.outputs.get(&name) {
            diagnostics.push(duplicate("output", &name, block.header_span, first.span));
            return;
        }
        let Some(value) = block.body.attributes.get("value") else {
            diagnostics.push(missing("value", block.header_span));
            return;
        };
        let mut flag = |name: &str| {
            let attribute = block.body.attributes.get(name);
            let value = attribute.and_then(|it| constant(&it.value, &Type::Bool, name, diagnostics));
            value.and_then(|value| value.as_bool()).unwrap_or(false)
        };
        let (sensitive, ephemeral) = (flag("sensitive"), flag("ephemeral"));
        if let Some(attribute) =
            block.body.attributes.get("ephemeral").filter(|_| self.folder == "." && ephemeral)
        {
            let diagnostic = Diagnostic::error("E0242", format!("output `{name}` of the root is ephemeral"));
            let detail = "Outputs of the root are recorded. Ephemeral ones are for modules.";
            diagnostics.push(diagnostic.detail(detail).at(attribute.name_span));
        }
        let mut preconditions = Vec::new();
        for inner in &block.body.blocks {
            if inner.kind == "precondition" {
                preconditions.extend(check(inner, diagnostics));
            } else {
                unknown_inner(inner, &["precondition"], "output", diagnostics);
            }
        }
        let output = Output {
            description: told(&block.body, "description", diagnostics),
            sensitive,
            ephemeral,
            deprecated: told(&block.body, "deprecated", diagnostics),
            span: block.header_span,
            value: value.value.clone(),
            depends_on: list(block.body.attributes.get("depends_on"), diagnostics),
            preconditions,
            name: name.clone(),
        };
        self.outputs.insert(name, output);
    }

    fn declare_check(&mut self, block: BlockSyntax, diagnostics: &mut Diagnostics) {
        let Some(name) = label_name(&block, diagnostics) else { return };
        if let Some(first) = self.assertions.get(&name) {
            diagnostics.push(duplicate("check", &name, block.header_span, first.span));
            return;
        }
        known_arguments(&block.body, &[], "check", diagnostics);
        let mut asserts = Vec::new();
        let mut data: Option<Span> = None;
        let mut empty = true;
        for inner in block.body.blocks {
            empty &= inner.kind == "data";
            match inner.kind.as_str() {
                "assert" => asserts.extend(check(&inner, diagnostics)),
                "data" => match data.replace(inner.header_span) {
                    None => self.declare_data_of_check(inner, &name, diagnostics),
                    Some(first) => diagnostics.push(duplicate_inner("data", inner.header_span, first)),
                },
                _ => unknown_inner(&inner, &["assert", "data"], "check", diagnostics),
            }
        }
        if empty {
            let diagnostic = Diagnostic::error("E0215", "`check` without `assert`").at(block.header_span);
            diagnostics.push(diagnostic.hint("Add `assert { condition = …, error_message = … }`."));
        }
        let assertions = Assertions { name: name.clone(), span: block.header_span, asserts };
        self.assertions.insert(name, assertions);
    }

    pub(super) fn declare_resource(&mut self, mut block: BlockSyntax, diagnostics: &mut Diagnostics) {
        let Some(name) = label_name(&block, diagnostics) else { return };
        let key = (block.kind.clone(), name.clone());
        if let Some(first) = self.resources.get(&key) {
            diagnostics.push(duplicate(&block.kind, &name, block.header_span, first.span));
            return;
        }
        let repetition = repetition(&mut block, diagnostics);
        let depends_on = block.body.attributes.shift_remove("depends_on");
        let provider = provider_of(block.body.attributes.shift_remove("provider"), diagnostics);
        let (lifecycles, blocks) = block.body.blocks.into_iter().partition(|inner| inner.kind == "lifecycle");
        block.body.blocks = blocks;
        let resource = Resource {
            kind: block.kind,
            name,
            span: block.header_span,
            body: block.body,
            repetition,
            depends_on: list(depends_on.as_ref(), diagnostics),
            lifecycle: lifecycle(lifecycles, diagnostics),
            check: None,
            provider,
        };
        self.resources.insert(key, resource);
    }
}

/// Takes `for_each` and `count` out of a block.
pub(super) fn repetition(block: &mut BlockSyntax, diagnostics: &mut Diagnostics) -> Repetition {
    let for_each = block.body.attributes.shift_remove("for_each");
    let count = block.body.attributes.shift_remove("count");
    if let (Some(for_each), Some(count)) = (&for_each, &count) {
        let diagnostic =
            Diagnostic::error("E0204", "`count` and `for_each` in one block").at(count.name_span);
        diagnostics
            .push(diagnostic.related(for_each.name_span, "`for_each` is here").hint("Keep one of the two."));
    }
    match (for_each, count) {
        (Some(for_each), _) => Repetition::ForEach(for_each.value),
        (None, Some(count)) => Repetition::Count(count.value),
        (None, None) => Repetition::Single,
    }
}

fn lifecycle(blocks: Vec<BlockSyntax>, diagnostics: &mut Diagnostics) -> LifecycleSyntax {
    let mut result = LifecycleSyntax::default();
    let mut blocks = blocks.into_iter();
    let Some(block) = blocks.next() else { return result };
    for second in blocks {
        diagnostics.push(duplicate("block", "lifecycle", second.header_span, block.header_span));
    }
    labels(&block, 0, diagnostics);
    let known = ["prevent_destroy", "create_before_destroy", "ignore_changes", "replace_triggered_by"];
    known_arguments(&block.body, &known, "lifecycle", diagnostics);
    let attribute = |name: &str| block.body.attributes.get(name);
    result.prevent_destroy = attribute("prevent_destroy").map(|it| it.value.clone());
    result.create_before_destroy = attribute("create_before_destroy").map(|it| it.value.clone());
    result.replace_triggered_by = list(attribute("replace_triggered_by"), diagnostics);
    if let Some(ignored) = attribute("ignore_changes") {
        result.ignore_all = matches!(&ignored.value.kind, ExprKind::Variable(name) if name == "all");
        let names = if result.ignore_all { Vec::new() } else { list(Some(ignored), diagnostics) };
        for name in names {
            match ignored_name(&name) {
                Some(text) => result.ignore_changes.push((text, name.span)),
                None => diagnostics.push(
                    Diagnostic::error("E0205", "invalid `ignore_changes`")
                        .detail("Each element is the name of an argument, or of a block; parts of them cannot be named.")
                        .at(name.span),
                ),
            }
        }
    }
    for inner in &block.body.blocks {
        match inner.kind.as_str() {
            "precondition" => result.preconditions.extend(check(inner, diagnostics)),
            "postcondition" => result.postconditions.extend(check(inner, diagnostics)),
            _ => unknown_inner(inner, &["precondition", "postcondition"], "lifecycle", diagnostics),
        }
    }
    result
}

fn ignored_name(expression: &Expr) -> Option<String> {
    if let ExprKind::Variable(name) = &expression.kind {
        return Some(name.clone());
    }
    let ExprKind::Literal(value) = &expression.kind else { return None };
    value.as_str().map(str::to_owned)
}

pub(super) fn check(block: &BlockSyntax, diagnostics: &mut Diagnostics) -> Option<Check> {
    labels(block, 0, diagnostics);
    known_arguments(&block.body, &["condition", "error_message"], &block.kind, diagnostics);
    for inner in &block.body.blocks {
        unknown_inner(inner, &[], &block.kind, diagnostics);
    }
    let mut argument = |name: &str| {
        let found = block.body.attributes.get(name).map(|it| it.value.clone());
        if found.is_none() {
            diagnostics.push(missing(name, block.header_span));
        }
        found
    };
    let (condition, error_message) = (argument("condition"), argument("error_message"));
    Some(Check { condition: condition?, error_message: error_message? })
}

/// Reports a second block where there is one only.
pub(super) fn duplicate_inner(kind: &str, at: Span, first: Span) -> Diagnostic {
    duplicate("block", kind, at, first)
}

pub(super) fn missing(name: &str, at: Span) -> Diagnostic {
    Diagnostic::error("E0206", format!("argument `{name}` is missing")).at(at)
}

/// Returns an attribute that tells people something.
fn told(body: &BodySyntax, name: &str, diagnostics: &mut Diagnostics) -> Option<String> {
    let attribute = body.attributes.get(name)?;
    let text = constant(&attribute.value, &Type::String, name, diagnostics)?;
    text.as_str().map(str::to_owned)
}

/// Evaluates what must be written out.
pub(super) fn constant(
    expression: &Expr,
    wanted: &Type,
    name: &str,
    diagnostics: &mut Diagnostics,
) -> Option<lustre_model::value::Value> {
    let mut context = Context::new(&EmptyWorld, None);
    let value = context.evaluate_as(expression, wanted, &format!("`{name}`"));
    diagnostics.extend(context.diagnostics);
    value.ok()
}

pub(super) fn list(attribute: Option<&AttributeSyntax>, diagnostics: &mut Diagnostics) -> Vec<Expr> {
    let Some(attribute) = attribute else { return Vec::new() };
    if let ExprKind::Tuple(items) = &attribute.value.kind {
        return items.clone();
    }
    diagnostics.push(Diagnostic::error("E0207", "a list in brackets is required").at(attribute.value.span));
    Vec::new()
}

/// Checks the number of labels.
pub(super) fn labels(block: &BlockSyntax, wanted: usize, diagnostics: &mut Diagnostics) -> bool {
    if block.labels.len() == wanted {
        return true;
    }
    let detail = match wanted {
        0 => format!("`{}` has no labels.", block.kind),
        _ => format!("`{}` has one label: `{} \"name\" {{ … }}`.", block.kind, block.kind),
    };
    let diagnostic = Diagnostic::error("E0208", format!("wrong number of labels for `{}`", block.kind));
    diagnostics.push(diagnostic.detail(detail).at(block.header_span));
    false
}

/// Returns the one label, which must be an identifier.
pub(super) fn label_name(block: &BlockSyntax, diagnostics: &mut Diagnostics) -> Option<String> {
    if !labels(block, 1, diagnostics) {
        return None;
    }
    let label = block.labels.first()?;
    if is_identifier(&label.text) {
        return Some(label.text.clone());
    }
    let detail = "A name begins with a letter or `_` and goes on with letters, digits, `_` and `-`.";
    diagnostics.push(
        Diagnostic::error("E0209", format!("invalid name {:?}", label.text)).detail(detail).at(label.span),
    );
    None
}

pub(super) fn known_arguments(body: &BodySyntax, known: &[&str], block: &str, diagnostics: &mut Diagnostics) {
    for (name, attribute) in &body.attributes {
        if known.contains(&name.as_str()) {
            continue;
        }
        let diagnostic = Diagnostic::error("E0211", format!("unknown argument `{name}` in `{block}`"));
        let diagnostic = diagnostic.at(attribute.name_span);
        diagnostics.push(match did_you_mean(name, known.iter().copied()) {
            Some(hint) => diagnostic.hint(hint),
            None => diagnostic,
        });
    }
}

pub(super) fn unknown_inner(block: &BlockSyntax, known: &[&str], outer: &str, diagnostics: &mut Diagnostics) {
    let diagnostic = Diagnostic::error("E0212", format!("unknown block `{}` in `{outer}`", block.kind));
    let diagnostic = diagnostic.at(block.header_span);
    diagnostics.push(match did_you_mean(&block.kind, known.iter().copied()) {
        Some(hint) => diagnostic.hint(hint),
        None => diagnostic,
    });
}
