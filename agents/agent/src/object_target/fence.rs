//! Fences: the epoch below which each evicted client is refused, for good.
//!
//! Knows no connections; the service asks before it acts.
//! Invariant: when [`Fences::raise`] returned, the fence is on disk and no change of an older epoch is under way.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use lustre_model::fault::Fault;
use lustre_model::id::ClientId;
use thiserror::Error;

use crate::durable;

/// The file in the target's folder: a line per client, `<client> <epoch>`, oldest first.
pub(super) const FILE: &str = "fences";

/// Most clients remembered; who was evicted that many evictions ago has no connection left.
const FENCES_MAX: usize = 16_384;

/// Fences cannot be read or written.
#[derive(Debug, Error)]
pub enum FenceError {
    /// The file cannot be used.
    #[error("the file of fences cannot be used")]
    Io {
        /// Which, and why.
        #[source]
        source: io::Error,
    },
    /// A line is not a fence.
    #[error("{}: line {line} is not a client and an epoch", .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
    },
}

/// Who may not act any more.
#[derive(Debug)]
pub(super) struct Fences {
    path: PathBuf,
    raised: RwLock<Raised>,
}

#[derive(Debug, Default, Clone)]
struct Raised {
    epochs: HashMap<ClientId, u64>,
    oldest_first: Vec<ClientId>,
}

/// A connection's claim to act: who it speaks for, and in which epoch. Metadata targets speak for nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Session {
    Client { client: ClientId, epoch: u64 },
    Target,
}

/// Permission to change objects: while it lives, no fence is raised.
#[derive(Debug)]
pub(super) struct Passage<'a> {
    _raised: RwLockReadGuard<'a, Raised>,
}

impl Fences {
    /// Reads the fences of a target's folder.
    pub fn load(folder: &Path) -> Result<Self, FenceError> {
        let path = folder.join(FILE);
        let bytes = durable::read(&path).map_err(|source| FenceError::Io { source })?.unwrap_or_default();
        let mut raised = Raised::default();
        for (index, line) in String::from_utf8_lossy(&bytes).trim_end().lines().enumerate() {
            let (client, epoch) =
                parse(line).ok_or_else(|| FenceError::Damaged { path: path.clone(), line: index + 1 })?;
            raised.raise(client, epoch);
        }
        Ok(Self { path, raised: RwLock::new(raised) })
    }

    /// Refuses sessions that are below their client's fence.
    pub fn check(&self, session: Session) -> Result<(), Fault> {
        self.pass(session).map(drop)
    }

    /// Lets a session change objects, if it is not fenced, and keeps fences down until it is done.
    pub fn pass(&self, session: Session) -> Result<Passage<'_>, Fault> {
        let raised = self.raised.read().unwrap_or_else(PoisonError::into_inner);
        match session {
            Session::Client { client, epoch } if raised.epochs.get(&client).is_some_and(|f| epoch < *f) => {
                Err(Fault::Fenced)
            }
            Session::Client { .. } | Session::Target => Ok(Passage { _raised: raised }),
        }
    }

    /// Refuses every request of a client below `epoch` from now on, and waits for those under way.
    pub fn raise(&self, client: ClientId, epoch: u64) -> Result<(), FenceError> {
        let mut raised = self.raised.write().unwrap_or_else(PoisonError::into_inner);
        if raised.epochs.get(&client).is_some_and(|known| *known >= epoch) {
            return Ok(());
        }
        let mut next = raised.clone();
        next.raise(client, epoch);
        let lines: String =
            next.oldest_first.iter().map(|client| format!("{client} {}\n", next.epochs[client])).collect();
        durable::write_text(&self.path, lines.as_bytes()).map_err(|source| FenceError::Io { source })?;
        *raised = next;
        Ok(())
    }
}

impl Raised {
    fn raise(&mut self, client: ClientId, epoch: u64) {
        self.oldest_first.retain(|known| *known != client);
        self.oldest_first.push(client);
        self.epochs.insert(client, epoch);
        if self.oldest_first.len() > FENCES_MAX {
            let oldest = self.oldest_first.remove(0);
            self.epochs.remove(&oldest);
        }
    }
}

fn parse(line: &str) -> Option<(ClientId, u64)> {
    let (client, epoch) = line.split_once(' ')?;
    Some((ClientId(u128::from_str_radix(client, 16).ok()?), epoch.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(client: u128, epoch: u64) -> Session {
        Session::Client { client: ClientId(client), epoch }
    }

    #[test]
    fn fences_survive_a_restart_and_never_fall() {
        let folder = tempfile::tempdir().unwrap();
        let fences = Fences::load(folder.path()).unwrap();
        fences.raise(ClientId(7), 5).unwrap();
        fences.raise(ClientId(7), 3).unwrap();
        fences.raise(ClientId(u128::MAX), 1).unwrap();
        for fences in [fences, Fences::load(folder.path()).unwrap()] {
            assert_eq!(fences.check(session(7, 4)), Err(Fault::Fenced));
            assert_eq!(fences.check(session(7, 5)), Ok(()));
            assert_eq!(fences.check(session(u128::MAX, 0)), Err(Fault::Fenced));
            assert_eq!(fences.check(session(8, 0)), Ok(()));
            assert_eq!(fences.check(Session::Target), Ok(()));
        }
    }

    #[test]
    fn a_damaged_file_is_refused_with_its_line() {
        let folder = tempfile::tempdir().unwrap();
        fs_err::write(folder.path().join(FILE), "07 5\nnonsense\n").unwrap();
        let error = Fences::load(folder.path()).unwrap_err();
        assert!(error.to_string().contains("line 2"), "{error}");
    }

    #[test]
    fn only_so_many_clients_are_remembered() {
        let mut raised = Raised::default();
        for client in 0..=FENCES_MAX as u128 {
            raised.raise(ClientId(client), 1);
        }
        assert_eq!((raised.epochs.len(), raised.oldest_first.len()), (FENCES_MAX, FENCES_MAX));
        assert!(!raised.epochs.contains_key(&ClientId(0)));
    }
}
