//! How far to read ahead of a sequential reader.
//!
//! Arithmetic only; buffers are the business of [`crate::readahead`].
//! Invariant: what is asked for ahead never lies behind what was asked for before, nor past the end of the file.

use std::ops::Range;

/// Smallest window, and the unit in which bytes are fetched ahead.
pub(crate) const UNIT: u64 = 1 << 20;

/// Largest window.
pub(crate) const WINDOW_MAX: u64 = 16 << 20;

/// Reads of less than this at the beginning of a file fetch so much at once: small files come in one request.
pub(crate) const SMALL: u64 = 128 << 10;

/// What a reader did and what was fetched for it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Window {
    /// Where the next read of a sequential reader begins.
    next: u64,
    /// How much is kept ahead; 0 while the reader jumps about.
    ahead: u64,
    /// First byte that was not asked for.
    fetched: u64,
}

impl Window {
    /// Notes a read and returns what to fetch now, beginning at or before the end of the read.
    pub(crate) fn advance(&mut self, read: Range<u64>, file_size: u64) -> Option<Range<u64>> {
        if !self.is_sequential(&read) {
            *self = Self { next: read.end, ahead: 0, fetched: read.end };
            return None;
        }
        let first = self.ahead == 0;
        self.ahead = if first { first_window(&read) } else { (self.ahead * 2).clamp(SMALL, WINDOW_MAX) };
        self.next = self.next.max(read.end);
        let start = self.fetched.max(read.start);
        let wanted = self.next + self.ahead;
        if !first && start >= self.next && start - self.next > self.ahead / 2 {
            return None;
        }
        let end = if wanted > UNIT { wanted.next_multiple_of(UNIT) } else { wanted }.min(file_size);
        self.fetched = self.fetched.max(end);
        (start < end).then_some(start..end)
    }

    /// Forgets what was fetched, for it is not valid any more; goes on from the next read.
    pub(crate) fn reset(&mut self) {
        self.fetched = self.next;
    }

    /// Reads of one process may overtake each other on their way.
    fn is_sequential(&self, read: &Range<u64>) -> bool {
        let behind = self.next.saturating_sub(self.ahead.min(2 * UNIT));
        (behind..=self.next.max(self.fetched)).contains(&read.start)
    }
}

fn first_window(read: &Range<u64>) -> u64 {
    let length = read.end - read.start;
    if length < SMALL { SMALL - length } else { UNIT }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn nothing_is_fetched_twice_or_past_the_end(
            size in 1_u64..80 << 20, lengths in prop::collection::vec(1_u64..3 << 20, 1..60),
        ) {
            let mut window = Window::default();
            let (mut at, mut fetched) = (0, 0);
            for length in lengths {
                let read = at..(at + length).min(size);
                if read.is_empty() {
                    break;
                }
                if let Some(fetch) = window.advance(read.clone(), size) {
                    prop_assert!(fetch.start >= fetched, "{fetch:?} again, {fetched} was there");
                    prop_assert!(fetch.start >= read.start && fetch.end <= size && !fetch.is_empty());
                    fetched = fetch.end;
                }
                prop_assert!(fetched <= read.end + 2 * WINDOW_MAX + UNIT);
                at = read.end;
            }
        }

        #[test]
        fn a_steady_reader_finds_its_bytes_fetched(size in 8_u64 << 20..60 << 20, length in 30_000_u64..2 << 20) {
            let mut window = Window::default();
            let (mut at, mut fetched, mut missed) = (0, 0, 0);
            while at < size {
                let read = at..(at + length).min(size);
                if let Some(fetch) = window.advance(read.clone(), size) {
                    fetched = fetch.end;
                }
                if fetched < read.end {
                    missed += 1;
                }
                at = read.end;
            }
            prop_assert_eq!(missed, 0);
        }
    }

    #[test]
    fn a_reader_that_jumps_is_left_alone() {
        let mut window = Window::default();
        for at in [90 << 20, 5 << 20, 40 << 20, 7 << 20] {
            assert_eq!(window.advance(at..at + 4096, 100 << 20), None);
        }
    }

    #[test]
    fn the_window_grows_to_its_limit() {
        let mut window = Window::default();
        let ends: Vec<u64> = (0..64)
            .filter_map(|i| window.advance(i * UNIT..(i + 1) * UNIT, 1 << 30))
            .map(|f| f.end)
            .collect();
        assert_eq!(ends.first(), Some(&(2 * UNIT)));
        assert!(ends.windows(2).any(|pair| pair[1] - pair[0] >= WINDOW_MAX / 2), "{ends:?}");
    }
}
