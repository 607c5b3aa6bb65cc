//! The write-ahead log: one record for each commit, numbered without gaps, each with a CRC32C.
//!
//! Knows frames, not what is in them; when to cut the log is the table's business.
//! Invariant: damage to a record that was on disk is reported; only an unfinished tail that nobody was promised to
//! survive power loss is dropped.
//!
//! ```text
//! header:  "LMDLOG01" begins:u64 crc:u32                   records up to `begins` are in the store, durably
//! record:  "LMDR" length:u32 crc:u32 sequence:u64 synced:u64 payload     crc covers sequence, synced and payload
//! ```
//! `synced` is the highest record that was known to be on disk when this one was written. A record that is unreadable
//! although a later one says that it was synced is damage; otherwise it is the torn end of what a power loss took.

use std::error::Error;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use thiserror::Error;

use crate::failure::LogDamage;
use crate::record::checksum;

/// Opens every log.
const HEADER_MAGIC: &[u8; 8] = b"LMDLOG01";
/// Opens every record.
const RECORD_MAGIC: &[u8; 4] = b"LMDR";
/// Bytes of the header.
const HEADER: usize = 20;
/// Bytes before a record's payload.
const PREFIX: usize = 28;

/// The log's file could not be read or written.
#[derive(Debug, Error)]
#[error("{operation} failed")]
pub struct LogError {
    /// What was tried.
    pub operation: &'static str,
    /// Why.
    #[source]
    pub source: Box<dyn Error + Send + Sync>,
}

impl LogError {
    /// Whether the disk had no room, and making some would help.
    pub fn is_full(&self) -> bool {
        let full = [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded];
        self.source.downcast_ref::<io::Error>().is_some_and(|error| full.contains(&error.kind()))
    }
}

/// An append-only file.
pub trait LogFile: Send {
    /// Returns all there is; empty when the log was never begun.
    fn read(&mut self) -> Result<Vec<u8>, LogError>;

    /// Appends bytes, so that they survive the end of this process but not power loss. After an error that
    /// [`LogError::is_full`], the log is as it was before.
    fn append(&mut self, bytes: &[u8]) -> Result<(), LogError>;

    /// Puts `bytes` in the place of the whole log, atomically and durably.
    fn replace(&mut self, bytes: &[u8]) -> Result<(), LogError>;
}

/// A log in memory, for tests and simulations. Clones share their bytes, so that a test can reopen or tear it.
#[derive(Debug, Clone, Default)]
pub struct MemoryLog {
    bytes: Arc<Mutex<Vec<u8>>>,
}

impl MemoryLog {
    /// Calls `change` with the bytes of the log.
    pub fn with<T>(&self, change: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        change(&mut self.bytes.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl LogFile for MemoryLog {
    fn read(&mut self) -> Result<Vec<u8>, LogError> {
        Ok(self.with(|all| all.clone()))
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), LogError> {
        self.with(|all| all.extend_from_slice(bytes));
        Ok(())
    }

    fn replace(&mut self, bytes: &[u8]) -> Result<(), LogError> {
        self.with(|all| *all = bytes.to_vec());
        Ok(())
    }
}

/// Returns the bytes of a log without records, whose first record will be `begins + 1`.
pub(crate) fn empty(begins: u64) -> Vec<u8> {
    let mut bytes = HEADER_MAGIC.to_vec();
    bytes.extend_from_slice(&begins.to_le_bytes());
    let sum = checksum(&bytes);
    bytes.extend_from_slice(&sum.to_le_bytes());
    bytes
}

/// Returns the bytes of one record.
pub(crate) fn frame(sequence: u64, synced: u64, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(PREFIX + payload.len());
    bytes.extend_from_slice(RECORD_MAGIC);
    bytes.extend_from_slice(&u32::try_from(payload.len()).unwrap_or(u32::MAX).to_le_bytes());
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&sequence.to_le_bytes());
    bytes.extend_from_slice(&synced.to_le_bytes());
    bytes.extend_from_slice(payload);
    let sum = checksum(&bytes[12..]);
    bytes[8..12].copy_from_slice(&sum.to_le_bytes());
    bytes
}

/// A record as it was read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Record<'a> {
    /// Its number.
    pub(crate) sequence: u64,
    /// Highest record that was on disk when this one was written.
    pub(crate) synced: u64,
    /// What it holds.
    pub(crate) payload: &'a [u8],
}

/// A log as it was read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Contents<'a> {
    /// The last record that is not in this log but in the store.
    pub(crate) begins: u64,
    /// The records, numbered from `begins + 1` without gaps.
    pub(crate) records: Vec<Record<'a>>,
    /// Bytes of a torn end that were left out.
    pub(crate) torn: usize,
}

