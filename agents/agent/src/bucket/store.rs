//! The objects of a bucket: finding them, and writing them so that they are there whole or not at all.
//!
//! Blocking calls; the asynchronous side is `service.rs`. Every change of a name happens under one lock, together with the
//! check of its condition.
//! Invariant: an object that was acknowledged is on disk, its bytes and its name.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};

use lustre_repository::posix;
use md5::{Digest, Md5};
use rustix::fs::{AtFlags, Gid, Mode, OFlags, Timespec, Timestamps, Uid};
use rustix::io::Errno;

use crate::bucket::fault::BucketError;
use crate::bucket::folder::{Folder, Temporary, hashed, link_target, stamp_at};
use crate::bucket::key::{Name, split};
use crate::bucket::listing::{Listing, Query, Walks, page};
use crate::bucket::record::{Draft, ETAG_EMPTY, Kind, Object, Record, Stamp, now};
use crate::bucket::walk::Listed;

/// Mode of a file whose object says nothing of modes.
const FILE_MODE_DEFAULT: u32 = 0o644;

/// Mode of a directory whose object says nothing of modes.
const DIRECTORY_MODE_DEFAULT: u32 = 0o755;

/// Permission bits that an object may give a file: no set-user-id.
const MODE_MASK: u32 = 0o777;

/// Bytes copied at a time.
const COPY_BYTES: usize = 1 << 20;

/// A bucket.
#[derive(Debug)]
pub(crate) struct Store {
    folder: Folder,
    walks: Walks,
    odd: RwLock<BTreeMap<String, Listed>>,
    names: Mutex<()>,
    may_chown: bool,
}

/// The bytes of an object.
#[derive(Debug)]
pub(crate) enum Content {
    /// Of a file, whose stamp this was when it was opened.
    File(File, Stamp),
    /// Those of a symbolic link are its target, those of a directory none.
    Bytes(Vec<u8>),
}

/// When a write may happen. Entity tags are without quotes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Condition {
    Always,
    IfAbsent,
    IfPresent,
    IfMatch(String),
}

/// Bytes that were received and have no name yet.
#[derive(Debug)]
pub(crate) struct Staged {
    temporary: Temporary,
    size: u64,
    digest: Md5,
    etag: Option<String>,
}

impl Store {
    /// Opens the bucket of a folder.
    pub(crate) fn open(path: &Path) -> Result<Self, BucketError> {
        let store = Self {
            folder: Folder::open(path)?,
            walks: Walks::default(),
            odd: RwLock::default(),
            names: Mutex::default(),
            may_chown: rustix::process::geteuid().is_root(),
        };
        store.load_odd()?;
        Ok(store)
    }

    /// Returns the folder.
    pub(crate) fn folder(&self) -> &Folder {
        &self.folder
    }

    /// Lists a page.
    pub(crate) fn list(&self, query: &Query) -> Result<Listing, BucketError> {
        let odd = self.odd.read().unwrap_or_else(PoisonError::into_inner);
        page(&self.folder, &self.walks, &odd, query)
    }

    /// Finds an object and its bytes.
    pub(crate) fn find(&self, key: &str) -> Result<(Object, Content), BucketError> {
        let found = match Name::of(key)? {
            Name::File(path) => self.find_file(key, path)?,
            Name::Directory(path) => self.find_directory(key, path)?,
            Name::Odd => None,
        };
        match found {
            Some(found) => Ok(found),
            None => self.find_odd(key),
        }
    }

