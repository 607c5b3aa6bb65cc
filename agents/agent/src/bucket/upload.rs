//! Multipart uploads: parts wait in the bucket's own folder until they become an object.
//!
//! ```text
//!  uploads/<id>/upload.json      key, headers and metadata
//!  uploads/<id>/<number>-<md5>   a part
//! ```
//! An upload outlives a restart; one that nobody finished is removed when the bucket starts and it is a week old.
//! Invariant: parts are removed only after the object they became is durable, or the upload was aborted.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use lustre_model::attr::Timestamp;
use md5::{Digest, Md5};
use rustix::fs::{Mode, OFlags};
use serde::{Deserialize, Serialize};

use crate::bucket::fault::BucketError;
use crate::bucket::key::Name;
use crate::bucket::record::{Draft, now};
use crate::bucket::store::{Condition, Staged, Store};

/// Highest number of a part.
const PART_NUMBER_MAX: u32 = 10_000;

/// Smallest part but the last.
const PART_BYTES_MIN: u64 = 5 << 20;

/// Age at which an upload that nobody finished is removed.
const AGE_MAX: Duration = Duration::from_secs(7 * 24 * 3600);

/// An upload that is under way.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Upload {
    pub key: String,
    pub draft: Draft,
    pub initiated: Timestamp,
}

/// A part that arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UploadedPart {
    pub number: u32,
    pub etag: String,
    pub size: u64,
    pub modified: SystemTime,
}

/// A part as completion names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NamedPart {
    pub number: u32,
    pub etag: String,
}

