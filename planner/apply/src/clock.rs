//! How far the clock of a host is from ours.
//!
//! Asked with `date`, before there is an agent; a host that is this machine has our clock.
//! Invariant: a host is never blamed for the time that asking took.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lustre_model::address::Address;
use lustre_model::resource::{Connection as Way, HostSpec};

use crate::connection::{Command, Connection, run_ok};
use crate::error::StepError;

/// Times of files that are this far from each other on two hosts make programs such as make do the wrong thing; certificates bear a
/// day.
const OFF_MAX: Duration = Duration::from_mins(1);

/// Refuses a host whose clock is off.
pub async fn check(connection: &dyn Connection, host: &Address, spec: &HostSpec) -> Result<(), StepError> {
    if spec.connection == Way::Local {
        return Ok(());
    }
    // The first answer waits for the connection.
    run_ok(connection, &Command::new("date", &["-u", "+%s"])).await?;
    let before = now();
    let said = run_ok(connection, &Command::new("date", &["-u", "+%s"])).await?;
    let after = now();
    // What it says is no time at all, which is no reason to refuse it.
    let Ok(theirs) = String::from_utf8_lossy(&said).trim().parse::<u64>() else { return Ok(()) };
    let (off, side) = off(theirs, (before, after));
    if off <= OFF_MAX.as_secs() {
        return Ok(());
    }
    Err(StepError::Clock { host: Box::new(host.clone()), seconds: off, side })
}

/// Which way a clock is off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// It shows a later time than ours.
    Ahead,
    /// It shows an earlier time than ours.
    Behind,
}

impl std::fmt::Display for Side {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Ahead => "ahead of",
            Self::Behind => "behind",
        })
    }
}

/// Returns by how many seconds a clock is off at least, when it was looked at between two moments.
fn off(theirs: u64, (before, after): (u64, u64)) -> (u64, Side) {
    if theirs > after { (theirs - after, Side::Ahead) } else { (before.saturating_sub(theirs), Side::Behind) }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_that_asking_takes_is_not_counted() {
        assert_eq!(off(100, (100, 100)), (0, Side::Behind));
        assert_eq!(off(150, (100, 200)), (0, Side::Behind));
        assert_eq!(off(260, (100, 200)), (60, Side::Ahead));
        assert_eq!(off(10, (100, 200)), (90, Side::Behind));
    }
}
