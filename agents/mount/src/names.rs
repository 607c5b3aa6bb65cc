//! Operations on names: look up, create, link, remove, rename, list.
//!
//! Who may do what was checked by the kernel. The kernel keeps changes of one directory apart; looks at it may overlap
//! them, and what these find is then not kept.
//! Invariant: a name is answered from memory only under the lease of its directory.

use std::sync::Arc;
use std::time::Duration;

use lustre_model::fault::Fault;
use lustre_model::fid::Fid;
use lustre_model::metadata::{
    AheadEntry, DirectoryEntry, FileView, LeaseKind, NewInode, RemoveKind, RenameMode, Reply, Request,
};

use crate::client::{Core, Seen};
use crate::file::Opened;
use crate::inode::{Ahead, Heard, Inode, Known, Meaning};

/// Entries that one request lists.
const LIST_LIMIT: u32 = 1024;

/// What came of looking a name up.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Looked {
    Found(Seen),
    /// It does not exist; the kernel may believe that for so long.
    Absent(Duration),
}

/// What came of creating a name.
#[derive(Debug)]
pub(crate) struct Made {
    pub(crate) seen: Seen,
    /// The file, when it was to be opened.
    pub(crate) opened: Option<Opened>,
}

/// A file that is losing a name.
struct Removing {
    inode: Arc<Inode>,
}

impl Removing {
    fn begin(inode: Arc<Inode>) -> Self {
        inode.state().begin_removing();
        Self { inode }
    }
}

impl Drop for Removing {
    fn drop(&mut self) {
        self.inode.state().end_removing();
    }
}

/// A part of a listing.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) rows: Vec<(DirectoryEntry, Seen)>,
    pub(crate) end: bool,
}

impl Core {
    /// Looks a name up without asking.
    pub(crate) fn cached_lookup(&self, parent: Fid, name: &[u8]) -> Option<Looked> {
        let known = self.known_inode(parent)?.state().name(name, self.session.standing());
        match known {
            Known::Names(fid) => {
                let seen = self.cached(fid)?;
                Some(Looked::Found(Seen { name_valid: self.name_valid(parent), ..seen }))
            }
            Known::Nothing => Some(Looked::Absent(self.name_valid(parent))),
            Known::Unclear => None,
        }
    }

    pub(crate) async fn lookup(self: &Arc<Self>, parent: Fid, name: &[u8]) -> Result<Looked, Fault> {
        let directory = self.inode(parent);
        let ahead = directory.state().asked_name(self.session.ticket());
        if let Some((ahead, parts)) = ahead.filter(|_| !self.is_contended()) {
            self.runtime.spawn(Arc::clone(self).look_ahead(Arc::clone(&directory), ahead, parts));
        }
        let ticket = self.session.ticket();
        let answer = self.call(&Request::Lookup { parent, name: name.to_vec() }).await;
        let heard = self.hear(ticket);
        let (seen, fid, parent_lease) = match answer {
            Ok(Reply::Entry { entry, parent_lease, .. }) => {
                (self.see(heard, &entry), entry.attr.fid, parent_lease)
            }
            Ok(Reply::Opened { view, parent_lease, .. }) => {
                (self.see_view(heard, &view), view.entry.attr.fid, parent_lease)
            }
            Ok(_) => return Err(Fault::Io),
            Err(Fault::NotFound) => {
                let kept = directory.state().missed_name(heard, name);
                return Ok(Looked::Absent(self.name_valid_if(kept, parent)));
            }
            Err(fault) => return Err(fault),
        };
        let kept = directory.state().saw_name(heard, parent_lease, (name, fid));
        Ok(Looked::Found(Seen { name_valid: self.name_valid_if(kept, parent), ..seen }))
    }

