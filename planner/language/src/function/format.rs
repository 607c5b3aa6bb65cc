//! `format` and `formatlist`: verbs of Go's printf on our values.
//!
//! ```text
//! %[index]flags width.precision verb     flags: - + space 0 #
//! %v any   %#v as JSON   %t bool   %d %b %o %x %X whole numbers   %e %E %f %g %G numbers   %s %q text   %% a percent sign
//! ```
//! Invariant: width and precision are at most [`WIDTH_MAX`].

use lustre_model::types::Type;
use lustre_model::value::{Kind, Number, Value};
use unicode_segmentation::UnicodeSegmentation as _;

use crate::function::{ELEMENTS_MAX, Refusal, Row, Run, Yield, refuse, text};

/// Widest field.
const WIDTH_MAX: usize = 1024;

pub(super) const ROWS: &[Row] = &[
    Row(
        "format(format string, ...values any) string",
        "Writes values into a text, as printf does.",
        ["format(\"%s-%03d %.1f\", \"a\", 7, 2.25)", "\"a-007 2.3\""],
        Run::Values(format),
    ),
    Row(
        "formatlist(format string, ...values any) list(string)",
        "Formats once for each element of the lists.",
        ["formatlist(\"%s:%d\", [\"a\", \"b\"], 80)", "[\"a:80\", \"b:80\"]"],
        Run::Values(format_list),
    ),
];

fn format(arguments: &[Value]) -> Yield {
    render(text(arguments, 0), arguments.get(1..).unwrap_or(&[])).map(Value::from)
}

pub(super) fn format_list(arguments: &[Value]) -> Yield {
    let values = arguments.get(1..).unwrap_or(&[]);
    let is_list = |value: &Value| matches!(value.kind(), Kind::List(..) | Kind::Set(..) | Kind::Tuple(_));
    let mut length = None;
    for (position, value) in values.iter().enumerate().filter(|(_, value)| is_list(value)) {
        let found = value.parts().count();
        if *length.get_or_insert(found) != found {
            return refuse(position + 1, "all lists must have the same number of elements");
        }
    }
    let columns: Vec<Vec<Value>> = values
        .iter()
        .map(|value| if is_list(value) { value.parts().cloned().collect() } else { vec![value.clone()] })
        .collect();
    let rows = (0..length.unwrap_or(1).min(ELEMENTS_MAX)).map(|row| {
        let values: Vec<Value> = columns
            .iter()
            .zip(values)
            .filter_map(|(column, value)| column.get(if is_list(value) { row } else { 0 }).cloned())
            .collect();
        if !values.iter().all(Value::is_wholly_known) {
            return Ok(Value::unknown(Type::String).definite());
        }
        render(text(arguments, 0), &values).map(Value::from)
    });
    Ok(Value::list(Type::String, rows.collect::<Result<_, _>>()?))
}

/// A parsed verb.
#[derive(Default)]
struct Verb {
    flags: String,
    width: usize,
    precision: Option<usize>,
    index: Option<usize>,
    letter: char,
}

fn render(format: &str, values: &[Value]) -> Result<String, Refusal> {
    let mut result = String::new();
    let mut next = 0;
    let (mut rest, mut indexed) = (format, false);
    while let Some(at) = rest.find('%') {
        result.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('%') {
            result.push('%');
            rest = after;
            continue;
        }
        let (verb, after) = parse(rest)?;
        rest = after;
        indexed |= verb.index.is_some();
        let position = verb.index.unwrap_or(next);
        let Some(value) = values.get(position) else {
            return refuse(0, format!("there is no value for `%{}`", verb.letter));
        };
        next = position + 1;
        let written = write(&verb, value, position + 1)?;
        result.push_str(&pad(&verb, written, value));
    }
    if next < values.len() && !indexed {
        return refuse(0, format!("it uses {next} of {} values", values.len()));
    }
    result.push_str(rest);
    Ok(result)
}

