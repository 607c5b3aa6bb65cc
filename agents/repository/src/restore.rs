//! Hydration: brings ranges of an object into a file's objects.
//!
//! Pieces come in parallel, each only from the version that was imported, and are reported when they are durable, so that a
//! reader of the first piece does not wait for the last.
//! Invariant: no byte of another version is ever written.

use std::ops::Range;

use futures::stream::{self, StreamExt};
use lustre_model::hsm::{HsmOutcome, HsmProgress};
use lustre_model::layout::Layout;
use lustre_model::metadata::ByteRange;
use lustre_s3::ObjectStorage;

use crate::failure::ActionError;
use crate::file_system::FileSystem;
use crate::transfers::Transfers;

/// Bytes of a piece.
const PIECE_BYTES: u64 = 8 << 20;

/// Pieces of one action under way at a time.
const PIECES_PARALLEL: usize = 8;

/// Bytes that are written before they are synced and reported.
const REPORT_BYTES: u64 = 16 << 20;

/// What is to be restored.
#[derive(Debug)]
pub(crate) struct Restore<'a> {
    pub cookie: u64,
    pub key: &'a str,
    pub etag: &'a str,
    pub size: u64,
    pub layout: &'a Layout,
    pub ranges: &'a [ByteRange],
}

/// Restores all ranges.
pub(crate) async fn restore(
    file_system: &impl FileSystem,
    storage: &impl ObjectStorage,
    transfers: &Transfers,
    work: &Restore<'_>,
) -> Result<HsmOutcome, ActionError> {
    let all: Vec<Range<u64>> = work.ranges.iter().flat_map(|range| pieces(*range, work.size)).collect();
    let mut left = all.len();
    let mut moving = stream::iter(all)
        .map(|piece| bring(file_system, storage, transfers, work, piece))
        .buffer_unordered(PIECES_PARALLEL);
    let (mut written, mut bytes) = (Vec::new(), 0);
    while let Some(piece) = moving.next().await {
        let piece = piece?;
        left -= 1;
        bytes += piece.end - piece.start;
        written.push(piece);
        if bytes >= REPORT_BYTES && left > 0 {
            file_system.sync(work.layout).await?;
            let present = std::mem::take(&mut written);
            file_system.progress(HsmProgress { cookie: work.cookie, present }).await?;
            bytes = 0;
        }
    }
    if !written.is_empty() {
        file_system.sync(work.layout).await?;
    }
    Ok(HsmOutcome::Done)
}

/// Fetches one piece and writes it.
async fn bring(
    file_system: &impl FileSystem,
    storage: &impl ObjectStorage,
    transfers: &Transfers,
    work: &Restore<'_>,
    piece: Range<u64>,
) -> Result<ByteRange, ActionError> {
    let _room = transfers.room(piece.end - piece.start).await;
    let fetched = storage.get(work.key, piece.clone(), Some(work.etag)).await?;
    if fetched.etag != work.etag {
        let (key, expected, found) = (work.key.to_owned(), work.etag.to_owned(), fetched.etag);
        return Err(ActionError::Changed { key, expected, found });
    }
    if fetched.bytes.len() as u64 != piece.end - piece.start {
        return Err(ActionError::Short { key: work.key.to_owned() });
    }
    file_system.write(work.layout, piece.start, &fetched.bytes).await?;
    Ok(ByteRange { start: piece.start, end: piece.end })
}

/// Cuts a range into pieces that begin at multiples of [`PIECE_BYTES`] but for the first; nothing lies behind `size`.
fn pieces(range: ByteRange, size: u64) -> impl Iterator<Item = Range<u64>> {
    let end = range.end.min(size);
    let next = |start: u64| (start / PIECE_BYTES + 1).saturating_mul(PIECE_BYTES);
    std::iter::successors(Some(range.start), move |start| Some(next(*start)))
        .take_while(move |start| *start < end)
        .map(move |start| start..next(start).min(end))
}
