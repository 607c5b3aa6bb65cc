//! Evaluated bodies: what a resource's block says, as values with places.
//!
//! This is what a typed spec is decoded from. `dynamic` blocks have become the blocks they stand for; meta-arguments
//! are gone. Which attributes and blocks are right is not known here.
//! Invariant: an attribute that failed is here as an unknown value, so that its absence is not reported too.

use indexmap::IndexMap;
use lustre_model::address::Address;
use lustre_model::diagnostic::Span;
use lustre_model::value::Value;

pub use crate::syntax::Label;

/// Attributes and blocks.
#[derive(Debug, Clone, PartialEq)]
pub struct Body {
    /// Attributes in the order of the text.
    pub attributes: IndexMap<String, Attribute>,
    /// Blocks in the order of the text.
    pub blocks: Vec<Block>,
    /// Where it is.
    pub span: Span,
}

/// An attribute.
#[derive(Debug, Clone, PartialEq)]
pub struct Attribute {
    /// Its value; unknown when it failed.
    pub value: Value,
    /// Where the value is.
    pub span: Span,
    /// Where the name is.
    pub name_span: Span,
}

/// A nested block.
#[derive(Debug, Clone, PartialEq)]
pub struct Block {
    /// Its type.
    pub kind: String,
    /// Its labels.
    pub labels: Vec<Label>,
    /// What is inside.
    pub body: Body,
    /// Where type and labels are.
    pub span: Span,
}

impl Body {
    /// Returns the blocks of a type.
    pub fn blocks_of<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Block> {
        self.blocks.iter().filter(move |block| block.kind == kind)
    }
}

/// What `lifecycle` says for one instance.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Lifecycle {
    /// Whether destroying is refused; none when it does not say.
    pub prevent_destroy: Option<bool>,
    /// Whether a replacement is created before the old one goes.
    pub create_before_destroy: bool,
    /// Arguments and blocks whose changes are ignored.
    pub ignore_changes: Vec<(String, Span)>,
    /// All changes are ignored.
    pub ignore_all: bool,
    /// Changes of these replace this; with the attribute that matters, if one does.
    pub replace_triggered_by: Vec<(Address, Option<String>)>,
}

/// A resource instance, evaluated.
#[derive(Debug, Clone, PartialEq)]
pub struct Evaluated {
    /// What its block says.
    pub body: Body,
    /// What its `lifecycle` says.
    pub lifecycle: Lifecycle,
    /// Whether everything could be evaluated; if not, that was reported, here or where it comes from.
    pub complete: bool,
}
