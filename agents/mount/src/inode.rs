//! What this client knows of one inode.
//!
//! No I/O: who asks the metadata target and when is elsewhere. Times are the caller's.
//! Invariant: what is given out as cached was given or confirmed by the metadata target under a lease that is still held.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lustre_model::attr::{Attr, Timestamp};
use lustre_model::fid::Fid;
use lustre_model::layout::Layout;
use lustre_model::metadata::{ByteRange, Entry, FileView, LeaseKind, OpenId, WriteUpdate};
use tokio::sync::Notify;

use crate::lease::{Lease, Stamp, Standing, Ticket};

/// Bytes in a block of `st_blocks`.
const BLOCK: u64 = 512;

/// Names that one directory keeps at most.
const NAMES_MAX: usize = 200_000;

/// After how many lookups in one directory, each asked for, how many parts of it are looked up ahead: the more it is used,
/// the more is fetched, and what a few lookups cost stays small in a large directory.
const AHEAD: [(u32, u32); 3] = [(12, 1), (48, 4), (192, 27)];

/// An inode, shared by everyone who uses it.
#[derive(Debug)]
pub(crate) struct Inode {
    pub(crate) fid: Fid,
    state: Mutex<State>,
    /// Held while the metadata target is told or changes a size: what is told must not overtake what was set.
    pub(crate) telling: Arc<tokio::sync::Mutex<()>>,
    /// Woken when a recall begins or ends and when writers have finished.
    pub(crate) changed: Notify,
}

/// What is known.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) lease: Lease,
    /// As the metadata target said; see [`State::attr_now`].
    attr: Option<Attr>,
    /// This client has changed something of them since, but neither size nor time.
    attr_is_old: bool,
    /// Where bytes are, and when that was learned. Kept when the lease goes, for readers that may not wait.
    view: Option<(Arc<View>, Stamp)>,
    /// What was written here and not told yet, and on which connection.
    dirty: Option<(WriteUpdate, u64)>,
    expected: Expected,
    /// Writes under way.
    pub(crate) writers: u32,
    /// Grows whenever bytes that were read ahead may be old.
    pub(crate) data_generation: u64,
    /// Reads that were answered without a lease because they could not wait.
    pub(crate) uncovered: u64,
    /// The recall under way needs nothing of the kernel any more: reads and writes of pages may wait for its end.
    pub(crate) settled: bool,
    /// How often the kernel was given this inode.
    pub(crate) lookups: u64,
    /// Open handles here.
    pub(crate) opens: u32,
    /// Those of them that were opened under the lease, without asking.
    unasked: u32,
    /// What stands for these at the metadata target, once the lease had to be given up.
    stands: Option<OpenId>,
    /// Removals of a name under way: until they ended every open is asked for.
    removing: u32,
    names: Names,
    names_given: bool,
    /// Changes of this inode by this client under way.
    changing: u32,
    /// When the last of them began or ended.
    changed: Stamp,
}

/// What the metadata target expects of this client under the write lease: after a crash it asks objects for the time of the last
/// write only if it expects writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Expected {
    /// Nothing, as far as is known here.
    #[default]
    Nothing,
    /// Writes, on the connection of this incarnation.
    Writes(u64),
    /// None after the time that was set here.
    SetTime,
}

/// Where the bytes of a file are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct View {
    pub(crate) layout: Layout,
    /// `None` when all bytes are in place.
    pub(crate) present: Option<Vec<ByteRange>>,
}

/// What a reader needs.
#[derive(Debug, Clone)]
pub(crate) struct Readable {
    pub(crate) view: Arc<View>,
    pub(crate) size: u64,
    /// Under which generation bytes may be kept; `None` when they may not.
    pub(crate) generation: Option<u64>,
}

/// Entries of a directory.
#[derive(Debug, Default)]
struct Names {
    known: HashMap<Box<[u8]>, Option<Fid>>,
    /// No other name exists: it was made here, empty, and every change since is known.
    complete: bool,
    /// Lookups that had to be asked since nothing was known.
    asked: u32,
    /// How far names were looked up ahead.
    ahead: Option<Ahead>,
    /// How often everything was forgotten.
    forgotten: u64,
    /// Names that are changing, with the number of changes.
    unclear: HashMap<Box<[u8]>, u32>,
}

/// How far the names of a directory were looked up ahead.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ahead {
    /// The position behind which to go on.
    pub(crate) after: u64,
    since: Ticket,
    forgotten: u64,
    /// Nothing was left out so far.
    pub(crate) whole: bool,
}

/// What a name means: an inode, or nothing.
pub(crate) type Meaning<'a> = (&'a [u8], Option<Fid>);

