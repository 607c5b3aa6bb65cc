//! The folder that is the bucket: opening, creating and removing what lies in it, and nothing outside it.
//!
//! Every path is resolved by the kernel from the folder's own descriptor with `RESOLVE_BENEATH` and `RESOLVE_NO_SYMLINKS`
//! (Linux 5.6). Records are extended attributes; where the file system takes none, they are files named by the hash of the key.
//! Invariant: no call leaves the folder or follows a symbolic link, whatever other programs do in it meanwhile.

use std::ffi::CString;
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags, XattrFlags};
use rustix::io::Errno;
use sha2::{Digest, Sha256};

use crate::bucket::fault::BucketError;
use crate::bucket::key::{OWN_FOLDER, split};
use crate::bucket::record::{Draft, ETAG_EMPTY, Kind, Record, Stamp, now};

/// The extended attribute that holds a record.
const ATTRIBUTE: &str = "user.lustre.s3";

/// Bytes of a record: user metadata have at most 2 KiB, headers as much again.
const RECORD_BYTES_MAX: usize = 8192;

/// Mode of directories that keys imply.
const DIRECTORY_MODE: u32 = 0o755;

/// Mode of a file before its object's attributes are set.
const TEMPORARY_MODE: u32 = 0o600;

const BENEATH: ResolveFlags =
    ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_MAGICLINKS);

/// A folder and the bucket's own folder in it.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    root: OwnedFd,
    own: Arc<OwnedFd>,
    /// The file system has no room or no place for attributes: look for records in files too.
    record_files: AtomicBool,
    temporary: AtomicU64,
}

/// A file that is not yet under its name. Removed when dropped before it got one.
#[derive(Debug)]
pub(crate) struct Temporary {
    own: Arc<OwnedFd>,
    name: Option<String>,
    pub file: File,
}

