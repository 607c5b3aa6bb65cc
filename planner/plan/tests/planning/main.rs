//! The planner through its boundary: spec text and recorded world in, plan, text and JSON out.
//!
//! Steps are carried out by [`harness::carry_out`], which touches nothing but a recorded world.
//! Invariant checked everywhere: what was applied as planned needs no further plan.

mod golden;
mod growth;
mod harness;
mod lifecycle;
mod mistakes;
mod sealed;
mod unknown;
