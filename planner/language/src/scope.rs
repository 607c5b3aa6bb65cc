//! One run over a program: the values that names have, growing in topological order.
//!
//! ```text
//! root ─┬─ module.m["a"] ─── module.m["a"].module.inner        one frame per instance of a module
//!       └─ module.m["b"] ─── …
//! ```
//! The caller expands and evaluates resources in the order of the graph and sets the value of each instance; variables,
//! locals and outputs of modules are evaluated when they are first needed, and once. What is wrong is collected here.
//! Invariant: whatever depends on something that failed fails silently, so that each mistake is told once.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use lustre_model::address::{Address, Key, ModuleStep};
use lustre_model::diagnostic::{Diagnostic, Diagnostics, Severity, Span};
use lustre_model::types::Type;
use lustre_model::value::Value;

use crate::body::Block;
use crate::evaluate::{Context, Failed, Outcome};
use crate::input::{self, Input};
use crate::program::{Assertions, Check, Module, Output, Program};
use crate::syntax::{BlockSyntax, Expr, Step};
use crate::world::World;

mod expand;
mod frame;
mod import;
mod instance;
mod known;
mod provider;
mod resolve;
mod settle;
mod test_run;

use self::frame::{Frame, Name};
pub use self::import::Imported;
pub use self::known::{Applied, Expansion};
pub use self::provider::Provided;

/// An instance of a module, within one [`Scope`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ModuleInstance(usize);

impl ModuleInstance {
    /// The module of the folder itself, of which there is one instance.
    pub const ROOT: Self = Self(0);
}

/// One instance of a resource.
#[derive(Debug, Clone, PartialEq)]
pub struct Instance {
    /// Its address, with the key if the resource is repeated.
    pub address: Address,
    /// `each.value`, for `for_each`.
    pub(crate) each_value: Option<Value>,
}

/// The values of one run.
pub struct Scope<'a> {
    program: &'a Program,
    world: &'a dyn World,
    /// Values of resources that were applied; none while planning, where they are set.
    applied: Option<&'a dyn Applied>,
    frames: RefCell<Vec<Rc<Frame>>>,
    by_path: RefCell<HashMap<Vec<ModuleStep>, ModuleInstance>>,
    files: RefCell<BTreeMap<String, String>>,
    diagnostics: RefCell<Diagnostics>,
    /// Bytes of all values that came of it.
    kept: Cell<usize>,
}

impl<'a> Scope<'a> {
    /// Starts a run: variables get their values, which are converted and validated. Of several inputs for one variable
    /// the last counts.
    pub fn new(program: &'a Program, world: &'a dyn World, inputs: &[Input]) -> Self {
        let mut diagnostics = Diagnostics::new();
        let variables = input::bind(program.root(), inputs, &mut diagnostics);
        let root = Frame::root(program, variables);
        let scope = Self {
            program,
            world,
            applied: None,
            frames: RefCell::new(vec![Rc::new(root)]),
            by_path: RefCell::new(HashMap::from([(Vec::new(), ModuleInstance::ROOT)])),
            files: RefCell::default(),
            diagnostics: RefCell::new(diagnostics),
            kept: Cell::new(0),
        };
        scope.validate(ModuleInstance::ROOT);
        scope
    }

    /// Takes the values of resources from what was applied, instead of having them set.
    #[must_use]
    pub fn with_applied(mut self, applied: &'a dyn Applied) -> Self {
        self.applied = Some(applied);
        self
    }

