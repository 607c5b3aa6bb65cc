//! Turns pieces of a file into few requests: neighbours in one object become one extent.
//!
//! Pure arithmetic over [`Layout::pieces`]; it moves no bytes but between buffers that it is given.
//! Invariant: the parts of all extents are the pieces they were made of, and no extent is longer than was allowed.

use std::ops::Range;

use bytes::{Bytes, BytesMut};
use lustre_model::layout::{Layout, NotInstantiated, Stripe, StripePiece};

/// A run of bytes of one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Extent {
    /// Where it is stored.
    pub(crate) stripe: Stripe,
    /// First byte in the object.
    pub(crate) object_offset: u64,
    /// Bytes.
    pub(crate) length: u64,
    /// Which stretches of the file it is made of, in the object's order.
    pub(crate) parts: Vec<Part>,
}

/// A stretch of the file within an extent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Part {
    /// First byte in the file.
    pub(crate) file_offset: u64,
    /// First byte in the extent.
    pub(crate) within: u64,
    /// Bytes.
    pub(crate) length: u64,
}

/// Joins pieces that are neighbours in their object, up to `length_max` bytes in one extent.
pub(crate) fn extents(pieces: &[StripePiece], length_max: u64) -> Vec<Extent> {
    let mut extents: Vec<Extent> = Vec::new();
    for piece in pieces.iter().flat_map(|piece| split(*piece, length_max)) {
        let open = extents.iter_mut().rev().find(|extent| extent.stripe == piece.stripe);
        match open {
            Some(extent) if extent.takes(&piece, length_max) => extent.append(&piece),
            Some(_) | None => extents.push(Extent::of(&piece)),
        }
    }
    extents
}

/// The pieces of a range that have objects; what lies between them was never written and reads as zeros.
pub(crate) fn stored_pieces(layout: &Layout, range: Range<u64>) -> Vec<StripePiece> {
    let mut pieces = Vec::new();
    let mut offset = range.start;
    while offset < range.end {
        match layout.pieces(offset..range.end) {
            Ok(rest) => {
                pieces.extend(rest);
                break;
            }
            Err(NotInstantiated { offset: hole }) => {
                pieces.extend(layout.pieces(offset..hole).unwrap_or_default());
                let hole_end =
                    layout.component_at(hole).map_or(range.end, |component| component.template.end);
                offset = hole_end.max(hole + 1);
            }
        }
    }
    pieces
}

/// Takes the bytes of an extent out of `data`, which begins at byte `base` of the file.
pub(crate) fn gather(extent: &Extent, data: &Bytes, base: u64) -> Bytes {
    let slice = |part: &Part| data.slice(span(part.file_offset - base, part.length));
    if let [part] = extent.parts.as_slice() {
        return slice(part);
    }
    let mut joined = BytesMut::with_capacity(usize_of(extent.length));
    for part in &extent.parts {
        joined.extend_from_slice(&slice(part));
    }
    joined.freeze()
}

/// Puts what was read of an extent where it belongs in `target`, which begins at byte `base` of the file.
///
/// What the object did not have stays as it is in `target`.
pub(crate) fn scatter(extent: &Extent, stored: &[u8], target: &mut [u8], base: u64) {
    for part in &extent.parts {
        let from = usize_of(part.within).min(stored.len());
        let until = usize_of(part.within + part.length).min(stored.len());
        let at = usize_of(part.file_offset - base);
        target[at..at + (until - from)].copy_from_slice(&stored[from..until]);
    }
}

/// Lengths here are at most those of buffers in memory.
pub(crate) fn usize_of(length: u64) -> usize {
    usize::try_from(length).unwrap_or(usize::MAX)
}

fn span(start: u64, length: u64) -> Range<usize> {
    usize_of(start)..usize_of(start + length)
}

fn split(piece: StripePiece, length_max: u64) -> impl Iterator<Item = StripePiece> {
    (0..piece.length.div_ceil(length_max)).map(move |index| {
        let skip = index * length_max;
        StripePiece {
            object_offset: piece.object_offset + skip,
            file_offset: piece.file_offset + skip,
            length: length_max.min(piece.length - skip),
            ..piece
        }
    })
}

impl Extent {
    fn of(piece: &StripePiece) -> Self {
        let part = Part { file_offset: piece.file_offset, within: 0, length: piece.length };
        Self {
            stripe: piece.stripe,
            object_offset: piece.object_offset,
            length: piece.length,
            parts: vec![part],
        }
    }

    fn takes(&self, piece: &StripePiece, length_max: u64) -> bool {
        self.object_offset + self.length == piece.object_offset && self.length + piece.length <= length_max
    }

