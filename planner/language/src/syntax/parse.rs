//! Parsing of files, with what hcl-edit lacks: a byte order mark, numbers of any size, and more than one syntax error a
//! run.
//!
//! When a file does not parse as a whole it is cut at the lines that begin a block in the first column, and each piece
//! is parsed for itself: the good ones are kept, the bad ones give an error each.
//! Invariant: a file with a syntax error yields at least one diagnostic, and spans are offsets in the file as given.

use std::borrow::Cow;
use std::ops::Range;

use lustre_model::diagnostic::{Diagnostic, Diagnostics, SourceId, Sources, Span};

use super::blank::{Shape, blanked, without_empty};
use super::unclosed::unclosed_text;
use crate::syntax::lower::Lowering;
use crate::syntax::{BodySyntax, Expr, Part, template};

/// Longest text that is parsed.
pub(crate) const SOURCE_BYTES_MAX: usize = 64 << 20;

/// Most syntax errors of one file that are told one by one.
const ERRORS_MAX: usize = 20;

/// Parses a file; what is wrong is reported, what is good is returned.
pub(crate) fn parse(sources: &Sources, id: SourceId, diagnostics: &mut Diagnostics) -> BodySyntax {
    let text = sources.get(id).map_or("", |source| &source.text);
    let start = if text.starts_with('\u{feff}') { 3 } else { 0 };
    let mut body = BodySyntax {
        attributes: indexmap::IndexMap::new(),
        blocks: Vec::new(),
        span: Span::new(id, 0..text.len()),
    };
    if text.len() > SOURCE_BYTES_MAX {
        let summary = format!("file is larger than {} MiB", SOURCE_BYTES_MAX >> 20);
        diagnostics.push(Diagnostic::error("E0100", summary).at(Span::new(id, 0..0)));
        return body;
    }
    match piece(text, id, start..text.len()) {
        Ok(whole) => return Lowering::new(text, id, start, diagnostics).body(&whole),
        Err(error) => diagnostics.push(*error),
    }
    let broken = diagnostics.iter().last().and_then(|first| first.span).map_or(0, |span| span.start as usize);
    let mut more: Vec<Box<Diagnostic>> = Vec::new();
    for range in pieces(text, start) {
        match piece(text, id, range.clone()) {
            Ok(part) => {
                let part = Lowering::new(text, id, range.start, diagnostics).body(&part);
                body.attributes.extend(part.attributes);
                body.blocks.extend(part.blocks);
            }
            // The piece with the first error was reported already.
            Err(error) if range.start > broken => more.push(error),
            Err(_) => {}
        }
    }
    // The first was reported; one is left for the rest.
    let untold = more.len().saturating_sub(ERRORS_MAX - 1);
    let rest = more.get(ERRORS_MAX - 1).and_then(|first| first.span).map(|span| {
        let summary = format!("and {untold} more syntax errors in this file, from here on");
        Diagnostic::error("E0101", summary).hint("Correct those above first.").at(span)
    });
    diagnostics.extend(more.into_iter().take(ERRORS_MAX - 1).map(|error| *error).chain(rest));
    body
}

/// Returns whether a text without byte order mark is a body, with numbers of any size in it.
pub(crate) fn is_body(text: &str) -> bool {
    leniently((text, Shape::Code), hcl_edit::parser::parse_body).is_ok()
}

/// Parses one expression.
pub(crate) fn parse_expression(
    sources: &Sources,
    id: SourceId,
    diagnostics: &mut Diagnostics,
) -> Option<Expr> {
    let text = sources.get(id).map_or("", |source| &source.text);
    // White space around an expression means nothing, also behind the end of a heredoc.
    let bare = text.trim();
    let start = text.len() - text.trim_start().len();
    match leniently((bare, Shape::Code), hcl_edit::parser::parse_expr) {
        Ok(parsed) => Some(Lowering::new(text, id, start, diagnostics).expression(&parsed)),
        Err(error) => {
            diagnostics.push(syntax_error(&error, bare, id, start));
            None
        }
    }
}

/// Parses a template that stands alone, as `templatefile` reads it.
pub(crate) fn parse_template(
    sources: &Sources,
    id: SourceId,
    diagnostics: &mut Diagnostics,
) -> Option<Vec<Part>> {
    let text = sources.get(id).map_or("", |source| &source.text);
    match leniently((text, Shape::Template), hcl_edit::parser::parse_template) {
        Ok(parsed) => {
            let mut lowering = Lowering::new(text, id, 0, diagnostics);
            Some(template::build(&parsed, &mut lowering, template::Shape::Plain))
        }
        Err(error) => {
            diagnostics.push(syntax_error(&error, text, id, 0));
            None
        }
    }
}