    /// Returns the program.
    pub fn program(&self) -> &'a Program {
        self.program
    }

    /// Returns the value of a variable of the root.
    pub fn variable(&self, name: &str) -> Option<Value> {
        self.settle(ModuleInstance::ROOT, Name::Variable(name.to_owned())).ok()
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
        if let Some(frame) = self.frame_of(address) {
            frame.known(address).set(&address.key, value);
        }
    }

    /// Says that an instance has no value because it is wrong; what depends on it fails silently.
    pub fn poison(&mut self, address: &Address) {
        if let Some(frame) = self.frame_of(address) {
            frame.known(address).poison(&address.key);
        }
    }

    /// Returns the instance of a module that an address lies in; none when there is no such instance.
    pub fn module(&self, path: &[ModuleStep]) -> Option<ModuleInstance> {
        if let Some(found) = self.by_path.borrow().get(path) {
            return Some(*found);
        }
        let (last, before) = path.split_last()?;
        let caller = self.module(before)?;
        self.callee(caller, &last.name, &last.key)
    }

    /// Returns where an instance of a module is: the calls that lead to it.
    pub fn path(&self, module: ModuleInstance) -> Vec<ModuleStep> {
        self.frame(module).path.clone()
    }

    /// Returns the instance that called an instance of a module; none for the root.
    pub fn caller(&self, module: ModuleInstance) -> Option<ModuleInstance> {
        self.frame(module).caller.as_ref().map(|caller| caller.module)
    }

    /// Returns the instances of a module call, or the one of a key; none when it could not be expanded.
    pub fn callees(&self, module: ModuleInstance, call: &str, key: Option<&Key>) -> Vec<ModuleInstance> {
        if let Some(key) = key {
            return self.callee(module, call, &Some(key.clone())).into_iter().collect();
        }
        let Ok(opened) = self.opened(module, call) else { return Vec::new() };
        opened.keys.keys().filter_map(|key| self.callee(module, call, key)).collect()
    }

    /// Checks the conditions on the variables of an instance of a module; those that fail have no value any more.
    pub fn validate(&self, module: ModuleInstance) {
        let frame = self.frame(module);
        for variable in self.module_at(&frame).variables.values().filter(|it| !it.validations.is_empty()) {
            let name = Name::Variable(variable.name.clone());
            if self.settle(module, name.clone()).is_err() {
                continue;
            }
            let mut context = self.context(module);
            let what = format!("the validation of `{}`", variable.name);
            let holds = self.checks(&mut context, &variable.validations, &what);
            self.collect(context);
            if !holds {
                frame.values.borrow_mut().insert(name, Err(Failed));
            }
        }
    }

    /// Evaluates the outputs of an instance of a called module, so that what is wrong with them is told.
    pub fn check_output(&self, module: ModuleInstance, name: &str) {
        // What failed was reported.
        let _settled = self.settle(module, Name::Output(name.to_owned()));
    }

    /// Evaluates a local of an instance of a module although nothing may use it, so that what is wrong with it is told.
    pub fn check_local(&self, module: ModuleInstance, name: &str) {
        // What failed was reported.
        let _settled = self.settle(module, Name::Local(name.to_owned()));
    }

    /// Evaluates a `check` of an instance of a module. Whatever is wrong with it is a warning.
    pub fn check(&self, module: ModuleInstance, assertions: &Assertions) {
        let mut context = self.context(module);
        self.checks(&mut context, &assertions.asserts, &format!("check `{}`", assertions.name));
        let found = std::mem::take(&mut context.diagnostics);
        let warnings = found.into_iter().map(|diagnostic| {
            let code = if diagnostic.code == "E0601" { "W0601" } else { diagnostic.code };
            Diagnostic { severity: Severity::Warning, code, ..diagnostic }
        });
        self.diagnostics.borrow_mut().extend(warnings);
    }

    /// Evaluates an output of the root; none when it failed, or when what it needs did.
    pub fn output(&self, output: &Output) -> Option<Value> {
        let mut context = self.context(ModuleInstance::ROOT);
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
        let mut context = self.context(ModuleInstance::ROOT);
        let value = context.evaluate(expression).ok();
        self.collect(context);
        value
    }

    /// Evaluates the block `state` of `lustre`, if there is one: labels say which backend.
    pub fn state_backend(&self) -> Option<Block> {
        self.setting(self.program.root().settings.state.as_ref())
    }

    /// Evaluates the block `encryption` of `lustre`, if there is one.
    pub fn encryption(&self) -> Option<Block> {
        self.setting(self.program.root().settings.encryption.as_ref())
    }

    fn setting(&self, syntax: Option<&BlockSyntax>) -> Option<Block> {
        let syntax = syntax?;
        let mut context = self.context(ModuleInstance::ROOT);
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

    /// Returns the address of an instance of a module, when there may be others of its kind.
    pub(crate) fn frame_address(&self, module: ModuleInstance) -> Option<Address> {
        let frame = self.frame(module);
        let repeated = frame.path.iter().any(|step| step.key.is_some());
        let caller = frame.caller.as_ref().filter(|_| repeated)?;
        Some(caller.instance.address.clone())
    }

    fn frame(&self, module: ModuleInstance) -> Rc<Frame> {
        Rc::clone(&self.frames.borrow()[module.0])
    }

    fn frame_of(&self, address: &Address) -> Option<Rc<Frame>> {
        self.module(&address.modules).map(|module| self.frame(module))
    }

    fn module_at(&self, frame: &Frame) -> &'a Module {
        self.program.module(frame.module)
    }

    fn context(&self, module: ModuleInstance) -> Context<'_> {
        Context::new(self.world, Some(self)).at(module)
    }

    /// Counts a value; returns what all have.
    pub(crate) fn keep(&self, bytes: usize) -> usize {
        self.kept.set(self.kept.get().saturating_add(bytes));
        self.kept.get()
    }

    fn collect(&self, context: Context<'_>) {
        self.diagnostics.borrow_mut().extend(context.diagnostics);
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

    fn output_of(&self, module: ModuleInstance, name: &str) -> Outcome {
        self.settle(module, Name::Output(name.to_owned()))
    }
}
