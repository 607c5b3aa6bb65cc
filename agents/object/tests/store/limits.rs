//! Full targets, full disks and failing disks: who is told, when, and what stays readable.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use lustre_model::control::Compression;
use lustre_model::fault::Fault;
use lustre_object::{BLOCK, CHUNK, OBJECT_SIZE_MAX, ObjectStore, Options, StoreError};

use crate::disk::{SimulatedDisk, Tearing};
use crate::{NOW, content, object, open, options};

const BOTH: [Compression; 2] = [Compression::None, Compression::Lz4];

/// Bytes that LZ4 does not shrink.
fn noise(length: u64) -> Vec<u8> {
    content(length, 3)
}

#[test]
fn a_full_target_refuses_at_write_and_never_exceeds_its_capacity() {
    for compression in BOTH {
        let disk = SimulatedDisk::default();
        let capacity = 1 << 20;
        let limited = Options { capacity, ..options(compression) };
        let store = ObjectStore::open(disk.clone(), limited).unwrap();
        let mut written = 0;
        let refused = loop {
            match store.write(object(1), written, &noise(CHUNK), NOW) {
                Ok(_) => written += CHUNK,
                Err(error) => break error,
            }
            assert!(disk.stored() <= capacity && written < 2 * capacity);
        };
        assert_eq!(refused.fault(), Fault::NoSpace);
        assert!(written > capacity / 2, "only {written} bytes fitted");
        assert_eq!(store.stat(object(1)).unwrap().size, written, "the refused write left nothing");
        assert_eq!(store.read(object(1), 0, 4 << 20).unwrap().len() as u64, written);
        // Freeing room helps at once.
        store.truncate(object(1), 3 * CHUNK, NOW).unwrap();
        store.write(object(2), 0, &noise(2 * CHUNK), NOW).unwrap();
        assert_eq!(store.space().unwrap().capacity, capacity);
    }
}

#[test]
fn overwriting_plain_blocks_needs_no_room() {
    let store = ObjectStore::open(
        SimulatedDisk::default(),
        Options { capacity: 20 * BLOCK, ..options(Compression::None) },
    )
    .unwrap();
    store.write(object(1), 0, &noise(16 * BLOCK), NOW).unwrap();
    store.write(object(1), 5, &noise(15 * BLOCK), NOW).unwrap();
}

#[test]
fn a_full_disk_refuses_at_write_and_keeps_what_was_there() {
    for compression in BOTH {
        let disk = SimulatedDisk::default();
        let store = open(&disk, compression);
        store.write(object(1), 0, &noise(3 * CHUNK), NOW).unwrap();
        disk.limit(100);
        let mut size = 3 * CHUNK;
        let refused = loop {
            match store.write(object(1), size, &noise(9000), NOW) {
                Ok(_) => size += 9000,
                Err(error) => break error,
            }
        };
        assert!(matches!(refused, StoreError::DiskFull { .. }), "{refused}");
        assert_eq!(store.stat(object(1)).unwrap().size, size);
        assert!(store.read(object(1), 0, 3 << 16).unwrap()[..] == noise(3 * CHUNK)[..]);
    }
}

/// Each store asks the disk for itself, and none knows of the others.
#[test]
fn many_stores_on_one_disk_leave_its_reserve_alone() {
    const STORES: usize = 24;
    let (reserve, size) = (8 << 20, 64 << 20);
    let free = Arc::new(AtomicU64::new(size));
    let shared = Options { reserve, ..options(Compression::None) };
    let disks: Vec<SimulatedDisk> = (0..STORES).map(|_| SimulatedDisk::default()).collect();
    let stores: Vec<_> = disks
        .iter()
        .map(|disk| {
            disk.share(&free);
            ObjectStore::open(disk.clone(), shared).unwrap()
        })
        .collect();
    let mut full = [false; STORES];
    for round in 0.. {
        for (number, store) in stores.iter().enumerate() {
            if !full[number] {
                let written = store.write(object(1), round * CHUNK, &noise(CHUNK), NOW);
                full[number] = written.is_err_and(|error| error.fault() == Fault::NoSpace);
            }
            let stored: u64 = disks.iter().map(SimulatedDisk::stored).sum();
            free.store(size.saturating_sub(stored), Ordering::SeqCst);
        }
        if full.iter().all(|full| *full) {
            break;
        }
    }
    let left = free.load(Ordering::SeqCst);
    assert!(left >= reserve, "{left} bytes are left of a reserve of {reserve}");
    assert!(left < 2 * reserve, "{left} bytes are not used");
}

