//! Epochs: which stored checksums are exact, and which a crash may have left behind their bytes.
//!
//! Every entry and record carries the epoch it was written in. A checkpoint makes everything of older epochs durable and
//! begins the next; a crash leaves the epochs of its last checkpoint and after it *inexact* for ever.
//! Invariant: an entry of an epoch that is not inexact matches its bytes, unless an intent covers it or the disk lies.

use serde::{Deserialize, Serialize};

/// An epoch of the store; 0 marks an entry that was never written.
pub(crate) type Epoch = u32;

/// Most ranges of inexact epochs that are told apart.
const RANGES_MAX: usize = 64;

/// Epochs of runs that crashed, as ranges with both ends.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Crashed(Vec<(Epoch, Epoch)>);

impl Crashed {
    /// Returns whether bytes of this epoch may be newer or older than their checksum.
    pub fn contains(&self, epoch: Epoch) -> bool {
        self.0.iter().any(|(first, last)| (*first..=*last).contains(&epoch))
    }

    /// Returns whether no run ever crashed.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds the epochs that a crashed run may have written in since its last checkpoint.
    ///
    /// Past [`RANGES_MAX`] crashes the two oldest ranges become one: what lies between them is trusted a little more
    /// than it deserves, but never read as bad.
    pub fn push(&mut self, first: Epoch, last: Epoch) {
        self.0.push((first, last));
        if self.0.len() > RANGES_MAX {
            let second = self.0.remove(1);
            self.0[0].1 = second.1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_crashes_never_make_an_inexact_epoch_exact() {
        let mut crashed = Crashed::default();
        for run in 0..500 {
            crashed.push(run * 10 + 1, run * 10 + 2);
        }
        assert!(crashed.0.len() <= RANGES_MAX);
        assert!((0..500).all(|run| crashed.contains(run * 10 + 1) && crashed.contains(run * 10 + 2)));
        assert!(!crashed.contains(4999), "the newest runs are still told apart");
    }
}
