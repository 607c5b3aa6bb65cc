//! The state in files of one folder: reading it back after anything, and journalling an apply.
//!
//! Not the lock; whoever opens a state for writing shows that he holds it.
//! Invariant: an event is acknowledged only after it was synced, and a snapshot takes the journal's place only after it is
//! durable; at every moment snapshot and journal together hold all that was ever acknowledged.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use lustre_model::journal::{Event, Journal, JournalError};
use lustre_model::recorded::{Lineage, World};

use crate::disk::{Disk, DiskFile};
use crate::error::{Damage, StoreError};
use crate::lock::Lock;
use crate::record::{Commit, Header, PAYLOAD_MAX, frame, scan};
use crate::snapshot;

/// Version of the journal's format.
const JOURNAL_VERSION: u32 = 1;

/// A journal longer than this, and than the snapshot it follows, is folded into a new snapshot.
const JOURNAL_BYTES_MAX: usize = 16 << 20;

/// Where the journal of a state is.
pub fn journal_path(state: &Path) -> PathBuf {
    let mut name = state.as_os_str().to_owned();
    name.push(".journal");
    PathBuf::from(name)
}

/// How the files were found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recovery {
    /// There is no state.
    Absent,
    /// The snapshot is all.
    Clean,
    /// An apply was cut off; its acknowledged events were read from the journal.
    Replayed {
        /// How many events.
        events: u64,
        /// Bytes of a last write that was cut off before it was acknowledged, and is left out.
        torn: usize,
    },
}

/// A state as read from its files.
#[derive(Debug)]
pub struct Recovered {
    /// The world; empty, with an empty lineage, when there is no state.
    pub world: World,
    /// How it was found.
    pub recovery: Recovery,
    /// The fencing token under which the snapshot was written.
    pub token: u64,
}

/// Reads a state; changes nothing and needs no lock.
pub fn read(disk: &dyn Disk, path: &Path) -> Result<Recovered, StoreError> {
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
    let snapshot::Snapshot { mut world, token } = snapshot::decode(path, &bytes)?;
    let recovery = match records {
        None => Recovery::Clean,
        Some(records) => replay(&journal, &records, &mut world)?,
    };
    Ok(Recovered { world, recovery, token })
}

/// Applies the journal's events that the world does not hold yet.
fn replay(path: &Path, bytes: &[u8], world: &mut World) -> Result<Recovery, StoreError> {
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
        let commit: Commit = serde_json::from_slice(payload).map_err(|_| damaged(Damage::Content))?;
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

/// A state opened for writing, under a lock.
pub struct LocalJournal {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    lock: Lock,
    inner: Mutex<Inner>,
    written: Condvar,
}

struct Inner {
    world: Arc<World>,
    /// Serial of the world that is durable.
    durable: u64,
    /// Events that wait for the next commit, as JSON, with the serial before the first.
    waiting: Vec<u8>,
    /// The open journal; made by the first commit after a snapshot.
    file: Option<Box<dyn DiskFile>>,
    journal_bytes: usize,
    snapshot_bytes: usize,
    writer: Writer,
}

/// Who writes the next commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Writer {
    /// The next who appends.
    Free,
    /// A thread is at it; others wait for it.
    Busy,
    /// A write failed: what the disk holds is not known, and nothing is acknowledged any more.
    Failed,
}

/// Opens a state for writing. What a cut-off apply left is folded into a fresh snapshot first; a state that does not
/// exist is made, with the lineage that is given.
pub fn open(
    disk: Arc<dyn Disk>,
    path: &Path,
    mut lock: Lock,
    new_lineage: Lineage,
) -> Result<LocalJournal, StoreError> {
    let io = |source| StoreError::Io { verb: "written", source };
    let Recovered { mut world, recovery, token } = read(disk.as_ref(), path)?;
    // A lost lock file must not let tokens begin anew: agents would refuse them.
    lock.raise(token).map_err(|source| StoreError::Io { verb: "locked", source })?;
    if recovery == Recovery::Absent {
        world = World::new(new_lineage);
    }
    let mut snapshot_bytes = 0;
    if recovery != Recovery::Clean {
        let bytes = snapshot::encode(&world, lock.token())?;
        snapshot_bytes = bytes.len();
        snapshot::write(disk.as_ref(), path, &bytes)?;
    }
    let journal = journal_path(path);
    if matches!(recovery, Recovery::Replayed { .. }) {
        disk.remove(&journal).map_err(io)?;
        disk.sync_folder(path).map_err(io)?;
    }
    let inner = Inner {
        durable: world.serial,
        world: Arc::new(world),
        waiting: Vec::new(),
        file: None,
        journal_bytes: 0,
        snapshot_bytes,
        writer: Writer::Free,
    };
    Ok(LocalJournal { disk, path: path.to_owned(), lock, inner: Mutex::new(inner), written: Condvar::new() })
}

impl LocalJournal {
    /// Folds the journal into a snapshot and gives up the lock.
    ///
    /// Not calling it loses nothing; the next who opens the state does it.
    pub fn close(self) -> Result<(), StoreError> {
        let mut inner = self.inner();
        if inner.writer == Writer::Failed {
            return Err(StoreError::Poisoned);
        }
        if inner.file.is_some() {
            self.fold(&mut inner)?;
        }
        Ok(())
    }

