//! The store of one object target: what it can be asked.
//!
//! Blocking calls, safe from any number of threads; different objects go in parallel. Reads no clock: whoever writes
//! says when.
//! Invariant: a change that returned `Ok` survives the death of the process; after [`ObjectStore::sync`], of the host.

mod cache;
mod durability;
mod recovery;

use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock, RwLockWriteGuard};

use bytes::Bytes;
use lustre_model::attr::Timestamp;
use lustre_model::control::Compression;
use lustre_model::layout::ObjectId;
use lustre_model::object::ObjectStat;

use crate::chunked;
use crate::disk::{Disk, DiskFile};
use crate::epoch::{Crashed, Epoch};
use crate::error::{Refusal, StoreError};
use crate::geometry::{BLOCK, OBJECT_SIZE_MAX, narrow};
use crate::header::Format;
use crate::intents::{COVERED_MAX, IntentLog};
use crate::ledger::Ledger;
use crate::name::{FileName, Folder};
use crate::object::{Body, Change, Cut, Found, Object, State, Tail, View};
use crate::packed::{Packed, pack_whole};
use crate::plain;
use crate::space::Room;

use cache::Cache;

/// Most bytes of one object that are written without anybody beginning to sync them.
const BEHIND_MAX: u64 = 32 << 20;

/// Bytes of a block as the unit of `st_blocks`.
const STAT_BLOCK: u64 = 512;

/// How a store is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Most bytes that objects may take.
    pub capacity: u64,
    /// Bytes of the disk that are never given to objects, so that logs and headers can always be written.
    pub reserve: u64,
    /// How objects that are new are stored. Others stay as they are, but chunks written from now on follow it.
    pub compression: Compression,
    /// Most objects, each with an open file, that are kept in memory while nobody uses them.
    pub open_objects_max: usize,
}

/// How full a store is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// Bytes that objects may take: the limit, or what the disk has left when that is less.
    pub capacity: u64,
    /// Bytes that they take, after compression, with their checksums.
    pub used: u64,
    /// How many there are.
    pub objects: u64,
    /// The file system they are on, by [`Disk::identity`].
    pub disk: u64,
    /// Bytes that it has for objects, of this store and of others.
    pub disk_free: u64,
}

/// How much of an object was written and not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behind {
    /// It may wait.
    Little,
    /// So much, said once, that it should be synced beside further writes: who waits for the whole of it in the end then waits
    /// for little, and the disk is busy while bytes still come.
    Much,
}

/// Objects in a folder.
pub struct ObjectStore<D: Disk> {
    disk: D,
    options: Options,
    cache: Cache<D::File>,
    /// The epoch of changes; held shared by every change, so that a checkpoint knows that none is under way.
    gate: RwLock<Epoch>,
    crashed: Crashed,
    intents: IntentLog<D::File>,
    room: Room,
    folders: Vec<FolderState>,
    ledger: Mutex<Ledger>,
    ledger_file: D::File,
    checkpointing: Mutex<()>,
    failure: OnceLock<Arc<io::Error>>,
}

/// Names that came or went in a folder, as counts of changes.
#[derive(Debug, Default)]
struct FolderState {
    changes: AtomicU64,
    /// The last change that removed a name.
    removed: AtomicU64,
    durable: AtomicU64,
}

impl FolderState {
    fn durable(&self) -> u64 {
        self.durable.load(Ordering::SeqCst)
    }
}

/// What was computed from the bytes of a write before its object was locked.
enum Prepared<'d> {
    Plain(Vec<u32>),
    Chunked(Vec<Packed<'d>>),
}

/// Whether a change makes the object when there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Missing {
    Create,
    Ignore,
}

