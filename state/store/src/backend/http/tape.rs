//! Commits into the mirror, and a thread that posts the whole state now and then.
//!
//! Invariant: posts are made one after the other, each of a world that is durable in the mirror; the mirror is deleted only
//! after the last of it was posted.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use lustre_model::recorded::World;

use super::remote::{LockInfo, Posting};
use super::{ServerLock, Shared};
use crate::backend::local::{self, Files};
use crate::disk::Folder;
use crate::error::StoreError;
use crate::open_state::{Bundle, Leaving, Tape};

/// The mirror of an opened state.
pub struct Mirrored {
    shared: Arc<Shared>,
    files: Files,
    there: ServerLock,
    poster: Arc<Poster>,
    thread: Option<JoinHandle<()>>,
}

/// What posts the state.
struct Poster {
    shared: Arc<Shared>,
    lock: LockInfo,
    token: u64,
    /// Serial that was posted last; held while posting.
    posted: Mutex<u64>,
    ended: Mutex<bool>,
    changed: Condvar,
    lost: AtomicBool,
}

impl Mirrored {
    /// Goes on from a world that was posted and mirrored.
    pub fn new(
        shared: Arc<Shared>,
        files: Files,
        there: ServerLock,
        (serial, token): (u64, u64),
    ) -> Result<Self, StoreError> {
        let poster = Arc::new(Poster {
            shared: Arc::clone(&shared),
            lock: there.info.clone(),
            token,
            posted: Mutex::new(serial),
            ended: Mutex::new(false),
            changed: Condvar::new(),
            lost: AtomicBool::new(false),
        });
        let posting = Arc::clone(&poster);
        let thread = std::thread::Builder::new().name("state-post".to_owned()).spawn(move || posting.run());
        let thread = thread.map_err(|source| StoreError::Io { verb: "written", source })?;
        Ok(Self { shared, files, there, poster, thread: Some(thread) })
    }

    fn stop(&mut self) {
        *locked(&self.poster.ended) = true;
        self.poster.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            let _panicked = thread.join();
        }
    }
}

impl Drop for Mirrored {
    fn drop(&mut self) {
        self.stop();
        // With the lock given back somebody could go on without what only the mirror has.
        self.there.is_kept |= self.files.is_dirty();
    }
}

impl Tape for Mirrored {
    fn commit(&mut self, bundle: &Bundle) -> Result<(), StoreError> {
        if self.poster.lost.load(Ordering::Acquire) {
            return Err(StoreError::LockLost);
        }
        self.files.commit(bundle)
    }

    fn fold(&mut self, world: &World) -> Result<(), StoreError> {
        let mut posted = locked(&self.poster.posted);
        let outcome = self.poster.post(world, &mut posted);
        outcome.map_err(|source| self.poster.unposted(source))?;
        self.files.fold(world)
    }

    fn is_dirty(&self) -> bool {
        self.files.is_dirty()
    }

    fn is_long(&self) -> bool {
        self.files.is_long()
    }

    fn leave(&mut self, leaving: Leaving) -> Result<(), StoreError> {
        self.stop();
        if leaving == Leaving::Failed {
            self.there.is_kept = true;
            return self.files.leave(leaving);
        }
        let removed = self.shared.remove_mirror();
        self.there.give_back();
        self.files.leave(leaving).and(removed)
    }
}

impl Poster {
    fn run(&self) {
        let mut ended = locked(&self.ended);
        while !*ended {
            let every = self.shared.post_every;
            let (next, waited) =
                self.changed.wait_timeout(ended, every).unwrap_or_else(PoisonError::into_inner);
            ended = next;
            if waited.timed_out() && !*ended {
                drop(ended);
                // What cannot be posted now is in the mirror, and is posted later or at the end.
                let _later = self.post_mirror();
                ended = locked(&self.ended);
            }
        }
    }

    fn post_mirror(&self) -> Result<(), StoreError> {
        let mut posted = locked(&self.posted);
        let mirror = local::read(&Folder, &self.shared.mirror, self.shared.seal.as_ref())?;
        if mirror.world.serial == *posted {
            return Ok(());
        }
        self.post(&mirror.world, &mut posted)
    }

    /// Posts a world, when what the server has is still ours.
    fn post(&self, world: &World, posted: &mut u64) -> Result<(), StoreError> {
        let there = self.shared.remote.get()?;
        let ours = there.is_some_and(|(_, token)| token == self.token);
        let posting =
            if ours { self.shared.remote.post((world, self.token), &self.lock)? } else { Posting::LockLost };
        if posting == Posting::LockLost {
            self.lost.store(true, Ordering::Release);
            return Err(StoreError::LockLost);
        }
        *posted = world.serial;
        Ok(())
    }

    fn unposted(&self, source: StoreError) -> StoreError {
        if matches!(source, StoreError::LockLost) {
            return source;
        }
        StoreError::Unposted {
            mirror: self.shared.mirror.clone(),
            id: self.lock.id.clone(),
            address: self.shared.place.address.clone(),
            source: Box::new(source),
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