/// The lease on a directory that came with the answer to a change, and what the directory is since.
pub(crate) type Granted = (LeaseKind, Option<Attr>);

/// An answer: the moment before it was asked for, and the present.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Heard {
    pub(crate) ticket: Ticket,
    pub(crate) now: Stamp,
    pub(crate) standing: Standing,
}

/// What is known of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Known {
    /// It names this inode.
    Names(Fid),
    /// It does not exist.
    Nothing,
    /// Ask.
    Unclear,
}

impl Inode {
    /// An inode of which nothing is known; grants that were asked for before `floor` do not count.
    pub(crate) fn new(fid: Fid, floor: Stamp) -> Self {
        let mut state = State::default();
        state.lease.end_recall(floor, LeaseKind::None);
        Self { fid, state: Mutex::new(state), telling: Arc::default(), changed: Notify::new() }
    }

    /// Each change of the state is complete before the lock is given back, also when its holder dies.
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Notes what the metadata target said of the inode; says whether it may be cached.
    pub(crate) fn learn(&mut self, heard: Heard, entry: &Entry) -> bool {
        let fresh = self.grant(heard, entry) && self.is_unchanged_since(heard.ticket);
        if fresh {
            self.take_attr(entry.attr);
        }
        fresh
    }

    /// Notes the lease that came with an answer.
    fn grant(&mut self, heard: Heard, entry: &Entry) -> bool {
        let Heard { ticket, now, standing } = heard;
        let could_write = self.lease.kind(standing) == LeaseKind::Write;
        let granted = self.lease.grant(ticket, (entry.lease, now), standing);
        if granted && !could_write && self.lease.kind(standing) == LeaseKind::Write {
            self.drop_dirty_before(standing.incarnation);
            // Of an empty file nothing else is expected.
            self.expected = match self.expected {
                Expected::SetTime => Expected::SetTime,
                Expected::Nothing | Expected::Writes(_) if entry.attr.size == 0 => {
                    Expected::Writes(standing.incarnation)
                }
                Expected::Nothing | Expected::Writes(_) => Expected::Nothing,
            };
        }
        granted
    }

    /// No change by this client could have overtaken what was asked for then.
    fn is_unchanged_since(&self, ticket: Ticket) -> bool {
        self.changing == 0 && self.changed <= ticket.stamp
    }

    fn take_attr(&mut self, attr: Attr) {
        if self.attr.is_none_or(|known| known.change <= attr.change) {
            self.attr = Some(attr);
            self.attr_is_old = false;
        }
    }

    /// The same for a file with its layout.
    pub(crate) fn learn_view(&mut self, heard: Heard, view: &FileView) -> bool {
        let fresh = self.learn(heard, &view.entry);
        // Without a lease these are still the last that readers heard of who may not wait.
        self.take_attr_if_none(view.entry.attr);
        let learned = if fresh { heard.now } else { Stamp::default() };
        let known = Arc::new(View { layout: view.layout.clone(), present: view.present.clone() });
        // What came without a lease may be older than what is held under one.
        if fresh || self.current_view(heard.standing).is_none() {
            self.view = Some((known, learned));
        }
        fresh
    }

    fn take_attr_if_none(&mut self, attr: Attr) {
        self.attr.get_or_insert(attr);
    }

    pub(crate) fn learn_layout(&mut self, layout: Layout) {
        let (present, learned) = match &self.view {
            Some((view, learned)) => (view.present.clone(), *learned),
            None => (None, Stamp::default()),
        };
        self.view = Some((Arc::new(View { layout, present }), learned));
    }

    /// The attributes, when they may be believed.
    pub(crate) fn cached_attr(&self, standing: Standing) -> Option<Attr> {
        let is_good = self.lease.allows_reading(standing) && !self.attr_is_old;
        if is_good { self.attr_now() } else { None }
    }

    /// The attributes with what was written here and not told yet.
    pub(crate) fn attr_now(&self) -> Option<Attr> {
        self.attr.map(|attr| self.overlay(attr))
    }

    /// What the metadata target said, with what it does not know yet.
    pub(crate) fn overlay(&self, attr: Attr) -> Attr {
        let Some((dirty, _)) = self.dirty else { return attr };
        let blocks = dirty.blocks.unwrap_or(attr.blocks);
        let ctime = attr.ctime.max(dirty.mtime);
        Attr { size: dirty.size, blocks, mtime: dirty.mtime, ctime, ..attr }
    }

