//! A walk over the folder in key order, one directory in memory at a time.
//!
//! S3 orders whole keys by their bytes, so a directory sorts as its name with a slash behind it. Names that are not UTF-8,
//! and sockets, fifos and devices, have no key and are passed over.
//! Invariant: keys come in strictly ascending order, whatever changes meanwhile; a directory is read once.

use std::os::fd::OwnedFd;
use std::time::{Duration, SystemTime};

use lustre_model::attr::Timestamp;
use rustix::fs::{AtFlags, Dir, FileType};
use rustix::io::Errno;

use crate::bucket::fault::BucketError;
use crate::bucket::folder::{Folder, stamp_at};
use crate::bucket::key::{Name, OWN_FOLDER};
use crate::bucket::record::{Kind, Object, Stamp, system_time};

/// A directory that changed this shortly before it was read may change again without its mtime showing it.
const MTIME_GRAIN: Duration = Duration::from_millis(20);

/// A key and its object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listed {
    pub key: String,
    pub object: Object,
}

/// Where a walk is: the directories from the top one to the one it is in.
#[derive(Debug)]
pub(crate) struct Walk {
    prefix: String,
    /// The top directory's own key, when it is still to come.
    top: Option<String>,
    frames: Vec<Frame>,
}

#[derive(Debug)]
struct Frame {
    /// Empty for the root, else with a trailing slash.
    path: String,
    /// Names in key order; those of directories end in a slash.
    names: Vec<String>,
    next: usize,
    mtime: Timestamp,
    /// Whether a later change is sure to show in the mtime.
    settled: bool,
    directory: Option<OwnedFd>,
}

impl Walk {
    /// Begins a walk over the keys with `prefix` that are greater than `after`.
    pub(crate) fn begin(folder: &Folder, prefix: &str, after: &str) -> Result<Self, BucketError> {
        let top = prefix.rfind('/').map_or("", |slash| &prefix[..=slash]);
        let mut walk = Self { prefix: prefix.to_owned(), top: None, frames: Vec::new() };
        // Not only keys: a prefix may name no path, or the bucket's own folder.
        if !top.is_empty() && !matches!(Name::of(top), Ok(Name::Directory(_))) {
            return Ok(walk);
        }
        if !top.is_empty() && top == prefix && top > after {
            walk.top = Some(top.to_owned());
        }
        walk.enter(folder, top.to_owned())?;
        walk.seek(folder, after)?;
        Ok(walk)
    }

    /// Returns the next key with its object.
    pub(crate) fn next(&mut self, folder: &Folder) -> Result<Option<Listed>, BucketError> {
        if let Some(key) = self.top.take()
            && let Some(frame) = self.frames.first_mut()
            && let Some(listed) = frame.own_key(folder, key)?
        {
            return Ok(Some(listed));
        }
        while let Some(frame) = self.frames.last_mut() {
            let Some(name) = frame.names.get(frame.next) else {
                self.frames.pop();
                continue;
            };
            let key = format!("{}{name}", frame.path);
            frame.next += 1;
            let listed = if key.ends_with('/') {
                if !self.enter(folder, key.clone())? {
                    continue;
                }
                match self.frames.last_mut() {
                    Some(child) => child.own_key(folder, key)?,
                    None => None,
                }
            } else {
                frame.entry(folder, key)?
            };
            if listed.is_some() {
                return Ok(listed);
            }
        }
        Ok(None)
    }

    /// Passes over every key that begins with `prefix`.
    pub(crate) fn skip(&mut self, prefix: &str) {
        while self.frames.last().is_some_and(|frame| frame.path.starts_with(prefix)) {
            self.frames.pop();
        }
        let Some(frame) = self.frames.last_mut() else { return };
        let Some(rest) = prefix.strip_prefix(frame.path.as_str()) else { return };
        let ahead = frame.names.get(frame.next..).unwrap_or_default();
        frame.next += ahead.partition_point(|name| name.as_str() < rest || name.starts_with(rest));
    }

    /// Closes what is open, so that the walk can be kept until the next page is asked for.
    pub(crate) fn park(&mut self) {
        for frame in &mut self.frames {
            frame.directory = None;
        }
    }

    /// Says whether a parked walk still sees every directory as it is.
    pub(crate) fn is_current(&self, folder: &Folder) -> bool {
        self.frames.iter().all(|frame| {
            frame.settled
                && folder
                    .directory(frame.path.trim_end_matches('/'))
                    .and_then(rustix::fs::fstat)
                    .is_ok_and(|stat| Stamp::of(&stat).mtime == frame.mtime)
        })
    }

