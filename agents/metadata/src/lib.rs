//! Metadata target: names, attributes, layouts, leases, open files and the states of links, as one state machine.
//!
//! Inputs (requests, results of object work, the clock) go into [`Target::handle`]; replies, notices and work for
//! object targets come out of [`Target::commit`]. It holds no sockets, files, threads, clock or randomness.
//! Invariant: nothing leaves [`Target::commit`] before the log holds every change that it could reveal.

pub mod log;
pub mod store;

mod failure;
mod inode;
mod key;
mod ranges;
mod record;
mod table;
mod target;

pub use failure::{LogDamage, TargetError};
pub use target::{
    Config, ConnectionId, Input, JobId, Moment, Output, RequestToken, Rights, Room, Space, Target, Work,
};
