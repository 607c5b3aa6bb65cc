//! What may be typed: global flags, commands and their flags, as Terraform users type them.
//!
//! Only grammar; nothing here reads a file or decides anything. Long flags are taken with one dash and with two.
//! Invariant: a command or flag that is listed here works; what is not built is absent.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args, CommandFactory, FromArgMatches, Parser, Subcommand};

pub use tools::{
    CompletionFlags, ConsoleFlags, DocsFlags, ExplainFlags, GraphFlags, GraphFormat, ManFlags, SchemaFlags,
    TestFlags, UnlockFlags,
};
pub use variable::{Variable, VariableFlags};

pub mod credential;
mod dashes;
pub mod state;
mod tools;
mod variable;

/// Most steps that run at once unless `-parallelism` says otherwise, as Terraform's.
const PARALLELISM_DEFAULT: usize = 10;

/// The whole command line.
#[derive(Debug, Parser)]
#[command(
    name = "lustre",
    version,
    about = "A parallel file system like FSx for Lustre on hosts you own: plan, apply, destroy",
    after_help = "Long flags are taken with one dash or two: -auto-approve is --auto-approve."
)]
pub struct Cli {
    /// Work in another folder, as if started there.
    #[arg(long, value_name = "DIR")]
    pub chdir: Option<PathBuf>,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Every command that is built.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Fetch the repositories that modules come from, and keep the lock file.
    Init(InitFlags),
    /// Check the spec without looking at the state or at any host.
    Validate(ValidateFlags),
    /// Bring files into canonical form.
    Fmt(FmtFlags),
    /// Show what apply would do.
    Plan(PlanFlags),
    /// Carry out a plan: a saved one, or a new one after asking.
    Apply(ApplyFlags),
    /// Deprecated, as in Terraform: `apply -refresh-only -auto-approve`, without a look at what changes.
    Refresh(RefreshFlags),
    /// Remove everything that the state knows.
    Destroy(DestroyFlags),
    /// Record an object that is there already, and touch nothing else.
    Import(ImportFlags),
    /// Show the state, or a saved plan.
    Show(ShowFlags),
    /// Show the outputs of the last apply.
    Output(OutputFlags),
    /// Look into the state, or change what it records.
    #[command(subcommand)]
    State(state::StateCommand),
    /// Hand out what mounts a file system elsewhere, and end it.
    #[command(subcommand)]
    Credential(credential::CredentialCommand),
    /// Mount a file system with a credential, on a machine that no spec names.
    Mount(credential::MountFlags),
    /// Give back a lock on the state that nobody holds any more.
    ForceUnlock(UnlockFlags),
    /// Draw what depends on what: DOT, Mermaid or SVG.
    Graph(GraphFlags),
    /// Evaluate expressions with the values that a plan would give.
    Console(ConsoleFlags),
    /// Show which blocks and attributes there are.
    Schema(SchemaFlags),
    /// Show how targets, processes, links and mounts are now; exit code 1 where something is not as the state says.
    Status(StatusFlags),
    /// Run the tests, *.test.hcl: plan and apply for real, check, and destroy what was applied.
    Test(TestFlags),
    /// What lfs does, on a mounted file system.
    Fs(crate::command::fs::FsArgs),
    /// Say what a diagnostic's code means and what to do.
    Explain(ExplainFlags),
    /// Make a module's README from its own descriptions.
    Docs(DocsFlags),
    /// Print what a shell needs to complete commands and flags.
    Completion(CompletionFlags),
    /// Write manual pages into a folder.
    Man(ManFlags),
    /// Show the version.
    Version(VersionFlags),
    /// Look whether a folder can be listed: what `mount` asks of itself.
    #[command(hide = true)]
    Answers {
        /// Which folder.
        path: PathBuf,
    },
}

/// How to print.
#[derive(Debug, Clone, Args)]
pub struct ViewFlags {
    /// Print JSON in Terraform's shape.
    #[arg(long)]
    pub json: bool,
    /// Print without colour; NO_COLOR does the same.
    #[arg(long)]
    pub no_color: bool,
}

/// How to print, and where to leave JSON besides.
#[derive(Debug, Clone, Args)]
pub struct VoiceFlags {
    /// How to print.
    #[command(flatten)]
    pub view: ViewFlags,
    /// Print words, and write into FILE what -json prints; only its owner may read it.
    #[arg(long, value_name = "FILE", conflicts_with = "json")]
    pub json_into: Option<PathBuf>,
}

