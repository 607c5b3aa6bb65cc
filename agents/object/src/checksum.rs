//! CRC32C, bound to the place it was computed for.
//!
//! Not a defence against forgery; peers are authenticated on the wire.
//! Invariant: equal bytes of another object or at another place have another sum, so a misdirected write is found.

use lustre_model::layout::ObjectId;

/// Returns the CRC32C of bytes.
pub(crate) fn crc32c(bytes: &[u8]) -> u32 {
    crc_fast::crc32_iscsi(bytes)
}

/// Returns what the sum of a block or chunk of an object is combined with by exclusive or.
pub(crate) fn salt(object: ObjectId, index: u64) -> u32 {
    let name = u64::from(object.fid.object) | u64::from(object.ordinal) << 32;
    let mixed = mix(mix(object.fid.sequence ^ u64::from(object.fid.version) << 40) ^ mix(name) ^ index);
    (mixed >> 32) as u32 ^ mixed as u32
}

/// Spreads the bits of a number over all of it (the finaliser of splitmix64).
pub(crate) fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ value >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ value >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ value >> 31
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_is_crc32c() {
        // RFC 3720, B.4.
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }
}
