//! Addresses: names of resource instances, and of the parts a resource is lowered into.
//!
//! ```text
//! host.here                                     a resource, or its only instance
//! host.oss["a"]   mount.login[0]                an instance of for_each, of count
//! module.lab["x"].cluster.scratch               inside a module instance
//! cluster.scratch.target["scratch-OST0003"]     a part of a cluster, made by the planner
//! data.cluster.other                            data; its kind is `data.cluster`
//! ```
//! An address is a name only; whether anything is there is not its business. It is the key of everything that a plan
//! knows about an object: a copy shares its words with the original, and two are compared as one run of bytes.
//! Invariant: printing and parsing are inverse, and identifiers inside are never empty.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Most characters of an address that is parsed.
pub const ADDRESS_LENGTH_MAX: usize = 64 << 10;

/// Which instance of a block that has `for_each` or `count`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// Of `count`.
    Index(u64),
    /// Of `for_each`.
    Name(String),
}

/// One `module.name[key]` in front of an address.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ModuleStep {
    /// Label of the module block.
    pub name: String,
    /// Its instance.
    pub key: Option<Key>,
}

/// One `.kind["name"]` behind an address.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Part {
    /// What the part is: `target`, `agent`.
    pub kind: String,
    /// Which one.
    pub name: String,
}

/// Kind of the part that an object becomes whose replacement is created before it goes.
pub const DEPOSED: &str = "deposed";

/// Names a resource instance or a part of one. Copying costs a counter.
#[derive(Debug, Clone)]
pub struct Address(Arc<Named>);

#[derive(Debug)]
struct Named {
    words: Words,
    /// Bytes in the order of the words; equal where those are.
    order: Box<[u8]>,
}

/// What an address is made of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Words {
    /// Modules from the outermost in; empty in the root.
    pub modules: Vec<ModuleStep>,
    /// Type of the resource, `host`.
    pub kind: String,
    /// Its label.
    pub name: String,
    /// Its instance.
    pub key: Option<Key>,
    /// Parts from the outermost in; empty for the resource itself.
    pub parts: Vec<Part>,
}

/// Why a text is no address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Something else was expected there.
    #[error("expected {expected} at character {at} of address `{text}`")]
    Unexpected {
        /// What would have been right.
        expected: &'static str,
        /// Where, from 1.
        at: usize,
        /// The whole text.
        text: String,
    },
    /// Longer than [`ADDRESS_LENGTH_MAX`].
    #[error("an address has at most {ADDRESS_LENGTH_MAX} characters")]
    TooLong,
}

impl Address {
    /// Names a resource of the root module, without an instance key.
    pub fn new(kind: impl Into<String>, name: impl Into<String>) -> Self {
        let (kind, name) = (kind.into(), name.into());
        Words { modules: Vec::new(), kind, name, key: None, parts: Vec::new() }.into()
    }

    /// Returns the same name inside these modules.
    #[must_use]
    pub fn with_modules(self, modules: Vec<ModuleStep>) -> Self {
        if self.modules == modules { self } else { Words { modules, ..self.into_words() }.into() }
    }

    /// Returns the instance with that key.
    #[must_use]
    pub fn with_key(self, key: Option<Key>) -> Self {
        if self.key == key { self } else { Words { key, ..self.into_words() }.into() }
    }

    /// Returns the address of a part of this.
    #[must_use]
    pub fn part(self, kind: impl Into<String>, name: impl Into<String>) -> Self {
        let mut words = self.into_words();
        words.parts.push(Part { kind: kind.into(), name: name.into() });
        words.into()
    }

    /// Returns this with other parts behind it.
    #[must_use]
    pub fn with_parts(self, parts: Vec<Part>) -> Self {
        if self.parts == parts { self } else { Words { parts, ..self.into_words() }.into() }
    }

    /// Returns the address of the whole that this is a part of; itself when it is no part.
    #[must_use]
    pub fn whole(&self) -> Self {
        self.clone().with_parts(Vec::new())
    }

    /// Returns whether it is that of an object which is being replaced.
    pub fn is_deposed(&self) -> bool {
        self.parts.last().is_some_and(|part| part.kind == DEPOSED)
    }

    /// Returns the address of the block, without instance key and parts.
    #[must_use]
    pub fn block(&self) -> Self {
        self.whole().with_key(None)
    }

