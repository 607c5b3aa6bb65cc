//! What a file system answers to the kernel, one method per operation.
//!
//! Methods are called on the transport's threads and must not block: work that waits goes elsewhere and answers later.
//! Permissions are the kernel's (`default_permissions`), flock and fcntl locks are local to the mount.
//! Invariant: each entry that is answered counts as one lookup of its inode, until [`FileSystem::forget`] takes it back.

use bytes::Bytes;

use crate::node::{
    Caller, Change, Created, Entry, Errno, HandleId, Lookup, NodeId, NodeKind, OpenFlags, RenameMode, Seek,
    Space, XattrMode,
};
use crate::reply::{DirectoryReply, Reply};

/// Where the bytes of a write come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteOrigin {
    /// A system call of a process.
    Process,
    /// Dirty pages of a mapping: the kernel may hold page locks while it waits for the answer.
    Pages,
}

/// A write.
#[derive(Debug, Clone, Copy)]
pub struct WriteRequest<'a> {
    /// First byte in the file. Ignored for handles that append, unless the bytes come from pages.
    pub offset: u64,
    /// The bytes.
    pub data: &'a [u8],
    /// Flags of the handle now.
    pub flags: OpenFlags,
    /// Where they come from.
    pub origin: WriteOrigin,
    /// Whether setuid and setgid bits must go, because the writer is not privileged.
    pub clear_privileges: bool,
}

/// A rename.
#[derive(Debug, Clone, Copy)]
#[expect(missing_docs, reason = "the names say it")]
pub struct RenameRequest<'a> {
    pub from: (NodeId, &'a [u8]),
    pub to: (NodeId, &'a [u8]),
    pub mode: RenameMode,
}

/// A file system. Names are raw bytes without `/` and NUL, at most 255 where they are looked up.
#[expect(missing_docs, reason = "methods are named after their system calls")]
pub trait FileSystem: Send + Sync + 'static {
    fn lookup(&self, parent: NodeId, name: &[u8], reply: Reply<Lookup>);
    /// Takes back `lookups` of an inode; at none the kernel does not know it any more.
    fn forget(&self, node: NodeId, lookups: u64);
    fn getattr(&self, node: NodeId, reply: Reply<Entry>);
    fn setattr(&self, node: NodeId, change: Change, reply: Reply<Entry>);
    fn readlink(&self, node: NodeId, reply: Reply<Vec<u8>>);
    /// `mode` holds permission bits only; `device` is 0 but for device nodes.
    fn mknod(&self, at: Place<'_>, kind: NodeKind, device: u32, reply: Reply<Entry>);
    fn mkdir(&self, at: Place<'_>, reply: Reply<Entry>);
    fn symlink(&self, at: Place<'_>, target: &[u8], reply: Reply<Entry>);
    fn link(&self, node: NodeId, parent: NodeId, name: &[u8], reply: Reply<Entry>);
    fn unlink(&self, parent: NodeId, name: &[u8], reply: Reply<()>);
    fn rmdir(&self, parent: NodeId, name: &[u8], reply: Reply<()>);
    fn rename(&self, request: RenameRequest<'_>, reply: Reply<()>);
    /// Where the flags truncate, setuid and setgid bits must go unless the caller is root: the kernel leaves that to us.
    fn open(&self, node: NodeId, flags: OpenFlags, caller: Caller, reply: Reply<HandleId>);
    fn create(&self, at: Place<'_>, flags: OpenFlags, reply: Reply<Created>);
    /// Fewer bytes than asked for say that the file ends there.
    fn read(&self, handle: HandleId, offset: u64, length: u32, reply: Reply<Bytes>);
    fn write(&self, handle: HandleId, request: WriteRequest<'_>, reply: Reply<u32>);
    /// One descriptor of the handle was closed.
    fn flush(&self, handle: HandleId, reply: Reply<()>);
    /// The last descriptor and mapping are gone.
    fn release(&self, handle: HandleId, reply: Reply<()>);
    fn fsync(&self, handle: HandleId, reply: Reply<()>);
    fn fallocate(&self, handle: HandleId, range: (u64, u64), mode: i32, reply: Reply<()>);
    fn lseek(&self, handle: HandleId, offset: u64, seek: Seek, reply: Reply<u64>);
    fn opendir(&self, node: NodeId, reply: Reply<HandleId>);
    /// Rows behind `offset`, 0 from the start, with the attributes of what they name.
    fn readdirplus(&self, handle: HandleId, offset: u64, reply: DirectoryReply);
    fn releasedir(&self, handle: HandleId, reply: Reply<()>);
    fn fsyncdir(&self, node: NodeId, reply: Reply<()>);
    fn statfs(&self, reply: Reply<Space>);
    fn setxattr(&self, node: NodeId, xattr: (&[u8], &[u8]), mode: XattrMode, reply: Reply<()>);
    fn getxattr(&self, node: NodeId, name: &[u8], reply: Reply<Vec<u8>>);
    /// Names, each ended by NUL.
    fn listxattr(&self, node: NodeId, reply: Reply<Vec<u8>>);
    fn removexattr(&self, node: NodeId, name: &[u8], reply: Reply<()>);
}

/// A name that is to come into being.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// The directory.
    pub parent: NodeId,
    /// The name in it.
    pub name: &'a [u8],
    /// Permission bits, the caller's umask already taken off.
    pub mode: u32,
    /// Who creates it.
    pub caller: Caller,
}

/// Answers a request for an extended attribute: its size when none may be sent, else the value when it fits.
pub(crate) fn xattr_answer(size: u32, value: &[u8]) -> Result<Option<u32>, Errno> {
    let length = u32::try_from(value.len()).map_err(|_| Errno::RANGE)?;
    match size {
        0 => Ok(Some(length)),
        room if length <= room => Ok(None),
        1.. => Err(Errno::RANGE),
    }
}
