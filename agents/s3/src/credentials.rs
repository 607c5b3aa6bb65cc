//! A key pair in AWS's shared-credentials format: `[profile]` sections of `name = value` lines.
//!
//! Only static keys (with or without a session token); profiles that assume roles or run programs are left to the SDK's
//! chain, which a bucket without a credentials file uses.
//! Invariant: a [`KeyPair`] never prints its secret.

use std::fmt;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// The section that is read.
const PROFILE: &str = "default";

/// A credentials file is never larger; more is not read as one.
const FILE_BYTES_MAX: usize = 1 << 20;

/// An access key and its secret.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyPair {
    /// `aws_access_key_id`
    pub access_key: String,
    /// `aws_secret_access_key`
    pub secret_key: String,
    /// `aws_session_token` of temporary keys.
    pub session_token: Option<String>,
}

/// A credentials file that does not serve.
#[derive(Debug, Error)]
pub enum CredentialsError {
    /// It cannot be read.
    #[error("the credentials file cannot be read")]
    Unreadable(#[source] std::io::Error),
    /// It says nothing under the name.
    #[error("{path} has no `{name}` in its [{PROFILE}] section")]
    Missing {
        /// The file.
        path: PathBuf,
        /// Which entry.
        name: &'static str,
    },
    /// It is far too large.
    #[error("{path} is larger than any credentials file")]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
}

impl KeyPair {
    /// Reads the `[default]` section of a file in AWS's shared-credentials format.
    pub fn load(path: &Path) -> Result<Self, CredentialsError> {
        let text = fs_err::read_to_string(path).map_err(CredentialsError::Unreadable)?;
        if text.len() > FILE_BYTES_MAX {
            return Err(CredentialsError::TooLarge { path: path.to_owned() });
        }
        let required = |name: &'static str| {
            entry(&text, name).ok_or_else(|| CredentialsError::Missing { path: path.to_owned(), name })
        };
        Ok(Self {
            access_key: required("aws_access_key_id")?,
            secret_key: required("aws_secret_access_key")?,
            session_token: entry(&text, "aws_session_token"),
        })
    }

    /// Returns the text of a credentials file that holds this pair.
    pub fn to_file(&self) -> String {
        let mut text = format!(
            "[{PROFILE}]\naws_access_key_id = {}\naws_secret_access_key = {}\n",
            self.access_key, self.secret_key
        );
        if let Some(token) = &self.session_token {
            text.push_str(&format!("aws_session_token = {token}\n"));
        }
        text
    }
}

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyPair").field("access_key", &self.access_key).finish_non_exhaustive()
    }
}

/// Returns the value of `name` in the profile, the last one if there are several.
fn entry(text: &str, name: &str) -> Option<String> {
    let mut inside = false;
    let mut found = None;
    for line in text.lines().map(str::trim) {
        if let Some(section) = line.strip_prefix('[').and_then(|rest| rest.split(']').next()) {
            inside = section.trim() == PROFILE;
        } else if inside && !line.starts_with(['#', ';']) {
            let value = line.split_once('=').filter(|(key, _)| key.trim() == name).map(|(_, v)| v.trim());
            found = value.filter(|v| !v.is_empty()).map(str::to_owned).or(found);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<KeyPair, CredentialsError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("credentials");
        fs_err::write(&path, text).unwrap();
        KeyPair::load(&path)
    }

    #[test]
    fn what_is_written_is_read_back() {
        for session_token in [None, Some("t/+=".to_owned())] {
            let pair = KeyPair { access_key: "AK".into(), secret_key: "s=/+".into(), session_token };
            assert_eq!(load(&pair.to_file()).unwrap(), pair);
        }
    }

    #[test]
    fn other_profiles_and_comments_are_not_read() {
        let text = "[other]\naws_access_key_id = no\n[default]\n# aws_access_key_id = no\naws_access_key_id=yes\naws_secret_access_key = s\n[z]\naws_access_key_id = no\n";
        assert_eq!(load(text).unwrap().access_key, "yes");
    }

    #[test]
    fn what_is_missing_is_named() {
        let error = load("[default]\naws_access_key_id = a\n").unwrap_err();
        assert!(error.to_string().contains("aws_secret_access_key"), "{error}");
        assert!(matches!(KeyPair::load(Path::new("/nowhere")), Err(CredentialsError::Unreadable(_))));
    }

    #[test]
    fn secrets_are_not_printed() {
        let pair = KeyPair { access_key: "AK".into(), secret_key: "hidden".into(), session_token: None };
        assert!(!format!("{pair:?}").contains("hidden"));
    }
}
