//! Test files, `*.test.hcl`: runs of a spec, and what must hold after each.
//!
//! ```text
//! variables { size = 3 }                     for every run
//! run "small" {
//!   command   = plan                         apply, unless it says so
//!   module    { source = "./modules/m" }     that folder instead of the spec's own
//!   variables { size = run.before.size }
//!   plan_options { refresh = false }
//!   assert { condition = output.size == 3, error_message = "…" }
//!   expect_failures = [var.size, check.room]
//! }
//! ```
//! A test file is read into the program that its runs are about, so that places in both are places in one program's texts.
//! Nothing is planned or applied here.
//! Invariant: a run refers only to runs before it.

use std::collections::BTreeSet;

use indexmap::IndexMap;
use lustre_model::address::Key;
use lustre_model::diagnostic::{Diagnostic, Diagnostics, Span};
use lustre_model::types::Type;
use lustre_model::value::Value;

use super::check::Place;
use super::declare::{check, constant, known_arguments, label_name, labels, list, missing, unknown_inner};
use crate::evaluate::Context;
use crate::input::{Given, Input, Origin};
use crate::mention::{self, Mention, Reference};
use crate::program::{Check, Module, Named, Program, Resource, check_call, duplicate};
use crate::suggest::did_you_mean;
use crate::syntax::{self, AttributeSyntax, BlockSyntax, BodySyntax, Expr, ExprKind};
use crate::world::World;

/// Blocks that Terraform has in test files and lustre has not.
const REFUSED: [&str; 8] = [
    "mock_provider",
    "mock_resource",
    "mock_data",
    "override_resource",
    "override_data",
    "override_module",
    "provider",
    "test",
];

/// Arguments of `run` that Terraform has and lustre has not.
const REFUSED_ARGUMENTS: [&str; 5] = ["providers", "parallel", "state_key", "skip_cleanup", "backend"];

/// A test file.
#[derive(Debug, Clone)]
pub struct TestFile {
    /// Its name, from the spec's folder.
    pub name: String,
    /// Its runs, in the order in which they go.
    pub runs: Vec<TestRun>,
    variables: IndexMap<String, AttributeSyntax>,
}

/// A block `run`.
#[derive(Debug, Clone)]
pub struct TestRun {
    /// Its label.
    pub name: String,
    /// Where type and label are.
    pub span: Span,
    /// What is done.
    pub command: TestCommand,
    /// The folder that it is about, and where that is said; the spec's own when there is none.
    pub source: Option<(String, Span)>,
    /// Whether hosts are asked how things are.
    pub refresh: bool,
    /// What alone is planned, as addresses.
    pub target: Vec<String>,
    /// What is replaced, as addresses.
    pub replace: Vec<String>,
    /// What must fail.
    pub expected: Vec<Expected>,
    variables: IndexMap<String, AttributeSyntax>,
    asserts: Vec<Check>,
}

/// What a run does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TestCommand {
    /// Plans.
    Plan,
    /// Plans and carries it out.
    Apply,
}

/// Something whose own conditions must fail in a run.
#[derive(Debug, Clone)]
pub struct Expected {
    /// As it is written.
    pub text: String,
    /// Where it is.
    pub span: Span,
    /// The instance of a resource that is meant; any when there is none.
    pub key: Option<Key>,
    reference: Expr,
}

impl TestFile {
    /// Returns what the file gives all runs as variables.
    pub fn variables(&self) -> &IndexMap<String, AttributeSyntax> {
        &self.variables
    }
}

impl TestRun {
    /// Returns what the run gives as variables.
    pub fn variables(&self) -> &IndexMap<String, AttributeSyntax> {
        &self.variables
    }

    pub(crate) fn asserts(&self) -> &[Check] {
        &self.asserts
    }
}

impl Program {
    /// Reads a test file. What its runs refer to is checked by [`Program::check_run`].
    pub fn read_test(&mut self, name: &str, text: &str) -> (TestFile, Diagnostics) {
        let id = self.sources.add(name, text);
        let mut found = Diagnostics::new();
        let body = syntax::parse(&self.sources, id, &mut found);
        let mut reading = Reading { program: self, found };
        let file = reading.file(name, body);
        (file, reading.found)
    }

