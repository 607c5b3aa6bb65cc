//! The metadata target: its state, what goes in and what comes out.
//!
//! A request runs as one step: it checks everything, may *wait* (and then runs again from its start when what it waited
//! for happened), changes records, and replies. A request that waits holds nothing, so requests cannot deadlock; an
//! inode that somebody waits for gives no new leases, so they cannot starve either, and those who wait for one inode run
//! in the order in which they came.
//!
//! Recovery: sessions, open files, kept replies and the marks of files being written are durable. Leases are not: after a
//! restart, and after a client connected anew, it holds none. A client therefore drops its caches when its connection
//! is lost, and ignores leases in replies to requests that it sent before a `Downgrade` of the same inode. What a session had
//! open for writing before a restart nobody else gets at before it came back or was evicted: it may be writing still.
//!
//! Not here: sockets, files, clocks. Invariant: [`Target::commit`] is the only way out, and it logs before it answers.

mod allocate;
mod attributes;
mod check;
mod directory;
mod entry;
mod export;
mod file;
mod former;
mod identify;
mod import;
mod layout;
mod lease;
mod link;
mod lost;
mod mover;
mod names;
mod open;
mod orphan;
mod path;
mod reconcile;
mod rename;
mod request;
mod restore;
mod room;
mod session;
mod size;
mod truncate;
mod work;
mod xattr;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use lustre_model::attr::{Owner, Timestamp};
use lustre_model::fid::Fid;
use lustre_model::id::{ClientId, FsName};
use lustre_model::layout::{LayoutTemplate, OstIndex, Stripe};
use lustre_model::metadata::{Answer, Call, Notice, Reply, SessionId, TargetEntry, Xid};
use lustre_model::object::ObjectStat;

use crate::failure::{TargetError, Wait};
use crate::log::LogFile;
use crate::store::OrderedStore;
use crate::table::Table;

use allocate::Allocator;
pub use allocate::Space;
use file::Opened;
use lease::Holder;
use link::Links;
use request::Pending;
pub use room::Room;
use session::Session;
use size::Mark;
use truncate::Truncation;
use work::WorkQueue;

/// What a target is told when it starts.
#[derive(Debug, Clone)]
pub struct Config {
    /// The file system's name.
    pub fs_name: FsName,
    /// Layout of new files where no directory says otherwise, until an administrator sets another.
    pub default_layout: LayoutTemplate,
    /// How long a session lives without a sign of its client.
    pub lease_ms: u32,
    /// Whose the root is, directories of links, and what an import brings without an owner. Root's where the target runs as
    /// root; elsewhere nobody but its own user could ever change them.
    pub owner: Owner,
}

/// A point in time: the wall clock for timestamps, a clock that never jumps for timeouts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Moment {
    /// Wall clock.
    pub wall: Timestamp,
    /// Milliseconds since some fixed moment of this process.
    pub uptime_ms: u64,
}

/// A connection of a peer, unique in this process's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// Names a request whose reply is due, unique in this process's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestToken(pub u64);

/// Names work given to object targets, unique in this process's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(pub u64);

/// What a peer's certificate lets it ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rights {
    /// The file system.
    Client,
    /// That and the mover's verbs.
    Mover,
    /// Everything.
    Administrator,
}

/// What happens to a target.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "nearly every input is a request; boxing would cost each of them"
)]
pub enum Input {
    /// A peer asks.
    Request {
        /// On which connection.
        connection: ConnectionId,
        /// Where the reply goes.
        token: RequestToken,
        /// What the peer may ask.
        rights: Rights,
        /// What it asks.
        call: Call,
    },
    /// A connection ended.
    Disconnected {
        /// Which.
        connection: ConnectionId,
    },
    /// Work is done or failed. Statistics come in the order of a glimpse's stripes and are empty for other work.
    WorkDone {
        /// Which.
        job: JobId,
        /// What came of it.
        result: Result<Vec<ObjectStat>, lustre_model::fault::Fault>,
    },
    /// The log was synced to disk at least up to this record.
    LogSynced {
        /// As [`Output::SyncLog`] said.
        sequence: u64,
    },
    /// What object targets have room for; `None` from those that do not answer.
    Spaces {
        /// By index; targets that are left out are as they were.
        spaces: Vec<(OstIndex, Option<Space>)>,
    },
    /// How much the target's disk has left; ample until this says otherwise.
    Room {
        /// How much.
        room: Room,
    },
    /// Time passed.
    Tick,
}

