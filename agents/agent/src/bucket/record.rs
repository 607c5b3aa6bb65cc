//! What S3 knows of an object and a file does not: its record, kept in an extended attribute.
//!
//! A file that no S3 client wrote has none; what S3 shows of it is derived from the file itself. A record says which file it
//! was made for (its [`Stamp`]): when another program changed the file since, the record no longer speaks for it.
//! Invariant: a record that cannot be read counts as absent, never as an error of the object.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use lustre_model::attr::Timestamp;
use lustre_repository::posix::{self, Posix};
use rustix::fs::Stat;
use serde::{Deserialize, Serialize};

/// Entity tag of an object without bytes.
pub(crate) const ETAG_EMPTY: &str = "d41d8cd98f00b204e9800998ecf8427e";

/// Type bits of `st_mode`.
const TYPE_MASK: u32 = 0o170_000;
const TYPE_REGULAR: u32 = 0o100_000;
const TYPE_DIRECTORY: u32 = 0o040_000;
const TYPE_SYMLINK: u32 = 0o120_000;

/// What kind of thing a directory entry is, as far as it can be an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    Directory,
    Symlink,
}

/// Headers that S3 stores with an object and gives back.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Headers {
    pub content_type: Option<String>,
    pub content_encoding: Option<String>,
    pub content_language: Option<String>,
    pub content_disposition: Option<String>,
    pub cache_control: Option<String>,
}

/// What a client says of the object it writes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Draft {
    pub headers: Headers,
    pub metadata: BTreeMap<String, String>,
}

/// What identifies the state of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stamp {
    pub inode: u64,
    pub size: u64,
    pub atime: Timestamp,
    pub mtime: Timestamp,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
}

/// The record of an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// Version of the content.
    pub etag: String,
    /// What the client said.
    pub draft: Draft,
    /// When it was written, which is not the file's mtime.
    pub written: Timestamp,
    /// The file it was made for.
    pub stamp: Stamp,
    /// A directory that nobody asked for: it is there because keys below it are.
    pub implicit: bool,
}

/// An object as S3 shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Object {
    pub size: u64,
    pub etag: String,
    pub last_modified: SystemTime,
    pub draft: Draft,
}

impl Stamp {
    /// Takes the stamp of a file.
    pub(crate) fn of(stat: &Stat) -> Self {
        let moment = |seconds: i64, nanoseconds: u64| Timestamp {
            seconds,
            nanoseconds: u32::try_from(nanoseconds).unwrap_or(0),
        };
        Self {
            inode: stat.st_ino,
            size: u64::try_from(stat.st_size).unwrap_or(0),
            atime: moment(stat.st_atime, stat.st_atime_nsec),
            mtime: moment(stat.st_mtime, stat.st_mtime_nsec),
            mode: stat.st_mode,
            uid: stat.st_uid,
            gid: stat.st_gid,
        }
    }

    /// Returns what the file can be in a listing.
    pub(crate) fn kind(&self) -> Option<Kind> {
        match self.mode & TYPE_MASK {
            TYPE_REGULAR => Some(Kind::File),
            TYPE_DIRECTORY => Some(Kind::Directory),
            TYPE_SYMLINK => Some(Kind::Symlink),
            _ => None,
        }
    }

    /// Says whether the bytes are the same; a directory's have no say.
    pub(crate) fn same_content(&self, other: &Self) -> bool {
        let both_directories = self.kind() == Some(Kind::Directory) && other.kind() == Some(Kind::Directory);
        both_directories || (self.size, self.mtime) == (other.size, other.mtime)
    }

    fn same_owner(&self, other: &Self) -> bool {
        (self.mode, self.uid, self.gid) == (other.mode, other.uid, other.gid)
    }

    /// Changes with the content of a file that has no record. The `-1` keeps clients from taking it for an MD5.
    fn derived_etag(&self) -> String {
        format!("{:x}{:016x}{:08x}{:x}-1", self.inode, self.mtime.seconds, self.mtime.nanoseconds, self.size)
    }

    fn posix(&self) -> Posix {
        let permissions = if self.kind() == Some(Kind::Symlink) { TYPE_SYMLINK | 0o777 } else { self.mode };
        Posix { permissions, uid: self.uid, gid: self.gid, atime: self.atime, mtime: self.mtime }
    }
}

impl Object {
    /// Describes a file by its stamp and its record.
    pub(crate) fn of(stamp: &Stamp, record: Option<Record>) -> Self {
        let size = if stamp.kind() == Some(Kind::Directory) { 0 } else { stamp.size };
        let Some(record) = record.filter(|record| !record.implicit) else {
            let draft = Draft { metadata: posix::write(&stamp.posix()), ..Draft::default() };
            let etag = if size == 0 { ETAG_EMPTY.to_owned() } else { stamp.derived_etag() };
            return Self { size, etag, last_modified: system_time(stamp.mtime), draft };
        };
        let mut draft = record.draft;
        let same_content = stamp.same_content(&record.stamp);
        if !same_content || !stamp.same_owner(&record.stamp) {
            draft.metadata.extend(posix::write(&stamp.posix()));
        }
        if same_content {
            return Self { size, etag: record.etag, last_modified: system_time(record.written), draft };
        }
        Self { size, etag: stamp.derived_etag(), last_modified: system_time(stamp.mtime), draft }
    }
}

/// A moment as the standard library has it; the epoch when it cannot be held.
pub(crate) fn system_time(time: Timestamp) -> SystemTime {
    let seconds = Duration::from_secs(time.seconds.unsigned_abs());
    let whole = if time.seconds < 0 {
        SystemTime::UNIX_EPOCH.checked_sub(seconds)
    } else {
        SystemTime::UNIX_EPOCH.checked_add(seconds)
    };
    let nanoseconds = Duration::from_nanos(time.nanoseconds.into());
    whole.and_then(|t| t.checked_add(nanoseconds)).unwrap_or(SystemTime::UNIX_EPOCH)
}

/// The present.
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp {
        seconds: i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
        nanoseconds: since.subsec_nanos(),
    }
}
