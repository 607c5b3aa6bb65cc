//! What depends on what, over all modules: nodes are blocks at a place in the tree of calls, edges are mentions.
//!
//! ```text
//! value.a ──▶ local.x ──▶ module.m.output.o ──▶ module.m.value.b ──▶ module.m.var.i ──▶ value.c
//! ```
//! Places and not instances: a module called once with a thousand keys has one place. An edge says which instances it means
//! where the text does: one with its key written out, or the counterpart, `value.a[each.key]`, so that a thousand pairs need
//! a thousand dependencies and not a million. Variables, locals and outputs are
//! nodes of their own, so that a chain of them is walked once and not once for everything that uses it. Which order
//! follows, and which circle forbids one, is the planner's.
//! Invariant: a dependency that evaluation needs is always an edge, perhaps through several nodes.

use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;

use lustre_model::address::{Address, Key, ModuleStep};
use lustre_model::diagnostic::Span;

use crate::mention::{self, Reference};
use crate::program::{Assertions, Module, ModuleCall, Program, Repetition, Resource};
use crate::scope::{ModuleInstance, Scope};
use crate::syntax::{Expr, ExprKind, Step};

/// Most places in the tree of calls.
pub(crate) const PLACES_MAX: usize = 10_000;

/// A block at a place.
#[derive(Debug, Clone, Copy)]
pub struct Node<'a> {
    /// The place, by its number.
    pub place: usize,
    /// What is there.
    pub block: Block<'a>,
}

