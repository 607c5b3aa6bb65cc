//! Plain objects: bytes at their own offsets, an eight-byte entry (CRC32C, epoch) for each 4 KiB block.
//!
//! Never compresses. Overwrites happen in place, entries first, bytes second:
//! - killed between the two, the entry is of an epoch that the crash makes inexact: the block counts as found;
//! - power lost, both reach the disk in any order: the same, and for entries of older epochs an intent was durable first;
//! - the disk fails in between: the blocks are summed again as found before the error is returned.
//!
//! Blocks that were never written may come before their entries. A missing entry stands for zeros.
//! Invariant: in a run, the entry of every block matches its bytes whenever nobody holds the object's lock.

use std::ops::Range;

use lustre_model::layout::ObjectId;

use crate::checksum::{crc32c, salt};
use crate::disk::DiskFile;
use crate::epoch::Epoch;
use crate::error::StoreError;
use crate::geometry::{BLOCK, DATA_AT, ENTRY, REST_AT, narrow, table_growth};
use crate::header::{Header, field};
use crate::object::{Body, Change, Cut, Found, View};
use crate::table;

const BLOCK_BYTES: usize = BLOCK as usize;
const ENTRY_BYTES: usize = ENTRY as usize;

/// Blocks whose entries are looked at in one go.
const PIECE_BLOCKS: u64 = 8192;

static ZEROS: [u8; BLOCK_BYTES] = [0; BLOCK_BYTES];

/// The sum of a block and the epoch it was written in; epoch 0 when it never was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Entry {
    sum: u32,
    epoch: Epoch,
}

/// What checking a block against its entry says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Check {
    Good,
    /// They differ and a crash explains it; or they agree, but would not be believed if they differed.
    Inexact,
    Damaged,
}

/// Computes the sums of the blocks that a write covers whole, before any lock is taken.
pub(crate) fn sums(offset: u64, data: &[u8]) -> Vec<u32> {
    let head = narrow(offset.next_multiple_of(BLOCK) - offset).min(data.len());
    data[head..].chunks_exact(BLOCK_BYTES).map(crc32c).collect()
}

/// Reads whole blocks around a range that lies within the object.
pub(crate) fn read<F: DiskFile>(
    body: &Body<F>,
    view: View<'_>,
    range: Range<u64>,
) -> Result<Found, StoreError> {
    let blocks = range.start / BLOCK..range.end.div_ceil(BLOCK);
    let bytes = load(body, &blocks)?;
    let entries = entries(body, &blocks)?;
    let mut inexact = Vec::new();
    for ((block, bytes), entry) in blocks.clone().zip(bytes.chunks_exact(BLOCK_BYTES)).zip(&entries) {
        match check(view, block, bytes, *entry) {
            Check::Good => {}
            Check::Inexact => inexact.push(block),
            Check::Damaged => return Err(damaged(view.object, block)),
        }
    }
    Ok(Found { start: blocks.start * BLOCK, bytes, inexact })
}

/// Writes bytes and a header that says so; `sums` are those of [`sums`] for the same write. Bytes behind the object's
/// end must be zeros.
pub(crate) fn write<F: DiskFile>(
    body: &mut Body<F>,
    change: &Change<'_, F>,
    (offset, data): (u64, &[u8]),
    sums: &[u32],
) -> Result<(), StoreError> {
    let end = offset + data.len() as u64;
    let header = Header { size: body.header.size.max(end), mtime: change.now, ..body.header };
    put(body, change, (offset, data), sums, header)
}

