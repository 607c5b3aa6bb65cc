//! What a mover needs of a file system: its actions, and the bytes of files by their layouts.
//!
//! Implemented over a client's session in the product, and in memory in tests.
//! Invariant: a mover changes nothing of a file but bytes that the metadata target said are absent.

use std::future::Future;
use std::ops::Range;

use bytes::Bytes;
use lustre_model::attr::Attr;
use lustre_model::fault::Fault;
use lustre_model::fid::Fid;
use lustre_model::hsm::{HsmAction, HsmEnd, HsmProgress, ImportEntry, ImportRefusal, Link, LinkId, Listed};
use lustre_model::layout::Layout;

/// What came of a part of a listing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Imported {
    /// Keys that have their names.
    pub imported: u64,
    /// Keys that have none.
    pub refused: Vec<ImportRefusal>,
    /// The range is done up to this key only.
    pub rest: Option<String>,
}

/// A metadata target and the object targets behind it.
pub trait FileSystem: Send + Sync + 'static {
    /// Takes up to `limit` actions, waiting up to `wait_ms` for the first.
    fn receive(&self, limit: u32, wait_ms: u32)
    -> impl Future<Output = Result<Vec<HsmAction>, Fault>> + Send;

    /// Says which bytes of a restore are in place and synced.
    fn progress(&self, progress: HsmProgress) -> impl Future<Output = Result<(), Fault>> + Send;

    /// Ends an action.
    fn end(&self, end: HsmEnd) -> impl Future<Output = Result<(), Fault>> + Send;

    /// Returns all links.
    fn links(&self) -> impl Future<Output = Result<Vec<Link>, Fault>> + Send;

    /// Inserts names that a part of a listing found.
    fn import(
        &self,
        link: LinkId,
        listed: Listed,
        entries: Vec<ImportEntry>,
    ) -> impl Future<Output = Result<Imported, Fault>> + Send;

    /// Returns an inode's attributes as they are now, also those that another client has not written back yet.
    fn attr(&self, fid: Fid) -> impl Future<Output = Result<Attr, Fault>> + Send;

    /// Reads bytes; holes are zeros.
    fn read(&self, layout: &Layout, range: Range<u64>) -> impl Future<Output = Result<Bytes, Fault>> + Send;

    /// Writes bytes into objects that exist.
    fn write(
        &self,
        layout: &Layout,
        offset: u64,
        bytes: &Bytes,
    ) -> impl Future<Output = Result<(), Fault>> + Send;

    /// Makes what was written durable.
    fn sync(&self, layout: &Layout) -> impl Future<Output = Result<(), Fault>> + Send;
}
