//! What happens while a plan is carried out, for whoever shows it.
//!
//! Not the journal; losing these loses nothing.
//! Invariant: a step that began ends with exactly one of `Done` and `Failed`, unless the whole apply is aborted.

use std::time::Duration;

use lustre_model::address::Address;
use lustre_model::plan::Operation;
use lustre_model::resource::Kind;

/// Something to show.
#[derive(Debug, Clone)]
pub struct Event {
    /// On which object.
    pub address: Address,
    /// What it is.
    pub kind: Kind,
    /// What is done to it.
    pub operation: Operation,
    /// Since the step began.
    pub elapsed: Duration,
    /// What happened.
    pub what: What,
}

/// What happened to a step.
#[derive(Debug, Clone)]
pub enum What {
    /// It began.
    Started,
    /// It goes on; says how far it is, when it knows.
    Progress(Option<Progress>),
    /// Something passing went wrong, and it is tried again.
    Retrying {
        /// What went wrong.
        cause: String,
        /// In how long.
        pause: Duration,
    },
    /// Something that is no failure, but that a person should know.
    Note(String),
    /// It succeeded.
    Done,
    /// It failed.
    Failed {
        /// What went wrong, outermost first.
        causes: Vec<String>,
        /// What to do.
        remedy: Option<String>,
    },
    /// It was not begun, because this one failed.
    Skipped {
        /// Which.
        because: Address,
    },
}

/// How far a long step is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// What is counted, or what is waited for: `names imported`.
    pub what: String,
    /// So many are done.
    pub done: u64,
    /// Of so many, when that is known.
    pub total: Option<u64>,
}

/// Sees events as they happen. Called from many threads; must not block for long.
pub trait Watch: Send + Sync {
    /// Takes one event.
    fn see(&self, event: &Event);
}
