//! What functions yield for arguments that are not wholly known: the type at least, and what is certain already.
//!
//! Rules are Terraform's. Functions that are not named here yield an unknown value of the type in their signature.
//! Invariant: what is said here stays true, whatever the unknown parts turn out to be.

use lustre_model::types::Type;
use lustre_model::value::{Kind, Value, unify};

use crate::evaluate::equal;
use crate::function::{Function, Refusal, Yield, format, pattern, refuse, set};

/// Returns the result of a call with arguments that are not wholly known and carry no marks.
pub(crate) fn yielded(function: &Function, arguments: &[Value]) -> Yield {
    let types: Vec<Type> = arguments.iter().map(Value::type_of).collect();
    let first = types.first().unwrap_or(&Type::Any);
    if let Some(certain) = certain(function.name, arguments)? {
        return Ok(certain);
    }
    let kind = match function.name {
        "element" => element(first, arguments.get(1)),
        "one" => only(first)?,
        "lookup" => looked_up(first, arguments.get(1)),
        "values" => values(first),
        "zipmap" => zipped(arguments.first(), types.get(1)),
        "reverse" => reversed(first),
        "slice" | "distinct" | "compact" | "matchkeys" => same_list(first),
        "chunklist" => Some(Type::list(first.clone())),
        "merge" => merged(&types),
        "concat" => concatenated(&types),
        "setunion" | "setintersection" | "setsubtract" | "setsymmetricdifference" => unify(&types),
        "setproduct" => product(&types),
        "regex" => pattern::yielded_type(arguments),
        "regexall" => Some(Type::list(pattern::yielded_type(arguments).unwrap_or(Type::Any))),
        _ => Some(function.result.clone()),
    };
    let value = Value::unknown(kind.unwrap_or(Type::Any));
    // Parts that are taken out may be null; all else is made by the function.
    let taken_out = matches!(function.name, "element" | "one" | "lookup" | "jsondecode" | "yamldecode");
    Ok(if taken_out { value } else { value.definite() })
}

/// What is known although some arguments are not.
fn certain(name: &str, arguments: &[Value]) -> Result<Option<Value>, Refusal> {
    let [first, rest @ ..] = arguments else { return Ok(None) };
    Ok(match (name, first.kind()) {
        ("length", Kind::Unknown(Type::Tuple(items))) => Some(items.len().into()),
        ("length", Kind::Unknown(Type::Object(items))) => Some(items.len().into()),
        ("length", Kind::Unknown(Type::Bool | Type::Number)) => {
            return refuse(0, "a text, a list, a set or a map is required");
        }
        ("keys", Kind::Unknown(Type::Object(items))) => {
            Some(Value::tuple(items.keys().map(|name| name.as_str().into()).collect()))
        }
        ("contains", _) if has(first, rest.first(), Some(true)) => Some(true.into()),
        ("index", _) => position(first, rest.first()),
        ("anytrue", _) if first.parts().any(|item| item.as_bool() == Some(true)) => Some(true.into()),
        ("alltrue", _) if first.parts().any(|item| item.as_bool() == Some(false)) => Some(false.into()),
        ("sort", Kind::List(..)) => {
            let items = first.parts().map(|_| Value::unknown(Type::String).definite()).collect();
            Some(Value::list(Type::String, items))
        }
        ("startswith" | "endswith" | "strcontains", _)
            if rest.first().and_then(Value::as_str) == Some("") =>
        {
            Some(true.into())
        }
        ("setproduct", _) if arguments.iter().any(is_empty) => Some(set::empty_product(arguments)),
        ("formatlist", Kind::String(_)) if rest.iter().all(is_column) => {
            Some(format::format_list(arguments)?)
        }
        ("issensitive", _) => Some(Value::unknown(Type::Bool).definite()),
        _ => None,
    })
}

fn is_empty(value: &Value) -> bool {
    matches!(value.kind(), Kind::List(..) | Kind::Set(..) | Kind::Tuple(_)) && value.parts().next().is_none()
}

/// Whether it is known how many lines of a `formatlist` an argument gives.
fn is_column(value: &Value) -> bool {
    value.is_known() || value.type_of().is_primitive()
}

fn has(list: &Value, wanted: Option<&Value>, answer: Option<bool>) -> bool {
    wanted.is_some_and(|wanted| list.parts().any(|item| equal(item, wanted) == answer))
}

/// The position of a value, when no element before it could be it too.
fn position(list: &Value, wanted: Option<&Value>) -> Option<Value> {
    let wanted = wanted?;
    let found = list.parts().map(|item| equal(item, wanted)).position(|answer| answer != Some(false))?;
    let item = list.parts().nth(found)?;
    (equal(item, wanted) == Some(true)).then(|| found.into())
}

