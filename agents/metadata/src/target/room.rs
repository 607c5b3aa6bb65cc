//! What a target does on a disk that is nearly full: it refuses what grows, and does all else, above all what frees.
//!
//! Knows no disk; whoever has one says how it is. The bytes that remain are for the log: every removal writes some first.
//! Invariant: a request that is refused for want of room writes nothing, not even that it was refused.

use lustre_model::metadata::Request;

use super::Target;
use crate::failure::TargetError;

/// Pause between attempts to open a store anew that failed.
const CATCH_UP_EVERY_MS: u64 = 1000;

/// How much the disk has left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// Enough.
    Ample,
    /// Only what is kept back for removals.
    Scarce,
}

impl Target {
    /// Whether the store failed and lacks what the log has.
    pub fn is_store_behind(&self) -> bool {
        self.table.is_behind()
    }

    /// Whether requests that grow are refused.
    pub(super) fn is_full(&self) -> bool {
        self.room == Room::Scarce || self.table.is_far_behind()
    }

    pub(super) fn set_room(&mut self, room: Room) -> Result<(), TargetError> {
        self.room = room;
        match room {
            Room::Ample => Ok(()),
            Room::Scarce => self.table.spare(),
        }
    }

    /// Opens a store anew that failed, from time to time.
    pub(super) fn mend_store(&mut self) -> Result<(), TargetError> {
        if !self.table.is_behind() || self.now.uptime_ms < self.catch_up_at_ms {
            return Ok(());
        }
        self.catch_up_at_ms = self.now.uptime_ms + CATCH_UP_EVERY_MS;
        self.table.catch_up()
    }
}

/// Whether a request leaves more records than it finds. Renaming does not, and an administrator may have to add a target to
/// make room.
pub(super) fn grows(request: &Request) -> bool {
    match request {
        Request::Create { .. } | Request::Link { .. } | Request::SetXattr { .. } => true,
        Request::Instantiate { .. } | Request::PutLink { .. } | Request::Import { .. } => true,
        Request::SetLayout { template, .. } => template.is_some(),
        Request::Connect { .. } | Request::Renew | Request::Disconnect | Request::Sync => false,
        Request::Lookup { .. } | Request::ReadDirectory { .. } | Request::LookAhead { .. } => false,
        Request::Remove { .. } | Request::Rename { .. } | Request::ReadLink { .. } => false,
        Request::GetAttr { .. } | Request::SetAttr { .. } => false,
        Request::GetXattr { .. } | Request::ListXattr { .. } | Request::RemoveXattr { .. } => false,
        Request::Open { .. } | Request::Close { .. } | Request::Lease { .. } => false,
        Request::Flush { .. } | Request::Downgrade { .. } | Request::Hydrate { .. } => false,
        Request::GetLayout { .. } | Request::FidToPath { .. } | Request::Statistics => false,
        Request::Targets | Request::RegisterTarget { .. } | Request::SetDefaultLayout { .. } => false,
        Request::RemoveTarget { .. } | Request::RemoveLink { .. } | Request::Links => false,
        Request::HsmReceive { .. } | Request::HsmProgress { .. } | Request::HsmEnd { .. } => false,
    }
}
