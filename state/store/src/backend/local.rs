//! The state in files of one folder: reading it back after anything, and journalling an apply.
//!
//! Not the lock; whoever opens a state for writing shows that he holds it.
//! Invariant: an event is acknowledged only after it was synced, and a snapshot takes the journal's place only after it is
//! durable; at every moment snapshot and journal together hold all that was ever acknowledged.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use lustre_model::recorded::{Lineage, World};

use super::{Backend, Ends, Held, LockedState, Recovered, Recovery, Unlocked};
use crate::disk::{Disk, DiskFile, Folder};
use crate::error::{Damage, LockError, StoreError};
use crate::lock::{self, Holder, Lock};
use crate::open_state::{Bundle, Leaving, OpenState, Tape};
use crate::record::{Commit, Header, frame, scan, sealed, unsealed};
use crate::seal::Seal;
use crate::snapshot;

/// Version of the journal's format. Since version 2 there is the event `Depends`.
const JOURNAL_VERSION: u32 = 2;

/// A journal longer than this, and than the snapshot it follows, is folded into a new snapshot.
const JOURNAL_BYTES_MAX: usize = 16 << 20;

/// Where the journal of a state is.
pub fn journal_path(state: &Path) -> PathBuf {
    let mut name = state.as_os_str().to_owned();
    name.push(".journal");
    PathBuf::from(name)
}

/// Reads a state; changes nothing and needs no lock.
pub fn read(disk: &dyn Disk, path: &Path, seal: &dyn Seal) -> Result<Recovered, StoreError> {
    let io = |source| StoreError::Io { verb: "read", source };
    let journal = journal_path(path);
    // The journal first: a writer that folds it into a snapshot in between leaves us the newer snapshot.
    let records = disk.read(&journal).map_err(io)?;
    let Some(bytes) = disk.read(path).map_err(io)? else {
        return match records {
            None => Ok(Recovered { world: World::default(), recovery: Recovery::Absent, token: 0 }),
            Some(_) => Err(StoreError::SnapshotMissing { path: path.to_owned(), journal }),
        };
    };
    let snapshot::Snapshot { mut world, token } = snapshot::decode(path, &bytes, seal)?;
    let recovery = match records {
        None => Recovery::Clean,
        Some(records) => replay((&journal, seal), &records, &mut world)?,
    };
    Ok(Recovered { world, recovery, token })
}

/// Applies the journal's events that the world does not hold yet.
fn replay((path, seal): (&Path, &dyn Seal), bytes: &[u8], world: &mut World) -> Result<Recovery, StoreError> {
    let damaged = |damage| StoreError::Damaged { path: path.to_owned(), damage };
    let scan = scan(bytes).map_err(damaged)?;
    let mut payloads = scan.payloads.iter();
    let Some(header) = payloads.next() else {
        // Not even the header became durable, so nothing was acknowledged after the snapshot.
        return Ok(Recovery::Replayed { events: 0, torn: scan.torn });
    };
    let header: Header = serde_json::from_slice(header).map_err(|_| damaged(Damage::Content))?;
    if header.version > JOURNAL_VERSION {
        let (found, known) = (header.version, JOURNAL_VERSION);
        return Err(StoreError::Newer { path: path.to_owned(), found, known });
    }
    if header.lineage != world.lineage {
        let (found, expected) = (header.lineage, world.lineage.clone());
        return Err(StoreError::OtherLineage { path: path.to_owned(), found, expected });
    }
    if header.serial > world.serial {
        let (begins, ends) = (header.serial, world.serial);
        return Err(StoreError::Gap { path: path.to_owned(), begins, ends });
    }
    let mut serial = header.serial;
    let mut replayed = 0;
    for payload in payloads {
        let commit: Commit = unsealed(seal, path, payload)?;
        if commit.serial != serial {
            return Err(damaged(Damage::Content));
        }
        for event in &commit.events {
            // The snapshot may be newer than the journal's beginning: a crash came between the two.
            if serial == world.serial {
                world.apply(event).map_err(|source| StoreError::Illegal { path: path.to_owned(), source })?;
                replayed += 1;
            }
            serial += 1;
        }
    }
    Ok(Recovery::Replayed { events: replayed, torn: scan.torn })
}

/// Opens a state for writing. What a cut-off apply left is folded into a fresh snapshot first; a state that does not
/// exist is made, with the lineage that is given.
pub fn open(
    disk: Arc<dyn Disk>,
    path: &Path,
    (mut lock, seal): (Lock, Arc<dyn Seal>),
    new_lineage: Lineage,
) -> Result<OpenState, StoreError> {
    let io = |source| StoreError::Io { verb: "written", source };
    let Recovered { mut world, recovery, token } = read(disk.as_ref(), path, seal.as_ref())?;
    // A lost lock file must not let tokens begin anew: agents would refuse them.
    lock.raise(token).map_err(|source| StoreError::Io { verb: "locked", source })?;
    let token = lock.token();
    if recovery == Recovery::Absent {
        world = World::new(new_lineage);
    }
    let mut snapshot_bytes = 0;
    if recovery != Recovery::Clean {
        let bytes = snapshot::encode(&world, token, seal.as_ref())?;
        snapshot_bytes = bytes.len();
        snapshot::write(disk.as_ref(), path, &bytes)?;
    }
    let journal = journal_path(path);
    if matches!(recovery, Recovery::Replayed { .. }) {
        disk.remove(&journal).map_err(io)?;
        disk.sync_folder(path).map_err(io)?;
    }
    let tape = Files {
        disk,
        path: path.to_owned(),
        lock: Some(lock),
        token,
        seal,
        file: None,
        journal_bytes: 0,
        snapshot_bytes,
    };
    Ok(OpenState::new(world, token, Box::new(tape)))
}

