//! Leases: rights to cache inodes, granted with replies and recalled when another request needs them gone.
//!
//! Memory only; what must survive a restart is the mark of files being written (`size`).
//! Invariant: while one session holds `Write` on an inode no other holds anything on it.

use lustre_model::fid::Fid;
use lustre_model::metadata::{LeaseKind, Notice, OpenId, Reply, SessionId, WriteUpdate};

use super::size::WriteTime;
use super::{Caller, Output, Target};
use crate::failure::{Halt, Step, TargetError, Wait};
use crate::inode::Inode;

/// Most inodes that one session may hold leases on; beyond it nothing is granted.
const LEASES_MAX: usize = 1 << 20;

/// One session's lease on an inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Holder {
    session: SessionId,
    kind: LeaseKind,
    /// What it was told to keep at most.
    recalled: Option<LeaseKind>,
}

/// What a request needs of an inode that others may have cached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Claim {
    /// To see it as it is: nobody else may be changing it.
    See,
    /// To change it: nobody else may have it cached.
    Change,
}

impl Target {
    /// Claims several inodes, so that all recalls travel at once.
    pub(super) fn claim_all(&mut self, caller: &Caller, claims: &[(Fid, Claim)]) -> Step<()> {
        let outcomes: Vec<Step<()>> =
            claims.iter().map(|(fid, claim)| self.claim(caller, *fid, *claim)).collect();
        outcomes.into_iter().collect()
    }

    /// Makes sure that no other session's lease stands against the claim, or waits until none does.
    pub(super) fn claim(&mut self, caller: &Caller, fid: Fid, claim: Claim) -> Step<()> {
        if self.truncations.get(&fid).is_some_and(|truncation| truncation.owner != caller.request) {
            return Err(Halt::Wait(Wait::Lease(fid)));
        }
        if self.may_believe_in_lease(caller, fid) {
            return Err(Halt::Wait(Wait::Heard));
        }
        let allowed = match claim {
            Claim::See => LeaseKind::Read,
            Claim::Change => LeaseKind::None,
        };
        if self.recall_others(Some(caller.session), fid, allowed) {
            return Err(Halt::Wait(Wait::Lease(fid)));
        }
        Ok(())
    }

    /// Whether another session may be writing under a lease that a restart forgot: it has the file open and does not know yet.
    fn may_believe_in_lease(&self, caller: &Caller, fid: Fid) -> bool {
        let of_others = |session| session != caller.session && self.unheard.contains(&session);
        let opens = self.opens.get(&fid).filter(|_| !self.unheard.is_empty());
        opens.into_iter().flatten().any(|opened| opened.writable && of_others(opened.session))
    }

    /// Has the write lease on an inode lowered, whoever holds it.
    pub(super) fn recall_writer(&mut self, fid: Fid) {
        self.recall_others(None, fid, LeaseKind::Read);
    }

    /// Recalls what others than `session` hold beyond `allowed`; says whether there is any.
    fn recall_others(&mut self, session: Option<SessionId>, fid: Fid, allowed: LeaseKind) -> bool {
        let mut recalls = Vec::new();
        let mut conflict = false;
        let holders = self.leases.get_mut(&fid).into_iter().flatten();
        for holder in holders.filter(|holder| Some(holder.session) != session && holder.kind > allowed) {
            conflict = true;
            if holder.recalled.is_none_or(|keep| keep > allowed) {
                holder.recalled = Some(allowed);
                recalls.push(holder.session);
            }
        }
        for session in recalls {
            self.recall(session, fid, allowed);
        }
        conflict
    }

    fn recall(&mut self, session: SessionId, fid: Fid, keep: LeaseKind) {
        if let Some(connection) = self.sessions.get(&session).and_then(|session| session.connection) {
            self.outputs.push(Output::Notice { connection, notice: Notice::Recall { fid, keep } });
        }
    }

    /// What a session holds on an inode.
    pub(super) fn held(&self, session: SessionId, fid: Fid) -> LeaseKind {
        let holders = self.leases.get(&fid).into_iter().flatten();
        holders
            .filter(|holder| holder.session == session)
            .map(|holder| holder.kind)
            .max()
            .unwrap_or(LeaseKind::None)
    }

    /// Whether any session holds `Write`.
    pub(super) fn has_writer(&self, fid: Fid) -> bool {
        self.leases.get(&fid).into_iter().flatten().any(|holder| holder.kind == LeaseKind::Write)
    }

