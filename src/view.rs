//! What commands show, for people and as JSON in Terraform's shape. One file per subject.
//!
//! Makes texts and prints them through [`crate::terminal::Terminal`]; decides nothing.
//! Invariant: a sensitive value never becomes text here, unless its output was asked for by name.

pub mod apply;
pub mod diagnostic;
pub mod docs;
pub mod failure;
pub mod fmt;
pub mod fs;
pub mod graph;
pub mod plan;
pub mod schema;
pub mod status;
pub mod stream;
pub mod styled;
pub mod test;
pub mod values;
pub mod voice;
