//! Values as YAML, byte for byte as Terraform writes it.
//!
//! ```text
//! "key": "text in quotes"
//! "list":          items of a list stand below their key, not indented
//! - 1
//! - "a": |-
//!     text with
//!     line ends
//! ```
//! Invariant: what is written reads back as the same value.

use lustre_model::value::{Kind, Value};

use crate::function::{Yield, refuse};

pub(super) fn encode(arguments: &[Value]) -> Yield {
    let Some(value) = arguments.first() else { return refuse(0, "a value is required") };
    let mut text = String::new();
    write(value, Place { indent: 0, inside: Inside::Nothing }, &mut text);
    // A plain scalar alone could go on, so that its end is written.
    if matches!(value.kind(), Kind::Null(_) | Kind::Bool(_) | Kind::Number(_))
        || text.starts_with("|+")
        || text.starts_with("|2+")
    {
        text.push_str("...\n");
    }
    Ok(text.into())
}

/// What a value stands in; the text before it ends with its key or its dash.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Inside {
    Nothing,
    Mapping,
    Sequence,
}

#[derive(Clone, Copy)]
struct Place {
    /// Spaces before the lines of what it stands in.
    indent: usize,
    inside: Inside,
}

/// Writes a value and the end of its line.
fn write(value: &Value, place: Place, text: &mut String) {
    let before = |text: &mut String| {
        if place.inside == Inside::Mapping {
            text.push(' ');
        }
    };
    match value.kind() {
        Kind::Null(_) | Kind::Unknown(_) => {
            before(text);
            text.push_str("null\n");
        }
        Kind::Bool(value) => {
            before(text);
            text.push_str(if *value { "true\n" } else { "false\n" });
        }
        Kind::Number(number) => {
            before(text);
            text.push_str(&number.to_string());
            text.push('\n');
        }
        Kind::String(content) => {
            before(text);
            if content.contains('\n') && fits_block(content) {
                literal(content, place.indent + 2, text);
            } else {
                quoted(content, text);
                text.push('\n');
            }
        }
        Kind::List(..) | Kind::Set(..) | Kind::Tuple(_) => sequence(value, place, text),
        Kind::Map(_, items) | Kind::Object(items, _) => {
            if items.is_empty() {
                before(text);
                text.push_str("{}\n");
            }
            mapping(items.iter(), place, text);
        }
    }
}

fn begin_line(first: bool, place: Place, indent: usize, text: &mut String) {
    match place.inside {
        Inside::Mapping if first => text.push('\n'),
        Inside::Nothing | Inside::Sequence if first => return,
        Inside::Nothing | Inside::Mapping | Inside::Sequence => {}
    }
    text.push_str(&" ".repeat(indent));
}

fn sequence(value: &Value, place: Place, text: &mut String) {
    let mut parts = value.parts().peekable();
    if parts.peek().is_none() {
        text.push_str(if place.inside == Inside::Mapping { " []\n" } else { "[]\n" });
        return;
    }
    let indent = if place.inside == Inside::Sequence { place.indent + 2 } else { place.indent };
    for (position, part) in parts.enumerate() {
        begin_line(position == 0, place, indent, text);
        text.push_str("- ");
        write(part, Place { indent, inside: Inside::Sequence }, text);
    }
}

fn mapping<'a>(items: impl Iterator<Item = (&'a String, &'a Value)>, place: Place, text: &mut String) {
    let indent = if place.inside == Inside::Nothing { 0 } else { place.indent + 2 };
    for (position, (key, value)) in items.enumerate() {
        begin_line(position == 0, place, indent, text);
        // A key that is long or has line ends is announced by a question mark.
        if key.len() > LONG_KEY || key.contains('\n') {
            text.push_str("? ");
            write(&key.as_str().into(), Place { indent, inside: Inside::Sequence }, text);
            text.push_str(&" ".repeat(indent));
            text.push_str(": ");
            write(value, Place { indent, inside: Inside::Sequence }, text);
        } else {
            quoted(key, text);
            text.push(':');
            write(value, Place { indent, inside: Inside::Mapping }, text);
        }
    }
}

/// Longest key that stands before its colon.
const LONG_KEY: usize = 128;

fn printable(letter: char) -> bool {
    matches!(letter, '\n' | ' '..='~' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}')
        && letter != '\u{feff}'
}

fn is_break(letter: char) -> bool {
    matches!(letter, '\r' | '\n' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

/// Whether a text may stand as a block: no spaces before line ends or at the end, nothing that needs an escape.
fn fits_block(content: &str) -> bool {
    let mut before = None;
    content.chars().all(|letter| {
        let good = printable(letter) && !(is_break(letter) && before == Some(' '));
        before = Some(letter);
        good
    }) && before != Some(' ')
}

fn literal(content: &str, indent: usize, text: &mut String) {
    text.push('|');
    if content.starts_with(|letter| letter == ' ' || is_break(letter)) {
        text.push('2');
    }
    let mut ends = content.chars().rev();
    match (ends.next().is_some_and(is_break), ends.next()) {
        (false, _) => text.push('-'),
        (true, None) => text.push('+'),
        (true, Some(letter)) if is_break(letter) => text.push('+'),
        (true, Some(_)) => {}
    }
    text.push('\n');
    for line in content.split_inclusive('\n') {
        if line != "\n" {
            text.push_str(&" ".repeat(indent));
        }
        text.push_str(line);
    }
    if !content.ends_with('\n') {
        text.push('\n');
    }
}

fn quoted(content: &str, text: &mut String) {
    text.push('"');
    for letter in content.chars() {
        let short = match letter {
            '\0' => "\\0",
            '\u{7}' => "\\a",
            '\u{8}' => "\\b",
            '\t' => "\\t",
            '\n' => "\\n",
            '\u{b}' => "\\v",
            '\u{c}' => "\\f",
            '\r' => "\\r",
            '\u{1b}' => "\\e",
            '"' => "\\\"",
            '\\' => "\\\\",
            '\u{85}' => "\\N",
            '\u{2028}' => "\\L",
            '\u{2029}' => "\\P",
            _ => "",
        };
        match u32::from(letter) {
            _ if !short.is_empty() => text.push_str(short),
            _ if printable(letter) => text.push(letter),
            code @ 0..=0xff => text.push_str(&format!("\\x{code:02X}")),
            code @ 0x100..=0xffff => text.push_str(&format!("\\u{code:04X}")),
            code => text.push_str(&format!("\\U{code:08X}")),
        }
    }
    text.push('"');
}
