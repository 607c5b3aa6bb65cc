//! Room: how much is stored, how much was promised to requests under way, and how much the disk still has.
//!
//! Counts what objects take on the disk after compression, with their checksums.
//! Invariant: stored plus promised never exceeds the capacity, so a write that was admitted does not fill the target.

use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::disk::Disk;
use crate::error::StoreError;

/// Who is asked how much the disk has left.
pub(crate) trait FreeSpace {
    /// Returns the bytes that can still be stored.
    fn free_space(&self) -> io::Result<u64>;
}

impl<D: Disk> FreeSpace for D {
    fn free_space(&self) -> io::Result<u64> {
        self.free()
    }
}

/// The counts of one store.
#[derive(Debug)]
pub(crate) struct Room {
    capacity: u64,
    reserve: u64,
    counts: Mutex<Counts>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    used: u64,
    objects: u64,
    promised: u64,
    /// What the disk had free above the reserve when it was last asked, less what was promised since.
    budget: u64,
}

/// Room that a request may take; given back when dropped, after what it took was counted.
#[derive(Debug)]
pub(crate) struct Promise<'a> {
    room: &'a Room,
    bytes: u64,
}

/// Most bytes promised between two questions to the disk, since others fill it too.
const BUDGET_MAX: u64 = 64 << 20;

/// The part of what is free that is promised so: as many stores on one disk as this may all do it at the same moment, and
/// still leave its reserve alone.
const BUDGET_PART: u64 = 64;

impl Room {
    /// Counts from what is stored now.
    pub fn new(capacity: u64, reserve: u64, used: u64, objects: u64) -> Self {
        let counts = Counts { used, objects, ..Counts::default() };
        Self { capacity, reserve, counts: Mutex::new(counts) }
    }

    /// Promises room for at most `bytes` more.
    pub fn admit(&self, bytes: u64, disk: &dyn FreeSpace) -> Result<Promise<'_>, StoreError> {
        let mut counts = self.lock();
        let taken = counts.used + counts.promised;
        if bytes > 0 && taken + bytes > self.capacity {
            return Err(StoreError::Full { used: taken, capacity: self.capacity, needed: bytes });
        }
        if bytes > counts.budget {
            let free = disk.free_space().map_err(StoreError::disk("asking for free space"))?;
            let above = free.saturating_sub(self.reserve + counts.promised);
            if bytes > above {
                return Err(StoreError::DiskFull { free, reserve: self.reserve });
            }
            counts.budget = (above / BUDGET_PART).min(BUDGET_MAX).max(bytes);
        }
        counts.budget -= bytes;
        counts.promised += bytes;
        Ok(Promise { room: self, bytes })
    }

    /// Counts that an object took `before` bytes and takes `after`.
    pub fn settle(&self, before: u64, after: u64) {
        let mut counts = self.lock();
        counts.used = (counts.used + after).saturating_sub(before);
    }

    /// Counts an object that came into being.
    pub fn object_added(&self) {
        self.lock().objects += 1;
    }

    /// Counts an object that was removed.
    pub fn object_removed(&self) {
        let mut counts = self.lock();
        counts.objects = counts.objects.saturating_sub(1);
    }

    /// Replaces the counts by what was found on the disk.
    pub fn recount(&self, used: u64, objects: u64) {
        let mut counts = self.lock();
        (counts.used, counts.objects) = (used, objects);
    }

    /// Returns the bytes used and the number of objects.
    pub fn used(&self) -> (u64, u64) {
        let counts = self.lock();
        (counts.used, counts.objects)
    }

    /// Returns the limit, lowered to what the disk can hold.
    pub fn capacity(&self, free: u64) -> u64 {
        let counts = self.lock();
        self.capacity.min(counts.used + free.saturating_sub(self.reserve))
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Promise<'_> {
    fn drop(&mut self) {
        let mut counts = self.room.lock();
        counts.promised = counts.promised.saturating_sub(self.bytes);
    }
}
