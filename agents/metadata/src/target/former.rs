//! Links that were removed, and how their names find to a link that comes again.
//!
//! A file whose bytes are only in a bucket cannot be read while no link leads there. So what the bucket holds (`V`) is kept when
//! a link goes. A link that comes to the same directory, bucket and prefix is the *heir* and takes all of it up, a part at a time,
//! before anything is listed or exported. A link to another place takes up name by name what its listing finds there
//! in the same version.
//! Invariant: a file is given to another object only when that has the version that was known, or the file has no bytes of its own.

use lustre_model::fid::Fid;
use lustre_model::hsm::{ImportEntry, Link, LinkId, LinkState};
use lustre_model::metadata::ByteRange;
use serde::{Deserialize, Serialize};

use super::Target;
use super::export::Stored;
use super::link::LinkRecord;
use crate::failure::TargetError;
use crate::inode::{Absent, Inode};
use crate::{key, record};

/// Most removed links that are remembered; the oldest is forgotten first.
const FORMER_MAX: usize = 64;
/// Keys that an heir takes up in one commit.
const STEP: usize = 512;
/// Files that cannot be read and were told of, until a link comes.
const TOLD_MAX: usize = 1024;
/// All bytes of a file.
const WHOLE: ByteRange = ByteRange { start: 0, end: u64::MAX };
/// The version of content that no inode has.
const NEVER: u64 = u64::MAX;

/// A link that was removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Former {
    pub(super) link: Link,
    /// Its directory.
    pub(super) root: Fid,
    /// The link that is taking up its names.
    pub(super) heir: Option<LinkId>,
    /// Where the heir goes on. What is before it is gone, and a store takes its time to look through what is gone.
    #[serde(skip)]
    next: Option<Vec<u8>>,
}

impl Target {
    pub(super) fn load_former(&mut self) -> Result<(), TargetError> {
        for (_, former) in self.table.load::<Former>(b"U")? {
            self.links.former.insert(former.link.id, former);
        }
        Ok(())
    }

    fn put_former(&mut self, former: Former) -> Result<(), TargetError> {
        self.table.put(key::former(former.link.id), &former)?;
        self.links.former.insert(former.link.id, former);
        Ok(())
    }

    fn forget_former(&mut self, link: LinkId) -> Result<(), TargetError> {
        self.table.delete_all(&key::stored(link, ""))?;
        self.table.delete(key::released(link));
        self.table.delete(key::former(link));
        self.links.former.remove(&link);
        Ok(())
    }

    /// Remembers a link that goes, with what its bucket holds.
    pub(super) fn remember(&mut self, record: &LinkRecord) -> Result<(), TargetError> {
        let id = record.link.id;
        let interrupted = self.links.former.values().filter(|former| former.heir == Some(id)).cloned();
        for former in interrupted.collect::<Vec<Former>>() {
            self.put_former(Former { heir: None, ..former })?;
        }
        let held = key::stored(id, "");
        if self.table.scan(&held, &key::behind(&held), 1)?.is_empty() {
            self.table.delete(key::released(id));
            return Ok(());
        }
        if self.links.former.len() >= FORMER_MAX
            && let Some(oldest) = self.links.former.keys().next().copied()
        {
            self.forget_former(oldest)?;
        }
        self.put_former(Former { link: record.link.clone(), root: record.root, heir: None, next: None })
    }

    /// Makes a new link the heir of those that led from its directory to the same place.
    pub(super) fn inherit(&mut self, link: &Link, root: Fid) -> Result<(), TargetError> {
        self.links.told.clear();
        let same = |former: &&Former| {
            let (one, other) = (&former.link.repository, &link.repository);
            former.root == root && (&one.bucket, &one.prefix) == (&other.bucket, &other.prefix)
        };
        let before: Vec<Former> = self.links.former.values().filter(same).cloned().collect();
        for former in before {
            self.put_former(Former { heir: Some(link.id), ..former })?;
        }
        Ok(())
    }

    /// Whether a link is still taking up names of one before it.
    pub(super) fn is_inheriting(&self, link: LinkId) -> bool {
        self.links.former.values().any(|former| former.heir == Some(link))
    }

