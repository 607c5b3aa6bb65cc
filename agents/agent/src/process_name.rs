//! Names of processes as folders.
//!
//! Not for people; messages print what the planner calls them.
//! Invariant: two processes never share a folder, and no name leads out of the parent.

use lustre_model::control::{ProcessId, ProcessSpec};
use sha2::{Digest, Sha256};

/// Characters of a free text that stay readable in a folder's name.
const READABLE_MAX: usize = 40;

/// Bytes of the text's hash behind them.
const HASH_BYTES: usize = 8;

/// Returns the folder's name.
pub(crate) fn folder_name(process: &ProcessId) -> String {
    match process {
        ProcessId::Target(target) => format!("target-{target}"),
        ProcessId::Mover(fs_name) => format!("mover-{fs_name}"),
        ProcessId::Mount(path) => format!("mount-{}", safe(path)),
        ProcessId::Bucket(name) => format!("bucket-{}", safe(name)),
    }
}

/// What can be read of a text, and its hash, which tells it from others that read the same.
fn safe(text: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' };
    let readable: String = text.chars().map(plain).take(READABLE_MAX).collect();
    let hash = Sha256::digest(text.as_bytes());
    format!("{}-{}", readable.trim_matches('_'), hex::encode(&hash[..HASH_BYTES]))
}

/// Says whether a spec is one for this process.
pub(crate) fn matches(process: &ProcessId, spec: &ProcessSpec) -> bool {
    match (process, spec) {
        (
            ProcessId::Target(id),
            ProcessSpec::Metadata { target, .. } | ProcessSpec::Object { target, .. },
        ) => id == target,
        (ProcessId::Mover(id), ProcessSpec::Mover { fs_name, .. }) => id == fs_name,
        (ProcessId::Mount(id), ProcessSpec::Mount { path, .. }) => id == path,
        (ProcessId::Bucket(id), ProcessSpec::Bucket { name, .. }) => id == name,
        (ProcessId::Target(_) | ProcessId::Mover(_) | ProcessId::Mount(_) | ProcessId::Bucket(_), _) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_in_their_parent_and_apart() {
        let names: Vec<String> = ["/", "/a/b", "/a_b", "..", "/mnt/é", &"/x".repeat(3000)]
            .iter()
            .map(|path| folder_name(&ProcessId::Mount((*path).to_owned())))
            .collect();
        for (at, name) in names.iter().enumerate() {
            assert!(name.len() < 100 && !name.contains('/') && name.starts_with("mount-"), "{name}");
            assert!(!names[..at].contains(name), "{name} twice");
        }
    }
}
