//! Functions on sets.
//!
//! Arguments may be lists; elements are converted to the one type they have in common.
//! Invariant: the size of a product is checked before it is built.

use lustre_model::types::Type;
use lustre_model::value::{Value, unify};

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
        Run::Parts(product),
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

/// The type of one combination; none when it cannot be said.
pub(super) fn product_row(types: &[Type]) -> Option<Type> {
    let elements = types.iter().map(|kind| match kind {
        Type::List(element) | Type::Set(element) => Some(element.as_ref().clone()),
        Type::Tuple(elements) => unify(elements),
        Type::Any | Type::Bool | Type::Number | Type::String | Type::Map(_) | Type::Object(_) => None,
    });
    elements.collect::<Option<Vec<_>>>().map(Type::Tuple)
}

/// The product where one of the sets is empty.
pub(super) fn empty_product(arguments: &[Value]) -> Value {
    let types: Vec<Type> = arguments.iter().map(Value::type_of).collect();
    let row = product_row(&types).unwrap_or(Type::Any);
    let all_sets = types.iter().all(|kind| matches!(kind, Type::Set(_)));
    if all_sets { Value::set(row, []) } else { Value::list(row, Vec::new()) }
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
    if size == 0 {
        return Ok(empty_product(arguments));
    }
    let mut rows: Vec<Vec<Value>> = vec![Vec::new()];
    for list in &lists {
        rows = rows
            .iter()
            .flat_map(|row| list.iter().map(|item| [row.as_slice(), std::slice::from_ref(item)].concat()))
            .collect();
    }
    let tuple = Value::tuple(rows.into_iter().map(Value::tuple).collect());
    let types: Vec<Type> = arguments.iter().map(Value::type_of).collect();
    let Some(row) = product_row(&types) else { return refuse(0, "all elements must have the same type") };
    let all_sets = types.iter().all(|kind| matches!(kind, Type::Set(_)));
    let wanted = if all_sets { Type::set(row) } else { Type::list(row) };
    tuple.convert(&wanted).or_else(|error| refuse(0, error.to_string()))
}
