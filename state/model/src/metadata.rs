//! What clients, movers and administrators ask of a metadata target, and what it answers.
//!
//! Values only; framing is `agents/wire`, behaviour is `agents/metadata`.
//! Invariant: a request that changes something is carried in a [`Call`] with an `xid` and executed at most once.

use serde::{Deserialize, Serialize};

use crate::attr::{Attr, AttrChange, FileKind, Owner, Timestamp};
use crate::fault::Fault;
use crate::fid::Fid;
use crate::hsm::{
    HsmAction, HsmEnd, HsmProgress, ImportEntry, ImportRefusal, Link, LinkId, LinkStatus, Listed,
};
use crate::id::{ClientId, FsName};
use crate::layout::{Layout, LayoutTemplate, OstIndex};

/// A client's session at a metadata target. A client that was evicted gets a new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SessionId(pub u64);

/// Identifies one request of a client; grows by one with each new request and stays the same when it is resent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Xid(pub u64);

/// Names one open file of a session: the number of the request that opened it, or one that the client drew like it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct OpenId(pub u64);

/// One request of a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// The session; 0 only for [`Request::Connect`] and for requests of administrators and movers.
    pub session: SessionId,
    /// The request's number.
    pub xid: Xid,
    /// Every request up to this number was answered and will not be resent; their replies may be forgotten.
    pub acknowledged: Xid,
    /// What is asked.
    pub request: Request,
}

/// A right to cache an inode: its attributes, for a directory its entries and their absence, for a file its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum LeaseKind {
    /// Nothing may be cached.
    None,
    /// What was read may be cached; others may too.
    Read,
    /// Size and times may be changed locally as well; nobody else caches anything. Files only.
    Write,
}

/// How a file is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum OpenMode {
    /// `O_RDONLY`
    Read,
    /// `O_WRONLY` or `O_RDWR`
    Write,
    /// `O_WRONLY|O_TRUNC` or `O_RDWR|O_TRUNC`
    Truncate,
}

/// What a client did to a file's bytes since it last said so. Carried by close, flush and the end of a recall.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct WriteUpdate {
    /// The size now, as the holder of the write lease knows it.
    pub size: u64,
    /// Blocks of 512 bytes stored, if known.
    pub blocks: Option<u64>,
    /// When it was last written.
    pub mtime: Timestamp,
}

/// The end of one open file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Close {
    /// The file.
    pub fid: Fid,
    /// Which of its opens ended; none when the metadata target knew of none.
    pub open: Option<OpenId>,
    /// What was written and not told yet.
    pub update: Option<WriteUpdate>,
    /// The client believes in no write lease on the file any more, and keeps `Read` if it holds anything.
    pub lower: bool,
}

/// What to create under a name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum NewInode {
    /// A regular file; opened at once when a mode is given (atomic `O_CREAT`).
    Regular {
        /// How to open it.
        open: Option<OpenMode>,
    },
    /// An empty directory.
    Directory,
    /// A symbolic link with this target, any bytes but NUL.
    Symlink {
        /// Where it points.
        target: Vec<u8>,
    },
    /// A fifo, socket or device node.
    Node {
        /// Which of them.
        kind: FileKind,
        /// `st_rdev` of a device node.
        device: u64,
    },
}

/// `RENAME_*` flags of `renameat2(2)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RenameMode {
    /// The target name is replaced when it exists.
    Replace,
    /// Fails with `EEXIST` when it exists.
    NoReplace,
    /// Both names change places.
    Exchange,
}

/// `setxattr(2)` flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum XattrMode {
    /// Create or replace.
    Set,
    /// Fails with `EEXIST` when present.
    Create,
    /// Fails with `ENODATA` when absent.
    Replace,
}

/// Removal of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RemoveKind {
    /// `unlink`
    File,
    /// `rmdir`
    Directory,
}

/// A range of bytes of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ByteRange {
    /// First byte.
    pub start: u64,
    /// First byte behind it.
    pub end: u64,
}

/// An object target as clients need it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetEntry {
    /// Its index.
    pub index: OstIndex,
    /// `host:port` where it answers.
    pub address: String,
    /// Its limit in bytes.
    pub capacity: u64,
    /// Whether there is anybody to ask.
    pub state: TargetState,
}

/// Whether an object target serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum TargetState {
    /// It does, or will again.
    Active,
    /// It was removed together with its bytes, for ever: an index is never given twice.
    Removed,
}

