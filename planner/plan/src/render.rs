//! A plan as people and other programs read it. Pure: text goes out, nothing is printed.
//!
//! [`text`] is Terraform's way of showing changes, with styles instead of colours; [`json`] is Terraform's JSON; [`markdown`]
//! is a comment for a pull request.
//! Invariant: no sensitive value is in any of them.

pub mod json;
pub mod literal;
pub mod markdown;
pub mod text;

/// What a piece of text means; whoever prints it picks the colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Nothing special.
    Plain,
    /// A heading.
    Heading,
    /// Something comes.
    Add,
    /// Something changes.
    Change,
    /// Something goes.
    Remove,
    /// Less important.
    Dim,
    /// Bytes would go.
    Danger,
}

/// A piece of text with one meaning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// What it means.
    pub style: Style,
    /// The text; may hold line ends.
    pub text: String,
}

/// Text in pieces.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Styled {
    /// In order.
    pub pieces: Vec<Piece>,
}

impl Styled {
    /// Adds a piece.
    pub fn push(&mut self, style: Style, text: impl Into<String>) {
        self.pieces.push(Piece { style, text: text.into() });
    }

    /// Returns the text without its styles.
    pub fn plain(&self) -> String {
        self.pieces.iter().map(|piece| piece.text.as_str()).collect()
    }
}