/// Work for object targets. The host sends each part to the target that holds it and retries what is worth it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Work {
    /// Say how long these objects are.
    Glimpse {
        /// The objects.
        stripes: Vec<Stripe>,
    },
    /// Cut objects to these sizes. Objects that are shorter stay as they are or grow, as the target likes.
    Truncate {
        /// Objects with their new sizes.
        sizes: Vec<(Stripe, u64)>,
    },
    /// Remove objects.
    Destroy {
        /// The objects.
        stripes: Vec<Stripe>,
    },
    /// Refuse this client's requests below `epoch`, on all targets.
    Fence {
        /// Whom.
        client: ClientId,
        /// The lowest epoch that may pass.
        epoch: u64,
        /// All targets.
        targets: Vec<OstIndex>,
    },
}

/// What a target wants done.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "nearly every output is a reply; boxing would cost each of them"
)]
pub enum Output {
    /// Answer a request.
    Reply {
        /// Which.
        token: RequestToken,
        /// With what.
        answer: Answer,
    },
    /// Tell a client.
    Notice {
        /// On which connection.
        connection: ConnectionId,
        /// What.
        notice: Notice,
    },
    /// Have object targets do something, then say so with [`Input::WorkDone`].
    Work {
        /// Its name.
        job: JobId,
        /// What.
        work: Work,
    },
    /// Sync the log's file, then say so with [`Input::LogSynced`]. At most one is under way.
    SyncLog {
        /// The last record that it holds.
        sequence: u64,
    },
    /// These object targets answer at these addresses now.
    Targets {
        /// All of them.
        targets: Vec<TargetEntry>,
    },
}

/// Numbers that every commit carries when they changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
struct Counters {
    /// Next FID.
    serial: u64,
    /// Inodes there are.
    inodes: u64,
    /// Current epoch of sessions.
    epoch: u64,
    /// Last session that was opened.
    session: u64,
    /// How often the target was started.
    incarnation: u64,
}

/// Who asks, for the time of one step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Caller {
    request: request::RequestId,
    connection: ConnectionId,
    session: SessionId,
    xid: Xid,
}

/// A metadata target.
pub struct Target {
    config: Config,
    table: Table,
    now: Moment,
    outputs: Vec<Output>,
    counters: Counters,
    /// The counters as the running request found them.
    counters_kept: Counters,
    counters_committed: Counters,
    default_layout: LayoutTemplate,
    targets: BTreeMap<OstIndex, TargetEntry>,
    allocator: Allocator,
    sessions: BTreeMap<SessionId, Session>,
    /// Sessions that a start found and that have not connected since: they may have files open that only they know of.
    unheard: BTreeSet<SessionId>,
    clients: BTreeMap<ClientId, SessionId>,
    connections: BTreeMap<ConnectionId, SessionId>,
    leases: BTreeMap<Fid, Vec<Holder>>,
    opens: BTreeMap<Fid, Vec<Opened>>,
    /// Files of which not everything is known that was written to them.
    writing: BTreeMap<Fid, Mark>,
    truncations: BTreeMap<Fid, Truncation>,
    next_request: u64,
    parked: BTreeMap<request::RequestId, Pending>,
    waiting: BTreeMap<Wait, VecDeque<request::RequestId>>,
    ready: VecDeque<request::RequestId>,
    in_flight: BTreeMap<(SessionId, Xid), request::RequestId>,
    work: WorkQueue,
    links: Links,
    room: Room,
    /// When a store that failed is opened anew.
    catch_up_at_ms: u64,
}

