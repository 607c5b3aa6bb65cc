//! Keeps the recorded world: reads, locks, migrates and writes it atomically, in the [`Place`] that the spec names.
//!
//! What is recorded, and what an event does to it, is `lustre_model::recorded`. The format of every file is in the
//! README beside this crate, field by field. What encrypts and signs, states and plan files alike, is [`Seal`] and [`signature`].
//! Invariant: a state that cannot be read completely is an error that says what to do. Nothing here ever takes a
//! missing, empty or torn file for "nothing exists", except where no file of that state exists at all.
//!
//! ```text
//! lustre.state           snapshot: a header line and a body, replaced by rename
//! lustre.state.journal   what happened since, one record per commit; absent when nothing did
//! lustre.state.lock      who works on it, and the fencing token
//! ```

mod backend;
mod background;
mod disk;
mod entropy;
mod error;
mod lock;
mod migrate;
mod open_state;
mod record;
mod seal;
mod snapshot;

pub use backend::http::{Http, HttpError, HttpOptions, HttpPlace};
pub use backend::local::{Local, journal_path, open, read};
pub use backend::s3::{LOCK_EXPIRY, LOCK_EXPIRY_MIN, S3, S3Options, S3Place};
pub use backend::{Backend, Ends, Held, LockedState, Place, Recovered, Recovery, Unlocked};
pub use disk::{Disk, DiskFile, Folder};
pub use error::{Damage, LockError, StoreError};
pub use lock::{Holder, Lock, holder, lock, newest_token};
pub use open_state::OpenState;
pub use record::frame;
pub use seal::{
    Cost, Key, Keyring, Keys, Plain, Plaintext, Random, Seal, SealError, Wrapper, sealed_under, signature,
};
pub use snapshot::{STATE_BEGIN, Snapshot, decode, encode, save};
