//! The bucket as a blocking caller sees it: whole objects, conditional writes whose outcome is always known.
//!
//! Knows nothing of states.
//! Invariant: [`Put::Done`] says that exactly these bytes were put under that condition, also when the answer to the request
//! that did it was lost; [`Put::Refused`] that they were not and will not be.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use lustre_s3::{
    Condition, Fetched, Metadata, ObjectStorage, ObjectSummary, Place, PutOptions, StorageError,
};

use crate::background::Background;

/// No object of a state is longer.
const OBJECT_BYTES_MAX: u64 = 4 << 30;

/// How often a request is made in all while what goes wrong may pass, the client's own attempts not counted.
const ATTEMPTS_MAX: u32 = 3;

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
}

impl<S> Clone for Bucket<S> {
    fn clone(&self) -> Self {
        let (storage, background) = (Arc::clone(&self.storage), Arc::clone(&self.background));
        Self { storage, background, pause: self.pause }
    }
}

impl<S: ObjectStorage> Bucket<S> {
    /// Reaches a bucket from this runtime.
    pub fn new(storage: Arc<S>, background: Arc<Background>, pause: Duration) -> Self {
        Self { storage, background, pause }
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

    /// Deletes an object.
    pub fn delete(&self, key: &str) -> Result<(), StorageError> {
        self.call(key, |storage, key| async move { storage.delete(&key).await })
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
        R: Future<Output = Result<T, StorageError>> + Send,
    {
        let (storage, owned, first) = (Arc::clone(&self.storage), key.to_owned(), self.pause);
        let attempts = async move {
            let mut pause = first;
            for _ in 1..ATTEMPTS_MAX {
                match request(Arc::clone(&storage), owned.clone()).await {
                    Err(error) if error.is_transient() => tokio::time::sleep(pause).await,
                    outcome => return outcome,
                }
                pause *= 2;
            }
            request(storage, owned).await
        };
        let place = || Place { bucket: String::new(), key: key.to_owned() };
        let lost =
            |cause: std::io::Error| StorageError::Unreachable { place: place(), cause: cause.to_string() };
        self.background.run(attempts).map_err(lost)?
    }
}