    /// Checks what a run of a test file refers to against the root of this program.
    pub fn check_run(&self, file: &TestFile, run: &TestRun) -> Diagnostics {
        let mut found = Diagnostics::new();
        let before: Vec<&str> =
            file.runs.iter().map(|run| run.name.as_str()).take_while(|name| *name != run.name).collect();
        let root = self.root();
        for expression in run.asserts.iter().flat_map(Check::expressions) {
            root.check_bound(expression, &["run", "output"], Place::Plain, &mut found);
            for reference in mention::references(expression) {
                match reference.root {
                    "run" => found.extend(unknown_run(&reference, &before)),
                    "output" => found.extend(unknown_output(root, &reference)),
                    _ => {}
                }
            }
        }
        for attribute in file.variables.values() {
            found.extend(misplaced(&attribute.value, &["var"], &[]));
        }
        for attribute in run.variables.values() {
            found.extend(misplaced(&attribute.value, &["var", "run"], &before));
        }
        for expected in &run.expected {
            found.extend(self.conditions_of(expected).err().map(|refused| *refused));
        }
        found
    }

    /// Returns where the conditions of something are that is expected to fail, or why nothing of it can.
    pub fn conditions_of(&self, expected: &Expected) -> Result<BTreeSet<Span>, Box<Diagnostic>> {
        let root = self.root();
        let refused = |summary: String| Diagnostic::error("E0972", summary).at(expected.span);
        let general = "Only what has conditions of its own can be expected to fail: var.x with `validation`, output.x with \
                       `precondition`, check.x, and resources with a `precondition` or `postcondition`.";
        let reference = mention::references(&expected.reference).next();
        let Some((reference, name)) = reference.and_then(|it| it.name(0).map(|name| (it, name))) else {
            let summary = format!("`{}` cannot be expected to fail", expected.text);
            return Err(Box::new(refused(summary).detail(general)));
        };
        let checks: Option<Vec<&Check>> = match reference.root {
            "var" => root.variables.get(name).map(|it| it.validations.iter().collect()),
            "output" => root.outputs.get(name).map(|it| it.preconditions.iter().collect()),
            "check" => root.assertions.get(name).map(|it| it.asserts.iter().collect()),
            _ => Named::of(&reference).and_then(|it| root.resource(&it.kind(), it.name)).map(|resource| {
                resource.lifecycle.preconditions.iter().chain(&resource.lifecycle.postconditions).collect()
            }),
        };
        let Some(checks) = checks else {
            let summary = format!("`{}` does not exist", expected.text);
            let known = self.checkable();
            let hint = did_you_mean(&expected.text, known.iter().map(String::as_str));
            let refused = refused(summary).detail(general);
            return Err(Box::new(match hint {
                Some(hint) => refused.hint(hint),
                None => refused,
            }));
        };
        if checks.is_empty() {
            let summary = format!("`{}` has no conditions that could fail", expected.text);
            return Err(Box::new(refused(summary).detail(general)));
        }
        // The data of a check fails at what says where it is read from.
        let own = |resource: &&Resource| reference.root == "check" && resource.check() == Some(name);
        let data = root.resources.values().filter(own).flat_map(|it| it.body.attributes.values());
        let data = data.map(|attribute| attribute.value.span);
        Ok(checks.into_iter().map(|check| check.condition.span).chain(data).collect())
    }

    /// Returns the names of everything in the root that may have conditions.
    fn checkable(&self) -> Vec<String> {
        let root = self.root();
        let named = |word: &'static str| move |name: &String| format!("{word}.{name}");
        let mut names: Vec<String> = root.variables.keys().map(named("var")).collect();
        names.extend(root.outputs.keys().map(named("output")));
        names.extend(root.assertions.keys().map(named("check")));
        names.extend(root.resources.values().map(|resource| resource.address().to_string()));
        names
    }

    /// Evaluates values for variables; `names` are the values that `run` and `var` have here.
    pub fn test_values(
        &self,
        variables: &IndexMap<String, AttributeSyntax>,
        names: &[(&str, Value)],
        world: &dyn World,
    ) -> (Vec<Input>, Diagnostics) {
        let (mut inputs, mut found) = (Vec::new(), Diagnostics::new());
        for (name, attribute) in variables {
            let mut context = Context::new(world, None);
            context.bound = names.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
            let value = context.evaluate(&attribute.value);
            found.extend(context.diagnostics);
            let Ok(value) = value else { continue };
            if !value.is_wholly_known() {
                let summary = format!("the value of `{name}` is known only after apply");
                let hint =
                    "A run with `command = plan` leaves values unknown: let the run it comes from apply.";
                found.push(Diagnostic::error("E0971", summary).hint(hint).at(attribute.value.span));
                continue;
            }
            let origin = Origin::File(attribute.name_span.to(attribute.value.span));
            inputs.push(Input { name: name.clone(), given: Given::Value(value), origin });
        }
        (inputs, found)
    }
}

struct Reading<'a> {
    program: &'a Program,
    found: Diagnostics,
}

