//! The lock on a state: one writer at a time on this machine, and the fencing token.
//!
//! The lock itself is `flock(2)`: it ends with its process, so a dead holder never has to be unlocked by hand. The file
//! says who holds it and carries the token over:
//! ```text
//! 0            1024         2048
//! | slot, even | slot, odd |      crc32c in hex, a space, JSON, spaces up to the line's end
//! ```
//! Invariant: each lock has a higher token than every one before. The token's slot is the one that the newest does not
//! use, so a write that is cut off leaves the newest readable.

use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use fs_err::os::unix::fs::OpenOptionsExt as _;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use crate::backend::{Ends, Held};
use crate::error::LockError;

/// Bytes of a slot.
const SLOT: usize = 1024;

/// Most characters of a text in a slot, so that it always fits.
const TEXT_MAX: usize = 100;

/// How often a lock that is held is tried again.
const RETRY: Duration = Duration::from_millis(100);

/// Who works on a state, for everybody who has to wait.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// User, as `name@host`.
    pub who: String,
    /// The command: `apply`.
    pub operation: String,
    /// Version of lustre.
    pub version: String,
    /// When it began, RFC 3339.
    pub since: String,
    /// Its process number.
    pub pid: u32,
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { who, operation, version, since, pid } = self;
        // Other tools do not say which process they are.
        let process = if *pid == 0 { String::new() } else { format!(", process {pid}") };
        write!(f, "{who} (lustre {version} {operation}{process}) since {since}")
    }
}

/// What a slot holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Slot {
    token: u64,
    holder: Holder,
}

/// A lock that is held until it is dropped.
#[derive(Debug)]
pub struct Lock {
    file: fs_err::File,
    slot: Slot,
}

/// Takes the lock on a state; when somebody else has it, tries again until `wait` is over.
pub fn lock(state: &Path, holder: Holder, wait: Duration) -> Result<Lock, LockError> {
    let io = |source| LockError::Io { source };
    let path = lock_path(state);
    let mut options = fs_err::OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    let file = options.open(&path).map_err(io)?;
    let until = Instant::now() + wait;
    while let Err(errno) = flock(&file, FlockOperation::NonBlockingLockExclusive) {
        if errno != rustix::io::Errno::WOULDBLOCK {
            return Err(io(io::Error::new(errno.kind(), format!("cannot lock {}: {errno}", path.display()))));
        }
        if Instant::now() >= until {
            return Err(held(&file));
        }
        std::thread::sleep(RETRY.min(until.saturating_duration_since(Instant::now())));
    }
    let newest = newest(&file).map_err(io)?;
    let fresh = file.metadata().map_err(io)?.len() == 0;
    if newest.is_none() && !fresh {
        return Err(LockError::Damaged { path });
    }
    let token = newest.map_or(0, |slot| slot.token) + 1;
    let slot = Slot { token, holder: clipped(holder) };
    write(&file, &slot).map_err(io)?;
    Ok(Lock { file, slot })
}

/// Returns the token of whoever holds the lock on a state, or held it last; 0 when nobody ever did.
///
/// For those who only look: agents answer to it, and it never outlives the next lock.
pub fn newest_token(state: &Path) -> Result<u64, LockError> {
    match fs_err::File::open(lock_path(state)) {
        Ok(file) => {
            let newest = newest(&file).map_err(|source| LockError::Io { source })?;
            Ok(newest.map_or(0, |slot| slot.token))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(source) => Err(LockError::Io { source }),
    }
}

/// Returns who holds the lock on a state at this moment; none when nobody does.
pub fn holder(state: &Path) -> Result<Option<(u64, Holder)>, LockError> {
    let io = |source| LockError::Io { source };
    let file = match fs_err::File::open(lock_path(state)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(io(source)),
    };
    match flock(&file, FlockOperation::NonBlockingLockShared) {
        Ok(()) => Ok(None),
        Err(rustix::io::Errno::WOULDBLOCK) => {
            let slot = newest(&file).map_err(io)?.ok_or(LockError::HeldByUnnamed)?;
            Ok(Some((slot.token, slot.holder)))
        }
        Err(errno) => Err(io(errno.into())),
    }
}

impl Lock {
    /// Returns the fencing token.
    pub fn token(&self) -> u64 {
        self.slot.token
    }

    /// Makes the token higher than `floor`.
    pub(crate) fn raise(&mut self, floor: u64) -> io::Result<()> {
        if self.slot.token > floor {
            return Ok(());
        }
        self.slot.token = floor + 1;
        write(&self.file, &self.slot)
    }
}

fn lock_path(state: &Path) -> PathBuf {
    let mut name = state.as_os_str().to_owned();
    name.push(".lock");
    PathBuf::from(name)
}

fn held(file: &fs_err::File) -> LockError {
    match newest(file) {
        Ok(Some(slot)) => {
            let held = Held { id: slot.token.to_string(), holder: slot.holder, ends: Ends::WithItsProcess };
            LockError::Held { held: Box::new(held) }
        }
        Ok(None) => LockError::HeldByUnnamed,
        Err(source) => LockError::Io { source },
    }
}

/// Returns the readable slot with the highest token.
fn newest(file: &fs_err::File) -> io::Result<Option<Slot>> {
    let mut bytes = vec![0; SLOT * 2];
    let mut length = 0;
    while length < bytes.len() {
        match file.file().read_at(&mut bytes[length..], length as u64)? {
            0 => break,
            more => length += more,
        }
    }
    bytes.truncate(length);
    Ok(bytes.chunks(SLOT).filter_map(decode).max_by_key(|slot| slot.token))
}

fn decode(bytes: &[u8]) -> Option<Slot> {
    let text = std::str::from_utf8(bytes).ok()?.trim_end();
    let (crc, json) = text.split_once(' ')?;
    (crc == checksum(json)).then(|| serde_json::from_str(json).ok()).flatten()
}

fn write(file: &fs_err::File, slot: &Slot) -> io::Result<()> {
    let json = serde_json::to_string(slot)?;
    let mut text = format!("{} {json}", checksum(&json)).into_bytes();
    text.resize(SLOT - 1, b' ');
    text.push(b'\n');
    let place = (slot.token % 2) * SLOT as u64;
    file.file().write_all_at(&text, place)?;
    file.sync_data()
}

/// Keeps the parts that a slot has room for.
fn clipped(holder: Holder) -> Holder {
    let clip =
        |text: String| text.chars().filter(|c| c.is_ascii_graphic() || *c == ' ').take(TEXT_MAX).collect();
    Holder {
        who: clip(holder.who),
        operation: clip(holder.operation),
        version: clip(holder.version),
        since: clip(holder.since),
        pid: holder.pid,
    }
}

fn checksum(text: &str) -> String {
    format!("{:08x}", crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, text.as_bytes()))
}
