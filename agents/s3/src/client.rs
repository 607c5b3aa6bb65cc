//! [`ObjectStorage`] over the SDK's client.
//!
//! One method, one request; what to send together is the callers' business.
//! Invariant: what the service answers is checked before it is believed: sizes are not negative, keys carry the prefix.

use std::ops::Range;

use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart, EncodingType, MetadataDirective};
use bytes::Bytes;

use crate::endpoint::{ConnectError, Endpoint};
use crate::error::{Place, StorageError};
use crate::sdk::{bare_etag, classify, connect, moment, quoted};
use crate::storage::{
    Condition, Copy, Fetched, ObjectHead, ObjectStorage, ObjectSummary, Page, Part, PutOptions, UploadId,
};

/// Keys in a page, S3's own limit.
const PAGE_KEYS_MAX: u32 = 1000;

/// A bucket reached by the AWS SDK. Clones share connections.
#[derive(Debug, Clone)]
pub struct S3Client {
    client: Client,
    bucket: String,
}

impl S3Client {
    /// Sets up a client; reads the credentials file but sends nothing.
    pub async fn connect(endpoint: &Endpoint) -> Result<Self, ConnectError> {
        Self::connect_as(endpoint, None).await
    }

    /// Like [`S3Client::connect`], with a profile of AWS's shared files for the SDK's chain.
    pub async fn connect_as(endpoint: &Endpoint, profile: Option<&str>) -> Result<Self, ConnectError> {
        Ok(Self { client: connect(endpoint, profile).await?, bucket: endpoint.bucket.clone() })
    }

    fn place(&self, key: &str) -> Place {
        Place { bucket: self.bucket.clone(), key: key.to_owned() }
    }

    fn unsound(&self, key: &str, detail: &str) -> StorageError {
        StorageError::Other { place: self.place(key), code: "InvalidResponse".into(), detail: detail.into() }
    }

    fn size(&self, key: &str, size: Option<i64>) -> Result<u64, StorageError> {
        size.and_then(|s| u64::try_from(s).ok()).ok_or_else(|| self.unsound(key, "the answer gives no size"))
    }

    fn summary(
        &self,
        object: &aws_sdk_s3::types::Object,
        encoded: bool,
    ) -> Result<ObjectSummary, StorageError> {
        let key = decoded(object.key().unwrap_or_default(), encoded);
        Ok(ObjectSummary {
            size: self.size(&key, object.size())?,
            last_modified: moment(object.last_modified()),
            etag: bare_etag(object.e_tag()),
            key,
        })
    }

    /// `bucket/key` as the copy header wants it.
    fn source(&self, key: &str) -> String {
        format!("{}/{}", self.bucket, percent_encoded(key))
    }
}

impl ObjectStorage for S3Client {
    async fn check(&self) -> Result<(), StorageError> {
        // Not HEAD: its 404 and 403 have no body, and one key is what the mover needs to be allowed to list.
        self.list("", None, 1).await.map(|_| ())
    }

    async fn list(&self, prefix: &str, after: Option<&str>, limit: u32) -> Result<Page, StorageError> {
        let request = self.client.list_objects_v2().bucket(&self.bucket).prefix(prefix);
        let request = request
            .set_start_after(after.map(str::to_owned))
            .max_keys(i32::try_from(limit.min(PAGE_KEYS_MAX)).unwrap_or(1))
            .encoding_type(EncodingType::Url);
        let output = request.send().await.map_err(|e| classify(self.place(prefix), e))?;
        let encoded = output.encoding_type() == Some(&EncodingType::Url);
        let objects = output.contents().iter().map(|object| self.summary(object, encoded));
        let objects: Vec<_> = objects.collect::<Result<_, _>>()?;
        if objects.iter().any(|object| !object.key.starts_with(prefix)) {
            return Err(self.unsound(prefix, "the listing holds a key without the prefix"));
        }
        Ok(Page { more: output.is_truncated() == Some(true) && !objects.is_empty(), objects })
    }

