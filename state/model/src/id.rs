//! Identifiers that travel between planner, state and agents.
//!
//! Not the addresses of a spec; those are how a person names a resource.
//! Invariant: a parsed identifier is safe in a path component, a log line and a certificate.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The name of a cluster's file system: 1 to 8 characters of `[A-Za-z0-9_-]`, as `mkfs.lustre --fsname` takes them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FsName(String);

/// The text is not a file system name.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("\"{text}\" is not a file system name: use 1 to 8 letters, digits, '_' or '-'")]
pub struct FsNameError {
    /// What was given.
    pub text: String,
}

impl FsName {
    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for FsName {
    type Err = FsNameError;

    fn from_str(text: &str) -> Result<Self, FsNameError> {
        let fits = (1..=8).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
        if fits { Ok(Self(text.to_owned())) } else { Err(FsNameError { text: text.to_owned() }) }
    }
}

impl TryFrom<String> for FsName {
    type Error = FsNameError;

    fn try_from(text: String) -> Result<Self, FsNameError> {
        text.parse()
    }
}

impl From<FsName> for String {
    fn from(name: FsName) -> Self {
        name.0
    }
}

impl fmt::Display for FsName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a target stores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum TargetKind {
    /// Names, attributes and layouts.
    Mdt,
    /// Objects: the bytes of files.
    Ost,
}

/// One target of a cluster, printed as Lustre does: `scratch-OST0003`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TargetId {
    /// The file system it belongs to.
    pub fs_name: FsName,
    /// What it stores.
    pub kind: TargetKind,
    /// Its index, given once and never reused within the file system.
    pub index: u16,
}

impl fmt::Display for TargetKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Mdt => "MDT",
            Self::Ost => "OST",
        })
    }
}

impl fmt::Display for TargetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}{:04x}", self.fs_name, self.kind, self.index)
    }
}

/// A client of a cluster, drawn at random by the client when it starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ClientId(pub u128);

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_mkfs_lustre_refuses_are_refused() {
        for (text, fits) in
            [("scratch", true), ("a", true), ("", false), ("ninechars", false), ("a/b", false)]
        {
            assert_eq!(text.parse::<FsName>().is_ok(), fits, "{text}");
        }
    }

    #[test]
    fn targets_print_as_lustre_prints_them() {
        let fs_name = "scratch".parse().expect("a valid name");
        assert_eq!(TargetId { fs_name, kind: TargetKind::Ost, index: 0xa19 }.to_string(), "scratch-OST0a19");
    }
}
