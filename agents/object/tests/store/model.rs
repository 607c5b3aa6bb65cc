//! Random histories of one store and a model of it in memory, in both formats, with kills and power losses.
//!
//! The model keeps, for each block, what a power loss may leave.
//! Invariant: after a kill the store equals the model; after a power loss every block is one the model allows.

use std::collections::BTreeMap;
use std::sync::Arc;

use lustre_model::attr::Timestamp;
use lustre_model::control::Compression;
use lustre_object::{BLOCK, ObjectStore};
use proptest::prelude::*;

use crate::disk::{SimulatedDisk, Tearing};
use crate::{NOW, content, object as id, open, options};

const BLOCK_BYTES: usize = BLOCK as usize;
const OBJECTS: u32 = 3;
const REACH: u64 = 400_000;

#[derive(Debug, Clone)]
enum Act {
    Write { object: u32, offset: u64, length: u64, seed: u64 },
    Append { object: u32, length: u64, seed: u64 },
    Read { object: u32, offset: u64, length: u64 },
    Truncate { object: u32, size: u64 },
    Punch { object: u32, offset: u64, length: u64 },
    Sync { object: u32 },
    Checkpoint,
    Destroy { object: u32 },
    Close,
    Kill,
    KillInWrite { object: u32, offset: u64, length: u64, seed: u64, writes: u64 },
    LosePower { seed: u64 },
    LosePowerInRecovery { seed: u64, writes: u64 },
    ToggleCompression,
}

fn place_of_a_write() -> impl Strategy<Value = u64> + Clone {
    prop_oneof![0..REACH, (0..6_u64).prop_map(|chunk| chunk * 65_536)]
}

fn act() -> impl Strategy<Value = Act> {
    let object = 0..OBJECTS;
    let whole = (object.clone(), place_of_a_write(), 1..100_000_u64, any::<u64>(), 0..6_u64);
    let length = prop_oneof![1..200_u64, 3000..9000_u64, 1..200_000_u64, Just(65_536), Just(131_072)];
    let place = place_of_a_write();
    prop_oneof![
        6 => (object.clone(), place.clone(), length.clone(), any::<u64>())
            .prop_map(|(object, offset, length, seed)| Act::Write { object, offset, length, seed }),
        4 => (object.clone(), length.clone(), any::<u64>())
            .prop_map(|(object, length, seed)| Act::Append { object, length, seed }),
        3 => (object.clone(), place.clone(), length.clone())
            .prop_map(|(object, offset, length)| Act::Read { object, offset, length }),
        2 => (object.clone(), prop_oneof![Just(0), 0..REACH])
            .prop_map(|(object, size)| Act::Truncate { object, size }),
        2 => (object.clone(), place, length)
            .prop_map(|(object, offset, length)| Act::Punch { object, offset, length }),
        3 => object.clone().prop_map(|object| Act::Sync { object }),
        2 => Just(Act::Checkpoint),
        1 => object.clone().prop_map(|object| Act::Destroy { object }),
        1 => Just(Act::Close),
        2 => Just(Act::Kill),
        2 => whole.prop_map(|(object, offset, length, seed, writes)| {
            Act::KillInWrite { object, offset, length, seed, writes }
        }),
        2 => any::<u64>().prop_map(|seed| Act::LosePower { seed }),
        1 => (any::<u64>(), 0..6_u64).prop_map(|(seed, writes)| Act::LosePowerInRecovery { seed, writes }),
        1 => Just(Act::ToggleCompression),
    ]
}

/// What an object may be after a power loss; the last of each is what it is now.
#[derive(Debug, Clone)]
struct Expected {
    bytes: Vec<u8>,
    sizes: Vec<usize>,
    blocks: BTreeMap<usize, Vec<Vec<u8>>>,
}

impl Expected {
    fn new() -> Self {
        Self { bytes: Vec::new(), sizes: vec![0], blocks: BTreeMap::new() }
    }

