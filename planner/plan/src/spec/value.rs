//! `value`: a value that the state remembers.
//!
//! Invariant: `input` may be of any type.

use lustre_model::resource::Attributes;
use lustre_model::types::Type;

use super::reader::{Need, Reader, attributes};

pub fn decode(reader: &mut Reader<'_>) -> Attributes {
    let input = reader.typed("input", &Type::Any, Need::Optional).map(|(value, _)| value);
    let triggers = reader.typed("triggers_replace", &Type::Any, Need::Optional).map(|(value, _)| value);
    attributes([("input", input), ("triggers_replace", triggers)])
}
