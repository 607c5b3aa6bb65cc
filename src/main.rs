//! The `lustre` command.
//!
//! Everything is in the library; this only hands over the words and the exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    lustre::run(std::env::args_os())
}
