//! How much of a file system its targets leave free, so that no disk ever gets to its last byte.
//!
//! ```text
//! all of the disk ├── objects may take this ──┤ objects' floor ├── names may take this ──┤ names' floor ├─ removals ─┤ 0
//! ```
//! Objects stop first: on a disk that they share with names, files can still be made and removed when no byte of theirs fits.
//! Names stop next; what is left is for the log of removals, for the folders of agents, and for others who live there. Beside
//! that a metadata target holds [`ballast`] bytes that nobody else can take.
//!
//! | disk | objects' floor | names' floor | ballast |
//! |---|---|---|---|
//! | 256 MiB | 32 MiB | 16 MiB | 8 MiB |
//! | 1 GiB | 64 MiB | 32 MiB | 16 MiB |
//! | 100 GiB | 512 MiB | 256 MiB | 64 MiB |
//! | 10 TiB | 4 GiB | 2 GiB | 64 MiB |
//!
//! Not a limit of a target; that is its capacity.
//! Invariant: each floor is a fixed part of the disk, so every target on it computes the same, and none needs to ask another.

/// Least bytes that objects leave, where the disk is not tiny.
const OBJECTS_MIN: u64 = 64 << 20;

/// Most bytes that objects leave, however large the disk is.
const OBJECTS_MAX: u64 = 4 << 30;

/// One part in so many is left by objects.
const OBJECTS_PART: u64 = 200;

/// Never more than one part in so many: a tiny disk is for files too.
const TINY_PART: u64 = 8;

/// Most bytes that a metadata target holds back.
const BALLAST_MAX: u64 = 64 << 20;

/// Free bytes below which no object grows, on a disk of `total` bytes.
pub(crate) fn of_objects(total: u64) -> u64 {
    (total / OBJECTS_PART).clamp(OBJECTS_MIN, OBJECTS_MAX).min(total / TINY_PART)
}

/// Free bytes below which no name is made.
pub(crate) fn of_names(total: u64) -> u64 {
    of_objects(total) / 2
}

/// Bytes that a metadata target allocates, to give them back when removals need them.
pub(crate) fn ballast(total: u64) -> u64 {
    (of_names(total) / 2).min(BALLAST_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floors_are_as_the_table_says() {
        let mib = |bytes: u64| bytes >> 20;
        let found = [256 << 20, 1 << 30, 100 << 30, 10 << 40]
            .map(|total: u64| (mib(of_objects(total)), mib(of_names(total)), mib(ballast(total))));
        assert_eq!(found, [(32, 16, 8), (64, 32, 16), (512, 256, 64), (4096, 2048, 64)]);
        assert_eq!((of_objects(0), of_names(0), ballast(0)), (0, 0, 0));
    }
}
