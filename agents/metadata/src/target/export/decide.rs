//! What a marked key needs, from what the namespace has and what the repository holds.
//!
//! Changes nothing but asks for bytes that must be brought in first.
//! Invariant: no object is removed or replaced while a file still needs bytes that are only there.

use super::{
    Body, ByteRange, Errand, ExportKey, Fid, HsmVerb, Inode, KEY_MAX, LinkEvent, LinkState, Stored, Target,
    TargetError, key, unnamed,
};
use crate::target::link::LinkRecord;

/// What to do about a key.
pub(super) enum Verdict {
    /// The repository is as it should be.
    Nothing,
    /// Something stands in the way for now.
    Blocked,
    /// It cannot be exported as it is.
    Refused(&'static str),
    /// A mover is to do this.
    Act(Box<(Fid, HsmVerb, Errand)>),
}

/// Why a file without bytes of its own stays where it is.
const CUT_OFF: &str = "S3ExportLocalObjectReleaseWithoutS3Source: its bytes are only in the bucket of a link that was removed; \
                       add that link again";

/// All bytes of a file.
const WHOLE: ByteRange = ByteRange { start: 0, end: u64::MAX };

impl Target {
    pub(super) fn decide(&mut self, mark: &ExportKey) -> Result<Verdict, TargetError> {
        let (link, text) = mark;
        let Some(record) = self.links.all.get(link).filter(|record| record.state != LinkState::Deleting)
        else {
            return Ok(Verdict::Nothing);
        };
        let (root, prefix) = (record.root, record.link.repository.prefix.clone());
        // What is exported while the repository is listed could be taken for what was there before, or the other way round.
        if record.list_wanted || self.is_inheriting(*link) {
            return Ok(Verdict::Blocked);
        }
        if let Some(whole) = unnamed::path(text) {
            let path = whole.strip_prefix(prefix.as_bytes()).unwrap_or_default();
            let there =
                self.resolve(root, path)?.is_some_and(|(fid, inode)| fid != root && inode.is_exportable());
            return Ok(if there { Verdict::Refused(unnamed::CAUSE) } else { Verdict::Nothing });
        }
        let Some(path) = text.strip_prefix(&prefix) else { return Ok(Verdict::Nothing) };
        let wants_directory = text.ends_with('/');
        let found = self.resolve(root, path.as_bytes())?;
        let found = found.filter(|(_, inode)| inode.directory().is_some() == wants_directory);
        let found = found.filter(|(_, inode)| inode.is_exportable());
        let stored = self.table.get::<Stored>(&key::stored(*link, text))?;
        match (found, stored) {
            (None, None) => Ok(Verdict::Nothing),
            (None, Some(stored)) => self.decide_gone(mark, stored),
            (Some(_), _) if text.len() > KEY_MAX => {
                Ok(Verdict::Refused("S3ExportPathSizeTooLong: the key is longer than 1024 bytes"))
            }
            (Some((fid, inode)), stored) => self.decide_there(mark, (fid, &inode), stored),
        }
    }

    fn policy(&self, mark: &ExportKey) -> Option<&LinkRecord> {
        self.links.all.get(&mark.0)
    }

    fn exports(&self, mark: &ExportKey, event: LinkEvent) -> bool {
        self.policy(mark).is_some_and(|record| record.link.auto_export.contains(&event))
    }

    /// Nothing is under the key any more.
    fn decide_gone(&mut self, mark: &ExportKey, stored: Stored) -> Result<Verdict, TargetError> {
        if !self.exports(mark, LinkEvent::Deleted) {
            return Ok(Verdict::Nothing);
        }
        if let Some(verdict) = self.decide_displaced(mark, &stored)? {
            return Ok(verdict);
        }
        let verb = HsmVerb::Remove { key: mark.1.clone(), expect: Some(stored.etag) };
        Ok(Verdict::Act(Box::new((stored.fid, verb, Errand::Remove { key: mark.1.clone() }))))
    }

    /// The file whose object this is has left the key: the object follows it, or its bytes are brought in first.
    fn decide_displaced(
        &mut self,
        mark: &ExportKey,
        stored: &Stored,
    ) -> Result<Option<Verdict>, TargetError> {
        let Some(inode) = self.table.get::<Inode>(&key::inode(stored.fid))? else { return Ok(None) };
        let follows = self.exports(mark, LinkEvent::New) && self.exports(mark, LinkEvent::Deleted);
        if follows && let Some(to) = self.moved_to(mark, (stored, &inode))? {
            let (from, expect) = (mark.1.clone(), Some(stored.etag.clone()));
            let verb = HsmVerb::Rename { from: from.clone(), to: to.clone(), expect };
            let errand = Errand::Rename { from, to, stored: stored.clone() };
            return Ok(Some(Verdict::Act(Box::new((stored.fid, verb, errand)))));
        }
        let needs_it = inode.absent().is_some_and(|absent| (absent.link, &absent.key) == (mark.0, &mark.1));
        if needs_it && (inode.link_count > 0 || self.opens.contains_key(&stored.fid)) {
            self.want_bytes(stored.fid, &inode, WHOLE);
            return Ok(Some(Verdict::Blocked));
        }
        if follows && self.awaits_object(mark, (stored.fid, &inode))? {
            return Ok(Some(Verdict::Blocked));
        }
        Ok(None)
    }