fn piece(
    text: &str,
    id: SourceId,
    range: Range<usize>,
) -> Result<hcl_edit::structure::Body, Box<Diagnostic>> {
    let part = &text[range.clone()];
    leniently((part, Shape::Code), hcl_edit::parser::parse_body)
        .map_err(|error| Box::new(syntax_error(&error, part, id, range.start)))
}

/// Parses; what hcl-edit refuses, or takes with the wrong place, is blanked out for it, byte for byte: numbers beyond floating
/// point, which the tree takes from the text and not from hcl-edit, and line ends that mean nothing.
fn leniently<T>(
    (text, shape): (&str, Shape),
    parse: impl Fn(&str) -> Result<T, hcl_edit::parser::Error>,
) -> Result<T, hcl_edit::parser::Error> {
    let result = parse(&without_empty(text, shape).map_or(Cow::Borrowed(text), Cow::Owned));
    let shown = if result.is_err() { blanked(text, shape) } else { None };
    let Some(shown) = shown else { return result };
    // Of a text that is wrong all the same, the place is told that was found in it as it is; but for a number.
    match (parse(&shown), result) {
        (Ok(parsed), _) => Ok(parsed),
        (Err(error), Err(first)) if error.location().offset() < first.location().offset() => Err(first),
        (Err(error), _) => Err(error),
    }
}

fn syntax_error(error: &hcl_edit::parser::Error, text: &str, id: SourceId, base: usize) -> Diagnostic {
    // hcl-edit points into the middle of a character when the text ends with one.
    let offset = text.floor_char_boundary(error.location().offset().min(text.len()));
    let line_start = text[..offset].rfind('\n').map_or(0, |at| at + 1);
    let line = text[line_start..].lines().next().unwrap_or("");
    // hcl-edit reports a text that is not closed at the start of its line, or where it ends by the quote of another one.
    let unclosed = unclosed_text(text, line_start + line.len());
    let (offset, width) = match unclosed {
        Some(quote) => (quote, text[quote..].lines().next().map_or(0, str::len)),
        None => (offset, text[offset..].chars().next().map_or(0, char::len_utf8)),
    };
    let span = Span::new(id, base + offset..base + offset + width);
    let detail =
        if unclosed.is_some() { "This text is not closed.".to_owned() } else { sentence(error.message()) };
    let diagnostic = Diagnostic::error("E0101", "syntax error").detail(detail).at(span);
    match hint(&text[offset..], unclosed.is_some(), error.message()) {
        Some(hint) => diagnostic.hint(hint),
        None => diagnostic,
    }
}

fn sentence(message: &str) -> String {
    let mut letters = message.chars();
    let first = letters.next().map(|letter| letter.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}.", letters.as_str())
}

/// Names the likely mistake.
fn hint(rest: &str, unclosed: bool, message: &str) -> Option<&'static str> {
    if rest.starts_with('\'') {
        return Some("Text is written in double quotes: \"…\".");
    }
    if message.contains("redefined object key") {
        return Some("A key is given once; of two Terraform takes the last. Remove the other.");
    }
    if message.contains("redefined attribute") {
        return Some("An attribute is given once; remove one of the two.");
    }
    if rest.is_empty() {
        return Some(
            "The file ends inside a block, a list or a text: a closing `}`, `]`, `)` or `\"` is missing.",
        );
    }
    if unclosed {
        return Some("A `\"` is missing on this line.");
    }
    if rest.starts_with(':') {
        return Some("A value is given to a name with `=`.");
    }
    None
}

/// Cuts a text before each line that begins a block or attribute in the first column.
fn pieces(text: &str, start: usize) -> Vec<Range<usize>> {
    let mut cuts = Vec::new();
    let (mut at, mut heredoc, mut comment) = (start, None::<&str>, false);
    for line in text[start..].split_inclusive('\n') {
        let trimmed = line.trim();
        if let Some(end) = heredoc {
            heredoc = (trimmed != end).then_some(end);
        } else if comment {
            comment = !line.contains("*/");
        } else {
            let first = line.chars().next();
            if first.is_some_and(|letter| letter.is_alphabetic() || letter == '_') {
                cuts.push(at);
            }
            comment = trimmed.starts_with("/*") && !line.contains("*/");
            heredoc = heredoc_end(trimmed);
        }
        at += line.len();
    }
    if cuts.first() != Some(&start) {
        cuts.insert(0, start);
    }
    let ends = cuts.iter().skip(1).copied().chain([text.len()]);
    cuts.iter().copied().zip(ends).map(|(from, to)| from..to).collect()
}

fn heredoc_end(line: &str) -> Option<&str> {
    let (_, word) = line.split_once("<<")?;
    let word = word.strip_prefix('-').unwrap_or(word);
    lustre_model::address::is_identifier(word).then_some(word)
}