#[test]
fn a_disk_that_fills_up_behind_our_back_spoils_nothing() {
    for compression in BOTH {
        for pages in 48..75 {
            let disk = SimulatedDisk::default();
            let store = open(&disk, compression);
            store.write(object(1), 0, &content(3 * CHUNK, 0), NOW).unwrap();
            // The budget was drawn before the disk shrank, so the write itself meets the full disk.
            disk.limit(pages);
            let new = noise(4 * CHUNK);
            let result = store.write(object(1), 10, &new, NOW);
            let size = u32::try_from(store.stat(object(1)).unwrap().size).unwrap();
            let found = store.read(object(1), 0, size).unwrap();
            let mut whole = content(10, 0);
            whole.extend_from_slice(&new);
            if result.is_ok() {
                assert!(found[..] == whole[..]);
            } else {
                assert_eq!(u64::from(size), 3 * CHUNK, "{pages} pages");
                let old = content(3 * CHUNK, 0);
                for at in (0..old.len()).step_by(4096) {
                    let range = at..at + 4096;
                    assert!(
                        found[range.clone()] == old[range.clone()] || found[range.clone()] == whole[range]
                    );
                }
            }
            drop(store);
            disk.kill();
            assert!(open(&disk, compression).read(object(1), 0, size).unwrap() == found);
        }
    }
}

#[test]
fn a_failing_write_is_reported_and_spoils_nothing() {
    for compression in BOTH {
        for others in 0..12 {
            let disk = SimulatedDisk::default();
            let store = open(&disk, compression);
            let old = content(3 * CHUNK, 0);
            store.write(object(1), 0, &old, NOW).unwrap();
            store.checkpoint().unwrap();
            let new = content(2 * CHUNK, 1);
            disk.fail_write(others);
            let result = store.write(object(1), 1000, &new, NOW);
            disk.heal();
            if let Err(error) = &result {
                assert_eq!(error.fault(), Fault::Io, "{error}");
            }
            let found = store.read(object(1), 0, 4 << 20).unwrap();
            let mut whole = old.clone();
            whole[1000..1000 + new.len()].copy_from_slice(&new);
            assert_eq!(found.len(), old.len());
            for at in (0..old.len()).step_by(4096) {
                let range = at..at + 4096;
                let is_old = found[range.clone()] == old[range.clone()];
                assert!(is_old && result.is_err() || found[range.clone()] == whole[range], "{others} {at}");
            }
            store.write(object(1), 1000, &new, NOW).unwrap();
            store.checkpoint().unwrap();
            disk.lose_power(others, Tearing::WholePages);
            drop(store);
            assert!(open(&disk, compression).read(object(1), 0, 4 << 20).unwrap()[..] == whole[..]);
        }
    }
}

#[test]
fn after_a_failed_sync_nothing_is_written_any_more_and_the_cause_is_said() {
    for compression in BOTH {
        let disk = SimulatedDisk::default();
        let store = open(&disk, compression);
        store.write(object(1), 0, &content(100, 0), NOW).unwrap();
        disk.fail_sync(0);
        assert!(matches!(store.sync(&[object(1)]), Err(StoreError::Stopped { .. })));
        let failures = [
            store.sync(&[object(1)]).unwrap_err(),
            store.write(object(2), 0, b"x", NOW).unwrap_err(),
            store.truncate(object(1), 0, NOW).unwrap_err(),
            store.punch(object(1), 0..10, NOW).unwrap_err(),
            store.destroy(object(1)).unwrap_err(),
            store.checkpoint().unwrap_err(),
            store.close().unwrap_err(),
        ];
        for error in failures {
            assert_eq!(error.fault(), Fault::Io);
            assert!(error.to_string().contains("injected sync failure"), "{error}");
        }
        assert_eq!(store.read(object(1), 0, 100).unwrap()[..], content(100, 0)[..], "reading goes on");
    }
}

