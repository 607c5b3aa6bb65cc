//! Why a host cannot be reached over SSH, and what a person can do about it.
//!
//! Not what goes wrong with a command or a file once it is reached; that is [`crate::connection::ConnectionError`].
//! Invariant: whatever is wrong with a host's key says which key it showed and where ours stands.

use std::time::Duration;

use thiserror::Error;

/// Why a host cannot be reached over SSH.
#[derive(Debug, Error)]
pub enum SshError {
    /// Nothing answers there.
    #[error("{address} cannot be reached")]
    Unreachable {
        /// `address:port`.
        address: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Something answers, but not in time.
    #[error("{address} did not answer within {} s", limit.as_secs())]
    Slow {
        /// `address:port`.
        address: String,
        /// How long it was waited for.
        limit: Duration,
    },
    /// What answers does not speak SSH as we do.
    #[error("no SSH connection to {address} could be made")]
    Handshake {
        /// `address:port`.
        address: String,
        /// Why.
        #[source]
        source: Box<russh::Error>,
    },
    /// The host has no key of a type that we verify.
    #[error("{address} has no host key that can be verified, only {}", offered.join(", "))]
    NoHostKey {
        /// `address:port`.
        address: String,
        /// The types that it has.
        offered: Vec<String>,
    },
    /// Nobody said that the host has this key.
    #[error("the host key of {address} is not known: it showed {fingerprint}{}", also(.note))]
    UnknownHostKey {
        /// `address:port`.
        address: String,
        /// The key that it showed, shortened.
        fingerprint: String,
        /// What is known instead.
        note: Option<String>,
        /// The line to add.
        line: String,
        /// To which file.
        file: String,
    },
    /// The host has another key than it must have.
    #[error(
        "THE HOST KEY OF {address} IS NOT THE ONE AT {place}: it showed {fingerprint}. The machine was made anew, or \
         somebody listens in between"
    )]
    ChangedHostKey {
        /// `address:port`.
        address: String,
        /// Where the key that it must have is written.
        place: String,
        /// The key that it showed, shortened.
        fingerprint: String,
    },
    /// The key was revoked.
    #[error("THE HOST KEY OF {address}, {fingerprint}, IS REVOKED AT {place}")]
    RevokedHostKey {
        /// `address:port`.
        address: String,
        /// Where.
        place: String,
        /// The key.
        fingerprint: String,
    },
    /// A file of known hosts cannot be read.
    #[error("known hosts cannot be read")]
    KnownHosts {
        /// Why, with the path.
        #[source]
        source: std::io::Error,
    },
    /// A private key cannot be used.
    #[error("the key {path} cannot be used")]
    Identity {
        /// Where it is.
        path: String,
        /// Why.
        #[source]
        source: Box<russh::keys::Error>,
    },
    /// A private key is encrypted, and nothing opens it.
    #[error("the key {path} is encrypted, and {}", if *.tried { "the passphrase does not open it" } else { "there is no passphrase for it" })]
    Encrypted {
        /// Where it is.
        path: String,
        /// Whether a passphrase was tried.
        tried: bool,
    },
    /// The host does not let the user in.
    #[error("{address} does not let {user} in: {}", attempts(.tried))]
    Refused {
        /// `address:port`.
        address: String,
        /// Who wants to log in.
        user: String,
        /// What was tried.
        tried: Vec<String>,
    },
    /// The user cannot become root.
    #[error("{user} cannot become root with sudo: {said}")]
    Sudo {
        /// Who.
        user: String,
        /// What sudo said.
        said: String,
    },
    /// The connection broke.
    #[error("the SSH connection broke")]
    Lost {
        /// Why.
        #[source]
        source: Box<russh::Error>,
    },
    /// The host's shell answered something that cannot be understood.
    #[error("the shell of the host gave an answer that cannot be understood: {said}")]
    Odd {
        /// What it said.
        said: String,
    },
}

impl SshError {
    /// Returns what a person can do.
    pub fn remedy(&self) -> Option<String> {
        Some(match self {
            Self::Unreachable { .. } | Self::Slow { .. } => {
                "look whether the host is up, its address and `ssh.port` are right, and no firewall is in between".to_owned()
            }
            Self::Handshake { .. } => {
                "look whether an SSH server listens there, and what it says in its log".to_owned()
            }
            Self::NoHostKey { .. } => "make an ed25519 key on the host: ssh-keygen -A".to_owned(),
            Self::UnknownHostKey { line, file, .. } => format!(
                "compare it with what `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` prints on the host itself; then add \
                 this line to {file}, or its key to the spec as `ssh.host_key`:\n{line}"
            ),
            Self::ChangedHostKey { place, .. } => format!(
                "find out why before you go on; when the machine was made anew, write its new key at {place}"
            ),
            Self::RevokedHostKey { .. } => "give the host another key, and find out why this one was revoked".to_owned(),
            Self::KnownHosts { .. } => "make the file readable, or name another one in `ssh.known_hosts_file`".to_owned(),
            Self::Identity { .. } => {
                "give an ed25519 or ecdsa key in OpenSSH's format as `ssh.identity_file`".to_owned()
            }
            Self::Encrypted { .. } => {
                "set LUSTRE_SSH_PASSPHRASE, or add the key to an SSH agent: ssh-add".to_owned()
            }
            Self::Refused { user, .. } => format!(
                "add a public key of yours to ~{user}/.ssh/authorized_keys on the host, or name the right `ssh.identity_file` or `user`"
            ),
            Self::Sudo { user, .. } => format!(
                "allow it on the host with a line `{user} ALL=(ALL) NOPASSWD: ALL` in /etc/sudoers.d/lustre, or let `user` be root"
            ),
            Self::Lost { .. } => "look whether the host is up, and try again".to_owned(),
            Self::Odd { .. } => "look what the user's shell prints when nobody asked it".to_owned(),
        })
    }

    /// Tells whether the same may succeed soon without anybody doing anything.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Slow { .. } | Self::Lost { .. } => true,
            Self::Handshake { .. }
            | Self::NoHostKey { .. }
            | Self::UnknownHostKey { .. }
            | Self::ChangedHostKey { .. }
            | Self::RevokedHostKey { .. }
            | Self::KnownHosts { .. }
            | Self::Identity { .. }
            | Self::Encrypted { .. }
            | Self::Refused { .. }
            | Self::Sudo { .. }
            | Self::Odd { .. } => false,
        }
    }
}

fn also(note: &Option<String>) -> String {
    note.as_ref().map(|note| format!("; {note}")).unwrap_or_default()
}

fn attempts(tried: &[String]) -> String {
    if tried.is_empty() {
        return "there is no key to try, neither a file nor in an SSH agent".to_owned();
    }
    format!("it refused {}", tried.join(", "))
}
