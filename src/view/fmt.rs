//! What `lustre fmt` would change, as a unified diff.

use std::time::Duration;

use anstyle::{AnsiColor, Style};
use similar::{ChangeTag, TextDiff};

use crate::terminal::paint;

/// Unchanged lines around a change.
const CONTEXT: usize = 3;

/// After this long, a diff need not be the smallest any more.
const SEARCH_MAX: Duration = Duration::from_millis(500);

/// Returns how a file changes.
pub fn diff(name: &str, (old, new): (&str, &str), colour: bool) -> String {
    let lines = TextDiff::configure().timeout(SEARCH_MAX).diff_lines(old, new);
    let mut drawn = paint(colour, Style::new().bold(), &format!("--- old/{name}\n+++ new/{name}\n"));
    for hunk in lines.unified_diff().context_radius(CONTEXT).iter_hunks() {
        drawn.push_str(&paint(colour, AnsiColor::Cyan.on_default(), &hunk.header().to_string()));
        drawn.push('\n');
        for change in hunk.iter_changes() {
            let line = change.value().trim_end_matches('\n');
            let (sign, style) = match change.tag() {
                ChangeTag::Equal => (' ', Style::new()),
                ChangeTag::Delete => ('-', AnsiColor::Red.on_default()),
                ChangeTag::Insert => ('+', AnsiColor::Green.on_default()),
            };
            drawn.push_str(&paint(colour, style, &format!("{sign}{line}")));
            drawn.push('\n');
            if change.missing_newline() {
                drawn.push_str("\\ No newline at end of file\n");
            }
        }
    }
    drawn
}
