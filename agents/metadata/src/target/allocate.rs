//! Which object targets a file's next objects go to.
//!
//! Round-robin while targets are about equally free; weighted by what is free when they differ by more than
//! [`IMBALANCE_PERCENT`], as Lustre's `qos_threshold_rr` has it. Targets that are full or do not answer get nothing while there
//! are others. What the targets have is told by [`super::Input::Spaces`]; one of which nothing was heard counts as free.
//!
//! Weighted is deterministic: each choice adds to every target's credit what is free there, takes the richest, and takes from
//! its credit what all got. So over many choices each target gets its share, spread evenly.
//! Invariant: no two of the targets that one choice returns are the same, and none of them was removed.

use std::collections::{BTreeMap, BTreeSet};

use lustre_model::layout::OstIndex;

/// Difference between the least and the most free target, in percent of the most, up to which all count as equal.
const IMBALANCE_PERCENT: u128 = 17;

/// A target with less than this part of its capacity free is full.
const FULL_PART: u64 = 1000;

/// What a target has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// Its limit, in bytes.
    pub capacity: u64,
    /// Bytes that can still be stored.
    pub free: u64,
}

/// Gives objects their targets.
#[derive(Debug, Default)]
pub(super) struct Allocator {
    /// What was heard last; `None` from targets that do not answer.
    heard: BTreeMap<OstIndex, Option<Space>>,
    credits: BTreeMap<OstIndex, i128>,
    next: usize,
}

impl Allocator {
    /// Begins a round anywhere, so that many starts that make few files each spread load too.
    pub(super) fn begin_at(&mut self, next: u64) {
        self.next = usize::try_from(next).unwrap_or(0);
    }

    /// Takes what targets say of themselves.
    pub(super) fn hear(&mut self, spaces: impl IntoIterator<Item = (OstIndex, Option<Space>)>) {
        self.heard.extend(spaces);
    }

    /// Forgets a target that was removed.
    pub(super) fn forget(&mut self, target: OstIndex) {
        self.heard.remove(&target);
        self.credits.remove(&target);
    }

    /// Chooses up to `count` of `targets`, or all that take objects. None only when there is no target.
    pub(super) fn choose(&mut self, targets: &BTreeSet<OstIndex>, count: Option<u16>) -> Vec<OstIndex> {
        let fit = self.fit(targets);
        let count = count.map_or(fit.len(), |count| usize::from(count.max(1)).min(fit.len()));
        if count == fit.len() || self.is_balanced(&fit) {
            self.credits.clear();
            let chosen = (0..count).map(|offset| fit[self.next.wrapping_add(offset) % fit.len()]).collect();
            self.next = self.next.wrapping_add(count);
            return chosen;
        }
        (0..count).scan(fit, |left, _| self.richest(left)).collect()
    }

    /// Targets that take objects: those that answer and have room; else those that answer; else all.
    fn fit(&self, targets: &BTreeSet<OstIndex>) -> Vec<OstIndex> {
        let answers = |target: &OstIndex| !matches!(self.heard.get(target), Some(None));
        let has_room = |target: &OstIndex| {
            let space = self.heard.get(target).copied().flatten();
            space.is_none_or(|space| space.free > space.capacity / FULL_PART)
        };
        let answering: Vec<OstIndex> = targets.iter().copied().filter(answers).collect();
        let roomy: Vec<OstIndex> = answering.iter().copied().filter(has_room).collect();
        if !roomy.is_empty() {
            roomy
        } else if !answering.is_empty() {
            answering
        } else {
            targets.iter().copied().collect()
        }
    }

    fn free(&self, target: OstIndex) -> Option<u64> {
        self.heard.get(&target).copied().flatten().map(|space| space.free)
    }

    /// Whether weights would change nothing worth it, or are not known.
    fn is_balanced(&self, targets: &[OstIndex]) -> bool {
        let free: Option<Vec<u64>> = targets.iter().map(|target| self.free(*target)).collect();
        let Some(free) = free else { return true };
        let (least, most) = (free.iter().min().copied(), free.iter().max().copied());
        let (least, most) = (u128::from(least.unwrap_or(0)), u128::from(most.unwrap_or(0)));
        (most - least) * 100 <= most * IMBALANCE_PERCENT
    }

