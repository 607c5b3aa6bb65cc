//! Types of values, and type constraints as a `variable` block writes them.
//!
//! ```text
//! string   number   bool   any   list(T)   set(T)   map(T)   tuple([T, …])
//! object({ name = T, other = optional(T), third = optional(T, default) })
//! ```
//! A type printed is a type constraint that parses again; defaults are printed only by the language, which reads them
//! from its own syntax tree, and a type of a value has none.
//! Invariant: [`Type::Any`] inside a type stands for one type that is not known yet, not for a mixture.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::address::{is_identifier, quote};
use crate::value::Value;

/// Deepest nesting of a type that is parsed.
pub const TYPE_DEPTH_MAX: usize = 64;

/// What a value is, or must be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Type {
    /// Not known yet; as a constraint, whatever comes.
    Any,
    /// `true` or `false`.
    Bool,
    /// A decimal number of any size.
    Number,
    /// Unicode text.
    String,
    /// Ordered, all of one type.
    List(Box<Type>),
    /// Unordered, no duplicates, all of one type.
    Set(Box<Type>),
    /// By name, all of one type.
    Map(Box<Type>),
    /// Ordered, a type for each.
    Tuple(Vec<Type>),
    /// By name, a type for each.
    Object(BTreeMap<String, Attribute>),
}

/// One attribute of an object type.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Attribute {
    /// Its type.
    pub kind: Type,
    /// Whether and how it may be left out.
    pub presence: Presence,
}

/// Whether an attribute may be left out.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Presence {
    /// It must be there.
    Required,
    /// `optional(T)`: null when it is not there.
    Optional,
    /// `optional(T, default)`: that value when it is not there or null.
    Default(Box<Value>),
}

impl Attribute {
    /// Builds an attribute that must be there.
    pub fn required(kind: Type) -> Self {
        Self { kind, presence: Presence::Required }
    }
}

impl Type {
    /// Builds `list(element)`.
    pub fn list(element: Self) -> Self {
        Self::List(Box::new(element))
    }

    /// Builds `set(element)`.
    pub fn set(element: Self) -> Self {
        Self::Set(Box::new(element))
    }

    /// Builds `map(element)`.
    pub fn map(element: Self) -> Self {
        Self::Map(Box::new(element))
    }

    /// Builds `object({…})` whose attributes must all be there.
    pub fn object<N: Into<String>>(attributes: impl IntoIterator<Item = (N, Self)>) -> Self {
        let attributes = attributes.into_iter();
        Self::Object(attributes.map(|(name, kind)| (name.into(), Attribute::required(kind))).collect())
    }

    /// Returns whether it is `bool`, `number` or `string`.
    pub fn is_primitive(&self) -> bool {
        matches!(self, Self::Bool | Self::Number | Self::String)
    }

    /// Returns whether [`Type::Any`] is somewhere inside.
    pub fn has_any(&self) -> bool {
        match self {
            Self::Any => true,
            Self::Bool | Self::Number | Self::String => false,
            Self::List(element) | Self::Set(element) | Self::Map(element) => element.has_any(),
            Self::Tuple(elements) => elements.iter().any(Self::has_any),
            Self::Object(attributes) => attributes.values().any(|attribute| attribute.kind.has_any()),
        }
    }

    /// Returns the type of the values that meet the constraint: without `optional` and defaults.
    #[must_use]
    pub fn without_optional(&self) -> Self {
        match self {
            Self::Any => Self::Any,
            Self::Bool => Self::Bool,
            Self::Number => Self::Number,
            Self::String => Self::String,
            Self::List(element) => Self::list(element.without_optional()),
            Self::Set(element) => Self::set(element.without_optional()),
            Self::Map(element) => Self::map(element.without_optional()),
            Self::Tuple(elements) => Self::Tuple(elements.iter().map(Self::without_optional).collect()),
            Self::Object(attributes) => {
                Self::object(attributes.iter().map(|(name, it)| (name.as_str(), it.kind.without_optional())))
            }
        }
    }

    /// Returns how a sentence names it: `list of string`, `object`.
    pub fn friendly(&self) -> String {
        // `Any` is "any type" there too.
        let of = |collection: &str, element: &Self| format!("{collection} of {}", element.friendly());
        match self {
            Self::Any => "any type".into(),
            Self::Bool => "bool".into(),
            Self::Number => "number".into(),
            Self::String => "string".into(),
            Self::List(element) => of("list", element),
            Self::Set(element) => of("set", element),
            Self::Map(element) => of("map", element),
            Self::Tuple(_) => "tuple".into(),
            Self::Object(_) => "object".into(),
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("any"),
            Self::Bool => f.write_str("bool"),
            Self::Number => f.write_str("number"),
            Self::String => f.write_str("string"),
            Self::List(element) => write!(f, "list({element})"),
            Self::Set(element) => write!(f, "set({element})"),
            Self::Map(element) => write!(f, "map({element})"),
            Self::Tuple(elements) => {
                let elements: Vec<String> = elements.iter().map(Self::to_string).collect();
                write!(f, "tuple([{}])", elements.join(", "))
            }
            Self::Object(attributes) => {
                let attributes: Vec<String> = attributes.iter().map(print_attribute).collect();
                write!(f, "object({{{}}})", attributes.join(", "))
            }
        }
    }
}

fn print_attribute((name, attribute): (&String, &Attribute)) -> String {
    let name = if is_identifier(name) { name.clone() } else { quote(name) };
    match attribute.presence {
        Presence::Required => format!("{name} = {}", attribute.kind),
        Presence::Optional | Presence::Default(_) => format!("{name} = optional({})", attribute.kind),
    }
}

