//! The life of a request: accepted, run, parked, run again, answered once.
//!
//! What each request does is elsewhere; here is who may ask, what is kept of the answer, and who waits for what.
//! Invariant: a request of a session that changed something has its reply in the same commit as the change.

use std::collections::VecDeque;

use lustre_model::fault::Fault;
use lustre_model::metadata::{Answer, Call, LeaseKind, OpenMode, Reply, Request, SessionId, Xid};

use super::room::grows;
use super::{Caller, ConnectionId, Output, RequestToken, Rights, Target};
use crate::failure::{Halt, Step, TargetError, Wait};
use crate::key;

/// Names a request from its arrival to its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct RequestId(pub(super) u64);

/// A request without an answer.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) connection: ConnectionId,
    pub(super) token: RequestToken,
    pub(super) session: SessionId,
    pub(super) xid: Xid,
    pub(super) request: Request,
}

impl Target {
    /// Takes a request from a connection.
    pub(super) fn accept(
        &mut self,
        (connection, token): (ConnectionId, RequestToken),
        rights: Rights,
        call: Call,
    ) -> Result<(), TargetError> {
        let Call { session, xid, acknowledged, request } = call;
        if rights < needed(&request) || (rights == Rights::Client && !may_lack_session(session, &request)) {
            self.answer(token, Err(Fault::NotPermitted));
            return Ok(());
        }
        if session != SessionId(0) {
            if !self.heard_from(session, connection) {
                self.answer(token, Err(Fault::Evicted));
                return Ok(());
            }
            self.forget_replies(session, acknowledged);
            if self.answer_again(session, xid, token)?
                || self.join_in_flight(session, xid, (connection, token))
            {
                return Ok(());
            }
        }
        if self.is_full() && grows(&request) {
            // Not kept: a request that is sent again finds more room, or is refused again.
            self.answer(token, Err(Fault::NoSpace));
            return Ok(());
        }
        if let Request::HsmReceive { limit, wait_ms } = request {
            self.receive((connection, token), limit, wait_ms);
            return Ok(());
        }
        self.next_request += 1;
        let id = RequestId(self.next_request);
        let pending = Pending { connection, token, session, xid, request };
        if session != SessionId(0) {
            self.in_flight.insert((session, xid), id);
        }
        self.run(id, pending)
    }

    /// Sends the reply of a request that was answered before, and says whether there was one.
    fn answer_again(
        &mut self,
        session: SessionId,
        xid: Xid,
        token: RequestToken,
    ) -> Result<bool, TargetError> {
        let kept = self.sessions.get(&session).is_some_and(|session| session.replies.contains(&xid));
        let answer: Option<Answer> = if kept { self.table.get(&key::reply(session, xid))? } else { None };
        let found = answer.is_some();
        if let Some(answer) = answer {
            self.answer(token, answer);
        }
        Ok(found)
    }

    /// Lets a resent request take the place of the one that is still waiting, whose sender has gone.
    fn join_in_flight(&mut self, session: SessionId, xid: Xid, to: (ConnectionId, RequestToken)) -> bool {
        let pending = self.in_flight.get(&(session, xid)).and_then(|id| self.parked.get_mut(id));
        let Some(pending) = pending else { return false };
        let before = std::mem::replace(&mut pending.token, to.1);
        pending.connection = to.0;
        self.answer(before, Err(Fault::Unreachable));
        true
    }

    /// Runs every request that has something new to see.
    pub(super) fn run_ready(&mut self) -> Result<(), TargetError> {
        let mut round = std::mem::take(&mut self.ready);
        while !round.is_empty() {
            for id in round {
                if let Some(pending) = self.parked.remove(&id) {
                    self.run(id, pending)?;
                }
            }
            round = std::mem::take(&mut self.ready);
        }
        Ok(())
    }

    fn run(&mut self, id: RequestId, pending: Pending) -> Result<(), TargetError> {
        self.keep();
        let caller = Caller {
            request: id,
            connection: pending.connection,
            session: pending.session,
            xid: pending.xid,
        };
        match self.execute(&caller, &pending.request) {
            Ok(reply) => self.finish(pending, Ok(reply)),
            Err(Halt::Fault(fault)) => {
                self.revert();
                self.finish(pending, Err(fault))
            }
            Err(Halt::Wait(wait)) => {
                self.revert();
                self.parked.insert(id, pending);
                self.waiting.entry(wait).or_default().push_back(id);
                Ok(())
            }
            Err(Halt::Broken(error)) => Err(error),
        }
    }

    /// Answers a request and keeps the reply when a resent request must not run again.
    pub(super) fn finish(&mut self, pending: Pending, answer: Answer) -> Result<(), TargetError> {
        self.in_flight.remove(&(pending.session, pending.xid));
        if is_kept(&pending.request)
            && let Some(session) = self.sessions.get_mut(&pending.session)
        {
            session.replies.insert(pending.xid);
            let kept = without_leases(answer.clone());
            self.table.put(key::reply(pending.session, pending.xid), &kept)?;
        }
        self.keep();
        self.answer(pending.token, answer);
        Ok(())
    }

