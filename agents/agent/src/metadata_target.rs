//! The process of a metadata target: `lustre_metadata`'s state machine over fjall and a log file, served over the wire.
//!
//! ```text
//! connections ──► events ──► writer, driven by who brings events: handles what is queued, commits once, sends everything
//!                   ▲                                          │          │
//!                   └── results ◄── object targets ◄───────────┘          └──► log syncer, which answers as an event
//! ```
//! Hosting only: what a request means is `lustre_metadata`'s matter.
//! Invariant: one process per folder, and only in a folder that is marked as this target's.

mod host;
mod log;
mod objects;
mod reserve;
mod service;
mod store;
mod writer;

#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use lustre_metadata::{Config, Target, TargetError};
use lustre_model::attr::Owner;
use lustre_model::control::ProcessSpec;
use lustre_wire::{Identity, WireError, server};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use crate::claim::{self, ClaimError};
use crate::supervisor::chain;
use crate::{ProcessDir, ProcessDirError, termination};
use host::{Ending, Host};
use log::{Current, FileLog};
use objects::Objects;
use reserve::{BALLAST, Reserve};
use service::MetadataService;
use store::FjallStore;
use writer::{Clock, Event, Writer};

/// How long a client may be silent before it is evicted.
const LEASE_MS: u32 = 15_000;

/// How long the last answers may take when the process ends.
const GRACE: Duration = Duration::from_secs(2);

/// Fewest threads that serve connections.
const THREADS_MIN: usize = 2;

/// The ordered store, the log and the lock in the target's folder.
const STORE: &str = "store";
const LOG: &str = "log";
const LOCK: &str = "lock";