/// Reads a log from its bytes. `None` when there is none.
pub(crate) fn parse(bytes: &[u8]) -> Result<Option<Contents<'_>>, LogDamage> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let begins = header(bytes).ok_or(LogDamage::Header)?;
    let mut contents = Contents { begins, records: Vec::new(), torn: 0 };
    let mut at = HEADER;
    let mut sequence = begins;
    while at < bytes.len() {
        let Some(record) = record(&bytes[at..]).filter(|record| record.sequence == sequence + 1) else {
            check_tail(&bytes[at..], sequence + 1)?;
            contents.torn = bytes.len() - at;
            break;
        };
        at += PREFIX + record.payload.len();
        sequence = record.sequence;
        contents.records.push(record);
    }
    Ok(Some(contents))
}

fn header(bytes: &[u8]) -> Option<u64> {
    let header = bytes.get(..HEADER)?;
    let fits = header.starts_with(HEADER_MAGIC) && checksum(&header[..16]).to_le_bytes() == header[16..];
    fits.then(|| number(&header[8..16]))
}

fn number(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte))
}

/// Reads the record that begins with `bytes`, if a whole and undamaged one does.
fn record(bytes: &[u8]) -> Option<Record<'_>> {
    let prefix = bytes.get(..PREFIX)?;
    let length = usize::try_from(number(&prefix[4..8])).ok()?;
    let end = PREFIX.checked_add(length)?;
    let whole = bytes.get(..end).filter(|whole| whole.starts_with(RECORD_MAGIC))?;
    (checksum(&whole[12..]).to_le_bytes() == prefix[8..12]).then(|| Record {
        sequence: number(&prefix[12..20]),
        synced: number(&prefix[20..28]),
        payload: &whole[PREFIX..],
    })
}

/// Refuses a tail in which a later record proves that the unreadable record `sequence` had been on disk.
fn check_tail(tail: &[u8], sequence: u64) -> Result<(), LogDamage> {
    let starts = tail.windows(RECORD_MAGIC.len()).enumerate().filter(|(_, bytes)| bytes == RECORD_MAGIC);
    for (at, _) in starts {
        let Some(record) = record(&tail[at..]) else { continue };
        if record.synced >= sequence {
            return Err(LogDamage::Record { sequence });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(synced: [u64; 3]) -> Vec<u8> {
        let mut bytes = empty(6);
        for (sequence, synced) in (7..).zip(synced) {
            bytes.extend(frame(sequence, synced, format!("payload {sequence}").as_bytes()));
        }
        bytes
    }

    fn sequences(bytes: &[u8]) -> Result<Vec<u64>, LogDamage> {
        let contents = parse(bytes)?.expect("a log");
        Ok(contents.records.iter().map(|record| record.sequence).collect())
    }

    #[test]
    fn a_log_reads_back_as_written() {
        assert_eq!(sequences(&log([6, 6, 6])), Ok(vec![7, 8, 9]));
        assert_eq!(parse(&[]), Ok(None));
    }

    #[test]
    fn a_log_torn_anywhere_keeps_every_whole_record_before() {
        let whole = log([6, 7, 8]);
        let one = frame(7, 6, b"payload 7").len();
        for cut in HEADER..whole.len() {
            let expected: Vec<u64> = (7..7 + ((cut - HEADER) / one) as u64).collect();
            assert_eq!(sequences(&whole[..cut]), Ok(expected), "cut at {cut}");
        }
        for cut in 1..HEADER {
            assert_eq!(parse(&whole[..cut]), Err(LogDamage::Header), "cut at {cut}");
        }
    }

    #[test]
    fn damage_in_the_middle_is_an_error_when_the_record_was_on_disk() {
        let mut damaged = log([6, 7, 8]);
        damaged[HEADER + PREFIX + 1] ^= 1;
        assert_eq!(sequences(&damaged), Err(LogDamage::Record { sequence: 7 }));
    }

    #[test]
    fn a_hole_that_power_loss_left_in_unsynced_records_ends_the_log_there() {
        let mut damaged = log([6, 6, 6]);
        let one = frame(7, 6, b"payload 7").len();
        damaged[HEADER + one..HEADER + 2 * one].fill(0);
        assert_eq!(sequences(&damaged), Ok(vec![7]));
    }
}
