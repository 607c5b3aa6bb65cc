//! The binary against EC2's API, as moto speaks it on this machine: what travels, and what comes of it.
//!
//! Logic that moto has wrong - tokens, lag, dependencies, throttling - is tested on EC2 in memory, in `planner/aws`.
//! Invariant: each test has a region of its own, so that none sees another's objects.

#[path = "../cli/folder.rs"]
#[expect(dead_code, reason = "the other tests use more of it")]
mod folder;
mod instance;
mod moto;
mod security_group;
