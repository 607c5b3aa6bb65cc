//! Work under way at object targets, and the syncing of the log.
//!
//! How work reaches the targets is the host's business.
//! Invariant: each piece of work is known by its job until its result came; what must happen at last is tried again.

use std::collections::{BTreeMap, VecDeque};

use lustre_model::fault::Fault;
use lustre_model::fid::Fid;
use lustre_model::layout::Stripe;
use lustre_model::metadata::{Reply, SessionId};
use lustre_model::object::ObjectStat;

use super::{JobId, Output, Target, Work};
use crate::failure::{Halt, Step, TargetError, Wait};
use crate::key;

/// Most objects in one piece of destroying work.
const DESTROY_OBJECTS_MAX: usize = 1024;
/// Most pieces of destroying work under way.
const DESTROY_JOBS_MAX: usize = 4;
/// Pause before failed work is tried again.
const RETRY_MS: u64 = 1000;

/// Why work was given out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Job {
    Glimpse { fid: Fid },
    Truncate { fid: Fid },
    Destroy { doomed: Vec<(Fid, u32)> },
    Fence { session: SessionId },
}

/// Work under way and work to come.
#[derive(Debug, Default)]
pub(super) struct WorkQueue {
    next: u64,
    jobs: BTreeMap<JobId, Job>,
    /// Removed files whose objects are to be destroyed.
    doomed: VecDeque<((Fid, u32), Vec<Stripe>)>,
    /// Work to try again, by the time when.
    retries: VecDeque<(u64, Job)>,
    /// The log is being synced.
    syncing: bool,
    /// The log holds records since this moment that are not on disk.
    unsynced_since: Option<u64>,
}

/// Longest time that an answered operation may be only in the page cache.
const SYNC_MS: u64 = 1000;

impl Target {
    pub(super) fn start_work(&mut self, job: Job, work: Work) {
        self.work.next += 1;
        let id = JobId(self.work.next);
        self.work.jobs.insert(id, job);
        self.outputs.push(Output::Work { job: id, work });
    }

    pub(super) fn has_work(&self, job: &Job) -> bool {
        self.work.jobs.values().any(|other| other == job)
    }

    pub(super) fn work_done(
        &mut self,
        id: JobId,
        result: Result<Vec<ObjectStat>, Fault>,
    ) -> Result<(), TargetError> {
        let Some(job) = self.work.jobs.remove(&id) else { return Ok(()) };
        match job {
            Job::Glimpse { fid } => self.glimpsed(fid, result),
            Job::Truncate { fid } => {
                self.truncated(fid, result.map(|_| ()));
                Ok(())
            }
            Job::Destroy { doomed } => {
                self.destroyed(doomed, result.is_ok());
                Ok(())
            }
            Job::Fence { session } if result.is_ok() => self.end_session(session),
            Job::Fence { .. } => {
                self.work.retries.push_back((self.now.uptime_ms + RETRY_MS, job));
                Ok(())
            }
        }
    }

    /// Queues objects that a file no longer has, durably.
    pub(super) fn doom(&mut self, fid: Fid, stripes: Vec<Stripe>) -> Result<(), TargetError> {
        let Some(first) = stripes.first() else { return Ok(()) };
        let which = (fid, first.object.ordinal);
        self.table.put(key::destroy(which), &stripes)?;
        self.work.doomed.push_back((which, stripes));
        Ok(())
    }

    /// After a start: queues what is still to be destroyed.
    pub(super) fn recover_doomed(&mut self) -> Result<(), TargetError> {
        for (record, stripes) in self.table.load::<Vec<Stripe>>(b"O")? {
            if let Some(which) = key::read_destroy(&record) {
                self.work.doomed.push_back((which, stripes));
            }
        }
        Ok(())
    }

    pub(super) fn start_destroying(&mut self) {
        let under_way = self.work.jobs.values().filter(|job| matches!(job, Job::Destroy { .. })).count();
        for _ in under_way..DESTROY_JOBS_MAX {
            let (mut doomed, mut all) = (Vec::new(), Vec::new());
            while all.len() < DESTROY_OBJECTS_MAX
                && let Some((which, stripes)) = self.work.doomed.pop_front()
            {
                doomed.push(which);
                all.extend(stripes);
            }
            if doomed.is_empty() {
                return;
            }
            self.start_work(Job::Destroy { doomed }, Work::Destroy { stripes: all });
        }
    }

    fn destroyed(&mut self, doomed: Vec<(Fid, u32)>, done: bool) {
        if !done {
            self.work.retries.push_back((self.now.uptime_ms + RETRY_MS, Job::Destroy { doomed }));
            return;
        }
        for which in doomed {
            self.table.delete(key::destroy(which));
        }
    }

    /// Tries failed work again whose time has come.
    pub(super) fn retry_work(&mut self) -> Result<(), TargetError> {
        while let Some((_, job)) = self.work.retries.pop_front_if(|(due, _)| *due <= self.now.uptime_ms) {
            match job {
                Job::Fence { session } => self.fence(session),
                Job::Destroy { doomed } => {
                    for which in doomed {
                        if let Some(stripes) = self.table.get(&key::destroy(which))? {
                            self.work.doomed.push_back((which, stripes));
                        }
                    }
                }
                // Whoever asked was told that it failed, and asks again.
                Job::Glimpse { .. } | Job::Truncate { .. } => {}
            }
        }
        Ok(())
    }

    /// Waits until the log is on disk.
    pub(super) fn sync(&mut self) -> Step<Reply> {
        let (committed, synced) = self.table.durability();
        if committed == synced && !self.table.is_dirty() {
            return Ok(Reply::Done);
        }
        Err(Halt::Wait(Wait::Durable))
    }

    /// Has the log synced when somebody waits for it or it is time.
    pub(super) fn start_sync(&mut self) {
        let (committed, synced) = self.table.durability();
        if committed == synced {
            self.work.unsynced_since = None;
            return;
        }
        let since = *self.work.unsynced_since.get_or_insert(self.now.uptime_ms);
        let wanted = self.waiting.contains_key(&Wait::Durable) || self.now.uptime_ms >= since + SYNC_MS;
        if wanted && !self.work.syncing {
            self.work.syncing = true;
            let covered = self.waiting.remove(&Wait::Durable).unwrap_or_default();
            self.waiting.entry(Wait::Syncing).or_default().extend(covered);
            self.outputs.push(Output::SyncLog { sequence: committed });
        }
    }

    pub(super) fn log_synced(&mut self, sequence: u64) -> Result<(), TargetError> {
        self.work.syncing = false;
        self.work.unsynced_since = None;
        self.table.synced(sequence);
        for id in self.waiting.remove(&Wait::Syncing).unwrap_or_default() {
            if let Some(pending) = self.parked.remove(&id) {
                self.finish(pending, Ok(Reply::Done))?;
            }
        }
        Ok(())
    }
}
