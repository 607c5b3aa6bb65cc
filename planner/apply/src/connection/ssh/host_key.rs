//! Whether the key that a host shows is the one that it must have.
//!
//! Pinned by the spec, or looked up in known hosts. Never trusted because it is the first one seen.
//! Invariant: no key is accepted of which nobody said that the host has it.

use std::io::ErrorKind;
use std::path::PathBuf;

use fs_err as fs;
use russh::client;
use russh::keys::{Algorithm, EcdsaCurve, HashAlg, PublicKey, PublicKeyBase64, PublicKeyOrCertificate};

use super::error::SshError;
use super::known_hosts::{self, Key, Verdict};

/// What a host has to show.
#[derive(Debug, Clone)]
pub(super) struct HostKey {
    /// `address:port`, for messages.
    address: String,
    /// As in known hosts.
    name: String,
    expected: Expected,
}

#[derive(Debug, Clone)]
enum Expected {
    /// This key, as `type base64`.
    Pinned(String),
    /// One of these files says so; a key that is not known would be added to the first.
    Known(Vec<(PathBuf, String)>),
}

/// Why a connection was given up.
#[derive(Debug)]
pub(super) enum GivenUp {
    /// Its key is not good.
    Key(Box<SshError>),
    /// SSH failed.
    Ssh(russh::Error),
}

impl From<russh::Error> for GivenUp {
    fn from(error: russh::Error) -> Self {
        Self::Ssh(error)
    }
}

impl HostKey {
    /// Expects this key and no other.
    pub(super) fn pinned(address: &str, port: u16, key: &str) -> Self {
        Self {
            address: format!("{address}:{port}"),
            name: known_hosts::name(address, port),
            expected: Expected::Pinned(key.to_owned()),
        }
    }

    /// Expects what these files say; those that are not there say nothing.
    pub(super) fn known(address: &str, port: u16, files: &[PathBuf]) -> Result<Self, SshError> {
        let mut texts = Vec::new();
        for path in files {
            let text = match fs::read(path) {
                Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
                Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
                Err(source) => return Err(SshError::KnownHosts { source }),
            };
            texts.push((path.clone(), text));
        }
        Ok(Self {
            address: format!("{address}:{port}"),
            name: known_hosts::name(address, port),
            expected: Expected::Known(texts),
        })
    }

    /// Returns the types of keys that the host is asked for: what it is known by first, so that a host with several keys shows
    /// one that can be looked up.
    pub(super) fn algorithms(&self) -> Vec<Algorithm> {
        let mut kinds: Vec<&str> = match &self.expected {
            Expected::Pinned(key) => key.split_ascii_whitespace().take(1).collect(),
            Expected::Known(files) => {
                files.iter().flat_map(|(_, text)| known_hosts::kinds(text, &self.name)).collect()
            }
        };
        kinds.extend(ALGORITHMS.iter().map(|(kind, _)| *kind));
        let mut algorithms = Vec::new();
        for kind in kinds {
            let known = ALGORITHMS.iter().find(|(known, _)| *known == kind);
            if let Some((_, algorithm)) = known.filter(|(_, known)| !algorithms.contains(known)) {
                algorithms.push(algorithm.clone());
            }
        }
        algorithms
    }

    fn judge(&self, shown: &PublicKey) -> Result<(), SshError> {
        let (kind, base64) = (shown.algorithm().as_str().to_owned(), shown.public_key_base64());
        let fingerprint = format!("{kind} {}", shown.fingerprint(HashAlg::Sha256));
        let address = self.address.clone();
        let files = match &self.expected {
            Expected::Pinned(key) => {
                let mut words = key.split_ascii_whitespace();
                if words.next() == Some(&kind) && words.next() == Some(&base64) {
                    return Ok(());
                }
                let place = "`ssh.host_key` of the spec".to_owned();
                return Err(SshError::ChangedHostKey { address, place, fingerprint });
            }
            Expected::Known(files) => files,
        };
        let key = Key { kind: &kind, base64: &base64 };
        let verdicts: Vec<(String, Verdict)> = files
            .iter()
            .map(|(path, text)| (path.display().to_string(), known_hosts::judge(text, &self.name, key)))
            .collect();
        // What is revoked in any file is not made good by another.
        for (file, verdict) in &verdicts {
            if let Verdict::Revoked { line } = verdict {
                return Err(SshError::RevokedHostKey {
                    address,
                    place: format!("{file}:{line}"),
                    fingerprint,
                });
            }
        }
        if verdicts.iter().any(|(_, verdict)| *verdict == Verdict::Known) {
            return Ok(());
        }
        let mut note = None;
        for (file, verdict) in &verdicts {
            match verdict {
                Verdict::Changed { line } => {
                    return Err(SshError::ChangedHostKey {
                        address,
                        place: format!("{file}:{line}"),
                        fingerprint,
                    });
                }
                Verdict::OtherType { line } => {
                    note = Some(format!("{file}:{line} has a key of another type of it"));
                }
                Verdict::Authority { line } => {
                    note = Some(format!(
                        "{file}:{line} names an authority with @cert-authority, and certificates of hosts are not supported"
                    ));
                }
                Verdict::Known | Verdict::Unheard | Verdict::Revoked { .. } => {}
            }
        }
        let file = files.first().map(|(path, _)| path.display().to_string()).unwrap_or_default();
        let line = format!("{} {kind} {base64}", self.name);
        Err(SshError::UnknownHostKey { address, fingerprint, note, line, file })
    }
}

