//! Work at object targets: connections kept, parts sent to the target that holds them, tried again when that may help.
//!
//! Which work there is, and what its outcome means, is `lustre_metadata`'s matter. Beside it the targets are asked again and
//! again what room they have, so that new files go where there is some, and not to targets that do not answer.
//! Invariant: every job that was started ends with exactly one result.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::future::{join_all, try_join_all};
use lustre_metadata::{JobId, Space, Work};
use lustre_model::attr::Timestamp;
use lustre_model::fault::Fault;
use lustre_model::id::{FsName, TargetId, TargetKind};
use lustre_model::layout::{ObjectId, OstIndex, Stripe};
use lustre_model::metadata::{TargetEntry, TargetState};
use lustre_model::object::{ObjectStat, Reply, Request};
use lustre_wire::client::Connection;
use lustre_wire::{Identity, Object, Subject};
use tokio::runtime::Handle;
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinHandle;
use tracing::warn;

use super::host::Host;
use super::writer::Event;

/// Time to connect.
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// Time for one call.
const CALL_MAX: Duration = Duration::from_secs(30);
/// Attempts of one call when the target cannot be reached.
const ATTEMPTS_MAX: u32 = 20;
/// Pause between attempts.
const PAUSE: Duration = Duration::from_millis(250);
/// Most objects named in one call.
const OBJECTS_MAX: usize = 1024;
/// Time between two questions for room; Lustre's is as long (`qos_maxage`).
const SPACE_EVERY: Duration = Duration::from_secs(5);
/// Time for one such question, connecting included.
const SPACE_MAX: Duration = Duration::from_secs(2);
/// Most jobs under way.
const JOBS_MAX: usize = 256;

/// The object targets as the metadata target reaches them.
pub(super) struct Objects {
    shared: Arc<Shared>,
    host: Arc<Host>,
    runtime: Handle,
    places: Arc<Semaphore>,
    watching: JoinHandle<()>,
}

struct Shared {
    fs_name: FsName,
    identity: Identity,
    targets: Mutex<BTreeMap<OstIndex, TargetEntry>>,
    /// There are other targets than before.
    changed: Notify,
    connections: Mutex<BTreeMap<OstIndex, Connection<Object>>>,
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Objects {
    /// Must be called within a runtime, which does the work.
    pub(super) fn new(fs_name: FsName, identity: Identity, host: Arc<Host>) -> Self {
        let shared = Arc::new(Shared {
            fs_name,
            identity,
            targets: Mutex::default(),
            changed: Notify::new(),
            connections: Mutex::default(),
        });
        let watching = tokio::spawn(watch_space(Arc::clone(&shared), Arc::clone(&host)));
        let places = Arc::new(Semaphore::new(JOBS_MAX));
        Self { shared, host, runtime: Handle::current(), places, watching }
    }

    /// Takes note of where the targets answer.
    pub(super) fn set_targets(&self, targets: Vec<TargetEntry>) {
        let mut known = held(&self.shared.targets);
        for target in targets {
            let index = target.index;
            if known.insert(index, target.clone()).is_some_and(|before| before != target) {
                held(&self.shared.connections).remove(&index);
            }
        }
        self.shared.changed.notify_one();
    }

    /// Starts a job; its result comes as an event.
    pub(super) fn start(&self, job: JobId, work: Work) {
        let (shared, host) = (Arc::clone(&self.shared), Arc::clone(&self.host));
        let places = Arc::clone(&self.places);
        self.runtime.spawn(async move {
            let place = places.acquire_owned().await;
            let result = shared.perform(&work).await;
            drop(place);
            if let Err(fault) = &result {
                warn!(%fault, "work at the object targets failed");
            }
            host.give(Event::WorkDone { job, result });
        });
    }
}

impl Drop for Objects {
    fn drop(&mut self) {
        self.watching.abort();
    }
}

/// Asks all targets for their room, for ever.
async fn watch_space(shared: Arc<Shared>, host: Arc<Host>) {
    loop {
        let targets: Vec<OstIndex> = {
            let known = held(&shared.targets);
            let active = known.values().filter(|target| target.state == TargetState::Active);
            active.map(|target| target.index).collect()
        };
        let asked = targets.into_iter().map(|target| {
            let shared = &shared;
            async move { (target, tokio::time::timeout(SPACE_MAX, shared.space(target)).await.ok().flatten()) }
        });
        let spaces = join_all(asked).await;
        if !spaces.is_empty() {
            host.give(Event::Spaces { spaces });
        }
        // Others are asked at once.
        let _ = tokio::time::timeout(SPACE_EVERY, shared.changed.notified()).await;
    }
}

impl Shared {
    /// Asks a target once.
    async fn space(&self, target: OstIndex) -> Option<Space> {
        let connection = self.connection(target).await?;
        match connection.call(&Request::Space, Bytes::new()).await {
            Ok((Ok(Reply::Space { capacity, used, .. }), _)) => {
                Some(Space { capacity, free: capacity.saturating_sub(used) })
            }
            Ok(_) | Err(_) => None,
        }
    }

