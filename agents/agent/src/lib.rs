//! The daemon of a host, and the processes that it keeps: targets, buckets; movers and mounts come from above.
//!
//! The agent itself serves no byte of a file: it starts a process per target, bucket, mover and mount from its own binary,
//! and every one of them meets it in a [`ProcessDir`]. Entry functions of processes have one form:
//! `pub fn run(dir: &ProcessDir) -> Result<(), E>`; they build their own runtime, call [`ProcessDir::ready`] when they answer,
//! and return after [`termination::requested`].
//! Invariant: a process that the planner was told is there comes back from disk, whatever was killed.

pub mod bucket;
mod durable;
mod process_dir;
pub mod termination;

pub use process_dir::{ProcessDir, ProcessDirError};
