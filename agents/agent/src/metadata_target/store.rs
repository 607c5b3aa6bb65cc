//! fjall as the metadata target's ordered store: one keyspace, durable at checkpoints only.
//!
//! Between checkpoints the target's own log holds what the store may lose; fjall's journal is flushed as it likes.
//! A write that fails, its own or of its compaction, has fjall refuse all others for good; it is then opened anew.
//! Invariant: changes of one call of `apply` are in the store together or not at all.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use lustre_metadata::store::{Change, OrderedStore, Pair, Reopened, StoreError};

use super::reserve::Reserve;
use crate::durable;

/// Memory for blocks of the store.
const CACHE_BYTES: u64 = 128 << 20;

/// The store of a metadata target.
pub(super) struct FjallStore {
    path: PathBuf,
    reserve: Arc<Reserve>,
    /// `None` after it could not be opened anew.
    open: Option<Open>,
}

struct Open {
    database: Database,
    pairs: Keyspace,
}

impl FjallStore {
    /// Opens the store in a folder, making it when it is absent.
    pub(super) fn open(path: &Path, reserve: Arc<Reserve>) -> Result<Self, fjall::Error> {
        let open = Some(open(path, &reserve)?);
        Ok(Self { path: path.to_owned(), reserve, open })
    }

    fn opened(&self) -> Result<&Open, StoreError> {
        let closed = || StoreError {
            operation: "using the store, which could not be opened anew,",
            source: Box::new(io::Error::from(io::ErrorKind::NotConnected)),
        };
        self.open.as_ref().ok_or_else(closed)
    }
}

/// Opens the store, on a full disk with bytes that are held back.
fn open(path: &Path, reserve: &Reserve) -> Result<Open, fjall::Error> {
    reserve.make_room()?;
    loop {
        match try_open(path) {
            Err(error) if is_full(&error) && reserve.yield_part()? => {}
            opened => return opened,
        }
    }
}

fn is_full(error: &fjall::Error) -> bool {
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = next {
        if error.downcast_ref().is_some_and(durable::is_full) {
            return true;
        }
        next = error.source();
    }
    false
}

fn try_open(path: &Path) -> Result<Open, fjall::Error> {
    let database = Database::builder(path).cache_size(CACHE_BYTES).manual_journal_persist(true).open()?;
    let pairs = database.keyspace("metadata", KeyspaceCreateOptions::default)?;
    Ok(Open { database, pairs })
}

fn failed(operation: &'static str) -> impl Fn(fjall::Error) -> StoreError {
    move |error| StoreError { operation, source: Box::new(error) }
}

impl OrderedStore for FjallStore {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let value = self.opened()?.pairs.get(key).map_err(failed("reading a record"))?;
        Ok(value.map(|value| value.to_vec()))
    }

    fn range(&self, start: &[u8], end: &[u8], limit: usize) -> Result<Vec<Pair>, StoreError> {
        if start >= end {
            return Ok(Vec::new());
        }
        let mut found = Vec::new();
        for guard in self.opened()?.pairs.range(start.to_vec()..end.to_vec()).take(limit) {
            let (key, value) = guard.into_inner().map_err(failed("reading a range of records"))?;
            found.push((key.to_vec(), value.to_vec()));
        }
        Ok(found)
    }

    fn apply(&mut self, changes: Vec<Change>) -> Result<(), StoreError> {
        let Open { database, pairs } = self.opened()?;
        let mut batch = database.batch();
        for (key, value) in changes {
            match value {
                Some(value) => batch.insert(pairs, key, value),
                None => batch.remove(pairs, key),
            }
        }
        batch.commit().map_err(failed("applying a batch of records"))
    }

    fn persist(&mut self) -> Result<(), StoreError> {
        self.opened()?.database.persist(PersistMode::SyncAll).map_err(failed("making the store durable"))
    }

    fn reopen(&mut self) -> Result<Reopened, StoreError> {
        let unknown = |error| StoreError { operation: "asking for free space", source: Box::new(error) };
        if !self.reserve.may_open().map_err(unknown)? {
            return Ok(Reopened::NoRoom);
        }
        // It holds a lock on its folder.
        drop(self.open.take());
        self.open = Some(open(&self.path, &self.reserve).map_err(failed("opening the store anew"))?);
        Ok(Reopened::Done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::small_disk::SmallDisk;

    fn store(folder: &Path) -> FjallStore {
        FjallStore::open(&folder.join("store"), Arc::new(Reserve::open(folder).unwrap())).unwrap()
    }

    #[test]
    fn a_store_that_a_full_disk_has_spoiled_works_again_when_there_is_room() {
        let disk = SmallDisk::new(64 << 20);
        let mut store = store(disk.path());
        store.reserve.look().unwrap();
        let put = |n: u32| (n.to_be_bytes().to_vec(), Some(vec![7; 4096]));
        (0..100).for_each(|n| store.apply(vec![put(n)]).unwrap());
        store.persist().unwrap();
        disk.fill();
        let refused = (100..2000).find(|n| store.apply(vec![put(*n)]).is_err()).expect("it finds no room");
        assert!(store.get(&0_u32.to_be_bytes()).unwrap().is_some(), "it can be read");
        // What is held back suffices to open it anew, and then to take changes; and so does a start.
        assert_eq!(store.reopen().unwrap(), Reopened::Done);
        store.reserve.yield_part().unwrap();
        store.apply(vec![(0_u32.to_be_bytes().to_vec(), None)]).unwrap();
        store.persist().unwrap();
        assert!(store.get(&0_u32.to_be_bytes()).unwrap().is_none());
        assert!(store.get(&99_u32.to_be_bytes()).unwrap().is_some(), "what it persisted is there");
        drop(store);
        disk.fill();
        let mut store = self::store(disk.path());
        (refused..4000).find(|n| store.apply(vec![put(*n)]).is_err()).expect("it finds no room again");
        while store.reserve.yield_part().unwrap() {}
        disk.fill();
        assert_eq!(store.reopen().unwrap(), Reopened::NoRoom);
        assert!(store.get(&99_u32.to_be_bytes()).unwrap().is_some());
        disk.empty();
        assert_eq!(store.reopen().unwrap(), Reopened::Done);
        store.apply(vec![put(1)]).unwrap();
    }

    #[test]
    fn a_store_keeps_order_and_what_it_persisted() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = store(dir.path());
        let put = |key: &str| (key.as_bytes().to_vec(), Some(key.as_bytes().to_vec()));
        store.apply(vec![put("b"), put("a"), put("c"), put("d")]).unwrap();
        store.apply(vec![(b"c".to_vec(), None)]).unwrap();
        store.persist().unwrap();
        drop(store);
        let store = self::store(dir.path());
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
