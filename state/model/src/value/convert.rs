//! Conversion of values to types, by Terraform's rules.
//!
//! Text, numbers and booleans convert to and from text; sequences convert among each other and mappings among each
//! other; objects may have attributes that are not wanted, which are dropped. Unknown values convert by their type.
//! Invariant: the result has the wanted type, and is sensitive where the value was.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::address::Address;
use crate::types::{Attribute, Presence, Type};
use crate::value::{Kind, Number, Value, unify};

/// One step into a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathStep {
    /// An attribute, or a key of a map.
    Name(String),
    /// An element.
    Index(usize),
}

/// Why a value cannot become what is wanted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// The type does not convert.
    #[error("{wanted} required, but it is {found}")]
    Type {
        /// What it is.
        found: String,
        /// What is wanted.
        wanted: String,
    },
    /// The text is no number.
    #[error("a number is required")]
    Number,
    /// The text is neither `true` nor `false`.
    #[error("a bool is required: `true` or `false`{hint}")]
    Bool {
        /// Names the likely meaning; empty or with a separator in front.
        hint: &'static str,
    },
    /// An object lacks an attribute.
    #[error("attribute {0:?} is required")]
    MissingAttribute(String),
    /// A tuple is too short or too long.
    #[error("a tuple of {wanted} elements is required, but it has {found}")]
    TupleLength {
        /// How many it has.
        found: usize,
        /// How many are wanted.
        wanted: usize,
    },
    /// Elements have no type in common.
    #[error("all elements must have the same type")]
    NoCommonType,
}

/// A value does not convert, and where inside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConvertError {
    /// From the outside in; empty when it is the value itself.
    pub path: Vec<PathStep>,
    /// What is wrong there.
    pub mismatch: Mismatch,
}

impl std::error::Error for ConvertError {}

impl fmt::Display for ConvertError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, step) in self.path.iter().enumerate() {
            match step {
                PathStep::Name(name) if position == 0 && crate::address::is_identifier(name) => {
                    write!(f, "attribute {name}")?;
                }
                PathStep::Name(name) if crate::address::is_identifier(name) => write!(f, ".{name}")?,
                PathStep::Name(name) => write!(f, "[{}]", crate::address::quote(name))?,
                PathStep::Index(index) if position == 0 => write!(f, "element {index}")?,
                PathStep::Index(index) => write!(f, "[{index}]")?,
            }
        }
        let separator = if self.path.is_empty() { "" } else { ": " };
        write!(f, "{separator}{}", self.mismatch)
    }
}

impl From<Mismatch> for ConvertError {
    fn from(mismatch: Mismatch) -> Self {
        Self { path: Vec::new(), mismatch }
    }
}

impl ConvertError {
    fn inside(mut self, step: PathStep) -> Self {
        self.path.insert(0, step);
        self
    }
}

type Converted = Result<Value, ConvertError>;

impl Value {
    /// Converts to a type.
    pub fn convert(&self, wanted: &Type) -> Converted {
        if *wanted == Type::Any {
            return Ok(self.clone());
        }
        let converted = match &self.kind {
            Kind::Unknown(found) => typed(found, wanted).map(Kind::Unknown).map(Self::from),
            Kind::Null(found) => typed(found, wanted).map(Kind::Null).map(Self::from),
            Kind::Bool(_) | Kind::Number(_) | Kind::String(_) => self.primitive(wanted),
            Kind::List(_, items) | Kind::Tuple(items) => self.sequence(items, wanted),
            Kind::Set(_, items) => self.sequence(&items.iter().cloned().collect::<Vec<_>>(), wanted),
            Kind::Map(_, items) => self.mapping(items, None, wanted),
            Kind::Object(items, resource) => self.mapping(items, resource.clone(), wanted),
        };
        let converted = converted?.marked(self.sensitive);
        Ok(if self.definite { converted.definite() } else { converted })
    }

    fn mismatch(&self, wanted: &Type) -> ConvertError {
        mismatch(&self.type_of(), wanted)
    }

    fn primitive(&self, wanted: &Type) -> Converted {
        let bare = || Self::from(self.kind.clone());
        match (&self.kind, wanted) {
            (Kind::Bool(_), Type::Bool)
            | (Kind::Number(_), Type::Number)
            | (Kind::String(_), Type::String) => Ok(bare()),
            (Kind::Bool(value), Type::String) => Ok(value.to_string().into()),
            (Kind::Number(number), Type::String) => Ok(number.to_string().into()),
            (Kind::String(text), Type::Number) => {
                text.parse::<Number>().map(Self::from).map_err(|_| Mismatch::Number.into())
            }
            (Kind::String(text), Type::Bool) => parse_bool(text),
            (_, _) => Err(self.mismatch(wanted)),
        }
    }

