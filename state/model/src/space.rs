//! How much room targets have, when some of them share a disk.
//!
//! The rule, which `df` of a mount, `lustre fs df` and `lustre status` all follow:
//! - A target may grow by what its limit leaves, and by no more than its disk has free.
//! - Targets of one disk share what it has free, evenly; what one of them cannot take for its limit, the others may.
//! - A target's capacity is what it stores and its share. So the sum of capacities is what can be stored in all: a disk counts
//!   once, whatever number of targets it bears.
//!
//! Not a promise: on a disk that several share, whoever writes first has the bytes.
//! Invariant: shares of a disk never add up to more than it has free.

use std::collections::BTreeMap;

/// What a target knows of its own room, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OwnRoom {
    /// What it stores, after compression.
    pub used: u64,
    /// What it could store if its disk were its own.
    pub capacity: u64,
    /// The file system it lies on; the same number for all targets there, 0 when not known.
    pub disk: u64,
    /// What that has free for objects.
    pub disk_free: u64,
}

/// Returns the capacity of each target, in order, so that no byte of a disk is counted twice.
pub fn capacities(rooms: &[OwnRoom]) -> Vec<u64> {
    let mut disks: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
    let mut capacities: Vec<u64> = rooms.iter().map(|room| room.capacity).collect();
    for (at, room) in rooms.iter().enumerate().filter(|(_, room)| room.disk != 0) {
        disks.entry(room.disk).or_default().push(at);
    }
    for mut sharing in disks.into_values() {
        // Each was asked at a moment of its own; the least is what is left of what all saw.
        let mut free = sharing.iter().map(|at| rooms[*at].disk_free).min().unwrap_or(0);
        let wanted = |at: usize| rooms[at].capacity.saturating_sub(rooms[at].used);
        // Who can take least first: what it leaves is for the others.
        sharing.sort_by_key(|at| wanted(*at));
        for (place, at) in sharing.iter().enumerate() {
            let share = (free / (sharing.len() - place) as u64).min(wanted(*at));
            free -= share;
            capacities[*at] = rooms[*at].used + share;
        }
    }
    capacities
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(used: u64, capacity: u64, disk: u64, disk_free: u64) -> OwnRoom {
        OwnRoom { used, capacity, disk, disk_free }
    }

    #[test]
    fn a_disk_counts_once_however_many_targets_share_it() {
        let rooms = [room(10, 110, 7, 100), room(20, 120, 7, 100), room(0, 100, 7, 100), room(5, 55, 8, 50)];
        let found = capacities(&rooms);
        assert_eq!(found, [43, 53, 34, 55]);
        assert_eq!(found.iter().sum::<u64>(), 30 + 100 + 55, "what is stored and what is free");
    }

    #[test]
    fn what_a_limit_keeps_from_one_target_the_others_may_take() {
        let found = capacities(&[room(10, 20, 7, 100), room(0, 100, 7, 100), room(0, 100, 7, 100)]);
        assert_eq!(found, [20, 45, 45]);
        let all_limited = capacities(&[room(0, 10, 7, 100), room(4, 20, 7, 100)]);
        assert_eq!(all_limited, [10, 20], "limits that fit are whole");
    }

    #[test]
    fn targets_of_unknown_disks_share_with_nobody() {
        assert_eq!(capacities(&[room(0, 9, 0, 9), room(1, 10, 0, 9)]), [9, 10]);
        assert_eq!(capacities(&[room(12, 10, 7, 0)]), [12], "more than a limit that was lowered");
        assert!(capacities(&[]).is_empty());
    }
}
