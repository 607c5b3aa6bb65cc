//! Bytes of the disk that a metadata target holds, to give them back when its log or its store finds no room.
//!
//! A removal writes before it frees. On a disk that others have filled to the last byte it could not, if the target had not
//! allocated a file while there was room, of which it now gives up a part.
//! Invariant: the file only shrinks while there is no room, and grows again only above the floor at which names stop.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use lustre_metadata::Room;
use rustix::fs::{FallocateFlags, fallocate, statvfs};
use tracing::{debug, info, warn};

use crate::disk_floor;

/// The file in the target's folder.
pub(super) const BALLAST: &str = "ballast";

/// The file is given up in so many parts.
const PARTS: u64 = 8;

/// The part of it that a store may need to be opened.
const OPENING_PART: u64 = 4;

/// File systems allocate whole pages.
const PAGE: u64 = 4096;

/// The bytes held, and what the disk must have free.
pub(super) struct Reserve {
    folder: PathBuf,
    whole: u64,
    floor: u64,
    held: Mutex<u64>,
    /// A part was given since the last time that what is left of it was taken back.
    yielded: AtomicBool,
}

impl Reserve {
    /// Takes up what is held in a target's folder.
    pub(super) fn open(folder: &Path) -> io::Result<Self> {
        let disk = statvfs(folder)?;
        let total = disk.f_blocks.saturating_mul(disk.f_frsize);
        let held = fs_err::metadata(folder.join(BALLAST)).map_or(0, |found| found.len());
        let (whole, floor) = (disk_floor::ballast(total), disk_floor::of_names(total));
        let (folder, held) = (folder.to_owned(), Mutex::new(held));
        Ok(Self { folder, whole, floor, held, yielded: AtomicBool::new(false) })
    }

    /// Says how much room there is, and takes back what was given up when there is enough.
    pub(super) fn look(&self) -> io::Result<Room> {
        let free = self.free()?;
        if free < self.floor {
            return Ok(Room::Scarce);
        }
        let missing = self.whole.saturating_sub(*self.held());
        if missing > 0 && free - self.floor >= missing {
            self.take(self.whole);
        }
        Ok(Room::Ample)
    }

    /// Takes back most of what was given and not needed, before others do.
    pub(super) fn settle(&self) -> io::Result<()> {
        if !self.yielded.swap(false, Ordering::SeqCst) {
            return Ok(());
        }
        let left = self.free()? / 4 * 3 / PAGE * PAGE;
        if left > 0 {
            let held = *self.held();
            self.take((held + left).min(self.whole));
        }
        Ok(())
    }

    /// Gives back a part; false when nothing is left to give.
    pub(super) fn yield_part(&self) -> io::Result<bool> {
        let part = (self.whole / PARTS).max(1);
        let given = self.give(part)?;
        if given > 0 {
            self.yielded.store(true, Ordering::SeqCst);
            debug!(given, folder = %self.folder.display(), "the disk is full; a part of the reserve is given up");
        }
        Ok(given > 0)
    }

    /// Whether less is free than one part.
    pub(super) fn is_short(&self) -> io::Result<bool> {
        Ok(self.free()? < self.whole / PARTS)
    }

    /// Gives back as much as makes one part free, where that much is held.
    pub(super) fn make_room(&self) -> io::Result<()> {
        while self.is_short()? && self.yield_part()? {}
        Ok(())
    }

    /// Says whether the disk has room for a store to be opened, with what is held.
    pub(super) fn may_open(&self) -> io::Result<bool> {
        Ok(self.free()?.saturating_add(*self.held()) >= self.whole / OPENING_PART)
    }

    fn free(&self) -> io::Result<u64> {
        let disk = statvfs(&self.folder)?;
        Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
    }

    fn held(&self) -> MutexGuard<'_, u64> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn give(&self, bytes: u64) -> io::Result<u64> {
        let mut held = self.held();
        let given = bytes.min(*held);
        if given > 0 {
            let file = fs_err::OpenOptions::new().write(true).open(self.folder.join(BALLAST))?;
            file.set_len(*held - given)?;
            *held -= given;
        }
        Ok(given)
    }

    /// As best it can: a file system that cannot allocate ahead has only its floor.
    fn take(&self, bytes: u64) {
        let mut held = self.held();
        if bytes <= *held {
            return;
        }
        let taken = fs_err::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(self.folder.join(BALLAST))
            .and_then(|file| Ok(fallocate(&file, FallocateFlags::empty(), 0, bytes)?));
        match taken {
            Ok(()) => info!(bytes, "the metadata target holds its reserve"),
            Err(error) => {
                warn!(%error, "the metadata target cannot hold a reserve; only its floor is kept free")
            }
        }
        // Also after an error, so that it is not tried at every look.
        *held = bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::small_disk::SmallDisk;

    #[test]
    fn what_is_held_is_given_up_in_parts_on_a_full_disk_and_taken_back_later() {
        let disk = SmallDisk::new(64 << 20);
        let reserve = Reserve::open(disk.path()).unwrap();
        assert_eq!(reserve.look().unwrap(), Room::Ample);
        let ballast = disk.path().join(BALLAST);
        let size = || fs_err::metadata(&ballast).unwrap().len();
        assert_eq!(size(), 2 << 20);
        disk.fill();
        assert_eq!(reserve.look().unwrap(), Room::Scarce);
        let mut parts = 0;
        while reserve.yield_part().unwrap() {
            parts += 1;
            let found = statvfs(disk.path()).unwrap();
            assert!(found.f_bavail * found.f_frsize > 0, "a part is free now");
            disk.fill();
        }
        assert_eq!((parts, size()), (PARTS, 0));
        assert!(!reserve.may_open().unwrap(), "there is nothing left to give");
        disk.empty();
        assert_eq!(reserve.look().unwrap(), Room::Ample);
        assert_eq!(size(), 2 << 20);
        disk.fill();
        assert!(reserve.yield_part().unwrap());
        assert!(reserve.may_open().unwrap());
        assert_eq!(size(), (2 << 20) / PARTS * 7);
        reserve.settle().unwrap();
        assert!(size() > (2 << 20) / PARTS * 7, "what of it was not needed is left to nobody else");
    }
}
