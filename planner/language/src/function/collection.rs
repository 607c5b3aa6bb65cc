//! Functions on lists, maps, tuples and objects.
//!
//! Where a function moves parts without looking into them, these may be unknown or sensitive and stay so.
//! Invariant: a result is as large as its arguments together, or its size was checked first.

use std::collections::BTreeMap;

use lustre_model::types::Type;
use lustre_model::value::{Kind, Value, unify};
use unicode_segmentation::UnicodeSegmentation as _;

use crate::evaluate::{elements, equal};
use crate::function::text::strings;
use crate::function::{ELEMENTS_MAX, Refusal, Row, Run, Yield, count, number, refuse, text, whole};

/// Most numbers that `range` yields, as in Terraform.
const RANGE_MAX: usize = 1024;

pub(super) const ROWS: &[Row] = &[
    Row(
        "length(value any) number",
        "Counts elements, or the letters of a text.",
        ["length([\"a\", \"b\"])", "2"],
        Run::Parts(length),
    ),
    Row(
        "keys(map any) any",
        "Lists the keys in order.",
        ["keys({ b = 1, a = 2 })", "[\"a\", \"b\"]"],
        Run::Parts(keys),
    ),
    Row(
        "values(map any) any",
        "Lists the values in the order of their keys.",
        ["values({ b = 1, a = 2 })", "[2, 1]"],
        Run::Parts(values),
    ),
    Row(
        "lookup(map any, key string, default? any) any",
        "Yields the value of a key, or a default.",
        ["lookup({ a = \"x\" }, \"b\", \"none\")", "\"none\""],
        Run::Parts(lookup),
    ),
    Row(
        "merge(...maps any) any",
        "Puts maps together; later ones win.",
        ["merge({ a = 1, b = 2 }, { b = 3 })", "{ a = 1, b = 3 }"],
        Run::Parts(merge),
    ),
    Row(
        "concat(...lists any) any",
        "Puts lists one behind the other.",
        ["concat([\"a\"], [\"b\", \"c\"])", "[\"a\", \"b\", \"c\"]"],
        Run::Parts(concat),
    ),
    Row(
        "contains(list any, value any) bool",
        "Says whether a value is among the elements.",
        ["contains([\"a\", \"b\"], \"a\")", "true"],
        Run::Values(contains),
    ),
    Row(
        "distinct(list list(any)) list(any)",
        "Drops elements that were there before.",
        ["distinct([\"a\", \"b\", \"a\"])", "[\"a\", \"b\"]"],
        Run::Values(distinct),
    ),
    Row(
        "element(list any, index number) any",
        "Yields an element; beyond the end it begins again.",
        ["element([\"a\", \"b\", \"c\"], 4)", "\"b\""],
        Run::Parts(element),
    ),
    Row(
        "flatten(list any) any",
        "Puts lists within lists into one.",
        ["flatten([[\"a\", [\"b\"]], [], \"c\"])", "[\"a\", \"b\", \"c\"]"],
        Run::Parts(flatten),
    ),
    Row(
        "index(list any, value any) number",
        "Finds the position of a value.",
        ["index([\"a\", \"b\"], \"b\")", "1"],
        Run::Values(index),
    ),
    Row(
        "one(list any) any",
        "Yields the only element, or null when there is none.",
        ["one([\"a\"])", "\"a\""],
        Run::Parts(one),
    ),
    Row(
        "range(start number, limit? number, step? number) list(number)",
        "Counts: to a limit, from a start, by steps.",
        ["range(1, 8, 3)", "[1, 4, 7]"],
        Run::Values(range),
    ),
    Row(
        "reverse(list any) any",
        "Turns the order around.",
        ["reverse([1, 2, 3])", "[3, 2, 1]"],
        Run::Parts(reverse),
    ),
    Row(
        "slice(list any, start number, end number) any",
        "Yields the elements from a start to before an end.",
        ["slice([\"a\", \"b\", \"c\", \"d\"], 1, 3)", "[\"b\", \"c\"]"],
        Run::Parts(slice),
    ),
    Row(
        "sort(list list(string)) list(string)",
        "Orders texts by their letters.",
        ["sort([\"e\", \"d\", \"a\"])", "[\"a\", \"d\", \"e\"]"],
        Run::Values(sort),
    ),
    Row("sum(list any) number", "Adds numbers.", ["sum([10, 13, 6, 4.5])", "33.5"], Run::Values(sum)),
    Row(
        "zipmap(keys list(string), values any) any",
        "Makes a map of a list of keys and one of values.",
        ["zipmap([\"a\", \"b\"], [1, 2])", "{ a = 1, b = 2 }"],
        Run::Parts(zipmap),
    ),
    Row(
        "coalesce(...values any) any",
        "Yields the first value that is neither null nor the empty text.",
        ["coalesce(null, \"\", \"b\")", "\"b\""],
        Run::Raw(coalesce),
    ),
    Row(
        "coalescelist(...lists any) any",
        "Yields the first list that is not empty.",
        ["coalescelist([], [\"c\"])", "[\"c\"]"],
        Run::Raw(coalesce_list),
    ),
    Row(
        "compact(list list(string)) list(string)",
        "Drops nulls and empty texts.",
        ["compact([\"a\", \"\", null, \"c\"])", "[\"a\", \"c\"]"],
        Run::Values(compact),
    ),
    Row(
        "chunklist(list list(any), size number) list(any)",
        "Cuts a list into lists of a size.",
        ["chunklist([1, 2, 3], 2)", "[[1, 2], [3]]"],
        Run::Parts(chunk_list),
    ),
    Row(
        "matchkeys(values list(any), keys list(any), wanted list(any)) list(any)",
        "Yields the values whose keys are wanted.",
        ["matchkeys([\"x\", \"y\"], [\"a\", \"b\"], [\"b\"])", "[\"y\"]"],
        Run::Values(match_keys),
    ),
    Row(
        "transpose(map map(list(string))) map(list(string))",
        "Makes of a map of lists the map of which lists hold what.",
        ["transpose({ a = [\"1\", \"2\"], b = [\"2\"] })", "{ \"1\" = [\"a\"], \"2\" = [\"a\", \"b\"] }"],
        Run::Values(transpose),
    ),
    Row(
        "alltrue(list list(bool)) bool",
        "Says whether all are true.",
        ["alltrue([true, false])", "false"],
        Run::Values(all_true),
    ),
    Row(
        "anytrue(list list(bool)) bool",
        "Says whether one is true.",
        ["anytrue([true, false])", "true"],
        Run::Values(any_true),
    ),
];

