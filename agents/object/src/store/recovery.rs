//! Opening a store: what the last run left is made exact before the first request.
//!
//! Reads no object unless its run crashed while it overwrote durable bytes of it.
//! Invariant: recovery may itself be killed at any point and be done again with the same result.

use std::sync::{Mutex, OnceLock, RwLock};

use lustre_model::attr::Timestamp;

use crate::disk::Disk;
use crate::epoch::Epoch;
use crate::error::StoreError;
use crate::header::Format;
use crate::intents::IntentLog;
use crate::ledger::{Ending, Ledger};
use crate::name::{FOLDERS, FileName, Folder};
use crate::object::State;
use crate::plain;
use crate::space::Room;
use crate::store::{Cache, FolderState, ObjectStore, Options};

impl<D: Disk> ObjectStore<D> {
    /// Opens the store in a folder, or makes one there.
    ///
    /// After a crash, everything found is made durable, blocks whose overwriting was under way are summed again as
    /// found, and the space that objects take is counted anew; after [`ObjectStore::close`] none of this is needed.
    /// Nobody else may have the folder open.
    pub fn open(disk: D, options: Options) -> Result<Self, StoreError> {
        let opened = StoreError::disk("opening the ledger");
        let ledger_file = disk.create(FileName::Ledger).map_err(opened)?;
        let known = Ledger::read(&ledger_file)?;
        Ledger::make_room(&ledger_file)?;
        let is_new = known.is_none();
        let mut ledger = known.unwrap_or_else(Ledger::new);
        let crashed_at = (ledger.ending == Ending::Open).then_some(ledger.epoch);
        if let Some(epoch) = crashed_at {
            ledger.crashed.push(epoch, epoch.saturating_add(1));
            ledger.epoch = epoch.saturating_add(2);
        }
        let half = |number| disk.create(FileName::Intents(number)).map_err(StoreError::disk("opening a log"));
        let intents = IntentLog::new([half(0)?, half(1)?], ledger.epoch);
        let room = Room::new(options.capacity, options.reserve, ledger.used, ledger.objects);
        let store = Self {
            cache: Cache::new(options.open_objects_max),
            gate: RwLock::new(ledger.epoch),
            crashed: ledger.crashed.clone(),
            intents,
            room,
            folders: (0..FOLDERS).map(|_| FolderState::default()).collect(),
            ledger: Mutex::new(ledger),
            ledger_file,
            checkpointing: Mutex::new(()),
            failure: OnceLock::new(),
            options,
            disk,
        };
        if let Some(epoch) = crashed_at {
            store.recover(epoch)?;
        }
        if is_new {
            store.disk.sync_folder(Folder::Root).map_err(|cause| store.stop(cause))?;
        }
        store.write_ledger(Ending::Open, None)?;
        Ok(store)
    }

    /// Makes exact what a run left that crashed in `epoch` or the one after it.
    fn recover(&self, epoch: Epoch) -> Result<(), StoreError> {
        let mut intents = self.intents.read(epoch)?;
        intents.extend(self.intents.read(epoch.saturating_add(1))?);
        tracing::info!(intents = intents.len(), "the last run did not end in order; recovering");
        for intent in &intents {
            let object = self.cache.get(intent.object);
            let mut state = object.exclusive();
            self.load(&object, &mut state)?;
            let change = self.change(intent.object, self.ledger_epoch(), Timestamp::default());
            if let State::Present(body) = &mut *state
                && body.header.format == Format::Plain
            {
                plain::recover(body, &change, intent.range.clone())?;
            }
        }
        // A killed process left its bytes in memory only. The logs hold until the ledger is written, after this.
        self.disk.sync_all().map_err(|cause| self.stop(cause))?;
        let (mut used, mut objects) = (0, 0);
        self.disk
            .objects(&mut |_, stored| {
                used += stored;
                objects += 1;
            })
            .map_err(StoreError::disk("counting objects"))?;
        self.room.recount(used, objects);
        Ok(())
    }

    fn ledger_epoch(&self) -> Epoch {
        *self.gate.read().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
