//! Adapter between `fuser` and [`FileSystem`]: the only file that names fuser's requests.
//!
//! Translates values, negotiates with the kernel and keeps nothing.
//! Invariant: each fuser reply is wrapped in a [`Reply`] before the file system sees it, so it is answered once.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use fuser::{
    FileHandle, Filesystem, FopenFlags, Generation, INodeNo, InitFlags, KernelConfig, LockOwner, RenameFlags,
    ReplyAttr, ReplyCreate, ReplyData, ReplyDirectoryPlus, ReplyEmpty, ReplyEntry, ReplyLseek, ReplyOpen,
    ReplyStatfs, ReplyWrite, ReplyXattr, Request, TimeOrNow, WriteFlags,
};

use crate::filesystem::{FileSystem, Place, RenameRequest, WriteOrigin, WriteRequest, xattr_answer};
use crate::node::{
    Caller, Change, Created, Entry, Errno, HandleId, Lookup, NodeId, OpenFlags, RenameMode, Seek, Space,
    XattrMode,
};
use crate::reply::{DirectoryReply, DirectoryRow, DirectorySink, Reply, Room};
use crate::translate::{absent, attr, error, file_type, kind_of, moment_or_now};

/// Largest read or write that the kernel sends.
const TRANSFER_MAX: u32 = 1 << 20;

/// Requests that the kernel keeps in flight without a process waiting for each.
const BACKGROUND_MAX: u16 = 512;

/// What is asked for where the kernel offers it.
const WISHES: &[InitFlags] = &[
    InitFlags::FUSE_ASYNC_READ,
    InitFlags::FUSE_ASYNC_DIO,
    InitFlags::FUSE_ATOMIC_O_TRUNC,
    InitFlags::FUSE_DO_READDIRPLUS,
    InitFlags::FUSE_READDIRPLUS_AUTO,
    InitFlags::FUSE_PARALLEL_DIROPS,
    InitFlags::FUSE_CACHE_SYMLINKS,
    InitFlags::FUSE_DIRECT_IO_ALLOW_MMAP,
    InitFlags::FUSE_MAX_PAGES,
];

/// Every open file goes around the page cache: bytes are cached under leases, not by the kernel.
const FILE_OPEN: FopenFlags = FopenFlags::FOPEN_DIRECT_IO.union(FopenFlags::FOPEN_PARALLEL_DIRECT_WRITES);

/// Inode numbers are never reused, so all of them are of one generation.
const GENERATION: Generation = Generation(0);

/// Longest name in bytes; no longer one reaches the file system, which may know a directory without asking for its names.
const NAME_MAX: u32 = 255;

const SEEK_DATA: i32 = 3;
const SEEK_HOLE: i32 = 4;
const XATTR_CREATE: i32 = 1;
const XATTR_REPLACE: i32 = 2;

/// A file system as fuser wants it.
pub(crate) struct Kernel<F>(pub(crate) Arc<F>);

fn caller(request: &Request) -> Caller {
    Caller { uid: request.uid(), gid: request.gid() }
}

fn place<'a>(request: &Request, parent: INodeNo, name: &'a OsStr, mode: u32) -> Place<'a> {
    Place { parent: NodeId(parent.0), name: name.as_bytes(), mode: mode & 0o7777, caller: caller(request) }
}

fn empty(reply: ReplyEmpty) -> Reply<()> {
    Reply::new(move |answer| match answer {
        Ok(()) => reply.ok(),
        Err(errno) => reply.error(error(errno)),
    })
}

fn entry(reply: ReplyEntry) -> Reply<Entry> {
    Reply::new(move |answer: Result<Entry, Errno>| match answer {
        Ok(entry) => {
            reply.entry_with_ttls(&entry.attr_valid, &entry.name_valid, &attr(&entry.attr), GENERATION);
        }
        Err(errno) => reply.error(error(errno)),
    })
}

fn lookup(reply: ReplyEntry) -> Reply<Lookup> {
    Reply::new(move |answer| match answer {
        Ok(Lookup::Found(entry)) => {
            reply.entry_with_ttls(&entry.attr_valid, &entry.name_valid, &attr(&entry.attr), GENERATION);
        }
        Ok(Lookup::Absent(valid)) if valid.is_zero() => reply.error(error(Errno::NOT_FOUND)),
        Ok(Lookup::Absent(valid)) => reply.entry_with_ttls(&Duration::ZERO, &valid, &absent(), GENERATION),
        Err(errno) => reply.error(error(errno)),
    })
}

