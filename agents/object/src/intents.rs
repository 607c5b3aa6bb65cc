//! Intents: durable notes that durable bytes are about to be overwritten in place.
//!
//! Needed only for blocks whose checksum is of an older epoch: their new bytes and their new checksum reach the disk in
//! any order, so before the first of them is written the log must say that a power loss makes the block inexact.
//! Chunked objects never overwrite in place and need none. One log per epoch, two files used in turn.
//! Invariant: [`IntentLog::cover`] returns only after a record that covers the range is durable.

use std::collections::HashMap;
use std::io;
use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use lustre_model::fid::Fid;
use lustre_model::layout::ObjectId;

use crate::checksum::crc32c;
use crate::disk::DiskFile;
use crate::epoch::Epoch;
use crate::error::StoreError;
use crate::header::field;

/// Ranges are widened to multiples of this, so that neighbouring overwrites share one record.
const UNIT: u64 = 1 << 20;

/// How far a record may run ahead of a sequential overwriter, so that syncs of the log become rare.
const AHEAD_MAX: u64 = 64 << 20;

/// Bytes under intents at which a checkpoint is due: they are read again after a crash.
pub(crate) const COVERED_MAX: u64 = 4 << 30;

/// Most records that are read back; a log is replaced long before.
const RECORDS_MAX: u64 = 1 << 20;

const RECORD: usize = 64;
const SUMMED: usize = RECORD - 4;

/// A range of an object that was about to be overwritten.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Intent {
    pub object: ObjectId,
    pub range: Range<u64>,
}

/// The logs of this epoch and the one before.
#[derive(Debug)]
pub(crate) struct IntentLog<F> {
    halves: [F; 2],
    state: Mutex<State>,
    settled: Condvar,
}

#[derive(Debug, Default)]
struct State {
    epoch: Epoch,
    covered: HashMap<ObjectId, Vec<Cover>>,
    bytes: u64,
    written: u64,
    durable: u64,
    flush: Flush,
}

/// A range and the number of the record after which it is covered.
#[derive(Debug)]
struct Cover {
    range: Range<u64>,
    record: u64,
}

#[derive(Debug, Default)]
enum Flush {
    #[default]
    Idle,
    /// A thread makes records durable for all.
    Running,
    Failed(Arc<io::Error>),
}

impl<F: DiskFile> IntentLog<F> {
    /// Takes the two log files; nothing is covered in `epoch` yet.
    pub fn new(halves: [F; 2], epoch: Epoch) -> Self {
        let state = State { epoch, ..State::default() };
        Self { halves, state: Mutex::new(state), settled: Condvar::new() }
    }

    /// Begins the log of the next epoch over that of the epoch before the last. Nobody may be covering meanwhile.
    pub fn begin(&self, epoch: Epoch) {
        let mut state = self.lock();
        *state = State { epoch, flush: std::mem::take(&mut state.flush), ..State::default() };
    }

    /// Returns how many bytes are covered in this epoch.
    pub fn covered(&self) -> u64 {
        self.lock().bytes
    }

    /// Makes sure that a record of this epoch covers the range, durably.
    pub fn cover(&self, object: ObjectId, range: Range<u64>) -> Result<(), StoreError> {
        let mut state = self.lock();
        let record = match state.find(object, &range) {
            Some(record) => record,
            None => self.append(&mut state, object, range)?,
        };
        self.settle(state, record).map_err(|cause| StoreError::Stopped { cause })
    }

    /// Reads the intents that were logged in an epoch.
    pub fn read(&self, epoch: Epoch) -> Result<Vec<Intent>, StoreError> {
        let file = self.half(epoch);
        let failed = "reading the log of intents";
        let records = (file.length().map_err(StoreError::disk(failed))? / RECORD as u64).min(RECORDS_MAX);
        let mut intents = Vec::new();
        let mut bytes = Vec::with_capacity(RECORD);
        for number in 0..records {
            bytes.clear();
            file.read_at(number * RECORD as u64, RECORD, &mut bytes).map_err(StoreError::disk(failed))?;
            let Some(intent) = decode(&bytes, epoch) else { break };
            intents.push(intent);
        }
        Ok(intents)
    }

