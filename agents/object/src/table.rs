//! The table of an object: an entry for each block or a record for each chunk, in order, with the header before it.
//!
//! Not what entries and records mean; `plain` and `chunked` know that. The page that holds the header and the first of
//! them lies right before the object's bytes and is kept in memory; the rest lies far away and is not.
//! Invariant: what is kept equals what the file holds, or [`Body::reload`] was asked for after a failed write.

use std::ops::Range;

use lustre_model::layout::ObjectId;

use crate::disk::DiskFile;
use crate::error::StoreError;
use crate::geometry::{BLOCK, DATA_AT, LEAD_AT, LEAD_TABLE, LEAD_TABLE_AT, REST_AT, narrow};
use crate::header::{HEADER, Header};
use crate::object::Body;

const PAGE: usize = BLOCK as usize;
const LEAD_TABLE_BYTES: usize = LEAD_TABLE as usize;
const TABLE_IN_LEAD: usize = (LEAD_TABLE_AT - LEAD_AT) as usize;

/// The beginning of a table, without the zeros at its end.
#[derive(Debug, Default)]
pub(crate) struct Lead(Vec<u8>);

impl Lead {
    /// Takes the table's beginning from the page that it lies in.
    pub fn of_page(page: &[u8]) -> Self {
        let mut bytes = page.get(TABLE_IN_LEAD..).unwrap_or_default().to_vec();
        bytes.truncate(bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1));
        bytes.shrink_to_fit();
        Self(bytes)
    }

    /// Returns how many bytes of the table come before its last that is not zero.
    fn length(&self) -> u64 {
        self.0.len() as u64
    }

    fn read(&self, range: Range<usize>, into: &mut Vec<u8>) {
        let end = into.len() + range.len();
        into.extend_from_slice(&self.0[range.start.min(self.0.len())..range.end.min(self.0.len())]);
        into.resize(end, 0);
    }

    fn put(&mut self, at: usize, bytes: &[u8]) {
        let end = at + bytes.len();
        if self.0.len() < end {
            self.0.resize(end, 0);
        }
        self.0[at..end].copy_from_slice(bytes);
    }

    /// Returns the page up to the end of the table that is kept.
    fn page(&self, header: [u8; HEADER]) -> Vec<u8> {
        let mut page = Vec::with_capacity(PAGE);
        page.extend_from_slice(&header);
        page.resize(TABLE_IN_LEAD, 0);
        page.extend_from_slice(&self.0);
        page
    }
}

/// Splits a range of the table into what is kept and what lies far away, as a range of the file.
fn split(range: &Range<u64>) -> (Range<usize>, Range<u64>) {
    let near = narrow(range.start.min(LEAD_TABLE))..narrow(range.end.min(LEAD_TABLE));
    let far = |at: u64| REST_AT + at.max(LEAD_TABLE) - LEAD_TABLE;
    (near, far(range.start)..far(range.end))
}

impl<F: DiskFile> Body<F> {
    /// Returns a range of the table's bytes; what was never written is zeros.
    pub fn table(&self, range: Range<u64>) -> Result<Vec<u8>, StoreError> {
        let mut bytes = Vec::with_capacity(narrow(range.end - range.start));
        let (near, far) = split(&range);
        self.lead.read(near, &mut bytes);
        if !far.is_empty() {
            let read = self.file.read_at(far.start, narrow(far.end - far.start), &mut bytes);
            read.map_err(StoreError::disk("reading checksums"))?;
        }
        Ok(bytes)
    }

    /// Returns the end of the table: nothing but zeros lies behind it.
    pub fn table_end(&self) -> Result<u64, StoreError> {
        let length = self.file.length().map_err(StoreError::disk("asking for a file's length"))?;
        let far = length.saturating_sub(REST_AT);
        Ok(if far > 0 { LEAD_TABLE + far } else { self.lead.length() })
    }

    /// Writes a part of the table, and the header.
    pub fn save_table(&mut self, object: ObjectId, at: u64, bytes: &[u8]) -> Result<(), StoreError> {
        self.put(at, bytes)?;
        if at >= LEAD_TABLE {
            return self.save(object);
        }
        let page = self.lead.page(self.header.encode(object));
        self.file.write_at(LEAD_AT, &page).map_err(StoreError::disk("writing checksums"))
    }

    /// Writes a part of the table, the header and the first bytes of the object, in this order.
    pub fn save_front(
        &mut self,
        object: ObjectId,
        (at, bytes): (u64, &[u8]),
        data: &[u8],
    ) -> Result<(), StoreError> {
        self.put(at, bytes)?;
        let mut page = self.lead.page(self.header.encode(object));
        page.resize(PAGE, 0);
        self.file.write_both_at(LEAD_AT, &page, data).map_err(StoreError::disk("writing an object"))
    }

    /// Makes a range of the table zeros.
    pub fn clear_table(&mut self, object: ObjectId, range: Range<u64>) -> Result<(), StoreError> {
        let (near, far) = split(&range);
        if !far.is_empty() {
            let punched = self.file.punch(far.start, far.end - far.start);
            punched.map_err(StoreError::disk("punching checksums"))?;
        }
        let kept = near.start..near.end.min(self.lead.0.len());
        if kept.is_empty() {
            return Ok(());
        }
        self.save_table(object, kept.start as u64, &vec![0; kept.len()])
    }

    /// Writes the header.
    pub fn save(&self, object: ObjectId) -> Result<(), StoreError> {
        let bytes = self.header.encode(object);
        self.file.write_at(LEAD_AT, &bytes).map_err(StoreError::disk("writing a header"))
    }

    /// Forgets the table that is kept, because the file was emptied.
    pub fn forget_table(&mut self) {
        self.lead = Lead::default();
    }

    /// Takes the table's beginning as the file has it after a write failed, and makes the file's header this one's again.
    pub fn reload(&mut self, object: ObjectId) -> Result<(), StoreError> {
        let (lead, header) = load(&*self.file, object)?;
        self.lead = lead;
        let empty = Header::empty(self.header.format);
        if header.unwrap_or(empty) == self.header { Ok(()) } else { self.save(object) }
    }

    /// Keeps the part of these bytes of the table that is near, and writes the rest.
    fn put(&mut self, at: u64, bytes: &[u8]) -> Result<(), StoreError> {
        let (near, far) = split(&(at..at + bytes.len() as u64));
        let (kept, rest) = bytes.split_at(near.len());
        if !rest.is_empty() {
            self.file.write_at(far.start, rest).map_err(StoreError::disk("writing checksums"))?;
        }
        if !kept.is_empty() {
            self.lead.put(near.start, kept);
        }
        Ok(())
    }
}

/// Reads the page of the header and the first entries or records; no header when it was never written.
pub(crate) fn load<F: DiskFile>(file: &F, object: ObjectId) -> Result<(Lead, Option<Header>), StoreError> {
    let mut page = Vec::with_capacity(PAGE);
    file.read_at(LEAD_AT, PAGE, &mut page).map_err(StoreError::disk("reading a header"))?;
    let header = Header::decode(&page[..HEADER], object)?;
    Ok((Lead::of_page(&page), header))
}

/// Returns whether the table up to `end` lies in the page that is kept.
pub(crate) fn is_near(end: u64) -> bool {
    end <= LEAD_TABLE
}

const _: () = assert!(DATA_AT == LEAD_AT + BLOCK && LEAD_TABLE_BYTES + TABLE_IN_LEAD == PAGE);
