//! The present, as text for people and machines, and as a number for the language.
//!
//! Not for measuring; durations come from monotonic clocks.
//! Invariant: times are UTC in RFC 3339, to the second or finer.

use std::time::{SystemTime, UNIX_EPOCH};

use lustre_language::Moment;
use lustre_model::moment::rfc3339;

/// Returns the present: `2026-11-21T01:30:00Z`.
pub fn now() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    rfc3339(since.as_secs())
}

/// Returns the present as functions of the language are told it.
pub fn moment() -> Moment {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Moment(i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}