/// Writes bytes, their entries and a header.
fn put<F: DiskFile>(
    body: &mut Body<F>,
    change: &Change<'_, F>,
    (offset, data): (u64, &[u8]),
    sums: &[u32],
    header: Header,
) -> Result<(), StoreError> {
    let blocks = offset / BLOCK..(offset + data.len() as u64).div_ceil(BLOCK);
    let old = if blocks.start * BLOCK >= body.header.size {
        vec![Entry::default(); narrow(blocks.end - blocks.start)]
    } else {
        entries(body, &blocks)?
    };
    let first_whole = offset.div_ceil(BLOCK);
    let mut new = Vec::with_capacity(old.len());
    for (block, entry) in blocks.clone().zip(&old) {
        let whole = block.checked_sub(first_whole).and_then(|index| sums.get(narrow(index)));
        let sum = match whole {
            Some(sum) => *sum,
            None => crc32c(&merged(body, change.view, (block, *entry), (offset, data))?),
        };
        new.push(Entry { sum: sum ^ salt(change.view.object, block), epoch: change.epoch });
    }
    let added = old.iter().filter(|entry| entry.epoch == 0).count() as u64;
    change.admit(if added > 0 { added * BLOCK + table_growth(added * ENTRY) } else { 0 })?;
    cover(change, blocks.start, &old)?;
    let before = std::mem::replace(&mut body.header, header);
    let result = if added == new.len() as u64 {
        save_added(body, change.view.object, (offset, data), (blocks.start, &new))
    } else {
        save_over(body, change.view.object, (offset, data), (blocks.start, &new))
    };
    result.map_err(|error| {
        body.header = before;
        repaired(body, change, blocks, error)
    })
}

/// Writes bytes of blocks that were never written: what no entry names is not there, so they may come first.
fn save_added<F: DiskFile>(
    body: &mut Body<F>,
    object: ObjectId,
    (offset, data): (u64, &[u8]),
    (first, new): (u64, &[Entry]),
) -> Result<(), StoreError> {
    if offset == 0 && table::is_near(new.len() as u64 * ENTRY) {
        return save_over(body, object, (offset, data), (first, new));
    }
    body.file.write_at(DATA_AT + offset, data).map_err(StoreError::disk("writing an object"))?;
    body.save_table(object, first * ENTRY, &encode(new))
}

/// Writes bytes after their entries.
fn save_over<F: DiskFile>(
    body: &mut Body<F>,
    object: ObjectId,
    (offset, data): (u64, &[u8]),
    (first, new): (u64, &[Entry]),
) -> Result<(), StoreError> {
    let (at, bytes) = (first * ENTRY, encode(new));
    if offset == 0 {
        return body.save_front(object, (at, &bytes), data);
    }
    body.save_table(object, at, &bytes)?;
    body.file.write_at(DATA_AT + offset, data).map_err(StoreError::disk("writing an object"))
}

/// Makes a range within the object zeros and gives its whole blocks back.
pub(crate) fn punch<F: DiskFile>(
    body: &mut Body<F>,
    change: &Change<'_, F>,
    range: Range<u64>,
) -> Result<(), StoreError> {
    let whole = range.start.div_ceil(BLOCK)..range.end / BLOCK;
    if whole.start > whole.end {
        return blank(body, change, range).map(drop);
    }
    blank(body, change, range.start..whole.start * BLOCK)?;
    blank(body, change, whole.end * BLOCK..range.end)?;
    free(body, change, whole.clone(), whole.end * BLOCK)
}

/// Makes everything behind the object's end zeros.
pub(crate) fn cut_tail<F: DiskFile>(body: &mut Body<F>, change: &Change<'_, F>) -> Result<Cut, StoreError> {
    let size = body.header.size;
    let first = size.div_ceil(BLOCK);
    let summed = body.table_end()?.div_ceil(ENTRY).max(first);
    let before = body.takes()?;
    let cut = blank(body, change, size..first * BLOCK)?;
    free(body, change, first..summed, REST_AT - DATA_AT)?;
    let after = body.takes()?;
    // Entries of blocks that were never stored need no mention: they stand for nothing that can be read.
    Ok(if before == after { cut } else { Cut::Bytes })
}

