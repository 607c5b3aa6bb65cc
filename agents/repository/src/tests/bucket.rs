//! A bucket in memory that fails as buckets do.
//!
//! Versions are numbers, so that nothing can lean on what an entity tag is made of.

use std::collections::BTreeMap;
use std::ops::{Bound, Range};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::SystemTime;

use bytes::Bytes;
use lustre_model::hsm::RepositoryEndpoint;
use lustre_s3::{
    Condition, ConnectError, Copy, Fetched, Metadata, ObjectHead, ObjectStorage, ObjectSummary, Page, Part,
    Place, PutOptions, StorageError, UploadId,
};

use crate::repositories::Connect;

#[derive(Debug, Clone)]
pub struct Stored {
    pub bytes: Bytes,
    pub etag: String,
    pub metadata: Metadata,
    pub content_type: Option<String>,
}

#[derive(Debug, Default)]
struct Upload {
    options: Option<PutOptions>,
    parts: BTreeMap<u32, Bytes>,
}

/// Something that somebody else does to the bucket.
pub type Change = fn(&mut State);

#[derive(Debug, Default)]
pub struct State {
    pub objects: BTreeMap<String, Stored>,
    uploads: BTreeMap<String, Upload>,
    version: u64,
    pub requests: u64,
    pub lists: u64,
    /// Requests fail while this is not 0: every third, some of them after they took effect.
    pub faults: u64,
    random: u64,
    /// Keys that requests must come with, and those that a new connection reads.
    pub keys_taken: u64,
    pub keys_in_file: u64,
    /// Done before the request of this number.
    pub at: Option<(u64, Change)>,
}

/// The bucket, with the keys of one connection to it.
#[derive(Debug, Clone, Default)]
pub struct MemoryBucket(Arc<Mutex<State>>, u64);

enum Fault {
    None,
    Before(StorageError),
    After(StorageError),
}

impl State {
    pub fn put(&mut self, key: &str, bytes: impl Into<Bytes>, metadata: Metadata) -> String {
        self.version += 1;
        let etag = format!("v{}", self.version);
        let content_type = Some("text/plain".to_owned());
        let stored = Stored { bytes: bytes.into(), etag: etag.clone(), metadata, content_type };
        self.objects.insert(key.to_owned(), stored);
        etag
    }

    pub fn open_uploads(&self) -> usize {
        self.uploads.len()
    }

    fn store(&mut self, key: &str, bytes: Bytes, options: &PutOptions) -> String {
        let etag = self.put(key, bytes, options.metadata.clone());
        if let Some(stored) = self.objects.get_mut(key) {
            stored.content_type.clone_from(&options.content_type);
        }
        etag
    }

    fn get(&self, key: &str) -> Result<&Stored, StorageError> {
        self.objects.get(key).ok_or_else(|| StorageError::NotFound { place: place(key) })
    }

    fn check(&self, key: &str, condition: &Condition) -> Result<(), StorageError> {
        let failed = Err(StorageError::PreconditionFailed { place: place(key) });
        match (condition, self.objects.get(key)) {
            (Condition::Always, _) | (Condition::IfAbsent, None) => Ok(()),
            (Condition::IfMatch(_), None) => Err(StorageError::NotFound { place: place(key) }),
            (Condition::IfMatch(etag), Some(there)) if *etag == there.etag => Ok(()),
            (Condition::IfAbsent | Condition::IfMatch(_), Some(_)) => failed,
        }
    }

    fn fault(&mut self, key: &str) -> Fault {
        self.requests += 1;
        if let Some((at, what)) = self.at
            && at == self.requests
        {
            what(self);
        }
        // Numerical Recipes' generator: the order of failures is the same in every run of one seed.
        self.random = self.random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let roll = (self.random >> 16) % 6;
        if self.faults == 0 || roll > 1 {
            return Fault::None;
        }
        self.faults -= 1;
        let place = place(key);
        match (self.random >> 24) % 3 {
            0 => Fault::Before(StorageError::Throttled { place, code: "SlowDown".into() }),
            1 => Fault::Before(StorageError::Unreachable { place, cause: "reset".into() }),
            _ => Fault::After(StorageError::Unreachable { place, cause: "the answer was lost".into() }),
        }
    }
}

fn place(key: &str) -> Place {
    Place { bucket: "memory".into(), key: key.into() }
}

impl MemoryBucket {
    pub fn seeded(seed: u64, faults: u64) -> Self {
        let bucket = Self::default();
        bucket.state().random = seed;
        bucket.state().faults = faults;
        bucket
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    async fn request<T>(
        &self,
        key: &str,
        work: impl FnOnce(&mut State) -> Result<T, StorageError>,
    ) -> Result<T, StorageError> {
        tokio::task::yield_now().await;
        let mut state = self.state();
        let fault = state.fault(key);
        if self.1 != state.keys_taken {
            return Err(StorageError::AccessDenied { place: place(key), code: "ExpiredToken".into() });
        }
        match fault {
            Fault::Before(error) => Err(error),
            Fault::None => work(&mut state),
            Fault::After(error) => work(&mut state).and(Err(error)),
        }
    }
}

impl Connect for MemoryBucket {
    type Storage = Self;

