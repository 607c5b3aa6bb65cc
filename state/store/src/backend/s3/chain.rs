//! Reading the snapshot with the segments of its epoch, and taking over an epoch whose holder may still write.
//!
//! Not the commits of our own epoch; those are in `tape`.
//! Invariant: a chain is only believed when the snapshot is the same after its segments were read as before, because segments
//! are deleted only after another snapshot was put.

use bytes::Bytes;
use lustre_model::recorded::{Lineage, World};
use lustre_s3::{Condition, ObjectStorage, StorageError};

use super::S3;
use super::bucket::Put;
use super::segment::{Header, Segment};
use crate::backend::{Recovered, Recovery};
use crate::error::StoreError;
use crate::snapshot;

/// How often a state that changes meanwhile is read.
const READS_MAX: u32 = 16;

/// How often a former holder may write something while his epoch is ended.
const TAKEOVERS_MAX: u32 = 64;

/// A state as it was read.
pub struct Chain {
    /// The world, and how it was found.
    pub recovered: Recovered,
    /// Version of the snapshot; none when there is no state.
    pub etag: Option<String>,
    /// The snapshot.
    pub bytes: Bytes,
    /// The epoch that goes on from the snapshot.
    pub epoch: u64,
    /// Keys of its segments behind the snapshot, the fence not counted.
    pub segments: Vec<String>,
    /// Whether the epoch was ended by a fence.
    fenced: bool,
}

fn unread(source: StorageError) -> StoreError {
    StoreError::Storage { verb: "read", source }
}

fn unwritten(source: StorageError) -> StoreError {
    StoreError::Storage { verb: "written", source }
}

impl<S: ObjectStorage> S3<S> {
    /// Names a segment.
    pub fn segment_key(&self, lineage: &Lineage, token: u64, serial: u64) -> String {
        format!("{}.journal/{lineage}-{token:020}-{serial:020}", self.options.key)
    }

    /// Puts a snapshot over a version of it, or where there is none; none when that is not there any more.
    pub fn put_snapshot(&self, bytes: &Bytes, before: Option<&str>) -> Result<Option<String>, StoreError> {
        let condition = before.map_or(Condition::IfAbsent, |etag| Condition::IfMatch(etag.to_owned()));
        match self.bucket.put(&self.options.key, bytes, condition).map_err(unwritten)? {
            Put::Done(etag) => Ok(Some(etag)),
            Put::Refused => Ok(None),
        }
    }

    /// Deletes segments that a snapshot holds.
    pub fn delete_segments(&self, keys: &[String]) -> Result<(), StoreError> {
        self.bucket.delete(keys).map_err(unwritten)
    }

    /// Returns what is left of a state whose snapshot is gone.
    pub fn leftover(&self) -> Result<Option<String>, StoreError> {
        for kind in ["journal", "history"] {
            let found = self.bucket.list(&format!("{}.{kind}/", self.options.key)).map_err(unread)?;
            if let Some(first) = found.first() {
                return Ok(Some(self.path(&first.key).display().to_string()));
            }
        }
        Ok(None)
    }

    /// Reads the state.
    pub fn chain(&self) -> Result<Chain, StoreError> {
        let key = &self.options.key;
        for _ in 0..READS_MAX {
            let Some(found) = self.bucket.get(key).map_err(unread)? else {
                let leftover = self.leftover()?;
                if self.bucket.version(key).map_err(unread)?.is_some() {
                    continue;
                }
                return match leftover {
                    None => Ok(Chain::absent()),
                    Some(found) => Err(StoreError::SnapshotDeleted { path: self.path(key), found }),
                };
            };
            let before = found.etag.clone();
            let chain = self.follow(found.bytes, found.etag);
            // What was read, and what did not fit, may be of two moments.
            if self.bucket.version(key).map_err(unread)?.as_ref() == Some(&before) {
                return chain;
            }
        }
        Err(StoreError::Moving { path: self.path(key) })
    }

    /// Reads the segments that follow a snapshot.
    fn follow(&self, bytes: Bytes, etag: String) -> Result<Chain, StoreError> {
        let seal = self.options.seal.as_ref();
        let path = self.path(&self.options.key);
        let snapshot::Snapshot { mut world, token } = snapshot::decode(&path, &bytes, seal)?;
        let (mut segments, mut events, mut fenced) = (Vec::new(), 0, false);
        loop {
            let key = self.segment_key(&world.lineage, token, world.serial);
            let Some(found) = self.bucket.get(&key).map_err(unread)? else { break };
            let (path, place) = (self.path(&key), Header::commit(world.lineage.clone(), token, world.serial));
            let Segment::Commit(commit) = place.read(&path, &found.bytes, seal)? else {
                fenced = true;
                break;
            };
            for event in &commit.events {
                world.apply(event).map_err(|source| StoreError::Illegal { path: path.clone(), source })?;
                events += 1;
            }
            segments.push(key);
        }
        let recovery =
            if segments.is_empty() { Recovery::Clean } else { Recovery::Replayed { events, torn: 0 } };
        let recovered = Recovered { world, recovery, token };
        Ok(Chain { recovered, etag: Some(etag), bytes, epoch: token, segments, fenced })
    }

    /// Ends the epoch of whoever held the lock before, and begins ours where it ended.
    pub fn take_over(&self, token: u64) -> Result<Chain, StoreError> {
        let seal = self.options.seal.as_ref();
        for _ in 0..TAKEOVERS_MAX {
            let mut chain = self.chain()?;
            if chain.etag.is_none() {
                return Ok(chain);
            }
            if chain.epoch >= token {
                return Err(StoreError::LockLost);
            }
            let world = &chain.recovered.world;
            if !chain.fenced {
                let place = (chain.epoch, world.serial);
                let fence = Header::fence(world.lineage.clone(), place, token).encode(None, seal)?;
                let key = self.segment_key(&world.lineage, chain.epoch, world.serial);
                let put =
                    self.bucket.put(&key, &Bytes::from(fence), Condition::IfAbsent).map_err(unwritten)?;
                if matches!(put, Put::Refused) {
                    continue;
                }
            }
            let bytes = Bytes::from(snapshot::encode(world, token, seal)?);
            let Some(etag) = self.put_snapshot(&bytes, chain.etag.as_deref())? else { continue };
            (chain.etag, chain.bytes, chain.epoch) = (Some(etag), bytes, token);
            self.delete_segments(&std::mem::take(&mut chain.segments))?;
            return Ok(chain);
        }
        Err(StoreError::Moving { path: self.path(&self.options.key) })
    }
}

impl Chain {
    fn absent() -> Self {
        let recovered = Recovered { world: World::default(), recovery: Recovery::Absent, token: 0 };
        Self { recovered, etag: None, bytes: Bytes::new(), epoch: 0, segments: Vec::new(), fenced: false }
    }
}
