//! How long files are: who knows it, and how it is found out when nobody does.
//!
//! The holder of a write lease knows; otherwise the record does, unless the file is marked as being written: then the
//! object targets are asked.
//!
//! The same goes for the time of the last write, but that times can also be set, and objects know nothing of it. So a mark says
//! where the time is to be found:
//! ```text
//! granted on a file with bytes ─► Record ──first write is announced──► Objects ──time is set──► Record
//! granted on an empty file ─────────────────────────────────────────► Objects
//! ```
//! A client announces its first write under a lease, and the first after it set the time, as an update with the present time,
//! before any byte goes. No clocks are compared to know what came first.
//! Invariant: no size is answered for a marked file unless to the session that holds its write lease; a time that was set is
//! replaced only by a write that came after it.

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

/// What is known of a file that may be being written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    /// It is at least so long.
    pub(super) floor: u64,
    pub(super) time: WriteTime,
    /// Somebody wrote since the object targets were asked: what they say is not the last word.
    outdated: bool,
}

/// Where the time of a marked file's last write is to be found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WriteTime {
    /// In its record: nobody has announced a write since.
    Record,
    /// At its objects, if that is later.
    Objects,
}

impl Target {
    /// Marks a file as being written. It is at least `floor` bytes long.
    pub(super) fn mark_writing(&mut self, fid: Fid, floor: u64, time: WriteTime) -> Result<(), TargetError> {
        let before = self.writing.get(&fid).copied();
        let outdated = before.is_some_and(|mark| mark.outdated);
        self.writing.insert(fid, Mark { floor, time, outdated });
        if before.map(|mark| mark.floor) != Some(floor) {
            self.table.put(key::writing(fid), &floor)?;
        }
        let stood = before.is_some_and(|mark| mark.time == WriteTime::Record);
        match time {
            WriteTime::Record if !stood => self.table.put(key::time_stands(fid), &())?,
            WriteTime::Objects if stood => self.table.delete(key::time_stands(fid)),
            WriteTime::Record | WriteTime::Objects => {}
        }
        Ok(())
    }

    /// The same, of a file of which this says nothing new about its time.
    pub(super) fn mark_size(&mut self, fid: Fid, floor: u64) -> Result<(), TargetError> {
        let time = self.writing.get(&fid).map_or(WriteTime::Record, |mark| mark.time);
        self.mark_writing(fid, floor, time)
    }

    /// The time of a file's last write was set: what its objects say of it is older.
    pub(super) fn time_was_set(&mut self, fid: Fid) -> Result<(), TargetError> {
        match self.writing.get(&fid).copied() {
            Some(mark) => self.mark_writing(fid, mark.floor, WriteTime::Record),
            None => Ok(()),
        }
    }

    /// Takes the mark away: the record is right.
    pub(super) fn unmark_writing(&mut self, fid: Fid) {
        let Some(mark) = self.writing.remove(&fid) else { return };
        self.table.delete(key::writing(fid));
        if mark.time == WriteTime::Record {
            self.table.delete(key::time_stands(fid));
        }
    }

    /// After a start: finds marked files.
    pub(super) fn recover_marks(&mut self) -> Result<(), TargetError> {
        for (record_key, floor) in self.table.load::<u64>(b"W")? {
            if let Some(fid) = key::read_fid(&record_key[1..]) {
                self.writing.insert(fid, Mark { floor, time: WriteTime::Objects, outdated: false });
            }
        }
        for (record_key, ()) in self.table.load::<()>(b"Y")? {
            let mark = key::read_fid(&record_key[1..]).and_then(|fid| self.writing.get_mut(&fid));
            if let Some(mark) = mark {
                mark.time = WriteTime::Record;
            }
        }
        Ok(())
    }

    /// Waits until the file's record is right, or the caller is the one who knows better.
    pub(super) fn settle(&mut self, caller: &Caller, fid: Fid, inode: &Inode) -> Step<()> {
        if !self.writing.contains_key(&fid) || self.held(caller.session, fid) == LeaseKind::Write {
            return Ok(());
        }
        self.glimpse(fid, inode);
        Err(Halt::Wait(Wait::Size(fid)))
    }

    /// Has it found out what was written to a marked file that nobody has open for writing: its writer may have kept the lease,
    /// and who was asked before may not have answered.
    pub(super) fn have_settled(&mut self, fid: Fid, inode: &Inode) {
        if self.has_writer(fid) {
            self.recall_writer(fid);
        } else {
            self.glimpse(fid, inode);
        }
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
            && let Some(mark) = self.writing.get_mut(&fid)
            && !std::mem::take(&mut mark.outdated)
        {
            let mark = *mark;
            if let Some(inode) = self.table.get::<Inode>(&key::inode(fid))? {
                self.take_size(fid, inode, (&stats, mark))?;
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
        (stats, mark): (&[ObjectStat], Mark),
    ) -> Result<(), TargetError> {
        let Some(file) = inode.file() else { return Ok(()) };
        let mut sizes = stats.iter().map(|stat| stat.size);
        let size = file.layout.file_size(|_| sizes.next().unwrap_or(0)).max(mark.floor);
        let written_before = file.written;
        let written = stats.iter().filter(|stat| stat.size > 0).map(|stat| stat.mtime).max();
        let mtime = match mark.time {
            WriteTime::Record => inode.mtime,
            WriteTime::Objects => written.map_or(inode.mtime, |written| written.max(inode.mtime)),
        };
        let blocks = stats.iter().map(|stat| stat.blocks).sum();
        if mark.time == WriteTime::Record && size == inode.size && self.has_lost(file) {
            // Nobody announced a write; what objects say that are gone is no news of the file.
            return Ok(());
        }
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
    /// asked before the next answer about the file's size; when it wrote it says itself. A holder's time that differs from the
    /// record's says that it wrote, or is about to.
    pub(super) fn apply_update(&mut self, caller: &Caller, fid: Fid, update: WriteUpdate) -> Step<()> {
        let Some(mut inode) = self.table.get::<Inode>(&key::inode(fid))? else { return Ok(()) };
        if inode.file().is_none() {
            return Err(Fault::Invalid.into());
        }
        let leased = self.held(caller.session, fid) == LeaseKind::Write;
        let announced = self.writing.get(&fid).is_none_or(|mark| mark.time == WriteTime::Objects);
        if leased && !announced && inode.file().is_some_and(|file| self.has_lost(file)) {
            // The write that this announces would fail; the file stays what the repository knows.
            return Err(Fault::Lost.into());
        }
        inode.changed(self.now.wall);
        inode.written();
        self.drop_capability(fid, &mut inode)?;
        if leased {
            // Nothing that is written makes a file shorter; only `resize` does.
            let size = inode.size.max(update.size);
            if update.mtime != inode.mtime {
                self.mark_writing(fid, size, WriteTime::Objects)?;
            } else {
                self.mark_size(fid, size)?;
            }
            inode.size = size;
            inode.mtime = update.mtime;
            inode.blocks = update.blocks.unwrap_or_else(|| size.div_ceil(BLOCK));
        } else {
            inode.mtime = inode.mtime.max(update.mtime);
            self.mark_size(fid, inode.size)?;
            let asked = self.has_work(&Job::Glimpse { fid });
            if let Some(mark) = self.writing.get_mut(&fid) {
                mark.outdated = asked;
            }
        }
        inode.data_version = inode.change;
        self.put_inode(fid, &inode)?;
        self.export_inode(fid, &inode)?;
        Ok(())
    }
}
