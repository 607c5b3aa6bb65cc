//! Attributes of inodes: seen, changed, counted.
//!
//! Permissions are the kernel's business; sizes are `size` and `truncate`.
//! Invariant: attributes that are answered are those that hold at the moment of the answer.

use lustre_model::attr::{AttrChange, FileKind, SetTime, Timestamp};
use lustre_model::fault::Fault;
use lustre_model::fid::Fid;
use lustre_model::metadata::{Entry, LeaseKind, Reply};

use super::lease::Claim;
use super::{Caller, Target};
use crate::failure::{Step, TargetError};
use crate::inode::Inode;
use crate::key;

/// Inodes that a file system can hold, as `df -i` shows them.
const INODES_MAX: u64 = 1 << 32;
/// Bits that a change of owner takes from a file.
const SETUID: u32 = 0o4000;
const SETGID: u32 = 0o2000;
const GROUP_EXECUTE: u32 = 0o0010;

impl Target {
    /// An inode that a client names by its FID.
    pub(super) fn load(&self, fid: Fid) -> Step<Inode> {
        Ok(self.table.get::<Inode>(&key::inode(fid))?.ok_or(Fault::Stale)?)
    }

    pub(super) fn put_inode(&mut self, fid: Fid, inode: &Inode) -> Result<(), TargetError> {
        self.table.put(key::inode(fid), inode)
    }

    /// Sees an inode as it is now, with a lease where one can be had.
    pub(super) fn see(&mut self, caller: &Caller, fid: Fid) -> Step<(Inode, LeaseKind)> {
        let inode = self.load(fid)?;
        self.claim(caller, fid, Claim::See)?;
        self.identified(fid, &inode)?;
        self.settle(caller, fid, &inode)?;
        Ok((inode, self.grant_read(caller, fid)))
    }

    pub(super) fn get_attr(&mut self, caller: &Caller, fid: Fid) -> Step<Reply> {
        let (inode, lease) = self.see(caller, fid)?;
        Ok(Reply::Entry {
            entry: Entry { attr: inode.attr(fid), lease },
            parent_lease: LeaseKind::None,
            parent: None,
        })
    }

    pub(super) fn set_attr(&mut self, caller: &Caller, fid: Fid, change: &AttrChange) -> Step<Reply> {
        if change.size.is_some_and(|size| size > 0) {
            self.recover_lost(caller, fid)?;
        }
        let mut inode = self.load(fid)?;
        if change.size.is_some() {
            match inode.kind {
                FileKind::Regular => {}
                FileKind::Directory => return Err(Fault::IsDirectory.into()),
                FileKind::Symlink
                | FileKind::Fifo
                | FileKind::Socket
                | FileKind::CharDevice
                | FileKind::BlockDevice => return Err(Fault::Invalid.into()),
            }
        }
        self.claim(caller, fid, Claim::Change)?;
        self.identified(fid, &inode)?;
        match change.size {
            Some(size) => self.resize(caller, fid, &mut inode, size)?,
            None => self.settle(caller, fid, &inode)?,
        }
        self.change_attributes(&mut inode, change);
        self.put_inode(fid, &inode)?;
        if change.mtime.is_some() {
            self.time_was_set(fid)?;
        }
        if change.size.is_some() || inode.attr_version == inode.change {
            self.export_inode(fid, &inode)?;
        }
        let entry = Entry { attr: inode.attr(fid), lease: self.grant_read(caller, fid) };
        Ok(Reply::Entry { entry, parent_lease: LeaseKind::None, parent: None })
    }

    fn change_attributes(&self, inode: &mut Inode, change: &AttrChange) {
        let now = self.now.wall;
        inode.changed(now);
        let owner_changes = change.uid.is_some() || change.gid.is_some();
        let mode_before = inode.mode;
        if let Some(mode) = change.mode {
            inode.mode = mode & 0o7777;
        } else if owner_changes && inode.kind != FileKind::Directory {
            inode.mode = mode_after_chown(inode.mode);
        }
        inode.uid = change.uid.unwrap_or(inode.uid);
        inode.gid = change.gid.unwrap_or(inode.gid);
        let times_before = (inode.atime, inode.mtime);
        inode.atime = change.atime.map_or(inode.atime, |time| at(time, now));
        inode.mtime = change.mtime.map_or(inode.mtime, |time| at(time, now));
        if owner_changes || inode.mode != mode_before || (inode.atime, inode.mtime) != times_before {
            inode.attr_version = inode.change;
        }
        if change.size.is_some() && change.mtime.is_none() {
            inode.mtime = now;
        }
    }

    pub(super) fn statistics(&self) -> Reply {
        let inodes = self.counters.inodes;
        Reply::Statistics { inodes, inodes_free: INODES_MAX.saturating_sub(inodes) }
    }
}

fn at(time: SetTime, now: Timestamp) -> Timestamp {
    match time {
        SetTime::Now => now,
        SetTime::At(time) => time,
    }
}

/// `chown(2)`: setuid goes, and setgid too where it is not a mark of mandatory locking.
fn mode_after_chown(mode: u32) -> u32 {
    let without = mode & !SETUID;
    if without & GROUP_EXECUTE == 0 { without } else { without & !SETGID }
}
