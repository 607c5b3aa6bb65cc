//! A value that the state remembers: `output` becomes what `input` was when it was applied.
//!
//! It exists nowhere but in the state.
//! Invariant: after an apply, `output` equals `input`.

use super::Fields;
use crate::value::Value;

/// A value as the executor reads it.
#[derive(Debug, Clone, PartialEq)]
pub struct ValueSpec {
    /// What to remember; null when not given.
    pub input: Value,
}

impl ValueSpec {
    pub(super) fn from_fields(fields: &Fields<'_>) -> Self {
        Self { input: fields.any("input") }
    }
}
