//! Names come and go: lookup, create, link, remove.
//!
//! Renaming is `rename`, listing is `directory`.
//! Invariant: a directory's link count is 2 plus its directories, any other inode's is the number of its names.

use lustre_model::attr::{Attr, FileKind, Owner};
use lustre_model::fault::Fault;
use lustre_model::fid::Fid;

use lustre_model::metadata::{Entry, NewInode, OpenMode, RemoveKind, Reply, Request};

use super::entry::check_name;
use super::layout::without_objects;
use super::lease::Claim;
use super::open::view;
use super::{Caller, Target};
use crate::failure::{Step, TargetError};
use crate::inode::{Body, Directory, File, Inode};
use crate::key;

/// Most names of one inode.
const LINK_MAX: u32 = 65_000;
/// Longest target of a symbolic link.
const SYMLINK_MAX: usize = 4095;
/// The bit by which a directory hands its group down.
const SETGID: u32 = 0o2000;

/// What to create, where.
struct Creation<'a> {
    parent: Fid,
    name: &'a [u8],
    mode: u32,
    owner: Owner,
    inode: &'a NewInode,
}

impl Target {
    pub(super) fn lookup(&mut self, caller: &Caller, parent: Fid, name: &[u8]) -> Step<Reply> {
        check_name(name)?;
        self.directory(parent)?;
        self.claim(caller, parent, Claim::See)?;
        let (_, fid) = self.find(parent, name)?.ok_or(Fault::NotFound)?;
        self.recover_lost(caller, fid)?;
        let (inode, lease) = self.see(caller, fid)?;
        let parent_lease = self.grant_read(caller, parent);
        if inode.file().is_some() {
            return Ok(Reply::Opened {
                view: view(fid, &inode, lease),
                open: None,
                parent_lease,
                parent: None,
                created: false,
            });
        }
        Ok(Reply::Entry { entry: Entry { attr: inode.attr(fid), lease }, parent_lease, parent: None })
    }

    pub(super) fn create(&mut self, caller: &Caller, request: &Request) -> Step<Reply> {
        let Request::Create { parent, name, mode, owner, exclusive, inode } = request else {
            return Err(Fault::Invalid.into());
        };
        check_name(name)?;
        let directory = self.directory(*parent)?;
        if let Some((_, fid)) = self.find(*parent, name)? {
            return match inode {
                NewInode::Regular { open: Some(open) } if !exclusive => {
                    self.open_existing(caller, *parent, fid, *open)
                }
                NewInode::Regular { .. }
                | NewInode::Directory
                | NewInode::Symlink { .. }
                | NewInode::Node { .. } => Err(Fault::Exists.into()),
            };
        }
        self.claim(caller, *parent, Claim::Change)?;
        let creation = Creation { parent: *parent, name, mode: *mode, owner: *owner, inode };
        let (fid, created, parent) = self.make(&creation, directory)?;
        self.created(caller, (fid, &created), (&creation, parent))
    }

    fn open_existing(&mut self, caller: &Caller, parent: Fid, fid: Fid, mode: OpenMode) -> Step<Reply> {
        match self.load(fid)?.kind {
            FileKind::Regular => {}
            FileKind::Directory => return Err(Fault::IsDirectory.into()),
            FileKind::Symlink
            | FileKind::Fifo
            | FileKind::Socket
            | FileKind::CharDevice
            | FileKind::BlockDevice => return Err(Fault::Exists.into()),
        }
        let (view, open) = self.open_view(caller, fid, mode)?;
        let parent_lease = self.grant_read(caller, parent);
        Ok(Reply::Opened { view, open: Some(open), parent_lease, parent: None, created: false })
    }

    /// Makes an inode and its name; returns it, and the directory as it is then.
    fn make(&mut self, creation: &Creation<'_>, mut directory: Inode) -> Step<(Fid, Inode, Attr)> {
        let fid = self.new_fid();
        let mut inode = self.new_inode(fid, creation, &directory)?;
        self.add_name((fid, &mut inode), creation.parent, creation.name)?;
        self.add_entry((creation.parent, &mut directory), creation.name, fid)?;
        if inode.kind == FileKind::Directory {
            directory.link_count += 1;
        }
        directory.modified(self.now.wall);
        self.put_inode(creation.parent, &directory)?;
        self.put_inode(fid, &inode)?;
        self.counters.inodes += 1;
        self.export_name(creation.parent, creation.name, &inode)?;
        Ok((fid, inode, directory.attr(creation.parent)))
    }

