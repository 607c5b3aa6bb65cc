//! Where the bytes of a state go out and come in: what is written is sealed first, what is read is unsealed first.
//!
//! Applied to the body of each snapshot and to the payload of each commit of a journal, by `snapshot` and `record` alone and
//! for every backend; and by the commands to plan files. Headers stay readable: version, lineage, serial and token are
//! needed before anything is unsealed; they are given as what the bytes are about, and authenticated with them.
//! [`Plain`] writes bytes as they are; a [`Keyring`] encrypts them.
//! Invariant: what [`Seal::seal`] gives holds neither a zero byte nor a line's end, because a torn tail of a journal is
//! known by zeros, and a snapshot is three lines.

use std::borrow::Cow;

use thiserror::Error;

mod envelope;
mod keyring;
pub mod signature;

pub use envelope::{Cost, sealed_under};
pub use keyring::{Key, Keyring, Keys, Plaintext, Random, Wrapper};

/// Bytes could not be sealed or unsealed. Nothing was changed.
#[derive(Debug, Error)]
pub enum SealError {
    /// Plain where encryption is demanded.
    #[error(
        "it is not encrypted, and the spec demands that it is; a state that is to be encrypted from now on is taken in with \
         `plaintext = \"migrate\"` in `encryption` until it was written once, a plan is made again"
    )]
    NotSealed,
    /// Encrypted where the spec knows of no encryption.
    #[error(
        "it is encrypted under the key \"{key}\", and no `encryption` in the block `lustre` of the spec says how to read it"
    )]
    Unexpected {
        /// The key's name.
        key: String,
    },
    /// Encrypted under a key that is not to be read.
    #[error(
        "it is encrypted under the key \"{key}\", and `encryption` reads {known}: name that key in `previous`, with its block `key`"
    )]
    UnknownKey {
        /// The key's name.
        key: String,
        /// Those that are read.
        known: String,
    },
    /// The key does not fit.
    #[error(
        "the key \"{key}\" does not open it: this is not the passphrase or key that it was written with, or its header was \
         altered; give the one that it was written with, or restore it from a copy"
    )]
    WrongKey {
        /// The key's name.
        key: String,
    },
    /// The key fits, and the bytes do not.
    #[error(
        "it was altered since it was encrypted, or stands where something else was written; restore it from a copy"
    )]
    Altered,
    /// It begins like ours, and is not.
    #[error("it begins like something encrypted, and is cut off or altered; restore it from a copy")]
    Malformed,
    /// Newer code wrote it.
    #[error(
        "it is encrypted in version {found}, and this lustre reads versions up to {known}: use the newer lustre that wrote it"
    )]
    Newer {
        /// Its version.
        found: u32,
        /// The newest that this code reads.
        known: u32,
    },
    /// Its header asks for more work than any that we write.
    #[error(
        "its header asks for more memory or time than lustre ever writes, so that it was altered; restore it from a copy"
    )]
    TooCostly,
    /// The key would have to be derived anew with parameters that the function refuses.
    #[error("no key can be derived from the passphrase of \"{key}\"")]
    Derivation {
        /// The key's name.
        key: String,
    },
    /// No randomness.
    #[error("there is no randomness for a key")]
    Random {
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The command that wraps keys failed.
    #[error("the command of the key \"{key}\" failed: {cause}")]
    Command {
        /// The key's name.
        key: String,
        /// Why.
        cause: String,
    },
    /// The cipher refuses.
    #[error("it is too large to be encrypted")]
    TooLarge,
}

/// Seals what is written, and unseals what is read.
pub trait Seal: Send + Sync {
    /// Returns what is written in place of these bytes, which are about this.
    fn seal<'a>(&self, plain: &'a [u8], about: &[u8]) -> Result<Cow<'a, [u8]>, SealError>;
    /// Returns the bytes in whose place this was written, about the same.
    fn unseal<'a>(&self, sealed: &'a [u8], about: &[u8]) -> Result<Cow<'a, [u8]>, SealError>;
    /// Returns the name of the key under which it writes; none when it writes bytes as they are.
    fn writes_under(&self) -> Option<&str> {
        None
    }
}

/// Writes bytes as they are.
#[derive(Debug, Clone, Copy)]
pub struct Plain;

impl Seal for Plain {
    fn seal<'a>(&self, plain: &'a [u8], _about: &[u8]) -> Result<Cow<'a, [u8]>, SealError> {
        Ok(Cow::Borrowed(plain))
    }

    fn unseal<'a>(&self, sealed: &'a [u8], _about: &[u8]) -> Result<Cow<'a, [u8]>, SealError> {
        match sealed_under(sealed)? {
            Some(key) => Err(SealError::Unexpected { key }),
            None => Ok(Cow::Borrowed(sealed)),
        }
    }
}