    fn is_removed(&self, target: OstIndex) -> bool {
        held(&self.targets).get(&target).is_some_and(|target| target.state == TargetState::Removed)
    }

    async fn perform(&self, work: &Work) -> Result<Vec<ObjectStat>, Fault> {
        match work {
            Work::Glimpse { stripes } => self.glimpse(stripes).await,
            Work::Truncate { sizes } => {
                let calls = sizes.iter().map(|(stripe, size)| async move {
                    let request = Request::Truncate { object: stripe.object, size: *size };
                    self.call(stripe.target, &request).await
                });
                try_join_all(calls).await?;
                Ok(Vec::new())
            }
            Work::Destroy { stripes } => {
                let calls = grouped(stripes).into_iter().map(|(target, part)| async move {
                    let objects = part.into_iter().map(|(_, object)| object).collect();
                    self.call(target, &Request::Destroy { objects }).await
                });
                try_join_all(calls).await?;
                Ok(Vec::new())
            }
            Work::Fence { client, epoch, targets } => {
                let request = Request::Fence { client: *client, epoch: *epoch };
                try_join_all(targets.iter().map(|target| self.call(*target, &request))).await?;
                Ok(Vec::new())
            }
        }
    }

    async fn glimpse(&self, stripes: &[Stripe]) -> Result<Vec<ObjectStat>, Fault> {
        let calls = grouped(stripes).into_iter().map(|(target, part)| async move {
            let objects = part.iter().map(|(_, object)| *object).collect();
            match self.call(target, &Request::Stat { objects }).await? {
                Reply::Stats { stats } if stats.len() == part.len() => {
                    Ok(part.into_iter().map(|(position, _)| position).zip(stats).collect::<Vec<_>>())
                }
                // Removed: of its part of the file nothing is known.
                Reply::Done => Ok(Vec::new()),
                Reply::Stats { .. } | Reply::Read | Reply::Written | Reply::Space { .. } => Err(Fault::Io),
            }
        });
        let never = Timestamp { seconds: 0, nanoseconds: 0 };
        let mut all = vec![ObjectStat { size: 0, blocks: 0, mtime: never }; stripes.len()];
        for (position, stat) in try_join_all(calls).await?.into_iter().flatten() {
            if let Some(place) = all.get_mut(position) {
                *place = stat;
            }
        }
        Ok(all)
    }

    /// Calls a target, again and again while it cannot be reached. What was removed has nothing that could be cut or
    /// destroyed.
    async fn call(&self, target: OstIndex, request: &Request) -> Result<Reply, Fault> {
        for _ in 0..ATTEMPTS_MAX {
            if self.is_removed(target) {
                return Ok(Reply::Done);
            }
            if let Some(connection) = self.connection(target).await {
                let called = tokio::time::timeout(CALL_MAX, connection.call(request, Bytes::new())).await;
                match called {
                    Ok(Ok((answer, _))) => return answer,
                    Ok(Err(error)) => warn!(target = target.0, %error, "an object target did not answer"),
                    Err(_) => warn!(target = target.0, "an object target did not answer in time"),
                }
                held(&self.connections).remove(&target);
            }
            tokio::time::sleep(PAUSE).await;
        }
        Err(Fault::Unreachable)
    }

    async fn connection(&self, target: OstIndex) -> Option<Connection<Object>> {
        let known = held(&self.connections).get(&target).cloned();
        if let Some(connection) = known.filter(|connection| !connection.is_closed()) {
            return Some(connection);
        }
        let TargetEntry { address, .. } = held(&self.targets).get(&target).cloned()?;
        let id = TargetId { fs_name: self.fs_name.clone(), kind: TargetKind::Ost, index: target.0 };
        let peer = Subject::target(&id);
        match Connection::connect_to(&address, &peer, &self.identity, CONNECT_MAX).await {
            Ok((connection, _)) => {
                held(&self.connections).insert(target, connection.clone());
                Some(connection)
            }
            Err(error) => {
                warn!(target = target.0, address, %error, "an object target cannot be reached");
                None
            }
        }
    }
}

/// Objects with their positions, by target, in parts that one call may name.
fn grouped(stripes: &[Stripe]) -> Vec<(OstIndex, Vec<(usize, ObjectId)>)> {
    let mut by_target: BTreeMap<OstIndex, Vec<(usize, ObjectId)>> = BTreeMap::new();
    for (position, stripe) in stripes.iter().enumerate() {
        by_target.entry(stripe.target).or_default().push((position, stripe.object));
    }
    let parts = |(target, all): (OstIndex, Vec<(usize, ObjectId)>)| {
        all.chunks(OBJECTS_MAX).map(|part| (target, part.to_vec())).collect::<Vec<_>>()
    };
    by_target.into_iter().flat_map(parts).collect()
}
