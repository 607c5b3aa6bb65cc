//! Bytes that were fetched before a sequential reader asked for them.
//!
//! How far to read is `window`'s; whether the bytes still count is the lease's, through its data generation.
//! Invariant: bytes that were asked for under one generation are never given out under another.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, MutexGuard, OnceLock, PoisonError};

use bytes::{Bytes, BytesMut};
use lustre_model::fault::Fault;
use tokio::sync::Notify;

use crate::client::Core;
use crate::extent::usize_of;
use crate::file::OpenFile;
use crate::inode::{Readable, View};
use crate::window::{UNIT, Window};

/// What was fetched for one reader.
#[derive(Debug, Default)]
pub(crate) struct Readahead {
    window: Window,
    generation: u64,
    segments: VecDeque<Arc<Segment>>,
}

/// Bytes on their way or here.
#[derive(Debug)]
struct Segment {
    range: Range<u64>,
    bytes: OnceLock<Result<Bytes, Fault>>,
    arrived: Notify,
}

/// The segments that a read is made of: each holds the byte behind the end of the one before.
#[derive(Debug)]
pub(crate) struct Ahead(Vec<Arc<Segment>>);

impl OpenFile {
    pub(crate) fn ahead(&self) -> MutexGuard<'_, Readahead> {
        self.ahead.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Readahead {
    /// The bytes of a range, if all are here and nothing needs to be fetched behind them.
    pub(crate) fn take(&mut self, range: Range<u64>, generation: u64) -> Option<Bytes> {
        if self.generation != generation {
            return None;
        }
        let segment = self.segments.iter().find(|segment| covers(&segment.range, &range))?;
        let bytes = segment.bytes.get()?.as_ref().ok()?;
        // The last reader of a segment goes the long way round, which fetches more.
        if range.end == segment.range.end {
            return None;
        }
        let from = usize_of(range.start - segment.range.start);
        Some(bytes.slice(from..from + usize_of(range.end - range.start)))
    }

    /// Notes a read, begins to fetch what comes next, and returns the segments of the read if they cover it.
    pub(crate) fn plan(
        &mut self,
        core: &Arc<Core>,
        range: Range<u64>,
        (readable, generation): (&Readable, u64),
    ) -> Option<Ahead> {
        if self.generation != generation {
            self.generation = generation;
            self.segments.clear();
            self.window.reset();
        }
        let behind = range.start.saturating_sub(2 * UNIT);
        self.segments.retain(|segment| segment.range.end > behind && !segment.has_failed());
        if let Some(fetch) = self.window.advance(range.clone(), readable.size) {
            for part in units(fetch) {
                let segment =
                    Arc::new(Segment { range: part, bytes: OnceLock::new(), arrived: Notify::new() });
                core.runtime.spawn(fetch_into(
                    Arc::clone(core),
                    Arc::clone(&readable.view),
                    Arc::clone(&segment),
                ));
                self.segments.push_back(segment);
            }
        }
        let mut parts = Vec::new();
        let mut at = range.start;
        while at < range.end {
            let segment = self.segments.iter().find(|segment| segment.range.contains(&at))?;
            at = segment.range.end;
            parts.push(Arc::clone(segment));
        }
        Some(Ahead(parts))
    }
}

impl Ahead {
    /// Waits for the bytes of a range that the segments cover.
    pub(crate) async fn gather(self, range: Range<u64>) -> Result<Bytes, Fault> {
        if let [segment] = self.0.as_slice() {
            return segment.part(&range).await;
        }
        let mut joined = BytesMut::with_capacity(usize_of(range.end - range.start));
        // Segments overlap where a reader went back and on again: each gives what those before it did not.
        let mut at = range.start;
        for segment in &self.0 {
            let part = at..range.end.min(segment.range.end);
            at = part.end;
            joined.extend_from_slice(&segment.part(&part).await?);
        }
        Ok(joined.freeze())
    }
}

impl Segment {
    async fn part(&self, range: &Range<u64>) -> Result<Bytes, Fault> {
        loop {
            let arrived = self.arrived.notified();
            if let Some(bytes) = self.bytes.get() {
                let from = usize_of(range.start - self.range.start);
                let until = usize_of(range.end - self.range.start);
                return bytes.clone().map(|bytes| bytes.slice(from..until));
            }
            arrived.await;
        }
    }

    fn has_failed(&self) -> bool {
        matches!(self.bytes.get(), Some(Err(_)))
    }
}

async fn fetch_into(core: Arc<Core>, view: Arc<View>, segment: Arc<Segment>) {
    let bytes = core.targets.read(&view.layout, segment.range.clone()).await;
    // Only this task sets it.
    drop(segment.bytes.set(bytes));
    segment.arrived.notify_waiters();
}

fn covers(outer: &Range<u64>, inner: &Range<u64>) -> bool {
    outer.start <= inner.start && inner.end <= outer.end
}

/// Cuts a range at multiples of [`UNIT`], so that each part is one request where stripes are not smaller.
fn units(range: Range<u64>) -> impl Iterator<Item = Range<u64>> {
    let mut start = range.start;
    std::iter::from_fn(move || {
        let part = start..((start / UNIT + 1) * UNIT).min(range.end);
        start = part.end;
        (!part.is_empty()).then_some(part)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn segment(range: Range<u64>) -> Arc<Segment> {
        let bytes: Vec<u8> = range.clone().map(|at| u8::try_from(at).expect("small")).collect();
        let segment = Segment { range, bytes: OnceLock::new(), arrived: Notify::new() };
        segment.bytes.set(Ok(Bytes::from(bytes))).expect("it is new");
        Arc::new(segment)
    }

    proptest! {
        #[test]
        fn segments_that_overlap_give_each_byte_once(
            start in 0_u64..40, lengths in prop::collection::vec((0_u64..20, 1_u64..30), 1..6), cut in 0_u64..9,
        ) {
            // Each begins at or before the end of the one before, and ends behind it.
            let mut end = start;
            let mut segments = Vec::new();
            for (back, on) in lengths {
                segments.push(segment(end.saturating_sub(back)..end + on));
                end += on;
            }
            let range = start..end.saturating_sub(cut).max(start + 1);
            segments.retain(|segment| segment.range.start < range.end);
            let gathered = futures::executor::block_on(Ahead(segments).gather(range.clone()));
            let expected: Vec<u8> = range.map(|at| u8::try_from(at).expect("small")).collect();
            prop_assert_eq!(gathered.expect("all are here"), expected);
        }
    }
}