impl Reading<'_> {
    fn file(&mut self, name: &str, body: BodySyntax) -> TestFile {
        let mut file = TestFile { name: name.to_owned(), runs: Vec::new(), variables: IndexMap::new() };
        for (name, attribute) in &body.attributes {
            let diagnostic = Diagnostic::error("E0202", format!("argument `{name}` outside of a block"));
            let hint = "A test file holds blocks `run` and `variables`.";
            self.found.push(diagnostic.hint(hint).at(attribute.name_span));
        }
        let mut given: Option<Span> = None;
        for block in body.blocks {
            match block.kind.as_str() {
                "variables" => {
                    if let Some(first) = given {
                        self.found.push(duplicate("block", "variables", block.header_span, first));
                    }
                    given = Some(block.header_span);
                    file.variables.extend(self.variables(&block));
                }
                "run" => self.run(&block, &mut file.runs),
                kind if REFUSED.contains(&kind) => self.refuse(kind, block.header_span),
                _ => {
                    let diagnostic =
                        Diagnostic::error("E0203", format!("unknown block type `{}`", block.kind));
                    let detail = "Block types of a test file are `run` and `variables`.";
                    let diagnostic = diagnostic.detail(detail).at(block.header_span);
                    self.found.push(match did_you_mean(&block.kind, ["run", "variables"]) {
                        Some(hint) => diagnostic.hint(hint),
                        None => diagnostic,
                    });
                }
            }
        }
        file
    }

    fn refuse(&mut self, what: &str, at: Span) {
        let diagnostic = Diagnostic::error("E0974", format!("`{what}` is not supported in a test"));
        let detail = "Kinds of resources are built in and nothing of them is mocked; runs go one after the other and each folder \
                      has one state per file. What needs no host is a run with `command = plan`, and every `value`.";
        self.found.push(diagnostic.detail(detail).hint("Take it out.").at(at));
    }

    fn variables(&mut self, block: &BlockSyntax) -> IndexMap<String, AttributeSyntax> {
        labels(block, 0, &mut self.found);
        for inner in &block.body.blocks {
            unknown_inner(inner, &[], "variables", &mut self.found);
        }
        block.body.attributes.clone()
    }

    fn run(&mut self, block: &BlockSyntax, runs: &mut Vec<TestRun>) {
        let Some(name) = label_name(block, &mut self.found) else { return };
        if let Some(first) = runs.iter().find(|run| run.name == name) {
            self.found.push(duplicate("run", &name, block.header_span, first.span));
            return;
        }
        let mut arguments = block.body.clone();
        for name in REFUSED_ARGUMENTS {
            if let Some(attribute) = arguments.attributes.shift_remove(name) {
                self.refuse(name, attribute.name_span);
            }
        }
        known_arguments(&arguments, &["command", "expect_failures"], "run", &mut self.found);
        let command = block.body.attributes.get("command");
        let mut run = TestRun {
            name,
            span: block.header_span,
            command: command.map_or(TestCommand::Apply, |it| self.command(&it.value)),
            source: None,
            refresh: true,
            target: Vec::new(),
            replace: Vec::new(),
            expected: self.expected(block.body.attributes.get("expect_failures")),
            variables: IndexMap::new(),
            asserts: Vec::new(),
        };
        let mut seen: IndexMap<&str, Span> = IndexMap::new();
        for inner in &block.body.blocks {
            let kind = inner.kind.as_str();
            if let (Some(first), false) = (seen.insert(kind, inner.header_span), kind == "assert") {
                self.found.push(duplicate("block", kind, inner.header_span, first));
            }
            match kind {
                "variables" => run.variables.extend(self.variables(inner)),
                "assert" => run.asserts.extend(check(inner, &mut self.found)),
                "module" => run.source = self.source(inner),
                "plan_options" => self.options(inner, &mut run),
                kind if REFUSED.contains(&kind) => self.refuse(kind, inner.header_span),
                _ => {
                    let known = ["variables", "assert", "module", "plan_options"];
                    unknown_inner(inner, &known, "run", &mut self.found);
                }
            }
        }
        runs.push(run);
    }

    /// Reads one of some words; none when it is another, which is told.
    fn word<'w>(&mut self, value: &Expr, name: &str, words: &[&'w str]) -> Option<&'w str> {
        let text = if let ExprKind::Variable(text) = &value.kind { Some(text.as_str()) } else { None };
        let known = words.iter().find(|word| Some(**word) == text);
        if known.is_none() {
            let summary = format!("`{name}` is one of {}", words.join(", "));
            self.found
                .push(Diagnostic::error("E0973", summary).hint("Write it without quotes.").at(value.span));
        }
        known.copied()
    }

    fn command(&mut self, value: &Expr) -> TestCommand {
        match self.word(value, "command", &["plan", "apply"]) {
            Some("plan") => TestCommand::Plan,
            Some(_) | None => TestCommand::Apply,
        }
    }

    fn source(&mut self, block: &BlockSyntax) -> Option<(String, Span)> {
        labels(block, 0, &mut self.found);
        known_arguments(&block.body, &["source", "version"], "module", &mut self.found);
        if let Some(version) = block.body.attributes.get("version") {
            self.refuse("version", version.name_span);
        }
        let Some(attribute) = block.body.attributes.get("source") else {
            self.found.push(missing("source", block.header_span));
            return None;
        };
        let text = constant(&attribute.value, &Type::String, "source", &mut self.found)?;
        let text = text.as_str()?.to_owned();
        if !(text.starts_with("./") || text.starts_with("../")) {
            let summary = format!("{text:?} is no folder that a run can be about");
            let hint = "Write it with `./` or `../` in front, from the spec's folder.";
            self.found.push(Diagnostic::error("E0974", summary).hint(hint).at(attribute.value.span));
            return None;
        }
        Some((text, attribute.value.span))
    }

    fn options(&mut self, block: &BlockSyntax, run: &mut TestRun) {
        labels(block, 0, &mut self.found);
        let known = ["mode", "refresh", "replace", "target"];
        known_arguments(&block.body, &known, "plan_options", &mut self.found);
        for inner in &block.body.blocks {
            unknown_inner(inner, &[], "plan_options", &mut self.found);
        }
        let attribute = |name: &str| block.body.attributes.get(name);
        if let Some(mode) = attribute("mode")
            && self.word(&mode.value, "mode", &["normal", "refresh-only"]) == Some("refresh-only")
        {
            self.refuse("mode = refresh-only", mode.name_span);
        }
        if let Some(refresh) = attribute("refresh") {
            let value = constant(&refresh.value, &Type::Bool, "refresh", &mut self.found);
            run.refresh = value.and_then(|value| value.as_bool()).unwrap_or(true);
        }
        run.replace = self.addresses(attribute("replace"));
        run.target = self.addresses(attribute("target"));
    }

    fn addresses(&mut self, attribute: Option<&AttributeSyntax>) -> Vec<String> {
        let listed = list(attribute, &mut self.found);
        listed.iter().map(|expression| self.program.sources.text(expression.span).to_owned()).collect()
    }

    fn expected(&mut self, attribute: Option<&AttributeSyntax>) -> Vec<Expected> {
        let listed = list(attribute, &mut self.found);
        let one = |reference: Expr| {
            let key = mention::references(&reference).next().and_then(|it| {
                let steps = Named::of(&it).map_or(1, |named| named.steps());
                it.key(steps)
            });
            let text = self.program.sources.text(reference.span).to_owned();
            Expected { text, span: reference.span, key, reference }
        };
        listed.into_iter().map(one).collect()
    }
}

