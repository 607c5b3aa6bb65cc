//! The header of an object: format, size and time of the last write, 64 bytes.
//!
//! Not the checksums of its bytes; those are entries and records.
//! Invariant: a header is written in one piece within a page, so a killed process leaves the old or the new one.

use lustre_model::attr::Timestamp;
use lustre_model::layout::ObjectId;

use crate::checksum::crc32c;
use crate::error::StoreError;

/// Bytes of a header.
pub(crate) const HEADER: usize = 64;

const MAGIC: [u8; 4] = *b"LOBJ";
const VERSION: u8 = 2;
const SUMMED: usize = HEADER - 4;

/// How the bytes of an object are stored; chosen when it is first written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// At their own offsets.
    Plain,
    /// In chunks that may be compressed.
    Chunked,
}

/// What is known of an object beside its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub format: Format,
    pub size: u64,
    pub mtime: Timestamp,
}

impl Header {
    /// Returns the header of an object that has no bytes yet.
    pub fn empty(format: Format) -> Self {
        Self { format, size: 0, mtime: Timestamp::default() }
    }

    /// Returns the bytes that are stored.
    pub fn encode(&self, object: ObjectId) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        bytes[..4].copy_from_slice(&MAGIC);
        bytes[4] = VERSION;
        bytes[5] = match self.format {
            Format::Plain => 0,
            Format::Chunked => 1,
        };
        bytes[8..16].copy_from_slice(&object.fid.sequence.to_le_bytes());
        bytes[16..20].copy_from_slice(&object.fid.object.to_le_bytes());
        bytes[20..24].copy_from_slice(&object.fid.version.to_le_bytes());
        bytes[24..28].copy_from_slice(&object.ordinal.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.size.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.mtime.seconds.to_le_bytes());
        bytes[48..52].copy_from_slice(&self.mtime.nanoseconds.to_le_bytes());
        let sum = crc32c(&bytes[..SUMMED]);
        bytes[SUMMED..].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    /// Returns the header of `object` in stored bytes, or none when it was never written.
    pub fn decode(bytes: &[u8], object: ObjectId) -> Result<Option<Self>, StoreError> {
        if bytes.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        let damaged = StoreError::HeaderDamaged { object };
        let Ok(bytes) = <&[u8; HEADER]>::try_from(bytes) else { return Err(damaged) };
        let format = match bytes[5] {
            0 => Format::Plain,
            1 => Format::Chunked,
            _ => return Err(damaged),
        };
        let seconds = i64::from_le_bytes(field(bytes, 40));
        let nanoseconds = u32::from_le_bytes(field(bytes, 48));
        let size = u64::from_le_bytes(field(bytes, 32));
        let header = Self { format, size, mtime: Timestamp { seconds, nanoseconds } };
        // Encoding again checks magic, version, owner and sum at once.
        if header.encode(object) == *bytes { Ok(Some(header)) } else { Err(damaged) }
    }
}

/// Copies `N` bytes at a fixed place within fixed bounds.
pub(crate) fn field<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut value = [0; N];
    value.copy_from_slice(&bytes[at..at + N]);
    value
}

#[cfg(test)]
mod tests {
    use super::*;
    use lustre_model::fid::Fid;

    fn object(ordinal: u32) -> ObjectId {
        ObjectId { fid: Fid::from_serial(7), ordinal }
    }

    #[test]
    fn a_header_reads_back_and_no_flipped_bit_passes() {
        let mtime = Timestamp { seconds: -5, nanoseconds: 999_999_999 };
        let header = Header { format: Format::Chunked, size: 1 << 40, mtime };
        let bytes = header.encode(object(1));
        assert_eq!(Header::decode(&bytes, object(1)).ok().flatten(), Some(header));
        for bit in 0..HEADER * 8 {
            let mut bytes = bytes;
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(Header::decode(&bytes, object(1)).is_err(), "bit {bit}");
        }
        assert!(Header::decode(&bytes, object(2)).is_err(), "another object's header");
        assert!(matches!(Header::decode(&[0; HEADER], object(1)), Ok(None)));
    }
}
