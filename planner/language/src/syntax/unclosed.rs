//! Finds the quoted text that was never closed, for the message of a syntax error far behind it.
//!
//! The parser takes everything up to the next quote, lines later, as part of the text, and stumbles only then.
//! Reads tokens, not grammar: comments, heredocs, quoted texts with their interpolations.
//! Invariant: a text that is closed on its own line is never found.

/// Depth of interpolations within texts that is followed.
const DEPTH_MAX: usize = 64;

/// Returns where the first quoted text begins that goes on behind its line, if it begins before `end`.
pub fn unclosed_text(text: &str, end: usize) -> Option<usize> {
    let mut scan = Scan { bytes: text.as_bytes(), at: 0, end: end.min(text.len()) };
    scan.code(0).err()
}

struct Scan<'a> {
    bytes: &'a [u8],
    at: usize,
    end: usize,
}

impl Scan<'_> {
    fn rest(&self) -> &[u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    /// Reads code up to the brace that closes it, or the end; fails with the place of an unclosed text.
    fn code(&mut self, depth: usize) -> Result<(), usize> {
        let mut braces = 0_usize;
        while self.at < self.end {
            match self.rest() {
                [b'"', ..] => {
                    self.quoted(depth)?;
                    continue;
                }
                [b'#', ..] | [b'/', b'/', ..] => self.skip_line(),
                [b'/', b'*', ..] => self.skip_to(b"*/"),
                [b'<', b'<', ..] if depth == 0 => {
                    self.heredoc();
                    continue;
                }
                [b'{', ..] => braces += 1,
                [b'}', ..] if braces == 0 && depth > 0 => {
                    self.at += 1;
                    return Ok(());
                }
                [b'}', ..] => braces = braces.saturating_sub(1),
                _ => {}
            }
            self.at += 1;
        }
        Ok(())
    }

    /// Reads a quoted text, from its quote.
    fn quoted(&mut self, depth: usize) -> Result<(), usize> {
        let begin = self.at;
        self.at += 1;
        loop {
            match self.rest() {
                [] | [b'\n', ..] => return Err(begin),
                [b'\\', _, ..] => self.at += 2,
                [b'"', ..] => {
                    self.at += 1;
                    return Ok(());
                }
                [b'$', b'$', b'{', ..] | [b'%', b'%', b'{', ..] => self.at += 3,
                [b'$' | b'%', b'{', ..] if depth < DEPTH_MAX => {
                    self.at += 2;
                    self.code(depth + 1)?;
                }
                [_, ..] => self.at += 1,
            }
        }
    }

    /// Skips a heredoc, or two characters that begin none.
    fn heredoc(&mut self) {
        self.at += 2;
        if self.rest().first() == Some(&b'-') {
            self.at += 1;
        }
        let is_tag = |byte: &&u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        let tag: Vec<u8> = self.rest().iter().take_while(is_tag).copied().collect();
        if tag.is_empty() {
            return;
        }
        loop {
            self.skip_line();
            self.at += 1;
            if self.at >= self.bytes.len() {
                return;
            }
            let line = self.rest().split(|byte| *byte == b'\n').next().unwrap_or_default();
            if line.trim_ascii() == tag {
                return self.skip_line();
            }
        }
    }

    fn skip_line(&mut self) {
        self.at += self.rest().iter().position(|byte| *byte == b'\n').unwrap_or(self.rest().len());
    }

    fn skip_to(&mut self, mark: &[u8]) {
        let found = self.rest().windows(mark.len()).position(|window| window == mark);
        self.at += found.map_or(self.rest().len(), |found| found + 1);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert, proptest};

    use super::*;

    fn found(text: &str) -> Option<&str> {
        unclosed_text(text, text.len()).map(|at| &text[at..])
    }

    #[test]
    fn the_text_that_goes_on_behind_its_line_is_found() {
        assert_eq!(found("a = \"b\nc = \"d\"\n"), Some("\"b\nc = \"d\"\n"));
        assert_eq!(found("a = \"${b[\"x\"]}\"\nc = \"d\n"), Some("\"d\n"));
        assert_eq!(found("a = \"${b[\"x]}\"\n"), Some("\"${b[\"x]}\"\n"));
        assert_eq!(found("a = \"b"), Some("\"b"));
    }

    #[test]
    fn what_is_closed_is_not_found() {
        for text in [
            "a = \"b\"\n",
            "# it's \"open\na = 1 // \"\n/* \" \n */ b = 2\n",
            "a = <<E\n\"open\nE\nb = <<-E\n  \"\n  E\n",
            "a = \"\\\"\"\nb = \"$${\"\nc = \"${\n  d\n}\"\n",
            "a = \"${ {b = 1}.b }\"\n",
        ] {
            assert_eq!(found(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_to_its_end(text in "[a\"${}%<#/*\\\\\n-]{0,40}", end in any::<u8>()) {
            let at = unclosed_text(&text, usize::from(end));
            prop_assert!(at.is_none_or(|at| text.as_bytes()[at] == b'"'));
        }
    }
}
