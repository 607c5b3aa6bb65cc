//! Reads the attributes and blocks of one body, and notes everything that is wrong with it.
//!
//! Every name that is asked for is known from then on; [`Reader::finish`] refuses the rest.
//! Invariant: a method that returns `None` for something that is there has said why.

use std::collections::BTreeSet;

use lustre_language::{Attribute, Block, Body, nearest};
use lustre_model::address::Address;
use lustre_model::diagnostic::{Diagnostic, Diagnostics, Span};
use lustre_model::resource::{Attributes, Kind};
use lustre_model::types::Type;
use lustre_model::value::Value;

use super::Decoded;
use super::outline::{AttributeOutline, BlockOutline};

/// Whether an attribute or block has to be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// It has to.
    Required,
    /// It need not.
    Optional,
}

/// Whether a body could be evaluated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Evaluation {
    /// All of it; what is unknown will be known after apply.
    Complete,
    /// Not all of it, which was reported; what is unknown may be what failed.
    Partial,
}

/// A body being read.
pub struct Reader<'a> {
    address: &'a Address,
    /// What the body is of, for messages: `cluster`, `storage block`.
    what: &'a str,
    body: &'a Body,
    evaluation: Evaluation,
    decoded: &'a Decoded,
    found: &'a mut Diagnostics,
    names: BTreeSet<&'static str>,
    blocks: BTreeSet<&'static str>,
    /// Names that are refused: a reason was given.
    refused: BTreeSet<&'static str>,
    /// Present when nothing is read but what would be: what was asked for, and an empty block for every nested one.
    sketch: Option<(BlockOutline, &'a Block)>,
}

impl<'a> Reader<'a> {
    /// Starts to read a body.
    pub fn new(
        (address, what): (&'a Address, &'a str),
        (body, evaluation): (&'a Body, Evaluation),
        decoded: &'a Decoded,
        found: &'a mut Diagnostics,
    ) -> Self {
        let (names, blocks, refused) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        Self { address, what, body, evaluation, decoded, found, names, blocks, refused, sketch: None }
    }

    /// Notes from now on what is asked for; `block` is an empty one that stands for every nested block.
    pub fn sketching(mut self, block: &'a Block) -> Self {
        self.sketch = Some((BlockOutline::default(), block));
        self
    }

    /// Returns what was asked for since [`Reader::sketching`].
    pub fn sketched(self) -> BlockOutline {
        self.sketch.map(|(outline, _)| outline).unwrap_or_default()
    }

    fn note(&mut self, name: &'static str, refine: impl FnOnce(&mut AttributeOutline)) {
        if let Some((outline, _)) = &mut self.sketch {
            refine(outline.attributes.entry(name).or_default());
        }
    }

    /// Returns the address of the resource that the body belongs to.
    pub fn address(&self) -> &'a Address {
        self.address
    }

    /// Refuses an attribute or block of that name, with the reason.
    pub fn refuse(&mut self, name: &'static str, reason: &str) {
        self.refused.insert(name);
        if let Some((outline, _)) = &mut self.sketch {
            outline.refused.insert(name, reason.to_owned());
        }
        let attribute = self.body.attributes.get(name).map(|attribute| attribute.name_span);
        let blocks = self.body.blocks.iter().filter(|block| block.kind == name).map(|block| block.span);
        for span in attribute.into_iter().chain(blocks).collect::<Vec<_>>() {
            let summary = format!("`{name}` of a {} is not supported", self.what);
            self.push(Diagnostic::error("E0806", summary).detail(reason).at(span));
        }
    }

