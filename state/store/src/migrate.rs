//! Brings the body of an older snapshot to today's version, one version at a time.
//!
//! Works on JSON, never on today's types: those change, old steps do not. `tests/samples` keeps a file of each version.
//! Invariant: step `n` takes a body of version `n` to version `n + 1` and loses nothing.

use serde_json::Value;

/// The version that is written.
pub const VERSION: u32 = STEPS.len() as u32 + 1;

/// Takes a body one version further.
type Migrate = fn(Value) -> Value;

/// Step `n - 1` of this list takes version `n` to `n + 1`.
const STEPS: &[Migrate] = &[];

/// Returns the body in today's version.
pub fn migrate(version: u32, body: Value) -> Value {
    let done = (version as usize).saturating_sub(1).min(STEPS.len());
    STEPS[done..].iter().fold(body, |body, step| step(body))
}
