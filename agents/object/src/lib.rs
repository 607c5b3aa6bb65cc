//! Object store of one OST: sparse files addressed by object id, every byte covered by a checksum, optionally LZ4.
//!
//! Knows nothing of the wire, of files or of striping; offsets here are offsets in the object. Opens no file itself:
//! a [`Disk`] does. The format on disk is in this crate's README.
//! Invariant: a block that [`ObjectStore::sync`] acknowledged reads back as its old or its new bytes, never as a
//! mixture, and never as anything else without [`StoreError::Damaged`].

mod checksum;
mod chunked;
mod disk;
mod epoch;
mod error;
mod geometry;
mod header;
mod intents;
mod ledger;
mod name;
mod object;
mod packed;
mod plain;
mod record;
mod space;
mod store;
mod table;

pub use disk::{Disk, DiskFile};
pub use error::{Refusal, StoreError};
pub use geometry::{BLOCK, CHUNK, OBJECT_SIZE_MAX};
pub use name::{FileName, Folder};
pub use store::{Behind, ObjectStore, Options, Space};
