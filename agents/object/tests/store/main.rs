//! The object store against a model, through crashes, damage and failing disks.
//!
//! Runs on a simulated disk; the real one is tested by the agent.
//! Invariant: every test that draws at random prints what it drew when it fails.

mod damage;
mod disk;
mod limits;
mod model;
