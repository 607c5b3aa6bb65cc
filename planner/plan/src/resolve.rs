//! What was unknown when a plan was made, once enough of it is applied.
//!
//! Evaluates the sealed sources again, with what is recorded now; reads no file and asks nobody.
//! Invariant: a value that the plan showed as known is what comes out.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lustre_language::{
    Applied, EmptyWorld, Expansion, Given, Input, ModuleInstance, Moment, Origin, Program, Scope,
    World as Outside,
};
use lustre_model::address::{Address, Key};
use lustre_model::diagnostic::{Diagnostic, Diagnostics, Severity};
use lustre_model::journal::{Resolve, ResolveError};
use lustre_model::plan::{Plan, Step};
use lustre_model::recorded::{Object, Output, Status, World};
use lustre_model::resource::{Attributes, Kind};
use lustre_model::types::Type;
use lustre_model::value::{Kind as ValueKind, Value};

use crate::KINDS;
use crate::allot::Allotted;
use crate::data::{self, Answer};
use crate::lower::{self, Giving};
use crate::outside::Telling;
use crate::provider::Providers;
use crate::publish::published;
use crate::schema::computed;
use crate::spec::{Decoded, Evaluation, decode};

/// Most blocks of data that are read for each other.
const DATA_DEPTH_MAX: u32 = 16;

/// A plan with its sources, read once.
pub struct Resolver {
    plan: Plan,
    program: Program,
    inputs: Vec<Input>,
    /// Places of changes in the plan.
    places: BTreeMap<Address, usize>,
    /// Instances of blocks, found once: they stay the same while a plan is carried out.
    expansions: Mutex<HashMap<Address, Expansion>>,
    /// Addresses of all data, and what was read of it.
    data: BTreeSet<Address>,
    read: Mutex<BTreeMap<Address, Attributes>>,
    /// Where data is read that could not be while planning.
    outside: Arc<dyn Outside + Send + Sync>,
    began: Option<Moment>,
}

/// Returns what a step's object is to become, all known but what apply computes, given what is recorded now.
pub fn resolve(plan: &Plan, address: &Address, world: &World) -> Result<Attributes, ResolveError> {
    let of = |step: &&Step| step.address == *address && step.after.is_some();
    let Some(step) = plan.steps().iter().find(of) else {
        let causes = vec!["the plan has no such step".to_owned()];
        return Err(ResolveError::Evaluation { address: address.to_string(), causes });
    };
    Resolver::new(plan.clone(), Arc::new(EmptyWorld)).attributes(step, world)
}

impl Resolver {
    /// Reads the sealed sources of a plan. Data that was not read while planning is read from `outside`.
    pub fn new(plan: Plan, outside: Arc<dyn Outside + Send + Sync>) -> Self {
        let spec = &plan.parts().spec;
        let files = spec.sources.iter().map(|source| (source.path.clone(), source.text.clone()));
        let (program, _) = Program::load(files, &KINDS);
        let input = |(name, value): (&String, &Value)| Input {
            name: name.clone(),
            given: Given::Value(value.clone()),
            origin: Origin::CommandLine,
        };
        // Ephemeral variables are not in the plan; what depends on them is a condition, which was checked before.
        let ephemeral = program.variables().filter(|variable| variable.ephemeral).map(|variable| Input {
            name: variable.name.clone(),
            given: Given::Value(Value::unknown(variable.constraint.clone())),
            origin: Origin::CommandLine,
        });
        let inputs = spec.variables.iter().map(input).chain(ephemeral).collect();
        let changes = plan.changes().iter().enumerate();
        let places = changes.map(|(place, change)| (change.address.clone(), place)).collect();
        let data = spec.data.keys().chain(&plan.parts().reads).cloned().collect();
        let read = Mutex::new(spec.data.clone());
        Self { program, inputs, places, expansions: Mutex::default(), data, read, outside, began: None, plan }
    }

    /// Says when the apply began, which makes `timestamp`, `uuid` and `bcrypt` known.
    #[must_use]
    pub fn began(mut self, at: Moment) -> Self {
        self.began = Some(at);
        self
    }

