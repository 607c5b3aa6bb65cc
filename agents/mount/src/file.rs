//! Open files: opened, told. How they are closed is `close`'s, their bytes are `io`'s.
//!
//! An open file stands with the metadata target, so that its inode outlives its last name. One that was opened for reading
//! under a lease does not, while the lease is held: nobody else can remove the file without asking for it.
//! Invariant: what a file's size is was told, or is held under the write lease, when an operation here returns.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use lustre_model::attr::{AttrChange, SetTime};
use lustre_model::fault::Fault;
use lustre_model::fid::Fid;
use lustre_model::metadata::{FileView, NewInode, OpenId, OpenMode, Reply, Request, SessionId};

use crate::client::{Core, Seen};
use crate::inode::{Heard, Inode};
use crate::readahead::Readahead;

/// `fallocate(2)` of less than this does not ask whether there is room.
const PROMISE_MIN: u64 = 64 << 20;

/// Bytes in a block of `st_blocks`.
const BLOCK: u64 = 512;

/// A file that was just opened.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) seen: Seen,
    pub(crate) file: OpenFile,
}

/// An open file.
#[derive(Debug)]
pub(crate) struct OpenFile {
    pub(crate) inode: Arc<Inode>,
    mode: OpenMode,
    /// Under which number the session knows it, when it was asked for.
    registered: Option<Mutex<(SessionId, OpenId)>>,
    pub(crate) ahead: Mutex<Readahead>,
}

/// What `fallocate(2)` is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Allocate {
    /// Makes the file at least so long.
    Extend,
    /// Leaves the file as it is: nothing is set aside, but what cannot fit is refused.
    Reserve,
    /// Makes the range a hole.
    Punch,
    /// Makes the range read as zeros, and the file at least so long.
    Zero,
}

/// What `lseek(2)` looks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sought {
    Data,
    Hole,
}

