//! From changes to steps: what waits for what, without asking anybody anything.
//!
//! ```text
//! create, update   wait for those of the dependencies; through objects that stay as they are
//! delete           waits for the deletion of what stood on it, and, where that is possible, for updates that let go of it
//! replace          is a delete and then a create; or a create, and behind all who use it a delete of what was deposed
//! claim            who takes a port or a path waits until its last owner is gone
//! ```
//! A dependency on a cluster is one on all of its targets.
//! Invariant: the result is in an order in which each step waits only for steps before it.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use lustre_model::address::Address;
use lustre_model::plan::{Action, Change, Operation, Step, StepId};
use lustre_model::recorded::World;
use petgraph::graph::{DiGraph, NodeIndex};
use petgraph::visit::{Dfs, EdgeRef as _};

use crate::claim::{Claim, claims};

/// Steps that cannot be ordered; the addresses on the circle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Circle(pub Vec<Address>);

/// Builds the steps of a plan.
///
/// `changes` are all objects of spec and world, by address; `dependencies` are the direct ones that the spec gives.
pub fn steps(
    changes: &BTreeMap<Address, Change>,
    dependencies: &BTreeMap<Address, BTreeSet<Address>>,
    world: &World,
) -> Result<Vec<Step>, Circle> {
    let mut builder = Builder {
        changes,
        dependencies,
        parts: parts(changes),
        graph: DiGraph::new(),
        forward: BTreeMap::new(),
        delete: BTreeMap::new(),
    };
    builder.nodes();
    builder.forward_edges();
    builder.delete_edges(world);
    builder.claim_edges();
    match builder.ordered() {
        Err(_) if builder.loosen() => builder.ordered(),
        ended => ended,
    }
}

/// What a node of the graph does.
#[derive(Debug, Clone, Copy)]
struct Node<'a> {
    address: &'a Address,
    change: &'a Change,
    operation: Operation,
}

/// Why one step waits for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tie {
    /// It cannot be otherwise.
    Needs,
    /// An update lets go of what is deleted. It is left out where the update itself waits, through others, for the deletion.
    LetsGo,
}

struct Builder<'a> {
    changes: &'a BTreeMap<Address, Change>,
    dependencies: &'a BTreeMap<Address, BTreeSet<Address>>,
    /// Parts of each whole.
    parts: BTreeMap<Address, Vec<&'a Address>>,
    /// An edge goes from what comes first to what waits.
    graph: DiGraph<Node<'a>, Tie>,
    forward: BTreeMap<&'a Address, NodeIndex>,
    delete: BTreeMap<&'a Address, NodeIndex>,
}

fn parts(changes: &BTreeMap<Address, Change>) -> BTreeMap<Address, Vec<&Address>> {
    let mut parts: BTreeMap<Address, Vec<&Address>> = BTreeMap::new();
    for address in changes.keys().filter(|address| !address.parts.is_empty()) {
        parts.entry(address.whole()).or_default().push(address);
    }
    parts
}

impl<'a> Builder<'a> {
    fn nodes(&mut self) {
        let changes = self.changes;
        for (address, change) in changes {
            let (delete, forward) = match change.action {
                Action::Create => (false, Some(Operation::Create)),
                Action::Update => (false, Some(Operation::Update)),
                Action::Replace => (true, Some(Operation::Create)),
                Action::Delete => (true, None),
                Action::Read => (false, Some(Operation::Read)),
                Action::Forget | Action::NoOp => (false, None),
            };
            // What is deposed goes from where it is kept.
            let going = change.deposed.as_ref().unwrap_or(address);
            if delete {
                let node = Node { address: going, change, operation: Operation::Delete };
                self.delete.insert(going, self.graph.add_node(node));
            }
            if let Some(operation) = forward {
                let node = self.graph.add_node(Node { address, change, operation });
                self.forward.insert(address, node);
                if let Some(delete) = self.delete.get(address) {
                    self.graph.add_edge(*delete, node, Tie::Needs);
                }
            }
        }
        for (address, delete) in self.delete.iter().filter(|(address, _)| address.is_deposed()) {
            if let Some(create) = self.forward.get(&address.whole()) {
                self.graph.add_edge(*create, *delete, Tie::Needs);
            }
        }
    }

