//! Finds the numbers that do not fit 64 bits of floating point, in a text that hcl-edit refuses because of them.
//!
//! Reads tokens, not grammar: comments, names, heredocs, quoted texts with their interpolations. That a text parses is not said.
//! Invariant: what is found are digits in code; no character of a quoted text or of a name is ever among them.

use std::ops::Range;

/// What a text begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Blocks and attributes, or an expression.
    Code,
    /// Text with interpolations.
    Template,
}

/// Digits in code that are no smaller number than the largest of floating point.
pub fn large_numbers(text: &str, shape: Shape) -> Vec<Range<usize>> {
    let first = match shape {
        Shape::Code => Mode::Code { braces: 0 },
        Shape::Template => Mode::Text(End::Never),
    };
    let mut scan = Scan { text, at: 0, modes: vec![first], found: Vec::new() };
    while scan.at < text.len() {
        match scan.modes.last().copied() {
            Some(Mode::Code { braces }) => scan.code(braces),
            Some(Mode::Text(end)) => scan.template(end),
            None => break,
        }
    }
    scan.found
}

#[derive(Debug, Clone, Copy)]
enum Mode<'a> {
    /// Code, inside so many braces since it began.
    Code { braces: usize },
    /// Text up to its end.
    Text(End<'a>),
}

#[derive(Debug, Clone, Copy)]
enum End<'a> {
    Quote,
    /// A line that is this word.
    Word(&'a str),
    Never,
}

struct Scan<'a> {
    text: &'a str,
    at: usize,
    modes: Vec<Mode<'a>>,
    found: Vec<Range<usize>>,
}

impl<'a> Scan<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn code(&mut self, braces: usize) {
        let rest = self.rest();
        match rest.as_bytes() {
            [b'"', ..] => {
                self.at += 1;
                self.modes.push(Mode::Text(End::Quote));
            }
            [b'#', ..] | [b'/', b'/', ..] => self.at += rest.find('\n').unwrap_or(rest.len()),
            [b'/', b'*', ..] => self.at += rest.find("*/").map_or(rest.len(), |end| end + 2),
            [b'<', b'<', ..] => self.heredoc(),
            [b'{', ..] => self.braces(braces + 1),
            [b'}', ..] if braces > 0 => self.braces(braces - 1),
            [b'}', ..] => {
                self.at += 1;
                if self.modes.len() > 1 {
                    self.modes.pop();
                }
            }
            [b'0'..=b'9', ..] => self.number(),
            [_, ..] => self.word(),
            [] => {}
        }
    }

    fn braces(&mut self, braces: usize) {
        self.at += 1;
        self.modes.pop();
        self.modes.push(Mode::Code { braces });
    }

    /// Skips a name, or one character that belongs to none.
    fn word(&mut self) {
        let part = |letter: char| letter.is_alphanumeric() || matches!(letter, '_' | '-');
        let rest = self.rest();
        let begins = rest.starts_with(|first: char| first.is_alphabetic() || first == '_');
        let first = rest.chars().next().map_or(0, char::len_utf8);
        self.at += if begins { rest.find(|letter| !part(letter)).unwrap_or(rest.len()) } else { first };
    }

    fn number(&mut self) {
        let bytes = self.text.as_bytes();
        let digits = |from: usize| {
            let end = bytes[from..].iter().position(|byte| !byte.is_ascii_digit());
            end.map_or(bytes.len(), |end| from + end)
        };
        let mut end = digits(self.at);
        if bytes.get(end) == Some(&b'.') && bytes.get(end + 1).is_some_and(u8::is_ascii_digit) {
            end = digits(end + 1);
        }
        if matches!(bytes.get(end), Some(b'e' | b'E')) {
            let sign = usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
            if bytes.get(end + 1 + sign).is_some_and(u8::is_ascii_digit) {
                end = digits(end + 1 + sign);
            }
        }
        if self.text[self.at..end].parse::<f64>().is_ok_and(f64::is_infinite) {
            self.found.push(self.at..end);
        }
        self.at = end;
    }

    /// Begins a heredoc, or skips two characters that begin none.
    fn heredoc(&mut self) {
        self.at += 2;
        let line = self.rest().split('\n').next().unwrap_or_default();
        let word = line.strip_prefix('-').unwrap_or(line).trim();
        if lustre_model::address::is_identifier(word) {
            self.at += line.len();
            self.modes.push(Mode::Text(End::Word(word)));
        }
    }

    fn template(&mut self, end: End<'a>) {
        let rest = self.rest();
        let quoted = matches!(end, End::Quote);
        let first = rest.chars().next().map_or(0, char::len_utf8);
        match rest.as_bytes() {
            [b'\\', _, ..] if quoted => {
                self.at += 1 + rest[1..].chars().next().map_or(0, char::len_utf8);
            }
            [b'"', ..] if quoted => {
                self.at += 1;
                self.modes.pop();
            }
            [b'$', b'$', b'{', ..] | [b'%', b'%', b'{', ..] => self.at += 3,
            [b'$' | b'%', b'{', ..] => {
                self.at += 2;
                self.modes.push(Mode::Code { braces: 0 });
            }
            [b'\n', ..] => {
                self.at += 1;
                if let End::Word(word) = end
                    && self.rest().split('\n').next().is_some_and(|line| line.trim() == word)
                {
                    self.modes.pop();
                }
            }
            [..] => self.at += first,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert, proptest};

    use super::*;

    fn found(text: &str) -> Vec<String> {
        let large = "9".repeat(309);
        let text = text.replace('N', &large);
        let found = large_numbers(&text, Shape::Code);
        found.into_iter().map(|range| text[range].replace(&large, "N")).collect()
    }

    #[test]
    fn digits_in_code_are_found_wherever_they_stand() {
        assert_eq!(found("a = N\nb = [-N, N.5e+2, 1e400, { x = N }]\n"), ["N", "N.5e+2", "1e400", "N"]);
        assert_eq!(found("a = \"x ${f(\"${N}\", N)} N\"\n"), ["N", "N"]);
        assert_eq!(found("a = <<-E\n  N ${N}\n  E\nb = N\n"), ["N", "N"]);
    }

    #[test]
    fn digits_in_texts_names_and_comments_are_not_numbers() {
        assert_eq!(
            found("a = \"N $${N \\\" N\" # N\n// N\n/* N\n*/ b-N = c_N\nd = <<E\nN\n\"\nE\n"),
            [] as [&str; 0]
        );
        assert_eq!(found("a = 9 + 1e30\n"), [] as [&str; 0]);
        assert_eq!(large_numbers(&"9".repeat(400), Shape::Template), []);
    }

    proptest! {
        #[test]
        fn any_text_is_read_to_its_end(text in "[a9e.é\"${}%<E#/*\\\\\n-]{0,60}") {
            for shape in [Shape::Code, Shape::Template] {
                let found = large_numbers(&text.replace('9', "1e999"), shape);
                prop_assert!(found.windows(2).all(|pair| pair[0].end <= pair[1].start));
            }
        }
    }
}
