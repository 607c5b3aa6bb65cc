//! Reading and writing the bytes of open files.
//!
//! A write is acknowledged when all object targets acknowledged it; size and time of change stay here under the write
//! lease. Where the metadata target grants none, because others are waiting, the write is told at once instead.
//! Pages of mappings are read and written by the kernel while it holds locks that a recall needs: they never wait for a
//! lease while a recall of their inode is under way.
//! Invariant: a write began either under the write lease, which is not given back before it ended, or is told before it
//! is acknowledged.

use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use lustre_fuse::WriteOrigin;
use lustre_model::attr::AttrChange;
use lustre_model::fault::Fault;
use lustre_model::layout::NotInstantiated;
use lustre_model::metadata::{ByteRange, LeaseKind, Reply, Request};

use crate::client::{Core, wall_clock};
use crate::file::OpenFile;
use crate::inode::{Inode, Readable, View};
use crate::session::OPERATION_WAIT_MAX;

/// Largest file.
const FILE_SIZE_MAX: u64 = i64::MAX.unsigned_abs();

/// Absent bytes are asked for in multiples of this: a reader rarely stops after one request.
const HYDRATE_UNIT: u64 = 16 << 20;

/// How often the write lease is asked for before a write does without.
const WRITE_LEASE_ATTEMPTS: u32 = 6;

/// How often a read lease is asked for before a read does without.
const READ_LEASE_ATTEMPTS: u32 = 6;

/// How often layouts are asked for within one operation; each answer brings it further.
const LAYOUT_ATTEMPTS_MAX: u32 = 64;

const SETUID: u32 = 0o4000;
const SETGID: u32 = 0o2000;
const GROUP_EXECUTE: u32 = 0o010;

/// Where a write goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    /// There.
    At(u64),
    /// Behind the last byte.
    End,
}

/// The right to write to a file's objects until it is dropped.
pub(crate) struct Permit {
    core: Arc<Core>,
    inode: Arc<Inode>,
    /// On which connection the write lease was held; without one what was written must be told at once.
    leased: Option<u64>,
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut state = self.inode.state();
        state.writers -= 1;
        let last = state.writers == 0;
        drop(state);
        if last {
            self.inode.changed.notify_waiters();
        }
    }
}

impl Permit {
    /// Ends a write of a range: nobody may see the old bytes once it is acknowledged.
    pub(crate) async fn finish(self, range: Range<u64>) -> Result<(), Fault> {
        let (core, inode, leased) = (Arc::clone(&self.core), Arc::clone(&self.inode), self.leased);
        let incarnation = core.session.incarnation();
        let update = inode.state().wrote(range, wall_clock(), incarnation);
        drop(self);
        // The metadata target asks the objects for what was written under a lease, but may have done so before this was there.
        if leased == Some(incarnation) {
            return Ok(());
        }
        core.tell_written(&inode, (update, incarnation)).await
    }
}

impl Core {
    /// Answers a read from what was read ahead, if all of it is there.
    pub(crate) fn cached_read(&self, file: &OpenFile, range: Range<u64>) -> Option<Bytes> {
        let readable = file.inode.state().readable(self.session.standing())?;
        let range = range.start..range.end.min(readable.size);
        if range.is_empty() {
            return Some(Bytes::new());
        }
        file.ahead().take(range, readable.generation?)
    }

    pub(crate) async fn read(self: &Arc<Self>, file: &OpenFile, range: Range<u64>) -> Result<Bytes, Fault> {
        for _ in 0..LAYOUT_ATTEMPTS_MAX {
            let readable = self.readable(file).await?;
            let range = range.start..range.end.min(readable.size);
            if range.is_empty() {
                return Ok(Bytes::new());
            }
            if let Some(missing) = missing(&readable.view, &range) {
                self.hydrate(&file.inode, generous(missing, readable.size)).await?;
                continue;
            }
            // Nothing is left to read ahead of who reads all at once, and small files are mostly read so.
            let whole = range.start == 0 && range.end == readable.size;
            let Some(generation) = readable.generation.filter(|_| !whole) else {
                return self.targets.read(&readable.view.layout, range).await;
            };
            let ahead = file.ahead().plan(self, range.clone(), (&readable, generation));
            return match ahead {
                Some(ahead) => ahead.gather(range).await,
                None => self.targets.read(&readable.view.layout, range).await,
            };
        }
        Err(Fault::TimedOut)
    }