    /// Returns the outputs that are known by what is recorded in `world`; others are left out, whatever the reason.
    pub fn known_outputs(&self, world: &World) -> BTreeMap<String, Output> {
        let telling = Telling::new(&self.plan, self.began);
        let now = Now::new(self, world);
        let scope = Scope::new(&self.program, &telling, &self.inputs).with_applied(&now);
        let known = |output: &lustre_language::Output| {
            let value = scope.output(output).filter(Value::is_wholly_known)?;
            Some((output.name.clone(), Output { value, sensitive: output.sensitive }))
        };
        self.program.outputs().filter_map(known).collect()
    }

    /// Returns what data has; read now when it was not before.
    fn data(&self, address: &Address, now: &Now<'_>) -> Option<Attributes> {
        let kept = || self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(attributes) = kept().get(address) {
            return Some(attributes.clone());
        }
        if now.depth.get() >= DATA_DEPTH_MAX {
            return None;
        }
        now.depth.set(now.depth.get() + 1);
        let telling = Telling::new(&self.plan, self.began);
        let mut scope = Scope::new(&self.program, &telling, &self.inputs).with_applied(now);
        let attributes = self.read_data(address, &mut scope);
        now.depth.set(now.depth.get() - 1);
        now.found.borrow_mut().extend(scope.take_diagnostics());
        let check = self.program.resource(address).and_then(lustre_language::Resource::check);
        match (attributes?, check) {
            // It is read again whenever the check is evaluated.
            (Ok(attributes), Some(_)) => Some(attributes),
            (Err(refused), Some(check)) => {
                now.found.borrow_mut().push(data::unreadable(check, *refused));
                None
            }
            (Ok(attributes), None) => {
                kept().insert(address.clone(), attributes.clone());
                Some(attributes)
            }
            (Err(refused), None) => {
                now.found.borrow_mut().push(*refused);
                None
            }
        }
    }

    fn read_data(
        &self,
        address: &Address,
        scope: &mut Scope<'_>,
    ) -> Option<Result<Attributes, Box<Diagnostic>>> {
        let resource = self.program.resource(address)?;
        let module = scope.module(&address.modules)?;
        let instance = scope.instance(module, resource, address.key.clone())?;
        let evaluated = scope.evaluate(resource, &instance);
        let evaluation = if evaluated.complete { Evaluation::Complete } else { Evaluation::Partial };
        let mut found = Diagnostics::new();
        let question = data::decode(address, (&evaluated.body, evaluation), &mut found);
        let Some(question) = question else { return found.into_iter().next().map(|it| Err(Box::new(it))) };
        match data::read(&question, self.outside.as_ref()) {
            Ok(Answer::Read(attributes)) => Some(Ok(attributes)),
            Ok(Answer::Later) => None,
            Err(refused) => Some(Err(refused)),
        }
    }

    /// Evaluates with the program and the values that the plan was made from, so that places lie in that program's texts.
    #[must_use]
    pub fn as_loaded(mut self, program: Program, inputs: Vec<Input>) -> Self {
        (self.program, self.inputs) = (program, inputs);
        self
    }

