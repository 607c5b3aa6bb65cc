//! Hydration: bytes that are only in the repository are brought in, range by range, when somebody needs them.
//!
//! Bytes of two versions of an object are never mixed: a restore names the version it wants, and ends if it is gone.
//! Invariant: a range is reported as in place only after a mover said that its bytes are in the objects and synced.

use lustre_model::fault::Fault;
use lustre_model::fid::Fid;
use lustre_model::hsm::{HsmFailure, HsmOutcome, HsmVerb, LinkId};
use lustre_model::metadata::{ByteRange, Reply};

use super::lease::Claim;
use super::mover::{Errand, backoff, fault_of};
use super::open::viewed;
use super::{Caller, Target};
use crate::failure::{Halt, Step, TargetError, Wait};
use crate::inode::Inode;
use crate::{key, ranges};

/// Ranges are brought in whole multiples of this.
const UNIT: u64 = 4 << 20;
/// Most bytes of one action.
const ACTION_BYTES_MAX: u64 = 64 << 20;
/// Attempts before those who wait are told.
const ATTEMPTS_MAX: u32 = 8;

/// What is being brought in for one file.
#[derive(Debug, Default)]
pub(super) struct Restore {
    wanted: Vec<ByteRange>,
    flying: Vec<ByteRange>,
    attempts: u32,
    due_ms: u64,
}

impl Target {
    /// Whether a mover may be writing this file's objects.
    pub(super) fn restores_under_way(&self, fid: Fid) -> bool {
        self.links.restores.get(&fid).is_some_and(|restore| !restore.flying.is_empty())
    }

    pub(super) fn forget_restores(&mut self, fid: Fid) {
        self.links.restores.remove(&fid);
    }

    pub(super) fn hydrate(&mut self, caller: &Caller, fid: Fid, range: ByteRange) -> Step<Reply> {
        self.recover_lost(caller, fid)?;
        let inode = self.load(fid)?;
        if inode.file().is_none() {
            return Err(Fault::Invalid.into());
        }
        self.claim(caller, fid, Claim::See)?;
        self.identified(fid, &inode)?;
        let lacks = inode.absent().is_some_and(|absent| !absent.missing(range).is_empty());
        if lacks && self.is_cut_off(fid, &inode)? {
            return Err(Fault::Io.into());
        }
        if !self.want_bytes(fid, &inode, range) {
            self.settle(caller, fid, &inode)?;
            return Ok(viewed(fid, &inode, self.grant_read(caller, fid)));
        }
        Err(Halt::Wait(Wait::Bytes(fid)))
    }

    /// Queues what of a range is not in place; false when all of it is.
    pub(super) fn want_bytes(&mut self, fid: Fid, inode: &Inode, range: ByteRange) -> bool {
        let Some(absent) = inode.absent() else { return false };
        if absent.missing(range).is_empty() {
            return false;
        }
        let end = range.end.min(absent.limit).div_ceil(UNIT).saturating_mul(UNIT);
        let restore = self.links.restores.entry(fid).or_default();
        for gap in absent.missing(ByteRange { start: range.start / UNIT * UNIT, end }) {
            for part in ranges::missing(&restore.flying, gap) {
                ranges::insert(&mut restore.wanted, part);
            }
        }
        true
    }

    pub(super) fn next_restore(&mut self) -> Result<Option<(LinkId, Fid, HsmVerb, Errand)>, TargetError> {
        let now = self.now.uptime_ms;
        let due = self.links.restores.iter().filter(|(fid, restore)| {
            !restore.wanted.is_empty()
                && restore.due_ms <= now
                && !self.truncations.contains_key(fid)
                && !self.waiting.contains_key(&Wait::Restores(**fid))
        });
        for fid in due.map(|(fid, _)| *fid).collect::<Vec<Fid>>() {
            if let Some(action) = self.restore_of(fid)? {
                return Ok(Some(action));
            }
        }
        Ok(None)
    }

