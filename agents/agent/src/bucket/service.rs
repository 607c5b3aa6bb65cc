//! S3's operations on one bucket.
//!
//! Routing, XML and signatures are the `s3s` crate's; what an operation does is `store.rs`'s. What is not here is answered
//! with `NotImplemented`.
//! Invariant: no operation runs for another bucket's name.

use std::sync::Arc;

use async_trait::async_trait;
use s3s::dto::{
    AbortMultipartUploadInput, AbortMultipartUploadOutput, Bucket, CompleteMultipartUploadInput,
    CompleteMultipartUploadOutput, CopyObjectInput, CopyObjectOutput, CopyObjectResult, CopyPartResult,
    CreateBucketInput, CreateBucketOutput, CreateMultipartUploadInput, CreateMultipartUploadOutput,
    DeleteObjectInput, DeleteObjectOutput, DeleteObjectsInput, DeleteObjectsOutput, DeletedObject,
    EncodingType, Error, GetBucketLocationInput, GetBucketLocationOutput, GetBucketVersioningInput,
    GetBucketVersioningOutput, GetObjectInput, GetObjectOutput, HeadBucketInput, HeadBucketOutput,
    HeadObjectInput, HeadObjectOutput, ListBucketsInput, ListBucketsOutput, ListMultipartUploadsInput,
    ListMultipartUploadsOutput, ListObjectsInput, ListObjectsOutput, ListObjectsV2Input, ListObjectsV2Output,
    ListPartsInput, ListPartsOutput, MetadataDirective, MultipartUpload, Part, PutObjectInput,
    PutObjectOutput, StreamingBlob, UploadPartCopyInput, UploadPartCopyOutput, UploadPartInput,
    UploadPartOutput,
};
use s3s::{S3, S3Request, S3Response, S3Result, s3_error};

use crate::bucket::answer::{
    ReadConditions, common_prefixes, condition, contents, draft, encoded, etag, metadata, source_key,
    source_match, source_range,
};
use crate::bucket::body::{Announced, blocking, receive, send};
use crate::bucket::fault::BucketError;
use crate::bucket::listing::{PAGE_KEYS_MAX, Query};
use crate::bucket::random_hex;
use crate::bucket::record::{Headers, Object, system_time};
use crate::bucket::store::{Condition, Content, Store};
use crate::bucket::upload::NamedPart;

/// Type of objects that came without one, S3's own default.
const CONTENT_TYPE_DEFAULT: &str = "binary/octet-stream";

/// Random bytes in the name of an upload.
const UPLOAD_ID_BYTES: usize = 16;

/// Keys in one DeleteObjects, S3's limit.
const DELETE_KEYS_MAX: usize = 1000;

/// The service of one bucket.
#[derive(Debug, Clone)]
pub(crate) struct Service {
    pub name: String,
    pub store: Arc<Store>,
}

impl Service {
    fn check_bucket(&self, bucket: &str) -> S3Result<()> {
        if bucket == self.name { Ok(()) } else { Err(s3_error!(NoSuchBucket)) }
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Store) -> Result<T, BucketError> + Send + 'static,
    ) -> S3Result<T> {
        let store = Arc::clone(&self.store);
        Ok(blocking(move || work(&store)).await?)
    }
}

fn page_limit(max_keys: Option<i32>) -> S3Result<usize> {
    match max_keys {
        None => Ok(PAGE_KEYS_MAX),
        Some(keys) => {
            let keys = usize::try_from(keys);
            keys.map(|keys| keys.min(PAGE_KEYS_MAX)).map_err(|_| s3_error!(InvalidArgument, "max-keys"))
        }
    }
}

fn is_url(encoding: Option<&EncodingType>) -> bool {
    encoding.is_some_and(|encoding| encoding.as_str() == EncodingType::URL)
}

fn length(size: u64) -> Option<i64> {
    i64::try_from(size).ok()
}

