//! `-var` and `-var-file`, in the order they were given.
//!
//! Reads nothing: files and texts are understood where the spec is loaded.
//! Invariant: a later entry wins over an earlier one, whichever flag it came by.

use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Args, Command, Error, FromArgMatches, value_parser};

/// One of the two flags.
#[derive(Debug, Clone)]
pub enum Variable {
    /// `-var name=value`
    Assignment(String),
    /// `-var-file=FILE`
    File(PathBuf),
}

/// All of them.
#[derive(Debug, Clone, Default)]
pub struct VariableFlags {
    /// In the order of the command line.
    pub given: Vec<Variable>,
}

impl FromArgMatches for VariableFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let mut found: Vec<(usize, Variable)> = Vec::new();
        if let (Some(texts), Some(at)) = (matches.get_many::<String>("var"), matches.indices_of("var")) {
            found.extend(at.zip(texts.cloned().map(Variable::Assignment)));
        }
        if let (Some(paths), Some(at)) =
            (matches.get_many::<PathBuf>("var-file"), matches.indices_of("var-file"))
        {
            found.extend(at.zip(paths.cloned().map(Variable::File)));
        }
        found.sort_by_key(|(at, _)| *at);
        Ok(Self { given: found.into_iter().map(|(_, variable)| variable).collect() })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Args for VariableFlags {
    fn augment_args(command: Command) -> Command {
        command
            .arg(
                Arg::new("var")
                    .long("var")
                    .value_name("NAME=VALUE")
                    .action(ArgAction::Append)
                    .value_parser(parse_assignment)
                    .help("Set a variable; may be given again"),
            )
            .arg(
                Arg::new("var-file")
                    .long("var-file")
                    .value_name("FILE")
                    .action(ArgAction::Append)
                    .value_parser(value_parser!(PathBuf))
                    .help("Set variables from a file; may be given again"),
            )
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

fn parse_assignment(text: &str) -> Result<String, String> {
    match text.split_once('=') {
        Some((name, _)) if !name.trim().is_empty() => Ok(text.to_owned()),
        Some(_) | None => Err("give name=value".to_owned()),
    }
}
