//! Chunked objects: chunks of 64 KiB, each compressed when that saves a page, in slots that are never overwritten in place.
//!
//! A new version of a chunk goes to a slot that holds neither the live version (so a killed process loses nothing that
//! was acknowledged), nor the durable one, nor the one being made durable (so a power loss leaves old or new bytes). The
//! record that names it is written after it, or before it where the chunk had none. When a sync is through, older versions are forgotten and punched.
//! A missing record stands for zeros and costs nothing.
//! Invariant: the version that a durable record names as its newest, or the next one below it, has its bytes.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;

use lustre_model::layout::ObjectId;

use crate::disk::DiskFile;
use crate::error::StoreError;
use crate::geometry::{BLOCK, CHUNK, RECORD, REST_AT, SLOTS, narrow, slot_at, table_growth};
use crate::header::Header;
use crate::object::{Body, Change, Cut, Found, View};
use crate::packed::{Packed, pack, pack_piece};
use crate::record::{Form, Record, Version};

const CHUNK_BYTES: usize = CHUNK as usize;
const RECORD_BYTES: usize = RECORD as usize;

/// Records that are looked at in one go.
const PIECE_CHUNKS: u64 = 1024;

/// Most chunks that are given back by the next sync; past this the object is synced at once.
const DROPPED_MAX: usize = 4096;

/// Which slots of a chunk must not be written to, until the object is synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Versions {
    /// Holds what power loss leaves.
    durable: Option<usize>,
    /// Holds what the sync under way makes durable.
    syncing: Option<usize>,
    /// Holds what is read; none when the chunk was dropped.
    live: Option<usize>,
    /// The last change of the object that touched the chunk.
    changed: u64,
    /// Whether other slots hold bytes that are to be punched.
    litter: bool,
}

/// A version that is to be written.
struct Staged<'p> {
    chunk: u64,
    slot: usize,
    old: Record,
    versions: Versions,
    packed: Cow<'p, Packed<'p>>,
}

/// What a chunk holds.
struct Content {
    bytes: Vec<u8>,
    slot: Option<usize>,
    /// The sum of this version or of a newer one is inexact after a crash.
    inexact: bool,
}

/// Reads whole chunks around a range that lies within the object.
pub(crate) fn read<F: DiskFile>(
    body: &Body<F>,
    view: View<'_>,
    range: Range<u64>,
) -> Result<Found, StoreError> {
    let chunks = range.start / CHUNK..range.end.div_ceil(CHUNK);
    let mut bytes = Vec::with_capacity(narrow((chunks.end - chunks.start) * CHUNK));
    let mut inexact = Vec::new();
    for (chunk, record) in chunks.clone().zip(records(body, &chunks)?) {
        let end = bytes.len() + CHUNK_BYTES;
        let content = resolve(body, view, chunk, &record)?;
        bytes.extend_from_slice(&content.bytes);
        bytes.resize(end, 0);
        if content.inexact {
            inexact.push(chunk);
        }
    }
    Ok(Found { start: chunks.start * CHUNK, bytes, inexact })
}

