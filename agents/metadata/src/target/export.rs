//! Export: brings the repository to what the namespace is, key by key.
//!
//! A change of the namespace marks the keys that it touches. What has to be done for a marked key follows from two things
//! alone: what the namespace has under it now, and what the repository is known to hold (`V`). So changes of one file
//! that follow each other fall together, what was created and removed before its export costs nothing, and an action that
//! is repeated after a crash asks for what is true then. One action at a time is under way for a key.
//!
//! ```text
//! marked ─► fresh ─► nothing to do: mark gone
//!             ├────► blocked: open for writing, or bytes must be brought in first
//!             └────► ready ─► busy (a mover has it) ─► done: fresh again · failed: later, then fresh
//! ```
//! Invariant: a mark is removed only when the repository holds what the namespace has, or the link's policy leaves it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use lustre_model::attr::FileKind;
use lustre_model::fid::Fid;
use lustre_model::hsm::{HsmFailure, HsmOutcome, HsmVerb, LinkEvent, LinkId, LinkState};
use lustre_model::metadata::ByteRange;
use serde::{Deserialize, Serialize};

use super::Target;
use super::mover::{Errand, backoff};
use crate::failure::TargetError;
use crate::inode::{Body, Inode};
use crate::key;

mod decide;
mod unnamed;
mod walk;

use decide::Verdict;
pub(super) use unnamed::shown;

/// Marks looked at in one commit.
const FRESH_MAX: usize = 256;
/// Pause before marks that something stands in the way of are looked at again, should nothing else bring them up.
const RECHECK_MS: u64 = 1000;
/// Longest key that S3 takes.
const KEY_MAX: usize = 1024;

/// A key of a link.
pub(super) type ExportKey = (LinkId, String);

/// What the repository holds under a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stored {
    pub(super) fid: Fid,
    pub(super) etag: String,
    pub(super) data_version: u64,
    pub(super) attr_version: u64,
}

/// A mark.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Dirty {
    /// Wall clock, in seconds.
    pub(super) since: i64,
    pub(super) attempts: u32,
    pub(super) cause: Option<String>,
    /// Not tried again before it changes.
    refused: bool,
}

/// Marks and their queues.
#[derive(Debug, Default)]
pub(super) struct Exports {
    dirty: BTreeMap<ExportKey, Dirty>,
    /// Marks in `fresh` or `ready`.
    queued: BTreeSet<ExportKey>,
    fresh: VecDeque<ExportKey>,
    ready: VecDeque<ExportKey>,
    blocked: Vec<ExportKey>,
    recheck_ms: u64,
    later: BTreeSet<(u64, ExportKey)>,
    busy: BTreeSet<ExportKey>,
    /// Walks to do, by their keys in the table.
    walks: BTreeSet<Vec<u8>>,
}

impl Exports {
    /// Marks of a link that failed.
    pub(super) fn failed(&self, link: LinkId) -> impl Iterator<Item = (&str, &Dirty)> {
        let marks = self.dirty.range((link, String::new())..).take_while(move |((id, _), _)| *id == link);
        marks.filter(|(_, dirty)| dirty.cause.is_some()).map(|((_, key), dirty)| (key.as_str(), dirty))
    }

    /// Number of exports that wait or are under way, and since when the oldest does.
    pub(super) fn pending(&self, link: LinkId) -> (u64, Option<i64>) {
        let marks = self.dirty.range((link, String::new())..).take_while(|((id, _), _)| *id == link);
        let mut pending = (self.walks.len() as u64, None);
        for (_, dirty) in marks.filter(|(_, dirty)| !dirty.refused) {
            pending.0 += 1;
            pending.1 = Some(pending.1.map_or(dirty.since, |since: i64| since.min(dirty.since)));
        }
        pending
    }

    /// Whether a key may differ from the namespace.
    pub(super) fn is_marked(&self, mark: &ExportKey) -> bool {
        self.dirty.contains_key(mark)
    }

    /// Queues a mark to be looked at, unless it is queued.
    fn enqueue(&mut self, mark: ExportKey) {
        if self.queued.insert(mark.clone()) {
            self.fresh.push_back(mark);
        }
    }

    fn forget(&mut self, link: LinkId) {
        self.queued.retain(|(id, _)| *id != link);
        self.dirty.retain(|(id, _), _| *id != link);
        self.fresh.retain(|(id, _)| *id != link);
        self.ready.retain(|(id, _)| *id != link);
        self.blocked.retain(|(id, _)| *id != link);
        self.later.retain(|(_, (id, _))| *id != link);
    }
}

