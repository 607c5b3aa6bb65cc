//! Diagnostics: what is wrong with a spec, where, and what to do about it.
//!
//! Plain data that the command line draws; nothing here prints. A sensitive value never enters a diagnostic: references
//! are described by [`Referenced`], whose text is made by whoever holds the value.
//! Invariant: a [`Span`] that came from [`Sources::add`]ed text lies inside that text.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::address::Address;

/// Most diagnostics that are kept of one run; the rest is counted only.
pub const DIAGNOSTICS_MAX: usize = 1000;

/// Names one source text in a [`Sources`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SourceId(pub u32);

/// A range of bytes in one source text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Span {
    /// Which text.
    pub source: SourceId,
    /// First byte.
    pub start: u32,
    /// Behind the last byte.
    pub end: u32,
}

impl Span {
    /// Builds a span; offsets beyond 4 GiB are clamped.
    pub fn new(source: SourceId, range: std::ops::Range<usize>) -> Self {
        let clamp = |offset: usize| u32::try_from(offset).unwrap_or(u32::MAX);
        Self { source, start: clamp(range.start), end: clamp(range.end.max(range.start)) }
    }

    /// Returns the smallest span that holds both; `self` when they lie in different texts.
    pub fn to(self, other: Self) -> Self {
        if self.source != other.source {
            return self;
        }
        Self { source: self.source, start: self.start.min(other.start), end: self.end.max(other.end) }
    }

    /// Returns the bytes as a range, for slicing.
    pub fn range(self) -> std::ops::Range<usize> {
        self.start as usize..self.end as usize
    }
}

/// A place in a text, as people and editors count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Position {
    /// Line, from 1.
    pub line: u32,
    /// Column in Unicode scalar values, from 1.
    pub column: u32,
    /// Byte offset, from 0.
    pub byte: u32,
}

/// One text that spans point into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The file's name as the user would type it.
    pub name: String,
    /// Its text.
    pub text: Arc<str>,
}

/// The texts of one run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sources {
    files: Vec<Source>,
}

impl Sources {
    /// Adds a text and returns its id.
    pub fn add(&mut self, name: impl Into<String>, text: impl Into<Arc<str>>) -> SourceId {
        let id = SourceId(u32::try_from(self.files.len()).unwrap_or(u32::MAX));
        self.files.push(Source { name: name.into(), text: text.into() });
        id
    }

    /// Returns a text.
    pub fn get(&self, id: SourceId) -> Option<&Source> {
        self.files.get(id.0 as usize)
    }

    /// Returns all texts with their ids, in the order of [`Sources::add`].
    pub fn iter(&self) -> impl Iterator<Item = (SourceId, &Source)> {
        self.files
            .iter()
            .enumerate()
            .map(|(index, file)| (SourceId(u32::try_from(index).unwrap_or(u32::MAX)), file))
    }

    /// Returns the text under a span; empty when the span does not fit.
    pub fn text(&self, span: Span) -> &str {
        self.get(span.source).and_then(|file| file.text.get(span.range())).unwrap_or("")
    }

    /// Returns where a span begins and ends.
    pub fn positions(&self, span: Span) -> Option<(Position, Position)> {
        let text = &self.get(span.source)?.text;
        Some((position(text, span.start), position(text, span.end)))
    }
}

fn position(text: &str, byte: u32) -> Position {
    let mut offset = (byte as usize).min(text.len());
    while !text.is_char_boundary(offset) {
        offset -= 1;
    }
    let before = &text[..offset];
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    Position {
        line: count(before.bytes().filter(|byte| *byte == b'\n').count() + 1),
        column: count(before[line_start..].chars().count() + 1),
        byte,
    }
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Nothing is planned.
    Error,
    /// Planning goes on.
    Warning,
}

/// A second place that explains the first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Related {
    /// Where.
    pub span: Span,
    /// What is there: "first defined here".
    pub label: String,
}

/// The value of a reference in the failing expression, as text fit for any eye.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Referenced {
    /// The reference as written: `var.size`.
    pub traversal: String,
    /// What it is: `is 3`, `is a string, known only after apply`, `has a sensitive value`.
    pub statement: String,
}

/// One thing to tell the user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// Stable code, `E0123` or `W0123`.
    pub code: &'static str,
    /// One line, no full stop.
    pub summary: String,
    /// Sentences; may be empty.
    pub detail: String,
    /// What to do: a sentence.
    pub hint: Option<String>,
    /// Where.
    pub span: Option<Span>,
    /// Other places.
    pub related: Vec<Related>,
    /// Values of the references in the failing expression.
    pub values: Vec<Referenced>,
    /// The instance it was found in, when the place alone does not say.
    pub instance: Option<Address>,
}