/// Why a text is no type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TypeError {
    /// Something else was expected there.
    #[error("`{text}` is no type: expected {expected} at byte {at}")]
    Unexpected {
        /// What would have been right.
        expected: &'static str,
        /// Where, from 0.
        at: usize,
        /// The whole text.
        text: String,
    },
    /// Deeper than [`TYPE_DEPTH_MAX`].
    #[error("types nest at most {TYPE_DEPTH_MAX} deep")]
    TooDeep,
}

impl FromStr for Type {
    type Err = TypeError;

    fn from_str(text: &str) -> Result<Self, TypeError> {
        let mut reader = Reader { text, at: 0 };
        let parsed = reader.read(0)?;
        reader.skip_space();
        if reader.at < text.len() {
            return Err(reader.unexpected("the end"));
        }
        Ok(parsed)
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or("")
    }

    fn unexpected(&self, expected: &'static str) -> TypeError {
        TypeError::Unexpected { expected, at: self.at, text: self.text.to_owned() }
    }

    fn skip_space(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start().len();
    }

    fn accept(&mut self, wanted: char) -> bool {
        self.skip_space();
        let found = self.rest().starts_with(wanted);
        self.at += if found { wanted.len_utf8() } else { 0 };
        found
    }

    fn expect(&mut self, wanted: char, name: &'static str) -> Result<(), TypeError> {
        if self.accept(wanted) { Ok(()) } else { Err(self.unexpected(name)) }
    }

    fn word(&mut self) -> &'a str {
        self.skip_space();
        let rest = self.rest();
        let end = rest.find(|letter: char| !(letter.is_alphanumeric() || "_-".contains(letter)));
        let word = &rest[..end.unwrap_or(rest.len())];
        self.at += word.len();
        word
    }

    fn read(&mut self, depth: usize) -> Result<Type, TypeError> {
        if depth > TYPE_DEPTH_MAX {
            return Err(TypeError::TooDeep);
        }
        self.skip_space();
        let start = self.at;
        match self.word() {
            "any" => Ok(Type::Any),
            "bool" => Ok(Type::Bool),
            "number" => Ok(Type::Number),
            "string" => Ok(Type::String),
            "list" => self.element(depth).map(Type::List),
            "set" => self.element(depth).map(Type::Set),
            "map" => self.element(depth).map(Type::Map),
            "tuple" => self.tuple(depth),
            "object" => self.object(depth),
            _ => {
                self.at = start;
                Err(self.unexpected("a type"))
            }
        }
    }

    fn element(&mut self, depth: usize) -> Result<Box<Type>, TypeError> {
        self.expect('(', "`(`")?;
        let element = self.read(depth + 1)?;
        self.expect(')', "`)`")?;
        Ok(Box::new(element))
    }

    fn tuple(&mut self, depth: usize) -> Result<Type, TypeError> {
        self.expect('(', "`(`")?;
        self.expect('[', "`[`")?;
        let mut elements = Vec::new();
        while !self.accept(']') {
            elements.push(self.read(depth + 1)?);
            if !self.accept(',') {
                self.expect(']', "`,` or `]`")?;
                break;
            }
        }
        self.expect(')', "`)`")?;
        Ok(Type::Tuple(elements))
    }

    fn object(&mut self, depth: usize) -> Result<Type, TypeError> {
        self.expect('(', "`(`")?;
        self.expect('{', "`{`")?;
        let mut attributes = BTreeMap::new();
        while !self.accept('}') {
            let name = self.name()?;
            self.expect('=', "`=`")?;
            attributes.insert(name, self.attribute(depth)?);
            if !self.accept(',') {
                self.expect('}', "`,` or `}`")?;
                break;
            }
        }
        self.expect(')', "`)`")?;
        Ok(Type::Object(attributes))
    }

    fn name(&mut self) -> Result<String, TypeError> {
        if !self.accept('"') {
            let word = self.word();
            return if is_identifier(word) { Ok(word.to_owned()) } else { Err(self.unexpected("a name")) };
        }
        let rest = self.rest();
        let mut escaped = false;
        for (at, letter) in rest.char_indices() {
            if letter == '"' && !escaped {
                // What `quote` escapes, JSON reads, once the doubled template marks are single again.
                let json = format!("\"{}\"", rest[..at].replace("$${", "${").replace("%%{", "%{"));
                self.at += at + 1;
                return serde_json::from_str(&json).map_err(|_| self.unexpected("a name"));
            }
            escaped = letter == '\\' && !escaped;
        }
        Err(self.unexpected("`\"`"))
    }

    fn attribute(&mut self, depth: usize) -> Result<Attribute, TypeError> {
        let start = self.at;
        if self.word() == "optional" {
            let kind = *self.element(depth)?;
            return Ok(Attribute { kind, presence: Presence::Optional });
        }
        self.at = start;
        self.read(depth + 1).map(Attribute::required)
    }
}

impl Serialize for Type {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Type {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_print_as_they_are_written() {
        for text in [
            "any",
            "list(string)",
            "map(set(number))",
            "tuple([bool, any])",
            "tuple([])",
            "object({a = string, \"b c\" = optional(list(number))})",
            "object({\"a\\\"$${x}\" = string})",
        ] {
            assert_eq!(text.parse::<Type>().unwrap().to_string(), text);
        }
        assert_eq!(" list ( string ) ".parse::<Type>().unwrap(), Type::list(Type::String));
    }

    #[test]
    fn what_is_no_type_is_refused() {
        for text in [
            "",
            "strng",
            "list",
            "list(",
            "list(string",
            "object({a})",
            "object({a = string",
            "tuple([,])",
            "any x",
        ] {
            assert!(text.parse::<Type>().is_err(), "{text}");
        }
        assert_eq!("list(".repeat(100_000).parse::<Type>(), Err(TypeError::TooDeep));
    }
}
