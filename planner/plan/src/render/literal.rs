//! Values as a plan shows them: literals, and what changed inside them.
//!
//! ```text
//!   + name = "x"              a value that comes or goes
//!   ~ name = "x" -> "y"       one that changes; objects and lists by their elements, long texts by their lines
//! ```
//! Invariant: a sensitive value is `(sensitive value)`, an unknown one `(known after apply)`.

use lustre_model::address::{is_identifier, quote};
use lustre_model::value::{Kind, Value};
use similar::{Algorithm, ChangeTag, DiffOp, TextDiff};

use super::{Style, Styled};

const UNKNOWN: &str = "(known after apply)";
const SENSITIVE: &str = "(sensitive value)";

/// What happens to what is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// It stays.
    Same,
    /// It comes.
    Add,
    /// It goes.
    Remove,
    /// It changes.
    Change,
}

impl Mark {
    /// Returns the letter in front of the line.
    pub fn letter(self) -> &'static str {
        match self {
            Self::Same => " ",
            Self::Add => "+",
            Self::Remove => "-",
            Self::Change => "~",
        }
    }

    /// Returns how the letter is shown.
    pub fn style(self) -> Style {
        match self {
            Self::Same => Style::Plain,
            Self::Add => Style::Add,
            Self::Remove => Style::Remove,
            Self::Change => Style::Change,
        }
    }
}

/// Begins a line at a depth, with its mark.
pub fn line(out: &mut Styled, depth: usize, mark: Mark) {
    out.push(Style::Plain, " ".repeat(depth * 4 + 2));
    out.push(mark.style(), format!("{} ", mark.letter()));
}

/// Writes a whole value; the line has begun, and is not ended.
pub fn whole(out: &mut Styled, depth: usize, mark: Mark, value: &Value) {
    if value.is_sensitive() {
        return out.push(Style::Dim, SENSITIVE);
    }
    match value.kind() {
        Kind::Unknown(_) => out.push(Style::Dim, UNKNOWN),
        Kind::Null(_) => out.push(Style::Plain, "null"),
        Kind::Bool(flag) => out.push(Style::Plain, flag.to_string()),
        Kind::Number(number) => out.push(Style::Plain, number.to_string()),
        Kind::String(text) if text.contains('\n') => heredoc(out, depth, mark, text),
        Kind::String(text) => out.push(Style::Plain, quote(text)),
        Kind::List(..) | Kind::Set(..) | Kind::Tuple(_) => {
            let items = value.parts().map(|item| (mark, item));
            sequence(out, depth, items.collect(), 0);
        }
        Kind::Map(_, entries) | Kind::Object(entries, None) => {
            let entries = entries.iter().map(|(name, item)| Entry { name, before: None, after: Some(item) });
            mapping(out, depth, Some(mark), entries.collect());
        }
        Kind::Object(_, Some(address)) => out.push(Style::Plain, address.to_string()),
    }
}

/// Writes how a value changes; the line has begun, and is not ended.
pub fn change(out: &mut Styled, depth: usize, before: &Value, after: &Value) {
    if before.is_sensitive() || after.is_sensitive() {
        return out.push(Style::Dim, SENSITIVE);
    }
    if let (Some(old), Some(new)) = (before.as_map(), after.as_map())
        && before.resource().is_none()
        && after.resource().is_none()
    {
        let mut names: Vec<&String> = old.keys().chain(new.keys()).collect();
        names.sort();
        names.dedup();
        let entry = |name: &'_ String| (old.get(name), new.get(name));
        let entries = names.iter().map(|name| {
            let (before, after) = entry(name);
            Entry { name, before, after }
        });
        return mapping(out, depth, None, entries.collect());
    }
    let is_sequence = |value: &Value| matches!(value.kind(), Kind::List(..) | Kind::Set(..) | Kind::Tuple(_));
    if is_sequence(before) && is_sequence(after) {
        return elements(out, depth, (before, after));
    }
    if let (Some(old), Some(new)) = (before.as_str(), after.as_str())
        && (old.contains('\n') || new.contains('\n'))
    {
        return text_lines(out, depth, (old, new));
    }
    whole(out, depth, Mark::Remove, before);
    out.push(Style::Change, " -> ");
    whole(out, depth, Mark::Add, after);
}

/// An entry of a map or object, before and after.
struct Entry<'a> {
    name: &'a str,
    before: Option<&'a Value>,
    after: Option<&'a Value>,
}