    /// Returns the address of the module instance that it lies in, `module.lab["x"]`; empty in the root.
    pub fn module_path(&self) -> String {
        let steps: Vec<String> = self.modules.iter().map(ModuleStep::to_string).collect();
        steps.join(".")
    }

    /// Returns whether the text of the spec does not say which instance this is: it or a module around it has a key.
    pub fn is_one_of_many(&self) -> bool {
        self.key.is_some() || self.modules.iter().any(|step| step.key.is_some())
    }

    /// Returns whether `other` is this, an instance of this block, or a part of it.
    pub fn covers(&self, other: &Self) -> bool {
        self.modules == other.modules
            && (&self.kind, &self.name) == (&other.kind, &other.name)
            && (self.key == other.key || (self.key.is_none() && self.parts.is_empty()))
            && other.parts.starts_with(&self.parts)
    }

    fn into_words(self) -> Words {
        Arc::try_unwrap(self.0).map_or_else(|shared| shared.words.clone(), |own| own.words)
    }
}

impl Words {
    /// Bytes that compare as the words do, field by field.
    fn order(&self) -> Box<[u8]> {
        let mut order = Vec::with_capacity(self.kind.len() + self.name.len() + ORDER_MORE);
        for ModuleStep { name, key } in &self.modules {
            order.push(NEXT);
            put_text(&mut order, name);
            put_key(&mut order, key.as_ref());
        }
        order.push(LAST);
        put_text(&mut order, &self.kind);
        put_text(&mut order, &self.name);
        put_key(&mut order, self.key.as_ref());
        for Part { kind, name } in &self.parts {
            order.push(NEXT);
            put_text(&mut order, kind);
            put_text(&mut order, name);
        }
        order.push(LAST);
        order.into()
    }
}

/// Room that an order has beyond kind and name; most addresses have no more.
const ORDER_MORE: usize = 24;

/// Before the next of a list, and behind its last: a list that ends comes before one that goes on.
const NEXT: u8 = 1;
const LAST: u8 = 0;

/// Ends a text; a zero inside of one is followed by something greater.
const TEXT_END: [u8; 2] = [0, 1];
const ZERO_INSIDE: [u8; 2] = [0, 2];

fn put_text(order: &mut Vec<u8>, text: &str) {
    let mut parts = text.as_bytes().split(|byte| *byte == 0);
    order.extend_from_slice(parts.next().unwrap_or_default());
    for part in parts {
        order.extend_from_slice(&ZERO_INSIDE);
        order.extend_from_slice(part);
    }
    order.extend_from_slice(&TEXT_END);
}

fn put_key(order: &mut Vec<u8>, key: Option<&Key>) {
    match key {
        None => order.push(0),
        Some(Key::Index(index)) => {
            order.push(1);
            order.extend_from_slice(&index.to_be_bytes());
        }
        Some(Key::Name(name)) => {
            order.push(2);
            put_text(order, name);
        }
    }
}

impl From<Words> for Address {
    fn from(words: Words) -> Self {
        let order = words.order();
        Self(Arc::new(Named { words, order }))
    }
}

impl Deref for Address {
    type Target = Words;

    fn deref(&self) -> &Words {
        &self.0.words
    }
}

impl PartialEq for Address {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0.order == other.0.order
    }
}

impl Eq for Address {}

impl PartialOrd for Address {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Address {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.order.cmp(&other.0.order)
    }
}

impl Hash for Address {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.order.hash(state);
    }
}

/// Returns whether HCL takes the text as an identifier.
pub fn is_identifier(text: &str) -> bool {
    let mut letters = text.chars();
    letters.next().is_some_and(|first| first.is_alphabetic() || first == '_')
        && letters.all(|letter| letter.is_alphanumeric() || letter == '_' || letter == '-')
}

/// Writes a text as an HCL string literal, quotes included.
pub fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '$' | '%' if letters.peek() == Some(&'{') => quoted.extend([letter, letter]),
            control if control.is_control() => quoted.push_str(&format!("\\u{:04x}", u32::from(control))),
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Index(index) => write!(f, "[{index}]"),
            Self::Name(name) => write!(f, "[{}]", quote(name)),
        }
    }
}

