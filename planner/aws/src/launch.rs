//! What a machine gets at its first boot: its own SSH key, and the keys that may log in.
//!
//! ```text
//! ring ─▶ Ed25519 seed ─┬─▶ OpenSSH private key ─▶ user data (cloud-init `ssh_keys`)
//!                       └─▶ "ssh-ed25519 AAAA…" ─▶ attribute `host_key` ─▶ `host … ssh { host_key }`
//! ```
//! The machine proves itself with a key that we know before it boots, so that nobody is trusted at first sight. Whoever may read its
//! user data can read the key: processes on the machine, and who may call ec2:DescribeInstanceAttribute.
//! Invariant: nothing of a key is in a name, a tag or a message.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lustre_model::recorded::Secret;
use ring::rand::{SecureRandom as _, SystemRandom};
use ring::signature::{Ed25519KeyPair, KeyPair as _};

/// The type of our keys.
const KIND: &str = "ssh-ed25519";

/// What separates the parts of user data.
const BOUNDARY: &str = "lustre-part";

/// There was no randomness, or a recorded key is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoKey;

impl fmt::Display for NoKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no SSH key could be made")
    }
}

/// The SSH key of a machine.
pub struct HostKey {
    seed: [u8; 32],
    public: Vec<u8>,
}

impl HostKey {
    /// Makes one.
    pub fn generate() -> Result<Self, NoKey> {
        let mut seed = [0; 32];
        SystemRandom::new().fill(&mut seed).map_err(|_| NoKey)?;
        Self::of(seed)
    }

    fn of(seed: [u8; 32]) -> Result<Self, NoKey> {
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).map_err(|_| NoKey)?;
        Ok(Self { seed, public: pair.public_key().as_ref().to_vec() })
    }

    /// Reads what [`HostKey::secret`] gave.
    pub fn read(secret: &Secret) -> Result<Self, NoKey> {
        let seed = hex::decode(secret.reveal()).ok().and_then(|seed| seed.try_into().ok()).ok_or(NoKey)?;
        Self::of(seed)
    }

    /// Returns what is recorded.
    pub fn secret(&self) -> Secret {
        Secret::new(hex::encode(self.seed))
    }

    /// Returns the public key as it stands in a `.pub` file.
    pub fn public(&self) -> String {
        format!("{KIND} {}", STANDARD.encode(self.blob()))
    }

    fn blob(&self) -> Vec<u8> {
        let mut blob = Vec::new();
        text(&mut blob, KIND.as_bytes());
        text(&mut blob, &self.public);
        blob
    }

    /// Returns the private key as OpenSSH keeps it, not encrypted (PROTOCOL.key of OpenSSH).
    fn private(&self) -> String {
        let mut inside = Vec::new();
        // Two equal numbers show that a key was decrypted rightly; this one never was encrypted.
        inside.extend([0_u8; 8]);
        text(&mut inside, KIND.as_bytes());
        text(&mut inside, &self.public);
        text(&mut inside, &[self.seed.as_slice(), &self.public].concat());
        text(&mut inside, b"");
        (1_u8..).take((8 - inside.len() % 8) % 8).for_each(|pad| inside.push(pad));
        let mut file = b"openssh-key-v1\0".to_vec();
        text(&mut file, b"none");
        text(&mut file, b"none");
        text(&mut file, b"");
        file.extend(1_u32.to_be_bytes());
        text(&mut file, &self.blob());
        text(&mut file, &inside);
        let encoded = STANDARD.encode(file);
        let lines: Vec<&str> =
            encoded.as_bytes().chunks(70).filter_map(|line| std::str::from_utf8(line).ok()).collect();
        format!(
            "-----BEGIN OPENSSH PRIVATE KEY-----\n{}\n-----END OPENSSH PRIVATE KEY-----\n",
            lines.join("\n")
        )
    }

    /// Returns the user data of a machine with this key, these that may log in, and what the spec says besides, in base64.
    pub fn user_data(&self, authorized: &[String], besides: Option<&str>) -> String {
        let quoted =
            |text: &str| format!("\"{}\"", text.trim_end().replace('\\', "\\\\").replace('"', "\\\""));
        let mut config =
            "#cloud-config\nssh_deletekeys: true\nssh_genkeytypes: []\nssh_keys:\n  ed25519_private: |\n"
                .to_owned();
        self.private().lines().for_each(|line| config.push_str(&format!("    {line}\n")));
        config.push_str(&format!("  ed25519_public: {}\n", quoted(&self.public())));
        if !authorized.is_empty() {
            config.push_str("ssh_authorized_keys:\n");
            authorized.iter().for_each(|key| config.push_str(&format!("  - {}\n", quoted(key))));
        }
        let Some(besides) = besides else { return STANDARD.encode(config) };
        let kind = if besides.starts_with("#!") { "x-shellscript" } else { "cloud-config" };
        let part = |kind: &str, text: &str| {
            let encoded = STANDARD.encode(text);
            format!(
                "--{BOUNDARY}\nContent-Type: text/{kind}; charset=\"utf-8\"\nMIME-Version: 1.0\nContent-Transfer-Encoding: base64\n\n{encoded}\n"
            )
        };
        let head = format!("Content-Type: multipart/mixed; boundary=\"{BOUNDARY}\"\nMIME-Version: 1.0\n\n");
        let parts = [part("cloud-config", &config), part(kind, besides)].concat();
        STANDARD.encode(format!("{head}{parts}--{BOUNDARY}--\n"))
    }
}

/// Adds bytes as SSH has texts: their length before them.
fn text(into: &mut Vec<u8>, bytes: &[u8]) {
    into.extend(u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
    into.extend(bytes);
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn ssh_keygen_reads_the_key_and_finds_the_same_public_one() {
        let key = HostKey::generate().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        fs_err::write(&path, key.private()).unwrap();
        fs_err::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        let said = Command::new("ssh-keygen").args(["-y", "-f"]).arg(&path).output().unwrap();
        let said = String::from_utf8(said.stdout).unwrap();
        assert_eq!(said.split_whitespace().take(2).collect::<Vec<_>>().join(" "), key.public());
    }

    #[test]
    fn what_is_recorded_is_the_same_key() {
        let key = HostKey::generate().unwrap();
        assert_eq!(HostKey::read(&key.secret()).unwrap().public(), key.public());
        assert!(HostKey::read(&Secret::new("no key".to_owned())).is_err());
    }

    #[test]
    fn user_data_carries_both_keys_and_what_the_spec_says() {
        let key = HostKey::generate().unwrap();
        let plain = |data: String| String::from_utf8(STANDARD.decode(data).unwrap()).unwrap();
        let authorized = ["ssh-ed25519 AAAA me@here\n".to_owned()];
        let alone = plain(key.user_data(&authorized, None));
        assert!(
            alone.starts_with("#cloud-config\n") && alone.contains("  - \"ssh-ed25519 AAAA me@here\"\n"),
            "{alone}"
        );
        assert!(alone.contains("    -----BEGIN OPENSSH PRIVATE KEY-----\n"), "{alone}");
        let both = plain(key.user_data(&authorized, Some("#!/bin/sh\ntouch /done\n")));
        assert!(
            both.starts_with("Content-Type: multipart/mixed") && both.contains("text/x-shellscript"),
            "{both}"
        );
        assert!(both.contains(&STANDARD.encode("#!/bin/sh\ntouch /done\n")), "{both}");
    }
}