/// Sums blocks again as they are found, because a crash or a failed write left them inexact.
pub(crate) fn rehash<F: DiskFile>(
    body: &mut Body<F>,
    change: &Change<'_, F>,
    blocks: Range<u64>,
) -> Result<(), StoreError> {
    let bytes = load(body, &blocks)?;
    let old = entries(body, &blocks)?;
    let mut new = old.clone();
    for ((block, bytes), entry) in blocks.clone().zip(bytes.chunks_exact(BLOCK_BYTES)).zip(&mut new) {
        if check(change.view, block, bytes, *entry) != Check::Good {
            *entry = Entry { sum: crc32c(bytes) ^ salt(change.view.object, block), epoch: change.epoch };
        }
    }
    if new == old { Ok(()) } else { body.save_table(change.view.object, blocks.start * ENTRY, &encode(&new)) }
}

/// Sums the blocks of an intended range again that a crash left inexact.
pub(crate) fn recover<F: DiskFile>(
    body: &mut Body<F>,
    change: &Change<'_, F>,
    range: Range<u64>,
) -> Result<(), StoreError> {
    let mut block = range.start / BLOCK;
    let end = range.end.min(body.header.size).div_ceil(BLOCK);
    while block < end {
        let blocks = block..end.min(block + PIECE_BLOCKS);
        block = blocks.end;
        if entries(body, &blocks)?.iter().any(|entry| entry.epoch != 0) {
            rehash(body, change, blocks)?;
        }
    }
    Ok(())
}

/// Returns a block as it will be when `write` has been put over its checked old bytes.
fn merged<F: DiskFile>(
    body: &Body<F>,
    view: View<'_>,
    (block, entry): (u64, Entry),
    (offset, data): (u64, &[u8]),
) -> Result<Vec<u8>, StoreError> {
    let start = block * BLOCK;
    let mut bytes =
        if start >= body.header.size { vec![0; BLOCK_BYTES] } else { load(body, &(block..block + 1))? };
    if start < body.header.size && check(view, block, &bytes, entry) == Check::Damaged {
        return Err(damaged(view.object, block));
    }
    let from = offset.max(start);
    let to = (offset + data.len() as u64).min(start + BLOCK);
    let piece = &data[narrow(from - offset)..narrow(to - offset)];
    bytes[narrow(from - start)..narrow(to - start)].copy_from_slice(piece);
    Ok(bytes)
}

/// Makes a part of one block zeros, unless it is.
fn blank<F: DiskFile>(
    body: &mut Body<F>,
    change: &Change<'_, F>,
    range: Range<u64>,
) -> Result<Cut, StoreError> {
    if range.is_empty() {
        return Ok(Cut::Nothing);
    }
    let length = narrow(range.end - range.start);
    let mut found = Vec::with_capacity(length);
    let read = body.file.read_at(DATA_AT + range.start, length, &mut found);
    read.map_err(StoreError::disk("reading an object"))?;
    if found == ZEROS[..length] {
        return Ok(Cut::Nothing);
    }
    let header = body.header;
    put(body, change, (range.start, &ZEROS[..length]), &[], header).map(|()| Cut::Bytes)
}

/// Gives back blocks; their bytes up to `end` even where no entry is.
fn free<F: DiskFile>(
    body: &mut Body<F>,
    change: &Change<'_, F>,
    blocks: Range<u64>,
    end: u64,
) -> Result<(), StoreError> {
    let start = blocks.start * BLOCK;
    if blocks.start < blocks.end {
        cover_blocks(body, change, blocks.clone())?;
        body.clear_table(change.view.object, blocks.start * ENTRY..blocks.end * ENTRY)
            .map_err(|error| repaired(body, change, blocks.clone(), error))?;
    }
    if start >= end {
        return Ok(());
    }
    body.file
        .punch(DATA_AT + start, end - start)
        .map_err(StoreError::disk("punching an object"))
        .map_err(|error| repaired(body, change, blocks, error))
}

