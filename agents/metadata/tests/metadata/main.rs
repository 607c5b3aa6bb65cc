//! The metadata target through its public boundary: a namespace against an oracle, leases, crashes, links.
//!
//! Invariant: every test drives the target by inputs alone; none looks inside.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test program")]

mod cluster;
mod files;
mod leases;
mod links;
mod namespace;
mod room;
mod sessions;
mod targets;
mod times;