/// All that may be asked. Names are raw bytes without `/` and NUL, 1 to 255 long.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "fields are explained by the variant and by their types")]
pub enum Request {
    // -- sessions
    /// Opens a session, or finds the one this client has. Answered by `Connected`. All its leases are void, and files that
    /// it had open under them without saying so are noted as open for reading from here on.
    Connect { client: ClientId, opens: Vec<(Fid, OpenId)> },
    /// Says that the client lives. Answered by `Done`.
    Renew,
    /// Ends the session and gives up everything it holds.
    Disconnect,
    // -- names
    /// Finds a name. Grants read leases on the directory and on what was found. Answered by `Opened` without an `open` for
    /// regular files, by `Entry` for the rest, or by the fault `NotFound`, which may be cached under the directory's lease.
    Lookup { parent: Fid, name: Vec<u8> },
    /// Lists up to `limit` entries behind `after` (0 = from the start) with attributes. Answered by `Entries`.
    /// Attributes of an entry without a lease may be out of date; whoever wants them asks with `GetAttr`.
    ReadDirectory { fid: Fid, after: u64, limit: u32 },
    /// What lookups of up to `limit` names behind `after` (0 = from the start) would find, for a client that makes many. Leaves
    /// out what would have to be waited for. Answered by `Ahead`.
    LookAhead { fid: Fid, after: u64, limit: u32 },
    /// Creates a name. With `exclusive` unset and a regular file there, opens that. Answered by `Opened` or `Entry`.
    Create { parent: Fid, name: Vec<u8>, mode: u32, owner: Owner, exclusive: bool, inode: NewInode },
    /// Removes a name. Answered by `Removed`.
    Remove { parent: Fid, name: Vec<u8>, kind: RemoveKind },
    /// Moves a name, all POSIX cases. Answered by `Done`.
    Rename { from: (Fid, Vec<u8>), to: (Fid, Vec<u8>), mode: RenameMode },
    /// Adds a name to an inode that is not a directory. Answered by `Entry`.
    Link { fid: Fid, parent: Fid, name: Vec<u8> },
    /// Reads a symbolic link. Answered by `Bytes`.
    ReadLink { fid: Fid },
    // -- attributes
    /// Answered by `Entry`; grants a read lease.
    GetAttr { fid: Fid },
    /// Changes attributes. A change of size cuts or extends the file. Answered by `Entry`.
    SetAttr { fid: Fid, change: AttrChange },
    /// Answered by `Bytes`, or the fault `NoData`.
    GetXattr { fid: Fid, name: Vec<u8> },
    /// Answered by `Names`.
    ListXattr { fid: Fid },
    /// Answered by `Done`.
    SetXattr { fid: Fid, name: Vec<u8>, value: Vec<u8>, mode: XattrMode },
    /// Answered by `Done`, or the fault `NoData`.
    RemoveXattr { fid: Fid, name: Vec<u8> },
    // -- open files
    /// Opens a regular file. Answered by `Opened`. Under a lease a client may open for reading without asking; it then says
    /// so before it gives the lease back, and before it removes a name of the file.
    Open { fid: Fid, mode: OpenMode },
    /// Closes files. Answered by `Done`. A close of what is not open changes nothing.
    Close { closes: Vec<Close> },
    /// Asks for a lease on an inode. Answered by `Opened` without an `open` for files, `Entry` for the rest.
    Lease { fid: Fid, kind: LeaseKind },
    /// Says what was written, keeping the lease. Answered by `Done`.
    Flush { fid: Fid, update: WriteUpdate },
    /// The client holds no more than `keep` of this inode: the answer to a recall, or of its own will. `Done`. Leases in
    /// replies to requests that it sent before are void. With `open` the file is noted as open for reading first.
    Downgrade { fid: Fid, keep: LeaseKind, update: Option<WriteUpdate>, open: Option<OpenId> },
    /// Makes every operation that was answered before durable. Answered by `Done`.
    Sync,
    /// Creates the objects of all components that touch `range`. Answered by `Layout`.
    Instantiate { fid: Fid, range: ByteRange },
    /// Brings bytes of a released file in from its repository, and waits for them. Answered by `Opened` without `open`.
    Hydrate { fid: Fid, range: ByteRange },
    // -- layouts and paths
    /// The layout of a file, or the default that a directory gives. Answered by `Layout` or `Template`.
    GetLayout { fid: Fid },
    /// Sets a directory's default, or the layout of a file that has no objects yet. `None` returns to the inherited.
    SetLayout { fid: Fid, template: Option<LayoutTemplate> },
    /// All paths of an inode from the root, without a leading slash. Answered by `Names`.
    FidToPath { fid: Fid },
    /// Counts of the file system. Answered by `Statistics`.
    Statistics,
    /// The object targets. Answered by `Targets`.
    Targets,
    // -- administrators
    /// Adds an object target or says where it answers now; refused with `Invalid` for one that was removed. Answered by `Done`.
    RegisterTarget { target: TargetEntry },
    /// Notes that an object target goes, with its bytes: no file gets objects there, and whoever wants bytes that only it had
    /// is refused with `Lost`. Answered by `Done`.
    RemoveTarget { index: OstIndex },
    /// Sets the default layout of the file system. Answered by `Done`.
    SetDefaultLayout { template: LayoutTemplate },
    /// Adds or changes a link; creates its directory when absent. Answered by `Done`.
    PutLink { link: Link },
    /// Removes a link; with `delete_data` also the files in its directory. Answered by `Done`.
    RemoveLink { link: LinkId, delete_data: bool },
    /// Answered by `Links`.
    Links,
    // -- movers (verbs of Lustre's copytool protocol)
    /// Takes up to `limit` actions, waiting up to `wait_ms` for the first. Answered by `Actions`.
    HsmReceive { limit: u32, wait_ms: u32 },
    /// Says which bytes are in place now. Answered by `Done`.
    HsmProgress { progress: HsmProgress },
    /// Ends an action. Answered by `Done`.
    HsmEnd { end: HsmEnd },
    /// Inserts names that a listing found, as released files, and does with what it did not find as the link says. Without
    /// `listed` the entries are how things are at this moment. Answered by `Imported`.
    Import { link: LinkId, listed: Option<Listed>, entries: Vec<ImportEntry> },
}