/// Writes bytes and a header that says so; `whole` is what [`pack_whole`](crate::packed::pack_whole) made of the same write.
pub(crate) fn write<F: DiskFile>(
    body: &mut Body<F>,
    change: &Change<'_, F>,
    (offset, data): (u64, &[u8]),
    whole: &[Packed<'_>],
) -> Result<(), StoreError> {
    let end = offset + data.len() as u64;
    let chunks = offset / CHUNK..end.div_ceil(CHUNK);
    let first_whole = offset.div_ceil(CHUNK);
    let mut whole = whole.iter();
    let mut staged = Vec::with_capacity(narrow(chunks.end - chunks.start));
    for (chunk, record) in chunks.clone().zip(records(body, &chunks)?) {
        let prepared = if chunk >= first_whole { whole.next() } else { None };
        let packed = match prepared {
            Some(packed) => Cow::Borrowed(packed),
            None => {
                let start = chunk * CHUNK;
                let from = offset.max(start);
                let piece = &data[narrow(from - offset)..narrow(end.min(start + CHUNK) - offset)];
                Cow::Owned(merge(body, change, (chunk, &record), narrow(from - start), piece)?)
            }
        };
        staged.push(stage(body, change, (chunk, record), packed)?);
    }
    let header = Header { size: body.header.size.max(end), mtime: change.now, ..body.header };
    commit(body, change, &staged, header)
}

/// Makes a range within the object zeros; whole chunks are given back by the next sync.
pub(crate) fn punch<F: DiskFile>(
    body: &mut Body<F>,
    change: &Change<'_, F>,
    range: Range<u64>,
) -> Result<(), StoreError> {
    let whole = range.start.div_ceil(CHUNK)..range.end / CHUNK;
    if whole.start > whole.end {
        return blank(body, change, range);
    }
    blank(body, change, range.start..whole.start * CHUNK)?;
    blank(body, change, whole.end * CHUNK..range.end)?;
    drop_chunks(body, change, whole).map(drop)
}

/// Makes everything behind the object's end zeros.
pub(crate) fn cut_tail<F: DiskFile>(body: &mut Body<F>, change: &Change<'_, F>) -> Result<Cut, StoreError> {
    let size = body.header.size;
    let (last, within) = (size / CHUNK, narrow(size % CHUNK));
    let mut cut = Cut::Nothing;
    if within > 0 {
        let record = record(body, last)?;
        let mut content = resolve(body, change.view, last, &record)?;
        if content.bytes.len() > within {
            content.bytes.truncate(within);
            let packed = Cow::Owned(pack(&content.bytes, change.compression));
            let staged = stage(body, change, (last, record), packed)?;
            let header = body.header;
            commit(body, change, &[staged], header)?;
            cut = Cut::Bytes;
        }
    }
    let first = size.div_ceil(CHUNK);
    let recorded = body.table_end()?.div_ceil(RECORD).max(first);
    if drop_chunks(body, change, first..recorded)? == Cut::Bytes {
        cut = Cut::Bytes;
    }
    // Bytes that no record names: a crash came between them and their record. Others wait for the sync.
    let start = slot_at(recorded, 0);
    body.file.punch(start, REST_AT - start).map_err(StoreError::disk("punching an object"))?;
    Ok(cut)
}

/// Forgets versions that a crash left without their bytes, and makes the sum of the one that is left exact.
pub(crate) fn settle_inexact<F: DiskFile>(
    body: &mut Body<F>,
    change: &Change<'_, F>,
    chunk: u64,
) -> Result<(), StoreError> {
    let record = record(body, chunk)?;
    let content = resolve(body, change.view, chunk, &record)?;
    if !content.inexact || body.chunks.contains_key(&chunk) {
        return Ok(());
    }
    let mut settled = record.only(|slot| content.slot == Some(slot));
    for version in settled.slots.iter_mut().flatten() {
        version.restamp(change.view.object, chunk, change.epoch);
    }
    body.save_table(change.view.object, chunk * RECORD, &settled.encode())?;
    let (durable, live) = (content.slot, content.slot);
    let versions =
        Versions { durable, syncing: None, live, changed: body.changes + 1, litter: settled != record };
    body.chunks.insert(chunk, versions);
    Ok(())
}

/// Notes that a sync begins: what is live now must stay until it is through.
pub(crate) fn sync_begins(chunks: &mut BTreeMap<u64, Versions>) {
    for versions in chunks.values_mut() {
        versions.syncing = versions.live;
    }
}

/// Notes that everything up to a change is durable, and gives back what older versions took.
///
/// A disk that refuses to punch costs space, nothing else.
pub(crate) fn sync_ended<F: DiskFile>(body: &mut Body<F>, object: View<'_>, durable: u64) {
    let (settled, open): (BTreeMap<u64, Versions>, _) =
        std::mem::take(&mut body.chunks).into_iter().partition(|(_, versions)| versions.changed <= durable);
    body.chunks = open;
    for versions in body.chunks.values_mut() {
        if let Some(slot) = versions.syncing.take() {
            versions.durable = Some(slot);
        }
    }
    for (chunk, versions) in settled {
        let swept = if versions.litter { sweep(body, object.object, chunk, versions.live) } else { Ok(()) };
        if let Err(error) = swept {
            tracing::warn!(object = ?object.object, chunk, %error, "space of older versions was not given back");
        }
    }
}

/// Leaves a chunk with one version, and nothing in its other slots.
fn sweep<F: DiskFile>(
    body: &mut Body<F>,
    object: ObjectId,
    chunk: u64,
    live: Option<usize>,
) -> Result<(), StoreError> {
    let record = record(body, chunk)?;
    let only = record.only(|slot| live == Some(slot));
    if only != record {
        let saved = body.save_table(object, chunk * RECORD, &only.encode());
        saved.or_else(|error| body.reload(object).and(Err(error)))?;
    }
    let (start, end) = (slot_at(chunk, 0), slot_at(chunk + 1, 0));
    let kept = live.and_then(|slot| only.slots[slot].map(|version| (slot, version)));
    let Some((slot, version)) = kept else { return free(body, start..end) };
    free(body, start..slot_at(chunk, slot))?;
    free(body, slot_at(chunk, slot) + u64::from(version.length).next_multiple_of(BLOCK)..end)
}

fn free<F: DiskFile>(body: &Body<F>, range: Range<u64>) -> Result<(), StoreError> {
    if range.is_empty() {
        return Ok(());
    }
    body.file.punch(range.start, range.end - range.start).map_err(StoreError::disk("punching an object"))
}

/// Chooses the slot of a new version.
fn stage<'p, F: DiskFile>(
    body: &Body<F>,
    change: &Change<'_, F>,
    (chunk, old): (u64, Record),
    packed: Cow<'p, Packed<'p>>,
) -> Result<Staged<'p>, StoreError> {
    let versions = match body.chunks.get(&chunk) {
        Some(versions) => *versions,
        None => {
            let held = old.newest_first();
            let live = match held.as_slice() {
                [] => None,
                [(slot, _)] => Some(*slot),
                // Left by a crash; whichever has its bytes is durable.
                [_, _, ..] => resolve(body, change.view, chunk, &old)?.slot,
            };
            let litter = !held.is_empty();
            Versions { durable: live, syncing: None, live, changed: 0, litter }
        }
    };
    let taken = [versions.durable, versions.syncing, versions.live];
    // Three are taken at most, and there are four.
    let slot = (0..SLOTS).find(|slot| !taken.contains(&Some(*slot))).unwrap_or(0);
    Ok(Staged { chunk, slot, old, versions, packed })
}