    /// Asks for something with all values as they were applied in sight. What was found wrong before the question is dropped;
    /// what was wrong with data that the answer needed is returned beside.
    pub fn within<R>(&self, world: &World, ask: impl FnOnce(&Scope<'_>) -> R) -> (R, Diagnostics) {
        let telling = Telling::new(&self.plan, self.began);
        let now = Now::new(self, world);
        let scope = Scope::new(&self.program, &telling, &self.inputs).with_applied(&now);
        scope.take_diagnostics();
        let answer = ask(&scope);
        (answer, now.found.take())
    }

    /// Evaluates the blocks `check` of all modules; what is wrong is left in the scope.
    pub fn check_all(&self, scope: &Scope<'_>) {
        let mut modules = vec![(ModuleInstance::ROOT, self.program.root())];
        while let Some((instance, module)) = modules.pop() {
            module.assertions().for_each(|check| scope.check(instance, check));
            for call in module.calls() {
                let Some(callee) = self.program.callee(call) else { continue };
                modules.extend(scope.callees(instance, &call.name, None).into_iter().map(|it| (it, callee)));
            }
        }
    }

    fn expansions(&self) -> MutexGuard<'_, HashMap<Address, Expansion>> {
        // What is inside is whole after every insertion, whoever panicked.
        self.expansions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Evaluates the block of a step again, and nothing but what it needs.
    fn evaluate(&self, step: &Step, world: &World) -> Result<Attributes, ResolveError> {
        let whole = step.address.whole();
        let failed = |found: &Diagnostics| ResolveError::Evaluation {
            address: step.address.to_string(),
            causes: found.iter().map(cause).collect(),
        };
        let resource = self.program.resource(&whole);
        let resource = resource.ok_or_else(|| failed(&Diagnostics::new()))?;
        let kind = Kind::from_name(&whole.kind).ok_or_else(|| failed(&Diagnostics::new()))?;
        let telling = Telling::new(&self.plan, self.began);
        let now = Now::new(self, world);
        let mut scope = Scope::new(&self.program, &telling, &self.inputs).with_applied(&now);
        let module = scope.module(&whole.modules).ok_or_else(|| failed(&scope.take_diagnostics()))?;
        self.validate(&scope, module);
        let instance = scope.instance(module, resource, whole.key.clone());
        let instance = instance.ok_or_else(|| failed(&scope.take_diagnostics()))?;
        let mut evaluated = scope.evaluate(resource, &instance);
        let mut found = scope.take_diagnostics();
        found.extend(now.found.take());
        if kind.is_in_aws() {
            let providers = Providers::decode(scope.providers(), &mut found);
            let given = providers.give((resource, kind), &mut evaluated.body, &mut found);
            given.ok_or_else(|| failed(&found))?;
        }
        let evaluation = if evaluated.complete { Evaluation::Complete } else { Evaluation::Partial };
        let decoded = now.looked_at.borrow();
        let spec = decode((&whole, kind), (&evaluated.body, evaluation), &decoded, &mut found);
        let spec = spec.filter(|_| !found.has_errors()).ok_or_else(|| failed(&found))?;
        let mut attributes = spec.attributes;
        let planned = self.planned(&whole);
        let mut giving = Giving {
            world: &planned,
            allotted: &mut Allotted::new(&planned),
            decoded: &decoded,
            found: &mut found,
            goes: &|_, _| false,
        };
        let given = (spec.storage.as_ref(), resource.span);
        let targets = lower::completed((&whole, kind), &mut attributes, given, &mut giving);
        let targets = targets.ok_or_else(|| failed(&found))?;
        if step.address == whole {
            return Ok(attributes);
        }
        let target = targets.into_iter().find(|target| target.address == step.address);
        target.map(|target| target.attributes).ok_or_else(|| failed(&found))
    }

    /// Checks what was unknown of the variables of a module, and of those around it, when the plan was made.
    fn validate(&self, scope: &Scope<'_>, module: ModuleInstance) {
        let mut next = Some(module).filter(|module| *module != ModuleInstance::ROOT);
        while let Some(module) = next {
            scope.validate(module);
            next = scope.caller(module).filter(|module| *module != ModuleInstance::ROOT);
        }
    }

    /// What an object has now: recorded when it was applied, else planned.
    fn current(&self, address: &Address, world: &World) -> Option<Attributes> {
        let place = self.places.get(address).copied();
        let planned = place.and_then(|place| self.plan.changes()[place].after.clone());
        let done = world.objects.get(address).filter(|object| object.status == Status::Present);
        let unknown = planned.as_ref().is_some_and(|all| all.values().any(|value| !value.is_wholly_known()));
        match (done, planned) {
            (Some(object), Some(planned)) if unknown => Some(merge(&planned, &object.attributes)),
            (_, Some(planned)) => Some(planned),
            (Some(object), None) => Some(object.attributes.clone()),
            (None, None) => None,
        }
    }

    fn parts(&self, address: &Address) -> Vec<&Address> {
        let own = self.places.range(address.clone()..).take_while(|(part, _)| part.whole() == *address);
        let there = own.filter(|(_, place)| self.plan.changes()[**place].after.is_some());
        there.map(|(part, _)| part).filter(|part| !part.parts.is_empty()).collect()
    }

    /// A world in which nothing but a whole and its parts is recorded, as planned, so that what was given out is given
    /// again.
    fn planned(&self, whole: &Address) -> World {
        let mut planned = World::default();
        let own = self.places.range(whole.clone()..).take_while(|(part, _)| part.whole() == *whole);
        for (address, place) in own {
            let change = &self.plan.changes()[*place];
            let Some(after) = &change.after else { continue };
            let object = Object {
                kind: change.kind,
                attributes: after.clone(),
                private: BTreeMap::new(),
                dependencies: BTreeSet::new(),
                status: Status::Creating,
            };
            planned.objects.insert(address.clone(), object);
        }
        planned
    }
}

/// What is applied now, for whoever evaluates a block again.
struct Now<'a> {
    resolver: &'a Resolver,
    world: &'a World,
    /// Objects that were asked for, with what they have.
    looked_at: RefCell<Decoded>,
    /// How many blocks of data are being read for each other.
    depth: Cell<u32>,
    /// What went wrong with data.
    found: RefCell<Diagnostics>,
}

