//! One object in memory: its open file, its header and what is not durable yet; and what a change to it may use.
//!
//! Not how bytes are stored; `plain` and `chunked` know that.
//! Invariant: the state changes only under its lock, and an object with changes that are not durable stays in memory.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, RwLock, RwLockReadGuard, RwLockWriteGuard};

use lustre_model::attr::Timestamp;
use lustre_model::control::Compression;
use lustre_model::layout::ObjectId;

use crate::chunked::Versions;
use crate::disk::DiskFile;
use crate::epoch::{Crashed, Epoch};
use crate::error::StoreError;
use crate::header::{Format, Header};
use crate::intents::IntentLog;
use crate::space::{FreeSpace, Promise, Room};
use crate::table::{self, Lead};

/// An object and its locks.
#[derive(Debug)]
pub(crate) struct Object<F> {
    pub id: ObjectId,
    state: RwLock<State<F>>,
    /// Held while it is being made durable: one at a time.
    pub syncing: Mutex<()>,
    /// When it was last asked for, in the cache's count.
    pub used_at: AtomicU64,
    /// Bytes that were written since somebody was told to sync it.
    pub behind: AtomicU64,
}

/// What is known of an object.
#[derive(Debug)]
pub(crate) enum State<F> {
    /// Nobody looked yet.
    Unseen,
    /// It has no file.
    Absent,
    /// It has.
    Present(Body<F>),
    /// A write failed and what it left cannot be read.
    Broken,
}

/// Whether bytes behind the object's end are known to be zeros.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tail {
    Zeros,
    /// A crash or a failed truncation may have left some.
    Unchecked,
}

/// Whether there was anything behind an object's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    Nothing,
    Bytes,
}

/// An object with a file.
#[derive(Debug)]
pub(crate) struct Body<F> {
    pub file: Arc<F>,
    pub header: Header,
    /// The beginning of its table.
    pub lead: Lead,
    pub tail: Tail,
    /// Bytes that the file takes on the disk, as counted; not asked for until it is changed.
    pub stored: Option<u64>,
    /// Number of changes, and how many of them are durable.
    pub changes: u64,
    pub durable: u64,
    /// The change of its folder after which its name is durable.
    pub named: u64,
    /// Chunks with versions that are not durable.
    pub chunks: BTreeMap<u64, Versions>,
}

/// What a reader knows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct View<'a> {
    pub object: ObjectId,
    pub crashed: &'a Crashed,
}

/// What a writer may use.
pub(crate) struct Change<'a, F> {
    pub view: View<'a>,
    pub epoch: Epoch,
    pub intents: &'a IntentLog<F>,
    pub room: &'a Room,
    pub disk: &'a dyn FreeSpace,
    /// Room promised to this change, given back when what it took was counted.
    pub promises: RefCell<Vec<Promise<'a>>>,
    pub compression: Compression,
    pub now: Timestamp,
}

/// Bytes read, whole blocks or chunks from `start` on, and which of those have sums that a crash left inexact.
#[derive(Debug)]
pub(crate) struct Found {
    pub start: u64,
    pub bytes: Vec<u8>,
    pub inexact: Vec<u64>,
}

impl<F> Object<F> {
    /// Returns an object of which nothing is known.
    pub fn new(id: ObjectId) -> Self {
        let state = RwLock::new(State::Unseen);
        Self { id, state, syncing: Mutex::new(()), used_at: AtomicU64::new(0), behind: AtomicU64::new(0) }
    }

    /// Locks it for reading.
    pub fn shared(&self) -> RwLockReadGuard<'_, State<F>> {
        self.state.read().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Locks it for changes.
    pub fn exclusive(&self) -> RwLockWriteGuard<'_, State<F>> {
        self.state.write().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl<F: DiskFile> Body<F> {
    /// Takes a file that was just made.
    pub fn new(file: F, fresh: Format) -> Self {
        Self {
            file: Arc::new(file),
            header: Header::empty(fresh),
            lead: Lead::default(),
            tail: Tail::Zeros,
            stored: Some(0),
            changes: 0,
            durable: 0,
            named: 0,
            chunks: BTreeMap::new(),
        }
    }

    /// Reads the header of an open file; `fresh` is the format of an object that was never written.
    pub fn load(file: F, view: View<'_>, fresh: Format, room: &Room) -> Result<Self, StoreError> {
        let (lead, header) = table::load(&file, view.object)?;
        let mut body = Self::new(file, fresh);
        body.stored = None;
        if let Some(header) = header {
            body.tail = if view.crashed.is_empty() { Tail::Zeros } else { Tail::Unchecked };
            (body.header, body.lead) = (header, lead);
            return Ok(body);
        }
        // Created, and perhaps written to, but a crash came before its header: nothing was acknowledged.
        // A file that is new is left alone: ext4 writes files out at once that were ever emptied.
        let failed = StoreError::disk("asking for a file's length");
        if body.file.length().map_err(failed)? > 0 {
            body.learn()?;
            body.file.clear().map_err(StoreError::disk("clearing a file without a header"))?;
            body.count(room)?;
        }
        Ok(body)
    }

    /// Asks what the file takes, unless it is known.
    pub fn learn(&mut self) -> Result<(), StoreError> {
        if self.stored.is_none() {
            self.stored = Some(self.takes()?);
        }
        Ok(())
    }

    /// Returns the bytes that the file takes on the disk.
    pub fn takes(&self) -> Result<u64, StoreError> {
        self.file.stored().map_err(StoreError::disk("asking for an object's space"))
    }

    /// Counts what the file takes now.
    pub fn count(&mut self, room: &Room) -> Result<(), StoreError> {
        let stored = self.takes()?;
        if let Some(before) = self.stored.replace(stored) {
            room.settle(before, stored);
        }
        Ok(())
    }
}

impl<F> Change<'_, F> {
    /// Makes sure that this change may take so many bytes more.
    pub fn admit(&self, bytes: u64) -> Result<(), StoreError> {
        let promise = self.room.admit(bytes, self.disk)?;
        self.promises.borrow_mut().push(promise);
        Ok(())
    }

    /// Returns whether in-place changes to bytes whose sum is of this epoch need an intent.
    ///
    /// Epochs that crashes left inexact need none, nor does the present one; every other may be trusted after the
    /// next crash.
    pub fn needs_intent(&self, epoch: Epoch) -> bool {
        epoch != 0 && epoch != self.epoch && !self.view.crashed.contains(epoch)
    }
}
