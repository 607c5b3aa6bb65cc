//! The client of a cluster: one session, its object targets, and what is cached of both.
//!
//! Usable without a mount: whoever moves data reads and writes striped bytes through it. What the operations on names and
//! files do is in the files below.
//! Invariant: every answer of the metadata target passes through [`Core::hear`], which knows what may be kept of it.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use lustre_fuse::Notifier;
use lustre_model::attr::{Attr, Timestamp};
use lustre_model::fault::Fault;
use lustre_model::fid::Fid;
use lustre_model::id::{ClientId, FsName};
use lustre_model::layout::{Layout, NotInstantiated};
use lustre_model::metadata::{Entry, FileView, OpenId, Reply, Request};
use lustre_wire::Identity;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::bulk::Targets;
use crate::close::{Closing, tell_closes};
use crate::inode::{Heard, Inode};
use crate::lease::{Stamp, Ticket};
use crate::session::{ConnectError, Session};

/// Inodes that are kept; beyond it those that nobody uses are given up.
const INODES_MAX: usize = 400_000;

/// A client. Clones share the session; it ends with [`Client::close`].
#[derive(Debug, Clone)]
pub struct Client {
    pub(crate) core: Arc<Core>,
}

/// What all operations share.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) session: Arc<Session>,
    pub(crate) targets: Targets,
    pub(crate) fs_name: FsName,
    /// What tells the kernel to forget, once there is a mount.
    pub(crate) kernel: OnceLock<Notifier>,
    /// Whether the kernel may remember names: only where it can be told to forget them without waiting.
    pub(crate) names_expire: AtomicBool,
    /// Until when, in nanoseconds of the clock of [`Session::standing`], names are not given to the kernel.
    pub(crate) contended: AtomicU64,
    pub(crate) runtime: Handle,
    /// What was closed and is to be told.
    pub(crate) closings: mpsc::UnboundedSender<Closing>,
    inodes: Mutex<Inodes>,
    stop: CancellationToken,
}

#[derive(Debug, Default)]
struct Inodes {
    known: HashMap<Fid, Arc<Inode>>,
    /// When some were last given up.
    swept: Stamp,
    sweep_at: usize,
}

/// An inode as it is answered to the kernel.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen {
    pub(crate) attr: Attr,
    /// How long the attributes may be believed.
    pub(crate) attr_valid: Duration,
    /// How long the name may be believed.
    pub(crate) name_valid: Duration,
}

impl Client {
    /// Opens a session with the metadata target at `host:port`, under the name `client`, on the current tokio runtime.
    pub async fn connect(metadata: &str, identity: Identity, client: ClientId) -> Result<Self, ConnectError> {
        let (session, welcome, notices) = Session::open(metadata, identity.clone(), client).await?;
        let targets = Targets::new(welcome.fs_name.clone(), identity, client);
        let _ = targets.learn(welcome.targets);
        targets.learn_epoch(welcome.epoch);
        let (closings, closed) = mpsc::unbounded_channel();
        let core = Arc::new(Core {
            session: Arc::clone(&session),
            targets,
            fs_name: welcome.fs_name,
            kernel: OnceLock::new(),
            names_expire: AtomicBool::new(false),
            contended: AtomicU64::new(0),
            runtime: Handle::current(),
            closings,
            inodes: Mutex::new(Inodes { sweep_at: INODES_MAX, ..Inodes::default() }),
            stop: CancellationToken::new(),
        });
        let (sender, events) = mpsc::unbounded_channel();
        let known = Arc::downgrade(&core);
        session
            .tell_unasked(Box::new(move || known.upgrade().map(|core| core.unasked()).unwrap_or_default()));
        tokio::spawn(session.keep(notices, sender, core.stop.clone()));
        tokio::spawn(Arc::clone(&core).attend(events));
        tokio::spawn(tell_closes(Arc::downgrade(&core), closed));
        Ok(Self { core })
    }

    /// The file system's name.
    pub fn fs_name(&self) -> &FsName {
        &self.core.fs_name
    }

    /// Asks the metadata target, again over new connections until it answers or
    /// [`crate::OPERATION_WAIT_MAX`] has passed. What it grants is not cached.
    pub async fn call(&self, request: &Request) -> Result<Reply, Fault> {
        self.core.session.call(request).await
    }

    /// Reads a range of a file straight from its objects; what was never written reads as zeros.
    pub async fn read_objects(&self, layout: &Layout, range: Range<u64>) -> Result<Bytes, Fault> {
        self.core.targets.read(layout, range).await
    }

    /// Writes bytes of a file straight to its objects, which must exist. Sizes are the caller's business.
    pub async fn write_objects(&self, layout: &Layout, offset: u64, data: &Bytes) -> Result<(), Fault> {
        match self.core.targets.write(layout, offset, data).await {
            Ok(written) => written,
            Err(NotInstantiated { .. }) => Err(Fault::Invalid),
        }
    }

    /// Makes what was written to a file survive power loss.
    pub async fn sync_objects(&self, layout: &Layout) -> Result<(), Fault> {
        self.core.targets.sync(layout).await
    }

