//! The client of a cluster: POSIX files striped over object targets, cached under leases of the metadata target.
//!
//! [`Client`] is the session and the transfer of bytes, of use without a mount; [`mount()`] puts it under a directory of this
//! host. flock and fcntl locks are local to a mount: processes on one mount see each other's, those on another do not.
//! Invariant: what one mount acknowledged, every mount of the cluster sees from then on.

mod attributes;
mod begun;
mod bulk;
mod client;
mod close;
mod directory;
mod extent;
mod file;
mod inode;
mod io;
mod kernel;
mod lease;
mod mounted;
mod names;
mod readahead;
mod recall;
mod session;
mod window;

pub use attributes::{ClusterStatus, LayoutView, TargetStatus};
pub use bulk::TARGET_WAIT_MAX;
pub use client::Client;
pub use lustre_fuse::MountError;
pub use lustre_fuse::Restriction;
pub use mounted::{Mounted, mount};
pub use session::{ConnectError, OPERATION_WAIT_MAX};
