//! Tokens of HCL's native syntax, with the blanks before each.
//!
//! Any text has tokens, also one that does not parse. Sequences `${…}` and `%{…}` nest in quoted text and in heredocs, and
//! these in sequences, to any depth, on a stack of our own. A heredoc ends where hcl-edit ends it: at its word at the
//! start of a line, whatever follows on that line; on its first line only where nothing does,
//! or where no line below could end it.
//! Invariant: blanks and texts of all tokens, one after the other, are the input.

use std::collections::HashMap;

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A name or keyword.
    Word,
    /// `1`, `2.5e3`
    Number,
    /// `{`
    OpenBrace,
    /// `}`
    CloseBrace,
    /// `[`
    OpenBracket,
    /// `]`
    CloseBracket,
    /// `(`
    OpenParenthesis,
    /// `)`
    CloseParenthesis,
    /// `"` that opens.
    OpenQuote,
    /// `"` that closes.
    CloseQuote,
    /// `<<WORD` with the end of its line.
    OpenHeredoc,
    /// The closing word, with the blanks before it on its line.
    CloseHeredoc,
    /// Characters of a quoted text or heredoc.
    Literal,
    /// `${`, `%{`, with `~`
    OpenSequence,
    /// The `}` or `~}` of a sequence.
    CloseSequence,
    /// `.`
    Dot,
    /// `,`
    Comma,
    /// `::`
    DoubleColon,
    /// `...`
    Ellipsis,
    /// `-`
    Minus,
    /// `!`
    Bang,
    /// `=`
    Assign,
    /// Every other operator, and characters that mean nothing.
    Operator,
    /// `#…`, `//…` with the end of their line; `/*…*/`
    Comment,
    /// The end of a line.
    Newline,
    /// The end of the text.
    End,
}

/// One token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Token<'a> {
    /// What it is.
    pub kind: Kind,
    /// Its characters.
    pub text: &'a str,
    /// Spaces and tabs before it.
    pub blank: &'a str,
}

impl<'a> Token<'a> {
    /// Makes a token that stands directly behind the one before it.
    pub(super) fn new(kind: Kind, text: &'a str) -> Self {
        Self { kind, text, blank: "" }
    }

    /// Returns all but the blanks.
    pub(super) fn parts(&self) -> (Kind, &'a str) {
        (self.kind, self.text)
    }

    /// Tells whether a line ends with it.
    pub(super) fn ends_line(&self) -> bool {
        let comment = self.kind == Kind::Comment && self.text.ends_with('\n');
        comment || matches!(self.kind, Kind::Newline | Kind::End)
    }

    /// Returns 1 for what opens, -1 for what closes, else 0.
    pub(super) fn depth_change(&self) -> isize {
        if matches!(
            self.kind,
            Kind::OpenBrace | Kind::OpenBracket | Kind::OpenParenthesis | Kind::OpenSequence
        ) {
            return 1;
        }
        let closes = matches!(
            self.kind,
            Kind::CloseBrace | Kind::CloseBracket | Kind::CloseParenthesis | Kind::CloseSequence
        );
        -isize::from(closes)
    }
}

/// Where the lexer is.
#[derive(Debug)]
enum Frame<'a> {
    /// In a sequence, with so many braces open.
    Sequence(usize),
    /// In quoted text.
    Quoted,
    /// In a heredoc with this word.
    Heredoc(&'a str),
}

/// Cuts a text into tokens; the last is [`Kind::End`].
pub(super) fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut lexer =
        Lexer { rest: text, frames: Vec::new(), found: Vec::with_capacity(text.len() / 4), last_lines: None };
    while !lexer.rest.is_empty() {
        match lexer.frames.last() {
            None | Some(Frame::Sequence(_)) => lexer.code(),
            Some(Frame::Quoted) => lexer.quoted(),
            Some(Frame::Heredoc(word)) => {
                let word = *word;
                lexer.heredoc(word);
            }
        }
    }
    if lexer.found.last().is_none_or(|last| last.kind != Kind::End) {
        lexer.found.push(Token::new(Kind::End, ""));
    }
    lexer.found
}

