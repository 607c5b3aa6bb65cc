//! The plan as a comment on a pull request: Markdown as GitHub, GitLab and Gitea draw it.
//!
//! ````text
//! ### lustre plan: 1 to add, 0 to change, 1 to destroy      what it comes to
//! > [!CAUTION] …                                            gates
//! <details><summary><code>value.a</code> …</summary>        each change, the worst impact first
//! ```diff … ```
//! ````
//! Text of a spec stands in a fence that is longer than any run of backticks in it, or in `<code>` with all that means
//! something to HTML written as entities. Nothing here is read back by a program; that is `json`.
//! Invariant: no text of a spec leaves its fence or its element, no sensitive value is shown, and the comment has at most
//! [`COMMENT_BYTES_MAX`] bytes: what is left out is counted in its last sentence.

use std::fmt::Write as _;

use lustre_model::address::{Address, quote};
use lustre_model::plan::{Action, Change, Gate, GateReason, Impact, Mode, Plan};
use lustre_model::resource::Attributes;

use super::text::{
    attributes, because, cut_off, is_shown, nothing, outputs, shell, summary, title, what, wholes,
};
use super::{Style, Styled};

/// Most bytes of a comment. GitHub takes 65 536 characters; this leaves room for what a bot puts around it.
pub const COMMENT_BYTES_MAX: usize = 65_000;

/// Bytes that are kept back for the sentence on what is left out, and for the ends of what is open.
const END_BYTES: usize = 500;

/// Most bytes of one section beside the changes, such as the gates.
const SECTION_BYTES_MAX: usize = 12_000;

/// By this line, which is not drawn, a bot finds the comment that it wrote before.
const MARKER: &str = "<!-- lustre plan -->\n";

/// Shows a plan; `warnings` came up when it was made, each in words.
pub fn plan(plan: &Plan, warnings: &[String]) -> String {
    let mut out = format!("{MARKER}### {}\n", headline(plan));
    gates(&mut out, &plan.closed_gates(&[]));
    drift(&mut out, plan);
    listed(&mut out, "Warnings", warnings.iter().map(String::as_str));
    let mut changes: Vec<&Change> = plan.changes().iter().filter(|change| is_shown(change)).collect();
    if plan.parts().mode == Mode::RefreshOnly {
        changes.clear();
    }
    // Stable: changes of one impact stay in the order of their addresses.
    changes.sort_by_key(|change| std::cmp::Reverse(change.impact));
    let mut ends = String::new();
    changed_outputs(&mut ends, plan);
    let reads: Vec<String> = plan.parts().reads.iter().map(Address::to_string).collect();
    listed(&mut ends, "Read during apply", reads.iter().map(String::as_str));
    let room = COMMENT_BYTES_MAX - END_BYTES - ends.len();
    let mut left_out = 0;
    for change in changes {
        let whole = details(change, Diff::Shown);
        let shown = if out.len() + whole.len() <= room { whole } else { details(change, Diff::LeftOut) };
        if left_out == 0 && out.len() + shown.len() <= room {
            out.push_str(&shown);
        } else {
            left_out += 1;
        }
    }
    if left_out > 0 {
        let (noun, verb) = if left_out == 1 { ("change", "is") } else { ("changes", "are") };
        let _ = write!(
            out,
            "\n**{left_out} more {noun} {verb} left out, because a comment has room for 65 536 characters.** \
             `lustre show` on the plan's file shows everything.\n"
        );
    }
    out.push_str(&ends);
    out
}

fn headline(plan: &Plan) -> String {
    let verb = match plan.parts().mode {
        Mode::Normal => "plan",
        Mode::Destroy => "destroy",
        Mode::RefreshOnly => "refresh",
    };
    if !plan.finds_differences() {
        return format!("lustre {verb}: {}", nothing(plan));
    }
    let loss = if plan.data_loss().next().is_some() { "**DATA LOSS**, " } else { "" };
    match plan.parts().mode {
        Mode::Normal | Mode::Destroy => format!("lustre {verb}: {loss}{}", summary(plan)),
        Mode::RefreshOnly => {
            let changed = plan.parts().outputs.iter().filter(|output| output.action != Action::NoOp).count();
            let drifted = plan.parts().drift.len();
            format!("lustre {verb}: {drifted} not as recorded, {changed} outputs to record")
        }
    }
}

/// What stops an apply, and what lifts it.
fn gates(out: &mut String, closed: &[&Gate]) {
    let of = |reason| closed.iter().filter(move |gate| gate.reason == reason).map(|gate| &gate.address);
    let loss: Vec<&Address> = of(GateReason::DataLoss).collect();
    if !loss.is_empty() {
        out.push_str(
            "\n> [!CAUTION]\n> **DATA LOSS**: bytes of files would go, perhaps the only ones there are. \
             Apply stops before its first step unless each of these is allowed.\n",
        );
        let flags =
            wholes(&loss).into_iter().map(|it| format!("-allow-data-loss={}", shell(&it.to_string())));
        out.push_str(&fenced("", &limited(flags)));
    }
    let kept: Vec<&Address> = of(GateReason::PreventDestroy).collect();
    if !kept.is_empty() {
        out.push_str(
            "\n> [!CAUTION]\n> Protected by `lifecycle.prevent_destroy`: apply stops before its first step. \
             Set `prevent_destroy = false` and apply that first, or keep the block.\n",
        );
        out.push_str(&fenced("", &limited(kept.into_iter().map(Address::to_string))));
    }
}

fn drift(out: &mut String, plan: &Plan) {
    let rows: Vec<String> =
        plan.parts().drift.iter().map(|(address, cause)| format!("{address}: {cause}")).collect();
    listed(out, "Not as recorded, as hosts report", rows.iter().map(String::as_str));
}

