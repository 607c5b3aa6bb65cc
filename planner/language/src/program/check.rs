//! Checks of everything that is mentioned: names must be declared, functions must exist, and fit.
//!
//! Checked for all expressions, whether evaluation reaches them or not; evaluation is silent about what was told here.
//! Invariant: after a folder that did not parse wholly, no name is called undeclared, for it may be in the broken part.

use lustre_model::diagnostic::{Diagnostic, Diagnostics, Span};

use crate::function;
use crate::mention::{self, Mention, Reference};
use crate::program::{DATA, Module, ModuleCall, Named, Repetition, Resource};
use crate::suggest::did_you_mean;
use crate::syntax::{BodySyntax, Call, Expr, Step};

/// Where an expression stands, which decides what it may mention.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Place<'a> {
    /// `each` and `count` mean nothing.
    Plain,
    /// In a resource.
    Resource(&'a Resource),
    /// In a postcondition of a resource, where `self` is the resource.
    After(&'a Resource),
    /// In the arguments of a module call.
    Call(&'a ModuleCall),
    /// In a block that is repeated so.
    Repeated(&'a Repetition),
    /// In the validation of a variable.
    Validation(&'a str),
    /// In an assertion of a `check`.
    Check(&'a str),
}

impl Place<'_> {
    /// Returns whether it is in a `check` of that name.
    fn is_in_check(self, name: &str) -> bool {
        match self {
            Self::Check(check) => check == name,
            Self::Plain
            | Self::Resource(_)
            | Self::After(_)
            | Self::Call(_)
            | Self::Repeated(_)
            | Self::Validation(_) => false,
        }
    }
}

impl Module {
    pub(super) fn check(&self, diagnostics: &mut Diagnostics) {
        for variable in self.variables.values() {
            for check in &variable.validations {
                let place = Place::Validation(&variable.name);
                self.check_expression(&check.condition, place, diagnostics);
                self.check_expression(&check.error_message, place, diagnostics);
            }
        }
        for local in self.locals.values() {
            self.check_expression(&local.value, Place::Plain, diagnostics);
        }
        for output in self.outputs.values() {
            let checks =
                output.preconditions.iter().flat_map(|check| [&check.condition, &check.error_message]);
            for expression in [&output.value].into_iter().chain(checks) {
                self.check_expression(expression, Place::Plain, diagnostics);
            }
            self.check_depends_on(&output.depends_on, diagnostics);
        }
        for resource in self.resources.values() {
            self.check_resource(resource, diagnostics);
        }
        for call in self.calls.values() {
            self.check_module_call(call, diagnostics);
        }
        for check in self.assertions.values() {
            for expression in check.expressions() {
                self.check_expression(expression, Place::Check(&check.name), diagnostics);
            }
        }
        self.check_providers(diagnostics);
        for import in &self.imports {
            self.check_import(import, diagnostics);
        }
        for block in self.settings.state.iter().chain(&self.settings.encryption) {
            for expression in block.body.expressions() {
                self.check_expression(expression, Place::Plain, diagnostics);
            }
        }
    }

    fn check_resource(&self, resource: &Resource, diagnostics: &mut Diagnostics) {
        if let Some(repetition) = resource.repetition.expression() {
            self.check_expression(repetition, Place::Plain, diagnostics);
        }
        let place = Place::Resource(resource);
        self.check_body(&resource.body, &mut Vec::new(), place, diagnostics);
        for expression in resource.lifecycle.before() {
            self.check_expression(expression, place, diagnostics);
        }
        for expression in resource.lifecycle.after() {
            self.check_expression(expression, Place::After(resource), diagnostics);
        }
        for expression in &resource.lifecycle.replace_triggered_by {
            let target = mention::references(expression).next();
            let known = target.and_then(|it| self.named(&it)).filter(|it| !it.is_data());
            let inside = |span: Span| {
                let (whole, source) = (expression.span, expression.span.source);
                span.source == source && whole.start <= span.start && span.end <= whole.end
            };
            // A name that is wrong was told above.
            let told = || diagnostics.iter().any(|it| it.span.is_some_and(inside));
            if known.is_none() && !self.incomplete && !told() {
                let summary = "`replace_triggered_by` names no resource";
                let detail =
                    "Each element is a resource, an instance or an attribute: `value.x[\"a\"].input`.";
                diagnostics.push(Diagnostic::error("E0313", summary).detail(detail).at(expression.span));
            }
        }
        self.check_depends_on(&resource.depends_on, diagnostics);
    }

    fn check_module_call(&self, call: &ModuleCall, diagnostics: &mut Diagnostics) {
        if let Some(repetition) = call.repetition.expression() {
            self.check_expression(repetition, Place::Plain, diagnostics);
        }
        for argument in call.arguments.values() {
            self.check_expression(&argument.value, Place::Call(call), diagnostics);
        }
        self.check_depends_on(&call.depends_on, diagnostics);
        diagnostics.extend(call.misfits());
    }

    /// Checks a body; inside `dynamic` its iterator is a name.
    pub(super) fn check_body<'a>(
        &self,
        body: &'a BodySyntax,
        iterators: &mut Vec<&'a str>,
        place: Place<'_>,
        diagnostics: &mut Diagnostics,
    ) {
        for attribute in body.attributes.values() {
            self.check_bound(&attribute.value, iterators, place, diagnostics);
        }
        for block in &body.blocks {
            let iterator = block.iterator();
            iterators.extend(iterator);
            self.check_body(&block.body, iterators, place, diagnostics);
            if iterator.is_some() {
                iterators.pop();
            }
        }
    }

    fn check_depends_on(&self, expressions: &[Expr], diagnostics: &mut Diagnostics) {
        for expression in expressions {
            let target = mention::references(expression).next();
            let named = target.and_then(|it| self.named(&it));
            if let Some((resource, check)) = named.and_then(|it| Some((it, it.check.as_deref()?))) {
                diagnostics.push(out_of_sight(resource, check, expression.span));
                continue;
            }
            let known = target.is_some_and(|it| match (it.root, it.name(0)) {
                ("module", Some(name)) => self.calls.contains_key(name),
                (_, _) => named.is_some(),
            });
            if !known && !self.incomplete {
                let diagnostic =
                    Diagnostic::error("E0302", "`depends_on` names no resource").at(expression.span);
                let detail = "Each element is a resource, `cluster.scratch`, or a module, `module.lab`.";
                diagnostics.push(diagnostic.detail(detail));
            }
        }
    }

    pub(super) fn check_expression(
        &self,
        expression: &Expr,
        place: Place<'_>,
        diagnostics: &mut Diagnostics,
    ) {
        self.check_bound(expression, &[], place, diagnostics);
    }

    pub(super) fn check_bound(
        &self,
        expression: &Expr,
        bound: &[&str],
        place: Place<'_>,
        diagnostics: &mut Diagnostics,
    ) {
        for mention in mention::mentions(expression) {
            match mention {
                Mention::Reference(reference) if bound.contains(&reference.root) => {}
                Mention::Reference(reference) => diagnostics.extend(self.check_reference(&reference, place)),
                Mention::Call(call) => diagnostics.extend(check_call(call)),
            }
        }
    }

    fn check_reference(&self, reference: &Reference<'_>, place: Place<'_>) -> Option<Diagnostic> {
        let name = reference.name(0);
        let span = reference.span;
        match reference.root {
            "var" => {
                if let Place::Validation(own) = place
                    && name.is_some_and(|name| name != own && !self.variables.contains_key(name))
                {
                    return self.undeclared("variable", name, span, self.variables.keys());
                }
                self.declared("variable", name, span, &self.variables)
            }
            "local" => self.declared("local", name, span, &self.locals),
            "path" => one_of("path", name, &["module", "root", "cwd"], span),
            "each" => match place {
                Place::Resource(Resource { repetition: Repetition::ForEach(_), .. })
                | Place::After(Resource { repetition: Repetition::ForEach(_), .. })
                | Place::Call(ModuleCall { repetition: Repetition::ForEach(_), .. })
                | Place::Repeated(Repetition::ForEach(_)) => one_of("each", name, &["key", "value"], span),
                Place::Resource(_)
                | Place::After(_)
                | Place::Call(_)
                | Place::Repeated(_)
                | Place::Plain
                | Place::Check(_)
                | Place::Validation(_) => Some(out_of_place("each", "for_each", span)),
            },
            "count" => match place {
                Place::Resource(Resource { repetition: Repetition::Count(_), .. })
                | Place::After(Resource { repetition: Repetition::Count(_), .. })
                | Place::Call(ModuleCall { repetition: Repetition::Count(_), .. })
                | Place::Repeated(Repetition::Count(_)) => one_of("count", name, &["index"], span),
                Place::Resource(_)
                | Place::After(_)
                | Place::Call(_)
                | Place::Repeated(_)
                | Place::Plain
                | Place::Check(_)
                | Place::Validation(_) => Some(out_of_place("count", "count", span)),
            },
            "module" => self.check_module_reference(reference, place),
            "self" => match place {
                Place::After(_) => None,
                Place::Resource(_)
                | Place::Call(_)
                | Place::Repeated(_)
                | Place::Plain
                | Place::Check(_)
                | Place::Validation(_) => {
                    let diagnostic = Diagnostic::error("E0309", "`self` has no meaning here").at(span);
                    Some(diagnostic.detail("It stands only inside a `postcondition`."))
                }
            },
            "data" => match name {
                Some(kind) if self.kinds.iter().any(|known| known.strip_prefix(DATA) == Some(kind)) => self
                    .check_resource_reference(&format!("{DATA}{kind}"), reference.name(1), reference, place),
                Some(kind) => Some(self.unknown_data(kind, span)),
                None => self.undeclared("kind of data", None, span, [].iter()),
            },
            kind if self.kinds.iter().any(|known| known == kind) => {
                self.check_resource_reference(kind, name, reference, place)
            }
            // That there is no such kind is said at its block.
            root if self.unknown_kinds.contains(root) => None,
            root => Some(self.unknown_root(root, span)),
        }
    }

    fn declared<V>(
        &self,
        what: &str,
        name: Option<&str>,
        span: Span,
        known: &indexmap::IndexMap<String, V>,
    ) -> Option<Diagnostic> {
        if name.is_some_and(|name| known.contains_key(name)) {
            return None;
        }
        self.undeclared(what, name, span, known.keys())
    }

    fn undeclared<'a>(
        &self,
        what: &str,
        name: Option<&str>,
        span: Span,
        known: impl Iterator<Item = &'a String>,
    ) -> Option<Diagnostic> {
        let Some(name) = name else {
            let diagnostic = Diagnostic::error("E0303", format!("name of a {what} is missing")).at(span);
            return Some(diagnostic.hint("A dot and a name follow here."));
        };
        if self.incomplete {
            return None;
        }
        let diagnostic = Diagnostic::error("E0304", format!("undeclared {what} `{name}`")).at(span);
        let known: Vec<&str> = known.map(String::as_str).collect();
        Some(match did_you_mean(name, known) {
            Some(hint) => diagnostic.hint(hint),
            None if what == "variable" => diagnostic.hint(format!("Declare it: `variable \"{name}\" {{}}`.")),
            None => diagnostic,
        })
    }

    fn check_resource_reference(
        &self,
        kind: &str,
        name: Option<&str>,
        reference: &Reference<'_>,
        place: Place<'_>,
    ) -> Option<Diagnostic> {
        let of_kind = || self.resources.keys().filter(|(known, _)| known == kind).map(|(_, name)| name);
        let Some(resource) = name.and_then(|name| self.resource(kind, name)) else {
            return self.undeclared(kind, name, reference.span, of_kind());
        };
        if let Place::Resource(own) | Place::After(own) = place
            && (&own.kind, &own.name) == (&resource.kind, &resource.name)
        {
            let diagnostic = Diagnostic::error("E0305", format!("`{}` refers to itself", resource.address()));
            return Some(diagnostic.at(reference.span));
        }
        if let Some(check) = resource.check.as_deref().filter(|check| !place.is_in_check(check)) {
            return Some(out_of_sight(resource, check, reference.span));
        }
        let key = reference.key(if resource.is_data() { 2 } else { 1 });
        if !resource.is_repeated() && key.is_some() {
            let diagnostic =
                Diagnostic::error("E0306", format!("`{}` has one instance only", resource.address()));
            let diagnostic =
                diagnostic.hint("It has neither `for_each` nor `count`; leave the brackets out.");
            return Some(diagnostic.at(reference.span).related(resource.span, "declared here"));
        }
        None
    }

    /// Returns the resource or data that a reference names.
    pub(crate) fn named(&self, reference: &Reference<'_>) -> Option<&Resource> {
        let named = Named::of(reference)?;
        self.resource(&named.kind(), named.name)
    }

    fn check_module_reference(&self, reference: &Reference<'_>, place: Place<'_>) -> Option<Diagnostic> {
        let name = reference.name(0);
        let Some(call) = name.and_then(|name| self.calls.get(name)) else {
            return self.undeclared("module", name, reference.span, self.calls.keys());
        };
        let address = format!("module.{}", call.name);
        if let Place::Call(own) = place
            && own.name == call.name
        {
            let diagnostic = Diagnostic::error("E0305", format!("`{address}` refers to itself"));
            return Some(diagnostic.at(reference.span));
        }
        let indexed = matches!(reference.steps.get(1), Some(Step::Index(..)));
        let repeated = !matches!(call.repetition, Repetition::Single);
        if reference.key(1).is_some() && !repeated {
            let diagnostic = Diagnostic::error("E0306", format!("`{address}` has one instance only"));
            let diagnostic =
                diagnostic.hint("It has neither `for_each` nor `count`; leave the brackets out.");
            return Some(diagnostic.at(reference.span).related(call.span, "declared here"));
        }
        if !indexed && repeated && reference.name(1).is_some() {
            let diagnostic = Diagnostic::error("E0311", format!("`{address}` has several instances"));
            let hint = "Say which one in brackets, as in `[\"key\"]`, or all of them with `[*]`.";
            return Some(diagnostic.hint(hint).at(reference.span).related(call.span, "declared here"));
        }
        let output = reference.name(if indexed { 2 } else { 1 })?;
        let callee = call.callee.as_ref().filter(|callee| !callee.incomplete)?;
        if callee.outputs.contains(output) {
            let why = callee.deprecated.get(output)?;
            let summary = format!("output `{output}` of `{address}` is deprecated");
            return Some(Diagnostic::warning("W0229", summary).detail(why).at(reference.span));
        }
        let diagnostic = Diagnostic::error("E0312", format!("`{address}` has no output `{output}`"));
        let diagnostic = diagnostic.at(reference.span).related(call.span, "the module is called here");
        Some(match did_you_mean(output, callee.outputs.iter().map(String::as_str)) {
            Some(hint) => diagnostic.hint(hint),
            None => diagnostic.hint(format!("Declare it there: `output \"{output}\" {{ value = … }}`.")),
        })
    }

    fn unknown_root(&self, root: &str, span: Span) -> Diagnostic {
        let roots = ["var", "local", "each", "count", "path", "module", "data"];
        let kinds = self.kinds.iter().map(String::as_str).filter(|kind| !kind.starts_with(DATA));
        let known = kinds.chain(roots);
        let diagnostic = Diagnostic::error("E0307", format!("unknown name `{root}`")).at(span);
        match did_you_mean(root, known) {
            Some(hint) => diagnostic.hint(hint),
            None if self.variables.contains_key(root) => {
                diagnostic.hint(format!("Did you mean `var.{root}`?"))
            }
            None if self.locals.contains_key(root) => {
                diagnostic.hint(format!("Did you mean `local.{root}`?"))
            }
            None => diagnostic.hint(format!("If it is a text, write \"{root}\".")),
        }
    }
}

fn one_of(root: &str, name: Option<&str>, known: &[&str], span: Span) -> Option<Diagnostic> {
    if name.is_some_and(|name| known.contains(&name)) {
        return None;
    }
    let names: Vec<String> = known.iter().map(|known| format!("`{root}.{known}`")).collect();
    let diagnostic = Diagnostic::error("E0308", format!("invalid reference to `{root}`")).at(span);
    Some(diagnostic.detail(format!("There is {}.", names.join(", "))))
}

/// Says that data is seen by its check only.
fn out_of_sight(resource: &Resource, check: &str, span: Span) -> Diagnostic {
    let summary = format!("`{}` is seen only inside check `{check}`", resource.address());
    let diagnostic = Diagnostic::error("E0314", summary).at(span).related(resource.span, "declared here");
    diagnostic.hint("Move the `data` block out of the `check` if others need it.")
}

fn out_of_place(root: &str, argument: &str, span: Span) -> Diagnostic {
    let diagnostic = Diagnostic::error("E0309", format!("`{root}` has no meaning here")).at(span);
    diagnostic.detail(format!("It stands only inside a resource that has `{argument}`."))
}

/// Checks name and number of arguments of a call.
pub(crate) fn check_call(call: &Call) -> Option<Diagnostic> {
    let Some(function) = function::find(&call.name) else {
        let diagnostic =
            Diagnostic::error("E0501", format!("unknown function `{}`", call.name)).at(call.name_span);
        let names = function::functions().into_iter().map(|function| function.name);
        return Some(match did_you_mean(&call.name, names) {
            Some(hint) => diagnostic.hint(hint),
            None => diagnostic,
        });
    };
    let given = call.arguments.len();
    let wrong = if call.spread { !function.accepts_spread(given) } else { !function.accepts(given) };
    wrong.then(|| {
        let diagnostic = Diagnostic::error("E0502", format!("wrong number of arguments for `{}`", call.name));
        diagnostic.detail(format!("Its signature is `{}`.", function.signature())).at(call.name_span)
    })
}
