//! The client against real metadata targets and real mounts, all in this process.
//!
//! Object targets keep their bytes in memory here: what they do on disk is tested where they live.
//! Invariant: every test ends in bounded time; a watchdog aborts a mount that hangs.

#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test that cannot go on fails, and one that is skipped says so"
)]

mod client;
mod host;
mod mounts;
mod pair;
mod posix;
mod restart;
mod unasked;
