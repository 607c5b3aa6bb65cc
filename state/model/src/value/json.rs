//! Values as JSON: a lossless form for state and plan, and the plain form that people and other programs read.
//!
//! Lossless: what JSON has is written as it is, so that a state file reads well; the rest is an object with one key:
//! ```text
//! {"$null": TYPE}          {"$unknown": TYPE}       {"$sensitive": VALUE}
//! {"$list": [TYPE, […]]}   {"$set": [TYPE, […]]}    {"$map": [TYPE, {…}]}
//! {"$resource": [ADDRESS, {…}]}                     {"$object": {…}} when a name begins with `$`
//! ```
//! Tuples are arrays and objects are objects; TYPE is the element's, as HCL writes it. Not here: encryption or redaction.
//! Invariant: [`Value::from_lossless`] of [`Value::to_lossless`] is the same value, and what it accepts is well-formed.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value as Json};

use crate::address::Address;
use crate::types::Type;
use crate::value::{Kind, Number, Value};

/// Why JSON is no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// A number is out of range.
    #[error("number {0} is out of range")]
    Number(String),
    /// A type does not parse.
    #[error("{0:?} is not a type")]
    Type(String),
    /// An address does not parse.
    #[error("{0:?} is not an address")]
    Address(String),
    /// An object with a `$` key is not one of the known forms.
    #[error("{0:?} is not a form of a value")]
    Form(String),
    /// An element has another type than its collection says.
    #[error("an element of a collection of {0} has another type")]
    Element(String),
}

impl Value {
    /// Writes the lossless form.
    pub fn to_lossless(&self) -> Json {
        let json = match &self.kind {
            Kind::Null(Type::Any) => Json::Null,
            Kind::Null(kind) => form("$null", Json::String(kind.to_string())),
            Kind::Unknown(kind) => form("$unknown", Json::String(kind.to_string())),
            Kind::Bool(value) => Json::Bool(*value),
            Kind::Number(number) => number_json(number),
            Kind::String(text) => Json::String(text.to_string()),
            Kind::List(kind, items) => {
                typed_form("$list", kind, items.iter().map(Self::to_lossless).collect())
            }
            Kind::Set(kind, items) => typed_form("$set", kind, items.iter().map(Self::to_lossless).collect()),
            Kind::Map(kind, items) => typed_form("$map", kind, Json::Object(lossless_map(items))),
            Kind::Tuple(items) => items.iter().map(Self::to_lossless).collect(),
            Kind::Object(items, Some(address)) => form(
                "$resource",
                Json::Array(vec![address.to_string().into(), Json::Object(lossless_map(items))]),
            ),
            Kind::Object(items, None) if items.keys().any(|name| name.starts_with('$')) => {
                form("$object", Json::Object(lossless_map(items)))
            }
            Kind::Object(items, None) => Json::Object(lossless_map(items)),
        };
        if self.sensitive { form("$sensitive", json) } else { json }
    }

    /// Reads the lossless form.
    pub fn from_lossless(json: &Json) -> Result<Self, JsonError> {
        match json {
            Json::Null => Ok(Self::null(Type::Any)),
            Json::Bool(value) => Ok((*value).into()),
            Json::Number(number) => read_number(number),
            Json::String(text) => Ok(text.as_str().into()),
            Json::Array(items) => read_items(items).map(Self::tuple),
            Json::Object(items) => match items.iter().next() {
                Some((name, content)) if name.starts_with('$') && items.len() == 1 => {
                    read_form(name, content)
                }
                Some((name, _)) if name.starts_with('$') => Err(JsonError::Form(name.clone())),
                Some(_) | None => Ok(Self::object(read_map(items)?)),
            },
        }
    }

    /// Writes the plain form; none when it is not wholly known. Marks are dropped: the caller decides who may see it.
    pub fn to_plain(&self) -> Option<Json> {
        match &self.kind {
            Kind::Unknown(_) => None,
            Kind::Null(_) => Some(Json::Null),
            Kind::Bool(value) => Some(Json::Bool(*value)),
            Kind::Number(number) => Some(number_json(number)),
            Kind::String(text) => Some(Json::String(text.to_string())),
            Kind::List(..) | Kind::Set(..) | Kind::Tuple(_) => self.parts().map(Self::to_plain).collect(),
            Kind::Map(_, items) | Kind::Object(items, _) => {
                let entries = items.iter().map(|(name, value)| Some((name.clone(), value.to_plain()?)));
                entries.collect::<Option<Map<String, Json>>>().map(Json::Object)
            }
        }
    }

