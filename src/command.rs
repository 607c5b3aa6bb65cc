//! One verb, one file: what each command does.
//!
//! What it shows is in `view`; what it decides with is in the crates below.
//! Invariant: every way out of a command goes through [`exit`](crate::exit).

use std::process::ExitCode;

use crate::cli::credential::CredentialCommand;
use crate::cli::state::StateCommand;
use crate::cli::{Cli, Command};
use crate::exit::{Failure, Success};
use crate::terminal::Terminal;
use crate::view::voice::Voice;

mod apply;
mod completion;
mod console;
mod credential;
mod docs;
mod encryption;
pub mod explain;
mod fmt;
mod force_unlock;
pub mod fs;
mod graph;
mod import;
mod init;
mod interrupt;
mod migrate;
mod mount;
mod output;
mod place;
mod plan;
mod plan_file;
mod recorded;
mod schema;
mod show;
mod spec;
mod state;
mod status;
pub mod test;
mod validate;
mod version;

pub use init::said;
pub use recorded::Recorded;
pub use spec::Spec;

/// How failures of a command are shown.
#[derive(Clone, Copy)]
enum Shape {
    /// To a person.
    Words,
    /// As lines of an event stream.
    Stream,
}

/// Carries out a command and shows its failure.
pub fn run(cli: Cli) -> ExitCode {
    let (shape, no_color) = shape(&cli.command);
    let mut voice = Voice::new(Terminal::new(no_color), !matches!(shape, Shape::Words));
    let done = enter(cli.chdir.as_deref())
        .and_then(|()| {
            json_into(&cli.command).map_or(Ok(voice.clone()), |path| voice.clone().into_file(path))
        })
        .and_then(|chosen| {
            voice = chosen;
            dispatch(cli.command, &voice)
        });
    match done {
        Ok(success) => success.code(),
        Err(failure) => {
            voice.fail(&failure);
            failure.code()
        }
    }
}

/// Returns the file in which the command leaves JSON besides its words.
fn json_into(command: &Command) -> Option<&std::path::Path> {
    let voice = if let Command::Validate(flags) = command {
        &flags.voice
    } else if let Command::Plan(flags) = command {
        &flags.voice
    } else if let Command::Apply(flags) = command {
        &flags.voice
    } else if let Command::Refresh(flags) = command {
        &flags.voice
    } else if let Command::Destroy(flags) = command {
        &flags.voice
    } else if let Command::Test(flags) = command {
        &flags.voice
    } else {
        return None;
    };
    voice.json_into.as_deref()
}

fn enter(folder: Option<&std::path::Path>) -> Result<(), Failure> {
    let Some(folder) = folder else { return Ok(()) };
    std::env::set_current_dir(folder).map_err(|source| {
        let text = format!("cannot work in {}: {source}", folder.display());
        Failure::File(std::io::Error::new(source.kind(), text))
    })
}

fn shape(command: &Command) -> (Shape, bool) {
    let stream = |json| if json { Shape::Stream } else { Shape::Words };
    match command {
        Command::Init(flags) => (Shape::Words, flags.no_color),
        Command::Validate(flags) => (stream(flags.voice.view.json), flags.voice.view.no_color),
        Command::Fmt(flags) => (Shape::Words, flags.no_color),
        Command::Plan(flags) => (stream(flags.voice.view.json), flags.voice.view.no_color),
        Command::Apply(flags) => (stream(flags.voice.view.json), flags.voice.view.no_color),
        Command::Refresh(flags) => (stream(flags.voice.view.json), flags.voice.view.no_color),
        Command::Destroy(flags) => (stream(flags.voice.view.json), flags.voice.view.no_color),
        Command::Import(flags) => (Shape::Words, flags.no_color),
        Command::Show(flags) => (Shape::Words, flags.view.no_color),
        Command::Output(flags) => (Shape::Words, flags.view.no_color),
        Command::State(StateCommand::Show { view, .. }) => (Shape::Words, view.no_color),
        Command::Schema(flags) => (Shape::Words, flags.view.no_color),
        Command::Status(flags) => (Shape::Words, flags.view.no_color),
        Command::Test(flags) => (stream(flags.voice.view.json), flags.voice.view.no_color),
        Command::Credential(CredentialCommand::List { view }) => (Shape::Words, view.no_color),
        Command::State(_)
        | Command::Credential(_)
        | Command::Mount(_)
        | Command::Answers { .. }
        | Command::ForceUnlock(_)
        | Command::Graph(_)
        | Command::Console(_)
        | Command::Explain(_)
        | Command::Docs(_)
        | Command::Completion(_)
        | Command::Man(_)
        | Command::Fs(_) => (Shape::Words, false),
        Command::Version(flags) => (Shape::Words, flags.view.no_color),
    }
}

/// Returns a runtime for talking to hosts.
pub fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}

fn dispatch(command: Command, voice: &Voice) -> Result<Success, Failure> {
    let terminal = voice.terminal;
    match command {
        Command::Init(flags) => init::run(&flags, terminal),
        Command::Validate(flags) => validate::run(&flags, voice),
        Command::Fmt(flags) => fmt::run(&flags, terminal),
        Command::Plan(flags) => plan::run(&flags, voice),
        Command::Apply(flags) => apply::run(&flags, voice),
        Command::Refresh(flags) => apply::refresh(&flags, voice),
        Command::Destroy(flags) => apply::destroy(&flags, voice),
        Command::Import(flags) => import::run(&flags, terminal),
        Command::Show(flags) => show::run(&flags, terminal),
        Command::Output(flags) => output::run(&flags, terminal),
        Command::State(command) => state::run(&command, terminal),
        Command::Credential(command) => credential::run(&command, terminal),
        Command::Mount(flags) => mount::run(&flags, terminal),
        Command::ForceUnlock(flags) => force_unlock::run(&flags, terminal),
        Command::Graph(flags) => graph::run(&flags, terminal),
        Command::Console(flags) => console::run(&flags, terminal),
        Command::Schema(flags) => schema::run(&flags, terminal),
        Command::Explain(flags) => explain::run(&flags, terminal),
        Command::Docs(flags) => docs::run(&flags, terminal),
        Command::Completion(flags) => completion::run(&flags, terminal),
        Command::Man(flags) => completion::man(&flags, terminal),
        Command::Status(flags) => status::run(&flags, terminal),
        Command::Test(flags) => test::run(&flags, voice),
        Command::Fs(args) => Ok(fs::run(args, terminal).map(|()| Success::Done)?),
        Command::Version(flags) => version::run(&flags, terminal),
        Command::Answers { path } => Ok(fs_err::read_dir(path).map(|_| Success::Done)?),
    }
}
