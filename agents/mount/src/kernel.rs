//! The file system that the kernel talks to: each request answered from memory at once, or by a task that asks.
//!
//! Translates between the kernel's values and the cluster's; what operations do is in the files beside this one.
//! Invariant: an inode counts as known to the kernel before the answer that shows it is sent.

use std::collections::HashMap;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use lustre_fuse::{
    Caller, Change, Created, DirectoryReply, Entry, Errno, FileSystem, HandleId, Lookup, Moment, MomentOrNow,
    NodeAttr, NodeId, NodeKind, OpenFlags, Place, RenameRequest, Reply, Seek, Space, WriteRequest,
};
use lustre_model::attr::{AttrChange, FileKind, Owner, SetTime, Timestamp};
use lustre_model::fault::Fault;
use lustre_model::fid::Fid;
use lustre_model::metadata::{NewInode, OpenMode, RemoveKind, RenameMode, Request, XattrMode};
use tokio_util::task::TaskTracker;

use crate::begun::begin;
use crate::client::{Core, Seen};
use crate::directory::OpenDirectory;
use crate::file::{Allocate, OpenFile, Sought};
use crate::io::Target;
use crate::names::{Looked, Made};

const FALLOCATE_KEEP_SIZE: i32 = 1;
const FALLOCATE_PUNCH_HOLE: i32 = 2;
const FALLOCATE_ZERO_RANGE: i32 = 16;

/// Who may leave setuid and setgid on what he writes.
const ROOT: u32 = 0;

/// Unit of `statfs`.
const BLOCK: u32 = 4096;

/// Access control lists are not kept; the kernel asks for them all the same.
const ACL_PREFIX: &[u8] = b"system.posix_acl_";

/// A mounted cluster.
#[derive(Debug)]
pub(crate) struct Files {
    core: Arc<Core>,
    /// Requests that are not answered, and closes that are not told.
    pub(crate) tasks: TaskTracker,
    handles: Arc<Mutex<Handles>>,
    next: Arc<AtomicU64>,
}

#[derive(Debug, Default)]
struct Handles {
    files: HashMap<HandleId, Arc<OpenFile>>,
    directories: HashMap<HandleId, Arc<OpenDirectory>>,
    /// Files that run as programs on this host.
    running: HashMap<HandleId, Fid>,
}

/// What the kernel hears of a fault.
pub(crate) fn errno(fault: Fault) -> Errno {
    Errno(fault.errno())
}

/// What the kernel hears of an inode.
pub(crate) fn entry(seen: &Seen) -> Entry {
    let attr = &seen.attr;
    let attr = NodeAttr {
        node: NodeId(attr.fid.inode_number()),
        kind: node_kind(attr.kind),
        mode: attr.mode,
        uid: attr.uid,
        gid: attr.gid,
        link_count: attr.link_count,
        size: attr.size,
        blocks: attr.blocks,
        device: u32::try_from(attr.device).unwrap_or(0),
        atime: moment(attr.atime),
        mtime: moment(attr.mtime),
        ctime: moment(attr.ctime),
    };
    Entry { attr, attr_valid: seen.attr_valid, name_valid: seen.name_valid }
}

fn moment(time: Timestamp) -> Moment {
    Moment { seconds: time.seconds, nanoseconds: time.nanoseconds }
}

fn set_time(time: MomentOrNow) -> SetTime {
    match time {
        MomentOrNow::Now => SetTime::Now,
        MomentOrNow::At(at) => SetTime::At(Timestamp { seconds: at.seconds, nanoseconds: at.nanoseconds }),
    }
}

fn node_kind(kind: FileKind) -> NodeKind {
    match kind {
        FileKind::Regular => NodeKind::Regular,
        FileKind::Directory => NodeKind::Directory,
        FileKind::Symlink => NodeKind::Symlink,
        FileKind::Fifo => NodeKind::Fifo,
        FileKind::Socket => NodeKind::Socket,
        FileKind::CharDevice => NodeKind::CharDevice,
        FileKind::BlockDevice => NodeKind::BlockDevice,
    }
}