    async fn head(&self, key: &str) -> Result<ObjectHead, StorageError> {
        let request = self.client.head_object().bucket(&self.bucket).key(key);
        let output = request.send().await.map_err(|e| classify(self.place(key), e))?;
        Ok(ObjectHead {
            size: self.size(key, output.content_length())?,
            last_modified: moment(output.last_modified()),
            etag: bare_etag(output.e_tag()),
            metadata: output.metadata().cloned().unwrap_or_default().into_iter().collect(),
            content_type: output.content_type().map(str::to_owned),
            storage_class: output.storage_class().map(|class| class.as_str().to_owned()),
        })
    }

    async fn get(
        &self,
        key: &str,
        range: Range<u64>,
        if_match: Option<&str>,
    ) -> Result<Fetched, StorageError> {
        let request = self.client.get_object().bucket(&self.bucket).key(key);
        let last = range.end.saturating_sub(1);
        let request =
            request.range(format!("bytes={}-{last}", range.start)).set_if_match(if_match.map(quoted));
        let output = request.send().await.map_err(|e| classify(self.place(key), e))?;
        let etag = bare_etag(output.e_tag());
        let promised = self.size(key, output.content_length())?;
        if promised > range.end - range.start {
            return Err(self.unsound(key, "the answer is longer than the range"));
        }
        let bytes = output.body.collect().await;
        let bytes = bytes
            .map_err(|e| StorageError::Unreachable { place: self.place(key), cause: e.to_string() })?
            .into_bytes();
        if bytes.len() as u64 != promised {
            let cause = format!("{} of {promised} bytes arrived", bytes.len());
            return Err(StorageError::Unreachable { place: self.place(key), cause });
        }
        Ok(Fetched { bytes, etag })
    }

    async fn put(&self, key: &str, bytes: Bytes, options: &PutOptions) -> Result<String, StorageError> {
        let (if_match, if_none_match) = headers(&options.condition);
        let request = self.client.put_object().bucket(&self.bucket).key(key);
        let request = request
            .set_metadata(Some(options.metadata.clone().into_iter().collect()))
            .set_content_type(options.content_type.clone())
            .set_if_match(if_match)
            .set_if_none_match(if_none_match)
            .body(ByteStream::from(bytes));
        let output = request.send().await.map_err(|e| classify(self.place(key), e))?;
        Ok(bare_etag(output.e_tag()))
    }

    async fn begin(&self, key: &str, options: &PutOptions) -> Result<UploadId, StorageError> {
        let request = self.client.create_multipart_upload().bucket(&self.bucket).key(key);
        let request = request
            .set_metadata(Some(options.metadata.clone().into_iter().collect()))
            .set_content_type(options.content_type.clone());
        let output = request.send().await.map_err(|e| classify(self.place(key), e))?;
        let upload = output.upload_id().ok_or_else(|| self.unsound(key, "the upload has no id"))?;
        Ok(UploadId(upload.to_owned()))
    }

    async fn upload(
        &self,
        key: &str,
        upload: &UploadId,
        number: u32,
        bytes: Bytes,
    ) -> Result<Part, StorageError> {
        let request = self.client.upload_part().bucket(&self.bucket).key(key).upload_id(&upload.0);
        let request = request.part_number(part_number(number)).body(ByteStream::from(bytes));
        let output = request.send().await.map_err(|e| classify(self.place(key), e))?;
        Ok(Part { number, etag: bare_etag(output.e_tag()) })
    }

    async fn upload_copy(
        &self,
        copy: &Copy,
        upload: &UploadId,
        number: u32,
        range: Range<u64>,
    ) -> Result<Part, StorageError> {
        let request = self.client.upload_part_copy().bucket(&self.bucket).key(&copy.to).upload_id(&upload.0);
        let request = request
            .part_number(part_number(number))
            .copy_source(self.source(&copy.from))
            .copy_source_range(format!("bytes={}-{}", range.start, range.end.saturating_sub(1)))
            .set_copy_source_if_match(copy.from_match.as_deref().map(quoted));
        let output = request.send().await.map_err(|e| classify(self.place(&copy.from), e))?;
        let etag = output.copy_part_result().and_then(|result| result.e_tag());
        Ok(Part { number, etag: bare_etag(etag) })
    }

