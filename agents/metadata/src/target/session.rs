//! Sessions of clients: opened, renewed, resumed on a new connection, evicted.
//!
//! Not leases and open files themselves, only whose they are.
//! Invariant: what an evicted client held is given away only when every object target refuses its old epoch.

use std::collections::{BTreeMap, BTreeSet};

use lustre_model::fault::Fault;
use lustre_model::fid::Fid;
use lustre_model::id::ClientId;
use lustre_model::metadata::{Notice, OpenId, Reply, SessionId, Xid};
use serde::{Deserialize, Serialize};

use super::work::Job;
use super::{Caller, ConnectionId, Output, Target, Work};
use crate::failure::{Halt, Step, TargetError, Wait};
use crate::key;

/// A session as it is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SessionRecord {
    pub(super) client: ClientId,
    pub(super) epoch: u64,
    pub(super) evicted: bool,
}

/// A session.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) record: SessionRecord,
    pub(super) connection: Option<ConnectionId>,
    /// When its client was last heard of.
    seen_ms: u64,
    /// Requests whose replies are kept.
    pub(super) replies: BTreeSet<Xid>,
    /// Inodes it holds leases on.
    pub(super) leases: BTreeSet<Fid>,
    /// Its open files.
    pub(super) opens: BTreeMap<OpenId, Fid>,
}

impl Target {
    pub(super) fn load_sessions(&mut self) -> Result<(), TargetError> {
        let seen_ms = self.now.uptime_ms;
        for (key, record) in self.table.load::<SessionRecord>(b"S")? {
            let Some(id) = key.get(1..9).and_then(|bytes| bytes.try_into().ok()) else { continue };
            let id = SessionId(u64::from_be_bytes(id));
            self.clients.insert(record.client, id);
            self.unheard.insert(id);
            self.sessions.insert(id, Session::new(record, None, seen_ms));
        }
        for (key, _) in self.table.scan(b"R", b"S", usize::MAX)? {
            let Some((session, xid)) = key::read_pair(&key) else { continue };
            if let Some(session) = self.sessions.get_mut(&SessionId(session)) {
                session.replies.insert(Xid(xid));
            }
        }
        let evicted = self.sessions.iter().filter(|(_, session)| session.record.evicted);
        let evicted: Vec<SessionId> = evicted.map(|(id, _)| *id).collect();
        for id in evicted {
            self.fence(id);
        }
        Ok(())
    }

    /// Notes a sign of life. False when there is no such session on this connection.
    pub(super) fn heard_from(&mut self, id: SessionId, connection: ConnectionId) -> bool {
        let now = self.now.uptime_ms;
        match self.sessions.get_mut(&id) {
            Some(session) if session.connection == Some(connection) && !session.record.evicted => {
                session.seen_ms = now;
                true
            }
            Some(_) | None => false,
        }
    }