    fn block(&self, index: usize) -> Vec<u8> {
        let start = (index * BLOCK_BYTES).min(self.bytes.len());
        let end = (start + BLOCK_BYTES).min(self.bytes.len());
        let mut block = self.bytes[start..end].to_vec();
        block.resize(BLOCK_BYTES, 0);
        block
    }

    /// Applies a change and notes every block and size it makes possible.
    fn change(&mut self, act: impl FnOnce(&mut Vec<u8>)) {
        let before = self.clone();
        act(&mut self.bytes);
        let blocks = before.bytes.len().max(self.bytes.len()).div_ceil(BLOCK_BYTES);
        for index in 0..blocks {
            let (old, new) = (before.block(index), self.block(index));
            if old != new {
                self.blocks.entry(index).or_insert_with(|| vec![old]).push(new);
            }
        }
        self.sizes.push(self.bytes.len());
    }

    fn sync(&mut self) {
        self.sizes = vec![self.bytes.len()];
        self.blocks.clear();
    }

    fn allows(&self, found: &[u8]) -> Result<(), String> {
        if !self.sizes.contains(&found.len()) {
            return Err(format!("size {} is none of {:?}", found.len(), self.sizes));
        }
        for (index, block) in found.chunks(BLOCK_BYTES).enumerate() {
            let fits = |allowed: &[u8]| allowed[..block.len()] == *block;
            let allowed = match self.blocks.get(&index) {
                Some(blocks) => blocks.iter().any(|allowed| fits(allowed)),
                None => fits(&self.block(index)),
            };
            if !allowed {
                return Err(format!("block {index} is none of those written"));
            }
        }
        Ok(())
    }

    fn adopt(&mut self, found: Vec<u8>) {
        self.bytes = found;
        self.sync();
    }
}

struct Harness {
    disk: SimulatedDisk,
    store: ObjectStore<SimulatedDisk>,
    compression: Compression,
    tearing: Tearing,
    expected: BTreeMap<u32, Expected>,
    clock: i64,
}

impl Harness {
    fn new(compression: Compression, tearing: Tearing) -> Self {
        let disk = SimulatedDisk::default();
        let store = open(&disk, compression);
        Self { disk, store, compression, tearing, expected: BTreeMap::new(), clock: 0 }
    }

    fn expected(&mut self, object: u32) -> &mut Expected {
        self.expected.entry(object).or_insert_with(Expected::new)
    }

    fn now(&mut self) -> Timestamp {
        self.clock += 1;
        Timestamp { seconds: self.clock, nanoseconds: 0 }
    }

    fn write(&mut self, object: u32, offset: u64, data: &[u8]) {
        let now = self.now();
        self.store.write(id(object), offset, data, now).unwrap();
        assert_eq!(self.store.stat(id(object)).unwrap().mtime, now);
        self.expected(object).change(|bytes| put(bytes, offset, data));
    }

    fn read_all(&self, object: u32) -> Vec<u8> {
        let size = self.store.stat(id(object)).unwrap().size;
        self.store.read(id(object), 0, u32::try_from(size).unwrap()).unwrap().to_vec()
    }

    fn reopen(&mut self) {
        self.store = open(&self.disk, self.compression);
        let space = self.store.space().unwrap();
        assert_eq!(space.used, self.disk.stored(), "space is counted exactly");
    }

    fn check(&mut self) {
        for object in 0..OBJECTS {
            let found = self.read_all(object);
            assert!(self.expected(object).bytes == found, "object {object} differs");
        }
    }