fn new_node(kind: NodeKind, device: u32) -> NewInode {
    let node = |kind| NewInode::Node { kind, device: u64::from(device) };
    match kind {
        NodeKind::Regular => NewInode::Regular { open: None },
        NodeKind::Directory => NewInode::Directory,
        NodeKind::Symlink => node(FileKind::Symlink),
        NodeKind::Fifo => node(FileKind::Fifo),
        NodeKind::Socket => node(FileKind::Socket),
        NodeKind::CharDevice => node(FileKind::CharDevice),
        NodeKind::BlockDevice => node(FileKind::BlockDevice),
    }
}

fn fid(node: NodeId) -> Fid {
    Fid::from_inode_number(node.0)
}

fn open_mode(flags: OpenFlags) -> OpenMode {
    match (flags.truncates(), flags.writes()) {
        (true, _) => OpenMode::Truncate,
        (false, true) => OpenMode::Write,
        (false, false) => OpenMode::Read,
    }
}

fn creation(at: &Place<'_>, exclusive: bool, inode: NewInode) -> Request {
    Request::Create {
        parent: fid(at.parent),
        name: at.name.to_vec(),
        mode: at.mode,
        owner: Owner { uid: at.caller.uid, gid: at.caller.gid },
        exclusive,
        inode,
    }
}

impl Files {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        core.inode(Fid::ROOT).state().lookups = 1;
        Self { core, tasks: TaskTracker::new(), handles: Arc::default(), next: Arc::new(AtomicU64::new(1)) }
    }

    /// Does what the kernel asked: here until it waits for somebody, which may take as long as it takes, then in a task.
    fn begin(&self, work: impl Future<Output = ()> + Send + 'static) {
        begin(self.tasks.track_future(work), &self.core.runtime);
    }

    fn answer<T: Send + 'static>(
        &self,
        reply: Reply<T>,
        work: impl Future<Output = Result<T, Fault>> + Send + 'static,
    ) {
        self.begin(async move { reply.send(work.await.map_err(errno)) });
    }

    /// The same for an answer that shows an inode.
    fn answer_entry(
        &self,
        reply: Reply<Entry>,
        work: impl Future<Output = Result<Seen, Fault>> + Send + 'static,
    ) {
        let core = Arc::clone(&self.core);
        self.answer(reply, async move {
            let seen = work.await?;
            give(&core, &seen);
            Ok(entry(&seen))
        });
    }

    fn create_inode(&self, at: &Place<'_>, inode: NewInode, reply: Reply<Entry>) {
        let (core, parent, name) = (Arc::clone(&self.core), fid(at.parent), at.name.to_vec());
        let request = creation(at, true, inode);
        self.answer_entry(reply, async move { Ok(core.make(parent, &name, request).await?.seen) });
    }

    fn remove(&self, parent: NodeId, name: &[u8], kind: RemoveKind, reply: Reply<()>) {
        let (core, name) = (Arc::clone(&self.core), name.to_vec());
        self.answer(reply, async move { core.remove(fid(parent), &name, kind).await });
    }

    fn handle(&self) -> HandleId {
        HandleId(self.next.fetch_add(1, Ordering::Relaxed))
    }

    fn file(&self, handle: HandleId) -> Option<Arc<OpenFile>> {
        self.handles.lock().unwrap_or_else(PoisonError::into_inner).files.get(&handle).cloned()
    }

    fn is_running(&self, fid: Fid) -> bool {
        let handles = self.handles.lock().unwrap_or_else(PoisonError::into_inner);
        handles.running.values().any(|running| *running == fid)
    }

    fn directory(&self, handle: HandleId) -> Option<Arc<OpenDirectory>> {
        self.handles.lock().unwrap_or_else(PoisonError::into_inner).directories.get(&handle).cloned()
    }
}

/// Counts an inode as known to the kernel.
fn give(core: &Arc<Core>, seen: &Seen) {
    core.inode(seen.attr.fid).state().lookups += 1;
}

fn keep_file(handles: &Mutex<Handles>, (handle, flags): (HandleId, OpenFlags), file: OpenFile) {
    let mut handles = handles.lock().unwrap_or_else(PoisonError::into_inner);
    if flags.executes() {
        handles.running.insert(handle, file.inode.fid);
    }
    handles.files.insert(handle, Arc::new(file));
}

