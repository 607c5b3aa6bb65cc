//! The folder through which the agent and one of its processes know each other.
//!
//! ```text
//!  id.json      control::ProcessId       agent, once
//!  spec.json    control::ProcessSpec     agent, before each start with another spec
//!  key.pem      private key              agent, when the process enrols
//!  cert.pem ca.pem                       agent, from the planner
//!  revoked      numbers of certificates  agent, from the planner
//!  taken        hash of the three above  the process, whenever it goes by them: see `certified`
//!  process      pid, start, boot         agent, with each start
//!  ready        pid, or 0 and words      the process, when it answers: ProcessDir::ready, or ends: ProcessDir::last_words
//!  created      JSON list of paths       the process: ProcessDir::creates
//!  folders      JSON list of folders     agent, those it made for the process
//!  lock         its number, locked       the process: ProcessDir::enter
//!  removing     DataFate                 agent, while it removes the process
//!  log log.old  standard error           the process
//! ```
//! Not the data of the process: that lies where its spec says.
//! Invariant: what is deleted when a process is removed with its data is what [`ProcessDir::creates`] was told, and nothing else.

use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use lustre_model::control::ProcessSpec;
use lustre_wire::{Identity, IdentityError};
use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

use crate::certified;
use crate::durable;
use crate::running::Proof;

/// Most bytes of last words: with what comes before them they fit in a sector.
const WORDS_MAX: usize = 500;

/// The folder of one process. Every entry point of a process gets one.
#[derive(Debug, Clone)]
pub struct ProcessDir {
    path: PathBuf,
}

/// The only process of a folder; another may enter when this is dropped.
#[derive(Debug)]
pub struct Entered {
    _lock: fs_err::File,
}

/// The folder is not as the agent writes it.
#[derive(Debug, Error)]
pub enum ProcessDirError {
    /// A file cannot be read or written.
    #[error("cannot use the process's folder")]
    Io {
        /// Which, and why.
        #[source]
        source: io::Error,
    },
    /// A file is not the JSON it should be.
    #[error("{} is damaged: apply again, which writes it anew", .path.display())]
    Json {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// The certificate, its key or the authority are missing or do not fit.
    #[error("{} holds no valid identity", .path.display())]
    Identity {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        source: IdentityError,
    },
    /// Another process of this folder runs.
    #[error("{} is in use by a process that still runs", .path.display())]
    Entered {
        /// Where.
        path: PathBuf,
    },
    /// A path of something created must be absolute, so that it names the same thing later.
    #[error("{} is not an absolute path", .path.display())]
    Relative {
        /// Which.
        path: PathBuf,
    },
}

impl From<io::Error> for ProcessDirError {
    fn from(source: io::Error) -> Self {
        Self::Io { source }
    }
}

impl ProcessDir {
    /// Names a folder; reads nothing.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Returns where it is. A process may keep small files of its own here, named with a leading `own-`; they go when
    /// the process is removed, whatever becomes of its data.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads what the process is to be.
    pub fn spec(&self) -> Result<ProcessSpec, ProcessDirError> {
        self.json("spec.json")
    }

    /// Reads the process's certificate, key and authority. Called once: what changes of them later, the identity follows.
    pub fn identity(&self) -> Result<Identity, ProcessDirError> {
        certified::follow(&self.path)
            .map_err(|source| ProcessDirError::Identity { path: self.path.clone(), source })
    }

    /// Says that the process answers: its listener accepts, its mount is there. Called once, after that holds.
    pub fn ready(&self) -> Result<(), ProcessDirError> {
        let pid = std::process::id().to_string();
        Ok(durable::write_text(&self.path.join("ready"), pid.as_bytes())?)
    }

    /// Makes what each start writes again, so that a start takes no room on a disk that has none any more.
    pub(crate) fn provide(&self) -> Result<(), ProcessDirError> {
        for (name, nobody) in [("ready", &b"0"[..]), (certified::TAKEN, &[b'0'; 64]), ("lock", &[0; 4])] {
            let path = self.path.join(name);
            if !path.exists() {
                durable::write(&path, nobody)?;
            }
        }
        Ok(())
    }

