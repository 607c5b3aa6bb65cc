//! Changes of objects whose content stays: metadata, names, removal.
//!
//! S3 has no such changes; metadata and names change by a copy on the server. Every step first looks whether it, or the one
//! before it, was already done: a crash repeats them all.
//! Invariant: an object that somebody else wrote since is neither moved, deleted nor given metadata.

use std::ops::Range;

use futures::stream::{self, StreamExt, TryStreamExt};
use lustre_model::attr::Attr;
use lustre_model::fid::Fid;
use lustre_model::hsm::HsmOutcome;
use lustre_s3::{Condition, Copy, ObjectHead, ObjectStorage, Part, PutOptions, StorageError, UploadId};

use crate::archive::{is_own, metadata};
use crate::failure::ActionError;

/// Largest object that one copy request takes.
const COPY_BYTES_MAX: u64 = 5 << 30;

/// Bytes of a part of larger ones.
const COPY_PART_BYTES: u64 = 1 << 30;

/// Parts copied at a time.
const COPY_PARTS_PARALLEL: usize = 4;

/// Gives an object the metadata of its inode; what others put beside FSx's keys stays.
pub(crate) async fn set_metadata(
    storage: &impl ObjectStorage,
    (fid, key): (Fid, &str),
    attr: &Attr,
    expect: Option<&str>,
) -> Result<HsmOutcome, ActionError> {
    let head = storage.head(key).await?;
    expected(key, &head, (expect, fid))?;
    let mut replaced = head.metadata.clone();
    replaced.extend(metadata(fid, attr));
    let options = PutOptions {
        metadata: replaced,
        content_type: head.content_type.clone(),
        condition: Condition::Always,
    };
    let copy = Copy {
        from: key.to_owned(),
        to: key.to_owned(),
        replace: Some(options),
        from_match: Some(head.etag.clone()),
    };
    Ok(HsmOutcome::Stored { etag: copied(storage, &copy, &head).await? })
}

/// Deletes an object, if it is there.
pub(crate) async fn remove(
    storage: &impl ObjectStorage,
    (fid, key): (Fid, &str),
    expect: Option<&str>,
) -> Result<HsmOutcome, ActionError> {
    match storage.head(key).await {
        Err(StorageError::NotFound { .. }) => return Ok(HsmOutcome::Done),
        Err(error) => return Err(error.into()),
        Ok(head) => expected(key, &head, (expect, fid))?,
    }
    storage.delete(key).await?;
    Ok(HsmOutcome::Done)
}

/// Moves an object to a key where nothing of anybody else's is.
pub(crate) async fn rename(
    storage: &impl ObjectStorage,
    fid: Fid,
    (from, to): (&str, &str),
    expect: Option<&str>,
) -> Result<HsmOutcome, ActionError> {
    if from == to {
        // Deleting the source would delete the copy.
        return Ok(HsmOutcome::Stored { etag: storage.head(to).await?.etag });
    }
    let there = match storage.head(to).await {
        Ok(head) => Some(head),
        Err(StorageError::NotFound { .. }) => None,
        Err(error) => return Err(error.into()),
    };
    let source = match (storage.head(from).await, &there) {
        (Ok(head), _) => head,
        // Copied and deleted by an attempt whose end was lost.
        (Err(StorageError::NotFound { .. }), Some(there)) if expected(to, there, (expect, fid)).is_ok() => {
            return Ok(HsmOutcome::Stored { etag: there.etag.clone() });
        }
        (Err(error), _) => return Err(error.into()),
    };
    expected(from, &source, (expect, fid))?;
    if let Some(there) = there.filter(|there| there.etag != source.etag && !is_own(there, fid)) {
        let (key, expected) = (to.to_owned(), "nothing".to_owned());
        return Err(ActionError::Changed { key, expected, found: there.etag });
    }
    let copy = Copy {
        from: from.to_owned(),
        to: to.to_owned(),
        replace: None,
        from_match: Some(source.etag.clone()),
    };
    let etag = copied(storage, &copy, &source).await?;
    storage.delete(from).await?;
    Ok(HsmOutcome::Stored { etag })
}

/// Fails unless the object is in the version that is known, or one that an attempt of ours made.
fn expected(key: &str, head: &ObjectHead, (expect, fid): (Option<&str>, Fid)) -> Result<(), ActionError> {
    match expect {
        Some(etag) if etag != head.etag && !is_own(head, fid) => Err(ActionError::Changed {
            key: key.to_owned(),
            expected: etag.to_owned(),
            found: head.etag.clone(),
        }),
        Some(_) | None => Ok(()),
    }
}

/// Copies on the server, in parts where the object is too large for one request.
async fn copied(
    storage: &impl ObjectStorage,
    copy: &Copy,
    source: &ObjectHead,
) -> Result<String, ActionError> {
    if source.size <= COPY_BYTES_MAX {
        return Ok(storage.copy(copy).await?);
    }
    let options = copy.replace.clone().unwrap_or_else(|| PutOptions {
        metadata: source.metadata.clone(),
        content_type: source.content_type.clone(),
        condition: Condition::Always,
    });
    let upload = storage.begin(&copy.to, &options).await?;
    let stored = async {
        let parts = copied_parts(storage, copy, (&upload, source.size)).await?;
        storage.complete(&copy.to, &upload, &parts, &Condition::Always).await
    };
    match stored.await {
        Ok(etag) => Ok(etag),
        Err(error) => {
            if let Err(abort) = storage.abort(&copy.to, &upload).await {
                tracing::warn!(error = &abort as &dyn std::error::Error, "an upload was not aborted");
            }
            Err(error.into())
        }
    }
}

async fn copied_parts(
    storage: &impl ObjectStorage,
    copy: &Copy,
    (upload, size): (&UploadId, u64),
) -> Result<Vec<Part>, StorageError> {
    let ranges = (0..size.div_ceil(COPY_PART_BYTES)).map(|index| {
        let start = index * COPY_PART_BYTES;
        Range { start, end: size.min(start + COPY_PART_BYTES) }
    });
    let parts = stream::iter((1_u32..).zip(ranges))
        .map(|(number, range)| storage.upload_copy(copy, upload, number, range));
    parts.buffered(COPY_PARTS_PARALLEL).try_collect().await
}
