//! The product: commands, what they show, and the daemons that hosts run.
//!
//! The only code that prints, prompts or exits. Everything it decides with comes from the crates below it.
//! Invariant: a panic anywhere below ends as a report of a bug with exit code 70, never as a bare backtrace.

use std::ffi::OsString;
use std::panic;
use std::process::ExitCode;

use crate::cli::Cli;

pub mod cli;
mod clock;
mod command;
pub mod daemon;
mod exit;
mod files;
mod installed;
mod terminal;
mod view;
mod wiring;

/// Runs one command line, the program's name first, and returns how the process shall end.
pub fn run(words: impl IntoIterator<Item = OsString>) -> ExitCode {
    report_bugs();
    let cli = match Cli::parse_from_words(words) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are no errors; clap knows which stream they belong to.
            let _reader_gone = error.print();
            return ExitCode::from(u8::from(error.use_stderr()));
        }
    };
    panic::catch_unwind(|| command::run(cli)).unwrap_or(ExitCode::from(exit::BUG))
}

/// Replaces the words of a panic by a request to report it.
fn report_bugs() {
    let usual = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        let terminal = terminal::Terminal::new(true);
        terminal.tell("This is a bug in lustre. Please report it with these lines; the state is not harmed.");
        usual(info);
    }));
}
