//! A store that does not take changes: what it lacks is kept in memory, the log has it too, and it is opened anew.
//!
//! A store fails on a full disk, and stays so after there is room again, because it cannot say what of its last write it has.
//! The log can. Not for a log that fails: what is in no log was not done.
//! Invariant: while the store is behind, memory holds every change that the log has and the store may lack.

use std::collections::BTreeMap;

use super::{LOG_BYTES_MAX, LOG_BYTES_RETRY, LOG_BYTES_SCARCE, Table, decode_changes};
use crate::failure::{LogDamage, TargetError};
use crate::log;
use crate::store::{Change, Reopened};

/// How often in a row a store may be opened anew, and fail again, where the disk has room.
const ATTEMPTS_MAX: u32 = 20;

/// What a store lacks.
#[derive(Debug, Default)]
pub(super) struct Behind {
    /// Changed records; `None` where one was removed.
    pub(super) lacking: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    attempts: u32,
}

impl Table {
    /// Gives the store the changes of the last record of the log, `payload`; keeps them when it does not take them.
    pub(super) fn give(&mut self, changes: Vec<Change>, payload: &[u8]) -> Result<(), TargetError> {
        if let Some(behind) = &mut self.behind {
            behind.lacking.extend(changes);
            return Ok(());
        }
        match self.apply(changes, self.sequence) {
            Err(TargetError::Store(error)) => {
                tracing::error!(
                    error = chain(&error),
                    "the metadata store takes no changes; its log does, until it is opened anew"
                );
                let lacking = decode_changes(payload)?.into_iter().collect();
                self.behind = Some(Behind { lacking, attempts: 0 });
                Ok(())
            }
            applied => applied,
        }
    }

    /// Makes the store durable and begins the log anew; later, where that fails and nothing is lost by it.
    pub(super) fn cut_log(&mut self) -> Result<(), TargetError> {
        if self.behind.is_some() {
            return Ok(());
        }
        match self.begin_log() {
            Err(TargetError::Store(error)) => {
                tracing::error!(error = chain(&error), "the metadata store cannot be made durable");
                self.behind = Some(Behind::default());
                Ok(())
            }
            Err(TargetError::Log(error)) if error.is_full() => {
                self.cut_at = self.log_bytes + LOG_BYTES_RETRY;
                Ok(())
            }
            begun => begun,
        }
    }

    /// Whether the store takes no changes.
    pub(crate) fn is_behind(&self) -> bool {
        self.behind.is_some()
    }

    /// Whether the store lacks so much that no more should be added.
    pub(crate) fn is_far_behind(&self) -> bool {
        self.behind.is_some() && self.log_bytes > LOG_BYTES_MAX
    }

    /// Gives back the bytes of a log that is longer than it needs to be.
    pub(crate) fn spare(&mut self) -> Result<(), TargetError> {
        if self.log_bytes > LOG_BYTES_SCARCE && self.cut_at == LOG_BYTES_MAX {
            self.cut_log()
        } else {
            Ok(())
        }
    }

