//! The folder of an object target on a local file system, as the store's disk.
//!
//! Follows no symbolic link below the folder; makes 256 folders for objects and nothing else.
//! Invariant: every file is opened relative to a folder that was opened once, so renaming above it changes nothing.

use std::io::{self, IoSlice};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lustre_model::layout::ObjectId;
use lustre_object::{Disk, DiskFile, FileName, Folder};
use rustix::buffer::spare_capacity;
use rustix::fs::{AtFlags, Dir, FallocateFlags, FlockOperation, IFlags, Mode, OFlags};
use rustix::io::Errno;
use sha2::{Digest, Sha256};

use super::named;

/// A file that is made, tried and removed when the folder is opened.
pub(super) const PROBE: &str = "probe";

/// Farther than any byte of an object's file lies.
const FARTHEST: u64 = 9 << 40;

/// Unit of `st_blocks`.
const STAT_BLOCK: u64 = 512;

const FOLDER_FLAGS: OFlags = OFlags::DIRECTORY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
const FILE_FLAGS: OFlags = OFlags::RDWR.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
const FILE_MODE: Mode = Mode::RUSR.union(Mode::WUSR);

/// A locked folder.
#[derive(Debug)]
pub(super) struct HostDisk {
    path: Arc<PathBuf>,
    root: OwnedFd,
    folders: Vec<OwnedFd>,
    identity: u64,
}

/// A file in it.
#[derive(Debug)]
pub(super) struct HostFile {
    root: Arc<PathBuf>,
    name: FileName,
    descriptor: OwnedFd,
}

impl HostDisk {
    /// Opens and locks a folder; [`io::ErrorKind::WouldBlock`] when another process holds the lock.
    pub fn open(path: &Path) -> io::Result<Self> {
        let at = |name: &'static str| move |error| named(path, name, error);
        // The folder itself may be reached by a link; that is the operator's choice.
        let root =
            rustix::fs::open(path, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).map_err(at(""))?;
        rustix::fs::flock(&root, FlockOperation::NonBlockingLockExclusive).map_err(at(""))?;
        probe(&root).map_err(|error| match error {
            Errno::FBIG => too_small_files(),
            error => at(PROBE)(error),
        })?;
        make_folder(&root, "objects").map_err(at("objects"))?;
        let objects =
            rustix::fs::openat(&root, "objects", FOLDER_FLAGS, Mode::empty()).map_err(at("objects"))?;
        spread(&objects);
        let mut folders = Vec::new();
        for folder in Folder::of_objects() {
            let name = folder.path();
            make_folder(&root, &name).map_err(|error| named(path, &name, error))?;
            let opened = rustix::fs::openat(&root, &name, FOLDER_FLAGS, Mode::empty());
            folders.push(opened.map_err(|error| named(path, &name, error))?);
        }
        rustix::fs::fsync(objects).map_err(at("objects"))?;
        rustix::fs::fsync(&root).map_err(at(""))?;
        let identity = identity(&root);
        Ok(Self { path: Arc::new(path.to_owned()), root, folders, identity })
    }

    /// Returns how many bytes the file system has in all.
    pub fn total(&self) -> io::Result<u64> {
        let found = rustix::fs::fstatvfs(&self.root).map_err(|error| named(&self.path, "", error))?;
        Ok(found.f_blocks.saturating_mul(found.f_frsize))
    }

    fn folder(&self, folder: Folder) -> &OwnedFd {
        match folder {
            Folder::Root => &self.root,
            Folder::Objects(number) => &self.folders[usize::from(number)],
        }
    }

    /// Opens a file so that reading it changes nothing on the disk, where the file is ours.
    fn open_with(&self, name: FileName, flags: OFlags) -> Result<HostFile, Errno> {
        let folder = self.folder(name.folder());
        let open = |flags| rustix::fs::openat(folder, name.base(), flags, FILE_MODE);
        let descriptor = match open(flags | OFlags::NOATIME) {
            Err(Errno::PERM) => open(flags)?,
            opened => opened?,
        };
        Ok(HostFile { root: Arc::clone(&self.path), name, descriptor })
    }

