//! `lustre version`.

use serde_json::json;

use crate::cli::VersionFlags;
use crate::exit::{Failure, Success};
use crate::terminal::Terminal;

/// Prints the version.
pub fn run(flags: &VersionFlags, terminal: Terminal) -> Result<Success, Failure> {
    let version = env!("CARGO_PKG_VERSION");
    let platform = format!("{}_{}", std::env::consts::OS, std::env::consts::ARCH);
    if flags.view.json {
        terminal.say(&format!("{:#}", json!({ "lustre_version": version, "platform": platform })));
    } else {
        terminal.say(&format!("lustre {version}\non {platform}"));
    }
    Ok(Success::Done)
}
