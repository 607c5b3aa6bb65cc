//! Sets of byte ranges, kept sorted, apart and merged.
//!
//! Invariant: no two ranges of a set touch, and none is empty.

use lustre_model::metadata::ByteRange;

/// Adds a range to a set.
pub(crate) fn insert(set: &mut Vec<ByteRange>, range: ByteRange) {
    if range.start >= range.end {
        return;
    }
    let first = set.partition_point(|other| other.end < range.start);
    let last = set.partition_point(|other| other.start <= range.end);
    let touched = set.get(first..last).unwrap_or_default();
    let start = touched.first().map_or(range.start, |other| other.start.min(range.start));
    let end = touched.last().map_or(range.end, |other| other.end.max(range.end));
    set.splice(first..last, [ByteRange { start, end }]);
}

/// Returns the parts of `range` that the set lacks.
pub(crate) fn missing(set: &[ByteRange], range: ByteRange) -> Vec<ByteRange> {
    let mut gaps = Vec::new();
    let mut at = range.start;
    for other in set.iter().filter(|other| other.end > range.start && other.start < range.end) {
        if other.start > at {
            gaps.push(ByteRange { start: at, end: other.start });
        }
        at = at.max(other.end);
    }
    if at < range.end {
        gaps.push(ByteRange { start: at, end: range.end });
    }
    gaps
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_set_holds_exactly_the_bytes_that_were_put_in(
            parts in proptest::collection::vec((0_u64..64, 0_u64..16), 0..12), asked in (0_u64..64, 0_u64..32),
        ) {
            let mut set = Vec::new();
            let mut bytes = [false; 128];
            for (start, length) in parts {
                insert(&mut set, ByteRange { start, end: start + length });
                bytes[start as usize..(start + length) as usize].fill(true);
            }
            prop_assert!(set.windows(2).all(|pair| pair[0].end < pair[1].start));
            let held = |at: u64| set.iter().any(|range| range.start <= at && at < range.end);
            prop_assert!((0..128).all(|at| held(at) == bytes[at as usize]));
            let range = ByteRange { start: asked.0, end: asked.0 + asked.1 };
            let gaps = missing(&set, range);
            let absent = |at: u64| gaps.iter().any(|range| range.start <= at && at < range.end);
            prop_assert!((0..128).all(|at| absent(at) == (!held(at) && range.start <= at && at < range.end)));
        }
    }
}
