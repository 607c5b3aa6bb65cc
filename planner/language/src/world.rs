//! The world outside, as functions and data see it: files, folders, other states and the clock, through a trait.
//!
//! The language itself opens nothing and asks no clock; whoever runs it decides what may be read.
//! What is not known while a plan is made - the time of its apply, and what is drawn at random - is in [`Applying`], so
//! that `timestamp`, `uuid` and `bcrypt` yield unknown values until then. Draws come from one seed and the place of the
//! call, so that a value is the same however often an apply evaluates it.
//! Invariant: what a world answers for a path stays the same during one run, so that plans are repeatable.

use lustre_model::recorded::World as Recorded;
use lustre_model::resource::{Attributes, CloudQuestion};

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
    /// There are more entries than may be listed.
    #[error("it has more than {limit} entries")]
    TooMany {
        /// The most that are listed.
        limit: usize,
    },
    /// It is there but is no regular file.
    #[error("it is not a regular file")]
    NotRegular,
    /// The system refused.
    #[error("{0}")]
    Refused(std::io::ErrorKind),
    /// It is there and does not hold together.
    #[error("{0}")]
    Damaged(String),
    /// Who was asked for something in a cloud said no, or nothing.
    #[error("{0}")]
    Cloud(String),
    /// Nobody is asked in this run.
    #[error("it is not read when a spec is only validated")]
    Offline,
}

/// An instant: seconds since 1970, in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(pub i64);

/// What is known only while a plan is carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Applying {
    /// When it began.
    pub began: Moment,
    /// What randomness is drawn from; the same for all of one plan.
    pub seed: [u8; 32],
}

/// What an entry of a folder is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A folder.
    Folder,
}

/// An entry of a folder.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: EntryKind,
}

/// Reads what functions such as `file` ask for.
pub trait World {
    /// Reads a whole file. A relative path is taken from the working folder.
    fn read_file(&self, path: &str) -> Result<Vec<u8>, WorldError>;

    /// Says whether a regular file is there; what is there but no regular file is an error.
    fn file_exists(&self, path: &str) -> Result<bool, WorldError>;

    /// Lists the files and folders of a folder in the order of their names.
    ///
    /// A symbolic link counts as a file when it leads to a regular file inside the folder, and is left out otherwise.
    fn list_folder(&self, path: &str) -> Result<Vec<Entry>, WorldError>;

    /// Returns when the plan is made; none where there is no plan.
    fn planned_at(&self) -> Option<Moment>;

    /// Returns what is known while a plan is carried out; none before.
    fn applying(&self) -> Option<Applying>;

    /// Reads what another deployment recorded: its state, by path. A relative path is taken from the working folder.
    fn read_state(&self, _path: &str) -> Result<Recorded, WorldError> {
        Err(WorldError::NotFound)
    }

    /// Looks an object up in a cloud, and returns what it has there.
    fn read_cloud(&self, _question: &CloudQuestion) -> Result<Attributes, WorldError> {
        Err(WorldError::Offline)
    }

    /// Returns the working folder, absolute.
    fn working_folder(&self) -> String;

    /// Returns the home folder of the user, if there is one.
    fn home_folder(&self) -> Option<String>;
}

/// A world without files and clock, for expressions that must not read any.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EmptyWorld;

impl World for EmptyWorld {
    fn read_file(&self, _path: &str) -> Result<Vec<u8>, WorldError> {
        Err(WorldError::NotFound)
    }

    fn file_exists(&self, _path: &str) -> Result<bool, WorldError> {
        Ok(false)
    }

    fn list_folder(&self, _path: &str) -> Result<Vec<Entry>, WorldError> {
        Err(WorldError::NotFound)
    }

    fn planned_at(&self) -> Option<Moment> {
        None
    }

    fn applying(&self) -> Option<Applying> {
        None
    }

    fn working_folder(&self) -> String {
        "/".into()
    }

    fn home_folder(&self) -> Option<String> {
        None
    }
}
