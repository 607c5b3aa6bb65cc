//! Open files: who has which file open, durably, so that an unlinked file lives until its last close.
//!
//! What a client opens for reading under a lease is not known here: it says so when it gives the lease back, and when it
//! connects again. After a start no inode without a name goes before every session that there was has said so or ended.
//! Invariant: an inode without a name exists exactly as long as somebody has it open or bytes of it are being moved.

use lustre_model::fid::Fid;
use lustre_model::metadata::{OpenId, SessionId};
use serde::{Deserialize, Serialize};

use super::Target;
use crate::failure::TargetError;
use crate::inode::Inode;
use crate::key;

/// An open file as it is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct OpenRecord {
    pub(super) fid: Fid,
    pub(super) writable: bool,
}

/// An open of an inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Opened {
    pub(super) session: SessionId,
    pub(super) open: OpenId,
    pub(super) writable: bool,
}

impl Target {
    /// Notes an open. The same open again changes nothing.
    pub(super) fn note_open(
        &mut self,
        (session, open): (SessionId, OpenId),
        record: OpenRecord,
    ) -> Result<(), TargetError> {
        let Some(holder) = self.sessions.get_mut(&session) else { return Ok(()) };
        if holder.opens.insert(open, record.fid).is_some() {
            return Ok(());
        }
        let opened = Opened { session, open, writable: record.writable };
        self.opens.entry(record.fid).or_default().push(opened);
        self.table.put(key::open(session, open), &record)
    }

    /// Notes that a session has had a file open for reading; one that is gone is not.
    pub(super) fn note_read(
        &mut self,
        session: SessionId,
        open: OpenId,
        fid: Fid,
    ) -> Result<(), TargetError> {
        if self.table.get::<Inode>(&key::inode(fid))?.is_none_or(|inode| inode.file().is_none()) {
            return Ok(());
        }
        self.note_open((session, open), OpenRecord { fid, writable: false })
    }

    /// Notes the end of an open, and of what hung on it.
    pub(super) fn forget_open(
        &mut self,
        (session, open): (SessionId, OpenId),
        fid: Fid,
    ) -> Result<(), TargetError> {
        self.table.delete(key::open(session, open));
        if let Some(holder) = self.sessions.get_mut(&session) {
            holder.opens.remove(&open);
        }
        if let Some(opens) = self.opens.get_mut(&fid) {
            opens.retain(|other| (other.session, other.open) != (session, open));
            if opens.is_empty() {
                self.opens.remove(&fid);
            }
        }
        self.released_by_all(fid)
    }

    /// Does what waits for the last open or the last writer of a file to be gone.
    pub(super) fn released_by_all(&mut self, fid: Fid) -> Result<(), TargetError> {
        let Some(inode) = self.table.get::<Inode>(&key::inode(fid))? else { return Ok(()) };
        if inode.link_count == 0 {
            return self.reap(fid, &inode);
        }
        if self.is_open_for_writing(fid) {
            return Ok(());
        }
        if self.writing.contains_key(&fid) && !self.has_writer(fid) {
            self.glimpse(fid, &inode);
        }
        self.export_again(fid, &inode)
    }

    /// Whether any session may still write through an open file.
    pub(super) fn is_open_for_writing(&self, fid: Fid) -> bool {
        self.opens.get(&fid).into_iter().flatten().any(|opened| opened.writable)
    }
}