impl<D: Disk> ObjectStore<D> {
    /// Returns as many bytes from `offset` on as there are before the object's end, at most `length`.
    ///
    /// Holes are zeros. Every byte was checked; [`StoreError::Damaged`] says that one cannot be trusted.
    pub fn read(&self, id: ObjectId, offset: u64, length: u32) -> Result<Bytes, StoreError> {
        let object = self.cache.get(id);
        self.loaded(&object)?;
        let state = object.shared();
        let body = match &*state {
            State::Present(body) => body,
            State::Unseen | State::Absent => return Ok(Bytes::new()),
            State::Broken => return Err(StoreError::Broken { object: id }),
        };
        let range = offset..offset.saturating_add(length.into()).min(body.header.size);
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        let found = match body.header.format {
            Format::Plain => plain::read(body, self.view(id), range.clone())?,
            Format::Chunked => chunked::read(body, self.view(id), range.clone())?,
        };
        drop(state);
        if !found.inexact.is_empty() {
            self.settle_inexact(id, &found).unwrap_or_else(|error| {
                tracing::warn!(object = ?id, %error, "checksums that a crash left inexact stay so");
            });
        }
        let (start, end) = (narrow(range.start - found.start), narrow(range.end - found.start));
        Ok(Bytes::from(found.bytes).slice(start..end))
    }

    /// Writes bytes at `offset`; the object comes into being and grows as needed.
    pub fn write(
        &self,
        id: ObjectId,
        offset: u64,
        data: &[u8],
        now: Timestamp,
    ) -> Result<Behind, StoreError> {
        let end = ends_within(offset, data.len() as u64)?;
        if data.is_empty() {
            return Ok(Behind::Little);
        }
        let object = self.cache.get(id);
        let prepared = self.prepare(&object, offset, data);
        match self.try_write(&object, (offset, end), (data, &prepared), now) {
            Err(error) if error.refusal() == Refusal::NoSpace => {
                // Space of older versions and of removed names is given back by a checkpoint.
                self.checkpoint()?;
                self.try_write(&object, (offset, end), (data, &prepared), now)?;
            }
            first => first?,
        }
        let behind = object.behind.fetch_add(data.len() as u64, Ordering::Relaxed) + data.len() as u64;
        let is_much = behind >= BEHIND_MAX && object.behind.swap(0, Ordering::Relaxed) >= BEHIND_MAX;
        Ok(if is_much { Behind::Much } else { Behind::Little })
    }

    /// Sets the size. Bytes behind it are gone, and are zeros when the object grows again.
    pub fn truncate(&self, id: ObjectId, size: u64, now: Timestamp) -> Result<(), StoreError> {
        ends_within(size, 0)?;
        let missing = if size == 0 { Missing::Ignore } else { Missing::Create };
        self.alter(&self.cache.get(id), missing, now, |body, change| {
            body.header.mtime = change.now;
            if size >= body.header.size {
                clean_tail(body, change)?;
                body.header.size = size;
                return body.save(id);
            }
            body.header.size = size;
            if size == 0 {
                body.file.clear().map_err(StoreError::disk("clearing an object"))?;
                body.forget_table();
                body.chunks.clear();
                body.tail = Tail::Zeros;
                return body.save(id);
            }
            // The size first: what a crash leaves behind it is cut before the object grows again.
            body.tail = Tail::Unchecked;
            body.save(id)?;
            cut_tail(body, change)?;
            body.tail = Tail::Zeros;
            Ok(())
        })
    }

    /// Makes a range zeros and gives its space back; the size stays.
    pub fn punch(&self, id: ObjectId, range: Range<u64>, now: Timestamp) -> Result<(), StoreError> {
        self.alter(&self.cache.get(id), Missing::Ignore, now, |body, change| {
            let range = range.start..range.end.min(body.header.size);
            if range.is_empty() {
                return Ok(());
            }
            body.header.mtime = change.now;
            match body.header.format {
                Format::Plain => plain::punch(body, change, range)?,
                Format::Chunked => chunked::punch(body, change, range)?,
            }
            body.save(id)
        })
    }

