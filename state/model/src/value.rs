//! Values of the language: what expressions yield, what the state records, what a plan compares.
//!
//! A value may be unknown until something is applied, with a type that is known; it may be null, with a type; and it
//! may be sensitive, by itself or in a part. Numbers are decimals of any size ([`Number`]); text is kept as written.
//! The value of a resource is an object that also says which resource it is ([`Value::resource`]), so that
//! `cluster = cluster.scratch` names a dependency and not a mere copy of attributes.
//! An unknown value may be known not to be null ([`Value::definite`]), which is a hint and makes no other value of it.
//! Not here: operators and functions, which are the language's.
//! Invariant: the elements of a list, set or map have the type that it declares, and a set is ordered and free of
//! duplicates and of sensitive elements (the mark moves to the set).

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use crate::address::Address;
use crate::types::Type;

mod convert;
mod json;
mod number;
mod unify;

pub use self::convert::{ConvertError, Mismatch, PathStep};
pub use self::json::JsonError;
pub use self::number::{Number, NumberError};
pub use self::unify::unify;

/// A value.
#[derive(Debug, Clone)]
pub struct Value {
    kind: Kind,
    sensitive: bool,
    /// An unknown that will not be null. It is a hint: no part of what the value is, and not recorded.
    definite: bool,
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        self.identity() == other.identity()
    }
}

impl Eq for Value {}

impl PartialOrd for Value {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Value {
    fn cmp(&self, other: &Self) -> Ordering {
        self.identity().cmp(&other.identity())
    }
}

impl Hash for Value {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.identity().hash(state);
    }
}

/// What a value is, apart from its mark.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// No value; of that type.
    Null(Type),
    /// Known after apply; of that type.
    Unknown(Type),
    /// `true` or `false`.
    Bool(bool),
    /// A decimal number.
    Number(Number),
    /// Text.
    String(Arc<str>),
    /// Elements of one type.
    List(Type, Arc<Vec<Value>>),
    /// Distinct elements of one type.
    Set(Type, Arc<BTreeSet<Value>>),
    /// Elements of one type by name.
    Map(Type, Arc<BTreeMap<String, Value>>),
    /// Elements of any types.
    Tuple(Arc<Vec<Value>>),
    /// Elements of any types by name, perhaps of a resource.
    Object(Arc<BTreeMap<String, Value>>, Option<Arc<Address>>),
}

impl From<Kind> for Value {
    fn from(kind: Kind) -> Self {
        Self { kind, sensitive: false, definite: false }
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Kind::Bool(value).into()
    }
}

impl From<Number> for Value {
    fn from(value: Number) -> Self {
        Kind::Number(value).into()
    }
}

impl From<u64> for Value {
    fn from(value: u64) -> Self {
        Number::from(value).into()
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Number::from(value).into()
    }
}

impl From<usize> for Value {
    fn from(value: usize) -> Self {
        Number::from(value).into()
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Kind::String(value.into()).into()
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Kind::String(value.into()).into()
    }
}

impl Value {
    /// Builds a null of a type.
    pub fn null(kind: Type) -> Self {
        Kind::Null(kind).into()
    }

    /// Builds an unknown of a type.
    pub fn unknown(kind: Type) -> Self {
        Kind::Unknown(kind).into()
    }

    /// Builds a list; the elements must have that type.
    pub fn list(element: Type, items: Vec<Self>) -> Self {
        Kind::List(element, Arc::new(items)).into()
    }

    /// Builds a list of strings.
    pub fn strings<S: Into<Self>>(items: impl IntoIterator<Item = S>) -> Self {
        Self::list(Type::String, items.into_iter().map(Into::into).collect())
    }

    /// Builds a set; the elements must have that type. Marks of elements move to the set.
    ///
    /// With an element that is not wholly known the set is unknown, because it may equal another element.
    pub fn set(element: Type, items: impl IntoIterator<Item = Self>) -> Self {
        let (mut sensitive, mut known) = (false, true);
        let items = items.into_iter().map(|item| {
            sensitive |= item.has_sensitive();
            known &= item.is_wholly_known();
            item.unmarked()
        });
        let items: BTreeSet<Self> = items.collect();
        let kind =
            if known { Kind::Set(element, Arc::new(items)) } else { Kind::Unknown(Type::set(element)) };
        Self { kind, sensitive, definite: false }
    }

    /// Builds a map; the elements must have that type.
    pub fn map(element: Type, items: BTreeMap<String, Self>) -> Self {
        Kind::Map(element, Arc::new(items)).into()
    }

    /// Builds a tuple.
    pub fn tuple(items: Vec<Self>) -> Self {
        Kind::Tuple(Arc::new(items)).into()
    }

