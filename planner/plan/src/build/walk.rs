//! The walk over the blocks of a spec: expand, evaluate, decode, move, lower, compare, publish.
//!
//! Invariant: what is published of an object is what it will have, with unknown values where apply decides.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use lustre_language::{
    Evaluated, Graph, GraphBlock, Imported, Input, Instance, Lifecycle, ModuleInstance, Program, Reach,
    Resource, Scope, nearest,
};
use lustre_model::address::{Address, Key};
use lustre_model::diagnostic::{Diagnostic, Diagnostics, Span};
use lustre_model::journal::Event;
use lustre_model::plan::{Action, Adoption, Change, Mode, Move};
use lustre_model::recorded::{Object, Output, World};
use lustre_model::resource::{Attributes, Kind};
use lustre_model::value::Value;

use super::{Options, SpecText};
use crate::adopt::{adoption, recorded};
use crate::allot::Allotted;
use crate::data::{self, Answer, Question};
use crate::depose::single;
use crate::diff::{Desired, Force, Ignore, change};
use crate::lower::{self, Giving};
use crate::moves::moves;
use crate::order::{Edge, order};
use crate::outside::Noting;
use crate::provider::Providers;
use crate::publish::published;
use crate::relocation::{Relocation, relocate};
use crate::schema::PREVENT_DESTROY;
use crate::spec::{Decoded, Evaluation, Spec, decode};

/// What the walk decided.
pub struct Decided<'a> {
    /// About every object of the spec.
    pub changes: BTreeMap<Address, Change>,
    /// Direct dependencies of every object of the spec.
    pub dependencies: BTreeMap<Address, BTreeSet<Address>>,
    /// Places of blocks.
    pub spans: BTreeMap<Address, Span>,
    /// Changes of addresses.
    pub moves: Vec<Move>,
    /// What is taken over.
    pub adopted: Vec<Adoption>,
    /// What is forgotten, as it was recorded.
    pub forgotten: BTreeMap<Address, Object>,
    /// What data was read.
    pub data: BTreeMap<Address, Attributes>,
    /// What data is read later.
    pub reads: Vec<Address>,
    /// Whose replacements are created before the old ones go, and where that is said.
    pub create_first: BTreeMap<Address, Span>,
    /// The recorded world after them; a copy only where something moved, was taken over or forgotten.
    pub world: Cow<'a, World>,
    /// Outputs as planned.
    pub outputs: BTreeMap<String, Output>,
    /// Values of variables.
    pub variables: BTreeMap<String, Value>,
    /// What is wrong.
    pub found: Diagnostics,
}

pub struct Walk<'a> {
    program: &'a Program,
    inputs: &'a [Input],
    scope: Scope<'a>,
    options: &'a Options,
    world: Cow<'a, World>,
    allotted: Allotted,
    decoded: Decoded,
    changes: BTreeMap<Address, Change>,
    dependencies: BTreeMap<Address, BTreeSet<Address>>,
    spans: BTreeMap<Address, Span>,
    moves: Vec<Move>,
    relocation: Relocation,
    /// What is to be taken over, by address.
    imports: BTreeMap<Address, Imported>,
    adopted: Vec<Adoption>,
    create_first: BTreeMap<Address, Span>,
    outside: &'a Noting<'a>,
    /// Data that was read, and data that is read later.
    data: BTreeMap<Address, Attributes>,
    reads: Vec<Address>,
    providers: Providers,
    found: Diagnostics,
}

