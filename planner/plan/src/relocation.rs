//! What the spec says about addresses of recorded objects: `moved` and `removed` blocks, and moves that go without saying.
//!
//! ```text
//! statements ──index by from──▶ for each recorded object: follow until no statement fits ──▶ moves
//! value.x ↔ value.x[0], module.m ↔ module.m[0]      when `count` came or went
//! ```
//! Statements of a module hold for each of its instances. An object follows a chain of statements to its end, however the
//! blocks are ordered. Costs a few look-ups for each recorded object, and not one for each pair of object and statement.
//! Invariant: what is not clear is refused: two ways from one place, two objects to one place, a way without end.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use lustre_language::{Endpoint, Graph, Module, Program};
use lustre_model::address::{Address, Key, ModuleStep, Words};
use lustre_model::diagnostic::{Diagnostic, Diagnostics, Span};
use lustre_model::journal::Event;
use lustre_model::plan::Move;
use lustre_model::recorded::{Object, World};

use crate::moves::ordered;

/// What became of the recorded world.
#[derive(Default)]
pub struct Relocation {
    /// Moves, in order.
    pub moves: Vec<Move>,
    /// What is dropped from the state, as it was recorded.
    pub forgotten: BTreeMap<Address, Object>,
    /// Instances that statements of the root move away from, and where that is said.
    left: Vec<(Address, Span)>,
}

impl Relocation {
    /// Reports instances that statements move away from and that the spec still has.
    pub fn still_there(&self, has: impl Fn(&Address) -> bool, found: &mut Diagnostics) {
        for (address, span) in self.left.iter().filter(|(address, _)| has(address)) {
            found.push(still_in_spec("moved", &address.to_string(), *span));
        }
    }
}

/// Moves and forgets recorded objects as the spec says.
pub fn relocate(
    (graph, program): (&Graph<'_>, &Program),
    world: &mut Cow<'_, World>,
    found: &mut Diagnostics,
) -> Relocation {
    let mut relocation = Relocation::default();
    let before = found.len();
    let statements = Statements::new(graph, found);
    let removed = Removals::new(graph, found);
    if found.len() > before {
        return relocation;
    }
    relocation.left = statements.left();
    let mut wanted = statements.wanted(world, found);
    if found.len() > before {
        return relocation;
    }
    implied(program, world, &mut wanted);
    relocation.moves = ordered(wanted, world);
    if !relocation.moves.is_empty() {
        let moved = world.to_mut().apply(&Event::MovedAll { moves: relocation.moves.clone() });
        if let Err(error) = moved {
            // Every goal is free and every origin recorded.
            found.push(Diagnostic::error("E0839", error.to_string()));
        }
    }
    let gone: Vec<Address> =
        world.objects.keys().filter(|address| removed.forgets(address)).cloned().collect();
    for address in gone {
        relocation.forgotten.extend(world.to_mut().objects.remove(&address).map(|object| (address, object)));
    }
    relocation
}

/// A statement of a module, which holds for all its instances.
struct Statement<'a> {
    /// How many calls lead to the module; their keys do not matter.
    depth: usize,
    from: &'a Endpoint,
    to: &'a Endpoint,
    span: Span,
}

/// An end of a statement, with the calls that lead to its module in front.
type Absolute<'a> = (Vec<&'a str>, &'a [ModuleStep], Option<&'a (String, String)>, Option<&'a Key>);

fn absolute<'a>(calls: &[&'a str], end: &'a Endpoint) -> Absolute<'a> {
    (calls.to_vec(), &end.modules, end.resource.as_ref(), end.key.as_ref())
}

#[derive(Default)]
struct Statements<'a> {
    all: Vec<Statement<'a>>,
    /// By the names of the modules around, kind and name.
    resources: HashMap<(Vec<&'a str>, &'a str, &'a str), Vec<usize>>,
    /// By the names of modules.
    modules: HashMap<Vec<&'a str>, Vec<usize>>,
}

fn names<'a>(calls: &[&'a str], modules: &'a [ModuleStep]) -> Vec<&'a str> {
    calls.iter().copied().chain(modules.iter().map(|step| step.name.as_str())).collect()
}

