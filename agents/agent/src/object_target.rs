//! The process of an object target: an object store in a folder, served over the wire.
//!
//! Hosting only: how bytes are stored is `lustre_object`'s matter. Bytes move on owned threads; the connections' readers only
//! hand over.
//! Invariant: one process per folder, and only in a folder that is marked as this target's.

mod disk;
mod fence;
mod pool;
mod reaper;
mod service;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use lustre_model::control::{Compression, ProcessSpec};
use lustre_object::{ObjectStore, Options, StoreError};
use lustre_wire::{Identity, WireError, server};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use thiserror::Error;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::claim::{self, ClaimError};
use crate::{ProcessDir, ProcessDirError, disk_floor, termination};
use disk::HostDisk;
use fence::{FenceError, Fences};
use service::ObjectService;

/// Time between checkpoints: what a power loss may make inexact, and what the next start reads again.
///
/// As long as the kernel itself keeps dirty pages, so that checkpoints write little that was not due anyway.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(30);

/// Most objects kept open while nobody uses them, however many descriptors there are: about 64 MiB of memory.
///
/// Three quarters of them may be new before a checkpoint comes early, and a file that is removed before it was ever
/// written to the disk costs the disk nothing.
const OPEN_OBJECTS_MAX: u64 = 32 << 10;

/// Descriptors for as many connections as the wire takes, and for folders.
const OTHER_DESCRIPTORS_MAX: u64 = 5120;

/// Fewest, however few descriptors there are.
const OPEN_OBJECTS_MIN: u64 = 64;

/// What the process makes in its folder.
const OWN: [&str; 6] = ["ledger", "intents-0", "intents-1", "objects", fence::FILE, disk::PROBE];

/// The process of an object target ended because of this.
#[derive(Debug, Error)]
pub enum ObjectTargetError {
    /// The process's folder does not serve.
    #[error("the object target's process cannot use its folder")]
    ProcessDir(#[from] ProcessDirError),
    /// The spec is another kind of process's.
    #[error("the spec is not an object target's")]
    NotAnObjectTarget,
    /// The target's folder is not its own.
    #[error("the object target cannot have its folder")]
    Claim(#[from] ClaimError),
    /// Another process serves the folder.
    #[error("{} is served by another process", .path.display())]
    InUse {
        /// The folder.
        path: PathBuf,
    },
    /// The folder's file system refuses what the store needs.
    #[error("{} cannot hold objects", .path.display())]
    Disk {
        /// The folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The store cannot be opened or closed.
    #[error("the object store in {} failed", .path.display())]
    Store {
        /// The folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: StoreError,
    },
    /// Fences cannot be read.
    #[error("the object target's fences are not to be had")]
    Fences(#[from] FenceError),
    /// Nobody can connect.
    #[error("the object target cannot listen on {address}")]
    Listen {
        /// Where.
        address: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Serving ended.
    #[error("the object target's server failed")]
    Serve(#[from] WireError),
    /// The system refuses something basic.
    #[error("the object target's process cannot run")]
    Io(#[from] io::Error),
}

/// What the spec says of an object target.
struct Target {
    path: PathBuf,
    listen: String,
    capacity: u64,
    compression: Compression,
}

/// Serves the object target of a process's spec until the process is asked to end.
pub fn run(dir: &ProcessDir) -> Result<(), ObjectTargetError> {
    let spec = dir.spec()?;
    claim::claim(dir, &spec)?;
    let ProcessSpec::Object { target, path, listen, capacity, compression, .. } = spec else {
        return Err(ObjectTargetError::NotAnObjectTarget);
    };
    let wanted = Target { path: PathBuf::from(path), listen, capacity, compression };
    let identity = dir.identity()?;
    for name in OWN {
        let own = wanted.path.join(name);
        if !own.exists() {
            dir.creates(&own)?;
        }
    }
    let store = Arc::new(open(&wanted)?);
    let fences = Fences::load(&wanted.path)?;
    info!(%target, path = %wanted.path.display(), "the object store is open");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let served = runtime.block_on(serve(dir, &wanted, identity, (&store, fences)));
    drop(runtime);
    let closed = store.close().map_err(|source| ObjectTargetError::Store { path: wanted.path, source });
    served.and(closed)
}

fn open(wanted: &Target) -> Result<ObjectStore<HostDisk>, ObjectTargetError> {
    let path = &wanted.path;
    let disk = match HostDisk::open(path) {
        Ok(disk) => disk,
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            return Err(ObjectTargetError::InUse { path: path.clone() });
        }
        Err(source) => return Err(ObjectTargetError::Disk { path: path.clone(), source }),
    };
    let total = disk.total().map_err(|source| ObjectTargetError::Disk { path: path.clone(), source })?;
    let options = Options {
        capacity: wanted.capacity,
        reserve: disk_floor::of_objects(total),
        compression: wanted.compression,
        open_objects_max: open_objects_max(),
    };
    ObjectStore::open(disk, options).map_err(|source| ObjectTargetError::Store { path: path.clone(), source })
}

/// Raises the limit of descriptors as far as it goes, and gives objects what connections leave, at least half.
fn open_objects_max() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        warn!(%error, "the limit of open files stays as it is");
    }
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let left = files.saturating_sub(OTHER_DESCRIPTORS_MAX).max(files / 2);
    let most = left.clamp(OPEN_OBJECTS_MIN, OPEN_OBJECTS_MAX);
    usize::try_from(most).unwrap_or(usize::MAX)
}

async fn serve(
    dir: &ProcessDir,
    wanted: &Target,
    identity: Identity,
    (store, fences): (&Arc<ObjectStore<HostDisk>>, Fences),
) -> Result<(), ObjectTargetError> {
    let listener = TcpListener::bind(&wanted.listen)
        .await
        .map_err(|source| ObjectTargetError::Listen { address: wanted.listen.clone(), source })?;
    let service = Arc::new(ObjectService::start(Arc::clone(store), fences)?);
    let stop = CancellationToken::new();
    let serving = tokio::spawn(server::serve(listener, identity, Arc::clone(&service), stop.clone()));
    let mut checkpoints = tokio::spawn(checkpoints(Arc::clone(store)));
    dir.ready()?;
    let ended = tokio::select! {
        asked = termination::requested() => asked.map_err(ObjectTargetError::from),
        Ok(source) = &mut checkpoints => Err(ObjectTargetError::Store { path: wanted.path.clone(), source }),
    };
    stop.cancel();
    checkpoints.abort();
    let served = serving.await.map_err(io::Error::other)?;
    tokio::task::spawn_blocking(move || service.finish()).await.map_err(io::Error::other)?;
    ended.and(Ok(served?))
}

/// Makes checkpoints; returns when a full disk has stopped the store, which goes on when it is opened anew.
async fn checkpoints(store: Arc<ObjectStore<HostDisk>>) -> StoreError {
    let mut timer = tokio::time::interval(CHECKPOINT_EVERY);
    timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        timer.tick().await;
        let store = Arc::clone(&store);
        let made = tokio::task::spawn_blocking(move || store.checkpoint()).await;
        if let Ok(Err(failed)) = made {
            error!(
                error = crate::supervisor::chain(&failed),
                "no checkpoint was made; the target takes no writes"
            );
            if failed.is_stopped_by_full_disk() {
                return failed;
            }
            // A disk that fails is left alone until somebody has looked at it.
            return std::future::pending().await;
        }
    }
}

/// Says where a path of the store lies, for errors.
fn named(root: &Path, path: &str, error: rustix::io::Errno) -> io::Error {
    let error = io::Error::from(error);
    io::Error::new(error.kind(), format!("{}: {error}", root.join(path).display()))
}