    /// What a reader needs: under the lease, or of the moment when it was asked for.
    async fn readable(self: &Arc<Self>, file: &OpenFile) -> Result<Readable, Fault> {
        let inode = &file.inode;
        for attempt in 1.. {
            let recalled = inode.changed.notified();
            if let Some(readable) = inode.state().readable(self.session.standing()) {
                return Ok(readable);
            }
            if inode.state().lease.is_recalling() {
                recalled.await;
                continue;
            }
            self.stand(file).await?;
            let readable = tokio::select! {
                readable = self.ask_readable(inode) => readable?,
                () = recall_begins(inode, recalled) => continue,
            };
            // Pages that are read without a lease stay in the kernel: better to ask again than to leave them there.
            if readable.generation.is_some() || attempt >= READ_LEASE_ATTEMPTS {
                return Ok(readable);
            }
        }
        Err(Fault::TimedOut)
    }

    pub(crate) async fn ask_readable(&self, inode: &Inode) -> Result<Readable, Fault> {
        let ticket = self.session.ticket();
        let answer = self.call(&Request::Lease { fid: inode.fid, kind: LeaseKind::Read }).await?;
        let heard = self.hear(ticket);
        let Reply::Opened { view, .. } = answer else { return Err(Fault::Io) };
        let mut state = inode.state();
        let fresh = state.learn_view(heard, &view);
        let size = state.overlay(view.entry.attr).size;
        let generation = fresh.then_some(state.data_generation);
        let view = Arc::new(View { layout: view.layout, present: view.present });
        Ok(Readable { view, size, generation })
    }

    /// Writes, and returns how many bytes: all.
    pub(crate) async fn write(
        self: &Arc<Self>,
        file: &OpenFile,
        (target, origin): (Target, WriteOrigin),
        data: Bytes,
    ) -> Result<u32, Fault> {
        let length = u32::try_from(data.len()).map_err(|_| Fault::Invalid)?;
        let permit = match (target, origin) {
            (Target::At(_), WriteOrigin::Process) => self.may_write(file).await?,
            (Target::At(_), WriteOrigin::Pages) => self.may_write_pages(file).await?,
            // Only the holder of the write lease knows where the end is.
            (Target::End, WriteOrigin::Process | WriteOrigin::Pages) => {
                self.permit_within(file, u32::MAX).await?
            }
        };
        let offset = match target {
            Target::At(offset) => offset,
            Target::End => file.inode.state().size(),
        };
        let end = offset.checked_add(u64::from(length)).filter(|end| *end <= FILE_SIZE_MAX);
        let end = end.ok_or(Fault::TooLarge)?;
        self.write_through(&file.inode, offset, &data).await?;
        permit.finish(offset..end).await?;
        Ok(length)
    }

    /// Takes setuid and setgid away from a file that somebody without privileges writes.
    pub(crate) async fn clear_privileges(self: &Arc<Self>, inode: &Inode) -> Result<(), Fault> {
        let attr = match self.cached(inode.fid) {
            Some(seen) => seen.attr,
            None => self.get_attr(inode.fid).await?.attr,
        };
        let group = if attr.mode & GROUP_EXECUTE != 0 { SETGID } else { 0 };
        let kept = attr.mode & !(SETUID | group);
        if kept == attr.mode {
            return Ok(());
        }
        let change = AttrChange { mode: Some(kept), ..AttrChange::default() };
        self.set_attr(inode.fid, change).await.map(drop)
    }

