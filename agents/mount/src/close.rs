//! What was closed, told to the metadata target: many closes in one request.
//!
//! A close is told when its caller has long gone on. Until then this client holds the file's write lease, so that whoever
//! wants to know recalls it first, and nobody sees an old size. With the last close of a file the write lease goes too.
//! Invariant: this client has stopped to believe in a write lease before the close that lowers it is sent, and believes in
//! no grant until that is answered.

use std::sync::{Arc, Weak};
use std::time::Duration;

use lustre_model::fault::Fault;
use lustre_model::metadata::{Close, OpenId, Request, SessionId};
use tokio::sync::OwnedMutexGuard;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::client::Core;
use crate::file::OpenFile;
use crate::inode::{Inode, State};

/// For how long closes are gathered.
const GATHER: Duration = Duration::from_millis(5);

/// Pause before closes that could not be told are told again.
const AGAIN: Duration = Duration::from_secs(1);

/// Closes in one request.
const CLOSES_MAX: usize = 512;

/// A close that is not told yet.
pub(crate) struct Closing {
    inode: Arc<Inode>,
    open: Option<OpenId>,
    /// The session that knows the open, where only one does.
    session: Option<SessionId>,
    /// Lets the end of the mount wait for it.
    _token: TaskTrackerToken,
}

/// A close that is being told: while it is, nobody else tells of the file.
struct Telling {
    closing: Closing,
    close: Close,
    /// On which connection what it says of the lease is true.
    incarnation: u64,
    _guard: OwnedMutexGuard<()>,
}

impl Telling {
    /// What is true on a connection. With the one on which it was written the lease went that covered it: what was not told
    /// then, the object targets are asked for.
    fn on(&self, incarnation: u64) -> Close {
        if incarnation == self.incarnation {
            return self.close;
        }
        Close { update: None, lower: false, ..self.close }
    }
}

impl Core {
    /// The last descriptor of an open file is gone; tells the metadata target soon, if there is anything to tell.
    pub(crate) fn close(&self, file: &OpenFile, token: TaskTrackerToken) {
        let inode = &file.inode;
        let (open, session, idle_writer) = {
            let mut state = inode.state();
            state.opens = state.opens.saturating_sub(1);
            let (open, session) = match file.registered() {
                Some((session, open)) => (Some(open), Some(session)),
                None => (state.close_unasked(), None),
            };
            (open, session, self.writes_no_more(&state))
        };
        if open.is_none() && !idle_writer {
            return;
        }
        let closing = Closing { inode: Arc::clone(inode), open, session, _token: token };
        // The receiver lives as long as the client; without one there is nobody to tell.
        drop(self.closings.send(closing));
    }

    /// Whether a write lease is held that nobody here uses.
    fn writes_no_more(&self, state: &State) -> bool {
        state.opens == 0 && state.writers == 0 && state.lease.allows_writing(self.session.standing())
    }

    /// Begins to tell of a close, unless others are telling of the file.
    fn begin_close(&self, closing: Closing) -> Result<Telling, Closing> {
        match Arc::clone(&closing.inode.telling).try_lock_owned() {
            Ok(guard) => Ok(self.telling(closing, guard)),
            Err(_) => Err(closing),
        }
    }

    fn telling(&self, closing: Closing, guard: OwnedMutexGuard<()>) -> Telling {
        let known = closing.session.is_none_or(|session| session == self.session.id());
        let open = closing.open.filter(|_| known);
        let incarnation = self.session.incarnation();
        let mut state = closing.inode.state();
        let lower = self.writes_no_more(&state);
        if lower {
            state.lease.begin_lower(self.session.now());
        }
        let close = Close { fid: closing.inode.fid, open, update: state.dirty(incarnation), lower };
        drop(state);
        Telling { closing, close, incarnation, _guard: guard }
    }

    async fn tell_all(self: &Arc<Self>, telling: Vec<Telling>) {
        if telling.is_empty() {
            return;
        }
        let request = |now| {
            let closes = telling.iter().map(|telling| telling.on(now)).collect();
            Some(Request::Close { closes })
        };
        let told = self.session.ask_anew(request).await;
        for telling in &telling {
            self.end_close(telling, told.is_ok());
        }
        match told {
            Ok(_) => {}
            // With its session everything ended that it had open.
            Err(Fault::Evicted) => {
                tracing::warn!(count = telling.len(), "closes were those of a lost session")
            }
            Err(fault) => {
                tracing::warn!(count = telling.len(), %fault, "closes were not told; they will be told again");
                let closings = telling.into_iter().map(|telling| telling.closing).collect();
                tokio::spawn(close_again(Arc::downgrade(self), closings));
            }
        }
    }

    fn end_close(&self, telling: &Telling, told: bool) {
        let inode = &telling.closing.inode;
        let mut state = inode.state();
        if let Some(update) = telling.close.update.filter(|_| told) {
            state.told(update, self.session.now());
        }
        if telling.close.lower {
            state.lease.end_lower(self.session.now());
        }
        drop(state);
        inode.changed.notify_waiters();
    }

    /// Tells of one close when others have told what they had to.
    async fn close_later(self: Arc<Self>, closing: Closing) {
        let guard = Arc::clone(&closing.inode.telling).lock_owned().await;
        let telling = self.telling(closing, guard);
        self.tell_all(vec![telling]).await;
    }
}

/// Queues closes that could not be told: what stays open at the metadata target is never exported and never removed.
async fn close_again(core: Weak<Core>, closings: Vec<Closing>) {
    tokio::time::sleep(AGAIN).await;
    let Some(core) = core.upgrade() else { return };
    for closing in closings {
        drop(core.closings.send(closing));
    }
}

/// Tells of closes until the client ends.
pub(crate) async fn tell_closes(core: Weak<Core>, mut queue: UnboundedReceiver<Closing>) {
    let mut batch = Vec::new();
    while queue.recv_many(&mut batch, CLOSES_MAX).await > 0 {
        tokio::time::sleep(GATHER).await;
        while batch.len() < CLOSES_MAX
            && let Ok(next) = queue.try_recv()
        {
            batch.push(next);
        }
        let Some(core) = core.upgrade() else { return };
        let mut telling = Vec::with_capacity(batch.len());
        for closing in batch.drain(..) {
            match core.begin_close(closing) {
                Ok(begun) => telling.push(begun),
                // Waiting here for a file would hold up all others, and could close a circle of those who wait.
                Err(closing) => drop(tokio::spawn(Arc::clone(&core).close_later(closing))),
            }
        }
        core.tell_all(telling).await;
    }
}
