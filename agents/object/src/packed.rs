//! Chunks as they will be stored: LZ4 when that saves a page, else as they are.
//!
//! Knows no slots and no records.
//! Invariant: what is stored raw is never copied, and what is compressed is copied once, at its final length.

use std::borrow::Cow;
use std::cell::RefCell;

use lustre_model::control::Compression;
use lz4_flex::block::{CompressTable, compress_into_with_table, get_maximum_output_size};

use crate::geometry::{BLOCK, CHUNK, narrow};
use crate::record::Form;

const CHUNK_BYTES: usize = CHUNK as usize;

/// Appends shorter than this that do not fill their chunk are stored as they are: more will follow them.
const APPEND_PACKED_MIN: usize = 16 << 10;

/// Bytes of a chunk as they will be stored.
#[derive(Debug, Clone)]
pub(crate) struct Packed<'d> {
    pub form: Form,
    pub bytes: Cow<'d, [u8]>,
}

/// What compressing takes, kept by each thread: neither is worth making anew for 64 KiB.
struct Scratch {
    table: CompressTable,
    output: Vec<u8>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::new(Scratch {
        table: CompressTable::large(),
        output: vec![0; get_maximum_output_size(CHUNK_BYTES)],
    });
}

/// Compresses the chunks that a write covers whole, before any lock is taken.
pub(crate) fn pack_whole(offset: u64, data: &[u8], compression: Compression) -> Vec<Packed<'_>> {
    let head = narrow(offset.next_multiple_of(CHUNK) - offset).min(data.len());
    data[head..].chunks_exact(CHUNK_BYTES).map(|bytes| pack(bytes, compression)).collect()
}

/// Compresses, unless these bytes are the beginning of a chunk that grows by small appends.
pub(crate) fn pack_piece(bytes: Cow<'_, [u8]>, compression: Compression, appended: usize) -> Packed<'_> {
    let grows = bytes.len() < CHUNK_BYTES && appended < APPEND_PACKED_MIN && bytes.len() > appended;
    let packed = if grows { None } else { shrunk(&bytes, compression) };
    packed.unwrap_or(Packed { form: Form::Raw, bytes })
}

/// Compresses where that saves a page.
pub(crate) fn pack(bytes: &[u8], compression: Compression) -> Packed<'_> {
    shrunk(bytes, compression).unwrap_or(Packed { form: Form::Raw, bytes: Cow::Borrowed(bytes) })
}

/// Returns a compressed chunk, or none when that would save no page.
fn shrunk(bytes: &[u8], compression: Compression) -> Option<Packed<'static>> {
    let pages = |length: usize| length.div_ceil(BLOCK as usize);
    let pays = match compression {
        Compression::None => false,
        Compression::Lz4 => (2..=pages(CHUNK_BYTES)).contains(&pages(bytes.len())),
    };
    if !pays {
        return None;
    }
    SCRATCH.with_borrow_mut(|Scratch { table, output }| {
        let length = compress_into_with_table(bytes, output, table).ok()?;
        let saves = pages(length) < pages(bytes.len());
        saves.then(|| Packed { form: Form::Lz4, bytes: Cow::Owned(output[..length].to_vec()) })
    })
}
