//! Links (data repository associations) and the actions that a mover carries out for them.
//!
//! Verbs and state bits are Lustre's (`storage.md` §1.4), fields and states are FSx's (`fsx.md` §1.7).
//! Invariant: an action stays queued at the metadata target until a mover ended it; a crash of the mover repeats it.

use serde::{Deserialize, Serialize};

use crate::attr::{Attr, Timestamp};
use crate::fid::Fid;
use crate::layout::Layout;
use crate::metadata::ByteRange;

/// Identifies a link within a cluster; never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LinkId(pub u32);

/// Which changes travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum LinkEvent {
    /// `NEW`
    New,
    /// `CHANGED`
    Changed,
    /// `DELETED`
    Deleted,
}

/// How the mover reaches the bucket. Secrets are not here: they come from a file on the mover's host or the SDK's chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepositoryEndpoint {
    /// Bucket name.
    pub bucket: String,
    /// Key prefix, empty or ending in `/`.
    pub prefix: String,
    /// An S3-compatible endpoint, or AWS's own when absent.
    pub endpoint_url: Option<String>,
    /// Region; `us-east-1` when absent.
    pub region: Option<String>,
    /// `https://host/bucket/key` instead of `https://bucket.host/key`.
    pub path_style: bool,
    /// A file in AWS's shared-credentials format on the mover's host.
    pub credentials_file: Option<String>,
}

impl RepositoryEndpoint {
    /// Returns a number that differs, as good as always, between two ways to a bucket.
    ///
    /// An action carries it, so that a mover notices that it knows its link as it was before a change.
    pub fn fingerprint(&self) -> u64 {
        let optional =
            |text: &Option<String>| text.clone().map_or_else(String::new, |text| format!("+{text}"));
        let parts = [
            self.bucket.clone(),
            self.prefix.clone(),
            optional(&self.endpoint_url),
            optional(&self.region),
            self.path_style.to_string(),
            optional(&self.credentials_file),
        ];
        // FNV-1a; the end of a part is a byte that no text has.
        let bytes = parts.iter().flat_map(|part| part.bytes().chain([u8::MAX]));
        bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        })
    }
}

/// A directory tied to a prefix of a bucket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// Its identity.
    pub id: LinkId,
    /// Its address in the spec, for messages.
    pub name: String,
    /// Directory from the root, `/` or `/a/b`.
    pub file_system_path: String,
    /// The bucket.
    pub repository: RepositoryEndpoint,
    /// Import the listing when the link is created.
    pub batch_import_meta_data_on_create: bool,
    /// MiB of an imported file per stripe: stripe count = size / this + 1, at most all targets.
    pub imported_file_chunk_size: u32,
    /// Changes of the bucket that reach the file system.
    pub auto_import: Vec<LinkEvent>,
    /// Changes of the file system that reach the bucket.
    pub auto_export: Vec<LinkEvent>,
}

/// Lifecycle of a link, FSx's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "FSx's words")]
pub enum LinkState {
    Creating,
    Available,
    Misconfigured,
    Updating,
    Deleting,
    Failed,
}

/// An export that did not succeed yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedExport {
    /// Path from the root of the file system.
    pub path: String,
    /// What S3 said.
    pub cause: String,
    /// How often it was tried.
    pub attempts: u32,
}

/// A link and how it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkStatus {
    /// The link.
    pub link: Link,
    /// Its state.
    pub state: LinkState,
    /// Why, when it is not available.
    pub cause: Option<String>,
    /// Names imported so far.
    pub imported: u64,
    /// Keys refused, the first thousand with their reasons.
    pub refused: Vec<ImportRefusal>,
    /// Keys refused in all.
    pub refused_total: u64,
    /// Exports waiting or under way.
    pub pending_exports: u64,
    /// Age of the oldest of them in seconds (`AgeOfOldestQueuedMessage`), 0 when there is none.
    pub oldest_export_s: u64,
    /// Exports that failed and are being retried, the first thousand.
    pub failed_exports: Vec<FailedExport>,
    /// Files of which some bytes are only in the bucket; absent where the link is older than this count.
    pub released: Option<u64>,
}

/// POSIX attributes that travel in FSx's metadata keys (`fsx.md` §1.8). Absent ones were not in the object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PosixMetadata {
    /// Type and permission bits, `0o100644`.
    pub permissions: Option<u32>,
    /// Owner.
    pub uid: Option<u32>,
    /// Group.
    pub gid: Option<u32>,
    /// Last access.
    pub atime: Option<Timestamp>,
    /// Last change.
    pub mtime: Option<Timestamp>,
}