/// What shapes a plan.
#[derive(Debug, Args)]
pub struct PlanningFlags {
    /// Ask hosts and agents how things are; `-refresh=false` believes the state.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value_t = true,
          default_missing_value = "true", action = ArgAction::Set)]
    pub refresh: bool,
    /// Ask for values of variables that have none; `-input=false` fails instead.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value_t = true,
          default_missing_value = "true", action = ArgAction::Set)]
    pub input: bool,
    /// Plan only this and what it needs; `*` is any text; may be given again.
    #[arg(long, value_name = "ADDRESS")]
    pub target: Vec<String>,
    /// Leave this out, and what needs it; `*` is any text; may be given again.
    #[arg(long, value_name = "ADDRESS")]
    pub exclude: Vec<String>,
    /// Replace this although nothing asks for it; `*` is any text; may be given again.
    #[arg(long, value_name = "ADDRESS")]
    pub replace: Vec<String>,
    /// Allow the bytes of this resource to be lost; may be given again.
    #[arg(long, value_name = "ADDRESS")]
    pub allow_data_loss: Vec<String>,
    /// Values of variables.
    #[command(flatten)]
    pub variables: VariableFlags,
    /// How long to wait for the lock of the state.
    #[command(flatten)]
    pub lock: LockFlags,
    /// Most steps or questions at once.
    #[arg(long, value_name = "N", default_value_t = PARALLELISM_DEFAULT, value_parser = parse_parallelism)]
    pub parallelism: usize,
}

/// How to take the lock of the state.
#[derive(Debug, Clone, Args)]
pub struct LockFlags {
    /// Wait this long when another holds the lock of the state: 30s, 5m.
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = parse_duration)]
    pub lock_timeout: Duration,
}

/// What `init` may do to the lock file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LockfileMode {
    /// Nothing: what it says must fit.
    Readonly,
}

/// Flags of `init`.
#[derive(Debug, Args)]
pub struct InitFlags {
    /// Take what the refs lead to now, instead of what is locked.
    #[arg(long)]
    pub upgrade: bool,
    /// `readonly` fails instead of changing the lock file.
    #[arg(long, value_name = "MODE", conflicts_with = "upgrade")]
    pub lockfile: Option<LockfileMode>,
    /// Copy the state from where the spec had it before to where the spec has it now.
    #[arg(long)]
    pub migrate_state: bool,
    /// How long to wait for locks.
    #[command(flatten)]
    pub lock: LockFlags,
    /// Print without colour; NO_COLOR does the same.
    #[arg(long)]
    pub no_color: bool,
}

/// Flags of `validate`.
#[derive(Debug, Args)]
pub struct ValidateFlags {
    /// How to print.
    #[command(flatten)]
    pub voice: VoiceFlags,
    /// Values of variables.
    #[command(flatten)]
    pub variables: VariableFlags,
}

/// Flags of `fmt`.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit codes: 0 done, 1 a file could not be formatted (the others are), 3 -check found something.\n\
                  Line ends and empty lines stay as they are. Hidden files and folders are skipped."
)]
pub struct FmtFlags {
    /// Files *.hcl, folders, or `-` alone for standard input; without any, the working folder.
    #[arg(value_name = "FILE|DIR|-")]
    pub targets: Vec<PathBuf>,
    /// Change nothing; exit 3 when something is not in canonical form.
    #[arg(long)]
    pub check: bool,
    /// Also go into the folders below; symbolic links to folders are not followed.
    #[arg(long)]
    pub recursive: bool,
    /// Print without colour; NO_COLOR does the same.
    #[arg(long)]
    pub no_color: bool,
    /// What becomes of the result.
    #[command(flatten)]
    pub result: FmtResultFlags,
}

/// What becomes of formatted text.
#[derive(Debug, Clone, Copy, Args)]
pub struct FmtResultFlags {
    /// Print the names of files that differ; `-list=false` does not.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value_t = true,
          default_missing_value = "true", action = ArgAction::Set)]
    pub list: bool,
    /// Write the files; `-write=false` does not, and with `-list=false` prints the result.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value_t = true,
          default_missing_value = "true", action = ArgAction::Set)]
    pub write: bool,
    /// Print what differs as a unified diff.
    #[arg(long)]
    pub diff: bool,
}