    /// Returns size, space and time of an object; zeros when there is none.
    pub fn stat(&self, id: ObjectId) -> Result<ObjectStat, StoreError> {
        let object = self.cache.get(id);
        self.loaded(&object)?;
        match &*object.shared() {
            State::Present(body) => {
                let (size, mtime) = (body.header.size, body.header.mtime);
                let stored = body.stored.map_or_else(|| body.takes(), Ok)?;
                Ok(ObjectStat { size, blocks: stored / STAT_BLOCK, mtime })
            }
            State::Unseen | State::Absent => {
                Ok(ObjectStat { size: 0, blocks: 0, mtime: Timestamp::default() })
            }
            State::Broken => Err(StoreError::Broken { object: id }),
        }
    }

    /// Removes an object; there may be none. Durable after the next sync of it or checkpoint.
    pub fn destroy(&self, id: ObjectId) -> Result<(), StoreError> {
        let object = self.cache.get(id);
        let _gate = self.gate.read().unwrap_or_else(PoisonError::into_inner);
        self.running()?;
        let mut state = object.exclusive();
        let name = FileName::Object(id);
        let known = match &*state {
            State::Absent => return Ok(()),
            State::Present(body) => body.stored,
            State::Unseen | State::Broken => None,
        };
        let asked = || self.disk.stored(name).map_err(StoreError::disk("asking for an object's space"));
        let Some(stored) = known.map_or_else(asked, |stored| Ok(Some(stored)))? else {
            *state = State::Absent;
            return Ok(());
        };
        self.disk.remove(name).map_err(StoreError::disk("removing an object"))?;
        let folder = self.folder(name.folder());
        let change = folder.changes.fetch_add(1, Ordering::SeqCst) + 1;
        folder.removed.fetch_max(change, Ordering::SeqCst);
        *state = State::Absent;
        self.cache.settled(id);
        self.room.settle(stored, 0);
        self.room.object_removed();
        Ok(())
    }

    /// Returns how full the store is.
    pub fn space(&self) -> Result<Space, StoreError> {
        let free = self.disk.free().map_err(StoreError::disk("asking for free space"))?;
        let (used, objects) = self.room.used();
        let disk_free = free.saturating_sub(self.options.reserve);
        Ok(Space { capacity: self.room.capacity(free), used, objects, disk: self.disk.identity(), disk_free })
    }

    /// Fails when nothing may be written any more.
    fn running(&self) -> Result<(), StoreError> {
        match self.failure.get() {
            Some(cause) => Err(StoreError::Stopped { cause: Arc::clone(cause) }),
            None => Ok(()),
        }
    }

    /// Stops all writing for good; returns the error that says so.
    fn stop(&self, cause: io::Error) -> StoreError {
        let cause = Arc::clone(self.failure.get_or_init(|| Arc::new(cause)));
        StoreError::Stopped { cause }
    }