fn looked(core: &Arc<Core>, looked: Looked) -> Lookup {
    match looked {
        Looked::Found(seen) => {
            give(core, &seen);
            Lookup::Found(entry(&seen))
        }
        Looked::Absent(valid) => Lookup::Absent(valid),
    }
}

impl FileSystem for Files {
    fn lookup(&self, parent: NodeId, name: &[u8], reply: Reply<Lookup>) {
        let core = Arc::clone(&self.core);
        if let Some(known) = core.cached_lookup(fid(parent), name) {
            return reply.send(Ok(looked(&core, known)));
        }
        let name = name.to_vec();
        self.answer(
            reply,
            async move { core.lookup(fid(parent), &name).await.map(|found| looked(&core, found)) },
        );
    }

    fn forget(&self, node: NodeId, lookups: u64) {
        if let Some(inode) = self.core.known_inode(fid(node)) {
            let mut state = inode.state();
            state.lookups = state.lookups.saturating_sub(lookups);
        }
    }

    fn getattr(&self, node: NodeId, reply: Reply<Entry>) {
        if let Some(seen) = self.core.cached(fid(node)) {
            return reply.send(Ok(entry(&seen)));
        }
        let core = Arc::clone(&self.core);
        self.answer(reply, async move { core.get_attr(fid(node)).await.map(|seen| entry(&seen)) });
    }

    fn setattr(&self, node: NodeId, change: Change, reply: Reply<Entry>) {
        let core = Arc::clone(&self.core);
        let change = AttrChange {
            mode: change.mode,
            uid: change.uid,
            gid: change.gid,
            size: change.size,
            atime: change.atime.map(set_time),
            mtime: change.mtime.map(set_time),
        };
        self.answer(reply, async move { core.set_attr(fid(node), change).await.map(|seen| entry(&seen)) });
    }

    fn readlink(&self, node: NodeId, reply: Reply<Vec<u8>>) {
        let core = Arc::clone(&self.core);
        self.answer(reply, async move { core.read_link(fid(node)).await });
    }

    fn mknod(&self, at: Place<'_>, kind: NodeKind, device: u32, reply: Reply<Entry>) {
        self.create_inode(&at, new_node(kind, device), reply);
    }

    fn mkdir(&self, at: Place<'_>, reply: Reply<Entry>) {
        self.create_inode(&at, NewInode::Directory, reply);
    }

    fn symlink(&self, at: Place<'_>, target: &[u8], reply: Reply<Entry>) {
        self.create_inode(&at, NewInode::Symlink { target: target.to_vec() }, reply);
    }

    fn link(&self, node: NodeId, parent: NodeId, name: &[u8], reply: Reply<Entry>) {
        let (core, name) = (Arc::clone(&self.core), name.to_vec());
        self.answer_entry(reply, async move {
            let request = Request::Link { fid: fid(node), parent: fid(parent), name: name.clone() };
            Ok(core.make(fid(parent), &name, request).await?.seen)
        });
    }

    fn unlink(&self, parent: NodeId, name: &[u8], reply: Reply<()>) {
        self.remove(parent, name, RemoveKind::File, reply);
    }

    fn rmdir(&self, parent: NodeId, name: &[u8], reply: Reply<()>) {
        self.remove(parent, name, RemoveKind::Directory, reply);
    }

    fn rename(&self, request: RenameRequest<'_>, reply: Reply<()>) {
        let core = Arc::clone(&self.core);
        let from = (fid(request.from.0), request.from.1.to_vec());
        let to = (fid(request.to.0), request.to.1.to_vec());
        let mode = match request.mode {
            lustre_fuse::RenameMode::Replace => RenameMode::Replace,
            lustre_fuse::RenameMode::NoReplace => RenameMode::NoReplace,
            lustre_fuse::RenameMode::Exchange => RenameMode::Exchange,
        };
        self.answer(reply, async move { core.rename(from, to, mode).await });
    }

