//! Attributes and extended attributes.
//!
//! Extended attributes are not cached, but for those that this file answers itself: `lustre.*`, which are not listed and
//! through which `lustre fs` works.
//! Invariant: attributes of a file that is being written here show what was written, also before anybody was told.

use std::sync::Arc;

use lustre_model::attr::{AttrChange, FileKind};
use lustre_model::fault::Fault;
use lustre_model::fid::Fid;
use lustre_model::layout::{Layout, LayoutTemplate};
use lustre_model::metadata::{ByteRange, Reply, Request, TargetEntry, XattrMode};
use lustre_model::space::{OwnRoom, capacities};
use serde::{Deserialize, Serialize};

use crate::client::{Core, Seen};

/// All virtual attributes begin so; the metadata target answers those that are not in [`Virtual`].
const PREFIX: &[u8] = b"lustre.";

/// What lets a program do what only root may; the metadata target takes it away when the program is written.
const CAPABILITY: &[u8] = b"security.capability";

/// An object target with its space, as `lustre.targets` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetStatus {
    /// Which; its capacity is what it can store, where targets that share a disk share its room: [`capacities`].
    pub target: TargetEntry,
    /// Bytes stored, when it answers.
    pub used: Option<u64>,
}

/// The cluster, as `lustre.targets` shows it on any directory of a mount.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterStatus {
    /// Name of the file system.
    pub fs_name: String,
    /// Inodes in use.
    pub inodes: u64,
    /// Inodes that can still be created.
    pub inodes_free: u64,
    /// The object targets.
    pub targets: Vec<TargetStatus>,
}

/// What `lustre.lov` shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum LayoutView {
    /// The layout of a file.
    File(Layout),
    /// The default that a directory gives to new files.
    Directory(LayoutTemplate),
}

/// Attributes that are answered here.
enum Virtual {
    Layout,
    Fid,
    Targets,
    Path(Fid),
}

impl Virtual {
    fn parse(name: &[u8]) -> Option<Self> {
        match name.strip_prefix(PREFIX)? {
            b"lov" => Some(Self::Layout),
            b"fid" => Some(Self::Fid),
            b"targets" => Some(Self::Targets),
            other => {
                let text = std::str::from_utf8(other.strip_prefix(b"fid2path.")?).ok()?;
                text.parse().ok().map(Self::Path)
            }
        }
    }
}

impl Core {
    pub(crate) async fn get_attr(self: &Arc<Self>, fid: Fid) -> Result<Seen, Fault> {
        let ticket = self.session.ticket();
        let Reply::Entry { entry, .. } = self.call(&Request::GetAttr { fid }).await? else {
            return Err(Fault::Io);
        };
        Ok(self.see(self.hear(ticket), &entry))
    }

    pub(crate) async fn set_attr(self: &Arc<Self>, fid: Fid, change: AttrChange) -> Result<Seen, Fault> {
        let inode = self.inode(fid);
        if change.size.is_some_and(|size| size > 0) {
            self.hydrate_all(&inode).await?;
        }
        let telling = inode.telling.lock().await;
        if change.size.is_some_and(|size| size > 0) {
            // The answer says how much is stored, and whoever asks later hears the same.
            self.tell_alone(&inode, &telling).await?;
        }
        if change.mtime.is_some() {
            inode.state().begin_set_time();
        }
        let ticket = self.session.ticket();
        let answer = self.call(&Request::SetAttr { fid, change }).await?;
        let heard = self.hear(ticket);
        let Reply::Entry { entry, .. } = answer else { return Err(Fault::Io) };
        let mut state = inode.state();
        state.outrank(entry.attr, change.size.is_some(), change.mtime.is_some());
        let fresh = state.changed_here(heard, Some(&entry));
        let attr = state.overlay(entry.attr);
        drop(state);
        drop(telling);
        Ok(self.seen(attr, fresh))
    }

    pub(crate) async fn get_xattr(self: &Arc<Self>, fid: Fid, name: &[u8]) -> Result<Vec<u8>, Fault> {
        match Virtual::parse(name) {
            Some(Virtual::Layout) => json(&self.layout(fid).await?),
            Some(Virtual::Fid) => Ok(fid.to_string().into_bytes()),
            Some(Virtual::Targets) => json(&self.status().await?),
            Some(Virtual::Path(fid)) => self.paths(fid).await,
            None => {
                let answer = self.call(&Request::GetXattr { fid, name: name.to_vec() }).await?;
                let Reply::Bytes { bytes } = answer else { return Err(Fault::Io) };
                Ok(bytes)
            }
        }
    }

