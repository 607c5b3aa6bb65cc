//! The grammar of `lustre credential …` and `lustre mount`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

use super::{LockFlags, ViewFlags, parse_duration};

/// What may be done with credentials.
#[derive(Debug, Subcommand)]
pub enum CredentialCommand {
    /// Make a credential with which a machine that the spec does not name can mount a file system.
    Issue(IssueFlags),
    /// End a credential, or that of a mount: every target refuses it from now on.
    Revoke(RevokeFlags),
    /// List what was handed out, and what is revoked.
    List {
        /// How to print.
        #[command(flatten)]
        view: ViewFlags,
    },
}

/// Flags of `credential issue`.
#[derive(Debug, Args)]
pub struct IssueFlags {
    /// Of which cluster: its address.
    pub cluster: String,
    /// Under which name: letters, digits, - and _.
    pub name: String,
    /// How long it is good: 12h, 30d.
    #[arg(long, value_name = "DURATION", default_value = "30d", value_parser = parse_validity)]
    pub valid: Duration,
    /// The file to make; only its owner may read it.
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// How long to wait for the lock of the state.
    #[command(flatten)]
    pub lock: LockFlags,
}

/// Flags of `credential revoke`.
#[derive(Debug, Args)]
pub struct RevokeFlags {
    /// Of which cluster: its address.
    pub cluster: String,
    /// The credential's name, or a mount's address.
    pub name: String,
    /// How long to wait for the lock of the state.
    #[command(flatten)]
    pub lock: LockFlags,
}

/// Flags of `mount`.
#[derive(Debug, Args)]
#[command(
    after_help = "Needs the same rights as any FUSE mount, and no spec. It ends with an unmount, Ctrl-C or SIGTERM."
)]
pub struct MountFlags {
    /// Where to mount: an empty folder.
    pub path: PathBuf,
    /// What `lustre credential issue` made.
    #[arg(long, value_name = "FILE")]
    pub credential: PathBuf,
    /// Options: ro, nosuid, nodev, noexec.
    #[arg(short = 'o', value_name = "OPTIONS", value_delimiter = ',')]
    pub options: Vec<String>,
}

/// Longest time for which a credential is made.
const VALID_DAYS_MAX: u64 = 3650;

/// Reads a duration that may be in days.
fn parse_validity(text: &str) -> Result<Duration, String> {
    let valid = match text.strip_suffix('d').map(str::parse::<u64>) {
        Some(days) => {
            let days = days.map_err(|_| format!("\"{text}\" is not a duration such as 12h or 30d"))?;
            Duration::from_secs(days.saturating_mul(86_400))
        }
        None => parse_duration(text)?,
    };
    if valid.is_zero() || valid > Duration::from_secs(VALID_DAYS_MAX * 86_400) {
        return Err(format!("a credential is good for more than nothing and at most {VALID_DAYS_MAX}d"));
    }
    Ok(valid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_good_for_days_or_hours_and_not_for_ever() {
        assert_eq!(parse_validity("30d"), Ok(Duration::from_hours(720)));
        assert_eq!(parse_validity("90s"), Ok(Duration::from_secs(90)));
        for text in ["", "d", "0d", "-1d", "4000d", "soon"] {
            assert!(parse_validity(text).is_err(), "{text}");
        }
    }
}
