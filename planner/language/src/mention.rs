//! What an expression mentions: references by their root name, and calls.
//!
//! Names bound by `for` are not references. Whether a mentioned thing exists is checked by the program.
//! Invariant: every root name and every call of an expression is found once, in the order of the text.

use lustre_model::address::Key;
use lustre_model::diagnostic::Span;

use crate::syntax::{Call, Expr, ExprKind, Part, Step};

/// Something an expression mentions.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Mention<'a> {
    /// A root name and what follows it.
    Reference(Reference<'a>),
    /// A call of a function.
    Call(&'a Call),
}

/// A root name and what follows it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Reference<'a> {
    /// The first name.
    pub(crate) root: &'a str,
    /// What follows.
    pub(crate) steps: &'a [Step],
    /// Where the whole reference is, up to its first splat or computed index.
    pub(crate) span: Span,
    /// A surrounding `for` gives `each` or `count` another meaning.
    shadowed: bool,
}

impl<'a> Reference<'a> {
    /// Returns the name at a position behind the root.
    pub(crate) fn name(&self, position: usize) -> Option<&'a str> {
        match self.steps.get(position)? {
            Step::Attribute(name, _) => Some(name),
            Step::Index(..) | Step::Splat(..) => None,
        }
    }

    /// Tells whether the index at a position behind the root is `count.index` or `each.key`: the instance meant is the one
    /// with the key of the instance that mentions it.
    pub(crate) fn is_counterpart(&self, position: usize) -> bool {
        let Some(Step::Index(index, _)) = self.steps.get(position).filter(|_| !self.shadowed) else {
            return false;
        };
        let ExprKind::Access(base, steps) = &index.kind else { return false };
        match (&base.kind, steps.as_slice()) {
            (ExprKind::Variable(root), [Step::Attribute(name, _)]) => {
                matches!((root.as_str(), name.as_str()), ("count", "index") | ("each", "key"))
            }
            _ => false,
        }
    }

    /// Returns the instance key at a position behind the root, if it is written out.
    pub(crate) fn key(&self, position: usize) -> Option<Key> {
        let Some(Step::Index(index, _)) = self.steps.get(position) else { return None };
        let ExprKind::Literal(value) = &index.kind else { return None };
        value.as_str().map(|name| Key::Name(name.to_owned())).or_else(|| value.as_u64().map(Key::Index))
    }
}

/// Finds all references of an expression.
pub(crate) fn references(expression: &Expr) -> impl Iterator<Item = Reference<'_>> {
    mentions(expression).into_iter().filter_map(|mention| match mention {
        Mention::Reference(reference) => Some(reference),
        Mention::Call(_) => None,
    })
}

/// Finds everything an expression mentions.
pub(crate) fn mentions(expression: &Expr) -> Vec<Mention<'_>> {
    let mut finder = Finder { found: Vec::new(), bound: Vec::new() };
    finder.expression(expression);
    finder.found
}

/// Finds everything a template mentions.
pub(crate) fn mentions_of_parts(parts: &[Part]) -> Vec<Mention<'_>> {
    let mut finder = Finder { found: Vec::new(), bound: Vec::new() };
    finder.parts(parts);
    finder.found
}

struct Finder<'a> {
    found: Vec<Mention<'a>>,
    bound: Vec<&'a str>,
}

impl<'a> Finder<'a> {
    fn expression(&mut self, expression: &'a Expr) {
        match &expression.kind {
            ExprKind::Literal(_) => {}
            ExprKind::Variable(name) => self.reference(name, &[], expression.span),
            ExprKind::Template(parts) => self.parts(parts),
            ExprKind::Tuple(items) => items.iter().for_each(|item| self.expression(item)),
            ExprKind::Object(items) => items.iter().for_each(|(key, value)| {
                self.expression(key);
                self.expression(value);
            }),
            ExprKind::Access(base, steps) => {
                if let ExprKind::Variable(name) = &base.kind {
                    self.reference(name, steps, base.span);
                } else {
                    self.expression(base);
                }
                self.steps(steps);
            }
            ExprKind::Call(call) => {
                self.found.push(Mention::Call(call));
                call.arguments.iter().for_each(|argument| self.expression(argument));
            }
            ExprKind::Conditional(condition, then, otherwise) => {
                [condition, then, otherwise].into_iter().for_each(|part| self.expression(part));
            }
            ExprKind::Unary(_, operand) => self.expression(operand),
            ExprKind::Binary(_, left, right) => {
                self.expression(left);
                self.expression(right);
            }
            ExprKind::For(it) => {
                self.expression(&it.collection);
                self.bind(it.key_name.as_deref(), &it.value_name, |finder| {
                    it.key
                        .iter()
                        .chain([&it.value])
                        .chain(&it.condition)
                        .for_each(|part| finder.expression(part));
                });
            }
        }
    }

    fn parts(&mut self, parts: &'a [Part]) {
        for part in parts {
            match part {
                Part::Literal(_) => {}
                Part::Interpolation(inner) => self.expression(inner),
                Part::If(condition, then, otherwise) => {
                    self.expression(condition);
                    self.parts(then);
                    self.parts(otherwise);
                }
                Part::For(it) => {
                    self.expression(&it.collection);
                    self.bind(it.key_name.as_deref(), &it.value_name, |finder| finder.parts(&it.body));
                }
            }
        }
    }

    fn steps(&mut self, steps: &'a [Step]) {
        for step in steps {
            match step {
                Step::Attribute(..) => {}
                Step::Index(index, _) => self.expression(index),
                Step::Splat(each, _) => self.steps(each),
            }
        }
    }

    fn bind(&mut self, key: Option<&'a str>, value: &'a str, inside: impl FnOnce(&mut Self)) {
        let before = self.bound.len();
        self.bound.extend(key.into_iter().chain([value]));
        inside(self);
        self.bound.truncate(before);
    }

    fn reference(&mut self, root: &'a str, steps: &'a [Step], root_span: Span) {
        if self.bound.contains(&root) {
            return;
        }
        let plain = steps.iter().take_while(|step| match step {
            Step::Attribute(..) => true,
            Step::Index(index, _) => matches!(index.kind, ExprKind::Literal(_)),
            Step::Splat(..) => false,
        });
        let span = plain.fold(root_span, |span, step| span.to(step.span()));
        let shadowed = self.bound.iter().any(|name| matches!(*name, "each" | "count"));
        self.found.push(Mention::Reference(Reference { root, steps, span, shadowed }));
    }
}
