//! Typed records over the ordered store and the log: changes of requests, their undoing, group commit, replay.
//!
//! Changes live in memory until [`Table::commit`] writes one log record for all of them and hands them to the store.
//! A store that fails, as one does on a full disk, is behind: the log and memory have what it lacks, until it is opened anew.
//! Invariant: the store never holds a change that the log did not get first, and the log is cut only behind what the
//! store made durable.

mod behind;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::failure::{LogDamage, TargetError};
use crate::key;
use crate::log::{self, LogFile};
use crate::record;
use crate::store::{Change, OrderedStore, Pair};
use behind::Behind;

/// Size of the log at which the store is made durable and the log begins anew.
const LOG_BYTES_MAX: u64 = 64 << 20;

/// The same where the disk is nearly full, and the log's own bytes are wanted back.
const LOG_BYTES_SCARCE: u64 = 1 << 20;

/// Growth of the log after which it is tried again to cut it, when that failed.
const LOG_BYTES_RETRY: u64 = 4 << 20;

/// What a key had among the changes: nothing, or a value, or a removal.
type Before = Option<Option<Vec<u8>>>;

/// Records that changed since the last commit, over a store and a log.
pub(crate) struct Table {
    store: Box<dyn OrderedStore>,
    log: Box<dyn LogFile>,
    log_bytes: u64,
    /// Size of the log at which it is cut.
    cut_at: u64,
    /// What the log has and the store lacks; `None` while the store takes changes.
    behind: Option<Behind>,
    /// Number of the last record in the log.
    sequence: u64,
    /// Highest record that is on disk.
    synced: u64,
    changes: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    /// What the running request replaced in `changes`; `None` where it had nothing.
    undo: Vec<(Vec<u8>, Before)>,
}

impl Table {
    /// Opens the tables: checks the log against the store and applies what the store lacks.
    pub(crate) fn open(store: Box<dyn OrderedStore>, mut log: Box<dyn LogFile>) -> Result<Self, TargetError> {
        let bytes = log.read()?;
        let mut table = Self {
            store,
            log,
            log_bytes: bytes.len() as u64,
            cut_at: LOG_BYTES_MAX,
            behind: None,
            sequence: 0,
            synced: 0,
            changes: BTreeMap::new(),
            undo: Vec::new(),
        };
        let applied = table.applied()?;
        let Some(contents) = log::parse(&bytes)? else {
            table.sequence = applied;
            table.begin_log()?;
            return Ok(table);
        };
        if applied < contents.begins {
            return Err(LogDamage::Gap { applied, begins: contents.begins }.into());
        }
        table.sequence = applied;
        for record in contents.records.iter().filter(|record| record.sequence > applied) {
            table.apply(decode_changes(record.payload)?, record.sequence)?;
            table.sequence = record.sequence;
        }
        if contents.torn > 0 {
            tracing::warn!(bytes = contents.torn, "dropped the unfinished end of the metadata log");
        }
        table.begin_log()?;
        Ok(table)
    }

    fn applied(&self) -> Result<u64, TargetError> {
        match self.store.get(key::APPLIED)? {
            Some(bytes) => record::decode(key::APPLIED, &bytes),
            None => Ok(0),
        }
    }

    /// Makes the store durable and begins an empty log behind it.
    fn begin_log(&mut self) -> Result<(), TargetError> {
        self.store.persist()?;
        let empty = log::empty(self.sequence);
        self.log.replace(&empty)?;
        self.log_bytes = empty.len() as u64;
        self.cut_at = LOG_BYTES_MAX;
        self.synced = self.sequence;
        Ok(())
    }

    fn apply(&mut self, mut changes: Vec<Change>, sequence: u64) -> Result<(), TargetError> {
        changes.push((key::APPLIED.to_vec(), Some(record::encode(&sequence)?)));
        Ok(self.store.apply(changes)?)
    }

    /// Returns a record.
    pub(crate) fn get<T: DeserializeOwned>(&self, key: &[u8]) -> Result<Option<T>, TargetError> {
        match self.changes.get(key) {
            Some(Some(bytes)) => record::decode(key, bytes).map(Some),
            Some(None) => Ok(None),
            None => match self.committed(key)? {
                Some(bytes) => record::decode(key, &bytes).map(Some),
                None => Ok(None),
            },
        }
    }

    fn committed(&self, key: &[u8]) -> Result<Option<Vec<u8>>, TargetError> {
        match self.behind.as_ref().and_then(|behind| behind.lacking.get(key)) {
            Some(value) => Ok(value.clone()),
            None => Ok(self.store.get(key)?),
        }
    }

    /// Creates or replaces a record.
    pub(crate) fn put<T: Serialize>(&mut self, key: Vec<u8>, value: &T) -> Result<(), TargetError> {
        let bytes = record::encode(value)?;
        self.change(key, Some(bytes));
        Ok(())
    }

