//! Open directories: a listing in the kernel's portions.
//!
//! The metadata target's cookies are positions of names; `.` and `..` come before them, under offsets of our own.
//! Invariant: an entry is answered with a validity only if its name and its attributes are still held under leases.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lustre_fuse::{DirectoryReply, DirectoryRow, Room};
use lustre_model::fault::Fault;
use lustre_model::fid::Fid;
use lustre_model::metadata::DirectoryEntry;

use crate::client::{Core, Seen};
use crate::inode::Known;
use crate::kernel::{entry, errno};

/// Offset behind `.`, and behind `..`: no cookie is so large.
const BEHIND_DOT: u64 = i64::MAX.unsigned_abs() - 1;
const BEHIND_DOTS: u64 = BEHIND_DOT - 1;

/// An open directory.
#[derive(Debug)]
pub(crate) struct OpenDirectory {
    pub(crate) fid: Fid,
    /// What the last request listed and was not taken yet.
    buffer: Mutex<Arc<Buffer>>,
}

#[derive(Debug, Default)]
struct Buffer {
    /// The offset that the first row follows.
    after: Option<u64>,
    rows: Vec<DirectoryEntry>,
    end: bool,
}

impl OpenDirectory {
    pub(crate) fn new(fid: Fid) -> Self {
        Self { fid, buffer: Mutex::new(Arc::new(Buffer::default())) }
    }
}

impl Core {
    /// Answers with as many rows behind `offset` as fit.
    pub(crate) async fn fill(
        self: &Arc<Self>,
        directory: &OpenDirectory,
        offset: u64,
        mut reply: DirectoryReply,
    ) {
        let mut at = offset;
        if at == 0 || at == BEHIND_DOT {
            at = match self.fill_dots(directory.fid, at, &mut reply).await {
                Ok(Some(at)) => at,
                Ok(None) => return reply.send(Ok(())),
                Err(fault) => return reply.send(Err(errno(fault))),
            };
            directory.keep(Arc::default());
        }
        let after = if at == BEHIND_DOTS { 0 } else { at };
        match self.rows(directory, after).await {
            Ok((buffer, first)) => {
                for row in &buffer.rows[first..] {
                    if self.add(directory.fid, row, &mut reply) == Room::Full {
                        break;
                    }
                }
                reply.send(Ok(()));
            }
            Err(fault) => reply.send(Err(errno(fault))),
        }
    }

    /// Adds `.` and `..`; returns where to go on, or `None` when there is no room.
    async fn fill_dots(
        self: &Arc<Self>,
        fid: Fid,
        offset: u64,
        reply: &mut DirectoryReply,
    ) -> Result<Option<u64>, Fault> {
        let seen = match self.cached(fid) {
            Some(seen) => seen,
            None => self.get_attr(fid).await?,
        };
        // The kernel takes nothing but the kind from these rows.
        let entry = entry(&Seen { attr_valid: Duration::ZERO, name_valid: Duration::ZERO, ..seen });
        let dots: [(&[u8], u64); 2] = [(b".", BEHIND_DOT), (b"..", BEHIND_DOTS)];
        let skip = usize::from(offset == BEHIND_DOT);
        for (name, next) in &dots[skip..] {
            if reply.add(DirectoryRow { next: *next, name, entry }) == Room::Full {
                return Ok(None);
            }
        }
        Ok(Some(BEHIND_DOTS))
    }

    /// The rows behind `after`, and the index of the first of them; fewer than there are, unless none follow.
    async fn rows(
        self: &Arc<Self>,
        directory: &OpenDirectory,
        after: u64,
    ) -> Result<(Arc<Buffer>, usize), Fault> {
        let buffer = directory.buffer();
        if let Some(first) = buffer.position(after)
            && (first < buffer.rows.len() || buffer.end)
        {
            return Ok((buffer, first));
        }
        let page = self.list(directory.fid, after).await?;
        let rows = page.rows.into_iter().map(|(row, _)| row).collect();
        let buffer = Arc::new(Buffer { after: Some(after), rows, end: page.end });
        directory.keep(Arc::clone(&buffer));
        Ok((buffer, 0))
    }

    fn add(&self, parent: Fid, row: &DirectoryEntry, reply: &mut DirectoryReply) -> Room {
        let fid = row.entry.attr.fid;
        let Some(inode) = self.known_inode(fid) else { return Room::Taken };
        let standing = self.session.standing();
        let named = self
            .known_inode(parent)
            .is_some_and(|parent| parent.state().name(&row.name, standing) == Known::Names(fid));
        let name_valid = if named { self.name_valid(parent) } else { Duration::ZERO };
        let seen =
            self.cached(fid).unwrap_or_else(|| self.seen(inode.state().overlay(row.entry.attr), false));
        let entry = entry(&Seen { name_valid, ..seen });
        let row = DirectoryRow { next: row.cookie, name: &row.name, entry };
        let counts = reply.counts(&row);
        // Counted before the kernel can know it, so that a recall in between does not overlook it.
        inode.state().lookups += u64::from(counts);
        let room = reply.add(row);
        if room == Room::Full {
            inode.state().lookups -= u64::from(counts);
        }
        room
    }
}

impl OpenDirectory {
    fn buffer(&self) -> Arc<Buffer> {
        Arc::clone(&self.buffer.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn keep(&self, buffer: Arc<Buffer>) {
        *self.buffer.lock().unwrap_or_else(PoisonError::into_inner) = buffer;
    }
}

impl Buffer {
    fn position(&self, after: u64) -> Option<usize> {
        if self.after == Some(after) {
            return Some(0);
        }
        self.rows.iter().position(|row| row.cookie == after).map(|index| index + 1)
    }
}