#[async_trait]
impl S3 for Service {
    async fn list_buckets(&self, _: S3Request<ListBucketsInput>) -> S3Result<S3Response<ListBucketsOutput>> {
        let bucket = Bucket { name: Some(self.name.clone()), ..Bucket::default() };
        Ok(S3Response::new(ListBucketsOutput { buckets: Some(vec![bucket]), ..ListBucketsOutput::default() }))
    }

    async fn create_bucket(
        &self,
        req: S3Request<CreateBucketInput>,
    ) -> S3Result<S3Response<CreateBucketOutput>> {
        match self.check_bucket(&req.input.bucket) {
            Ok(()) => Err(s3_error!(BucketAlreadyOwnedByYou)),
            Err(_) => Err(s3_error!(AccessDenied, "this server has one bucket, which its spec declares")),
        }
    }

    async fn head_bucket(&self, req: S3Request<HeadBucketInput>) -> S3Result<S3Response<HeadBucketOutput>> {
        self.check_bucket(&req.input.bucket)?;
        Ok(S3Response::new(HeadBucketOutput::default()))
    }

    async fn get_bucket_location(
        &self,
        req: S3Request<GetBucketLocationInput>,
    ) -> S3Result<S3Response<GetBucketLocationOutput>> {
        self.check_bucket(&req.input.bucket)?;
        Ok(S3Response::new(GetBucketLocationOutput::default()))
    }

    /// Never versioned, which rclone asks before it removes a tree.
    async fn get_bucket_versioning(
        &self,
        req: S3Request<GetBucketVersioningInput>,
    ) -> S3Result<S3Response<GetBucketVersioningOutput>> {
        self.check_bucket(&req.input.bucket)?;
        Ok(S3Response::new(GetBucketVersioningOutput::default()))
    }

    async fn list_objects_v2(
        &self,
        req: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        let input = req.input;
        self.check_bucket(&input.bucket)?;
        let limit = page_limit(input.max_keys)?;
        let after = match &input.continuation_token {
            None => input.start_after.clone().unwrap_or_default(),
            Some(token) => hex::decode(token)
                .ok()
                .and_then(|bytes| String::from_utf8(bytes).ok())
                .ok_or_else(|| s3_error!(InvalidArgument, "the continuation token is not ours"))?,
        };
        let delimiter = input.delimiter.clone().filter(|text| !text.is_empty());
        let query = Query { prefix: input.prefix.clone().unwrap_or_default(), delimiter, after, limit };
        let listing = self.run(move |store| store.list(&query)).await?;
        let url = is_url(input.encoding_type.as_ref());
        let count = listing.objects.len() + listing.prefixes.len();
        Ok(S3Response::new(ListObjectsV2Output {
            name: Some(input.bucket),
            prefix: input.prefix.map(|text| encoded(&text, url)),
            delimiter: input.delimiter.map(|text| encoded(&text, url)),
            start_after: input.start_after.map(|text| encoded(&text, url)),
            max_keys: i32::try_from(limit).ok(),
            key_count: i32::try_from(count).ok(),
            continuation_token: input.continuation_token,
            is_truncated: Some(listing.next.is_some()),
            contents: contents(&listing, url),
            common_prefixes: common_prefixes(&listing, url),
            next_continuation_token: listing.next.map(hex::encode),
            encoding_type: input.encoding_type,
            ..ListObjectsV2Output::default()
        }))
    }

