//! fjall as the metadata target's ordered store: one keyspace, durable at checkpoints only.
//!
//! Between checkpoints the target's own log holds what the store may lose; fjall's journal is flushed as it likes.
//! Invariant: changes of one call of `apply` are in the store together or not at all.

use std::path::Path;

use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use lustre_metadata::store::{Change, OrderedStore, Pair, StoreError};

/// Memory for blocks of the store.
const CACHE_BYTES: u64 = 128 << 20;

/// The store of a metadata target.
pub(super) struct FjallStore {
    database: Database,
    pairs: Keyspace,
}

impl FjallStore {
    /// Opens the store in a folder, making it when it is absent.
    pub(super) fn open(path: &Path) -> Result<Self, fjall::Error> {
        let database = Database::builder(path).cache_size(CACHE_BYTES).manual_journal_persist(true).open()?;
        let pairs = database.keyspace("metadata", KeyspaceCreateOptions::default)?;
        Ok(Self { database, pairs })
    }
}

fn failed(operation: &'static str) -> impl Fn(fjall::Error) -> StoreError {
    move |error| StoreError { operation, source: Box::new(error) }
}

impl OrderedStore for FjallStore {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let value = self.pairs.get(key).map_err(failed("reading a record"))?;
        Ok(value.map(|value| value.to_vec()))
    }

    fn range(&self, start: &[u8], end: &[u8], limit: usize) -> Result<Vec<Pair>, StoreError> {
        if start >= end {
            return Ok(Vec::new());
        }
        let mut found = Vec::new();
        for guard in self.pairs.range(start.to_vec()..end.to_vec()).take(limit) {
            let (key, value) = guard.into_inner().map_err(failed("reading a range of records"))?;
            found.push((key.to_vec(), value.to_vec()));
        }
        Ok(found)
    }

    fn apply(&mut self, changes: Vec<Change>) -> Result<(), StoreError> {
        let mut batch = self.database.batch();
        for (key, value) in changes {
            match value {
                Some(value) => batch.insert(&self.pairs, key, value),
                None => batch.remove(&self.pairs, key),
            }
        }
        batch.commit().map_err(failed("applying a batch of records"))
    }

    fn persist(&mut self) -> Result<(), StoreError> {
        self.database.persist(PersistMode::SyncAll).map_err(failed("making the store durable"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_keeps_order_and_what_it_persisted() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = FjallStore::open(dir.path()).unwrap();
        let put = |key: &str| (key.as_bytes().to_vec(), Some(key.as_bytes().to_vec()));
        store.apply(vec![put("b"), put("a"), put("c"), put("d")]).unwrap();
        store.apply(vec![(b"c".to_vec(), None)]).unwrap();
        store.persist().unwrap();
        drop(store);
        let store = FjallStore::open(dir.path()).unwrap();
        let keys = |start: &[u8], end: &[u8], limit| -> Vec<Vec<u8>> {
            store.range(start, end, limit).unwrap().into_iter().map(|(key, _)| key).collect()
        };
        assert_eq!(keys(b"a", b"e", 10), [b"a".to_vec(), b"b".to_vec(), b"d".to_vec()]);
        assert_eq!(keys(b"b", b"d", 10), [b"b".to_vec()]);
        assert_eq!(keys(b"a", b"e", 1), [b"a".to_vec()]);
        assert!(keys(b"e", b"a", 1).is_empty());
        assert_eq!(store.get(b"c").unwrap(), None);
    }
}
