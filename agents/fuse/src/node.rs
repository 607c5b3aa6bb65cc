//! The plain values that travel between the kernel and a file system.
//!
//! Not the requests; those are the methods of [`crate::FileSystem`].
//! Invariant: a [`NodeId`] of an entry is the inode number that `stat` shows.

use std::time::Duration;

/// Names an inode towards the kernel; 1 is the root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u64);

/// Names an open file or directory; chosen by the file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HandleId(pub u64);

/// Why a request failed, Linux's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Errno(pub i32);

#[expect(missing_docs, reason = "POSIX names")]
impl Errno {
    pub const NOT_FOUND: Self = Self(2);
    pub const IO: Self = Self(5);
    pub const NO_DEVICE: Self = Self(6);
    pub const BAD_HANDLE: Self = Self(9);
    pub const ACCESS_DENIED: Self = Self(13);
    pub const INVALID: Self = Self(22);
    pub const TEXT_BUSY: Self = Self(26);
    pub const RANGE: Self = Self(34);
    pub const NAME_TOO_LONG: Self = Self(36);
    pub const NOT_IMPLEMENTED: Self = Self(38);
    pub const NO_DATA: Self = Self(61);
    pub const NOT_SUPPORTED: Self = Self(95);
}

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "POSIX names")]
pub struct Caller {
    pub uid: u32,
    pub gid: u32,
}

/// What an inode is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "POSIX names")]
pub enum NodeKind {
    Regular,
    Directory,
    Symlink,
    Fifo,
    Socket,
    CharDevice,
    BlockDevice,
}

/// A moment: seconds since 1970 (may be negative) and nanoseconds below one second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Moment {
    pub seconds: i64,
    pub nanoseconds: u32,
}

/// A moment, or the file system's own present.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum MomentOrNow {
    Now,
    At(Moment),
}

/// What `stat` shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "fields are those of struct stat")]
pub struct NodeAttr {
    pub node: NodeId,
    pub kind: NodeKind,
    /// Permission bits with setuid, setgid and sticky.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub link_count: u32,
    pub size: u64,
    /// Blocks of 512 bytes.
    pub blocks: u64,
    pub device: u32,
    pub atime: Moment,
    pub mtime: Moment,
    pub ctime: Moment,
}

/// An inode, and for how long the kernel may believe it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// What `stat` shows.
    pub attr: NodeAttr,
    /// For how long the attributes may be cached.
    pub attr_valid: Duration,
    /// For how long the name may be cached; not used where no name was asked for.
    pub name_valid: Duration,
}

/// What came of looking up a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lookup {
    /// It is there.
    Found(Entry),
    /// It is not, and the kernel may remember that for so long.
    Absent(Duration),
}

/// A file that was created and opened at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the types say it")]
pub struct Created {
    pub entry: Entry,
    pub handle: HandleId,
}

/// A change of attributes; absent fields stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[expect(missing_docs, reason = "fields are those of NodeAttr")]
pub struct Change {
    pub mode: Option<u32>,
    pub uid: Option<u32>,
    pub gid: Option<u32>,
    pub size: Option<u64>,
    pub atime: Option<MomentOrNow>,
    pub mtime: Option<MomentOrNow>,
}

/// `open(2)` flags, as Linux numbers them on this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenFlags(pub i32);

impl OpenFlags {
    const ACCESS: i32 = 0o3;
    /// `FMODE_EXEC`: not of `open(2)`; the kernel sets it where it opens a program to run it.
    const EXECUTE: i32 = 0o40;
    const EXCLUSIVE: i32 = 0o200;
    const TRUNCATE: i32 = 0o1000;
    const APPEND: i32 = 0o2000;

    /// Whether the file may be written through this handle.
    pub fn writes(self) -> bool {
        self.0 & Self::ACCESS != 0
    }

    /// Whether the kernel opens the file to run it.
    pub fn executes(self) -> bool {
        self.0 & Self::EXECUTE != 0
    }

    /// `O_EXCL`
    pub fn exclusive(self) -> bool {
        self.0 & Self::EXCLUSIVE != 0
    }

    /// `O_TRUNC`
    pub fn truncates(self) -> bool {
        self.0 & Self::TRUNCATE != 0
    }

    /// `O_APPEND`
    pub fn appends(self) -> bool {
        self.0 & Self::APPEND != 0
    }
}

/// `renameat2(2)` flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum RenameMode {
    Replace,
    NoReplace,
    Exchange,
}

/// `setxattr(2)` flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum XattrMode {
    Set,
    Create,
    Replace,
}

/// What `lseek(2)` looks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seek {
    /// `SEEK_DATA`
    Data,
    /// `SEEK_HOLE`
    Hole,
}

/// What `statvfs` shows; in units of `block_size`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "fields are those of struct statvfs")]
pub struct Space {
    pub blocks: u64,
    pub blocks_free: u64,
    pub inodes: u64,
    pub inodes_free: u64,
    pub block_size: u32,
}
