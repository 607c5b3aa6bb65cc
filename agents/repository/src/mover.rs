//! The mover: takes actions from the metadata target, carries them out side by side, and ends them.
//!
//! Kinds of actions have places of their own, so that a thousand exports do not keep a reader waiting for one range.
//! Invariant: what was received and could not be ended makes [`run`] return; the connection's end then gives it all back.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lustre_model::fault::Fault;
use lustre_model::hsm::{HsmAction, HsmEnd, HsmOutcome, HsmVerb, LinkId};
use lustre_s3::ObjectStorage;
use thiserror::Error;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::{JoinError, JoinSet};

use crate::archive::{Archive, archive};
use crate::change::{remove, rename, set_metadata};
use crate::failure::ActionError;
use crate::file_system::FileSystem;
use crate::identify::identify;
use crate::list::list;
use crate::repositories::{Connect, Repositories};
use crate::restore::{Restore, restore};
use crate::transfers::Transfers;

/// Actions received and not ended.
const IN_FLIGHT_MAX: usize = 1024;

/// Actions asked for at a time, so that the metadata target keeps choosing what is urgent.
const RECEIVE_MAX: usize = 256;

/// How long the metadata target may let us wait for the first.
const RECEIVE_WAIT_MS: u32 = 20_000;

/// Objects identified at a time.
const IDENTIFIES_MAX: usize = 256;

/// Restores carried out at a time.
const RESTORES_MAX: usize = 64;

/// Exports carried out at a time.
const EXPORTS_MAX: usize = 64;

/// Listings carried out at a time.
const LISTS_MAX: usize = 4;

/// Buckets checked at a time.
const CHECKS_MAX: usize = 8;

/// Failures to receive in a row before the mover gives up.
const RECEIVE_FAILURES_MAX: u32 = 30;

/// Pause after a failure to receive.
const RECEIVE_PAUSE: Duration = Duration::from_secs(1);

/// Attempts to end an action.
const END_ATTEMPTS_MAX: u32 = 8;

/// Pause before the second attempt; doubled for each further one.
const END_PAUSE: Duration = Duration::from_millis(50);

