//! Functions on text.
//!
//! Letters are grapheme clusters where they are counted; case is mapped letter by letter, as Go does. Invariant: no result is larger than what the table's bound allows, checked before
//! it is built where it could be many times its arguments.

use lustre_model::types::Type;
use lustre_model::value::Value;
use unicode_segmentation::UnicodeSegmentation as _;

use crate::evaluate::TEXT_BYTES_MAX;
use crate::function::{Refusal, Row, Run, Yield, count, pattern, refuse, text, whole};

pub(super) const ROWS: &[Row] = &[
    Row(
        "upper(text string) string",
        "Turns letters into upper case.",
        ["upper(\"hello\")", "\"HELLO\""],
        Run::Values(upper),
    ),
    Row(
        "lower(text string) string",
        "Turns letters into lower case.",
        ["lower(\"HELLO\")", "\"hello\""],
        Run::Values(lower),
    ),
    Row(
        "title(text string) string",
        "Turns the first letter of each word into upper case.",
        ["title(\"hello world\")", "\"Hello World\""],
        Run::Values(title),
    ),
    Row(
        "trim(text string, letters string) string",
        "Takes letters from both ends.",
        ["trim(\"?!hello?!\", \"!?\")", "\"hello\""],
        Run::Values(trim),
    ),
    Row(
        "trimprefix(text string, prefix string) string",
        "Takes a beginning away.",
        ["trimprefix(\"helloworld\", \"hello\")", "\"world\""],
        Run::Values(trim_prefix),
    ),
    Row(
        "trimsuffix(text string, suffix string) string",
        "Takes an end away.",
        ["trimsuffix(\"helloworld\", \"world\")", "\"hello\""],
        Run::Values(trim_suffix),
    ),
    Row(
        "trimspace(text string) string",
        "Takes white space from both ends.",
        ["trimspace(\" hello\\n\")", "\"hello\""],
        Run::Values(trim_space),
    ),
    Row(
        "chomp(text string) string",
        "Takes line ends from the end.",
        ["chomp(\"hello\\r\\n\\n\")", "\"hello\""],
        Run::Values(chomp),
    ),
    Row(
        "startswith(text string, prefix string) bool",
        "Says whether a text begins so.",
        ["startswith(\"hello\", \"he\")", "true"],
        Run::Values(starts_with),
    ),
    Row(
        "endswith(text string, suffix string) bool",
        "Says whether a text ends so.",
        ["endswith(\"hello\", \"he\")", "false"],
        Run::Values(ends_with),
    ),
    Row(
        "strcontains(text string, part string) bool",
        "Says whether a text contains another.",
        ["strcontains(\"hello\", \"ell\")", "true"],
        Run::Values(contains),
    ),
    Row(
        "strrev(text string) string",
        "Reverses the letters.",
        ["strrev(\"hello\")", "\"olleh\""],
        Run::Values(reverse),
    ),
    Row(
        "substr(text string, offset number, length number) string",
        "Takes a part; a negative offset counts from the end, length -1 is to the end.",
        ["substr(\"hello world\", -5, -1)", "\"world\""],
        Run::Values(substr),
    ),
    Row(
        "indent(spaces number, text string) string",
        "Indents all lines but the first.",
        ["indent(2, \"a\\nb\")", "\"a\\n  b\""],
        Run::Values(indent),
    ),
    Row(
        "replace(text string, part string, replacement string) string",
        "Replaces every occurrence; a part between slashes is a regular expression.",
        ["replace(\"1 + 2 + 3\", \"+\", \"-\")", "\"1 - 2 - 3\""],
        Run::Values(replace),
    ),
    Row(
        "split(separator string, text string) list(string)",
        "Cuts a text at a separator.",
        ["split(\",\", \"a,b,\")", "[\"a\", \"b\", \"\"]"],
        Run::Values(split),
    ),
    Row(
        "join(separator string, ...lists list(string)) string",
        "Puts a separator between the elements of lists.",
        ["join(\"-\", [\"a\", \"b\"], [\"c\"])", "\"a-b-c\""],
        Run::Values(join),
    ),
    Row(
        "regex(pattern string, text string) any",
        "Returns the first match: its text, or its groups as a list or by name.",
        ["regex(\"(\\\\d+)-(\\\\d+)\", \"on 12-34\")", "[\"12\", \"34\"]"],
        Run::Values(pattern::first),
    ),
    Row(
        "regexall(pattern string, text string) list(any)",
        "Returns all matches.",
        ["regexall(\"[a-z]+\", \"12ab34cd\")", "[\"ab\", \"cd\"]"],
        Run::Values(pattern::all),
    ),
];

type Text = fn(&str) -> String;

fn apply(arguments: &[Value], change: Text) -> Yield {
    Ok(change(text(arguments, 0)).into())
}

fn upper(arguments: &[Value]) -> Yield {
    apply(arguments, |text| text.chars().map(upper_letter).collect())
}

fn lower(arguments: &[Value]) -> Yield {
    apply(arguments, |text| text.chars().map(lower_letter).collect())
}

/// Upper case of one letter; letters that become several, such as `ß`, stay.
fn upper_letter(letter: char) -> char {
    let mut mapped = letter.to_uppercase();
    match (mapped.next(), mapped.next()) {
        (Some(single), None) => single,
        _ => titled_greek(letter),
    }
}

/// Greek letters with a iota below become one letter, which is that of titles.
fn titled_greek(letter: char) -> char {
    let moved = match letter {
        '\u{1f80}'..='\u{1f87}' | '\u{1f90}'..='\u{1f97}' | '\u{1fa0}'..='\u{1fa7}' => u32::from(letter) + 8,
        '\u{1fb3}' | '\u{1fc3}' | '\u{1ff3}' => u32::from(letter) + 9,
        _ => return letter,
    };
    char::from_u32(moved).unwrap_or(letter)
}

