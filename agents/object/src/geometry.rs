//! Where things lie in an object's file.
//!
//! Numbers only; what is stored there is `header`, `plain` and `chunked`.
//! Invariant: no header, entry or record crosses a 4 KiB page, so one write of it is atomic for a killed process.
//!
//! ```text
//! 0      2 MiB - 4 KiB                2 MiB                 8 TiB + 2 MiB
//! |      | header, first of the table | bytes of the object | rest of the table
//! ```
//! One file rather than two: one inode, one descriptor and one `fdatasync` per object. What a small object needs lies
//! in one piece, so it is one extent, written by one call and read by two. Everything is sparse, so the distances cost
//! nothing, and ext4's 16 TiB bound is respected.

/// Bytes under one checksum of a plain object.
///
/// A page: the kernel writes pages whole, to memory and to disk, so a block is its old or its new bytes after a kill
/// and, on disks that write 4 KiB sectors whole, after a power loss. Eight bytes of entry per block are 0.2 %.
pub const BLOCK: u64 = 4096;

/// Bytes under one record of a compressible object, before compression.
pub const CHUNK: u64 = 64 << 10;

/// Places that a chunk alternates between: the durable one, the one being synced, the live one, the one being written.
pub(crate) const SLOTS: usize = 4;

/// From one chunk's first slot to the next chunk's.
pub(crate) const CHUNK_STRIDE: u64 = CHUNK * SLOTS as u64;

/// Where the bytes of the object, or its slots, begin: aligned for the large pages that the kernel gathers writes in.
pub(crate) const DATA_AT: u64 = 2 << 20;

/// Where the header lies, and the page that it shares with the first entries or records.
pub(crate) const LEAD_AT: u64 = DATA_AT - BLOCK;

/// Where the table of entries or records begins.
pub(crate) const LEAD_TABLE_AT: u64 = LEAD_AT + 128;

/// Bytes of the table in the header's page: 496 entries or 62 records.
pub(crate) const LEAD_TABLE: u64 = DATA_AT - LEAD_TABLE_AT;

/// Where the slots end, and the rest of the table begins.
pub(crate) const REST_AT: u64 = DATA_AT + (8 << 40);

/// Most bytes an object can have, in either format.
pub const OBJECT_SIZE_MAX: u64 = (REST_AT - DATA_AT) / SLOTS as u64;

/// Bytes of a plain block's entry.
pub(crate) const ENTRY: u64 = 8;

/// Bytes of a chunk's record.
pub(crate) const RECORD: u64 = 64;

/// Returns the file offset of a chunk's slot.
pub(crate) fn slot_at(chunk: u64, slot: usize) -> u64 {
    DATA_AT + chunk * CHUNK_STRIDE + slot as u64 * CHUNK
}

/// Returns the most bytes that storing so many bytes of entries or records can take.
pub(crate) fn table_growth(bytes: u64) -> u64 {
    (bytes / BLOCK + 2) * BLOCK
}

/// Narrows a count that is bounded by a transfer or a chunk.
pub(crate) fn narrow(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}