/// Flags of `plan`.
#[derive(Debug, Args)]
pub struct PlanFlags {
    /// How to print.
    #[command(flatten)]
    pub voice: VoiceFlags,
    /// What shapes the plan.
    #[command(flatten)]
    pub planning: PlanningFlags,
    /// Save the plan; `lustre apply FILE` carries out exactly that.
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Sign the saved plan with the Ed25519 key in FILE, as `openssl genpkey` writes it.
    #[arg(long, value_name = "FILE", requires = "out")]
    pub sign_key: Option<PathBuf>,
    /// Write the plan, with its warnings, into FILE as a comment for a pull request; only its owner may read it.
    #[arg(long, value_name = "FILE")]
    pub markdown_into: Option<PathBuf>,
    /// Exit 2 when there are changes.
    #[arg(long)]
    pub detailed_exitcode: bool,
    /// Take the lock of the state while planning; `-lock=false` only reads, as who may not write must.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value_t = true,
          default_missing_value = "true", action = ArgAction::Set)]
    pub lock: bool,
    /// Plan the removal of everything.
    #[arg(long)]
    pub destroy: bool,
    /// Change nothing on hosts.
    #[command(flatten)]
    pub refresh: RefreshOnlyFlags,
}

/// Flags of `apply`.
#[derive(Debug, Args)]
pub struct ApplyFlags {
    /// A plan saved by `plan -out`; without one, plans first.
    pub plan_file: Option<PathBuf>,
    /// Carry the plan out only when the owner of this Ed25519 key signed it; may be given again; counts instead of `signed_by`.
    #[arg(long, value_name = "FILE", requires = "plan_file")]
    pub verify_key: Vec<PathBuf>,
    /// How to print.
    #[command(flatten)]
    pub voice: VoiceFlags,
    /// What shapes the plan.
    #[command(flatten)]
    pub planning: PlanningFlags,
    /// Do not ask.
    #[arg(long)]
    pub auto_approve: bool,
    /// Remove everything.
    #[arg(long, conflicts_with = "plan_file")]
    pub destroy: bool,
    /// Change nothing on hosts.
    #[command(flatten)]
    pub refresh: RefreshOnlyFlags,
}

/// Whether only what is there is looked at.
#[derive(Debug, Args)]
pub struct RefreshOnlyFlags {
    /// Touch no host and no object: ask hosts and show what is not as recorded, and record outputs anew.
    ///
    /// Recorded are the outputs of the spec alone, with what is applied now and what `data` reads now. What hosts report is
    /// shown and never recorded: the state goes on saying what was applied, and apply repairs towards it. With
    /// -detailed-exitcode, 2 says that something is not as recorded, be it a host's report or an output.
    #[arg(long, conflicts_with_all = ["destroy", "target", "exclude", "replace", "allow_data_loss", "refresh"])]
    pub refresh_only: bool,
}

/// Flags of `refresh`.
#[derive(Debug, Args)]
pub struct RefreshFlags {
    /// How to print.
    #[command(flatten)]
    pub voice: VoiceFlags,
    /// What shapes the plan.
    #[command(flatten)]
    pub planning: PlanningFlags,
}

/// Flags of `destroy`.
#[derive(Debug, Args)]
pub struct DestroyFlags {
    /// How to print.
    #[command(flatten)]
    pub voice: VoiceFlags,
    /// What shapes the plan.
    #[command(flatten)]
    pub planning: PlanningFlags,
    /// Do not ask.
    #[arg(long)]
    pub auto_approve: bool,
}

/// Flags of `import`.
#[derive(Debug, Args)]
#[command(
    after_help = "Works for a `value`. Any other kind is refused with the reason, as an `import` block of it is.\n\
                  What the spec asks for beyond what is recorded so, the next plan shows."
)]
pub struct ImportFlags {
    /// Where it is recorded; the spec has a block for it.
    pub address: String,
    /// What it is known by: of a value, the text that it remembers so far.
    pub id: String,
    /// Ask for values of variables that have none; `-input=false` fails instead.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value_t = true,
          default_missing_value = "true", action = ArgAction::Set)]
    pub input: bool,
    /// Print without colour; NO_COLOR does the same.
    #[arg(long)]
    pub no_color: bool,
    /// Values of variables.
    #[command(flatten)]
    pub variables: VariableFlags,
    /// How long to wait for the lock of the state.
    #[command(flatten)]
    pub lock: LockFlags,
}

