//! Whether two texts say the same.
//!
//! What canonical form rewrites counts as the same: `"${x}"` alone and `x`, `type = list` of a variable and `list(any)`.
//! Comments, blanks and places say nothing here.
//! Invariant: texts that say the same have the same mistakes.

use lustre_model::diagnostic::{Diagnostics, Sources};
use regex::Regex;

use crate::syntax::{self, BodySyntax, ExprKind, Part};

/// Returns whether two texts have the same blocks, attributes and mistakes in the same order.
///
/// For tests of canonical form: costs several times the reading of both.
pub fn say_the_same(first: &str, second: &str) -> bool {
    said(first) == said(second)
}

fn said(text: &str) -> String {
    let mut sources = Sources::default();
    let id = sources.add("main.hcl", text);
    let mut found = Diagnostics::new();
    let mut body = syntax::parse(&sources, id, &mut found);
    unwrap_values(&mut body);
    for variable in body.blocks.iter_mut().filter(|block| block.kind == "variable") {
        variable.body.attributes.shift_remove("type");
    }
    let codes: Vec<&str> = found.iter().map(|one| one.code).collect();
    let written = format!("{body:?} {codes:?}");
    let spans = Regex::new(r"Span \{[^}]*\}");
    spans.map_or_else(|_| written.clone(), |spans| spans.replace_all(&written, "").into_owned())
}

fn unwrap_values(body: &mut BodySyntax) {
    for attribute in body.attributes.values_mut() {
        while let ExprKind::Template(parts) = &attribute.value.kind
            && let [Part::Interpolation(inner)] = parts.as_slice()
        {
            attribute.value = inner.clone();
        }
    }
    body.blocks.iter_mut().for_each(|block| unwrap_values(&mut block.body));
}