    async fn list_objects(
        &self,
        req: S3Request<ListObjectsInput>,
    ) -> S3Result<S3Response<ListObjectsOutput>> {
        let input = req.input;
        self.check_bucket(&input.bucket)?;
        let limit = page_limit(input.max_keys)?;
        let after = input.marker.clone().unwrap_or_default();
        let delimiter = input.delimiter.clone().filter(|text| !text.is_empty());
        let query = Query { prefix: input.prefix.clone().unwrap_or_default(), delimiter, after, limit };
        let listing = self.run(move |store| store.list(&query)).await?;
        let url = is_url(input.encoding_type.as_ref());
        Ok(S3Response::new(ListObjectsOutput {
            name: Some(input.bucket),
            prefix: input.prefix.map(|text| encoded(&text, url)),
            delimiter: input.delimiter.map(|text| encoded(&text, url)),
            marker: Some(encoded(&input.marker.unwrap_or_default(), url)),
            max_keys: i32::try_from(limit).ok(),
            is_truncated: Some(listing.next.is_some()),
            contents: contents(&listing, url),
            common_prefixes: common_prefixes(&listing, url),
            next_marker: listing.next.map(|text| encoded(&text, url)),
            encoding_type: input.encoding_type,
            ..ListObjectsOutput::default()
        }))
    }

    async fn head_object(&self, req: S3Request<HeadObjectInput>) -> S3Result<S3Response<HeadObjectOutput>> {
        let input = req.input;
        self.check_bucket(&input.bucket)?;
        let key = input.key;
        let object = self.run(move |store| store.find(&key)).await?.0;
        let conditions = ReadConditions {
            if_match: input.if_match.as_ref(),
            if_none_match: input.if_none_match.as_ref(),
            if_modified_since: input.if_modified_since.as_ref(),
            if_unmodified_since: input.if_unmodified_since.as_ref(),
        };
        conditions.check(&object)?;
        let headers = object.draft.headers.clone();
        Ok(S3Response::new(HeadObjectOutput {
            accept_ranges: Some("bytes".to_owned()),
            content_length: length(object.size),
            e_tag: etag(&object.etag),
            last_modified: Some(object.last_modified.into()),
            metadata: metadata(&object.draft),
            content_type: Some(headers.content_type.unwrap_or_else(|| CONTENT_TYPE_DEFAULT.to_owned())),
            content_encoding: headers.content_encoding,
            content_language: headers.content_language,
            content_disposition: headers.content_disposition,
            cache_control: headers.cache_control,
            ..HeadObjectOutput::default()
        }))
    }

    async fn get_object(&self, req: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        let input = req.input;
        self.check_bucket(&input.bucket)?;
        let key = input.key;
        let (object, content) = self.run(move |store| store.find(&key)).await?;
        let conditions = ReadConditions {
            if_match: input.if_match.as_ref(),
            if_none_match: input.if_none_match.as_ref(),
            if_modified_since: input.if_modified_since.as_ref(),
            if_unmodified_since: input.if_unmodified_since.as_ref(),
        };
        conditions.check(&object)?;
        let range = match &input.range {
            None => 0..object.size,
            Some(range) => range.check(object.size).map_err(|_| BucketError::InvalidRange)?,
        };
        let last = range.end.saturating_sub(1);
        let content_range = input.range.map(|_| format!("bytes {}-{last}/{}", range.start, object.size));
        let output = described(&object);
        let content_length = length(range.end - range.start);
        Ok(S3Response::new(GetObjectOutput {
            body: Some(body(content, range)),
            content_length,
            content_range,
            ..output
        }))
    }

    async fn put_object(&self, req: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
        let announced = Announced::of(req.headers, req.trailing_headers);
        let input = req.input;
        self.check_bucket(&input.bucket)?;
        let condition = condition(input.if_match.as_ref(), input.if_none_match.as_ref())?;
        let headers = Headers {
            content_type: input.content_type,
            content_encoding: input.content_encoding,
            content_language: input.content_language,
            content_disposition: input.content_disposition,
            cache_control: input.cache_control,
        };
        let draft = draft(headers, input.metadata);
        let staged = receive(&self.store, input.body, &announced).await?;
        if input.content_length.is_some_and(|announced| length(staged.size()) != Some(announced)) {
            return Err(BucketError::IncompleteBody.into());
        }
        let key = input.key;
        let tag = self.run(move |store| store.put(&key, staged, draft, &condition)).await?;
        Ok(S3Response::new(PutObjectOutput { e_tag: etag(&tag), ..PutObjectOutput::default() }))
    }

