//! The folder through which the agent and one of its processes know each other.
//!
//! ```text
//!  id.json      control::ProcessId       agent, once
//!  spec.json    control::ProcessSpec     agent, before each start with another spec
//!  key.pem      private key              agent, when the process enrols
//!  cert.pem ca.pem                       agent, from the planner
//!  process      pid, start, boot         agent, with each start
//!  ready        pid                      the process, when it answers: ProcessDir::ready
//!  created      JSON list of paths       the process: ProcessDir::creates
//!  log log.old  standard error           the process
//! ```
//! Not the data of the process: that lies where its spec says.
//! Invariant: what is deleted when a process is removed with its data is what [`ProcessDir::creates`] was told, and nothing else.

use std::io;
use std::path::{Path, PathBuf};

use lustre_model::control::ProcessSpec;
use lustre_wire::{Identity, IdentityError};
use thiserror::Error;

use crate::durable;

/// The folder of one process. Every entry point of a process gets one.
#[derive(Debug, Clone)]
pub struct ProcessDir {
    path: PathBuf,
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

    /// Reads the process's certificate, key and authority.
    pub fn identity(&self) -> Result<Identity, ProcessDirError> {
        Identity::load(&self.path)
            .map_err(|source| ProcessDirError::Identity { path: self.path.clone(), source })
    }

    /// Says that the process answers: its listener accepts, its mount is there. Called once, after that holds.
    pub fn ready(&self) -> Result<(), ProcessDirError> {
        let pid = std::process::id().to_string();
        Ok(durable::write(&self.path.join("ready"), pid.as_bytes())?)
    }

    /// Notes, durably, that the process is about to create `path`: a file, or a folder with everything that will be in it.
    ///
    /// Call before creating it, with an absolute path, only for what does not exist yet, and again freely. Name the
    /// narrowest thing: entries inside a folder that was there before, not the folder.
    pub fn creates(&self, path: &Path) -> Result<(), ProcessDirError> {
        if !path.is_absolute() {
            return Err(ProcessDirError::Relative { path: path.to_owned() });
        }
        let mut created = self.created()?;
        if created.iter().any(|known| known == path) {
            return Ok(());
        }
        created.push(path.to_owned());
        let file = self.path.join("created");
        let text = serde_json::to_vec(&created)
            .map_err(|source| ProcessDirError::Json { path: file.clone(), source })?;
        Ok(durable::write(&file, &text)?)
    }

    /// Returns what [`ProcessDir::creates`] was told, oldest first.
    pub fn created(&self) -> Result<Vec<PathBuf>, ProcessDirError> {
        if self.path.join("created").exists() { self.json("created") } else { Ok(Vec::new()) }
    }

    fn json<T: serde::de::DeserializeOwned>(&self, name: &str) -> Result<T, ProcessDirError> {
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
    fn a_damaged_spec_is_named() {
        let dir = tempfile::tempdir().unwrap();
        fs_err::write(dir.path().join("spec.json"), "{").unwrap();
        let error = ProcessDir::new(dir.path()).spec().unwrap_err();
        assert!(error.to_string().contains("spec.json"), "{error}");
    }
}
