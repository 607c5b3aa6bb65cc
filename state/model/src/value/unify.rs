//! The one type that values of several types all convert to, as conditionals and collections need it.
//!
//! The rules are HCL's. Not here: the conversion itself.
//! Invariant: every given type converts to the result, as far as types can tell.

use std::collections::BTreeMap;

use crate::types::{Attribute, Type};

/// Returns the type that all of `types` convert to; none when there is no such type.
///
/// [`Type::Any`] stands for a type that is not known yet and goes along with all. Text wins over numbers and booleans;
/// tuples of different lengths become a list, objects with different attributes a map.
pub fn unify(types: &[Type]) -> Option<Type> {
    let mut known = types.iter().filter(|kind| **kind != Type::Any);
    let Some(first) = known.next() else { return Some(Type::Any) };
    if known.clone().all(|kind| kind == first) {
        return Some(first.clone());
    }
    known.try_fold(first.clone(), |whole, kind| pair(&whole, kind))
}

fn pair(left: &Type, right: &Type) -> Option<Type> {
    if left == right {
        return Some(left.clone());
    }
    match (left, right) {
        (Type::Any, other) | (other, Type::Any) => Some(other.clone()),
        (Type::String, primitive) | (primitive, Type::String) if primitive.is_primitive() => {
            Some(Type::String)
        }
        (Type::List(a), Type::List(b)) => pair(a, b).map(Type::list),
        (Type::Set(a), Type::Set(b)) => pair(a, b).map(Type::set),
        (Type::List(a), Type::Set(b)) | (Type::Set(b), Type::List(a)) => pair(a, b).map(Type::list),
        (Type::Map(a), Type::Map(b)) => pair(a, b).map(Type::map),
        (Type::Tuple(a), Type::Tuple(b)) if a.len() == b.len() => tuple(a, b),
        (Type::Tuple(a), Type::Tuple(b)) => all(a.iter().chain(b)).map(Type::list),
        (Type::Tuple(items), Type::List(element)) | (Type::List(element), Type::Tuple(items)) => {
            all(items.iter().chain([element.as_ref()])).map(Type::list)
        }
        (Type::Tuple(items), Type::Set(element)) | (Type::Set(element), Type::Tuple(items)) => {
            all(items.iter().chain([element.as_ref()])).map(Type::set)
        }
        (Type::Object(a), Type::Object(b)) if a.keys().eq(b.keys()) => object(a, b),
        (Type::Object(a), Type::Object(b)) => all(kinds(a).chain(kinds(b))).map(Type::map),
        (Type::Object(items), Type::Map(element)) | (Type::Map(element), Type::Object(items)) => {
            all(kinds(items).chain([element.as_ref()])).map(Type::map)
        }
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
        ) => None,
    }
}

fn all<'a>(mut types: impl Iterator<Item = &'a Type>) -> Option<Type> {
    types.try_fold(Type::Any, |whole, kind| pair(&whole, kind))
}

fn kinds(attributes: &BTreeMap<String, Attribute>) -> impl Iterator<Item = &Type> {
    attributes.values().map(|attribute| &attribute.kind)
}

fn tuple(left: &[Type], right: &[Type]) -> Option<Type> {
    let each: Option<Vec<Type>> = left.iter().zip(right).map(|(a, b)| pair(a, b)).collect();
    each.map(Type::Tuple).or_else(|| all(left.iter().chain(right)).map(Type::list))
}

fn object(left: &BTreeMap<String, Attribute>, right: &BTreeMap<String, Attribute>) -> Option<Type> {
    let each: Option<BTreeMap<String, Attribute>> = left
        .iter()
        .zip(right.values())
        .map(|((name, a), b)| Some((name.clone(), Attribute::required(pair(&a.kind, &b.kind)?))))
        .collect();
    each.map(Type::Object).or_else(|| all(kinds(left).chain(kinds(right))).map(Type::map))
}
