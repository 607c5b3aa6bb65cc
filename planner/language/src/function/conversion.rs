//! Conversions, marks, and looking before leaping.
//!
//! Invariant: a conversion changes the type and nothing else; marks go only by `nonsensitive`.

use lustre_model::types::Type;
use lustre_model::value::{Kind, Value};

use crate::function::{Row, Run, Yield, refuse};

pub(super) const ROWS: &[Row] = &[
    Row(
        "tostring(value any) string",
        "Converts to text.",
        ["tostring(1.50)", "\"1.5\""],
        Run::Raw(to_string),
    ),
    Row(
        "tonumber(value any) number",
        "Converts to a number.",
        ["tonumber(\"12\")", "12"],
        Run::Raw(to_number),
    ),
    Row("tobool(value any) bool", "Converts to a boolean.", ["tobool(\"true\")", "true"], Run::Raw(to_bool)),
    Row(
        "tolist(value any) list(any)",
        "Converts to a list.",
        ["tolist([\"a\", 1])", "[\"a\", \"1\"]"],
        Run::Raw(to_list),
    ),
    Row(
        "toset(value any) set(any)",
        "Converts to a set.",
        ["toset([\"b\", \"a\", \"b\"])", "[\"a\", \"b\"]"],
        Run::Raw(to_set),
    ),
    Row(
        "tomap(value any) map(any)",
        "Converts to a map.",
        ["tomap({ a = 1, b = \"x\" })", "{ a = \"1\", b = \"x\" }"],
        Run::Raw(to_map),
    ),
    Row(
        "try(...expressions any) any",
        "Yields the first expression that can be evaluated.",
        ["try({}.missing, \"fallback\")", "\"fallback\""],
        Run::Try,
    ),
    Row(
        "can(expression any) bool",
        "Says whether an expression can be evaluated.",
        ["can(tonumber(\"x\"))", "false"],
        Run::Can,
    ),
    Row(
        "sensitive(value any) any",
        "Marks a value so that it is never shown.",
        ["nonsensitive(sensitive(\"secret\"))", "\"secret\""],
        Run::Raw(sensitive),
    ),
    Row(
        "nonsensitive(value any) any",
        "Takes the mark from a value that may be shown.",
        ["nonsensitive(sensitive(1))", "1"],
        Run::Raw(nonsensitive),
    ),
    Row(
        "issensitive(value any) bool",
        "Says whether a value is marked.",
        ["issensitive(sensitive(1))", "true"],
        Run::Raw(is_sensitive),
    ),
    Row(
        "ephemeralasnull(value any) any",
        "Yields a value with null for its ephemeral parts; values of a spec have none.",
        ["ephemeralasnull({ a = 1 })", "{ a = 1 }"],
        Run::Raw(ephemeral_as_null),
    ),
    Row(
        "type(value any) string",
        "Names the type of a value.",
        ["type([1, \"a\"])", "\"tuple([number, string])\""],
        Run::Raw(type_name),
    ),
];

fn convert(arguments: &[Value], wanted: &Type) -> Yield {
    let Some(value) = arguments.first() else { return refuse(0, "a value is required") };
    value.convert(wanted).or_else(|error| refuse(0, error.to_string()))
}

fn to_string(arguments: &[Value]) -> Yield {
    convert(arguments, &Type::String)
}

fn to_number(arguments: &[Value]) -> Yield {
    convert(arguments, &Type::Number)
}

fn to_bool(arguments: &[Value]) -> Yield {
    convert(arguments, &Type::Bool)
}

fn to_list(arguments: &[Value]) -> Yield {
    convert(arguments, &Type::list(Type::Any))
}

fn to_set(arguments: &[Value]) -> Yield {
    convert(arguments, &Type::set(Type::Any))
}

fn to_map(arguments: &[Value]) -> Yield {
    convert(arguments, &Type::map(Type::Any))
}

fn first(arguments: &[Value]) -> Value {
    arguments.first().cloned().unwrap_or(Value::null(Type::Any))
}

fn sensitive(arguments: &[Value]) -> Yield {
    Ok(first(arguments).sensitive())
}

fn nonsensitive(arguments: &[Value]) -> Yield {
    // Only the outer mark: what is secret inside stays so until it is taken out by name.
    Ok(first(arguments).kind().clone().into())
}

fn ephemeral_as_null(arguments: &[Value]) -> Yield {
    Ok(first(arguments))
}

fn is_sensitive(arguments: &[Value]) -> Yield {
    let value = first(arguments);
    // What is not known yet may come out marked.
    Ok(if value.is_known() { value.is_sensitive().into() } else { Value::unknown(Type::Bool).definite() })
}

fn type_name(arguments: &[Value]) -> Yield {
    let value = first(arguments);
    let known = !matches!(value.kind(), Kind::Unknown(Type::Any));
    Ok(if known { value.type_of().to_string().into() } else { Value::unknown(Type::String) })
}
