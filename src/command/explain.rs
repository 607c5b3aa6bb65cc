//! `lustre explain`: what a diagnostic's code means, with an example and what to do.
//!
//! The texts are `explain/codes.md`: a `## CODE title` for each, in the order of the codes.
//! Invariant: every code that a diagnostic can have is explained; a test compares the sources with the texts, and runs the
//! examples.

use lustre_language::nearest;

use crate::cli::ExplainFlags;
use crate::exit::{Failure, Success};
use crate::terminal::Terminal;

/// All explanations.
pub const CODES: &str = include_str!("explain/codes.md");

/// One code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Explanation {
    /// `E0301`
    pub code: &'static str,
    /// What it is, in few words.
    pub title: &'static str,
    /// Markdown.
    pub text: &'static str,
}

/// Returns all explanations, in the order of their codes.
pub fn explanations() -> impl Iterator<Item = Explanation> {
    CODES.split("\n## ").skip(1).filter_map(|section| {
        let (heading, text) = section.split_once('\n')?;
        let (code, title) = heading.split_once(' ')?;
        Some(Explanation { code, title, text: text.trim() })
    })
}

/// Prints the explanation of a code, or the list of all.
pub fn run(flags: &ExplainFlags, terminal: Terminal) -> Result<Success, Failure> {
    let Some(wanted) = &flags.code else {
        for Explanation { code, title, .. } in explanations() {
            terminal.say(&format!("{code}  {title}"));
        }
        return Ok(Success::Done);
    };
    let upper = wanted.to_ascii_uppercase();
    let Some(found) = explanations().find(|it| it.code == upper) else {
        let near = nearest(&upper, explanations().map(|it| it.code));
        let near = near.map(|near| format!("did you mean {near}? ")).unwrap_or_default();
        return Err(Failure::Said {
            cause: format!("there is no code {wanted:?}"),
            hint: Some(format!("{near}`lustre explain` lists them all")),
        });
    };
    terminal.say(&format!("{}: {}\n\n{}", found.code, found.title, found.text));
    Ok(Success::Done)
}
