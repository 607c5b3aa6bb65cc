//! Between S3's messages and the bucket's own words.
//!
//! Values only; the operations are in `service.rs`.
//! Invariant: whatever a client sends is checked here before it becomes a key, a condition or a range.

use std::time::{Duration, SystemTime};

use s3s::dto::{
    CommonPrefix, CopySource, ETag, ETagCondition, Metadata, Object as S3Object, ObjectStorageClass,
    Timestamp,
};
use s3s::{S3Error, S3ErrorCode, S3Result, s3_error};

use crate::bucket::fault::BucketError;
use crate::bucket::listing::Listing;
use crate::bucket::record::{Draft, Headers, Object};
use crate::bucket::store::Condition;
use crate::bucket::walk::Listed;

impl From<BucketError> for S3Error {
    fn from(error: BucketError) -> Self {
        let code = match &error {
            BucketError::NoSuchKey => S3ErrorCode::NoSuchKey,
            BucketError::NoSuchUpload => S3ErrorCode::NoSuchUpload,
            BucketError::PreconditionFailed => S3ErrorCode::PreconditionFailed,
            BucketError::KeyLength => S3ErrorCode::KeyTooLongError,
            BucketError::KeyReserved | BucketError::AccessDenied => S3ErrorCode::AccessDenied,
            BucketError::InvalidPart { .. } => S3ErrorCode::InvalidPart,
            BucketError::InvalidPartOrder => S3ErrorCode::InvalidPartOrder,
            BucketError::PartTooSmall { .. } => S3ErrorCode::EntityTooSmall,
            BucketError::BadDigest { .. } => S3ErrorCode::BadDigest,
            BucketError::IncompleteBody => S3ErrorCode::IncompleteBody,
            BucketError::InvalidRange => S3ErrorCode::InvalidRange,
            BucketError::Changed => S3ErrorCode::OperationAborted,
            BucketError::NoSpace | BucketError::Io(_) => {
                tracing::error!(error = &error as &dyn std::error::Error, "a request on the bucket failed");
                S3ErrorCode::InternalError
            }
        };
        Self::with_message(code, error.to_string())
    }
}

/// An entity tag as S3 sends it.
pub(crate) fn etag(text: &str) -> Option<ETag> {
    Some(ETag::Strong(text.to_owned()))
}

/// The condition of a write.
pub(crate) fn condition(
    if_match: Option<&ETagCondition>,
    if_none_match: Option<&ETagCondition>,
) -> S3Result<Condition> {
    match (if_match, if_none_match) {
        (None, None) => Ok(Condition::Always),
        (Some(ETagCondition::Any), None) => Ok(Condition::IfPresent),
        (Some(ETagCondition::ETag(tag)), None) => Ok(Condition::IfMatch(tag.value().to_owned())),
        (None, Some(ETagCondition::Any)) => Ok(Condition::IfAbsent),
        (_, Some(_)) => Err(s3_error!(NotImplemented, "If-None-Match of a write must be *, and alone")),
    }
}

/// Conditions of a read, in the order that RFC 9110 gives them.
pub(crate) struct ReadConditions<'r> {
    pub if_match: Option<&'r ETagCondition>,
    pub if_none_match: Option<&'r ETagCondition>,
    pub if_modified_since: Option<&'r Timestamp>,
    pub if_unmodified_since: Option<&'r Timestamp>,
}

impl ReadConditions<'_> {
    /// Fails with 412 or 304 where the conditions say so.
    pub(crate) fn check(&self, object: &Object) -> S3Result<()> {
        // The header has whole seconds.
        let since = object.last_modified.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let last_modified = SystemTime::UNIX_EPOCH + Duration::from_secs(since.as_secs());
        let modified_since = |time: &Timestamp| Timestamp::from(last_modified) > *time;
        let stale = match (self.if_match, self.if_unmodified_since) {
            (Some(tag), _) => !matches(tag, object),
            (None, Some(time)) => modified_since(time),
            (None, None) => false,
        };
        if stale {
            return Err(BucketError::PreconditionFailed.into());
        }
        let known = match (self.if_none_match, self.if_modified_since) {
            (Some(tag), _) => matches(tag, object),
            (None, Some(time)) => !modified_since(time),
            (None, None) => false,
        };
        if known { Err(S3Error::new(S3ErrorCode::NotModified)) } else { Ok(()) }
    }
}

fn matches(condition: &ETagCondition, object: &Object) -> bool {
    condition.is_any() || condition.as_etag().is_some_and(|tag| tag.value() == object.etag)
}

/// The entity tag that a copy's source must have.
pub(crate) fn source_match(condition: Option<&ETagCondition>) -> Option<String> {
    condition.and_then(ETagCondition::as_etag).map(|tag| tag.value().to_owned())
}

/// The key that a copy is made of; only this bucket's.
pub(crate) fn source_key(source: &CopySource, bucket: &str) -> S3Result<String> {
    let CopySource::Bucket { bucket: from, key, version_id: None } = source else {
        return Err(s3_error!(NotImplemented, "copies are made of current versions of this bucket only"));
    };
    if **from == *bucket { Ok(key.to_string()) } else { Err(s3_error!(NoSuchBucket)) }
}

/// Parses `bytes=first-last` of a part's source.
pub(crate) fn source_range(text: Option<&str>, size: u64) -> S3Result<std::ops::Range<u64>> {
    let Some(text) = text else { return Ok(0..size) };
    let range = s3s::dto::Range::parse(text).map_err(|_| s3_error!(InvalidArgument, "not a range"))?;
    range.check(size).map_err(|_| BucketError::InvalidRange.into())
}

/// What a request says of the object it writes.
pub(crate) fn draft(headers: Headers, metadata: Option<Metadata>) -> Draft {
    let metadata = metadata.unwrap_or_default().into_iter();
    Draft { headers, metadata: metadata.map(|(key, value)| (key.to_ascii_lowercase(), value)).collect() }
}

/// User metadata as S3 sends them.
pub(crate) fn metadata(draft: &Draft) -> Option<Metadata> {
    let metadata = draft.metadata.iter().map(|(key, value)| (key.clone(), value.clone()));
    (!draft.metadata.is_empty()).then(|| metadata.collect())
}

/// Keys of a page as S3 sends them.
pub(crate) fn contents(listing: &Listing, url: bool) -> Option<Vec<S3Object>> {
    let object = |listed: &Listed| S3Object {
        key: Some(encoded(&listed.key, url)),
        size: i64::try_from(listed.object.size).ok(),
        e_tag: etag(&listed.object.etag),
        last_modified: Some(listed.object.last_modified.into()),
        storage_class: Some(ObjectStorageClass::from_static(ObjectStorageClass::STANDARD)),
        ..S3Object::default()
    };
    (!listing.objects.is_empty()).then(|| listing.objects.iter().map(object).collect())
}

/// Prefixes of a page as S3 sends them.
pub(crate) fn common_prefixes(listing: &Listing, url: bool) -> Option<Vec<CommonPrefix>> {
    let prefix = |text: &String| CommonPrefix { prefix: Some(encoded(text, url)) };
    (!listing.prefixes.is_empty()).then(|| listing.prefixes.iter().map(prefix).collect())
}

/// A text for XML, escaped as in URLs where the client asked for that.
pub(crate) fn encoded(text: &str, url: bool) -> String {
    if !url {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b'/' => {
                out.push(byte.into())
            }
            other => out.push_str(&format!("%{other:02X}")),
        }
    }
    out
}