    /// Waits until this client may write: holds the write lease, or was refused it often enough.
    pub(crate) async fn may_write(self: &Arc<Self>, file: &OpenFile) -> Result<Permit, Fault> {
        self.permit_within(file, WRITE_LEASE_ATTEMPTS).await
    }

    async fn permit_within(self: &Arc<Self>, file: &OpenFile, attempts: u32) -> Result<Permit, Fault> {
        let inode = &file.inode;
        let deadline = Instant::now() + OPERATION_WAIT_MAX;
        let mut refused = 0;
        while Instant::now() < deadline {
            let changed = inode.changed.notified();
            if let Some(permit) = self.permit_if_leased(inode) {
                return Ok(permit);
            }
            let busy = {
                let state = inode.state();
                state.lease.is_recalling() || state.lease.is_lowering()
            };
            if busy {
                changed.await;
                continue;
            }
            if self.is_unannounced(inode) {
                self.announce(inode).await?;
                continue;
            }
            if refused >= attempts {
                return Ok(self.permit(inode, None));
            }
            self.stand(file).await?;
            self.hydrate_all(inode).await?;
            self.ask_write_lease(inode).await?;
            refused += 1;
        }
        Err(Fault::TimedOut)
    }

    /// Whether all that keeps this client from writing is that it did not say so.
    fn is_unannounced(&self, inode: &Inode) -> bool {
        inode.state().announcement(wall_clock(), self.session.standing()).is_some()
    }

    /// The same for dirty pages, which do not wait for a recall that needs them.
    async fn may_write_pages(self: &Arc<Self>, file: &OpenFile) -> Result<Permit, Fault> {
        let inode = &file.inode;
        if let Some(permit) = self.permit_if_leased(inode) {
            return Ok(permit);
        }
        let changed = inode.changed.notified();
        if !inode.state().may_not_wait() {
            tokio::select! {
                permit = self.may_write(file) => return permit,
                () = recall_begins(inode, changed) => {}
            }
        }
        Ok(self.permit(inode, None))
    }

    fn permit_if_leased(self: &Arc<Self>, inode: &Arc<Inode>) -> Option<Permit> {
        let mut state = inode.state();
        let standing = self.session.standing();
        let complete = state.current_view(standing).is_some_and(|view| view.present.is_none());
        let complete = complete && state.attr_now().is_some();
        if !complete || !state.lease.allows_writing(standing) || !state.is_announced(standing) {
            return None;
        }
        state.writers += 1;
        drop(state);
        let leased = Some(standing.incarnation);
        Some(Permit { core: Arc::clone(self), inode: Arc::clone(inode), leased })
    }

    fn permit(self: &Arc<Self>, inode: &Arc<Inode>, leased: Option<u64>) -> Permit {
        inode.state().writers += 1;
        Permit { core: Arc::clone(self), inode: Arc::clone(inode), leased }
    }

    async fn ask_write_lease(&self, inode: &Inode) -> Result<(), Fault> {
        let ticket = self.session.ticket();
        let answer = self.call(&Request::Lease { fid: inode.fid, kind: LeaseKind::Write }).await?;
        let heard = self.hear(ticket);
        let Reply::Opened { view, .. } = answer else { return Err(Fault::Io) };
        inode.state().learn_view(heard, &view);
        Ok(())
    }

    /// Writes to the objects, which are created where there are none.
    async fn write_through(&self, inode: &Inode, offset: u64, data: &Bytes) -> Result<(), Fault> {
        if data.is_empty() {
            return Ok(());
        }
        for _ in 0..LAYOUT_ATTEMPTS_MAX {
            let view = inode.state().view().ok_or(Fault::Io)?;
            let written = self.targets.write(&view.layout, offset, data).await;
            let lost = match written {
                Err(NotInstantiated { .. }) => false,
                Ok(Err(Fault::Lost)) => true,
                Ok(done) => return done,
            };
            // Objects are missing; or were on a target that was removed, and the file may have got others since.
            let range = ByteRange { start: offset, end: offset + data.len() as u64 };
            let answer = self.call(&Request::Instantiate { fid: inode.fid, range }).await?;
            let Reply::Layout { layout } = answer else { return Err(Fault::Io) };
            if lost && layout.generation == view.layout.generation {
                return Err(Fault::Lost);
            }
            inode.state().learn_layout(layout);
        }
        Err(Fault::TooLarge)
    }