fn parse(text: &str) -> Result<(Verb, &str), Refusal> {
    let mut verb = Verb::default();
    let mut rest = text;
    let flags = rest.find(|letter| !"-+ 0#".contains(letter)).unwrap_or(rest.len());
    verb.flags = rest[..flags].to_owned();
    rest = &rest[flags..];
    let (width, after) = digits(rest)?;
    verb.width = width.unwrap_or(0);
    rest = after;
    if let Some(after) = rest.strip_prefix('.') {
        let (precision, after) = digits(after)?;
        verb.precision = Some(precision.unwrap_or(0));
        rest = after;
    }
    if let Some(after) = rest.strip_prefix('[') {
        let (index, after) = digits(after)?;
        let (Some(index), Some(after)) = (index.filter(|index| *index > 0), after.strip_prefix(']')) else {
            return refuse(0, "an index is written `%[1]s`, counted from 1");
        };
        verb.index = Some(index - 1);
        rest = after;
    }
    let Some(letter) = rest.chars().next() else {
        return refuse(0, "it ends inside a verb; a percent sign is `%%`");
    };
    verb.letter = letter;
    Ok((verb, &rest[letter.len_utf8()..]))
}

fn digits(text: &str) -> Result<(Option<usize>, &str), Refusal> {
    let end = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    if end == 0 {
        return Ok((None, text));
    }
    match text[..end].parse::<usize>() {
        Ok(number) if number <= WIDTH_MAX => Ok((Some(number), &text[end..])),
        Ok(_) | Err(_) => refuse(0, format!("a width or precision is at most {WIDTH_MAX}")),
    }
}

fn write(verb: &Verb, value: &Value, position: usize) -> Result<String, Refusal> {
    match verb.letter {
        'v' if verb.flags.contains('#') => Ok(json(value)),
        'v' => match value.kind() {
            Kind::Null(_) => Ok("null".into()),
            Kind::Number(number) => Ok(signed(verb, number, number.to_string())),
            Kind::String(_) | Kind::Bool(_) => converted(value, position),
            Kind::Unknown(_)
            | Kind::List(..)
            | Kind::Set(..)
            | Kind::Map(..)
            | Kind::Tuple(_)
            | Kind::Object(..) => Ok(json(value)),
        },
        't' => match value.convert(&Type::Bool).ok().and_then(|value| value.as_bool()) {
            Some(value) => Ok(value.to_string()),
            None => refuse(position, "`%t` takes a bool"),
        },
        'd' | 'b' | 'o' | 'x' | 'X' if verb.letter == 'd' || !matches!(value.kind(), Kind::String(_)) => {
            whole(verb, value, position)
        }
        'x' => Ok(hex::encode(converted(value, position)?)),
        'X' => Ok(hex::encode_upper(converted(value, position)?)),
        'e' | 'E' | 'f' | 'g' | 'G' => decimal(verb, value, position),
        's' | 'q' => {
            let full = converted(value, position)?;
            let cut: String = full.graphemes(true).take(verb.precision.unwrap_or(usize::MAX)).collect();
            Ok(if verb.letter == 'q' { serde_json::Value::from(cut).to_string() } else { cut })
        }
        letter => refuse(0, format!("there is no verb `%{letter}`")),
    }
}

fn converted(value: &Value, position: usize) -> Result<String, Refusal> {
    if value.is_null() {
        return refuse(position, "it is null; only `%v` writes null");
    }
    match value.convert(&Type::String) {
        Ok(text) => Ok(text.as_str().unwrap_or_default().to_owned()),
        Err(error) => refuse(position, error.to_string()),
    }
}

fn json(value: &Value) -> String {
    value.to_plain().unwrap_or_default().to_string()
}

fn signed(verb: &Verb, number: &Number, digits: String) -> String {
    match (number.sign() < 0, verb.flags.contains('+'), verb.flags.contains(' ')) {
        (true, ..) => digits,
        (false, true, _) => format!("+{digits}"),
        (false, false, true) => format!(" {digits}"),
        (false, false, false) => digits,
    }
}

fn number(value: &Value, position: usize) -> Result<Number, Refusal> {
    match value.convert(&Type::Number).ok().and_then(|value| value.as_number().cloned()) {
        Some(number) => Ok(number),
        None => refuse(position, "a number is required"),
    }
}