    /// Opens a store anew that failed, and gives it what it lacks; tried again later, where there is no room.
    pub(crate) fn catch_up(&mut self) -> Result<(), TargetError> {
        let Some(behind) = &mut self.behind else { return Ok(()) };
        if self.store.reopen()? == Reopened::NoRoom {
            return Ok(());
        }
        behind.attempts += 1;
        let attempts = behind.attempts;
        match self.replay() {
            Ok(()) => {
                tracing::info!("the metadata store takes changes again");
                self.behind = None;
                self.cut_log()
            }
            // Past the last attempt the target ends; whoever starts it again finds everything in the log.
            Err(TargetError::Store(error)) if attempts < ATTEMPTS_MAX => {
                tracing::warn!(error = chain(&error), "the metadata store does not take what it lacks");
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Applies the records of the log that the store lacks, all of which are kept in memory meanwhile.
    fn replay(&mut self) -> Result<(), TargetError> {
        let bytes = self.log.read()?;
        let applied = self.applied()?;
        let Some(contents) = log::parse(&bytes)? else { return Err(LogDamage::Header.into()) };
        if applied < contents.begins {
            return Err(LogDamage::Gap { applied, begins: contents.begins }.into());
        }
        let missed = contents.records.iter().filter(|record| record.sequence > applied);
        let missed: Vec<(u64, Vec<Change>)> = missed
            .map(|record| Ok((record.sequence, decode_changes(record.payload)?)))
            .collect::<Result<_, TargetError>>()?;
        let lacking = missed.iter().flat_map(|(_, changes)| changes.iter().cloned()).collect();
        if let Some(behind) = &mut self.behind {
            behind.lacking = lacking;
        }
        for (sequence, changes) in missed {
            self.apply(changes, sequence)?;
        }
        Ok(())
    }
}

/// An error with its causes, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        text.push_str(": ");
        text.push_str(&source.to_string());
        cause = source.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::log::{LogError, LogFile, MemoryLog};
    use crate::store::{MemoryStore, OrderedStore, Pair, StoreError};

    /// A disk that may be full, and what lies on it.
    #[derive(Clone, Default)]
    struct Disk {
        full: Arc<AtomicBool>,
        store: Arc<Mutex<MemoryStore>>,
        /// A store that failed once takes nothing until it is opened anew.
        poisoned: Arc<AtomicBool>,
        reopened: Arc<AtomicUsize>,
        log: MemoryLog,
        log_full: Arc<AtomicBool>,
    }

    fn no_room() -> Box<dyn std::error::Error + Send + Sync> {
        Box::new(std::io::Error::from(std::io::ErrorKind::StorageFull))
    }

    impl Disk {
        fn takes(&self) -> Result<(), StoreError> {
            if self.full.load(Ordering::SeqCst) {
                self.poisoned.store(true, Ordering::SeqCst);
            }
            if self.poisoned.load(Ordering::SeqCst) {
                return Err(StoreError { operation: "applying", source: no_room() });
            }
            Ok(())
        }
    }

    impl OrderedStore for Disk {
        fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
            self.store.lock().unwrap().get(key)
        }

        fn range(&self, start: &[u8], end: &[u8], limit: usize) -> Result<Vec<Pair>, StoreError> {
            self.store.lock().unwrap().range(start, end, limit)
        }

        fn apply(&mut self, changes: Vec<Change>) -> Result<(), StoreError> {
            self.takes()?;
            self.store.lock().unwrap().apply(changes)
        }

        fn persist(&mut self) -> Result<(), StoreError> {
            self.takes()
        }

        fn reopen(&mut self) -> Result<Reopened, StoreError> {
            if self.full.load(Ordering::SeqCst) {
                return Ok(Reopened::NoRoom);
            }
            self.poisoned.store(false, Ordering::SeqCst);
            self.reopened.fetch_add(1, Ordering::SeqCst);
            Ok(Reopened::Done)
        }
    }

    impl LogFile for Disk {
        fn read(&mut self) -> Result<Vec<u8>, LogError> {
            self.log.read()
        }

        fn append(&mut self, bytes: &[u8]) -> Result<(), LogError> {
            if self.log_full.load(Ordering::SeqCst) {
                return Err(LogError { operation: "appending", source: no_room() });
            }
            self.log.append(bytes)
        }

        fn replace(&mut self, bytes: &[u8]) -> Result<(), LogError> {
            self.log.replace(bytes)
        }
    }

    fn table(disk: &Disk) -> Table {
        Table::open(Box::new(disk.clone()), Box::new(disk.clone())).unwrap()
    }

    fn put(table: &mut Table, key: &str, value: u32) {
        table.put(key.as_bytes().to_vec(), &value).unwrap();
        table.commit().unwrap();
    }

    fn keys(table: &Table) -> Vec<String> {
        let pairs = table.scan(b"k", b"l", 100).unwrap();
        pairs.into_iter().map(|(key, _)| String::from_utf8(key).unwrap()).collect()
    }

    #[test]
    fn a_store_that_fails_on_a_full_disk_is_read_and_changed_as_before_and_catches_up() {
        let disk = Disk::default();
        let mut table = table(&disk);
        (0..4).for_each(|n| put(&mut table, &format!("k{n}"), n));
        disk.full.store(true, Ordering::SeqCst);
        table.delete(b"k1".to_vec());
        table.commit().unwrap();
        put(&mut table, "k2", 22);
        put(&mut table, "k9", 9);
        let holds = |table: &Table| {
            assert_eq!(keys(table), ["k0", "k2", "k3", "k9"]);
            assert_eq!(table.get::<u32>(b"k1").unwrap(), None);
            assert_eq!(table.get::<u32>(b"k2").unwrap(), Some(22));
        };
        holds(&table);
        table.catch_up().unwrap();
        assert!(table.is_behind(), "there is no room yet");
        holds(&table);
        disk.full.store(false, Ordering::SeqCst);
        put(&mut table, "k8", 8);
        assert_eq!(disk.reopened.load(Ordering::SeqCst), 0, "what failed once is opened anew, not trusted");
        table.delete(b"k8".to_vec());
        table.commit().unwrap();
        table.catch_up().unwrap();
        assert!(!table.is_behind());
        holds(&table);
        drop(table);
        holds(&self::table(&disk));
    }

    #[test]
    fn a_target_that_dies_while_its_store_is_behind_has_everything_in_its_log() {
        let disk = Disk::default();
        let mut table = table(&disk);
        put(&mut table, "k1", 1);
        disk.full.store(true, Ordering::SeqCst);
        put(&mut table, "k2", 2);
        drop(table);
        disk.full.store(false, Ordering::SeqCst);
        disk.poisoned.store(false, Ordering::SeqCst);
        assert_eq!(keys(&self::table(&disk)), ["k1", "k2"]);
    }

    #[test]
    fn what_the_log_has_no_room_for_is_committed_when_it_has() {
        let disk = Disk::default();
        let mut table = table(&disk);
        put(&mut table, "k1", 1);
        disk.log_full.store(true, Ordering::SeqCst);
        table.put(b"k2".to_vec(), &2_u32).unwrap();
        assert!(table.commit().unwrap_err().is_full());
        assert_eq!(table.durability().0, 1);
        disk.log_full.store(false, Ordering::SeqCst);
        table.commit().unwrap();
        assert_eq!(table.durability().0, 2);
        drop(table);
        assert_eq!(keys(&self::table(&disk)), ["k1", "k2"]);
    }
}