    /// Returns an attribute that is there and not null, without converting it.
    pub fn attribute(&mut self, name: &'static str, need: Need) -> Option<&'a Attribute> {
        self.names.insert(name);
        self.note(name, |attribute| attribute.required |= need == Need::Required);
        let attribute = self.body.attributes.get(name).filter(|attribute| !attribute.value.is_null());
        if attribute.is_none() && need == Need::Required {
            let span = self.body.attributes.get(name).map_or(self.body.span, |attribute| attribute.span);
            let summary = format!("a {} needs `{name}`", self.what);
            self.push(Diagnostic::error("E0803", summary).at(span));
        }
        attribute
    }

    /// Returns an attribute as a value of that type, perhaps unknown, with its place.
    pub fn typed(&mut self, name: &'static str, wanted: &Type, need: Need) -> Option<(Value, Span)> {
        self.note(name, |attribute| attribute.kind = wanted.clone());
        let attribute = self.attribute(name, need)?;
        match attribute.value.convert(wanted) {
            Ok(value) => Some((value, attribute.span)),
            Err(error) => {
                let summary = format!("`{name}` of a {} has the wrong type", self.what);
                let detail = format!("`{name}` {}: {error}.", attribute.value.statement());
                self.push(Diagnostic::error("E0804", summary).detail(detail).at(attribute.span));
                None
            }
        }
    }

    /// Returns a text as a value, checked by `check` when it is known.
    pub fn text(
        &mut self,
        name: &'static str,
        need: Need,
        check: impl Fn(&str) -> Result<(), String>,
    ) -> Option<Value> {
        self.note(name, |attribute| attribute.kind = Type::String);
        let (value, span) = self.typed(name, &Type::String, need)?;
        match value.as_str().map(check) {
            Some(Err(reason)) => self.invalid(name, &value, (&reason, span)),
            Some(Ok(())) | None => Some(value),
        }
    }

    /// Returns one of some words as a value, the first when nothing is given; others are refused with their reason.
    pub fn word(&mut self, name: &'static str, words: &[&str], refused: &[(&str, &str)]) -> Option<Value> {
        let default = words.first().copied().unwrap_or_default();
        self.note(name, |attribute| {
            attribute.kind = Type::String;
            attribute.words = words.iter().map(|word| (*word).to_owned()).collect();
        });
        if self.attribute(name, Need::Optional).is_none() {
            return Some(Value::from(default));
        }
        let check = |text: &str| {
            if words.contains(&text) {
                return Ok(());
            }
            if let Some((_, reason)) = refused.iter().find(|(word, _)| *word == text) {
                return Err((*reason).to_owned());
            }
            let hint = nearest(text, words.iter().copied());
            let hint = hint.map(|word| format!(" Did you mean {word}?")).unwrap_or_default();
            Err(format!("It is one of {}.{hint}", words.join(", ")))
        };
        self.text(name, Need::Optional, check)
    }

    /// Returns a whole number within a range, as a value.
    pub fn number(
        &mut self,
        name: &'static str,
        need: Need,
        range: std::ops::RangeInclusive<i64>,
    ) -> Option<Value> {
        self.note(name, |attribute| attribute.range = Some((*range.start(), *range.end())));
        let (value, span) = self.typed(name, &Type::Number, need)?;
        let Some(number) = value.as_number() else { return Some(value) };
        if number.to_i64().is_some_and(|number| range.contains(&number)) {
            return Some(value);
        }
        let reason = format!("It is a whole number from {} to {}.", range.start(), range.end());
        self.invalid(name, &value, (&reason, span))
    }

    /// Returns a truth value, with a default.
    pub fn flag(&mut self, name: &'static str, default: bool) -> Option<Value> {
        self.note(name, |attribute| attribute.kind = Type::Bool);
        if self.attribute(name, Need::Optional).is_none() {
            return Some(Value::from(default));
        }
        self.typed(name, &Type::Bool, Need::Optional).map(|(value, _)| value)
    }

    /// Returns the resource that an attribute names: one object of that kind.
    pub fn reference(&mut self, name: &'static str, kind: Kind) -> Option<(Address, &'a Attributes)> {
        self.note(name, |attribute| attribute.reference = Some(kind));
        let attribute = self.attribute(name, Need::Required)?;
        self.resource(name, kind, (&attribute.value, attribute.span))
    }

    /// Returns the object that a value is, when it is a resource of that kind.
    pub fn resource(
        &mut self,
        name: &'static str,
        kind: Kind,
        (value, span): (&Value, Span),
    ) -> Option<(Address, &'a Attributes)> {
        let found = value.resource().and_then(|address| Some((address, self.decoded.get(address)?)));
        if let Some((address, (_, attributes))) = found.filter(|(_, (decoded, _))| *decoded == kind) {
            return Some((address.clone(), attributes));
        }
        if self.failed_before(value) {
            return None;
        }
        let summary = format!("`{name}` of a {} must be a {kind}", self.what);
        let detail = format!("`{name}` {}.", value.statement());
        let hint =
            format!("Write `{name} = {kind}.<name>`, without quotes and without an attribute behind it.");
        self.push(Diagnostic::error("E0808", summary).detail(detail).hint(hint).at(span));
        None
    }

    /// Returns what must be known now, because the plan itself depends on it.
    pub fn known(&mut self, name: &str, (value, span): (Value, Span)) -> Option<(Value, Span)> {
        if value.is_wholly_known() {
            return Some((value, span));
        }
        if self.failed_before(&value) {
            return None;
        }
        let summary = format!("`{name}` of a {} must be known at plan", self.what);
        let detail =
            format!("The number and place of objects depend on `{name}`, and it is known only after apply.");
        self.push(Diagnostic::error("E0809", summary).detail(detail).at(span));
        None
    }

    /// Returns all blocks of a name.
    pub fn blocks(&mut self, name: &'static str) -> Vec<&'a Block> {
        self.blocks.insert(name);
        if let Some((outline, block)) = &mut self.sketch {
            outline.blocks.entry(name).or_default();
            return vec![*block];
        }
        self.body.blocks.iter().filter(|block| block.kind == name).collect()
    }

    /// Returns the one block of a name.
    pub fn block(&mut self, name: &'static str, need: Need) -> Option<&'a Block> {
        let blocks = self.blocks(name);
        if let Some((outline, _)) = &mut self.sketch {
            outline.blocks.entry(name).or_default().required = need == Need::Required;
        }
        if blocks.is_empty() && need == Need::Required {
            let summary = format!("a {} needs a `{name}` block", self.what);
            self.push(Diagnostic::error("E0803", summary).at(self.body.span));
        }
        let first = *blocks.first()?;
        for block in &blocks[1..] {
            let summary = format!("a {} has one `{name}` block", self.what);
            let diagnostic = Diagnostic::error("E0802", summary).at(block.span);
            self.push(diagnostic.related(first.span, "the first is here"));
        }
        Some(first)
    }

    /// Reads a nested body with its own names.
    pub fn nested<T>(&mut self, what: &str, block: &Block, read: impl FnOnce(&mut Reader<'_>) -> T) -> T {
        let evaluation = self.evaluation;
        let empty = self.sketch.as_ref().map(|(_, empty)| *empty);
        let mut reader =
            Reader::new((self.address, what), (&block.body, evaluation), self.decoded, self.found);
        if let Some(empty) = empty {
            reader = reader.sketching(empty);
        }
        for label in &block.labels {
            let summary = format!("a {what} has no label");
            reader.push(Diagnostic::error("E0802", summary).at(label.span));
        }
        let outcome = read(&mut reader);
        match empty {
            Some(_) => {
                let inside = reader.sketched();
                if let Some((outline, _)) = &mut self.sketch {
                    outline.nest(what, inside);
                }
            }
            None => reader.finish(),
        }
        outcome
    }

    /// Notes that a value is not what it has to be.
    pub fn invalid<T>(&mut self, name: &str, value: &Value, (reason, span): (&str, Span)) -> Option<T> {
        let summary = format!("`{name}` of a {} is not valid", self.what);
        let detail = format!("`{name}` {}. {reason}", value.statement());
        self.push(Diagnostic::error("E0805", summary).detail(detail).at(span));
        None
    }

    /// Tells whether a value is unknown because its evaluation failed, which was reported.
    fn failed_before(&self, value: &Value) -> bool {
        self.evaluation == Evaluation::Partial && !value.is_wholly_known()
    }

    /// Returns the body's place.
    pub fn span(&self) -> Span {
        self.body.span
    }

    /// Adds a diagnostic, naming the instance when the place alone does not say which.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        let instance = self.address.is_one_of_many();
        let named = if instance { diagnostic.instance(self.address.clone()) } else { diagnostic };
        self.found.push(named);
    }

    /// Refuses what nobody asked for.
    pub fn finish(mut self) {
        let names: Vec<&str> = self.names.iter().chain(&self.blocks).copied().collect();
        let mut unknown = Vec::new();
        for (name, attribute) in &self.body.attributes {
            if !self.names.contains(name.as_str()) && !self.refused.contains(name.as_str()) {
                unknown.push(("E0801", "attribute", name.as_str(), attribute.name_span));
            }
        }
        for block in &self.body.blocks {
            if !self.blocks.contains(block.kind.as_str()) && !self.refused.contains(block.kind.as_str()) {
                unknown.push(("E0802", "block", block.kind.as_str(), block.span));
            }
        }
        for (code, noun, name, span) in unknown {
            let diagnostic =
                Diagnostic::error(code, format!("a {} has no {noun} `{name}`", self.what)).at(span);
            let other =
                if noun == "attribute" { self.blocks.contains(name) } else { self.names.contains(name) };
            let hint = match (other, nearest(name, names.iter().copied())) {
                (true, _) if noun == "attribute" => {
                    Some(format!("`{name}` is a block: write `{name} {{ … }}`."))
                }
                (true, _) => Some(format!("`{name}` is an attribute: write `{name} = …`.")),
                (false, Some(near)) => Some(format!("Did you mean `{near}`?")),
                (false, None) => Some(format!("It has: {}.", names.join(", "))),
            };
            let hinted = match hint {
                Some(hint) if !names.is_empty() => diagnostic.hint(hint),
                Some(_) | None => diagnostic,
            };
            self.push(hinted);
        }
    }
}

/// Puts values under their names, leaving out what is not there.
pub fn attributes<const N: usize>(values: [(&str, Option<Value>); N]) -> Attributes {
    let present = values.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    present.filter(|(_, value)| !value.is_null()).collect()
}

/// Accepts every text.
pub fn any(_: &str) -> Result<(), String> {
    Ok(())
}

/// Accepts an absolute path in its only spelling.
pub fn absolute_path(text: &str) -> Result<(), String> {
    let plain = text.strip_prefix('/').is_some_and(|rest| {
        let parts = || rest.split('/');
        !rest.is_empty()
            && parts().all(|part| !part.is_empty() && part != "." && part != ".." && part.len() <= 255)
    });
    let printable = !text.chars().any(char::is_control);
    if plain && printable && text.len() < 4096 {
        return Ok(());
    }
    Err("It is an absolute path such as /srv/data, without `.`, `..`, `//` and a slash at the end."
        .to_owned())
}
