//! The interface: objects, pages of a listing, conditional writes, multipart uploads.
//!
//! A trait, so that the logic above it is tested against an in-memory bucket that injects faults.
//! Invariant: a write with a [`Condition`] either happened under that condition or did not happen.

use std::collections::BTreeMap;
use std::future::Future;
use std::ops::Range;
use std::time::SystemTime;

use bytes::Bytes;

use crate::error::StorageError;

/// User metadata: names without `x-amz-meta-`, in lower case.
pub type Metadata = BTreeMap<String, String>;

/// When a write may happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// Whatever is there.
    Always,
    /// Only where nothing is (`If-None-Match: *`).
    IfAbsent,
    /// Only over this version (`If-Match`).
    IfMatch(String),
}

/// One key of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectSummary {
    /// The whole key.
    pub key: String,
    /// Bytes.
    pub size: u64,
    /// When it was written.
    pub last_modified: SystemTime,
    /// Version of the content, without quotes.
    pub etag: String,
}

/// A page of a listing in key order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The keys.
    pub objects: Vec<ObjectSummary>,
    /// Keys follow behind the last one.
    pub more: bool,
}

/// What HEAD says of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectHead {
    /// Bytes.
    pub size: u64,
    /// When it was written.
    pub last_modified: SystemTime,
    /// Version of the content, without quotes.
    pub etag: String,
    /// User metadata.
    pub metadata: Metadata,
    /// `Content-Type`
    pub content_type: Option<String>,
    /// `x-amz-storage-class`, absent for the standard class.
    pub storage_class: Option<String>,
}

/// Bytes of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// The bytes of the range that exist.
    pub bytes: Bytes,
    /// The version they are from, without quotes.
    pub etag: String,
}

/// How an object is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PutOptions {
    /// User metadata.
    pub metadata: Metadata,
    /// `Content-Type`, the service's default when absent.
    pub content_type: Option<String>,
    /// When it may be written. For a multipart upload it is checked at completion.
    pub condition: Condition,
}

/// A server-side copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copy {
    /// Source key, in the same bucket.
    pub from: String,
    /// Target key.
    pub to: String,
    /// The target's metadata instead of the source's.
    pub replace: Option<PutOptions>,
    /// Only from this version of the source.
    pub from_match: Option<String>,
}

/// Names a multipart upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadId(pub String);

/// An uploaded part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// From 1 to 10 000.
    pub number: u32,
    /// Version of its bytes, without quotes.
    pub etag: String,
}

/// One bucket.
pub trait ObjectStorage: Send + Sync + 'static {
    /// Says whether the bucket is there and may be listed.
    fn check(&self) -> impl Future<Output = Result<(), StorageError>> + Send;

    /// Lists up to `limit` (at most 1000) keys with `prefix`, strictly behind `after` when given, in byte order.
    fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: u32,
    ) -> impl Future<Output = Result<Page, StorageError>> + Send;

    /// Reads an object's attributes and user metadata.
    fn head(&self, key: &str) -> impl Future<Output = Result<ObjectHead, StorageError>> + Send;

    /// Reads bytes, of the version `if_match` only when given. The object must reach beyond `range.start`.
    fn get(
        &self,
        key: &str,
        range: Range<u64>,
        if_match: Option<&str>,
    ) -> impl Future<Output = Result<Fetched, StorageError>> + Send;

    /// Writes an object in one request and returns its version.
    fn put(
        &self,
        key: &str,
        bytes: Bytes,
        options: &PutOptions,
    ) -> impl Future<Output = Result<String, StorageError>> + Send;

    /// Begins a multipart upload; the condition of `options` is given again to [`ObjectStorage::complete`].
    fn begin(
        &self,
        key: &str,
        options: &PutOptions,
    ) -> impl Future<Output = Result<UploadId, StorageError>> + Send;

    /// Uploads part `number`.
    fn upload(
        &self,
        key: &str,
        upload: &UploadId,
        number: u32,
        bytes: Bytes,
    ) -> impl Future<Output = Result<Part, StorageError>> + Send;

    /// Copies bytes of another object into part `number`, from the version `copy.from_match` only when given.
    fn upload_copy(
        &self,
        copy: &Copy,
        upload: &UploadId,
        number: u32,
        range: Range<u64>,
    ) -> impl Future<Output = Result<Part, StorageError>> + Send;

    /// Makes the object of the parts, in their order, and returns its version.
    fn complete(
        &self,
        key: &str,
        upload: &UploadId,
        parts: &[Part],
        condition: &Condition,
    ) -> impl Future<Output = Result<String, StorageError>> + Send;

    /// Forgets an upload and its parts.
    fn abort(&self, key: &str, upload: &UploadId) -> impl Future<Output = Result<(), StorageError>> + Send;

    /// Copies an object of up to 5 GiB on the server and returns the copy's version.
    fn copy(&self, copy: &Copy) -> impl Future<Output = Result<String, StorageError>> + Send;

    /// Deletes an object; one that is not there is deleted already.
    fn delete(&self, key: &str) -> impl Future<Output = Result<(), StorageError>> + Send;
}
