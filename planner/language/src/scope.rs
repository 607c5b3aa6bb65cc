//! One run over a program: the values that names have, growing in topological order.
//!
//! The caller expands and evaluates resources in the order of their references and sets the value of each instance;
//! locals are evaluated when they are first needed, and once. What is wrong is collected here.
//! Invariant: whatever depends on something that failed fails silently, so that each mistake is told once.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};

use indexmap::IndexMap;
use lustre_model::address::{Address, Key};
use lustre_model::diagnostic::{Diagnostic, Diagnostics, Span};
use lustre_model::types::Type;
use lustre_model::value::Value;

use crate::body::Block;
use crate::evaluate::{Context, Failed, Outcome};
use crate::input::{self, Input};
use crate::program::{Check, Output, Program, Resource};
use crate::syntax::{Expr, Step};
use crate::world::World;

mod expand;
mod instance;
mod resolve;

/// One instance of a resource.
#[derive(Debug, Clone, PartialEq)]
pub struct Instance {
    /// Its address, with the key if the resource is repeated.
    pub address: Address,
    /// `each.value`, for `for_each`.
    pub(crate) each_value: Option<Value>,
}

/// What is known of one resource.
#[derive(Debug, Default)]
struct Known {
    /// Values of instances by key.
    instances: BTreeMap<Option<Key>, Value>,
    /// Instances that failed.
    poisoned: Vec<Option<Key>>,
    /// How many instances there will be; none before it is expanded.
    expanded: Option<Vec<Option<Key>>>,
    /// It has `count`, so that its instances are numbered.
    counted: bool,
    /// It could not be expanded.
    failed: bool,
    /// All instances as one value, made when first asked for.
    whole: RefCell<Option<Value>>,
}

/// The values of one run.
pub struct Scope<'a> {
    program: &'a Program,
    world: &'a dyn World,
    variables: IndexMap<String, Result<Value, Failed>>,
    resources: HashMap<(String, String), Known>,
    locals: RefCell<HashMap<String, Result<Value, Failed>>>,
    files: RefCell<BTreeMap<String, String>>,
    diagnostics: RefCell<Diagnostics>,
}

impl<'a> Scope<'a> {
    /// Starts a run: variables get their values, which are converted and validated. Of several inputs for one variable
    /// the last counts.
    pub fn new(program: &'a Program, world: &'a dyn World, inputs: &[Input]) -> Self {
        let mut diagnostics = Diagnostics::new();
        let variables = input::bind(program, inputs, &mut diagnostics);
        let mut scope = Self {
            program,
            world,
            variables,
            resources: HashMap::new(),
            locals: RefCell::default(),
            files: RefCell::default(),
            diagnostics: RefCell::new(diagnostics),
        };
        scope.validate_variables();
        scope
    }