impl<'a> Now<'a> {
    fn new(resolver: &'a Resolver, world: &'a World) -> Self {
        Self {
            resolver,
            world,
            looked_at: RefCell::default(),
            depth: Cell::new(0),
            found: RefCell::default(),
        }
    }
}

impl Applied for Now<'_> {
    fn keys(&self, block: &Address) -> Vec<Option<Key>> {
        let data = self.resolver.data.range(block.clone()..).take_while(|it| it.block() == *block);
        let data: Vec<Option<Key>> = data.map(|address| address.key.clone()).collect();
        if !data.is_empty() {
            return data;
        }
        let own = self.resolver.places.range(block.clone()..);
        let own = own.take_while(|(address, _)| address.block() == *block);
        let there = own.filter(|(address, place)| {
            address.parts.is_empty() && self.resolver.plan.changes()[**place].after.is_some()
        });
        there.map(|(address, _)| address.key.clone()).collect()
    }

    fn expansion(&self, block: &Address) -> Option<Expansion> {
        self.resolver.expansions().get(block).cloned()
    }

    fn keep(&self, block: &Address, expansion: Expansion) {
        self.resolver.expansions().insert(block.clone(), expansion);
    }

    fn value(&self, instance: &Address) -> Option<Value> {
        if self.resolver.program.resource(instance).is_some_and(|it| it.check().is_some()) {
            // What is wrong was noted, and what the check asserts about it is neither true nor false.
            let read = self.resolver.data(instance, self).map(Value::object);
            return Some(read.unwrap_or_else(|| Value::unknown(Type::Any)));
        }
        if self.resolver.data.contains(instance) {
            return self.resolver.data(instance, self).map(Value::object);
        }
        let kind = Kind::from_name(&instance.kind)?;
        let attributes = self.resolver.current(instance, self.world)?;
        let parts = self.resolver.parts(instance);
        let value = published((instance, kind), &attributes, &parts);
        self.looked_at.borrow_mut().insert(instance.clone(), (kind, attributes));
        Some(value)
    }
}

impl Resolve for Resolver {
    fn attributes(&self, step: &Step, world: &World) -> Result<Attributes, ResolveError> {
        let mut planned = step.after.clone().unwrap_or_default();
        planned
            .retain(|name, value| value.is_wholly_known() || !computed(step.kind).contains(&name.as_str()));
        let conditions = || self.program.resource(&step.address).is_some_and(|it| it.has_preconditions());
        if planned.values().all(Value::is_wholly_known) {
            // Preconditions may have been unknown when the plan was made.
            if step.address.parts.is_empty() && conditions() {
                self.evaluate(step, world)?;
            }
            return Ok(planned);
        }
        let evaluated = self.evaluate(step, world)?;
        for (name, value) in &mut planned {
            if value.is_wholly_known() {
                continue;
            }
            let error = |differs: bool| {
                let (address, attribute) = (step.address.to_string(), name.clone());
                if differs {
                    ResolveError::Differs { address, attribute }
                } else {
                    ResolveError::StillUnknown { address, attribute }
                }
            };
            let Some(known) = evaluated.get(name) else {
                // Null, which attributes do not hold.
                *value = Value::null(value.type_of());
                continue;
            };
            if !known.is_wholly_known() {
                return Err(error(false));
            }
            if !conforms(value, known) {
                return Err(error(true));
            }
            *value = known.clone();
        }
        planned.retain(|_, value| !value.is_null());
        Ok(planned)
    }