impl Folder {
    /// Opens a folder, and makes the bucket's own in it. Clears what was being written when it was last closed.
    pub(crate) fn open(path: &Path) -> Result<Self, BucketError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(path, flags, Mode::empty())?;
        let own_path = path.join(OWN_FOLDER);
        for part in ["tmp", "odd", "records", "uploads"] {
            fs_err::create_dir_all(own_path.join(part))?;
        }
        for entry in fs_err::read_dir(own_path.join("tmp"))? {
            fs_err::remove_file(entry?.path())?;
        }
        let record_files = fs_err::read_dir(own_path.join("records"))?.next().is_some();
        let own = rustix::fs::open(&own_path, flags | OFlags::NOFOLLOW, Mode::empty())?;
        Ok(Self {
            path: own_path,
            root,
            own: Arc::new(own),
            record_files: record_files.into(),
            temporary: AtomicU64::new(0),
        })
    }

    /// Returns the bucket's own folder.
    pub(crate) fn own_path(&self) -> &Path {
        &self.path
    }

    /// Returns the descriptor of the bucket's own folder.
    pub(crate) fn own(&self) -> &OwnedFd {
        &self.own
    }

    /// Opens a path below the folder, empty for the folder itself.
    pub(crate) fn open_at(&self, path: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
        let path = if path.is_empty() { "." } else { path };
        let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        rustix::fs::openat2(&self.root, path, flags, Mode::empty(), BENEATH)
    }

    /// Opens a directory below the folder.
    pub(crate) fn directory(&self, path: &str) -> Result<OwnedFd, Errno> {
        self.open_at(path, OFlags::RDONLY | OFlags::DIRECTORY)
    }

    /// Opens a directory, making it and those above it as keys imply them.
    pub(crate) fn directory_or_create(&self, path: &str) -> Result<OwnedFd, Errno> {
        match self.directory(path) {
            Err(Errno::NOENT) => {}
            other => return other,
        }
        let (above, name) = split(path);
        let parent = self.directory_or_create(above)?;
        match rustix::fs::mkdirat(&parent, name, Mode::from_raw_mode(DIRECTORY_MODE)) {
            Ok(()) => {}
            Err(Errno::EXIST) => return self.directory(path),
            Err(error) => return Err(error),
        }
        let directory = self.directory(path)?;
        // A mark that cannot be set leaves a directory that is listed: harmless.
        let _ = self.mark_implicit(&directory, path);
        Ok(directory)
    }

    /// Says of a directory that it is there only because keys below it are.
    pub(crate) fn mark_implicit(&self, directory: &OwnedFd, path: &str) -> Result<(), BucketError> {
        let record = Record {
            etag: ETAG_EMPTY.to_owned(),
            draft: Draft::default(),
            written: now(),
            stamp: Stamp::of(&rustix::fs::fstat(directory)?),
            implicit: true,
        };
        self.put_record(directory, &format!("{path}/"), &record)
    }

    /// Removes directories that nobody asked for, from `path` upwards, as long as they are empty.
    pub(crate) fn prune(&self, path: &str) {
        let mut path = path;
        while !path.is_empty() {
            let (above, name) = split(path);
            let implicit = self.directory(path).is_ok_and(|directory| {
                self.record(&directory, &format!("{path}/")).is_some_and(|record| record.implicit)
            });
            let removed = implicit
                && self
                    .directory(above)
                    .is_ok_and(|parent| rustix::fs::unlinkat(&parent, name, AtFlags::REMOVEDIR).is_ok());
            if !removed {
                return;
            }
            self.forget_record(&format!("{path}/"));
            path = above;
        }
    }

    /// Makes a file that has no name yet.
    pub(crate) fn temporary(&self) -> Result<Temporary, BucketError> {
        let name = format!("tmp/{}", self.temporary.fetch_add(1, Ordering::Relaxed));
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(TEMPORARY_MODE);
        let file = rustix::fs::openat2(&*self.own, name.as_str(), flags, mode, BENEATH)?;
        Ok(Temporary { own: Arc::clone(&self.own), name: Some(name), file: file.into() })
    }

    /// Reads the record of an open object.
    pub(crate) fn record(&self, object: impl AsFd, key: &str) -> Option<Record> {
        let mut buffer = [0_u8; RECORD_BYTES_MAX];
        let read = rustix::fs::fgetxattr(object, ATTRIBUTE, &mut buffer[..]);
        self.parse_record(&buffer, read, key)
    }

    /// Reads the record of a name in a directory, without opening it.
    pub(crate) fn record_at(&self, directory: &OwnedFd, name: &str, key: &str) -> Option<Record> {
        let mut buffer = [0_u8; RECORD_BYTES_MAX];
        let path = format!("/proc/self/fd/{}/{name}", directory.as_raw_fd());
        let read = rustix::fs::lgetxattr(path, ATTRIBUTE, &mut buffer[..]);
        self.parse_record(&buffer, read, key)
    }

    fn parse_record(&self, buffer: &[u8], read: Result<usize, Errno>, key: &str) -> Option<Record> {
        match read {
            Ok(length) => serde_json::from_slice(buffer.get(..length)?).ok(),
            Err(_) if self.record_files.load(Ordering::Relaxed) => {
                let bytes = fs_err::read(self.record_path(key)).ok()?;
                serde_json::from_slice(&bytes).ok()
            }
            Err(_) => None,
        }
    }

    /// Writes the record of an open object.
    pub(crate) fn put_record(
        &self,
        object: impl AsFd,
        key: &str,
        record: &Record,
    ) -> Result<(), BucketError> {
        let bytes = serde_json::to_vec(record).map_err(|e| BucketError::Io(e.into()))?;
        match rustix::fs::fsetxattr(object, ATTRIBUTE, &bytes, XattrFlags::empty()) {
            Ok(()) => Ok(()),
            // No attributes here, or not of this size.
            Err(Errno::OPNOTSUPP | Errno::NOSPC | Errno::TOOBIG | Errno::RANGE | Errno::PERM) => {
                self.record_files.store(true, Ordering::Relaxed);
                let mut temporary = self.temporary()?;
                temporary.file.write_all(&bytes)?;
                temporary.file.sync_all()?;
                temporary.publish(&self.own, &format!("records/{}", hashed(key)))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Removes the record of an object that is gone, where it does not go with the file.
    pub(crate) fn forget_record(&self, key: &str) {
        if self.record_files.load(Ordering::Relaxed) {
            // A record that stays behind speaks for no file that comes later: its stamp does not fit.
            let _ = fs_err::remove_file(self.record_path(key));
        }
    }

    fn record_path(&self, key: &str) -> PathBuf {
        self.path.join("records").join(hashed(key))
    }
}

impl Temporary {
    /// Gives the file its name, replacing what had it.
    pub(crate) fn publish(mut self, directory: &OwnedFd, name: &str) -> Result<(), BucketError> {
        let Some(temporary) = self.name.as_deref() else { return Ok(()) };
        rustix::fs::renameat(&*self.own, temporary, directory, name)?;
        self.name = None;
        Ok(())
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if let Some(name) = self.name.take() {
            // What stays is removed when the bucket starts again.
            let _ = rustix::fs::unlinkat(&*self.own, name.as_str(), AtFlags::empty());
        }
    }
}

/// A key as a file name that any key has.
pub(crate) fn hashed(key: &str) -> String {
    hex::encode(Sha256::digest(key.as_bytes()))
}

/// Reads a symbolic link in a directory.
pub(crate) fn link_target(directory: &OwnedFd, name: &str) -> Result<Vec<u8>, Errno> {
    rustix::fs::readlinkat(directory, name, Vec::new()).map(CString::into_bytes)
}

/// Takes the stamp of a name in a directory, if it can be an object.
pub(crate) fn stamp_at(directory: &OwnedFd, name: &str) -> Result<(Kind, Stamp), Errno> {
    let stamp = Stamp::of(&rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?);
    stamp.kind().map(|kind| (kind, stamp)).ok_or(Errno::NOENT)
}
