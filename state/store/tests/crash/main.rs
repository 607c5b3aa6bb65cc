//! Cuts the power, or the process, at every single operation on the disk, and reads the state back.
//!
//! Invariant checked: what was acknowledged is there, what is there was at least asked for, and nothing else is.

#[cfg(test)]
mod cuts;
#[cfg(test)]
mod made;