    /// Lets an heir take up a part.
    pub(super) fn step_inheritance(&mut self) -> Result<(), TargetError> {
        let next = self.links.former.values().find_map(|former| Some((former.clone(), former.heir?)));
        let Some((former, heir)) = next else { return Ok(()) };
        let from = former.link.id;
        // A link that was replaced has the number of the one before it, and its records stay where they are.
        let is_same = from == heir;
        let held = key::stored(from, "");
        let begin = former.next.as_ref().unwrap_or(&held);
        let pairs = self.table.scan(begin, &key::behind(&held), STEP)?;
        let next = pairs.last().map(|(last, _)| key::next(last));
        let mut taken = 0;
        for (place, bytes) in &pairs {
            let stored: Stored = record::decode(place, bytes)?;
            let is_taken = match key::read_link(place) {
                Some((_, text)) => self.take_up(&former, heir, (&text, stored))?,
                None => false,
            };
            taken += u64::from(is_taken);
            if !(is_same && is_taken) {
                self.table.delete(place.clone());
            }
        }
        if let Some(mut record) = self.links.all.get(&heir).cloned() {
            record.imported += taken;
            self.put_link_record(record)?;
        }
        if let Some(former) = self.links.former.get_mut(&from) {
            former.next = next;
        }
        if pairs.len() < STEP {
            tracing::info!(link = former.link.name, "the names of a link that was removed are linked again");
            if is_same {
                self.table.delete(key::former(from));
                self.links.former.remove(&from);
            } else {
                self.forget_former(from)?;
            }
            self.check_now(heir);
        }
        Ok(())
    }

    /// Gives what a former link held under a key to its heir; false when nothing here is of that object any more.
    fn take_up(
        &mut self,
        former: &Former,
        heir: LinkId,
        (text, stored): (&str, Stored),
    ) -> Result<bool, TargetError> {
        let Some(mut inode) = self.table.get::<Inode>(&key::inode(stored.fid))? else { return Ok(false) };
        let path = text.strip_prefix(&former.link.repository.prefix).unwrap_or(text);
        let there = self.resolve(former.root, path.as_bytes())?;
        let in_place = there.is_some_and(|(fid, _)| fid == stored.fid);
        let needs_it = inode.absent().is_some_and(|absent| absent.link == former.link.id);
        if needs_it {
            let absent_key = inode.absent().map(|absent| absent.key.clone()).unwrap_or_default();
            self.relink((stored.fid, &mut inode), (heir, &absent_key))?;
        }
        if in_place {
            self.hold((stored.fid, &mut inode), (heir, text), stored)?;
        } else if needs_it {
            // The object is no longer this file's by name; nothing would keep it there for it.
            self.want_bytes(stored.fid, &inode, WHOLE);
            self.export_again(stored.fid, &inode)?;
        }
        Ok(in_place)
    }

    /// Lets the bytes that a file lacks come through another link.
    fn relink(
        &mut self,
        (fid, inode): (Fid, &mut Inode),
        (link, text): (LinkId, &str),
    ) -> Result<(), TargetError> {
        let Some(absent) = inode.file_mut().and_then(|file| file.absent.as_mut()) else { return Ok(()) };
        let from = absent.link;
        (absent.link, absent.key) = (link, text.to_owned());
        self.count_released(from, -1)?;
        self.count_released(link, 1)?;
        self.put_inode(fid, inode)
    }

    /// Notes that a link's bucket holds a file, and what has to be done about that.
    fn hold(
        &mut self,
        (fid, inode): (Fid, &mut Inode),
        (link, text): (LinkId, &str),
        stored: Stored,
    ) -> Result<(), TargetError> {
        let attributes_known = stored.attr_version == inode.attr_version;
        if let Some((_, _)) = self.table.get::<(LinkId, String)>(&key::unidentified(fid))? {
            // The link went before the object was asked for owner and mode.
            if attributes_known && !self.leases.contains_key(&fid) {
                inode.unidentified = true;
                self.put_inode(fid, inode)?;
                self.table.put(key::unidentified(fid), &(link, text))?;
                self.links.identify_next.get_or_insert_with(|| b"P".to_vec());
            } else if !inode.unidentified {
                self.table.delete(key::unidentified(fid));
            }
        }
        let differs = !attributes_known || stored.data_version != inode.data_version;
        self.table.put(key::stored(link, text), &stored)?;
        if differs {
            self.mark(link, text.to_owned())?;
        }
        self.export_again(fid, inode)
    }