    fn open(&self, node: NodeId, flags: OpenFlags, caller: Caller, reply: Reply<HandleId>) {
        // The kernel looks whether a file runs before it lets it be written, but only after we have cut it.
        if flags.truncates() && self.is_running(fid(node)) {
            return reply.send(Err(Errno::TEXT_BUSY));
        }
        let (core, handles, handle) = (Arc::clone(&self.core), Arc::clone(&self.handles), self.handle());
        if open_mode(flags) == OpenMode::Read
            && let Some(opened) = core.known_inode(fid(node)).and_then(|inode| core.open_unasked(&inode))
        {
            keep_file(&handles, (handle, flags), opened.file);
            return reply.send(Ok(handle));
        }
        self.answer(reply, async move {
            if flags.truncates() && caller.uid != ROOT {
                core.clear_privileges(&core.inode(fid(node))).await?;
            }
            let opened = core.open(fid(node), open_mode(flags)).await?;
            keep_file(&handles, (handle, flags), opened.file);
            Ok(handle)
        });
    }

    fn create(&self, at: Place<'_>, flags: OpenFlags, reply: Reply<Created>) {
        let (core, handles, handle) = (Arc::clone(&self.core), Arc::clone(&self.handles), self.handle());
        let (parent, name) = (fid(at.parent), at.name.to_vec());
        let request = creation(&at, flags.exclusive(), NewInode::Regular { open: Some(open_mode(flags)) });
        self.answer(reply, async move {
            let Made { seen, opened } = core.make(parent, &name, request).await?;
            keep_file(&handles, (handle, flags), opened.ok_or(Fault::Io)?.file);
            give(&core, &seen);
            Ok(Created { entry: entry(&seen), handle })
        });
    }

    fn read(&self, handle: HandleId, offset: u64, length: u32, reply: Reply<Bytes>) {
        let Some(file) = self.file(handle) else { return reply.send(Err(Errno::BAD_HANDLE)) };
        let range = offset..offset.saturating_add(u64::from(length));
        if let Some(bytes) = self.core.cached_read(&file, range.clone()) {
            return reply.send(Ok(bytes));
        }
        let core = Arc::clone(&self.core);
        self.answer(reply, async move { core.read(&file, range).await });
    }

    fn write(&self, handle: HandleId, request: WriteRequest<'_>, reply: Reply<u32>) {
        let Some(file) = self.file(handle) else { return reply.send(Err(Errno::BAD_HANDLE)) };
        let core = Arc::clone(&self.core);
        let appends = request.flags.appends() && request.origin == lustre_fuse::WriteOrigin::Process;
        let target = if appends { Target::End } else { Target::At(request.offset) };
        let (origin, clear) = (request.origin, request.clear_privileges);
        let data = Bytes::copy_from_slice(request.data);
        self.answer(reply, async move {
            if clear {
                core.clear_privileges(&file.inode).await?;
            }
            core.write(&file, (target, origin), data).await
        });
    }

    fn flush(&self, _handle: HandleId, reply: Reply<()>) {
        // Every write was acknowledged by the object targets before its caller went on. The kernel asks only once.
        reply.send(Err(Errno::NOT_IMPLEMENTED));
    }

    fn release(&self, handle: HandleId, reply: Reply<()>) {
        let file = {
            let mut handles = self.handles.lock().unwrap_or_else(PoisonError::into_inner);
            handles.running.remove(&handle);
            handles.files.remove(&handle)
        };
        reply.send(Ok(()));
        if let Some(file) = file {
            self.core.close(&file, self.tasks.token());
        }
    }

    fn fsync(&self, handle: HandleId, reply: Reply<()>) {
        let Some(file) = self.file(handle) else { return reply.send(Err(Errno::BAD_HANDLE)) };
        let core = Arc::clone(&self.core);
        self.answer(reply, async move { core.sync_file(&file.inode).await });
    }

    fn fallocate(&self, handle: HandleId, range: (u64, u64), mode: i32, reply: Reply<()>) {
        let Some(file) = self.file(handle) else { return reply.send(Err(Errno::BAD_HANDLE)) };
        let what = match mode {
            0 => Allocate::Extend,
            FALLOCATE_KEEP_SIZE => Allocate::Reserve,
            FALLOCATE_ZERO_RANGE => Allocate::Zero,
            mode if mode & FALLOCATE_KEEP_SIZE != 0
                && matches!(mode ^ FALLOCATE_KEEP_SIZE, FALLOCATE_PUNCH_HOLE | FALLOCATE_ZERO_RANGE) =>
            {
                Allocate::Punch
            }
            _ => return reply.send(Err(Errno::NOT_SUPPORTED)),
        };
        let core = Arc::clone(&self.core);
        self.answer(reply, async move { core.allocate(&file, range.0..range.1, what).await });
    }

