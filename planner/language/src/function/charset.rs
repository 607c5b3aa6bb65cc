//! Texts in other encodings and compressed, as base64.
//!
//! Encodings are known by the labels of the WHATWG standard and by the names that IANA gives them.
//! Invariant: nothing is decompressed beyond what a text may be long.

use std::io::{Read as _, Write as _};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use encoding_rs::{Encoding, REPLACEMENT, UTF_16BE, UTF_16LE};
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use lustre_model::value::Value;

use crate::evaluate::TEXT_BYTES_MAX;
use crate::function::{Refusal, Row, Run, Yield, refuse, text};

pub(super) const ROWS: &[Row] = &[
    Row(
        "textencodebase64(text string, encoding string) string",
        "Writes a text in an encoding, as base64.",
        ["textencodebase64(\"Hello\", \"UTF-16LE\")", "\"SABlAGwAbABvAA==\""],
        Run::Values(encode),
    ),
    Row(
        "textdecodebase64(text string, encoding string) string",
        "Reads base64 as a text in an encoding.",
        ["textdecodebase64(\"SABlAGwAbABvAA==\", \"UTF-16LE\")", "\"Hello\""],
        Run::Values(decode),
    ),
    Row(
        "base64gzip(text string) string",
        "Compresses a text with gzip, as base64.",
        ["base64gunzip(base64gzip(\"hello\"))", "\"hello\""],
        Run::Values(gzip),
    ),
    Row(
        "base64gunzip(text string) string",
        "Decompresses base64 of gzip as text.",
        ["base64gunzip(\"H4sIAAAAAAAA/wAFAPr/aGVsbG8BAAD//4amEDYFAAAA\")", "\"hello\""],
        Run::Values(gunzip),
    ),
];

/// Names of IANA's register that the WHATWG's labels lack.
const ALIASES: &[(&str, &str)] = &[
    ("cp936", "gbk"),
    ("ms936", "gbk"),
    ("windows-936", "gbk"),
    ("cp1250", "windows-1250"),
    ("cp1251", "windows-1251"),
    ("cp1252", "windows-1252"),
    ("hz-gb-2312", ""),
];

fn encoding(arguments: &[Value]) -> Result<&'static Encoding, Refusal> {
    let name = text(arguments, 1);
    let lower = name.to_ascii_lowercase();
    let label = ALIASES.iter().find(|(alias, _)| *alias == lower).map_or(lower.as_str(), |(_, label)| label);
    // `utf-16` alone begins with a mark in Go and has no order here.
    let found = Encoding::for_label_no_replacement(label.as_bytes()).filter(|found| *found != REPLACEMENT);
    match found {
        Some(found) if lower != "utf-16" => Ok(found),
        Some(_) | None => refuse(1, format!("{name:?} is not a known IANA encoding name or alias")),
    }
}

fn encode(arguments: &[Value]) -> Yield {
    let (source, encoding) = (text(arguments, 0), encoding(arguments)?);
    if encoding == UTF_16LE {
        return Ok(STANDARD
            .encode(source.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>())
            .into());
    }
    if encoding == UTF_16BE {
        return Ok(STANDARD
            .encode(source.encode_utf16().flat_map(u16::to_be_bytes).collect::<Vec<_>>())
            .into());
    }
    let (bytes, _, unmappable) = encoding.encode(source);
    if unmappable {
        return refuse(0, format!("it contains letters that cannot be represented in {}", encoding.name()));
    }
    Ok(STANDARD.encode(bytes).into())
}

fn decode(arguments: &[Value]) -> Yield {
    let encoding = encoding(arguments)?;
    let Ok(bytes) = STANDARD.decode(text(arguments, 0)) else { return refuse(0, "it is not base64") };
    match encoding.decode_without_bom_handling_and_without_replacement(&bytes) {
        // Bytes that a code page leaves open become control characters by the standard.
        Some(decoded) if !decoded.contains(|letter| matches!(letter, '\u{fffd}' | '\u{80}'..='\u{9f}')) => {
            Ok(decoded.as_ref().into())
        }
        Some(_) | None => {
            refuse(0, format!("it contains symbols that are not defined for {}", encoding.name()))
        }
    }
}

fn gzip(arguments: &[Value]) -> Yield {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    let written = encoder.write_all(text(arguments, 0).as_bytes()).and_then(|()| encoder.finish());
    match written {
        Ok(bytes) => Ok(STANDARD.encode(bytes).into()),
        Err(error) => refuse(0, error.to_string()),
    }
}

fn gunzip(arguments: &[Value]) -> Yield {
    let Ok(bytes) = STANDARD.decode(text(arguments, 0)) else { return refuse(0, "it is not base64") };
    let mut unpacked = Vec::new();
    let limit = TEXT_BYTES_MAX as u64 + 1;
    if GzDecoder::new(bytes.as_slice()).take(limit).read_to_end(&mut unpacked).is_err() {
        return refuse(0, "what it encodes is not gzip");
    }
    if unpacked.len() > TEXT_BYTES_MAX {
        return refuse(0, format!("it unpacks to more than {} MiB", TEXT_BYTES_MAX >> 20));
    }
    String::from_utf8(unpacked).map(Value::from).or_else(|_| refuse(0, "what it encodes is not UTF-8 text"))
}
