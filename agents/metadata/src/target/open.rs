//! Requests on open files: open, close, lease, flush.
//!
//! An open for writing comes with a write lease when nobody else has the file cached or open; otherwise the client asks
//! for a lease when it writes. With its last close a client lowers its write lease to `Read`.
//! Invariant: no write lease is granted before the file's mark of being written is in the log.

use lustre_model::attr::FileKind;
use lustre_model::fault::Fault;
use lustre_model::fid::Fid;
use lustre_model::metadata::{Close, Entry, FileView, LeaseKind, OpenId, OpenMode, Reply, WriteUpdate};

use super::file::OpenRecord;
use super::lease::Claim;
use super::{Caller, Target};
use crate::failure::{Halt, Step, TargetError};
use crate::inode::{Absent, Inode};
use crate::key;

impl Target {
    pub(super) fn open_file(&mut self, caller: &Caller, fid: Fid, mode: OpenMode) -> Step<Reply> {
        match self.load(fid)?.kind {
            FileKind::Regular => {}
            FileKind::Directory => return Err(Fault::IsDirectory.into()),
            FileKind::Symlink => return Err(Fault::Loop.into()),
            FileKind::Fifo | FileKind::Socket | FileKind::CharDevice | FileKind::BlockDevice => {
                return Err(Fault::Invalid.into());
            }
        }
        let (view, open) = self.open_view(caller, fid, mode)?;
        Ok(Reply::Opened {
            view,
            open: Some(open),
            parent_lease: LeaseKind::None,
            parent: None,
            created: false,
        })
    }

    /// Opens a regular file that exists.
    pub(super) fn open_view(
        &mut self,
        caller: &Caller,
        fid: Fid,
        mode: OpenMode,
    ) -> Step<(FileView, OpenId)> {
        if mode != OpenMode::Truncate {
            self.recover_lost(caller, fid)?;
        }
        let mut inode = self.load(fid)?;
        let claim = match mode {
            OpenMode::Read => Claim::See,
            OpenMode::Write if self.is_shared(caller, fid) => Claim::See,
            OpenMode::Write | OpenMode::Truncate => Claim::Change,
        };
        self.claim(caller, fid, claim)?;
        self.identified(fid, &inode)?;
        match mode {
            OpenMode::Truncate => {
                self.resize(caller, fid, &mut inode, 0)?;
                inode.modified(self.now.wall);
                self.put_inode(fid, &inode)?;
                self.export_inode(fid, &inode)?;
            }
            OpenMode::Read | OpenMode::Write => self.settle(caller, fid, &inode)?,
        }
        if mode != OpenMode::Read
            && let Some(file) = inode.file_mut()
            && file.absent.is_none()
            && self.instantiate_first(fid, file)?
        {
            self.put_inode(fid, &inode)?;
        }
        self.register_open(caller, (fid, &inode), mode)
    }

    /// Whether another session has the file open.
    fn is_shared(&self, caller: &Caller, fid: Fid) -> bool {
        self.opens.get(&fid).into_iter().flatten().any(|opened| opened.session != caller.session)
    }

    /// Notes the open and grants what it may have. The open is named by its request, so that a resent one is the same.
    pub(super) fn register_open(
        &mut self,
        caller: &Caller,
        (fid, inode): (Fid, &Inode),
        mode: OpenMode,
    ) -> Step<(FileView, OpenId)> {
        let open = OpenId(caller.xid.0);
        let writable = mode != OpenMode::Read;
        let lease = if writable && !self.is_shared(caller, fid) {
            self.grant_write(caller, fid, inode)?
        } else {
            self.grant_read(caller, fid)
        };
        if writable && lease != LeaseKind::Write {
            self.may_be_written(fid, inode)?;
        }
        self.note_open((caller.session, open), OpenRecord { fid, writable })?;
        Ok((view(fid, inode, lease), open))
    }

    /// Notes that objects of a file may come to exist without a mark that it is being written.
    fn may_be_written(&mut self, fid: Fid, inode: &Inode) -> Result<(), TargetError> {
        if inode.file().is_none_or(|file| file.written) {
            return Ok(());
        }
        let mut inode = inode.clone();
        inode.written();
        self.put_inode(fid, &inode)
    }

    /// The client held the write lease and may have pages of mappings that it writes back without it.
    pub(super) fn write_lease_recalled(&mut self, fid: Fid) -> Result<(), TargetError> {
        match self.table.get::<Inode>(&key::inode(fid))? {
            Some(inode) => self.may_be_written(fid, &inode),
            None => Ok(()),
        }
    }

    pub(super) fn close(&mut self, caller: &Caller, closes: &[Close]) -> Step<Reply> {
        for close in closes {
            match self.close_one(caller, close) {
                // What it names is no file that could be written: there is nothing to note, and the rest goes on.
                Ok(()) | Err(Halt::Fault(_)) => {}
                Err(halt) => return Err(halt),
            }
        }
        Ok(Reply::Done)
    }

    fn close_one(&mut self, caller: &Caller, close: &Close) -> Step<()> {
        let Close { fid, open, update, lower } = *close;
        if let Some(update) = update {
            self.apply_update(caller, fid, update)?;
        }
        // The open goes first: what waits for the lease must see the file closed.
        if let Some(open) = open
            && self.sessions.get(&caller.session).and_then(|session| session.opens.get(&open)) == Some(&fid)
        {
            self.forget_open((caller.session, open), fid)?;
        }
        if lower && self.held(caller.session, fid) == LeaseKind::Write {
            self.lower(caller.session, fid, LeaseKind::Read);
        }
        Ok(())
    }

    pub(super) fn flush(&mut self, caller: &Caller, fid: Fid, update: WriteUpdate) -> Step<Reply> {
        self.apply_update(caller, fid, update)?;
        Ok(Reply::Done)
    }

    pub(super) fn ask_lease(&mut self, caller: &Caller, fid: Fid, kind: LeaseKind) -> Step<Reply> {
        self.recover_lost(caller, fid)?;
        let inode = self.load(fid)?;
        let claim = match kind {
            LeaseKind::None | LeaseKind::Read => Claim::See,
            LeaseKind::Write => Claim::Change,
        };
        self.claim(caller, fid, claim)?;
        self.identified(fid, &inode)?;
        self.settle(caller, fid, &inode)?;
        let lease = match kind {
            LeaseKind::None => self.held(caller.session, fid),
            LeaseKind::Write if inode.file().is_some() => self.grant_write(caller, fid, &inode)?,
            LeaseKind::Read | LeaseKind::Write => self.grant_read(caller, fid),
        };
        if inode.file().is_some() {
            return Ok(viewed(fid, &inode, lease));
        }
        let entry = Entry { attr: inode.attr(fid), lease };
        Ok(Reply::Entry { entry, parent_lease: LeaseKind::None, parent: None })
    }
}

/// What a client needs of a file.
pub(super) fn view(fid: Fid, inode: &Inode, lease: LeaseKind) -> FileView {
    let layout = inode.file().map(|file| file.layout.clone());
    FileView {
        entry: Entry { attr: inode.attr(fid), lease },
        layout: layout.unwrap_or(lustre_model::layout::Layout { generation: 0, components: Vec::new() }),
        present: inode.absent().map(Absent::in_place),
    }
}

/// The reply to a request on a file that opens nothing.
pub(super) fn viewed(fid: Fid, inode: &Inode, lease: LeaseKind) -> Reply {
    Reply::Opened {
        view: view(fid, inode, lease),
        open: None,
        parent_lease: LeaseKind::None,
        parent: None,
        created: false,
    }
}
