//! The object store against a model, through crashes, damage and failing disks.
//!
//! Runs on a simulated disk; the real one is tested by the agent.
//! Invariant: every test that draws at random prints what it drew when it fails.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test program")]

mod damage;
mod disk;
mod limits;
mod model;

use lustre_model::attr::Timestamp;
use lustre_model::control::Compression;
use lustre_model::fid::Fid;
use lustre_model::layout::ObjectId;
use lustre_object::{ObjectStore, Options};

use disk::{Random, SimulatedDisk};

const NOW: Timestamp = Timestamp { seconds: 1, nanoseconds: 0 };

fn object(number: u32) -> ObjectId {
    ObjectId { fid: Fid::from_serial(u64::from(number) * 77), ordinal: number }
}

/// Bytes that LZ4 shrinks, or not when the seed is a multiple of three.
fn content(length: u64, seed: u64) -> Vec<u8> {
    let mut random = Random::new(seed);
    let length = usize::try_from(length).unwrap();
    let period = if seed.is_multiple_of(3) { length } else { length.min(97) };
    let mut word = Vec::with_capacity(period + 8);
    while word.len() < period {
        word.extend_from_slice(&random.below(u64::MAX).to_le_bytes());
    }
    word.truncate(period);
    let mut bytes = word.repeat(length / period + 1);
    bytes.truncate(length);
    bytes
}

fn options(compression: Compression) -> Options {
    Options { capacity: 1 << 40, reserve: 0, compression, open_objects_max: 2 }
}

fn open(disk: &SimulatedDisk, compression: Compression) -> ObjectStore<SimulatedDisk> {
    ObjectStore::open(disk.clone(), options(compression)).unwrap()
}
