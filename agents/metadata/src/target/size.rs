//! How long files are: who knows it, and how it is found out when nobody does.
//!
//! The holder of a write lease knows; otherwise the record does, unless the file is marked as being written: then the
//! object targets are asked.
//! Invariant: no size is answered for a marked file unless to the session that holds its write lease.

use lustre_model::fault::Fault;
use lustre_model::fid::Fid;
use lustre_model::metadata::{LeaseKind, WriteUpdate};
use lustre_model::object::ObjectStat;

use super::work::Job;
use super::{Caller, Target, Work};
use crate::failure::{Halt, Step, TargetError, Wait};
use crate::inode::Inode;
use crate::key;

/// Bytes in a block of `st_blocks`.
const BLOCK: u64 = 512;

impl Target {
    /// Marks a file as being written. It is at least `floor` bytes long.
    pub(super) fn mark_writing(&mut self, fid: Fid, floor: u64) -> Result<(), TargetError> {
        if self.writing.insert(fid, floor) != Some(floor) {
            self.table.put(key::writing(fid), &floor)?;
        }
        Ok(())
    }

    /// Takes the mark away: the record is right.
    pub(super) fn unmark_writing(&mut self, fid: Fid) {
        if self.writing.remove(&fid).is_some() {
            self.table.delete(key::writing(fid));
        }
    }

    /// Waits until the file's record is right, or the caller is the one who knows better.
    pub(super) fn settle(&mut self, caller: &Caller, fid: Fid, inode: &Inode) -> Step<()> {
        if !self.writing.contains_key(&fid) || self.held(caller.session, fid) == LeaseKind::Write {
            return Ok(());
        }
        self.glimpse(fid, inode);
        Err(Halt::Wait(Wait::Size(fid)))
    }

    /// Asks the object targets how long a file is, unless they are being asked.
    pub(super) fn glimpse(&mut self, fid: Fid, inode: &Inode) {
        let job = Job::Glimpse { fid };
        if self.has_work(&job) {
            return;
        }
        let stripes = inode.file().map(|file| file.layout.stripes().collect()).unwrap_or_default();
        self.start_work(job, Work::Glimpse { stripes });
    }

    /// Takes what the object targets said.
    pub(super) fn glimpsed(
        &mut self,
        fid: Fid,
        result: Result<Vec<ObjectStat>, Fault>,
    ) -> Result<(), TargetError> {
        let stats = match result {
            Ok(stats) => stats,
            Err(fault) => return self.fail(Wait::Size(fid), fault),
        };
        // A lease that was granted meanwhile has its own news.
        if !self.has_writer(fid)
            && let Some(floor) = self.writing.get(&fid).copied()
        {
            if let Some(inode) = self.table.get::<Inode>(&key::inode(fid))? {
                self.take_size(fid, inode, (&stats, floor))?;
            }
            self.unmark_writing(fid);
        }
        self.wake(Wait::Size(fid));
        Ok(())
    }

    fn take_size(
        &mut self,
        fid: Fid,
        mut inode: Inode,
        (stats, floor): (&[ObjectStat], u64),
    ) -> Result<(), TargetError> {
        let Some(file) = inode.file() else { return Ok(()) };
        let mut sizes = stats.iter().map(|stat| stat.size);
        let size = file.layout.file_size(|_| sizes.next().unwrap_or(0)).max(floor);
        let written_before = file.written;
        let written = stats.iter().filter(|stat| stat.size > 0).map(|stat| stat.mtime).max();
        let mtime = written.unwrap_or(inode.mtime).max(inode.mtime);
        let blocks = stats.iter().map(|stat| stat.blocks).sum();
        inode.written();
        if (size, mtime, blocks) == (inode.size, inode.mtime, inode.blocks) {
            return if written_before { Ok(()) } else { self.put_inode(fid, &inode) };
        }
        (inode.size, inode.blocks) = (size, blocks);
        inode.changed(self.now.wall);
        inode.mtime = mtime;
        inode.data_version = inode.change;
        self.put_inode(fid, &inode)?;
        self.export_inode(fid, &inode)
    }

    /// Takes what a client says it wrote.
    ///
    /// The holder of the write lease is right. Anybody else comes late: what it wrote is in the objects, and these are
    /// asked before the next answer about the file's size.
    pub(super) fn apply_update(&mut self, caller: &Caller, fid: Fid, update: WriteUpdate) -> Step<()> {
        let Some(mut inode) = self.table.get::<Inode>(&key::inode(fid))? else { return Ok(()) };
        if inode.file().is_none() {
            return Err(Fault::Invalid.into());
        }
        inode.changed(self.now.wall);
        inode.written();
        if self.held(caller.session, fid) == LeaseKind::Write {
            inode.size = update.size;
            inode.mtime = update.mtime;
            inode.blocks = update.blocks.unwrap_or_else(|| update.size.div_ceil(BLOCK));
            self.mark_writing(fid, update.size)?;
        } else {
            inode.mtime = inode.mtime.max(update.mtime);
            self.mark_writing(fid, inode.size)?;
        }
        inode.data_version = inode.change;
        self.put_inode(fid, &inode)?;
        self.export_inode(fid, &inode)?;
        Ok(())
    }
}