impl OpenFile {
    /// The session that knows it, and its number there; none when it was not asked for.
    pub(crate) fn registered(&self) -> Option<(SessionId, OpenId)> {
        self.registered.as_ref().map(|known| *known.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Core {
    /// Opens for reading without asking, where a lease and what came with it allow that.
    pub(crate) fn open_unasked(&self, inode: &Arc<Inode>) -> Option<Opened> {
        // The session as it is, looked at while nobody else gets at the inode: what was opened before it was lost is told.
        let attr = {
            let mut state = inode.state();
            let standing = self.session.standing();
            state.open_unasked(standing)?
        };
        let ahead = Mutex::new(Readahead::default());
        let file = OpenFile { inode: Arc::clone(inode), mode: OpenMode::Read, registered: None, ahead };
        Some(Opened { seen: self.seen(attr, true), file })
    }

    pub(crate) async fn open(self: &Arc<Self>, fid: Fid, mode: OpenMode) -> Result<Opened, Fault> {
        let inode = self.inode(fid);
        if mode == OpenMode::Read {
            if let Some(opened) = self.open_unasked(&inode) {
                return Ok(opened);
            }
            self.ask_readable(&inode).await?;
            if let Some(opened) = self.open_unasked(&inode) {
                return Ok(opened);
            }
        }
        let telling = match mode {
            OpenMode::Truncate => Some(inode.telling.lock().await),
            OpenMode::Read | OpenMode::Write => None,
        };
        let request = Request::Open { fid, mode };
        let ticket = self.session.ticket();
        let (answer, session) = self.session.ask(&request).await?;
        let heard = self.hear(ticket);
        let Reply::Opened { view, open: Some(open), .. } = answer else { return Err(Fault::Io) };
        let opened = self.opened(heard, (&view, (session, open)), &request);
        drop(telling);
        Ok(opened)
    }

    /// Notes a file that an answer to `request` opened.
    pub(crate) fn opened(
        self: &Arc<Self>,
        heard: Heard,
        (view, known): (&FileView, (SessionId, OpenId)),
        request: &Request,
    ) -> Opened {
        let mode = mode_of(request);
        let inode = self.inode(view.entry.attr.fid);
        let mut state = inode.state();
        if mode == OpenMode::Truncate {
            state.outrank(view.entry.attr, true, true);
            state.changed_here(heard, Some(&view.entry));
        }
        let fresh = state.learn_view(heard, view);
        state.opens += 1;
        let attr = state.overlay(view.entry.attr);
        drop(state);
        let registered = Some(Mutex::new(known));
        let file = OpenFile { inode, mode, registered, ahead: Mutex::new(Readahead::default()) };
        Opened { seen: self.seen(attr, fresh), file }
    }

    /// Opens the file again where the session that knew it was lost.
    pub(crate) async fn stand(self: &Arc<Self>, file: &OpenFile) -> Result<(), Fault> {
        // What was not asked for is told with each new connection.
        let Some(known) = file.registered.as_ref() else { return Ok(()) };
        if file.registered().is_some_and(|(known, _)| known == self.session.id()) {
            return Ok(());
        }
        let mode = if file.mode == OpenMode::Read { OpenMode::Read } else { OpenMode::Write };
        let ticket = self.session.ticket();
        let answer = self.session.ask(&Request::Open { fid: file.inode.fid, mode }).await;
        let (answer, session) =
            answer.map_err(|fault| if fault == Fault::NotFound { Fault::Stale } else { fault })?;
        let Reply::Opened { view, open: Some(open), .. } = answer else { return Err(Fault::Io) };
        file.inode.state().learn_view(self.hear(ticket), &view);
        *known.lock().unwrap_or_else(PoisonError::into_inner) = (session, open);
        Ok(())
    }

    /// Makes everything that was written to the file survive power loss.
    pub(crate) async fn sync_file(&self, inode: &Inode) -> Result<(), Fault> {
        self.tell(inode).await?;
        let view = inode.state().view();
        if let Some(view) = view {
            self.targets.sync(&view.layout).await?;
        }
        self.sync().await
    }

    /// Makes every change of names and attributes that was answered survive power loss.
    pub(crate) async fn sync(&self) -> Result<(), Fault> {
        self.call(&Request::Sync).await.map(drop)
    }

    pub(crate) async fn allocate(
        self: &Arc<Self>,
        file: &OpenFile,
        range: Range<u64>,
        what: Allocate,
    ) -> Result<(), Fault> {
        match what {
            Allocate::Reserve => self.check_room(file, &range).await,
            Allocate::Extend => {
                self.check_room(file, &range).await?;
                self.extend(file, range.end).await
            }
            Allocate::Punch => self.punch(file, range).await,
            Allocate::Zero => {
                self.punch(file, range.clone()).await?;
                self.extend(file, range.end).await
            }
        }
    }

    /// Refuses to promise much room where there is less. Nothing is set aside: what others write meanwhile is not there any more.
    async fn check_room(self: &Arc<Self>, file: &OpenFile, range: &Range<u64>) -> Result<(), Fault> {
        let wanted = range.end - range.start;
        if wanted < PROMISE_MIN {
            return Ok(());
        }
        let stored = self.get_attr(file.inode.fid).await?.attr.blocks.saturating_mul(BLOCK);
        let status = self.status().await?;
        let answering =
            status.targets.iter().filter_map(|target| Some((target.target.capacity, target.used?)));
        let free: u64 = answering.map(|(capacity, used)| capacity.saturating_sub(used)).sum();
        if wanted > free.saturating_add(stored) { Err(Fault::NoSpace) } else { Ok(()) }
    }

    async fn extend(self: &Arc<Self>, file: &OpenFile, size: u64) -> Result<(), Fault> {
        let _permit = self.may_write(file).await?;
        if file.inode.state().size() >= size {
            return Ok(());
        }
        let change = AttrChange { size: Some(size), mtime: Some(SetTime::Now), ..AttrChange::default() };
        self.set_attr(file.inode.fid, change).await.map(drop)
    }

    async fn punch(self: &Arc<Self>, file: &OpenFile, range: Range<u64>) -> Result<(), Fault> {
        self.hydrate_all(&file.inode).await?;
        let permit = self.may_write(file).await?;
        let (view, size) = {
            let state = file.inode.state();
            (state.view().ok_or(Fault::Io)?, state.size())
        };
        let range = range.start..range.end.min(size);
        if !range.is_empty() {
            self.targets.punch(&view.layout, range).await?;
        }
        permit.finish(0..0).await
    }

    /// Finds data or a hole, `None` behind the end. Objects know their size but not their holes, so everything within the
    /// file is data.
    pub(crate) async fn seek(
        self: &Arc<Self>,
        file: &OpenFile,
        offset: u64,
        what: Sought,
    ) -> Result<Option<u64>, Fault> {
        let size = match self.cached(file.inode.fid) {
            Some(seen) => seen.attr.size,
            None => self.get_attr(file.inode.fid).await?.attr.size,
        };
        let found = match what {
            Sought::Data => offset,
            Sought::Hole => size,
        };
        Ok((offset < size).then_some(found))
    }
}

fn mode_of(request: &Request) -> OpenMode {
    if let Request::Open { mode, .. }
    | Request::Create { inode: NewInode::Regular { open: Some(mode) }, .. } = request
    {
        return *mode;
    }
    OpenMode::Read
}