    /// Brings all bytes of a file in.
    pub(crate) async fn hydrate_all(&self, inode: &Inode) -> Result<(), Fault> {
        let absent = inode.state().view().is_some_and(|view| view.present.is_some());
        if !absent {
            return Ok(());
        }
        self.hydrate(inode, ByteRange { start: 0, end: FILE_SIZE_MAX }).await
    }

    async fn hydrate(&self, inode: &Inode, range: ByteRange) -> Result<(), Fault> {
        let ticket = self.session.ticket();
        let answer = self.call(&Request::Hydrate { fid: inode.fid, range }).await?;
        let heard = self.hear(ticket);
        let Reply::Opened { view, .. } = answer else { return Err(Fault::Io) };
        inode.state().learn_view(heard, &view);
        Ok(())
    }
}

/// Waits until a recall is under way that must not be waited for; `changed` was taken before the last look.
async fn recall_begins(inode: &Inode, changed: tokio::sync::futures::Notified<'_>) {
    changed.await;
    loop {
        let changed = inode.changed.notified();
        if inode.state().may_not_wait() {
            return;
        }
        changed.await;
    }
}

/// The first run of bytes of a range that is not in place.
fn missing(view: &View, range: &Range<u64>) -> Option<ByteRange> {
    let present = view.present.as_ref()?;
    let mut start = range.start;
    for there in present {
        if there.start <= start && start < there.end {
            start = there.end;
        }
    }
    if start >= range.end {
        return None;
    }
    let next = present.iter().map(|there| there.start).filter(|next| *next > start).min();
    Some(ByteRange { start, end: range.end.min(next.unwrap_or(u64::MAX)) })
}

/// Widens a range to whole units within the file.
fn generous(range: ByteRange, size: u64) -> ByteRange {
    let start = range.start / HYDRATE_UNIT * HYDRATE_UNIT;
    let end = range.end.checked_next_multiple_of(HYDRATE_UNIT).unwrap_or(u64::MAX).min(size);
    ByteRange { start, end }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lustre_model::layout::Layout;
    use proptest::prelude::*;

    fn view(present: &[(u64, u64)]) -> View {
        let present = present.iter().map(|&(start, end)| ByteRange { start, end }).collect();
        View { layout: Layout { generation: 1, components: Vec::new() }, present: Some(present) }
    }

    proptest! {
        #[test]
        fn a_range_is_missing_exactly_when_one_of_its_bytes_is(
            cuts in prop::collection::btree_set(0_u64..60, 0..8), start in 0_u64..60, length in 1_u64..30,
        ) {
            let cuts: Vec<u64> = cuts.into_iter().collect();
            let present: Vec<(u64, u64)> = cuts.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect();
            let is_there = |at: u64| present.iter().any(|(from, to)| (*from..*to).contains(&at));
            let range = start..start + length;
            match missing(&view(&present), &range) {
                None => prop_assert!(range.clone().all(is_there)),
                Some(gap) => {
                    prop_assert_eq!(Some(gap.start), range.clone().find(|at| !is_there(*at)));
                    prop_assert!(gap.start < gap.end && gap.end <= range.end);
                    prop_assert!((gap.start..gap.end).all(|at| !is_there(at)));
                }
            }
        }

        #[test]
        fn what_is_asked_for_covers_what_is_missing(start in 0_u64..1 << 40, length in 1_u64..1 << 26) {
            let size = start + length + 5;
            let wide = generous(ByteRange { start, end: start + length }, size);
            prop_assert!(wide.start <= start && wide.end >= start + length && wide.end <= size);
        }
    }
}
