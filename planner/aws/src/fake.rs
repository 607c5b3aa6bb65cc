//! EC2 in memory, for what no server that tests can start has right: views that lag, limits, dependencies, lost answers, throttling.
//!
//! Invariant: a call that is refused changed nothing, unless its answer alone was lost.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures::FutureExt as _;
use lustre_model::resource::{Direction, Peer, RuleSpec, Tags};

use crate::ec2::{Answer, Ec2, Group, NewGroup, Passing, Refusal, Which};

mod machine;

use self::machine::Kept;

/// What goes wrong with the next call of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// AWS refuses with this code, and does nothing.
    Refused(&'static str),
    /// It asks for fewer calls.
    Throttled,
    /// It is done, and nobody hears of it.
    AnswerLost,
}

/// The memory of a region.
#[derive(Default)]
pub struct Fake {
    inside: Mutex<Inside>,
}

#[derive(Default)]
struct Inside {
    groups: BTreeMap<String, Group>,
    machines: BTreeMap<String, Kept>,
    /// Why launches end before they run.
    launches_end: Option<&'static str>,
    /// Looks that do not show a new group yet, by id.
    hidden: BTreeMap<String, u32>,
    /// How many looks a new group stays hidden for.
    lag: u32,
    /// Groups that something uses, for so many tries to delete them.
    used: BTreeMap<String, u32>,
    faults: VecDeque<(&'static str, Fault)>,
    calls: Vec<&'static str>,
    made: u32,
    rules_max: Option<usize>,
}

impl Fake {
    /// Starts with nothing.
    pub fn new() -> Self {
        Self::default()
    }

    fn lock(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets the next call of a name go wrong.
    pub fn fail(&self, call: &'static str, fault: Fault) {
        self.lock().faults.push_back((call, fault));
    }

    /// Lets new groups be hidden for so many looks.
    pub fn lag(&self, looks: u32) {
        self.lock().lag = looks;
    }

    /// Limits the rules of a direction.
    pub fn limit_rules(&self, most: usize) {
        self.lock().rules_max = Some(most);
    }

    /// Says that something uses a group, for so many tries to delete it.
    pub fn used(&self, id: &str, tries: u32) {
        self.lock().used.insert(id.to_owned(), tries);
    }

    /// Returns the groups.
    pub fn there(&self) -> Vec<Group> {
        self.lock().groups.values().cloned().collect()
    }

    /// Changes groups behind everybody's back.
    pub fn meddle(&self, change: impl FnOnce(&mut BTreeMap<String, Group>)) {
        change(&mut self.lock().groups);
    }

    /// Lets nothing go wrong any more.
    pub fn forgive(&self) {
        self.lock().faults.clear();
    }

    /// Returns how many instances were launched.
    pub fn launched(&self) -> usize {
        self.lock().machines.len()
    }

    /// Returns the calls so far.
    pub fn calls(&self) -> Vec<&'static str> {
        self.lock().calls.clone()
    }
}

fn refusal(call: &'static str, code: &str) -> Refusal {
    let passing =
        if code == "RequestLimitExceeded" || code == "Unreachable" { Passing::Soon } else { Passing::Never };
    Refusal {
        call,
        what: "it".to_owned(),
        code: code.to_owned(),
        message: "said the fake".to_owned(),
        passing,
    }
}

impl Inside {
    /// Notes a call, and does it unless it is to go wrong.
    fn call<T>(
        &mut self,
        call: &'static str,
        act: impl FnOnce(&mut Self) -> Result<T, &'static str>,
    ) -> Result<T, Refusal> {
        self.calls.push(call);
        let place = self.faults.iter().position(|(name, _)| *name == call);
        match place.and_then(|place| self.faults.remove(place)).map(|(_, fault)| fault) {
            Some(Fault::Refused(code)) => Err(refusal(call, code)),
            Some(Fault::Throttled) => Err(refusal(call, "RequestLimitExceeded")),
            Some(Fault::AnswerLost) => {
                let _lost = act(self);
                Err(refusal(call, "Unreachable"))
            }
            None => act(self).map_err(|code| refusal(call, code)),
        }
    }

    fn group(&mut self, id: &str) -> Result<&mut Group, &'static str> {
        self.groups.get_mut(id).ok_or("InvalidGroup.NotFound")
    }

    fn tags(&mut self, id: &str) -> Result<&mut Tags, &'static str> {
        if self.machines.contains_key(id) {
            let kept = self.machines.get_mut(id).ok_or("InvalidInstanceID.NotFound")?;
            return Ok(&mut kept.machine.tags);
        }
        Ok(&mut self.group(id)?.tags)
    }

    fn rules(&mut self, id: &str, direction: Direction) -> Result<&mut Vec<RuleSpec>, &'static str> {
        let group = self.group(id)?;
        Ok(match direction {
            Direction::Ingress => &mut group.ingress,
            Direction::Egress => &mut group.egress,
        })
    }
}