impl<'a> Statements<'a> {
    fn new(graph: &Graph<'a>, found: &mut Diagnostics) -> Self {
        let mut statements = Self::default();
        let mut ways: BTreeMap<Absolute<'a>, (Absolute<'a>, Span)> = BTreeMap::new();
        let mut goals: BTreeMap<Absolute<'a>, (Absolute<'a>, Span)> = BTreeMap::new();
        for place in 0..graph.places() {
            let (module, calls) = graph.module(place);
            for moved in module.moved() {
                let (from, to) = (absolute(&calls, &moved.from), absolute(&calls, &moved.to));
                let way = ways.entry(from.clone()).or_insert_with(|| (to.clone(), moved.span));
                if way.0 != to {
                    let summary = format!("two moves from {}", shown(&from));
                    found.push(ambiguous(summary, moved.span, way.1));
                }
                let goal = goals.entry(to.clone()).or_insert_with(|| (from.clone(), moved.span));
                if goal.0 != from {
                    found.push(ambiguous(format!("two moves to {}", shown(&to)), moved.span, goal.1));
                }
                if has(module, (graph, place), &moved.from)
                    && !moved.from.is_instance()
                    && !moved.to.is_instance()
                {
                    found.push(still_in_spec("moved", &shown(&from), moved.from.span));
                }
                statements.add(&calls, &moved.from, (&moved.to, moved.span));
            }
        }
        report_circles(&ways, found);
        statements
    }

    fn add(&mut self, calls: &[&'a str], from: &'a Endpoint, (to, span): (&'a Endpoint, Span)) {
        let number = self.all.len();
        self.all.push(Statement { depth: calls.len(), from, to, span });
        let modules = names(calls, &from.modules);
        match &from.resource {
            Some((kind, name)) => self.resources.entry((modules, kind, name)).or_default().push(number),
            None => self.modules.entry(modules).or_default().push(number),
        }
    }

    /// Returns the instances of the root that statements lead away from.
    fn left(&self) -> Vec<(Address, Span)> {
        let own =
            self.all.iter().filter(|it| it.depth == 0 && (it.from.is_instance() || it.to.is_instance()));
        let address = |statement: &Statement<'_>| {
            let (kind, name) = statement.from.resource.as_ref()?;
            let modules = statement.from.modules.clone();
            let address = Address::new(kind, name).with_modules(modules);
            Some((address.with_key(statement.from.key.clone()), statement.from.span))
        };
        own.filter_map(address).collect()
    }

    /// Returns where recorded wholes are to go.
    fn wanted(&self, world: &World, found: &mut Diagnostics) -> BTreeMap<Address, Address> {
        let mut wanted: BTreeMap<Address, Address> = BTreeMap::new();
        let mut spans: BTreeMap<Address, Span> = BTreeMap::new();
        if self.all.is_empty() {
            return wanted;
        }
        for from in world.objects.keys().filter(|address| address.parts.is_empty()) {
            if let Some((to, span)) = self.follow(from, found) {
                wanted.insert(from.clone(), to);
                spans.insert(from.clone(), span);
            }
        }
        let mut goals: BTreeMap<&Address, &Address> = BTreeMap::new();
        for (from, to) in &wanted {
            let stays = || Some(to).filter(|to| world.objects.contains_key(*to) && !wanted.contains_key(*to));
            if let Some(other) = goals.insert(to, from).or_else(stays) {
                let summary = format!("{from} cannot move to {to}: that is where {other} belongs");
                let hint =
                    "Both are recorded. Take the `moved` block out, or forget one of them with `removed`.";
                let diagnostic = Diagnostic::error("E0833", summary).hint(hint);
                found.push(match spans.get(from) {
                    Some(span) => diagnostic.at(*span),
                    None => diagnostic,
                });
            }
        }
        wanted
    }

    /// Follows statements from an address until none fits; none when none did.
    fn follow(&self, from: &Address, found: &mut Diagnostics) -> Option<(Address, Span)> {
        let mut last: Option<(Address, Span)> = None;
        // Statements do not lead in circles, but wildcards might.
        let mut seen: BTreeSet<Address> = BTreeSet::from([from.clone()]);
        while let Some((next, span)) = self.next(last.as_ref().map_or(from, |(at, _)| at), found) {
            if !seen.insert(next.clone()) {
                let summary = format!("{from} moves in a circle");
                found.push(Diagnostic::error("E0831", summary).at(span));
                return None;
            }
            last = Some((next, span));
        }
        last
    }

    /// Returns where the statement that fits best leads: of the resource first, then of the innermost module.
    fn next(&self, at: &Address, found: &mut Diagnostics) -> Option<(Address, Span)> {
        let modules: Vec<&str> = at.modules.iter().map(|step| step.name.as_str()).collect();
        let own = self.resources.get(&(modules.clone(), at.kind.as_str(), at.name.as_str()));
        let around = (1..=modules.len()).rev().map(|length| self.modules.get(&modules[..length]));
        for numbers in std::iter::once(own).chain(around).flatten() {
            let mut fitting = numbers.iter().filter_map(|number| {
                let statement = &self.all[*number];
                Some((moved(statement, at)?, statement.span))
            });
            let Some(first) = fitting.next() else { continue };
            if let Some((_, other)) = fitting.find(|(to, _)| *to != first.0) {
                found.push(ambiguous(format!("two moves from {at}"), other, first.1));
            }
            return Some(first);
        }
        None
    }
}