    fn half(&self, epoch: Epoch) -> &F {
        &self.halves[usize::from(epoch % 2 == 1)]
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn append(&self, state: &mut State, object: ObjectId, range: Range<u64>) -> Result<u64, StoreError> {
        let planned = state.plan(object, &range);
        let record = encode(object, &planned, state.epoch);
        self.half(state.epoch)
            .write_at(state.written * RECORD as u64, &record)
            .map_err(StoreError::disk("writing the log of intents"))?;
        state.written += 1;
        state.add(object, planned);
        Ok(state.written)
    }

    /// Waits until a record is durable; the first who waits syncs for all who wrote before it began.
    fn settle<'a>(&'a self, mut state: MutexGuard<'a, State>, record: u64) -> Result<(), Arc<io::Error>> {
        loop {
            if state.durable >= record {
                return Ok(());
            }
            match &state.flush {
                Flush::Failed(cause) => return Err(Arc::clone(cause)),
                Flush::Running => {
                    state = self.settled.wait(state).unwrap_or_else(PoisonError::into_inner);
                    continue;
                }
                Flush::Idle => state.flush = Flush::Running,
            }
            let (file, reached) = (self.half(state.epoch), state.written);
            drop(state);
            let result = file.sync();
            state = self.lock();
            state.flush = match result {
                Ok(()) => {
                    state.durable = reached;
                    Flush::Idle
                }
                Err(cause) => Flush::Failed(Arc::new(cause)),
            };
            self.settled.notify_all();
        }
    }
}

impl State {
    fn find(&self, object: ObjectId, range: &Range<u64>) -> Option<u64> {
        let covers = self.covered.get(&object)?;
        let cover = covers.iter().find(|c| c.range.start <= range.start && range.end <= c.range.end)?;
        Some(cover.record)
    }

    /// Widens a range to whole units, and further when it continues what is covered.
    fn plan(&self, object: ObjectId, range: &Range<u64>) -> Range<u64> {
        let start = range.start / UNIT * UNIT;
        let mut end = range.end.div_ceil(UNIT) * UNIT;
        for cover in self.covered.get(&object).into_iter().flatten() {
            if (cover.range.start..=cover.range.end).contains(&start) {
                let ahead = (cover.range.end - cover.range.start).min(AHEAD_MAX);
                end = end.max(start + ahead);
            }
        }
        start..end
    }

    /// Notes a range, joined with those it touches: an earlier record is durable when a later one is.
    fn add(&mut self, object: ObjectId, range: Range<u64>) {
        self.bytes += range.end - range.start;
        let covers = self.covered.entry(object).or_default();
        let mut joined = range;
        covers.retain(|cover| {
            let touches = cover.range.start <= joined.end && joined.start <= cover.range.end;
            if touches {
                joined = joined.start.min(cover.range.start)..joined.end.max(cover.range.end);
            }
            !touches
        });
        covers.push(Cover { range: joined, record: self.written });
    }
}

fn encode(object: ObjectId, range: &Range<u64>, epoch: Epoch) -> [u8; RECORD] {
    let mut bytes = [0; RECORD];
    bytes[..8].copy_from_slice(&object.fid.sequence.to_le_bytes());
    bytes[8..12].copy_from_slice(&object.fid.object.to_le_bytes());
    bytes[12..16].copy_from_slice(&object.fid.version.to_le_bytes());
    bytes[16..20].copy_from_slice(&object.ordinal.to_le_bytes());
    bytes[20..24].copy_from_slice(&epoch.to_le_bytes());
    bytes[24..32].copy_from_slice(&range.start.to_le_bytes());
    bytes[32..40].copy_from_slice(&range.end.to_le_bytes());
    let sum = crc32c(&bytes[..SUMMED]);
    bytes[SUMMED..].copy_from_slice(&sum.to_le_bytes());
    bytes
}

/// Returns the intent of a record, or none where the log of `epoch` ends.
fn decode(bytes: &[u8], epoch: Epoch) -> Option<Intent> {
    let bytes: &[u8; RECORD] = bytes.try_into().ok()?;
    let number = |at| u64::from_le_bytes(field(bytes, at));
    let half = |at| u32::from_le_bytes(field(bytes, at));
    if crc32c(&bytes[..SUMMED]) != half(SUMMED) || half(20) != epoch {
        return None;
    }
    let fid = Fid { sequence: number(0), object: half(8), version: half(12) };
    let object = ObjectId { fid, ordinal: half(16) };
    Some(Intent { object, range: number(24)..number(32) })
}
