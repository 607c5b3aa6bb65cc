//! The daemon of a host, and the processes that it keeps: targets, buckets; movers and mounts come from above.
//!
//! The agent itself serves no byte of a file: it starts a process per target, bucket, mover and mount from its own binary,
//! and every one of them meets it in a [`ProcessDir`]. Entry functions of processes have one form:
//! `pub fn run(dir: &ProcessDir) -> Result<(), E>`; they build their own runtime, call [`ProcessDir::ready`] when they answer,
//! and return after [`termination::requested`].
//! Invariant: a process that the planner was told is there comes back from disk, whatever was killed.

pub mod bucket;
mod certified;
mod claim;
mod control;
pub mod daemon;
mod disk_floor;
mod durable;
mod facts;
mod keeper;
mod log_tail;
pub mod metadata_target;
mod mounts;
mod notify;
pub mod object_target;
mod observed;
mod probe;
mod process_dir;
mod process_name;
mod running;
#[cfg(test)]
#[path = "tests/small_disk.rs"]
mod small_disk;
mod supervisor;
pub mod termination;

pub use claim::ClaimError;
pub use probe::RepositoryProbe;
pub use process_dir::{Entered, ProcessDir, ProcessDirError};
pub use supervisor::SupervisorError;
