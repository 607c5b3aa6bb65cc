//! Transport to the kernel: a file system as plain Rust values, mounted through FUSE.
//!
//! Knows nothing of clusters, leases or the wire; whoever implements [`FileSystem`] decides what a name means. Today the
//! bytes travel through the `fuser` crate; no type of it is visible here, so that a transport of our own can take its
//! place.
//! Invariant: every request of the kernel is answered exactly once, also when the file system forgets it.

mod filesystem;
mod kernel;
mod mount;
mod node;
mod notifier;
mod reply;
mod translate;

pub use filesystem::{FileSystem, Place, RenameRequest, WriteOrigin, WriteRequest};
pub use mount::{Audience, Mount, MountError, MountOptions, Restriction, Unmounter};
pub use node::{
    Caller, Change, Created, Entry, Errno, HandleId, Lookup, Moment, MomentOrNow, NodeAttr, NodeId, NodeKind,
    OpenFlags, RenameMode, Seek, Space, XattrMode,
};
pub use notifier::{Known, Notifier};
pub use reply::{DirectoryReply, DirectoryRow, Reply, Room};