    async fn complete(
        &self,
        key: &str,
        upload: &UploadId,
        parts: &[Part],
        condition: &Condition,
    ) -> Result<String, StorageError> {
        let parts = parts.iter().map(|part| {
            CompletedPart::builder().part_number(part_number(part.number)).e_tag(quoted(&part.etag)).build()
        });
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts.collect())).build();
        let (if_match, if_none_match) = headers(condition);
        let request = self.client.complete_multipart_upload().bucket(&self.bucket).key(key);
        let request = request
            .upload_id(&upload.0)
            .multipart_upload(parts)
            .set_if_match(if_match)
            .set_if_none_match(if_none_match);
        let output = request.send().await.map_err(|e| classify(self.place(key), e))?;
        Ok(bare_etag(output.e_tag()))
    }

    async fn abort(&self, key: &str, upload: &UploadId) -> Result<(), StorageError> {
        let request = self.client.abort_multipart_upload().bucket(&self.bucket).key(key);
        let result = request.upload_id(&upload.0).send().await.map_err(|e| classify(self.place(key), e));
        match result {
            Ok(_) | Err(StorageError::NotFound { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn copy(&self, copy: &Copy) -> Result<String, StorageError> {
        let request = self.client.copy_object().bucket(&self.bucket).key(&copy.to);
        let mut request = request
            .copy_source(self.source(&copy.from))
            .set_copy_source_if_match(copy.from_match.as_deref().map(quoted));
        if let Some(options) = &copy.replace {
            request = request
                .metadata_directive(MetadataDirective::Replace)
                .set_metadata(Some(options.metadata.clone().into_iter().collect()))
                .set_content_type(options.content_type.clone());
        }
        let output = request.send().await.map_err(|e| classify(self.place(&copy.from), e))?;
        let etag = output.copy_object_result().and_then(|result| result.e_tag());
        Ok(bare_etag(etag))
    }

    async fn delete(&self, key: &str) -> Result<(), StorageError> {
        let request = self.client.delete_object().bucket(&self.bucket).key(key);
        match request.send().await.map_err(|e| classify(self.place(key), e)) {
            Ok(_) | Err(StorageError::NotFound { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// `If-Match` and `If-None-Match` of a condition.
fn headers(condition: &Condition) -> (Option<String>, Option<String>) {
    match condition {
        Condition::Always => (None, None),
        Condition::IfAbsent => (None, Some("*".to_owned())),
        Condition::IfMatch(etag) => (Some(quoted(etag)), None),
    }
}

fn part_number(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

/// Escapes a key for the copy header, which the SDK sends as it is given.
fn percent_encoded(key: &str) -> String {
    let mut text = String::with_capacity(key.len());
    for byte in key.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b'/' => {
                text.push(byte.into())
            }
            other => text.push_str(&format!("%{other:02X}")),
        }
    }
    text
}

/// Undoes the `url` encoding of a listing, in which XML can hold any key.
fn decoded(text: &str, encoded: bool) -> String {
    if !encoded || !text.contains(['%', '+']) {
        return text.to_owned();
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let escaped = tail.get(..2).filter(|_| first == b'%');
        let escaped = escaped.and_then(|hex| std::str::from_utf8(hex).ok());
        match escaped.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            None => {
                bytes.push(if first == b'+' { b' ' } else { first });
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::{decoded, percent_encoded};

    #[test]
    fn keys_survive_the_listing_s_encoding() {
        for key in ["a/b c+d", "%41", "ä/\u{1}", "plain", "100%"] {
            assert_eq!(decoded(&percent_encoded(key), true), key);
        }
        assert_eq!(decoded("a+b%zz", true), "a b%zz");
        assert_eq!(decoded("a+b", false), "a+b");
    }
}
