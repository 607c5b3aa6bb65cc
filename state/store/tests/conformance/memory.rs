//! A bucket in memory that fails and stalls as buckets and networks do.
//!
//! Versions are numbers, so that nothing can lean on what an entity tag is made of. Each client has its own faults.
//! Invariant: a conditional write is one step, whatever happens to its answer.

use std::collections::BTreeMap;
use std::ops::{Bound, Range};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::SystemTime;

use bytes::Bytes;
use lustre_s3::{
    Condition, Copy, Fetched, ObjectHead, ObjectStorage, ObjectSummary, Page, Part, Place, PutOptions,
    StorageError, UploadId,
};

/// What is in the bucket: bytes and version by key.
#[derive(Debug, Default)]
pub struct Objects {
    pub by_key: BTreeMap<String, (Bytes, String)>,
    /// The header of conditional writes that is not kept to.
    pub ignored: Option<&'static str>,
    version: u64,
}

/// What happens to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It is lost on the way.
    Before,
    /// It happens, and its answer is lost.
    After,
    /// It waits until [`Client::thaw`].
    FreezeBefore,
    /// It happens, and its answer waits.
    FreezeAfter,
}

/// When a client's requests fail.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    pub at: usize,
    pub fault: Fault,
    /// Whether all later ones fail too.
    pub for_ever: bool,
}

#[derive(Debug, Default)]
struct Line {
    requests: usize,
    plan: Option<Plan>,
    frozen: bool,
}

/// One client's way to the bucket.
#[derive(Debug, Clone, Default)]
pub struct Client {
    objects: Arc<Mutex<Objects>>,
    line: Arc<(Mutex<Line>, Condvar)>,
}

fn place(key: &str) -> Place {
    Place { bucket: "states".into(), key: key.into() }
}

impl Objects {
    fn check(&self, key: &str, condition: &Condition) -> Result<(), StorageError> {
        let there = self.by_key.get(key).map(|(_, etag)| etag);
        let holds = match condition {
            Condition::Always => true,
            Condition::IfAbsent => there.is_none() || self.ignored == Some("If-None-Match"),
            Condition::IfMatch(etag) => there == Some(etag) || self.ignored == Some("If-Match"),
        };
        if holds { Ok(()) } else { Err(StorageError::PreconditionFailed { place: place(key) }) }
    }

    pub fn store(&mut self, key: &str, bytes: Bytes) -> String {
        self.version += 1;
        let etag = format!("v{}", self.version);
        self.by_key.insert(key.to_owned(), (bytes, etag.clone()));
        etag
    }
}

impl Client {
    /// Another client of the same bucket.
    pub fn another(&self) -> Self {
        Self { objects: Arc::clone(&self.objects), line: Arc::default() }
    }

    pub fn objects(&self) -> MutexGuard<'_, Objects> {
        self.objects.lock().unwrap()
    }

    pub fn failing(self, plan: Plan) -> Self {
        self.line.0.lock().unwrap().plan = Some(plan);
        self
    }

    pub fn requests(&self) -> usize {
        self.line.0.lock().unwrap().requests
    }

    /// Waits until a request is frozen, or `done` says that none will be.
    pub fn await_frozen(&self, done: &dyn Fn() -> bool) {
        let mut line = self.line.0.lock().unwrap();
        while !line.frozen && !done() {
            line = self.line.1.wait_timeout(line, std::time::Duration::from_millis(1)).unwrap().0;
        }
    }

    /// Stops all requests from now on, as SIGSTOP does.
    pub fn freeze(&self) {
        let mut line = self.line.0.lock().unwrap();
        line.plan = Some(Plan { at: line.requests, fault: Fault::FreezeBefore, for_ever: true });
    }

    /// Lets frozen requests go on.
    pub fn thaw(&self) {
        let mut line = self.line.0.lock().unwrap();
        (line.plan, line.frozen) = (None, false);
        self.line.1.notify_all();
    }

    async fn request<T>(
        &self,
        key: &str,
        work: impl FnOnce(&mut Objects) -> Result<T, StorageError>,
    ) -> Result<T, StorageError> {
        let fault = {
            let mut line = self.line.0.lock().unwrap();
            let at = line.requests;
            line.requests += 1;
            let hit = |plan: &Plan| at == plan.at || (plan.for_ever && at > plan.at);
            line.plan.filter(hit).map(|plan| plan.fault)
        };
        let lost = || StorageError::Unreachable { place: place(key), cause: "made to fail".into() };
        match fault {
            None => work(&mut self.objects()),
            Some(Fault::Before) => Err(lost()),
            Some(Fault::After) => work(&mut self.objects()).and(Err(lost())),
            Some(Fault::FreezeBefore) => {
                self.wait_for_thaw().await;
                work(&mut self.objects())
            }
            Some(Fault::FreezeAfter) => {
                let outcome = work(&mut self.objects());
                self.wait_for_thaw().await;
                outcome
            }
        }
    }

    async fn wait_for_thaw(&self) {
        self.line.0.lock().unwrap().frozen = true;
        self.line.1.notify_all();
        while self.line.0.lock().unwrap().plan.is_some() {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    }
}