/// A heading and rows in a fence; nothing without rows.
fn listed<'a>(out: &mut String, heading: &str, rows: impl Iterator<Item = &'a str>) {
    let rows = limited(rows.map(str::to_owned));
    if !rows.is_empty() {
        let _ = write!(out, "\n#### {heading}\n{}", fenced("", &rows));
    }
}

/// Rows up to a size; the last one counts what is left out.
fn limited(rows: impl Iterator<Item = String>) -> String {
    let (mut text, mut left_out) = (String::new(), 0);
    for row in rows {
        let row = harmless(row.trim_end());
        if left_out == 0 && text.len() + row.len() < SECTION_BYTES_MAX {
            text.push_str(&row);
            text.push('\n');
        } else {
            left_out += 1;
        }
    }
    if left_out > 0 {
        let _ = writeln!(text, "… and {left_out} more");
    }
    text
}

/// Whether a change is shown with what changes inside.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Diff {
    Shown,
    LeftOut,
}

fn details(change: &Change, diff: Diff) -> String {
    let mut said = format!("<code>{}</code> {}", entities(&change.address.to_string()), what(change));
    if change.impact == Impact::DataLoss {
        said.push_str(" <b>DATA LOSS</b>");
    }
    let mut text = String::new();
    if let Some(id) = &change.imported {
        let _ = writeln!(text, "# imported from {}", quote(id));
    }
    if let Some(previous) = &change.previous_address {
        let _ = writeln!(text, "# it was {previous}");
    }
    if let Some(because) = change.reason.and_then(because) {
        let _ = writeln!(text, "# because {because}");
    }
    let _ = writeln!(text, "# impact: {}", change.impact);
    if let Some(cut_off) = cut_off(change) {
        let _ = writeln!(text, "# {cut_off}");
    }
    match diff {
        Diff::Shown => text.push_str(&block(change)),
        Diff::LeftOut => text.push_str("# what changes inside is too long for this comment\n"),
    }
    format!("\n<details><summary>{said}</summary>\n{}\n</details>\n", fenced("diff", &harmless(&text)))
}

/// The change as its block, with marks where a diff has them.
fn block(change: &Change) -> String {
    let (mark, more) = match change.action {
        Action::Create => ('+', ""),
        Action::Update => ('!', ""),
        Action::Delete => ('-', ""),
        Action::Replace if change.deposed.is_some() => ('!', " # created, then the old one destroyed"),
        Action::Replace => ('!', " # destroyed, then created"),
        Action::Read | Action::Forget | Action::NoOp => (' ', ""),
    };
    let mut inside = Styled::default();
    let empty = Attributes::new();
    let (before, after) = (change.before.as_ref().unwrap_or(&empty), change.after.as_ref().unwrap_or(&empty));
    attributes(&mut inside, change, (before, after));
    format!("{mark} {} {{{more}\n{}  }}\n", title(&change.address), marked(&inside))
}

fn changed_outputs(out: &mut String, plan: &Plan) {
    let mut inside = Styled::default();
    outputs(&mut inside, &plan.parts().outputs);
    // The first piece is a heading for a terminal.
    if !inside.pieces.is_empty() {
        inside.pieces.remove(0);
        let text = harmless(&marked(&inside));
        let (_, rows) = text.lines().fold((0, String::new()), |(used, mut rows), row| {
            let used = used + row.len() + 1;
            if used < SECTION_BYTES_MAX {
                rows.push_str(row);
                rows.push('\n');
            }
            (used, rows)
        });
        let cut = if rows.len() < text.len() { "# the rest is left out\n" } else { "" };
        let _ = write!(out, "\n#### Changes to outputs\n{}", fenced("diff", &format!("{rows}{cut}")));
    }
}

/// The text with the mark of each line in its first column, where a diff is coloured by it.
fn marked(text: &Styled) -> String {
    let mut out = String::new();
    let mut pieces = text.pieces.iter().peekable();
    let mut at_start = true;
    while let Some(piece) = pieces.next() {
        let blank = piece.style == Style::Plain && piece.text.bytes().all(|byte| byte == b' ');
        let mark = pieces.peek().filter(|_| at_start && blank).and_then(|next| match next.text.as_str() {
            "+ " => Some('+'),
            "- " => Some('-'),
            "~ " => Some('!'),
            _ => None,
        });
        match mark {
            Some(mark) => {
                let _ = write!(out, "{mark}{} ", piece.text);
                pieces.next();
                at_start = false;
            }
            None => {
                out.push_str(&piece.text);
                at_start = piece.text.ends_with('\n');
            }
        }
    }
    out
}

/// Puts a text between fences that no line of it can end.
fn fenced(language: &str, text: &str) -> String {
    let longest = text.split(|letter| letter != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest.max(2) + 1);
    format!("\n{fence}{language}\n{text}{fence}\n")
}

/// The text without what moves the cursor or turns the direction of letters: such letters are written by their numbers.
fn harmless(text: &str) -> String {
    let turns = |letter| matches!(letter, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let breaks = |letter: char| {
        (letter.is_control() && letter != '\n' && letter != '\t') || matches!(letter, '\u{2028}' | '\u{2029}')
    };
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        if turns(letter) || breaks(letter) {
            let _ = write!(out, "\\u{{{:x}}}", u32::from(letter));
        } else {
            out.push(letter);
        }
    }
    out
}

/// The text as HTML that is nothing but letters.
fn entities(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in harmless(text).chars() {
        if letter.is_alphanumeric() || matches!(letter, ' ' | '.' | '_' | '-') {
            out.push(letter);
        } else {
            let _ = write!(out, "&#{};", u32::from(letter));
        }
    }
    out
}