fn attributes(reply: ReplyAttr) -> Reply<Entry> {
    Reply::new(move |answer: Result<Entry, Errno>| match answer {
        Ok(entry) => reply.attr(&entry.attr_valid, &attr(&entry.attr)),
        Err(errno) => reply.error(error(errno)),
    })
}

fn opened(reply: ReplyOpen, flags: FopenFlags) -> Reply<HandleId> {
    Reply::new(move |answer: Result<HandleId, Errno>| match answer {
        Ok(handle) => reply.opened(FileHandle(handle.0), flags),
        Err(errno) => reply.error(error(errno)),
    })
}

fn created(reply: ReplyCreate) -> Reply<Created> {
    Reply::new(move |answer: Result<Created, Errno>| match answer {
        Ok(made) => {
            let handle = FileHandle(made.handle.0);
            reply.created(&made.entry.attr_valid, &attr(&made.entry.attr), GENERATION, handle, FILE_OPEN);
        }
        Err(errno) => reply.error(error(errno)),
    })
}

fn data(reply: ReplyData) -> Reply<Bytes> {
    Reply::new(move |answer: Result<Bytes, Errno>| match answer {
        Ok(bytes) => reply.data(&bytes),
        Err(errno) => reply.error(error(errno)),
    })
}

fn xattr(size: u32, reply: ReplyXattr) -> Reply<Vec<u8>> {
    Reply::new(move |answer: Result<Vec<u8>, Errno>| {
        let sized = answer.and_then(|value| xattr_answer(size, &value).map(|length| (length, value)));
        match sized {
            Ok((Some(length), _)) => reply.size(length),
            Ok((None, value)) => reply.data(&value),
            Err(errno) => reply.error(error(errno)),
        }
    })
}

impl DirectorySink for ReplyDirectoryPlus {
    fn counts(&self) -> bool {
        true
    }

    fn add(&mut self, row: DirectoryRow<'_>) -> Room {
        let name = OsStr::from_bytes(row.name);
        let node = INodeNo(row.entry.attr.node.0);
        // fuser knows one time for both; names that are listed are only believed as long as their attributes.
        let valid = row.entry.attr_valid.min(row.entry.name_valid);
        let full = Self::add(self, node, row.next, name, &valid, &attr(&row.entry.attr), GENERATION);
        if full { Room::Full } else { Room::Taken }
    }

    fn send(self: Box<Self>, answer: Result<(), Errno>) {
        match answer {
            Ok(()) => self.ok(),
            Err(errno) => self.error(error(errno)),
        }
    }
}

impl<F: FileSystem> Filesystem for Kernel<F> {
    fn init(&mut self, _request: &Request, config: &mut KernelConfig) -> io::Result<()> {
        for wish in WISHES {
            if config.add_capabilities(*wish).is_err() {
                tracing::debug!(?wish, "the kernel does not offer this");
            }
        }
        let nearest = |result: Result<u32, u32>| result.unwrap_or_else(|nearest| nearest);
        nearest(config.set_max_write(TRANSFER_MAX));
        if let Err(largest) = config.set_max_readahead(TRANSFER_MAX) {
            nearest(config.set_max_readahead(largest));
        }
        if config.set_max_background(BACKGROUND_MAX).is_err() {
            tracing::debug!("the kernel keeps its own limit of background requests");
        }
        Ok(())
    }

    fn lookup(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        if name.len() > NAME_MAX as usize {
            return reply.error(error(Errno::NAME_TOO_LONG));
        }
        self.0.lookup(NodeId(parent.0), name.as_bytes(), lookup(reply));
    }

    fn forget(&self, _request: &Request, node: INodeNo, lookups: u64) {
        self.0.forget(NodeId(node.0), lookups);
    }

    fn getattr(&self, _request: &Request, node: INodeNo, _handle: Option<FileHandle>, reply: ReplyAttr) {
        self.0.getattr(NodeId(node.0), attributes(reply));
    }

    fn setattr(
        &self,
        _request: &Request,
        node: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        atime: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        _handle: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<fuser::BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let change = Change {
            mode: mode.map(|mode| mode & 0o7777),
            uid,
            gid,
            size,
            atime: atime.map(moment_or_now),
            mtime: mtime.map(moment_or_now),
        };
        self.0.setattr(NodeId(node.0), change, attributes(reply));
    }

    fn readlink(&self, _request: &Request, node: INodeNo, reply: ReplyData) {
        let reply = Reply::new(move |answer: Result<Vec<u8>, Errno>| match answer {
            Ok(target) => reply.data(&target),
            Err(errno) => reply.error(error(errno)),
        });
        self.0.readlink(NodeId(node.0), reply);
    }