    fn sequence(&self, items: &[Self], wanted: &Type) -> Converted {
        match wanted {
            Type::List(element) => {
                let element = self.common(items, element)?;
                Ok(Self::list(element.without_optional(), each(items, &element)?))
            }
            Type::Set(element) => {
                let element = self.common(items, element)?;
                Ok(Self::set(element.without_optional(), each(items, &element)?))
            }
            Type::Tuple(elements) if matches!(self.kind, Kind::Tuple(_)) => {
                if elements.len() != items.len() {
                    return Err(Mismatch::TupleLength { found: items.len(), wanted: elements.len() }.into());
                }
                let converted = items.iter().zip(elements).enumerate();
                let converted = converted.map(|(at, (item, kind))| {
                    item.convert(kind).map_err(|error| error.inside(PathStep::Index(at)))
                });
                converted.collect::<Result<_, _>>().map(Self::tuple)
            }
            Type::Any
            | Type::Bool
            | Type::Number
            | Type::String
            | Type::Map(_)
            | Type::Tuple(_)
            | Type::Object(_) => Err(self.mismatch(wanted)),
        }
    }

    fn mapping(
        &self,
        items: &BTreeMap<String, Self>,
        resource: Option<Arc<Address>>,
        wanted: &Type,
    ) -> Converted {
        match wanted {
            Type::Map(element) => {
                let values: Vec<Self> = items.values().cloned().collect();
                let element = self.common(&values, element)?;
                let converted = items.iter().map(|(name, item)| {
                    let value = item.convert(&element);
                    Ok((name.clone(), value.map_err(|error| error.inside(PathStep::Name(name.clone())))?))
                });
                Ok(Self::map(element.without_optional(), converted.collect::<Result<_, ConvertError>>()?))
            }
            Type::Object(attributes) => {
                let converted = attributes.iter().map(|(name, attribute)| {
                    let value = match (items.get(name), &attribute.presence) {
                        (None, Presence::Required) => {
                            return Err(Mismatch::MissingAttribute(name.clone()).into());
                        }
                        (found, _) => attribute_value(found, attribute),
                    };
                    Ok((name.clone(), value.map_err(|error| error.inside(PathStep::Name(name.clone())))?))
                });
                let converted = converted.collect::<Result<BTreeMap<_, _>, ConvertError>>()?;
                Ok(Kind::Object(Arc::new(converted), resource).into())
            }
            Type::Any
            | Type::Bool
            | Type::Number
            | Type::String
            | Type::List(_)
            | Type::Set(_)
            | Type::Tuple(_) => Err(self.mismatch(wanted)),
        }
    }

    /// The element type of a collection: as wanted, or where that says `any`, what the elements have in common.
    fn common(&self, items: &[Self], element: &Type) -> Result<Type, ConvertError> {
        if !element.has_any() {
            return Ok(element.clone());
        }
        let types: Result<Vec<Type>, ConvertError> = items
            .iter()
            .enumerate()
            .map(|(at, item)| {
                let converted = item.convert(element).map_err(|error| error.inside(PathStep::Index(at)))?;
                Ok(converted.type_of())
            })
            .collect();
        let types = types?;
        if !types.is_empty() {
            return unify(&types).ok_or_else(|| Mismatch::NoCommonType.into());
        }
        if let Kind::List(own, _) | Kind::Set(own, _) | Kind::Map(own, _) = &self.kind {
            // Without elements, what it was a collection of stays.
            return typed(own, element);
        }
        Ok(element.clone())
    }
}

fn mismatch(found: &Type, wanted: &Type) -> ConvertError {
    Mismatch::Type { found: found.friendly(), wanted: wanted.friendly() }.into()
}

fn parse_bool(text: &str) -> Converted {
    let hint = match text {
        "true" | "1" => return Ok(true.into()),
        "false" | "0" => return Ok(false.into()),
        "True" | "TRUE" => "; write `true` in lower case",
        "False" | "FALSE" => "; write `false` in lower case",
        _ => "",
    };
    Err(Mismatch::Bool { hint }.into())
}

fn each(items: &[Value], element: &Type) -> Result<Vec<Value>, ConvertError> {
    let convert = |(at, item): (usize, &Value)| {
        item.convert(element).map_err(|error| error.inside(PathStep::Index(at)))
    };
    items.iter().enumerate().map(convert).collect()
}

