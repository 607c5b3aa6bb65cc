//! The metadata target's log as a file.
//!
//! Frames and checksums are `lustre_metadata`'s; syncing is the syncer's, on its own thread. Where the disk is full, bytes that
//! the target holds back make room for a record.
//! Invariant: bytes that `append` returned for are in the page cache; a replaced log is whole on disk before its name changes.

use std::io::{self, ErrorKind, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use lustre_metadata::log::{LogError, LogFile};

use super::reserve::Reserve;
use crate::durable;

/// The file that the log is in now, for who syncs it.
pub(super) type Current = Arc<Mutex<Option<Arc<fs_err::File>>>>;

/// A log file.
pub(super) struct FileLog {
    path: PathBuf,
    reserve: Arc<Reserve>,
    current: Current,
}

impl FileLog {
    /// Names a log; reads nothing.
    pub(super) fn open(path: PathBuf, reserve: Arc<Reserve>) -> Self {
        Self { path, reserve, current: Current::default() }
    }

    /// Where the file is to be found that is written now.
    pub(super) fn current(&self) -> Current {
        Arc::clone(&self.current)
    }

    fn file(&self) -> io::Result<Arc<fs_err::File>> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = current.as_ref() {
            return Ok(Arc::clone(file));
        }
        let file = Arc::new(fs_err::OpenOptions::new().append(true).open(&self.path)?);
        *current = Some(Arc::clone(&file));
        Ok(file)
    }
}

/// Appends all bytes or, where there is no room for them, none.
fn append_whole(file: &fs_err::File, bytes: &[u8], reserve: &Reserve) -> io::Result<()> {
    let begin = file.metadata()?.len();
    loop {
        let mut writer = file;
        match writer.write_all(bytes) {
            Err(error) if durable::is_full(&error) => {
                // Half a record would hide all that come behind it.
                file.set_len(begin)?;
                if !reserve.yield_part()? {
                    return Err(error);
                }
            }
            written => return written,
        }
    }
}

fn failed(operation: &'static str) -> impl Fn(io::Error) -> LogError {
    move |error| LogError { operation, source: Box::new(error) }
}

impl LogFile for FileLog {
    fn read(&mut self) -> Result<Vec<u8>, LogError> {
        match fs_err::read(&self.path) {
            Ok(bytes) => Ok(bytes),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(failed("reading the log")(error)),
        }
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), LogError> {
        let file = self.file().map_err(failed("opening the log"))?;
        append_whole(&file, bytes, &self.reserve).map_err(failed("appending to the log"))
    }

    fn replace(&mut self, bytes: &[u8]) -> Result<(), LogError> {
        let written = loop {
            match durable::write(&self.path, bytes) {
                Err(error) if durable::is_full(&error) => match self.reserve.yield_part() {
                    Ok(true) => {}
                    Ok(false) | Err(_) => break Err(error),
                },
                written => break written,
            }
        };
        written.map_err(failed("beginning a new log"))?;
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = None;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::small_disk::SmallDisk;

    fn log(folder: &Path) -> FileLog {
        FileLog::open(folder.join("log"), Arc::new(Reserve::open(folder).unwrap()))
    }

    #[test]
    fn on_a_full_disk_a_log_takes_whole_records_until_nothing_is_held_back_and_then_none() {
        let disk = SmallDisk::new(64 << 20);
        let mut log = log(disk.path());
        log.reserve.look().unwrap();
        log.replace(b"").unwrap();
        disk.fill();
        let record = [b'r'; 10_000];
        let mut taken = 0;
        let refused = loop {
            match log.append(&record) {
                Ok(()) => taken += 1,
                Err(error) => break error,
            }
        };
        assert!(refused.is_full(), "{refused:?}");
        assert!(taken > (1 << 20) / record.len(), "{taken} records fitted into what was held back");
        assert_eq!(log.read().unwrap().len(), taken * record.len());
        disk.empty();
        log.append(&record).unwrap();
        assert_eq!(log.read().unwrap().len(), (taken + 1) * record.len());
    }

    #[test]
    fn a_log_is_what_was_appended_since_it_was_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = log(dir.path());
        assert!(log.read().unwrap().is_empty());
        log.replace(b"one").unwrap();
        log.append(b" two").unwrap();
        assert_eq!(log.read().unwrap(), b"one two");
        log.replace(b"three").unwrap();
        log.append(b" four").unwrap();
        assert_eq!(log.read().unwrap(), b"three four");
    }
}