impl Target {
    /// Opens a target over its store and log, or makes an empty file system when both are empty.
    pub fn open(
        config: Config,
        store: Box<dyn OrderedStore>,
        log: Box<dyn LogFile>,
        now: Moment,
    ) -> Result<Self, TargetError> {
        let default_layout = config.default_layout.clone();
        let mut target = Self {
            config,
            table: Table::open(store, log)?,
            now,
            outputs: Vec::new(),
            counters: Counters::default(),
            counters_kept: Counters::default(),
            counters_committed: Counters::default(),
            default_layout,
            targets: BTreeMap::new(),
            allocator: Allocator::default(),
            sessions: BTreeMap::new(),
            unheard: BTreeSet::new(),
            clients: BTreeMap::new(),
            connections: BTreeMap::new(),
            leases: BTreeMap::new(),
            opens: BTreeMap::new(),
            writing: BTreeMap::new(),
            truncations: BTreeMap::new(),
            next_request: 0,
            parked: BTreeMap::new(),
            waiting: BTreeMap::new(),
            ready: VecDeque::new(),
            in_flight: BTreeMap::new(),
            work: WorkQueue::default(),
            links: Links::default(),
            room: Room::Ample,
            catch_up_at_ms: 0,
        };
        target.load_settings()?;
        target.load_sessions()?;
        target.load_links()?;
        target.recover_files()?;
        target.table.commit()?;
        Ok(target)
    }

    /// Takes one input. Its effects are visible to later inputs at once, and to the world after [`Target::commit`].
    pub fn handle(&mut self, now: Moment, input: Input) -> Result<(), TargetError> {
        self.now = now;
        match input {
            Input::Request { connection, token, rights, call } => {
                self.accept((connection, token), rights, call)?;
            }
            Input::Disconnected { connection } => self.disconnected(connection),
            Input::WorkDone { job, result } => self.work_done(job, result)?,
            Input::LogSynced { sequence } => self.log_synced(sequence)?,
            Input::Spaces { spaces } => self.allocator.hear(spaces),
            Input::Room { room } => self.set_room(room)?,
            Input::Tick => self.tick()?,
        }
        self.run_ready()
    }

    /// Writes what changed to the log and returns everything that may leave now.
    ///
    /// After a [`TargetError::is_full`] everything waits for a later commit, and nobody was told anything.
    pub fn commit(&mut self) -> Result<Vec<Output>, TargetError> {
        self.step_inheritance()?;
        self.pump_exports()?;
        self.serve_movers()?;
        self.run_ready()?;
        self.start_destroying();
        if self.counters != self.counters_committed {
            self.table.put(crate::key::setting("counters"), &self.counters)?;
            self.counters_committed = self.counters;
        }
        self.table.commit()?;
        self.start_sync();
        Ok(std::mem::take(&mut self.outputs))
    }

    fn tick(&mut self) -> Result<(), TargetError> {
        self.evict_silent()?;
        self.retry_work()?;
        self.tick_links();
        self.mend_store()?;
        self.wake(Wait::Turn);
        Ok(())
    }

    /// Makes what the running request did so far permanent, whatever becomes of it.
    fn keep(&mut self) {
        self.table.keep();
        self.counters_kept = self.counters;
    }

    /// Undoes what the running request did since it began or last called [`Target::keep`].
    fn revert(&mut self) {
        self.table.revert();
        self.counters = self.counters_kept;
    }

    /// The FID of a new inode.
    fn new_fid(&mut self) -> Fid {
        let fid = Fid::from_serial(self.counters.serial);
        self.counters.serial += 1;
        fid
    }

    fn reply_entries(&self) -> Reply {
        Reply::Targets { targets: self.targets.values().cloned().collect() }
    }
}
