//! Sync, checkpoint and close: when what was written survives power loss.
//!
//! Decides no order of writes within an object; the formats do.
//! Invariant: after the first failed sync the store writes nothing more and says why, since pages that failed to reach
//! the disk may be gone from memory too.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard, PoisonError};

use lustre_model::layout::ObjectId;

use crate::chunked;
use crate::disk::{Disk, DiskFile};
use crate::error::StoreError;
use crate::ledger::Ending;
use crate::name::{FileName, Folder};
use crate::object::{Body, Object, State};
use crate::store::ObjectStore;

/// More files than this are made durable by one sync of the whole file system.
const SYNC_EACH_MAX: usize = 32;

/// What was captured when the sync of an object began.
struct Begun<F> {
    file: Arc<F>,
    changes: u64,
    named: u64,
}

impl<D: Disk> ObjectStore<D> {
    /// Makes everything written to these objects before survive power loss; also that they were destroyed.
    pub fn sync(&self, objects: &[ObjectId]) -> Result<(), StoreError> {
        self.running()?;
        self.sync_changed(&self.cache.changed_among(objects))?;
        let folders: BTreeSet<Folder> =
            objects.iter().map(|object| FileName::Object(*object).folder()).collect();
        let unsynced: Vec<Folder> =
            folders.into_iter().filter(|folder| self.removals_pending(*folder)).collect();
        self.sync_folders(&unsynced)
    }

    /// Makes everything written before survive power loss, and begins a new epoch: checksums of older epochs are
    /// exact from now on, whatever happens.
    ///
    /// To be called every few seconds while there are writes; costs nothing when there were none.
    pub fn checkpoint(&self) -> Result<(), StoreError> {
        self.running()?;
        self.make_checkpoint(&self.checkpointing())
    }

    /// Refuses changes from now on, makes everything durable and notes that nothing is left to recover.
    pub fn close(&self) -> Result<(), StoreError> {
        let gate = self.gate.write().unwrap_or_else(PoisonError::into_inner);
        self.running()?;
        self.stop(std::io::Error::other("the store was closed"));
        drop(gate);
        self.make_checkpoint(&self.checkpointing())?;
        self.write_ledger(Ending::Clean, None)
    }

    /// Waits until nobody makes a checkpoint.
    pub(super) fn checkpointing(&self) -> MutexGuard<'_, ()> {
        self.checkpointing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a checkpoint; who holds the lock is the only one.
    pub(super) fn make_checkpoint(&self, _one: &MutexGuard<'_, ()>) -> Result<(), StoreError> {
        let epoch = {
            let mut gate = self.gate.write().unwrap_or_else(PoisonError::into_inner);
            let quiet = self.cache.changed_count() == 0 && self.intents.covered() == 0;
            if quiet && Folder::of_objects().all(|folder| !self.removals_pending(folder)) {
                return Ok(());
            }
            *gate += 1;
            self.intents.begin(*gate);
            *gate
        };
        self.sync_changed(&self.cache.all_changed())?;
        let folders: Vec<Folder> =
            Folder::of_objects().filter(|folder| self.removals_pending(*folder)).collect();
        self.sync_folders(&folders)?;
        self.write_ledger(Ending::Open, Some(epoch))
    }

    /// Makes objects durable; they are sorted, so that two callers never wait for each other.
    fn sync_changed(&self, objects: &[Arc<Object<D::File>>]) -> Result<(), StoreError> {
        if objects.is_empty() {
            return Ok(());
        }
        let _each: Vec<MutexGuard<'_, ()>> = objects
            .iter()
            .map(|object| object.syncing.lock().unwrap_or_else(PoisonError::into_inner))
            .collect();
        let begun: Vec<Option<Begun<D::File>>> = objects.iter().map(|object| begin(object)).collect();
        if begun.len() > SYNC_EACH_MAX {
            self.sync_everything()?;
        } else {
            for begun in begun.iter().flatten() {
                begun.file.sync().map_err(|cause| self.stop(cause))?;
            }
            let unnamed = |begun: &Begun<D::File>, folder| begun.named > self.folder(folder).durable();
            let folders: BTreeSet<Folder> = objects
                .iter()
                .zip(&begun)
                .filter_map(|(object, begun)| {
                    let folder = FileName::Object(object.id).folder();
                    begun.as_ref().is_some_and(|begun| unnamed(begun, folder)).then_some(folder)
                })
                .collect();
            self.sync_folders(&folders.into_iter().collect::<Vec<_>>())?;
        }
        for (object, begun) in objects.iter().zip(begun) {
            self.end(object, begun)?;
        }
        Ok(())
    }

    fn sync_folders(&self, folders: &[Folder]) -> Result<(), StoreError> {
        // Each, however many: the first commits the file system's journal, and the others find it done.
        for folder in folders {
            let changes = self.folder(*folder).changes.load(Ordering::SeqCst);
            self.disk.sync_folder(*folder).map_err(|cause| self.stop(cause))?;
            self.folder(*folder).durable.fetch_max(changes, Ordering::SeqCst);
        }
        Ok(())
    }

    fn sync_everything(&self) -> Result<(), StoreError> {
        let changes: Vec<(Folder, u64)> = Folder::of_objects()
            .map(|folder| (folder, self.folder(folder).changes.load(Ordering::SeqCst)))
            .collect();
        self.disk.sync_all().map_err(|cause| self.stop(cause))?;
        for (folder, changes) in changes {
            self.folder(folder).durable.fetch_max(changes, Ordering::SeqCst);
        }
        Ok(())
    }

    fn removals_pending(&self, folder: Folder) -> bool {
        let state = self.folder(folder);
        state.removed.load(Ordering::SeqCst) > state.durable()
    }

    /// Notes what a sync made durable.
    fn end(&self, object: &Object<D::File>, begun: Option<Begun<D::File>>) -> Result<(), StoreError> {
        let mut state = object.exclusive();
        let view = self.view(object.id);
        if let (State::Present(body), Some(begun)) = (&mut *state, begun) {
            // A destroyed and newly written object has another file.
            if Arc::ptr_eq(&body.file, &begun.file) {
                chunked::sync_ended(body, view, begun.changes);
                body.durable = body.durable.max(begun.changes);
                body.count(&self.room)?;
            }
        }
        let settled = match &*state {
            State::Present(body) => is_settled(body),
            State::Unseen | State::Absent | State::Broken => true,
        };
        if settled {
            self.cache.settled(object.id);
        }
        Ok(())
    }

    pub(super) fn write_ledger(&self, ending: Ending, epoch: Option<u32>) -> Result<(), StoreError> {
        let mut ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        ledger.ending = ending;
        ledger.epoch = epoch.unwrap_or(ledger.epoch);
        (ledger.used, ledger.objects) = self.room.used();
        let written = ledger.write(&self.ledger_file);
        if let Err(StoreError::Stopped { cause }) = &written {
            self.failure.get_or_init(|| Arc::clone(cause));
        }
        written
    }
}

fn is_settled<F>(body: &Body<F>) -> bool {
    body.durable == body.changes && body.chunks.is_empty()
}

fn begin<F>(object: &Object<F>) -> Option<Begun<F>> {
    match &mut *object.exclusive() {
        State::Present(body) => {
            chunked::sync_begins(&mut body.chunks);
            Some(Begun { file: Arc::clone(&body.file), changes: body.changes, named: body.named })
        }
        State::Unseen | State::Absent | State::Broken => None,
    }
}