    /// Returns how many names the walk holds in memory.
    pub(crate) fn names(&self) -> usize {
        self.frames.iter().map(|frame| frame.names.len()).sum()
    }

    /// Goes into a directory; says whether there is one.
    fn enter(&mut self, folder: &Folder, path: String) -> Result<bool, BucketError> {
        let wanted = self.prefix.strip_prefix(path.as_str()).unwrap_or("");
        match Frame::read(folder, path, wanted) {
            Ok(frame) => {
                self.frames.push(frame);
                Ok(true)
            }
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NAMETOOLONG | Errno::XDEV) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Moves behind `after`, into the directories that it leads through.
    fn seek(&mut self, folder: &Folder, after: &str) -> Result<(), BucketError> {
        while let Some(frame) = self.frames.last_mut() {
            let Some(rest) = after.strip_prefix(frame.path.as_str()) else {
                if after > frame.path.as_str() {
                    frame.next = frame.names.len();
                }
                return Ok(());
            };
            frame.next = frame.names.partition_point(|name| name.as_str() <= rest);
            let before = frame.next.checked_sub(1).and_then(|index| frame.names.get(index));
            let through = before.filter(|name| name.ends_with('/') && rest.starts_with(name.as_str()));
            let Some(path) = through.map(|name| format!("{}{name}", frame.path)) else { return Ok(()) };
            if !self.enter(folder, path)? {
                return Ok(());
            }
        }
        Ok(())
    }
}

impl Frame {
    /// Reads the names of a directory that begin with `wanted`.
    fn read(folder: &Folder, path: String, wanted: &str) -> Result<Self, Errno> {
        let read_at = SystemTime::now();
        let directory = folder.directory(path.trim_end_matches('/'))?;
        let mtime = Stamp::of(&rustix::fs::fstat(&directory)?).mtime;
        let mut names = Vec::new();
        for entry in Dir::read_from(&directory)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().to_str() else { continue };
            let own = path.is_empty() && name == OWN_FOLDER;
            if own || matches!(name, "." | "..") {
                continue;
            }
            let name = match kind(&directory, name, entry.file_type()) {
                Some(Kind::Directory) => format!("{name}/"),
                Some(Kind::File | Kind::Symlink) => name.to_owned(),
                None => continue,
            };
            if name.starts_with(wanted) {
                names.push(name);
            }
        }
        names.sort_unstable();
        let settled = system_time(mtime) + MTIME_GRAIN < read_at;
        Ok(Self { path, names, next: 0, mtime, settled, directory: Some(directory) })
    }

    /// Describes the directory itself, unless it is there only for the keys below it.
    fn own_key(&mut self, folder: &Folder, key: String) -> Result<Option<Listed>, BucketError> {
        let Some(directory) = self.opened(folder)? else { return Ok(None) };
        let record = folder.record(directory, &key);
        if record.as_ref().is_some_and(|record| record.implicit) {
            return Ok(None);
        }
        let stamp = Stamp::of(&rustix::fs::fstat(directory)?);
        Ok(Some(Listed { key, object: Object::of(&stamp, record) }))
    }

    /// Describes a file or a symbolic link; it may be gone.
    fn entry(&mut self, folder: &Folder, key: String) -> Result<Option<Listed>, BucketError> {
        let name = key[self.path.len()..].to_owned();
        let Some(directory) = self.opened(folder)? else { return Ok(None) };
        match stamp_at(directory, &name) {
            Ok((Kind::File, stamp)) => {
                let record = folder.record_at(directory, &name, &key);
                Ok(Some(Listed { object: Object::of(&stamp, record), key }))
            }
            Ok((Kind::Symlink, stamp)) => Ok(Some(Listed { object: Object::of(&stamp, None), key })),
            Ok((Kind::Directory, _)) | Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The directory, opened again when the walk was parked; `None` when it is gone.
    fn opened(&mut self, folder: &Folder) -> Result<Option<&OwnedFd>, BucketError> {
        if self.directory.is_none() {
            match folder.directory(self.path.trim_end_matches('/')) {
                Ok(directory) => self.directory = Some(directory),
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(None),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(self.directory.as_ref())
    }
}

/// What a directory entry is; asks the file system where the directory does not say.
fn kind(directory: &OwnedFd, name: &str, file_type: FileType) -> Option<Kind> {
    let file_type = if file_type == FileType::Unknown {
        let stat = rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
        FileType::from_raw_mode(stat.st_mode)
    } else {
        file_type
    };
    [
        (FileType::RegularFile, Kind::File),
        (FileType::Directory, Kind::Directory),
        (FileType::Symlink, Kind::Symlink),
    ]
    .into_iter()
    .find_map(|(known, kind)| (known == file_type).then_some(kind))
}
