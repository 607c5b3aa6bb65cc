//! The planner through its boundary: spec text and recorded world in, plan, text and JSON out.
//!
//! Steps are carried out by [`harness::carry_out`], which touches nothing but a recorded world.
//! Invariant checked everywhere: what was applied as planned needs no further plan.

#[cfg(test)]
mod aws;
#[cfg(test)]
mod comment;
#[cfg(test)]
mod conditions;
#[cfg(test)]
mod counterparts;
#[cfg(test)]
mod data;
#[cfg(test)]
mod edits;
#[cfg(test)]
mod golden;
#[cfg(test)]
mod growth;
#[cfg(test)]
mod harness;
#[cfg(test)]
mod hosts;
#[cfg(test)]
mod lifecycle;
#[cfg(test)]
mod links;
#[cfg(test)]
mod mistakes;
#[cfg(test)]
mod modules;
#[cfg(test)]
mod refresh;
#[cfg(test)]
mod relocation;
#[cfg(test)]
mod sealed;
#[cfg(test)]
mod unknown;
