//! Regular expressions, with the `regex` crate: RE2's syntax, in linear time.
//!
//! Patterns are written as Go has them and translated ([`translate`]).
//! Invariant: a pattern compiles within [`PATTERN_BYTES_MAX`] of memory or is refused.

use lustre_model::types::Type;
use lustre_model::value::Value;
use regex::{Captures, Regex, RegexBuilder};

use crate::function::text::fits;
use crate::function::{Refusal, Yield, refuse, text};

mod translate;

/// Most memory of a compiled pattern.
const PATTERN_BYTES_MAX: usize = 4 << 20;

fn compile(pattern: &str, argument: usize) -> Result<Regex, Refusal> {
    let built = RegexBuilder::new(&translate::translated(pattern))
        .size_limit(PATTERN_BYTES_MAX)
        .nest_limit(64)
        .build();
    built.or_else(|error| refuse(argument, format!("the pattern is not valid: {error}").replace('\n', " ")))
}

/// One match: its text when there are no groups, an object when groups have names, else a tuple.
fn yielded(regex: &Regex, captures: &Captures<'_>, argument: usize) -> Yield {
    let group = |found: Option<regex::Match<'_>>| {
        found.map_or(Value::null(Type::String), |found| found.as_str().into())
    };
    let names: Vec<Option<&str>> = regex.capture_names().skip(1).collect();
    if names.is_empty() {
        return Ok(group(captures.get(0)));
    }
    let named: Vec<&str> = names.iter().copied().flatten().collect();
    if named.is_empty() {
        return Ok(Value::tuple((1..captures.len()).map(|at| group(captures.get(at))).collect()));
    }
    if named.len() < names.len() {
        return refuse(argument, "either all groups have names or none has");
    }
    Ok(Value::object(named.into_iter().map(|name| (name, group(captures.name(name))))))
}

/// The type of one match of a pattern that is known; none when it is not, or is wrong.
pub(super) fn yielded_type(arguments: &[Value]) -> Option<Type> {
    let regex = compile(arguments.first()?.as_str()?, 0).ok()?;
    let names: Vec<Option<&str>> = regex.capture_names().skip(1).collect();
    if names.is_empty() {
        return Some(Type::String);
    }
    if names.iter().all(Option::is_none) {
        return Some(Type::Tuple(vec![Type::String; names.len()]));
    }
    Some(Type::object(
        names.into_iter().collect::<Option<Vec<_>>>()?.into_iter().map(|name| (name, Type::String)),
    ))
}

pub(super) fn first(arguments: &[Value]) -> Yield {
    let regex = compile(text(arguments, 0), 0)?;
    match regex.captures(text(arguments, 1)) {
        Some(captures) => yielded(&regex, &captures, 0),
        None => refuse(1, "the pattern does not match"),
    }
}

pub(super) fn all(arguments: &[Value]) -> Yield {
    let regex = compile(text(arguments, 0), 0)?;
    let matches = regex.captures_iter(text(arguments, 1)).map(|captures| yielded(&regex, &captures, 0));
    let tuple = Value::tuple(matches.collect::<Result<_, _>>()?);
    Ok(tuple.convert(&Type::list(Type::Any)).unwrap_or(tuple))
}

/// Replaces every match; `$1`, `${1}` and `${name}` stand for groups.
pub(super) fn replace(pattern: &str, whole: &str, replacement: &str) -> Yield {
    let regex = compile(pattern, 1)?;
    let matches = regex.find_iter(whole).count();
    // A group is part of its match, and all matches together are part of the whole.
    let groups = replacement.matches('$').count();
    fits(2, replacement.len(), matches)?;
    fits(2, whole.len(), groups)?;
    Ok(regex.replace_all(whole, replacement).as_ref().into())
}