    /// Carries out a request that gives `name` in `parent` a meaning: `Create` or `Link`.
    pub(crate) async fn make(
        self: &Arc<Self>,
        parent: Fid,
        name: &[u8],
        request: Request,
    ) -> Result<Made, Fault> {
        let directory = self.inode(parent);
        let began = self.session.now();
        directory.state().begin_change(began, &[name]);
        let ticket = self.session.ticket();
        let asked = self.session.ask(&request).await;
        let heard = self.hear(ticket);
        let mut made = None;
        let (fid, granted) = match &asked {
            Ok((Reply::Entry { entry, parent_lease, parent }, _)) => {
                // A further name of an inode changes it, a new inode has no older answers.
                let inode = self.inode(entry.attr.fid);
                let mut state = inode.state();
                let fresh = state.changed_here(heard, Some(entry));
                if fresh && matches!(request, Request::Create { inode: NewInode::Directory, .. }) {
                    state.is_new_directory();
                }
                made = Some((self.seen(state.overlay(entry.attr), fresh), None));
                (Some(entry.attr.fid), (*parent_lease, *parent))
            }
            Ok((Reply::Opened { view, open: Some(open), parent_lease, parent, .. }, session)) => {
                let opened = self.opened(heard, (view, (*session, *open)), &request);
                made = Some((opened.seen, Some(opened)));
                (Some(view.entry.attr.fid), (*parent_lease, *parent))
            }
            Ok(_) | Err(_) => (None, (LeaseKind::None, None)),
        };
        let names = fid.map(|fid| (name, Some(fid)));
        let kept = directory.state().end_change((began, &[name]), heard, (granted, names.as_slice()));
        let (seen, opened) = made.ok_or(asked.err().unwrap_or(Fault::Io))?;
        Ok(Made { seen: Seen { name_valid: self.name_valid_if(kept, parent), ..seen }, opened })
    }