impl Diagnostic {
    /// Starts an error.
    pub fn error(code: &'static str, summary: impl Into<String>) -> Self {
        Self::new(Severity::Error, code, summary.into())
    }

    /// Starts a warning.
    pub fn warning(code: &'static str, summary: impl Into<String>) -> Self {
        Self::new(Severity::Warning, code, summary.into())
    }

    fn new(severity: Severity, code: &'static str, summary: String) -> Self {
        Self {
            severity,
            code,
            summary,
            detail: String::new(),
            hint: None,
            span: None,
            related: Vec::new(),
            values: Vec::new(),
            instance: None,
        }
    }

    /// Adds sentences that explain it.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = detail.into();
        self
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Says where it is.
    #[must_use]
    pub fn at(mut self, span: Span) -> Self {
        self.span = Some(span);
        self
    }

    /// Adds a second place.
    #[must_use]
    pub fn related(mut self, span: Span, label: impl Into<String>) -> Self {
        self.related.push(Related { span, label: label.into() });
        self
    }

    /// Adds the value of a reference.
    #[must_use]
    pub fn referenced(mut self, traversal: impl Into<String>, statement: impl Into<String>) -> Self {
        self.values.push(Referenced { traversal: traversal.into(), statement: statement.into() });
        self
    }

    /// Says in which instance it was found.
    #[must_use]
    pub fn instance(mut self, address: Address) -> Self {
        self.instance = Some(address);
        self
    }
}

/// All that a run found; it goes on collecting after the first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Diagnostics {
    found: Vec<Diagnostic>,
    dropped: usize,
}

impl Diagnostics {
    /// Returns an empty collection.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one, unless the very same was found before.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        if self.found.contains(&diagnostic) {
            return;
        }
        if self.found.len() >= DIAGNOSTICS_MAX {
            self.dropped += 1;
            return;
        }
        self.found.push(diagnostic);
    }

    /// Returns whether anything forbids to go on.
    pub fn has_errors(&self) -> bool {
        self.found.iter().any(|diagnostic| diagnostic.severity == Severity::Error)
    }

    /// Returns how many are kept.
    pub fn len(&self) -> usize {
        self.found.len()
    }

    /// Returns whether nothing was found.
    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// Returns how many were found beyond [`DIAGNOSTICS_MAX`].
    pub fn dropped(&self) -> usize {
        self.dropped
    }

    /// Returns those that are kept, in the order found.
    pub fn iter(&self) -> std::slice::Iter<'_, Diagnostic> {
        self.found.iter()
    }

    /// Orders them by file and place; those without a place come first.
    pub fn sort(&mut self) {
        self.found.sort_by_key(|diagnostic| diagnostic.span);
    }
}

impl Extend<Diagnostic> for Diagnostics {
    fn extend<T: IntoIterator<Item = Diagnostic>>(&mut self, iter: T) {
        iter.into_iter().for_each(|diagnostic| self.push(diagnostic));
    }
}

impl IntoIterator for Diagnostics {
    type Item = Diagnostic;
    type IntoIter = std::vec::IntoIter<Diagnostic>;

    fn into_iter(self) -> Self::IntoIter {
        self.found.into_iter()
    }
}

impl<'a> IntoIterator for &'a Diagnostics {
    type Item = &'a Diagnostic;
    type IntoIter = std::slice::Iter<'a, Diagnostic>;

    fn into_iter(self) -> Self::IntoIter {
        self.found.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_characters_and_survive_offsets_inside_one() {
        let mut sources = Sources::default();
        let id = sources.add("main.hcl", "a\nbäc\n");
        let (start, end) = sources.positions(Span::new(id, 2..5)).unwrap();
        assert_eq!((start.line, start.column), (2, 1));
        assert_eq!((end.line, end.column), (2, 3));
        let (inside, _) = sources.positions(Span::new(id, 4..4)).unwrap();
        assert_eq!((inside.line, inside.column), (2, 2));
        assert_eq!(sources.text(Span::new(id, 3..5)), "ä");
        assert_eq!(sources.text(Span::new(id, 4..99)), "");
    }

    #[test]
    fn the_same_finding_is_told_once() {
        let mut found = Diagnostics::new();
        found.push(Diagnostic::warning("W0001", "odd"));
        found.push(Diagnostic::warning("W0001", "odd"));
        assert_eq!((found.len(), found.has_errors()), (1, false));
        found.push(Diagnostic::error("E0001", "wrong"));
        assert!(found.has_errors());
    }
}