    /// Removes a record.
    pub(crate) fn delete(&mut self, key: Vec<u8>) {
        self.change(key, None);
    }

    fn change(&mut self, key: Vec<u8>, value: Option<Vec<u8>>) {
        match self.changes.entry(key) {
            Entry::Occupied(mut entry) => {
                self.undo.push((entry.key().clone(), Some(entry.insert(value))));
            }
            Entry::Vacant(entry) => {
                self.undo.push((entry.key().clone(), None));
                entry.insert(value);
            }
        }
    }

    /// Keeps what the request changed.
    pub(crate) fn keep(&mut self) {
        self.undo.clear();
    }

    /// Undoes what the request changed.
    pub(crate) fn revert(&mut self) {
        while let Some((key, before)) = self.undo.pop() {
            match before {
                Some(value) => self.changes.insert(key, value),
                None => self.changes.remove(&key),
            };
        }
    }

    /// Returns up to `limit` (at least 1) pairs with `start <= key < end`, in order.
    pub(crate) fn scan(&self, start: &[u8], end: &[u8], limit: usize) -> Result<Vec<Pair>, TargetError> {
        let mut found = Vec::new();
        let mut from = start.to_vec();
        while from.as_slice() < end {
            let chunk = self.store.range(&from, end, limit)?;
            let whole = chunk.len() < limit;
            let upto = match chunk.last() {
                Some((last, _)) if !whole => key::next(last),
                Some(_) | None => end.to_vec(),
            };
            let chunk = match &self.behind {
                Some(behind) => merged(chunk, &behind.lacking, (&from, &upto)),
                None => chunk,
            };
            found.extend(merged(chunk, &self.changes, (&from, &upto)));
            if whole || found.len() >= limit {
                break;
            }
            from = upto;
        }
        found.truncate(limit);
        Ok(found)
    }

    /// Returns all pairs under a prefix, decoded. Only for tables that fit memory.
    pub(crate) fn load<T: DeserializeOwned>(&self, prefix: &[u8]) -> Result<Vec<(Vec<u8>, T)>, TargetError> {
        let pairs = self.scan(prefix, &key::behind(prefix), usize::MAX)?;
        let decode = |(key, bytes): Pair| record::decode(&key, &bytes).map(|value| (key, value));
        pairs.into_iter().map(decode).collect()
    }

    /// Removes every record under a prefix.
    pub(crate) fn delete_all(&mut self, prefix: &[u8]) -> Result<(), TargetError> {
        for (key, _) in self.scan(prefix, &key::behind(prefix), usize::MAX)? {
            self.delete(key);
        }
        Ok(())
    }

    /// Whether there is anything to commit.
    pub(crate) fn is_dirty(&self) -> bool {
        !self.changes.is_empty()
    }

    /// Writes all changes as one record to the log, then gives them to the store.
    ///
    /// Where the log has no room, nothing is lost: the changes wait for the next commit.
    pub(crate) fn commit(&mut self) -> Result<(), TargetError> {
        self.undo.clear();
        if self.changes.is_empty() {
            return Ok(());
        }
        let payload = encode_changes(&self.changes);
        let framed = log::frame(self.sequence + 1, self.synced, &payload);
        self.log.append(&framed)?;
        self.log_bytes += framed.len() as u64;
        self.sequence += 1;
        let changes: Vec<Change> = std::mem::take(&mut self.changes).into_iter().collect();
        self.give(changes, &payload)?;
        if self.log_bytes > self.cut_at { self.cut_log() } else { Ok(()) }
    }

    /// Number of the last committed record, and of the last that is on disk.
    pub(crate) fn durability(&self) -> (u64, u64) {
        (self.sequence, self.synced)
    }

    /// Notes that the log is on disk up to a record.
    pub(crate) fn synced(&mut self, sequence: u64) {
        self.synced = self.synced.max(sequence.min(self.sequence));
    }
}

/// Lays changed records over those of a chunk that holds everything with `from <= key < upto`.
fn merged(
    chunk: Vec<Pair>,
    changes: &BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    (from, upto): (&[u8], &[u8]),
) -> Vec<Pair> {
    let mut found = Vec::with_capacity(chunk.len());
    let mut changed = changes.range(from.to_vec()..upto.to_vec()).peekable();
    let take = |key: &Vec<u8>, value: &Option<Vec<u8>>, found: &mut Vec<Pair>| {
        if let Some(value) = value {
            found.push((key.clone(), value.clone()));
        }
    };
    for (key, value) in chunk {
        while let Some((other, change)) = changed.next_if(|(other, _)| **other < key) {
            take(other, change, &mut found);
        }
        match changed.next_if(|(other, _)| **other == key) {
            Some((other, change)) => take(other, change, &mut found),
            None => found.push((key, value)),
        }
    }
    for (other, change) in changed {
        take(other, change, &mut found);
    }
    found
}

/// Marks a removal in an encoded change.
const REMOVED: u32 = u32::MAX;

