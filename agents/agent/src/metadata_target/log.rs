//! The metadata target's log as a file.
//!
//! Frames and checksums are `lustre_metadata`'s; syncing is the syncer's, on its own thread.
//! Invariant: bytes that `append` returned for are in the page cache; a replaced log is whole on disk before its name changes.

use std::io::{self, ErrorKind, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use lustre_metadata::log::{LogError, LogFile};

use crate::durable;

/// The file that the log is in now, for who syncs it.
pub(super) type Current = Arc<Mutex<Option<Arc<fs_err::File>>>>;

/// A log file.
pub(super) struct FileLog {
    path: PathBuf,
    current: Current,
}

impl FileLog {
    /// Names a log; reads nothing.
    pub(super) fn open(path: PathBuf) -> Self {
        Self { path, current: Current::default() }
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
        (&*file).write_all(bytes).map_err(failed("appending to the log"))
    }

    fn replace(&mut self, bytes: &[u8]) -> Result<(), LogError> {
        durable::write(&self.path, bytes).map_err(failed("beginning a new log"))?;
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = None;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_what_was_appended_since_it_was_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = FileLog::open(dir.path().join("log"));
        assert!(log.read().unwrap().is_empty());
        log.replace(b"one").unwrap();
        log.append(b" two").unwrap();
        assert_eq!(log.read().unwrap(), b"one two");
        log.replace(b"three").unwrap();
        log.append(b" four").unwrap();
        assert_eq!(log.read().unwrap(), b"three four");
    }
}
