//! Import: keys that a listing found become names of released files.
//!
//! Keys are never trusted: what is not a plain path is refused, key by key, and the rest goes in.
//! What a later listing may do is the link's to say (`reconcile`).
//! Invariant: importing the same listing again changes nothing, and nothing that changed here is overwritten.

use std::collections::BTreeMap;

use lustre_model::fault::Fault;
use lustre_model::fid::Fid;
use lustre_model::hsm::{ImportEntry, ImportRefusal, LinkEvent, LinkId, LinkState, Listed, RefusalReason};
use lustre_model::layout::{
    ComponentTemplate, END_OF_FILE, Layout, LayoutTemplate, STRIPE_SIZE_DEFAULT, StripeCount,
};
use lustre_model::metadata::Reply;

use super::export::Stored;
use super::layout::without_objects;
use super::lease::Claim;
use super::link::{LinkRecord, SHOWN_MAX};
use super::names::blank_inode;
use super::{Caller, Target};
use crate::failure::{Halt, Step, TargetError, Wait};
use crate::inode::{Absent, Body, File, Inode};
use crate::key;

/// Most entries of one request.
const ENTRIES_MAX: usize = 1 << 16;
/// Longest component of a key.
const COMPONENT_MAX: usize = 255;

/// A request under way.
pub(super) struct Batch {
    pub(super) record: LinkRecord,
    /// What may come in.
    events: Vec<LinkEvent>,
    /// Directories found so far, by their path below the link.
    directories: BTreeMap<String, Fid>,
    refused: Vec<ImportRefusal>,
}

/// A key as a path.
struct Path<'a> {
    /// Directories, then the last name.
    parent: Option<&'a str>,
    name: &'a str,
    is_directory: bool,
}

/// A key either got its name or is refused.
type Outcome = Result<(), RefusalReason>;

fn parse<'a>(entry: &'a ImportEntry) -> Result<Path<'a>, RefusalReason> {
    let is_directory = entry.key.ends_with('/');
    let path = entry.key.strip_suffix('/').unwrap_or(&entry.key);
    for name in path.split('/') {
        if name.is_empty() || name == "." || name == ".." || name.contains('\0') {
            return Err(RefusalReason::NotPosixCompliant);
        }
        if name.len() > COMPONENT_MAX {
            return Err(RefusalReason::ComponentTooLong);
        }
    }
    if is_directory && entry.size > 0 {
        return Err(RefusalReason::DirectoryWithContent);
    }
    let (parent, name) = path.rsplit_once('/').map_or((None, path), |(parent, name)| (Some(parent), name));
    Ok(Path { parent, name, is_directory })
}

impl Target {
    pub(super) fn import(
        &mut self,
        caller: &Caller,
        (link, listed): (LinkId, Option<&Listed>),
        entries: &[ImportEntry],
    ) -> Step<Reply> {
        let Some(record) = self.links.all.get(&link).filter(|record| record.state != LinkState::Deleting)
        else {
            return Err(Fault::NotFound.into());
        };
        if entries.len() > ENTRIES_MAX {
            return Err(Fault::TooLarge.into());
        }
        let events = self.events_of(record, listed)?;
        let before = self.counters.inodes;
        let directories = BTreeMap::from([(String::new(), record.root)]);
        let known = record.clone();
        let mut batch = Batch { record: known.clone(), events, directories, refused: Vec::new() };
        let mut imported = 0;
        for entry in entries {
            match self.import_entry(caller, &mut batch, entry)? {
                Ok(()) => imported += 1,
                Err(reason) => batch.refuse(&entry.key, reason),
            }
        }
        self.note_refusals(&mut batch)?;
        batch.record.imported += self.counters.inodes.saturating_sub(before);
        let rest = match listed.filter(|_| batch.takes(LinkEvent::Deleted)) {
            Some(listed) => self.sweep(caller, &batch, (&listed.range, entries))?,
            None => None,
        };
        if batch.record != known {
            self.put_link_record(batch.record)?;
        }
        self.links.identify_next.get_or_insert_with(|| b"P".to_vec());
        Ok(Reply::Imported { imported, refused: batch.refused, rest })
    }