#[test]
fn a_group_of_objects_is_synced_with_few_syncs() {
    let disk = SimulatedDisk::default();
    let wide = Options { open_objects_max: 10_000, ..options(Compression::None) };
    let store = ObjectStore::open(disk.clone(), wide).unwrap();
    let objects: Vec<_> = (0..500).map(object).collect();
    for id in &objects {
        store.write(*id, 0, b"bytes", NOW).unwrap();
    }
    let before = disk.syncs();
    store.sync(&objects).unwrap();
    assert!(disk.syncs() - before <= 2, "{} syncs", disk.syncs() - before);
    let before = disk.syncs();
    store.sync(&objects).unwrap();
    assert_eq!(disk.syncs(), before, "what is durable is not synced again");
    disk.lose_power(1, Tearing::WholePages);
    drop(store);
    let store = open(&disk, Compression::None);
    assert!(objects.iter().all(|id| store.read(*id, 0, 10).unwrap()[..] == b"bytes"[..]));
}

#[test]
fn compressed_bytes_take_less_and_holes_take_nothing() {
    let disk = SimulatedDisk::default();
    let store = open(&disk, Compression::Lz4);
    store.write(object(1), 0, &content(1 << 20, 1), NOW).unwrap();
    let shrunk = store.stat(object(1)).unwrap();
    assert!(shrunk.blocks * 512 < (1 << 20) / 4, "{} blocks", shrunk.blocks);
    store.write(object(2), 1 << 40, b"far", NOW).unwrap();
    let sparse = store.stat(object(2)).unwrap();
    assert!(sparse.blocks * 512 <= 3 * BLOCK && sparse.size == (1 << 40) + 3, "{sparse:?}");
    // Rewriting leaves nothing behind, once it is durable.
    for seed in [3, 1, 3, 1] {
        store.write(object(1), 0, &content(1 << 20, seed), NOW).unwrap();
    }
    store.sync(&[object(1)]).unwrap();
    assert_eq!(store.stat(object(1)).unwrap().blocks, shrunk.blocks);
    store.punch(object(1), 0..1 << 20, NOW).unwrap();
    store.sync(&[object(1)]).unwrap();
    assert!(store.stat(object(1)).unwrap().blocks * 512 <= 2 * BLOCK);
    assert_eq!(store.stat(object(1)).unwrap().size, 1 << 20);
}

#[test]
fn offsets_behind_the_largest_object_are_refused() {
    for compression in BOTH {
        let store = open(&SimulatedDisk::default(), compression);
        for offset in [OBJECT_SIZE_MAX, u64::MAX, OBJECT_SIZE_MAX - 1] {
            assert_eq!(store.write(object(1), offset, b"xy", NOW).unwrap_err().fault(), Fault::TooLarge);
        }
        store.write(object(1), OBJECT_SIZE_MAX - 2, b"xy", NOW).unwrap();
        assert_eq!(store.read(object(1), OBJECT_SIZE_MAX - 2, 9).unwrap()[..], b"xy"[..]);
        assert!(store.read(object(1), u64::MAX, 9).unwrap().is_empty());
        assert_eq!(store.truncate(object(1), u64::MAX, NOW).unwrap_err().fault(), Fault::TooLarge);
    }
}

#[test]
fn threads_on_one_object_and_on_many_meet_no_mixture() {
    for compression in BOTH {
        let disk = SimulatedDisk::default();
        let store = Arc::new(open(&disk, compression));
        std::thread::scope(|scope| {
            for thread in 0..4_u64 {
                let store = Arc::clone(&store);
                scope.spawn(move || {
                    for round in 0..30_u64 {
                        let own = object(u32::try_from(10 + thread).unwrap());
                        store.write(own, round * 5000, &content(7000, thread * 100 + round), NOW).unwrap();
                        store
                            .write(object(1), thread * 20_000, &[u8::try_from(round).unwrap(); 20_000], NOW)
                            .unwrap();
                        let piece = store.read(object(1), thread * 20_000, 20_000).unwrap();
                        assert!(piece.iter().all(|byte| u64::from(*byte) == round));
                        match (round + thread) % 7 {
                            0 => store.sync(&[own, object(1)]).unwrap(),
                            3 => store.checkpoint().unwrap(),
                            _ => {}
                        }
                    }
                });
            }
        });
        store.checkpoint().unwrap();
        assert_eq!(store.space().unwrap().used, disk.stored());
        disk.lose_power(7, Tearing::WholePages);
        let store = open(&disk, compression);
        assert!(store.read(object(1), 0, 80_000).unwrap().iter().all(|byte| *byte == 29));
    }
}
