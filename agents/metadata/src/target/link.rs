//! Links: directories tied to a repository's prefix, and all that is queued for their movers.
//!
//! What each queue does is in `import`, `identify`, `export`, `restore`; who takes from them is in `mover`.
//! Invariant: no link's directory lies within another's, and no repository prefix within another's.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use lustre_model::fault::Fault;
use lustre_model::fid::Fid;
use lustre_model::hsm::{FailedExport, ImportRefusal, Link, LinkId, LinkState, LinkStatus, RefusalReason};
use lustre_model::metadata::Reply;
use serde::{Deserialize, Serialize};

use super::entry::check_name;
use super::export::{Exports, Stored};
use super::former::Former;
use super::lease::Claim;
use super::mover::Movers;
use super::names::blank_inode;
use super::restore::Restore;
use super::{Caller, Target};
use crate::failure::{Halt, Step, TargetError, Wait};
use crate::inode::{Body, Directory, Inode};
use crate::key;
use crate::record;

/// Most links of a file system.
const LINKS_MAX: usize = 64;
/// Refusals and failures that a status shows.
pub(super) const SHOWN_MAX: usize = 1000;
/// Inodes that one turn of a removal takes.
const REMOVALS_MAX: usize = 512;

/// A link as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LinkRecord {
    pub(super) link: Link,
    /// Its directory.
    pub(super) root: Fid,
    pub(super) state: LinkState,
    pub(super) cause: Option<String>,
    pub(super) imported: u64,
    pub(super) refused_total: u64,
    /// The repository is to be listed.
    pub(super) list_wanted: bool,
}

/// Everything about links that is in memory.
#[derive(Debug, Default)]
pub(super) struct Links {
    pub(super) all: BTreeMap<LinkId, LinkRecord>,
    pub(super) roots: BTreeMap<Fid, LinkId>,
    /// Links that were removed.
    pub(super) former: BTreeMap<LinkId, Former>,
    /// Files that cannot be read, of which the log was told.
    pub(super) told: BTreeSet<Fid>,
    pub(super) movers: Movers,
    pub(super) exports: Exports,
    pub(super) restores: BTreeMap<Fid, Restore>,
    /// Inodes that somebody waits to see identified.
    pub(super) identify: VecDeque<Fid>,
    /// Inodes that a mover is identifying, or that are queued for it.
    pub(super) identifying: BTreeSet<Fid>,
    /// Where the identifying in the background goes on.
    pub(super) identify_next: Option<Vec<u8>>,
}

impl Target {
    pub(super) fn load_links(&mut self) -> Result<(), TargetError> {
        for (_, link) in self.table.load::<LinkRecord>(b"K")? {
            self.links.roots.insert(link.root, link.link.id);
            self.links.all.insert(link.link.id, link);
        }
        self.load_former()?;
        self.load_checks();
        if !self.links.all.is_empty() {
            self.links.identify_next = Some(b"P".to_vec());
        }
        self.load_exports()
    }

    pub(super) fn is_link_root(&self, fid: Fid) -> bool {
        self.links.roots.contains_key(&fid)
    }

    pub(super) fn link_roots(&self) -> Vec<Fid> {
        self.links.roots.keys().copied().collect()
    }

    pub(super) fn put_link_record(&mut self, record: LinkRecord) -> Result<(), TargetError> {
        self.table.put(key::link(record.link.id), &record)?;
        self.links.roots.insert(record.root, record.link.id);
        self.links.all.insert(record.link.id, record);
        Ok(())
    }