/// Says what is wrong with a reference to a run.
fn unknown_run(reference: &Reference<'_>, before: &[&str]) -> Option<Diagnostic> {
    let name = reference.name(0);
    if name.is_some_and(|name| before.contains(&name)) {
        return None;
    }
    let summary = match name {
        Some(name) => format!("there is no run `{name}` before this one"),
        None => "the name of a run is missing".to_owned(),
    };
    let diagnostic = Diagnostic::error("E0975", summary).at(reference.span);
    let diagnostic =
        diagnostic.detail("`run.name.output` is an output of a run that stands above in the same file.");
    Some(match did_you_mean(name.unwrap_or_default(), before.iter().copied()) {
        Some(hint) => diagnostic.hint(hint),
        None => diagnostic,
    })
}

fn unknown_output(root: &Module, reference: &Reference<'_>) -> Option<Diagnostic> {
    let name = reference.name(0)?;
    if root.outputs.contains_key(name) || root.incomplete {
        return None;
    }
    let diagnostic = Diagnostic::error("E0304", format!("undeclared output `{name}`")).at(reference.span);
    Some(match did_you_mean(name, root.outputs.keys().map(String::as_str)) {
        Some(hint) => diagnostic.hint(hint),
        None => diagnostic,
    })
}

/// Says what a value of a variable refers to and must not.
fn misplaced(expression: &Expr, roots: &[&str], before: &[&str]) -> Diagnostics {
    let mut found = Diagnostics::new();
    for mention in mention::mentions(expression) {
        match mention {
            Mention::Call(call) => found.extend(check_call(call)),
            Mention::Reference(reference) if reference.root == "run" && roots.contains(&"run") => {
                found.extend(unknown_run(&reference, before));
            }
            Mention::Reference(reference) if roots.contains(&reference.root) => {}
            Mention::Reference(reference) => {
                let summary = format!("a value for a variable cannot refer to `{}`", reference.root);
                let detail = "Variables of a file may refer to `var`, as the command line gives it; those of a run also to `run`.";
                found.push(Diagnostic::error("E0975", summary).detail(detail).at(reference.span));
            }
        }
    }
    found
}
