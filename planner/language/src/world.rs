//! The world outside, as functions and data see it: files, folders and other states, through a trait.
//!
//! The language itself opens nothing; whoever runs it decides what may be read.
//! Invariant: what a world answers for a path stays the same during one run, so that plans are repeatable.

use lustre_model::recorded::World as Recorded;

/// Why the world gave no answer; the text is for the user.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WorldError {
    /// There is no such file.
    #[error("no file is there")]
    NotFound,
    /// It is larger than may be read.
    #[error("it is larger than {limit} bytes")]
    TooLarge {
        /// The most that is read.
        limit: u64,
    },
    /// The system refused.
    #[error("{0}")]
    Refused(std::io::ErrorKind),
    /// It is there and does not hold together.
    #[error("{0}")]
    Damaged(String),
    /// Nobody is asked in this run.
    #[error("it is not read when a spec is only validated")]
    Offline,
}

/// Reads what functions such as `file` ask for.
pub trait World {
    /// Reads a whole file. A relative path is taken from the working folder.
    fn read_file(&self, path: &str) -> Result<Vec<u8>, WorldError>;

    /// Says whether a regular file is there.
    fn file_exists(&self, path: &str) -> Result<bool, WorldError>;

    /// Reads what another deployment recorded: its state, by path. A relative path is taken from the working folder.
    fn read_state(&self, _path: &str) -> Result<Recorded, WorldError> {
        Err(WorldError::NotFound)
    }

    /// Returns the working folder, absolute.
    fn working_folder(&self) -> String;

    /// Returns the home folder of the user, if there is one.
    fn home_folder(&self) -> Option<String>;
}

/// A world without files, for expressions that must not read any.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EmptyWorld;

impl World for EmptyWorld {
    fn read_file(&self, _path: &str) -> Result<Vec<u8>, WorldError> {
        Err(WorldError::NotFound)
    }

    fn file_exists(&self, _path: &str) -> Result<bool, WorldError> {
        Ok(false)
    }

    fn working_folder(&self) -> String {
        "/".into()
    }

    fn home_folder(&self) -> Option<String> {
        None
    }
}
