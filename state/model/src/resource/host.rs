//! A host: a machine with one agent, and how it is reached.
//!
//! Not what the machine is; its agent says that.
//! Invariant: a port range is not empty.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{AttributeError, Fields};

/// How the planner reaches a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Connection {
    /// It is this machine.
    Local,
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