    pub(crate) async fn remove(
        self: &Arc<Self>,
        parent: Fid,
        name: &[u8],
        kind: RemoveKind,
    ) -> Result<(), Fault> {
        let removed = if kind == RemoveKind::File { self.fid_of(parent, name).await? } else { None };
        let _removing = match removed {
            Some(fid) => Some(self.begin_removing(fid).await?),
            None => None,
        };
        let directory = self.inode(parent);
        let began = self.session.now();
        directory.state().begin_change(began, &[name]);
        let ticket = self.session.ticket();
        let answer = self.call(&Request::Remove { parent, name: name.to_vec(), kind }).await;
        let heard = self.hear(ticket);
        let granted = match &answer {
            Ok(Reply::Removed { parent_lease, parent, .. }) => (*parent_lease, *parent),
            Ok(_) | Err(_) => (LeaseKind::None, None),
        };
        let gone = [(name, None)];
        let outcome: &[Meaning<'_>] = if granted.0 == LeaseKind::None { &[] } else { &gone };
        directory.state().end_change((began, &[name]), heard, (granted, outcome));
        let Reply::Removed { attr, .. } = answer? else { return Err(Fault::Io) };
        let inode = self.inode(attr.fid);
        {
            let mut state = inode.state();
            state.changed_here(heard, None);
            if attr.link_count == 0 {
                state.lose_lease(heard.now);
            }
        }
        // The lease went with the last name; who still has the file open must find its size.
        self.tell(&inode).await
    }

    pub(crate) async fn rename(
        self: &Arc<Self>,
        from: (Fid, Vec<u8>),
        to: (Fid, Vec<u8>),
        mode: RenameMode,
    ) -> Result<(), Fault> {
        let moved = self.fid_of(from.0, &from.1).await?.ok_or(Fault::NotFound)?;
        let replaced = self.fid_of(to.0, &to.1).await?;
        let _removing = match replaced {
            Some(fid) => Some(self.begin_removing(fid).await?),
            None => None,
        };
        let (source, target) = (self.inode(from.0), self.inode(to.0));
        let began = self.session.now();
        source.state().begin_change(began, &[&from.1]);
        let began_target = self.session.now();
        target.state().begin_change(began_target, &[&to.1]);
        let ticket = self.session.ticket();
        let request = Request::Rename { from: from.clone(), to: to.clone(), mode };
        let answer = self.call(&request).await;
        let heard = self.hear(ticket);
        // What the names mean now is asked when it is needed: a rename over a hard link of itself changes nothing.
        target.state().end_change((began_target, &[&to.1]), heard, ((LeaseKind::None, None), &[]));
        source.state().end_change((began, &[&from.1]), heard, ((LeaseKind::None, None), &[]));
        for fid in replaced.into_iter().chain([moved]) {
            self.inode(fid).state().changed_here(heard, None);
        }
        answer?;
        if let Some(fid) = replaced.filter(|fid| *fid != moved && mode != RenameMode::Exchange) {
            let inode = self.inode(fid);
            inode.state().lose_lease(heard.now);
            self.tell(&inode).await?;
        }
        Ok(())
    }

    /// Keeps a file from being opened without asking while a name of it goes, and says what is open so already.
    async fn begin_removing(self: &Arc<Self>, fid: Fid) -> Result<Removing, Fault> {
        let removing = Removing::begin(self.inode(fid));
        let open = removing.inode.state().stand(|| self.session.draw());
        if open.is_some() {
            let keep = LeaseKind::Write;
            self.call(&Request::Downgrade { fid, keep, update: None, open }).await?;
        }
        Ok(removing)
    }

    pub(crate) async fn read_link(&self, fid: Fid) -> Result<Vec<u8>, Fault> {
        let Reply::Bytes { bytes } = self.call(&Request::ReadLink { fid }).await? else {
            return Err(Fault::Io);
        };
        Ok(bytes)
    }

    /// Lists entries behind `after`, 0 from the start.
    pub(crate) async fn list(self: &Arc<Self>, fid: Fid, after: u64) -> Result<Page, Fault> {
        let directory = self.inode(fid);
        let ticket = self.session.ticket();
        let answer = self.call(&Request::ReadDirectory { fid, after, limit: LIST_LIMIT }).await?;
        let heard = self.hear(ticket);
        let Reply::Entries { entries, end, directory_lease } = answer else { return Err(Fault::Io) };
        let mut rows = Vec::with_capacity(entries.len());
        for row in entries {
            let seen = self.see(heard, &row.entry);
            let kept = directory.state().saw_name(heard, directory_lease, (&row.name, row.entry.attr.fid));
            let name_valid = self.name_valid_if(kept, fid);
            rows.push((row, Seen { name_valid, ..seen }));
        }
        Ok(Page { rows, end })
    }

    /// Looks up names of a directory in which many are looked up, in large parts, as long as they may be kept. Nobody waits
    /// for it.
    async fn look_ahead(self: Arc<Self>, directory: Arc<Inode>, mut ahead: Ahead, parts: u32) {
        let fid = directory.fid;
        for _ in 0..parts {
            let ticket = self.session.ticket();
            let request = Request::LookAhead { fid, after: ahead.after, limit: LIST_LIMIT };
            let answer = self.call(&request).await;
            let heard = self.hear(ticket);
            let Ok(Reply::Ahead { entries, next, skipped, directory_lease }) = answer else { return };
            for found in &entries {
                let child = found.entry.attr.fid;
                self.see_ahead(heard, found);
                if !directory.state().saw_name(heard, directory_lease, (&found.name, child)) {
                    return;
                }
            }
            ahead.whole &= !skipped;
            directory.state().looked_ahead(ahead, next, self.session.standing());
            let Some(next) = next else { return };
            ahead.after = next;
        }
    }

    fn see_ahead(self: &Arc<Self>, heard: Heard, found: &AheadEntry) {
        match &found.layout {
            Some(layout) => {
                let (entry, layout) = (found.entry.clone(), layout.clone());
                self.see_view(heard, &FileView { entry, layout, present: None });
            }
            None => drop(self.see(heard, &found.entry)),
        }
    }

    async fn fid_of(self: &Arc<Self>, parent: Fid, name: &[u8]) -> Result<Option<Fid>, Fault> {
        let known = self.inode(parent).state().name(name, self.session.standing());
        match known {
            Known::Names(fid) => Ok(Some(fid)),
            Known::Nothing => Ok(None),
            Known::Unclear => match self.lookup(parent, name).await? {
                Looked::Found(seen) => Ok(Some(seen.attr.fid)),
                Looked::Absent(_) => Ok(None),
            },
        }
    }

    fn name_valid_if(&self, kept: bool, parent: Fid) -> Duration {
        if kept { self.name_valid(parent) } else { Duration::ZERO }
    }
}
