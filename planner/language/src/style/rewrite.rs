//! Rewriting of tokens: what old habits write longer than it needs to be.
//!
//! ```text
//! resource a b {      ─▶  resource "a" "b" {
//! x = "${y}"          ─▶  x = y
//! type = list         ─▶  type = list(any)        only in `variable`
//! ```
//! Walks blocks and attributes on the tokens of a text that parses; looks into no expression.
//! Invariant: every comment is kept.

use crate::style::token::{Kind, Token};

/// Rewrites tokens; `None` when there is nothing to rewrite.
pub(super) fn rewrite<'a>(tokens: &[Token<'a>]) -> Option<Vec<Token<'a>>> {
    let mut walk = Walk { tokens, at: 0, written: Vec::with_capacity(tokens.len()), changed: false };
    // The types of the blocks around, outermost first.
    let mut blocks: Vec<&str> = Vec::new();
    while let Some(token) = walk.tokens.get(walk.at) {
        if token.kind == Kind::CloseBrace {
            blocks.pop();
        }
        if token.kind != Kind::Word {
            walk.copy(1);
            continue;
        }
        let name = token.text;
        walk.copy(1);
        walk.copy_while(is_inline);
        if walk.kind() == Some(Kind::Assign) {
            walk.copy(1);
            let of_variable = name == "type" && blocks.as_slice() == ["variable"];
            walk.attribute(of_variable);
        } else {
            walk.labels();
            blocks.push(name);
        }
    }
    walk.changed.then_some(walk.written)
}

struct Walk<'t, 'a> {
    tokens: &'t [Token<'a>],
    at: usize,
    written: Vec<Token<'a>>,
    changed: bool,
}

fn is_inline(token: &Token<'_>) -> bool {
    token.kind == Kind::Comment && !token.ends_line()
}

impl<'a> Walk<'_, 'a> {
    fn kind(&self) -> Option<Kind> {
        self.tokens.get(self.at).map(|token| token.kind)
    }

    fn copy(&mut self, count: usize) {
        let end = (self.at + count).min(self.tokens.len());
        self.written.extend_from_slice(&self.tokens[self.at..end]);
        self.at = end;
    }

    fn copy_while(&mut self, wanted: impl Fn(&Token<'a>) -> bool) {
        let count = self.tokens[self.at..].iter().take_while(|token| wanted(token)).count();
        self.copy(count);
    }

    /// Walks over what is between a block's type and its `{`, and that.
    fn labels(&mut self) {
        while let Some(token) = self.tokens.get(self.at) {
            if token.kind == Kind::Word {
                let blank = token.blank;
                self.written.push(Token { kind: Kind::OpenQuote, text: "\"", blank });
                self.written.push(Token::new(Kind::Literal, token.text));
                self.written.push(Token::new(Kind::CloseQuote, "\""));
                self.at += 1;
                self.changed = true;
                continue;
            }
            let label =
                [Kind::OpenQuote, Kind::Literal, Kind::CloseQuote, Kind::Comment].contains(&token.kind);
            self.copy(1);
            if !label {
                return;
            }
        }
    }

    /// Walks over an attribute's value.
    fn attribute(&mut self, of_variable: bool) {
        self.copy_while(is_inline);
        let value = &self.tokens[self.at..value_end(self.tokens, self.at)];
        let inline = value.iter().rev().take_while(|token| is_inline(token)).count();
        let value = &value[..value.len() - inline];
        let rewritten = if of_variable { constraint(value) } else { unwrapped(value) };
        let blank = value.first().map_or("", |first| first.blank);
        let count = value.len();
        let Some(mut rewritten) = rewritten else { return self.copy(count) };
        if let Some(first) = rewritten.first_mut() {
            first.blank = blank;
        }
        self.written.extend_from_slice(&rewritten);
        self.at += count;
        self.changed = true;
    }
}

/// Finds where a value ends that begins here: at the end of its line, or at the `}` of a block in one line.
fn value_end(tokens: &[Token<'_>], from: usize) -> usize {
    let mut depth = 0;
    let end = tokens[from..].iter().position(|token| {
        let ends = depth == 0 && (token.ends_line() || token.kind == Kind::CloseBrace);
        depth += token.depth_change();
        ends
    });
    end.map_or(tokens.len(), |count| from + count)
}

/// Takes a value out of `"${…}"`, as often as it is in one, when that is all there is but for comments.
fn unwrapped<'a>(value: &[Token<'a>]) -> Option<Vec<Token<'a>>> {
    let (mut inner, mut before, mut after) = (value, Vec::new(), Vec::new());
    while let Some(inside) = sequence_alone(inner) {
        inner = inside;
        while let [first, rest @ ..] = inner
            && (first.kind == Kind::Newline || is_inline(first))
        {
            before.extend(Some(*first).filter(is_inline));
            inner = rest;
        }
        while let [rest @ .., last] = inner
            && (last.kind == Kind::Newline || is_inline(last))
        {
            after.extend(Some(*last).filter(is_inline));
            inner = rest;
        }
    }
    // A heredoc needs the line end behind it, which the sequence gave.
    if inner.len() == value.len() || inner.iter().any(|token| token.kind == Kind::OpenHeredoc) {
        return None;
    }
    // Outside of a sequence a line end ends the value.
    let parentheses = inner.iter().any(Token::ends_line) && !is_in_parentheses(inner);
    before.extend(parentheses.then_some(Token::new(Kind::OpenParenthesis, "(")));
    before.extend_from_slice(inner);
    before.extend(parentheses.then_some(Token::new(Kind::CloseParenthesis, ")")));
    before.extend(after.into_iter().rev());
    Some(before)
}

/// Returns what is in the sequence when the value is a quoted text of one sequence and nothing else.
fn sequence_alone<'t, 'a>(value: &'t [Token<'a>]) -> Option<&'t [Token<'a>]> {
    let [open, sequence @ .., close] = value else { return None };
    let quoted = open.kind == Kind::OpenQuote && close.kind == Kind::CloseQuote;
    let first = sequence.first()?;
    if !quoted || !first.text.starts_with("${") || closing(sequence)? + 1 != sequence.len() {
        return None;
    }
    Some(&sequence[1..sequence.len() - 1])
}

/// Finds what closes the first token.
fn closing(tokens: &[Token<'_>]) -> Option<usize> {
    let mut depth = 0;
    tokens.iter().position(|token| {
        depth += token.depth_change();
        depth == 0
    })
}

fn is_in_parentheses(tokens: &[Token<'_>]) -> bool {
    tokens.first().is_some_and(|first| first.kind == Kind::OpenParenthesis)
        && closing(tokens).is_some_and(|at| at + 1 == tokens.len())
}

/// Writes out the type of a variable that is given as Terraform 0.11 did, or without its elements.
fn constraint<'a>(value: &[Token<'a>]) -> Option<Vec<Token<'a>>> {
    let (name, elements) = match value {
        [word] if matches!(word.text, "list" | "map" | "set") => (word.text, "any"),
        [open, text, _] if open.kind == Kind::OpenQuote => match text.text {
            "string" => return Some(vec![Token::new(Kind::Word, "string")]),
            "list" | "map" => (text.text, "string"),
            _ => return None,
        },
        _ => return None,
    };
    Some(vec![
        Token::new(Kind::Word, name),
        Token::new(Kind::OpenParenthesis, "("),
        Token::new(Kind::Word, elements),
        Token::new(Kind::CloseParenthesis, ")"),
    ])
}