/// Returns where a statement moves an address; none when it does not fit.
fn moved(statement: &Statement<'_>, at: &Address) -> Option<Address> {
    let Statement { depth, from, to, .. } = statement;
    let end = depth + from.modules.len();
    let own = at.modules.get(*depth..end)?;
    let single = from.is_instance() || to.is_instance();
    let mut modules = at.modules[..*depth].to_vec();
    modules.extend(to.modules.iter().cloned());
    if let Some((kind, name)) = &to.resource {
        if own != from.modules.as_slice() || (single && at.key != from.key) {
            return None;
        }
        let key = if single { to.key.clone() } else { at.key.clone() };
        let parts = at.parts.clone();
        return Some(Words { modules, kind: kind.clone(), name: name.clone(), key, parts }.into());
    }
    let ((last, before), (from_last, from_before)) = (own.split_last()?, from.modules.split_last()?);
    if before != from_before || last.name != from_last.name || (single && last.key != from_last.key) {
        return None;
    }
    if let Some(step) = modules.last_mut().filter(|_| !single) {
        step.key = last.key.clone();
    }
    modules.extend(at.modules[end..].iter().cloned());
    Some(at.clone().with_modules(modules))
}

fn ambiguous(summary: String, at: Span, first: Span) -> Diagnostic {
    let hint = "Keep the one that is true.";
    Diagnostic::error("E0830", summary).hint(hint).at(at).related(first, "the other is here")
}

fn still_in_spec(block: &str, address: &str, span: Span) -> Diagnostic {
    let summary = format!("{address} is {block}, but still in the spec");
    let hint = format!("Take its block out of the spec, or the block `{block}`.");
    Diagnostic::error("E0832", summary).hint(hint).at(span)
}

fn shown((calls, modules, resource, key): &Absolute<'_>) -> String {
    let calls = calls.iter().map(|name| format!("module.{name}"));
    let modules = modules.iter().map(ToString::to_string);
    let resource =
        resource.map(|(kind, name)| format!("{kind}.{name}{}", key.map(Key::to_string).unwrap_or_default()));
    calls.chain(modules).chain(resource).collect::<Vec<_>>().join(".")
}

/// Reports statements that lead back to where they began.
fn report_circles(ways: &BTreeMap<Absolute<'_>, (Absolute<'_>, Span)>, found: &mut Diagnostics) {
    let mut done: BTreeSet<&Absolute<'_>> = BTreeSet::new();
    for start in ways.keys() {
        let mut path: Vec<&Absolute<'_>> = Vec::new();
        let mut on_path: BTreeSet<&Absolute<'_>> = BTreeSet::new();
        let mut at = start;
        while let Some((to, span)) = ways.get(at).filter(|_| !done.contains(at)) {
            path.push(at);
            on_path.insert(at);
            if on_path.contains(to) {
                let from = path.iter().position(|it| *it == to).unwrap_or(0);
                let circle = path[from..].iter().copied().chain([to]).map(shown);
                let summary = format!("moves in a circle: {}", circle.collect::<Vec<_>>().join(" → "));
                found.push(Diagnostic::error("E0831", summary).at(*span));
                break;
            }
            at = to;
        }
        done.extend(path);
    }
}