impl Target {
    pub(super) fn load_exports(&mut self) -> Result<(), TargetError> {
        for (record, dirty) in self.table.load::<Dirty>(b"E")? {
            let Some(mark) = key::read_link(&record) else { continue };
            self.links.exports.enqueue(mark.clone());
            self.links.exports.dirty.insert(mark, dirty);
        }
        let walks = self.table.scan(b"J", b"K", usize::MAX)?;
        self.links.exports.walks = walks.into_iter().map(|(record, _)| record).collect();
        Ok(())
    }

    /// Marks a key.
    pub(super) fn mark(&mut self, link: LinkId, text: String) -> Result<(), TargetError> {
        let mark = (link, text);
        let exports = &mut self.links.exports;
        let known = exports.dirty.get(&mark).is_some_and(|dirty| !dirty.refused);
        exports.enqueue(mark.clone());
        if known {
            return Ok(());
        }
        let dirty = Dirty { since: self.now.wall.seconds, attempts: 0, cause: None, refused: false };
        self.put_mark(mark, dirty)
    }

    fn put_mark(&mut self, mark: ExportKey, dirty: Dirty) -> Result<(), TargetError> {
        self.table.put(key::export(mark.0, &mark.1), &dirty)?;
        self.links.exports.dirty.insert(mark, dirty);
        Ok(())
    }

    fn unmark(&mut self, mark: &ExportKey) {
        self.table.delete(key::export(mark.0, &mark.1));
        self.links.exports.dirty.remove(mark);
    }

    /// Marks what a name is to the repository, when a link that exports covers it. A directory takes all below along.
    pub(super) fn export_name(&mut self, parent: Fid, name: &[u8], inode: &Inode) -> Result<(), TargetError> {
        let Some((link, path)) = self.link_path(parent, name)? else { return Ok(()) };
        let Some(text) = self.key_text(link, &path, inode.kind) else { return Ok(()) };
        if inode.directory().is_some_and(|directory| directory.entries > 0) {
            self.start_walks(link, &text, (parent, name))?;
        }
        self.mark_path(link, text)
    }

    /// Marks a key. What cannot be a key is marked too, so that it is looked at and reported.
    pub(super) fn mark_path(&mut self, link: LinkId, text: Vec<u8>) -> Result<(), TargetError> {
        let text = String::from_utf8(text).unwrap_or_else(|error| unnamed::mark(error.as_bytes()));
        self.mark(link, text)
    }

    /// The whole key of a path below a link, when the link exports anything and such things can be exported.
    fn key_text(&self, link: LinkId, path: &[u8], kind: FileKind) -> Option<Vec<u8>> {
        let record = self.links.all.get(&link)?;
        let exports = !record.link.auto_export.is_empty() && record.state != LinkState::Deleting;
        let mut text = record.link.repository.prefix.as_bytes().to_vec();
        text.extend_from_slice(path);
        match kind {
            FileKind::Directory => text.push(b'/'),
            FileKind::Regular | FileKind::Symlink => {}
            FileKind::Fifo | FileKind::Socket | FileKind::CharDevice | FileKind::BlockDevice => return None,
        }
        exports.then_some(text)
    }

    /// Marks all names of an inode.
    pub(super) fn export_inode(&mut self, fid: Fid, inode: &Inode) -> Result<(), TargetError> {
        if self.links.roots.is_empty() {
            return Ok(());
        }
        for (parent, name) in self.names_of(fid, inode)? {
            let Some((link, path)) = self.link_path(parent, &name)? else { continue };
            if let Some(text) = self.key_text(link, &path, inode.kind) {
                self.mark_path(link, text)?;
            }
        }
        Ok(())
    }

    /// Looks again at the marks of an inode that something stood in the way of.
    pub(super) fn export_again(&mut self, fid: Fid, inode: &Inode) -> Result<(), TargetError> {
        if self.links.exports.dirty.is_empty() {
            return Ok(());
        }
        for (parent, name) in self.names_of(fid, inode)? {
            let Some((link, path)) = self.link_path(parent, &name)? else { continue };
            let text = self.key_text(link, &path, inode.kind).map(String::from_utf8);
            if let Some(Ok(text)) = text
                && self.links.exports.dirty.contains_key(&(link, text.clone()))
            {
                self.links.exports.enqueue((link, text));
            }
        }
        Ok(())
    }

    /// Looks again at all marks of a link whose policy or place changed.
    pub(super) fn export_link_again(&mut self, link: LinkId) {
        let exports = &mut self.links.exports;
        let marks = exports.dirty.keys().filter(|(id, _)| *id == link).cloned();
        for mark in marks.collect::<Vec<ExportKey>>() {
            exports.enqueue(mark);
        }
    }

    /// Drops every mark of a link that is being removed.
    pub(super) fn forget_exports(&mut self, link: LinkId) -> Result<(), TargetError> {
        self.links.exports.forget(link);
        let prefix = key::export(link, "");
        self.table.delete_all(&prefix)?;
        self.forget_walks(link);
        Ok(())
    }