    /// Builds an object.
    pub fn object<N: Into<String>>(attributes: impl IntoIterator<Item = (N, Self)>) -> Self {
        let attributes = attributes.into_iter().map(|(name, value)| (name.into(), value)).collect();
        Kind::Object(Arc::new(attributes), None).into()
    }

    /// Builds the object of a resource instance.
    pub fn resource_object(address: Address, attributes: BTreeMap<String, Self>) -> Self {
        Kind::Object(Arc::new(attributes), Some(Arc::new(address))).into()
    }

    fn identity(&self) -> (&Kind, bool) {
        (&self.kind, self.sensitive)
    }

    /// Returns it, if it is unknown, as an unknown that will not be null.
    #[must_use]
    pub fn definite(mut self) -> Self {
        self.definite = !self.is_known();
        self
    }

    /// Returns whether it is not null, and will not turn out to be.
    pub fn is_definite(&self) -> bool {
        self.definite || (self.is_known() && !self.is_null())
    }

    /// Returns what it is.
    pub fn kind(&self) -> &Kind {
        &self.kind
    }

    /// Returns its type; a type of a value never has optional attributes.
    pub fn type_of(&self) -> Type {
        match &self.kind {
            Kind::Null(kind) | Kind::Unknown(kind) => kind.clone(),
            Kind::Bool(_) => Type::Bool,
            Kind::Number(_) => Type::Number,
            Kind::String(_) => Type::String,
            Kind::List(element, _) => Type::list(element.clone()),
            Kind::Set(element, _) => Type::set(element.clone()),
            Kind::Map(element, _) => Type::map(element.clone()),
            Kind::Tuple(items) => Type::Tuple(items.iter().map(Self::type_of).collect()),
            Kind::Object(attributes, _) => {
                Type::object(attributes.iter().map(|(name, value)| (name.as_str(), value.type_of())))
            }
        }
    }

    /// Returns whether it is null.
    pub fn is_null(&self) -> bool {
        matches!(self.kind, Kind::Null(_))
    }

    /// Returns whether it is itself known; parts may still be unknown.
    pub fn is_known(&self) -> bool {
        !matches!(self.kind, Kind::Unknown(_))
    }

    /// Returns whether it and all its parts are known.
    pub fn is_wholly_known(&self) -> bool {
        self.is_known() && self.parts().all(Self::is_wholly_known)
    }

    /// Returns whether it carries the mark itself.
    pub fn is_sensitive(&self) -> bool {
        self.sensitive
    }

    /// Returns whether it or any part carries the mark.
    pub fn has_sensitive(&self) -> bool {
        self.sensitive || self.parts().any(Self::has_sensitive)
    }

    /// Returns it marked sensitive.
    #[must_use]
    pub fn sensitive(mut self) -> Self {
        self.sensitive = true;
        self
    }

    /// Returns it marked sensitive when `mark` says so; never takes a mark away.
    #[must_use]
    pub fn marked(mut self, mark: bool) -> Self {
        self.sensitive |= mark;
        self
    }

    /// Returns it without any mark, also in its parts.
    #[must_use]
    pub fn unmarked(&self) -> Self {
        if !self.has_sensitive() {
            return self.clone();
        }
        let definite = self.definite;
        let list = |items: &Arc<Vec<Self>>| Arc::new(items.iter().map(Self::unmarked).collect());
        let map = |items: &BTreeMap<String, Self>| {
            Arc::new(items.iter().map(|(name, value)| (name.clone(), value.unmarked())).collect())
        };
        let kind = match &self.kind {
            Kind::Null(_) | Kind::Unknown(_) | Kind::Bool(_) | Kind::Number(_) | Kind::String(_) => {
                self.kind.clone()
            }
            Kind::List(element, items) => Kind::List(element.clone(), list(items)),
            Kind::Set(..) => self.kind.clone(),
            Kind::Map(element, items) => Kind::Map(element.clone(), map(items)),
            Kind::Tuple(items) => Kind::Tuple(list(items)),
            Kind::Object(attributes, resource) => Kind::Object(map(attributes), resource.clone()),
        };
        Self { kind, sensitive: false, definite }
    }

