//! Blanks what hcl-edit refuses although it is HCL, byte for byte, so that places stay what they are.
//!
//! ```text
//! 99…99          beyond 64 bits of floating point      zeros, as many as it has digits
//! { for … =>     a line that goes on with an operator   spaces instead of line ends and comments
//!     a &&
//!     b }
//! <<E             an empty heredoc, which it takes to     a quoted text that is empty, and spaces
//! E               go on to the next line `E`
//! ```
//! Reads tokens, not grammar: comments, names, heredocs, quoted texts with their interpolations. That a text parses is not said.
//! Line ends mean nothing within parentheses, brackets, interpolations and braces that begin with `for`; only there are they blanked.
//! Invariant: no character of a quoted text, of a heredoc that has a line or of a name is ever changed.

use std::ops::Range;

/// What a text begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Blocks and attributes, or an expression.
    Code,
    /// Text with interpolations.
    Template,
}

/// Returns a text without what hcl-edit reads wrongly and says nothing: empty heredocs. None when there are none.
pub fn without_empty(text: &str, shape: Shape) -> Option<String> {
    let begins = text.match_indices("<<").map(|(at, _)| &text[at + 2..]);
    let mut empty = begins.filter_map(heredoc_word).filter(|(word, behind)| ends(behind, word));
    empty.next()?;
    replaced(text, shape, &[Filling::Empty])
}

/// Returns a text that means the same but for its numbers and comments; none when there is nothing to blank.
pub fn blanked(text: &str, shape: Shape) -> Option<String> {
    replaced(text, shape, &[Filling::Empty, Filling::Zeros, Filling::Spaces])
}

fn replaced(text: &str, shape: Shape, wanted: &[Filling]) -> Option<String> {
    let first = match shape {
        Shape::Code => Mode::Code(Lines::Count),
        Shape::Template => Mode::Text(End::Never),
    };
    let mut scan = Scan { text, at: 0, modes: vec![first], found: Vec::new() };
    while scan.at < text.len() {
        match scan.modes.last().copied() {
            Some(Mode::Code(lines)) => scan.code(lines),
            Some(Mode::Text(end)) => scan.template(end),
            None => break,
        }
    }
    scan.found.retain(|(_, filling)| wanted.contains(filling));
    if scan.found.is_empty() {
        return None;
    }
    let mut shown = String::with_capacity(text.len());
    let mut at = 0;
    for (range, filling) in scan.found {
        shown.push_str(&text[at..range.start]);
        match filling {
            Filling::Zeros => shown.push_str(&"0".repeat(range.len())),
            Filling::Spaces => shown.push_str(&" ".repeat(range.len())),
            Filling::Empty => {
                // In parentheses, for nothing may stand behind an expression that is read alone.
                shown.push_str("(\"\"");
                shown.push_str(&" ".repeat(range.len() - "(\"\")".len()));
                shown.push(')');
            }
        }
        at = range.end;
    }
    shown.push_str(&text[at..]);
    Some(shown)
}

#[derive(Debug, Clone, Copy)]
enum Mode<'a> {
    /// Code, in whatever brackets.
    Code(Lines),
    /// Text up to its end.
    Text(End<'a>),
}

/// Whether the end of a line ends something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lines {
    Count,
    MeanNothing,
}

#[derive(Debug, Clone, Copy)]
enum End<'a> {
    Quote,
    /// A line that is this word.
    Word(&'a str),
    Never,
}

/// What stands where something was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Filling {
    Zeros,
    Spaces,
    /// A quoted text without a character.
    Empty,
}

struct Scan<'a> {
    text: &'a str,
    at: usize,
    modes: Vec<Mode<'a>>,
    /// What is replaced, and by what.
    found: Vec<(Range<usize>, Filling)>,
}

