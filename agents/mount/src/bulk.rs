//! Connections to object targets, and the transfer of striped bytes over them.
//!
//! Connections are made when they are first needed and made again when they break; reads and writes of bytes may be
//! repeated freely, for nobody else writes them while our lease stands, and after it fell our epoch is refused.
//! Invariant: a write is acknowledged only when every object target involved acknowledged its part.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use futures::future::try_join_all;
use lustre_model::fault::Fault;
use lustre_model::id::{ClientId, FsName, TargetId, TargetKind};
use lustre_model::layout::{Layout, NotInstantiated, ObjectId, OstIndex, Stripe};
use lustre_model::metadata::{TargetEntry, TargetState};
use lustre_model::object::{Reply, Request, TRANSFER_MAX};
use lustre_model::space::OwnRoom;
use lustre_wire::client::Connection;
use lustre_wire::{Identity, Object, Subject};

use crate::extent::{Extent, extents, gather, scatter, stored_pieces, usize_of};

/// How long a transfer waits for an object target that does not answer, before it fails with `EIO`.
pub const TARGET_WAIT_MAX: Duration = Duration::from_secs(60);

/// How long one attempt to connect may take.
const CONNECT_WAIT_MAX: Duration = Duration::from_secs(5);

/// How long a target is waited for that only shall say what room it has.
const SPACE_WAIT_MAX: Duration = Duration::from_secs(2);

/// A write is cut into so many parts, so that one process that writes keeps more than one core of its targets busy with
/// checksums and compression, and its bytes on the way while the first are stored.
const WRITE_PARTS: u64 = 4;

/// Smallest part: a few chunks of an object that is compressed.
const WRITE_PART_MIN: u64 = 256 << 10;

/// Pause before a target is tried again.
const PAUSE: Duration = Duration::from_millis(50);

/// Connections to one target: each is driven by one task, which encrypts.
const CONNECTIONS: usize = 2;

/// The object targets of a cluster.
#[derive(Debug)]
pub(crate) struct Targets {
    fs_name: FsName,
    identity: Identity,
    client: ClientId,
    epoch: AtomicU64,
    known: Mutex<BTreeMap<OstIndex, Arc<Target>>>,
}

#[derive(Debug)]
struct Target {
    entry: TargetEntry,
    connections: [tokio::sync::Mutex<Option<Connection<Object>>>; CONNECTIONS],
    next: AtomicUsize,
}

impl Targets {
    pub(crate) fn new(fs_name: FsName, identity: Identity, client: ClientId) -> Self {
        Self { fs_name, identity, client, epoch: AtomicU64::new(0), known: Mutex::new(BTreeMap::new()) }
    }

    /// Takes the map of targets; connections to those that did not move stay. Says whether one was removed.
    pub(crate) fn learn(&self, targets: Vec<TargetEntry>) -> bool {
        let mut known = self.known();
        let mut removed = false;
        for entry in targets {
            let before = known.get(&entry.index);
            if before.is_some_and(|target| target.entry == entry) {
                continue;
            }
            removed |= before.is_some() && entry.state == TargetState::Removed;
            known.insert(entry.index, Arc::new(Target::new(entry)));
        }
        removed
    }

    /// Takes the epoch of a session; a new one needs new connections.
    pub(crate) fn learn_epoch(&self, epoch: u64) {
        if self.epoch.swap(epoch, Ordering::AcqRel) == epoch {
            return;
        }
        let mut known = self.known();
        let entries: Vec<TargetEntry> = known.values().map(|target| target.entry.clone()).collect();
        known.clear();
        known.extend(entries.into_iter().map(|entry| (entry.index, Arc::new(Target::new(entry)))));
    }

    /// All targets that there are.
    pub(crate) fn entries(&self) -> Vec<TargetEntry> {
        let entries = self.known().values().map(|target| target.entry.clone()).collect::<Vec<_>>();
        entries.into_iter().filter(|entry| entry.state == TargetState::Active).collect()
    }

    /// Reads a range of a file; what was never written reads as zeros.
    pub(crate) async fn read(&self, layout: &Layout, range: Range<u64>) -> Result<Bytes, Fault> {
        let extents = extents(&stored_pieces(layout, range.clone()), u64::from(TRANSFER_MAX));
        let length = usize_of(range.end - range.start);
        if let [extent] = extents.as_slice()
            && extent.length == range.end - range.start
        {
            return Ok(padded(self.read_extent(extent).await?, length));
        }
        let stored = try_join_all(extents.iter().map(|extent| self.read_extent(extent))).await?;
        let mut buffer = BytesMut::zeroed(length);
        for (extent, bytes) in extents.iter().zip(&stored) {
            scatter(extent, bytes, &mut buffer, range.start);
        }
        Ok(buffer.freeze())
    }

    /// Writes bytes of a file from `offset` on. Fails before anything is sent where objects are missing.
    pub(crate) async fn write(
        &self,
        layout: &Layout,
        offset: u64,
        data: &Bytes,
    ) -> Result<Result<(), Fault>, NotInstantiated> {
        let pieces = layout.pieces(offset..offset + data.len() as u64)?;
        let extents = extents(&pieces, part_of(data.len() as u64));
        let written = try_join_all(
            extents.iter().map(|extent| self.write_extent(extent, gather(extent, data, offset))),
        );
        Ok(written.await.map(drop))
    }

    /// Makes what was written to a file survive power loss.
    pub(crate) async fn sync(&self, layout: &Layout) -> Result<(), Fault> {
        let synced = by_target(layout).into_iter().map(|(target, objects)| async move {
            self.call(target, &Request::Sync { objects }, Bytes::new()).await
        });
        try_join_all(synced).await.map(drop)
    }