/// What a node is.
#[derive(Debug, Clone, Copy)]
pub enum Block<'a> {
    /// A resource.
    Resource(&'a Resource),
    /// A call of a module: how many instances it has.
    Call(&'a ModuleCall),
    /// The conditions on the variables of a called module.
    Inputs,
    /// A variable of a called module.
    Variable(&'a str),
    /// A local.
    Local(&'a str),
    /// An output.
    Output(&'a str),
    /// A `check`.
    Check(&'a Assertions),
    /// Everything in a called module.
    Whole,
}

/// A node needs another.
#[derive(Debug, Clone)]
pub struct Edge {
    /// The other node.
    pub to: usize,
    /// Where it is mentioned.
    pub span: Span,
    which: Which,
    purpose: Purpose,
}

/// Which instances an edge means, of the resource or the module call that it leads to.
#[derive(Debug, Clone, PartialEq)]
enum Which {
    All,
    /// The one with this key.
    One(Key),
    /// The one with the key of the instance that mentions it.
    Counterpart,
}

/// Whether an expression is evaluated for an instance, so that `count.index` and `each.key` are its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Within {
    Instance,
    Other,
}

/// What an edge is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// Values flow, or order was asked for: what stands behind the other node must be applied first.
    Dependency,
    /// The other node is only to be evaluated first.
    Order,
}

/// A place in the tree of calls: a module, reached by one path of calls.
struct Place<'a> {
    module: &'a Module,
    /// The place of the caller, and the call.
    parent: Option<(usize, &'a ModuleCall)>,
    children: HashMap<&'a str, usize>,
    /// Numbers of nodes.
    resources: HashMap<(&'a str, &'a str), usize>,
    calls: HashMap<&'a str, usize>,
    variables: HashMap<&'a str, usize>,
    locals: HashMap<&'a str, usize>,
    outputs: HashMap<&'a str, usize>,
    whole: Option<usize>,
}

/// The nodes of a program and what they need.
pub struct Graph<'a> {
    program: &'a Program,
    places: Vec<Place<'a>>,
    nodes: Vec<Node<'a>>,
    edges: Vec<Vec<Edge>>,
}

impl<'a> Graph<'a> {
    /// Finds all nodes and edges of a program. Costs as much as its text is long, times the calls of each module.
    pub fn new(program: &'a Program) -> Self {
        let mut graph = Self { program, places: Vec::new(), nodes: Vec::new(), edges: Vec::new() };
        graph.place(program.root(), None);
        let mut next = 0;
        while next < graph.places.len() {
            graph.calls(next);
            next += 1;
        }
        graph.all_nodes();
        graph.edges = (0..graph.nodes.len()).map(|node| graph.edges_of(node)).collect();
        graph
    }

    /// Returns the nodes; resources of one place are in the order of the text.
    pub fn nodes(&self) -> &[Node<'a>] {
        &self.nodes
    }

    /// Returns what a node needs.
    pub fn edges(&self, node: usize) -> &[Edge] {
        &self.edges[node]
    }

    /// Returns the number of places.
    pub fn places(&self) -> usize {
        self.places.len()
    }

    /// Returns the place of a called module; none when it could not be read.
    pub fn callee(&self, place: usize, call: &ModuleCall) -> Option<usize> {
        self.places[place].children.get(call.name.as_str()).copied()
    }

    /// Returns the module at a place, and the names of the calls that lead there.
    pub fn module(&self, place: usize) -> (&'a Module, Vec<&'a str>) {
        let mut names = Vec::new();
        let mut at = place;
        while let Some((parent, call)) = self.places[at].parent {
            names.push(call.name.as_str());
            at = parent;
        }
        names.reverse();
        (self.places[place].module, names)
    }

    /// Returns the name of a node, for messages.
    pub fn label(&self, node: usize) -> String {
        let Node { place, block } = self.nodes[node];
        let mut names = Vec::new();
        let mut at = place;
        while let Some((parent, call)) = self.places[at].parent {
            names.push(format!("module.{}", call.name));
            at = parent;
        }
        names.reverse();
        names.extend(match block {
            Block::Resource(resource) => Some(resource.address().to_string()),
            Block::Call(call) => Some(format!("module.{}", call.name)),
            Block::Variable(name) => Some(format!("var.{name}")),
            Block::Local(name) => Some(format!("local.{name}")),
            Block::Output(name) => Some(format!("output.{name}")),
            Block::Check(check) => Some(format!("check.{}", check.name)),
            Block::Inputs | Block::Whole => None,
        });
        names.join(".")
    }

    fn place(&mut self, module: &'a Module, parent: Option<(usize, &'a ModuleCall)>) -> usize {
        self.places.push(Place {
            module,
            parent,
            children: HashMap::new(),
            resources: HashMap::new(),
            calls: HashMap::new(),
            variables: HashMap::new(),
            locals: HashMap::new(),
            outputs: HashMap::new(),
            whole: None,
        });
        self.places.len() - 1
    }

    /// Adds the places that a place calls. Beyond the limit nothing is added; loading the program reported it.
    fn calls(&mut self, place: usize) {
        for call in self.places[place].module.calls.values() {
            let Some(callee) = call.callee.as_ref().filter(|_| self.places.len() < PLACES_MAX) else {
                continue;
            };
            let child = self.place(self.program.module(callee.module), Some((place, call)));
            self.places[place].children.insert(&call.name, child);
        }
    }

    fn all_nodes(&mut self) {
        // Conditions come first, so that what is wrong with a value is told and not what follows from it.
        for place in 1..self.places.len() {
            self.node(place, Block::Inputs);
        }
        for place in 0..self.places.len() {
            for resource in self.places[place].module.resources.values() {
                let node = self.node(place, Block::Resource(resource));
                self.places[place].resources.insert((&resource.kind, &resource.name), node);
            }
        }
        for place in 0..self.places.len() {
            let module = self.places[place].module;
            for call in module.calls.values() {
                let node = self.node(place, Block::Call(call));
                self.places[place].calls.insert(&call.name, node);
            }
            for local in module.locals.values().filter(|local| !local.cyclic) {
                let node = self.node(place, Block::Local(&local.name));
                self.places[place].locals.insert(&local.name, node);
            }
            for check in module.assertions.values() {
                self.node(place, Block::Check(check));
            }
            if place == 0 {
                continue;
            }
            for name in module.variables.keys() {
                let node = self.node(place, Block::Variable(name));
                self.places[place].variables.insert(name, node);
            }
            for name in module.outputs.keys() {
                let node = self.node(place, Block::Output(name));
                self.places[place].outputs.insert(name, node);
            }
            let whole = self.node(place, Block::Whole);
            self.places[place].whole = Some(whole);
        }
    }

    fn node(&mut self, place: usize, block: Block<'a>) -> usize {
        self.nodes.push(Node { place, block });
        self.nodes.len() - 1
    }

    fn edges_of(&self, node: usize) -> Vec<Edge> {
        let Node { place, block } = self.nodes[node];
        let at = &self.places[place];
        let mut edges = Vec::new();
        // Nothing inside a module is evaluated before it is known how many instances the module has.
        let own_call = match (block, at.parent) {
            (Block::Resource(_) | Block::Call(_), Some(parent)) => Some((parent, Purpose::Dependency)),
            (_, Some(parent)) => Some((parent, Purpose::Order)),
            (_, None) => None,
        };
        if let Some(((parent, call), purpose)) = own_call {
            let to = self.places[parent].calls.get(call.name.as_str()).copied();
            edges.extend(to.map(|to| Edge { to, span: call.span, which: Which::All, purpose }));
        }
        match block {
            Block::Resource(resource) => {
                let mut expressions = resource.body.expressions();
                expressions.extend(resource.lifecycle.expressions());
                let own = (Purpose::Dependency, instances_of(resource));
                expressions.iter().for_each(|it| self.values(at, it, own, &mut edges));
                self.repetition(at, &resource.repetition, own, &mut edges);
                self.wholes(at, &resource.depends_on, &mut edges);
            }
            Block::Call(call) => {
                self.repetition(at, &call.repetition, (Purpose::Order, Within::Other), &mut edges);
                self.wholes(at, &call.depends_on, &mut edges);
            }
            Block::Inputs => edges.extend(at.variables.values().map(|to| self.order(*to, at))),
            Block::Variable(name) => self.argument(at, name, &mut edges),
            Block::Local(name) => {
                let value = at.module.locals.get(name).map(|local| &local.value);
                value
                    .iter()
                    .for_each(|it| self.values(at, it, (Purpose::Dependency, Within::Other), &mut edges));
            }
            Block::Output(name) => {
                let Some(output) = at.module.outputs.get(name) else { return edges };
                output
                    .expressions()
                    .for_each(|it| self.values(at, it, (Purpose::Dependency, Within::Other), &mut edges));
                self.wholes(at, &output.depends_on, &mut edges);
            }
            Block::Check(check) => {
                check
                    .expressions()
                    .for_each(|it| self.values(at, it, (Purpose::Order, Within::Other), &mut edges));
            }
            Block::Whole => {
                let children = at.children.values().filter_map(|child| self.places[*child].whole);
                let inside = at.resources.values().copied().chain(children);
                edges.extend(inside.map(|to| Edge { purpose: Purpose::Dependency, ..self.order(to, at) }));
            }
        }
        edges
    }

    fn order(&self, to: usize, at: &Place<'a>) -> Edge {
        let span =
            at.parent.map_or(Span::new(lustre_model::diagnostic::SourceId(0), 0..0), |(_, call)| call.span);
        Edge { to, span, which: Which::All, purpose: Purpose::Order }
    }

    /// What the value of a module's variable is computed from: at the place of the caller.
    fn argument(&self, at: &Place<'a>, name: &str, edges: &mut Vec<Edge>) {
        let Some((parent, call)) = at.parent else { return };
        let Some(argument) = call.arguments.get(name) else { return };
        let caller = &self.places[parent];
        let own = (Purpose::Dependency, Within::Instance);
        self.values(caller, &argument.value, own, edges);
        // `each.value` is made of what `for_each` mentions.
        if mention::references(&argument.value).any(|it| it.root == "each" || it.root == "count") {
            self.repetition(caller, &call.repetition, own, edges);
        }
    }

    /// Adds what decides which instances there are. `for_each = value.a` and `count = length(value.a)` make one for each of
    /// another block: there each one stands on its counterpart.
    fn repetition(
        &self,
        at: &Place<'a>,
        repetition: &Repetition,
        (purpose, within): (Purpose, Within),
        edges: &mut Vec<Edge>,
    ) {
        let Some(expression) = repetition.expression() else { return };
        let before = edges.len();
        self.values(at, expression, (purpose, Within::Other), edges);
        let block = match (repetition, &expression.kind) {
            (Repetition::ForEach(whole), _) => Some(whole),
            (Repetition::Count(_), ExprKind::Call(call)) if call.name == "length" => call.arguments.first(),
            (Repetition::Single | Repetition::Count(_), _) => None,
        };
        let is_block = |expression: &Expr| {
            let ExprKind::Access(base, steps) = &expression.kind else { return false };
            matches!((&base.kind, steps.as_slice()), (ExprKind::Variable(_), [Step::Attribute(..)]))
        };
        if within == Within::Instance && block.is_some_and(is_block) {
            for edge in &mut edges[before..] {
                let repeats = matches!(self.nodes[edge.to].block,
                    Block::Resource(other) if other.is_repeated() && !other.is_data());
                if repeats {
                    edge.which = Which::Counterpart;
                }
            }
        }
    }

    /// Adds what an expression takes values from.
    fn values(
        &self,
        at: &Place<'a>,
        expression: &Expr,
        (purpose, within): (Purpose, Within),
        edges: &mut Vec<Edge>,
    ) {
        for reference in mention::references(expression) {
            let Some(name) = reference.name(0) else { continue };
            let edge = |to: &usize, which| Edge { to: *to, span: reference.span, which, purpose };
            match reference.root {
                "var" => edges.extend(at.variables.get(name).map(|to| edge(to, Which::All))),
                "local" => edges.extend(at.locals.get(name).map(|to| edge(to, Which::All))),
                "module" => self.outputs(at, &reference, (purpose, within), edges),
                _ => {
                    let Some(resource) = at.module.named(&reference) else { continue };
                    let which = match (resource.is_repeated(), resource.is_data()) {
                        (true, true) => which(&reference, 2, Within::Other),
                        (true, false) => which(&reference, 1, within),
                        (false, _) => Which::All,
                    };
                    let to = at.resources.get(&(resource.kind.as_str(), resource.name.as_str()));
                    edges.extend(to.map(|to| edge(to, which)));
                }
            }
        }
    }

    /// Adds the outputs of a module that a reference means: one, or all when it does not say which.
    fn outputs(
        &self,
        at: &Place<'a>,
        reference: &Reference<'_>,
        (purpose, within): (Purpose, Within),
        edges: &mut Vec<Edge>,
    ) {
        let Some(name) = reference.name(0) else { return };
        let which = which(reference, 1, within);
        let edge = |to: &usize| Edge { to: *to, span: reference.span, which: which.clone(), purpose };
        let call = |to| Edge { which: Which::All, purpose: Purpose::Order, ..edge(to) };
        edges.extend(at.calls.get(name).map(call));
        let Some(child) = at.children.get(name).map(|child| &self.places[*child]) else { return };
        let indexed = matches!(reference.steps.get(1), Some(Step::Index(..)));
        match reference.name(if indexed { 2 } else { 1 }) {
            Some(output) => edges.extend(child.outputs.get(output).map(edge)),
            None => edges.extend(child.outputs.values().map(edge)),
        }
    }

    /// Adds what `depends_on` names.
    fn wholes(&self, at: &Place<'a>, expressions: &[Expr], edges: &mut Vec<Edge>) {
        for expression in expressions {
            let Some(reference) = mention::references(expression).next() else { continue };
            let Some(name) = reference.name(0) else { continue };
            if reference.root != "module" {
                self.values(at, expression, (Purpose::Dependency, Within::Other), edges);
                continue;
            }
            let child = at.children.get(name).and_then(|child| self.places[*child].whole);
            let (span, which) = (reference.span, which(&reference, 1, Within::Other));
            edges.extend(child.map(|to| Edge { to, span, which, purpose: Purpose::Dependency }));
        }
    }
}

/// Returns which instances a reference means by the index at a position behind its root.
fn which(reference: &Reference<'_>, position: usize, within: Within) -> Which {
    match reference.key(position) {
        Some(key) => Which::One(key),
        None if within == Within::Instance && reference.is_counterpart(position) => Which::Counterpart,
        None => Which::All,
    }
}

/// Tells whether what a resource's body mentions can be said of each instance alone. What data is read from is asked for as
/// a whole, and an iterator could have the name `each`.
fn instances_of(resource: &Resource) -> Within {
    let shadowed = ["each", "count"].iter().any(|name| resource.body.binds(name));
    if resource.is_data() || shadowed { Within::Other } else { Within::Instance }
}

/// Which resources stand behind each node, in each instance of its module; asked for in the order of evaluation.
#[derive(Default)]
pub struct Reach {
    known: HashMap<(usize, ModuleInstance), Rc<BTreeSet<Address>>>,
}

impl Reach {
    /// Returns the resources that a node depends on, through values too: blocks, or single instances where the key is
    /// written out. What the node needs was asked for before.
    ///
    /// Of a resource they are those of every instance; [`Reach::counterparts`] has the others.
    pub fn of(
        &mut self,
        graph: &Graph<'_>,
        scope: &Scope<'_>,
        (node, module): (usize, ModuleInstance),
    ) -> Rc<BTreeSet<Address>> {
        let mut found = Rc::new(BTreeSet::new());
        let (mut place, block) = (graph.nodes[node].place, graph.nodes[node].block);
        let is_object = matches!(block, Block::Resource(resource) if !resource.is_data());
        let mut around = module;
        // What a variable is computed from is written where the module is called, once for all of its instances.
        let mut own = None;
        if let (Block::Variable(_), Some((caller, _))) = (block, graph.places[place].parent) {
            let Some(instance) = scope.caller(module) else { return found };
            own = scope.path(module).pop().and_then(|step| step.key);
            (place, around) = (caller, instance);
        }
        for edge in graph.edges[node].iter().filter(|edge| edge.purpose == Purpose::Dependency) {
            let key = match &edge.which {
                Which::Counterpart if is_object => continue,
                Which::Counterpart => own.as_ref(),
                Which::One(key) => Some(key),
                Which::All => None,
            };
            self.behind((graph, scope), (edge, key), (place, around), &mut found);
        }
        // Data is no object: what it is read from stands behind it.
        if !is_object {
            self.known.insert((node, module), Rc::clone(&found));
        }
        found
    }

    /// Returns what the instance of a resource with this key depends on beside that: its counterparts.
    pub fn counterparts(
        &self,
        graph: &Graph<'_>,
        scope: &Scope<'_>,
        (node, module): (usize, ModuleInstance),
        key: &Key,
    ) -> Rc<BTreeSet<Address>> {
        let mut found = Rc::new(BTreeSet::new());
        let around = (graph.nodes[node].place, module);
        for edge in graph.edges[node].iter().filter(|edge| edge.which == Which::Counterpart) {
            self.behind((graph, scope), (edge, Some(key)), around, &mut found);
        }
        found
    }

    /// Adds what stands behind an edge, of one instance only when there is a key; seen from an instance of the module at a place.
    fn behind(
        &self,
        (graph, scope): (&Graph<'_>, &Scope<'_>),
        (edge, key): (&Edge, Option<&Key>),
        (place, around): (usize, ModuleInstance),
        found: &mut Rc<BTreeSet<Address>>,
    ) {
        let there = graph.nodes[edge.to].place;
        let instances = match graph.places[there].parent {
            _ if there == place => vec![around],
            Some((parent, call)) if parent == place => scope.callees(around, &call.name, key),
            Some(_) | None => scope.caller(around).into_iter().collect(),
        };
        for instance in instances {
            if let Block::Resource(resource) = graph.nodes[edge.to].block
                && !resource.is_data()
            {
                let address = resource.address().with_key(key.cloned());
                Rc::make_mut(found).insert(address.with_modules(scope.path(instance)));
            } else if let Some(behind) = self.known.get(&(edge.to, instance)) {
                merge(found, behind);
            }
        }
    }
}

/// Adds one set to another; shares it when that is all there is.
fn merge(found: &mut Rc<BTreeSet<Address>>, more: &Rc<BTreeSet<Address>>) {
    if found.is_empty() {
        *found = Rc::clone(more);
    } else if !more.is_empty() && !Rc::ptr_eq(found, more) {
        Rc::make_mut(found).extend(more.iter().cloned());
    }
}

/// Returns the address of a call in an instance of its module, which no resource can have.
pub(crate) fn call_address(modules: &[ModuleStep], call: &ModuleCall) -> Address {
    Address::new("module", &call.name).with_modules(modules.to_vec())
}