    async fn copy_object(&self, req: S3Request<CopyObjectInput>) -> S3Result<S3Response<CopyObjectOutput>> {
        let input = req.input;
        self.check_bucket(&input.bucket)?;
        let from = source_key(&input.copy_source, &self.name)?;
        let from_match = source_match(input.copy_source_if_match.as_ref());
        let directive = input.metadata_directive.as_ref().map(MetadataDirective::as_str);
        let headers = Headers {
            content_type: input.content_type,
            content_encoding: input.content_encoding,
            content_language: input.content_language,
            content_disposition: input.content_disposition,
            cache_control: input.cache_control,
        };
        let replace = (directive == Some(MetadataDirective::REPLACE)).then(|| draft(headers, input.metadata));
        let to = input.key;
        let object = match replace {
            None if from == to => {
                return Err(s3_error!(InvalidRequest, "a copy onto itself must change the metadata"));
            }
            Some(draft) if from == to => {
                let condition = from_match.map_or(Condition::Always, Condition::IfMatch);
                self.run(move |store| store.redress(&to, draft, &condition)).await?
            }
            replace => self.run(move |store| store.copy(&from, &to, replace, from_match.as_deref())).await?,
        };
        let result = CopyObjectResult {
            e_tag: etag(&object.etag),
            last_modified: Some(object.last_modified.into()),
            ..CopyObjectResult::default()
        };
        Ok(S3Response::new(CopyObjectOutput {
            copy_object_result: Some(result),
            ..CopyObjectOutput::default()
        }))
    }

    async fn delete_object(
        &self,
        req: S3Request<DeleteObjectInput>,
    ) -> S3Result<S3Response<DeleteObjectOutput>> {
        let input = req.input;
        self.check_bucket(&input.bucket)?;
        let condition = condition(input.if_match.as_ref(), None)?;
        let key = input.key;
        self.run(move |store| store.delete(&key, &condition)).await?;
        Ok(S3Response::new(DeleteObjectOutput::default()))
    }

    async fn delete_objects(
        &self,
        req: S3Request<DeleteObjectsInput>,
    ) -> S3Result<S3Response<DeleteObjectsOutput>> {
        let input = req.input;
        self.check_bucket(&input.bucket)?;
        if input.delete.objects.len() > DELETE_KEYS_MAX {
            return Err(s3_error!(MalformedXML, "more than 1000 keys"));
        }
        let quiet = input.delete.quiet.unwrap_or(false);
        let (mut deleted, mut errors) = (Vec::new(), Vec::new());
        for object in input.delete.objects {
            let key = object.key.clone();
            match self.run(move |store| store.delete(&object.key, &Condition::Always)).await {
                Ok(()) if quiet => {}
                Ok(()) => deleted.push(DeletedObject { key: Some(key), ..DeletedObject::default() }),
                Err(error) => errors.push(Error {
                    key: Some(key),
                    code: Some(error.code().as_str().to_owned()),
                    message: error.message().map(str::to_owned),
                    ..Error::default()
                }),
            }
        }
        Ok(S3Response::new(DeleteObjectsOutput {
            deleted: Some(deleted),
            errors: (!errors.is_empty()).then_some(errors),
            ..DeleteObjectsOutput::default()
        }))
    }