    /// Reads the plain form: arrays become tuples and objects objects.
    pub fn from_plain(json: &Json) -> Result<Self, JsonError> {
        match json {
            Json::Null => Ok(Self::null(Type::Any)),
            Json::Bool(value) => Ok((*value).into()),
            Json::Number(number) => read_number(number),
            Json::String(text) => Ok(text.as_str().into()),
            Json::Array(items) => {
                items.iter().map(Self::from_plain).collect::<Result<_, _>>().map(Self::tuple)
            }
            Json::Object(items) => {
                let entries = items.iter().map(|(name, item)| Ok((name.clone(), Self::from_plain(item)?)));
                entries.collect::<Result<Vec<_>, JsonError>>().map(Self::object)
            }
        }
    }
}

fn form(name: &str, content: Json) -> Json {
    Json::Object(Map::from_iter([(name.to_owned(), content)]))
}

fn typed_form(name: &str, kind: &Type, items: Json) -> Json {
    form(name, Json::Array(vec![kind.to_string().into(), items]))
}

fn lossless_map(items: &BTreeMap<String, Value>) -> Map<String, Json> {
    items.iter().map(|(name, value)| (name.clone(), value.to_lossless())).collect()
}

fn number_json(number: &Number) -> Json {
    // A number prints as JSON's grammar has it, so that this is only ever a number; text would still be readable.
    let text = number.to_string();
    serde_json::from_str(&text).unwrap_or(Json::String(text))
}

fn read_number(number: &serde_json::Number) -> Result<Value, JsonError> {
    let text = number.to_string();
    text.parse::<Number>().map(Value::from).map_err(|_| JsonError::Number(text))
}

fn read_items(items: &[Json]) -> Result<Vec<Value>, JsonError> {
    items.iter().map(Value::from_lossless).collect()
}

fn read_map(items: &Map<String, Json>) -> Result<BTreeMap<String, Value>, JsonError> {
    items.iter().map(|(name, item)| Ok((name.clone(), Value::from_lossless(item)?))).collect()
}

fn read_type(json: &Json) -> Result<Type, JsonError> {
    let text = json.as_str().unwrap_or_default();
    text.parse().map_err(|_| JsonError::Type(text.to_owned()))
}

fn checked<'a>(kind: &Type, mut items: impl Iterator<Item = &'a Value>) -> Result<(), JsonError> {
    let fits = items.all(|item| item.type_of() == *kind);
    if fits { Ok(()) } else { Err(JsonError::Element(kind.to_string())) }
}

fn read_form(name: &str, content: &Json) -> Result<Value, JsonError> {
    let bad = || JsonError::Form(name.to_owned());
    match (name, content, content.as_array().map(Vec::as_slice)) {
        ("$null", kind, _) => read_type(kind).map(Value::null),
        ("$unknown", kind, _) => read_type(kind).map(Value::unknown),
        ("$sensitive", value, _) => Value::from_lossless(value).map(Value::sensitive),
        ("$object", Json::Object(items), _) => read_map(items).map(Value::object),
        ("$resource", _, Some([Json::String(address), Json::Object(items)])) => {
            let address: Address = address.parse().map_err(|_| JsonError::Address(address.clone()))?;
            Ok(Value::resource_object(address, read_map(items)?))
        }
        ("$list" | "$set", _, Some([kind, Json::Array(items)])) => {
            let (kind, items) = (read_type(kind)?, read_items(items)?);
            checked(&kind, items.iter())?;
            Ok(if name == "$list" { Value::list(kind, items) } else { Value::set(kind, items) })
        }
        ("$map", _, Some([kind, Json::Object(items)])) => {
            let (kind, items) = (read_type(kind)?, read_map(items)?);
            checked(&kind, items.values())?;
            Ok(Value::map(kind, items))
        }
        _ => Err(bad()),
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.to_lossless().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::from_lossless(&Json::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}
