//! The grammar of commands beside the road from spec to cluster: schema, completion, man, force-unlock.

use std::path::PathBuf;

use clap::Args;

use super::ViewFlags;

/// Flags of `schema`.
#[derive(Debug, Args)]
pub struct SchemaFlags {
    /// Only this kind of block.
    pub kind: Option<String>,
    /// How to print.
    #[command(flatten)]
    pub view: ViewFlags,
}

/// Flags of `force-unlock`.
#[derive(Debug, Args)]
pub struct UnlockFlags {
    /// The number of the lock, as the refusal names it.
    pub id: u64,
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