impl fmt::Display for ModuleStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "module.{}", self.name)?;
        self.key.iter().try_for_each(|key| write!(f, "{key}"))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.modules.iter().try_for_each(|step| write!(f, "{step}."))?;
        write!(f, "{}.{}", self.kind, self.name)?;
        self.key.iter().try_for_each(|key| write!(f, "{key}"))?;
        self.parts.iter().try_for_each(|part| write!(f, ".{}[{}]", part.kind, quote(&part.name)))
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        if text.len() > ADDRESS_LENGTH_MAX {
            return Err(AddressError::TooLong);
        }
        let mut reader = Reader { text, at: 0 };
        let mut modules = Vec::new();
        let mut kind = reader.identifier()?;
        while kind == "module" {
            reader.expect('.', "`.`")?;
            let name = reader.identifier()?;
            let key = reader.key()?;
            modules.push(ModuleStep { name, key });
            reader.expect('.', "`.`")?;
            kind = reader.identifier()?;
        }
        reader.expect('.', "`.`")?;
        if kind == "data" {
            kind = format!("data.{}", reader.identifier()?);
            reader.expect('.', "`.`")?;
        }
        let name = reader.identifier()?;
        let key = reader.key()?;
        let mut parts = Vec::new();
        while reader.accept('.') {
            let kind = reader.identifier()?;
            match reader.key()? {
                Some(Key::Name(name)) => parts.push(Part { kind, name }),
                Some(Key::Index(_)) | None => return Err(reader.unexpected("a name in `[\"…\"]`")),
            }
        }
        if reader.at < text.len() {
            return Err(reader.unexpected("the end"));
        }
        Ok(Words { modules, kind, name, key, parts }.into())
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl Reader<'_> {
    fn rest(&self) -> &str {
        self.text.get(self.at..).unwrap_or("")
    }

    fn unexpected(&self, expected: &'static str) -> AddressError {
        let at = self.text.get(..self.at).map_or(self.at, |before| before.chars().count()) + 1;
        AddressError::Unexpected { expected, at, text: self.text.to_owned() }
    }

    fn accept(&mut self, wanted: char) -> bool {
        let found = self.rest().starts_with(wanted);
        if found {
            self.at += wanted.len_utf8();
        }
        found
    }

    fn expect(&mut self, wanted: char, name: &'static str) -> Result<(), AddressError> {
        if self.accept(wanted) { Ok(()) } else { Err(self.unexpected(name)) }
    }

    fn identifier(&mut self) -> Result<String, AddressError> {
        let rest = self.rest();
        let end = rest.find(['.', '[', ']', '"']).unwrap_or(rest.len());
        let word = rest[..end].to_owned();
        if !is_identifier(&word) {
            return Err(self.unexpected("a name"));
        }
        self.at += end;
        Ok(word)
    }

    fn key(&mut self) -> Result<Option<Key>, AddressError> {
        if !self.accept('[') {
            return Ok(None);
        }
        let key = if self.accept('"') { Key::Name(self.string()?) } else { Key::Index(self.index()?) };
        self.expect(']', "`]`")?;
        Ok(Some(key))
    }

    fn index(&mut self) -> Result<u64, AddressError> {
        let rest = self.rest();
        let digits = rest.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(rest.len());
        // `007` would print as `7`, so it is not taken: addresses have one spelling.
        let plain = digits == 1 || !rest.starts_with('0');
        let index = rest[..digits].parse().ok().filter(|_| plain);
        let index = index.ok_or_else(|| self.unexpected("a number or a string"))?;
        self.at += digits;
        Ok(index)
    }

    fn string(&mut self) -> Result<String, AddressError> {
        let mut value = String::new();
        loop {
            let Some(letter) = self.rest().chars().next() else { return Err(self.unexpected("`\"`")) };
            let doubled = matches!(letter, '$' | '%') && self.rest()[1..].starts_with(&format!("{letter}{{"));
            self.at += letter.len_utf8() + usize::from(doubled);
            match letter {
                '"' => return Ok(value),
                '\\' => value.push(self.escape()?),
                other => value.push(other),
            }
        }
    }

    fn escape(&mut self) -> Result<char, AddressError> {
        let Some(letter) = self.rest().chars().next() else { return Err(self.unexpected("an escape")) };
        self.at += letter.len_utf8();
        match letter {
            '"' | '\\' => Ok(letter),
            'n' => Ok('\n'),
            'r' => Ok('\r'),
            't' => Ok('\t'),
            'u' => {
                let digits = self.rest().get(..4).unwrap_or("");
                let code = u32::from_str_radix(digits, 16).ok().and_then(char::from_u32);
                let code = code.ok_or_else(|| self.unexpected("four hexadecimal digits"))?;
                self.at += 4;
                Ok(code)
            }
            _ => Err(self.unexpected("an escape")),
        }
    }
}

