//! The `lustre-agent` daemon.

fn main() {}
