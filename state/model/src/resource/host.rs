//! A host: a machine with one agent, and how it is reached.
//!
//! Not what the machine is; its agent says that.
//! Invariant: a port range is not empty.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{AttributeError, Fields};
use crate::value::Value;

/// How the planner reaches a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Connection {
    /// It is this machine.
    Local,
    /// Over SSH, at the host's address.
    Ssh(Box<SshSpec>),
}

/// How to log in over SSH, and who has to answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SshSpec {
    /// Who logs in.
    pub user: String,
    /// Where the SSH server listens.
    pub port: u16,
    /// A private key on the machine that plans; its own keys without it.
    pub identity_file: Option<String>,
    /// The only public key that the host may have, as `type base64`.
    pub host_key: Option<String>,
    /// Where the host's key is looked up when it is not given; the user's and the system's files without it.
    pub known_hosts_file: Option<String>,
    /// Whether the keys of a running SSH agent are tried.
    pub agent: bool,
    /// A host on the way.
    pub jump: Option<JumpSpec>,
}

/// A host through which another one is reached; the agent's and the user's keys are those of the host itself unless given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JumpSpec {
    /// Where it is.
    pub address: String,
    /// Who logs in.
    pub user: String,
    /// Where its SSH server listens.
    pub port: u16,
    /// A private key on the machine that plans.
    pub identity_file: Option<String>,
    /// The only public key that it may have.
    pub host_key: Option<String>,
}

/// Ports that an agent may give to the processes it keeps, both ends included: `7018-7117`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortRange {
    first: u16,
    last: u16,
}

/// The text is not a range of ports.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("\"{text}\" is not a range of ports such as \"7018-7117\"")]
pub struct PortRangeError {
    /// What was given.
    pub text: String,
}

impl PortRange {
    /// Returns the ports, lowest first.
    pub fn ports(self) -> impl Iterator<Item = u16> {
        self.first..=self.last
    }

    /// Tells whether a port lies in the range.
    pub fn contains(self, port: u16) -> bool {
        (self.first..=self.last).contains(&port)
    }
}

impl FromStr for PortRange {
    type Err = PortRangeError;

    fn from_str(text: &str) -> Result<Self, PortRangeError> {
        let range = text.split_once('-').and_then(|(first, last)| {
            let (first, last) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
            (1..=last).contains(&first).then_some(Self { first, last })
        });
        range.ok_or_else(|| PortRangeError { text: text.to_owned() })
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

/// A host as the executor reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostSpec {
    /// How it is reached.
    pub connection: Connection,
    /// The address that its agent and all its processes listen on.
    pub address: String,
    /// The agent's folder: its binary, its certificates and what its processes need.
    pub path: String,
    /// The agent's own port.
    pub control_port: u16,
    /// Ports of its processes.
    pub port_range: PortRange,
}

impl HostSpec {
    /// Returns `address:port` of the agent.
    pub fn control_address(&self) -> String {
        format!("{}:{}", self.address, self.control_port)
    }

    pub(super) fn from_fields(fields: &Fields<'_>) -> Result<Self, AttributeError> {
        let connection = match fields.text("connection")?.as_str() {
            "local" => Connection::Local,
            "ssh" => Connection::Ssh(Box::new(SshSpec::from_fields(fields)?)),
            _ => return Err(fields.mistyped("connection", "a known connection")),
        };
        Ok(Self {
            connection,
            address: fields.text("address")?,
            path: fields.text("path")?,
            control_port: fields.number("control_port")?,
            port_range: fields.parsed("port_range")?,
        })
    }
}

impl SshSpec {
    fn from_fields(fields: &Fields<'_>) -> Result<Self, AttributeError> {
        let user = fields.text("user")?;
        let ssh = Object { fields, path: "ssh", value: fields.value("ssh")? };
        let jump = match ssh.value.get("jump").filter(|jump| !jump.is_null()) {
            Some(value) => {
                let jump = Object { fields, path: "ssh.jump", value };
                Some(JumpSpec {
                    address: jump.text("address")?,
                    user: jump.text("user")?,
                    port: jump.port()?,
                    identity_file: jump.optional_text("identity_file")?,
                    host_key: jump.optional_text("host_key")?,
                })
            }
            None => None,
        };
        let agent = ssh.value.get("agent").and_then(Value::as_bool);
        Ok(Self {
            user,
            port: ssh.port()?,
            identity_file: ssh.optional_text("identity_file")?,
            host_key: ssh.optional_text("host_key")?,
            known_hosts_file: ssh.optional_text("known_hosts_file")?,
            agent: agent.ok_or_else(|| ssh.mistyped("agent", "true or false"))?,
            jump,
        })
    }
}

/// An attribute that is itself an object.
struct Object<'a> {
    fields: &'a Fields<'a>,
    path: &'a str,
    value: &'a Value,
}

impl Object<'_> {
    fn mistyped(&self, name: &str, expected: &str) -> AttributeError {
        self.fields.mistyped(&format!("{}.{name}", self.path), expected)
    }

    fn optional_text(&self, name: &str) -> Result<Option<String>, AttributeError> {
        match self.value.get(name).filter(|value| !value.is_null()) {
            None => Ok(None),
            Some(value) => match value.as_str() {
                Some(text) => Ok(Some(text.to_owned())),
                None => Err(self.mistyped(name, "a string")),
            },
        }
    }

    fn text(&self, name: &str) -> Result<String, AttributeError> {
        self.optional_text(name)?.ok_or_else(|| self.mistyped(name, "a string"))
    }

    fn port(&self) -> Result<u16, AttributeError> {
        let port = self.value.get("port").and_then(Value::as_u64).and_then(|port| u16::try_from(port).ok());
        port.ok_or_else(|| self.mistyped("port", "a port"))
    }
}