    /// Grants a read lease when nothing stands against it; returns what the caller holds now.
    pub(super) fn grant_read(&mut self, caller: &Caller, fid: Fid) -> LeaseKind {
        let held = self.held(caller.session, fid);
        if held >= LeaseKind::Read || self.has_writer(fid) || !self.may_grant(caller, fid) {
            return held;
        }
        self.set_lease(caller.session, fid, LeaseKind::Read);
        LeaseKind::Read
    }

    /// Grants a write lease on a file when nobody else holds anything; returns what the caller holds now.
    ///
    /// The mark that the file may be longer than its record says becomes durable with the same commit, before the
    /// client hears of the lease.
    pub(super) fn grant_write(&mut self, caller: &Caller, fid: Fid, inode: &Inode) -> Step<LeaseKind> {
        let held = self.held(caller.session, fid);
        let others =
            self.leases.get(&fid).into_iter().flatten().any(|holder| holder.session != caller.session);
        if held == LeaseKind::Write || others || !self.may_grant(caller, fid) {
            return Ok(held);
        }
        // An empty file has no objects with bytes: whatever they say of a time later, was written later.
        let time = if inode.size == 0 { WriteTime::Objects } else { WriteTime::Record };
        self.mark_writing(fid, inode.size, time)?;
        self.set_lease(caller.session, fid, LeaseKind::Write);
        Ok(LeaseKind::Write)
    }

    /// An inode that somebody waits for gives no new leases, and neither does one that is being cut.
    fn may_grant(&self, caller: &Caller, fid: Fid) -> bool {
        let session = self.sessions.get(&caller.session);
        !self.waiting.contains_key(&Wait::Lease(fid))
            && !self.truncations.contains_key(&fid)
            && session
                .is_some_and(|session| session.connection.is_some() && session.leases.len() < LEASES_MAX)
    }

    fn set_lease(&mut self, id: SessionId, fid: Fid, kind: LeaseKind) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let holders = self.leases.entry(fid).or_default();
        holders.retain(|holder| holder.session != id);
        if kind == LeaseKind::None {
            session.leases.remove(&fid);
            if holders.is_empty() {
                self.leases.remove(&fid);
            }
            return;
        }
        session.leases.insert(fid);
        holders.push(Holder { session: id, kind, recalled: None });
    }

    /// Takes everything from a session except the marks of what it was writing.
    pub(super) fn drop_leases(&mut self, id: SessionId) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        for fid in std::mem::take(&mut session.leases) {
            self.set_lease(id, fid, LeaseKind::None);
            self.wake(Wait::Lease(fid));
        }
    }

    /// Lowers what a session holds on a file that it may have written more than it said.
    pub(super) fn lower_writer(
        &mut self,
        id: SessionId,
        fid: Fid,
        keep: LeaseKind,
    ) -> Result<(), TargetError> {
        if keep < LeaseKind::Write && self.held(id, fid) == LeaseKind::Write {
            self.write_lease_recalled(fid)?;
        }
        self.lower(id, fid, keep);
        Ok(())
    }

    /// Takes a session's lease on an inode that it did not give back. What it wrote and did not tell is found out.
    pub(super) fn take_lease(&mut self, id: SessionId, fid: Fid) -> Result<(), TargetError> {
        if self.held(id, fid) == LeaseKind::Write {
            self.write_lease_recalled(fid)?;
        }
        self.set_lease(id, fid, LeaseKind::None);
        self.wake(Wait::Lease(fid));
        Ok(())
    }

    /// Lowers what a session holds, which says that its size and times are those that were last reported.
    pub(super) fn lower(&mut self, id: SessionId, fid: Fid, keep: LeaseKind) {
        let held = self.held(id, fid);
        if held == LeaseKind::None {
            return;
        }
        if held == LeaseKind::Write && keep < held {
            self.unmark_writing(fid);
        }
        self.set_lease(id, fid, held.min(keep));
        self.wake(Wait::Lease(fid));
    }

    pub(super) fn downgrade(
        &mut self,
        caller: &Caller,
        fid: Fid,
        (keep, open): (LeaseKind, Option<OpenId>),
        update: Option<WriteUpdate>,
    ) -> Step<Reply> {
        if let Some(open) = open {
            self.note_read(caller.session, open, fid)?;
        }
        if let Some(update) = update {
            self.apply_update(caller, fid, update)?;
        }
        self.lower_writer(caller.session, fid, keep)?;
        Ok(Reply::Done)
    }
}