    pub(super) fn forget_replies(&mut self, id: SessionId, acknowledged: Xid) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        while let Some(xid) = session.replies.first().copied().filter(|xid| *xid <= acknowledged) {
            session.replies.remove(&xid);
            self.table.delete(key::reply(id, xid));
        }
    }

    pub(super) fn connect(
        &mut self,
        caller: &Caller,
        client: ClientId,
        opens: &[(Fid, OpenId)],
    ) -> Step<Reply> {
        let id = match self.clients.get(&client) {
            Some(id) if self.sessions.get(id).is_some_and(|session| session.record.evicted) => {
                return Err(Halt::Wait(Wait::Eviction(client)));
            }
            Some(id) => *id,
            None => self.new_session(client)?,
        };
        // Before the leases go under which these are open, and whoever waits for them runs.
        for (fid, open) in opens {
            self.note_read(id, *open, *fid)?;
        }
        self.heard_anew(id)?;
        // The client dropped its caches with its old connection.
        self.drop_leases(id);
        let now = self.now.uptime_ms;
        let Some(session) = self.sessions.get_mut(&id) else { return Err(Fault::Evicted.into()) };
        if let Some(old) = session.connection.replace(caller.connection) {
            self.connections.remove(&old);
        }
        session.seen_ms = now;
        let epoch = session.record.epoch;
        self.connections.insert(caller.connection, id);
        Ok(Reply::Connected {
            session: id,
            fs_name: self.config.fs_name.clone(),
            lease_ms: self.config.lease_ms,
            epoch,
            targets: self.targets.values().cloned().collect(),
        })
    }

    fn new_session(&mut self, client: ClientId) -> Step<SessionId> {
        self.counters.session += 1;
        let id = SessionId(self.counters.session);
        let record = SessionRecord { client, epoch: self.counters.epoch, evicted: false };
        self.table.put(key::session(id), &record)?;
        self.clients.insert(client, id);
        self.sessions.insert(id, Session::new(record, None, self.now.uptime_ms));
        Ok(id)
    }

    pub(super) fn leave(&mut self, caller: &Caller) -> Step<Reply> {
        self.end_session(caller.session)?;
        Ok(Reply::Done)
    }

    /// A connection ended: its session lives on until its lease runs out.
    pub(super) fn disconnected(&mut self, connection: ConnectionId) {
        if let Some(id) = self.connections.remove(&connection)
            && let Some(session) = self.sessions.get_mut(&id)
        {
            session.connection = None;
        }
        self.drop_requests(
            |pending| pending.connection == connection && pending.session == SessionId(0),
            Fault::Unreachable,
        );
        self.mover_lost(connection);
    }

    /// Evicts every session whose client was silent for too long.
    pub(super) fn evict_silent(&mut self) -> Result<(), TargetError> {
        let deadline = self.now.uptime_ms.saturating_sub(u64::from(self.config.lease_ms));
        let silent = self.sessions.iter().filter(|(_, s)| s.seen_ms < deadline && !s.record.evicted);
        let silent: Vec<SessionId> = silent.map(|(id, _)| *id).collect();
        for id in silent {
            self.evict(id)?;
        }
        Ok(())
    }

    fn evict(&mut self, id: SessionId) -> Result<(), TargetError> {
        let Some(session) = self.sessions.get_mut(&id) else { return Ok(()) };
        tracing::warn!(session = id.0, client = %session.record.client, "evicting a silent client");
        session.record.evicted = true;
        let (record, connection) = (session.record, session.connection);
        self.counters.epoch += 1;
        self.table.put(key::session(id), &record)?;
        if let Some(connection) = connection {
            self.outputs.push(Output::Notice { connection, notice: Notice::Evicted });
        }
        self.drop_requests(|pending| pending.session == id, Fault::Evicted);
        self.fence(id);
        Ok(())
    }

    /// Has the object targets refuse what an evicted client may still send.
    pub(super) fn fence(&mut self, id: SessionId) {
        let Some(session) = self.sessions.get(&id) else { return };
        let targets = self.active_targets().into_iter().collect();
        let work = Work::Fence { client: session.record.client, epoch: session.record.epoch + 1, targets };
        self.start_work(Job::Fence { session: id }, work);
    }

    /// Gives up everything a session holds and forgets it.
    pub(super) fn end_session(&mut self, id: SessionId) -> Result<(), TargetError> {
        self.drop_leases(id);
        self.heard_anew(id)?;
        let Some(session) = self.sessions.remove(&id) else { return Ok(()) };
        self.clients.remove(&session.record.client);
        if let Some(connection) = session.connection {
            self.connections.remove(&connection);
        }
        for xid in &session.replies {
            self.table.delete(key::reply(id, *xid));
        }
        self.table.delete(key::session(id));
        for (open, fid) in session.opens {
            self.forget_open((id, open), fid)?;
        }
        self.drop_requests(|pending| pending.session == id, Fault::Evicted);
        self.wake(Wait::Eviction(session.record.client));
        Ok(())
    }
}

impl Session {
    fn new(record: SessionRecord, connection: Option<ConnectionId>, seen_ms: u64) -> Self {
        Self {
            record,
            connection,
            seen_ms,
            replies: BTreeSet::new(),
            leases: BTreeSet::new(),
            opens: BTreeMap::new(),
        }
    }
}