    /// Puts another world in the place of this one; durable when it returns.
    pub fn replace(&self, world: World) -> Result<(), StoreError> {
        let mut inner = self.inner();
        if inner.writer != Writer::Free {
            return Err(StoreError::Poisoned);
        }
        if inner.file.is_some() {
            // A journal that is left beside another world's snapshot could not be told from a damaged state.
            self.fold(&mut inner)?;
        }
        let bytes = snapshot::encode(&world, self.lock.token())?;
        snapshot::write(self.disk.as_ref(), &self.path, &bytes)?;
        inner.snapshot_bytes = bytes.len();
        inner.durable = world.serial;
        inner.world = Arc::new(world);
        Ok(())
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // A panic elsewhere leaves `writer` as it was; a half-done write leaves it busy, which `commit` never does.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Replaces snapshot and journal by a snapshot of the durable world.
    fn fold(&self, inner: &mut Inner) -> Result<(), StoreError> {
        let io = |source| StoreError::Io { verb: "written", source };
        let bytes = snapshot::encode(&inner.world, self.lock.token())?;
        snapshot::write(self.disk.as_ref(), &self.path, &bytes)?;
        inner.file = None;
        inner.journal_bytes = 0;
        inner.snapshot_bytes = bytes.len();
        self.disk.remove(&journal_path(&self.path)).map_err(io)?;
        self.disk.sync_folder(&self.path).map_err(io)
    }

    /// Makes the journal with its header; the first commit syncs it.
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

    /// Writes what waits, with the lock on `inner` released meanwhile, so that others can join the next commit.
    fn commit<'a>(
        &'a self,
        mut inner: MutexGuard<'a, Inner>,
    ) -> (MutexGuard<'a, Inner>, Result<(), StoreError>) {
        let events = std::mem::take(&mut inner.waiting);
        let (before, after) = (inner.durable, inner.world.serial);
        let (lineage, file) = (inner.world.lineage.clone(), inner.file.take());
        inner.writer = Writer::Busy;
        drop(inner);
        let outcome = self.write(lineage, file, (before, &events));
        let mut inner = self.inner();
        let outcome = outcome.and_then(|(file, bytes)| {
            inner.file = Some(file);
            inner.durable = after;
            inner.journal_bytes += bytes;
            let quiet = inner.waiting.is_empty();
            let long = inner.journal_bytes > JOURNAL_BYTES_MAX.max(inner.snapshot_bytes);
            if quiet && long { self.fold(&mut inner) } else { Ok(()) }
        });
        inner.writer = if outcome.is_ok() { Writer::Free } else { Writer::Failed };
        self.written.notify_all();
        (inner, outcome)
    }

    fn write(
        &self,
        lineage: Lineage,
        file: Option<Box<dyn DiskFile>>,
        (serial, events): (u64, &[u8]),
    ) -> Result<(Box<dyn DiskFile>, usize), StoreError> {
        let io = |source| StoreError::Io { verb: "written", source };
        let mut file = match file {
            Some(file) => file,
            None => self.begin(lineage, serial)?,
        };
        let mut payload = format!("{{\"serial\":{serial},\"events\":[").into_bytes();
        payload.extend_from_slice(events);
        payload.extend_from_slice(b"]}");
        let record = frame(&payload);
        file.write(&record).map_err(io)?;
        file.sync().map_err(io)?;
        Ok((file, record.len()))
    }
}

fn write_error(source: StoreError) -> JournalError {
    JournalError::Write { source: Box::new(source) }
}

impl Journal for LocalJournal {
    fn append(&self, events: &[Event]) -> Result<(), JournalError> {
        let mut encoded = Vec::new();
        for event in events {
            let json = serde_json::to_vec(event);
            let json = json.map_err(|source| write_error(StoreError::Encoding { source }))?;
            encoded.extend_from_slice(&json);
            encoded.push(b',');
        }
        encoded.pop();
        let mut inner = self.inner();
        // A commit has room for what one more caller brings; beyond that, callers wait for it to be written.
        while inner.writer == Writer::Busy && inner.waiting.len() + encoded.len() > PAYLOAD_MAX / 2 {
            inner = self.written.wait(inner).unwrap_or_else(PoisonError::into_inner);
        }
        if inner.writer == Writer::Failed {
            return Err(write_error(StoreError::Poisoned));
        }
        Arc::make_mut(&mut inner.world).apply_all(events)?;
        if !inner.waiting.is_empty() && !encoded.is_empty() {
            inner.waiting.push(b',');
        }
        inner.waiting.extend_from_slice(&encoded);
        let mine = inner.world.serial;
        loop {
            if inner.durable >= mine {
                return Ok(());
            }
            match inner.writer {
                Writer::Failed => return Err(write_error(StoreError::Poisoned)),
                Writer::Busy => inner = self.written.wait(inner).unwrap_or_else(PoisonError::into_inner),
                Writer::Free => {
                    let (next, outcome) = self.commit(inner);
                    outcome.map_err(write_error)?;
                    inner = next;
                }
            }
        }
    }

    fn world(&self) -> Arc<World> {
        Arc::clone(&self.inner().world)
    }

    fn look(&self, look: &mut dyn FnMut(&World)) {
        look(&self.inner().world);
    }

    fn token(&self) -> u64 {
        self.lock.token()
    }
}