impl Ec2 for Fake {
    fn create_group<'a>(&'a self, group: &'a NewGroup) -> Answer<'a, String> {
        let answer = self.lock().call("CreateSecurityGroup", |inside| {
            let same = |it: &Group| it.name == group.name && it.vpc_id == group.vpc_id;
            if inside.groups.values().any(same) {
                return Err("InvalidGroup.Duplicate");
            }
            inside.made += 1;
            let id = format!("sg-{:08}", inside.made);
            // As AWS: everything may go out at first.
            let all = RuleSpec {
                protocol: "-1".to_owned(),
                from_port: 0,
                to_port: 0,
                peer: Peer::Cidr("0.0.0.0/0".to_owned()),
                description: String::new(),
            };
            let made = Group {
                id: id.clone(),
                arn: String::new(),
                owner_id: "123456789012".to_owned(),
                name: group.name.clone(),
                description: group.description.clone(),
                vpc_id: group.vpc_id.clone(),
                tags: group.tags.clone(),
                ingress: Vec::new(),
                egress: vec![all],
            };
            inside.hidden.insert(id.clone(), inside.lag);
            inside.groups.insert(id.clone(), made);
            Ok(id)
        });
        async move { answer }.boxed()
    }

    fn groups<'a>(&'a self, which: &'a Which) -> Answer<'a, Vec<Group>> {
        let answer = self.lock().call("DescribeSecurityGroups", |inside| {
            let hidden = &mut inside.hidden;
            let fits = |group: &Group| match which {
                Which::Id(id) => group.id == *id,
                Which::Token(token) => group.tags.get(crate::ec2::TOKEN) == Some(token),
                Which::Name(name, vpc) => group.name == *name && group.vpc_id == *vpc,
            };
            let mut shown = |group: &&Group| match hidden.get_mut(&group.id) {
                Some(looks) if *looks > 0 => {
                    *looks -= 1;
                    false
                }
                Some(_) | None => true,
            };
            let found: Vec<Group> =
                inside.groups.values().filter(|it| fits(it)).filter(|it| shown(it)).cloned().collect();
            match which {
                Which::Id(_) if found.is_empty() => Err("InvalidGroup.NotFound"),
                Which::Id(_) | Which::Token(_) | Which::Name(..) => Ok(found),
            }
        });
        async move { answer }.boxed()
    }

    fn authorize<'a>(&'a self, id: &'a str, direction: Direction, rules: &'a [RuleSpec]) -> Answer<'a, ()> {
        let answer = self.lock().call("AuthorizeSecurityGroup", |inside| {
            let most = inside.rules_max.unwrap_or(usize::MAX);
            let there = inside.rules(id, direction)?;
            if rules.iter().any(|rule| there.iter().any(|it| it.traffic() == rule.traffic())) {
                return Err("InvalidPermission.Duplicate");
            }
            if there.len() + rules.len() > most {
                return Err("RulesPerSecurityGroupLimitExceeded");
            }
            there.extend(rules.iter().cloned());
            Ok(())
        });
        async move { answer }.boxed()
    }

    fn revoke<'a>(&'a self, id: &'a str, direction: Direction, rules: &'a [RuleSpec]) -> Answer<'a, ()> {
        let answer = self.lock().call("RevokeSecurityGroup", |inside| {
            let there = inside.rules(id, direction)?;
            there.retain(|it| rules.iter().all(|rule| rule.traffic() != it.traffic()));
            Ok(())
        });
        async move { answer }.boxed()
    }

    fn describe_rules<'a>(
        &'a self,
        id: &'a str,
        direction: Direction,
        rules: &'a [RuleSpec],
    ) -> Answer<'a, ()> {
        let answer = self.lock().call("UpdateSecurityGroupRuleDescriptions", |inside| {
            for there in inside.rules(id, direction)? {
                if let Some(rule) = rules.iter().find(|rule| rule.traffic() == there.traffic()) {
                    there.description = rule.description.clone();
                }
            }
            Ok(())
        });
        async move { answer }.boxed()
    }

    fn delete_group<'a>(&'a self, id: &'a str) -> Answer<'a, ()> {
        let answer = self.lock().call("DeleteSecurityGroup", |inside| {
            inside.group(id)?;
            if let Some(tries) = inside.used.get_mut(id).filter(|tries| **tries > 0) {
                *tries -= 1;
                return Err("DependencyViolation");
            }
            inside.groups.remove(id);
            Ok(())
        });
        async move { answer }.boxed()
    }

    fn tag<'a>(&'a self, id: &'a str, tags: &'a Tags) -> Answer<'a, ()> {
        let answer = self.lock().call("CreateTags", |inside| {
            inside.tags(id)?.extend(tags.clone());
            Ok(())
        });
        async move { answer }.boxed()
    }

    fn untag<'a>(&'a self, id: &'a str, names: &'a [String]) -> Answer<'a, ()> {
        let answer = self.lock().call("DeleteTags", |inside| {
            inside.tags(id)?.retain(|name, _| !names.contains(name));
            Ok(())
        });
        async move { answer }.boxed()
    }
}