struct Lexer<'a> {
    rest: &'a str,
    frames: Vec<Frame<'a>>,
    found: Vec<Token<'a>>,
    /// How much of the text is left behind the last line that begins with a word; made when first asked for.
    last_lines: Option<HashMap<&'a str, usize>>,
}

impl<'a> Lexer<'a> {
    fn take(&mut self, length: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at(length);
        self.rest = rest;
        taken
    }

    fn push(&mut self, kind: Kind, length: usize) {
        let text = self.take(length);
        self.found.push(Token::new(kind, text));
    }

    /// Takes one token outside of texts.
    fn code(&mut self) {
        let blank = self.take(blanks(self.rest));
        let (kind, length) = self.next_of_code();
        if let Some(Frame::Sequence(open)) = self.frames.last_mut() {
            // A `}` with no brace open was taken for the end of the sequence.
            *open = open.saturating_add_signed(brace(kind));
        }
        if kind == Kind::OpenQuote {
            self.frames.push(Frame::Quoted);
        } else if kind == Kind::OpenHeredoc {
            let word = self.rest[..length].trim_start_matches('<').trim_end();
            self.frames.push(Frame::Heredoc(word.strip_prefix('-').unwrap_or(word)));
        } else if kind == Kind::CloseSequence {
            self.frames.pop();
        }
        let text = self.take(length);
        self.found.push(Token { kind, text, blank });
    }

    fn next_of_code(&self) -> (Kind, usize) {
        let rest = self.rest;
        let closes_sequence = matches!(self.frames.last(), Some(Frame::Sequence(0)));
        let Some(first) = rest.chars().next() else { return (Kind::End, 0) };
        match first {
            '\n' => (Kind::Newline, 1),
            '\r' if rest.starts_with("\r\n") => (Kind::Newline, 2),
            '#' => (Kind::Comment, line(rest)),
            '/' if rest.starts_with("//") => (Kind::Comment, line(rest)),
            '/' if rest.starts_with("/*") => {
                (Kind::Comment, rest[2..].find("*/").map_or(rest.len(), |at| at + 4))
            }
            '"' => (Kind::OpenQuote, 1),
            '<' => heredoc_start(rest).map_or_else(|| operator(rest), |length| (Kind::OpenHeredoc, length)),
            '}' if closes_sequence => (Kind::CloseSequence, 1),
            '~' if closes_sequence && rest.starts_with("~}") => (Kind::CloseSequence, 2),
            '0'..='9' => {
                let index = self.found.last().is_some_and(|last| last.kind == Kind::Dot);
                (Kind::Number, if index { digits(rest) } else { number(rest) })
            }
            letter if starts_word(letter) => (Kind::Word, word(rest)),
            _ => operator(rest),
        }
    }

    /// Takes one token of quoted text.
    fn quoted(&mut self) {
        if self.rest.starts_with('"') {
            self.frames.pop();
            return self.push(Kind::CloseQuote, 1);
        }
        let bytes = self.rest.as_bytes();
        let mut at = 0;
        while at < bytes.len() && bytes[at] != b'"' && !opens_sequence(&bytes[at..]) {
            at += literal(&bytes[at..]) + usize::from(bytes[at] == b'\\' && at + 1 < bytes.len());
        }
        self.literal_or_sequence(at);
    }

    /// Takes one token of a heredoc.
    fn heredoc(&mut self, word: &str) {
        let bytes = self.rest.as_bytes();
        let mut at = 0;
        let mut starts_line = self.found.last().is_some_and(|last| last.kind == Kind::OpenHeredoc);
        while at < bytes.len() && !opens_sequence(&bytes[at..]) {
            if starts_line
                && let Some(length) = heredoc_end(&self.rest[at..], word)
                && (at > 0 || is_line_end(&self.rest[length..]) || !self.is_line_below(word))
            {
                if at > 0 {
                    self.push(Kind::Literal, at);
                }
                self.frames.pop();
                return self.push(Kind::CloseHeredoc, length);
            }
            starts_line = bytes[at] == b'\n';
            at += literal(&bytes[at..]);
        }
        self.literal_or_sequence(at);
    }

