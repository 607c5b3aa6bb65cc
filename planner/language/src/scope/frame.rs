//! One instance of a module: its values so far, and how it was called.
//!
//! Invariant: a frame never changes its place; what is in it is only added to, or found to have failed.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use indexmap::IndexMap;
use lustre_model::address::{Address, Key, ModuleStep};
use lustre_model::value::Value;

use crate::evaluate::{Failed, Outcome};
use crate::graph::call_address;
use crate::program::{ModuleId, Program, Repetition};
use crate::scope::known::{Expansion, Known};
use crate::scope::{Instance, ModuleInstance, Scope};

/// Most instances of modules in one run.
const FRAMES_MAX: usize = 1_000_000;

/// A name whose value is computed when it is first needed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Name {
    Variable(String),
    Local(String),
    Output(String),
    /// How many instances a module call has; its value is in [`Frame::calls`].
    Call(String),
}

/// How an instance of a module was called.
#[derive(Debug)]
pub(super) struct Caller {
    /// Who called.
    pub(super) module: ModuleInstance,
    /// Label of the call.
    pub(super) call: String,
    /// Address of this instance, and its `each.value`.
    pub(super) instance: Instance,
}

/// The instances of a module call.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) keys: Expansion,
    pub(super) counted: bool,
    /// All instances as one value, made when first asked for.
    pub(super) whole: RefCell<Option<Value>>,
}

/// One instance of a module.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) module: ModuleId,
    pub(super) path: Vec<ModuleStep>,
    pub(super) caller: Option<Caller>,
    pub(super) values: RefCell<HashMap<Name, Outcome>>,
    resources: RefCell<HashMap<(String, String), Rc<Known>>>,
    pub(super) calls: RefCell<HashMap<String, Result<Rc<Opened>, Failed>>>,
}

impl Frame {
    pub(super) fn root(program: &Program, variables: IndexMap<String, Outcome>) -> Self {
        let values = variables.into_iter().map(|(name, value)| (Name::Variable(name), value));
        Self {
            values: RefCell::new(values.collect()),
            ..Self::new(ModuleId(program.modules.len().saturating_sub(1)), Vec::new(), None)
        }
    }

    fn new(module: ModuleId, path: Vec<ModuleStep>, caller: Option<Caller>) -> Self {
        let values = RefCell::default();
        Self { module, path, caller, values, resources: RefCell::default(), calls: RefCell::default() }
    }

    /// Returns what is known of a resource of this module.
    pub(super) fn known(&self, address: &Address) -> Rc<Known> {
        let key = (address.kind.clone(), address.name.clone());
        Rc::clone(self.resources.borrow_mut().entry(key).or_default())
    }

    /// Returns the address that a block of this module has here.
    pub(super) fn address(&self, block: Address) -> Address {
        block.with_modules(self.path.clone())
    }
}

impl Scope<'_> {
    /// Returns the instances of a module call, expanding it when it is asked for first.
    pub(super) fn opened(&self, module: ModuleInstance, call: &str) -> Result<Rc<Opened>, Failed> {
        // Whether it worked is in the frame.
        let _settled = self.settle(module, Name::Call(call.to_owned()));
        self.frame(module).calls.borrow().get(call).cloned().unwrap_or(Err(Failed))
    }

    /// Expands a module call.
    pub(super) fn open(&self, module: ModuleInstance, name: &str) -> Result<Rc<Opened>, Failed> {
        let frame = self.frame(module);
        let call = self.module_at(&frame).calls.get(name).ok_or(Failed)?;
        if call.callee.is_none() {
            return Err(Failed);
        }
        let keys = self.expansion(module, &call.repetition, &call_address(&frame.path, call))?;
        let counted = matches!(call.repetition, Repetition::Count(_));
        Ok(Rc::new(Opened { keys, counted, whole: RefCell::default() }))
    }

    /// Returns the instance of a module call that has a key; none when there is none, or are too many.
    pub(super) fn callee(
        &self,
        module: ModuleInstance,
        name: &str,
        key: &Option<Key>,
    ) -> Option<ModuleInstance> {
        let frame = self.frame(module);
        let mut path = frame.path.clone();
        path.push(ModuleStep { name: name.to_owned(), key: key.clone() });
        if let Some(found) = self.by_path.borrow().get(&path) {
            return Some(*found);
        }
        let opened = self.opened(module, name).ok()?;
        let each_value = opened.keys.get(key)?.clone();
        let call = self.module_at(&frame).calls.get(name)?;
        let callee = call.callee.as_ref()?;
        let address = call_address(&frame.path, call).with_key(key.clone());
        let instance = Instance { address, each_value };
        let caller = Caller { module, call: name.to_owned(), instance };
        let mut frames = self.frames.borrow_mut();
        if frames.len() >= FRAMES_MAX {
            let summary = format!("more than {FRAMES_MAX} instances of modules");
            let diagnostic = lustre_model::diagnostic::Diagnostic::error("E0705", summary);
            self.diagnostics.borrow_mut().push(diagnostic.at(call.span));
            return None;
        }
        let id = ModuleInstance(frames.len());
        frames.push(Rc::new(Frame::new(callee.module, path.clone(), Some(caller))));
        self.by_path.borrow_mut().insert(path, id);
        Some(id)
    }
}