    fn view(&self, object: ObjectId) -> View<'_> {
        View { object, crashed: &self.crashed }
    }

    fn folder(&self, folder: Folder) -> &FolderState {
        match folder {
            Folder::Root => &self.folders[0],
            Folder::Objects(number) => &self.folders[usize::from(number)],
        }
    }

    fn format(&self) -> Format {
        match self.options.compression {
            Compression::None => Format::Plain,
            Compression::Lz4 => Format::Chunked,
        }
    }

    /// Computes what a write needs, by the format that the object has or will have.
    fn prepare<'d>(&self, object: &Object<D::File>, offset: u64, data: &'d [u8]) -> Prepared<'d> {
        let format = match &*object.shared() {
            State::Present(body) => body.header.format,
            State::Unseen | State::Absent | State::Broken => self.format(),
        };
        self.prepare_as(format, offset, data)
    }

    fn prepare_as<'d>(&self, format: Format, offset: u64, data: &'d [u8]) -> Prepared<'d> {
        match format {
            Format::Plain => Prepared::Plain(plain::sums(offset, data)),
            Format::Chunked => Prepared::Chunked(pack_whole(offset, data, self.options.compression)),
        }
    }

    fn try_write(
        &self,
        object: &Arc<Object<D::File>>,
        (offset, end): (u64, u64),
        (data, prepared): (&[u8], &Prepared<'_>),
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.alter(object, Missing::Create, now, |body, change| {
            let grows = end > body.header.size;
            if grows {
                clean_tail(body, change)?;
            }
            let again = match (prepared, body.header.format) {
                (Prepared::Plain(_), Format::Plain) | (Prepared::Chunked(_), Format::Chunked) => None,
                (Prepared::Plain(_), Format::Chunked) | (Prepared::Chunked(_), Format::Plain) => {
                    Some(self.prepare_as(body.header.format, offset, data))
                }
            };
            let result = match again.as_ref().unwrap_or(prepared) {
                Prepared::Plain(sums) => plain::write(body, change, (offset, data), sums),
                Prepared::Chunked(whole) => chunked::write(body, change, (offset, data), whole),
            };
            if grows && result.is_err() {
                body.tail = Tail::Unchecked;
            }
            result
        })
    }

    /// Changes an object under its lock and counts what it takes.
    fn alter(
        &self,
        object: &Arc<Object<D::File>>,
        missing: Missing,
        now: Timestamp,
        act: impl FnOnce(&mut Body<D::File>, &Change<'_, D::File>) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let gate = self.gate.read().unwrap_or_else(PoisonError::into_inner);
        self.running()?;
        let mut state = object.exclusive();
        let change = self.change(object.id, *gate, now);
        match missing {
            Missing::Create => self.load_or_create(object, &mut state, &change)?,
            Missing::Ignore => self.load(object, &mut state)?,
        }
        let body = match &mut *state {
            State::Present(body) => body,
            State::Unseen | State::Absent => return Ok(()),
            State::Broken => return Err(StoreError::Broken { object: object.id }),
        };
        body.learn()?;
        let before = body.header;
        let result = act(body, &change);
        if result.is_err() && body.header.size > before.size {
            body.header = before;
            body.tail = Tail::Unchecked;
        }
        body.changes += 1;
        let counted = body.count(&self.room);
        let changed = self.cache.changed(object);
        let result = self.judge(result.and(counted), &mut state);
        drop((state, change, gate));
        self.relieve(changed)?;
        result
    }

    /// Makes a checkpoint when one is due. Whoever finds that another makes it goes on, as long as there is room.
    fn relieve(&self, changed: usize) -> Result<(), StoreError> {
        let due = |changed: usize| {
            changed > self.options.open_objects_max * 3 / 4 || self.intents.covered() > COVERED_MAX
        };
        if !due(changed) {
            return Ok(());
        }
        self.running()?;
        let one = if changed > self.options.open_objects_max {
            Some(self.checkpointing())
        } else {
            self.checkpointing.try_lock().ok()
        };
        match one {
            // Who waited finds it done.
            Some(one) if due(self.cache.changed_count()) => self.make_checkpoint(&one),
            Some(_) | None => Ok(()),
        }
    }

    /// Draws the consequences of an error: the store stops, or the object rests.
    fn judge(
        &self,
        result: Result<(), StoreError>,
        state: &mut RwLockWriteGuard<'_, State<D::File>>,
    ) -> Result<(), StoreError> {
        match &result {
            Err(StoreError::Stopped { cause }) => {
                self.failure.get_or_init(|| Arc::clone(cause));
            }
            Err(StoreError::Broken { .. }) => **state = State::Broken,
            Ok(()) | Err(_) => {}
        }
        result
    }

    /// Makes sure that the object has a file. Most that nobody has seen are new.
    fn load_or_create(
        &self,
        object: &Object<D::File>,
        state: &mut State<D::File>,
        change: &Change<'_, D::File>,
    ) -> Result<(), StoreError> {
        if !matches!(state, State::Unseen | State::Absent) {
            return Ok(());
        }
        let admitted = change.admit(BLOCK);
        let name = FileName::Object(object.id);
        let made = match &admitted {
            Ok(()) => self.disk.create_new(name).map_err(StoreError::disk("creating an object"))?,
            Err(_) => None,
        };
        let Some(file) = made else {
            *state = State::Unseen;
            self.load(object, state)?;
            return if matches!(state, State::Absent) { admitted } else { Ok(()) };
        };
        let folder = self.folder(name.folder());
        let mut body = Body::new(file, self.format());
        body.named = folder.changes.fetch_add(1, Ordering::SeqCst) + 1;
        self.room.object_added();
        *state = State::Present(body);
        Ok(())
    }

    fn change(&self, object: ObjectId, epoch: Epoch, now: Timestamp) -> Change<'_, D::File> {
        Change {
            view: self.view(object),
            epoch,
            intents: &self.intents,
            room: &self.room,
            disk: &self.disk,
            promises: std::cell::RefCell::default(),
            compression: self.options.compression,
            now,
        }
    }

    /// Makes sure that it is known whether the object has a file.
    fn loaded(&self, object: &Object<D::File>) -> Result<(), StoreError> {
        if matches!(*object.shared(), State::Unseen) {
            self.load(object, &mut object.exclusive())?;
        }
        Ok(())
    }

    fn load(&self, object: &Object<D::File>, state: &mut State<D::File>) -> Result<(), StoreError> {
        if !matches!(state, State::Unseen) {
            return Ok(());
        }
        let file =
            self.disk.open(FileName::Object(object.id)).map_err(StoreError::disk("opening an object"))?;
        *state = match file {
            Some(file) => State::Present(Body::load(file, self.view(object.id), self.format(), &self.room)?),
            None => State::Absent,
        };
        Ok(())
    }

    /// Makes exact what a crash left inexact, now that it was read.
    fn settle_inexact(&self, id: ObjectId, found: &Found) -> Result<(), StoreError> {
        if self.running().is_err() {
            return Ok(());
        }
        let gate = self.gate.read().unwrap_or_else(PoisonError::into_inner);
        let object = self.cache.get(id);
        let mut state = object.exclusive();
        self.load(&object, &mut state)?;
        let change = self.change(id, *gate, Timestamp::default());
        let State::Present(body) = &mut *state else { return Ok(()) };
        body.learn()?;
        for run in found.inexact.chunk_by(|one, next| one + 1 == *next) {
            let (Some(first), Some(last)) = (run.first(), run.last()) else { continue };
            match body.header.format {
                Format::Plain => plain::rehash(body, &change, *first..*last + 1)?,
                Format::Chunked => {
                    for chunk in *first..*last + 1 {
                        chunked::settle_inexact(body, &change, chunk)?;
                    }
                }
            }
        }
        body.changes += 1;
        self.cache.changed(&object);
        Ok(())
    }
}

