//! Canonical layout of HCL text, as `terraform fmt` users know it.
//!
//! ```text
//! text ─ token ─▶ tokens ─ rewrite ─▶ tokens ─ layout ─▶ blanks between them ─▶ text
//! ```
//! Layout is hclwrite's: two spaces a bracket, blanks by pairs of tokens, `=` and trailing comments aligned in runs of
//! lines. Line ends stay as they are, CRLF too, and so do empty lines; a byte order mark goes. What is quoted or in a
//! heredoc is not touched, but for the inside of `${…}`. Rewritten are, as `tofu fmt` does: `"${x}"` alone to `x`, labels
//! into quotes, `type = list` of a variable to `list(any)`.
//!
//! Deliberately unlike both, where they hurt: no comment is lost, not between labels either; nested `"${"${x}"}"` is
//! unwrapped at once; `=> -1` and `if (x)` keep their blanks; a minus that continues a line is an operator; a sequence over
//! several lines of a heredoc does not shift what follows; blanks at the end of the text go; one very long line beside many
//! short ones aligns nobody.
//!
//! Not here: values, names, the wish to break or join lines.
//! Invariant: the result parses to what the text parses to, has the same comments, and is its own canonical form.

use lustre_model::diagnostic::{Diagnostic, Diagnostics, SourceId, Sources, Span};

use crate::syntax;

mod layout;
mod meaning;
mod rewrite;
mod spacing;
mod token;

use self::layout::lay_out;
pub use self::meaning::say_the_same;
use self::rewrite::rewrite;
use self::token::{Token, tokens};

/// Longest text that is formatted; `parse` refuses longer ones as well.
const TEXT_BYTES_MAX: usize = 64 << 20;

/// Brings a text into canonical form.
///
/// A text with syntax errors is refused with all of them; their spans are in `sources`. Time and memory are linear in the
/// text.
pub fn format(sources: &Sources, id: SourceId) -> Result<String, Diagnostics> {
    let given = sources.get(id).map_or("", |source| &source.text);
    let text = given.strip_prefix('\u{feff}').unwrap_or(given);
    if text.len() > TEXT_BYTES_MAX {
        return Err(mistakes(sources, id));
    }
    if !syntax::is_body(text) {
        return Err(mistakes(sources, id));
    }
    let read = tokens(text);
    let rewritten = rewrite(&read);
    let meant = rewritten.as_deref().unwrap_or(&read);
    let laid_out = lay_out(meant);
    // Layout moves blanks only; were tokens to run together, the text would be left alone.
    if tokens(&laid_out).iter().map(Token::parts).eq(meant.iter().map(Token::parts)) {
        return Ok(laid_out);
    }
    let mut found = Diagnostics::new();
    found.push(misread(id));
    Err(found)
}

/// Returns why a text does not parse; never nothing.
fn mistakes(sources: &Sources, id: SourceId) -> Diagnostics {
    let mut found = Diagnostics::new();
    syntax::parse(sources, id, &mut found);
    if !found.has_errors() {
        found.push(misread(id));
    }
    found
}

fn misread(id: SourceId) -> Diagnostic {
    Diagnostic::error("E0105", "the text cannot be formatted without changing what it says")
        .detail("It is left as it is.")
        .hint("This is a bug in lustre; please report it with the text.")
        .at(Span::new(id, 0..0))
}

#[cfg(test)]
mod tests;
