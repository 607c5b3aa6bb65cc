//! The `lustre` command.

fn main() {}