/// Returns the elements of a list, set or tuple.
pub(super) fn sequence(arguments: &[Value], position: usize) -> Result<Vec<Value>, Refusal> {
    let is_sequence =
        |value: &&Value| matches!(value.kind(), Kind::List(..) | Kind::Set(..) | Kind::Tuple(_));
    match arguments.get(position).filter(is_sequence) {
        Some(value) => Ok(value.parts().cloned().collect()),
        None => refuse(position, "a list is required"),
    }
}

fn mapping(arguments: &[Value], position: usize) -> Result<&BTreeMap<String, Value>, Refusal> {
    match arguments.get(position).and_then(Value::as_map) {
        Some(items) => Ok(items),
        None => refuse(position, "a map or object is required"),
    }
}

/// Makes a list of the kind of another: elements of a list have its type, those of a tuple any.
fn alike(original: Option<&Value>, items: Vec<Value>) -> Value {
    match original.map(Value::kind) {
        Some(Kind::List(element, _) | Kind::Set(element, _)) => Value::list(element.clone(), items),
        Some(Kind::Null(_) | Kind::Unknown(_) | Kind::Bool(_) | Kind::Number(_) | Kind::String(_)) | None => {
            Value::tuple(items)
        }
        Some(Kind::Map(..) | Kind::Tuple(_) | Kind::Object(..)) => Value::tuple(items),
    }
}

fn length(arguments: &[Value]) -> Yield {
    let Some(value) = arguments.first() else { return refuse(0, "a value is required") };
    match value.kind() {
        Kind::String(text) => Ok(text.graphemes(true).count().into()),
        Kind::List(..) | Kind::Set(..) | Kind::Map(..) | Kind::Tuple(_) | Kind::Object(..) => {
            Ok(value.parts().count().into())
        }
        Kind::Null(_) | Kind::Unknown(_) | Kind::Bool(_) | Kind::Number(_) => {
            refuse(0, "a text, a list, a set or a map is required")
        }
    }
}

fn keys(arguments: &[Value]) -> Yield {
    let names: Vec<Value> = mapping(arguments, 0)?.keys().map(|name| name.as_str().into()).collect();
    let is_map = arguments.first().is_some_and(|value| matches!(value.kind(), Kind::Map(..)));
    Ok(if is_map { strings(names) } else { Value::tuple(names) })
}