    /// Looks at fresh marks, and goes on with walks.
    pub(super) fn pump_exports(&mut self) -> Result<(), TargetError> {
        self.step_walk()?;
        for _ in 0..FRESH_MAX {
            let Some(mark) = self.links.exports.fresh.pop_front() else { break };
            self.links.exports.queued.remove(&mark);
            if self.links.exports.busy.contains(&mark) || !self.links.exports.dirty.contains_key(&mark) {
                continue;
            }
            match self.decide(&mark)? {
                Verdict::Nothing => self.unmark(&mark),
                Verdict::Blocked => self.links.exports.blocked.push(mark),
                Verdict::Refused(cause) => self.refuse_mark(mark, cause)?,
                Verdict::Act(..) => {
                    self.links.exports.queued.insert(mark.clone());
                    self.links.exports.ready.push_back(mark);
                }
            }
        }
        Ok(())
    }

    fn refuse_mark(&mut self, mark: ExportKey, cause: &str) -> Result<(), TargetError> {
        let since = self.links.exports.dirty.get(&mark).map_or(self.now.wall.seconds, |dirty| dirty.since);
        self.put_mark(mark, Dirty { since, attempts: 0, cause: Some(cause.to_owned()), refused: true })
    }

    pub(super) fn next_export(&mut self) -> Result<Option<(LinkId, Fid, HsmVerb, Errand)>, TargetError> {
        while let Some(mark) = self.links.exports.ready.pop_front() {
            self.links.exports.queued.remove(&mark);
            if self.links.exports.busy.contains(&mark) || !self.links.exports.dirty.contains_key(&mark) {
                continue;
            }
            let Verdict::Act(deed) = self.decide(&mark)? else {
                self.links.exports.enqueue(mark);
                continue;
            };
            let (fid, verb, errand) = *deed;
            if let Errand::Rename { from, to, .. } = &errand {
                self.links.exports.busy.insert((mark.0, from.clone()));
                self.links.exports.busy.insert((mark.0, to.clone()));
            }
            let link = mark.0;
            self.links.exports.busy.insert(mark);
            return Ok(Some((link, fid, verb, errand)));
        }
        Ok(None)
    }

    pub(super) fn end_export(
        &mut self,
        link: LinkId,
        errand: Errand,
        outcome: &HsmOutcome,
    ) -> Result<(), TargetError> {
        let keys: Vec<String> = match &errand {
            Errand::Archive { key, .. } | Errand::SetMetadata { key, .. } | Errand::Remove { key } => {
                vec![key.clone()]
            }
            Errand::Rename { from, to, .. } => vec![from.clone(), to.clone()],
            Errand::List | Errand::Check | Errand::Identify { .. } | Errand::Restore { .. } => Vec::new(),
        };
        self.echo(link, &keys);
        let gone = matches!(outcome, HsmOutcome::Failed { code: HsmFailure::NotFound, .. });
        match outcome {
            HsmOutcome::Failed { cause, retry, .. } if !(gone && matches!(errand, Errand::Remove { .. })) => {
                self.export_failed(link, &keys, (cause, *retry))?;
                if gone && let Errand::Rename { from, .. } = &errand {
                    // What was to be moved is not there any more; what is here can still be put.
                    self.table.delete(key::stored(link, from));
                }
                return Ok(());
            }
            HsmOutcome::Stored { etag } => self.note_stored(link, &errand, Some(etag))?,
            HsmOutcome::Done | HsmOutcome::Identified { .. } | HsmOutcome::Failed { .. } => {
                self.note_stored(link, &errand, None)?;
            }
        }
        for key in keys {
            let mark = (link, key);
            self.links.exports.busy.remove(&mark);
            if let Some(dirty) = self.links.exports.dirty.get(&mark).cloned() {
                self.put_mark(mark.clone(), Dirty { attempts: 0, cause: None, ..dirty })?;
            }
            self.links.exports.enqueue(mark);
        }
        Ok(())
    }

    /// Notes what the repository holds now.
    fn note_stored(
        &mut self,
        link: LinkId,
        errand: &Errand,
        etag: Option<&String>,
    ) -> Result<(), TargetError> {
        let with_etag = |stored: &Stored| Stored {
            etag: etag.cloned().unwrap_or_else(|| stored.etag.clone()),
            ..stored.clone()
        };
        let (to, stored) = match errand {
            Errand::Remove { key } => {
                self.table.delete(key::stored(link, key));
                return Ok(());
            }
            Errand::Archive { key, stored } | Errand::SetMetadata { key, stored } => (key, with_etag(stored)),
            Errand::Rename { from, to, stored } => {
                self.table.delete(key::stored(link, from));
                (to, with_etag(stored))
            }
            Errand::List | Errand::Check | Errand::Identify { .. } | Errand::Restore { .. } => return Ok(()),
        };
        self.table.put(key::stored(link, to), &stored)?;
        self.move_origin(link, errand, (to, &stored))
    }