    /// Ends the session.
    pub async fn close(&self) {
        self.core.stop.cancel();
        self.core.session.close().await;
    }
}

impl Core {
    /// Asks without expecting anything that may be cached.
    pub(crate) async fn call(&self, request: &Request) -> Result<Reply, Fault> {
        self.session.call(request).await
    }

    /// Asks, on the connection of `incarnation` alone; says whether there was an answer before it was lost.
    pub(crate) async fn call_within(&self, incarnation: u64, request: &Request) -> Result<bool, Fault> {
        let request = |now| (now == incarnation).then(|| request.clone());
        self.session.ask_anew(request).await.map(|answered| answered.is_some())
    }

    /// What is known of an inode.
    pub(crate) fn inode(self: &Arc<Self>, fid: Fid) -> Arc<Inode> {
        let mut inodes = self.inodes();
        let swept = inodes.swept;
        if let Some(inode) = inodes.known.get(&fid) {
            return Arc::clone(inode);
        }
        let inode = Arc::new(Inode::new(fid, swept));
        inodes.known.insert(fid, Arc::clone(&inode));
        if inodes.known.len() > inodes.sweep_at {
            self.sweep(&mut inodes);
        }
        inode
    }

    pub(crate) fn known_inode(&self, fid: Fid) -> Option<Arc<Inode>> {
        self.inodes().known.get(&fid).cloned()
    }

    pub(crate) fn all_inodes(&self) -> Vec<Arc<Inode>> {
        self.inodes().known.values().cloned().collect()
    }

    /// An answer that just came.
    pub(crate) fn hear(&self, ticket: Ticket) -> Heard {
        Heard { ticket, now: self.session.now(), standing: self.session.standing() }
    }

    /// Notes an inode that an answer showed, and how it may be answered to the kernel.
    pub(crate) fn see(self: &Arc<Self>, heard: Heard, entry: &Entry) -> Seen {
        let inode = self.inode(entry.attr.fid);
        let mut state = inode.state();
        let fresh = state.learn(heard, entry);
        let attr = state.overlay(entry.attr);
        drop(state);
        self.seen(attr, fresh)
    }

    /// The same for a file with its layout.
    pub(crate) fn see_view(self: &Arc<Self>, heard: Heard, view: &FileView) -> Seen {
        let inode = self.inode(view.entry.attr.fid);
        let mut state = inode.state();
        let fresh = state.learn_view(heard, view);
        let attr = state.overlay(view.entry.attr);
        drop(state);
        self.seen(attr, fresh)
    }

    /// Files that are open without the metadata target knowing, with what stands for them from now on.
    fn unasked(&self) -> Vec<(Fid, OpenId)> {
        let inodes = self.all_inodes();
        let stands = |inode: &Arc<Inode>| {
            let open = inode.state().stand(|| self.session.draw())?;
            Some((inode.fid, open))
        };
        inodes.iter().filter_map(stands).collect()
    }

    /// What may be answered without asking.
    pub(crate) fn cached(&self, fid: Fid) -> Option<Seen> {
        let standing = self.session.standing();
        let attr = self.known_inode(fid)?.state().cached_attr(standing)?;
        Some(self.seen(attr, true))
    }

    pub(crate) fn seen(&self, attr: Attr, fresh: bool) -> Seen {
        let attr_valid = if fresh { self.session.standing().remaining } else { Duration::ZERO };
        Seen { attr, attr_valid, name_valid: Duration::ZERO }
    }

    /// Whether others have wanted directories lately of which names are kept here.
    pub(crate) fn is_contended(&self) -> bool {
        self.session.uptime() < self.contended.load(Ordering::Relaxed)
    }

    /// How long the kernel may believe a name of a directory whose lease is held.
    pub(crate) fn name_valid(&self, parent: Fid) -> Duration {
        if !self.names_expire.load(Ordering::Relaxed) || self.is_contended() {
            return Duration::ZERO;
        }
        let standing = self.session.standing();
        let Some(inode) = self.known_inode(parent) else { return Duration::ZERO };
        let mut state = inode.state();
        if !state.lease.allows_reading(standing) {
            return Duration::ZERO;
        }
        state.give_names(true);
        standing.remaining
    }

    /// Gives up inodes that nobody uses, and their leases.
    fn sweep(self: &Arc<Self>, inodes: &mut Inodes) {
        inodes.swept = self.session.now();
        let mut idle = Vec::new();
        inodes.known.retain(|fid, inode| {
            let used = Arc::strong_count(inode) > 1 || !inode.state().is_idle();
            if !used {
                idle.push(*fid);
            }
            used
        });
        // Half as many again before the next look, so that a cache in full use is not searched for each new inode.
        inodes.sweep_at = INODES_MAX.max(inodes.known.len() + INODES_MAX / 2);
        let core = Arc::clone(self);
        self.runtime.spawn(async move { core.give_up(idle).await });
    }

    fn inodes(&self) -> MutexGuard<'_, Inodes> {
        self.inodes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The present, for times of files.
pub(crate) fn wall_clock() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp {
        seconds: i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
        nanoseconds: since.subsec_nanos(),
    }
}
