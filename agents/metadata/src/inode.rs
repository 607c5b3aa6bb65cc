//! An inode as it is stored, with all that belongs to its kind.
//!
//! Further names, extended attributes and entries are in tables of their own.
//! Invariant: `change` grows whenever anything that [`Inode::attr`] shows does.

use lustre_model::attr::{Attr, FileKind, Timestamp};
use lustre_model::fid::Fid;
use lustre_model::hsm::LinkId;
use lustre_model::layout::{Layout, LayoutTemplate};
use lustre_model::metadata::ByteRange;
use serde::{Deserialize, Serialize};

/// An inode.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Inode {
    pub(crate) kind: FileKind,
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) link_count: u32,
    pub(crate) size: u64,
    pub(crate) blocks: u64,
    pub(crate) device: u64,
    pub(crate) atime: Timestamp,
    pub(crate) mtime: Timestamp,
    pub(crate) ctime: Timestamp,
    pub(crate) change: u64,
    /// Directory of the first name; its own FID for the root.
    pub(crate) parent: Fid,
    /// The first name.
    pub(crate) name: Vec<u8>,
    /// Extended attributes.
    pub(crate) xattrs: u32,
    /// Only the repository knows owner and mode yet.
    pub(crate) unidentified: bool,
    /// `change` when the content was last different.
    pub(crate) data_version: u64,
    /// `change` when owner or mode were last different.
    pub(crate) attr_version: u64,
    pub(crate) body: Body,
}

/// What only one kind of inode has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Body {
    /// A regular file.
    File(File),
    /// A directory.
    Directory(Directory),
    /// A symbolic link.
    Symlink { target: Vec<u8> },
    /// A fifo, socket or device.
    Node,
}

/// What a regular file has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct File {
    /// Where its bytes are.
    pub(crate) layout: Layout,
    /// Ordinal of the next object.
    pub(crate) ordinal: u32,
    /// Set while bytes are only in the repository.
    pub(crate) absent: Option<Absent>,
    /// Some of its objects may exist. While it is not, and the file is not marked as being written, none does.
    pub(crate) written: bool,
}

/// Where bytes are that are not in place. Bytes from `limit` on are in place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Absent {
    pub(crate) link: LinkId,
    /// The whole key.
    pub(crate) key: String,
    pub(crate) etag: String,
    /// Bytes of the object.
    pub(crate) size: u64,
    /// Bytes of the object that the file still shows.
    pub(crate) limit: u64,
    /// Ranges below `limit` that are in place.
    pub(crate) present: Vec<ByteRange>,
}

/// What a directory has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Directory {
    /// Layout of new files, when not the parent's.
    pub(crate) default: Option<LayoutTemplate>,
    /// Number of entries.
    pub(crate) entries: u64,
}

impl Inode {
    /// What `stat` shows.
    pub(crate) fn attr(&self, fid: Fid) -> Attr {
        Attr {
            fid,
            kind: self.kind,
            mode: self.mode,
            uid: self.uid,
            gid: self.gid,
            link_count: self.link_count,
            size: self.size,
            blocks: self.blocks,
            device: self.device,
            atime: self.atime,
            mtime: self.mtime,
            ctime: self.ctime,
            change: self.change,
        }
    }

    /// Notes a change of attributes.
    pub(crate) fn changed(&mut self, now: Timestamp) {
        self.ctime = now;
        self.change += 1;
    }

    /// Notes a change of content: of bytes, or of a directory's entries.
    pub(crate) fn modified(&mut self, now: Timestamp) {
        self.mtime = now;
        self.changed(now);
    }

    /// The directory part, if it is one.
    pub(crate) fn directory(&self) -> Option<&Directory> {
        match &self.body {
            Body::Directory(directory) => Some(directory),
            Body::File(_) | Body::Symlink { .. } | Body::Node => None,
        }
    }

    /// The directory part, if it is one.
    pub(crate) fn directory_mut(&mut self) -> Option<&mut Directory> {
        match &mut self.body {
            Body::Directory(directory) => Some(directory),
            Body::File(_) | Body::Symlink { .. } | Body::Node => None,
        }
    }

    /// The file part, if it is one.
    pub(crate) fn file(&self) -> Option<&File> {
        match &self.body {
            Body::File(file) => Some(file),
            Body::Directory(_) | Body::Symlink { .. } | Body::Node => None,
        }
    }

    /// The file part, if it is one.
    pub(crate) fn file_mut(&mut self) -> Option<&mut File> {
        match &mut self.body {
            Body::File(file) => Some(file),
            Body::Directory(_) | Body::Symlink { .. } | Body::Node => None,
        }
    }

    /// Notes that a file's objects may exist.
    pub(crate) fn written(&mut self) {
        if let Some(file) = self.file_mut() {
            file.written = true;
        }
    }

    /// Where its absent bytes are, if it has any.
    pub(crate) fn absent(&self) -> Option<&Absent> {
        self.file().and_then(|file| file.absent.as_ref())
    }
}

impl Absent {
    /// Ranges that are in place, for a client.
    pub(crate) fn in_place(&self) -> Vec<ByteRange> {
        let mut ranges = self.present.clone();
        crate::ranges::insert(&mut ranges, ByteRange { start: self.limit, end: u64::MAX });
        ranges
    }

    /// The parts of `range` that are not in place.
    pub(crate) fn missing(&self, range: ByteRange) -> Vec<ByteRange> {
        let range = ByteRange { start: range.start, end: range.end.min(self.limit) };
        crate::ranges::missing(&self.present, range)
    }

    /// Whether every byte is in place.
    pub(crate) fn is_complete(&self) -> bool {
        self.missing(ByteRange { start: 0, end: self.limit }).is_empty()
    }
}
