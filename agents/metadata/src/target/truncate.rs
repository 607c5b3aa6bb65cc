//! Changes of a file's size by `SetAttr` and `O_TRUNC`.
//!
//! Bytes behind the new end are cut at the object targets before the size changes, so that they never reappear when the
//! file grows again. While that is under way nobody else gets at the inode.
//! Invariant: a file whose objects may be half cut is marked as being written, durably, before any of them is cut.

use lustre_model::fault::Fault;
use lustre_model::fid::Fid;
use lustre_model::metadata::LeaseKind;

use super::request::RequestId;
use super::size::WriteTime;
use super::work::Job;
use super::{Caller, Target, Work};
use crate::failure::{Halt, Step, TargetError, Wait};
use crate::inode::Inode;

/// Largest file.
pub(super) const FILE_SIZE_MAX: u64 = i64::MAX as u64;

/// A truncation under way.
#[derive(Debug, Clone, Copy)]
pub(super) struct Truncation {
    /// The request that wants it.
    pub(super) owner: RequestId,
    result: Option<Result<(), Fault>>,
}

impl Target {
    /// Makes a file `size` bytes long, in `inode`. The caller has claimed it and stores it.
    pub(super) fn resize(&mut self, caller: &Caller, fid: Fid, inode: &mut Inode, size: u64) -> Step<()> {
        if size > FILE_SIZE_MAX {
            return Err(Fault::TooLarge.into());
        }
        let uncertain = self.writing.contains_key(&fid);
        if self.restores_under_way(fid) {
            return Err(Halt::Wait(Wait::Restores(fid)));
        }
        match self.truncations.get(&fid).map(|truncation| truncation.result) {
            Some(None) => return Err(Halt::Wait(Wait::Truncation(fid))),
            Some(Some(result)) => {
                self.truncations.remove(&fid);
                self.wake(Wait::Lease(fid));
                result?;
                inode.written();
            }
            None if size < inode.size || uncertain => self.start_truncation(caller, fid, (inode, size))?,
            None => {}
        }
        self.set_size(fid, inode, size)?;
        if size == 0 && inode.file().is_some_and(|file| self.has_lost(file)) {
            self.replace_objects(fid, inode)?;
        }
        match self.held(caller.session, fid) {
            LeaseKind::Write if size == 0 => self.mark_writing(fid, 0, WriteTime::Objects)?,
            LeaseKind::Write => self.mark_size(fid, size)?,
            LeaseKind::None | LeaseKind::Read => self.unmark_writing(fid),
        }
        Ok(())
    }

    /// Has the objects cut; waits unless there are none.
    fn start_truncation(&mut self, caller: &Caller, fid: Fid, (inode, size): (&Inode, u64)) -> Step<()> {
        let Some(file) = inode.file() else { return Err(Fault::Invalid.into()) };
        let sizes = file.layout.object_sizes(size);
        if sizes.is_empty() {
            return Ok(());
        }
        self.mark_size(fid, size.min(inode.size))?;
        self.keep();
        self.truncations.insert(fid, Truncation { owner: caller.request, result: None });
        self.start_work(Job::Truncate { fid }, Work::Truncate { sizes });
        Err(Halt::Wait(Wait::Truncation(fid)))
    }

    fn set_size(&mut self, fid: Fid, inode: &mut Inode, size: u64) -> Result<(), TargetError> {
        if size < inode.size {
            inode.blocks = inode.blocks.min(size.div_ceil(512));
        }
        inode.size = size;
        inode.data_version = inode.change + 1;
        let Some(file) = inode.file_mut() else { return Ok(()) };
        if let Some(absent) = &mut file.absent {
            absent.limit = absent.limit.min(size);
            if absent.is_complete() {
                let link = absent.link;
                file.absent = None;
                self.count_released(link, -1)?;
                self.wake(Wait::Bytes(fid));
            }
        }
        Ok(())
    }

    /// Takes what the object targets said.
    pub(super) fn truncated(&mut self, fid: Fid, result: Result<(), Fault>) {
        let Some(truncation) = self.truncations.get_mut(&fid) else { return };
        if self.parked.contains_key(&truncation.owner) {
            truncation.result = Some(result);
            self.wake(Wait::Truncation(fid));
        } else {
            self.truncations.remove(&fid);
            self.wake(Wait::Lease(fid));
        }
    }
}
