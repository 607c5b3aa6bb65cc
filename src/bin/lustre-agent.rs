//! The `lustre-agent` program: the daemon of a host and its processes.
//!
//! Thin: everything is in [`lustre::daemon`].

use std::process::ExitCode;

/// The C library's allocator is slow under many threads, musl's most of all.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    lustre::daemon::run()
}
