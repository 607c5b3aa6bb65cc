//! Regular expressions of Go, written for the `regex` crate.
//!
//! ```text
//! \w \d \s \b      ASCII only             \Q…\E   literal        \< \> and other punctuation   literal
//! [a[b] [a&&b]     no sets within sets    \123 \7 octal
//! ```
//! What neither knows is left as it is, for the crate to refuse.
//! Invariant: the translation is at most some eight times as long as the pattern.

/// How many bytes one byte of a pattern may become.
#[cfg(test)]
const GROWTH_MAX: usize = 8;

/// Translates a pattern.
pub(super) fn translated(pattern: &str) -> String {
    let mut result = String::with_capacity(pattern.len());
    let mut rest = pattern;
    while let Some(letter) = rest.chars().next() {
        rest = &rest[letter.len_utf8()..];
        rest = match letter {
            '\\' => escape(rest, Inside::Nothing, &mut result),
            '[' => class(rest, &mut result),
            other => {
                result.push(other);
                rest
            }
        };
    }
    result
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Inside {
    Nothing,
    Class,
}

/// Translates what follows a backslash; returns the rest.
fn escape<'a>(rest: &'a str, inside: Inside, result: &mut String) -> &'a str {
    let Some(letter) = rest.chars().next() else {
        result.push('\\');
        return rest;
    };
    let after = &rest[letter.len_utf8()..];
    let plain = match (letter, inside) {
        ('d', Inside::Nothing) => "[0-9]",
        ('D', _) => "[^0-9]",
        ('w', Inside::Nothing) => "[0-9A-Za-z_]",
        ('W', _) => "[^0-9A-Za-z_]",
        ('s', Inside::Nothing) => "[\\t\\n\\f\\r ]",
        ('S', _) => "[^\\t\\n\\f\\r ]",
        ('d', Inside::Class) => "0-9",
        ('w', Inside::Class) => "0-9A-Za-z_",
        ('s', Inside::Class) => "\\t\\n\\f\\r ",
        ('b', Inside::Nothing) => "(?-u:\\b)",
        ('B', Inside::Nothing) => "(?-u:\\B)",
        _ => "",
    };
    if !plain.is_empty() {
        result.push_str(plain);
        return after;
    }
    match letter {
        'Q' if inside == Inside::Nothing => {
            let (quoted, after) = after.split_once("\\E").unwrap_or((after, ""));
            result.push_str(&regex::escape(quoted));
            after
        }
        '0'..='7' => {
            let octal = rest.bytes().take(3).take_while(|byte| (b'0'..=b'7').contains(byte)).count();
            // One digit alone would refer back to a group, which there is not; zero alone is a character.
            if octal == 1 && letter != '0' {
                result.push('\\');
                result.push(letter);
                return after;
            }
            let code = u32::from_str_radix(&rest[..octal], 8).unwrap_or(0);
            result.push_str(&format!("\\x{{{code:x}}}"));
            &rest[octal..]
        }
        other if other.is_ascii_punctuation() => {
            result.push_str(&regex::escape(other.encode_utf8(&mut [0; 4])));
            after
        }
        other => {
            result.push('\\');
            result.push(other);
            after
        }
    }
}

/// Translates a class, whose bracket was read; returns the rest.
fn class<'a>(mut rest: &'a str, result: &mut String) -> &'a str {
    result.push('[');
    if let Some(after) = rest.strip_prefix('^') {
        result.push('^');
        rest = after;
    }
    let mut first = true;
    while let Some(letter) = rest.chars().next() {
        let after = &rest[letter.len_utf8()..];
        match letter {
            ']' if !first => {
                result.push(']');
                return after;
            }
            ']' => result.push_str("\\]"),
            '\\' => {
                rest = escape(after, Inside::Class, result);
                first = false;
                continue;
            }
            '[' => match after.strip_prefix(':').and_then(|name| name.split_once(":]")) {
                Some((name, behind))
                    if name.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b'^') =>
                {
                    result.push_str(&format!("[:{name}:]"));
                    rest = behind;
                    first = false;
                    continue;
                }
                Some(_) | None => result.push_str("\\["),
            },
            // Two of these would be an operation on sets.
            '&' | '~' => {
                result.push('\\');
                result.push(letter);
            }
            other => result.push(other),
        }
        rest = after;
        first = false;
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_mean_what_go_means() {
        for (pattern, text, expected) in [
            ("\\w+", "é1", Some("1")),
            ("\\d", "٣4", Some("4")),
            ("[\\w-]+", "é-a", Some("-a")),
            ("[^\\W]", "é_", Some("_")),
            ("\\bx", "éx", Some("x")),
            ("\\Qa.b\\E+", "a.bb", Some("a.bb")),
            ("\\<", "<", Some("<")),
            ("[a[b]+", "[ab", Some("[ab")),
            ("[a&&b]+", "&ab", Some("&ab")),
            ("[]a]+", "]a", Some("]a")),
            ("[[:alpha:]]", "1b", Some("b")),
            ("\\101\\0", "A\0", Some("A\0")),
            ("(?i)ÄB", "äb", Some("äb")),
            ("a$", "a\n", None),
        ] {
            let regex = regex::Regex::new(&translated(pattern)).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(regex.find(text).map(|found| found.as_str()), expected, "{pattern}");
        }
        for pattern in ["\\", "[", "[\\", "\\Q", "[[:", "\\8", "\\é"] {
            assert!(translated(pattern).len() <= pattern.len() * GROWTH_MAX + GROWTH_MAX);
        }
    }
}