    /// What a link that is gone knew of a file that a listing found under the same name.
    pub(super) fn former_version(
        &self,
        record: &LinkRecord,
        (fid, inode): (Fid, &Inode),
        path: &str,
    ) -> Result<Option<Stored>, TargetError> {
        for former in self.links.former.values().rev().filter(|former| former.root == record.root) {
            let text = format!("{}{path}", former.link.repository.prefix);
            let stored = self.table.get::<Stored>(&key::stored(former.link.id, &text))?;
            if let Some(stored) = stored.filter(|stored| stored.fid == fid) {
                return Ok(Some(stored));
            }
        }
        let Some(absent) = inode.absent().filter(|absent| !self.links.all.contains_key(&absent.link)) else {
            return Ok(None);
        };
        let stored = self.table.get::<Stored>(&key::stored(absent.link, &absent.key))?;
        if let Some(stored) = stored.filter(|stored| stored.fid == fid) {
            return Ok(Some(stored));
        }
        // An earlier release kept nothing of a link that it removed. What the file itself says is enough.
        let untouched = is_untouched(absent, inode) && !self.writing.contains_key(&fid);
        let data_version = if untouched { inode.data_version } else { NEVER };
        let (etag, attr_version) = (absent.etag.clone(), inode.attr_version);
        Ok(Some(Stored { fid, etag, data_version, attr_version }))
    }

    /// Takes up a file that the listing found as a former link knew it; false when it is another version.
    pub(super) fn take_up_listed(
        &mut self,
        (fid, inode): (Fid, &mut Inode),
        (link, text): (LinkId, &str),
        (stored, entry): (Stored, &ImportEntry),
    ) -> Result<bool, TargetError> {
        let same_size = inode.absent().is_none_or(|absent| absent.size == entry.size);
        if stored.etag != entry.etag || !same_size {
            return Ok(false);
        }
        if inode.absent().is_some_and(|absent| !self.links.all.contains_key(&absent.link)) {
            self.relink((fid, inode), (link, text))?;
        }
        self.hold((fid, inode), (link, text), stored)?;
        Ok(true)
    }

    /// Tells the log, once for each file, that bytes are wanted to which no link leads any more; true when that is so.
    pub(super) fn is_cut_off(&mut self, fid: Fid, inode: &Inode) -> Result<bool, TargetError> {
        let Some(absent) = inode.absent() else { return Ok(false) };
        let (link, text) = (absent.link, absent.key.clone());
        let live = self.links.all.get(&link).is_some_and(|record| record.state != LinkState::Deleting);
        if live {
            return Ok(false);
        }
        if self.links.told.len() < TOLD_MAX && self.links.told.insert(fid) {
            let known = self.links.former.get(&link).map(|former| &former.link);
            let known = known.or_else(|| self.links.all.get(&link).map(|record| &record.link));
            let name = known.map_or_else(|| format!("link {}", link.0), |link| link.name.clone());
            let bucket =
                known.map_or_else(String::new, |link| format!(" of bucket {}", link.repository.bucket));
            let path = self.first_path(fid, inode)?;
            tracing::warn!(
                %fid,
                path,
                link = name,
                "the bytes of this file are only in object {text:?}{bucket}, and the link that led there was removed: \
                 add a link of the same file_system_path and data_repository_path to read it again"
            );
        }
        Ok(true)
    }

    /// The whole path of a file's first name, for messages.
    fn first_path(&self, fid: Fid, inode: &Inode) -> Result<String, TargetError> {
        let Some((parent, name)) = self.names_of(fid, inode)?.into_iter().next() else {
            return Ok("a removed file".to_owned());
        };
        let path = self.path_of(parent)?.unwrap_or_default();
        Ok(format!("{}/{}", String::from_utf8_lossy(&path), String::from_utf8_lossy(&name)))
    }

    /// Counts files whose bytes are only in a link's bucket; nothing for a link that is older than the count.
    pub(super) fn count_released(&mut self, link: LinkId, change: i64) -> Result<(), TargetError> {
        let Some(count) = self.table.get::<u64>(&key::released(link))? else { return Ok(()) };
        self.table.put(key::released(link), &count.saturating_add_signed(change))
    }
}

/// Whether a released file is just what an import made of its object.
fn is_untouched(absent: &Absent, inode: &Inode) -> bool {
    absent.present.is_empty() && absent.limit == absent.size && inode.size == absent.size
}