    /// Tells whether a line below this one begins with a word: then the word does not end a heredoc on its first line, unless
    /// it is alone there.
    fn is_line_below(&mut self, word: &str) -> bool {
        let rest = self.rest;
        let last_lines = self.last_lines.get_or_insert_with(|| {
            let starts =
                rest.match_indices('\n').map(|(at, _)| rest[at + 1..].trim_start_matches([' ', '\t']));
            starts.map(|line| (&line[..self::word(line)], line.len())).collect()
        });
        last_lines.get(word).is_some_and(|left| *left < rest.trim_start_matches([' ', '\t']).len())
    }

    /// Takes what was walked over, or the opening of a sequence when that is nothing.
    fn literal_or_sequence(&mut self, length: usize) {
        if length > 0 {
            // Behind a backslash may be half a character.
            return self.push(Kind::Literal, self.rest.ceil_char_boundary(length));
        }
        self.frames.push(Frame::Sequence(0));
        self.push(Kind::OpenSequence, 2 + usize::from(self.rest[2..].starts_with('~')));
    }
}

fn brace(kind: Kind) -> isize {
    isize::from(kind == Kind::OpenBrace) - isize::from(kind == Kind::CloseBrace)
}

/// Counts blanks. A carriage return alone is one, as hcl-edit has it.
fn blanks(text: &str) -> usize {
    let bytes = text.as_bytes();
    let blank = |at: &usize| match bytes[*at] {
        b' ' | b'\t' => true,
        b'\r' => bytes.get(at + 1) != Some(&b'\n'),
        _ => false,
    };
    (0..bytes.len()).take_while(blank).count()
}

/// Counts what a line has with its end.
fn line(text: &str) -> usize {
    text.find('\n').map_or(text.len(), |at| at + 1)
}

fn starts_word(letter: char) -> bool {
    // Beyond ASCII the grammar knows nothing but letters.
    letter.is_ascii_alphabetic() || letter == '_' || !letter.is_ascii()
}

fn continues_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-' || !byte.is_ascii()
}

fn word(text: &str) -> usize {
    text.bytes().take_while(|byte| continues_word(*byte)).count()
}

fn digits(text: &str) -> usize {
    text.bytes().take_while(u8::is_ascii_digit).count()
}

fn number(text: &str) -> usize {
    let mut length = digits(text);
    if let Some(fraction) = text[length..].strip_prefix('.').map(digits).filter(|count| *count > 0) {
        length += 1 + fraction;
    }
    if let Some(exponent) = text[length..].strip_prefix(['e', 'E']) {
        let unsigned = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        if digits(unsigned) > 0 {
            length += 1 + (exponent.len() - unsigned.len()) + digits(unsigned);
        }
    }
    length
}

fn operator(text: &str) -> (Kind, usize) {
    if text.starts_with("...") {
        return (Kind::Ellipsis, 3);
    }
    if text.starts_with("::") {
        return (Kind::DoubleColon, 2);
    }
    if ["==", "!=", "<=", ">=", "&&", "||", "=>"].iter().any(|long| text.starts_with(long)) {
        return (Kind::Operator, 2);
    }
    let kind = match text.as_bytes().first() {
        Some(b'{') => Kind::OpenBrace,
        Some(b'}') => Kind::CloseBrace,
        Some(b'[') => Kind::OpenBracket,
        Some(b']') => Kind::CloseBracket,
        Some(b'(') => Kind::OpenParenthesis,
        Some(b')') => Kind::CloseParenthesis,
        Some(b'.') => Kind::Dot,
        Some(b',') => Kind::Comma,
        Some(b'-') => Kind::Minus,
        Some(b'!') => Kind::Bang,
        Some(b'=') => Kind::Assign,
        _ => Kind::Operator,
    };
    (kind, 1)
}

fn heredoc_start(text: &str) -> Option<usize> {
    let after = text.strip_prefix("<<")?;
    let after = after.strip_prefix('-').unwrap_or(after);
    after.chars().next().filter(|first| starts_word(*first))?;
    let end = &after[word(after)..];
    let line_end = if end.starts_with("\r\n") { 2 } else { usize::from(end.starts_with('\n')) };
    (line_end > 0).then(|| text.len() - end.len() + line_end)
}

