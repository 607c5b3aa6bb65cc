//! Graphs as text that other programs draw, and as a picture of our own.
//!
//! ```text
//! layer 0    layer 1    layer 2        a node stands one layer right of the farthest that it needs
//! [host] ◀── [cluster] ◀── [mount]
//! ```
//! Invariant: names are quoted for the format, whatever they are.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Width of a letter, height of a box and gaps in the picture, in pixels.
const LETTER: usize = 8;
const HEIGHT: usize = 28;
const GAP: usize = 16;
const LAYER_GAP: usize = 60;

/// Rounds in which nodes of a layer are put in the order of what they need.
const ROUNDS: usize = 4;

/// Nodes and arrows, by place.
#[derive(Debug, Default)]
pub struct Drawing {
    /// What is written in each node.
    pub nodes: Vec<String>,
    /// From what waits to what it waits for.
    pub edges: Vec<(usize, usize)>,
}

impl Drawing {
    /// Adds a node and returns its place.
    pub fn node(&mut self, name: String) -> usize {
        self.nodes.push(name);
        self.nodes.len() - 1
    }

    /// Returns the layer of each node.
    fn layers(&self) -> Vec<usize> {
        let mut needed = vec![Vec::new(); self.nodes.len()];
        let mut waiting_for = vec![0_usize; self.nodes.len()];
        for (from, to) in &self.edges {
            needed[*to].push(*from);
            waiting_for[*from] += 1;
        }
        let mut layers = vec![0; self.nodes.len()];
        let mut free: Vec<usize> = (0..self.nodes.len()).filter(|node| waiting_for[*node] == 0).collect();
        while let Some(node) = free.pop() {
            for from in &needed[node] {
                layers[*from] = layers[*from].max(layers[node] + 1);
                waiting_for[*from] -= 1;
                if waiting_for[*from] == 0 {
                    free.push(*from);
                }
            }
        }
        layers
    }

    /// Returns the nodes of each layer, those that belong together near each other.
    fn ordered(&self) -> Vec<Vec<usize>> {
        let layers = self.layers();
        let mut columns: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (node, layer) in layers.iter().enumerate() {
            columns.entry(*layer).or_default().push(node);
        }
        let mut columns: Vec<Vec<usize>> = columns.into_values().collect();
        let mut neighbours = vec![Vec::new(); self.nodes.len()];
        for (from, to) in &self.edges {
            neighbours[*from].push(*to);
            neighbours[*to].push(*from);
        }
        let mut rows = vec![0; self.nodes.len()];
        for _ in 0..ROUNDS {
            for column in &mut columns {
                // The middle of the neighbours' rows, in thousandths, so that no fraction is lost.
                let middle = |node: &usize| {
                    let around = &neighbours[*node];
                    let sum: usize = around.iter().map(|other| rows[*other] * 1000).sum();
                    (sum.checked_div(around.len()).unwrap_or(rows[*node] * 1000), *node)
                };
                let mut placed: Vec<_> = column.iter().map(middle).collect();
                placed.sort_unstable();
                *column = placed.into_iter().map(|(_, node)| node).collect();
                for (row, node) in column.iter().enumerate() {
                    rows[*node] = row;
                }
            }
        }
        columns
    }
}

/// For Graphviz.
pub fn dot(drawing: &Drawing) -> String {
    let mut text = String::from("digraph lustre {\n  rankdir = \"RL\";\n  node [shape = \"box\"];\n");
    let quoted = |name: &str| format!("\"{}\"", name.replace('\\', "\\\\").replace('"', "\\\""));
    for name in &drawing.nodes {
        let _infallible = writeln!(text, "  {};", quoted(name));
    }
    for (from, to) in &drawing.edges {
        let (from, to) = (quoted(&drawing.nodes[*from]), quoted(&drawing.nodes[*to]));
        let _infallible = writeln!(text, "  {from} -> {to};");
    }
    text.push_str("}\n");
    text
}

/// For Mermaid.
pub fn mermaid(drawing: &Drawing) -> String {
    let mut text = String::from("flowchart RL\n");
    for (place, name) in drawing.nodes.iter().enumerate() {
        let name = name.replace('&', "&amp;").replace('"', "&quot;").replace('<', "&lt;");
        let _infallible = writeln!(text, "  n{place}[\"{name}\"]");
    }
    for (from, to) in &drawing.edges {
        let _infallible = writeln!(text, "  n{from} --> n{to}");
    }
    text
}

/// As a picture.
pub fn svg(drawing: &Drawing) -> String {
    let columns = drawing.ordered();
    let width = |node: usize| drawing.nodes[node].chars().count() * LETTER + 2 * GAP;
    // Left edge, top edge and width of each node's box.
    let mut boxes = vec![(0, 0, 0); drawing.nodes.len()];
    let (mut left, mut bottom) = (GAP, 0);
    for column in &columns {
        let widest = column.iter().map(|node| width(*node)).max().unwrap_or(0);
        for (row, node) in column.iter().enumerate() {
            let top = GAP + row * (HEIGHT + GAP);
            boxes[*node] = (left, top, width(*node));
            bottom = bottom.max(top + HEIGHT + GAP);
        }
        left += widest + LAYER_GAP;
    }
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {left} {bottom}\" width=\"{left}\" height=\"{bottom}\" \
         font-family=\"monospace\" font-size=\"13\">\n<defs><marker id=\"tip\" viewBox=\"0 0 8 8\" refX=\"8\" refY=\"4\" \
         markerWidth=\"8\" markerHeight=\"8\" orient=\"auto\"><path d=\"M0 0L8 4L0 8z\"/></marker></defs>\n"
    );
    for (from, to) in &drawing.edges {
        let ((x, y, _), (left, top, width)) = (boxes[*from], boxes[*to]);
        let (y, end, end_y) = (y + HEIGHT / 2, left + width, top + HEIGHT / 2);
        let middle = usize::midpoint(x, end);
        let _infallible = writeln!(
            text,
            "<path d=\"M{x} {y}C{middle} {y} {middle} {end_y} {end} {end_y}\" fill=\"none\" stroke=\"#777\" marker-end=\"url(#tip)\"/>"
        );
    }
    for (name, (x, y, width)) in drawing.nodes.iter().zip(&boxes) {
        let name = name.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        let (text_x, text_y) = (x + GAP, y + HEIGHT / 2 + 5);
        let _infallible = writeln!(
            text,
            "<rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{HEIGHT}\" rx=\"4\" fill=\"#eef\" stroke=\"#557\"/>\
             <text x=\"{text_x}\" y=\"{text_y}\">{name}</text>"
        );
    }
    text.push_str("</svg>\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain() -> Drawing {
        let mut drawing = Drawing::default();
        for name in ["host.a", "value.b[\"<x>\"]", "mount.c"] {
            drawing.node(name.to_owned());
        }
        drawing.edges = vec![(1, 0), (2, 1), (2, 0)];
        drawing
    }

    #[test]
    fn a_node_stands_behind_the_farthest_that_it_needs() {
        assert_eq!(chain().layers(), [0, 1, 2]);
        assert_eq!(chain().ordered(), [[0], [1], [2]]);
    }

    #[test]
    fn names_are_quoted_for_each_format() {
        let drawing = chain();
        assert!(dot(&drawing).contains("\"value.b[\\\"<x>\\\"]\" -> \"host.a\";"));
        assert!(mermaid(&drawing).contains("n1[\"value.b[&quot;&lt;x>&quot;]\"]"));
        assert!(svg(&drawing).contains(">value.b[\"&lt;x&gt;\"]</text>"));
    }
}