    /// What a reader needs, if it need not ask.
    pub(crate) fn readable(&mut self, standing: Standing) -> Option<Readable> {
        let leased = self.lease.allows_reading(standing);
        // Pages are locked that the recall waits for: the reader comes before the writer that recalled.
        if !leased && !self.may_not_wait() {
            return None;
        }
        self.uncovered += u64::from(!leased);
        let generation = leased.then_some(self.data_generation);
        let view = if leased { self.current_view(standing)? } else { self.view()? };
        Some(Readable { view, size: self.attr_now()?.size, generation })
    }

    /// Whether a recall is under way that may need pages which the kernel locks while it waits for us.
    pub(crate) fn may_not_wait(&self) -> bool {
        self.lease.is_recalling() && !self.settled
    }

    /// The last view that was heard of.
    pub(crate) fn view(&self) -> Option<Arc<View>> {
        self.view.as_ref().map(|(view, _)| Arc::clone(view))
    }

    /// The view, when it was learned under the lease that is held now. A lease that came with attributes alone says
    /// nothing of where bytes are since it was last given up.
    pub(crate) fn current_view(&self, standing: Standing) -> Option<Arc<View>> {
        let (view, learned) = self.view.as_ref()?;
        let current = self.lease.kind(standing) != LeaseKind::None && self.lease.is_since(*learned);
        current.then(|| Arc::clone(view))
    }

    /// Opens the file for reading without asking, where the lease says all that is needed.
    pub(crate) fn open_unasked(&mut self, standing: Standing) -> Option<Attr> {
        if self.removing > 0 || !self.lease.allows_reading(standing) {
            return None;
        }
        self.current_view(standing)?;
        let attr = self.cached_attr(standing)?;
        self.opens += 1;
        self.unasked += 1;
        Some(attr)
    }

    /// Ends such an open; returns what stood for it, when it was the last.
    pub(crate) fn close_unasked(&mut self) -> Option<OpenId> {
        self.unasked -= 1;
        if self.unasked == 0 { self.stands.take() } else { None }
    }

    /// What stands for the opens that were not asked for, as it must be told to whoever may remove the file. `drawn` is
    /// used when there is nothing yet; `None` when nothing needs to be told.
    pub(crate) fn stand(&mut self, drawn: impl FnOnce() -> OpenId) -> Option<OpenId> {
        (self.unasked > 0).then(|| *self.stands.get_or_insert_with(drawn))
    }

    /// A name of this file is being removed.
    pub(crate) fn begin_removing(&mut self) {
        self.removing += 1;
    }

    /// That has ended.
    pub(crate) fn end_removing(&mut self) {
        self.removing -= 1;
    }

    /// Size of the file, for a writer that holds the write lease.
    pub(crate) fn size(&self) -> u64 {
        self.attr_now().map_or(0, |attr| attr.size)
    }

    /// Notes a write that all object targets acknowledged; returns what there is to tell.
    ///
    /// What is stored is known as far as it can be without asking: no less than it is, no more than the file is long. Where it matters,
    /// in a file with holes, what was written once is counted right.
    pub(crate) fn wrote(&mut self, range: Range<u64>, now: Timestamp, incarnation: u64) -> WriteUpdate {
        self.drop_dirty_before(incarnation);
        let size = self.size().max(range.end);
        let untold = self.dirty.and_then(|(dirty, _)| dirty.blocks);
        let stored = untold.or(self.attr.map(|attr| attr.blocks)).unwrap_or(0);
        let added = (range.end - range.start).div_ceil(BLOCK);
        let blocks = Some(size.div_ceil(BLOCK).min(stored + added));
        let update = WriteUpdate { size, blocks, mtime: self.write_time(now) };
        self.dirty = Some((update, incarnation));
        self.data_generation += 1;
        update
    }

    /// Time does not run backwards for those who compare times of one file.
    fn write_time(&self, now: Timestamp) -> Timestamp {
        self.attr_now().map_or(now, |attr| now.max(attr.mtime))
    }

    /// What was written and not told on this connection. What was not told before it was lost, the object targets are asked for.
    pub(crate) fn dirty(&self, incarnation: u64) -> Option<WriteUpdate> {
        self.dirty.filter(|(_, written)| *written == incarnation).map(|(update, _)| update)
    }

    fn drop_dirty_before(&mut self, incarnation: u64) {
        self.dirty = self.dirty.filter(|(_, written)| *written == incarnation);
    }

    /// The metadata target knows this update; what was written since stays. Answers asked for before may not know it yet.
    pub(crate) fn told(&mut self, update: WriteUpdate, now: Stamp) {
        if self.dirty.is_some_and(|(dirty, _)| dirty == update) {
            self.absorb();
            self.changed = now;
        }
    }