fn encode_changes(changes: &BTreeMap<Vec<u8>, Option<Vec<u8>>>) -> Vec<u8> {
    let mut bytes =
        Vec::with_capacity(changes.iter().map(|(k, v)| 8 + k.len() + v.as_ref().map_or(0, Vec::len)).sum());
    let length = |of: &[u8]| u32::try_from(of.len()).unwrap_or(REMOVED).to_le_bytes();
    for (key, value) in changes {
        bytes.extend_from_slice(&length(key));
        bytes.extend_from_slice(key);
        match value {
            Some(value) => {
                bytes.extend_from_slice(&length(value));
                bytes.extend_from_slice(value);
            }
            None => bytes.extend_from_slice(&REMOVED.to_le_bytes()),
        }
    }
    bytes
}

fn decode_changes(mut bytes: &[u8]) -> Result<Vec<Change>, TargetError> {
    let mut changes = Vec::new();
    while !bytes.is_empty() {
        let damaged = || TargetError::Record { key: "log".to_owned() };
        let change = decode_change(&mut bytes).ok_or_else(damaged)?;
        changes.push(change);
    }
    Ok(changes)
}

fn decode_change(bytes: &mut &[u8]) -> Option<Change> {
    let length = |bytes: &mut &[u8]| {
        let (head, rest) = bytes.split_first_chunk::<4>()?;
        *bytes = rest;
        Some(u32::from_le_bytes(*head))
    };
    let take = |bytes: &mut &[u8], count: u32| {
        let (head, rest) = bytes.split_at_checked(usize::try_from(count).ok()?)?;
        *bytes = rest;
        Some(head.to_vec())
    };
    let count = length(bytes)?;
    let key = take(bytes, count)?;
    match length(bytes)? {
        REMOVED => Some((key, None)),
        count => Some((key, Some(take(bytes, count)?))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::MemoryLog;
    use crate::store::MemoryStore;
    use proptest::prelude::*;

    fn table(store: MemoryStore, log: &MemoryLog) -> Result<Table, TargetError> {
        Table::open(Box::new(store), Box::new(log.clone()))
    }

    proptest! {
        #[test]
        fn a_scan_sees_committed_and_uncommitted_records_in_order(
            steps in proptest::collection::vec((0_u8..20, proptest::option::of(0_u32..9), any::<bool>()), 0..60),
            from in 0_u8..20, limit in 1_usize..8,
        ) {
            let mut table = table(MemoryStore::default(), &MemoryLog::default()).expect("opens");
            let mut oracle = BTreeMap::new();
            for (name, value, commit) in steps {
                let key = vec![b'T', name];
                match value {
                    Some(value) => {
                        table.put(key.clone(), &value).expect("puts");
                        oracle.insert(key, value);
                    }
                    None => {
                        table.delete(key.clone());
                        oracle.remove(&key);
                    }
                }
                if commit {
                    table.commit().expect("commits");
                }
            }
            let found = table.scan(&[b'T', from], b"U", limit).expect("scans");
            let found: Vec<(Vec<u8>, u32)> =
                found.into_iter().map(|(k, v)| (k.clone(), record::decode(&k, &v).expect("intact"))).collect();
            let expected: Vec<(Vec<u8>, u32)> =
                oracle.range(vec![b'T', from]..).take(limit).map(|(k, v)| (k.clone(), *v)).collect();
            prop_assert_eq!(found, expected);
        }
    }

    #[test]
    fn what_a_request_changed_is_undone_to_the_bit() {
        let mut table = table(MemoryStore::default(), &MemoryLog::default()).expect("opens");
        table.put(b"a".to_vec(), &1_u8).expect("puts");
        table.keep();
        table.put(b"a".to_vec(), &2_u8).expect("puts");
        table.put(b"b".to_vec(), &3_u8).expect("puts");
        table.delete(b"a".to_vec());
        table.revert();
        assert_eq!(table.get::<u8>(b"a").expect("reads"), Some(1));
        assert_eq!(table.get::<u8>(b"b").expect("reads"), None);
    }

    #[test]
    fn a_store_that_lost_its_newest_batches_is_brought_up_from_the_log() {
        let log = MemoryLog::default();
        let mut first = table(MemoryStore::default(), &log).expect("opens");
        first.put(b"a".to_vec(), &1_u8).expect("puts");
        first.commit().expect("commits");
        drop(first);
        let reopened = table(MemoryStore::default(), &log).expect("replays");
        assert_eq!(reopened.get::<u8>(b"a").expect("reads"), Some(1));
        assert_eq!(reopened.durability(), (1, 1));
        drop(reopened);
        let error = table(MemoryStore::default(), &log).err().expect("the log was cut behind the lost store");
        assert!(matches!(error, TargetError::Damaged(LogDamage::Gap { applied: 0, begins: 1 })), "{error:?}");
    }
}