impl<'a> Scan<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn code(&mut self, lines: Lines) {
        let rest = self.rest();
        match rest.as_bytes() {
            [b'"', ..] => self.open(1, Mode::Text(End::Quote)),
            [b'#', ..] | [b'/', b'/', ..] => self.skip(rest.find('\n').unwrap_or(rest.len()), lines),
            [b'/', b'*', ..] => self.skip(rest.find("*/").map_or(rest.len(), |end| end + 2), lines),
            [b'\r' | b'\n', ..] => self.skip(1, lines),
            [b'<', b'<', ..] => self.heredoc(),
            [b'{', inside @ ..] => {
                let lines = if begins_with_for(inside) { Lines::MeanNothing } else { Lines::Count };
                self.open(1, Mode::Code(lines));
            }
            [b'(' | b'[', ..] => self.open(1, Mode::Code(Lines::MeanNothing)),
            [b'}' | b')' | b']', ..] => self.close(1),
            [b'0'..=b'9', ..] => self.number(),
            [_, ..] => self.word(),
            [] => {}
        }
    }

    fn open(&mut self, width: usize, mode: Mode<'a>) {
        self.at += width;
        self.modes.push(mode);
    }

    /// What the whole text is in stays, whatever closes too much.
    fn close(&mut self, width: usize) {
        self.at += width;
        if self.modes.len() > 1 {
            self.modes.pop();
        }
    }

    /// Passes a comment or the end of a line.
    fn skip(&mut self, width: usize, lines: Lines) {
        if lines == Lines::MeanNothing {
            self.found.push((self.at..self.at + width, Filling::Spaces));
        }
        self.at += width;
    }

    /// Passes a name, or one character that belongs to none.
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
            self.found.push((self.at..end, Filling::Zeros));
        }
        self.at = end;
    }

    /// Begins a heredoc, or passes two characters that begin none.
    fn heredoc(&mut self) {
        let begin = self.at;
        self.at += 2;
        let Some((word, behind)) = heredoc_word(self.rest()) else { return };
        if ends(behind, word) {
            let line = behind.split('\n').next().unwrap_or_default();
            self.at = self.text.len() - behind.len() + line.trim_end().len();
            self.found.push((begin..self.at, Filling::Empty));
            return;
        }
        // The line end stays, for it begins the first line.
        self.open(self.rest().len() - behind.len() - 1, Mode::Text(End::Word(word)));
    }

    fn template(&mut self, end: End<'a>) {
        let rest = self.rest();
        let quoted = matches!(end, End::Quote);
        let first = rest.chars().next().map_or(0, char::len_utf8);
        match rest.as_bytes() {
            [b'\\', _, ..] if quoted => {
                self.at += 1 + rest[1..].chars().next().map_or(0, char::len_utf8);
            }
            [b'"', ..] if quoted => self.close(1),
            [b'$', b'$', b'{', ..] | [b'%', b'%', b'{', ..] => self.at += 3,
            [b'$' | b'%', b'{', ..] => self.open(2, Mode::Code(Lines::MeanNothing)),
            [b'\n', ..] => {
                self.at += 1;
                self.end_heredoc(end);
            }
            [..] => self.at += first,
        }
    }

    /// Ends a heredoc when its word is on this line; the end of that line belongs to it.
    fn end_heredoc(&mut self, end: End<'a>) {
        if let End::Word(word) = end
            && ends(self.rest(), word)
        {
            self.close(self.rest().split_inclusive('\n').next().map_or(0, str::len));
        }
    }
}

/// Returns the word that ends a heredoc, and what is behind the line that begins it; `rest` is behind `<<`.
fn heredoc_word(rest: &str) -> Option<(&str, &str)> {
    let (line, behind) = rest.split_once('\n')?;
    let word = line.strip_prefix('-').unwrap_or(line).trim_end();
    lustre_model::address::is_identifier(word).then_some((word, behind))
}

/// Says whether a text begins with a line that ends a heredoc.
fn ends(text: &str, word: &str) -> bool {
    text.split('\n').next().is_some_and(|line| line.trim() == word)
}