    fn new_inode(&mut self, fid: Fid, creation: &Creation<'_>, directory: &Inode) -> Step<Inode> {
        let inherits = directory.mode & SETGID != 0;
        let mut inode = blank_inode(creation.mode & 0o7777, creation.owner, self.now.wall);
        if inherits {
            inode.gid = directory.gid;
        }
        match creation.inode {
            NewInode::Regular { open } => {
                let template = self.template_below(directory)?;
                let mut file =
                    File { layout: without_objects(&template), ordinal: 0, absent: None, written: false };
                if open.is_some_and(|open| open != OpenMode::Read) {
                    self.instantiate_first(fid, &mut file)?;
                }
                inode.body = Body::File(file);
            }
            NewInode::Directory => {
                inode.kind = FileKind::Directory;
                inode.link_count = 2;
                inode.mode |= if inherits { SETGID } else { 0 };
                let default = directory.directory().and_then(|directory| directory.default.clone());
                inode.body = Body::Directory(Directory { default, entries: 0 });
            }
            NewInode::Symlink { target } => make_symlink(&mut inode, target)?,
            NewInode::Node { kind, device } => make_node(&mut inode, *kind, *device)?,
        }
        Ok(inode)
    }

    fn created(
        &mut self,
        caller: &Caller,
        (fid, inode): (Fid, &Inode),
        (creation, parent): (&Creation<'_>, Attr),
    ) -> Step<Reply> {
        let (parent_lease, parent) = (self.grant_read(caller, creation.parent), Some(parent));
        let NewInode::Regular { open: Some(mode) } = creation.inode else {
            let lease = self.grant_read(caller, fid);
            return Ok(Reply::Entry { entry: Entry { attr: inode.attr(fid), lease }, parent_lease, parent });
        };
        let (view, open) = self.register_open(caller, (fid, inode), *mode)?;
        Ok(Reply::Opened { view, open: Some(open), parent_lease, parent, created: true })
    }

    pub(super) fn link(&mut self, caller: &Caller, fid: Fid, (parent, name): (Fid, &[u8])) -> Step<Reply> {
        check_name(name)?;
        let mut directory = self.directory(parent)?;
        let mut inode = self.load(fid)?;
        if inode.kind == FileKind::Directory {
            return Err(Fault::NotPermitted.into());
        }
        if self.find(parent, name)?.is_some() {
            return Err(Fault::Exists.into());
        }
        if inode.link_count == 0 {
            return Err(Fault::NotFound.into());
        }
        if inode.link_count >= LINK_MAX {
            return Err(Fault::TooManyLinks.into());
        }
        self.claim_all(caller, &[(parent, Claim::Change), (fid, Claim::Change)])?;
        self.identified(fid, &inode)?;
        self.settle(caller, fid, &inode)?;
        self.add_name((fid, &mut inode), parent, name)?;
        self.add_entry((parent, &mut directory), name, fid)?;
        inode.link_count += 1;
        inode.changed(self.now.wall);
        directory.modified(self.now.wall);
        self.put_inode(parent, &directory)?;
        self.put_inode(fid, &inode)?;
        self.export_name(parent, name, &inode)?;
        let entry = Entry { attr: inode.attr(fid), lease: self.grant_read(caller, fid) };
        let parent_lease = self.grant_read(caller, parent);
        Ok(Reply::Entry { entry, parent_lease, parent: Some(directory.attr(parent)) })
    }

    pub(super) fn remove(
        &mut self,
        caller: &Caller,
        (parent, name): (Fid, &[u8]),
        kind: RemoveKind,
    ) -> Step<Reply> {
        check_name(name)?;
        let mut directory = self.directory(parent)?;
        let (slot, fid) = self.find(parent, name)?.ok_or(Fault::NotFound)?;
        let mut inode = self.load(fid)?;
        match (kind, inode.kind == FileKind::Directory) {
            (RemoveKind::File, true) => return Err(Fault::IsDirectory.into()),
            (RemoveKind::Directory, false) => return Err(Fault::NotDirectory.into()),
            (RemoveKind::File, false) | (RemoveKind::Directory, true) => {}
        }
        self.check_removable(fid, &inode)?;
        self.claim_all(caller, &[(parent, Claim::Change), (fid, Claim::Change)])?;
        self.export_name(parent, name, &inode)?;
        self.remove_entry((parent, &mut directory), slot)?;
        if kind == RemoveKind::Directory {
            directory.link_count -= 1;
        }
        directory.modified(self.now.wall);
        self.put_inode(parent, &directory)?;
        self.lose_name((fid, &mut inode), parent, name)?;
        let attr = inode.attr(fid);
        if attr.link_count == 0 {
            self.take_lease(caller.session, fid)?;
        }
        let parent_lease = self.grant_read(caller, parent);
        Ok(Reply::Removed { attr, parent_lease, parent: Some(directory.attr(parent)) })
    }

    /// Refuses to remove a directory that has entries, or that a link needs.
    pub(super) fn check_removable(&self, fid: Fid, inode: &Inode) -> Step<()> {
        if inode.directory().is_some_and(|directory| directory.entries > 0) {
            return Err(Fault::NotEmpty.into());
        }
        if self.is_link_root(fid) {
            return Err(Fault::Busy.into());
        }
        Ok(())
    }

    /// Takes a name from an inode, and the inode itself when it was the last.
    pub(super) fn lose_name(
        &mut self,
        (fid, inode): (Fid, &mut Inode),
        parent: Fid,
        name: &[u8],
    ) -> Result<(), TargetError> {
        self.remove_name((fid, inode), parent, name)?;
        inode.link_count = if inode.directory().is_some() { 0 } else { inode.link_count.saturating_sub(1) };
        inode.changed(self.now.wall);
        if inode.link_count > 0 {
            return self.put_inode(fid, inode);
        }
        self.orphan(fid, inode)
    }

    pub(super) fn read_symlink(&mut self, fid: Fid) -> Step<Reply> {
        let inode = self.load(fid)?;
        self.identified(fid, &inode)?;
        match inode.body {
            Body::Symlink { target } => Ok(Reply::Bytes { bytes: target }),
            Body::File(_) | Body::Directory(_) | Body::Node => Err(Fault::Invalid.into()),
        }
    }

    /// A directory that things can be found and made in.
    pub(super) fn directory(&self, fid: Fid) -> Step<Inode> {
        let inode = self.table.get::<Inode>(&key::inode(fid))?.ok_or(Fault::NotFound)?;
        if inode.directory().is_none() {
            return Err(Fault::NotDirectory.into());
        }
        Ok(inode)
    }
}

/// An inode with one name to come, a regular file until told otherwise.
pub(super) fn blank_inode(mode: u32, owner: Owner, now: lustre_model::attr::Timestamp) -> Inode {
    Inode {
        kind: FileKind::Regular,
        mode,
        uid: owner.uid,
        gid: owner.gid,
        link_count: 1,
        size: 0,
        blocks: 0,
        device: 0,
        atime: now,
        mtime: now,
        ctime: now,
        change: 1,
        parent: Fid::ROOT,
        name: Vec::new(),
        xattrs: 0,
        unidentified: false,
        data_version: 1,
        attr_version: 1,
        body: Body::Node,
    }
}

pub(super) fn make_symlink(inode: &mut Inode, target: &[u8]) -> Step<()> {
    if target.is_empty() {
        return Err(Fault::NotFound.into());
    }
    if target.len() > SYMLINK_MAX {
        return Err(Fault::NameTooLong.into());
    }
    if target.contains(&0) {
        return Err(Fault::Invalid.into());
    }
    inode.kind = FileKind::Symlink;
    inode.mode = 0o777;
    inode.size = target.len() as u64;
    inode.body = Body::Symlink { target: target.to_vec() };
    Ok(())
}

fn make_node(inode: &mut Inode, kind: FileKind, device: u64) -> Step<()> {
    match kind {
        FileKind::Fifo | FileKind::Socket => {}
        FileKind::CharDevice | FileKind::BlockDevice => inode.device = device,
        FileKind::Regular | FileKind::Directory | FileKind::Symlink => return Err(Fault::Invalid.into()),
    }
    inode.kind = kind;
    inode.body = Body::Node;
    Ok(())
}
