//! Reads typed fields out of the attributes of an object.
//!
//! For whoever holds attributes that are known; mistakes of a user were found before, with their place in the text.
//! Invariant: a missing, null, unknown or mistyped attribute is an error that names it, never a default.

use std::str::FromStr;

use super::cluster::ComponentSpec;
use super::{AttributeError, Attributes, Kind};
use crate::control::Compression;
use crate::layout::LayoutTemplate;
use crate::types::Type;
use crate::value::Value;

/// The attributes of one object, to be read by name.
#[derive(Debug, Clone, Copy)]
pub struct Fields<'a> {
    kind: Kind,
    attributes: &'a Attributes,
}

impl<'a> Fields<'a> {
    /// Wraps the attributes of an object of that kind.
    pub fn new(kind: Kind, attributes: &'a Attributes) -> Self {
        Self { kind, attributes }
    }

    /// Returns a value that is there and not null.
    pub fn value(&self, name: &str) -> Result<&'a Value, AttributeError> {
        let missing = || AttributeError::Missing { kind: self.kind, name: name.to_owned() };
        self.attributes.get(name).filter(|value| !value.is_null()).ok_or_else(missing)
    }

    /// Returns a value of any type; null when it is not there.
    pub fn any(&self, name: &str) -> Value {
        self.attributes.get(name).cloned().unwrap_or_else(|| Value::null(Type::Any))
    }

    /// Returns a text.
    pub fn text(&self, name: &str) -> Result<String, AttributeError> {
        let text = self.value(name)?.as_str();
        text.map(str::to_owned).ok_or_else(|| self.mistyped(name, "a string"))
    }

    /// Returns a text, or `None` when it is not there or null.
    pub fn optional_text(&self, name: &str) -> Result<Option<String>, AttributeError> {
        match self.value(name) {
            Ok(_) => self.text(name).map(Some),
            Err(_) => Ok(None),
        }
    }

    /// Returns a whole number that fits.
    pub fn number<N: TryFrom<u64>>(&self, name: &str) -> Result<N, AttributeError> {
        let number = self.value(name)?.as_u64().and_then(|number| N::try_from(number).ok());
        number.ok_or_else(|| self.mistyped(name, "a number that fits"))
    }

    /// Returns a truth value.
    pub fn flag(&self, name: &str) -> Result<bool, AttributeError> {
        self.value(name)?.as_bool().ok_or_else(|| self.mistyped(name, "true or false"))
    }

    /// Returns a list of texts.
    pub fn texts(&self, name: &str) -> Result<Vec<String>, AttributeError> {
        let mistyped = || self.mistyped(name, "a list of strings");
        let items = self.value(name)?.as_list().ok_or_else(mistyped)?;
        items.iter().map(|item| item.as_str().map(str::to_owned).ok_or_else(mistyped)).collect()
    }

    /// Returns what a text parses to.
    pub fn parsed<T: FromStr>(&self, name: &str) -> Result<T, AttributeError> {
        self.text(name)?.parse().map_err(|_| self.mistyped(name, "well formed"))
    }

    /// Returns FSx's `data_compression_type`.
    pub(super) fn compression(&self, name: &str) -> Result<Compression, AttributeError> {
        match self.text(name)?.as_str() {
            "NONE" => Ok(Compression::None),
            "LZ4" => Ok(Compression::Lz4),
            _ => Err(self.mistyped(name, "NONE or LZ4")),
        }
    }

    /// Returns a layout: a list of objects with `end` (null at the last), `stripe_count` and `stripe_size`.
    pub(super) fn layout(&self, name: &str) -> Result<LayoutTemplate, AttributeError> {
        let mistyped = || self.mistyped(name, "a list of components");
        let component = |value: &Value| {
            let end = value.get("end")?;
            let end = if end.is_null() { None } else { Some(end.as_u64()?) };
            let stripe_count = i32::try_from(value.get("stripe_count")?.as_i64()?).ok()?;
            let stripe_size = u32::try_from(value.get("stripe_size")?.as_u64()?).ok()?;
            Some(ComponentSpec { end, stripe_count, stripe_size }.template())
        };
        let items = self.value(name)?.as_list().ok_or_else(mistyped)?;
        let components = items.iter().map(component).collect::<Option<Vec<_>>>().ok_or_else(mistyped)?;
        Ok(LayoutTemplate { components })
    }

    /// Builds the error of an attribute that is not what it should be.
    pub(super) fn mistyped(&self, name: &str, expected: &str) -> AttributeError {
        AttributeError::Mistyped { kind: self.kind, name: name.to_owned(), expected: expected.to_owned() }
    }
}