    /// Takes the target with the most credit out of `left`.
    fn richest(&mut self, left: &mut Vec<OstIndex>) -> Option<OstIndex> {
        let mut total = 0;
        for target in left.iter() {
            let free = i128::from(self.free(*target).unwrap_or(0));
            total += free;
            *self.credits.entry(*target).or_default() += free;
        }
        let credit = |target: &OstIndex| self.credits.get(target).copied().unwrap_or(0);
        // Of equals the first.
        let (place, target) =
            left.iter().copied().enumerate().rev().max_by_key(|(_, target)| credit(target))?;
        left.remove(place);
        *self.credits.entry(target).or_default() -= total;
        Some(target)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

    use super::*;

    const GIB: u64 = 1 << 30;

    fn targets(count: u16) -> BTreeSet<OstIndex> {
        (0..count).map(OstIndex).collect()
    }

    fn heard(free: &[Option<u64>]) -> Allocator {
        let mut allocator = Allocator::default();
        let spaces = free
            .iter()
            .zip(0..)
            .map(|(free, index)| (OstIndex(index), free.map(|free| Space { capacity: 100 * GIB, free })));
        allocator.hear(spaces);
        allocator
    }

    /// How many of so many single choices each target gets.
    fn shares(allocator: &mut Allocator, count: u16, choices: u32) -> BTreeMap<u16, u32> {
        let mut shares = BTreeMap::new();
        for _ in 0..choices {
            for chosen in allocator.choose(&targets(count), Some(1)) {
                *shares.entry(chosen.0).or_default() += 1;
            }
        }
        shares
    }

    #[test]
    fn equal_targets_take_turns() {
        let mut allocator = heard(&[Some(90 * GIB), Some(100 * GIB), Some(95 * GIB)]);
        assert_eq!(shares(&mut allocator, 3, 300), BTreeMap::from([(0, 100), (1, 100), (2, 100)]));
    }

    #[test]
    fn a_target_gets_objects_by_what_it_has_free() {
        let mut allocator = heard(&[Some(10 * GIB), Some(30 * GIB), Some(60 * GIB)]);
        assert_eq!(shares(&mut allocator, 3, 1000), BTreeMap::from([(0, 100), (1, 300), (2, 600)]));
    }

    #[test]
    fn full_and_silent_targets_get_nothing_while_there_are_others() {
        let mut allocator = heard(&[Some(1 << 20), None, Some(50 * GIB)]);
        assert_eq!(shares(&mut allocator, 3, 10), BTreeMap::from([(2, 10)]));
        assert_eq!(allocator.choose(&targets(3), None), [OstIndex(2)]);
        let mut full = heard(&[Some(0), None]);
        assert_eq!(full.choose(&targets(2), Some(1)), [OstIndex(0)], "a full one says so at the write");
        assert_eq!(heard(&[None]).choose(&targets(1), Some(1)), [OstIndex(0)]);
        assert_eq!(heard(&[]).choose(&targets(0), Some(1)), []);
    }

    proptest! {
        #[test]
        fn a_choice_has_as_many_different_targets_as_asked(
            free in proptest::collection::vec(any::<Option<u32>>(), 1..9),
            counts in proptest::collection::vec(1..12_u16, 1..20),
        ) {
            let free: Vec<_> = free.into_iter().map(|free| free.map(|free| u64::from(free) << 10)).collect();
            let all = targets(u16::try_from(free.len()).unwrap());
            let mut allocator = heard(&free);
            let fit = allocator.fit(&all).len();
            for count in counts {
                let chosen = allocator.choose(&all, Some(count));
                let different: BTreeSet<_> = chosen.iter().collect();
                prop_assert_eq!(chosen.len(), different.len());
                prop_assert_eq!(chosen.len(), usize::from(count).min(fit));
                prop_assert!(chosen.iter().all(|target| all.contains(target)));
            }
        }
    }
}
