//! The grammar of `lustre state …`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{LockFlags, ViewFlags};

/// What may be asked of the state.
#[derive(Debug, Subcommand)]
pub enum StateCommand {
    /// List the addresses in the state.
    List {
        /// Only these, or what lies below them.
        addresses: Vec<String>,
        /// How to print.
        #[command(flatten)]
        view: ViewFlags,
    },
    /// Show one resource.
    Show {
        /// Its address.
        address: String,
        /// How to print.
        #[command(flatten)]
        view: ViewFlags,
    },
    /// Give a resource another address; nothing happens on any host.
    Mv(MvFlags),
    /// Forget resources; what they are stays where it is, unmanaged.
    Rm(RmFlags),
    /// Print the state as it is stored, with its secrets.
    Pull,
    /// Put a pulled state in the place of this one.
    Push(PushFlags),
    /// Write the state anew under the key that `encryption` says now.
    Rekey(RekeyFlags),
}

/// Flags of `state mv`.
#[derive(Debug, Args)]
pub struct MvFlags {
    /// The address that is recorded.
    pub from: String,
    /// The address that it is to have.
    pub to: String,
    /// Only say what would move.
    #[arg(long)]
    pub dry_run: bool,
    /// How long to wait for the lock of the state.
    #[command(flatten)]
    pub lock: LockFlags,
}

/// Flags of `state rm`.
#[derive(Debug, Args)]
pub struct RmFlags {
    /// What to forget: resources, or instances of them.
    #[arg(required = true)]
    pub addresses: Vec<String>,
    /// Only say what would be forgotten.
    #[arg(long)]
    pub dry_run: bool,
    /// How long to wait for the lock of the state.
    #[command(flatten)]
    pub lock: LockFlags,
}

/// Flags of `state rekey`.
#[derive(Debug, Args)]
pub struct RekeyFlags {
    /// How long to wait for the lock of the state.
    #[command(flatten)]
    pub lock: LockFlags,
}

/// Flags of `state push`.
#[derive(Debug, Args)]
pub struct PushFlags {
    /// A file that `state pull` made; `-` is standard input.
    pub file: PathBuf,
    /// Also one of another lineage, or an older one.
    #[arg(long)]
    pub force: bool,
    /// How long to wait for the lock of the state.
    #[command(flatten)]
    pub lock: LockFlags,
}