/// One key that a listing found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportEntry {
    /// The key below the link's prefix; a trailing `/` says directory.
    pub key: String,
    /// Bytes.
    pub size: u64,
    /// `LastModified`, used until the object's own metadata are known.
    pub last_modified: Timestamp,
    /// Version of the content.
    pub etag: String,
}

/// Keys behind `after` up to `until`, that one included; whole keys. Without a bound there is none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRange {
    /// The key before the first.
    pub after: Option<String>,
    /// The last key, if it is there.
    pub until: Option<String>,
}

/// A part of a listing that is under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// The action that the listing is.
    pub cookie: u64,
    /// All keys in here were seen: what is not among the entries was not in the repository.
    pub range: KeyRange,
}

/// Why a key has no name in the file system. Words of FSx's event log where it has one.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, thiserror::Error,
)]
pub enum RefusalReason {
    /// `//`, `.`, `..`, NUL, a leading slash.
    #[error("S3ImportObjectPathNotPosixCompliant: the key is not a valid path")]
    NotPosixCompliant,
    /// A component over 255 bytes.
    #[error("S3ImportObjectPathNotPosixCompliant: a component of the key is longer than 255 bytes")]
    ComponentTooLong,
    /// A key that ends in `/` but has content.
    #[error("S3ImportObjectTypeMismatch: the key names a directory but the object has content")]
    DirectoryWithContent,
    /// `a` and `a/b` both exist.
    #[error("S3ImportObjectTypeMismatch: the key is a file and also a prefix of other keys")]
    FileAndPrefix,
    /// The file system has something else, with local changes, under that name.
    #[error("S3ImportObjectTypeMismatch: the file system has another file of that name")]
    NameTaken,
}

/// A refused key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportRefusal {
    /// The whole key.
    pub key: String,
    /// Why.
    pub reason: RefusalReason,
}

/// What a mover is asked to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "fields are explained by the variant and by their types")]
pub enum HsmVerb {
    /// List the repository and send [`crate::metadata::Request::Import`] batches.
    List,
    /// HEAD the object and answer with its POSIX metadata.
    Identify { key: String },
    /// Write bytes of `ranges` into the file's objects, from the object's version `etag` only; then report progress.
    Restore { key: String, etag: String, size: u64, layout: Layout, ranges: Vec<ByteRange> },
    /// Put the file's bytes and metadata; only over version `expect`, when given; only where nothing is, when absent.
    Archive {
        key: String,
        attr: Attr,
        symlink: Option<Vec<u8>>,
        layout: Option<Layout>,
        expect: Option<String>,
    },
    /// Give the object new metadata; its content stays.
    SetMetadata { key: String, attr: Attr, expect: Option<String> },
    /// Delete the object.
    Remove { key: String, expect: Option<String> },
    /// Move the object, keeping content and metadata.
    Rename { from: String, to: String, expect: Option<String> },
    /// Reach the bucket anew, with credentials read anew, and list one key.
    Check,
}

/// An action for a mover. Keys are whole keys, with the link's prefix.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HsmAction {
    /// Names the action until it ended.
    pub cookie: u64,
    /// Which link.
    pub link: LinkId,
    /// [`RepositoryEndpoint::fingerprint`] of the link as it is now.
    pub repository: u64,
    /// The inode; the root for [`HsmVerb::List`] and [`HsmVerb::Check`].
    pub fid: Fid,
    /// What to do.
    pub verb: HsmVerb,
}

/// Bytes that a restore put in place and synced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HsmProgress {
    /// The action.
    pub cookie: u64,
    /// Which bytes.
    pub present: Vec<ByteRange>,
}

/// What came of an action.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "fields are explained by the variant and by their types")]
pub enum HsmOutcome {
    /// List, restore or remove is complete.
    Done,
    /// The object's metadata; `kind` of a symbolic link comes with its target.
    Identified { metadata: PosixMetadata, symlink: Option<Vec<u8>> },
    /// The object is in the bucket in this version.
    Stored { etag: String },
    /// Did not work. A `retry` is queued again; the cause is shown in the link's status.
    Failed { cause: String, code: HsmFailure, retry: bool },
}

/// Kinds of failure, so that the metadata target can tell a conflict from an outage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the words say it")]
pub enum HsmFailure {
    NotFound,
    Changed,
    AccessDenied,
    Unreachable,
    NoSpace,
    Other,
}

/// The end of an action.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HsmEnd {
    /// The action.
    pub cookie: u64,
    /// What came of it.
    pub outcome: HsmOutcome,
}
