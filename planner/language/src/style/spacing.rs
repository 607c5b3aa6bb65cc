//! Whether a blank stands between two tokens of a line.
//!
//! The rules are hclwrite's, in its order. A minus is told from a negation by what stands before it, over line ends too.
//! Invariant: tokens that would become one when put together keep a blank.

use crate::style::token::{Kind, Token};

/// Tokens with what is needed to look back over comments and line ends.
pub(super) struct Neighbours<'t, 'a> {
    tokens: &'t [Token<'a>],
    /// For each token the last before it that is neither comment nor line end, plus one.
    before: Vec<u32>,
}

impl<'t, 'a> Neighbours<'t, 'a> {
    /// Looks at all tokens once.
    pub(super) fn new(tokens: &'t [Token<'a>]) -> Self {
        let mut last = 0;
        let before = tokens.iter().zip(1..).map(|(token, next)| {
            let before = last;
            if !matches!(token.kind, Kind::Comment | Kind::Newline) {
                last = next;
            }
            before
        });
        Self { before: before.collect(), tokens }
    }

    fn before(&self, at: usize) -> Option<usize> {
        (self.before[at] as usize).checked_sub(1)
    }

    fn ends_expression(&self, at: usize) -> bool {
        let ends = matches!(
            self.tokens[at].kind,
            Kind::Word
                | Kind::Number
                | Kind::CloseBrace
                | Kind::CloseBracket
                | Kind::CloseParenthesis
                | Kind::CloseQuote
                | Kind::CloseHeredoc
                | Kind::Ellipsis
        );
        ends || self.is_splat(at)
    }

    /// Tells whether it is the star of `.*`.
    fn is_splat(&self, at: usize) -> bool {
        self.tokens[at].text == "*" && self.before(at).is_some_and(|it| self.tokens[it].kind == Kind::Dot)
    }

    /// Tells whether it is the `in` of `for`, or an `if`: a word where only an operator could be.
    fn is_keyword(&self, at: usize) -> bool {
        let token = &self.tokens[at];
        let word = token.kind == Kind::Word && matches!(token.text, "in" | "if");
        word && self
            .before(at)
            .is_some_and(|before| self.ends_expression(before) || self.tokens[before].text.starts_with("%{"))
    }

    fn is_negation(&self, at: usize) -> bool {
        self.before(at).is_none_or(|before| self.is_keyword(before) || !self.ends_expression(before))
    }

    /// Tells whether a blank stands between this token and the next, which is on the same line.
    pub(super) fn blank_after(&self, at: usize) -> bool {
        let (subject, after) = (&self.tokens[at], &self.tokens[at + 1]);
        if matches!(after.kind, Kind::Newline | Kind::End) {
            return false;
        }
        if self.is_keyword(at) && after.kind != Kind::CloseSequence {
            return true;
        }
        match (subject.kind, after.kind) {
            (Kind::Number, Kind::Dot) => {
                // `1 .5` is not `1.5`; behind a dot a number is an index.
                at.checked_sub(1).is_none_or(|before| self.tokens[before].kind != Kind::Dot)
            }
            (Kind::Word, Kind::OpenParenthesis | Kind::DoubleColon) | (Kind::DoubleColon, Kind::Word) => {
                false
            }
            (Kind::Dot, _) | (_, Kind::Dot | Kind::Comma | Kind::Ellipsis) => false,
            (Kind::Comma, _) => true,
            (Kind::Literal | Kind::OpenQuote | Kind::OpenHeredoc, _) => false,
            (_, Kind::Literal | Kind::CloseQuote | Kind::CloseHeredoc) => false,
            (Kind::Word | Kind::Number, Kind::OpenBracket) => false,
            (_, Kind::OpenBracket) if subject.depth_change() < 0 => false,
            (Kind::Bang, _) => false,
            (Kind::Minus, _) => !self.is_negation(at),
            (Kind::OpenBrace, Kind::CloseBrace) => false,
            (Kind::OpenBrace, _) | (_, Kind::CloseBrace) => true,
            // An object alone in a sequence: `${ { a = b } }`.
            (Kind::OpenSequence, Kind::OpenBrace) | (Kind::CloseBrace, Kind::CloseSequence) => true,
            (Kind::CloseSequence, Kind::OpenSequence) => false,
            _ => subject.depth_change() <= 0 && after.depth_change() >= 0,
        }
    }
}