fn whole(verb: &Verb, value: &Value, position: usize) -> Result<String, Refusal> {
    let number = number(value, position)?;
    if !number.is_integer() {
        return refuse(position, "a whole number is required");
    }
    let (radix, prefix) = match verb.letter {
        'b' => (2, "0b"),
        'o' => (8, "0"),
        'x' | 'X' => (16, "0x"),
        _ => (10, ""),
    };
    let digits = number.abs().to_radix(radix);
    let sign = if number.sign() < 0 { "-" } else { "" };
    let written = signed(
        verb,
        &number,
        format!("{sign}{}{digits}", if verb.flags.contains('#') { prefix } else { "" }),
    );
    Ok(if verb.letter == 'X' { written.to_uppercase() } else { written })
}

fn decimal(verb: &Verb, value: &Value, position: usize) -> Result<String, Refusal> {
    let number = number(value, position)?;
    let digits = u16::try_from(verb.precision.unwrap_or(6)).unwrap_or(u16::MAX);
    let written = match verb.letter {
        'f' => fixed(&number, digits),
        'e' | 'E' => exponential(&number, usize::from(digits)),
        _ => general(&number, verb.precision),
    };
    let written = signed(verb, &number, written);
    Ok(if verb.letter.is_uppercase() { written.to_uppercase() } else { written })
}

/// So many digits behind the point, also when they are zeros.
fn fixed(number: &Number, digits: u16) -> String {
    let rounded = number.round(digits).to_string();
    if digits == 0 {
        return rounded;
    }
    let (whole, fraction) = rounded.split_once('.').unwrap_or((&rounded, ""));
    format!("{whole}.{fraction:0<width$}", width = usize::from(digits))
}

/// `1.500000e+06`: the exponent has a sign and two digits at least.
fn exponential(number: &Number, digits: usize) -> String {
    go_exponent(&format!("{:.*e}", digits, number.to_f64()))
}

fn go_exponent(written: &str) -> String {
    let (mantissa, exponent) = written.split_once('e').unwrap_or((written, "0"));
    let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |exponent| ('-', exponent));
    format!("{mantissa}e{sign}{exponent:0>2}")
}

/// The shorter of both forms, by Go's rule: an exponent below -4 or beyond the precision is written.
fn general(number: &Number, precision: Option<usize>) -> String {
    let value = number.to_f64();
    let shortest = format!("{value:e}");
    let exponent: i64 = shortest.split_once('e').and_then(|(_, exponent)| exponent.parse().ok()).unwrap_or(0);
    let significant = precision.map_or(21, |digits| i64::try_from(digits.max(1)).unwrap_or(i64::MAX));
    match precision {
        None if exponent < -4 || exponent >= significant => go_exponent(&shortest),
        None => number.to_string(),
        Some(digits) if exponent < -4 || exponent >= significant => {
            let written = exponential(number, digits.max(1) - 1);
            let (mantissa, exponent) = written.split_once('e').unwrap_or((&written, "+00"));
            let bare = mantissa.trim_end_matches('0').trim_end_matches('.');
            format!("{}e{exponent}", if mantissa.contains('.') { bare } else { mantissa })
        }
        Some(_) => number.round(u16::try_from(significant - 1 - exponent).unwrap_or(0)).to_string(),
    }
}

fn pad(verb: &Verb, written: String, value: &Value) -> String {
    let missing = verb.width.saturating_sub(written.graphemes(true).count());
    if missing == 0 {
        return written;
    }
    if verb.flags.contains('-') {
        return written + &" ".repeat(missing);
    }
    let numeric = matches!(value.kind(), Kind::Number(_)) || "dboxXeEfgG".contains(verb.letter);
    if verb.flags.contains('0') && numeric {
        let sign = usize::from(written.starts_with(['-', '+', ' ']));
        return format!("{}{}{}", &written[..sign], "0".repeat(missing), &written[sign..]);
    }
    " ".repeat(missing) + &written
}
