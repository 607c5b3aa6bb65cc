//! Commits of our own epoch: a segment each, and a snapshot in their place at the end.
//!
//! Invariant: each write is conditional, so the first that meets another holder's says that the lock is lost.

use bytes::Bytes;
use lustre_model::recorded::World;
use lustre_s3::{Condition, ObjectStorage};

use super::S3;
use super::bucket::Put;
use super::chain::Chain;
use super::lock::Kept;
use super::segment::Header;
use crate::error::StoreError;
use crate::open_state::{Bundle, Leaving, Tape};
use crate::snapshot;

/// More segments than this are folded into a snapshot: reading costs a request for each.
const SEGMENTS_MAX: usize = 256;

/// Segments with more bytes than this, and than the snapshot, are folded into a snapshot.
const SEGMENT_BYTES_MAX: usize = 16 << 20;

/// The segments of an epoch.
pub struct Segments<S: ObjectStorage> {
    s3: S3<S>,
    kept: Kept<S>,
    /// Version of the snapshot.
    etag: Option<String>,
    /// Keys behind the snapshot.
    segments: Vec<String>,
    bytes: usize,
    snapshot_bytes: usize,
    /// The serial behind the last event that was appended under this lock.
    appended: Option<u64>,
}

impl<S: ObjectStorage> Segments<S> {
    /// Goes on from the snapshot that began the epoch.
    pub fn new(s3: S3<S>, kept: Kept<S>, chain: Chain) -> Self {
        let snapshot_bytes = chain.bytes.len();
        Self { s3, kept, etag: chain.etag, segments: Vec::new(), bytes: 0, snapshot_bytes, appended: None }
    }
}

impl<S: ObjectStorage> Tape for Segments<S> {
    fn commit(&mut self, bundle: &Bundle) -> Result<(), StoreError> {
        if self.kept.is_lost() {
            return Err(StoreError::LockLost);
        }
        let token = self.kept.token();
        let header = Header::commit(bundle.lineage.clone(), token, bundle.serial);
        let bytes = Bytes::from(header.encode(Some(&bundle.payload()), self.s3.options.seal.as_ref())?);
        let key = self.s3.segment_key(&bundle.lineage, token, bundle.serial);
        let put = self.s3.bucket.put(&key, &bytes, Condition::IfAbsent);
        match put.map_err(|source| StoreError::Storage { verb: "written", source })? {
            Put::Done(_) => {
                self.segments.push(key);
                self.bytes += bytes.len();
                self.appended = Some(bundle.after);
                Ok(())
            }
            Put::Refused => Err(StoreError::LockLost),
        }
    }

    fn fold(&mut self, world: &World) -> Result<(), StoreError> {
        // Places of this epoch that were used once could be taken for what follows an older snapshot.
        if self.appended.is_some_and(|appended| world.serial < appended) {
            return Err(StoreError::Backwards);
        }
        let bytes = Bytes::from(snapshot::encode(world, self.kept.token(), self.s3.options.seal.as_ref())?);
        let etag = self.s3.put_snapshot(&bytes, self.etag.as_deref())?.ok_or(StoreError::LockLost)?;
        self.etag = Some(etag);
        self.snapshot_bytes = bytes.len();
        self.bytes = 0;
        self.s3.delete_segments(&std::mem::take(&mut self.segments))
    }

    fn is_dirty(&self) -> bool {
        !self.segments.is_empty()
    }

    fn is_long(&self) -> bool {
        self.segments.len() > SEGMENTS_MAX || self.bytes > SEGMENT_BYTES_MAX.max(self.snapshot_bytes)
    }

    fn leave(&mut self, leaving: Leaving) -> Result<(), StoreError> {
        self.kept.is_clean = leaving == Leaving::Done;
        self.kept.give_back();
        Ok(())
    }
}