    fn note_refusals(&mut self, batch: &mut Batch) -> Result<(), TargetError> {
        let link = batch.record.link.id;
        for refusal in &batch.refused {
            let record = key::refused(link, &refusal.key);
            if self.table.get::<RefusalReason>(&record)?.is_some() {
                continue;
            }
            if batch.record.refused_total < SHOWN_MAX as u64 {
                self.table.put(record, &refusal.reason)?;
            }
            batch.record.refused_total += 1;
        }
        Ok(())
    }

    fn import_entry(&mut self, caller: &Caller, batch: &mut Batch, entry: &ImportEntry) -> Step<Outcome> {
        let path = match parse(entry) {
            Ok(path) => path,
            Err(reason) => return Ok(Err(reason)),
        };
        if self.is_echo(batch.record.link.id, &batch.key(&entry.key)) {
            return Ok(Ok(()));
        }
        if !batch.takes(LinkEvent::New) {
            let found = self.resolve(batch.record.root, entry.key.as_bytes())?;
            return match found.filter(|_| !path.is_directory) {
                Some((fid, _)) => self.import_again(caller, batch, (fid, entry)),
                None => Ok(Ok(())),
            };
        }
        let parent = match self.import_parents(caller, batch, path.parent)? {
            Ok(parent) => parent,
            Err(reason) => return Ok(Err(reason)),
        };
        if path.is_directory {
            let full = entry.key.trim_end_matches('/');
            return match self.import_directory(caller, batch, (parent, full, path.name))? {
                Ok(fid) => self.import_directory_object(batch, fid, entry).map(Ok),
                Err(reason) => Ok(Err(reason)),
            };
        }
        match self.find(parent, path.name.as_bytes())? {
            Some((_, fid)) => self.import_again(caller, batch, (fid, entry)),
            None => self.import_new(caller, batch, (parent, path.name), entry).map(Ok),
        }
    }

    fn import_parents(
        &mut self,
        caller: &Caller,
        batch: &mut Batch,
        path: Option<&str>,
    ) -> Step<Result<Fid, RefusalReason>> {
        let path = path.unwrap_or("");
        if let Some(fid) = batch.directories.get(path) {
            return Ok(Ok(*fid));
        }
        let mut at = batch.record.root;
        let mut end = 0;
        for name in path.split('/') {
            end += name.len() + usize::from(end > 0);
            let full = &path[..end];
            at = match batch.directories.get(full) {
                Some(fid) => *fid,
                None => match self.import_directory(caller, batch, (at, full, name))? {
                    Ok(fid) => fid,
                    Err(reason) => return Ok(Err(reason)),
                },
            };
        }
        Ok(Ok(at))
    }

    /// Finds or makes a directory. An untouched imported file in its place gives way to what lies below it.
    fn import_directory(
        &mut self,
        caller: &Caller,
        batch: &mut Batch,
        (parent, full, name): (Fid, &str, &str),
    ) -> Step<Result<Fid, RefusalReason>> {
        let found = self.find(parent, name.as_bytes())?;
        let fid = match found {
            Some((slot, fid)) => {
                let inode = self.load(fid)?;
                if inode.directory().is_some() {
                    fid
                } else if self.is_untouched(batch, (fid, &inode), full)? {
                    self.give_way(caller, batch, (parent, slot, full), (fid, inode))?;
                    self.make_directory(caller, parent, name.as_bytes())?
                } else {
                    return Ok(Err(RefusalReason::NameTaken));
                }
            }
            None => self.make_directory(caller, parent, name.as_bytes())?,
        };
        batch.directories.insert(full.to_owned(), fid);
        Ok(Ok(fid))
    }

    /// Whether a file is just what an earlier import made of a key.
    fn is_untouched(
        &self,
        batch: &Batch,
        (fid, inode): (Fid, &Inode),
        path: &str,
    ) -> Result<bool, TargetError> {
        let whole = batch.key(path);
        let stored = self.table.get::<Stored>(&key::stored(batch.record.link.id, &whole))?;
        let same = stored.is_some_and(|stored| {
            stored.fid == fid
                && stored.data_version == inode.data_version
                && stored.attr_version == inode.attr_version
        });
        Ok(same
            && inode.link_count == 1
            && !self.opens.contains_key(&fid)
            && !self.writing.contains_key(&fid))
    }

