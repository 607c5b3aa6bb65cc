//! The order in which blocks are evaluated, and the circle that forbids one.
//!
//! Blocks, not instances: an instance may refer to another of its own block only through its key, which is a circle too.
//! Walks without recursion, for a chain of references may be as long as a spec.
//! Invariant: every block comes after all blocks that it refers to.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use lustre_model::diagnostic::{Diagnostic, Span};
use petgraph::algo::kosaraju_scc;
use petgraph::graphmap::DiGraphMap;

/// A block that refers to another, and where it does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edge {
    /// Place of the referring block in the list.
    pub from: usize,
    /// Place of the block that it refers to.
    pub to: usize,
    /// The reference.
    pub span: Span,
}

/// Says how blocks are called in messages, by their place in the list.
pub type Label<'a> = &'a dyn Fn(usize) -> String;

/// Orders so many blocks; or says which circles there are, each with the path through the text.
pub fn order(count: usize, edges: &[Edge], label: Label<'_>) -> Result<Vec<usize>, Vec<Diagnostic>> {
    let mut targets: Vec<Vec<usize>> = vec![Vec::new(); count];
    for edge in edges {
        targets[edge.from].push(edge.to);
    }
    match post_order(&targets) {
        Some(ordered) => Ok(ordered),
        None => Err(circles(count, edges, label)),
    }
}

/// Whether the walk has been at a block.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Visit {
    Never,
    Open,
    Done,
}

/// Returns blocks behind those that they refer to; none when there is a circle.
fn post_order(targets: &[Vec<usize>]) -> Option<Vec<usize>> {
    let mut visits = vec![Visit::Never; targets.len()];
    let mut ordered = Vec::with_capacity(targets.len());
    for start in 0..targets.len() {
        if visits[start] != Visit::Never {
            continue;
        }
        let mut path = vec![(start, 0)];
        visits[start] = Visit::Open;
        while let Some((node, next)) = path.last_mut() {
            let Some(target) = targets[*node].get(*next).copied() else {
                visits[*node] = Visit::Done;
                ordered.push(*node);
                path.pop();
                continue;
            };
            *next += 1;
            match visits[target] {
                Visit::Never => {
                    visits[target] = Visit::Open;
                    path.push((target, 0));
                }
                Visit::Open => return None,
                Visit::Done => {}
            }
        }
    }
    Some(ordered)
}

fn circles(count: usize, edges: &[Edge], label: Label<'_>) -> Vec<Diagnostic> {
    let mut graph: DiGraphMap<usize, ()> = DiGraphMap::new();
    for place in 0..count {
        graph.add_node(place);
    }
    for edge in edges {
        graph.add_edge(edge.from, edge.to, ());
    }
    let components = kosaraju_scc(&graph);
    let is_circle = |nodes: &&Vec<usize>| nodes.len() > 1 || graph.contains_edge(nodes[0], nodes[0]);
    components.iter().filter(is_circle).map(|nodes| circle(edges, nodes, label)).collect()
}

/// Describes the shortest circle through the first block of a component.
fn circle(edges: &[Edge], nodes: &[usize], label: Label<'_>) -> Diagnostic {
    let inside: BTreeSet<usize> = nodes.iter().copied().collect();
    let start = nodes.iter().copied().min().unwrap_or_default();
    let path = shortest(start, edges, &inside);
    let mut names: Vec<String> = vec![label(start)];
    names.extend(path.iter().map(|edge| label(edge.to)));
    let summary = format!("a circle of references: {}", names.join(" → "));
    let hint = "Break it: let one of them use a variable or a literal instead.";
    let mut diagnostic = Diagnostic::error("E0812", summary).hint(hint);
    for (place, edge) in path.iter().enumerate() {
        diagnostic = match place {
            0 => diagnostic.at(edge.span),
            _ => {
                let text = format!("{} refers to {}", label(edge.from), label(edge.to));
                diagnostic.related(edge.span, text)
            }
        };
    }
    diagnostic
}

fn shortest<'a>(start: usize, edges: &'a [Edge], inside: &BTreeSet<usize>) -> Vec<&'a Edge> {
    let mut by_from: BTreeMap<usize, Vec<&Edge>> = BTreeMap::new();
    for edge in edges.iter().filter(|edge| inside.contains(&edge.from) && inside.contains(&edge.to)) {
        by_from.entry(edge.from).or_default().push(edge);
    }
    let mut reached: BTreeMap<usize, &Edge> = BTreeMap::new();
    let mut queue = VecDeque::from([start]);
    while let Some(node) = queue.pop_front() {
        for edge in by_from.get(&node).into_iter().flatten() {
            if edge.to == start {
                return walk_back(start, edge, &reached);
            }
            if let Entry::Vacant(place) = reached.entry(edge.to) {
                place.insert(edge);
                queue.push_back(edge.to);
            }
        }
    }
    Vec::new()
}

fn walk_back<'a>(start: usize, last: &'a Edge, reached: &BTreeMap<usize, &'a Edge>) -> Vec<&'a Edge> {
    let mut path = vec![last];
    let mut at = last.from;
    while at != start {
        let Some(edge) = reached.get(&at) else { break };
        path.push(edge);
        at = edge.from;
    }
    path.reverse();
    path
}

#[cfg(test)]
mod tests {
    use super::*;
    use lustre_model::diagnostic::SourceId;

    fn edges(pairs: &[(usize, usize)]) -> Vec<Edge> {
        let edge = |(from, to): &(usize, usize)| Edge {
            from: *from,
            to: *to,
            span: Span::new(SourceId(0), *from..*to),
        };
        pairs.iter().map(edge).collect()
    }

    #[test]
    fn what_is_referred_to_comes_first_and_circles_are_named() {
        let label = |place: usize| format!("value.{}", ["a", "b", "c", "d"][place]);
        let order_of = |pairs: &[(usize, usize)]| order(4, &edges(pairs), &label);
        let ordered = order_of(&[(0, 1), (1, 2), (3, 0)]).expect("no circle");
        let place = |node| ordered.iter().position(|found| *found == node);
        assert!(place(2) < place(1) && place(1) < place(0) && place(0) < place(3));
        let circles = order_of(&[(0, 1), (1, 2), (2, 0), (0, 3)]).expect_err("a circle");
        assert_eq!(circles[0].summary, "a circle of references: value.a → value.b → value.c → value.a");
        assert_eq!(circles[0].related.len(), 2);
        assert_eq!(order_of(&[(1, 1)]).expect_err("itself")[0].summary.matches("value.b").count(), 2);
    }
}