/// An inode with the lease that came with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its attributes.
    pub attr: Attr,
    /// The lease the client now holds on it.
    pub lease: LeaseKind,
}

/// An entry of a directory listing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DirectoryEntry {
    /// Its name.
    pub name: Vec<u8>,
    /// Position of the entry behind it; stable while the directory changes.
    pub cookie: u64,
    /// What it names.
    pub entry: Entry,
}

/// A name that was looked up ahead.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AheadEntry {
    /// The name.
    pub name: Vec<u8>,
    /// What it names.
    pub entry: Entry,
    /// Where its bytes are, of a file that has all of them in place.
    pub layout: Option<Layout>,
}

/// What a client needs to read and write a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileView {
    /// Attributes and lease.
    pub entry: Entry,
    /// Where its bytes are.
    pub layout: Layout,
    /// `None` when all bytes are in place; else the ranges that are, the rest being in the repository.
    pub present: Option<Vec<ByteRange>>,
}

/// What a metadata target answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "fields are explained by the variant and by their types")]
pub enum Reply {
    Done,
    Connected {
        session: SessionId,
        fs_name: FsName,
        lease_ms: u32,
        epoch: u64,
        targets: Vec<TargetEntry>,
    },
    Entry {
        entry: Entry,
        parent_lease: LeaseKind,
        /// The directory after a change of it.
        parent: Option<Attr>,
    },
    Entries {
        entries: Vec<DirectoryEntry>,
        end: bool,
        directory_lease: LeaseKind,
    },
    /// `next` is where to go on, if anything follows; `skipped` says that something was left out.
    Ahead {
        entries: Vec<AheadEntry>,
        next: Option<u64>,
        skipped: bool,
        directory_lease: LeaseKind,
    },
    Opened {
        view: FileView,
        open: Option<OpenId>,
        parent_lease: LeaseKind,
        /// The directory after a change of it.
        parent: Option<Attr>,
        created: bool,
    },
    /// The inode that lost a name, as it is now; `link_count` 0 when it is gone.
    Removed {
        attr: Attr,
        parent_lease: LeaseKind,
        /// The directory after a change of it.
        parent: Option<Attr>,
    },
    Bytes {
        bytes: Vec<u8>,
    },
    Names {
        names: Vec<Vec<u8>>,
    },
    Layout {
        layout: Layout,
    },
    Template {
        template: LayoutTemplate,
    },
    Statistics {
        inodes: u64,
        inodes_free: u64,
    },
    Targets {
        targets: Vec<TargetEntry>,
    },
    Links {
        links: Vec<LinkStatus>,
    },
    Actions {
        actions: Vec<HsmAction>,
    },
    Imported {
        imported: u64,
        refused: Vec<ImportRefusal>,
        /// The range is done up to this key only: the rest is to be sent again.
        rest: Option<String>,
    },
}

/// A reply or the reason there is none.
pub type Answer = Result<Reply, Fault>;

/// What a metadata target tells a client without being asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Notice {
    /// Others want the inode: drop what exceeds `keep` from every cache, then send [`Request::Downgrade`].
    Recall {
        /// The inode.
        fid: Fid,
        /// What may be kept.
        keep: LeaseKind,
    },
    /// The object targets changed.
    Targets {
        /// All of them.
        targets: Vec<TargetEntry>,
    },
    /// The session is gone; everything cached is void.
    Evicted,
}