    fn append(&mut self, piece: &StripePiece) {
        let part = Part { file_offset: piece.file_offset, within: self.length, length: piece.length };
        self.length += piece.length;
        match self.parts.last_mut() {
            Some(last) if last.file_offset + last.length == part.file_offset => last.length += part.length,
            Some(_) | None => self.parts.push(part),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    use lustre_model::fid::Fid;
    use lustre_model::layout::{
        Component, ComponentTemplate, END_OF_FILE, ObjectId, OstIndex, STRIPE_SIZE_MIN, StripeCount,
    };
    use proptest::prelude::*;

    fn component(start: u64, end: u64, stripe_size: u32, count: u16, first: u32) -> Component {
        let stripes = (0..count).map(|index| Stripe {
            target: OstIndex(index),
            object: ObjectId { fid: Fid::ROOT, ordinal: first + u32::from(index) },
        });
        let template = ComponentTemplate {
            end,
            stripe_size,
            stripe_count: StripeCount::Exact(count.max(1)),
            pool: None,
        };
        Component { start, template, stripes: stripes.collect() }
    }

    /// Two components with a hole of an uninstantiated one between them, when `hole` is set.
    fn layout(counts: (u16, u16), units: (u32, u32), hole: bool) -> Layout {
        let (first, second) = (STRIPE_SIZE_MIN * units.0, STRIPE_SIZE_MIN * units.1);
        let edge = u64::from(first) * 3;
        let middle = edge + u64::from(STRIPE_SIZE_MIN);
        let mut components = vec![component(0, edge, first, counts.0, 0)];
        let start = if hole { middle } else { edge };
        if hole {
            components.push(component(edge, middle, STRIPE_SIZE_MIN, 0, 50));
        }
        components.push(component(start, END_OF_FILE, second, counts.1, 100));
        Layout { generation: 1, components }
    }

    fn bytes_of(range: Range<u64>) -> Bytes {
        range.map(|at| u8::try_from(at * 31 % 251).unwrap_or(0)).collect::<Vec<u8>>().into()
    }

    type Objects = BTreeMap<u32, Vec<u8>>;

    fn store(objects: &mut Objects, extent: &Extent, data: &[u8]) {
        let object = objects.entry(extent.stripe.object.ordinal).or_default();
        let (start, end) = (usize_of(extent.object_offset), usize_of(extent.object_offset) + data.len());
        if object.len() < end {
            object.resize(end, 0);
        }
        object[start..end].copy_from_slice(data);
    }

    fn load(objects: &Objects, extent: &Extent) -> Vec<u8> {
        let object = objects.get(&extent.stripe.object.ordinal).cloned().unwrap_or_default();
        let start = usize_of(extent.object_offset).min(object.len());
        let end = usize_of(extent.object_offset + extent.length).min(object.len());
        object[start..end].to_vec()
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
        #[test]
        fn what_was_written_through_extents_reads_back_in_any_other_cut(
            counts in (1_u16..5, 1_u16..5), units in (1_u32..4, 1_u32..4),
            write in (0_u64..700_000, 1_u64..700_000), read in (0_u64..900_000, 1_u64..700_000),
            max in 1_000_u64..600_000, other_max in 1_000_u64..600_000,
        ) {
            let layout = layout(counts, units, false);
            let written = write.0..write.0 + write.1;
            let data = bytes_of(written.clone());
            let mut objects = Objects::new();
            for extent in extents(&layout.pieces(written.clone()).expect("instantiated"), max) {
                prop_assert!(extent.length <= max);
                store(&mut objects, &extent, &gather(&extent, &data, written.start));
            }
            let wanted = read.0..read.0 + read.1;
            let mut buffer = vec![0; usize_of(read.1)];
            for extent in extents(&stored_pieces(&layout, wanted.clone()), other_max) {
                scatter(&extent, &load(&objects, &extent), &mut buffer, wanted.start);
            }
            for (index, byte) in buffer.iter().enumerate() {
                let at = wanted.start + index as u64;
                let expected = if written.contains(&at) { data[usize_of(at - written.start)] } else { 0 };
                prop_assert_eq!(*byte, expected, "byte {}", at);
            }
        }

        #[test]
        fn what_has_no_objects_is_left_out_and_nothing_else(
            units in (1_u32..4, 1_u32..4), start in 0_u64..900_000, length in 1_u64..700_000,
        ) {
            let layout = layout((2, 3), units, true);
            let edge = u64::from(STRIPE_SIZE_MIN * units.0) * 3;
            let hole = edge..edge + u64::from(STRIPE_SIZE_MIN);
            let range = start..start + length;
            let stored: u64 = stored_pieces(&layout, range.clone()).iter().map(|piece| piece.length).sum();
            let absent = range.end.min(hole.end).saturating_sub(range.start.max(hole.start));
            prop_assert_eq!(stored + absent, length);
        }
    }

    #[test]
    fn a_long_sequential_read_becomes_one_request_per_object() {
        let layout = layout((1, 4), (1, 16), false);
        let start = 16 << 20;
        let extents = extents(&layout.pieces(start..start + (8 << 20)).expect("instantiated"), 4 << 20);
        assert_eq!(extents.len(), 4, "{extents:?}");
        assert!(extents.iter().all(|extent| extent.length == 2 << 20));
    }
}