    pub(super) fn put_link(&mut self, caller: &Caller, link: &Link) -> Step<Reply> {
        self.check_link(link)?;
        let known = self.links.all.get(&link.id).cloned();
        if let Some(mut record) = known {
            let same_place = record.link.file_system_path == link.file_system_path
                && record.link.repository.bucket == link.repository.bucket
                && record.link.repository.prefix == link.repository.prefix;
            if !same_place || record.state == LinkState::Deleting {
                return Err(Fault::Invalid.into());
            }
            let other_way = record.link.repository != link.repository;
            if other_way || record.state == LinkState::Misconfigured {
                // It is available once its bucket answered to what is said now.
                record.state = if record.list_wanted { LinkState::Creating } else { LinkState::Updating };
                record.cause = None;
                self.void_flights(link.id, (&record.link.repository, &link.repository));
                self.check_now(link.id);
            } else if record.link == *link {
                return Ok(Reply::Done);
            }
            record.link = link.clone();
            self.put_link_record(record)?;
            self.export_link_again(link.id);
            return Ok(Reply::Done);
        }
        if self.links.all.len() >= LINKS_MAX {
            return Err(Fault::NoSpace.into());
        }
        let root = self.make_path(caller, &link.file_system_path)?;
        let list_wanted = link.batch_import_meta_data_on_create;
        let link = link.clone();
        if !self.links.former.contains_key(&link.id) {
            self.table.put(key::released(link.id), &0_u64)?;
        }
        self.inherit(&link, root)?;
        self.check_now(link.id);
        self.put_link_record(LinkRecord {
            link,
            root,
            state: LinkState::Creating,
            cause: None,
            imported: 0,
            refused_total: 0,
            list_wanted,
        })?;
        Ok(Reply::Done)
    }

    fn check_link(&self, link: &Link) -> Step<()> {
        let prefix = &link.repository.prefix;
        let prefix_fits = prefix.is_empty() || prefix.ends_with('/');
        if !link.file_system_path.starts_with('/') || !prefix_fits || link.imported_file_chunk_size == 0 {
            return Err(Fault::Invalid.into());
        }
        let within = |one: &str, other: &str| {
            let folder = |path: &str| format!("{}/", path.trim_end_matches('/'));
            folder(one).starts_with(&folder(other)) || folder(other).starts_with(&folder(one))
        };
        for other in self.links.all.values().map(|record| &record.link).filter(|other| other.id != link.id) {
            let same_bucket = other.repository.bucket == link.repository.bucket
                && other.repository.endpoint_url == link.repository.endpoint_url;
            let prefixes =
                prefix.starts_with(&other.repository.prefix) || other.repository.prefix.starts_with(prefix);
            if within(&link.file_system_path, &other.file_system_path) || (same_bucket && prefixes) {
                return Err(Fault::Exists.into());
            }
        }
        Ok(())
    }

    /// Finds a directory by its path from the root, making what is missing.
    fn make_path(&mut self, caller: &Caller, path: &str) -> Step<Fid> {
        let mut at = Fid::ROOT;
        for name in path.split('/').filter(|name| !name.is_empty()) {
            check_name(name.as_bytes())?;
            at = match self.find(at, name.as_bytes())? {
                Some((_, fid)) => {
                    self.directory(fid)?;
                    fid
                }
                None => self.make_directory(caller, at, name.as_bytes())?,
            };
        }
        Ok(at)
    }

    /// Makes a directory of root's with mode 0755.
    pub(super) fn make_directory(&mut self, caller: &Caller, parent: Fid, name: &[u8]) -> Step<Fid> {
        self.claim(caller, parent, Claim::Change)?;
        let mut directory = self.directory(parent)?;
        let fid = self.new_fid();
        let mut inode = blank_inode(0o755, self.config.owner, self.now.wall);
        inode.kind = lustre_model::attr::FileKind::Directory;
        inode.link_count = 2;
        let default = directory.directory().and_then(|directory| directory.default.clone());
        inode.body = Body::Directory(Directory { default, entries: 0 });
        self.add_name((fid, &mut inode), parent, name)?;
        self.add_entry((parent, &mut directory), name, fid)?;
        directory.link_count += 1;
        directory.modified(self.now.wall);
        self.put_inode(parent, &directory)?;
        self.put_inode(fid, &inode)?;
        self.counters.inodes += 1;
        Ok(fid)
    }

    pub(super) fn list_links(&mut self) -> Step<Reply> {
        let ids: Vec<LinkId> = self.links.all.keys().copied().collect();
        let links: Result<Vec<LinkStatus>, TargetError> = ids.into_iter().map(|id| self.status(id)).collect();
        Ok(Reply::Links { links: links? })
    }

