//! Bytes on their way: a request's body into a staged file, a file into a response's body.
//!
//! The disk is touched on blocking threads only, a mebibyte at a time.
//! Invariant: a body whose digest was announced is staged only when the digest fits; a file that changes while it is sent
//! breaks the response off, so that no client takes a mixture of two versions for one.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures::stream::{self, Stream, StreamExt};
use s3s::TrailingHeaders;
use s3s::checksum::ChecksumHasher;
use s3s::dto::StreamingBlob;

use crate::bucket::fault::BucketError;
use crate::bucket::record::Stamp;
use crate::bucket::store::{Staged, Store, unchanged};

/// Bytes handed to the disk at a time.
const WRITE_BYTES: usize = 1 << 20;

/// Bytes read from the disk at a time.
const READ_BYTES: u64 = 512 << 10;

/// Digests that the client announced, in headers or in trailers.
pub(crate) struct Announced {
    headers: hyper::HeaderMap,
    trailers: Option<TrailingHeaders>,
}

const MD5: &str = "content-md5";
const CRC32: &str = "x-amz-checksum-crc32";
const CRC32C: &str = "x-amz-checksum-crc32c";
const CRC64: &str = "x-amz-checksum-crc64nvme";
const SHA1: &str = "x-amz-checksum-sha1";
const SHA256: &str = "x-amz-checksum-sha256";

impl Announced {
    /// Takes what a request says of its body.
    pub(crate) fn of(headers: hyper::HeaderMap, trailers: Option<TrailingHeaders>) -> Self {
        Self { headers, trailers }
    }

    fn hasher(&self) -> ChecksumHasher {
        ChecksumHasher {
            crc32: self.names(CRC32).then(Default::default),
            crc32c: self.names(CRC32C).then(Default::default),
            crc64nvme: self.names(CRC64).then(Default::default),
            sha1: self.names(SHA1).then(Default::default),
            sha256: self.names(SHA256).then(Default::default),
        }
    }

    /// Says whether the digest comes with the request, at its beginning or its end.
    fn names(&self, digest: &str) -> bool {
        let trailer = self.headers.get_all("x-amz-trailer").iter().filter_map(|value| value.to_str().ok());
        self.headers.contains_key(digest)
            || trailer.flat_map(|value| value.split(',')).any(|name| name.trim() == digest)
    }

    fn value(&self, digest: &str) -> Option<String> {
        let text = |headers: &hyper::HeaderMap| headers.get(digest)?.to_str().ok().map(str::to_owned);
        let late = || self.trailers.as_ref()?.read(text)?;
        text(&self.headers).or_else(late)
    }

    fn verify(&self, hasher: ChecksumHasher, md5: [u8; 16]) -> Result<(), BucketError> {
        let sums = hasher.finalize();
        let computed = [
            (MD5, Some(STANDARD.encode(md5))),
            (CRC32, sums.checksum_crc32),
            (CRC32C, sums.checksum_crc32c),
            (CRC64, sums.checksum_crc64nvme),
            (SHA1, sums.checksum_sha1),
            (SHA256, sums.checksum_sha256),
        ];
        for (digest, computed) in computed {
            if computed.is_some() && self.value(digest).is_some_and(|announced| Some(announced) != computed) {
                return Err(BucketError::BadDigest { digest });
            }
        }
        Ok(())
    }
}

/// Runs work on the disk where it blocks nobody.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, BucketError> + Send + 'static,
) -> Result<T, BucketError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(BucketError::Io(std::io::Error::other(error))),
    }
}

/// Stages the whole body of a request.
pub(crate) async fn receive(
    store: &Arc<Store>,
    body: Option<StreamingBlob>,
    announced: &Announced,
) -> Result<Staged, BucketError> {
    let opened = Arc::clone(store);
    let mut hasher = announced.hasher();
    let mut staged = blocking(move || opened.stage()).await?;
    let mut body = body;
    let mut ended = body.is_none();
    while !ended {
        let mut pieces = Vec::new();
        let mut length = 0;
        while length < WRITE_BYTES {
            let piece = match &mut body {
                Some(stream) => stream.next().await,
                None => None,
            };
            let Some(piece) = piece else {
                ended = true;
                break;
            };
            let piece = piece.map_err(|_| BucketError::IncompleteBody)?;
            length += piece.len();
            pieces.push(piece);
        }
        (staged, hasher) = blocking(move || {
            for piece in &pieces {
                hasher.update(piece);
                staged.write(piece)?;
            }
            Ok((staged, hasher))
        })
        .await?;
    }
    announced.verify(hasher, staged.md5())?;
    Ok(staged)
}

/// Sends a range of a file.
pub(crate) fn send(
    file: File,
    stamp: Stamp,
    range: Range<u64>,
) -> impl Stream<Item = Result<Bytes, BucketError>> + Send + Sync + 'static {
    let file = Arc::new(file);
    let pieces = stream::iter(pieces(range));
    pieces.then(move |piece| {
        let file = Arc::clone(&file);
        async move { blocking(move || read(&file, &stamp, piece)).await }
    })
}

fn pieces(range: Range<u64>) -> impl Iterator<Item = Range<u64>> {
    let end = range.end;
    std::iter::successors(Some(range.start), |start| start.checked_add(READ_BYTES))
        .take_while(move |start| *start < end)
        .map(move |start| start..end.min(start.saturating_add(READ_BYTES)))
}

fn read(file: &File, stamp: &Stamp, piece: Range<u64>) -> Result<Bytes, BucketError> {
    let length = usize::try_from(piece.end - piece.start).unwrap_or(0);
    let mut buffer = vec![0_u8; length];
    let read = file.read_exact_at(&mut buffer, piece.start);
    unchanged(file, stamp)?;
    read?;
    Ok(buffer.into())
}
