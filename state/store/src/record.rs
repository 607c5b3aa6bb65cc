//! Records of the journal: framing, checksums, and telling a torn tail from damage.
//!
//! ```text
//! 0    4       8       12        12+n      16+n
//! | LJR1 | length n | crc32c | payload … | end  |      numbers little-endian, crc32c over length and payload
//! ```
//! The first record is the header; each later one is a commit: all events of one group, made durable together.
//! Invariant: at most one record is not yet durable at any time, because a commit is written only after the one before
//! was synced. So a broken record may be dropped exactly when it is the last and looks like a write that was cut off;
//! anything else is damage to bytes that were acknowledged.

use std::path::Path;

use serde::{Deserialize, Serialize};

use lustre_model::journal::Event;
use lustre_model::recorded::Lineage;

use crate::error::{Damage, StoreError};
use crate::seal::Seal;

const MAGIC: &[u8; 4] = b"LJR1";
const END: &[u8; 4] = b"rJL\n";
const HEAD: usize = 12;

/// Bytes around a payload.
const FRAME: usize = HEAD + END.len();

/// What sealed records are about. Which state, and where in it, their payloads say.
const ABOUT: &[u8] = b"lustre state journal";

/// Most bytes of one payload.
pub const PAYLOAD_MAX: usize = 1 << 30;

/// The first record of a journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// Version of the journal's format.
    pub version: u32,
    /// The state that it belongs to.
    pub lineage: Lineage,
    /// The state's serial before the first commit.
    pub serial: u64,
}

/// Every other record of a journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Commit {
    /// The state's serial before its first event.
    pub serial: u64,
    /// What happened.
    pub events: Vec<Event>,
}

/// Makes a record of a journal from its payload, sealed.
pub fn sealed(seal: &dyn Seal, payload: &[u8]) -> Result<Vec<u8>, StoreError> {
    Ok(frame(&seal.seal(payload, ABOUT).map_err(|source| StoreError::Seal { source })?))
}

/// Reads the payload of a record: unseals it and takes it for what it should be.
pub fn unsealed<T: serde::de::DeserializeOwned>(
    seal: &dyn Seal,
    path: &Path,
    payload: &[u8],
) -> Result<T, StoreError> {
    let unsealed = seal.unseal(payload, ABOUT);
    let payload = unsealed.map_err(|source| StoreError::Unseal { path: path.to_owned(), source })?;
    let damaged = |_| StoreError::Damaged { path: path.to_owned(), damage: Damage::Content };
    serde_json::from_slice(&payload).map_err(damaged)
}

/// Makes a record of a journal from its payload.
pub fn frame(payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX).to_le_bytes();
    let mut record = Vec::with_capacity(payload.len() + FRAME);
    record.extend_from_slice(MAGIC);
    record.extend_from_slice(&length);
    record.extend_from_slice(&checksum(&length, payload).to_le_bytes());
    record.extend_from_slice(payload);
    record.extend_from_slice(END);
    record
}

/// The payloads of a journal, and whether its last write was cut off.
#[derive(Debug, PartialEq, Eq)]
pub struct Scan<'a> {
    /// Whole records in order.
    pub payloads: Vec<&'a [u8]>,
    /// Bytes of a cut-off record at the end, 0 when there is none.
    pub torn: usize,
}

/// Splits a journal into its records.
pub fn scan(bytes: &[u8]) -> Result<Scan<'_>, Damage> {
    let mut payloads = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let rest = &bytes[at..];
        let Some(payload) = whole(rest) else {
            return if looks_cut_off(rest) {
                Ok(Scan { payloads, torn: rest.len() })
            } else {
                Err(Damage::Record)
            };
        };
        payloads.push(payload);
        at += payload.len() + FRAME;
    }
    Ok(Scan { payloads, torn: 0 })
}

/// Returns the payload of the record at the start, when it is whole.
fn whole(bytes: &[u8]) -> Option<&[u8]> {
    let (length_bytes, payload) = claimed(bytes)?;
    let crc = u32::from_le_bytes(bytes.get(8..HEAD)?.try_into().ok()?);
    let end = bytes.get(HEAD + payload.len()..payload.len() + FRAME)?;
    (end == END && crc == checksum(&length_bytes, payload)).then_some(payload)
}

