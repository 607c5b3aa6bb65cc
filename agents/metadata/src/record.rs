//! The envelope of every stored value: a format byte, the postcard body, and a CRC32C over both.
//!
//! Knows nothing of what is inside.
//! Invariant: a value that decodes has every bit that was encoded.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::failure::TargetError;

/// Format of records written today.
const FORMAT: u8 = 1;

/// Bytes of the checksum.
const CHECKSUM: usize = 4;

/// CRC32C of some bytes.
pub(crate) fn checksum(bytes: &[u8]) -> u32 {
    crc_fast::crc32_iscsi(bytes)
}

/// Wraps a value.
pub(crate) fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, TargetError> {
    let mut bytes = Vec::with_capacity(192);
    bytes.push(FORMAT);
    let mut bytes = postcard::to_extend(value, bytes).map_err(TargetError::Encode)?;
    let sum = checksum(&bytes);
    bytes.extend_from_slice(&sum.to_le_bytes());
    Ok(bytes)
}

/// Unwraps the value of `key`.
pub(crate) fn decode<T: DeserializeOwned>(key: &[u8], bytes: &[u8]) -> Result<T, TargetError> {
    let damaged = || TargetError::Record { key: key.escape_ascii().to_string() };
    let body_end = bytes.len().checked_sub(CHECKSUM).ok_or_else(damaged)?;
    let (body, sum) = bytes.split_at(body_end);
    if checksum(body).to_le_bytes() != sum {
        return Err(damaged());
    }
    let (format, body) = body.split_first().ok_or_else(damaged)?;
    if *format != FORMAT {
        return Err(TargetError::Format { found: *format, known: FORMAT });
    }
    postcard::from_bytes(body).map_err(|_| damaged())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flipped_bit_is_noticed() {
        let bytes = encode(&(7_u64, "name".to_owned())).expect("encodes");
        assert_eq!(decode::<(u64, String)>(b"k", &bytes).expect("intact"), (7, "name".to_owned()));
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(decode::<(u64, String)>(b"k", &damaged).is_err(), "bit {bit}");
        }
        assert!(decode::<u64>(b"k", &[]).is_err());
    }
}