    /// Whether a file that left its key is still to be put under a new one where nothing is yet: until then the old object is
    /// the only copy that the repository has of it. Where something is, files may have changed places.
    fn awaits_object(&self, mark: &ExportKey, (fid, inode): (Fid, &Inode)) -> Result<bool, TargetError> {
        Ok(!self.new_keys(mark, (fid, inode))?.is_empty())
    }

    /// The key under which an object that left its key is wanted, unchanged, where nothing is yet.
    fn moved_to(
        &self,
        mark: &ExportKey,
        (stored, inode): (&Stored, &Inode),
    ) -> Result<Option<String>, TargetError> {
        if stored.data_version != inode.data_version {
            return Ok(None);
        }
        let keys = self.new_keys(mark, (stored.fid, inode))?;
        Ok(keys.into_iter().find(|text| !self.links.exports.busy.contains(&(mark.0, text.clone()))))
    }

    /// Keys of the mark's link that a file can be exported to, and that have no object yet.
    fn new_keys(&self, mark: &ExportKey, (fid, inode): (Fid, &Inode)) -> Result<Vec<String>, TargetError> {
        let mut keys = Vec::new();
        for (parent, name) in self.names_of(fid, inode)? {
            let Some((link, path)) = self.link_path(parent, &name)?.filter(|(link, _)| *link == mark.0)
            else {
                continue;
            };
            let text = self.key_text(link, &path, inode.kind).map(String::from_utf8);
            let Some(Ok(text)) = text else { continue };
            let is_free = self.table.get::<Stored>(&key::stored(link, &text))?.is_none();
            if is_free && text.len() <= KEY_MAX {
                keys.push(text);
            }
        }
        Ok(keys)
    }

    fn decide_there(
        &mut self,
        mark: &ExportKey,
        (fid, inode): (Fid, &Inode),
        stored: Option<Stored>,
    ) -> Result<Verdict, TargetError> {
        let event = if stored.is_some() { LinkEvent::Changed } else { LinkEvent::New };
        if !self.exports(mark, event) {
            return Ok(Verdict::Nothing);
        }
        if let Some(other) = stored.as_ref().filter(|stored| stored.fid != fid)
            && let Some(verdict) = self.decide_displaced(mark, other)?
        {
            return Ok(verdict);
        }
        let now = Stored {
            fid,
            etag: String::new(),
            data_version: inode.data_version,
            attr_version: inode.attr_version,
        };
        let expect = stored.as_ref().map(|stored| stored.etag.clone());
        let same_content = stored
            .as_ref()
            .is_some_and(|stored| (stored.fid, stored.data_version) == (fid, now.data_version));
        if same_content {
            if stored.is_some_and(|stored| stored.attr_version == now.attr_version) {
                return Ok(Verdict::Nothing);
            }
            let key = mark.1.clone();
            let verb =
                HsmVerb::SetMetadata { key: key.clone(), attr: inode.attr(fid), expect: expect.clone() };
            let stored = Stored { etag: expect.unwrap_or_default(), ..now };
            return Ok(Verdict::Act(Box::new((fid, verb, Errand::SetMetadata { key, stored }))));
        }
        if self.is_open_for_writing(fid) || inode.unidentified {
            return Ok(Verdict::Blocked);
        }
        if self.writing.contains_key(&fid) {
            self.have_settled(fid, inode);
            return Ok(Verdict::Blocked);
        }
        if self.is_cut_off(fid, inode)? {
            return Ok(Verdict::Refused(CUT_OFF));
        }
        if let Some(absent) = inode.absent() {
            let (link, origin) = (absent.link, absent.key.clone());
            let comes =
                link == mark.0 && stored.is_none() && self.links.exports.dirty.contains_key(&(link, origin));
            if !comes {
                self.want_bytes(fid, inode, WHOLE);
            }
            return Ok(Verdict::Blocked);
        }
        let symlink = match &inode.body {
            Body::Symlink { target } => Some(target.clone()),
            Body::File(_) | Body::Directory(_) | Body::Node => None,
        };
        let layout = inode.file().map(|file| file.layout.clone());
        let key = mark.1.clone();
        let verb = HsmVerb::Archive { key: key.clone(), attr: inode.attr(fid), symlink, layout, expect };
        Ok(Verdict::Act(Box::new((fid, verb, Errand::Archive { key, stored: now }))))
    }
}