fn attribute_value(found: Option<&Value>, attribute: &Attribute) -> Converted {
    match (found.filter(|value| !value.is_null()), &attribute.presence) {
        (Some(value), _) => value.convert(&attribute.kind),
        (None, Presence::Default(default)) => default.convert(&attribute.kind),
        (None, Presence::Required | Presence::Optional) => match found {
            Some(null) => null.convert(&attribute.kind),
            None => Ok(Value::null(attribute.kind.without_optional())),
        },
    }
}

/// The type of a null or unknown of type `found` after conversion to `wanted`.
fn typed(found: &Type, wanted: &Type) -> Result<Type, ConvertError> {
    if !converts(found, wanted) {
        return Err(mismatch(found, wanted));
    }
    Ok(resolved(found, &wanted.without_optional()))
}

/// The wanted type, with what `found` says in place of `any`.
fn resolved(found: &Type, wanted: &Type) -> Type {
    if !wanted.has_any() || *found == Type::Any {
        return wanted.clone();
    }
    let element = |wanted: &Type| match found {
        Type::List(own) | Type::Set(own) | Type::Map(own) => resolved(own, wanted),
        Type::Tuple(items) => together(items.iter().map(|item| resolved(item, wanted)), wanted),
        Type::Object(items) => together(items.values().map(|item| resolved(&item.kind, wanted)), wanted),
        Type::Any | Type::Bool | Type::Number | Type::String => wanted.clone(),
    };
    match wanted {
        Type::Any => found.clone(),
        Type::List(wanted) => Type::list(element(wanted)),
        Type::Set(wanted) => Type::set(element(wanted)),
        Type::Map(wanted) => Type::map(element(wanted)),
        Type::Object(attributes) => Type::object(attributes.iter().map(|(name, attribute)| {
            let own = match found {
                Type::Map(own) => own.as_ref(),
                Type::Object(items) => items.get(name).map_or(&Type::Any, |item| &item.kind),
                Type::Any | Type::Bool | Type::Number | Type::String => &Type::Any,
                Type::List(_) | Type::Set(_) | Type::Tuple(_) => &Type::Any,
            };
            (name.as_str(), resolved(own, &attribute.kind))
        })),
        Type::Tuple(elements) => match found {
            Type::Tuple(items) => Type::Tuple(
                items.iter().zip(elements).map(|(item, element)| resolved(item, element)).collect(),
            ),
            Type::Any | Type::Bool | Type::Number | Type::String => wanted.clone(),
            Type::List(_) | Type::Set(_) | Type::Map(_) | Type::Object(_) => wanted.clone(),
        },
        Type::Bool | Type::Number | Type::String => wanted.clone(),
    }
}

fn together(types: impl Iterator<Item = Type>, wanted: &Type) -> Type {
    unify(&types.collect::<Vec<_>>()).filter(|kind| *kind != Type::Any).unwrap_or(wanted.clone())
}

/// Returns whether some value of type `found` may convert to `wanted`.
fn converts(found: &Type, wanted: &Type) -> bool {
    if found == wanted {
        return true;
    }
    match (found, wanted) {
        (_, Type::Any) | (Type::Any, _) => true,
        (Type::String, Type::Bool | Type::Number) | (Type::Bool | Type::Number, Type::String) => true,
        (Type::List(a) | Type::Set(a), Type::List(b) | Type::Set(b)) | (Type::Map(a), Type::Map(b)) => {
            converts(a, b)
        }
        (Type::Tuple(items), Type::List(element) | Type::Set(element)) => {
            items.iter().all(|item| converts(item, element))
        }
        (Type::Tuple(a), Type::Tuple(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| converts(a, b))
        }
        (Type::Object(attributes), Type::Map(element)) => {
            attributes.values().all(|attribute| converts(&attribute.kind, element))
        }
        (Type::Map(element), Type::Object(attributes)) => {
            // A key that may be left out may not be there.
            let fits = |attribute: &Attribute| converts(element, &attribute.kind);
            attributes.values().all(|attribute| attribute.presence != Presence::Required || fits(attribute))
        }
        (Type::Object(a), Type::Object(b)) => b.iter().all(|(name, attribute)| match a.get(name) {
            Some(found) => converts(&found.kind, &attribute.kind),
            None => attribute.presence != Presence::Required,
        }),
        (
            Type::Bool
            | Type::Number
            | Type::String
            | Type::List(_)
            | Type::Set(_)
            | Type::Map(_)
            | Type::Tuple(_)
            | Type::Object(_),
            _,
        ) => false,
    }
}
