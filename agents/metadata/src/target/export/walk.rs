//! Walks: when a directory with entries moves, every key below its old and its new place is marked, a part at a time.
//!
//! Walks are durable and look at what is true when they get there, so that changes under their way do no harm.
//! Invariant: a walk's record goes in the same commit as the last of its marks.

use super::{Fid, LinkId, Target, TargetError, key};
use crate::inode::Inode;

/// Marks that one step of a walk makes at most.
const STEP: usize = 256;

impl Target {
    /// Begins to mark everything under a key of the repository, and everything in a directory.
    pub(super) fn start_walks(
        &mut self,
        link: LinkId,
        text: &[u8],
        (parent, name): (Fid, &[u8]),
    ) -> Result<(), TargetError> {
        match std::str::from_utf8(text) {
            Ok(prefix) => self.put_walk(key::sweep(link, prefix), &prefix.to_owned())?,
            Err(_) => self.sweep_unnamed(link, text),
        }
        if let Some((_, fid)) = self.find(parent, name)? {
            self.put_walk(key::walk(link, fid), &0_u64)?;
        }
        Ok(())
    }

    fn put_walk<T: serde::Serialize>(&mut self, record: Vec<u8>, after: &T) -> Result<(), TargetError> {
        self.links.exports.walks.insert(record.clone());
        self.table.put(record, after)
    }

    fn end_walk(&mut self, record: Vec<u8>) {
        self.links.exports.walks.remove(&record);
        self.table.delete(record);
    }

    pub(super) fn forget_walks(&mut self, link: LinkId) {
        let prefix = key::walks(link);
        let mine = self.links.exports.walks.iter().filter(|record| record.starts_with(&prefix));
        for record in mine.cloned().collect::<Vec<_>>() {
            self.end_walk(record);
        }
    }

    /// Does one step of one walk.
    pub(super) fn step_walk(&mut self) -> Result<(), TargetError> {
        let Some(record) = self.links.exports.walks.first().cloned() else { return Ok(()) };
        match key::read_walk(&record) {
            Some((link, b'1', prefix)) => self.step_sweep((record.clone(), link), prefix),
            Some((link, _, directory)) => match key::read_fid(directory) {
                Some(fid) => self.step_directory((record.clone(), link), fid),
                None => Ok(()),
            },
            None => Ok(()),
        }
    }

    fn step_sweep(&mut self, (record, link): (Vec<u8>, LinkId), prefix: &[u8]) -> Result<(), TargetError> {
        let Some(after) = self.table.get::<String>(&record)? else {
            self.end_walk(record);
            return Ok(());
        };
        let prefix = String::from_utf8_lossy(prefix).into_owned();
        let end = key::behind(&key::stored(link, &prefix));
        let pairs = self.table.scan(&key::stored(link, &after), &end, STEP)?;
        let mut last = None;
        for (stored, _) in &pairs {
            if let Some((link, text)) = key::read_link(stored) {
                last = Some(text.clone());
                self.mark(link, text)?;
            }
        }
        self.sweep_unnamed(link, prefix.as_bytes());
        match last {
            Some(last) if pairs.len() == STEP => self.put_walk(record, &format!("{last}\0")),
            Some(_) | None => {
                self.end_walk(record);
                Ok(())
            }
        }
    }

    fn step_directory(&mut self, (record, link): (Vec<u8>, LinkId), fid: Fid) -> Result<(), TargetError> {
        let after = self.table.get::<u64>(&record)?;
        let exists = self.table.get::<Inode>(&key::inode(fid))?.is_some();
        let Some(after) = after.filter(|_| exists) else {
            self.end_walk(record);
            return Ok(());
        };
        let slots = self.slots(fid, after, (u64::MAX, STEP))?;
        for (_, slot) in slots.iter().filter(|(_, slot)| !slot.name.is_empty()) {
            let Some(inode) = self.table.get::<Inode>(&key::inode(slot.fid))? else { continue };
            let Some((into, path)) = self.link_path(fid, &slot.name)? else { continue };
            if inode.directory().is_some_and(|directory| directory.entries > 0) {
                self.put_walk(key::walk(link, slot.fid), &0_u64)?;
            }
            if let Some(text) = self.key_text(into, &path, inode.kind) {
                self.mark_path(into, text)?;
            }
        }
        match slots.last() {
            Some((last, _)) if slots.len() == STEP => self.put_walk(record, &(last + 1)),
            Some(_) | None => {
                self.end_walk(record);
                Ok(())
            }
        }
    }
}
