//! What is done with an input that nobody vouches for, and what must hold of it: one function for each sort of input.
//!
//! The fuzzers (`fuzz/fuzz_targets`) and the replay of their corpus (`tests/replay.rs`) call the same functions. They end in
//! a panic where a promise is broken; that a run ends soon and within its memory is for whoever calls them to watch.
//! Not here: the fuzzers themselves, files, processes.
//! Invariant: a function takes any bytes, and its verdict depends on nothing else.

mod message;
mod sealed;
mod spec;
mod state;

pub use crate::message::message;
pub use crate::sealed::plan_file;
pub use crate::spec::{evaluate, format, parse};
pub use crate::state::state_file;

/// What a sort of input is called, and what is done with one.
pub type Sort = (&'static str, fn(&[u8]));

/// Every sort of input, by the name of its fuzzer and of its folder in the corpus.
pub const SORTS: [Sort; 6] = [
    ("parse", parse),
    ("evaluate", evaluate),
    ("format", format),
    ("plan_file", plan_file),
    ("state_file", state_file),
    ("message", message),
];