    /// Returns the program.
    pub fn program(&self) -> &'a Program {
        self.program
    }

    /// Returns the value of a variable.
    pub fn variable(&self, name: &str) -> Option<&Value> {
        self.variables.get(name).and_then(|value| value.as_ref().ok())
    }

    /// Returns what was found wrong since the last call.
    pub fn take_diagnostics(&self) -> Diagnostics {
        self.diagnostics.take()
    }

    /// Returns the files that functions read, with the SHA-256 of their contents.
    pub fn files_read(&self) -> BTreeMap<String, String> {
        self.files.borrow().clone()
    }

    /// Sets the value of a resource instance, or of the whole when the address has no key.
    pub fn set(&mut self, address: &Address, value: Value) {
        let known = self.known_mut(address);
        known.instances.insert(address.key.clone(), value);
        known.whole.take();
    }

    /// Says that an instance has no value because it is wrong; what depends on it fails silently.
    pub fn poison(&mut self, address: &Address) {
        let known = self.known_mut(address);
        known.poisoned.push(address.key.clone());
        known.whole.take();
    }

    fn known_mut(&mut self, address: &Address) -> &mut Known {
        self.resources.entry((address.kind.clone(), address.name.clone())).or_default()
    }

    /// Evaluates an output; none when it failed, or when what it needs did.
    pub fn output(&self, output: &Output) -> Option<Value> {
        let mut context = self.context();
        let value = context.evaluate(&output.value).ok();
        let value = value.and_then(|value| {
            if value.has_sensitive() && !output.sensitive {
                let diagnostic =
                    Diagnostic::error("E0602", format!("output `{}` shows a sensitive value", output.name));
                let hint =
                    "Say `sensitive = true` in the output, or wrap what may be shown in `nonsensitive(…)`.";
                context.report(diagnostic.hint(hint), &output.value);
                return None;
            }
            Some(value.marked(output.sensitive))
        });
        let holds = self.checks(&mut context, &output.preconditions, "the precondition");
        self.collect(context);
        value.filter(|_| holds)
    }

    /// Evaluates an expression that [`Program::parse_expression`] made, for a console.
    pub fn evaluate_expression(&self, expression: &Expr) -> Option<Value> {
        let mut context = self.context();
        let value = context.evaluate(expression).ok();
        self.collect(context);
        value
    }

    /// Evaluates the block `state` of `lustre`, if there is one: labels say which backend.
    pub fn state_backend(&self) -> Option<Block> {
        let syntax = self.program.settings.state.as_ref()?;
        let mut context = self.context();
        let (body, _) = instance::body(&mut context, &syntax.body);
        self.collect(context);
        Some(Block {
            kind: syntax.kind.clone(),
            labels: syntax.labels.clone(),
            body,
            span: syntax.header_span,
        })
    }

    pub(crate) fn text(&self, span: Span) -> &str {
        self.program.sources.text(span)
    }

    pub(crate) fn note_file(&self, path: &str, hash: String) {
        self.files.borrow_mut().insert(path.to_owned(), hash);
    }

    fn context(&'a self) -> Context<'a> {
        Context::new(self.world, Some(self))
    }

    fn collect(&self, context: Context<'_>) {
        self.diagnostics.borrow_mut().extend(context.diagnostics);
    }

    fn validate_variables(&mut self) {
        let mut wrong = Vec::new();
        for variable in self.program.variables.values() {
            if variable.validations.is_empty()
                || self.variables.get(&variable.name).is_none_or(Result::is_err)
            {
                continue;
            }
            let scope: &Scope<'_> = self;
            let mut context = Context::new(scope.world, Some(scope));
            let holds = scope.checks(
                &mut context,
                &variable.validations,
                &format!("the validation of `{}`", variable.name),
            );
            scope.collect(context);
            if !holds {
                wrong.push(variable.name.clone());
            }
        }
        for name in wrong {
            self.variables.insert(name, Err(Failed));
        }
    }

    /// Evaluates conditions; one that is unknown holds for now.
    fn checks(&self, context: &mut Context<'_>, checks: &[Check], what: &str) -> bool {
        let mut all = true;
        for check in checks {
            let Ok(holds) = context.condition(&check.condition, what) else {
                all = false;
                continue;
            };
            if holds.as_bool() != Some(false) {
                continue;
            }
            all = false;
            let Ok(message) = context.evaluate_as(&check.error_message, &Type::String, "an error message")
            else {
                continue;
            };
            let told = match message.as_str() {
                Some(_) if message.is_sensitive() => "The message is sensitive and not shown.".to_owned(),
                Some(text) => text.trim().to_owned(),
                None => "The message is known only after apply.".to_owned(),
            };
            let diagnostic = Diagnostic::error("E0601", format!("{what} does not hold")).detail(told);
            context.report(diagnostic, &check.condition);
        }
        all
    }

    /// Resolves a root name: its value and how many steps that took.
    pub(crate) fn resolve(
        &self,
        context: &mut Context<'_>,
        root: &str,
        steps: &[Step],
        whole: &Expr,
    ) -> Result<(Value, usize), Failed> {
        resolve::root(self, context, (root, steps), whole)
    }

    /// Returns the value of a local, evaluating it and the locals it needs when it is asked for first.
    pub(crate) fn local(&self, name: &str) -> Outcome {
        if let Some(value) = self.locals.borrow().get(name) {
            return value.clone();
        }
        // Locals may form long chains: those that are needed come first, so that evaluation does not nest.
        let mut waiting = vec![name.to_owned()];
        while let Some(next) = waiting.last().cloned() {
            let Some(local) = self.program.locals.get(&next).filter(|local| !local.cyclic) else {
                self.locals.borrow_mut().insert(next, Err(Failed));
                waiting.pop();
                continue;
            };
            let missing: Vec<String> = self
                .program
                .locals_of(&local.value)
                .filter(|needed| !self.locals.borrow().contains_key(*needed))
                .map(str::to_owned)
                .collect();
            if !missing.is_empty() {
                waiting.extend(missing);
                continue;
            }
            waiting.pop();
            if !self.locals.borrow().contains_key(&next) {
                let mut context = Context::new(self.world, Some(self));
                let value = context.evaluate(&local.value);
                self.collect(context);
                self.locals.borrow_mut().insert(next, value);
            }
        }
        self.locals.borrow().get(name).cloned().unwrap_or(Err(Failed))
    }

    /// Returns all instances of a resource as one value.
    fn whole(&self, resource: &Resource) -> Outcome {
        let Some(known) = self.resources.get(&(resource.kind.clone(), resource.name.clone())) else {
            return Ok(Value::unknown(Type::Any));
        };
        if known.failed || !known.poisoned.is_empty() {
            return Err(Failed);
        }
        if !resource.is_repeated() {
            return Ok(known.instances.get(&None).cloned().unwrap_or(Value::unknown(Type::Any)));
        }
        if let Some(value) = known.whole.borrow().as_ref() {
            return Ok(value.clone());
        }
        let value = known.gathered();
        *known.whole.borrow_mut() = Some(value.clone());
        Ok(value)
    }
}

impl Known {
    /// An object for `for_each`, a tuple for `count`; unknown before it is expanded.
    fn gathered(&self) -> Value {
        let Some(keys) = &self.expanded else { return Value::unknown(Type::Any) };
        let value = |key: &Option<Key>| self.instances.get(key).cloned().unwrap_or(Value::unknown(Type::Any));
        let mut named = Vec::new();
        let mut numbered = Vec::new();
        for key in keys {
            match key {
                Some(Key::Name(name)) => named.push((name.clone(), value(key))),
                Some(Key::Index(_)) | None => numbered.push(value(key)),
            }
        }
        if self.counted { Value::tuple(numbered) } else { Value::object(named) }
    }
}
