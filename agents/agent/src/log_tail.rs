//! The log of a process: kept small, and its last words.
//!
//! Written by the process itself through a descriptor in append mode, so that it goes on when the agent does not.
//! Invariant: a log and its predecessor together never take much more than twice [`LOG_MAX`].

use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use crate::durable;

/// Size at which a log becomes `log.old`.
const LOG_MAX: u64 = 4 << 20;

/// Bytes of last words that are looked at.
const TAIL_MAX: u64 = 4096;

/// Lines of last words that are reported.
const LINES_MAX: usize = 5;

/// A place in a log from which on words belong to one process.
#[derive(Debug)]
pub(crate) struct LogTail {
    path: PathBuf,
    from: u64,
}

impl LogTail {
    /// Words from here on.
    pub fn from_now(path: &Path) -> Self {
        let from = fs_err::metadata(path).map_or(0, |found| found.len());
        Self { path: path.to_owned(), from }
    }

    /// Returns the last lines that were said, when there are any.
    pub fn last_words(&self) -> Option<String> {
        let text = tail(&self.path, self.from).ok()?;
        let lines: Vec<&str> = text.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
        let last = lines.len().saturating_sub(LINES_MAX);
        (!lines.is_empty()).then(|| lines[last..].join("\n"))
    }
}

fn tail(path: &Path, from: u64) -> io::Result<String> {
    let mut file = fs_err::File::open(path)?;
    let length = file.metadata()?.len();
    // A log that was cut meanwhile begins anew.
    let from = if from > length { 0 } else { from };
    let begin = from.max(length.saturating_sub(TAIL_MAX));
    file.seek(SeekFrom::Start(begin))?;
    let mut bytes = Vec::new();
    file.take(TAIL_MAX).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Moves the words of a log that has grown too long into its predecessor; whoever writes it goes on at its start.
pub(crate) fn trim_log(path: &Path) -> io::Result<()> {
    let length = match fs_err::metadata(path) {
        Ok(found) => found.len(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if length <= LOG_MAX {
        return Ok(());
    }
    let mut old = path.as_os_str().to_owned();
    old.push(".old");
    let old = Path::new(&old);
    if let Err(error) = fs_err::copy(path, old) {
        // Words are dropped rather than kept in the way: a disk that is full has no room for them.
        fs_err::remove_file(old)?;
        if !durable::is_full(&error) {
            return Err(error);
        }
    }
    fs_err::OpenOptions::new().write(true).open(path)?.set_len(0)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn only_the_words_of_this_process_count() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        fs_err::write(&path, "earlier\n").unwrap();
        let tail = LogTail::from_now(&path);
        assert_eq!(tail.last_words(), None);
        let mut log = fs_err::OpenOptions::new().append(true).open(&path).unwrap();
        (0..9).for_each(|n| writeln!(log, "line {n}\n").unwrap());
        assert_eq!(tail.last_words().unwrap(), "line 4\nline 5\nline 6\nline 7\nline 8");
    }

    #[test]
    fn a_long_log_makes_room_while_its_writer_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut log = fs_err::OpenOptions::new().create(true).append(true).open(&path).unwrap();
        log.write_all(&vec![b'x'; 5 << 20]).unwrap();
        trim_log(&path).unwrap();
        writeln!(log, "next").unwrap();
        assert_eq!(fs_err::read(&path).unwrap(), b"next\n");
        assert_eq!(fs_err::metadata(dir.path().join("log.old")).unwrap().len(), 5 << 20);
    }

    #[test]
    fn on_a_full_disk_a_long_log_is_dropped_and_its_room_is_free() {
        let disk = crate::small_disk::SmallDisk::new(6 << 20);
        let path = disk.path().join("log");
        fs_err::write(&path, vec![b'x'; 5 << 20]).unwrap();
        disk.fill();
        trim_log(&path).unwrap();
        assert_eq!(fs_err::metadata(&path).unwrap().len(), 0);
        assert!(!disk.path().join("log.old").exists());
        fs_err::write(&path, vec![b'x'; 3 << 20]).unwrap();
    }
}
