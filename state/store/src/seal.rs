//! Where the bytes of a state go out and come in: what is written is sealed first, what is read is unsealed first.
//!
//! Applied to the body of each snapshot and to the payload of each commit of a journal, by `snapshot` and `record` alone and
//! for every backend. Headers stay readable: version, lineage, serial and token are needed before anything is unsealed.
//! Invariant: what [`Seal::seal`] gives holds neither a zero byte nor a line's end, because a torn tail of a journal is
//! known by zeros, and a snapshot is three lines.

use std::borrow::Cow;

use thiserror::Error;

/// Bytes could not be sealed or unsealed.
#[derive(Debug, Error)]
#[error("{cause}")]
pub struct SealError {
    /// Why, and what to do.
    pub cause: String,
}

/// Seals what is written, and unseals what is read.
pub trait Seal: Send + Sync {
    /// Returns what is written in place of these bytes.
    fn seal<'a>(&self, plain: &'a [u8]) -> Result<Cow<'a, [u8]>, SealError>;
    /// Returns the bytes in whose place this was written.
    fn unseal<'a>(&self, sealed: &'a [u8]) -> Result<Cow<'a, [u8]>, SealError>;
}

/// Writes bytes as they are.
#[derive(Debug, Clone, Copy)]
pub struct Plain;

impl Seal for Plain {
    fn seal<'a>(&self, plain: &'a [u8]) -> Result<Cow<'a, [u8]>, SealError> {
        Ok(Cow::Borrowed(plain))
    }

    fn unseal<'a>(&self, sealed: &'a [u8]) -> Result<Cow<'a, [u8]>, SealError> {
        Ok(Cow::Borrowed(sealed))
    }
}