fn values(arguments: &[Value]) -> Yield {
    let items = mapping(arguments, 0)?.values().cloned().collect();
    Ok(match arguments.first().map(|value| value.type_of()) {
        Some(Type::Map(element)) => Value::list(*element, items),
        _ => Value::tuple(items),
    })
}

fn lookup(arguments: &[Value]) -> Yield {
    let key = text(arguments, 1);
    let map = mapping(arguments, 0)?;
    let default = match (arguments.first().map(Value::kind), arguments.get(2)) {
        // The default is one more element of a map, of the type that all have.
        (Some(Kind::Map(element, _)), Some(default)) => {
            Some(default.convert(element).or_else(|error| refuse(2, error.to_string()))?)
        }
        (_, default) => default.cloned(),
    };
    match (map.get(key), default) {
        (Some(value), _) => Ok(value.clone()),
        (None, Some(default)) => Ok(default),
        (None, None) => refuse(1, format!("there is no key {key:?}, and no default")),
    }
}

fn merge(arguments: &[Value]) -> Yield {
    let mut merged = BTreeMap::new();
    let mut kinds = Vec::new();
    for (position, value) in arguments.iter().enumerate() {
        match value.kind() {
            Kind::Null(Type::Any) => continue,
            Kind::Null(Type::Map(_) | Type::Object(_)) => {}
            Kind::Null(_) | Kind::Unknown(_) | Kind::Bool(_) | Kind::Number(_) | Kind::String(_) => {
                return refuse(position, "a map or object is required");
            }
            Kind::List(..) | Kind::Set(..) | Kind::Map(..) | Kind::Tuple(_) | Kind::Object(..) => {
                let items = mapping(arguments, position)?;
                merged.extend(items.iter().map(|(name, value)| (name.clone(), value.clone())));
            }
        }
        kinds.push(value.type_of());
    }
    kinds.dedup();
    Ok(match kinds.pop() {
        Some(Type::Map(element)) if kinds.is_empty() => Value::map(*element, merged),
        _ => Value::object(merged),
    })
}

fn concat(arguments: &[Value]) -> Yield {
    let mut items = Vec::new();
    let mut kinds = Vec::new();
    for (position, value) in arguments.iter().enumerate() {
        items.extend(sequence(arguments, position)?);
        kinds.push(value.type_of());
        if items.len() > ELEMENTS_MAX {
            return refuse(position, format!("a list has at most {ELEMENTS_MAX} elements"));
        }
    }
    // Tuples stay as they are; lists have one type together.
    let all_lists = kinds.iter().all(|kind| matches!(kind, Type::List(_)));
    let common = unify(&kinds).filter(|_| all_lists);
    let tuple = Value::tuple(items);
    match common {
        Some(common) => tuple.convert(&common).or_else(|error| refuse(0, error.to_string())),
        None => Ok(tuple),
    }
}

fn position_of(arguments: &[Value]) -> Result<Option<usize>, Refusal> {
    let wanted = arguments.get(1).cloned().unwrap_or(Value::null(Type::Any));
    Ok(sequence(arguments, 0)?.iter().position(|item| equal(item, &wanted) == Some(true)))
}

fn contains(arguments: &[Value]) -> Yield {
    Ok(position_of(arguments)?.is_some().into())
}

fn index(arguments: &[Value]) -> Yield {
    match position_of(arguments)? {
        Some(position) => Ok(position.into()),
        None => refuse(1, "it is not among the elements"),
    }
}

fn distinct(arguments: &[Value]) -> Yield {
    let mut seen = std::collections::BTreeSet::new();
    let items = sequence(arguments, 0)?.into_iter().filter(|item| seen.insert(item.clone())).collect();
    Ok(alike(arguments.first(), items))
}

fn element(arguments: &[Value]) -> Yield {
    let items = sequence(arguments, 0)?;
    let position = whole(arguments, 1)?;
    if items.is_empty() {
        return refuse(0, "it has no elements");
    }
    let length = i64::try_from(items.len()).unwrap_or(i64::MAX);
    let position = usize::try_from(position.rem_euclid(length)).unwrap_or(0);
    items.get(position).cloned().map_or_else(|| refuse(1, "there is no such element"), Ok)
}

