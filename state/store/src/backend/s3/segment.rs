//! A segment: one commit as an object, or the fence that ends an epoch.
//!
//! Two records as in a journal's file: a header that is never sealed, and the commit; a fence has the header alone.
//! Invariant: a segment says itself to which place of which epoch it belongs, so that one that was copied elsewhere is refused.

use std::path::Path;

use serde::{Deserialize, Serialize};

use lustre_model::recorded::Lineage;

use crate::error::{Damage, StoreError};
use crate::record::{Commit, frame, scan, sealed, unsealed};
use crate::seal::Seal;

/// Version of the format.
const VERSION: u32 = 1;

/// The first record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// Version of the format.
    pub version: u32,
    /// The state that it belongs to.
    pub lineage: Lineage,
    /// Token of the lock under which it was put: its epoch.
    pub token: u64,
    /// The state's serial before its first event.
    pub serial: u64,
    /// Token of the lock that ended the epoch here; a fence holds no commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fenced_by: Option<u64>,
}

/// A segment as it was read.
#[derive(Debug)]
pub enum Segment {
    /// Events.
    Commit(Commit),
    /// The end of the epoch.
    Fence,
}

impl Header {
    /// Makes the header of a commit.
    pub fn commit(lineage: Lineage, token: u64, serial: u64) -> Self {
        Self { version: VERSION, lineage, token, serial, fenced_by: None }
    }

    /// Makes the header of a fence.
    pub fn fence(lineage: Lineage, (token, serial): (u64, u64), by: u64) -> Self {
        Self { fenced_by: Some(by), ..Self::commit(lineage, token, serial) }
    }

    /// Returns the object: this header, and the payload of a commit.
    pub fn encode(&self, payload: Option<&[u8]>, seal: &dyn Seal) -> Result<Vec<u8>, StoreError> {
        let header = serde_json::to_vec(self).map_err(|source| StoreError::Encoding { source })?;
        let mut bytes = frame(&header);
        if let Some(payload) = payload {
            bytes.extend_from_slice(&sealed(seal, payload)?);
        }
        Ok(bytes)
    }

    /// Reads an object that must be the segment of this place.
    pub fn read(&self, path: &Path, bytes: &[u8], seal: &dyn Seal) -> Result<Segment, StoreError> {
        let damaged = |damage| StoreError::Damaged { path: path.to_owned(), damage };
        let scan = scan(bytes).map_err(damaged)?;
        if scan.torn > 0 || scan.payloads.is_empty() {
            // An object is put wholly or not at all; a short one is not what was acknowledged.
            return Err(damaged(Damage::Short));
        }
        let found: Self = serde_json::from_slice(scan.payloads[0]).map_err(|_| damaged(Damage::Content))?;
        if found.version > VERSION {
            return Err(StoreError::Newer { path: path.to_owned(), found: found.version, known: VERSION });
        }
        if found.lineage != self.lineage {
            let (found, expected) = (found.lineage, self.lineage.clone());
            return Err(StoreError::OtherLineage { path: path.to_owned(), found, expected });
        }
        if (found.token, found.serial) != (self.token, self.serial) {
            return Err(damaged(Damage::Content));
        }
        match (found.fenced_by, &scan.payloads[1..]) {
            (Some(_), []) => Ok(Segment::Fence),
            (None, [payload]) => {
                let commit: Commit = unsealed(seal, path, payload)?;
                if commit.serial != self.serial || commit.events.is_empty() {
                    return Err(damaged(Damage::Content));
                }
                Ok(Segment::Commit(commit))
            }
            (Some(_) | None, _) => Err(damaged(Damage::Content)),
        }
    }
}
