//! Entries of directories and the names of inodes, kept in step.
//!
//! An entry's slot is a hash of its name and, in the low byte, a number that tells names of one hash apart. The slot is the
//! entry's position in listings: it stays while other entries come and go. Of the slots of one hash, number 0 is filled
//! first; when it becomes empty while others are or were in use it stays as a vacant record, so that one look tells
//! whether a name can exist at all.
//! Invariant: a name is in its directory exactly when it is among the names of its inode.

use lustre_model::fault::Fault;
use lustre_model::fid::Fid;
use serde::{Deserialize, Serialize};

use super::Target;
use crate::failure::{Step, TargetError};
use crate::inode::Inode;
use crate::key;
use crate::record;

/// Longest name.
const NAME_MAX: usize = 255;
/// Most names of one hash in a directory.
pub(super) const TWINS_MAX: u64 = 256;

/// A stored entry; vacant when its name is empty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Slot {
    pub(super) name: Vec<u8>,
    pub(super) fid: Fid,
    /// Others of the same hash may be in the slots behind.
    more: bool,
}

/// The first slot of a name: 55 bits of FNV-1a, never 0, shifted by the number of twins; fits a signed offset.
fn first_slot(name: &[u8]) -> u64 {
    let hash = name.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    // The multiplication leaves the low bits weak; fold the high ones in.
    let mixed = (hash ^ (hash >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 9;
    mixed.max(1) * TWINS_MAX
}

/// Refuses what cannot be a name.
pub(super) fn check_name(name: &[u8]) -> Step<()> {
    if name.len() > NAME_MAX {
        return Err(Fault::NameTooLong.into());
    }
    let special = name.is_empty() || name == b"." || name == b"..";
    if special || name.iter().any(|byte| *byte == b'/' || *byte == 0) {
        return Err(Fault::Invalid.into());
    }
    Ok(())
}

impl Target {
    /// Finds an entry: its slot and its inode.
    pub(super) fn find(&self, parent: Fid, name: &[u8]) -> Result<Option<(u64, Fid)>, TargetError> {
        let first = first_slot(name);
        let Some(head) = self.table.get::<Slot>(&key::entry(parent, first))? else { return Ok(None) };
        if head.name == name {
            return Ok(Some((first, head.fid)));
        }
        if !head.more {
            return Ok(None);
        }
        for (slot, other) in self.slots(parent, first, (first + TWINS_MAX, TWINS_MAX as usize))? {
            if other.name == name {
                return Ok(Some((slot, other.fid)));
            }
        }
        Ok(None)
    }

    /// Returns up to `limit` slots of a directory from `from` to before `to`, vacant ones too.
    pub(super) fn slots(
        &self,
        parent: Fid,
        from: u64,
        (to, limit): (u64, usize),
    ) -> Result<Vec<(u64, Slot)>, TargetError> {
        let pairs = self.table.scan(&key::entry(parent, from), &key::entry(parent, to), limit)?;
        let mut slots = Vec::with_capacity(pairs.len());
        for (key, bytes) in pairs {
            let number = key.last_chunk::<8>().map_or(0, |bytes| u64::from_be_bytes(*bytes));
            slots.push((number, record::decode(&key, &bytes)?));
        }
        Ok(slots)
    }

    /// Puts an entry into a directory that has none of that name, and counts it in `directory`.
    pub(super) fn add_entry(
        &mut self,
        (parent, directory): (Fid, &mut Inode),
        name: &[u8],
        fid: Fid,
    ) -> Step<()> {
        let first = first_slot(name);
        let head_key = key::entry(parent, first);
        let head = self.table.get::<Slot>(&head_key)?;
        let entry = Slot { name: name.to_vec(), fid, more: head.as_ref().is_some_and(|head| head.more) };
        match head {
            Some(mut head) if !head.name.is_empty() => {
                let free = self.free_twin(parent, first)?;
                self.table.put(key::entry(parent, free), &Slot { more: false, ..entry })?;
                if !head.more {
                    head.more = true;
                    self.table.put(head_key, &head)?;
                }
            }
            Some(_) | None => self.table.put(head_key, &entry)?,
        }
        if let Some(directory) = directory.directory_mut() {
            directory.entries += 1;
        }
        Ok(())
    }

    fn free_twin(&self, parent: Fid, first: u64) -> Step<u64> {
        let taken = self.slots(parent, first, (first + TWINS_MAX, TWINS_MAX as usize))?;
        let free = (first..first + TWINS_MAX).find(|slot| taken.iter().all(|(other, _)| other != slot));
        Ok(free.ok_or(Fault::NoSpace)?)
    }

    /// Points an entry to another inode.
    pub(super) fn replace_entry(&mut self, parent: Fid, slot: u64, fid: Fid) -> Result<(), TargetError> {
        let entry_key = key::entry(parent, slot);
        if let Some(entry) = self.table.get::<Slot>(&entry_key)? {
            self.table.put(entry_key, &Slot { fid, ..entry })?;
        }
        Ok(())
    }

    /// Takes an entry out of a directory, and discounts it in `directory`.
    pub(super) fn remove_entry(
        &mut self,
        (parent, directory): (Fid, &mut Inode),
        slot: u64,
    ) -> Result<(), TargetError> {
        let entry_key = key::entry(parent, slot);
        match self.table.get::<Slot>(&entry_key)? {
            Some(head) if head.more => {
                self.table.put(entry_key, &Slot { name: Vec::new(), fid: Fid::ROOT, more: true })?;
            }
            Some(_) | None => self.table.delete(entry_key),
        }
        if let Some(directory) = directory.directory_mut() {
            directory.entries = directory.entries.saturating_sub(1);
        }
        Ok(())
    }

    /// Adds a name to an inode: the first is kept in it, further ones beside it.
    pub(super) fn add_name(
        &mut self,
        (fid, inode): (Fid, &mut Inode),
        parent: Fid,
        name: &[u8],
    ) -> Result<(), TargetError> {
        if inode.name.is_empty() {
            (inode.parent, inode.name) = (parent, name.to_vec());
            return Ok(());
        }
        self.table.put(key::name(fid, parent, name), &())
    }

    /// Takes a name from an inode.
    pub(super) fn remove_name(
        &mut self,
        (fid, inode): (Fid, &mut Inode),
        parent: Fid,
        name: &[u8],
    ) -> Result<(), TargetError> {
        if inode.parent != parent || inode.name != name {
            self.table.delete(key::name(fid, parent, name));
            return Ok(());
        }
        inode.name.clear();
        if inode.link_count <= 1 || inode.directory().is_some() {
            return Ok(());
        }
        if let Some((parent, name)) = self.further_names(fid)?.into_iter().next() {
            self.table.delete(key::name(fid, parent, &name));
            (inode.parent, inode.name) = (parent, name);
        }
        Ok(())
    }

    /// All names of an inode: directories and names there.
    pub(super) fn names_of(&self, fid: Fid, inode: &Inode) -> Result<Vec<(Fid, Vec<u8>)>, TargetError> {
        if inode.name.is_empty() {
            return Ok(Vec::new());
        }
        let mut names = vec![(inode.parent, inode.name.clone())];
        if inode.link_count > 1 && inode.directory().is_none() {
            names.extend(self.further_names(fid)?);
        }
        Ok(names)
    }

    fn further_names(&self, fid: Fid) -> Result<Vec<(Fid, Vec<u8>)>, TargetError> {
        let prefix = key::names(fid);
        let pairs = self.table.scan(&prefix, &key::behind(&prefix), usize::MAX)?;
        let split = |key: Vec<u8>| {
            let rest = key.get(prefix.len()..)?;
            Some((key::read_fid(rest)?, rest.get(key::FID_LENGTH..)?.to_vec()))
        };
        Ok(pairs.into_iter().filter_map(|(key, _)| split(key)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_positions_that_a_signed_offset_can_hold() {
        for name in ["a", "b", "longer name", ""] {
            let slot = first_slot(name.as_bytes());
            assert!(slot >= TWINS_MAX && i64::try_from(slot + TWINS_MAX).is_ok(), "{name}: {slot}");
        }
    }

    #[test]
    fn names_are_checked() {
        assert!(check_name(&[b'x'; 255]).is_ok());
        for name in [&[b'x'; 256][..], b"", b".", b"..", b"a/b", b"a\0b"] {
            assert!(check_name(name).is_err(), "{name:?}");
        }
    }
}