/// Writes staged versions of neighbouring chunks, then the records that name them and a header.
fn commit<F: DiskFile>(
    body: &mut Body<F>,
    change: &Change<'_, F>,
    staged: &[Staged<'_>],
    header: Header,
) -> Result<(), StoreError> {
    let pages = |staged: &Staged<'_>| (staged.packed.bytes.len() as u64).next_multiple_of(BLOCK);
    change.admit(staged.iter().map(pages).sum::<u64>() + table_growth(staged.len() as u64 * RECORD))?;
    let new: Vec<Record> = staged.iter().map(|item| named(change, item)).collect();
    let records: Vec<u8> = new.iter().flat_map(Record::encode).collect();
    let Some(first) = staged.first() else { return Ok(()) };
    let (object, at) = (change.view.object, first.chunk * RECORD);
    let before = std::mem::replace(&mut body.header, header);
    let result = match staged {
        // In one piece, the record before the bytes: it stands for zeros as long as they are missing, and so did none.
        [Staged { chunk: 0, slot: 0, old, packed, .. }] if old.is_empty() => {
            body.save_front(object, (at, &records), &packed.bytes)
        }
        _ => save_slots(body, staged).and_then(|()| body.save_table(object, at, &records)),
    };
    if let Err(error) = result {
        body.header = before;
        return Err(half_written(body, change, staged, &new, error));
    }
    for item in staged {
        adopt(body, item);
    }
    Ok(())
}

fn save_slots<F: DiskFile>(body: &Body<F>, staged: &[Staged<'_>]) -> Result<(), StoreError> {
    for item in staged {
        let written = body.file.write_at(slot_at(item.chunk, item.slot), &item.packed.bytes);
        written.map_err(StoreError::disk("writing an object"))?;
    }
    Ok(())
}

/// Returns the record of a chunk when its staged version has become its newest.
fn named<F>(change: &Change<'_, F>, item: &Staged<'_>) -> Record {
    let kept = [item.versions.durable, item.versions.syncing];
    let mut record = item.old.only(|slot| kept.contains(&Some(slot)));
    let mut version = Version {
        sum: 0,
        epoch: change.epoch,
        serial: item.old.next_serial(),
        form: item.packed.form,
        length: u32::try_from(item.packed.bytes.len()).unwrap_or(u32::MAX),
    };
    version.sum = version.sum_of(change.view.object, item.chunk, &item.packed.bytes);
    record.slots[item.slot] = Some(version);
    record
}

/// Notes that a staged version is live.
fn adopt<F>(body: &mut Body<F>, item: &Staged<'_>) {
    let litter = item.versions.litter || item.versions.live.is_some();
    let changed = body.changes + 1;
    body.chunks.insert(item.chunk, Versions { live: Some(item.slot), changed, litter, ..item.versions });
}

/// Notes that slots hold bytes that no record names.
fn litter<F>(body: &mut Body<F>, staged: &[Staged<'_>]) {
    let changed = body.changes + 1;
    for item in staged {
        body.chunks.insert(item.chunk, Versions { changed, litter: true, ..item.versions });
    }
}

/// Finds out which records a failed write of records left new; each is old or new.
fn half_written<F: DiskFile>(
    body: &mut Body<F>,
    change: &Change<'_, F>,
    staged: &[Staged<'_>],
    new: &[Record],
    error: StoreError,
) -> StoreError {
    litter(body, staged);
    let object = change.view.object;
    let undone = body.reload(object).and_then(|()| match staged {
        // Its record may have come before its bytes.
        [item] if item.old.is_empty() => {
            body.clear_table(object, item.chunk * RECORD..(item.chunk + 1) * RECORD)
        }
        _ => Ok(()),
    });
    if undone.is_err() {
        return StoreError::Broken { object };
    }
    for (item, new) in staged.iter().zip(new) {
        match record(body, item.chunk) {
            Ok(found) if found == item.old => {}
            Ok(found) if found == *new => adopt(body, item),
            Ok(_) | Err(_) => return StoreError::Broken { object },
        }
    }
    error
}

/// Returns a chunk as it will be stored when `piece` has been put over its checked old bytes.
fn merge<'d, F: DiskFile>(
    body: &Body<F>,
    change: &Change<'_, F>,
    (chunk, record): (u64, &Record),
    at: usize,
    piece: &'d [u8],
) -> Result<Packed<'d>, StoreError> {
    let visible = body.header.size.saturating_sub(chunk * CHUNK).min(CHUNK);
    if at == 0 && piece.len() as u64 >= visible {
        return Ok(pack_piece(Cow::Borrowed(piece), change.compression, piece.len()));
    }
    let mut bytes = resolve(body, change.view, chunk, record)?.bytes;
    let appended = at >= bytes.len();
    let end = at + piece.len();
    bytes.resize(bytes.len().max(end), 0);
    bytes[at..end].copy_from_slice(piece);
    let appended = if appended { piece.len() } else { CHUNK_BYTES };
    Ok(pack_piece(Cow::Owned(bytes), change.compression, appended))
}

/// Makes a part of one chunk zeros, unless it is.
fn blank<F: DiskFile>(
    body: &mut Body<F>,
    change: &Change<'_, F>,
    range: Range<u64>,
) -> Result<(), StoreError> {
    if range.is_empty() {
        return Ok(());
    }
    let chunk = range.start / CHUNK;
    let (from, to) = (narrow(range.start - chunk * CHUNK), narrow(range.end - chunk * CHUNK));
    let record = record(body, chunk)?;
    let mut bytes = resolve(body, change.view, chunk, &record)?.bytes;
    let to = to.min(bytes.len());
    if from >= to || bytes[from..to].iter().all(|byte| *byte == 0) {
        return Ok(());
    }
    bytes[from..to].fill(0);
    let packed = pack(&bytes, change.compression);
    let staged = stage(body, change, (chunk, record), Cow::Owned(packed))?;
    let header = body.header;
    commit(body, change, &[staged], header)
}

/// Makes chunks holes. Their bytes are punched when that is durable, so that no durable record loses them.
fn drop_chunks<F: DiskFile>(
    body: &mut Body<F>,
    change: &Change<'_, F>,
    chunks: Range<u64>,
) -> Result<Cut, StoreError> {
    let mut dropped = Vec::new();
    let mut chunk = chunks.start;
    while chunk < chunks.end {
        let piece = chunk..chunks.end.min(chunk + PIECE_CHUNKS);
        chunk = piece.end;
        for (chunk, record) in piece.clone().zip(records(body, &piece)?) {
            if !record.is_empty() {
                let empty = Cow::Owned(Packed { form: Form::Raw, bytes: Cow::Borrowed(&[]) });
                dropped.push(stage(body, change, (chunk, record), empty)?);
            }
        }
    }
    if chunks.is_empty() || dropped.is_empty() {
        return Ok(Cut::Nothing);
    }
    let object = change.view.object;
    body.clear_table(object, chunks.start * RECORD..chunks.end * RECORD)
        .map_err(|_| StoreError::Broken { object })?;
    let changed = body.changes + 1;
    for item in &dropped {
        let versions = Versions { live: None, changed, litter: true, ..item.versions };
        body.chunks.insert(item.chunk, versions);
    }
    if dropped.len() > DROPPED_MAX {
        body.file.sync().map_err(|cause| StoreError::Stopped { cause: cause.into() })?;
        for item in &dropped {
            sweep(body, object, item.chunk, None)?;
            body.chunks.remove(&item.chunk);
        }
    }
    Ok(Cut::Bytes)
}

/// Finds the newest version of a chunk that has its bytes.
fn resolve<F: DiskFile>(
    body: &Body<F>,
    view: View<'_>,
    chunk: u64,
    record: &Record,
) -> Result<Content, StoreError> {
    let mut inexact = false;
    for (slot, version) in record.newest_first() {
        let exact = !view.crashed.contains(version.epoch);
        inexact |= !exact;
        if let Some(bytes) = unpack(body, view, (chunk, slot), version)? {
            return Ok(Content { bytes, slot: Some(slot), inexact });
        }
        if exact {
            return Err(StoreError::Damaged { object: view.object, offset: chunk * CHUNK });
        }
    }
    Ok(Content { bytes: Vec::new(), slot: None, inexact })
}

/// Reads a version; none when its bytes do not match its sum.
fn unpack<F: DiskFile>(
    body: &Body<F>,
    view: View<'_>,
    (chunk, slot): (u64, usize),
    version: Version,
) -> Result<Option<Vec<u8>>, StoreError> {
    if u64::from(version.length) > CHUNK {
        return Ok(None);
    }
    let length = narrow(version.length.into());
    let mut stored = Vec::with_capacity(length);
    body.file
        .read_at(slot_at(chunk, slot), length, &mut stored)
        .map_err(StoreError::disk("reading an object"))?;
    if version.sum_of(view.object, chunk, &stored) != version.sum {
        return Ok(None);
    }
    Ok(match version.form {
        Form::Raw => Some(stored),
        Form::Lz4 => lz4_flex::block::decompress(&stored, CHUNK_BYTES).ok(),
    })
}

fn record<F: DiskFile>(body: &Body<F>, chunk: u64) -> Result<Record, StoreError> {
    Ok(records(body, &(chunk..chunk + 1))?.first().copied().unwrap_or_default())
}

fn records<F: DiskFile>(body: &Body<F>, chunks: &Range<u64>) -> Result<Vec<Record>, StoreError> {
    let bytes = body.table(chunks.start * RECORD..chunks.end * RECORD)?;
    Ok(bytes.chunks_exact(RECORD_BYTES).map(Record::decode).collect())
}