    fn act(&mut self, act: Act) {
        match act {
            Act::Write { object, offset, length, seed } => self.write(object, offset, &content(length, seed)),
            Act::Append { object, length, seed } => {
                let offset = self.expected(object).bytes.len() as u64;
                if offset < REACH {
                    self.write(object, offset, &content(length, seed));
                }
            }
            Act::Read { object, offset, length } => {
                let found = self.store.read(id(object), offset, u32::try_from(length).unwrap()).unwrap();
                let bytes = &self.expected(object).bytes;
                let start = usize::try_from(offset).unwrap().min(bytes.len());
                let end = (start + usize::try_from(length).unwrap()).min(bytes.len());
                assert!(found[..] == bytes[start..end], "read of object {object} differs");
            }
            Act::Truncate { object, size } => {
                let now = self.now();
                self.store.truncate(id(object), size, now).unwrap();
                self.expected(object).change(|bytes| bytes.resize(usize::try_from(size).unwrap(), 0));
            }
            Act::Punch { object, offset, length } => {
                let now = self.now();
                self.store.punch(id(object), offset..offset + length, now).unwrap();
                self.expected(object).change(|bytes| {
                    let start = usize::try_from(offset).unwrap().min(bytes.len());
                    let end = (start + usize::try_from(length).unwrap()).min(bytes.len());
                    bytes[start..end].fill(0);
                });
            }
            Act::Sync { object } => {
                self.store.sync(&[id(object)]).unwrap();
                self.expected(object).sync();
            }
            Act::Checkpoint => {
                self.store.checkpoint().unwrap();
                self.expected.values_mut().for_each(Expected::sync);
            }
            Act::Destroy { object } => {
                self.store.destroy(id(object)).unwrap();
                self.store.sync(&[id(object)]).unwrap();
                self.expected.remove(&object);
            }
            Act::Close
            | Act::Kill
            | Act::LosePower { .. }
            | Act::LosePowerInRecovery { .. }
            | Act::ToggleCompression => self.end_run(act),
            Act::KillInWrite { object, offset, length, seed, writes } => {
                self.kill_in_write(object, writes, (offset, &content(length, seed)));
            }
        }
    }

    /// A process that dies in a write leaves that write's blocks and the object's size old or new; the rest as it was.
    fn kill_in_write(&mut self, object: u32, writes: u64, (offset, data): (u64, &[u8])) {
        let now = self.now();
        self.disk.die_in_write(writes);
        let written = self.store.write(id(object), offset, data, now).is_ok();
        self.disk.heal();
        self.disk.kill();
        self.reopen();
        let mut allowed = self.expected(object).clone();
        allowed.sync();
        allowed.change(|bytes| put(bytes, offset, data));
        if written {
            allowed.sync();
        }
        let found = self.read_all(object);
        if let Err(problem) = allowed.allows(&found) {
            panic!("object {object} after a kill in write {writes}: {problem}");
        }
        // A power loss may still bring back what was there before.
        self.expected(object).change(|bytes| *bytes = found);
        self.check();
    }

    fn end_run(&mut self, act: Act) {
        let mut lost = false;
        if let Act::LosePower { seed } = act {
            self.disk.lose_power(seed, self.tearing);
            lost = true;
        } else if let Act::LosePowerInRecovery { seed, writes } = act {
            self.disk.kill();
            self.disk.fail_write(writes);
            drop(ObjectStore::open(self.disk.clone(), options(self.compression)));
            self.disk.heal();
            self.disk.lose_power(seed, self.tearing);
            lost = true;
        } else {
            if matches!(act, Act::Close) {
                self.store.close().unwrap();
            }
            self.disk.kill();
        }
        if matches!(act, Act::ToggleCompression) {
            self.compression = match self.compression {
                Compression::None => Compression::Lz4,
                Compression::Lz4 => Compression::None,
            };
        }
        self.reopen();
        if lost {
            for object in 0..OBJECTS {
                let found = self.read_all(object);
                if let Err(problem) = self.expected(object).allows(&found) {
                    panic!("object {object} after power loss: {problem}");
                }
                self.expected(object).adopt(found);
            }
        } else {
            self.check();
        }
        if matches!(act, Act::Close) {
            self.expected.values_mut().for_each(Expected::sync);
        }
    }
}