    fn named(&self, name: FileName) -> impl FnOnce(Errno) -> io::Error + '_ {
        move |error| named(&self.path, &name.path(), error)
    }
}

/// Why files of the store do not fit on a file system, and what to do.
fn too_small_files() -> io::Error {
    let reason = "its file system refuses files of terabytes; an ext4 needs blocks of 4 KiB for them (`mkfs.ext4 -b 4096`)";
    io::Error::new(io::ErrorKind::FileTooLarge, reason)
}

/// Tries what the store cannot do without: files of terabytes, and holes in them.
fn probe(root: &OwnedFd) -> Result<(), Errno> {
    let file = rustix::fs::openat(root, PROBE, FILE_FLAGS | OFlags::CREATE, FILE_MODE)?;
    rustix::fs::unlinkat(root, PROBE, AtFlags::empty())?;
    match rustix::io::pwrite(&file, &[0], FARTHEST) {
        Ok(_) => punch(&file, 0, FARTHEST),
        // Not what is tried here: a target on a full disk must start, so that what it holds can be read and removed.
        Err(Errno::NOSPC | Errno::DQUOT) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Lets ext4 put the folders below in different parts of the disk, as it does with those of the top.
///
/// Otherwise all files share few groups of inodes, which are searched from their beginning for one that is free. Other
/// file systems have no such flag, and no such need.
fn spread(objects: &OwnedFd) {
    let flagged = rustix::fs::ioctl_getflags(objects)
        .and_then(|flags| rustix::fs::ioctl_setflags(objects, flags | IFlags::TOPDIR));
    if let Err(error) = flagged {
        tracing::debug!(%error, "the file system places objects as it likes");
    }
}

/// Numbers a file system: its device, as the running kernel numbers it.
fn identity(root: &OwnedFd) -> u64 {
    let (Ok(found), Ok(boot)) = (rustix::fs::fstat(root), crate::running::boot()) else { return 0 };
    let mut hasher = Sha256::new();
    hasher.update(boot.as_bytes());
    hasher.update(found.st_dev.to_le_bytes());
    let digest = hasher.finalize();
    digest.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte)).max(1)
}

fn make_folder(root: &OwnedFd, name: &str) -> Result<(), Errno> {
    match rustix::fs::mkdirat(root, name, Mode::RWXU) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(error) => Err(error),
    }
}

fn punch(file: &OwnedFd, offset: u64, length: u64) -> Result<(), Errno> {
    let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    rustix::io::retry_on_intr(|| rustix::fs::fallocate(file, flags, offset, length))
}

impl Disk for HostDisk {
    type File = HostFile;

    fn open(&self, name: FileName) -> io::Result<Option<HostFile>> {
        match self.open_with(name, FILE_FLAGS) {
            Ok(file) => Ok(Some(file)),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(self.named(name)(error)),
        }
    }

    fn create(&self, name: FileName) -> io::Result<HostFile> {
        self.open_with(name, FILE_FLAGS | OFlags::CREATE).map_err(self.named(name))
    }

    fn create_new(&self, name: FileName) -> io::Result<Option<HostFile>> {
        match self.open_with(name, FILE_FLAGS | OFlags::CREATE | OFlags::EXCL) {
            Ok(file) => Ok(Some(file)),
            Err(Errno::EXIST) => Ok(None),
            Err(error) => Err(self.named(name)(error)),
        }
    }

    fn stored(&self, name: FileName) -> io::Result<Option<u64>> {
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        match rustix::fs::statat(self.folder(name.folder()), name.base(), flags) {
            Ok(found) => Ok(Some(blocks(found.st_blocks))),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(self.named(name)(error)),
        }
    }

    fn remove(&self, name: FileName) -> io::Result<()> {
        match rustix::fs::unlinkat(self.folder(name.folder()), name.base(), AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(self.named(name)(error)),
        }
    }

    fn sync_folder(&self, folder: Folder) -> io::Result<()> {
        rustix::fs::fsync(self.folder(folder)).map_err(|error| named(&self.path, &folder.path(), error))
    }

    fn sync_all(&self) -> io::Result<()> {
        rustix::fs::syncfs(&self.root).map_err(|error| named(&self.path, "", error))
    }

