//! Blanks: indents of lines, blanks between tokens, columns of `=` and of trailing comments.
//!
//! ```text
//! name      = "value"  # why          cells of a line: lead, assignment, comment
//! ```
//! Changes nothing but blanks. A line here ends with a line end outside of texts, so that a heredoc is part of one.
//! Invariant: the blanks depend on the tokens alone, never on the blanks that were there.

use std::ops::Range;

use unicode_segmentation::UnicodeSegmentation as _;

use crate::style::spacing::Neighbours;
use crate::style::token::{Kind, Token};

/// Spaces for each open bracket.
const INDENT: usize = 2;

/// How much a run of lines may grow by being aligned, as a multiple of its own size.
const GROWTH_MAX: usize = 64;

/// Writes tokens in canonical layout.
pub(super) fn lay_out(tokens: &[Token<'_>]) -> String {
    let mut page = Page { tokens, blanks: vec![0; tokens.len()], lines: lines(tokens) };
    page.space();
    page.indent();
    page.align(|line| line.assignment.clone(), |line| line.lead.clone());
    page.align(|line| line.comment.clone(), |line| line.lead.start..line.assignment.end);
    let size: usize = tokens.iter().map(|token| token.text.len()).sum();
    let mut text = String::with_capacity(size + page.blanks.iter().sum::<usize>());
    for (token, blanks) in tokens.iter().zip(&page.blanks) {
        text.extend(std::iter::repeat_n(' ', *blanks));
        text.push_str(token.text);
    }
    text
}

/// Positions of a line's tokens; cells that are not there are empty.
struct Line {
    lead: Range<usize>,
    assignment: Range<usize>,
    comment: Range<usize>,
}

struct Page<'t, 'a> {
    tokens: &'t [Token<'a>],
    blanks: Vec<usize>,
    lines: Vec<Line>,
}

fn lines(tokens: &[Token<'_>]) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut start = 0;
    for (at, token) in tokens.iter().enumerate() {
        if token.ends_line() {
            // The end of the text belongs to no line.
            let end = if token.kind == Kind::End { at } else { at + 1 };
            if start < end {
                lines.push(line(tokens, start..end));
            }
            start = end;
        }
    }
    lines
}

fn line(tokens: &[Token<'_>], all: Range<usize>) -> Line {
    let commented = all.len() > 1 && tokens[all.end - 1].kind == Kind::Comment;
    let comment = all.end - usize::from(commented)..all.end;
    // What is assigned on several lines is not aligned: brackets stay open behind the `=`.
    let assign = (all.start + 1..comment.start).find(|at| tokens[*at].kind == Kind::Assign);
    let whole = |at: &usize| tokens[*at..comment.start].iter().map(Token::depth_change).sum::<isize>() == 0;
    let assignment = assign.filter(whole).unwrap_or(comment.start)..comment.start;
    Line { lead: all.start..assignment.start, assignment, comment }
}

impl Page<'_, '_> {
    /// Sets the blanks between tokens of one cell.
    fn space(&mut self) {
        let neighbours = Neighbours::new(self.tokens);
        for line in &self.lines {
            for cell in [line.lead.clone(), line.assignment.clone()] {
                for at in cell.start + 1..cell.end {
                    self.blanks[at] = usize::from(neighbours.blank_after(at - 1));
                }
            }
        }
    }

    /// Sets the blanks before lines.
    ///
    /// A line that opens brackets is one level, however many; a line that closes them takes back the levels that it closes
    /// whole, so that brackets that do not pair up within lines shift nothing too far.
    fn indent(&mut self) {
        let mut levels: Vec<usize> = Vec::new();
        for line in &self.lines {
            let first = line.lead.start;
            if self.tokens[first].kind == Kind::Newline {
                continue;
            }
            let tokens = &self.tokens[first..line.assignment.end];
            let net: isize = tokens.iter().map(Token::depth_change).sum();
            if net > 0 {
                self.blanks[first] = INDENT * levels.len();
                levels.push(net.unsigned_abs());
                continue;
            }
            close(&mut levels, net.unsigned_abs());
            self.blanks[first] = INDENT * levels.len();
        }
    }

    /// Brings a cell of neighbouring lines into one column, behind what stands before it.
    fn align(&mut self, cell: impl Fn(&Line) -> Range<usize>, before: impl Fn(&Line) -> Range<usize>) {
        let blanks = &mut self.blanks;
        for run in self.lines.chunk_by(|one, next| cell(one).is_empty() == cell(next).is_empty()) {
            if run.first().is_none_or(|line| cell(line).is_empty()) {
                continue;
            }
            let widths: Vec<usize> =
                run.iter().map(|line| width(self.tokens, blanks, before(line))).collect();
            let widest = widths.iter().copied().max().unwrap_or(0);
            let growth: usize = widths.iter().map(|width| widest - width).sum();
            let size: usize =
                run.iter().flat_map(|line| &self.tokens[before(line)]).map(|token| token.text.len()).sum();
            for (line, width) in run.iter().zip(widths) {
                blanks[cell(line).start] = if growth > GROWTH_MAX * size { 1 } else { 1 + widest - width };
            }
        }
    }
}

fn close(levels: &mut Vec<usize>, mut closed: usize) {
    while closed > 0
        && let Some(level) = levels.last_mut()
    {
        if closed < *level {
            *level -= closed;
            return;
        }
        closed -= *level;
        levels.pop();
    }
}

/// Columns of tokens with their blanks; what people see as one character is one column.
fn width(tokens: &[Token<'_>], blanks: &[usize], range: Range<usize>) -> usize {
    let columns = |text: &str| if text.is_ascii() { text.len() } else { text.graphemes(true).count() };
    tokens[range.clone()].iter().zip(&blanks[range]).map(|(token, blank)| blank + columns(token.text)).sum()
}
