//! The ordered store under the tables: a map from keys to values that takes batches atomically.
//!
//! Not the log; a store may lose what was applied since [`OrderedStore::persist`], but only whole batches from the end.
//! Invariant: after a crash the store holds exactly the first n batches that were applied, for some n.

use std::collections::BTreeMap;
use std::error::Error;

use thiserror::Error;

/// A key with the value that it gets, or `None` when it is removed.
pub type Change = (Vec<u8>, Option<Vec<u8>>);

/// A key with its value.
pub type Pair = (Vec<u8>, Vec<u8>);

/// The store could not do it.
#[derive(Debug, Error)]
#[error("{operation} failed")]
pub struct StoreError {
    /// What was tried.
    pub operation: &'static str,
    /// Why.
    #[source]
    pub source: Box<dyn Error + Send + Sync>,
}

/// An ordered map on stable storage.
pub trait OrderedStore: Send {
    /// Returns the value of a key.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// Returns up to `limit` pairs with `start <= key < end`, in order of their keys.
    fn range(&self, start: &[u8], end: &[u8], limit: usize) -> Result<Vec<Pair>, StoreError>;

    /// Applies all changes or none.
    fn apply(&mut self, changes: Vec<Change>) -> Result<(), StoreError>;

    /// Makes everything applied so far survive power loss.
    fn persist(&mut self) -> Result<(), StoreError>;

    /// Opens the store anew after a change of it failed; it may have lost batches, but only whole ones from the end.
    ///
    /// After [`Reopened::NoRoom`] it can be read as before, and changes go on to fail.
    fn reopen(&mut self) -> Result<Reopened, StoreError>;
}

/// What came of opening a store anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reopened {
    /// It takes changes again.
    Done,
    /// The disk is too full to try.
    NoRoom,
}

/// A store in memory, for tests and simulations.
#[derive(Debug, Clone, Default)]
pub struct MemoryStore {
    pairs: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl OrderedStore for MemoryStore {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.pairs.get(key).cloned())
    }

    fn range(&self, start: &[u8], end: &[u8], limit: usize) -> Result<Vec<Pair>, StoreError> {
        if start >= end {
            return Ok(Vec::new());
        }
        let range = self.pairs.range(start.to_vec()..end.to_vec()).take(limit);
        Ok(range.map(|(key, value)| (key.clone(), value.clone())).collect())
    }

    fn apply(&mut self, changes: Vec<Change>) -> Result<(), StoreError> {
        for (key, value) in changes {
            match value {
                Some(value) => self.pairs.insert(key, value),
                None => self.pairs.remove(&key),
            };
        }
        Ok(())
    }

    fn persist(&mut self) -> Result<(), StoreError> {
        Ok(())
    }

    fn reopen(&mut self) -> Result<Reopened, StoreError> {
        Ok(Reopened::Done)
    }
}
