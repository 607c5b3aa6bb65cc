//! `lustre completion` and `lustre man`: what the command line says of itself, for shells and for `man`.
//!
//! Invariant: both are made from the grammar, so they list what works and nothing else.

use clap::CommandFactory as _;

use crate::cli::{Cli, CompletionFlags, ManFlags};
use crate::exit::{Failure, Success};
use crate::terminal::Terminal;

/// Prints the script that a shell loads.
pub fn run(flags: &CompletionFlags, terminal: Terminal) -> Result<Success, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(flags.shell, &mut Cli::command(), "lustre", &mut script);
    terminal.say_raw(&String::from_utf8_lossy(&script));
    Ok(Success::Done)
}

/// Writes a manual page for the program and one for each command.
pub fn man(flags: &ManFlags, terminal: Terminal) -> Result<Success, Failure> {
    fs_err::create_dir_all(&flags.folder)?;
    clap_mangen::generate_to(Cli::command(), &flags.folder)?;
    terminal.tell(&format!("Manual pages are in {}.", flags.folder.display()));
    Ok(Success::Done)
}
