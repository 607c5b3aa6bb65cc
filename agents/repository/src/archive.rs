//! Export of a file, a directory or a symbolic link: its bytes and FSx's metadata keys become an object.
//!
//! Small files are one PUT, larger ones a multipart upload whose parts go in parallel. The write is conditional on the
//! version that the metadata target knows. When the condition fails, the object may still be ours: an attempt whose answer
//! was lost, before or behind a crash. Objects that we write therefore carry the FID of their file in `lustre-fid`; one that
//! carries this file's FID is written over in its present version, any other is a conflict.
//! Invariant: an object that somebody else wrote is never replaced; an upload that did not become an object is aborted.

use bytes::Bytes;
use futures::stream::{self, StreamExt, TryStreamExt};
use lustre_model::attr::{Attr, FileKind};
use lustre_model::fault::Fault;
use lustre_model::fid::Fid;
use lustre_model::hsm::HsmOutcome;
use lustre_model::layout::Layout;
use lustre_s3::{Condition, Metadata, ObjectHead, ObjectStorage, Part, PutOptions, StorageError, UploadId};

use crate::failure::ActionError;
use crate::file_system::FileSystem;
use crate::posix::{self, Posix};
use crate::transfers::Transfers;

/// Largest file that goes in one PUT.
const PUT_BYTES_MAX: u64 = 16 << 20;

/// Smallest part that we make of larger ones.
const PART_BYTES_MIN: u64 = 8 << 20;

/// Most parts of an upload.
const PARTS_MAX: u64 = 10_000;

/// Parts of one file under way at a time.
const PARTS_PARALLEL: usize = 4;

/// Largest object that S3 takes.
const OBJECT_BYTES_MAX: u64 = 5 << 40;

/// `x-amz-meta-lustre-fid`: the file that an object was made of.
pub(crate) const FID: &str = "lustre-fid";

/// What is to be stored.
#[derive(Debug)]
pub(crate) struct Archive<'a> {
    pub fid: Fid,
    pub key: &'a str,
    pub attr: &'a Attr,
    pub symlink: Option<&'a [u8]>,
    pub layout: Option<&'a Layout>,
    pub expect: Option<&'a str>,
}

/// Stores the file, and returns the object's version.
pub(crate) async fn archive(
    file_system: &impl FileSystem,
    storage: &impl ObjectStorage,
    transfers: &Transfers,
    work: &Archive<'_>,
) -> Result<HsmOutcome, ActionError> {
    let key = work.key.to_owned();
    match work.attr.kind {
        FileKind::Regular if work.attr.size > OBJECT_BYTES_MAX => Err(ActionError::TooLarge { key }),
        FileKind::Regular if work.attr.size > PUT_BYTES_MAX => {
            upload(file_system, storage, transfers, work).await
        }
        FileKind::Regular => {
            let _room = transfers.room(work.attr.size).await;
            let bytes = read(file_system, work, 0..work.attr.size).await?;
            unchanged(file_system, work).await?;
            put(storage, work, bytes).await
        }
        FileKind::Directory => put(storage, work, Bytes::new()).await,
        FileKind::Symlink => {
            put(storage, work, Bytes::copy_from_slice(work.symlink.unwrap_or_default())).await
        }
        kind @ (FileKind::Fifo | FileKind::Socket | FileKind::CharDevice | FileKind::BlockDevice) => {
            Err(ActionError::NotExportable { key, kind })
        }
    }
}

/// Returns the metadata of an inode's object.
pub(crate) fn metadata(fid: Fid, attr: &Attr) -> Metadata {
    let permissions = attr.kind.type_bits() | attr.mode;
    let (uid, gid, atime, mtime) = (attr.uid, attr.gid, attr.atime, attr.mtime);
    let mut metadata = posix::write(&Posix { permissions, uid, gid, atime, mtime });
    metadata.insert(FID.to_owned(), fid.to_string());
    metadata
}

/// Says whether an object was made of this file.
pub(crate) fn is_own(head: &ObjectHead, fid: Fid) -> bool {
    head.metadata.get(FID).is_some_and(|text| *text == fid.to_string())
}

fn options(work: &Archive<'_>, condition: Condition) -> PutOptions {
    PutOptions { metadata: metadata(work.fid, work.attr), content_type: None, condition }
}

fn condition(expect: Option<&str>) -> Condition {
    expect.map_or(Condition::IfAbsent, |etag| Condition::IfMatch(etag.to_owned()))
}

async fn read(
    file_system: &impl FileSystem,
    work: &Archive<'_>,
    range: std::ops::Range<u64>,
) -> Result<Bytes, ActionError> {
    let length = range.end - range.start;
    let bytes = match work.layout {
        Some(layout) if length > 0 => file_system.read(layout, range).await?,
        Some(_) | None => Bytes::new(),
    };
    if bytes.len() as u64 == length { Ok(bytes) } else { Err(Fault::Io.into()) }
}