fn heredoc_end(text: &str, word: &str) -> Option<usize> {
    let after = text.trim_start_matches([' ', '\t']).strip_prefix(word)?;
    let more = after.as_bytes().first().is_some_and(|byte| continues_word(*byte));
    (!more).then(|| text.len() - after.len())
}

/// Says whether nothing but blanks is left of a line.
fn is_line_end(text: &str) -> bool {
    text.split('\n').next().is_none_or(|line| line.trim().is_empty())
}

fn opens_sequence(bytes: &[u8]) -> bool {
    bytes.starts_with(b"${") || bytes.starts_with(b"%{")
}

/// Counts what is one step of a literal: `$${`, `%%{`, or a byte.
fn literal(bytes: &[u8]) -> usize {
    if bytes.starts_with(b"$${") || bytes.starts_with(b"%%{") { 3 } else { 1 }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop, proptest};

    use super::*;

    fn shown(text: &str) -> String {
        let cut = tokens(text);
        cut.iter().map(|token| format!("{:?}:{} ", token.kind, token.text.escape_debug())).collect()
    }

    fn is_lossless(text: &str) {
        let put_together: String = tokens(text).iter().flat_map(|token| [token.blank, token.text]).collect();
        assert_eq!(put_together, text);
    }

    #[test]
    fn sequences_nest_in_texts_and_texts_in_sequences() {
        assert_eq!(
            shown("\"a$${${ {b=\"${c}\"} ~}\""),
            "OpenQuote:\\\" Literal:a$${ OpenSequence:${ OpenBrace:{ Word:b Assign:= OpenQuote:\\\" OpenSequence:${ \
             Word:c CloseSequence:} CloseQuote:\\\" CloseBrace:} CloseSequence:~} CloseQuote:\\\" End: "
        );
    }

    #[test]
    fn a_heredoc_ends_at_its_word_at_the_start_of_a_line() {
        assert_eq!(
            shown("a=<<-X\nX1 X\n $${X\n \tX)\n"),
            "Word:a Assign:= OpenHeredoc:<<-X\\n Literal:X1 X\\n $${X\\n CloseHeredoc: \\tX CloseParenthesis:) \
             Newline:\\n End: "
        );
        assert_eq!(
            shown("<<X\r\n${a}X\r\nX"),
            "OpenHeredoc:<<X\\r\\n OpenSequence:${ Word:a CloseSequence:} Literal:X\\r\\n CloseHeredoc:X End: "
        );
        assert_eq!(shown("<<-X\n X/\n X"), "OpenHeredoc:<<-X\\n Literal: X/\\n CloseHeredoc: X End: ");
        assert_eq!(shown("<<X\nX/"), "OpenHeredoc:<<X\\n CloseHeredoc:X Operator:/ End: ");
        assert_eq!(shown("<<X\nX \n"), "OpenHeredoc:<<X\\n CloseHeredoc:X Newline:\\n End: ");
    }

    #[test]
    fn numbers_indices_and_words_are_told_apart() {
        assert_eq!(
            shown("1.5e-3 a.0.1 b-c 1 .5"),
            "Number:1.5e-3 Word:a Dot:. Number:0 Dot:. Number:1 Word:b-c Number:1 Dot:. Number:5 End: "
        );
    }

    #[test]
    fn what_is_not_closed_ends_with_the_text() {
        for text in
            ["\"a\\", "\"\\é", "<<X\na", "/* a", "\"${", "%{", "~}", "}", "$", "\r", "<<X", "<<-", "\u{feff}"]
        {
            is_lossless(text);
        }
        let deep = "\"${".repeat(100_000);
        is_lossless(&deep);
    }

    proptest! {
        #[test]
        fn tokens_put_together_are_the_text(text in any::<String>()) {
            is_lossless(&text);
        }

        #[test]
        fn tokens_put_together_are_any_soup(pieces in prop::collection::vec(prop::sample::select(vec![
            "\"", "${", "%{", "}", "~}", "{", "<<E\n", "<<-E\r\n", "E", "\n", " ", "\\", "$${", "é", "1", ".", "/*", "*/", "#",
        ]), 0..40)) {
            is_lossless(&pieces.concat());
        }
    }
}