    fn mknod(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _umask: u32,
        device: u32,
        reply: ReplyEntry,
    ) {
        match kind_of(mode) {
            Some(kind) => self.0.mknod(place(request, parent, name, mode), kind, device, entry(reply)),
            None => reply.error(error(Errno::INVALID)),
        }
    }

    fn mkdir(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _umask: u32,
        reply: ReplyEntry,
    ) {
        self.0.mkdir(place(request, parent, name, mode), entry(reply));
    }

    fn unlink(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        self.0.unlink(NodeId(parent.0), name.as_bytes(), empty(reply));
    }

    fn rmdir(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        self.0.rmdir(NodeId(parent.0), name.as_bytes(), empty(reply));
    }

    fn symlink(&self, request: &Request, parent: INodeNo, name: &OsStr, target: &Path, reply: ReplyEntry) {
        let target = target.as_os_str().as_bytes();
        self.0.symlink(place(request, parent, name, 0o777), target, entry(reply));
    }

    fn rename(
        &self,
        _request: &Request,
        parent: INodeNo,
        name: &OsStr,
        new_parent: INodeNo,
        new_name: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let mode = if flags.is_empty() {
            RenameMode::Replace
        } else if flags == RenameFlags::RENAME_NOREPLACE {
            RenameMode::NoReplace
        } else if flags == RenameFlags::RENAME_EXCHANGE {
            RenameMode::Exchange
        } else {
            return reply.error(error(Errno::INVALID));
        };
        let from = (NodeId(parent.0), name.as_bytes());
        let to = (NodeId(new_parent.0), new_name.as_bytes());
        self.0.rename(RenameRequest { from, to, mode }, empty(reply));
    }

    fn link(&self, _request: &Request, node: INodeNo, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        self.0.link(NodeId(node.0), NodeId(parent.0), name.as_bytes(), entry(reply));
    }

    fn open(&self, request: &Request, node: INodeNo, flags: fuser::OpenFlags, reply: ReplyOpen) {
        self.0.open(NodeId(node.0), OpenFlags(flags.0), caller(request), opened(reply, FILE_OPEN));
    }

    fn create(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _umask: u32,
        flags: i32,
        reply: ReplyCreate,
    ) {
        self.0.create(place(request, parent, name, mode), OpenFlags(flags), created(reply));
    }

    fn read(
        &self,
        _request: &Request,
        _node: INodeNo,
        handle: FileHandle,
        offset: u64,
        size: u32,
        _flags: fuser::OpenFlags,
        _owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        self.0.read(HandleId(handle.0), offset, size, data(reply));
    }

    fn write(
        &self,
        _request: &Request,
        _node: INodeNo,
        handle: FileHandle,
        offset: u64,
        data: &[u8],
        write_flags: WriteFlags,
        flags: fuser::OpenFlags,
        _owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let pages = write_flags.contains(WriteFlags::FUSE_WRITE_CACHE);
        let request = WriteRequest {
            offset,
            data,
            flags: OpenFlags(flags.0),
            origin: if pages { WriteOrigin::Pages } else { WriteOrigin::Process },
            clear_privileges: write_flags.contains(WriteFlags::FUSE_WRITE_KILL_SUIDGID),
        };
        let reply = Reply::new(move |answer: Result<u32, Errno>| match answer {
            Ok(written) => reply.written(written),
            Err(errno) => reply.error(error(errno)),
        });
        self.0.write(HandleId(handle.0), request, reply);
    }

    fn flush(
        &self,
        _request: &Request,
        _node: INodeNo,
        handle: FileHandle,
        _owner: LockOwner,
        reply: ReplyEmpty,
    ) {
        self.0.flush(HandleId(handle.0), empty(reply));
    }

    fn release(
        &self,
        _request: &Request,
        _node: INodeNo,
        handle: FileHandle,
        _flags: fuser::OpenFlags,
        _owner: Option<LockOwner>,
        _flush: bool,
        reply: ReplyEmpty,
    ) {
        self.0.release(HandleId(handle.0), empty(reply));
    }

    fn fsync(&self, _request: &Request, _node: INodeNo, handle: FileHandle, _data: bool, reply: ReplyEmpty) {
        self.0.fsync(HandleId(handle.0), empty(reply));
    }

    fn opendir(&self, _request: &Request, node: INodeNo, _flags: fuser::OpenFlags, reply: ReplyOpen) {
        self.0.opendir(NodeId(node.0), opened(reply, FopenFlags::empty()));
    }