/// The type of the elements, where they have one.
fn element_of(kind: &Type) -> Option<&Type> {
    match kind {
        Type::List(element) | Type::Set(element) | Type::Map(element) => Some(element),
        Type::Any | Type::Bool | Type::Number | Type::String | Type::Tuple(_) | Type::Object(_) => None,
    }
}

fn element(kind: &Type, index: Option<&Value>) -> Option<Type> {
    if let Type::Tuple(elements) = kind {
        let length = i64::try_from(elements.len()).ok().filter(|length| *length > 0)?;
        let position = index?.as_i64()?.rem_euclid(length);
        return elements.get(usize::try_from(position).ok()?).cloned();
    }
    element_of(kind).cloned()
}

fn only(kind: &Type) -> Result<Option<Type>, Refusal> {
    match kind {
        Type::Tuple(elements) if elements.len() > 1 => {
            refuse(0, format!("it has {} elements, not one or none", elements.len()))
        }
        Type::Tuple(elements) => Ok(elements.first().cloned()),
        Type::List(element) | Type::Set(element) => Ok(Some(element.as_ref().clone())),
        Type::Any => Ok(None),
        Type::Bool | Type::Number | Type::String | Type::Map(_) | Type::Object(_) => {
            refuse(0, "a list is required")
        }
    }
}

fn looked_up(kind: &Type, key: Option<&Value>) -> Option<Type> {
    match kind {
        Type::Object(attributes) => attributes.get(key?.as_str()?).map(|attribute| attribute.kind.clone()),
        Type::Map(element) => Some(element.as_ref().clone()),
        Type::Any | Type::Bool | Type::Number | Type::String => None,
        Type::List(_) | Type::Set(_) | Type::Tuple(_) => None,
    }
}

fn values(kind: &Type) -> Option<Type> {
    match kind {
        Type::Map(element) => Some(Type::list(element.as_ref().clone())),
        Type::Object(attributes) => {
            Some(Type::Tuple(attributes.values().map(|attribute| attribute.kind.clone()).collect()))
        }
        Type::Any | Type::Bool | Type::Number | Type::String => None,
        Type::List(_) | Type::Set(_) | Type::Tuple(_) => None,
    }
}

fn zipped(keys: Option<&Value>, values: Option<&Type>) -> Option<Type> {
    match values? {
        Type::List(element) => Some(Type::map(element.as_ref().clone())),
        Type::Tuple(elements) => {
            let keys = keys.filter(|keys| keys.is_known())?;
            let names: Option<Vec<&str>> = keys.parts().map(Value::as_str).collect();
            let names = names.filter(|names| names.len() == elements.len())?;
            Some(Type::object(names.into_iter().zip(elements.iter().cloned())))
        }
        Type::Any | Type::Bool | Type::Number | Type::String => None,
        Type::Set(_) | Type::Map(_) | Type::Object(_) => None,
    }
}

fn reversed(kind: &Type) -> Option<Type> {
    match kind {
        Type::Tuple(elements) => Some(Type::Tuple(elements.iter().rev().cloned().collect())),
        Type::List(element) | Type::Set(element) => Some(Type::list(element.as_ref().clone())),
        Type::Any | Type::Bool | Type::Number | Type::String | Type::Map(_) | Type::Object(_) => None,
    }
}

fn same_list(kind: &Type) -> Option<Type> {
    match kind {
        Type::List(_) => Some(kind.clone()),
        Type::Any | Type::Bool | Type::Number | Type::String => None,
        Type::Set(_) | Type::Map(_) | Type::Tuple(_) | Type::Object(_) => None,
    }
}

fn merged(types: &[Type]) -> Option<Type> {
    let first = types.first().filter(|kind| matches!(kind, Type::Map(_)))?;
    types.iter().all(|kind| kind == first).then(|| first.clone())
}

fn concatenated(types: &[Type]) -> Option<Type> {
    if types.iter().all(|kind| matches!(kind, Type::List(_))) {
        return unify(types);
    }
    let tuples =
        types.iter().map(|kind| if let Type::Tuple(elements) = kind { Some(elements) } else { None });
    Some(Type::Tuple(tuples.collect::<Option<Vec<_>>>()?.into_iter().flatten().cloned().collect()))
}

/// The type of all combinations: a set of tuples, or a list of them where one of the arguments is no set.
fn product(types: &[Type]) -> Option<Type> {
    let row = set::product_row(types)?;
    let all_sets = types.iter().all(|kind| matches!(kind, Type::Set(_)));
    Some(if all_sets { Type::set(row) } else { Type::list(row) })
}