    fn give_way(
        &mut self,
        caller: &Caller,
        batch: &mut Batch,
        (parent, slot, full): (Fid, u64, &str),
        (fid, mut inode): (Fid, Inode),
    ) -> Step<()> {
        self.claim_all(caller, &[(parent, Claim::Change), (fid, Claim::Change)])?;
        let name = full.rsplit('/').next().unwrap_or(full);
        let mut directory = self.directory(parent)?;
        self.remove_entry((parent, &mut directory), slot)?;
        directory.modified(self.now.wall);
        self.put_inode(parent, &directory)?;
        self.lose_name((fid, &mut inode), parent, name.as_bytes())?;
        self.table.delete(key::stored(batch.record.link.id, &batch.key(full)));
        batch.refuse(full, RefusalReason::FileAndPrefix);
        Ok(())
    }

    /// Notes that a directory has an object of its own, whose attributes are to be asked for.
    fn import_directory_object(&mut self, batch: &Batch, fid: Fid, entry: &ImportEntry) -> Step<()> {
        let whole = batch.key(&entry.key);
        let record = key::stored(batch.record.link.id, &whole);
        if self.table.get::<Stored>(&record)?.is_some() {
            return Ok(());
        }
        let mut inode = self.load(fid)?;
        // A directory that somebody has seen keeps the attributes that were shown.
        if self.leases.contains_key(&fid) || inode.attr_version > 1 {
            return Ok(());
        }
        inode.unidentified = true;
        self.put_inode(fid, &inode)?;
        self.put_stored(batch, (fid, &inode), (&whole, &entry.etag))
    }

    fn put_stored(
        &mut self,
        batch: &Batch,
        (fid, inode): (Fid, &Inode),
        (whole, etag): (&str, &str),
    ) -> Step<()> {
        let link = batch.record.link.id;
        let (data_version, attr_version) = (inode.data_version, inode.attr_version);
        let stored = Stored { fid, etag: etag.to_owned(), data_version, attr_version };
        self.table.put(key::stored(link, whole), &stored)?;
        Ok(self.table.put(key::unidentified(fid), &(link, whole))?)
    }

    fn import_new(
        &mut self,
        caller: &Caller,
        batch: &Batch,
        (parent, name): (Fid, &str),
        entry: &ImportEntry,
    ) -> Step<()> {
        let whole = batch.key(&entry.key);
        if self.is_marked(batch.record.link.id, &whole) {
            // It was removed or moved here, and the repository is about to be told.
            return Ok(());
        }
        self.claim(caller, parent, Claim::Change)?;
        let mut directory = self.directory(parent)?;
        let fid = self.new_fid();
        let mut inode = blank_inode(0o755, self.config.owner, entry.last_modified);
        inode.ctime = self.now.wall;
        inode.unidentified = true;
        inode.body =
            Body::File(File { layout: batch.layout(entry.size), ordinal: 0, absent: None, written: true });
        batch.release(&mut inode, entry);
        self.count_released(batch.record.link.id, i64::from(entry.size > 0))?;
        self.add_name((fid, &mut inode), parent, name.as_bytes())?;
        self.add_entry((parent, &mut directory), name.as_bytes(), fid)?;
        directory.modified(self.now.wall);
        self.put_inode(parent, &directory)?;
        self.put_inode(fid, &inode)?;
        self.counters.inodes += 1;
        self.put_stored(batch, (fid, &inode), (&whole, &entry.etag))
    }

