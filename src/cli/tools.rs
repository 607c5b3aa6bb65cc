//! The grammar of commands beside the road from spec to cluster: graph, console, schema, explain, docs, completion, man,
//! test, force-unlock.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::{VariableFlags, ViewFlags, VoiceFlags};

/// How a graph is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum GraphFormat {
    /// For Graphviz.
    Dot,
    /// For Markdown that draws Mermaid.
    Mermaid,
    /// A picture.
    Svg,
}

/// Flags of `graph`.
#[derive(Debug, Args)]
pub struct GraphFlags {
    /// How to draw it.
    #[arg(long, value_enum, default_value = "dot")]
    pub format: GraphFormat,
    /// The steps of a saved plan instead of the blocks of the spec.
    #[arg(long, value_name = "FILE")]
    pub plan: Option<PathBuf>,
}

/// Flags of `console`.
#[derive(Debug, Args)]
pub struct ConsoleFlags {
    /// Values of variables.
    #[command(flatten)]
    pub variables: VariableFlags,
}

/// Flags of `schema`.
#[derive(Debug, Args)]
pub struct SchemaFlags {
    /// Only this kind of block.
    pub kind: Option<String>,
    /// How to print.
    #[command(flatten)]
    pub view: ViewFlags,
}

/// Flags of `explain`.
#[derive(Debug, Args)]
pub struct ExplainFlags {
    /// A code, `E0301`; without one, lists all.
    pub code: Option<String>,
}

/// Flags of `docs`.
#[derive(Debug, Args)]
pub struct DocsFlags {
    /// The module's folder; this one unless given.
    pub folder: Option<PathBuf>,
    /// Write README.md instead of printing it.
    #[arg(long, conflicts_with = "check")]
    pub write: bool,
    /// Name README.md and exit 3 when it is not what would be written.
    #[arg(long)]
    pub check: bool,
}

/// Flags of `force-unlock`.
#[derive(Debug, Args)]
pub struct UnlockFlags {
    /// The number of the lock, as the refusal names it.
    pub id: String,
}

/// Flags of `completion`.
#[derive(Debug, Args)]
pub struct CompletionFlags {
    /// Which shell.
    #[arg(value_enum)]
    pub shell: clap_complete::Shell,
}

/// Flags of `man`.
#[derive(Debug, Args)]
pub struct ManFlags {
    /// Where the pages go.
    pub folder: PathBuf,
}

/// Flags of `test`.
#[derive(Debug, Args)]
#[command(
    after_help = "Test files are *.test.hcl beside the spec and in tests/. Runs go in order; a run applies unless it says\n\
                  `command = plan`, for real and on real hosts, with a state of its own. What was applied is destroyed at\n\
                  the end of its file; what could not be is named. Exit codes: 0 all passed, 1 otherwise."
)]
pub struct TestFlags {
    /// Only this test file, as `tests/a.test.hcl`; may be given again.
    #[arg(long, value_name = "FILE")]
    pub filter: Vec<String>,
    /// The folder of test files besides the spec's own, instead of tests.
    #[arg(long, value_name = "DIR")]
    pub test_directory: Option<String>,
    /// Print the plan of each run that plans, and the state after each that applies.
    #[arg(long)]
    pub verbose: bool,
    /// How to print.
    #[command(flatten)]
    pub voice: VoiceFlags,
    /// Values of variables.
    #[command(flatten)]
    pub variables: VariableFlags,
}