    /// Whether the metadata target expects writes.
    pub(crate) fn is_announced(&self, standing: Standing) -> bool {
        self.expected == Expected::Writes(standing.incarnation)
    }

    /// What announces a write to come, if the lease that it takes is held and no write is expected yet.
    pub(crate) fn announcement(&self, now: Timestamp, standing: Standing) -> Option<WriteUpdate> {
        if self.is_announced(standing) || !self.lease.allows_writing(standing) {
            return None;
        }
        // What came with the lease must have been believed: an older size would become the file's.
        self.current_view(standing)?;
        let attr = self.attr_now()?;
        Some(WriteUpdate { size: attr.size, blocks: Some(attr.blocks), mtime: self.write_time(now) })
    }

    /// The metadata target expects writes.
    pub(crate) fn announced(&mut self, incarnation: u64) {
        self.expected = Expected::Writes(incarnation);
    }

    /// The time of the last write is about to be set: a write that follows is to be announced.
    pub(crate) fn begin_set_time(&mut self) {
        self.expected = Expected::SetTime;
    }

    /// Takes the dirty values over as if the metadata target had said them.
    fn absorb(&mut self) {
        self.attr = self.attr_now();
        self.dirty = None;
    }

    /// A change of size or time by this client was carried out: it outranks what was written before.
    pub(crate) fn outrank(&mut self, attr: Attr, size_set: bool, mtime_set: bool) {
        if size_set {
            self.dirty = None;
            self.data_generation += 1;
        }
        if mtime_set && let Some((dirty, _)) = &mut self.dirty {
            dirty.mtime = attr.mtime;
        }
    }

    /// A connection before that of `incarnation` was lost: nothing of it is believed, and what was not told on it is asked of the
    /// object targets. This one may have been used already.
    pub(crate) fn void(&mut self, incarnation: u64) {
        self.drop_dirty_before(incarnation);
        self.data_generation += 1;
        self.names.forget();
    }

    /// Drops what exceeds `keep`; returns what must be told.
    pub(crate) fn surrender(&mut self, keep: LeaseKind, incarnation: u64) -> Option<WriteUpdate> {
        let update = self.dirty(incarnation);
        if keep == LeaseKind::None {
            self.data_generation += 1;
            self.names.forget();
        }
        self.absorb();
        update
    }

    /// The kernel may remember names of this directory from now on; says whether it may do so already.
    pub(crate) fn give_names(&mut self, given: bool) -> bool {
        std::mem::replace(&mut self.names_given, given)
    }

    /// Whether nobody needs what is known here.
    pub(crate) fn is_idle(&self) -> bool {
        self.lookups == 0
            && self.opens == 0
            && self.writers == 0
            && self.dirty.is_none()
            && !self.lease.is_recalling()
    }

    /// What is known of a name under the directory's lease.
    pub(crate) fn name(&self, name: &[u8], standing: Standing) -> Known {
        if !self.lease.allows_reading(standing) {
            return Known::Unclear;
        }
        match self.names.known.get(name) {
            Some(Some(fid)) => Known::Names(*fid),
            Some(None) => Known::Nothing,
            None if self.names.complete && !self.names.unclear.contains_key(name) => Known::Nothing,
            None => Known::Unclear,
        }
    }

    /// Notes a name that was found, with the lease that came with it; says whether it may be believed.
    pub(crate) fn saw_name(&mut self, heard: Heard, granted: LeaseKind, (name, fid): (&[u8], Fid)) -> bool {
        let fresh = self.lease.grant(heard.ticket, (granted, heard.now), heard.standing)
            && self.is_unchanged_since(heard.ticket);
        if fresh {
            self.names.keep(name, Some(fid));
        }
        fresh
    }

    /// Notes that a name was not found; says whether that may be believed.
    pub(crate) fn missed_name(&mut self, heard: Heard, name: &[u8]) -> bool {
        let fresh = self.lease.covers(heard.ticket, heard.standing) && self.is_unchanged_since(heard.ticket);
        if fresh {
            self.names.keep(name, None);
        }
        fresh
    }

    /// A change of the directory by this client begins: what it touches is not known until it ended.
    pub(crate) fn begin_change(&mut self, now: Stamp, names: &[&[u8]]) {
        self.changing += 1;
        self.changed = now;
        for name in names {
            self.names.known.remove(*name);
            *self.names.unclear.entry((*name).into()).or_default() += 1;
        }
    }