/// Tells what stands behind the instance of a block that has a key, and behind no other.
type Counterparts<'a> = &'a dyn Fn(&Scope<'_>, &Key) -> Rc<BTreeSet<Address>>;

/// An instance whose body was decoded.
struct Decent {
    address: Address,
    instance: Instance,
    kind: Kind,
    spec: Spec,
    lifecycle: Lifecycle,
}

impl<'a> Walk<'a> {
    pub fn new(
        text: SpecText<'a>,
        recorded: &'a World,
        options: &'a Options,
        (noting, found): (&'a Noting<'a>, Diagnostics),
    ) -> Self {
        Self {
            program: text.program,
            inputs: text.inputs,
            scope: Scope::new(text.program, noting, text.inputs),
            options,
            world: Cow::Borrowed(recorded),
            allotted: Allotted::new(recorded),
            decoded: Decoded::new(),
            changes: BTreeMap::new(),
            dependencies: BTreeMap::new(),
            spans: BTreeMap::new(),
            moves: Vec::new(),
            relocation: Relocation::default(),
            imports: BTreeMap::new(),
            adopted: Vec::new(),
            create_first: BTreeMap::new(),
            outside: noting,
            data: BTreeMap::new(),
            reads: Vec::new(),
            providers: Providers::default(),
            found,
        }
    }

    /// Decides about every block of every module, in the order of their references.
    pub fn blocks(&mut self) {
        // What is evaluated this early must not be taken for what it will be when resources have values.
        let early = Scope::new(self.program, self.outside, self.inputs);
        early.take_diagnostics();
        let provided = early.providers();
        self.found.extend(early.take_diagnostics());
        self.providers = Providers::decode(provided, &mut self.found);
        let graph = Graph::new(self.program);
        self.relocation = relocate((&graph, self.program), &mut self.world, &mut self.found);
        self.moves.append(&mut self.relocation.moves);
        self.allotted = Allotted::new(&self.world);
        let imports = self.scope.imports().into_iter().chain(self.options.imports.iter().cloned());
        self.imports = imports.map(|it| (it.address.clone(), it)).collect();
        let edges: Vec<Edge> = (0..graph.nodes().len())
            .flat_map(|from| graph.edges(from).iter().map(move |edge| (from, edge)))
            .map(|(from, edge)| Edge { from, to: edge.to, span: edge.span })
            .collect();
        let ordered = match order(graph.nodes().len(), &edges, &|node| graph.label(node)) {
            Ok(ordered) => ordered,
            Err(circles) => {
                // A block that refers to itself was told of where it does.
                let own = self.found.iter().filter(|it| it.code == "E0305").filter_map(|it| it.span);
                let own: BTreeSet<Span> = own.collect();
                let told = |circle: &Diagnostic| {
                    let spans = circle.span.into_iter().chain(circle.related.iter().map(|it| it.span));
                    spans.into_iter().any(|span| own.contains(&span))
                };
                self.found.extend(circles.into_iter().filter(|circle| !told(circle)));
                return;
            }
        };
        drop(edges);
        let mut reach = Reach::default();
        // Instances of the module at each place.
        let mut modules = vec![Vec::new(); graph.places()];
        modules[0].push(ModuleInstance::ROOT);
        for number in ordered {
            let node = graph.nodes()[number];
            for place in 0..modules[node.place].len() {
                let module = modules[node.place][place];
                let references = reach.of(&graph, &self.scope, (number, module));
                match node.block {
                    GraphBlock::Resource(resource) if resource.is_data() => {
                        self.data((module, resource), &references);
                    }
                    GraphBlock::Resource(resource) => {
                        let counterparts = |scope: &Scope<'_>, key: &Key| {
                            reach.counterparts(&graph, scope, (number, module), key)
                        };
                        self.block((module, resource), (&references, &counterparts));
                    }
                    GraphBlock::Call(call) => {
                        let callees = self.scope.callees(module, &call.name, None);
                        if let Some(place) = graph.callee(node.place, call) {
                            modules[place].extend(callees);
                        }
                    }
                    GraphBlock::Inputs => self.scope.validate(module),
                    GraphBlock::Output(name) if node.place > 0 => self.scope.check_output(module, name),
                    GraphBlock::Local(name) => self.scope.check_local(module, name),
                    GraphBlock::Check(check) => self.scope.check(module, check),
                    GraphBlock::Output(_) | GraphBlock::Variable(_) | GraphBlock::Whole => {}
                }
            }
        }
    }

    /// Reports what the blocks `moved` and `import` say and the spec, once it is known, does not bear out.
    fn check_statements(&mut self) {
        let changes = &self.changes;
        let wanted = |address: &Address| changes.get(address).is_some_and(|change| change.after.is_some());
        self.relocation.still_there(wanted, &mut self.found);
        for (address, import) in self.imports.iter().filter(|(address, _)| !wanted(address)) {
            let summary = format!("`import` names {address}, which the spec does not have");
            let names = changes.keys().map(Address::to_string).collect::<Vec<_>>();
            let near = nearest(&address.to_string(), names.iter().map(String::as_str)).map(str::to_owned);
            let hint = near.map_or_else(
                || format!("Write its block, `{} \"{}\" {{ … }}`.", address.kind, address.name),
                |near| format!("Did you mean `{near}`?"),
            );
            self.found.push(Diagnostic::error("E0835", summary).hint(hint).at(import.span));
        }
    }

    /// Asks for something with the values that the walk found.
    pub fn ask<R>(mut self, ask: impl FnOnce(&Scope<'_>) -> R) -> (R, Diagnostics) {
        self.found.extend(self.scope.take_diagnostics());
        (ask(&self.scope), self.found)
    }

    pub fn decided(mut self) -> Decided<'a> {
        if !self.found.has_errors() {
            self.check_statements();
        }
        let mut outputs = BTreeMap::new();
        if self.options.mode != Mode::Destroy {
            for output in self.program.outputs() {
                if let Some(value) = self.scope.output(output) {
                    outputs.insert(output.name.clone(), Output { value, sensitive: output.sensitive });
                }
            }
        }
        let variables = self
            .program
            .variables()
            .filter(|variable| !variable.ephemeral)
            .filter_map(|variable| Some((variable.name.clone(), self.scope.variable(&variable.name)?)));
        let variables = variables.collect();
        let mut found = self.found;
        found.extend(self.scope.take_diagnostics());
        Decided {
            changes: self.changes,
            dependencies: self.dependencies,
            spans: self.spans,
            moves: self.moves,
            adopted: self.adopted,
            create_first: self.create_first,
            data: self.data,
            reads: self.reads,
            forgotten: self.relocation.forgotten,
            world: self.world,
            outputs,
            variables,
            found,
        }
    }

    /// Reads data of an instance of a module, or leaves it for later.
    fn data(&mut self, (module, resource): (ModuleInstance, &'a Resource), references: &BTreeSet<Address>) {
        let pending =
            |address: &Address| self.changes.get(address).is_some_and(|change| change.action != Action::NoOp);
        let behind = || references.iter().flat_map(|reference| self.instances_of(reference));
        let wait = resource.has_depends_on() && behind().any(|address| pending(&address));
        for instance in self.scope.expand(module, resource) {
            let Evaluated { body, complete, .. } = self.scope.evaluate(resource, &instance);
            self.found.extend(self.scope.take_diagnostics());
            let evaluation = if complete { Evaluation::Complete } else { Evaluation::Partial };
            let question = data::decode(&instance.address, (&body, evaluation), &mut self.found);
            if let (Some(check), Some(question)) = (resource.check(), &question) {
                self.data_of_check((&instance.address, check), question, wait);
                continue;
            }
            let answer = question.as_ref().map(|question| match data::read(question, self.outside) {
                Ok(Answer::Read(attributes)) if !wait => Ok(Some(attributes)),
                Ok(Answer::Read(_) | Answer::Later) => Ok(None),
                Err(_) if wait => Ok(None),
                Err(refused) => Err(refused),
            });
            let attributes = match (question, answer) {
                (Some(_), Some(Ok(Some(attributes)))) => {
                    self.data.insert(instance.address.clone(), attributes.clone());
                    attributes
                }
                (Some(question), Some(Ok(None))) => {
                    self.reads.push(instance.address.clone());
                    data::unread(&question)
                }
                (_, failed) => {
                    self.found.extend(failed.and_then(Result::err).map(|refused| *refused));
                    self.scope.poison(&instance.address);
                    continue;
                }
            };
            self.scope.set(&instance.address, Value::object(attributes));
            if resource.has_postconditions() && !self.scope.postconditions_hold(resource, &instance) {
                self.scope.poison(&instance.address);
            }
        }
        self.found.extend(self.scope.take_diagnostics());
    }

    /// Reads the data of a check. Nothing of it is sealed: it is read again whenever the check is evaluated.
    fn data_of_check(&mut self, (address, check): (&Address, &str), question: &Question, wait: bool) {
        let attributes = match data::read(question, self.outside) {
            Ok(Answer::Read(attributes)) if !wait => attributes,
            Ok(Answer::Read(_) | Answer::Later) => data::unread(question),
            Err(refused) => {
                // What it depends on may only come to be with this plan.
                self.found.extend((!wait).then(|| data::unreadable(check, *refused)));
                data::unread(question)
            }
        };
        self.scope.set(address, Value::object(attributes));
    }

    /// Decides about a resource of an instance of a module; `references` are the blocks and instances behind all of its
    /// instances, `counterparts` those behind the one with a key.
    fn block(
        &mut self,
        (module, resource): (ModuleInstance, &'a Resource),
        (references, counterparts): (&BTreeSet<Address>, Counterparts<'_>),
    ) {
        let Some(kind) = Kind::from_name(&resource.kind) else { return };
        let mut decoded = Vec::new();
        for instance in self.scope.expand(module, resource) {
            let evaluated = self.scope.evaluate(resource, &instance);
            self.found.extend(self.scope.take_diagnostics());
            match self.decode((resource, &instance, kind), evaluated) {
                Some(decent) => decoded.push(decent),
                None => self.scope.poison(&instance.address),
            }
        }
        self.found.extend(self.scope.take_diagnostics());
        self.renamed(kind, &decoded);
        let dependencies: BTreeSet<Address> =
            references.iter().flat_map(|reference| self.instances_of(reference)).collect();
        for decent in decoded {
            let address = decent.address.clone();
            self.spans.insert(address.clone(), resource.span);
            let instance = resource.has_postconditions().then(|| decent.instance.clone());
            let own = address.key.as_ref().map(|key| counterparts(&self.scope, key)).unwrap_or_default();
            let own = own.iter().flat_map(|reference| self.instances_of(reference));
            let dependencies = dependencies.iter().cloned().chain(own).collect();
            if self.decide(decent, (dependencies, resource.span)).is_none() {
                self.scope.poison(&address);
            } else if let Some(instance) = instance {
                // What is wrong was reported; what depends on it would only repeat that.
                if !self.scope.postconditions_hold(resource, &instance) {
                    self.scope.poison(&address);
                }
            }
        }
    }

    fn decode(
        &mut self,
        (resource, instance, kind): (&Resource, &Instance, Kind),
        evaluated: Evaluated,
    ) -> Option<Decent> {
        let address = &instance.address;
        let Evaluated { mut body, lifecycle, complete } = evaluated;
        if kind.is_in_aws() || resource.provider().is_some() {
            self.providers.give((resource, kind), &mut body, &mut self.found)?;
        }
        let evaluation = if complete { Evaluation::Complete } else { Evaluation::Partial };
        let mut spec = decode((address, kind), (&body, evaluation), &self.decoded, &mut self.found)?;
        if lifecycle.create_before_destroy {
            match single(kind) {
                None => drop(self.create_first.insert(address.clone(), body.span)),
                Some(reason) => {
                    let summary = format!("`create_before_destroy` of a {kind} is not supported");
                    self.found.push(Diagnostic::error("E0806", summary).detail(reason).at(body.span));
                }
            }
        }
        let scratch = |value: &Value| value.as_str().is_some_and(|text| text.starts_with("SCRATCH"));
        let durable = kind == Kind::Cluster && !spec.attributes.get("deployment_type").is_some_and(scratch);
        if lifecycle.prevent_destroy.unwrap_or(durable) {
            spec.attributes.insert(PREVENT_DESTROY.to_owned(), Value::from(true));
        }
        Some(Decent { address: address.clone(), instance: instance.clone(), kind, spec, lifecycle })
    }

    /// Moves recorded instances of the block to the keys that they have now.
    fn renamed(&mut self, kind: Kind, decoded: &[Decent]) {
        let instances = decoded.iter().map(|it| (it.address.clone(), &it.spec.attributes)).collect();
        let moves = moves(kind, &instances, &self.world);
        if !moves.is_empty() && self.world.to_mut().apply(&Event::MovedAll { moves: moves.clone() }).is_ok() {
            moves.iter().for_each(|found| self.allotted.rename(&found.from, &found.to));
            self.moves.extend(moves);
        }
    }

    /// All decided instances that a reference means.
    fn instances_of(&self, reference: &Address) -> Vec<Address> {
        if reference.key.is_some() {
            // What `try` asked for in vain is nothing to depend on.
            return self.decoded.contains_key(reference).then(|| reference.clone()).into_iter().collect();
        }
        let from = self.decoded.range(reference.clone()..).map(|(address, _)| address);
        from.take_while(|address| address.block() == *reference).cloned().collect()
    }

    fn decide(&mut self, decent: Decent, (dependencies, span): (BTreeSet<Address>, Span)) -> Option<()> {
        let Decent { address, kind, spec, lifecycle, .. } = decent;
        let mut attributes = spec.attributes;
        let (changes, requests) = (&self.changes, &self.options.replace);
        let replaced =
            |host: &Address| changes.get(host).is_some_and(|change| change.action == Action::Replace);
        let asked = |address: &Address| requests.iter().any(|pattern| pattern.covers(address));
        let goes = |target: &Address, host: &Address| !asked(&address) && (asked(target) || replaced(host));
        let mut giving = Giving {
            world: &self.world,
            allotted: &mut self.allotted,
            decoded: &self.decoded,
            found: &mut self.found,
            goes: &goes,
        };
        let given = (spec.storage.as_ref(), span);
        let targets = lower::completed((&address, kind), &mut attributes, given, &mut giving)?;
        let ignore = self.ignored(kind, &lifecycle, &attributes);
        let desired = Desired { address: address.clone(), kind, attributes, ignore };
        let force = self.force(&desired, &lifecycle);
        self.compare(&desired, force, dependencies);
        for target in targets {
            let ignore = Ignore::Names(Vec::new());
            let desired = Desired {
                address: target.address,
                kind: Kind::Target,
                attributes: target.attributes,
                ignore,
            };
            let force = self.force(&desired, &Lifecycle::default());
            self.compare(&desired, force, target.dependencies);
        }
        self.publish(&address, kind);
        Some(())
    }

    fn compare(&mut self, desired: &Desired, force: Force, dependencies: BTreeSet<Address>) {
        let imported = self.adopt(desired);
        let recorded = self.world.objects.get(&desired.address);
        let change = Change { imported, ..change(desired, recorded, force) };
        self.changes.insert(desired.address.clone(), change);
        self.dependencies.insert(desired.address.clone(), dependencies);
    }

    /// Takes an object over that an `import` block names and that is not recorded; returns what it was known by.
    fn adopt(&mut self, desired: &Desired) -> Option<String> {
        let import = self.imports.get(&desired.address)?;
        if self.world.objects.contains_key(&desired.address) {
            return None;
        }
        match adoption(desired, import, self.outside) {
            Ok(adoption) => {
                self.world.to_mut().objects.insert(adoption.address.clone(), recorded(&adoption));
                self.adopted.push(adoption);
                Some(import.id.clone())
            }
            Err(refused) => {
                self.found.push(*refused);
                None
            }
        }
    }

    fn publish(&mut self, address: &Address, kind: Kind) {
        let Some(after) = self.changes.get(address).and_then(|change| change.after.clone()) else { return };
        let targets = self.changes.range(address.clone()..).map(|(address, _)| address);
        let targets: Vec<&Address> =
            targets.take_while(|part| part.whole() == *address).filter(|part| *part != address).collect();
        let value = published((address, kind), &after, &targets);
        self.decoded.insert(address.clone(), (kind, after));
        self.scope.set(address, value);
    }

    fn ignored(&mut self, kind: Kind, lifecycle: &Lifecycle, attributes: &Attributes) -> Ignore {
        if lifecycle.ignore_all {
            return Ignore::All;
        }
        let known =
            |name: &str| attributes.contains_key(name) || crate::publish::optional(kind).contains(&name);
        for (name, span) in lifecycle.ignore_changes.iter().filter(|(name, _)| !known(name)) {
            let summary = format!("`ignore_changes` names `{name}`, which a {kind} does not record");
            self.found.push(Diagnostic::error("E0813", summary).at(*span));
        }
        Ignore::Names(lifecycle.ignore_changes.iter().map(|(name, _)| name.clone()).collect())
    }

    /// Tells whether something else than its own attributes makes a replacement of an object necessary.
    fn force(&self, desired: &Desired, lifecycle: &Lifecycle) -> Force {
        let replaced = |address: &Address| {
            self.changes.get(address).is_some_and(|change| change.action == Action::Replace)
        };
        let stands_on = desired.kind.references().iter().filter_map(|name| desired.attributes.get(*name));
        let mut parents = stands_on.filter_map(|value| value.as_str()?.parse::<Address>().ok());
        if parents.any(|parent| replaced(&parent)) {
            return Force::Parent;
        }
        if self.is_asked_for(desired) {
            return Force::Request;
        }
        let triggered = |(address, attribute): &(Address, Option<String>)| {
            self.instances_of(address)
                .iter()
                .any(|instance| self.changes_there(instance, attribute.as_deref()))
        };
        if lifecycle.replace_triggered_by.iter().any(triggered) { Force::Trigger } else { Force::None }
    }

    /// Tells whether `-replace` names the object. Without its metadata target a cluster is none, so that who names the one
    /// names the other.
    fn is_asked_for(&self, desired: &Desired) -> bool {
        let metadata = (desired.kind == Kind::Cluster)
            .then(|| desired.attributes.get("fs_name")?.as_str().map(|name| format!("{name}-MDT0000")))
            .flatten()
            .map(|id| desired.address.clone().part(lower::TARGET, id));
        let named = |address: &Address| self.options.replace.iter().any(|pattern| pattern.covers(address));
        named(&desired.address) || metadata.is_some_and(|metadata| named(&metadata))
    }

    fn changes_there(&self, address: &Address, attribute: Option<&str>) -> bool {
        let Some(change) = self.changes.get(address) else { return false };
        match (change.action, attribute) {
            (Action::NoOp | Action::Create, _) => false,
            (Action::Replace, _) | (_, None) => true,
            (Action::Update | Action::Delete | Action::Read | Action::Forget, Some(name)) => {
                let side = |attributes: &Option<Attributes>| {
                    attributes.as_ref().and_then(|all| all.get(name).cloned())
                };
                side(&change.before) != side(&change.after)
            }
        }
    }
}