impl Serialize for Address {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{Strategy, any, prop, prop_assert_eq, proptest};

    use super::*;

    #[test]
    fn addresses_print_as_they_are_written() {
        for text in [
            "host.here",
            "host.oss[\"a\"]",
            "mount.login[0]",
            "module.lab[\"x\"].module.inner.cluster.scratch",
            "cluster.scratch.target[\"scratch-OST0003\"]",
            "module.lab.data.cluster.x[\"a\"]",
            "host.x[\"a.b[\\\"c\\\"]$${d}\\n\"]",
        ] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_address_is_refused_with_its_place() {
        for (text, at) in [
            ("", 1),
            ("host", 5),
            ("host.", 6),
            ("host.a[", 8),
            ("host.a[01]", 8),
            ("host.a.b", 9),
            ("host.a x", 6),
        ] {
            match text.parse::<Address>() {
                Err(AddressError::Unexpected { at: found, .. }) => assert_eq!(found, at, "{text}"),
                other => panic!("{text}: {other:?}"),
            }
        }
    }

    #[test]
    fn a_block_covers_its_instances_and_their_parts() {
        let block = Address::new("cluster", "a");
        let instance = block.clone().with_key(Some(Key::Index(1)));
        let target = instance.clone().part("target", "a-OST0000");
        assert!(block.covers(&instance) && block.covers(&target) && instance.covers(&target));
        assert!(!instance.covers(&block) && !target.covers(&instance));
        assert_eq!(target.whole(), instance);
    }

    fn key() -> impl Strategy<Value = Option<Key>> {
        prop::option::of(prop::strategy::Union::new([
            any::<u64>().prop_map(Key::Index).boxed(),
            any::<String>().prop_map(Key::Name).boxed(),
        ]))
    }

    /// Addresses that often have much in common.
    fn alike() -> impl Strategy<Value = Address> {
        let text = || "[ab\0]{0,3}";
        let key = || {
            prop::option::of(prop::strategy::Union::new([
                (0_u64..300).prop_map(Key::Index).boxed(),
                text().prop_map(Key::Name).boxed(),
            ]))
        };
        let modules = prop::collection::vec((text(), key()), 0..3);
        let parts = prop::collection::vec((text(), text()), 0..3);
        (modules, text(), text(), key(), parts).prop_map(|(modules, kind, name, key, parts)| {
            let modules = modules.into_iter().map(|(name, key)| ModuleStep { name, key }).collect();
            let parts = parts.into_iter().map(|(kind, name)| Part { kind, name }).collect();
            Words { modules, kind, name, key, parts }.into()
        })
    }

    proptest! {
        #[test]
        fn addresses_compare_as_their_words_do(one in alike(), other in alike()) {
            prop_assert_eq!(one.cmp(&other), Words::clone(&one).cmp(&Words::clone(&other)));
            prop_assert_eq!(one == other, Words::clone(&one) == Words::clone(&other));
        }

        #[test]
        fn printing_and_parsing_are_inverse(
            module in prop::option::of(("[a-z][a-z0-9_-]{0,5}", key())), name in "[a-z_][a-zA-Z0-9_-]{0,8}",
            key in key(), part in prop::option::of(any::<String>()),
        ) {
            let modules = module.into_iter().map(|(name, key)| ModuleStep { name, key }).collect();
            let mut address = Address::new("host", name).with_key(key).with_modules(modules);
            if let Some(part) = part {
                address = address.part("target", part);
            }
            prop_assert_eq!(address.to_string().parse::<Address>(), Ok(address));
        }

        #[test]
        fn any_text_is_parsed_or_refused(text in any::<String>()) {
            if let Ok(address) = text.parse::<Address>() {
                prop_assert_eq!(address.to_string().parse::<Address>(), Ok(address));
            }
        }
    }
}