fn put(bytes: &mut Vec<u8>, offset: u64, data: &[u8]) {
    let start = usize::try_from(offset).unwrap();
    let end = start + data.len();
    bytes.resize(bytes.len().max(end), 0);
    bytes[start..end].copy_from_slice(data);
}

fn run(acts: Vec<Act>, compression: Compression, tearing: Tearing, toggle: bool) {
    let mut harness = Harness::new(compression, tearing);
    for act in acts {
        if toggle || !matches!(act, Act::ToggleCompression) {
            harness.act(act);
        }
    }
    harness.check();
    assert_eq!(harness.store.space().unwrap().used, harness.disk.stored());
}

/// How many histories of each kind are tried: few with every build, more when asked for by `PROPTEST_CASES`.
fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(40)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn plain_objects_equal_the_model(acts in proptest::collection::vec(act(), 1..40)) {
        run(acts, Compression::None, Tearing::WholePages, false);
    }

    #[test]
    fn compressed_objects_equal_the_model_even_when_pages_tear(acts in proptest::collection::vec(act(), 1..40)) {
        run(acts, Compression::Lz4, Tearing::Sectors, false);
    }

    #[test]
    fn compression_may_be_switched_between_runs(acts in proptest::collection::vec(act(), 1..40)) {
        run(acts, Compression::Lz4, Tearing::WholePages, true);
    }
}

#[test]
fn a_tail_that_was_cut_after_a_crash_does_not_come_back() {
    for seed in 0..200 {
        let mut harness = Harness::new(Compression::Lz4, Tearing::WholePages);
        harness.act(Act::Write { object: 0, offset: 131_072, length: 131_072, seed: 2 });
        harness.act(Act::Checkpoint);
        harness.act(Act::Truncate { object: 0, size: 165_807 });
        harness.act(Act::LosePower { seed });
        harness.act(Act::Append { object: 0, length: 6226, seed: 0 });
        harness.act(Act::LosePower { seed: seed.wrapping_mul(31) });
    }
}

#[test]
fn a_kill_in_any_call_of_a_write_takes_nothing_from_the_writes_before() {
    let places = [(0, 5000), (0, 65_536), (3000, 5000), (60_000, 9000), (65_536, 131_072)];
    for (offset, length) in places {
        for (before, synced, writes) in
            (0..6).flat_map(|before| (0..=before).flat_map(move |s| (0..6).map(move |w| (before, s, w))))
        {
            for compression in [Compression::None, Compression::Lz4] {
                let mut harness = Harness::new(compression, Tearing::WholePages);
                for number in 0..before {
                    harness.write(0, offset, &content(length, number * 3));
                    if number + 1 == synced {
                        harness.act(Act::Sync { object: 0 });
                    }
                }
                harness.kill_in_write(0, writes, (offset, &content(length, 100)));
            }
        }
    }
}

#[test]
fn versions_written_during_a_sync_take_nothing_from_what_it_made_durable() {
    for (seed, writes) in (0..100).flat_map(|seed| (1..7).map(move |writes| (seed, writes))) {
        for compression in [Compression::None, Compression::Lz4] {
            let disk = SimulatedDisk::default();
            let store = Arc::new(open(&disk, compression));
            let version = |number: u64| content(3000, number + 1);
            let write = |number| store.write(id(0), 0, &version(number), NOW).unwrap();
            write(0);
            store.checkpoint().unwrap();
            write(1);
            let (late, during) = (Arc::clone(&store), 2..2 + writes);
            disk.after_sync(move || {
                during.for_each(|number| {
                    late.write(id(0), 0, &content(3000, number + 1), NOW).unwrap();
                });
            });
            store.sync(&[id(0)]).unwrap();
            disk.lose_power(seed, Tearing::WholePages);
            drop(store);
            let found = open(&disk, compression).read(id(0), 0, 3000).unwrap();
            let allowed = (1..2 + writes).any(|number| found[..] == version(number)[..]);
            assert!(allowed, "seed {seed}, {writes} writes, {compression:?}");
        }
    }
}
