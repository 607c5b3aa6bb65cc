//! Extended attributes, and the ones that show what the target knows: `lustre.fid`, `lustre.hsm`.
//!
//! What a namespace such as `user.` or `system.` means is the kernel's and the client's business.
//! Invariant: an inode's count of attributes is the number of its records.

use lustre_model::fault::Fault;
use lustre_model::fid::Fid;
use lustre_model::metadata::{Reply, XattrMode};

use super::lease::Claim;
use super::{Caller, Target};
use crate::failure::{Step, TargetError};
use crate::inode::Inode;
use crate::key;

/// Longest name.
const NAME_MAX: usize = 255;
/// Largest value.
const VALUE_MAX: usize = 64 << 10;
/// Most attributes of one inode.
const COUNT_MAX: u32 = 1024;
/// What lets a program do what only root may.
const CAPABILITY: &[u8] = b"security.capability";
/// Namespace of what cannot be set.
const VIRTUAL: &[u8] = b"lustre.";

impl Target {
    pub(super) fn get_xattr(&mut self, caller: &Caller, fid: Fid, name: &[u8]) -> Step<Reply> {
        let inode = self.load(fid)?;
        self.claim(caller, fid, Claim::See)?;
        let bytes = match name {
            b"lustre.fid" => Some(fid.to_string().into_bytes()),
            b"lustre.hsm" => Some(self.hsm_state(fid, &inode)?.into_bytes()),
            _ if inode.xattrs == 0 => None,
            _ => self.table.get(&key::xattr(fid, name))?,
        };
        Ok(Reply::Bytes { bytes: bytes.ok_or(Fault::NoData)? })
    }

    pub(super) fn list_xattr(&mut self, fid: Fid) -> Step<Reply> {
        self.load(fid)?;
        let prefix = key::xattrs(fid);
        let pairs = self.table.scan(&prefix, &key::behind(&prefix), COUNT_MAX as usize)?;
        let names = pairs.into_iter().map(|(key, _)| key[prefix.len()..].to_vec()).collect();
        Ok(Reply::Names { names })
    }

    pub(super) fn set_xattr(
        &mut self,
        caller: &Caller,
        fid: Fid,
        (name, value): (&[u8], &[u8]),
        mode: XattrMode,
    ) -> Step<Reply> {
        check(name)?;
        if value.len() > VALUE_MAX {
            return Err(Fault::NoSpace.into());
        }
        let mut inode = self.load(fid)?;
        self.claim(caller, fid, Claim::Change)?;
        let record = key::xattr(fid, name);
        let exists = inode.xattrs > 0 && self.table.get::<Vec<u8>>(&record)?.is_some();
        match (mode, exists) {
            (XattrMode::Create, true) => return Err(Fault::Exists.into()),
            (XattrMode::Replace, false) => return Err(Fault::NoData.into()),
            (XattrMode::Set, _) | (XattrMode::Create, false) | (XattrMode::Replace, true) => {}
        }
        if !exists {
            inode.xattrs += 1;
        }
        if inode.xattrs > COUNT_MAX {
            return Err(Fault::NoSpace.into());
        }
        inode.changed(self.now.wall);
        self.table.put(record, &value)?;
        self.put_inode(fid, &inode)?;
        Ok(Reply::Done)
    }

    pub(super) fn remove_xattr(&mut self, caller: &Caller, fid: Fid, name: &[u8]) -> Step<Reply> {
        check(name)?;
        let mut inode = self.load(fid)?;
        self.claim(caller, fid, Claim::Change)?;
        let record = key::xattr(fid, name);
        if inode.xattrs == 0 || self.table.get::<Vec<u8>>(&record)?.is_none() {
            return Err(Fault::NoData.into());
        }
        inode.xattrs -= 1;
        inode.changed(self.now.wall);
        self.table.delete(record);
        self.put_inode(fid, &inode)?;
        Ok(Reply::Done)
    }

    /// Takes away what makes a program privileged, for it is written: that is no more the program that was trusted. In `inode`, which
    /// the caller stores.
    pub(super) fn drop_capability(&mut self, fid: Fid, inode: &mut Inode) -> Result<(), TargetError> {
        let record = key::xattr(fid, CAPABILITY);
        if inode.xattrs > 0 && self.table.get::<Vec<u8>>(&record)?.is_some() {
            self.table.delete(record);
            inode.xattrs -= 1;
        }
        Ok(())
    }
}

fn check(name: &[u8]) -> Step<()> {
    if name.is_empty() || name.len() > NAME_MAX {
        return Err(Fault::Range.into());
    }
    if name.starts_with(VIRTUAL) {
        return Err(Fault::NotSupported.into());
    }
    Ok(())
}
