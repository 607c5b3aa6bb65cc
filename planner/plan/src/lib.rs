//! The planner: spec and recorded world in, sealed plan out. Pure.
//!
//! ```text
//! recorded ──relocation──▶ recorded, as `moved` and `removed` blocks have it
//! Program ──order──▶ per block of each module: expand, evaluate (language) ─ decode (spec) ─ lower ─ diff ──▶ changes
//! changes ──steps──▶ Plan ──file──▶ bytes     Plan ──render──▶ text, JSON     Plan + what was applied ──resolve──▶ values
//! ```
//! `refresh` makes the plan that touches no object.
//! Replacements that create first are set aside by `depose`; `import` blocks are `adopt`ed; `data` is read, or left for later.
//! Values that are recorded and stay as they are known while planning; others are known after apply.
//! Not here: HCL, hosts, state files. Nothing is read, no clock, no randomness.
//! Invariant: planning twice from the same inputs gives the same plan, and planning again after it was carried out gives
//! one without changes.

mod adopt;
mod allot;
mod build;
mod claim;
mod data;
mod depose;
mod diff;
pub mod file;
mod lower;
mod moves;
mod order;
mod outside;
mod overlap;
mod places;
mod provider;
mod publish;
mod refresh;
mod relocation;
pub mod render;
mod resolve;
mod schema;
mod select;
mod spec;
mod steps;

pub use build::{Options, SpecText, dependencies, plan, within};
pub use claim::{Claim, claims};
pub use resolve::{Resolver, resolve};
pub use spec::{AttributeOutline, BlockOutline, NestedOutline, outline, parse_size};

/// The block types of resources, for `lustre_language::Program::load`.
pub const KINDS: [&str; 9] = [
    "host",
    "cluster",
    "bucket",
    "data_repository_association",
    "mount",
    "value",
    "security_group",
    "instance",
    data::CLUSTER,
];
