//! Terraform's protocol for states: get, post, lock, unlock.
//!
//! The body is JSON, as servers for Terraform expect: `serial` and `lineage` as there, and the snapshot as text inside.
//! Invariant: a body is believed only as a whole; "nothing is there" is an answer of 404 or 204 and nothing else.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use lustre_model::recorded::{Lineage, World};
use serde::{Deserialize, Serialize};

use super::HttpPlace;
use super::client::{Client, HttpError, md5, refused};
use crate::backend::{Ends, Held};
use crate::error::{Damage, LockError, StoreError};
use crate::lock::Holder;
use crate::seal::Seal;
use crate::snapshot;

/// Says what the body is.
const FORMAT: &str = "lustre state over http";

/// Version of the body around the snapshot.
const VERSION: u32 = 1;

/// The body.
#[derive(Debug, Serialize, Deserialize)]
struct Envelope {
    format: String,
    version: u32,
    serial: u64,
    lineage: Lineage,
    snapshot: String,
}

/// What Terraform's servers are told of a lock.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct LockInfo {
    /// Names the lock.
    #[serde(rename = "ID")]
    pub id: String,
    operation: String,
    info: String,
    who: String,
    version: String,
    created: String,
    path: String,
}

impl LockInfo {
    /// Describes the lock of a holder.
    pub fn new(id: String, holder: Holder, path: String) -> Self {
        let Holder { who, operation, version, since, pid } = holder;
        Self { id, operation, info: pid.to_string(), who, version, created: since, path }
    }

    /// Returns who holds it.
    pub fn held(&self) -> Held {
        let holder = Holder {
            who: self.who.clone(),
            operation: self.operation.clone(),
            version: self.version.clone(),
            since: self.created.clone(),
            pid: self.info.parse().unwrap_or(0),
        };
        Held { id: self.id.clone(), holder, ends: Ends::Never }
    }
}

/// What became of a lock that was asked for.
pub enum Locking {
    /// It is ours.
    Ours,
    /// Somebody has it, and may have said who.
    Held(Option<Box<LockInfo>>),
}

/// What became of a state that was posted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Posting {
    /// It is there.
    Done,
    /// The lock is not ours any more.
    LockLost,
}

/// The server.
pub struct Remote {
    client: Client,
    place: Arc<HttpPlace>,
    seal: Arc<dyn Seal>,
}

impl Remote {
    /// Sets up the way to it.
    pub fn new(place: Arc<HttpPlace>, seal: Arc<dyn Seal>) -> Result<Self, HttpError> {
        Ok(Self { client: Client::new(Arc::clone(&place))?, place, seal })
    }

    /// Names the state for people.
    pub fn path(&self) -> PathBuf {
        PathBuf::from(&self.place.address)
    }

    /// Returns the state and the token under which it was posted.
    pub fn get(&self) -> Result<Option<(World, u64)>, StoreError> {
        let http = |source| StoreError::Http { verb: "read", source };
        let address = &self.place.address;
        let answer = self.client.send("GET", address, None).map_err(http)?;
        match answer.status {
            200 => {}
            204 | 404 => return Ok(None),
            _ => return Err(http(refused("GET", address, &answer))),
        }
        if answer.body.is_empty() {
            return Err(StoreError::Empty { path: self.path() });
        }
        if answer.md5.is_some_and(|promised| promised != md5(&answer.body)) {
            return Err(StoreError::Damaged { path: self.path(), damage: Damage::Checksum });
        }
        self.decode(&answer.body).map(Some)
    }

    fn decode(&self, body: &[u8]) -> Result<(World, u64), StoreError> {
        let damaged = |damage| StoreError::Damaged { path: self.path(), damage };
        let ours = format!("{{\"format\":\"{FORMAT}\"");
        let common = ours.len().min(body.len());
        if ours.as_bytes()[..common] != body[..common] {
            return Err(StoreError::Foreign { path: self.path() });
        }
        let envelope: Envelope = serde_json::from_slice(body).map_err(|_| damaged(Damage::Content))?;
        if envelope.version > VERSION {
            return Err(StoreError::Newer { path: self.path(), found: envelope.version, known: VERSION });
        }
        let bytes = envelope.snapshot.as_bytes();
        let snapshot = snapshot::decode(&self.path(), bytes, self.seal.as_ref())?;
        if (&envelope.lineage, envelope.serial) != (&snapshot.world.lineage, snapshot.world.serial) {
            return Err(damaged(Damage::Content));
        }
        Ok((snapshot.world, snapshot.token))
    }

    /// Puts a state in place, under this lock.
    pub fn post(&self, (world, token): (&World, u64), lock: &LockInfo) -> Result<Posting, StoreError> {
        let http = |source| StoreError::Http { verb: "written", source };
        let snapshot = snapshot::encode(world, token, self.seal.as_ref())?;
        let envelope = Envelope {
            format: FORMAT.to_owned(),
            version: VERSION,
            serial: world.serial,
            lineage: world.lineage.clone(),
            snapshot: String::from_utf8_lossy(&snapshot).into_owned(),
        };
        let body = serde_json::to_vec(&envelope).map_err(|source| StoreError::Encoding { source })?;
        let plain = &self.place.address;
        let address = match &self.place.lock_address {
            Some(_) => format!("{plain}{}ID={}", separator(plain), lock.id),
            None => plain.clone(),
        };
        let method = &self.place.update_method;
        let answer = self.client.send(method, &address, Some(body.into())).map_err(http)?;
        match answer.status {
            200 | 201 | 204 => Ok(Posting::Done),
            409 | 423 => Ok(Posting::LockLost),
            _ => Err(http(refused(method, &self.place.address, &answer))),
        }
    }

    /// Asks for the lock; it is ours where the server has none.
    pub fn lock(&self, info: &LockInfo) -> Result<Locking, LockError> {
        let http = |source| LockError::Http { source };
        let Some(address) = &self.place.lock_address else { return Ok(Locking::Ours) };
        let method = &self.place.lock_method;
        let answer = self.client.send(method, address, Some(body(info)?)).map_err(http)?;
        match answer.status {
            200 => Ok(Locking::Ours),
            409 | 423 => {
                let held: Option<LockInfo> = serde_json::from_slice(&answer.body).ok();
                // An attempt whose answer was lost has taken it.
                let ours = held.as_ref().is_some_and(|held| held.id == info.id);
                Ok(if ours { Locking::Ours } else { Locking::Held(held.map(Box::new)) })
            }
            _ => Err(http(refused(method, address, &answer))),
        }
    }

    /// Gives a lock back.
    pub fn unlock(&self, info: &LockInfo) -> Result<(), LockError> {
        let http = |source| LockError::Http { source };
        let Some(address) = self.place.unlock_address.as_ref().or(self.place.lock_address.as_ref()) else {
            return Ok(());
        };
        let method = &self.place.unlock_method;
        let answer = self.client.send(method, address, Some(body(info)?)).map_err(http)?;
        match answer.status {
            200 | 204 => Ok(()),
            // An attempt whose answer was lost has given it back.
            400..500 if answer.is_repeated => Ok(()),
            _ => Err(http(refused(method, address, &answer))),
        }
    }
}

fn body(info: &LockInfo) -> Result<Bytes, LockError> {
    serde_json::to_vec(info).map(Bytes::from).map_err(|source| LockError::Encoding { source })
}

fn separator(address: &str) -> char {
    if address.contains('?') { '&' } else { '?' }
}
