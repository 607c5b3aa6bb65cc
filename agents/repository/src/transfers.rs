//! How many bytes are in memory on their way between bucket and file system.
//!
//! Not a limit of bandwidth.
//! Invariant: the pieces under way hold at most [`IN_MEMORY_MAX`] bytes, or are one piece that alone is larger.

use tokio::sync::{Semaphore, SemaphorePermit};

/// Bytes of all pieces under way.
const IN_MEMORY_MAX: u64 = 128 << 20;

/// Unit in which room is given out.
const UNIT: u64 = 256 << 10;

/// The room for pieces.
#[derive(Debug)]
pub(crate) struct Transfers(Semaphore);

impl Transfers {
    pub(crate) fn new() -> Self {
        Self(Semaphore::new(units(IN_MEMORY_MAX) as usize))
    }

    /// Waits for room for a piece. `None` never happens: the semaphore is not closed.
    pub(crate) async fn room(&self, bytes: u64) -> Option<SemaphorePermit<'_>> {
        self.0.acquire_many(units(bytes.min(IN_MEMORY_MAX))).await.ok()
    }
}

fn units(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(UNIT).max(1)).unwrap_or(u32::MAX)
}