    /// Leaves the reason for which the process ends where its agent finds it, also when the log has no room for it.
    pub fn last_words(&self, words: &str) {
        let ends = words.char_indices().map(|(at, letter)| at + letter.len_utf8());
        let words = &words[..ends.take_while(|end| *end <= WORDS_MAX).last().unwrap_or(0)];
        if let Err(error) = durable::write_text(&self.path.join("ready"), format!("0 {words}").as_bytes()) {
            tracing::debug!(%error, "nowhere to leave last words");
        }
    }

    /// Returns what [`ProcessDir::last_words`] left since the last start.
    pub(crate) fn words_left(&self) -> Option<String> {
        let said = durable::read(&self.path.join("ready")).ok().flatten()?;
        let said = String::from_utf8_lossy(&said);
        Some(said.strip_prefix("0 ")?.trim_end().to_owned()).filter(|words| !words.is_empty())
    }

    /// Forgets who said that it answers.
    pub(crate) fn unready(&self) -> Result<(), ProcessDirError> {
        Ok(durable::write_text(&self.path.join("ready"), b"0")?)
    }

    /// Notes, durably, that the process is about to create `path`: a file, or a folder with everything that will be in it.
    ///
    /// Call before creating it, with an absolute path, only for what does not exist yet, and again freely. Name the
    /// narrowest thing: entries inside a folder that was there before, not the folder.
    pub fn creates(&self, path: &Path) -> Result<(), ProcessDirError> {
        if !path.is_absolute() {
            return Err(ProcessDirError::Relative { path: path.to_owned() });
        }
        self.note("created", path)
    }

    /// Notes, durably, that a folder is about to be made for the process; it goes with it when it is empty by then.
    pub(crate) fn makes_folder(&self, path: &Path) -> Result<(), ProcessDirError> {
        self.note("folders", path)
    }

    pub(crate) fn made_folders(&self) -> Result<Vec<PathBuf>, ProcessDirError> {
        self.notes("folders")
    }

    /// Returns what [`ProcessDir::creates`] was told, oldest first.
    pub fn created(&self) -> Result<Vec<PathBuf>, ProcessDirError> {
        self.notes("created")
    }