/// Covers the blocks of a range by an intent where they need one.
fn cover_blocks<F: DiskFile>(
    body: &Body<F>,
    change: &Change<'_, F>,
    blocks: Range<u64>,
) -> Result<(), StoreError> {
    let mut block = blocks.start;
    while block < blocks.end {
        let piece = block..blocks.end.min(block + PIECE_BLOCKS);
        block = piece.end;
        cover(change, piece.start, &entries(body, &piece)?)?;
    }
    Ok(())
}

fn cover<F: DiskFile>(change: &Change<'_, F>, first: u64, old: &[Entry]) -> Result<(), StoreError> {
    let needs = |entry: &Entry| change.needs_intent(entry.epoch);
    let (Some(start), Some(end)) = (old.iter().position(needs), old.iter().rposition(needs)) else {
        return Ok(());
    };
    let range = (first + start as u64) * BLOCK..(first + end as u64 + 1) * BLOCK;
    change.intents.cover(change.view.object, range)
}

/// Makes entries match their blocks again after a failure, or says that this failed as well.
fn repaired<F: DiskFile>(
    body: &mut Body<F>,
    change: &Change<'_, F>,
    blocks: Range<u64>,
    error: StoreError,
) -> StoreError {
    let object = change.view.object;
    let again = body.reload(object).and_then(|()| rehash_all(body, change, blocks));
    let Err(second) = again else { return error };
    tracing::error!(?object, %error, %second, "a failed write left an object unreadable");
    StoreError::Broken { object }
}

fn rehash_all<F: DiskFile>(
    body: &mut Body<F>,
    change: &Change<'_, F>,
    blocks: Range<u64>,
) -> Result<(), StoreError> {
    let mut block = blocks.start;
    while block < blocks.end {
        let piece = block..blocks.end.min(block + PIECE_BLOCKS);
        block = piece.end;
        rehash(body, change, piece)?;
    }
    Ok(())
}

fn check(view: View<'_>, block: u64, bytes: &[u8], entry: Entry) -> Check {
    if entry.epoch == 0 {
        let zeros = *bytes == ZEROS;
        return match (zeros, view.crashed.is_empty()) {
            (true, _) => Check::Good,
            (false, false) => Check::Inexact,
            (false, true) => Check::Damaged,
        };
    }
    if view.crashed.contains(entry.epoch) {
        Check::Inexact
    } else if crc32c(bytes) ^ salt(view.object, block) == entry.sum {
        Check::Good
    } else {
        Check::Damaged
    }
}

fn load<F: DiskFile>(body: &Body<F>, blocks: &Range<u64>) -> Result<Vec<u8>, StoreError> {
    let length = narrow((blocks.end - blocks.start) * BLOCK);
    let mut bytes = Vec::with_capacity(length);
    body.file
        .read_at(DATA_AT + blocks.start * BLOCK, length, &mut bytes)
        .map_err(StoreError::disk("reading an object"))?;
    Ok(bytes)
}

fn entries<F: DiskFile>(body: &Body<F>, blocks: &Range<u64>) -> Result<Vec<Entry>, StoreError> {
    let bytes = body.table(blocks.start * ENTRY..blocks.end * ENTRY)?;
    let entry = |bytes: &[u8]| Entry {
        sum: u32::from_le_bytes(field(bytes, 0)),
        epoch: Epoch::from_le_bytes(field(bytes, 4)),
    };
    Ok(bytes.chunks_exact(ENTRY_BYTES).map(entry).collect())
}

fn encode(entries: &[Entry]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(entries.len() * ENTRY_BYTES);
    for entry in entries {
        bytes.extend_from_slice(&entry.sum.to_le_bytes());
        bytes.extend_from_slice(&entry.epoch.to_le_bytes());
    }
    bytes
}

fn damaged(object: ObjectId, block: u64) -> StoreError {
    StoreError::Damaged { object, offset: block * BLOCK }
}