    /// It ended, and `names` are what the touched names mean now, where that is known. They are kept if nothing else changed meanwhile
    /// and the lease holds; says whether.
    pub(crate) fn end_change(
        &mut self,
        (began, touched): (Stamp, &[&[u8]]),
        heard: Heard,
        ((granted, attr), names): (Granted, &[Meaning<'_>]),
    ) -> bool {
        for name in touched {
            self.names.settle(name);
        }
        self.changing -= 1;
        let alone = self.changing == 0 && self.changed == began;
        self.changed = heard.now;
        let kept = self.lease.grant(heard.ticket, (granted, heard.now), heard.standing) && alone;
        self.attr = attr.filter(|_| kept);
        // A change whose outcome is not known may have made a name that is not among those that are.
        self.names.complete &= kept && names.len() == touched.len();
        for (name, fid) in names {
            if kept {
                self.names.keep(name, *fid);
            } else {
                self.names.known.remove(*name);
            }
        }
        kept
    }

    /// A name had to be asked for; returns how many parts of the directory shall be looked up ahead, from where.
    pub(crate) fn asked_name(&mut self, now: Ticket) -> Option<(Ahead, u32)> {
        self.names.asked = self.names.asked.saturating_add(1);
        let (_, parts) = AHEAD.into_iter().find(|(asked, _)| *asked == self.names.asked)?;
        let begun = Ahead { after: 0, since: now, forgotten: self.names.forgotten, whole: true };
        Some((self.names.ahead.unwrap_or(begun), parts))
    }

    /// Names were looked up that far: `None` when that was the last. If nothing changed since it began, no other exists.
    pub(crate) fn looked_ahead(&mut self, ahead: Ahead, next: Option<u64>, standing: Standing) {
        if self.names.forgotten != ahead.forgotten {
            return;
        }
        let unbroken = self.lease.covers(ahead.since, standing) && self.is_unchanged_since(ahead.since);
        self.names.complete |= next.is_none() && ahead.whole && unbroken;
        self.names.ahead = next.map(|after| Ahead { after, ..ahead });
        if next.is_none() {
            // What is not known now is asked for one by one.
            self.names.asked = u32::MAX;
        }
    }

    /// This directory was just made by this client: it has no entries.
    pub(crate) fn is_new_directory(&mut self) {
        self.names.complete = true;
    }

    /// This client changed the attributes: what was asked for before does not count. `entry` is what they are now.
    pub(crate) fn changed_here(&mut self, heard: Heard, entry: Option<&Entry>) -> bool {
        self.changed = heard.now;
        match entry {
            Some(entry) => {
                let fresh = self.grant(heard, entry);
                self.take_attr(entry.attr);
                fresh
            }
            // The size stays known: who writes under the lease knows it from nowhere else.
            None => {
                self.attr_is_old = true;
                false
            }
        }
    }

    /// The metadata target took the lease away with the last name.
    pub(crate) fn lose_lease(&mut self, now: Stamp) {
        if !self.lease.is_recalling() {
            self.lease.end_recall(now, LeaseKind::None);
        }
    }
}

impl Names {
    fn keep(&mut self, name: &[u8], fid: Option<Fid>) {
        if self.known.len() >= NAMES_MAX {
            self.forget();
        }
        self.known.insert(name.into(), fid);
    }

    fn forget(&mut self) {
        self.known.clear();
        (self.complete, self.asked, self.ahead) = (false, 0, None);
        self.forgotten += 1;
    }

    /// One change of a name has ended.
    fn settle(&mut self, name: &[u8]) {
        if let Some(count) = self.unclear.get_mut(name) {
            *count -= 1;
            if *count == 0 {
                self.unclear.remove(name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_told_on_the_connection_on_which_it_was_written_and_on_no_other() {
        let now = Timestamp::default();
        let mut state = State::default();
        state.wrote(0..10, now, 1);
        assert_eq!(state.dirty(1).map(|update| update.size), Some(10));
        assert_eq!(state.dirty(2), None, "its lease went with its connection");
        state.wrote(0..7, now, 2);
        // That the first connection was lost is often dealt with when the second is long in use.
        state.void(2);
        assert_eq!(state.dirty(2).map(|update| update.size), Some(7));
        state.void(3);
        assert!(state.is_idle());
    }

    #[test]
    fn what_is_stored_grows_with_what_is_written_and_not_with_holes() {
        let mut state = State::default();
        let blocks = |state: &mut State, range| state.wrote(range, Timestamp::default(), 1).blocks;
        assert_eq!(blocks(&mut state, 0..1000), Some(2));
        assert_eq!(blocks(&mut state, 0..1000), Some(2), "no more than the file is long");
        assert_eq!(blocks(&mut state, 1 << 30..(1 << 30) + 512), Some(3));
        assert_eq!(blocks(&mut state, 1 << 20..2 << 20), Some(3 + 2048));
    }
}