    /// Returns the parts of a collection, tuple or object, in order; nothing for others.
    pub fn parts(&self) -> Parts<'_> {
        match &self.kind {
            Kind::Null(_) | Kind::Unknown(_) | Kind::Bool(_) | Kind::Number(_) | Kind::String(_) => {
                Parts::None
            }
            Kind::List(_, items) | Kind::Tuple(items) => Parts::Slice(items.iter()),
            Kind::Set(_, items) => Parts::Set(items.iter()),
            Kind::Map(_, items) | Kind::Object(items, _) => Parts::Map(items.values()),
        }
    }

    /// Returns the text of a string.
    pub fn as_str(&self) -> Option<&str> {
        if let Kind::String(text) = &self.kind { Some(text) } else { None }
    }

    /// Returns a boolean.
    pub fn as_bool(&self) -> Option<bool> {
        if let Kind::Bool(value) = self.kind { Some(value) } else { None }
    }

    /// Returns a number.
    pub fn as_number(&self) -> Option<&Number> {
        if let Kind::Number(number) = &self.kind { Some(number) } else { None }
    }

    /// Returns a number that fits.
    pub fn as_u64(&self) -> Option<u64> {
        self.as_number().and_then(Number::to_u64)
    }

    /// Returns a number that fits.
    pub fn as_i64(&self) -> Option<i64> {
        self.as_number().and_then(Number::to_i64)
    }

    /// Returns the elements of a list or tuple.
    pub fn as_list(&self) -> Option<&[Self]> {
        match &self.kind {
            Kind::List(_, items) | Kind::Tuple(items) => Some(items),
            Kind::Null(_) | Kind::Unknown(_) | Kind::Bool(_) | Kind::Number(_) | Kind::String(_) => None,
            Kind::Set(..) | Kind::Map(..) | Kind::Object(..) => None,
        }
    }

    /// Returns the elements of a map or object.
    pub fn as_map(&self) -> Option<&BTreeMap<String, Self>> {
        match &self.kind {
            Kind::Map(_, items) | Kind::Object(items, _) => Some(items),
            Kind::Null(_) | Kind::Unknown(_) | Kind::Bool(_) | Kind::Number(_) | Kind::String(_) => None,
            Kind::List(..) | Kind::Set(..) | Kind::Tuple(_) => None,
        }
    }

    /// Returns an element of a map or object.
    pub fn get(&self, name: &str) -> Option<&Self> {
        self.as_map()?.get(name)
    }

    /// Returns which resource instance this is the object of.
    pub fn resource(&self) -> Option<&Address> {
        if let Kind::Object(_, resource) = &self.kind { resource.as_deref() } else { None }
    }

    /// Describes it in a few words for a diagnostic, without telling a sensitive value: `is "a"`.
    pub fn statement(&self) -> String {
        const SHOWN_MAX: usize = 60;
        let count =
            |number: usize, noun: &str| format!("{number} {noun}{}", if number == 1 { "" } else { "s" });
        if self.sensitive {
            return "has a sensitive value".into();
        }
        match &self.kind {
            Kind::Null(_) => "is null".into(),
            Kind::Unknown(Type::Any) => "will be known only after apply".into(),
            Kind::Unknown(kind) => format!("is a {}, known only after apply", kind.friendly()),
            Kind::Bool(value) => format!("is {value}"),
            Kind::Number(number) => format!("is {number}"),
            Kind::String(text) if text.chars().count() > SHOWN_MAX => {
                format!("is a string of {}", count(text.chars().count(), "character"))
            }
            Kind::String(text) => format!("is {}", crate::address::quote(text)),
            Kind::List(_, items) => {
                format!("is a {} with {}", self.type_of().friendly(), count(items.len(), "element"))
            }
            Kind::Set(_, items) => {
                format!("is a {} with {}", self.type_of().friendly(), count(items.len(), "element"))
            }
            Kind::Map(_, items) => {
                format!("is a {} with {}", self.type_of().friendly(), count(items.len(), "element"))
            }
            Kind::Tuple(items) => format!("is a tuple with {}", count(items.len(), "element")),
            Kind::Object(_, Some(address)) => format!("is {address}"),
            Kind::Object(attributes, None) => {
                format!("is an object with {}", count(attributes.len(), "attribute"))
            }
        }
    }
}

/// Walks the parts of a value, see [`Value::parts`].
#[derive(Debug, Clone)]
pub enum Parts<'a> {
    /// Nothing inside.
    None,
    /// Of a list or tuple.
    Slice(std::slice::Iter<'a, Value>),
    /// Of a set.
    Set(std::collections::btree_set::Iter<'a, Value>),
    /// Of a map or object.
    Map(std::collections::btree_map::Values<'a, String, Value>),
}

impl<'a> Iterator for Parts<'a> {
    type Item = &'a Value;

    fn next(&mut self) -> Option<&'a Value> {
        match self {
            Self::None => None,
            Self::Slice(items) => items.next(),
            Self::Set(items) => items.next(),
            Self::Map(items) => items.next(),
        }
    }
}

#[cfg(test)]
mod tests;