/// With `mark`, all entries are new or gone; without, each says what happens to it.
fn mapping(out: &mut Styled, depth: usize, mark: Option<Mark>, entries: Vec<Entry<'_>>) {
    if entries.is_empty() {
        return out.push(Style::Plain, "{}");
    }
    let name = |text: &str| if is_identifier(text) { text.to_owned() } else { quote(text) };
    let width = entries.iter().map(|entry| name(entry.name).chars().count()).max().unwrap_or(0);
    let mut hidden = 0;
    out.push(Style::Plain, "{\n");
    for Entry { name: text, before, after } in entries {
        let entry_mark = match (mark, before, after) {
            (Some(mark), _, _) => mark,
            (None, Some(before), Some(after)) if before == after => {
                hidden += 1;
                continue;
            }
            (None, Some(_), Some(_)) => Mark::Change,
            (None, None, _) => Mark::Add,
            (None, _, None) => Mark::Remove,
        };
        line(out, depth + 1, entry_mark);
        out.push(Style::Plain, format!("{:width$} = ", name(text)));
        match (entry_mark, before, after) {
            (Mark::Change, Some(before), Some(after)) => change(out, depth + 1, before, after),
            (_, before, after) => {
                if let Some(value) = after.or(before) {
                    whole(out, depth + 1, entry_mark, value);
                }
            }
        }
        out.push(Style::Plain, "\n");
    }
    unchanged(out, depth + 1, (hidden, "attribute"));
    line(out, depth, Mark::Same);
    out.push(Style::Plain, "}");
}

/// Says how much is not shown.
pub fn unchanged(out: &mut Styled, depth: usize, (hidden, noun): (usize, &str)) {
    if hidden == 0 {
        return;
    }
    line(out, depth, Mark::Same);
    let plural = if hidden == 1 { "" } else { "s" };
    out.push(Style::Dim, format!("# ({hidden} unchanged {noun}{plural} hidden)\n"));
}

fn elements(out: &mut Styled, depth: usize, (before, after): (&Value, &Value)) {
    let (old, new): (Vec<&Value>, Vec<&Value>) = (before.parts().collect(), after.parts().collect());
    let mut hidden = 0;
    out.push(Style::Plain, "[\n");
    for op in similar::capture_diff_slices(Algorithm::Myers, &old, &new) {
        match op {
            DiffOp::Equal { len, .. } => hidden += len,
            DiffOp::Delete { old_index, old_len, .. } => {
                each(out, depth, Mark::Remove, &old[old_index..old_index + old_len]);
            }
            DiffOp::Insert { new_index, new_len, .. } => {
                each(out, depth, Mark::Add, &new[new_index..new_index + new_len]);
            }
            DiffOp::Replace { old_index, old_len, new_index, new_len } => {
                let common = old_len.min(new_len);
                for place in 0..common {
                    line(out, depth + 1, Mark::Change);
                    change(out, depth + 1, old[old_index + place], new[new_index + place]);
                    out.push(Style::Plain, ",\n");
                }
                each(out, depth, Mark::Remove, &old[old_index + common..old_index + old_len]);
                each(out, depth, Mark::Add, &new[new_index + common..new_index + new_len]);
            }
        }
    }
    unchanged(out, depth + 1, (hidden, "element"));
    line(out, depth, Mark::Same);
    out.push(Style::Plain, "]");
}

fn each(out: &mut Styled, depth: usize, mark: Mark, values: &[&Value]) {
    for value in values {
        line(out, depth + 1, mark);
        whole(out, depth + 1, mark, value);
        out.push(Style::Plain, ",\n");
    }
}

fn sequence(out: &mut Styled, depth: usize, items: Vec<(Mark, &Value)>, hidden: usize) {
    if items.is_empty() && hidden == 0 {
        return out.push(Style::Plain, "[]");
    }
    out.push(Style::Plain, "[\n");
    for (mark, item) in items {
        each(out, depth, mark, &[item]);
    }
    line(out, depth, Mark::Same);
    out.push(Style::Plain, "]");
}

fn heredoc(out: &mut Styled, depth: usize, mark: Mark, text: &str) {
    out.push(Style::Plain, "<<-EOT\n");
    for row in text.lines() {
        line(out, depth + 1, if mark == Mark::Change { Mark::Same } else { mark });
        out.push(mark.style(), format!("{row}\n"));
    }
    line(out, depth, Mark::Same);
    out.push(Style::Plain, "EOT");
}

/// Lines around a changed one that are shown.
const CONTEXT: usize = 2;

fn text_lines(out: &mut Styled, depth: usize, (old, new): (&str, &str)) {
    out.push(Style::Plain, "<<-EOT\n");
    let diff = TextDiff::from_lines(old, new);
    for (place, group) in diff.grouped_ops(CONTEXT).iter().enumerate() {
        if place > 0 {
            line(out, depth + 1, Mark::Same);
            out.push(Style::Dim, "...\n");
        }
        for row in group.iter().flat_map(|op| diff.iter_changes(op)) {
            let mark = match row.tag() {
                ChangeTag::Equal => Mark::Same,
                ChangeTag::Delete => Mark::Remove,
                ChangeTag::Insert => Mark::Add,
            };
            line(out, depth + 1, mark);
            out.push(mark.style(), format!("{}\n", row.value().trim_end_matches('\n')));
        }
    }
    line(out, depth, Mark::Same);
    out.push(Style::Plain, "EOT");
}