    fn restore_of(&mut self, fid: Fid) -> Result<Option<(LinkId, Fid, HsmVerb, Errand)>, TargetError> {
        let inode = self.table.get::<Inode>(&key::inode(fid))?;
        let Some(mut inode) = inode.filter(|inode| inode.absent().is_some()) else {
            self.forget_restores(fid);
            return Ok(None);
        };
        if self.is_cut_off(fid, &inode)? {
            if let Some(restore) = self.links.restores.get_mut(&fid) {
                restore.wanted.clear();
            }
            self.fail(Wait::Bytes(fid), Fault::Io)?;
            self.restores_ended(fid)?;
            return Ok(None);
        }
        let Some(restore) = self.links.restores.get_mut(&fid) else { return Ok(None) };
        let Some(first) = restore.wanted.first().copied() else { return Ok(None) };
        let end = first.end.min(first.start + ACTION_BYTES_MAX);
        let range = ByteRange { start: first.start, end };
        let mut left = ranges::missing(&[range], first);
        left.extend_from_slice(&restore.wanted[1..]);
        restore.wanted = left;
        let Some(file) = inode.file_mut() else { return Ok(None) };
        match self.instantiate_range(fid, file, range) {
            Ok(true) => self.put_inode(fid, &inode)?,
            Ok(false) => {}
            Err(Halt::Broken(error)) => return Err(error),
            Err(Halt::Fault(_) | Halt::Wait(_)) => {
                self.fail(Wait::Bytes(fid), Fault::NoSpace)?;
                return Ok(None);
            }
        }
        let Some((file, absent)) = inode.file().zip(inode.absent()) else { return Ok(None) };
        if let Some(restore) = self.links.restores.get_mut(&fid) {
            ranges::insert(&mut restore.flying, range);
        }
        let verb = HsmVerb::Restore {
            key: absent.key.clone(),
            etag: absent.etag.clone(),
            size: absent.size,
            layout: file.layout.clone(),
            ranges: vec![range],
        };
        Ok(Some((absent.link, fid, verb, Errand::Restore { fid, range })))
    }

    /// Notes bytes that are in place now.
    pub(super) fn put_in_place(&mut self, fid: Fid, present: &[ByteRange]) -> Result<(), TargetError> {
        let Some(mut inode) = self.table.get::<Inode>(&key::inode(fid))? else { return Ok(()) };
        let size = inode.size;
        let Some(file) = inode.file_mut() else { return Ok(()) };
        let Some(absent) = &mut file.absent else { return Ok(()) };
        for range in present {
            ranges::insert(&mut absent.present, ByteRange { end: range.end.min(absent.limit), ..*range });
        }
        if absent.is_complete() {
            let link = absent.link;
            file.absent = None;
            self.count_released(link, -1)?;
            inode.blocks = size.div_ceil(512);
            inode.change += 1;
        }
        self.put_inode(fid, &inode)?;
        if inode.absent().is_none() {
            self.export_again(fid, &inode)?;
        }
        self.wake(Wait::Bytes(fid));
        Ok(())
    }

    pub(super) fn end_restore(
        &mut self,
        fid: Fid,
        range: ByteRange,
        outcome: &HsmOutcome,
    ) -> Result<(), TargetError> {
        let attempts = self.links.restores.get(&fid).map_or(0, |restore| restore.attempts) + 1;
        match outcome {
            HsmOutcome::Done | HsmOutcome::Identified { .. } | HsmOutcome::Stored { .. } => {
                self.landed(fid, range);
                if let Some(restore) = self.links.restores.get_mut(&fid) {
                    restore.attempts = 0;
                }
                self.put_in_place(fid, &[range])?;
            }
            HsmOutcome::Failed { retry: true, .. } if attempts < ATTEMPTS_MAX => {
                self.restore_again(fid, range, attempts);
            }
            HsmOutcome::Failed { cause, code, .. } => {
                tracing::warn!(%fid, cause, "bytes could not be brought in");
                self.landed(fid, range);
                if let Some(restore) = self.links.restores.get_mut(&fid) {
                    restore.wanted.clear();
                    restore.attempts = 0;
                }
                self.fail(Wait::Bytes(fid), fault_of(*code))?;
                if matches!(code, HsmFailure::Changed | HsmFailure::NotFound) {
                    self.reconcile_soon(fid)?;
                }
            }
        }
        self.restores_ended(fid)
    }

    /// Puts a range that a mover gave back into the queue.
    pub(super) fn restore_again(&mut self, fid: Fid, range: ByteRange, attempts: u32) {
        self.landed(fid, range);
        let due_ms = self.now.uptime_ms + if attempts == 0 { 0 } else { backoff(attempts) };
        if let Some(restore) = self.links.restores.get_mut(&fid) {
            ranges::insert(&mut restore.wanted, range);
            (restore.attempts, restore.due_ms) = (attempts, due_ms);
        }
        if !self.restores_under_way(fid) {
            self.wake(Wait::Restores(fid));
        }
    }

    fn landed(&mut self, fid: Fid, range: ByteRange) {
        let Some(restore) = self.links.restores.get_mut(&fid) else { return };
        let flying = std::mem::take(&mut restore.flying);
        restore.flying = flying.into_iter().flat_map(|other| ranges::missing(&[range], other)).collect();
    }

    fn restores_ended(&mut self, fid: Fid) -> Result<(), TargetError> {
        if self.restores_under_way(fid) {
            return Ok(());
        }
        if self.links.restores.get(&fid).is_some_and(|restore| restore.wanted.is_empty()) {
            self.forget_restores(fid);
        }
        self.wake(Wait::Restores(fid));
        match self.table.get::<Inode>(&key::inode(fid))? {
            Some(inode) if inode.link_count == 0 => self.reap(fid, &inode),
            Some(_) | None => Ok(()),
        }
    }
}