impl Store {
    /// Begins an upload under a name that nobody can guess.
    pub(crate) fn begin(&self, id: &str, key: &str, draft: Draft) -> Result<(), BucketError> {
        Name::of(key)?;
        let path = self.upload_path(id)?;
        fs_err::create_dir(&path)?;
        let upload = Upload { key: key.to_owned(), draft, initiated: now() };
        let bytes = serde_json::to_vec(&upload).map_err(|e| BucketError::Io(e.into()))?;
        let mut staged = self.stage()?;
        staged.write(&bytes)?;
        let directory = rustix::fs::open(&path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        staged.keep(&directory, "upload.json")?;
        rustix::fs::fsync(&directory)?;
        Ok(())
    }

    /// Returns the upload, if it is one of `key`.
    pub(crate) fn upload(&self, id: &str, key: &str) -> Result<Upload, BucketError> {
        let path = self.upload_path(id)?.join("upload.json");
        let bytes = fs_err::read(path).map_err(|_| BucketError::NoSuchUpload)?;
        let upload: Upload = serde_json::from_slice(&bytes).map_err(|e| BucketError::Io(e.into()))?;
        if upload.key == key { Ok(upload) } else { Err(BucketError::NoSuchUpload) }
    }

    /// Adds a part, in the place of an earlier one of the same number, and returns its entity tag.
    pub(crate) fn put_part(&self, id: &str, number: u32, staged: Staged) -> Result<String, BucketError> {
        if !(1..=PART_NUMBER_MAX).contains(&number) {
            return Err(BucketError::InvalidPartOrder);
        }
        let path = self.upload_path(id)?;
        let etag = hex::encode(staged.md5());
        let directory = rustix::fs::open(&path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
        let directory = directory.map_err(|_| BucketError::NoSuchUpload)?;
        staged.keep(&directory, &part_name(number, &etag))?;
        for part in self.parts(id)? {
            if part.number == number && part.etag != etag {
                fs_err::remove_file(path.join(part_name(number, &part.etag)))?;
            }
        }
        Ok(etag)
    }

    /// Lists the parts in the order of their numbers.
    pub(crate) fn parts(&self, id: &str) -> Result<Vec<UploadedPart>, BucketError> {
        let mut parts = Vec::new();
        let entries = fs_err::read_dir(self.upload_path(id)?).map_err(|_| BucketError::NoSuchUpload)?;
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name();
            let Some((number, etag)) = name.to_str().and_then(|name| name.split_once('-')) else { continue };
            let Ok(number) = number.parse() else { continue };
            let Ok(metadata) = entry.metadata() else { continue };
            let modified = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            parts.push(UploadedPart { number, etag: etag.to_owned(), size: metadata.len(), modified });
        }
        parts.sort_by_key(|part| part.number);
        Ok(parts)
    }

    /// Lists all uploads by key, then name.
    pub(crate) fn uploads(&self) -> Result<Vec<(String, Upload)>, BucketError> {
        let mut uploads = Vec::new();
        for entry in fs_err::read_dir(self.folder().own_path().join("uploads"))? {
            let entry = entry?;
            let Ok(bytes) = fs_err::read(entry.path().join("upload.json")) else { continue };
            let Ok(upload) = serde_json::from_slice::<Upload>(&bytes) else { continue };
            uploads.push((entry.file_name().to_string_lossy().into_owned(), upload));
        }
        uploads.sort_by(|(id, one), (other_id, other)| (&one.key, id).cmp(&(&other.key, other_id)));
        Ok(uploads)
    }

    /// Makes the object of the named parts, and returns its entity tag.
    pub(crate) fn complete(
        &self,
        id: &str,
        key: &str,
        named: &[NamedPart],
        condition: &Condition,
    ) -> Result<String, BucketError> {
        let upload = self.upload(id, key)?;
        if named.is_empty() || named.windows(2).any(|pair| pair[0].number >= pair[1].number) {
            return Err(BucketError::InvalidPartOrder);
        }
        let there: BTreeMap<u32, UploadedPart> =
            self.parts(id)?.into_iter().map(|part| (part.number, part)).collect();
        let path = self.upload_path(id)?;
        let mut staged = self.stage()?;
        let mut digest = Md5::new();
        for (index, part) in named.iter().enumerate() {
            let number = part.number;
            let found = there.get(&number).filter(|found| found.etag == part.etag);
            let found = found.ok_or(BucketError::InvalidPart { number })?;
            if found.size < PART_BYTES_MIN && index + 1 < named.len() {
                return Err(BucketError::PartTooSmall { number });
            }
            digest.update(hex::decode(&part.etag).map_err(|_| BucketError::InvalidPart { number })?);
            let mut file: File = fs_err::File::open(path.join(part_name(number, &part.etag)))?.into();
            staged.fill(&mut file)?;
        }
        let etag = format!("{}-{}", hex::encode(digest.finalize()), named.len());
        let etag = self.put(key, staged.tagged(etag), upload.draft, condition)?;
        fs_err::remove_dir_all(&path)?;
        Ok(etag)
    }

    /// Forgets an upload of `key` and its parts.
    pub(crate) fn abort(&self, id: &str, key: &str) -> Result<(), BucketError> {
        self.upload(id, key)?;
        Ok(fs_err::remove_dir_all(self.upload_path(id)?)?)
    }

    /// Removes uploads that nobody finished.
    pub(crate) fn remove_abandoned(&self) -> Result<(), BucketError> {
        for entry in fs_err::read_dir(self.folder().own_path().join("uploads"))? {
            let entry = entry?;
            let age = entry.metadata()?.modified().ok().and_then(|time| time.elapsed().ok());
            if age.is_some_and(|age| age > AGE_MAX) {
                fs_err::remove_dir_all(entry.path())?;
            }
        }
        Ok(())
    }

    fn upload_path(&self, id: &str) -> Result<PathBuf, BucketError> {
        let plain = !id.is_empty() && id.len() <= 64 && id.bytes().all(|b| b.is_ascii_hexdigit());
        let path = self.folder().own_path().join("uploads").join(id);
        if plain { Ok(path) } else { Err(BucketError::NoSuchUpload) }
    }
}

fn part_name(number: u32, etag: &str) -> String {
    format!("{number:05}-{etag}")
}