    fn readdirplus(
        &self,
        _request: &Request,
        _node: INodeNo,
        handle: FileHandle,
        offset: u64,
        reply: ReplyDirectoryPlus,
    ) {
        self.0.readdirplus(HandleId(handle.0), offset, DirectoryReply::new(reply));
    }

    fn readdir(
        &self,
        _request: &Request,
        _node: INodeNo,
        handle: FileHandle,
        offset: u64,
        reply: fuser::ReplyDirectory,
    ) {
        self.0.readdirplus(HandleId(handle.0), offset, DirectoryReply::new(Plain(reply)));
    }

    fn releasedir(
        &self,
        _request: &Request,
        _node: INodeNo,
        handle: FileHandle,
        _flags: fuser::OpenFlags,
        reply: ReplyEmpty,
    ) {
        self.0.releasedir(HandleId(handle.0), empty(reply));
    }

    fn fsyncdir(
        &self,
        _request: &Request,
        node: INodeNo,
        _handle: FileHandle,
        _data: bool,
        reply: ReplyEmpty,
    ) {
        self.0.fsyncdir(NodeId(node.0), empty(reply));
    }

    fn statfs(&self, _request: &Request, _node: INodeNo, reply: ReplyStatfs) {
        self.0.statfs(Reply::new(move |answer: Result<Space, Errno>| match answer {
            Ok(space) => reply.statfs(
                space.blocks,
                space.blocks_free,
                space.blocks_free,
                space.inodes,
                space.inodes_free,
                space.block_size,
                NAME_MAX,
                space.block_size,
            ),
            Err(errno) => reply.error(error(errno)),
        }));
    }

    fn setxattr(
        &self,
        _request: &Request,
        node: INodeNo,
        name: &OsStr,
        value: &[u8],
        flags: i32,
        _position: u32,
        reply: ReplyEmpty,
    ) {
        let mode = match flags {
            XATTR_CREATE => XattrMode::Create,
            XATTR_REPLACE => XattrMode::Replace,
            _ => XattrMode::Set,
        };
        self.0.setxattr(NodeId(node.0), (name.as_bytes(), value), mode, empty(reply));
    }

    fn getxattr(&self, _request: &Request, node: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        self.0.getxattr(NodeId(node.0), name.as_bytes(), xattr(size, reply));
    }

    fn listxattr(&self, _request: &Request, node: INodeNo, size: u32, reply: ReplyXattr) {
        self.0.listxattr(NodeId(node.0), xattr(size, reply));
    }

    fn removexattr(&self, _request: &Request, node: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        self.0.removexattr(NodeId(node.0), name.as_bytes(), empty(reply));
    }

    fn fallocate(
        &self,
        _request: &Request,
        _node: INodeNo,
        handle: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        let range = (offset, offset.saturating_add(length));
        self.0.fallocate(HandleId(handle.0), range, mode, empty(reply));
    }

    fn lseek(
        &self,
        _request: &Request,
        _node: INodeNo,
        handle: FileHandle,
        offset: i64,
        whence: i32,
        reply: ReplyLseek,
    ) {
        let seek = match whence {
            SEEK_DATA => Seek::Data,
            SEEK_HOLE => Seek::Hole,
            _ => return reply.error(error(Errno::INVALID)),
        };
        let Ok(offset) = u64::try_from(offset) else { return reply.error(error(Errno::NO_DEVICE)) };
        let reply = Reply::new(move |answer: Result<u64, Errno>| match answer {
            Ok(found) => reply.offset(i64::try_from(found).unwrap_or(i64::MAX)),
            Err(errno) => reply.error(error(errno)),
        });
        self.0.lseek(HandleId(handle.0), offset, seek, reply);
    }
}

/// A listing without attributes: what the kernel asks for once it finds that nobody uses them.
struct Plain(fuser::ReplyDirectory);

impl DirectorySink for Plain {
    fn counts(&self) -> bool {
        false
    }

    fn add(&mut self, row: DirectoryRow<'_>) -> Room {
        let node = INodeNo(row.entry.attr.node.0);
        let kind = file_type(row.entry.attr.kind);
        let full = self.0.add(node, row.next, kind, OsStr::from_bytes(row.name));
        if full { Room::Full } else { Room::Taken }
    }

    fn send(self: Box<Self>, answer: Result<(), Errno>) {
        match answer {
            Ok(()) => self.0.ok(),
            Err(errno) => self.0.error(error(errno)),
        }
    }
}
