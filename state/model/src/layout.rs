//! Layouts: how the bytes of a file are cut into objects on object targets.
//!
//! The model is Lustre's: a layout is an ordered list of components (PFL); each component is RAID-0 over its stripes
//! (`storage.md` §1.1). Pure arithmetic; it knows nothing of the wire or of disks.
//! Invariant: components are contiguous from 0, the last one ends at [`END_OF_FILE`] or the file cannot grow past it,
//! and a component that has objects has exactly as many as its stripe count.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::fid::Fid;

/// The end of a component that has no end (`-E -1`).
pub const END_OF_FILE: u64 = u64::MAX;

/// Default stripe size, as Lustre's: 1 MiB.
pub const STRIPE_SIZE_DEFAULT: u32 = 1 << 20;

/// Smallest stripe size, and the unit that every stripe size is a multiple of: 64 KiB.
pub const STRIPE_SIZE_MIN: u32 = 64 << 10;

/// How many targets a component is striped over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum StripeCount {
    /// That many, or all there are when there are fewer.
    Exact(u16),
    /// All targets (`-c -1`).
    All,
}

/// An index of an object target, `3` of `scratch-OST0003`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct OstIndex(pub u16);

/// Names one object for ever: the file it belongs to and its ordinal among all objects that file ever had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ObjectId {
    /// The file.
    pub fid: Fid,
    /// Counts up within the file; never reused, also not after a migration.
    pub ordinal: u32,
}

/// One stripe of an instantiated component.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Stripe {
    /// The target that holds it.
    pub target: OstIndex,
    /// The object there.
    pub object: ObjectId,
}

/// What a directory default or `setstripe` asks for, before targets are chosen.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ComponentTemplate {
    /// First byte behind the component, or [`END_OF_FILE`].
    pub end: u64,
    /// Bytes in a stripe unit: a multiple of [`STRIPE_SIZE_MIN`].
    pub stripe_size: u32,
    /// How many targets.
    pub stripe_count: StripeCount,
    /// Only targets of this pool.
    pub pool: Option<String>,
}

/// A layout that names no targets yet: a default of a directory or of the file system.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct LayoutTemplate {
    /// Components in file order.
    pub components: Vec<ComponentTemplate>,
}

/// One component of a file.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Component {
    /// Where it begins, in bytes of the file.
    pub start: u64,
    /// What was asked for.
    pub template: ComponentTemplate,
    /// The objects, in stripe order; empty until the component is first written.
    pub stripes: Vec<Stripe>,
}

/// The layout of one file.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Layout {
    /// Grows with every change of the layout.
    pub generation: u32,
    /// Components in file order.
    pub components: Vec<Component>,
}

/// A piece of a byte range that lies in one object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StripePiece {
    /// Where it is stored.
    pub stripe: Stripe,
    /// First byte in the object.
    pub object_offset: u64,
    /// First byte in the file.
    pub file_offset: u64,
    /// Bytes, never 0.
    pub length: u64,
}

/// Part of a range has no objects yet; the metadata target must instantiate the component first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("bytes from {offset} on have no objects yet")]
pub struct NotInstantiated {
    /// First byte of the file without an object.
    pub offset: u64,
}

impl Component {
    /// Returns where the stripe `index` of this component keeps byte `file_offset` of the file.
    ///
    /// Objects are addressed from the start of the file as in Lustre, so that a component's objects keep holes at
    /// their beginning rather than a second set of offsets.
    fn object_offset(&self, file_offset: u64) -> u64 {
        let size = u64::from(self.template.stripe_size);
        let count = self.stripes.len().max(1) as u64;
        let unit = file_offset / size;
        unit / count * size + file_offset % size
    }

    fn stripe_of(&self, file_offset: u64) -> Option<Stripe> {
        let unit = file_offset / u64::from(self.template.stripe_size);
        let count = self.stripes.len() as u64;
        (count > 0).then(|| self.stripes[usize::try_from(unit % count).unwrap_or(0)])
    }
}

impl Layout {
    /// Splits a byte range of a file into the pieces that each stripe holds, in file order.
    ///
    /// `range` is in bytes of the file. Pieces never cross a stripe unit, and their lengths add up to the range's.
    /// The arithmetic is Lustre's RAID-0: stripe `i` of `n` holds the units whose index is congruent to `i` modulo
    /// `n`. Fails at the first byte that no instantiated component covers.
    pub fn pieces(&self, range: Range<u64>) -> Result<Vec<StripePiece>, NotInstantiated> {
        let mut pieces = Vec::new();
        let mut offset = range.start;
        while offset < range.end {
            let missing = NotInstantiated { offset };
            let component = self.component_at(offset).ok_or(missing)?;
            let stripe = component.stripe_of(offset).ok_or(missing)?;
            let size = u64::from(component.template.stripe_size);
            let unit_end = (offset / size + 1).saturating_mul(size);
            let end = range.end.min(unit_end).min(component.template.end);
            pieces.push(StripePiece {
                stripe,
                object_offset: component.object_offset(offset),
                file_offset: offset,
                length: end - offset,
            });
            offset = end;
        }
        Ok(pieces)
    }

    /// Returns the component that covers a byte of the file, if any does.
    pub fn component_at(&self, offset: u64) -> Option<&Component> {
        self.components.iter().find(|c| c.start <= offset && offset < c.template.end)
    }

