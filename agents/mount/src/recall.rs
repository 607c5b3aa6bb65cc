//! What the metadata target says without being asked: recalls, new targets, the end of the session.
//!
//! Each recall runs in its own task and waits only for things that never wait for a lease: writes on their way to object
//! targets, and pages that the kernel is reading or writing.
//! Invariant: when the metadata target hears of a downgrade, neither this process nor the kernel believes anything that it
//! gave up.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::stream::{self, StreamExt};
use lustre_fuse::{Known, NodeId, Notifier};
use lustre_model::fault::Fault;
use lustre_model::fid::Fid;
use lustre_model::metadata::{LeaseKind, Notice, Request, WriteUpdate};
use tokio::sync::{MutexGuard, mpsc};

use crate::client::{Core, wall_clock};
use crate::inode::Inode;
use crate::session::Event;

/// How long the kernel may take to write back and drop the pages of one file before a recall goes on without it.
const PAGES_WAIT_MAX: Duration = Duration::from_secs(5);

/// How often pages of a file are dropped that keep coming in while they are.
const SETTLE_ATTEMPTS_MAX: u32 = 1000;

/// How often, and with which pause, the kernel is asked to forget an inode that it is about to hear of.
const FORGET_ATTEMPTS_MAX: u32 = 200;
const FORGET_PAUSE: Duration = Duration::from_millis(1);

/// For how long after a recall of a directory the kernel gets no names to remember.
const CONTENTION: Duration = Duration::from_secs(3);

/// Leases that are given up at the same time.
const GIVE_UP_WIDTH: usize = 32;

impl Core {
    /// Reacts to events until the session ends.
    pub(crate) async fn attend(self: Arc<Self>, mut events: mpsc::UnboundedReceiver<Event>) {
        while let Some(event) = events.recv().await {
            match event {
                Event::Notice(incarnation, Notice::Recall { fid, keep }) => {
                    if incarnation == self.session.ticket().incarnation {
                        tokio::spawn(Arc::clone(&self).recall(fid, keep));
                    }
                }
                Event::Notice(_, Notice::Targets { targets }) => {
                    if self.targets.learn(targets) {
                        // Where bytes are may be another place now, for files whose leases say nothing of it.
                        self.session.begin_anew();
                    }
                }
                Event::Notice(_, Notice::Evicted) => {
                    tracing::error!(
                        "evicted by the metadata target: writes that were not synced may be lost"
                    );
                }
                Event::Lost => self.void_all().await,
                Event::Resumed(targets, epoch) => {
                    let _ = self.targets.learn(targets);
                    self.targets.learn_epoch(epoch);
                }
            }
        }
    }

    /// Lowers what is believed of an inode to `keep`, tells what was written, and says so.
    pub(crate) async fn recall(self: Arc<Self>, fid: Fid, keep: LeaseKind) {
        let inode = self.inode(fid);
        self.begin_recall(&inode).await;
        self.kernel_forgets(&inode).await;
        inode.state().settled = true;
        inode.changed.notify_waiters();
        wait_for_writers(&inode).await;
        let telling = inode.telling.lock().await;
        let incarnation = self.session.incarnation();
        let (update, open) = {
            let mut state = inode.state();
            let gone = keep == LeaseKind::None;
            let open = if gone { state.stand(|| self.session.draw()) } else { None };
            (state.surrender(keep, incarnation), open)
        };
        // On another connection no lease is held under which this was written: the object targets are asked.
        let downgrade = |now| {
            let update = update.filter(|_| now == incarnation);
            Some(Request::Downgrade { fid, keep, update, open })
        };
        let told = self.session.ask_anew(downgrade).await;
        drop(telling);
        let kept = match told {
            Ok(_) => keep,
            Err(fault) => {
                tracing::warn!(%fid, %fault, "a lease could not be given back");
                LeaseKind::None
            }
        };
        inode.state().lease.end_recall(self.session.now(), kept);
        inode.changed.notify_waiters();
        // Pages that the kernel wrote back while nobody held the lease.
        if let Err(fault) = self.tell(&inode).await {
            tracing::warn!(%fid, %fault, "what was written is not told; the object targets know");
        }
    }

    /// Tells the metadata target what was written here, if it does not know.
    ///
    /// What was written under a lease that went with its connection is not told on another: others may have changed the file
    /// since, and the mark that came with the lease has the object targets asked.
    pub(crate) async fn tell(&self, inode: &Inode) -> Result<(), Fault> {
        let telling = inode.telling.lock().await;
        self.tell_alone(inode, &telling).await
    }

    /// The same, for who keeps others from telling meanwhile.
    pub(crate) async fn tell_alone(&self, inode: &Inode, _telling: &MutexGuard<'_, ()>) -> Result<(), Fault> {
        let incarnation = self.session.incarnation();
        let Some(update) = inode.state().dirty(incarnation) else { return Ok(()) };
        if self.call_within(incarnation, &Request::Flush { fid: inode.fid, update }).await? {
            inode.state().told(update, self.session.now());
        }
        Ok(())
    }

    /// Tells of a write that no lease covers, on whatever connection there is: without it nobody would look.
    pub(crate) async fn tell_written(
        &self,
        inode: &Inode,
        (written, incarnation): (WriteUpdate, u64),
    ) -> Result<(), Fault> {
        let _telling = inode.telling.lock().await;
        let now = self.session.incarnation();
        let update = {
            let state = inode.state();
            match state.dirty(now) {
                Some(update) => update,
                // Others told of it together with what they wrote.
                None if now == incarnation => return Ok(()),
                None => WriteUpdate { size: written.size.max(state.size()), ..written },
            }
        };
        self.call(&Request::Flush { fid: inode.fid, update }).await?;
        inode.state().told(update, self.session.now());
        Ok(())
    }