    /// A released file's bytes are where the object went, in the version that it has there.
    fn move_origin(
        &mut self,
        link: LinkId,
        errand: &Errand,
        (to, stored): (&str, &Stored),
    ) -> Result<(), TargetError> {
        let from = match errand {
            Errand::Rename { from, .. } => from.as_str(),
            Errand::SetMetadata { key, .. } => key.as_str(),
            Errand::Archive { .. }
            | Errand::Remove { .. }
            | Errand::List
            | Errand::Check
            | Errand::Identify { .. }
            | Errand::Restore { .. } => return Ok(()),
        };
        let Some(mut inode) = self.table.get::<Inode>(&key::inode(stored.fid))? else { return Ok(()) };
        let absent = inode.file_mut().and_then(|file| file.absent.as_mut());
        let Some(absent) = absent.filter(|absent| absent.link == link && absent.key == from) else {
            return Ok(());
        };
        (absent.key, absent.etag) = (to.to_owned(), stored.etag.clone());
        self.put_inode(stored.fid, &inode)
    }

    fn export_failed(
        &mut self,
        link: LinkId,
        keys: &[String],
        (cause, retry): (&str, bool),
    ) -> Result<(), TargetError> {
        for text in keys {
            let mark = (link, text.clone());
            self.links.exports.busy.remove(&mark);
            let Some(dirty) = self.links.exports.dirty.get(&mark).cloned() else { continue };
            let attempts = dirty.attempts + 1;
            let dirty = Dirty { attempts, cause: Some(cause.to_owned()), refused: !retry, ..dirty };
            self.put_mark(mark.clone(), dirty)?;
            if retry {
                self.links.exports.later.insert((self.now.uptime_ms + backoff(attempts), mark));
            }
        }
        Ok(())
    }

    /// A mover was lost with these keys.
    pub(super) fn export_lost(&mut self, link: LinkId, keys: &[String]) {
        for text in keys {
            let mark = (link, text.clone());
            self.links.exports.busy.remove(&mark);
            self.links.exports.enqueue(mark);
        }
    }

    pub(super) fn tick_exports(&mut self) {
        let now = self.now.uptime_ms;
        let exports = &mut self.links.exports;
        while let Some((due, mark)) = exports.later.pop_first() {
            if due > now {
                exports.later.insert((due, mark));
                break;
            }
            exports.enqueue(mark);
        }
        if exports.recheck_ms <= now {
            exports.recheck_ms = now + RECHECK_MS;
            for mark in std::mem::take(&mut exports.blocked) {
                exports.enqueue(mark);
            }
        }
    }

    /// Keys under which the repository holds a file, in whatever version.
    pub(super) fn held_as(&self, fid: Fid, inode: &Inode) -> Result<Vec<(ExportKey, Stored)>, TargetError> {
        let mut held = Vec::new();
        for (parent, name) in self.names_of(fid, inode)? {
            let Some((link, path)) = self.link_path(parent, &name)? else { continue };
            let Some(record) = self.links.all.get(&link) else { continue };
            let text = [record.link.repository.prefix.as_bytes(), &path].concat();
            let Ok(text) = String::from_utf8(text) else { continue };
            let stored = self.table.get::<Stored>(&key::stored(link, &text))?;
            held.extend(stored.filter(|stored| stored.fid == fid).map(|stored| ((link, text), stored)));
        }
        Ok(held)
    }

    /// What `lfs hsm_state` prints behind the path.
    pub(super) fn hsm_state(&self, fid: Fid, inode: &Inode) -> Result<String, TargetError> {
        let stored = self.held_as(fid, inode)?.pop().map(|(_, stored)| stored);
        let released = inode.absent().is_some();
        let archived = released || stored.is_some();
        let dirty = stored.is_some_and(|stored| stored.data_version != inode.data_version);
        let states = [
            (released, 0x4, " released"),
            (archived, 0x1, " exists"),
            (dirty, 0x2, " dirty"),
            (archived, 0x8, " archived"),
        ];
        let bits: u32 = states.iter().filter(|(is, _, _)| *is).map(|(_, bit, _)| bit).sum();
        let words: String = states.iter().filter(|(is, _, _)| *is).map(|(_, _, word)| *word).collect();
        let archive = if archived { ", archive_id:1" } else { "" };
        Ok(format!("({bits:#010x}){words}{archive}"))
    }
}