    /// Names, each ended by NUL.
    pub(crate) async fn list_xattr(&self, fid: Fid) -> Result<Vec<u8>, Fault> {
        let Reply::Names { names } = self.call(&Request::ListXattr { fid }).await? else {
            return Err(Fault::Io);
        };
        let mut list = Vec::new();
        for name in names.iter().filter(|name| !name.starts_with(PREFIX)) {
            list.extend_from_slice(name);
            list.push(0);
        }
        Ok(list)
    }

    pub(crate) async fn set_xattr(
        self: &Arc<Self>,
        fid: Fid,
        (name, value): (&[u8], &[u8]),
        mode: XattrMode,
    ) -> Result<(), Fault> {
        match Virtual::parse(name) {
            Some(Virtual::Layout) => {
                let template: LayoutTemplate = serde_json::from_slice(value).map_err(|_| Fault::Invalid)?;
                self.set_layout(fid, Some(template)).await
            }
            Some(Virtual::Fid | Virtual::Targets | Virtual::Path(_)) => Err(Fault::NotPermitted),
            None => {
                if name == CAPABILITY {
                    // What was written before must not be taken for a write after it, which would take it away.
                    self.tell(&self.inode(fid)).await?;
                }
                let request = Request::SetXattr { fid, name: name.to_vec(), value: value.to_vec(), mode };
                self.change(fid, &request).await
            }
        }
    }

    pub(crate) async fn remove_xattr(self: &Arc<Self>, fid: Fid, name: &[u8]) -> Result<(), Fault> {
        match Virtual::parse(name) {
            Some(Virtual::Layout) => self.set_layout(fid, None).await,
            Some(Virtual::Fid | Virtual::Targets | Virtual::Path(_)) => Err(Fault::NotPermitted),
            None => self.change(fid, &Request::RemoveXattr { fid, name: name.to_vec() }).await,
        }
    }

    /// Carries out a change that answers nothing but moves `ctime`.
    async fn change(self: &Arc<Self>, fid: Fid, request: &Request) -> Result<(), Fault> {
        let ticket = self.session.ticket();
        let answer = self.call(request).await;
        self.inode(fid).state().changed_here(self.hear(ticket), None);
        answer.map(drop)
    }

    async fn layout(&self, fid: Fid) -> Result<LayoutView, Fault> {
        let answer = self.call(&Request::GetLayout { fid }).await?;
        if let Reply::Template { template } = answer {
            return Ok(LayoutView::Directory(template));
        }
        let Reply::Layout { layout } = answer else { return Err(Fault::Io) };
        Ok(LayoutView::File(layout))
    }

    /// Sets the default of a directory or the layout of an empty file, whose first objects are then created.
    async fn set_layout(self: &Arc<Self>, fid: Fid, template: Option<LayoutTemplate>) -> Result<(), Fault> {
        let seen = self.get_attr(fid).await?;
        if template.is_none() && seen.attr.kind != FileKind::Directory {
            return Err(Fault::NotSupported);
        }
        self.change(fid, &Request::SetLayout { fid, template }).await?;
        if seen.attr.kind == FileKind::Regular {
            let range = ByteRange { start: 0, end: 1 };
            let answer = self.call(&Request::Instantiate { fid, range }).await?;
            if let Reply::Layout { layout } = answer {
                self.inode(fid).state().learn_layout(layout);
            }
        }
        Ok(())
    }

    /// Paths, each on a line; the root is `/`.
    async fn paths(&self, fid: Fid) -> Result<Vec<u8>, Fault> {
        let Reply::Names { names } = self.call(&Request::FidToPath { fid }).await? else {
            return Err(Fault::Io);
        };
        let mut text = Vec::new();
        for name in names {
            text.extend_from_slice(if name.is_empty() { b"/" } else { &name });
            text.push(b'\n');
        }
        Ok(text)
    }

    pub(crate) async fn status(&self) -> Result<ClusterStatus, Fault> {
        let Reply::Statistics { inodes, inodes_free } = self.call(&Request::Statistics).await? else {
            return Err(Fault::Io);
        };
        let entries = self.targets.entries();
        let spaces = entries.iter().map(|target| self.targets.space(target.index));
        let rooms: Vec<Option<OwnRoom>> =
            futures::future::join_all(spaces).await.into_iter().map(Result::ok).collect();
        let answered: Vec<OwnRoom> = rooms.iter().copied().flatten().collect();
        let mut capacities = capacities(&answered).into_iter();
        let targets = entries.into_iter().zip(rooms).map(|(mut target, room)| {
            if let Some(capacity) = room.and_then(|_| capacities.next()) {
                target.capacity = capacity;
            }
            TargetStatus { target, used: room.map(|room| room.used) }
        });
        Ok(ClusterStatus {
            fs_name: self.fs_name.to_string(),
            inodes,
            inodes_free,
            targets: targets.collect(),
        })
    }
}

fn json<T: Serialize>(value: &T) -> Result<Vec<u8>, Fault> {
    serde_json::to_vec(value).map_err(|_| Fault::Io)
}