    /// Iterates over every object the layout has, in file order.
    pub fn stripes(&self) -> impl Iterator<Item = Stripe> + '_ {
        self.components.iter().flat_map(|component| component.stripes.iter().copied())
    }

    /// Returns the size of the file whose objects have these sizes: the end of the byte that lies furthest back.
    ///
    /// `size_of` gives the size of an object in bytes; an object that was never written has size 0.
    pub fn file_size(&self, mut size_of: impl FnMut(Stripe) -> u64) -> u64 {
        let mut end = 0;
        for component in &self.components {
            for (index, stripe) in component.stripes.iter().enumerate() {
                let object_size = size_of(*stripe);
                if object_size > 0 {
                    let last = file_offset(component, index as u64, object_size - 1);
                    end = end.max(last.saturating_add(1));
                }
            }
        }
        end
    }

    /// Returns, for each object, how long it must be when the file has `size` bytes, for truncation.
    pub fn object_sizes(&self, size: u64) -> Vec<(Stripe, u64)> {
        let mut sizes = Vec::new();
        for component in &self.components {
            let visible = size.min(component.template.end);
            for (index, stripe) in component.stripes.iter().enumerate() {
                sizes.push((*stripe, object_size(component, index as u64, visible)));
            }
        }
        sizes
    }
}

/// Inverse of [`Component::object_offset`] for stripe `index`.
fn file_offset(component: &Component, index: u64, object_offset: u64) -> u64 {
    let size = u64::from(component.template.stripe_size);
    let count = component.stripes.len() as u64;
    (object_offset / size * count + index) * size + object_offset % size
}

/// How many bytes of an object lie below byte `end` of the file.
fn object_size(component: &Component, index: u64, end: u64) -> u64 {
    let size = u64::from(component.template.stripe_size);
    let count = component.stripes.len() as u64;
    let (full_units, rest) = (end / size, end % size);
    let (rows, column) = (full_units / count, full_units % count);
    let extra = match index.cmp(&column) {
        std::cmp::Ordering::Less => size,
        std::cmp::Ordering::Equal => rest,
        std::cmp::Ordering::Greater => 0,
    };
    rows * size + extra
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn layout(parts: &[(u64, u16)]) -> Layout {
        let mut start = 0;
        let mut ordinal = 0;
        let mut components = Vec::new();
        for &(end, count) in parts {
            let stripes = (0..count).map(|i| {
                ordinal += 1;
                Stripe { target: OstIndex(i), object: ObjectId { fid: Fid::ROOT, ordinal } }
            });
            let stripes = stripes.collect();
            let stripe_count = StripeCount::Exact(count.max(1));
            let template = ComponentTemplate { end, stripe_size: STRIPE_SIZE_MIN, stripe_count, pool: None };
            components.push(Component { start, template, stripes });
            start = end;
        }
        Layout { generation: 1, components }
    }

    proptest! {
        #[test]
        fn pieces_cover_the_range_and_never_overlap_in_an_object(
            first in 1_u64..8, counts in (1_u16..5, 1_u16..5), start in 0_u64..2_000_000, length in 0_u64..2_000_000,
        ) {
            let layout = layout(&[(first * u64::from(STRIPE_SIZE_MIN), counts.0), (END_OF_FILE, counts.1)]);
            let pieces = layout.pieces(start..start + length).expect("instantiated");
            let mut at = start;
            let mut used: Vec<(Stripe, Range<u64>)> = Vec::new();
            for piece in pieces {
                prop_assert_eq!(piece.file_offset, at);
                prop_assert!(piece.length > 0);
                at += piece.length;
                let range = piece.object_offset..piece.object_offset + piece.length;
                for (stripe, other) in &used {
                    let overlap = range.start < other.end && other.start < range.end;
                    prop_assert!(*stripe != piece.stripe || !overlap);
                }
                used.push((piece.stripe, range));
            }
            prop_assert_eq!(at, start + length);
        }

        #[test]
        fn file_size_follows_from_object_sizes(
            first in 1_u64..8, counts in (1_u16..5, 1_u16..5), size in 1_u64..3_000_000,
        ) {
            let layout = layout(&[(first * u64::from(STRIPE_SIZE_MIN), counts.0), (END_OF_FILE, counts.1)]);
            let mut written = std::collections::BTreeMap::new();
            for piece in layout.pieces(0..size).expect("instantiated") {
                let end = written.entry(piece.stripe.object).or_insert(0_u64);
                *end = (*end).max(piece.object_offset + piece.length);
            }
            let known = |stripe: Stripe| written.get(&stripe.object).copied().unwrap_or(0);
            prop_assert_eq!(layout.file_size(known), size);
            for (stripe, needed) in layout.object_sizes(size) {
                prop_assert!(known(stripe) <= needed, "{:?} {} {}", stripe, known(stripe), needed);
            }
            let cut = layout.object_sizes(size / 2);
            let kept = |stripe: Stripe| {
                let limit = cut.iter().find(|(s, _)| *s == stripe).map_or(0, |(_, n)| *n);
                known(stripe).min(limit)
            };
            prop_assert_eq!(layout.file_size(kept), size / 2);
        }
    }

    #[test]
    fn a_component_without_objects_is_reported_at_its_first_byte() {
        let edge = u64::from(STRIPE_SIZE_MIN);
        let layout = layout(&[(edge, 1), (END_OF_FILE, 0)]);
        assert_eq!(layout.pieces(0..edge + 1), Err(NotInstantiated { offset: edge }));
    }
}
