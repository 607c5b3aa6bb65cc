//! Functions on sets.
//!
//! Arguments may be lists; elements are converted to the one type they have in common.
//! Invariant: the size of a product is checked before it is built.

use lustre_model::types::Type;
use lustre_model::value::{Kind, Value, unify};

use crate::function::collection::sequence;
use crate::function::{ELEMENTS_MAX, Refusal, Row, Run, Yield, refuse};

pub(super) const ROWS: &[Row] = &[
    Row(
        "setunion(first set(any), ...others set(any)) set(any)",
        "Yields what is in any of the sets.",
        ["setunion([\"a\", \"b\"], [\"b\", \"c\"])", "[\"a\", \"b\", \"c\"]"],
        Run::Values(union),
    ),
    Row(
        "setintersection(first set(any), ...others set(any)) set(any)",
        "Yields what is in all of the sets.",
        ["setintersection([\"a\", \"b\"], [\"b\", \"c\"])", "[\"b\"]"],
        Run::Values(intersection),
    ),
    Row(
        "setsubtract(first set(any), second set(any)) set(any)",
        "Yields what is in the first set and not in the second.",
        ["setsubtract([\"a\", \"b\"], [\"b\"])", "[\"a\"]"],
        Run::Values(subtract),
    ),
    Row(
        "setsymmetricdifference(first set(any), ...others set(any)) set(any)",
        "Yields what is in an odd number of the sets.",
        ["setsymmetricdifference([\"a\", \"b\"], [\"b\", \"c\"])", "[\"a\", \"c\"]"],
        Run::Values(difference),
    ),
    Row(
        "setproduct(...sets any) any",
        "Yields all combinations of elements.",
        ["setproduct([\"a\", \"b\"], [1, 2])", "[[\"a\", 1], [\"a\", 2], [\"b\", 1], [\"b\", 2]]"],
        Run::Values(product),
    ),
];

type Items = std::collections::BTreeSet<Value>;

/// Converts all sets to one element type.
fn sets(arguments: &[Value]) -> Result<(Type, Vec<Items>), Refusal> {
    let types: Vec<Type> = arguments.iter().map(Value::type_of).collect();
    let Some(Type::Set(element)) = unify(&types) else {
        return refuse(0, "all elements must have the same type");
    };
    let wanted = Type::Set(element.clone());
    let mut sets = Vec::new();
    for (position, value) in arguments.iter().enumerate() {
        let converted = value.convert(&wanted).or_else(|error| refuse(position, error.to_string()))?;
        sets.push(converted.parts().cloned().collect());
    }
    Ok((*element, sets))
}

fn combine(arguments: &[Value], both: fn(&Items, &Items) -> Items) -> Yield {
    let (element, sets) = sets(arguments)?;
    let combined = sets.into_iter().reduce(|left, right| both(&left, &right)).unwrap_or_default();
    Ok(Value::set(element, combined))
}

fn union(arguments: &[Value]) -> Yield {
    combine(arguments, |left, right| left | right)
}

fn intersection(arguments: &[Value]) -> Yield {
    combine(arguments, |left, right| left & right)
}

fn subtract(arguments: &[Value]) -> Yield {
    combine(arguments, |left, right| left - right)
}

fn difference(arguments: &[Value]) -> Yield {
    combine(arguments, |left, right| left ^ right)
}

fn product(arguments: &[Value]) -> Yield {
    if arguments.len() < 2 {
        return refuse(0, "two or more sets are required");
    }
    let lists: Vec<Vec<Value>> =
        (0..arguments.len()).map(|position| sequence(arguments, position)).collect::<Result<_, _>>()?;
    let size = lists.iter().fold(1usize, |size, list| size.saturating_mul(list.len()));
    if size > ELEMENTS_MAX {
        return refuse(0, format!("there are more than {ELEMENTS_MAX} combinations"));
    }
    let mut rows: Vec<Vec<Value>> = vec![Vec::new()];
    for list in &lists {
        rows = rows
            .iter()
            .flat_map(|row| list.iter().map(|item| [row.as_slice(), std::slice::from_ref(item)].concat()))
            .collect();
    }
    let tuple = Value::tuple(rows.into_iter().map(Value::tuple).collect());
    let all_sets = arguments.iter().all(|value| matches!(value.kind(), Kind::Set(..)));
    let wanted = if all_sets { Type::set(Type::Any) } else { Type::list(Type::Any) };
    Ok(tuple.convert(&wanted).unwrap_or(tuple))
}
