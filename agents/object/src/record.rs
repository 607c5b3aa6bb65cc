//! The record of a chunk: which of its slots hold versions of it, 64 bytes.
//!
//! Not the bytes; those lie in the slots.
//! Invariant: the version with the highest serial whose bytes match its sum is the chunk's content.

use lustre_model::layout::ObjectId;

use crate::checksum::{crc32c, mix, salt};
use crate::epoch::Epoch;
use crate::geometry::{RECORD, SLOTS};
use crate::header::field;

const RECORD_BYTES: usize = RECORD as usize;
const VERSION_BYTES: usize = RECORD_BYTES / SLOTS;

/// Set in the length of a version that is compressed.
const PACKED: u32 = 1 << 31;

/// How a version's bytes are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Raw,
    Lz4,
}

/// One version of a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Version {
    pub sum: u32,
    pub epoch: Epoch,
    /// Grows with every version of the chunk, from 1.
    pub serial: u32,
    pub form: Form,
    /// Stored bytes.
    pub length: u32,
}

/// What the slots of a chunk hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Record {
    pub slots: [Option<Version>; SLOTS],
}

impl Version {
    /// Returns the sum that stored bytes of this version must have.
    pub fn sum_of(&self, object: ObjectId, chunk: u64, stored: &[u8]) -> u32 {
        let place = u64::from(self.serial) << 32 | u64::from(self.epoch);
        let shape = mix(place ^ mix(u64::from(self.marked_length())));
        crc32c(stored) ^ salt(object, chunk) ^ (shape as u32)
    }

    /// Makes it a version of another epoch, with the same bytes.
    pub fn restamp(&mut self, object: ObjectId, chunk: u64, epoch: Epoch) {
        let mut renewed = Self { epoch, ..*self };
        renewed.sum = self.sum ^ self.sum_of(object, chunk, &[]) ^ renewed.sum_of(object, chunk, &[]);
        *self = renewed;
    }

    fn marked_length(&self) -> u32 {
        match self.form {
            Form::Raw => self.length,
            Form::Lz4 => self.length | PACKED,
        }
    }
}

impl Record {
    /// Reads a record; any 64 bytes are one.
    pub fn decode(bytes: &[u8]) -> Self {
        let mut record = Self::default();
        for (slot, bytes) in record.slots.iter_mut().zip(bytes.chunks_exact(VERSION_BYTES)) {
            let number = |at| u32::from_le_bytes(field(bytes, at));
            let (serial, marked) = (number(8), number(12));
            if serial == 0 {
                continue;
            }
            let form = if marked & PACKED == 0 { Form::Raw } else { Form::Lz4 };
            let length = marked & !PACKED;
            *slot = Some(Version { sum: number(0), epoch: number(4), serial, form, length });
        }
        record
    }

    /// Returns the bytes that are stored.
    pub fn encode(&self) -> [u8; RECORD_BYTES] {
        let mut bytes = [0; RECORD_BYTES];
        for (slot, bytes) in self.slots.iter().zip(bytes.chunks_exact_mut(VERSION_BYTES)) {
            let Some(version) = slot else { continue };
            bytes[..4].copy_from_slice(&version.sum.to_le_bytes());
            bytes[4..8].copy_from_slice(&version.epoch.to_le_bytes());
            bytes[8..12].copy_from_slice(&version.serial.to_le_bytes());
            bytes[12..].copy_from_slice(&version.marked_length().to_le_bytes());
        }
        bytes
    }

    /// Returns the slots that hold a version, newest first.
    pub fn newest_first(&self) -> Vec<(usize, Version)> {
        let mut held: Vec<(usize, Version)> =
            self.slots.iter().enumerate().filter_map(|(slot, version)| version.map(|v| (slot, v))).collect();
        held.sort_by_key(|(_, version)| std::cmp::Reverse(version.serial));
        held
    }

    /// Returns the serial that the next version gets.
    pub fn next_serial(&self) -> u32 {
        self.slots.iter().flatten().map(|version| version.serial).max().unwrap_or(0).saturating_add(1)
    }

    /// Returns the record with the versions of these slots alone.
    pub fn only(&self, kept: impl Fn(usize) -> bool) -> Self {
        let mut record = *self;
        for (slot, version) in record.slots.iter_mut().enumerate() {
            if !kept(slot) {
                *version = None;
            }
        }
        record
    }

    /// Returns whether no slot holds a version.
    pub fn is_empty(&self) -> bool {
        self.slots.iter().all(Option::is_none)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lustre_model::fid::Fid;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_restamped_version_still_matches_its_bytes(bytes: Vec<u8>, serial: u32, epochs: (u32, u32)) {
            let object = ObjectId { fid: Fid::ROOT, ordinal: 3 };
            let length = u32::try_from(bytes.len()).unwrap();
            let mut version = Version { sum: 0, epoch: epochs.0, serial, form: Form::Lz4, length };
            version.sum = version.sum_of(object, 9, &bytes);
            version.restamp(object, 9, epochs.1);
            prop_assert_eq!(version.sum, version.sum_of(object, 9, &bytes));
            prop_assert_eq!(version.epoch, epochs.1);
        }

        #[test]
        fn any_bytes_are_a_record_and_records_read_back(bytes in proptest::collection::vec(any::<u8>(), 64)) {
            let record = Record::decode(&bytes);
            prop_assert_eq!(Record::decode(&record.encode()), record);
        }
    }
}
