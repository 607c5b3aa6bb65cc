//! The calls of EC2 about instances.
//!
//! Invariant: as in [`super`].

use lustre_model::resource::{SpotSpec, Tags, VolumeSpec};

use super::Answer;

/// An instance to be launched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewMachine {
    /// The same for each try to launch this one.
    pub token: String,
    /// The image.
    pub ami: String,
    /// The type.
    pub instance_type: String,
    /// The subnet.
    pub subnet_id: Option<String>,
    /// Ids of security groups.
    pub groups: Vec<String>,
    /// A key pair of AWS's.
    pub key_name: Option<String>,
    /// The instance profile, by name.
    pub iam_instance_profile: Option<String>,
    /// The placement group, by name.
    pub placement_group: Option<String>,
    /// Whether it is a spot instance.
    pub spot: Option<SpotSpec>,
    /// Its volumes.
    pub volumes: Vec<VolumeSpec>,
    /// In base64.
    pub user_data: String,
    /// Whether a call that terminates it is refused.
    pub protected: bool,
    /// Its tags, the token among them; its volumes get them too.
    pub tags: Tags,
}

/// How far an instance is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    /// It comes.
    Pending,
    /// It is there.
    Running,
    /// It is turned off, or about to be.
    Stopped,
    /// It is gone, or about to be.
    Terminated,
}

/// An instance as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// Its id.
    pub id: String,
    /// The account.
    pub owner_id: String,
    /// How far it is.
    pub life: Life,
    /// Why, in AWS's words, where it has any.
    pub reason: Option<String>,
    /// The image.
    pub ami: String,
    /// The type.
    pub instance_type: String,
    /// The subnet.
    pub subnet_id: Option<String>,
    /// Ids of its security groups.
    pub groups: Vec<String>,
    /// Its address in its subnet.
    pub private_ip: Option<String>,
    /// Its address on the Internet.
    pub public_ip: Option<String>,
    /// Its name in its VPC.
    pub private_dns: Option<String>,
    /// Its availability zone.
    pub zone: Option<String>,
    /// Whether metadata is given for a token only.
    pub metadata_by_token: bool,
    /// All its tags.
    pub tags: Tags,
}

/// Which instances are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WhichMachine {
    /// That of an id; it is an error when there is none.
    Id(String),
    /// Those that carry a token.
    Token(String),
}

/// The calls about instances.
pub trait Machines: Send + Sync {
    /// `RunInstances`, of one; returns the id.
    fn launch<'a>(&'a self, machine: &'a NewMachine) -> Answer<'a, String>;

    /// `DescribeInstances`, all pages.
    fn machines<'a>(&'a self, which: &'a WhichMachine) -> Answer<'a, Vec<Machine>>;

    /// `StartInstances`.
    fn start<'a>(&'a self, id: &'a str) -> Answer<'a, ()>;

    /// `TerminateInstances`.
    fn terminate<'a>(&'a self, id: &'a str) -> Answer<'a, ()>;

    /// `ModifyInstanceAttribute`: its security groups, all of them.
    fn set_groups<'a>(&'a self, id: &'a str, groups: &'a [String]) -> Answer<'a, ()>;

    /// `DescribeInstanceAttribute`: whether a call that terminates it is refused.
    fn protected<'a>(&'a self, id: &'a str) -> Answer<'a, bool>;

    /// `ModifyInstanceAttribute`: whether a call that terminates it is refused.
    fn protect<'a>(&'a self, id: &'a str, protected: bool) -> Answer<'a, ()>;

    /// `ModifyInstanceMetadataOptions`: metadata is given for a token only.
    fn demand_tokens<'a>(&'a self, id: &'a str) -> Answer<'a, ()>;
}
