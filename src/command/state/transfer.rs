//! `lustre state pull` and `push`: the state as a file, out and in.
//!
//! The file is a snapshot as the store keeps it, checksum included; `state/store/README.md` has its format.
//! Invariant: a push never puts an older or a foreign state in place unless it was told to.

use std::io::Read as _;

use lustre_model::recorded::World;

use super::back_up;
use crate::cli::state::{PushFlags, RekeyFlags};
use crate::command::recorded;
use crate::command::spec;
use crate::exit::{Failure, Success};
use crate::terminal::Terminal;

/// Largest state that is taken.
const STATE_BYTES_MAX: u64 = 4 << 30;

/// Prints the state as it is stored.
pub fn pull(terminal: Terminal) -> Result<Success, Failure> {
    let recorded = recorded::read(spec::place()?)?;
    if recorded.world.lineage.0.is_empty() {
        terminal.tell("There is no state yet.");
        return Ok(Success::Done);
    }
    let bytes = lustre_store::encode(&recorded.world, recorded.token, recorded.at.seal.as_ref())?;
    terminal.say_raw(&String::from_utf8_lossy(&bytes));
    Ok(Success::Done)
}

/// Puts a pulled state in the place of the recorded one.
pub fn push(flags: &PushFlags, terminal: Terminal) -> Result<Success, Failure> {
    let mut bytes = Vec::new();
    if flags.file.as_os_str() == "-" {
        std::io::stdin().lock().take(STATE_BYTES_MAX).read_to_end(&mut bytes)?;
    } else {
        fs_err::File::open(&flags.file)?.take(STATE_BYTES_MAX).read_to_end(&mut bytes)?;
    }
    let place = spec::place()?;
    let pushed = lustre_store::decode(&flags.file, &bytes, place.seal.as_ref())?.world;
    let recorded = recorded::lock(place, "state push", flags.lock.lock_timeout)?;
    if *recorded.world == pushed {
        terminal.tell("The state is that already.");
        return Ok(Success::Done);
    }
    if !flags.force {
        check(&recorded.world, &pushed)?;
    }
    let existed = !recorded.world.lineage.0.is_empty();
    let backup = if existed { Some(back_up(&recorded)?) } else { None };
    let journal = recorded.open("state push")?;
    journal.replace(pushed)?;
    journal.close()?;
    if let Some(backup) = backup {
        terminal.tell(&format!("The state as it was is in {}.", backup.display()));
    }
    Ok(Success::Done)
}

/// Writes the state anew, so that it is encrypted under the key that writes now, or no longer.
///
/// No copy is left beside it: that would be one under the old key.
pub fn rekey(flags: &RekeyFlags, terminal: Terminal) -> Result<Success, Failure> {
    let recorded = recorded::lock(spec::place()?, "state rekey", flags.lock.lock_timeout)?;
    if recorded.world.lineage.0.is_empty() {
        terminal.tell("There is no state yet.");
        return Ok(Success::Done);
    }
    let (place, seal) = (recorded.at.place.clone(), std::sync::Arc::clone(&recorded.at.seal));
    let world = recorded.world.as_ref().clone();
    let journal = recorded.open("state rekey")?;
    journal.replace(world)?;
    journal.close()?;
    terminal.say(&match seal.writes_under() {
        Some(key) => format!("{place} is written anew, encrypted under the key \"{key}\"."),
        None => format!("{place} is written anew, and is not encrypted."),
    });
    terminal.tell("Copies of it, such as one that ends in .backup, are still as they were: delete those that are under an old key.");
    Ok(Success::Done)
}

/// Refuses what would lose what is recorded.
fn check(recorded: &World, pushed: &World) -> Result<(), Failure> {
    let refused = |cause: String| Failure::Said {
        cause,
        hint: Some("pull again and change that, or say -force when this loss is wanted".to_owned()),
    };
    if recorded.lineage.0.is_empty() {
        return Ok(());
    }
    if recorded.lineage != pushed.lineage {
        return Err(refused(format!(
            "the file is the state {}, and the recorded one is {}",
            pushed.lineage, recorded.lineage
        )));
    }
    if pushed.serial < recorded.serial {
        return Err(refused(format!(
            "the file has serial {}, and the recorded state has gone on to {}",
            pushed.serial, recorded.serial
        )));
    }
    if pushed.serial == recorded.serial {
        return Err(refused(format!(
            "the file differs from the recorded state, and both have serial {}",
            pushed.serial
        )));
    }
    Ok(())
}