/// Returns the length field and as many bytes as it claims, when they are there.
fn claimed(bytes: &[u8]) -> Option<([u8; 4], &[u8])> {
    let length_bytes: [u8; 4] = bytes.get(4..8)?.try_into().ok()?;
    let length = u32::from_le_bytes(length_bytes) as usize;
    let inside = bytes.starts_with(MAGIC) && length <= PAYLOAD_MAX;
    inside.then(|| bytes.get(HEAD..HEAD + length)).flatten().map(|payload| (length_bytes, payload))
}

/// Tells whether these bytes can be what is left of one last write that was never acknowledged.
///
/// A killed process leaves a shorter record; a power cut may also leave pages of zeros inside. Payloads are JSON and hold
/// no zero byte, so a record of full length without any was complete once, and a flipped bit broke it. A whole record
/// behind the broken one was written after the broken one was synced.
fn looks_cut_off(rest: &[u8]) -> bool {
    let follows = |at: &usize| rest[*at..].starts_with(MAGIC) && whole(&rest[*at..]).is_some();
    let another_follows = (1..rest.len()).any(|at| follows(&at));
    if another_follows {
        return false;
    }
    let zeros = rest.get(HEAD..).is_some_and(|body| body.contains(&0));
    let complete = match claimed(rest) {
        Some((_, payload)) => rest.len() >= payload.len() + FRAME,
        None => rest.ends_with(END),
    };
    !complete || zeros
}

fn checksum(length: &[u8], payload: &[u8]) -> u32 {
    let mut digest = crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc32Iscsi);
    digest.update(length);
    digest.update(payload);
    u32::try_from(digest.finalize()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, prop, prop_assert, prop_assert_eq, proptest};

    fn journal(payloads: &[Vec<u8>]) -> Vec<u8> {
        payloads.iter().flat_map(|payload| frame(payload)).collect()
    }

    proptest! {
        #[test]
        fn a_journal_cut_anywhere_gives_its_whole_records(
            texts in prop::collection::vec("[a-z]{0,40}", 1..6), cut in any::<prop::sample::Index>(),
        ) {
            let payloads: Vec<Vec<u8>> = texts.into_iter().map(String::into_bytes).collect();
            let bytes = journal(&payloads);
            let cut = cut.index(bytes.len() + 1);
            let scan = scan(&bytes[..cut]).expect("a cut is no damage");
            let mut ends = 0;
            let whole = payloads.iter().take_while(|p| { ends += p.len() + FRAME; ends <= cut }).count();
            prop_assert_eq!(scan.payloads.len(), whole);
            prop_assert_eq!(scan.torn, cut - payloads[..whole].iter().map(|p| p.len() + FRAME).sum::<usize>());
        }

        #[test]
        fn a_flipped_bit_in_a_payload_is_damage(
            texts in prop::collection::vec("[a-z]{1,40}", 1..6), which in any::<prop::sample::Index>(),
            at in any::<prop::sample::Index>(), bit in 0_u8..5,
        ) {
            let payloads: Vec<Vec<u8>> = texts.into_iter().map(String::into_bytes).collect();
            let which = which.index(payloads.len());
            let start: usize = payloads[..which].iter().map(|p| p.len() + FRAME).sum();
            let mut bytes = journal(&payloads);
            bytes[start + HEAD + at.index(payloads[which].len())] ^= 1 << bit;
            prop_assert!(scan(&bytes).is_err());
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = scan(&bytes);
        }
    }

    #[test]
    fn pages_that_never_reached_the_disk_are_a_torn_tail() {
        let first = frame(b"{}");
        let mut second = frame(&[b'x'; 2000]);
        second[700..1200].fill(0);
        let bytes = [first.clone(), second].concat();
        assert_eq!(scan(&bytes), Ok(Scan { payloads: vec![b"{}"], torn: bytes.len() - first.len() }));
    }
}
