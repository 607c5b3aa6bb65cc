//! A security group of EC2 and its rules.
//!
//! A rule lets one peer in, or to one peer out, by one protocol on one range of ports; AWS counts them so too. What a block of
//! the spec says about several peers is several rules.
//! Invariant: two rules of one direction with the same [`RuleSpec::traffic`] are one rule.

use core::net::IpAddr;
use std::fmt;

use super::aws::tags;
use super::{AttributeError, AwsAccess, Fields, Tags};
use crate::value::Value;

/// A security group as the executor reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecurityGroupSpec {
    /// How AWS is reached for it.
    pub access: AwsAccess,
    /// Its name, the only one in its VPC.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// Its VPC; the region's default one when none is given.
    pub vpc_id: Option<String>,
    /// What may come in.
    pub ingress: Vec<RuleSpec>,
    /// What may go out.
    pub egress: Vec<RuleSpec>,
    /// Its tags, those of the provider among them.
    pub tags: Tags,
    /// What AWS knows it by, once it is made.
    pub id: Option<String>,
}

/// Which way the traffic goes that a rule allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Direction {
    /// In.
    Ingress,
    /// Out.
    Egress,
}

/// Who is at the other end.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Peer {
    /// Members of the group itself.
    Own,
    /// Addresses, in CIDR notation.
    Cidr(String),
    /// A list of addresses that AWS keeps: `pl-…`.
    PrefixList(String),
    /// Members of another group: `sg-…`.
    Group(String),
}

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RuleSpec {
    /// `tcp`, `udp`, `icmp`, `icmpv6`, a number, or `-1` for all.
    pub protocol: String,
    /// The first port, or the type of ICMP; 0 for all protocols.
    pub from_port: i64,
    /// The last port, or the code of ICMP; 0 for all protocols.
    pub to_port: i64,
    /// Who is at the other end.
    pub peer: Peer,
    /// What it is for.
    pub description: String,
}

/// What a rule allows, without what it is for.
pub type Traffic<'a> = (&'a str, i64, i64, &'a Peer);

impl RuleSpec {
    /// Returns what the rule allows.
    pub fn traffic(&self) -> Traffic<'_> {
        (&self.protocol, self.from_port, self.to_port, &self.peer)
    }

    fn read(value: &Value) -> Option<Self> {
        let text = |name: &str| value.get(name)?.as_str().map(str::to_owned);
        let number = |name: &str| value.get(name)?.as_i64();
        Some(Self {
            protocol: text("protocol")?,
            from_port: number("from_port")?,
            to_port: number("to_port")?,
            peer: Peer::parse(&text("peer")?)?,
            description: text("description")?,
        })
    }

    /// Returns the rule as the attributes of its group hold it.
    pub fn to_value(&self) -> Value {
        Value::object([
            ("protocol", Value::from(self.protocol.as_str())),
            ("from_port", Value::from(self.from_port)),
            ("to_port", Value::from(self.to_port)),
            ("peer", Value::from(self.peer.to_string())),
            ("description", Value::from(self.description.as_str())),
        ])
    }
}

impl fmt::Display for RuleSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.protocol.as_str(), self.from_port, self.to_port) {
            ("-1", ..) => f.write_str("all traffic")?,
            (protocol, from, to) if from == to => write!(f, "{protocol} {from}")?,
            (protocol, from, to) => write!(f, "{protocol} {from}-{to}")?,
        }
        write!(f, " with {}", self.peer)
    }
}

impl Peer {
    /// Reads `self`, `10.0.0.0/16`, `fd00::/8`, `pl-…` or `sg-…`.
    pub fn parse(text: &str) -> Option<Self> {
        let owned = || text.to_owned();
        match text {
            "self" => Some(Self::Own),
            _ if text.starts_with("pl-") => Some(Self::PrefixList(owned())),
            _ if text.starts_with("sg-") => Some(Self::Group(owned())),
            _ if is_cidr(text) => Some(Self::Cidr(owned())),
            _ => None,
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Own => "self",
            Self::Cidr(text) | Self::PrefixList(text) | Self::Group(text) => text,
        })
    }
}

fn is_cidr(text: &str) -> bool {
    let Some((address, bits)) = text.split_once('/') else { return false };
    let most = match address.parse() {
        Ok(IpAddr::V4(_)) => 32,
        Ok(IpAddr::V6(_)) => 128,
        Err(_) => return false,
    };
    bits.parse::<u8>().is_ok_and(|bits| bits <= most)
}

impl SecurityGroupSpec {
    pub(super) fn from_fields(fields: &Fields<'_>) -> Result<Self, AttributeError> {
        let rules = |name: &str| -> Result<Vec<RuleSpec>, AttributeError> {
            let mistyped = || fields.mistyped(name, "a list of rules");
            let items = fields.value(name)?.as_list().ok_or_else(mistyped)?;
            items.iter().map(|item| RuleSpec::read(item).ok_or_else(mistyped)).collect()
        };
        Ok(Self {
            access: AwsAccess::from_fields(fields)?,
            name: fields.text("name")?,
            description: fields.text("description")?,
            vpc_id: fields.optional_text("vpc_id")?,
            ingress: rules("ingress")?,
            egress: rules("egress")?,
            tags: tags(fields, "tags_all")?,
            id: fields.optional_text("id")?,
        })
    }

    /// Returns the rules of a direction.
    pub fn rules(&self, direction: Direction) -> &[RuleSpec] {
        match direction {
            Direction::Ingress => &self.ingress,
            Direction::Egress => &self.egress,
        }
    }
}
