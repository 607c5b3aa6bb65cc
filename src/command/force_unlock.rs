//! `lustre force-unlock`: for a lock that outlived its holder.
//!
//! Whether a lock can outlive its holder, its place knows: one in a folder ends with its process and cannot be taken. Whoever
//! loses a lock elsewhere is kept from writing by the place.
//! Invariant: only the lock that was named is taken away.

use crate::cli::UnlockFlags;
use crate::command::spec;
use crate::exit::{Failure, Success};
use crate::terminal::Terminal;
use lustre_store::Unlocked;

/// Takes the lock from its holder, or says why not.
pub fn run(flags: &UnlockFlags, terminal: Terminal) -> Result<Success, Failure> {
    match spec::unread_place()?.backend()?.force_unlock(&flags.id)? {
        Unlocked::Free => {
            terminal.tell("Nobody holds the lock on the state: it ended with the process that held it.");
            Ok(Success::Done)
        }
        Unlocked::Taken(held) => {
            terminal.tell(&format!("The lock is free. It was held by {held}."));
            Ok(Success::Done)
        }
        Unlocked::Other(held) => Err(other(&held, &flags.id)),
        Unlocked::EndsWithItsProcess(held) if held.id != flags.id => Err(other(&held, &flags.id)),
        Unlocked::EndsWithItsProcess(held) => Err(Failure::Said {
            cause: format!("the lock is held by a running process: {held}"),
            hint: Some(format!("end that process (kill {}), and its lock ends with it", held.holder.pid)),
        }),
    }
}

fn other(held: &lustre_store::Held, id: &str) -> Failure {
    Failure::Said {
        cause: format!("the lock on the state is number {}, held by {held}, not number {id}", held.id),
        hint: Some("look again whom you would interrupt".to_owned()),
    }
}
