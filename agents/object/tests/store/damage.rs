//! Damage on the disk is found, never passed on; a crash is never mistaken for it.

use lustre_model::control::Compression;
use lustre_model::fault::Fault;
use lustre_model::layout::ObjectId;
use lustre_object::{BLOCK, CHUNK, Disk, DiskFile, FileName, ObjectStore, StoreError};
use proptest::prelude::*;

use crate::disk::{SimulatedDisk, Tearing};
use crate::{NOW, content, object, open, options};

/// Where the store keeps an object's header, after it entries or records, and after them the bytes.
const HEADER_AT: u64 = DATA_AT - BLOCK;
const TABLE_AT: u64 = HEADER_AT + 128;
const DATA_AT: u64 = 2 << 20;

const SIZE: u64 = 5 * CHUNK + 1234;

fn written(disk: &SimulatedDisk, compression: Compression) -> ObjectId {
    let store = open(disk, compression);
    store.write(object(1), 0, &content(SIZE, 0), NOW).unwrap();
    store.close().unwrap();
    disk.kill();
    object(1)
}

fn read_is_damaged(disk: &SimulatedDisk, compression: Compression, offset: u64) -> bool {
    let store = open(disk, compression);
    let found = store.read(object(1), offset, 1);
    if let Ok(bytes) = &found {
        assert_eq!(bytes[0], content(SIZE, 0)[usize::try_from(offset).unwrap()]);
    }
    let damaged = found.err().is_some_and(|error| error.fault() == Fault::Checksum);
    drop(store);
    disk.kill();
    damaged
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_flipped_bit_of_a_plain_block_is_found_and_only_there(at in 0..SIZE) {
        let disk = SimulatedDisk::default();
        let id = written(&disk, Compression::None);
        disk.damage(id, DATA_AT + at);
        prop_assert!(read_is_damaged(&disk, Compression::None, at));
        let other = (at + BLOCK) % SIZE;
        prop_assert_eq!(read_is_damaged(&disk, Compression::None, other), other / BLOCK == at / BLOCK);
    }

    #[test]
    fn a_flipped_bit_of_a_chunk_is_found(chunk in 0..SIZE.div_ceil(CHUNK), within in 0..1000_u64) {
        let disk = SimulatedDisk::default();
        let id = written(&disk, Compression::Lz4);
        disk.damage(id, DATA_AT + chunk * 4 * CHUNK + within);
        prop_assert!(read_is_damaged(&disk, Compression::Lz4, chunk * CHUNK));
        let other = (chunk + 1) % 5;
        prop_assert!(!read_is_damaged(&disk, Compression::Lz4, other * CHUNK));
    }

    #[test]
    fn a_flipped_bit_of_a_checksum_passes_no_wrong_byte(byte in 0..80_u64, lz4: bool) {
        let compression = if lz4 { Compression::Lz4 } else { Compression::None };
        let disk = SimulatedDisk::default();
        let id = written(&disk, compression);
        disk.damage(id, TABLE_AT + byte);
        for at in [0, CHUNK, 2 * CHUNK] {
            read_is_damaged(&disk, compression, at);
        }
    }
}

#[test]
fn a_damaged_header_is_named_and_the_object_can_be_destroyed() {
    for compression in [Compression::None, Compression::Lz4] {
        let disk = SimulatedDisk::default();
        let id = written(&disk, compression);
        disk.damage(id, HEADER_AT + 33);
        let store = open(&disk, compression);
        assert!(matches!(store.read(id, 0, 10), Err(StoreError::HeaderDamaged { .. })));
        assert!(matches!(store.write(id, 0, b"x", NOW), Err(StoreError::HeaderDamaged { .. })));
        assert_eq!(store.stat(id).unwrap_err().fault(), Fault::Checksum);
        store.destroy(id).unwrap();
        assert_eq!(store.stat(id).unwrap().size, 0);
        let space = store.space().unwrap();
        assert_eq!((space.used, space.objects), (0, 0));
        store.write(id, 0, b"again", NOW).unwrap();
        assert_eq!(store.read(id, 0, 100).unwrap()[..], b"again"[..]);
    }
}

#[test]
fn a_partial_overwrite_of_a_damaged_block_is_refused_and_a_whole_one_heals_it() {
    let disk = SimulatedDisk::default();
    let id = written(&disk, Compression::None);
    disk.damage(id, DATA_AT + BLOCK + 7);
    let store = open(&disk, Compression::None);
    assert_eq!(store.write(id, BLOCK, b"part", NOW).unwrap_err().fault(), Fault::Checksum);
    let whole = vec![9; usize::try_from(BLOCK).unwrap()];
    store.write(id, BLOCK, &whole, NOW).unwrap();
    assert_eq!(store.read(id, BLOCK, u32::try_from(BLOCK).unwrap()).unwrap()[..], whole[..]);
}

#[test]
fn bytes_that_a_crash_tore_are_not_called_damaged_but_later_damage_of_them_is() {
    for seed in 0..50 {
        let disk = SimulatedDisk::default();
        let id = written(&disk, Compression::None);
        let store = open(&disk, Compression::None);
        store.write(id, 100, &content(SIZE, 1), NOW).unwrap();
        disk.lose_power(seed, Tearing::WholePages);
        drop(store);
        // The first read settles what the crash left; from then on the checksums are exact again.
        let store = open(&disk, Compression::None);
        let size = u32::try_from(store.stat(id).unwrap().size).unwrap();
        store.read(id, 0, size).unwrap();
        store.close().unwrap();
        disk.kill();
        disk.damage(id, DATA_AT + 3 * BLOCK);
        let store = open(&disk, Compression::None);
        assert_eq!(store.read(id, 3 * BLOCK, 1).unwrap_err().fault(), Fault::Checksum, "seed {seed}");
    }
}

#[test]
fn a_store_of_another_format_is_refused() {
    let disk = SimulatedDisk::default();
    written(&disk, Compression::None);
    let ledger = disk.open(FileName::Ledger).unwrap().unwrap();
    for slot in [0, BLOCK] {
        ledger.write_at(slot + 4, &1_u32.to_le_bytes()).unwrap();
    }
    let refused = ObjectStore::open(disk.clone(), options(Compression::None)).err().unwrap();
    assert!(matches!(refused, StoreError::Version { found: 1, known: 2 }), "{refused}");
}

#[test]
fn an_object_under_another_name_is_not_believed() {
    let disk = SimulatedDisk::default();
    let id = written(&disk, Compression::None);
    disk.swap_names(id, object(2));
    let store = open(&disk, Compression::None);
    assert_eq!(store.read(object(2), 0, 10).unwrap_err().fault(), Fault::Checksum);
}
