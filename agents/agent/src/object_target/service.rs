//! Requests of the wire, given to the store: who may ask what, and what it becomes.
//!
//! Stores nothing itself.
//! Invariant: no request of a fenced session changes an object, however long it waited in a queue.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use lustre_model::attr::Timestamp;
use lustre_model::fault::Fault;
use lustre_model::layout::ObjectId;
use lustre_model::object::{Reply, Request, TRANSFER_MAX};
use lustre_object::{Behind, Disk, ObjectStore, Space, StoreError};
use lustre_wire::server::{Peer, Responder, Service};
use lustre_wire::{Object, Role};
use tracing::{debug, error, info};

use super::fence::{Fences, Session};
use super::pool::{Kind, Pool};
use super::reaper::Reaper;
use crate::supervisor::chain;

/// The store behind the wire.
pub(super) struct ObjectService<D: Disk> {
    core: Arc<Core<D>>,
    pool: Arc<Pool>,
    reaper: Arc<Reaper>,
    sessions: RwLock<HashMap<u64, Session>>,
}

/// What came of a request.
struct Outcome {
    reply: Reply,
    bytes: Bytes,
    /// The object that should be synced beside further writes.
    behind: Option<ObjectId>,
}

impl From<Reply> for Outcome {
    fn from(reply: Reply) -> Self {
        Self { reply, bytes: Bytes::new(), behind: None }
    }
}

/// What jobs on other threads share.
struct Core<D: Disk> {
    store: Arc<ObjectStore<D>>,
    fences: Fences,
}

impl<D: Disk> ObjectService<D> {
    /// Starts the threads that serve requests.
    pub fn start(store: Arc<ObjectStore<D>>, fences: Fences) -> io::Result<Self> {
        let reaper = Arc::new(Reaper::start(Arc::clone(&store))?);
        let core = Arc::new(Core { store, fences });
        Ok(Self { core, pool: Arc::new(Pool::start()?), reaper, sessions: RwLock::default() })
    }

    /// Does what was asked before, and ends the threads.
    pub fn finish(&self) {
        self.pool.finish();
        self.reaper.finish();
    }

    /// Returns whom a connection speaks for, when it may ask this.
    fn admit(&self, peer: &Peer<Object>, request: &Request) -> Result<Session, Fault> {
        if !may(peer.subject().role, request) {
            return Err(Fault::AccessDenied);
        }
        if let Request::Connect { client, epoch } = request {
            let session = Session::Client { client: *client, epoch: *epoch };
            self.core.fences.check(session)?;
            self.sessions.write().unwrap_or_else(PoisonError::into_inner).insert(peer.id(), session);
            return Ok(session);
        }
        let sessions = self.sessions.read().unwrap_or_else(PoisonError::into_inner);
        match (sessions.get(&peer.id()), peer.subject().role) {
            (Some(session), _) => Ok(*session),
            (None, Role::Target | Role::Administrator | Role::Agent) => Ok(Session::Target),
            // A connection says first for whom it speaks.
            (None, Role::Client | Role::Mover) => Err(Fault::Evicted),
        }
    }

    /// Removes objects now, and answers when it is durable.
    fn destroy(&self, objects: Vec<ObjectId>, responder: Responder<Object>) {
        let (core, reaper) = (Arc::clone(&self.core), Arc::clone(&self.reaper));
        self.pool.give(Kind::Move, move || match core.destroy(&objects) {
            Ok(()) => reaper.settle(objects, responder),
            Err(fault) => responder.send(Err(fault), Bytes::new()),
        });
    }
}

/// Says which roles may ask what.
fn may(role: Role, request: &Request) -> bool {
    match request {
        Request::Fence { .. } | Request::Destroy { .. } => role == Role::Target,
        Request::Connect { .. }
        | Request::Read { .. }
        | Request::Write { .. }
        | Request::Truncate { .. }
        | Request::Punch { .. }
        | Request::Sync { .. }
        | Request::Stat { .. } => matches!(role, Role::Target | Role::Mover | Role::Client),
        Request::Space => true,
    }
}

impl<D: Disk> Service<Object> for ObjectService<D> {
    fn disconnected(&self, peer: &Peer<Object>) {
        self.sessions.write().unwrap_or_else(PoisonError::into_inner).remove(&peer.id());
    }

    fn call(&self, peer: &Peer<Object>, request: Request, bulk: Bytes, responder: Responder<Object>) {
        let session = match self.admit(peer, &request) {
            Ok(session) => session,
            Err(fault) => {
                debug!(peer = %peer.subject(), ?request, %fault, "refused");
                return responder.send(Err(fault), Bytes::new());
            }
        };
        let kind = match &request {
            // Admitted above, and nothing is left to do.
            Request::Connect { .. } => return responder.send(Ok(Reply::Done), Bytes::new()),
            Request::Sync { .. } | Request::Fence { .. } => Kind::Sync,
            Request::Read { .. }
            | Request::Write { .. }
            | Request::Truncate { .. }
            | Request::Punch { .. }
            | Request::Stat { .. }
            | Request::Space => Kind::Move,
            Request::Destroy { objects } => return self.destroy(objects.clone(), responder),
        };
        let (core, pool) = (Arc::clone(&self.core), Arc::clone(&self.pool));
        self.pool.give(kind, move || {
            let (answer, bytes, behind) = match core.act(session, request, bulk) {
                Ok(Outcome { reply, bytes, behind }) => (Ok(reply), bytes, behind),
                Err(fault) => (Err(fault), Bytes::new(), None),
            };
            responder.send(answer, bytes);
            if let Some(object) = behind {
                pool.give(Kind::Sync, move || core.sync_early(object));
            }
        });
    }
}