    fn forward_edges(&mut self) {
        let mut frontiers = Frontiers::default();
        let waiting: Vec<(&Address, NodeIndex)> = self.forward.iter().map(|(a, n)| (*a, *n)).collect();
        for (address, node) in waiting {
            for before in self.dependency_frontier(address, &mut frontiers) {
                if before != node {
                    self.graph.update_edge(before, node, Tie::Needs);
                }
            }
        }
    }

    /// The steps that the dependencies of an object end in: their own, or those behind them when they stay as they are.
    fn dependency_frontier(&self, address: &Address, frontiers: &mut Frontiers) -> BTreeSet<NodeIndex> {
        let mut found = BTreeSet::new();
        let mut seen = HashSet::new();
        let mut stack: Vec<&Address> = self.direct(address);
        while let Some(dependency) = stack.pop() {
            if !seen.insert(dependency) {
                continue;
            }
            if let Some(node) = self.forward.get(dependency) {
                found.insert(*node);
            } else if let Some(known) = frontiers.0.get(dependency) {
                found.extend(known);
            } else {
                stack.extend(self.direct(dependency));
            }
        }
        if !self.forward.contains_key(address) {
            frontiers.0.insert(address.clone(), found.clone());
        }
        found
    }

    /// Direct dependencies by the spec; a whole that is no whole of `address` stands for its parts too.
    fn direct(&self, address: &Address) -> Vec<&'a Address> {
        let mut direct = Vec::new();
        for dependency in self.dependencies.get(address).into_iter().flatten() {
            direct.push(dependency);
            if address.whole() != *dependency {
                direct.extend(self.parts.get(dependency).into_iter().flatten().copied());
            }
        }
        direct
    }

    fn delete_edges(&mut self, world: &World) {
        let changes = self.changes;
        for (dependent, change) in changes {
            // What is deposed is recorded where it is kept.
            let recorded = change.deposed.as_ref().unwrap_or(dependent);
            let Some(object) = world.objects.get(recorded) else { continue };
            for dependency in &object.dependencies {
                let gone = dependency.is_deposed()
                    || changes.get(dependency).is_some_and(|change| change.action == Action::Delete);
                self.after_let_go(change, dependency, gone);
                if dependent.whole() == *dependency {
                    continue;
                }
                // Who uses a whole that stays holds no single part of it.
                for part in self.parts.get(dependency).cloned().unwrap_or_default() {
                    self.after_let_go(change, part, gone);
                }
            }
        }
    }

    /// Lets the deletion of `dependency` wait until the dependent is gone; or, where it is `gone` for good, has let go of it.
    fn after_let_go(&mut self, dependent: &Change, dependency: &Address, gone: bool) {
        let Some(delete) = self.delete.get(dependency).copied() else { return };
        let going = dependent.deposed.as_ref().unwrap_or(&dependent.address);
        if let Some(first) = self.delete.get(going) {
            self.graph.update_edge(*first, delete, Tie::Needs);
        } else if let Some(first) = self.forward.get(&dependent.address).filter(|_| gone) {
            // Not for a replacement: there the dependent waits for the new one.
            if self.graph.find_edge(*first, delete).is_none() {
                self.graph.add_edge(*first, delete, Tie::LetsGo);
            }
        }
    }

    fn claim_edges(&mut self) {
        let mut last: BTreeMap<Claim, NodeIndex> = BTreeMap::new();
        for node in self.delete.values() {
            let change = self.graph[*node].change;
            for claim in change.before.iter().flat_map(|before| claims(change.kind, before)) {
                last.insert(claim, *node);
            }
        }
        let takers: Vec<(&Address, NodeIndex)> = self.forward.iter().map(|(a, n)| (*a, *n)).collect();
        for (address, node) in takers {
            let change = &self.changes[address];
            for claim in change.after.iter().flat_map(|after| claims(change.kind, after)) {
                // An owner that itself waits for the taker cannot go first; apply then finds the claim still held.
                let owner = last.get(&claim).filter(|owner| !self.waits(**owner, node));
                if let Some(owner) = owner {
                    self.graph.update_edge(*owner, node, Tie::Needs);
                }
            }
        }
    }

    /// Tells whether `node` waits, through others, for `first`.
    fn waits(&self, node: NodeIndex, first: NodeIndex) -> bool {
        let mut search = Dfs::new(&self.graph, first);
        while let Some(found) = search.next(&self.graph) {
            if found == node {
                return true;
            }
        }
        false
    }

    /// Leaves out on circles what can be left out; tells whether there was any.
    fn loosen(&mut self) -> bool {
        let mut circle = vec![0; self.graph.node_count()];
        for (number, nodes) in petgraph::algo::tarjan_scc(&self.graph).iter().enumerate() {
            nodes.iter().for_each(|node| circle[node.index()] = number);
        }
        let before = self.graph.edge_count();
        self.graph.retain_edges(|graph, edge| {
            let within =
                graph.edge_endpoints(edge).is_some_and(|(a, b)| circle[a.index()] == circle[b.index()]);
            !(within && graph[edge] == Tie::LetsGo)
        });
        self.graph.edge_count() < before
    }

    /// Numbers the steps in an order that the edges allow; of those that can come next, the lowest address does.
    fn ordered(&self) -> Result<Vec<Step>, Circle> {
        let graph = &self.graph;
        let mut missing: Vec<usize> =
            graph.node_indices().map(|node| graph.edges_directed(node, petgraph::Incoming).count()).collect();
        let mut ready: BTreeSet<NodeIndex> =
            graph.node_indices().filter(|node| missing[node.index()] == 0).collect();
        let mut ids: BTreeMap<NodeIndex, StepId> = BTreeMap::new();
        let mut steps = Vec::with_capacity(graph.node_count());
        while let Some(node) = ready.pop_first() {
            let id = StepId(u32::try_from(steps.len()).unwrap_or(u32::MAX));
            ids.insert(node, id);
            let before = graph.neighbors_directed(node, petgraph::Incoming);
            let mut waits_for: Vec<StepId> = before.filter_map(|before| ids.get(&before).copied()).collect();
            waits_for.sort_unstable();
            steps.push(self.step(id, graph[node], waits_for));
            for edge in graph.edges(node) {
                let after = edge.target();
                missing[after.index()] -= 1;
                if missing[after.index()] == 0 {
                    ready.insert(after);
                }
            }
        }
        if steps.len() == graph.node_count() {
            return Ok(steps);
        }
        let circles = petgraph::algo::tarjan_scc(graph);
        let circle = circles.into_iter().find(|nodes| nodes.len() > 1).unwrap_or_default();
        Err(Circle(circle.into_iter().map(|node| graph[node].address.clone()).collect()))
    }

    fn step(&self, id: StepId, node: Node<'_>, waits_for: Vec<StepId>) -> Step {
        let change = node.change;
        let (before, after) = match node.operation {
            Operation::Create => (None, change.after.clone()),
            Operation::Update | Operation::Read => (change.before.clone(), change.after.clone()),
            Operation::Delete => (change.before.clone(), None),
        };
        let dependencies = match node.operation {
            Operation::Delete => BTreeSet::new(),
            Operation::Create | Operation::Update | Operation::Read => {
                self.dependencies.get(node.address).cloned().unwrap_or_default()
            }
        };
        Step {
            id,
            address: node.address.clone(),
            kind: change.kind,
            operation: node.operation,
            before,
            after,
            dependencies,
            waits_for,
        }
    }
}

/// Frontiers of objects that stay as they are, found once.
#[derive(Default)]
struct Frontiers(BTreeMap<Address, BTreeSet<NodeIndex>>);
