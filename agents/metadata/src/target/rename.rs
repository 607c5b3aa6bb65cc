//! `rename` and `renameat2`: every case of POSIX, and the exchange of two names.
//!
//! Invariant: no directory ever becomes its own ancestor.

use lustre_model::attr::FileKind;
use lustre_model::fault::Fault;
use lustre_model::fid::Fid;
use lustre_model::metadata::{RenameMode, Reply};

use super::entry::check_name;
use super::lease::Claim;
use super::{Caller, Target};
use crate::failure::{Step, TargetError};
use crate::inode::Inode;

/// One side of a rename.
#[derive(Clone, Copy)]
struct Place<'a> {
    parent: Fid,
    name: &'a [u8],
    slot: u64,
    fid: Fid,
}

/// A directory and the name there, with what has that name now.
type Destination<'a> = ((Fid, &'a [u8]), Option<(Place<'a>, Inode)>);

impl Target {
    pub(super) fn rename(
        &mut self,
        caller: &Caller,
        from: (Fid, &[u8]),
        to: (Fid, &[u8]),
        mode: RenameMode,
    ) -> Step<Reply> {
        check_name(from.1)?;
        check_name(to.1)?;
        self.directory(from.0)?;
        self.directory(to.0)?;
        let source = self.place(from)?.ok_or(Fault::NotFound)?;
        let target = self.place(to)?;
        match (mode, target) {
            (RenameMode::NoReplace, Some(_)) => return Err(Fault::Exists.into()),
            (RenameMode::Exchange, None) => return Err(Fault::NotFound.into()),
            (RenameMode::Exchange, Some(target)) if target.fid != source.fid => {
                self.exchange(caller, source, target)?;
            }
            // Two names of one inode: POSIX has both stay.
            (RenameMode::Replace | RenameMode::Exchange, Some(target)) if target.fid == source.fid => {}
            (RenameMode::Replace | RenameMode::NoReplace | RenameMode::Exchange, target) => {
                self.move_name(caller, source, (to, target))?;
            }
        }
        Ok(Reply::Done)
    }

    fn place<'a>(&self, (parent, name): (Fid, &'a [u8])) -> Result<Option<Place<'a>>, TargetError> {
        let found = self.find(parent, name)?;
        Ok(found.map(|(slot, fid)| Place { parent, name, slot, fid }))
    }

    fn move_name(
        &mut self,
        caller: &Caller,
        source: Place<'_>,
        (to, target): ((Fid, &[u8]), Option<Place<'_>>),
    ) -> Step<()> {
        let inode = self.load(source.fid)?;
        self.check_movable(source.fid, &inode, to.0)?;
        let replaced = match target {
            Some(target) => Some((target, self.load(target.fid)?)),
            None => None,
        };
        if let Some((target, replaced)) = &replaced {
            match (inode.kind == FileKind::Directory, replaced.kind == FileKind::Directory) {
                (true, false) => return Err(Fault::NotDirectory.into()),
                (false, true) => return Err(Fault::IsDirectory.into()),
                (true, true) | (false, false) => self.check_removable(target.fid, replaced)?,
            }
        }
        let mut claims =
            vec![(source.parent, Claim::Change), (to.0, Claim::Change), (source.fid, Claim::Change)];
        claims.extend(target.map(|target| (target.fid, Claim::Change)));
        self.claim_all(caller, &claims)?;
        self.identified(source.fid, &inode)?;
        self.export_name(source.parent, source.name, &inode)?;
        self.take_away(source, &inode)?;
        self.put_down(source.fid, inode, (to, replaced))
    }

    fn take_away(&mut self, source: Place<'_>, inode: &Inode) -> Step<()> {
        let mut directory = self.directory(source.parent)?;
        self.remove_entry((source.parent, &mut directory), source.slot)?;
        if inode.kind == FileKind::Directory {
            directory.link_count -= 1;
        }
        directory.modified(self.now.wall);
        self.put_inode(source.parent, &directory)?;
        let mut inode = inode.clone();
        self.remove_name((source.fid, &mut inode), source.parent, source.name)?;
        Ok(self.put_inode(source.fid, &inode)?)
    }

    fn put_down(&mut self, fid: Fid, inode: Inode, (to, replaced): Destination<'_>) -> Step<()> {
        let is_directory = inode.kind == FileKind::Directory;
        let mut directory = self.directory(to.0)?;
        match replaced {
            Some((target, mut gone)) => {
                self.replace_entry(to.0, target.slot, fid)?;
                self.lose_name((target.fid, &mut gone), to.0, to.1)?;
            }
            None => {
                self.add_entry((to.0, &mut directory), to.1, fid)?;
                directory.link_count += u32::from(is_directory);
            }
        }
        directory.modified(self.now.wall);
        self.put_inode(to.0, &directory)?;
        let mut inode = self.load(fid)?;
        self.add_name((fid, &mut inode), to.0, to.1)?;
        inode.changed(self.now.wall);
        self.put_inode(fid, &inode)?;
        Ok(self.export_name(to.0, to.1, &inode)?)
    }

    fn exchange(&mut self, caller: &Caller, one: Place<'_>, other: Place<'_>) -> Step<()> {
        let (first, second) = (self.load(one.fid)?, self.load(other.fid)?);
        self.check_movable(one.fid, &first, other.parent)?;
        self.check_movable(other.fid, &second, one.parent)?;
        let fids = [one.parent, other.parent, one.fid, other.fid];
        self.claim_all(caller, &fids.map(|fid| (fid, Claim::Change)))?;
        self.identified(one.fid, &first)?;
        self.identified(other.fid, &second)?;
        let first_is_directory = u32::from(first.kind == FileKind::Directory);
        let second_is_directory = u32::from(second.kind == FileKind::Directory);
        self.export_name(one.parent, one.name, &first)?;
        self.export_name(other.parent, other.name, &second)?;
        for (place, gone, come, fid) in [
            (one, first_is_directory, second_is_directory, other.fid),
            (other, second_is_directory, first_is_directory, one.fid),
        ] {
            let mut directory = self.directory(place.parent)?;
            directory.link_count = directory.link_count + come - gone;
            directory.modified(self.now.wall);
            self.put_inode(place.parent, &directory)?;
            self.replace_entry(place.parent, place.slot, fid)?;
        }
        self.change_name((one.fid, first), one, other)?;
        self.change_name((other.fid, second), other, one)
    }

    fn change_name(&mut self, (fid, inode): (Fid, Inode), from: Place<'_>, to: Place<'_>) -> Step<()> {
        let mut inode = inode;
        self.remove_name((fid, &mut inode), from.parent, from.name)?;
        self.add_name((fid, &mut inode), to.parent, to.name)?;
        inode.changed(self.now.wall);
        self.put_inode(fid, &inode)?;
        Ok(self.export_name(to.parent, to.name, &inode)?)
    }

    /// Refuses to move a directory below itself, or one that a link's path leads through.
    fn check_movable(&self, fid: Fid, inode: &Inode, to: Fid) -> Step<()> {
        if inode.kind != FileKind::Directory {
            return Ok(());
        }
        if self.is_below(to, fid)? {
            return Err(Fault::Invalid.into());
        }
        for root in self.link_roots() {
            if self.is_below(root, fid)? {
                return Err(Fault::Busy.into());
            }
        }
        Ok(())
    }
}
