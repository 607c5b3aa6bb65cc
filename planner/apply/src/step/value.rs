//! A value: remembered in the state, nowhere else.
//!
//! Invariant: `output` is what `input` was when it was applied.

use lustre_model::resource::Attributes;

use crate::perform::Left;

/// Returns what is to be recorded.
pub(super) fn settle(mut attributes: Attributes) -> Left {
    if let Some(input) = attributes.get("input").cloned() {
        attributes.insert("output".to_owned(), input);
    }
    Left { attributes, ..Left::default() }
}