    /// Makes this process the only one of this folder, for as long as the value lives, and notes which process it is.
    ///
    /// Called by the program before the entry function. A process that an agent lost sight of keeps its successor out, and is
    /// found again by its lock.
    pub fn enter(&self) -> Result<Entered, ProcessDirError> {
        let path = self.path.join("lock");
        let file = fs_err::OpenOptions::new().write(true).create(true).truncate(false).open(path)?;
        match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                return Err(ProcessDirError::Entered { path: self.path.clone() });
            }
            Err(error) => return Err(io::Error::from(error).into()),
        }
        // Over the number before: that takes no room on a full disk.
        let number = std::process::id().to_le_bytes();
        file.file().write_all_at(&number, 0)?;
        file.set_len(number.len() as u64)?;
        Ok(Entered { _lock: file })
    }

    /// Returns the processes that may run for this folder: the one that was started last, and who entered last.
    pub(crate) fn candidates(&self) -> Result<Vec<Proof>, ProcessDirError> {
        let mut proofs: Vec<Proof> = self.optional("process")?.into_iter().collect();
        if let Some(pid) = self.entered()? {
            proofs.extend(Proof::of(pid)?);
        }
        Ok(proofs)
    }

    /// Returns who holds the lock, when it is held.
    fn entered(&self) -> Result<Option<u32>, ProcessDirError> {
        let path = self.path.join("lock");
        let Some(said) = durable::read(&path)? else { return Ok(None) };
        let file = fs_err::File::open(&path)?;
        match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockShared) {
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(said.try_into().ok().map(u32::from_le_bytes)),
            Ok(()) => Ok(None),
            Err(error) => Err(io::Error::from(error).into()),
        }
    }

    pub(crate) fn set_proof(&self, proof: &Proof) -> Result<(), ProcessDirError> {
        self.put("process", proof)
    }

    /// Says whether the process with this number said that it answers.
    pub(crate) fn is_ready(&self, pid: u32) -> bool {
        let said = durable::read(&self.path.join("ready")).ok().flatten();
        said.is_some_and(|said| String::from_utf8_lossy(&said).trim() == pid.to_string())
    }

    fn note(&self, name: &str, path: &Path) -> Result<(), ProcessDirError> {
        let mut notes = self.notes(name)?;
        if notes.iter().any(|known| known == path) {
            return Ok(());
        }
        notes.push(path.to_owned());
        self.put(name, &notes)
    }

    fn notes(&self, name: &str) -> Result<Vec<PathBuf>, ProcessDirError> {
        Ok(self.optional(name)?.unwrap_or_default())
    }

    pub(crate) fn put<T: Serialize>(&self, name: &str, value: &T) -> Result<(), ProcessDirError> {
        let path = self.path.join(name);
        let text = serde_json::to_vec(value)
            .map_err(|source| ProcessDirError::Json { path: path.clone(), source })?;
        Ok(durable::write_text(&path, &text)?)
    }

    /// Reads a file that may be absent.
    pub(crate) fn optional<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, ProcessDirError> {
        let path = self.path.join(name);
        let Some(bytes) = durable::read(&path)? else { return Ok(None) };
        serde_json::from_slice(&bytes).map(Some).map_err(|source| ProcessDirError::Json { path, source })
    }

    fn json<T: DeserializeOwned>(&self, name: &str) -> Result<T, ProcessDirError> {
        let path = self.path.join(name);
        let bytes = fs_err::read(&path)?;
        serde_json::from_slice(&bytes).map_err(|source| ProcessDirError::Json { path, source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_created_is_remembered_once_and_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let process = ProcessDir::new(dir.path());
        assert!(process.created().unwrap().is_empty());
        for path in ["/srv/b", "/srv/a", "/srv/b"] {
            process.creates(Path::new(path)).unwrap();
        }
        assert_eq!(process.created().unwrap(), [PathBuf::from("/srv/b"), PathBuf::from("/srv/a")]);
        assert!(matches!(process.creates(Path::new("x")), Err(ProcessDirError::Relative { .. })));
    }

    #[test]
    fn last_words_fit_where_nothing_else_does_and_are_forgotten_at_the_next_start() {
        let disk = crate::small_disk::SmallDisk::new(1 << 20);
        let process = ProcessDir::new(disk.path());
        process.provide().unwrap();
        disk.fill();
        assert_eq!(process.words_left(), None);
        process.last_words(&"ä".repeat(400));
        assert_eq!(process.words_left().unwrap(), "ä".repeat(250));
        assert!(!process.is_ready(std::process::id()));
        process.unready().unwrap();
        assert_eq!(process.words_left(), None);
        process.ready().unwrap();
        assert!(process.is_ready(std::process::id()));
        assert_eq!(process.words_left(), None);
    }

    #[test]
    fn a_damaged_spec_is_named() {
        let dir = tempfile::tempdir().unwrap();
        fs_err::write(dir.path().join("spec.json"), "{").unwrap();
        let error = ProcessDir::new(dir.path()).spec().unwrap_err();
        assert!(error.to_string().contains("spec.json"), "{error}");
    }

    #[test]
    fn only_one_process_enters_and_is_found_by_its_lock() {
        let dir = tempfile::tempdir().unwrap();
        let process = ProcessDir::new(dir.path());
        assert!(process.candidates().unwrap().is_empty());
        let entered = process.enter().unwrap();
        assert!(matches!(process.enter(), Err(ProcessDirError::Entered { .. })));
        assert_eq!(process.candidates().unwrap()[0].pid, std::process::id());
        drop(entered);
        assert!(process.candidates().unwrap().is_empty(), "a number without its lock proves nothing");
        process.enter().unwrap();
    }
}