    /// Makes a range of a file read as zeros and gives its space back.
    pub(crate) async fn punch(&self, layout: &Layout, range: Range<u64>) -> Result<(), Fault> {
        let extents = extents(&stored_pieces(layout, range), u64::MAX);
        let punched = extents.iter().map(|extent| async move {
            let Extent { stripe, object_offset: offset, length, .. } = extent;
            let request = Request::Punch { object: stripe.object, offset: *offset, length: *length };
            self.call(stripe.target, &request, Bytes::new()).await
        });
        try_join_all(punched).await.map(drop)
    }

    /// Asks a target for its space; one that does not answer soon is not waited for.
    pub(crate) async fn space(&self, target: OstIndex) -> Result<OwnRoom, Fault> {
        let asked = tokio::time::timeout(SPACE_WAIT_MAX, self.call(target, &Request::Space, Bytes::new()));
        match asked.await.map_err(|_| Fault::TimedOut)??.0 {
            Reply::Space { capacity, used, disk, disk_free, .. } => {
                Ok(OwnRoom { used, capacity, disk, disk_free })
            }
            Reply::Done | Reply::Read | Reply::Written | Reply::Stats { .. } => Err(Fault::Io),
        }
    }

    async fn read_extent(&self, extent: &Extent) -> Result<Bytes, Fault> {
        let Stripe { target, object } = extent.stripe;
        let length = u32::try_from(extent.length).map_err(|_| Fault::Invalid)?;
        let request = Request::Read { object, offset: extent.object_offset, length };
        let (_, bytes) = self.call(target, &request, Bytes::new()).await?;
        if bytes.len() > usize_of(extent.length) { Err(Fault::Io) } else { Ok(bytes) }
    }

    async fn write_extent(&self, extent: &Extent, data: Bytes) -> Result<(), Fault> {
        let Stripe { target, object } = extent.stripe;
        let request = Request::Write { object, offset: extent.object_offset };
        self.call(target, &request, data).await.map(drop)
    }

    /// Asks one target, again over new connections until it answers or too much time has passed.
    async fn call(&self, index: OstIndex, request: &Request, bulk: Bytes) -> Result<(Reply, Bytes), Fault> {
        let deadline = Instant::now() + TARGET_WAIT_MAX;
        let mut fenced_under = None;
        loop {
            let epoch = self.epoch.load(Ordering::Acquire);
            let target = self.known().get(&index).cloned();
            if target.as_ref().is_some_and(|target| target.entry.state == TargetState::Removed) {
                return Err(Fault::Lost);
            }
            if let Some(target) = target
                && let Some(connection) = self.connection(&target, epoch).await?
            {
                match connection.call(request, bulk.clone()).await {
                    Ok((Err(Fault::Fenced), _)) if fenced_under == Some(epoch) => return Err(Fault::Fenced),
                    // The session may have a new epoch that we are about to hear of.
                    Ok((Err(Fault::Fenced), _)) => fenced_under = Some(epoch),
                    Ok((answer, bytes)) => return answer.map(|reply| (reply, bytes)),
                    Err(error) => tracing::debug!(%error, ?index, "asking the object target again"),
                }
            }
            if Instant::now() + PAUSE > deadline {
                return Err(Fault::Unreachable);
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// A connection that is open, or `None` when there is none at this moment.
    async fn connection(&self, target: &Target, epoch: u64) -> Result<Option<Connection<Object>>, Fault> {
        let slot = target.next.fetch_add(1, Ordering::Relaxed) % CONNECTIONS;
        let mut slot = target.connections[slot].lock().await;
        if let Some(open) = slot.as_ref().filter(|open| !open.is_closed()) {
            return Ok(Some(open.clone()));
        }
        let TargetEntry { index, address, .. } = &target.entry;
        let peer = TargetId { fs_name: self.fs_name.clone(), kind: TargetKind::Ost, index: index.0 };
        let peer = Subject::target(&peer);
        let connected =
            Connection::<Object>::connect_to(address, &peer, &self.identity, CONNECT_WAIT_MAX).await;
        let connection = match connected {
            Ok((connection, _)) => connection,
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "no object target");
                return Ok(None);
            }
        };
        let request = Request::Connect { client: self.client, epoch };
        match connection.call(&request, Bytes::new()).await {
            Ok((Ok(_), _)) => {
                *slot = Some(connection.clone());
                Ok(Some(connection))
            }
            Ok((Err(Fault::Fenced), _)) | Err(_) => Ok(None),
            Ok((Err(fault), _)) => Err(fault),
        }
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<OstIndex, Arc<Target>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Target {
    fn new(entry: TargetEntry) -> Self {
        let connections = std::array::from_fn(|_| tokio::sync::Mutex::new(None));
        Self { entry, connections, next: AtomicUsize::new(0) }
    }
}

/// Bytes of the parts into which a write of so many is cut.
fn part_of(length: u64) -> u64 {
    length.div_ceil(WRITE_PARTS).next_multiple_of(WRITE_PART_MIN).min(u64::from(TRANSFER_MAX))
}

fn by_target(layout: &Layout) -> BTreeMap<OstIndex, Vec<ObjectId>> {
    let mut targets: BTreeMap<OstIndex, Vec<ObjectId>> = BTreeMap::new();
    for stripe in layout.stripes() {
        targets.entry(stripe.target).or_default().push(stripe.object);
    }
    targets
}

/// Objects end before their file does where its last bytes are a hole.
fn padded(bytes: Bytes, length: usize) -> Bytes {
    if bytes.len() >= length {
        return bytes;
    }
    let mut longer = BytesMut::zeroed(length);
    longer[..bytes.len()].copy_from_slice(&bytes);
    longer.freeze()
}
