//! Inodes without a name: kept while open, then removed with all that belongs to them.
//!
//! Invariant: objects of a removed file are queued for destruction in the same commit that removes its inode.

use lustre_model::fid::Fid;
use lustre_model::metadata::{OpenId, SessionId};

use super::Target;
use super::file::OpenRecord;
use crate::failure::{TargetError, Wait};
use crate::inode::Inode;
use crate::key;

impl Target {
    /// Stores an inode that lost its last name, or removes it when nobody has it open.
    pub(super) fn orphan(&mut self, fid: Fid, inode: &Inode) -> Result<(), TargetError> {
        if self.is_in_use(fid) {
            self.table.put(key::orphan(fid), &())?;
            return self.put_inode(fid, inode);
        }
        self.reap(fid, inode)
    }

    /// Whether somebody may have it open, or moves its bytes.
    fn is_in_use(&self, fid: Fid) -> bool {
        self.opens.contains_key(&fid) || !self.unheard.is_empty() || self.restores_under_way(fid)
    }

    /// A session said what it has open, or ended. After the last of those that a start found, what nobody has open goes.
    pub(super) fn heard_anew(&mut self, session: SessionId) -> Result<(), TargetError> {
        if !self.unheard.remove(&session) {
            return Ok(());
        }
        self.wake(Wait::Heard);
        if self.unheard.is_empty() {
            self.reap_orphans()?;
        }
        Ok(())
    }

    fn reap_orphans(&mut self) -> Result<(), TargetError> {
        let orphans: Vec<(Vec<u8>, ())> = self.table.load(b"Z")?;
        for fid in orphans.iter().filter_map(|(record_key, ())| key::read_fid(&record_key[1..])) {
            if let Some(inode) = self.table.get::<Inode>(&key::inode(fid))? {
                self.reap(fid, &inode)?;
            }
        }
        Ok(())
    }

    /// Removes an inode without a name, unless it is in use.
    pub(super) fn reap(&mut self, fid: Fid, inode: &Inode) -> Result<(), TargetError> {
        if self.is_in_use(fid) {
            return Ok(());
        }
        self.table.delete(key::inode(fid));
        self.table.delete(key::orphan(fid));
        let has_objects = self.writing.contains_key(&fid) || inode.file().is_some_and(|file| file.written);
        self.unmark_writing(fid);
        if inode.xattrs > 0 {
            self.table.delete_all(&key::xattrs(fid))?;
        }
        if inode.directory().is_some() {
            self.table.delete_all(&key::entries(fid))?;
        }
        // A link that went before its objects were asked leaves the question behind.
        if inode.unidentified || !self.links.former.is_empty() {
            self.table.delete(key::unidentified(fid));
            self.wake(Wait::Identity(fid));
        }
        if let Some(link) = inode.absent().map(|absent| absent.link) {
            self.count_released(link, -1)?;
        }
        if let Some(file) = inode.file().filter(|_| has_objects) {
            self.doom(fid, file.layout.stripes().collect())?;
        }
        self.counters.inodes = self.counters.inodes.saturating_sub(1);
        self.forget_restores(fid);
        Ok(())
    }

    /// After a start: finds open files, marked files, files without names and objects to destroy.
    pub(super) fn recover_files(&mut self) -> Result<(), TargetError> {
        for (record_key, record) in self.table.load::<OpenRecord>(b"F")? {
            let Some((session, open)) = key::read_pair(&record_key) else { continue };
            self.recover_open((SessionId(session), OpenId(open)), record);
        }
        self.recover_marks()?;
        self.recover_doomed()?;
        self.reap_orphans()?;
        let unwatched = self.writing.keys().copied().filter(|fid| !self.is_open_for_writing(*fid));
        for fid in unwatched.collect::<Vec<Fid>>() {
            if let Some(inode) = self.table.get::<Inode>(&key::inode(fid))? {
                self.glimpse(fid, &inode);
            }
        }
        Ok(())
    }

    fn recover_open(&mut self, (session, open): (SessionId, OpenId), record: OpenRecord) {
        if let Some(holder) = self.sessions.get_mut(&session) {
            holder.opens.insert(open, record.fid);
            let opened = super::file::Opened { session, open, writable: record.writable };
            self.opens.entry(record.fid).or_default().push(opened);
        }
    }
}