    fn status(&self, id: LinkId) -> Result<LinkStatus, TargetError> {
        let Some(record) = self.links.all.get(&id) else {
            return Err(TargetError::Inconsistent { fid: Fid::ROOT, what: "a link is listed but unknown" });
        };
        let prefix = key::refused(id, "");
        let mut refused = Vec::new();
        for (key, bytes) in self.table.scan(&prefix, &key::behind(&prefix), SHOWN_MAX)? {
            let reason: RefusalReason = record::decode(&key, &bytes)?;
            if let Some((_, key)) = key::read_link(&key) {
                refused.push(ImportRefusal { key, reason });
            }
        }
        let base = record.link.file_system_path.trim_end_matches('/');
        let below = |text: &str| text.strip_prefix(&record.link.repository.prefix).unwrap_or(text).to_owned();
        let failed = self.links.exports.failed(id).map(|(key, dirty)| FailedExport {
            path: format!("{base}/{}", super::export::shown(&below(key))),
            cause: dirty.cause.clone().unwrap_or_default(),
            attempts: dirty.attempts,
        });
        let failed_exports = failed.take(SHOWN_MAX).collect();
        let (pending_exports, oldest) = self.links.exports.pending(id);
        Ok(LinkStatus {
            link: record.link.clone(),
            state: record.state,
            cause: record.cause.clone(),
            imported: record.imported,
            refused,
            refused_total: record.refused_total,
            pending_exports,
            oldest_export_s: oldest.map_or(0, |since| (self.now.wall.seconds - since).max(0).unsigned_abs()),
            failed_exports,
            released: self.table.get(&key::released(id))?,
        })
    }

    pub(super) fn remove_link(&mut self, caller: &Caller, id: LinkId, delete_data: bool) -> Step<Reply> {
        let Some(mut record) = self.links.all.get(&id).cloned() else { return Ok(Reply::Done) };
        if record.state != LinkState::Deleting {
            record.state = LinkState::Deleting;
            record.list_wanted = false;
            self.put_link_record(record.clone())?;
            self.forget_exports(id)?;
            self.keep();
        }
        if self.links.movers.has_flight(id) {
            return Err(Halt::Wait(Wait::Turn));
        }
        if delete_data && !self.clear_directory(caller, record.root)? {
            self.keep();
            return Err(Halt::Wait(Wait::Turn));
        }
        self.table.delete_all(&key::refused(id, ""))?;
        if delete_data {
            self.forget_removed_files(id)?;
        }
        self.remember(&record)?;
        self.table.delete(key::link(id));
        self.links.roots.remove(&record.root);
        self.links.all.remove(&id);
        self.give_up_identifying(id)?;
        Ok(Reply::Done)
    }

    /// Forgets what the repository holds of files that are no more.
    fn forget_removed_files(&mut self, id: LinkId) -> Result<(), TargetError> {
        for (place, stored) in self.table.load::<Stored>(&key::stored(id, ""))? {
            if self.table.get::<Inode>(&key::inode(stored.fid))?.is_none() {
                self.table.delete(place);
            }
        }
        Ok(())
    }

    /// Removes a part of what is below a directory; true when nothing is left.
    fn clear_directory(&mut self, caller: &Caller, root: Fid) -> Step<bool> {
        let mut path = vec![root];
        for _ in 0..REMOVALS_MAX {
            let Some(parent) = path.last().copied() else { return Ok(true) };
            let slots = self.slots(parent, 0, (u64::MAX, super::entry::TWINS_MAX as usize + 1))?;
            let Some((slot, entry)) = slots.into_iter().find(|(_, entry)| !entry.name.is_empty()) else {
                path.pop();
                if parent == root {
                    return Ok(true);
                }
                continue;
            };
            let mut inode = self.load(entry.fid)?;
            if inode.directory().is_some_and(|directory| directory.entries > 0) {
                path.push(entry.fid);
                continue;
            }
            self.claim_all(caller, &[(parent, Claim::Change), (entry.fid, Claim::Change)])?;
            let mut directory = self.directory(parent)?;
            self.remove_entry((parent, &mut directory), slot)?;
            directory.link_count -= u32::from(inode.directory().is_some());
            directory.modified(self.now.wall);
            self.put_inode(parent, &directory)?;
            self.lose_name((entry.fid, &mut inode), parent, &entry.name)?;
            self.keep();
        }
        Ok(false)
    }
}

impl Inode {
    /// Whether such a thing can be an object at all.
    pub(super) fn is_exportable(&self) -> bool {
        !matches!(self.body, Body::Node)
    }
}
