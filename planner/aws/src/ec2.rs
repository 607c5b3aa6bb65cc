//! The calls of EC2 that we use, in our own words: what the SDK and the fake of the tests both are.
//!
//! One method, one call; what to call when is the business of `group`.
//! Invariant: what a method returns was checked: ids have AWS's shape, and rules are such as a spec could say.

use futures::future::BoxFuture;
use lustre_model::resource::{Direction, RuleSpec, Tags};

mod machine;

pub use self::machine::{Life, Machine, Machines, NewMachine, WhichMachine};

/// The tag by which we find what we made and were not told of.
pub const TOKEN: &str = "lustre:token";

/// How names of tags begin that are not the user's.
pub const OURS: [&str; 2] = ["aws:", "lustre:"];

/// What a call comes to.
pub type Answer<'a, T> = BoxFuture<'a, Result<T, Refusal>>;

/// Why a call did not work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The call, as AWS names it.
    pub call: &'static str,
    /// On what.
    pub what: String,
    /// AWS's code, or ours where AWS was not reached.
    pub code: String,
    /// AWS's message.
    pub message: String,
    /// Whether the same call may work soon.
    pub passing: Passing,
}

/// Whether the same call may work soon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passing {
    /// AWS asks for fewer calls, or did not answer as it should.
    Soon,
    /// It never will.
    Never,
}

impl Refusal {
    /// Tells whether what was asked for is not there.
    pub fn is_missing(&self) -> bool {
        self.code.ends_with(".NotFound") || self.code.ends_with(".Malformed")
    }
}

/// A security group to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewGroup {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// Its VPC; the default one without it.
    pub vpc_id: Option<String>,
    /// Its tags, the token among them.
    pub tags: Tags,
}

/// A security group as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Its id.
    pub id: String,
    /// Its ARN.
    pub arn: String,
    /// The account.
    pub owner_id: String,
    /// Its name.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// Its VPC.
    pub vpc_id: Option<String>,
    /// All its tags.
    pub tags: Tags,
    /// What may come in.
    pub ingress: Vec<RuleSpec>,
    /// What may go out.
    pub egress: Vec<RuleSpec>,
}

impl Group {
    /// Returns the rules of a direction.
    pub fn rules(&self, direction: Direction) -> &[RuleSpec] {
        match direction {
            Direction::Ingress => &self.ingress,
            Direction::Egress => &self.egress,
        }
    }
}

/// Which groups are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    /// That of an id; it is an error when there is none.
    Id(String),
    /// Those that carry a token.
    Token(String),
    /// Those of a name, in a VPC or anywhere.
    Name(String, Option<String>),
}

/// EC2 of a region.
pub trait Ec2: Machines {
    /// `CreateSecurityGroup`; returns the id.
    fn create_group<'a>(&'a self, group: &'a NewGroup) -> Answer<'a, String>;

    /// `DescribeSecurityGroups`, all pages.
    fn groups<'a>(&'a self, which: &'a Which) -> Answer<'a, Vec<Group>>;

    /// `AuthorizeSecurityGroupIngress` or `…Egress`: all of the rules or none.
    fn authorize<'a>(&'a self, id: &'a str, direction: Direction, rules: &'a [RuleSpec]) -> Answer<'a, ()>;

    /// `RevokeSecurityGroupIngress` or `…Egress`.
    fn revoke<'a>(&'a self, id: &'a str, direction: Direction, rules: &'a [RuleSpec]) -> Answer<'a, ()>;

    /// `UpdateSecurityGroupRuleDescriptionsIngress` or `…Egress`.
    fn describe_rules<'a>(
        &'a self,
        id: &'a str,
        direction: Direction,
        rules: &'a [RuleSpec],
    ) -> Answer<'a, ()>;

    /// `DeleteSecurityGroup`.
    fn delete_group<'a>(&'a self, id: &'a str) -> Answer<'a, ()>;

    /// `CreateTags`: adds tags, over those of the same name.
    fn tag<'a>(&'a self, id: &'a str, tags: &'a Tags) -> Answer<'a, ()>;

    /// `DeleteTags`.
    fn untag<'a>(&'a self, id: &'a str, names: &'a [String]) -> Answer<'a, ()>;
}