/// Flags of `show`.
#[derive(Debug, Args)]
pub struct ShowFlags {
    /// A saved plan; without one, shows the state.
    pub plan_file: Option<PathBuf>,
    /// Print the plan as a comment for a pull request, at most as long as GitHub takes one.
    #[arg(long, conflicts_with = "json", requires = "plan_file")]
    pub markdown: bool,
    /// How to print.
    #[command(flatten)]
    pub view: ViewFlags,
}

/// Flags of `output`.
#[derive(Debug, Args)]
pub struct OutputFlags {
    /// Only this output.
    pub name: Option<String>,
    /// How to print.
    #[command(flatten)]
    pub view: ViewFlags,
    /// Print a string, number or bool as it is, without quotes or newline.
    #[arg(long, requires = "name", conflicts_with = "json")]
    pub raw: bool,
}

/// Flags of `status`.
#[derive(Debug, Args)]
pub struct StatusFlags {
    /// How to print.
    #[command(flatten)]
    pub view: ViewFlags,
}

/// Flags of `version`.
#[derive(Debug, Args)]
pub struct VersionFlags {
    /// How to print.
    #[command(flatten)]
    pub view: ViewFlags,
}

impl Cli {
    /// Parses the arguments of the process; the first is the program's name.
    pub fn parse_from_words(words: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        let command = Self::command();
        let words = dashes::normalise(&command, words);
        Self::from_arg_matches(&command.try_get_matches_from(words)?)
    }
}

fn parse_parallelism(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err("give a whole number of at least 1".to_owned()),
        Ok(number) => Ok(number),
    }
}

/// Reads Go's simple durations, as Terraform takes them: `0s`, `90s`, `5m`, `1h`.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || "give a number with a unit: 30s, 5m, 1h".to_owned();
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let seconds = match unit {
        "" if number == 0 => 1,
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return Err(wrong()),
    };
    number.checked_mul(seconds).map(Duration::from_secs).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::parse_from_words(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn the_grammar_has_no_clashes() {
        Cli::command().debug_assert();
    }

    #[test]
    fn long_flags_take_one_dash_or_two() {
        for line in [
            "lustre apply -auto-approve -lock-timeout=5m -parallelism=3 -refresh=false",
            "lustre apply --auto-approve --lock-timeout 5m --parallelism 3 --refresh=false",
        ] {
            let Command::Apply(flags) = parse(line).expect("it parses").command else { panic!("apply") };
            assert!(flags.auto_approve && !flags.planning.refresh && flags.planning.input);
            assert_eq!(flags.planning.lock.lock_timeout, Duration::from_secs(300));
            assert_eq!(flags.planning.parallelism, 3);
        }
    }

    #[test]
    fn a_mistyped_flag_is_named_whole() {
        for (line, told) in [("lustre plan -lokc=false", "--lokc"), ("lustre plan -targt x", "--targt")] {
            let said = parse(line).expect_err("no such flag").to_string();
            assert!(said.contains(told), "{said}");
        }
        assert!(parse("lustre -h").is_err_and(|shown| shown.kind() == clap::error::ErrorKind::DisplayHelp));
    }

    #[test]
    fn variables_keep_the_order_in_which_they_were_given() {
        let line = "lustre plan -var a=1 -var-file=x.vars.hcl -var=a=2 -var-file y.vars.hcl";
        let Command::Plan(flags) = parse(line).expect("it parses").command else { panic!("plan") };
        let shown: Vec<String> = flags
            .planning
            .variables
            .given
            .iter()
            .map(|variable| match variable {
                Variable::Assignment(text) => text.clone(),
                Variable::File(path) => path.display().to_string(),
            })
            .collect();
        assert_eq!(shown, ["a=1", "x.vars.hcl", "a=2", "y.vars.hcl"]);
    }

    #[test]
    fn wrong_words_are_refused() {
        for line in [
            "lustre",
            "lustre frobnicate",
            "lustre plan -nonsense",
            "lustre apply -parallelism=0",
            "lustre apply -lock-timeout=5",
            "lustre output -raw",
            "lustre apply -destroy saved.plan",
            "lustre fmt -list=perhaps",
            "lustre plan -refresh-only -destroy",
            "lustre plan -refresh-only -refresh=false",
            "lustre apply -refresh-only -replace=a.b",
            "lustre apply -refresh-only -target=a.b",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
