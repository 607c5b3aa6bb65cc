//! Encodings: JSON, base64, CSV, URLs.
//!
//! JSON is written as Terraform writes it: keys sorted, `<`, `>` and `&` escaped.
//! Invariant: what decodes is plain data; nothing decoded is evaluated.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lustre_model::value::Value;

use crate::function::{Row, Run, Yield, refuse, text};

pub(super) const ROWS: &[Row] = &[
    Row(
        "jsonencode(value any) string",
        "Writes a value as JSON.",
        ["jsonencode({ b = [1, true], a = null })", "\"{\\\"a\\\":null,\\\"b\\\":[1,true]}\""],
        Run::Values(json_encode),
    ),
    Row(
        "jsondecode(text string) any",
        "Reads JSON.",
        ["jsondecode(\"{\\\"a\\\": [1, null]}\")", "{ a = [1, null] }"],
        Run::Values(json_decode),
    ),
    Row(
        "base64encode(text string) string",
        "Writes the bytes of a text as base64.",
        ["base64encode(\"Hello\")", "\"SGVsbG8=\""],
        Run::Values(base64_encode),
    ),
    Row(
        "base64decode(text string) string",
        "Reads base64 as text.",
        ["base64decode(\"SGVsbG8=\")", "\"Hello\""],
        Run::Values(base64_decode),
    ),
    Row(
        "csvdecode(text string) list(any)",
        "Reads CSV with a head line: an object for each row.",
        ["csvdecode(\"a,b\\n1,\\\"x,y\\\"\\n\")", "[{ a = \"1\", b = \"x,y\" }]"],
        Run::Values(csv_decode),
    ),
    Row(
        "urlencode(text string) string",
        "Writes a text so that it can be part of a URL's query.",
        ["urlencode(\"a b/ü\")", "\"a+b%2F%C3%BC\""],
        Run::Values(url_encode),
    ),
    Row(
        "urldecode(text string) string",
        "Reads a text from a part of a URL's query.",
        ["urldecode(\"a+b%2F%C3%BC\")", "\"a b/ü\""],
        Run::Values(url_decode),
    ),
];

fn json_encode(arguments: &[Value]) -> Yield {
    let json = arguments.first().and_then(Value::to_plain).unwrap_or_default();
    let text = json.to_string().replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026");
    Ok(text.replace('\u{2028}', "\\u2028").replace('\u{2029}', "\\u2029").into())
}

fn json_decode(arguments: &[Value]) -> Yield {
    let json = match serde_json::from_str::<serde_json::Value>(text(arguments, 0)) {
        Ok(json) => json,
        Err(error) => return refuse(0, format!("it is not JSON: {error}")),
    };
    Value::from_plain(&json).or_else(|error| refuse(0, error.to_string()))
}

fn base64_encode(arguments: &[Value]) -> Yield {
    Ok(STANDARD.encode(text(arguments, 0)).into())
}

fn base64_decode(arguments: &[Value]) -> Yield {
    let Ok(bytes) = STANDARD.decode(text(arguments, 0)) else { return refuse(0, "it is not base64") };
    String::from_utf8(bytes).map(Value::from).or_else(|_| refuse(0, "what it encodes is not UTF-8 text"))
}

fn url_encode(arguments: &[Value]) -> Yield {
    let mut result = String::new();
    for byte in text(arguments, 0).bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                result.push(char::from(byte))
            }
            b' ' => result.push('+'),
            other => result.push_str(&format!("%{other:02X}")),
        }
    }
    Ok(result.into())
}

fn url_decode(arguments: &[Value]) -> Yield {
    let mut bytes = Vec::new();
    let mut rest = text(arguments, 0).as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        bytes.push(match first {
            b'+' => b' ',
            b'%' => {
                let digits = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
                let plain = digits.filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
                let Some(byte) = plain.and_then(|digits| u8::from_str_radix(digits, 16).ok()) else {
                    return refuse(0, "a `%` is not followed by two hexadecimal digits");
                };
                rest = after.get(2..).unwrap_or_default();
                byte
            }
            other => *other,
        });
    }
    String::from_utf8(bytes).map(Value::from).or_else(|_| refuse(0, "what it encodes is not UTF-8 text"))
}

fn csv_decode(arguments: &[Value]) -> Yield {
    let mut rows = match csv_rows(text(arguments, 0)) {
        Ok(rows) => rows.into_iter(),
        Err(line) => return refuse(0, format!("a quoted field is malformed on line {line}")),
    };
    let Some(head) = rows.next() else { return refuse(0, "a head line is required") };
    let mut names = head.clone();
    names.sort();
    names.dedup();
    if names.len() < head.len() {
        return refuse(0, "two columns have the same name");
    }
    let mut objects = Vec::new();
    for (number, row) in rows.enumerate() {
        if row.len() != head.len() {
            return refuse(0, format!("row {} has {} fields, not {}", number + 1, row.len(), head.len()));
        }
        objects.push(Value::object(head.iter().cloned().zip(row.into_iter().map(Value::from))));
    }
    let kind = lustre_model::types::Type::object(
        head.iter().map(|name| (name.as_str(), lustre_model::types::Type::String)),
    );
    Ok(Value::list(kind, objects))
}

/// Cuts CSV into rows of fields; fails with the line of a quote out of place.
fn csv_rows(text: &str) -> Result<Vec<Vec<String>>, usize> {
    let mut rows = Vec::new();
    let (mut row, mut field, mut line) = (Vec::new(), String::new(), 1);
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '"' if field.is_empty() => {
                quoted(&mut letters, &mut field).map_err(|()| line)?;
                if !matches!(letters.peek(), None | Some(',' | '\n' | '\r')) {
                    return Err(line);
                }
            }
            '"' => return Err(line),
            ',' => row.push(std::mem::take(&mut field)),
            '\r' if letters.peek() == Some(&'\n') => {}
            '\n' => {
                line += 1;
                if row.is_empty() && field.is_empty() {
                    continue;
                }
                row.push(std::mem::take(&mut field));
                rows.push(std::mem::take(&mut row));
            }
            other => field.push(other),
        }
    }
    if !row.is_empty() || !field.is_empty() {
        row.push(field);
        rows.push(row);
    }
    Ok(rows)
}

fn quoted(letters: &mut std::iter::Peekable<std::str::Chars<'_>>, field: &mut String) -> Result<(), ()> {
    while let Some(letter) = letters.next() {
        if letter != '"' {
            field.push(letter);
        } else if letters.next_if_eq(&'"').is_some() {
            field.push('"');
        } else {
            return Ok(());
        }
    }
    Err(())
}