    fn free(&self) -> io::Result<u64> {
        let found = rustix::fs::fstatvfs(&self.root).map_err(|error| named(&self.path, "", error))?;
        Ok(found.f_bavail.saturating_mul(found.f_frsize))
    }

    fn identity(&self) -> u64 {
        self.identity
    }

    fn objects(&self, visit: &mut dyn FnMut(ObjectId, u64)) -> io::Result<()> {
        for folder in Folder::of_objects() {
            let failed = |error| named(&self.path, &folder.path(), error);
            let opened = self.folder(folder);
            for entry in Dir::read_from(opened).map_err(failed)? {
                let entry = entry.map_err(failed)?;
                let Some(object) = entry.file_name().to_str().ok().and_then(FileName::parse_object) else {
                    continue;
                };
                let found = rustix::fs::statat(opened, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW);
                visit(object, blocks(found.map_err(failed)?.st_blocks));
            }
        }
        Ok(())
    }
}

impl HostFile {
    fn named(&self, error: Errno) -> io::Error {
        named(&self.root, &self.name.path(), error)
    }
}

impl DiskFile for HostFile {
    fn read_at(&self, offset: u64, length: usize, into: &mut Vec<u8>) -> io::Result<()> {
        let (start, end) = (into.len(), into.len() + length);
        into.reserve_exact(length);
        while into.len() < end {
            let at = offset + (into.len() - start) as u64;
            let read = if into.capacity() == end {
                rustix::io::retry_on_intr(|| rustix::io::pread(&self.descriptor, spare_capacity(into), at))
            } else {
                // More room than was asked for: only the part that was asked for may be filled.
                let from = into.len();
                into.resize(end, 0);
                let read =
                    rustix::io::retry_on_intr(|| rustix::io::pread(&self.descriptor, &mut into[from..], at));
                into.truncate(from + *read.as_ref().unwrap_or(&0));
                read
            };
            if read.map_err(|error| self.named(error))? == 0 {
                into.resize(end, 0);
            }
        }
        Ok(())
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut done = 0;
        while done < bytes.len() {
            let at = offset + done as u64;
            let written =
                rustix::io::retry_on_intr(|| rustix::io::pwrite(&self.descriptor, &bytes[done..], at));
            match written.map_err(|error| self.named(error))? {
                0 => return Err(self.named(Errno::IO)),
                count => done += count,
            }
        }
        Ok(())
    }

    fn write_both_at(&self, offset: u64, first: &[u8], second: &[u8]) -> io::Result<()> {
        let parts = [IoSlice::new(first), IoSlice::new(second)];
        let written = rustix::io::retry_on_intr(|| rustix::io::pwritev(&self.descriptor, &parts, offset));
        let done = written.map_err(|error| self.named(error))?;
        // A call that stopped half-way says why when the rest is tried.
        let (begun, rest) = (done.min(first.len()), done.saturating_sub(first.len()));
        self.write_at(offset + begun as u64, &first[begun..])?;
        self.write_at(offset + (first.len() + rest) as u64, &second[rest..])
    }

    fn punch(&self, offset: u64, length: u64) -> io::Result<()> {
        punch(&self.descriptor, offset, length).map_err(|error| self.named(error))
    }

    fn clear(&self) -> io::Result<()> {
        rustix::io::retry_on_intr(|| rustix::fs::ftruncate(&self.descriptor, 0))
            .map_err(|error| self.named(error))
    }

    fn sync(&self) -> io::Result<()> {
        rustix::fs::fdatasync(&self.descriptor).map_err(|error| self.named(error))
    }

    fn stored(&self) -> io::Result<u64> {
        let found = rustix::fs::fstat(&self.descriptor).map_err(|error| self.named(error))?;
        Ok(blocks(found.st_blocks))
    }

    fn length(&self) -> io::Result<u64> {
        let found = rustix::fs::fstat(&self.descriptor).map_err(|error| self.named(error))?;
        Ok(u64::try_from(found.st_size).unwrap_or(0))
    }
}

fn blocks(count: i64) -> u64 {
    u64::try_from(count).unwrap_or(0).saturating_mul(STAT_BLOCK)
}