impl ObjectStorage for Client {
    async fn check(&self) -> Result<(), StorageError> {
        Ok(())
    }

    async fn list(&self, prefix: &str, after: Option<&str>, limit: u32) -> Result<Page, StorageError> {
        self.request(prefix, |objects| {
            let from = after.map_or(Bound::Unbounded, Bound::Excluded);
            let behind = objects.by_key.range::<str, _>((from, Bound::Unbounded));
            let mut found = behind.filter(|(key, _)| key.starts_with(prefix));
            let page = found.by_ref().take(limit as usize).map(|(key, (bytes, etag))| ObjectSummary {
                key: key.clone(),
                size: bytes.len() as u64,
                last_modified: SystemTime::UNIX_EPOCH,
                etag: etag.clone(),
            });
            let objects: Vec<_> = page.collect();
            Ok(Page { objects, more: found.next().is_some() })
        })
        .await
    }

    async fn head(&self, key: &str) -> Result<ObjectHead, StorageError> {
        self.request(key, |objects| {
            let missing = || StorageError::NotFound { place: place(key) };
            let (bytes, etag) = objects.by_key.get(key).ok_or_else(missing)?;
            Ok(ObjectHead {
                size: bytes.len() as u64,
                last_modified: SystemTime::UNIX_EPOCH,
                etag: etag.clone(),
                metadata: BTreeMap::new(),
                content_type: None,
                storage_class: None,
            })
        })
        .await
    }

    async fn get(
        &self,
        key: &str,
        range: Range<u64>,
        _if_match: Option<&str>,
    ) -> Result<Fetched, StorageError> {
        self.request(key, |objects| {
            let missing = || StorageError::NotFound { place: place(key) };
            let (bytes, etag) = objects.by_key.get(key).ok_or_else(missing)?;
            if range.start >= bytes.len() as u64 {
                let (code, detail) = ("InvalidRange".into(), "there is no such byte".into());
                return Err(StorageError::Other { place: place(key), code, detail });
            }
            let end = range.end.min(bytes.len() as u64) as usize;
            Ok(Fetched { bytes: bytes.slice(range.start as usize..end), etag: etag.clone() })
        })
        .await
    }

    async fn put(&self, key: &str, bytes: Bytes, options: &PutOptions) -> Result<String, StorageError> {
        self.request(key, |objects| {
            objects.check(key, &options.condition)?;
            Ok(objects.store(key, bytes))
        })
        .await
    }

    async fn begin(&self, key: &str, _: &PutOptions) -> Result<UploadId, StorageError> {
        Err(StorageError::NotFound { place: place(key) })
    }

    async fn upload(&self, key: &str, _: &UploadId, _: u32, _: Bytes) -> Result<Part, StorageError> {
        Err(StorageError::NotFound { place: place(key) })
    }

    async fn upload_copy(
        &self,
        copy: &Copy,
        _: &UploadId,
        _: u32,
        _: Range<u64>,
    ) -> Result<Part, StorageError> {
        Err(StorageError::NotFound { place: place(&copy.to) })
    }

    async fn complete(
        &self,
        key: &str,
        _: &UploadId,
        _: &[Part],
        _: &Condition,
    ) -> Result<String, StorageError> {
        Err(StorageError::NotFound { place: place(key) })
    }

    async fn abort(&self, _: &str, _: &UploadId) -> Result<(), StorageError> {
        Ok(())
    }

    async fn copy(&self, copy: &Copy) -> Result<String, StorageError> {
        Err(StorageError::NotFound { place: place(&copy.from) })
    }

    async fn delete(&self, key: &str) -> Result<(), StorageError> {
        self.request(key, |objects| {
            objects.by_key.remove(key);
            Ok(())
        })
        .await
    }
}