    /// Says that this client is about to write under its lease, where that is not expected.
    pub(crate) async fn announce(&self, inode: &Inode) -> Result<(), Fault> {
        let _telling = inode.telling.lock().await;
        let standing = self.session.standing();
        let Some(update) = inode.state().announcement(wall_clock(), standing) else { return Ok(()) };
        if self.call_within(standing.incarnation, &Request::Flush { fid: inode.fid, update }).await? {
            inode.state().announced(standing.incarnation);
        }
        Ok(())
    }

    /// Gives up the leases of inodes that nobody uses.
    pub(crate) async fn give_up(self: Arc<Self>, fids: Vec<Fid>) {
        let recalls = fids.into_iter().map(|fid| Arc::clone(&self).recall(fid, LeaseKind::None));
        stream::iter(recalls).for_each_concurrent(GIVE_UP_WIDTH, |recall| recall).await;
    }

    /// One recall of an inode at a time; those who must not wait for leases learn of it at once.
    async fn begin_recall(&self, inode: &Inode) {
        // Answers that came before the notice are often still on their way to whoever asked.
        tokio::task::yield_now().await;
        loop {
            let changed = inode.changed.notified();
            {
                let mut state = inode.state();
                if !state.lease.is_recalling() {
                    state.lease.begin_recall(self.session.now());
                    state.settled = false;
                    break;
                }
            }
            changed.await;
        }
        inode.changed.notify_waiters();
    }

    async fn kernel_forgets(&self, inode: &Arc<Inode>) {
        let Some(kernel) = self.kernel.get() else { return };
        let (lookups, opens, has_names) = {
            let mut state = inode.state();
            (state.lookups, state.opens, state.give_names(false))
        };
        if has_names {
            self.names_are_contended(kernel);
        }
        let node = NodeId(inode.fid.inode_number());
        if lookups > 0 && forget_attributes(kernel, node, inode).await == Known::Yes && opens > 0 {
            forget_pages(kernel.clone(), node, Arc::clone(inode)).await;
        }
    }

    fn names_are_contended(&self, kernel: &Notifier) {
        let until = self.session.uptime().saturating_add(u64::try_from(CONTENTION.as_nanos()).unwrap_or(0));
        let before = self.contended.fetch_max(until, Ordering::AcqRel);
        // Names are not given out while they are contended, so there is nothing new to expire.
        if self.names_expire.load(Ordering::Relaxed)
            && before < self.session.uptime()
            && let Err(error) = kernel.expire_names()
        {
            tracing::error!(%error, "the kernel does not expire names");
        }
    }

    /// The connection is gone, and with it every lease.
    async fn void_all(&self) {
        let kernel = self.kernel.get();
        if let Some(kernel) = kernel.filter(|_| self.names_expire.load(Ordering::Relaxed)) {
            drop(kernel.expire_names());
        }
        for inode in self.all_inodes() {
            let known = {
                let mut state = inode.state();
                state.void(self.session.incarnation());
                state.lookups > 0
            };
            if let Some(kernel) = kernel.filter(|_| known) {
                drop(kernel.forget_attributes(NodeId(inode.fid.inode_number())));
            }
            inode.changed.notify_waiters();
        }
    }
}

async fn wait_for_writers(inode: &Inode) {
    loop {
        let changed = inode.changed.notified();
        if inode.state().writers == 0 {
            return;
        }
        changed.await;
    }
}

/// Asks again while the kernel has been given the inode but does not know it yet: the answer that brings it may be
/// between us and the kernel, and would be believed.
async fn forget_attributes(kernel: &Notifier, node: NodeId, inode: &Inode) -> Known {
    for _ in 0..FORGET_ATTEMPTS_MAX {
        match kernel.forget_attributes(node) {
            Ok(Known::Yes) => return Known::Yes,
            Ok(Known::No) if inode.state().lookups == 0 => return Known::No,
            Ok(Known::No) => tokio::time::sleep(FORGET_PAUSE).await,
            Err(error) => {
                tracing::debug!(%error, "the kernel forgets nothing any more");
                return Known::No;
            }
        }
    }
    Known::No
}

/// Drops the pages of a file; may wait for pages under I/O, hence on a thread of its own and not for ever.
async fn forget_pages(kernel: Notifier, node: NodeId, inode: Arc<Inode>) {
    let forgetting = tokio::task::spawn_blocking(move || settle_pages(&kernel, node, &inode));
    if tokio::time::timeout(PAGES_WAIT_MAX, forgetting).await.is_err() {
        tracing::warn!(node = node.0, "the kernel holds pages for too long; going on without it");
    }
}

/// Drops pages until none came in meanwhile: what is read while they are dropped is under no lease.
fn settle_pages(kernel: &Notifier, node: NodeId, inode: &Inode) {
    for _ in 0..SETTLE_ATTEMPTS_MAX {
        let before = inode.state().uncovered;
        if let Err(error) = kernel.forget_pages(node) {
            tracing::debug!(%error, node = node.0, "the kernel keeps pages");
        }
        let mut state = inode.state();
        if state.uncovered == before {
            state.settled = true;
            return;
        }
    }
    tracing::warn!(node = node.0, "pages come in faster than they can be dropped");
}
