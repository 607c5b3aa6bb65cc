//! The first frame of each side: which protocol, which version, or why not.
//!
//! No sockets. These types are frozen: every release, past and to come, can read them, so that two releases that cannot
//! talk can at least say so.
//! Invariant: a version is agreed before the first request, and both sides name the same one.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::subject::Subject;

/// Oldest version of the wire that this release speaks.
pub(crate) const VERSION_MIN: u16 = 5;

/// Newest version of the wire that this release speaks.
pub(crate) const VERSION_MAX: u16 = 5;

/// What a client says first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hello {
    /// The protocol it wants.
    pub protocol: String,
    /// The oldest version it speaks.
    pub version_min: u16,
    /// The newest.
    pub version_max: u16,
    /// Its release, for messages.
    pub release: String,
    /// The boot of the machine it runs on, where known.
    pub boot: Option<String>,
}

/// What a server says first when it will serve.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Welcome {
    /// The version that both speak from here on.
    pub version: u16,
    /// Its release, for messages.
    pub release: String,
    /// How the connection goes on.
    pub cover: Cover,
}

/// What protects a connection behind its handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Cover {
    /// TLS.
    Tls,
    /// The machine that both ends run on.
    Machine,
}

/// Why a server will not talk to a peer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Error)]
pub enum Refusal {
    /// Another protocol is served there.
    #[error("it serves {served}, not {asked}: the address belongs to another process")]
    Protocol {
        /// What was asked for.
        asked: String,
        /// What there is.
        served: String,
    },
    /// No version in common.
    #[error(
        "release {server_release} speaks wire versions {server_min} to {server_max}, release {client_release} speaks \
         {client_min} to {client_max}: upgrade the older of the two"
    )]
    Version {
        /// The client's release.
        client_release: String,
        /// Its oldest version.
        client_min: u16,
        /// Its newest version.
        client_max: u16,
        /// The server's release.
        server_release: String,
        /// Its oldest version.
        server_min: u16,
        /// Its newest version.
        server_max: u16,
    },
    /// The certificate is for another deployment or cluster.
    #[error("it belongs to \"{expected}\", the certificate shown is for \"{found}\"")]
    Scope {
        /// The server's scope.
        expected: String,
        /// The client's.
        found: String,
    },
    /// The certificate names nobody.
    #[error("the certificate shown names no subject of the form lustre://<scope>/<role>/<name>")]
    Nameless,
}

impl Hello {
    /// What this release says for `protocol`, as a client and, for comparison, as a server on the machine
    /// of that boot.
    pub fn ours(protocol: &str, boot: Option<String>) -> Self {
        Self {
            protocol: protocol.to_owned(),
            version_min: VERSION_MIN,
            version_max: VERSION_MAX,
            release: env!("CARGO_PKG_VERSION").to_owned(),
            boot,
        }
    }
}

/// Picks the newest version that both speak.
pub(crate) fn negotiate(server: &Hello, client: &Hello) -> Result<Welcome, Refusal> {
    if server.protocol != client.protocol {
        return Err(Refusal::Protocol { asked: client.protocol.clone(), served: server.protocol.clone() });
    }
    let version = server.version_max.min(client.version_max);
    if version < server.version_min.max(client.version_min) {
        return Err(Refusal::Version {
            client_release: client.release.clone(),
            client_min: client.version_min,
            client_max: client.version_max,
            server_release: server.release.clone(),
            server_min: server.version_min,
            server_max: server.version_max,
        });
    }
    let same_machine = server.boot.is_some() && server.boot == client.boot;
    let cover = if same_machine { Cover::Machine } else { Cover::Tls };
    Ok(Welcome { version, release: server.release.clone(), cover })
}

/// Checks that a peer belongs to the same deployment or cluster.
pub(crate) fn check_scope(ours: &Subject, peer: &Subject) -> Result<(), Refusal> {
    if ours.scope == peer.scope {
        return Ok(());
    }
    Err(Refusal::Scope { expected: ours.scope.clone(), found: peer.scope.clone() })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert, prop_assert_eq, proptest};

    use super::*;

    fn hello(version_min: u16, version_max: u16) -> Hello {
        Hello { protocol: "object".to_owned(), version_min, version_max, release: "9".to_owned(), boot: None }
    }

    #[test]
    fn releases_without_a_common_version_are_told_which_versions_there_are() {
        let refusal = negotiate(&hello(3, 5), &hello(1, 2)).expect_err("nothing in common");
        let text = refusal.to_string();
        assert!(text.contains("3 to 5") && text.contains("1 to 2") && text.contains("upgrade"), "{text}");
    }

    #[test]
    fn only_one_machine_and_one_boot_of_it_go_without_tls() {
        let on = |boot: Option<&str>| Hello { boot: boot.map(str::to_owned), ..hello(1, 1) };
        let cover = |server, client| negotiate(&on(server), &on(client)).expect("one version").cover;
        assert_eq!(cover(Some("a"), Some("a")), Cover::Machine);
        assert_eq!(cover(Some("a"), Some("b")), Cover::Tls);
        assert_eq!(cover(None, None), Cover::Tls);
        assert_eq!(cover(Some("a"), None), Cover::Tls);
    }

    #[test]
    fn another_protocol_is_refused_by_name() {
        let refusal =
            negotiate(&Hello::ours("object", None), &Hello::ours("control", None)).expect_err("another one");
        assert_eq!(refusal, Refusal::Protocol { asked: "control".into(), served: "object".into() });
    }

    proptest! {
        #[test]
        fn the_newest_common_version_is_spoken(a in 0..9_u16, b in 0..9_u16, c in 0..9_u16, d in 0..9_u16) {
            let (server, client) = (hello(a.min(b), a.max(b)), hello(c.min(d), c.max(d)));
            let common = (0..9).rfind(|v| (a.min(b)..=a.max(b)).contains(v) && (c.min(d)..=c.max(d)).contains(v));
            match negotiate(&server, &client) {
                Ok(welcome) => prop_assert_eq!(Some(welcome.version), common),
                Err(_) => prop_assert!(common.is_none()),
            }
        }
    }
}