    fn lseek(&self, handle: HandleId, offset: u64, seek: Seek, reply: Reply<u64>) {
        let Some(file) = self.file(handle) else { return reply.send(Err(Errno::BAD_HANDLE)) };
        let what = match seek {
            Seek::Data => Sought::Data,
            Seek::Hole => Sought::Hole,
        };
        let core = Arc::clone(&self.core);
        let seeking = async move {
            let found = core.seek(&file, offset, what).await;
            reply.send(found.map_err(errno).and_then(|found| found.ok_or(Errno::NO_DEVICE)));
        };
        self.begin(seeking);
    }

    fn opendir(&self, node: NodeId, reply: Reply<HandleId>) {
        let handle = self.handle();
        let directory = Arc::new(OpenDirectory::new(fid(node)));
        self.handles.lock().unwrap_or_else(PoisonError::into_inner).directories.insert(handle, directory);
        reply.send(Ok(handle));
    }

    fn readdirplus(&self, handle: HandleId, offset: u64, reply: DirectoryReply) {
        let Some(directory) = self.directory(handle) else { return reply.send(Err(Errno::BAD_HANDLE)) };
        let core = Arc::clone(&self.core);
        self.begin(async move { core.fill(&directory, offset, reply).await });
    }

    fn releasedir(&self, handle: HandleId, reply: Reply<()>) {
        self.handles.lock().unwrap_or_else(PoisonError::into_inner).directories.remove(&handle);
        reply.send(Ok(()));
    }

    fn fsyncdir(&self, _node: NodeId, reply: Reply<()>) {
        let core = Arc::clone(&self.core);
        self.answer(reply, async move { core.sync().await });
    }

    fn statfs(&self, reply: Reply<Space>) {
        let core = Arc::clone(&self.core);
        self.answer(reply, async move {
            let status = core.status().await?;
            let answering =
                || status.targets.iter().filter_map(|target| Some((target.target.capacity, target.used?)));
            let capacity: u64 = answering().map(|(capacity, _)| capacity).sum();
            let free: u64 = answering().map(|(capacity, used)| capacity.saturating_sub(used)).sum();
            Ok(Space {
                blocks: capacity / u64::from(BLOCK),
                blocks_free: free / u64::from(BLOCK),
                inodes: status.inodes.saturating_add(status.inodes_free),
                inodes_free: status.inodes_free,
                block_size: BLOCK,
            })
        });
    }

    fn setxattr(
        &self,
        node: NodeId,
        (name, value): (&[u8], &[u8]),
        mode: lustre_fuse::XattrMode,
        reply: Reply<()>,
    ) {
        if name.starts_with(ACL_PREFIX) {
            return reply.send(Err(Errno::NOT_SUPPORTED));
        }
        let (core, name, value) = (Arc::clone(&self.core), name.to_vec(), value.to_vec());
        let mode = match mode {
            lustre_fuse::XattrMode::Set => XattrMode::Set,
            lustre_fuse::XattrMode::Create => XattrMode::Create,
            lustre_fuse::XattrMode::Replace => XattrMode::Replace,
        };
        self.answer(reply, async move { core.set_xattr(fid(node), (&name, &value), mode).await });
    }

    fn getxattr(&self, node: NodeId, name: &[u8], reply: Reply<Vec<u8>>) {
        if name.starts_with(ACL_PREFIX) {
            return reply.send(Err(Errno::NOT_SUPPORTED));
        }
        let (core, name) = (Arc::clone(&self.core), name.to_vec());
        self.answer(reply, async move { core.get_xattr(fid(node), &name).await });
    }

    fn listxattr(&self, node: NodeId, reply: Reply<Vec<u8>>) {
        let core = Arc::clone(&self.core);
        self.answer(reply, async move { core.list_xattr(fid(node)).await });
    }

    fn removexattr(&self, node: NodeId, name: &[u8], reply: Reply<()>) {
        let (core, name) = (Arc::clone(&self.core), name.to_vec());
        self.answer(reply, async move { core.remove_xattr(fid(node), &name).await });
    }
}