fn flatten(arguments: &[Value]) -> Yield {
    let mut flat = Vec::new();
    let mut waiting = sequence(arguments, 0)?;
    waiting.reverse();
    while let Some(item) = waiting.pop() {
        match item.kind() {
            Kind::List(..) | Kind::Set(..) | Kind::Tuple(_) => {
                let marked = item.is_sensitive();
                let inner: Vec<Value> = item.parts().map(|part| part.clone().marked(marked)).collect();
                waiting.extend(inner.into_iter().rev());
            }
            // It may turn out to be a list.
            Kind::Unknown(Type::Any | Type::List(_) | Type::Set(_) | Type::Tuple(_)) => {
                return Ok(Value::unknown(Type::Any));
            }
            Kind::Unknown(_) | Kind::Null(_) | Kind::Bool(_) | Kind::Number(_) | Kind::String(_) => {
                flat.push(item)
            }
            Kind::Map(..) | Kind::Object(..) => flat.push(item),
        }
        if flat.len() > ELEMENTS_MAX || waiting.len() > ELEMENTS_MAX {
            return refuse(0, format!("a list has at most {ELEMENTS_MAX} elements"));
        }
    }
    Ok(Value::tuple(flat))
}

fn one(arguments: &[Value]) -> Yield {
    let mut items = sequence(arguments, 0)?;
    match items.len() {
        0 => Ok(Value::null(match arguments.first().map(Value::kind) {
            Some(Kind::List(element, _) | Kind::Set(element, _)) => element.clone(),
            _ => Type::Any,
        })),
        1 => items.pop().map_or_else(|| refuse(0, "it is empty"), Ok),
        many => refuse(0, format!("it has {many} elements, not one or none")),
    }
}

fn range(arguments: &[Value]) -> Yield {
    let zero = lustre_model::value::Number::from(0u64);
    let first = number(arguments, 0)?.clone();
    let (start, limit) =
        if arguments.len() > 1 { (first, number(arguments, 1)?.clone()) } else { (zero.clone(), first) };
    let down = limit < start;
    let step = match arguments.len() {
        3 => number(arguments, 2)?.clone(),
        _ => lustre_model::value::Number::from(if down { -1i64 } else { 1 }),
    };
    if step == zero {
        return refuse(2, "a step of zero never ends");
    }
    if down != (step < zero) && limit != start {
        return refuse(2, "the step leads away from the limit");
    }
    let mut numbers = Vec::new();
    let mut next = start;
    while (!down && next < limit) || (down && next > limit) {
        if numbers.len() >= RANGE_MAX {
            return refuse(1, format!("a range has at most {RANGE_MAX} numbers"));
        }
        numbers.push(Value::from(next.clone()));
        next = next.add(&step).or_else(|error| refuse(2, error.to_string()))?;
    }
    Ok(Value::list(Type::Number, numbers))
}

fn reverse(arguments: &[Value]) -> Yield {
    let mut items = sequence(arguments, 0)?;
    items.reverse();
    Ok(alike(arguments.first(), items))
}

fn slice(arguments: &[Value]) -> Yield {
    let items = sequence(arguments, 0)?;
    let (start, end) = (count(arguments, 1)?, count(arguments, 2)?);
    match items.get(start..end) {
        Some(part) => Ok(alike(arguments.first(), part.to_vec())),
        None if start > end => refuse(1, "the start is behind the end"),
        None => refuse(2, format!("there are {} elements only", items.len())),
    }
}

fn sort(arguments: &[Value]) -> Yield {
    let mut items = sequence(arguments, 0)?;
    if items.iter().any(Value::is_null) {
        return refuse(0, "an element is null");
    }
    items.sort();
    Ok(strings(items))
}

fn sum(arguments: &[Value]) -> Yield {
    let items = sequence(arguments, 0)?;
    if items.is_empty() {
        return refuse(0, "it has no elements");
    }
    let mut total = lustre_model::value::Number::from(0u64);
    for item in items {
        let converted = item.convert(&Type::Number).or_else(|error| refuse(0, error.to_string()))?;
        let Some(number) = converted.as_number() else { return refuse(0, "an element is null") };
        total = total.add(number).or_else(|error| refuse(0, error.to_string()))?;
    }
    Ok(total.into())
}

