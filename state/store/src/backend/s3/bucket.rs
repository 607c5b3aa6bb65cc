//! The bucket as a blocking caller sees it: whole objects, conditional writes whose outcome is always known.
//!
//! Knows nothing of states.
//! Invariant: [`Put::Done`] says that exactly these bytes were put under that condition, also when the answer to the request
//! that did it was lost; [`Put::Refused`] that they were not and will not be.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::task::JoinSet;

use lustre_s3::{
    Condition, Fetched, Metadata, ObjectStorage, ObjectSummary, Place, PutOptions, StorageError,
};

use crate::background::Background;

/// No object of a state is longer.
const OBJECT_BYTES_MAX: u64 = 4 << 30;

/// How often a request is made in all while what goes wrong may pass, the client's own attempts not counted.
const ATTEMPTS_MAX: u32 = 3;

/// Objects that are deleted at a time.
const DELETES_AT_ONCE: usize = 16;

/// Keys in a page of a listing.
const PAGE_KEYS_MAX: u32 = 1000;

/// Outcome of a conditional write.
#[derive(Debug)]
pub enum Put {
    /// It happened, and made this version.
    Done(String),
    /// The condition did not hold.
    Refused,
}

/// A bucket.
pub struct Bucket<S> {
    storage: Arc<S>,
    background: Arc<Background>,
    /// Pause before the second attempt; doubled for each further one.
    pause: Duration,
    /// Time for a request with all its attempts, where the caller cannot wait for as long as the client would.
    limit: Option<Duration>,
}

impl<S> Clone for Bucket<S> {
    fn clone(&self) -> Self {
        let (storage, background) = (Arc::clone(&self.storage), Arc::clone(&self.background));
        Self { storage, background, pause: self.pause, limit: self.limit }
    }
}

impl<S: ObjectStorage> Bucket<S> {
    /// Reaches a bucket from this runtime.
    pub fn new(storage: Arc<S>, background: Arc<Background>, pause: Duration) -> Self {
        Self { storage, background, pause, limit: None }
    }

    /// Gives each request no more time than this.
    pub fn within(self, limit: Duration) -> Self {
        Self { limit: Some(limit), ..self }
    }

    /// Returns the first `length` bytes of an object, or as many as it has; none when there is no such object.
    pub fn head_bytes(&self, key: &str, length: u64) -> Result<Option<Fetched>, StorageError> {
        let found =
            self.call(key, move |storage, key| async move { storage.get(&key, 0..length, None).await });
        match found {
            Ok(found) => Ok(Some(found)),
            Err(StorageError::NotFound { .. }) => Ok(None),
            // There is no byte at 0 of an empty object.
            Err(StorageError::Other { code, .. }) if code == "InvalidRange" || code == "416" => {
                let etag = self.version(key)?;
                Ok(etag.map(|etag| Fetched { bytes: Bytes::new(), etag }))
            }
            Err(error) => Err(error),
        }
    }

    /// Returns an object; none when there is no such object.
    pub fn get(&self, key: &str) -> Result<Option<Fetched>, StorageError> {
        self.head_bytes(key, OBJECT_BYTES_MAX)
    }

    /// Returns an object's version; none when there is no such object.
    pub fn version(&self, key: &str) -> Result<Option<String>, StorageError> {
        match self.call(key, |storage, key| async move { storage.head(&key).await }) {
            Ok(head) => Ok(Some(head.etag)),
            Err(StorageError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes an object under a condition. The bytes must be such that nobody else would write the same.
    pub fn put(&self, key: &str, bytes: &Bytes, condition: Condition) -> Result<Put, StorageError> {
        let options = PutOptions { metadata: Metadata::new(), content_type: None, condition };
        let body = bytes.clone();
        let put = self.call(key, move |storage, key| {
            let (options, body) = (options.clone(), body.clone());
            async move { storage.put(&key, body, &options).await }
        });
        match put {
            Ok(etag) => Ok(Put::Done(etag)),
            // An earlier attempt may have done it, and its answer was lost.
            Err(StorageError::PreconditionFailed { .. } | StorageError::NotFound { .. }) => {
                let found = self.get(key)?.filter(|found| found.bytes == *bytes);
                Ok(found.map_or(Put::Refused, |found| Put::Done(found.etag)))
            }
            Err(error) => Err(error),
        }
    }

    /// Deletes objects, several at a time.
    pub fn delete(&self, keys: &[String]) -> Result<(), StorageError> {
        let (storage, pause, owned) = (Arc::clone(&self.storage), self.pause, keys.to_vec());
        let all = async move {
            for some in owned.chunks(DELETES_AT_ONCE) {
                let mut deletes = JoinSet::new();
                for key in some {
                    let request = |storage: Arc<S>, key: String| async move { storage.delete(&key).await };
                    deletes.spawn(attempts(Arc::clone(&storage), key.clone(), pause, request));
                }
                while let Some(deleted) = deletes.join_next().await {
                    deleted.map_err(|panicked| unreachable("", panicked.to_string()))??;
                }
            }
            Ok(())
        };
        self.run(keys.first().map_or("", String::as_str), all)
    }

    /// Returns the first keys with a prefix, in byte order.
    pub fn list(&self, prefix: &str) -> Result<Vec<ObjectSummary>, StorageError> {
        let page =
            self.call(
                prefix,
                |storage, prefix| async move { storage.list(&prefix, None, PAGE_KEYS_MAX).await },
            )?;
        Ok(page.objects)
    }

    /// Makes a request, again while what goes wrong may pass.
    fn call<T, F, R>(&self, key: &str, request: F) -> Result<T, StorageError>
    where
        T: Send + 'static,
        F: Fn(Arc<S>, String) -> R + Send + 'static,
        R: Future<Output = Result<T, StorageError>> + Send + 'static,
    {
        let storage = Arc::clone(&self.storage);
        self.run(key, attempts(storage, key.to_owned(), self.pause, request))
    }

    /// Runs requests, for as long as they may take.
    fn run<T: Send + 'static>(
        &self,
        key: &str,
        requests: impl Future<Output = Result<T, StorageError>> + Send + 'static,
    ) -> Result<T, StorageError> {
        let (limit, owned) = (self.limit, key.to_owned());
        let limited = async move {
            let Some(limit) = limit else { return requests.await };
            let late = |_| unreachable(&owned, "no answer in time".to_owned());
            tokio::time::timeout(limit, requests).await.map_err(late)?
        };
        self.background.run(limited).map_err(|error| unreachable(key, error.to_string()))?
    }
}

fn unreachable(key: &str, cause: String) -> StorageError {
    StorageError::Unreachable { place: Place { bucket: String::new(), key: key.to_owned() }, cause }
}

/// Makes a request, again while what goes wrong may pass.
async fn attempts<S, T, F, R>(
    storage: Arc<S>,
    key: String,
    first: Duration,
    request: F,
) -> Result<T, StorageError>
where
    F: Fn(Arc<S>, String) -> R,
    R: Future<Output = Result<T, StorageError>>,
{
    let mut pause = first;
    for _ in 1..ATTEMPTS_MAX {
        match request(Arc::clone(&storage), key.clone()).await {
            Err(error) if error.is_transient() => tokio::time::sleep(pause).await,
            outcome => return outcome,
        }
        pause *= 2;
    }
    request(storage, key).await
}
