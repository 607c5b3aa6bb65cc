//! Owners and modes of imported inodes: a listing has none, so they are asked for object by object.
//!
//! First those that somebody waits to see, then the rest.
//! Invariant: no attribute of an inode that is not identified is ever answered as if it were known.

use lustre_model::attr::FileKind;
use lustre_model::fid::Fid;
use lustre_model::hsm::{HsmFailure, HsmOutcome, HsmVerb, LinkId, LinkState, PosixMetadata};

use super::Target;
use super::mover::{Errand, backoff, fault_of};
use super::names::make_symlink;
use crate::failure::{Halt, Step, TargetError, Wait};
use crate::inode::Inode;
use crate::key;

/// Inodes that are taken at once for identifying in the background.
const BACKGROUND: usize = 64;
/// Bits that travel with an object.
const MODE_BITS: u32 = 0o7777;
/// Type bits of `st_mode`.
const TYPE_BITS: u32 = 0o170_000;

impl Target {
    /// Waits until an inode's attributes are known.
    pub(super) fn identified(&mut self, fid: Fid, inode: &Inode) -> Step<()> {
        if !inode.unidentified {
            return Ok(());
        }
        self.identify_soon(fid);
        Err(Halt::Wait(Wait::Identity(fid)))
    }

    pub(super) fn identify_soon(&mut self, fid: Fid) {
        if self.links.identifying.insert(fid) {
            self.links.identify.push_back(fid);
        }
    }

    /// Queues some inodes that nobody waits for; false when there are none.
    pub(super) fn identify_more(&mut self) -> Result<bool, TargetError> {
        let Some(from) = self.links.identify_next.take() else { return Ok(false) };
        let pairs = self.table.scan(&from, b"Q", BACKGROUND)?;
        let Some((last, _)) = pairs.last() else { return Ok(false) };
        self.links.identify_next = Some(key::next(last));
        for fid in pairs.iter().filter_map(|(record, _)| key::read_fid(&record[1..])) {
            self.identify_soon(fid);
        }
        Ok(true)
    }

    pub(super) fn next_identify(&mut self) -> Result<Option<(LinkId, Fid, HsmVerb, Errand)>, TargetError> {
        while let Some(fid) = self.links.identify.pop_front() {
            let asked = self.table.get::<(LinkId, String)>(&key::unidentified(fid))?;
            let live = |link: &LinkId| {
                self.links.all.get(link).is_some_and(|record| record.state != LinkState::Deleting)
            };
            if let Some((link, key)) = asked.filter(|(link, _)| live(link)) {
                return Ok(Some((link, fid, HsmVerb::Identify { key }, Errand::Identify { fid })));
            }
            self.links.identifying.remove(&fid);
        }
        Ok(None)
    }

    pub(super) fn end_identify(&mut self, fid: Fid, outcome: &HsmOutcome) -> Result<(), TargetError> {
        match outcome {
            HsmOutcome::Identified { metadata, symlink } => {
                self.take_identity(fid, metadata, symlink.as_deref())
            }
            // The object has gone since the listing: what it was is not to be had, and reading it will say so.
            HsmOutcome::Failed { code: HsmFailure::NotFound, .. }
            | HsmOutcome::Done
            | HsmOutcome::Stored { .. } => self.take_identity(fid, &PosixMetadata::default(), None),
            HsmOutcome::Failed { retry: true, .. } => {
                self.links.movers.identify_later.push_back((self.now.uptime_ms + backoff(2), fid));
                Ok(())
            }
            HsmOutcome::Failed { code, .. } => {
                self.links.identifying.remove(&fid);
                self.fail(Wait::Identity(fid), fault_of(*code))
            }
        }
    }

    fn take_identity(
        &mut self,
        fid: Fid,
        metadata: &PosixMetadata,
        symlink: Option<&[u8]>,
    ) -> Result<(), TargetError> {
        self.table.delete(key::unidentified(fid));
        self.settle_identity(fid, metadata, symlink)
    }

    fn settle_identity(
        &mut self,
        fid: Fid,
        metadata: &PosixMetadata,
        symlink: Option<&[u8]>,
    ) -> Result<(), TargetError> {
        self.links.identifying.remove(&fid);
        if let Some(mut inode) = self.table.get::<Inode>(&key::inode(fid))?.filter(|inode| inode.unidentified)
        {
            apply(&mut inode, metadata, symlink);
            self.put_inode(fid, &inode)?;
        }
        self.wake(Wait::Identity(fid));
        Ok(())
    }

    /// Stops asking for a link's objects, and takes what is known for true. What was to be asked stays noted, for a link
    /// that comes again.
    pub(super) fn give_up_identifying(&mut self, link: LinkId) -> Result<(), TargetError> {
        for (record, (owner, _)) in self.table.load::<(LinkId, String)>(b"P")? {
            if let Some(fid) = key::read_fid(&record[1..]).filter(|_| owner == link) {
                self.settle_identity(fid, &PosixMetadata::default(), None)?;
            }
        }
        Ok(())
    }
}

fn apply(inode: &mut Inode, metadata: &PosixMetadata, symlink: Option<&[u8]>) {
    inode.unidentified = false;
    inode.change += 1;
    inode.uid = metadata.uid.unwrap_or(inode.uid);
    inode.gid = metadata.gid.unwrap_or(inode.gid);
    inode.atime = metadata.atime.unwrap_or(inode.atime);
    inode.mtime = metadata.mtime.unwrap_or(inode.mtime);
    if let Some(permissions) = metadata.permissions {
        inode.mode = permissions & MODE_BITS;
    }
    let says_symlink =
        metadata.permissions.is_none_or(|bits| bits & TYPE_BITS == FileKind::Symlink.type_bits());
    if let Some(target) = symlink.filter(|_| says_symlink && inode.kind == FileKind::Regular)
        && make_symlink(inode, target).is_ok()
    {
        inode.blocks = 0;
    }
}