    async fn create_multipart_upload(
        &self,
        req: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        let input = req.input;
        self.check_bucket(&input.bucket)?;
        let headers = Headers {
            content_type: input.content_type,
            content_encoding: input.content_encoding,
            content_language: input.content_language,
            content_disposition: input.content_disposition,
            cache_control: input.cache_control,
        };
        let draft = draft(headers, input.metadata);
        let key = input.key.clone();
        let id = self
            .run(move |store| {
                let id = random_hex(UPLOAD_ID_BYTES)?;
                store.begin(&id, &key, draft).map(|()| id)
            })
            .await?;
        Ok(S3Response::new(CreateMultipartUploadOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            upload_id: Some(id),
            ..CreateMultipartUploadOutput::default()
        }))
    }

    async fn upload_part(&self, req: S3Request<UploadPartInput>) -> S3Result<S3Response<UploadPartOutput>> {
        let announced = Announced::of(req.headers, req.trailing_headers);
        let input = req.input;
        self.check_bucket(&input.bucket)?;
        let (id, key) = (input.upload_id, input.key);
        let known = id.clone();
        self.run(move |store| store.upload(&known, &key)).await?;
        let staged = receive(&self.store, input.body, &announced).await?;
        let number = u32::try_from(input.part_number).unwrap_or(0);
        let tag = self.run(move |store| store.put_part(&id, number, staged)).await?;
        Ok(S3Response::new(UploadPartOutput { e_tag: etag(&tag), ..UploadPartOutput::default() }))
    }

    async fn upload_part_copy(
        &self,
        req: S3Request<UploadPartCopyInput>,
    ) -> S3Result<S3Response<UploadPartCopyOutput>> {
        let input = req.input;
        self.check_bucket(&input.bucket)?;
        let from = source_key(&input.copy_source, &self.name)?;
        let (id, key) = (input.upload_id, input.key);
        let known = id.clone();
        let (object, content) = self
            .run(move |store| {
                store.upload(&known, &key)?;
                store.find(&from)
            })
            .await?;
        if source_match(input.copy_source_if_match.as_ref()).is_some_and(|tag| tag != object.etag) {
            return Err(BucketError::PreconditionFailed.into());
        }
        let range = source_range(input.copy_source_range.as_deref(), object.size)?;
        let announced = Announced::of(hyper::HeaderMap::new(), None);
        let staged = receive(&self.store, Some(body(content, range)), &announced).await?;
        let number = u32::try_from(input.part_number).unwrap_or(0);
        let tag = self.run(move |store| store.put_part(&id, number, staged)).await?;
        let result = CopyPartResult { e_tag: etag(&tag), ..CopyPartResult::default() };
        Ok(S3Response::new(UploadPartCopyOutput {
            copy_part_result: Some(result),
            ..UploadPartCopyOutput::default()
        }))
    }

    async fn complete_multipart_upload(
        &self,
        req: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        let input = req.input;
        self.check_bucket(&input.bucket)?;
        let condition = condition(input.if_match.as_ref(), input.if_none_match.as_ref())?;
        let parts = input.multipart_upload.and_then(|upload| upload.parts).unwrap_or_default();
        let named: Vec<NamedPart> = parts
            .into_iter()
            .map(|part| NamedPart {
                number: part.part_number.and_then(|number| u32::try_from(number).ok()).unwrap_or(0),
                etag: part.e_tag.map(|tag| tag.value().to_owned()).unwrap_or_default(),
            })
            .collect();
        let (id, key) = (input.upload_id, input.key.clone());
        let tag = self.run(move |store| store.complete(&id, &key, &named, &condition)).await?;
        Ok(S3Response::new(CompleteMultipartUploadOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            e_tag: etag(&tag),
            ..CompleteMultipartUploadOutput::default()
        }))
    }

    async fn abort_multipart_upload(
        &self,
        req: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        let input = req.input;
        self.check_bucket(&input.bucket)?;
        self.run(move |store| store.abort(&input.upload_id, &input.key)).await?;
        Ok(S3Response::new(AbortMultipartUploadOutput::default()))
    }

    async fn list_parts(&self, req: S3Request<ListPartsInput>) -> S3Result<S3Response<ListPartsOutput>> {
        let input = req.input;
        self.check_bucket(&input.bucket)?;
        let limit = page_limit(input.max_parts)?;
        let after = input.part_number_marker.and_then(|marker| u32::try_from(marker).ok()).unwrap_or(0);
        let (id, key) = (input.upload_id.clone(), input.key.clone());
        let parts = self.run(move |store| store.upload(&id, &key).and_then(|_| store.parts(&id))).await?;
        let mut parts: Vec<_> = parts.into_iter().filter(|part| part.number > after).collect();
        let more = parts.len() > limit;
        parts.truncate(limit);
        let last = parts.last().and_then(|part| i32::try_from(part.number).ok());
        let part = |part: crate::bucket::upload::UploadedPart| Part {
            part_number: i32::try_from(part.number).ok(),
            e_tag: etag(&part.etag),
            size: length(part.size),
            last_modified: Some(part.modified.into()),
            ..Part::default()
        };
        Ok(S3Response::new(ListPartsOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            upload_id: Some(input.upload_id),
            max_parts: i32::try_from(limit).ok(),
            is_truncated: Some(more),
            next_part_number_marker: last.filter(|_| more),
            part_number_marker: input.part_number_marker,
            parts: Some(parts.into_iter().map(part).collect()),
            ..ListPartsOutput::default()
        }))
    }

    async fn list_multipart_uploads(
        &self,
        req: S3Request<ListMultipartUploadsInput>,
    ) -> S3Result<S3Response<ListMultipartUploadsOutput>> {
        let input = req.input;
        self.check_bucket(&input.bucket)?;
        let limit = page_limit(input.max_uploads)?;
        let prefix = input.prefix.clone().unwrap_or_default();
        let after = (
            input.key_marker.clone().unwrap_or_default(),
            input.upload_id_marker.clone().unwrap_or_else(|| "g".to_owned()),
        );
        let uploads = self.run(|store| store.uploads()).await?;
        let behind =
            |id: &String, key: &String| input.key_marker.is_none() || (key, id) > (&after.0, &after.1);
        let mut uploads: Vec<_> = uploads
            .into_iter()
            .filter(|(id, upload)| upload.key.starts_with(&prefix) && behind(id, &upload.key))
            .collect();
        let more = uploads.len() > limit;
        uploads.truncate(limit);
        let last = uploads.last().filter(|_| more).cloned();
        let upload = |(id, upload): (String, crate::bucket::upload::Upload)| MultipartUpload {
            key: Some(upload.key),
            upload_id: Some(id),
            initiated: Some(system_time(upload.initiated).into()),
            ..MultipartUpload::default()
        };
        Ok(S3Response::new(ListMultipartUploadsOutput {
            bucket: Some(input.bucket),
            prefix: input.prefix,
            max_uploads: i32::try_from(limit).ok(),
            is_truncated: Some(more),
            next_key_marker: last.as_ref().map(|(_, upload)| upload.key.clone()),
            next_upload_id_marker: last.map(|(id, _)| id),
            uploads: Some(uploads.into_iter().map(upload).collect()),
            ..ListMultipartUploadsOutput::default()
        }))
    }
}

fn described(object: &Object) -> GetObjectOutput {
    let headers = object.draft.headers.clone();
    GetObjectOutput {
        accept_ranges: Some("bytes".to_owned()),
        e_tag: etag(&object.etag),
        last_modified: Some(object.last_modified.into()),
        metadata: metadata(&object.draft),
        content_type: Some(headers.content_type.unwrap_or_else(|| CONTENT_TYPE_DEFAULT.to_owned())),
        content_encoding: headers.content_encoding,
        content_language: headers.content_language,
        content_disposition: headers.content_disposition,
        cache_control: headers.cache_control,
        ..GetObjectOutput::default()
    }
}

fn body(content: Content, range: std::ops::Range<u64>) -> StreamingBlob {
    match content {
        Content::File(file, stamp) => StreamingBlob::wrap(send(file, stamp, range)),
        Content::Bytes(bytes) => {
            let start = usize::try_from(range.start).unwrap_or(usize::MAX);
            let end = usize::try_from(range.end).unwrap_or(usize::MAX);
            let piece = bytes.get(start..end).unwrap_or_default().to_vec();
            let pieces = futures::stream::iter([Ok::<_, BucketError>(piece.into())]);
            StreamingBlob::wrap(pieces)
        }
    }
}