/// Makes sure that bytes behind the object's end are zeros before it grows over them.
///
/// What is cut here was not seen since a crash. It must be gone for good before a greater size can reach the disk, or the
/// next power loss would show it again.
fn clean_tail<F: DiskFile>(body: &mut Body<F>, change: &Change<'_, F>) -> Result<(), StoreError> {
    if body.tail == Tail::Unchecked && cut_tail(body, change)? == Cut::Bytes {
        chunked::sync_begins(&mut body.chunks);
        body.file.sync().map_err(|cause| StoreError::Stopped { cause: cause.into() })?;
        // Otherwise the next version could be named beside the one that was cut, and fall back to it.
        chunked::sync_ended(body, change.view, body.changes + 1);
    }
    body.tail = Tail::Zeros;
    Ok(())
}

fn cut_tail<F: DiskFile>(body: &mut Body<F>, change: &Change<'_, F>) -> Result<Cut, StoreError> {
    match body.header.format {
        Format::Plain => plain::cut_tail(body, change),
        Format::Chunked => chunked::cut_tail(body, change),
    }
}

/// Returns the end of a range that lies within the largest object.
fn ends_within(offset: u64, length: u64) -> Result<u64, StoreError> {
    let end = offset.saturating_add(length);
    if end > OBJECT_SIZE_MAX { Err(StoreError::TooLarge { end }) } else { Ok(end) }
}
