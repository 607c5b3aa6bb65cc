//! What a block of each kind may say, as the code that reads it asks for it.
//!
//! Nothing is listed twice: each kind's own reader runs over an empty body and what it asks for is noted. Only what words
//! cannot be read from code, what an attribute is for, stands in `about`.
//! Invariant: an attribute, block or refusal that the reader knows is in the outline, with a description.

use std::collections::BTreeMap;

use lustre_language::{Block, Body};
use lustre_model::address::Address;
use lustre_model::diagnostic::{Diagnostics, SourceId, Span};
use lustre_model::resource::Kind;
use lustre_model::types::Type;

use super::about::about;
use super::reader::{Evaluation, Reader};
use super::{Decoded, read};

/// What a body may say.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct BlockOutline {
    /// Attributes that are set in the spec.
    pub attributes: BTreeMap<&'static str, AttributeOutline>,
    /// Nested blocks.
    pub blocks: BTreeMap<&'static str, NestedOutline>,
    /// Names that are refused, with the reason.
    pub refused: BTreeMap<&'static str, String>,
}

/// One attribute.
#[derive(Debug, Clone, PartialEq)]
pub struct AttributeOutline {
    /// What is accepted; `any` where the value decides.
    pub kind: Type,
    /// Whether it has to be there.
    pub required: bool,
    /// The words that are accepted, the default first; empty when any text is.
    pub words: Vec<String>,
    /// The least and the greatest number.
    pub range: Option<(i64, i64)>,
    /// The kind of resource that it names.
    pub reference: Option<Kind>,
    /// What it is for: a sentence.
    pub about: &'static str,
}

/// A nested block.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct NestedOutline {
    /// Whether it has to be there.
    pub required: bool,
    /// What it may say.
    pub block: BlockOutline,
    /// What it is for: a sentence.
    pub about: &'static str,
}

impl Default for AttributeOutline {
    fn default() -> Self {
        Self { kind: Type::Any, required: false, words: Vec::new(), range: None, reference: None, about: "" }
    }
}

impl BlockOutline {
    /// Takes what was asked for in a nested block.
    pub(super) fn nest(&mut self, what: &str, inside: Self) {
        let name = what.strip_suffix(" block").unwrap_or(what);
        if let Some(nested) = self.blocks.get_mut(name) {
            nested.block = inside;
        }
    }

    fn describe(&mut self, path: &str) {
        for (name, attribute) in &mut self.attributes {
            attribute.about = about(&format!("{path}.{name}"));
        }
        for (name, nested) in &mut self.blocks {
            let path = format!("{path}.{name}");
            nested.about = about(&path);
            nested.block.describe(&path);
        }
    }
}

/// Returns what a block of a kind may say, besides what every block may: `for_each`, `count`, `depends_on`, `lifecycle`.
pub fn outline(kind: Kind) -> BlockOutline {
    let span = Span::new(SourceId(0), 0..0);
    let body = Body { attributes: Default::default(), blocks: Vec::new(), span };
    let nested = Block { kind: String::new(), labels: Vec::new(), body: body.clone(), span };
    let (address, decoded, mut found) =
        (Address::new(kind.name(), "outline"), Decoded::new(), Diagnostics::new());
    let reader = Reader::new((&address, kind.name()), (&body, Evaluation::Complete), &decoded, &mut found);
    let mut reader = reader.sketching(&nested);
    read(kind, &mut reader);
    let mut outline = reader.sketched();
    outline.describe(kind.name());
    outline
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::about::ABOUT;

    fn paths(path: &str, outline: &BlockOutline, into: &mut Vec<String>) {
        into.extend(outline.attributes.keys().map(|name| format!("{path}.{name}")));
        for (name, nested) in &outline.blocks {
            let path = format!("{path}.{name}");
            into.push(path.clone());
            paths(&path, &nested.block, into);
        }
    }

    #[test]
    fn what_readers_ask_for_is_described_and_nothing_else_is() {
        let mut asked = Vec::new();
        for kind in Kind::BLOCKS {
            paths(kind.name(), &outline(kind), &mut asked);
        }
        let described: Vec<String> = ABOUT.iter().map(|(path, _)| (*path).to_owned()).collect();
        let missing: Vec<&String> = asked.iter().filter(|path| !described.contains(path)).collect();
        let stale: Vec<&String> = described.iter().filter(|path| !asked.contains(path)).collect();
        assert!(missing.is_empty() && stale.is_empty(), "missing: {missing:?}, stale: {stale:?}");
    }

    #[test]
    fn an_outline_has_types_words_ranges_references_and_refusals() {
        let cluster = outline(Kind::Cluster);
        assert_eq!(cluster.attributes["data_compression_type"].words, ["NONE", "LZ4"]);
        assert!(cluster.refused.contains_key("kms_key_id"));
        let storage = &cluster.blocks["storage"];
        assert!(storage.required && storage.block.attributes["path"].required);
        let component = &cluster.blocks["layout"].block.blocks["component"].block;
        assert_eq!(component.attributes["stripe_count"].range, Some((-1, 2000)));
        let mount = outline(Kind::Mount);
        assert_eq!(mount.attributes["cluster"].reference, Some(Kind::Cluster));
        assert_eq!(mount.attributes["options"].kind, Type::list(Type::String));
    }
}