impl<D: Disk> Core<D> {
    fn act(&self, session: Session, request: Request, bulk: Bytes) -> Result<Outcome, Fault> {
        let store = &self.store;
        let done = |()| Outcome::from(Reply::Done);
        match request {
            // Both are served before anything else.
            Request::Connect { .. } | Request::Destroy { .. } => Ok(done(())),
            Request::Fence { client, epoch } => self.fence(client, epoch).map(done),
            Request::Read { object, offset, length } => {
                within_transfer(u64::from(length))?;
                self.fences.check(session)?;
                let bytes =
                    store.read(object, offset, length).map_err(|error| fault("read", object, &error))?;
                Ok(Outcome { bytes, ..Reply::Read.into() })
            }
            Request::Write { object, offset } => {
                within_transfer(bulk.len() as u64)?;
                let _passage = self.fences.pass(session)?;
                let written = store.write(object, offset, &bulk, now());
                let behind = match written.map_err(|error| fault("write", object, &error))? {
                    Behind::Much => Some(object),
                    Behind::Little => None,
                };
                Ok(Outcome { behind, ..Reply::Written.into() })
            }
            Request::Truncate { object, size } => {
                let _passage = self.fences.pass(session)?;
                store
                    .truncate(object, size, now())
                    .map_err(|error| fault("truncate", object, &error))
                    .map(done)
            }
            Request::Punch { object, offset, length } => {
                let _passage = self.fences.pass(session)?;
                let range = offset..offset.saturating_add(length);
                store.punch(object, range, now()).map_err(|error| fault("punch", object, &error)).map(done)
            }
            Request::Sync { objects } => {
                self.fences.check(session)?;
                store.sync(&objects).map_err(|error| fault_of("sync", &error)).map(done)
            }
            Request::Stat { objects } => {
                self.fences.check(session)?;
                let stat = |object: &ObjectId| store.stat(*object).map_err(|e| fault("stat", *object, &e));
                let stats = objects.iter().map(stat).collect::<Result<_, Fault>>()?;
                Ok(Reply::Stats { stats }.into())
            }
            Request::Space => {
                let space = store.space().map_err(|error| fault_of("space", &error))?;
                let Space { capacity, used, objects, disk, disk_free } = space;
                Ok(Reply::Space { capacity, used, objects, disk, disk_free }.into())
            }
        }
    }

    /// Syncs what nobody asked to have synced yet. A failure stops the store, which the next request hears.
    fn sync_early(&self, object: ObjectId) {
        if let Err(failed) = self.store.sync(&[object]) {
            error!(?object, error = chain(&failed), "what was written cannot be synced");
        }
    }

    fn fence(&self, client: lustre_model::id::ClientId, epoch: u64) -> Result<(), Fault> {
        info!(%client, epoch, "fenced");
        self.fences.raise(client, epoch).map_err(|failed| {
            error!(%client, epoch, error = chain(&failed), "a fence could not be raised");
            Fault::Io
        })
    }

    /// Removes objects; a power loss may bring them back until that is synced.
    fn destroy(&self, objects: &[ObjectId]) -> Result<(), Fault> {
        for object in objects {
            self.store.destroy(*object).map_err(|error| fault("destroy", *object, &error))?;
        }
        Ok(())
    }
}

fn within_transfer(length: u64) -> Result<(), Fault> {
    if length > u64::from(TRANSFER_MAX) { Err(Fault::Invalid) } else { Ok(()) }
}

fn fault(request: &'static str, object: ObjectId, error: &StoreError) -> Fault {
    report(request, Some(object), error)
}

/// Says what a caller sees of an error that concerns no single object.
pub(super) fn fault_of(request: &'static str, error: &StoreError) -> Fault {
    report(request, None, error)
}

/// Logs what an operator must know of and says what the caller sees.
fn report(request: &'static str, object: Option<ObjectId>, failed: &StoreError) -> Fault {
    let fault = failed.fault();
    if matches!(fault, Fault::Io | Fault::Checksum) {
        error!(request, ?object, error = chain(failed), "a request failed");
    } else {
        debug!(request, ?object, error = chain(failed), "a request was refused");
    }
    fault
}

/// The host's clock, for the times of objects.
fn now() -> Timestamp {
    let (since, before) = match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => (since, false),
        Err(error) => (error.duration(), true),
    };
    let seconds = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
    // A clock set before 1970 is wrong anyway; whole seconds do.
    if before {
        return Timestamp { seconds: -seconds, nanoseconds: 0 };
    }
    Timestamp { seconds, nanoseconds: since.subsec_nanos() }
}