    fn find_file(&self, key: &str, path: &str) -> Result<Option<(Object, Content)>, BucketError> {
        match self.folder.open_at(path, OFlags::RDONLY) {
            Ok(descriptor) => self.opened(key, descriptor),
            Err(Errno::LOOP) => {
                let (above, name) = split(path);
                let Ok(parent) = self.folder.directory(above) else { return Ok(None) };
                let (Ok(target), Ok((Kind::Symlink, stamp))) =
                    (link_target(&parent, name), stamp_at(&parent, name))
                else {
                    return Ok(None);
                };
                Ok(Some((Object::of(&stamp, None), Content::Bytes(target))))
            }
            Err(Errno::NOENT | Errno::NOTDIR | Errno::NXIO | Errno::NAMETOOLONG | Errno::XDEV) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn opened(&self, key: &str, descriptor: OwnedFd) -> Result<Option<(Object, Content)>, BucketError> {
        let stamp = Stamp::of(&rustix::fs::fstat(&descriptor)?);
        if stamp.kind() != Some(Kind::File) {
            return Ok(None);
        }
        let record = self.folder.record(&descriptor, key);
        Ok(Some((Object::of(&stamp, record), Content::File(descriptor.into(), stamp))))
    }

    fn find_directory(&self, key: &str, path: &str) -> Result<Option<(Object, Content)>, BucketError> {
        let Ok(descriptor) = self.folder.directory(path) else { return Ok(None) };
        let record = self.folder.record(&descriptor, key);
        if record.as_ref().is_some_and(|record| record.implicit) {
            return Ok(None);
        }
        let stamp = Stamp::of(&rustix::fs::fstat(&descriptor)?);
        Ok(Some((Object::of(&stamp, record), Content::Bytes(Vec::new()))))
    }

    /// Makes room for bytes that are about to arrive.
    pub(crate) fn stage(&self) -> Result<Staged, BucketError> {
        Ok(Staged { temporary: self.folder.temporary()?, size: 0, digest: Md5::new(), etag: None })
    }

    /// Makes staged bytes the object `key`, and returns its entity tag.
    pub(crate) fn put(
        &self,
        key: &str,
        staged: Staged,
        draft: Draft,
        condition: &Condition,
    ) -> Result<String, BucketError> {
        let name = Name::of(key)?;
        let etag = staged.etag.clone().unwrap_or_else(|| hex::encode(staged.md5()));
        let empty = staged.size == 0;
        let file = &staged.temporary.file;
        self.dress(file, &draft, FILE_MODE_DEFAULT)?;
        let record = self.record(file, draft, etag.clone())?;
        self.folder.put_record(file, key, &record)?;
        file.sync_all()?;
        let names = self.names();
        self.check(key, condition)?;
        let (parent, odd) = match name {
            Name::Directory(path) if empty => match self.make_directory(key, path, &record.draft)? {
                true => return self.named(key, names, None).map(|()| etag),
                false => (None, Some(staged.temporary)),
            },
            Name::Directory(_) | Name::Odd => (None, Some(staged.temporary)),
            Name::File(path) => match self.parent_for(path)? {
                Some(parent) => {
                    staged.temporary.publish(&parent, split(path).1)?;
                    (Some(parent), None)
                }
                None => (None, Some(staged.temporary)),
            },
        };
        match odd {
            None => self.named(key, names, parent)?,
            Some(temporary) => self.put_odd(key, temporary, record)?,
        }
        Ok(etag)
    }

    /// The directory in which the file `path` can be, if it can.
    fn parent_for(&self, path: &str) -> Result<Option<OwnedFd>, BucketError> {
        let (above, name) = split(path);
        let parent = match self.folder.directory_or_create(above) {
            Ok(parent) => parent,
            Err(Errno::NOTDIR | Errno::LOOP | Errno::NAMETOOLONG) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        match stamp_at(&parent, name) {
            Ok((Kind::Directory, _)) => Ok(None),
            Ok((Kind::File | Kind::Symlink, _)) | Err(Errno::NOENT) => Ok(Some(parent)),
            Err(error) => Err(error.into()),
        }
    }

    /// Makes the directory that a zero-byte `key/` stands for; says whether it could.
    fn make_directory(&self, key: &str, path: &str, draft: &Draft) -> Result<bool, BucketError> {
        let directory = match self.folder.directory_or_create(path) {
            Ok(directory) => directory,
            Err(Errno::NOTDIR | Errno::LOOP | Errno::NAMETOOLONG) => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        self.dress(&directory, draft, DIRECTORY_MODE_DEFAULT)?;
        let record = self.record(&directory, draft.clone(), ETAG_EMPTY.to_owned())?;
        self.folder.put_record(&directory, key, &record)?;
        rustix::fs::fsync(&directory)?;
        rustix::fs::fsync(&self.folder.directory(split(path).0)?)?;
        Ok(true)
    }

    /// A name was given: nothing odd stands for the key any more, and the directory is made durable.
    fn named(
        &self,
        key: &str,
        names: MutexGuard<'_, ()>,
        parent: Option<OwnedFd>,
    ) -> Result<(), BucketError> {
        self.remove_odd(key)?;
        drop(names);
        if let Some(parent) = parent {
            rustix::fs::fsync(&parent)?;
        }
        Ok(())
    }

    /// Gives an object new headers and metadata where it is; its content and entity tag stay.
    pub(crate) fn redress(
        &self,
        key: &str,
        draft: Draft,
        condition: &Condition,
    ) -> Result<Object, BucketError> {
        let names = self.names();
        self.check(key, condition)?;
        let (object, content) = self.find(key)?;
        match content {
            Content::File(file, _) => {
                self.dress(&file, &draft, FILE_MODE_DEFAULT)?;
                let record = self.record(&file, draft, object.etag)?;
                self.folder.put_record(&file, key, &record)?;
                file.sync_all()?;
                let object = Object::of(&record.stamp.clone(), Some(record));
                self.refresh_odd(key, &object);
                Ok(object)
            }
            Content::Bytes(bytes) if bytes.is_empty() => {
                if let Name::Directory(path) = Name::of(key)? {
                    self.make_directory(key, path, &draft)?;
                }
                self.find(key).map(|(object, _)| object)
            }
            Content::Bytes(bytes) => {
                // A symbolic link becomes the file that an S3 client would have written for it.
                let mut staged = self.stage()?;
                staged.write(&bytes)?;
                drop(names);
                self.put(key, staged, draft, &Condition::IfMatch(object.etag))?;
                self.find(key).map(|(object, _)| object)
            }
        }
    }

    /// Copies an object to another key, with its own headers and metadata unless others are given.
    pub(crate) fn copy(
        &self,
        from: &str,
        to: &str,
        replace: Option<Draft>,
        from_match: Option<&str>,
    ) -> Result<Object, BucketError> {
        let (object, content) = self.find(from)?;
        if from_match.is_some_and(|etag| etag != object.etag) {
            return Err(BucketError::PreconditionFailed);
        }
        let mut staged = self.stage()?;
        match content {
            Content::Bytes(bytes) => staged.write(&bytes)?,
            Content::File(mut file, stamp) => {
                staged.fill(&mut file)?;
                unchanged(&file, &stamp)?;
            }
        }
        self.put(to, staged, replace.unwrap_or(object.draft), &Condition::Always)?;
        self.find(to).map(|(object, _)| object)
    }

    /// Deletes an object, and the directories above it that were there only for it.
    pub(crate) fn delete(&self, key: &str, condition: &Condition) -> Result<(), BucketError> {
        let name = Name::of(key)?;
        let _names = self.names();
        self.check(key, condition)?;
        self.remove_odd(key)?;
        let (path, flags) = match name {
            Name::Odd => return Ok(()),
            Name::File(path) => (path, AtFlags::empty()),
            Name::Directory(path) => (path, AtFlags::REMOVEDIR),
        };
        let (above, last) = split(path);
        let Ok(parent) = self.folder.directory(above) else { return Ok(()) };
        match rustix::fs::unlinkat(&parent, last, flags) {
            Ok(()) => {
                self.folder.forget_record(key);
                rustix::fs::fsync(&parent)?;
                drop(parent);
                self.folder.prune(above);
                Ok(())
            }
            Err(Errno::NOTEMPTY | Errno::EXIST) => {
                let directory = self.folder.directory(path)?;
                self.folder.mark_implicit(&directory, path)
            }
            Err(Errno::NOENT | Errno::NOTDIR | Errno::ISDIR | Errno::PERM) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Fails unless the condition holds now. Call it with the names locked.
    fn check(&self, key: &str, condition: &Condition) -> Result<(), BucketError> {
        if *condition == Condition::Always {
            return Ok(());
        }
        let etag = match self.find(key) {
            Ok((object, _)) => Some(object.etag),
            Err(BucketError::NoSuchKey) => None,
            Err(error) => return Err(error),
        };
        match (condition, etag) {
            (Condition::Always, _) | (Condition::IfAbsent, None) | (Condition::IfPresent, Some(_)) => Ok(()),
            (Condition::IfMatch(_), None) => Err(BucketError::NoSuchKey),
            (Condition::IfMatch(wanted), Some(etag)) if *wanted == etag => Ok(()),
            (Condition::IfAbsent | Condition::IfMatch(_), Some(_)) | (Condition::IfPresent, None) => {
                Err(BucketError::PreconditionFailed)
            }
        }
    }

    /// Gives a file the mode, the owner (as root) and the times that its object's metadata name.
    fn dress(
        &self,
        file: impl std::os::fd::AsFd,
        draft: &Draft,
        mode_default: u32,
    ) -> Result<(), BucketError> {
        let attributes = posix::read(&draft.metadata);
        let symlink = posix::is_symlink(&attributes);
        let mode = attributes.permissions.filter(|_| !symlink).unwrap_or(mode_default);
        rustix::fs::fchmod(&file, Mode::from_raw_mode(mode & MODE_MASK))?;
        if self.may_chown && (attributes.uid.is_some() || attributes.gid.is_some()) {
            // The highest id means "leave it" to chown and is nobody's.
            let uid = attributes.uid.filter(|id| *id != u32::MAX).map(Uid::from_raw);
            let gid = attributes.gid.filter(|id| *id != u32::MAX).map(Gid::from_raw);
            rustix::fs::fchown(&file, uid, gid)?;
        }
        let time = |time: Option<lustre_model::attr::Timestamp>| match time {
            Some(time) => Timespec { tv_sec: time.seconds, tv_nsec: time.nanoseconds.into() },
            None => Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_OMIT },
        };
        if attributes.atime.is_some() || attributes.mtime.is_some() {
            let times =
                Timestamps { last_access: time(attributes.atime), last_modification: time(attributes.mtime) };
            rustix::fs::futimens(&file, &times)?;
        }
        Ok(())
    }

    fn record(
        &self,
        file: impl std::os::fd::AsFd,
        draft: Draft,
        etag: String,
    ) -> Result<Record, BucketError> {
        let stamp = Stamp::of(&rustix::fs::fstat(file)?);
        Ok(Record { etag, draft, written: now(), stamp, implicit: false })
    }

    fn names(&self) -> MutexGuard<'_, ()> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keys that are not paths: their bytes are in the bucket's own folder, under the hash of the key, the key beside them.
impl Store {
    fn load_odd(&self) -> Result<(), BucketError> {
        let mut odd = self.odd.write().unwrap_or_else(PoisonError::into_inner);
        for entry in fs_err::read_dir(self.folder.own_path().join("odd"))? {
            let path = entry?.path();
            if path.extension().is_none_or(|extension| extension != "key") {
                continue;
            }
            let key = fs_err::read_to_string(&path)?;
            match self.open_odd(&key) {
                Ok((object, _)) => {
                    odd.insert(key.clone(), Listed { key, object });
                }
                Err(BucketError::NoSuchKey) => fs_err::remove_file(&path)?,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn find_odd(&self, key: &str) -> Result<(Object, Content), BucketError> {
        let known = self.odd.read().unwrap_or_else(PoisonError::into_inner).contains_key(key);
        if known { self.open_odd(key) } else { Err(BucketError::NoSuchKey) }
    }

    fn open_odd(&self, key: &str) -> Result<(Object, Content), BucketError> {
        let path = format!("odd/{}", hashed(key));
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let descriptor = rustix::fs::openat(self.folder.own(), path, flags, Mode::empty())?;
        self.opened(key, descriptor)?.ok_or(BucketError::NoSuchKey)
    }

    fn put_odd(&self, key: &str, temporary: Temporary, record: Record) -> Result<(), BucketError> {
        let path = format!("odd/{}", hashed(key));
        let mut name = self.folder.temporary()?;
        name.file.write_all(key.as_bytes())?;
        name.file.sync_all()?;
        name.publish(self.folder.own(), &format!("{path}.key"))?;
        temporary.publish(self.folder.own(), &path)?;
        rustix::fs::fsync(&rustix::fs::openat(
            self.folder.own(),
            "odd",
            OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )?)?;
        let object = Object::of(&record.stamp.clone(), Some(record));
        let listed = Listed { key: key.to_owned(), object };
        self.odd.write().unwrap_or_else(PoisonError::into_inner).insert(key.to_owned(), listed);
        Ok(())
    }

    fn refresh_odd(&self, key: &str, object: &Object) {
        if let Some(listed) = self.odd.write().unwrap_or_else(PoisonError::into_inner).get_mut(key) {
            listed.object = object.clone();
        }
    }

    fn remove_odd(&self, key: &str) -> Result<(), BucketError> {
        if self.odd.write().unwrap_or_else(PoisonError::into_inner).remove(key).is_none() {
            return Ok(());
        }
        let path = self.folder.own_path().join("odd").join(hashed(key));
        fs_err::remove_file(&path)?;
        fs_err::remove_file(path.with_extension("key"))?;
        self.folder.forget_record(key);
        Ok(())
    }
}

/// Fails when a file that was being read is no longer what it was when it was opened.
pub(crate) fn unchanged(file: &File, stamp: &Stamp) -> Result<(), BucketError> {
    let same = Stamp::of(&rustix::fs::fstat(file)?).same_content(stamp);
    if same { Ok(()) } else { Err(BucketError::Changed) }
}

impl Staged {
    /// Takes more bytes.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), BucketError> {
        self.temporary.file.write_all(bytes)?;
        self.digest.update(bytes);
        self.size += bytes.len() as u64;
        Ok(())
    }

    /// Takes all bytes of a reader.
    pub(crate) fn fill(&mut self, reader: &mut impl Read) -> Result<(), BucketError> {
        let mut buffer = vec![0_u8; COPY_BYTES];
        loop {
            let length = reader.read(&mut buffer)?;
            if length == 0 {
                return Ok(());
            }
            self.write(buffer.get(..length).unwrap_or_default())?;
        }
    }

    /// Gives the bytes another entity tag than their MD5.
    pub(crate) fn tagged(self, etag: String) -> Self {
        Self { etag: Some(etag), ..self }
    }

    /// Returns how many bytes were taken.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Returns the MD5 of the bytes so far.
    pub(crate) fn md5(&self) -> [u8; 16] {
        self.digest.clone().finalize().into()
    }

    /// Gives the bytes a name in the bucket's own folder, durably but for the folder.
    pub(crate) fn keep(self, directory: &OwnedFd, name: &str) -> Result<(), BucketError> {
        self.temporary.file.sync_all()?;
        self.temporary.publish(directory, name)
    }
}