    pub(super) fn answer(&mut self, token: RequestToken, answer: Answer) {
        self.outputs.push(Output::Reply { token, answer });
    }

    /// Lets everyone who waits for this run again, in the order in which they began to wait.
    pub(super) fn wake(&mut self, wait: Wait) {
        if let Some(waiting) = self.waiting.remove(&wait) {
            self.ready.extend(waiting);
        }
    }

    /// Answers everyone who waits for this with a fault.
    pub(super) fn fail(&mut self, wait: Wait, fault: Fault) -> Result<(), TargetError> {
        for id in self.waiting.remove(&wait).unwrap_or_default() {
            if let Some(pending) = self.parked.remove(&id) {
                self.finish(pending, Err(fault))?;
            }
        }
        Ok(())
    }

    /// Drops waiting requests of a session or connection, answering them when somebody may still listen.
    pub(super) fn drop_requests(&mut self, which: impl Fn(&Pending) -> bool, fault: Fault) {
        let ids: Vec<RequestId> =
            self.parked.iter().filter(|(_, pending)| which(pending)).map(|(id, _)| *id).collect();
        for id in ids {
            let Some(pending) = self.parked.remove(&id) else { continue };
            self.in_flight.remove(&(pending.session, pending.xid));
            self.answer(pending.token, Err(fault));
        }
        let parked = &self.parked;
        self.waiting.retain(|_, ids: &mut VecDeque<RequestId>| {
            ids.retain(|id| parked.contains_key(id));
            !ids.is_empty()
        });
    }

    fn execute(&mut self, caller: &Caller, request: &Request) -> Step<Reply> {
        match request {
            Request::Connect { client, opens } => self.connect(caller, *client, opens),
            Request::Renew => Ok(Reply::Done),
            Request::Disconnect => self.leave(caller),
            Request::Lookup { parent, name } => self.lookup(caller, *parent, name),
            Request::ReadDirectory { fid, after, limit } => self.read_directory(caller, *fid, *after, *limit),
            Request::LookAhead { fid, after, limit } => self.look_ahead(caller, *fid, *after, *limit),
            Request::Create { .. } => self.create(caller, request),
            Request::Remove { parent, name, kind } => self.remove(caller, (*parent, name), *kind),
            Request::Rename { from, to, mode } => {
                self.rename(caller, (from.0, &from.1), (to.0, &to.1), *mode)
            }
            Request::Link { fid, parent, name } => self.link(caller, *fid, (*parent, name)),
            Request::ReadLink { fid } => self.read_symlink(*fid),
            Request::GetAttr { fid } => self.get_attr(caller, *fid),
            Request::SetAttr { fid, change } => self.set_attr(caller, *fid, change),
            Request::GetXattr { fid, name } => self.get_xattr(caller, *fid, name),
            Request::ListXattr { fid } => self.list_xattr(*fid),
            Request::SetXattr { fid, name, value, mode } => {
                self.set_xattr(caller, *fid, (name, value), *mode)
            }
            Request::RemoveXattr { fid, name } => self.remove_xattr(caller, *fid, name),
            Request::Open { fid, mode } => self.open_file(caller, *fid, *mode),
            Request::Close { closes } => self.close(caller, closes),
            Request::Lease { fid, kind } => self.ask_lease(caller, *fid, *kind),
            Request::Flush { fid, update } => self.flush(caller, *fid, *update),
            Request::Downgrade { fid, keep, update, open } => {
                self.downgrade(caller, *fid, (*keep, *open), *update)
            }
            Request::Sync => self.sync(),
            Request::Instantiate { fid, range } => self.instantiate(caller, *fid, *range),
            Request::Hydrate { fid, range } => self.hydrate(caller, *fid, *range),
            Request::GetLayout { fid } => self.get_layout(*fid),
            Request::SetLayout { fid, template } => self.set_layout(caller, *fid, template.as_ref()),
            Request::FidToPath { fid } => self.fid_to_path(*fid),
            Request::Statistics => Ok(self.statistics()),
            Request::Targets => Ok(self.reply_entries()),
            Request::RegisterTarget { target } => self.register_target(target),
            Request::RemoveTarget { index } => self.remove_target(*index),
            Request::SetDefaultLayout { template } => self.set_default_layout(template),
            Request::PutLink { link } => self.put_link(caller, link),
            Request::RemoveLink { link, delete_data } => self.remove_link(caller, *link, *delete_data),
            Request::Links => self.list_links(),
            // Answered where it is accepted: it changes nothing and may wait for a moment of time.
            Request::HsmReceive { .. } => Ok(Reply::Actions { actions: Vec::new() }),
            Request::HsmProgress { progress } => self.hsm_progress(progress),
            Request::HsmEnd { end } => self.hsm_end(end),
            Request::Import { link, listed, entries } => {
                self.import(caller, (*link, listed.as_ref()), entries)
            }
        }
    }
}