/// The process of a metadata target ended because of this.
#[derive(Debug, Error)]
pub enum MetadataTargetError {
    /// The process's folder does not serve.
    #[error("the metadata target's process cannot use its folder")]
    ProcessDir(#[from] ProcessDirError),
    /// The spec is another kind of process's.
    #[error("the spec is not a metadata target's")]
    NotAMetadataTarget,
    /// The target's folder is not its own.
    #[error("the metadata target cannot have its folder")]
    Claim(#[from] ClaimError),
    /// Another process serves the folder.
    #[error("{} is served by another process", .path.display())]
    InUse {
        /// The folder.
        path: PathBuf,
    },
    /// The ordered store cannot be opened.
    #[error("the store in {} cannot be opened", .path.display())]
    Store {
        /// The folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: fjall::Error,
    },
    /// The target cannot start or go on.
    #[error("the metadata target in {} failed", .path.display())]
    Target {
        /// The folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: TargetError,
    },
    /// Nobody can connect.
    #[error("the metadata target cannot listen on {address}")]
    Listen {
        /// Where.
        address: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Serving ended.
    #[error("the metadata target's server failed")]
    Serve(#[from] WireError),
    /// The system refuses something basic.
    #[error("the metadata target's process cannot run")]
    Io(#[from] io::Error),
}

/// Serves the metadata target of a process's spec until the process is asked to end.
pub fn run(dir: &ProcessDir) -> Result<(), MetadataTargetError> {
    let spec = dir.spec()?;
    claim::claim(dir, &spec)?;
    let ProcessSpec::Metadata { target, path, listen, default_layout } = spec else {
        return Err(MetadataTargetError::NotAMetadataTarget);
    };
    let path = PathBuf::from(path);
    let identity = dir.identity()?;
    for name in [STORE, LOG, LOCK, BALLAST] {
        let own = path.join(name);
        if !own.exists() {
            dir.creates(&own)?;
        }
    }
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let fs_name = target.fs_name.clone();
    let config = Config { fs_name, default_layout, lease_ms: LEASE_MS, owner: Owner { uid, gid } };
    // One thread may wait for the disk while it drives the target; another must look after the sockets.
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = cores.max(THREADS_MIN);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind(&listen)
            .await
            .map_err(|source| MetadataTargetError::Listen { address: listen.clone(), source })?;
        let stop = CancellationToken::new();
        let ended = async {
            termination::requested().await?;
            stop.cancel();
            Ok::<(), MetadataTargetError>(())
        };
        let opened = Opened { config, path, identity, listener };
        let served = serve(opened, stop.clone(), || Ok(dir.ready()?));
        tokio::select! {
            served = served => served,
            // Ends only with an error: a request to end is served to its end.
            Err(error) = ended => Err(error),
        }
    })
}

/// All that serving takes.
struct Opened {
    config: Config,
    path: PathBuf,
    identity: Identity,
    listener: TcpListener,
}

/// Serves a target until `stop`; calls `ready` when it answers.
async fn serve(
    opened: Opened,
    stop: CancellationToken,
    ready: impl FnOnce() -> Result<(), MetadataTargetError>,
) -> Result<(), MetadataTargetError> {
    let Opened { config, path, identity, listener } = opened;
    let _lock = lock(&path)?;
    let host = Host::new();
    let failed = |source| MetadataTargetError::Target { path: path.clone(), source };
    let reserve = Arc::new(Reserve::open(&path)?);
    let (clock, fs_name) = (Clock::start(), config.fs_name.clone());
    let opening = {
        let (path, reserve) = (path.clone(), Arc::clone(&reserve));
        move || open(&config, &path, &reserve, clock)
    };
    let (target, synced) = tokio::task::spawn_blocking(opening).await.map_err(io::Error::other)??;
    info!(path = %path.display(), "the metadata target is open");
    let objects = Objects::new(fs_name, identity.clone(), Arc::clone(&host));
    let syncer = writer::Syncer::start(synced, Arc::clone(&host))?;
    let writer = Writer::new(target, clock, (objects, syncer, reserve));
    // Whatever ends the writer ends the process: nothing can be answered without it.
    let ended = CancellationToken::new();
    let guard = ended.clone().drop_guard();
    let thread = std::thread::Builder::new().name("metadata".to_owned()).spawn({
        let (host, runtime) = (Arc::clone(&host), Handle::current());
        move || {
            let _guard = guard;
            host.keep(Box::new(writer), &runtime)
        }
    })?;
    let service = Arc::new(MetadataService::new(Arc::clone(&host)));
    let closing = stop.child_token();
    let serving = tokio::spawn(server::serve(listener, identity, service, closing.clone()));
    ready()?;
    tokio::select! {
        () = stop.cancelled() => {}
        () = ended.cancelled() => {}
    }
    closing.cancel();
    if let Ok(served) = tokio::time::timeout(GRACE, serving).await {
        served.map_err(io::Error::other)??;
    }
    // A target that has failed takes no more events; its failure is what its keeper tells.
    host.give(Event::Stop);
    let joined = tokio::task::spawn_blocking(move || thread.join()).await.map_err(io::Error::other)?;
    match joined.unwrap_or(Ending::Panicked) {
        Ending::Stopped => Ok(()),
        Ending::Failed(source) => Err(failed(source)),
        Ending::Panicked => Err(io::Error::other("the metadata writer panicked").into()),
    }
}

/// Opens the target; on a full disk with one part after the other of what is held back, until one suffices.
fn open(
    config: &Config,
    path: &Path,
    reserve: &Arc<Reserve>,
    clock: Clock,
) -> Result<(Target, Current), MetadataTargetError> {
    loop {
        match try_open(config, path, reserve, clock) {
            Err(failed) if reserve.is_short()? && reserve.yield_part()? => {
                debug!(error = chain(&failed), "the target is opened with more of its reserve");
            }
            opened => return opened,
        }
    }
}

fn try_open(
    config: &Config,
    path: &Path,
    reserve: &Arc<Reserve>,
    clock: Clock,
) -> Result<(Target, Current), MetadataTargetError> {
    let store = FjallStore::open(&path.join(STORE), Arc::clone(reserve))
        .map_err(|source| MetadataTargetError::Store { path: path.join(STORE), source })?;
    let log = FileLog::open(path.join(LOG), Arc::clone(reserve));
    let synced = log.current();
    let opened = Target::open(config.clone(), Box::new(store), Box::new(log), clock.now());
    Ok((opened.map_err(|source| MetadataTargetError::Target { path: path.to_owned(), source })?, synced))
}

/// Makes this process the only one that serves a folder.
fn lock(path: &Path) -> Result<fs_err::File, MetadataTargetError> {
    let file = fs_err::OpenOptions::new().create(true).append(true).open(path.join(LOCK))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(Errno::WOULDBLOCK) => Err(MetadataTargetError::InUse { path: path.to_owned() }),
        Err(error) => Err(io::Error::from(error).into()),
    }
}
