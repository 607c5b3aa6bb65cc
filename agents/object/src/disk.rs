//! What the store needs of a local file system.
//!
//! No implementation is here: the real one is the agent's, a simulated one with crashes belongs to the tests.
//! Invariant: after an `Ok` from [`DiskFile::sync`] everything written to that file before survives power loss; after
//! an error nobody may assume anything, and the store never asks again.

use std::io;

use lustre_model::layout::ObjectId;

use crate::name::{FileName, Folder};

/// A folder of sparse files.
///
/// A full disk is [`io::ErrorKind::StorageFull`] or [`io::ErrorKind::QuotaExceeded`].
pub trait Disk: Send + Sync + 'static {
    /// An open file.
    type File: DiskFile;

    /// Opens a file, if there is one.
    fn open(&self, name: FileName) -> io::Result<Option<Self::File>>;

    /// Opens a file, making it empty when there is none. Its name is durable after [`Disk::sync_folder`].
    fn create(&self, name: FileName) -> io::Result<Self::File>;

    /// Makes a file and opens it, unless there is one. Its name is durable after [`Disk::sync_folder`].
    fn create_new(&self, name: FileName) -> io::Result<Option<Self::File>>;

    /// Returns the bytes that a file takes on the disk, if there is one.
    fn stored(&self, name: FileName) -> io::Result<Option<u64>>;

    /// Removes a file; there may be none. Durable after [`Disk::sync_folder`].
    fn remove(&self, name: FileName) -> io::Result<()>;

    /// Makes the names in a folder durable.
    fn sync_folder(&self, folder: Folder) -> io::Result<()>;

    /// Makes everything durable that was written to any file or folder before.
    fn sync_all(&self) -> io::Result<()>;

    /// Returns how many bytes can still be stored.
    fn free(&self) -> io::Result<u64>;

    /// Names the file system: the same number for every folder on it, another for every other, 0 when that is not known.
    fn identity(&self) -> u64 {
        0
    }

    /// Visits every object with the bytes that it takes on the disk.
    fn objects(&self, visit: &mut dyn FnMut(ObjectId, u64)) -> io::Result<()>;
}

/// An open file. Reads and writes of several threads may overlap in time but not in place.
pub trait DiskFile: Send + Sync + 'static {
    /// Appends exactly `length` bytes from `offset` on to `into`; holes and what lies behind the end are zeros.
    fn read_at(&self, offset: u64, length: usize, into: &mut Vec<u8>) -> io::Result<()>;

    /// Writes all bytes at `offset`. After an error any of them may have been written.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Writes two pieces, one behind the other. After an error any bytes of either may have been written.
    ///
    /// A killed process leaves nothing of the second without all of the first.
    fn write_both_at(&self, offset: u64, first: &[u8], second: &[u8]) -> io::Result<()> {
        self.write_at(offset, first)?;
        self.write_at(offset + first.len() as u64, second)
    }

    /// Makes a range zeros and gives back the pages that it covers whole.
    fn punch(&self, offset: u64, length: u64) -> io::Result<()>;

    /// Makes the file empty; after a crash it is empty or untouched.
    fn clear(&self) -> io::Result<()>;

    /// Makes everything written to this file before durable.
    fn sync(&self) -> io::Result<()>;

    /// Returns the bytes that it takes on the disk.
    fn stored(&self) -> io::Result<u64>;

    /// Returns the offset behind its last byte.
    fn length(&self) -> io::Result<u64>;
}