/// The mover cannot go on.
#[derive(Debug, Error)]
pub enum MoverError {
    /// No actions can be had.
    #[error("the metadata target gives no actions")]
    Receive(#[source] Fault),
    /// An action cannot be ended.
    #[error("action {cookie} cannot be ended")]
    End {
        /// Which.
        cookie: u64,
        /// Why.
        #[source]
        source: Fault,
    },
    /// A bug of ours.
    #[error("an action was lost")]
    Lost(#[source] JoinError),
}

/// What all actions share.
struct Mover<F, C: Connect> {
    file_system: F,
    repositories: Repositories<C>,
    transfers: Transfers,
    identifies: Semaphore,
    restores: Semaphore,
    exports: Semaphore,
    lists: Semaphore,
    checks: Semaphore,
    /// Links of which the log was told that they are gone.
    gone: Mutex<BTreeSet<LinkId>>,
}

/// Carries out actions until `stop`.
pub async fn run<F: FileSystem, C: Connect>(
    file_system: F,
    connect: C,
    stop: impl Future<Output = ()> + Send,
) -> Result<(), MoverError> {
    let mover = Arc::new(Mover {
        file_system,
        repositories: Repositories::new(connect),
        transfers: Transfers::new(),
        identifies: Semaphore::new(IDENTIFIES_MAX),
        restores: Semaphore::new(RESTORES_MAX),
        exports: Semaphore::new(EXPORTS_MAX),
        lists: Semaphore::new(LISTS_MAX),
        checks: Semaphore::new(CHECKS_MAX),
        gone: Mutex::default(),
    });
    // Nothing else may interrupt a request for actions: its answer would be lost, and the actions in it.
    let (failed, mut failure) = mpsc::channel(1);
    tokio::select! {
        () = stop => Ok(()),
        Some(error) = failure.recv() => Err(error),
        error = take_actions(&mover, failed) => Err(error),
    }
}

/// Takes actions for ever, and lets each run on its own.
async fn take_actions<F: FileSystem, C: Connect>(
    mover: &Arc<Mover<F, C>>,
    failed: mpsc::Sender<MoverError>,
) -> MoverError {
    let slots = Arc::new(Semaphore::new(IN_FLIGHT_MAX));
    let mut under_way = JoinSet::new();
    let mut failures = 0;
    loop {
        while let Some(ended) = under_way.try_join_next() {
            if let Err(error) = ended {
                return MoverError::Lost(error);
            }
        }
        // One slot is waited for, so that there is room for at least one action.
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { continue };
        let limit = u32::try_from((slots.available_permits() + 1).min(RECEIVE_MAX)).unwrap_or(1);
        drop(slot);
        match mover.file_system.receive(limit, RECEIVE_WAIT_MS).await {
            Ok(actions) => {
                failures = 0;
                for action in actions {
                    let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { continue };
                    let (mover, failed) = (Arc::clone(mover), failed.clone());
                    under_way.spawn(async move {
                        if let Err(error) = mover.carry_out(action).await {
                            // A full channel holds a failure already; one is enough.
                            let _ = failed.try_send(error);
                        }
                        drop(slot);
                    });
                }
            }
            Err(fault) if failures < RECEIVE_FAILURES_MAX => {
                failures += 1;
                tracing::warn!(%fault, failures, "no actions were received");
                tokio::time::sleep(RECEIVE_PAUSE).await;
            }
            Err(fault) => return MoverError::Receive(fault),
        }
    }
}

impl<F: FileSystem, C: Connect> Mover<F, C> {
    /// Carries out an action and ends it.
    async fn carry_out(&self, action: HsmAction) -> Result<(), MoverError> {
        let (cookie, link) = (action.cookie, action.link);
        let mut tried = self.perform(&action).await;
        if tried.as_ref().is_err_and(ActionError::doubts_connection) {
            // Keys may have been changed in their file since it was read.
            self.repositories.forget(link);
            tried = self.perform(&action).await;
        }
        let outcome = match tried {
            Ok(outcome) => outcome,
            Err(error) => {
                if error.doubts_connection() {
                    self.repositories.forget(link);
                }
                let outcome = error.outcome();
                self.tell(cookie, &error, &outcome);
                outcome
            }
        };
        self.end(HsmEnd { cookie, outcome }).await
    }

    /// Tells the log of a failure; of a link that is gone only once.
    fn tell(&self, cookie: u64, error: &ActionError, outcome: &HsmOutcome) {
        if let ActionError::UnknownLink(link) = error {
            if self.gone.lock().unwrap_or_else(PoisonError::into_inner).insert(*link) {
                tracing::warn!(link = link.0, "the link was removed: what was still asked for it is dropped");
            }
            return;
        }
        tracing::warn!(cookie, ?outcome, "an action failed");
    }

    async fn end(&self, end: HsmEnd) -> Result<(), MoverError> {
        let mut pause = END_PAUSE;
        let mut attempts = 1;
        loop {
            match self.file_system.end(end.clone()).await {
                Ok(()) => return Ok(()),
                Err(source) if attempts >= END_ATTEMPTS_MAX => {
                    return Err(MoverError::End { cookie: end.cookie, source });
                }
                Err(_) => {
                    tokio::time::sleep(pause).await;
                    pause *= 2;
                    attempts += 1;
                }
            }
        }
    }

    async fn perform(&self, action: &HsmAction) -> Result<HsmOutcome, ActionError> {
        let _place = self.place(&action.verb).acquire().await.ok();
        if matches!(action.verb, HsmVerb::Check) {
            return self.check(action.link).await;
        }
        if matches!(action.verb, HsmVerb::List) {
            let repository = self.repositories.look_up(&self.file_system, action.link).await?;
            list(&self.file_system, &repository.storage, (&repository.link, action.cookie)).await?;
            return Ok(HsmOutcome::Done);
        }
        let known_as = (action.link, action.repository);
        let repository = self.repositories.get(&self.file_system, known_as).await?;
        self.move_data(action, &repository.storage).await
    }

    /// Reaches a link's bucket anew and asks it for one key.
    async fn check(&self, link: LinkId) -> Result<HsmOutcome, ActionError> {
        self.repositories.forget(link);
        let found = self.repositories.look_up(&self.file_system, link).await;
        let repository = found.map_err(ActionError::with_remedy_to_connect)?;
        let endpoint = &repository.link.repository;
        let listed = repository.storage.list(&endpoint.prefix, None, 1).await;
        listed.map_err(|error| ActionError::with_remedy(endpoint, error))?;
        Ok(HsmOutcome::Done)
    }

    /// Where actions of this kind wait for each other.
    fn place(&self, verb: &HsmVerb) -> &Semaphore {
        match verb {
            HsmVerb::List => &self.lists,
            HsmVerb::Check => &self.checks,
            HsmVerb::Identify { .. } => &self.identifies,
            HsmVerb::Restore { .. } => &self.restores,
            HsmVerb::Archive { .. }
            | HsmVerb::SetMetadata { .. }
            | HsmVerb::Remove { .. }
            | HsmVerb::Rename { .. } => &self.exports,
        }
    }

    async fn move_data(&self, action: &HsmAction, storage: &C::Storage) -> Result<HsmOutcome, ActionError> {
        let (cookie, fid) = (action.cookie, action.fid);
        match &action.verb {
            HsmVerb::List | HsmVerb::Check => Ok(HsmOutcome::Done),
            HsmVerb::Identify { key } => identify(storage, key).await,
            HsmVerb::Restore { key, etag, size, layout, ranges } => {
                let work = Restore { cookie, key, etag, size: *size, layout, ranges };
                restore(&self.file_system, storage, &self.transfers, &work).await
            }
            HsmVerb::Archive { key, attr, symlink, layout, expect } => {
                let (symlink, layout) = (symlink.as_deref(), layout.as_ref());
                let work = Archive { fid, key, attr, symlink, layout, expect: expect.as_deref() };
                archive(&self.file_system, storage, &self.transfers, &work).await
            }
            HsmVerb::SetMetadata { key, attr, expect } => {
                set_metadata(storage, (fid, key), attr, expect.as_deref()).await
            }
            HsmVerb::Remove { key, expect } => remove(storage, (fid, key), expect.as_deref()).await,
            HsmVerb::Rename { from, to, expect } => rename(storage, fid, (from, to), expect.as_deref()).await,
        }
    }
}