/// Fails when the file is no longer what it was when the action was made: its bytes may be of two states.
async fn unchanged(file_system: &impl FileSystem, work: &Archive<'_>) -> Result<(), ActionError> {
    let changed = || ActionError::FileChanged { key: work.key.to_owned() };
    let now = match file_system.attr(work.fid).await {
        Ok(now) => now,
        Err(Fault::NotFound | Fault::Stale) => return Err(changed()),
        Err(fault) => return Err(fault.into()),
    };
    let same = (now.size, now.mtime) == (work.attr.size, work.attr.mtime);
    if same { Ok(()) } else { Err(changed()) }
}

async fn put(
    storage: &impl ObjectStorage,
    work: &Archive<'_>,
    bytes: Bytes,
) -> Result<HsmOutcome, ActionError> {
    let first = storage.put(work.key, bytes.clone(), &options(work, condition(work.expect))).await;
    let etag = match first {
        Err(StorageError::PreconditionFailed { .. } | StorageError::NotFound { .. }) => {
            let condition = second_condition(storage, work).await?;
            storage.put(work.key, bytes, &options(work, condition)).await?
        }
        other => other?,
    };
    Ok(HsmOutcome::Stored { etag })
}

/// The condition under which to try again when the first did not hold, unless that is a conflict.
async fn second_condition(
    storage: &impl ObjectStorage,
    work: &Archive<'_>,
) -> Result<Condition, ActionError> {
    match storage.head(work.key).await {
        // Nothing is there to be overwritten: whoever deleted it lost no bytes to us.
        Err(StorageError::NotFound { .. }) => Ok(Condition::IfAbsent),
        Ok(head) if is_own(&head, work.fid) => Ok(Condition::IfMatch(head.etag)),
        Ok(head) => Err(ActionError::Changed {
            key: work.key.to_owned(),
            expected: work.expect.unwrap_or("nothing").to_owned(),
            found: head.etag,
        }),
        Err(error) => Err(error.into()),
    }
}

async fn upload(
    file_system: &impl FileSystem,
    storage: &impl ObjectStorage,
    transfers: &Transfers,
    work: &Archive<'_>,
) -> Result<HsmOutcome, ActionError> {
    let first = condition(work.expect);
    let upload = storage.begin(work.key, &options(work, first.clone())).await?;
    let stored = async {
        let parts = parts(file_system, storage, transfers, (work, &upload)).await?;
        unchanged(file_system, work).await?;
        complete(storage, work, (&upload, &parts), first).await
    };
    match stored.await {
        Ok(etag) => Ok(HsmOutcome::Stored { etag }),
        Err(error) => {
            if let Err(abort) = storage.abort(work.key, &upload).await {
                tracing::warn!(error = &abort as &dyn std::error::Error, "an upload was not aborted");
            }
            Err(error)
        }
    }
}

async fn parts(
    file_system: &impl FileSystem,
    storage: &impl ObjectStorage,
    transfers: &Transfers,
    (work, upload): (&Archive<'_>, &UploadId),
) -> Result<Vec<Part>, ActionError> {
    let size = work.attr.size;
    let part_bytes = size.div_ceil(PARTS_MAX).next_multiple_of(1 << 20).max(PART_BYTES_MIN);
    let count = u32::try_from(size.div_ceil(part_bytes)).unwrap_or(u32::MAX);
    let parts = stream::iter(0..count).map(|index| async move {
        let start = u64::from(index) * part_bytes;
        let end = size.min(start + part_bytes);
        let _room = transfers.room(end - start).await;
        let bytes = read(file_system, work, start..end).await?;
        Ok::<Part, ActionError>(storage.upload(work.key, upload, index + 1, bytes).await?)
    });
    parts.buffered(PARTS_PARALLEL).try_collect().await
}

async fn complete(
    storage: &impl ObjectStorage,
    work: &Archive<'_>,
    (upload, parts): (&UploadId, &[Part]),
    condition: Condition,
) -> Result<String, ActionError> {
    match storage.complete(work.key, upload, parts, &condition).await {
        Err(StorageError::PreconditionFailed { .. }) => {
            let condition = second_condition(storage, work).await?;
            Ok(storage.complete(work.key, upload, parts, &condition).await?)
        }
        Err(StorageError::NotFound { place }) => {
            // Either the object of the condition is gone, or this upload is: completed by a request whose answer was lost.
            match storage.head(work.key).await {
                Ok(head) if head.size == work.attr.size && head.metadata == metadata(work.fid, work.attr) => {
                    Ok(head.etag)
                }
                Err(StorageError::NotFound { .. }) => {
                    Ok(storage.complete(work.key, upload, parts, &Condition::IfAbsent).await?)
                }
                Ok(_) => Err(StorageError::PreconditionFailed { place }.into()),
                Err(error) => Err(error.into()),
            }
        }
        other => Ok(other?),
    }
}