/// Tells whether the spec has what an end of a statement names.
fn has(module: &Module, (graph, place): (&Graph<'_>, usize), end: &Endpoint) -> bool {
    let (mut module, mut place) = (module, place);
    let calls = match end.resource {
        Some(_) => end.modules.as_slice(),
        None => end.modules.split_last().map_or(&[][..], |(_, before)| before),
    };
    for step in calls {
        let callee = module.call(&step.name).and_then(|call| graph.callee(place, call));
        let Some(next) = callee else { return false };
        place = next;
        module = graph.module(next).0;
    }
    match (&end.resource, end.modules.last()) {
        (Some((kind, name)), _) => module.resource(kind, name).is_some(),
        (None, Some(step)) => module.call(&step.name).is_some(),
        (None, None) => false,
    }
}

/// `removed` blocks whose objects are forgotten, by the names of modules around.
#[derive(Default)]
struct Removals<'a> {
    resources: BTreeSet<(Vec<&'a str>, &'a str, &'a str)>,
    modules: BTreeSet<Vec<&'a str>>,
}

impl<'a> Removals<'a> {
    fn new(graph: &Graph<'a>, found: &mut Diagnostics) -> Self {
        let mut removals = Self::default();
        for place in 0..graph.places() {
            let (module, calls) = graph.module(place);
            for removed in module.removed() {
                let from = &removed.from;
                if has(module, (graph, place), from) {
                    found.push(still_in_spec("removed", &shown(&absolute(&calls, from)), from.span));
                }
                let modules = names(&calls, &from.modules);
                match &from.resource {
                    // What is to be deleted is, like everything that the spec has no more.
                    _ if removed.destroy => {}
                    Some((kind, name)) => drop(removals.resources.insert((modules, kind, name))),
                    None => drop(removals.modules.insert(modules)),
                }
            }
        }
        removals
    }

    fn forgets(&self, address: &Address) -> bool {
        if self.resources.is_empty() && self.modules.is_empty() {
            return false;
        }
        let modules: Vec<&str> = address.modules.iter().map(|step| step.name.as_str()).collect();
        (1..=modules.len()).any(|length| self.modules.contains(&modules[..length]))
            || self.resources.contains(&(modules, &address.kind, &address.name))
    }
}

/// Adds the moves that follow from `count` having come or gone: from no key to `[0]`, and back.
fn implied(program: &Program, world: &World, wanted: &mut BTreeMap<Address, Address>) {
    let mut goals: BTreeSet<Address> = wanted.values().cloned().collect();
    let mut more = Vec::new();
    for recorded in world.objects.keys().filter(|address| address.parts.is_empty()) {
        let at = wanted.get(recorded).unwrap_or(recorded);
        let Some(to) = counted(program, at).filter(|to| to != at) else { continue };
        let free = !world.objects.contains_key(&to) || wanted.contains_key(&to);
        if free && goals.insert(to.clone()) {
            more.push((recorded.clone(), to));
        }
    }
    wanted.extend(more);
}

/// Returns the address as the spec has it now, when that differs by a key `[0]` only.
fn counted(program: &Program, address: &Address) -> Option<Address> {
    let fitting = |key: &Option<Key>, counted: bool, repeated: bool| match key {
        None if counted => Some(Key::Index(0)),
        Some(Key::Index(0)) if !repeated => None,
        None | Some(Key::Index(_) | Key::Name(_)) => key.clone(),
    };
    let mut modules = address.modules.clone();
    let mut module = program.root();
    for step in &mut modules {
        let call = module.call(&step.name)?;
        step.key = fitting(&step.key, call.is_counted(), call.is_repeated());
        module = program.callee(call)?;
    }
    let resource = module.resource(&address.kind, &address.name)?;
    let key = fitting(&address.key, resource.is_counted(), resource.is_repeated());
    Some(address.clone().with_modules(modules).with_key(key))
}
