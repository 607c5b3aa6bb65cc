//! The ledger: what must be known of the whole store before the first object is opened.
//!
//! Not the list of objects; the folders are that.
//! Invariant: it lies in two slots written alternately and synced, so one of them is always whole.

use serde::{Deserialize, Serialize};

use crate::checksum::crc32c;
use crate::disk::DiskFile;
use crate::epoch::{Crashed, Epoch};
use crate::error::StoreError;
use crate::header::field;

/// Format of the store that this version writes.
const VERSION: u32 = 2;

const MAGIC: [u8; 4] = *b"LOST";
const SLOT: usize = 4096;
const HEAD: usize = 16;

/// How the last run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Ending {
    /// Everything was made durable and counted.
    Clean,
    /// It runs, or it crashed.
    Open,
}

/// What the store knows of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ledger {
    /// Grows with every writing of the ledger.
    pub serial: u64,
    /// Everything of epochs before this one is durable.
    pub epoch: Epoch,
    /// Epochs that crashes left inexact.
    pub crashed: Crashed,
    /// How the last run ended.
    pub ending: Ending,
    /// Bytes that objects take; exact after a clean ending.
    pub used: u64,
    /// Number of objects; exact after a clean ending.
    pub objects: u64,
}

impl Ledger {
    /// Returns the ledger of a store without objects.
    pub fn new() -> Self {
        Self { serial: 0, epoch: 1, crashed: Crashed::default(), ending: Ending::Clean, used: 0, objects: 0 }
    }

    /// Reads the newer of both slots, or none when neither was ever written.
    pub fn read(file: &impl DiskFile) -> Result<Option<Self>, StoreError> {
        let mut bytes = Vec::with_capacity(2 * SLOT);
        file.read_at(0, 2 * SLOT, &mut bytes).map_err(StoreError::disk("reading the ledger"))?;
        let slots = [decode(&bytes[..SLOT])?, decode(&bytes[SLOT..])?];
        let newest = slots.into_iter().flatten().max_by_key(|ledger| ledger.serial);
        // The first serial goes to the second slot: torn beside an empty first one, the first opening was interrupted.
        if newest.is_none() && bytes[..SLOT].iter().any(|byte| *byte != 0) {
            return Err(StoreError::LedgerDamaged);
        }
        Ok(newest)
    }

    /// Takes the room that it will ever need, so that a full disk cannot keep it from being written.
    pub fn make_room(file: &impl DiskFile) -> Result<(), StoreError> {
        let failed = "making room for the ledger";
        if file.length().map_err(StoreError::disk(failed))? < 2 * SLOT as u64 {
            file.write_at(0, &[0; 2 * SLOT]).map_err(StoreError::disk(failed))?;
        }
        Ok(())
    }

    /// Writes it into the slot that does not hold its predecessor, durably.
    pub fn write(&mut self, file: &impl DiskFile) -> Result<(), StoreError> {
        self.serial += 1;
        let body = postcard::to_stdvec(self).map_err(|_| StoreError::LedgerDamaged)?;
        let mut slot = Vec::with_capacity(HEAD + body.len());
        slot.extend_from_slice(&MAGIC);
        slot.extend_from_slice(&VERSION.to_le_bytes());
        slot.extend_from_slice(&u32::try_from(body.len()).unwrap_or(u32::MAX).to_le_bytes());
        slot.extend_from_slice(&crc32c(&body).to_le_bytes());
        slot.extend_from_slice(&body);
        file.write_at(self.serial % 2 * SLOT as u64, &slot)
            .map_err(StoreError::disk("writing the ledger"))?;
        file.sync().map_err(|cause| StoreError::Stopped { cause: cause.into() })
    }
}

fn decode(slot: &[u8]) -> Result<Option<Ledger>, StoreError> {
    if slot[..4] != MAGIC {
        return Ok(None);
    }
    let found = u32::from_le_bytes(field(slot, 4));
    if found != VERSION {
        return Err(StoreError::Version { found, known: VERSION });
    }
    let length = usize::try_from(u32::from_le_bytes(field(slot, 8))).unwrap_or(usize::MAX);
    let Some(body) = slot.get(HEAD..HEAD.saturating_add(length)) else { return Ok(None) };
    if crc32c(body).to_le_bytes() != field(slot, 12) {
        return Ok(None);
    }
    postcard::from_bytes(body).map(Some).map_err(|_| StoreError::LedgerDamaged)
}
