//! Files that lost objects with a target that was removed.
//!
//! ```text
//! nothing stored in it           new objects, elsewhere
//! the repository has its bytes   released: they are brought in again when they are read
//! else                           reading and writing what is gone fails with `Lost`; cutting the file to nothing heals it
//! ```
//! Found out when somebody wants a file's layout, for nobody knows beforehand which files those are.
//! Invariant: no file is given other objects, or another origin, while bytes of it are only here.

use lustre_model::fid::Fid;
use lustre_model::layout::{Layout, OstIndex, Stripe};
use lustre_model::metadata::TargetState;

use super::lease::Claim;
use super::{Caller, Target};
use crate::failure::{Step, TargetError};
use crate::inode::{Absent, File, Inode};

impl Target {
    /// Makes a file whole that lost objects, where that is possible.
    pub(super) fn recover_lost(&mut self, caller: &Caller, fid: Fid) -> Step<()> {
        if self.targets.values().all(|target| target.state == TargetState::Active) {
            return Ok(());
        }
        let inode = self.load(fid)?;
        if !inode.file().is_some_and(|file| self.has_lost(file))
            || self.others_may_write(caller, fid)
            || self.has_writer(fid)
            || self.restores_under_way(fid)
        {
            return Ok(());
        }
        self.settle(caller, fid, &inode)?;
        let is_empty = inode.size == 0 || inode.file().is_some_and(|file| !file.written);
        let origin = if is_empty { None } else { self.origin(fid, &inode)? };
        if !is_empty && origin.is_none() {
            return Ok(());
        }
        self.claim(caller, fid, Claim::Change)?;
        let mut inode = self.load(fid)?;
        if let Some(origin) = origin.as_ref().filter(|_| inode.absent().is_none()) {
            self.count_released(origin.link, 1)?;
        }
        self.replace_objects(fid, &mut inode)?;
        if let Some(file) = inode.file_mut().filter(|_| origin.is_some()) {
            file.absent = origin;
            inode.blocks = 1;
            inode.change += 1;
        }
        self.put_inode(fid, &inode)?;
        Ok(())
    }

    /// Whether a session other than the caller's may write through an open file, which it need not have a lease for. The
    /// caller's own writes ask first.
    fn others_may_write(&self, caller: &Caller, fid: Fid) -> bool {
        let opens = self.opens.get(&fid).into_iter().flatten();
        opens.filter(|opened| opened.writable).any(|opened| opened.session != caller.session)
    }

    /// Whether objects of a file were on a target that was removed.
    pub(super) fn has_lost(&self, file: &File) -> bool {
        file.layout.stripes().any(|stripe| !self.is_active(stripe.target))
    }

    fn is_active(&self, target: OstIndex) -> bool {
        self.targets.get(&target).is_none_or(|target| target.state == TargetState::Active)
    }

    /// Takes a file's objects away; it gets others when it is written.
    pub(super) fn replace_objects(&mut self, fid: Fid, inode: &mut Inode) -> Result<(), TargetError> {
        let Some(file) = inode.file_mut() else { return Ok(()) };
        let rest: Vec<Stripe> =
            file.layout.stripes().filter(|stripe| self.is_active(stripe.target)).collect();
        let mut layout = Layout { generation: file.layout.generation + 1, ..file.layout.clone() };
        layout.components.iter_mut().for_each(|component| component.stripes.clear());
        (file.layout, file.written) = (layout, false);
        self.doom(fid, rest)
    }

    /// Where the repository has all bytes of a file as they are.
    fn origin(&self, fid: Fid, inode: &Inode) -> Result<Option<Absent>, TargetError> {
        let mut held = self.held_as(fid, inode)?.into_iter();
        let found = held.find(|(_, stored)| stored.data_version == inode.data_version);
        if let Some(absent) = inode.absent() {
            let whole = Absent { present: Vec::new(), ..absent.clone() };
            let same = found.is_some_and(|(_, stored)| stored.etag == absent.etag);
            return Ok(same.then_some(whole));
        }
        Ok(found.map(|((link, key), stored)| Absent {
            link,
            key,
            etag: stored.etag,
            size: inode.size,
            limit: inode.size,
            present: Vec::new(),
        }))
    }
}
