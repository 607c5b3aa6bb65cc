//! Tags of objects in AWS, as AWS allows them.
//!
//! Invariant: what is accepted AWS takes; names that AWS and we use ourselves are refused.

use std::collections::BTreeMap;

use lustre_model::types::Type;
use lustre_model::value::Value;

use super::reader::{Need, Reader};

/// Most tags of one object; AWS has 50, and one is ours.
const TAGS_MAX: usize = 49;

/// How names of tags begin that are not the user's.
const RESERVED: [&str; 2] = ["aws:", "lustre:"];

/// Reads a map of tags.
pub fn read(reader: &mut Reader<'_>, name: &'static str) -> Option<Value> {
    let (value, span) = reader.typed(name, &Type::map(Type::String), Need::Optional)?;
    let Some(entries) = value.as_map() else { return Some(value) };
    let wrong = entries.iter().find_map(|(key, value)| wrong(key, value.as_str().unwrap_or_default()));
    let many = (entries.len() > TAGS_MAX).then(|| format!("There are at most {TAGS_MAX} tags."));
    match wrong.or(many) {
        Some(reason) => reader.invalid(name, &value, (&reason, span)),
        None => Some(value),
    }
}

/// Returns the tags that an object gets: those of its provider, and its own over them.
pub fn all(default: Option<&Value>, own: Option<&Value>) -> Value {
    let mut entries = BTreeMap::new();
    for tags in [default, own].into_iter().flatten() {
        let Some(tags) = tags.as_map() else { return Value::unknown(Type::map(Type::String)).definite() };
        entries.extend(tags.iter().map(|(name, value)| (name.clone(), value.clone())));
    }
    Value::map(Type::String, entries)
}

fn wrong(key: &str, value: &str) -> Option<String> {
    if let Some(reserved) = RESERVED.iter().find(|reserved| key.to_ascii_lowercase().starts_with(**reserved))
    {
        return Some(format!("Names of tags that begin with {reserved} are reserved."));
    }
    let length = key.chars().count();
    if length == 0 || length > 128 || value.chars().count() > 256 {
        return Some(format!(
            "The tag {key:?} is too long or has no name: names have 1 to 128 characters, values at most 256."
        ));
    }
    (key.chars().chain(value.chars()).any(char::is_control))
        .then(|| format!("The tag {key:?} has a control character."))
}
