//! The `lustre` command.
//!
//! Everything is in the library; this only hands over the words and the exit code.

use std::process::ExitCode;

/// A plan is a hundred small pieces an object; the C library's allocator took a third of its time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    lustre::run(std::env::args_os())
}