/// The least rights that a request takes.
fn needed(request: &Request) -> Rights {
    match request {
        Request::RegisterTarget { .. }
        | Request::RemoveTarget { .. }
        | Request::SetDefaultLayout { .. }
        | Request::PutLink { .. }
        | Request::RemoveLink { .. } => Rights::Administrator,
        Request::Links
        | Request::HsmReceive { .. }
        | Request::HsmProgress { .. }
        | Request::HsmEnd { .. }
        | Request::Import { .. } => Rights::Mover,
        Request::Connect { .. } | Request::Renew | Request::Disconnect | Request::Sync => Rights::Client,
        Request::Lookup { .. } | Request::ReadDirectory { .. } | Request::LookAhead { .. } => Rights::Client,
        Request::Create { .. } => Rights::Client,
        Request::Remove { .. } | Request::Rename { .. } | Request::Link { .. } => Rights::Client,
        Request::ReadLink { .. } | Request::GetAttr { .. } | Request::SetAttr { .. } => Rights::Client,
        Request::GetXattr { .. } | Request::ListXattr { .. } | Request::SetXattr { .. } => Rights::Client,
        Request::RemoveXattr { .. } | Request::Open { .. } | Request::Close { .. } => Rights::Client,
        Request::Lease { .. } | Request::Flush { .. } | Request::Downgrade { .. } => Rights::Client,
        Request::Instantiate { .. } | Request::Hydrate { .. } | Request::GetLayout { .. } => Rights::Client,
        Request::SetLayout { .. } | Request::FidToPath { .. } => Rights::Client,
        Request::Statistics | Request::Targets => Rights::Client,
    }
}

/// A plain client works in a session, but for what must come before it.
fn may_lack_session(session: SessionId, request: &Request) -> bool {
    session != SessionId(0)
        || matches!(request, Request::Connect { .. } | Request::Targets | Request::Statistics)
}

/// Whether a request must not run twice. The rest changes nothing, or the same way each time.
fn is_kept(request: &Request) -> bool {
    match request {
        Request::Create { .. } | Request::Remove { .. } | Request::Rename { .. } | Request::Link { .. } => {
            true
        }
        Request::SetAttr { .. } | Request::SetXattr { .. } | Request::RemoveXattr { .. } => true,
        Request::Open { mode, .. } => *mode == OpenMode::Truncate,
        Request::SetLayout { .. } => true,
        // Told again over a new connection, where the client holds no lease, an update only has the objects asked.
        Request::Close { .. } | Request::Flush { .. } | Request::Downgrade { .. } => false,
        Request::Connect { .. } | Request::Renew | Request::Disconnect | Request::Sync => false,
        Request::Lookup { .. } | Request::ReadDirectory { .. } | Request::LookAhead { .. } => false,
        Request::ReadLink { .. } => false,
        Request::GetAttr { .. } | Request::GetXattr { .. } | Request::ListXattr { .. } => false,
        Request::Lease { .. } | Request::Instantiate { .. } | Request::Hydrate { .. } => false,
        Request::GetLayout { .. } | Request::FidToPath { .. } | Request::Statistics => false,
        Request::Targets | Request::RegisterTarget { .. } | Request::RemoveTarget { .. } => false,
        Request::SetDefaultLayout { .. } => false,
        Request::PutLink { .. } | Request::RemoveLink { .. } | Request::Links => false,
        Request::HsmReceive { .. } | Request::HsmProgress { .. } | Request::HsmEnd { .. } => false,
        Request::Import { .. } => false,
    }
}

/// A reply that is sent again grants nothing: its leases may have gone since.
fn without_leases(answer: Answer) -> Answer {
    let mut answer = answer;
    if let Ok(reply) = &mut answer {
        match reply {
            Reply::Entry { entry, parent_lease, .. } => {
                entry.lease = LeaseKind::None;
                *parent_lease = LeaseKind::None;
            }
            Reply::Opened { view, parent_lease, .. } => {
                view.entry.lease = LeaseKind::None;
                *parent_lease = LeaseKind::None;
            }
            Reply::Removed { parent_lease, .. } => *parent_lease = LeaseKind::None,
            Reply::Done | Reply::Connected { .. } | Reply::Entries { .. } | Reply::Ahead { .. } => {}
            Reply::Bytes { .. } => {}
            Reply::Names { .. } | Reply::Layout { .. } | Reply::Template { .. } => {}
            Reply::Statistics { .. } | Reply::Targets { .. } | Reply::Links { .. } => {}
            Reply::Actions { .. } | Reply::Imported { .. } => {}
        }
    }
    answer
}