fn zipmap(arguments: &[Value]) -> Yield {
    let (keys, values) = (sequence(arguments, 0)?, sequence(arguments, 1)?);
    if keys.len() != values.len() {
        return refuse(1, format!("there are {} keys but {} values", keys.len(), values.len()));
    }
    if keys.iter().any(|key| !key.is_known()) {
        return Ok(Value::unknown(Type::Any));
    }
    let marked = keys.iter().any(Value::is_sensitive);
    if keys.iter().any(Value::is_null) {
        return refuse(0, "a key is null");
    }
    let entries: BTreeMap<String, Value> =
        keys.iter().zip(values).filter_map(|(key, value)| Some((key.as_str()?.to_owned(), value))).collect();
    let zipped = match arguments.get(1).map(Value::kind) {
        Some(Kind::List(element, _)) => Value::map(element.clone(), entries),
        _ => Value::object(entries),
    };
    Ok(zipped.marked(marked))
}

fn coalesce(arguments: &[Value]) -> Yield {
    let types: Vec<Type> = arguments.iter().map(Value::type_of).collect();
    let Some(common) = unify(&types) else { return refuse(0, "all values must have one type") };
    for value in arguments {
        if !value.is_known() {
            return Ok(Value::unknown(common).marked(value.is_sensitive()));
        }
        if !value.is_null() && value.as_str() != Some("") {
            return value.convert(&common).or_else(|error| refuse(0, error.to_string()));
        }
    }
    Err(Refusal { argument: None, reason: "No value is neither null nor empty".into() })
}

fn coalesce_list(arguments: &[Value]) -> Yield {
    for (position, value) in arguments.iter().enumerate() {
        if !value.is_known() {
            return Ok(Value::unknown(Type::Any));
        }
        if !value.is_null() && !sequence(arguments, position)?.is_empty() {
            return Ok(value.clone());
        }
    }
    Err(Refusal { argument: None, reason: "All lists are empty".into() })
}

fn compact(arguments: &[Value]) -> Yield {
    let items = sequence(arguments, 0)?;
    Ok(strings(items.into_iter().filter(|item| item.as_str().is_some_and(|text| !text.is_empty())).collect()))
}

fn chunk_list(arguments: &[Value]) -> Yield {
    let items = sequence(arguments, 0)?;
    let size = match count(arguments, 1)? {
        0 => items.len().max(1),
        size => size,
    };
    let chunks = items.chunks(size).map(|chunk| alike(arguments.first(), chunk.to_vec())).collect();
    let kind = arguments.first().map_or(Type::Any, Value::type_of);
    Ok(Value::list(kind, chunks))
}

fn match_keys(arguments: &[Value]) -> Yield {
    let (values, keys, wanted) = (sequence(arguments, 0)?, sequence(arguments, 1)?, sequence(arguments, 2)?);
    if values.len() != keys.len() {
        return refuse(1, format!("there are {} values but {} keys", values.len(), keys.len()));
    }
    let types: Vec<Type> = arguments.iter().skip(1).map(Value::type_of).collect();
    let Some(common) = unify(&types) else {
        return refuse(1, "keys and wanted keys must have the same type");
    };
    let converted = |position: usize| {
        let list = arguments.get(position).and_then(|value| value.convert(&common).ok());
        list.map(|list| list.parts().cloned().collect::<Vec<_>>())
    };
    let (keys, wanted) = (converted(1).unwrap_or(keys), converted(2).unwrap_or(wanted));
    let is_wanted = |key: &Value| wanted.iter().any(|wanted| equal(key, wanted) == Some(true));
    let matching = values.into_iter().zip(keys).filter(|(_, key)| is_wanted(key)).map(|(value, _)| value);
    Ok(alike(arguments.first(), matching.collect()))
}

fn transpose(arguments: &[Value]) -> Yield {
    let mut lists: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    let map = arguments.first().and_then(elements).unwrap_or_default();
    for (key, list) in map {
        if list.is_null() {
            return refuse(0, "an element is null");
        }
        for item in list.parts() {
            let Some(name) = item.as_str() else { return refuse(0, "an element is null") };
            lists.entry(name.to_owned()).or_default().push(key.clone());
        }
    }
    let lists = lists.into_iter().map(|(name, items)| (name, strings(items))).collect();
    Ok(Value::map(Type::list(Type::String), lists))
}

fn all_true(arguments: &[Value]) -> Yield {
    Ok(sequence(arguments, 0)?.iter().all(|item| item.as_bool() == Some(true)).into())
}

fn any_true(arguments: &[Value]) -> Yield {
    Ok(sequence(arguments, 0)?.iter().any(|item| item.as_bool() == Some(true)).into())
}