    /// The name exists: nothing to do, a new version to take, or something else in the way.
    fn import_again(
        &mut self,
        caller: &Caller,
        batch: &Batch,
        (fid, entry): (Fid, &ImportEntry),
    ) -> Step<Outcome> {
        let inode = self.load(fid)?;
        if inode.directory().is_some() {
            return Ok(Err(RefusalReason::FileAndPrefix));
        }
        let (link, whole) = (batch.record.link.id, batch.key(&entry.key));
        let mut inode = inode;
        let stored = match self.table.get::<Stored>(&key::stored(link, &whole))? {
            Some(stored) => stored,
            None => {
                let former = self.former_version(&batch.record, (fid, &inode), &entry.key)?;
                let Some(stored) = former else { return Ok(Err(RefusalReason::NameTaken)) };
                let known = (stored.clone(), entry);
                if self.take_up_listed((fid, &mut inode), (link, &whole), known)? {
                    return Ok(Ok(()));
                }
                stored
            }
        };
        if stored.fid != fid {
            return Ok(Err(RefusalReason::NameTaken));
        }
        if stored.etag == entry.etag || self.is_marked(link, &whole) {
            return Ok(Ok(()));
        }
        if !batch.takes(LinkEvent::Changed) {
            return Ok(Ok(()));
        }
        let changed_here = stored.data_version != inode.data_version || self.writing.contains_key(&fid);
        if changed_here || inode.file().is_none() {
            return Ok(Err(RefusalReason::NameTaken));
        }
        self.take_version(caller, batch, (fid, inode), entry)?;
        Ok(Ok(()))
    }

    /// Releases a file to a new version of its object.
    fn take_version(
        &mut self,
        caller: &Caller,
        batch: &Batch,
        (fid, mut inode): (Fid, Inode),
        entry: &ImportEntry,
    ) -> Step<()> {
        self.claim(caller, fid, Claim::Change)?;
        if self.restores_under_way(fid) {
            return Err(Halt::Wait(Wait::Restores(fid)));
        }
        self.forget_restores(fid);
        if let Some(from) = inode.absent().map(|absent| absent.link) {
            self.count_released(from, -1)?;
        }
        if let Some(file) = inode.file_mut() {
            let stripes = file.layout.stripes().collect();
            let generation = file.layout.generation + 1;
            file.layout = Layout { generation, ..batch.layout(entry.size) };
            self.doom(fid, stripes)?;
        }
        inode.modified(self.now.wall);
        inode.mtime = entry.last_modified;
        inode.data_version = inode.change;
        inode.unidentified = true;
        batch.release(&mut inode, entry);
        self.count_released(batch.record.link.id, i64::from(entry.size > 0))?;
        self.put_inode(fid, &inode)?;
        self.put_stored(batch, (fid, &inode), (&batch.key(&entry.key), &entry.etag))
    }

    pub(super) fn is_marked(&self, link: LinkId, whole: &str) -> bool {
        self.links.exports.is_marked(&(link, whole.to_owned()))
    }
}

impl Batch {
    /// Whether changes of a sort come in.
    pub(super) fn takes(&self, event: LinkEvent) -> bool {
        self.events.contains(&event)
    }

    /// The whole key of a path below the link.
    pub(super) fn key(&self, path: &str) -> String {
        format!("{}{path}", self.record.link.repository.prefix)
    }

    fn refuse(&mut self, path: &str, reason: RefusalReason) {
        let key = self.key(path);
        self.refused.push(ImportRefusal { key, reason });
    }

    /// The layout of an imported file: one component, a stripe for each chunk.
    fn layout(&self, size: u64) -> Layout {
        let chunk = u64::from(self.record.link.imported_file_chunk_size) << 20;
        let stripes = u16::try_from(size / chunk.max(1) + 1).unwrap_or(u16::MAX);
        without_objects(&LayoutTemplate {
            components: vec![ComponentTemplate {
                end: END_OF_FILE,
                stripe_size: STRIPE_SIZE_DEFAULT,
                stripe_count: StripeCount::Exact(stripes),
                pool: None,
            }],
        })
    }

    /// Makes the inode a file whose bytes are all in the repository.
    fn release(&self, inode: &mut Inode, entry: &ImportEntry) {
        inode.size = entry.size;
        // Archivers take a file without blocks for one without content, so a released file has one, as Lustre's.
        inode.blocks = u64::from(entry.size > 0);
        let absent = Absent {
            link: self.record.link.id,
            key: self.key(&entry.key),
            etag: entry.etag.clone(),
            size: entry.size,
            limit: entry.size,
            present: Vec::new(),
        };
        if let Some(file) = inode.file_mut() {
            file.absent = (entry.size > 0).then_some(absent);
        }
    }
}