/// Says whether a brace begins a `for`, behind blanks and comments.
fn begins_with_for(inside: &[u8]) -> bool {
    let mut rest = inside;
    loop {
        rest = rest.trim_ascii_start();
        let end = match rest {
            [b'#', ..] | [b'/', b'/', ..] => rest.iter().position(|byte| *byte == b'\n'),
            [b'/', b'*', ..] => rest.windows(2).position(|pair| pair == b"*/").map(|at| at + 2),
            [b'f', b'o', b'r', next, ..] => return next.is_ascii_whitespace(),
            [..] => return false,
        };
        let Some(end) = end else { return false };
        rest = &rest[end..];
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert_eq, proptest};

    use super::*;

    fn digits() -> String {
        "9".repeat(309)
    }

    fn shown(text: &str) -> String {
        let text = text.replace('N', &digits());
        let blanked = blanked(&text, Shape::Code).unwrap_or_else(|| text.clone());
        assert_eq!(blanked.len(), text.len());
        blanked.replace(&digits(), "N").replace(&"0".repeat(309), "0")
    }

    #[test]
    fn digits_in_code_are_blanked_wherever_they_stand() {
        assert_eq!(shown("a = N\nb = [-N, { x = N }]\n"), "a = 0\nb = [-0, { x = 0 }]\n");
        assert_eq!(shown("a = 1e400\nb = 1e30\n"), "a = 00000\nb = 1e30\n");
        assert_eq!(shown("a = \"x ${f(\"${N}\", N)} N\"\n"), "a = \"x ${f(\"${0}\", 0)} N\"\n");
        assert_eq!(shown("a = <<-E\n  N ${N}\n  E\nb = N\n"), "a = <<-E\n  N ${0}\n  E\nb = 0\n");
    }

    #[test]
    fn digits_in_texts_names_and_comments_are_not_numbers() {
        let text = "a = \"N $${N \\\" N\" # N\n// N\n/* N\n*/ b-N = c_N\nd = <<E\nN\n\"\nE\n";
        assert_eq!(shown(text), text);
        assert_eq!(blanked(&digits(), Shape::Template), None);
    }

    #[test]
    fn lines_within_for_go_on() {
        assert_eq!(
            shown("a = {\n# x\n for k in b :\n k => c &&#y\n d }\n"),
            "a = {      for k in b :  k => c &&    d }\n"
        );
        let text = "a = {\n b = 1\n fork = { c = 2 # y\n d = 3\n }\n}\n";
        assert_eq!(shown(text), text);
        let text = "a = [<<E\nx\nE\n, { b = 1\n c = 2 }]\n";
        assert_eq!(shown(text), text);
        assert_eq!(shown("a = \"${b ?\n 1 : 2}\n\"\n"), "a = \"${b ?  1 : 2}\n\"\n");
    }

    #[test]
    fn heredocs_without_a_line_are_empty_texts() {
        let blank = |text: &str| without_empty(text, Shape::Code);
        assert_eq!(blank("a = <<E\nE\nb = 1e400\n").as_deref(), Some("a = (\"\" )\nb = 1e400\n"));
        assert_eq!(blank("a = [<<-E\r\n  E\r\n, 1]\n").as_deref(), Some("a = [(\"\"     )\r\n, 1]\n"));
        for text in [
            "a = <<E\n\nE\n",
            "a = <<E\nEF\nE\n",
            "# <<E\nE = 1\n",
            "a = \"<<E\nE\n\"\n",
            "a = <<E\n<<F\nF\nE\n",
        ] {
            assert_eq!(blank(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_keeps_its_length(text in "[a9e.é\"${}()%<E#/*\\\\\r\nfor -]{0,60}") {
            for shape in [Shape::Code, Shape::Template] {
                let text = text.replace('9', "1e999");
                let blanked = blanked(&text, shape).unwrap_or_else(|| text.clone());
                prop_assert_eq!(blanked.len(), text.len());
            }
        }
    }
}