/// Snapshot and journal, being written under a lock.
pub(crate) struct Files {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    lock: Option<Lock>,
    token: u64,
    seal: Arc<dyn Seal>,
    /// The open journal; made by the first commit after a snapshot.
    file: Option<Box<dyn DiskFile>>,
    journal_bytes: usize,
    snapshot_bytes: usize,
}

impl Files {
    /// Goes on from a snapshot that has no journal.
    pub fn clean(path: &Path, (lock, token): (Lock, u64), seal: Arc<dyn Seal>) -> Self {
        Self {
            disk: Arc::new(Folder),
            path: path.to_owned(),
            lock: Some(lock),
            token,
            seal,
            file: None,
            journal_bytes: 0,
            snapshot_bytes: 0,
        }
    }

    /// Makes the journal with its header.
    fn begin(&self, lineage: Lineage, serial: u64) -> Result<Box<dyn DiskFile>, StoreError> {
        let io = |source| StoreError::Io { verb: "written", source };
        let header = Header { version: JOURNAL_VERSION, lineage, serial };
        let header = serde_json::to_vec(&header).map_err(|source| StoreError::Encoding { source })?;
        let path = journal_path(&self.path);
        let mut file = self.disk.create(&path).map_err(io)?;
        file.write(&frame(&header)).map_err(io)?;
        // At most one record is not durable at any time, and the name of the file is durable before its first commit.
        file.sync().map_err(io)?;
        self.disk.sync_folder(&path).map_err(io)?;
        Ok(file)
    }
}

impl Tape for Files {
    fn commit(&mut self, bundle: &Bundle) -> Result<(), StoreError> {
        let io = |source| StoreError::Io { verb: "written", source };
        if self.file.is_none() {
            self.file = Some(self.begin(bundle.lineage.clone(), bundle.serial)?);
        }
        let record = sealed(self.seal.as_ref(), &bundle.payload())?;
        if let Some(file) = &mut self.file {
            file.write(&record).map_err(io)?;
            file.sync().map_err(io)?;
        }
        self.journal_bytes += record.len();
        Ok(())
    }

    fn fold(&mut self, world: &World) -> Result<(), StoreError> {
        let io = |source| StoreError::Io { verb: "written", source };
        let bytes = snapshot::encode(world, self.token, self.seal.as_ref())?;
        snapshot::write(self.disk.as_ref(), &self.path, &bytes)?;
        self.snapshot_bytes = bytes.len();
        self.journal_bytes = 0;
        if self.file.take().is_none() {
            return Ok(());
        }
        self.disk.remove(&journal_path(&self.path)).map_err(io)?;
        self.disk.sync_folder(&self.path).map_err(io)
    }

    fn is_dirty(&self) -> bool {
        self.file.is_some()
    }

    fn is_long(&self) -> bool {
        self.journal_bytes > JOURNAL_BYTES_MAX.max(self.snapshot_bytes)
    }

    fn leave(&mut self, _: Leaving) -> Result<(), StoreError> {
        self.lock = None;
        Ok(())
    }
}

/// A state in the files of one folder.
#[derive(Clone)]
pub struct Local {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    seal: Arc<dyn Seal>,
}

impl Local {
    /// Names the state's file.
    pub fn new(disk: Arc<dyn Disk>, path: PathBuf, seal: Arc<dyn Seal>) -> Self {
        Self { disk, path, seal }
    }
}

impl Backend for Local {
    fn exists(&self) -> Result<bool, StoreError> {
        let there = |path: &Path| self.disk.read(path).map(|found| found.is_some());
        let found = there(&self.path).and_then(|state| Ok(state || there(&journal_path(&self.path))?));
        found.map_err(|source| StoreError::Io { verb: "read", source })
    }

    fn read(&self) -> Result<Recovered, StoreError> {
        let newest = lock::newest_token(&self.path);
        let newest = newest.map_err(|source| StoreError::Lock { source: Box::new(source) })?;
        let read = read(self.disk.as_ref(), &self.path, self.seal.as_ref())?;
        Ok(Recovered { token: read.token.max(newest), ..read })
    }

    fn lock(&self, holder: Holder, wait: Duration) -> Result<Box<dyn LockedState>, LockError> {
        let lock = lock::lock(&self.path, holder, wait)?;
        Ok(Box::new(LockedFiles { files: self.clone(), lock }))
    }

    fn holder(&self) -> Result<Option<Held>, LockError> {
        let held = lock::holder(&self.path)?;
        Ok(held.map(|(token, holder)| Held { id: token.to_string(), holder, ends: Ends::WithItsProcess }))
    }

    fn force_unlock(&self, _: &str) -> Result<Unlocked, LockError> {
        // `flock(2)` ends with its process, and taking it from a living one would let two write one state.
        Ok(self.holder()?.map_or(Unlocked::Free, Unlocked::EndsWithItsProcess))
    }
}

/// A state in files, under its lock.
struct LockedFiles {
    files: Local,
    lock: Lock,
}

impl LockedState for LockedFiles {
    fn read(&mut self) -> Result<Recovered, StoreError> {
        let Local { disk, path, seal } = &self.files;
        let read = read(disk.as_ref(), path, seal.as_ref())?;
        Ok(Recovered { token: read.token.max(self.lock.token()), ..read })
    }

    fn raise(&mut self, floor: u64) -> Result<(), LockError> {
        self.lock.raise(floor).map_err(|source| LockError::Io { source })
    }

    fn open(self: Box<Self>, new_lineage: Lineage) -> Result<OpenState, StoreError> {
        let Local { disk, path, seal } = self.files;
        open(disk, &path, (self.lock, seal), new_lineage)
    }
}
