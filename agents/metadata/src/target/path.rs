//! Paths: from an inode up to the root, and from a link's key down to an inode.
//!
//! Invariant: a path is made of names that hold now; nothing is cached.

use lustre_model::fault::Fault;
use lustre_model::fid::Fid;
use lustre_model::hsm::LinkId;
use lustre_model::metadata::Reply;

use super::Target;
use crate::failure::{Step, TargetError};
use crate::inode::Inode;
use crate::key;

/// Deepest directory; deeper is a loop, which cannot be.
const DEPTH_MAX: usize = 1 << 16;

/// Where climbing ended, and the names from there down.
type Climbed = (Fid, Vec<Vec<u8>>);

impl Target {
    /// Whether an inode is `ancestor` or below it.
    pub(super) fn is_below(&self, fid: Fid, ancestor: Fid) -> Result<bool, TargetError> {
        let mut at = fid;
        for _ in 0..DEPTH_MAX {
            if at == ancestor {
                return Ok(true);
            }
            if at == Fid::ROOT {
                return Ok(false);
            }
            let Some(inode) = self.table.get::<Inode>(&key::inode(at))? else { return Ok(false) };
            at = inode.parent;
        }
        Err(TargetError::Inconsistent { fid, what: "its ancestors form a loop" })
    }

    /// Names from directory `stop` (not included) down to `fid` (included), and whether `stop` was met before the root.
    fn climb(&self, fid: Fid, stop: impl Fn(Fid) -> bool) -> Result<Option<Climbed>, TargetError> {
        let mut names = Vec::new();
        let mut at = fid;
        for _ in 0..DEPTH_MAX {
            if stop(at) {
                names.reverse();
                return Ok(Some((at, names)));
            }
            let inode = self.table.get::<Inode>(&key::inode(at))?;
            let Some(inode) = inode.filter(|inode| at != Fid::ROOT && !inode.name.is_empty()) else {
                return Ok(None);
            };
            names.push(inode.name);
            at = inode.parent;
        }
        Err(TargetError::Inconsistent { fid, what: "its ancestors form a loop" })
    }

    /// The path of a directory from the root, which is empty for the root itself.
    pub(super) fn path_of(&self, directory: Fid) -> Result<Option<Vec<u8>>, TargetError> {
        let climbed = self.climb(directory, |at| at == Fid::ROOT)?;
        Ok(climbed.map(|(_, names)| names.iter().flat_map(|name| [b"/", name.as_slice()].concat()).collect()))
    }

    pub(super) fn fid_to_path(&mut self, fid: Fid) -> Step<Reply> {
        let inode = self.load(fid)?;
        if fid == Fid::ROOT {
            return Ok(Reply::Names { names: vec![Vec::new()] });
        }
        let mut names = Vec::new();
        for (parent, name) in self.names_of(fid, &inode)? {
            let above = self.climb(parent, |at| at == Fid::ROOT)?;
            let Some((_, mut path)) = above else { continue };
            path.push(name);
            names.push(path.join(&b'/'));
        }
        if names.is_empty() {
            return Err(Fault::NotFound.into());
        }
        Ok(Reply::Names { names })
    }

    /// The link that a name lies under, with the path below the link's directory.
    pub(super) fn link_path(
        &self,
        parent: Fid,
        name: &[u8],
    ) -> Result<Option<(LinkId, Vec<u8>)>, TargetError> {
        if self.links.roots.is_empty() {
            return Ok(None);
        }
        let Some((root, mut path)) = self.climb(parent, |at| self.links.roots.contains_key(&at))? else {
            return Ok(None);
        };
        path.push(name.to_vec());
        Ok(self.links.roots.get(&root).map(|link| (*link, path.join(&b'/'))))
    }

    /// The inode under a path below a directory.
    pub(super) fn resolve(&self, from: Fid, path: &[u8]) -> Result<Option<(Fid, Inode)>, TargetError> {
        let mut at = from;
        for name in path.split(|byte| *byte == b'/').filter(|name| !name.is_empty()) {
            match self.find(at, name)? {
                Some((_, fid)) => at = fid,
                None => return Ok(None),
            }
        }
        Ok(self.table.get::<Inode>(&key::inode(at))?.map(|inode| (at, inode)))
    }
}
