//! Listing of directories with attributes, and lookups of many names at once.
//!
//! An entry whose attributes somebody may be changing comes without a lease; its attributes may then be old, and whoever
//! wants them asks for them. Owners and modes are never made up: a listing waits until they are known.
//! Invariant: an entry that is there from the first to the last part of a listing is in it exactly once.

use lustre_model::fid::Fid;
use lustre_model::metadata::{AheadEntry, DirectoryEntry, Entry, LeaseKind, Reply};

use super::lease::Claim;
use super::{Caller, Target};
use crate::failure::{Halt, Step, Wait};
use crate::inode::Inode;

/// Most entries in one reply.
const ENTRIES_MAX: u32 = 1024;

impl Target {
    pub(super) fn read_directory(
        &mut self,
        caller: &Caller,
        fid: Fid,
        after: u64,
        limit: u32,
    ) -> Step<Reply> {
        self.directory(fid)?;
        self.claim(caller, fid, Claim::See)?;
        let limit = limit.clamp(1, ENTRIES_MAX) as usize;
        let slots = self.slots(fid, after.saturating_add(1), (u64::MAX, limit))?;
        let end = slots.len() < limit;
        let mut found: Vec<(Vec<u8>, u64, Fid, Inode)> = Vec::with_capacity(slots.len());
        for (cookie, slot) in slots {
            if !slot.name.is_empty() {
                let inode = self.load(slot.fid)?;
                found.push((slot.name, cookie, slot.fid, inode));
            }
        }
        self.identify_all(&found)?;
        if found.is_empty() && !end {
            // Nothing but vacant slots: look behind them.
            let last =
                self.slots(fid, after.saturating_add(1), (u64::MAX, limit))?.last().map(|(slot, _)| *slot);
            return self.read_directory(caller, fid, last.unwrap_or(u64::MAX - 1), ENTRIES_MAX);
        }
        let mut entries = Vec::with_capacity(found.len());
        for (name, cookie, child, inode) in found {
            let lease = self.lease_of_listed(caller, child);
            entries.push(DirectoryEntry { name, cookie, entry: Entry { attr: inode.attr(child), lease } });
        }
        Ok(Reply::Entries { entries, end, directory_lease: self.grant_read(caller, fid) })
    }

    /// What lookups would find, as far as that can be said at once.
    pub(super) fn look_ahead(&mut self, caller: &Caller, fid: Fid, after: u64, limit: u32) -> Step<Reply> {
        self.directory(fid)?;
        self.claim(caller, fid, Claim::See)?;
        let limit = limit.clamp(1, ENTRIES_MAX) as usize;
        let slots = self.slots(fid, after.saturating_add(1), (u64::MAX, limit))?;
        let next = slots.last().filter(|_| slots.len() == limit).map(|(last, _)| *last);
        let (mut entries, mut skipped) = (Vec::with_capacity(slots.len()), false);
        for (_, slot) in slots.into_iter().filter(|(_, slot)| !slot.name.is_empty()) {
            let inode = self.load(slot.fid)?;
            let lease = self.lease_of_listed(caller, slot.fid);
            if inode.unidentified || lease == LeaseKind::None {
                skipped = true;
                continue;
            }
            let placed = inode.file().filter(|file| file.absent.is_none() && !self.has_lost(file));
            let layout = placed.map(|file| file.layout.clone());
            let entry = Entry { attr: inode.attr(slot.fid), lease };
            entries.push(AheadEntry { name: slot.name, entry, layout });
        }
        Ok(Reply::Ahead { entries, next, skipped, directory_lease: self.grant_read(caller, fid) })
    }

    fn identify_all(&mut self, found: &[(Vec<u8>, u64, Fid, Inode)]) -> Step<()> {
        let unknown: Vec<Fid> =
            found.iter().filter(|(_, _, _, inode)| inode.unidentified).map(|(_, _, fid, _)| *fid).collect();
        for fid in &unknown {
            self.identify_soon(*fid);
        }
        match unknown.first() {
            Some(fid) => Err(Halt::Wait(Wait::Identity(*fid))),
            None => Ok(()),
        }
    }

    fn lease_of_listed(&mut self, caller: &Caller, fid: Fid) -> LeaseKind {
        let uncertain = self.writing.contains_key(&fid) || self.truncations.contains_key(&fid);
        if uncertain { self.held(caller.session, fid) } else { self.grant_read(caller, fid) }
    }
}
