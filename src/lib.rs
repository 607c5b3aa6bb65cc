//! The product: commands, what they show, and the daemons that hosts run.
//!
//! The only code that prints, prompts or exits. Everything it decides with comes from the crates below it.

pub mod daemon;