fn lower_letter(letter: char) -> char {
    // Only `İ` becomes several, of which the first is the letter.
    letter.to_lowercase().next().unwrap_or(letter)
}

fn title_letter(letter: char) -> char {
    match letter {
        // Two letters in one have a form of their own in titles.
        'Ǆ' | 'ǅ' | 'ǆ' => 'ǅ',
        'Ǉ' | 'ǈ' | 'ǉ' => 'ǈ',
        'Ǌ' | 'ǋ' | 'ǌ' => 'ǋ',
        'Ǳ' | 'ǲ' | 'ǳ' => 'ǲ',
        '\u{10d0}'..='\u{10ff}' => letter,
        other => upper_letter(other),
    }
}

fn title(arguments: &[Value]) -> Yield {
    let mut inside = false;
    let mut result = String::new();
    for letter in text(arguments, 0).chars() {
        result.push(if inside { letter } else { title_letter(letter) });
        // As Go has it, any other ASCII character separates words, and beyond ASCII only white space does.
        inside = match letter {
            '_' => true,
            ascii if ascii.is_ascii() => ascii.is_ascii_alphanumeric(),
            other => other.is_alphanumeric() || !other.is_whitespace(),
        };
    }
    Ok(result.into())
}

fn trim(arguments: &[Value]) -> Yield {
    let letters: Vec<char> = text(arguments, 1).chars().collect();
    Ok(text(arguments, 0).trim_matches(letters.as_slice()).into())
}

fn trim_prefix(arguments: &[Value]) -> Yield {
    let whole = text(arguments, 0);
    Ok(whole.strip_prefix(text(arguments, 1)).unwrap_or(whole).into())
}

fn trim_suffix(arguments: &[Value]) -> Yield {
    let whole = text(arguments, 0);
    Ok(whole.strip_suffix(text(arguments, 1)).unwrap_or(whole).into())
}

fn trim_space(arguments: &[Value]) -> Yield {
    Ok(text(arguments, 0).trim().into())
}

fn chomp(arguments: &[Value]) -> Yield {
    Ok(text(arguments, 0).trim_end_matches(['\r', '\n']).into())
}

fn starts_with(arguments: &[Value]) -> Yield {
    Ok(text(arguments, 0).starts_with(text(arguments, 1)).into())
}

fn ends_with(arguments: &[Value]) -> Yield {
    Ok(text(arguments, 0).ends_with(text(arguments, 1)).into())
}

fn contains(arguments: &[Value]) -> Yield {
    Ok(text(arguments, 0).contains(text(arguments, 1)).into())
}

fn reverse(arguments: &[Value]) -> Yield {
    apply(arguments, |text| text.graphemes(true).rev().collect())
}

fn substr(arguments: &[Value]) -> Yield {
    let letters: Vec<&str> = text(arguments, 0).graphemes(true).collect();
    let (offset, length) = (whole(arguments, 1)?, whole(arguments, 2)?);
    let total = i64::try_from(letters.len()).unwrap_or(i64::MAX);
    let start = if offset < 0 { total.saturating_add(offset).max(0) } else { offset.min(total) };
    let end = if length < 0 { total } else { start.saturating_add(length).min(total) };
    let range = usize::try_from(start).unwrap_or(0)..usize::try_from(end).unwrap_or(0);
    Ok(letters.get(range).unwrap_or(&[]).concat().into())
}

fn indent(arguments: &[Value]) -> Yield {
    let spaces = count(arguments, 0)?;
    let body = text(arguments, 1);
    fits(0, spaces, body.matches('\n').count())?;
    Ok(body.replace('\n', &format!("\n{}", " ".repeat(spaces))).into())
}

/// Refuses what would be longer than a text may be.
pub(super) fn fits(argument: usize, length: usize, times: usize) -> Result<(), Refusal> {
    if length.saturating_mul(times) > TEXT_BYTES_MAX {
        return refuse(argument, format!("the result would be longer than {} MiB", TEXT_BYTES_MAX >> 20));
    }
    Ok(())
}

fn replace(arguments: &[Value]) -> Yield {
    let (whole, part, replacement) = (text(arguments, 0), text(arguments, 1), text(arguments, 2));
    if let Some(inner) =
        part.strip_prefix('/').and_then(|rest| rest.strip_suffix('/')).filter(|_| part.len() > 1)
    {
        return pattern::replace(inner, whole, replacement);
    }
    fits(2, replacement.len(), whole.matches(part).count())?;
    Ok(whole.replace(part, replacement).into())
}

fn split(arguments: &[Value]) -> Yield {
    let (separator, whole) = (text(arguments, 0), text(arguments, 1));
    if separator.is_empty() {
        return Ok(Value::strings(whole.chars().map(String::from)));
    }
    Ok(Value::strings(whole.split(separator)))
}

fn join(arguments: &[Value]) -> Yield {
    let separator = text(arguments, 0);
    let mut pieces = Vec::new();
    for (position, list) in arguments.iter().enumerate().skip(1) {
        for item in list.parts() {
            let Some(piece) = item.as_str() else { return refuse(position, "an element is null") };
            pieces.push(piece);
        }
    }
    fits(0, separator.len(), pieces.len())?;
    fits(1, pieces.iter().map(|piece| piece.len()).sum(), 1)?;
    Ok(pieces.join(separator).into())
}

/// A list of strings as a value of that type, also when it is empty.
pub(super) fn strings(items: Vec<Value>) -> Value {
    Value::list(Type::String, items)
}
