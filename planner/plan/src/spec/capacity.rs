//! Sizes as people write them: `2GiB`, `1.2TiB`, `100MiB`, or a whole number of bytes.
//!
//! Binary units only; `GB` is refused, because it means two things.
//! Invariant: what is parsed is exact or rounded down to a byte.

use lustre_model::value::{Number, Value};

const UNITS: [(&str, u64); 6] =
    [("PiB", 1 << 50), ("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

/// Reads a size in bytes from a string or a number.
pub fn parse_size(value: &Value) -> Result<u64, String> {
    let expected = "It is a size such as \"2GiB\", \"1.2TiB\", or a whole number of bytes.";
    if let Some(number) = value.as_number() {
        return number.to_u64().ok_or_else(|| expected.to_owned());
    }
    let text = value.as_str().ok_or_else(|| expected.to_owned())?.trim();
    let unit = UNITS.iter().find(|(unit, _)| text.ends_with(unit));
    let (digits, factor) = match unit {
        Some(("B", _)) if decimal_unit(text) => {
            return Err(format!("{expected} Units are binary: KiB, MiB, GiB, TiB, PiB."));
        }
        Some((unit, factor)) => (text[..text.len() - unit.len()].trim_end(), *factor),
        None => (text, 1),
    };
    let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let number: Number = digits.parse().ok().filter(|_| plain).ok_or_else(|| expected.to_owned())?;
    let bytes = number.multiply(&Number::from(factor)).map_err(|error| error.to_string())?;
    bytes.floor().to_u64().ok_or_else(|| "It is too large.".to_owned())
}

fn decimal_unit(text: &str) -> bool {
    ["kB", "KB", "MB", "GB", "TB", "PB"].iter().any(|unit| text.ends_with(unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_binary_and_exact() {
        for (text, bytes) in [
            ("2GiB", Some(2 << 30)),
            ("1.2TiB", Some(1_319_413_953_331)),
            ("512 MiB", Some(512 << 20)),
            ("4096", Some(4096)),
            ("7B", Some(7)),
            ("2GB", None),
            ("-1GiB", None),
            ("GiB", None),
            ("1e3GiB", None),
            ("99999999PiB", None),
        ] {
            assert_eq!(parse_size(&Value::from(text)).ok(), bytes, "{text}");
        }
        assert_eq!(parse_size(&Value::from(5_u64)), Ok(5));
    }
}
