//! The nouns of lustre: what planner, state and agents talk about.
//!
//! Plain values only: no I/O, no clock, no randomness, no terminal. Everything here can be built, compared, printed
//! and serialised in a test.
//! Invariant: a type with a private field can only be built valid; whoever holds one need not check it again.

pub mod address;
pub mod attr;
pub mod control;
pub mod diagnostic;
pub mod fault;
pub mod fid;
pub mod hsm;
pub mod id;
pub mod journal;
pub mod layout;
pub mod metadata;
pub mod moment;
pub mod object;
pub mod pattern;
pub mod plan;
pub mod recorded;
pub mod resource;
pub mod space;
pub mod types;
pub mod value;
