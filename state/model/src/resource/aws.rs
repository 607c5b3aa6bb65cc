//! What all objects in AWS have: where they are, how AWS is reached for them, and their tags.
//!
//! Not credentials: those are found by the SDK's chain on the machine that plans, and are nowhere recorded.
//! Invariant: what is recorded of an object is enough to reach it when the spec does not have it any more.

use std::collections::BTreeMap;

use super::{AttributeError, Attributes, Fields, Kind};
use crate::value::Value;

/// Tags of an object in AWS.
pub type Tags = BTreeMap<String, String>;

/// How AWS is reached for an object: `region` and `provider` of its attributes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AwsAccess {
    /// Where the object is.
    pub region: String,
    /// The profile of AWS's shared files that is used.
    pub profile: Option<String>,
    /// The role that is assumed, as an ARN.
    pub role_arn: Option<String>,
    /// What the role's trust policy may ask for.
    pub external_id: Option<String>,
    /// Where EC2 answers, when it is not AWS's own endpoint of the region.
    pub ec2_endpoint: Option<String>,
    /// Where STS answers, the same.
    pub sts_endpoint: Option<String>,
    /// How often a call that may succeed later is sent again.
    pub max_retries: u32,
}

impl AwsAccess {
    /// The attribute of an object that holds all but the region.
    pub const PROVIDER: &str = "provider";

    pub(super) fn from_fields(fields: &Fields<'_>) -> Result<Self, AttributeError> {
        let provider = fields.value(Self::PROVIDER)?;
        let text = |name: &str| provider.get(name).and_then(Value::as_str).map(str::to_owned);
        let retries = provider.get("max_retries").and_then(Value::as_u64);
        let retries = retries.and_then(|retries| u32::try_from(retries).ok());
        Ok(Self {
            region: fields.text("region")?,
            profile: text("profile"),
            role_arn: text("role_arn"),
            external_id: text("external_id"),
            ec2_endpoint: text("ec2_endpoint"),
            sts_endpoint: text("sts_endpoint"),
            max_retries: retries
                .ok_or_else(|| fields.mistyped(Self::PROVIDER, "an object with max_retries"))?,
        })
    }

    /// Reads how AWS is reached for an object of a kind.
    pub fn of(kind: Kind, attributes: &Attributes) -> Result<Self, AttributeError> {
        Self::from_fields(&Fields::new(kind, attributes))
    }
}

/// What is looked up in AWS while a plan is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CloudQuestion {
    /// An object that is there already, to be taken over.
    Object {
        /// What it is.
        kind: Kind,
        /// Where it is.
        access: AwsAccess,
        /// What AWS knows it by.
        id: String,
    },
}

/// Reads tags.
pub(super) fn tags(fields: &Fields<'_>, name: &str) -> Result<Tags, AttributeError> {
    let mistyped = || fields.mistyped(name, "a map of strings");
    let entries = fields.value(name)?.as_map().ok_or_else(mistyped)?;
    let tag = |(key, value): (&String, &Value)| Some((key.clone(), value.as_str()?.to_owned()));
    entries.iter().map(|entry| tag(entry).ok_or_else(mistyped)).collect()
}
