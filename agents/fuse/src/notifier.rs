//! Tells the kernel to forget what it cached.
//!
//! Writes the messages of `linux/fuse.h` to the connection itself, because the answer matters: an inode that the kernel
//! does not know *yet* is not an inode that it has forgotten.
//! Invariant: [`Notifier::forget_attributes`] and [`Notifier::expire_names`] never wait for a lock that a request of a
//! process may hold; [`Notifier::forget_pages`] may wait for pages under I/O.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::io::Errno;

use crate::node::NodeId;

const NOTIFY_INVAL_INODE: u32 = 2;
const NOTIFY_INC_EPOCH: u32 = 8;
const HEADER_BYTES: u32 = 16;

/// Whether the kernel had the inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// It had, and forgot what was asked.
    Yes,
    /// It has no such inode at this moment.
    No,
}

/// Sends notifications on a mounted connection.
#[derive(Debug, Clone)]
pub struct Notifier {
    connection: Arc<OwnedFd>,
}

impl Notifier {
    pub(crate) fn new(connection: OwnedFd) -> Self {
        Self { connection: Arc::new(connection) }
    }

    /// Drops the cached attributes of an inode.
    pub fn forget_attributes(&self, node: NodeId) -> io::Result<Known> {
        self.invalidate(node, -1)
    }

    /// Drops attributes and all cached pages of an inode; dirty pages are written first.
    pub fn forget_pages(&self, node: NodeId) -> io::Result<Known> {
        self.invalidate(node, 0)
    }

    /// Makes the kernel ask again for every name it knows. Fails where the kernel is older than 6.16.
    pub fn expire_names(&self) -> io::Result<()> {
        self.send(NOTIFY_INC_EPOCH, &[]).map_err(io::Error::from)
    }

    fn invalidate(&self, node: NodeId, offset: i64) -> io::Result<Known> {
        let mut body = [0; 24];
        body[..8].copy_from_slice(&node.0.to_ne_bytes());
        body[8..16].copy_from_slice(&offset.to_ne_bytes());
        match self.send(NOTIFY_INVAL_INODE, &body) {
            Ok(()) => Ok(Known::Yes),
            Err(Errno::NOENT) => Ok(Known::No),
            Err(errno) => Err(errno.into()),
        }
    }

    /// A notification is a reply with `unique` 0 and its code in the place of the error.
    fn send(&self, code: u32, body: &[u8]) -> Result<(), Errno> {
        let length = HEADER_BYTES + u32::try_from(body.len()).unwrap_or(0);
        let mut message = Vec::with_capacity(64);
        message.extend_from_slice(&length.to_ne_bytes());
        message.extend_from_slice(&code.to_ne_bytes());
        message.extend_from_slice(&0_u64.to_ne_bytes());
        message.extend_from_slice(body);
        rustix::io::retry_on_intr(|| rustix::io::write(&*self.connection, &message)).map(drop)
    }
}
