//! Styles of the planner's text as colours of a terminal.

use anstyle::{AnsiColor, Style as Ansi};
use lustre_plan::render::{Style, Styled};

use crate::terminal::paint;

/// Returns the text, coloured when that is wanted.
pub fn draw(text: &Styled, colour: bool) -> String {
    text.pieces.iter().map(|piece| paint(colour, ansi(piece.style), &piece.text)).collect()
}

fn ansi(style: Style) -> Ansi {
    match style {
        Style::Plain => Ansi::new(),
        Style::Heading => Ansi::new().bold(),
        Style::Add => AnsiColor::Green.on_default(),
        Style::Change => AnsiColor::Yellow.on_default(),
        Style::Remove => AnsiColor::Red.on_default(),
        Style::Dim => Ansi::new().dimmed(),
        Style::Danger => AnsiColor::Red.on_default().bold().invert(),
    }
}
