//! `lustre force-unlock`: for a lock that outlived its holder.
//!
//! A state in a folder is locked with `flock(2)`, which ends with the process that holds it: nothing can be left behind, and
//! taking it from a living process would let two write one state. So this says who holds it.
//! Invariant: a lock that somebody holds is never taken away.

use crate::cli::UnlockFlags;
use crate::command::spec;
use crate::exit::{Failure, Success};
use crate::terminal::Terminal;

/// Says that nobody holds the lock, or who does.
pub fn run(flags: &UnlockFlags, terminal: Terminal) -> Result<Success, Failure> {
    match lustre_store::holder(&spec::state_path()?)? {
        None => {
            terminal.tell("Nobody holds the lock on the state: it ended with the process that held it.");
            Ok(Success::Done)
        }
        Some((id, holder)) if id != flags.id => Err(Failure::Said {
            cause: format!("the lock on the state is number {id}, held by {holder}, not number {}", flags.id),
            hint: Some("look again whom you would interrupt".to_owned()),
        }),
        Some((_, holder)) => Err(Failure::Said {
            cause: format!("the lock is held by a running process: {holder}"),
            hint: Some(format!("end that process (kill {}), and its lock ends with it", holder.pid)),
        }),
    }
}
