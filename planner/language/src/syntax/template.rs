//! Templates: hcl-edit's tree flattened, dedented and stripped, and built again as parts.
//!
//! hcl-edit's own dedent of `<<-` loses text when a line begins in the first column, so literals are taken from the
//! source again and dedented here, by HCL's rule: the smallest indent of all lines that are not blank, also of those
//! inside directives, is cut from each; blank lines are left alone. `~` then strips literals next to its sequence: in
//! a heredoc up to the line's end, elsewhere all white space.
//! Invariant: every literal character of the source is in the result, but for what dedent, `~` and escapes take.

use hcl_edit::Span as _;
use hcl_edit::template::{Directive, Element, Strip, Template};

use crate::syntax::lower::{Lowering, normalised};
use crate::syntax::{Expr, Part, TemplateFor};

/// How a template is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Between quotes: escapes were resolved by the parser.
    Quoted,
    /// `<<`
    Heredoc,
    /// `<<-`
    Indented,
    /// A file.
    Plain,
}

/// An element of the flat template.
enum Flat {
    Text(String),
    Sequence { opens: Sequence, before: bool, after: bool },
}

enum Sequence {
    Interpolation(Expr),
    If(Expr),
    Else,
    EndIf,
    For { key_name: Option<String>, value_name: String, collection: Expr },
    EndFor,
}

/// Builds the parts of a template.
pub(crate) fn build(template: &Template, lowering: &mut Lowering<'_>, shape: Shape) -> Vec<Part> {
    let mut flat = Vec::new();
    flatten(template, lowering, shape, &mut flat);
    if shape == Shape::Indented {
        dedent(&mut flat);
    }
    strip(&mut flat);
    let has_text = flat.iter().any(|element| matches!(element, Flat::Text(_)));
    let mut parts = Vec::new();
    collect(&mut flat.into_iter(), &mut parts);
    // An interpolation is alone only where nothing was written around it, also nothing that `~` took away.
    if has_text && matches!(parts.as_slice(), [Part::Interpolation(_)]) {
        parts.push(Part::Literal(String::new()));
    }
    parts
}

fn flatten(template: &Template, lowering: &mut Lowering<'_>, shape: Shape, flat: &mut Vec<Flat>) {
    for element in template {
        match element {
            Element::Literal(literal) => {
                let raw =
                    literal.span().map(|span| lowering.source(span)).filter(|_| shape == Shape::Indented);
                let text = raw
                    .map_or_else(|| literal.to_string(), |raw| raw.replace("$${", "${").replace("%%{", "%{"));
                match shape {
                    Shape::Quoted | Shape::Plain => flat.push(Flat::Text(text)),
                    Shape::Heredoc | Shape::Indented => {
                        flat.extend(text.split_inclusive('\n').map(|line| Flat::Text(line.to_owned())));
                    }
                }
            }
            Element::Interpolation(inner) => {
                let inner_expression = lowering.expression(&inner.expr);
                flat.push(sequence(Sequence::Interpolation(inner_expression), inner.strip));
            }
            Element::Directive(directive) => flatten_directive(directive, lowering, shape, flat),
        }
    }
}

fn flatten_directive(directive: &Directive, lowering: &mut Lowering<'_>, shape: Shape, flat: &mut Vec<Flat>) {
    match directive {
        Directive::If(it) => {
            let condition = lowering.expression(&it.if_expr.cond_expr);
            flat.push(sequence(Sequence::If(condition), it.if_expr.strip));
            flatten(&it.if_expr.template, lowering, shape, flat);
            if let Some(otherwise) = &it.else_expr {
                flat.push(sequence(Sequence::Else, otherwise.strip));
                flatten(&otherwise.template, lowering, shape, flat);
            }
            flat.push(sequence(Sequence::EndIf, it.endif_expr.strip));
        }
        Directive::For(it) => {
            let opens = Sequence::For {
                key_name: it.for_expr.key_var.as_ref().map(|name| name.to_string()),
                value_name: it.for_expr.value_var.to_string(),
                collection: lowering.expression(&it.for_expr.collection_expr),
            };
            flat.push(sequence(opens, it.for_expr.strip));
            flatten(&it.for_expr.template, lowering, shape, flat);
            flat.push(sequence(Sequence::EndFor, it.endfor_expr.strip));
        }
    }
}

fn sequence(opens: Sequence, strip: Strip) -> Flat {
    let before = matches!(strip, Strip::Start | Strip::Both);
    let after = matches!(strip, Strip::End | Strip::Both);
    Flat::Sequence { opens, before, after }
}

fn indent(line: &str) -> usize {
    line.chars().take_while(|letter| letter.is_whitespace()).count()
}

fn dedent(flat: &mut [Flat]) {
    let mut starts = Vec::new();
    let (mut smallest, mut at_start) = (usize::MAX, true);
    for (position, element) in flat.iter().enumerate() {
        match element {
            Flat::Text(text) => {
                let blank = text.ends_with('\n') && text.trim().is_empty();
                if at_start && !blank {
                    smallest = smallest.min(indent(text));
                    starts.push(position);
                }
                at_start = text.ends_with('\n');
            }
            Flat::Sequence { .. } => {
                smallest = if at_start { 0 } else { smallest };
                at_start = false;
            }
        }
    }
    for position in starts {
        if let Flat::Text(text) = &mut flat[position] {
            *text = text.chars().skip(smallest).collect();
        }
    }
}

fn strip(flat: &mut [Flat]) {
    let marks: Vec<(bool, bool)> = flat
        .iter()
        .map(|element| match element {
            Flat::Text(_) => (false, false),
            Flat::Sequence { before, after, .. } => (*before, *after),
        })
        .collect();
    for (position, element) in flat.iter_mut().enumerate() {
        let Flat::Text(text) = element else { continue };
        if position > 0 && marks[position - 1].1 {
            *text = text.trim_start().to_owned();
        }
        if marks.get(position + 1).is_some_and(|mark| mark.0) {
            *text = text.trim_end().to_owned();
        }
    }
}

/// How a run of parts ended.
#[derive(PartialEq, Eq)]
enum End {
    Else,
    Closed,
}

fn collect(flat: &mut std::vec::IntoIter<Flat>, parts: &mut Vec<Part>) -> End {
    while let Some(element) = flat.next() {
        let opens = match element {
            Flat::Text(text) => {
                push_text(parts, text);
                continue;
            }
            Flat::Sequence { opens, .. } => opens,
        };
        match opens {
            Sequence::Interpolation(inner) => parts.push(Part::Interpolation(inner)),
            Sequence::If(condition) => {
                let (mut then, mut otherwise) = (Vec::new(), Vec::new());
                if collect(flat, &mut then) == End::Else {
                    collect(flat, &mut otherwise);
                }
                parts.push(Part::If(condition, then, otherwise));
            }
            Sequence::For { key_name, value_name, collection } => {
                let mut body = Vec::new();
                collect(flat, &mut body);
                parts.push(Part::For(TemplateFor { key_name, value_name, collection, body }));
            }
            Sequence::Else => return End::Else,
            Sequence::EndIf | Sequence::EndFor => return End::Closed,
        }
    }
    End::Closed
}

fn push_text(parts: &mut Vec<Part>, text: String) {
    if text.is_empty() {
        return;
    }
    if let Some(Part::Literal(last)) = parts.last_mut() {
        last.push_str(&text);
        return;
    }
    parts.push(Part::Literal(normalised(&text).into_owned()));
}