    fn verify(&self, step: &Step, world: &World) -> Result<(), ResolveError> {
        let address = &step.address;
        let resource = self.program.resource(address).filter(|_| address.parts.is_empty());
        let Some(resource) = resource.filter(|resource| resource.has_postconditions()) else {
            return Ok(());
        };
        let telling = Telling::new(&self.plan, self.began);
        let now = Now::new(self, world);
        let scope = Scope::new(&self.program, &telling, &self.inputs).with_applied(&now);
        scope.take_diagnostics();
        let instance = scope
            .module(&address.modules)
            .and_then(|module| scope.instance(module, resource, address.key.clone()));
        if instance.is_some_and(|instance| scope.postconditions_hold(resource, &instance)) {
            return Ok(());
        }
        let causes = scope.take_diagnostics().iter().map(cause).collect();
        Err(ResolveError::Unfulfilled { address: address.to_string(), causes })
    }

    fn warnings(&self, world: &World) -> Vec<Diagnostic> {
        let (mut found, of_data) = self.within(world, |scope| {
            self.check_all(scope);
            scope.take_diagnostics()
        });
        found.extend(of_data);
        // The texts that places are in are not at hand for whoever carries a plan out.
        let placeless = |found: Diagnostic| Diagnostic { span: None, related: Vec::new(), ..found };
        found.into_iter().filter(|it| it.severity == Severity::Warning).map(placeless).collect()
    }

    fn outputs(&self, world: &World) -> Result<BTreeMap<String, Output>, ResolveError> {
        let telling = Telling::new(&self.plan, self.began);
        let now = Now::new(self, world);
        let scope = Scope::new(&self.program, &telling, &self.inputs).with_applied(&now);
        let mut outputs = BTreeMap::new();
        for output in self.program.outputs() {
            let address = || format!("output.{}", output.name);
            let Some(value) = scope.output(output) else {
                let causes = scope.take_diagnostics().iter().map(|found| found.summary.clone()).collect();
                return Err(ResolveError::Evaluation { address: address(), causes });
            };
            if !value.is_wholly_known() {
                return Err(ResolveError::StillUnknown { address: address(), attribute: "value".to_owned() });
            }
            outputs.insert(output.name.clone(), Output { value, sensitive: output.sensitive });
        }
        Ok(outputs)
    }
}

/// Says what is wrong in one line; of a condition, in the words of the spec.
fn cause(found: &Diagnostic) -> String {
    match found.detail.as_str() {
        "" => found.summary.clone(),
        detail => format!("{}: {detail}", found.summary),
    }
}

/// Fills the unknown attributes of a plan from what was recorded.
fn merge(planned: &Attributes, recorded: &Attributes) -> Attributes {
    let mut merged = planned.clone();
    for (name, value) in &mut merged {
        if let Some(known) = recorded.get(name).filter(|_| !value.is_wholly_known()) {
            *value = known.clone();
        }
    }
    merged
}

/// Tells whether a value is what a plan with unknown parts promised.
fn conforms(planned: &Value, actual: &Value) -> bool {
    match (planned.kind(), actual.kind()) {
        (ValueKind::Unknown(_), _) => true,
        (ValueKind::List(..) | ValueKind::Tuple(_), ValueKind::List(..) | ValueKind::Tuple(_)) => {
            let (planned, actual): (Vec<_>, Vec<_>) = (planned.parts().collect(), actual.parts().collect());
            planned.len() == actual.len()
                && planned.iter().zip(&actual).all(|(planned, actual)| conforms(planned, actual))
        }
        (
            ValueKind::Map(_, planned) | ValueKind::Object(planned, _),
            ValueKind::Map(_, actual) | ValueKind::Object(actual, _),
        ) => {
            planned.len() == actual.len()
                && planned
                    .iter()
                    .all(|(name, value)| actual.get(name).is_some_and(|actual| conforms(value, actual)))
        }
        // Unknown elements of a set may turn out equal to each other.
        (ValueKind::Set(..), ValueKind::Set(..)) => true,
        (planned, actual) => planned == actual,
    }
}