    async fn connect(&self, _: &RepositoryEndpoint) -> Result<Self, ConnectError> {
        let keys = self.state().keys_in_file;
        Ok(Self(Arc::clone(&self.0), keys))
    }
}

impl ObjectStorage for MemoryBucket {
    async fn check(&self) -> Result<(), StorageError> {
        Ok(())
    }

    async fn list(&self, prefix: &str, after: Option<&str>, limit: u32) -> Result<Page, StorageError> {
        self.request(prefix, |state| {
            state.lists += 1;
            let from = after.map_or(Bound::Unbounded, Bound::Excluded);
            let behind = state.objects.range::<str, _>((from, Bound::Unbounded));
            let mut found = behind.filter(|(key, _)| key.starts_with(prefix));
            let objects = found.by_ref().take(limit as usize).map(|(key, stored)| ObjectSummary {
                key: key.clone(),
                size: stored.bytes.len() as u64,
                last_modified: SystemTime::UNIX_EPOCH,
                etag: stored.etag.clone(),
            });
            let objects: Vec<_> = objects.collect();
            Ok(Page { objects, more: found.next().is_some() })
        })
        .await
    }

    async fn head(&self, key: &str) -> Result<ObjectHead, StorageError> {
        self.request(key, |state| {
            let stored = state.get(key)?;
            Ok(ObjectHead {
                size: stored.bytes.len() as u64,
                last_modified: SystemTime::UNIX_EPOCH,
                etag: stored.etag.clone(),
                metadata: stored.metadata.clone(),
                content_type: stored.content_type.clone(),
                storage_class: None,
            })
        })
        .await
    }

    async fn get(
        &self,
        key: &str,
        range: Range<u64>,
        if_match: Option<&str>,
    ) -> Result<Fetched, StorageError> {
        self.request(key, |state| {
            let condition = if_match.map_or(Condition::Always, |etag| Condition::IfMatch(etag.into()));
            state.check(key, &condition)?;
            let stored = state.get(key)?;
            let end = (range.end as usize).min(stored.bytes.len());
            Ok(Fetched { bytes: stored.bytes.slice(range.start as usize..end), etag: stored.etag.clone() })
        })
        .await
    }

    async fn put(&self, key: &str, bytes: Bytes, options: &PutOptions) -> Result<String, StorageError> {
        self.request(key, |state| {
            state.check(key, &options.condition)?;
            Ok(state.store(key, bytes, options))
        })
        .await
    }

    async fn begin(&self, key: &str, options: &PutOptions) -> Result<UploadId, StorageError> {
        self.request(key, |state| {
            state.version += 1;
            let id = format!("u{}", state.version);
            state.uploads.insert(id.clone(), Upload { options: Some(options.clone()), ..Upload::default() });
            Ok(UploadId(id))
        })
        .await
    }

    async fn upload(
        &self,
        key: &str,
        upload: &UploadId,
        number: u32,
        bytes: Bytes,
    ) -> Result<Part, StorageError> {
        self.request(key, |state| {
            let there = state.uploads.get_mut(&upload.0);
            let there = there.ok_or(StorageError::NotFound { place: place(key) })?;
            there.parts.insert(number, bytes);
            Ok(Part { number, etag: format!("p{number}") })
        })
        .await
    }

    async fn upload_copy(
        &self,
        copy: &Copy,
        upload: &UploadId,
        number: u32,
        range: Range<u64>,
    ) -> Result<Part, StorageError> {
        let bytes = self.get(&copy.from, range, copy.from_match.as_deref()).await?.bytes;
        self.upload(&copy.to, upload, number, bytes).await
    }

    async fn complete(
        &self,
        key: &str,
        upload: &UploadId,
        parts: &[Part],
        condition: &Condition,
    ) -> Result<String, StorageError> {
        self.request(key, |state| {
            if !state.uploads.contains_key(&upload.0) {
                return Err(StorageError::NotFound { place: place(key) });
            }
            state.check(key, condition)?;
            let there = state.uploads.remove(&upload.0).unwrap();
            let bytes: Vec<u8> = parts.iter().flat_map(|part| there.parts[&part.number].to_vec()).collect();
            Ok(state.store(key, bytes.into(), &there.options.unwrap()))
        })
        .await
    }

    async fn abort(&self, key: &str, upload: &UploadId) -> Result<(), StorageError> {
        self.request(key, |state| {
            state.uploads.remove(&upload.0);
            Ok(())
        })
        .await
    }

    async fn copy(&self, copy: &Copy) -> Result<String, StorageError> {
        self.request(&copy.from, |state| {
            let from_match = copy.from_match.clone().map_or(Condition::Always, Condition::IfMatch);
            state.check(&copy.from, &from_match)?;
            let source = state.get(&copy.from)?.clone();
            let options = copy.replace.clone().unwrap_or(PutOptions {
                metadata: source.metadata,
                content_type: source.content_type,
                condition: Condition::Always,
            });
            Ok(state.store(&copy.to, source.bytes, &options))
        })
        .await
    }

    async fn delete(&self, key: &str) -> Result<(), StorageError> {
        self.request(key, |state| {
            state.objects.remove(key);
            Ok(())
        })
        .await
    }
}