impl client::Handler for HostKey {
    type Error = GivenUp;

    async fn check_server_key(&mut self, shown: &PublicKeyOrCertificate) -> Result<bool, GivenUp> {
        let key = match shown {
            PublicKeyOrCertificate::PublicKey { key, .. } => key,
            // It is not asked for, and would be judged like any other key.
            PublicKeyOrCertificate::Certificate(_) => return Ok(false),
        };
        self.judge(key).map_err(|error| GivenUp::Key(Box::new(error)))?;
        Ok(true)
    }
}

/// Types of host keys that can be verified. Not RSA: the crate for it has an open advisory.
const ALGORITHMS: &[(&str, Algorithm)] = &[
    ("ssh-ed25519", Algorithm::Ed25519),
    ("ecdsa-sha2-nistp256", Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 }),
    ("ecdsa-sha2-nistp384", Algorithm::Ecdsa { curve: EcdsaCurve::NistP384 }),
    ("ecdsa-sha2-nistp521", Algorithm::Ecdsa { curve: EcdsaCurve::NistP521 }),
];

#[cfg(test)]
mod tests {
    use super::*;

    const SHOWN: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINQGaZbFB7o6U0xhdIig3+WCn22zl/WmDrl+a2Escgak";
    const OTHER: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";

    fn judged(known: &[&str]) -> Result<(), SshError> {
        let folder = tempfile::tempdir().unwrap();
        let files: Vec<PathBuf> = (0..known.len()).map(|at| folder.path().join(at.to_string())).collect();
        for (path, text) in files.iter().zip(known) {
            fs::write(path, text).unwrap();
        }
        HostKey::known("10.0.0.1", 2222, &files).unwrap().judge(&PublicKey::from_openssh(SHOWN).unwrap())
    }

    #[test]
    fn an_unknown_key_is_refused_with_the_line_to_add() {
        let error = judged(&["", ""]).unwrap_err();
        assert!(
            matches!(&error, SshError::UnknownHostKey { line, .. } if *line == format!("[10.0.0.1]:2222 {SHOWN}"))
        );
        assert!(
            error.remedy().unwrap().contains(&format!("[10.0.0.1]:2222 {SHOWN}")),
            "{:?}",
            error.remedy()
        );
        assert!(error.to_string().contains("SHA256:"), "{error}");
        let error = judged(&[&format!("@cert-authority * {OTHER}")]).unwrap_err();
        assert!(error.to_string().contains("@cert-authority"), "{error}");
    }

    #[test]
    fn a_key_that_a_file_knows_is_good_and_the_one_that_was_added_as_told_is_too() {
        judged(&["", &format!("[10.0.0.1]:2222 {SHOWN}")]).unwrap();
    }

    #[test]
    fn a_changed_or_revoked_key_is_refused_whatever_another_file_says() {
        let error = judged(&["", &format!("[10.0.0.1]:2222 {OTHER}")]).unwrap_err();
        assert!(matches!(&error, SshError::ChangedHostKey { place, .. } if place.ends_with(":1")), "{error}");
        let error =
            judged(&[&format!("[10.0.0.1]:2222 {SHOWN}"), &format!("@revoked * {SHOWN}")]).unwrap_err();
        assert!(matches!(error, SshError::RevokedHostKey { .. }), "{error}");
    }

    #[test]
    fn a_pinned_key_is_the_only_good_one() {
        let shown = PublicKey::from_openssh(SHOWN).unwrap();
        HostKey::pinned("h", 22, &format!("{SHOWN} a comment")).judge(&shown).unwrap();
        let error = HostKey::pinned("h", 22, OTHER).judge(&shown).unwrap_err();
        assert!(matches!(error, SshError::ChangedHostKey { .. }), "{error}");
    }

    #[test]
    fn the_host_is_asked_for_the_type_of_key_that_is_known_of_it_first() {
        let ecdsa = HostKey::pinned("h", 22, "ecdsa-sha2-nistp384 AAAA");
        assert_eq!(ecdsa.algorithms()[0], Algorithm::Ecdsa { curve: EcdsaCurve::NistP384 });
        assert_eq!(ecdsa.algorithms().len(), ALGORITHMS.len());
    }
}
