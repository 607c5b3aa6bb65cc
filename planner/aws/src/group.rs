//! Security groups: made once, found by their token, and held to exactly the rules and tags that the spec says.
//!
//! ```text
//! token recorded ─▶ CreateSecurityGroup ─▶ id recorded ─▶ rules: add what lacks, then take what is too much ─▶ tags ─▶ read again
//! ```
//! New rules come before old ones go, so that what both allow is never cut off; only at the quota it is the other way round.
//! Not here: what a rule may be (`planner/plan`).
//! Invariant: a group that this deployment did not make, or take over, is never changed.

use std::collections::BTreeMap;

use lustre_apply::cloud::{CloudError, Observed};
use lustre_apply::error::StepError;
use lustre_apply::{Left, Task};
use lustre_model::plan::Operation;
use lustre_model::recorded::Secret;
use lustre_model::resource::{Attributes, Direction, Peer, RuleSpec, SecurityGroupSpec};
use lustre_model::types::Type;
use lustre_model::value::Value;

use crate::caller::Caller;
use crate::ec2::{Group, NewGroup, Refusal, TOKEN, Which};
use crate::mark::{self, ID, MARK, listed, own, settle_tags, tag_causes};

/// Most times that the rules of a group are compared in one step.
const ROUNDS_MAX: u32 = 8;

const DIRECTIONS: [Direction; 2] = [Direction::Ingress, Direction::Egress];

/// Makes a group, or makes it what it is to be.
pub async fn ensure(caller: &Caller, task: &Task, spec: &SecurityGroupSpec) -> Result<Left, StepError> {
    let mut private = task.private.clone();
    let found = match (task.step.operation, &spec.id) {
        (Operation::Create, _) | (_, None) => made(caller, task, spec, &mut private).await?,
        (Operation::Update | Operation::Read | Operation::Delete, Some(id)) => {
            one(caller, id).await?.ok_or_else(|| missing(id, caller))?
        }
    };
    settle_rules(caller, &found, spec).await?;
    settle_tags(caller, (&found.id, &found.tags), &spec.tags).await?;
    private.insert(ID.to_owned(), Secret::new(found.id.clone()));
    let mut attributes = task.attributes.clone();
    attributes.extend(computed(&found, caller));
    Ok(Left { attributes, private })
}

/// Removes a group, its rules first; what still uses it is waited for.
pub async fn delete(caller: &Caller, task: &Task, spec: &SecurityGroupSpec) -> Result<(), StepError> {
    let id = spec.id.clone().or_else(|| mark::id(&task.private));
    match begun(caller, id, mark::token(&task.private)).await? {
        Some(found) => Ok(remove(caller, &found).await?),
        None => Ok(()),
    }
}

/// Looks for a group by its id, or by its token while that is not known.
async fn begun(
    caller: &Caller,
    id: Option<String>,
    token: Option<String>,
) -> Result<Option<Group>, CloudError> {
    match (id, token) {
        (Some(id), _) => one(caller, &id).await,
        (None, Some(token)) => by_token(caller, &token).await,
        (None, None) => Ok(None),
    }
}

async fn remove(caller: &Caller, found: &Group) -> Result<(), CloudError> {
    for direction in DIRECTIONS {
        let rules = found.rules(direction);
        if !rules.is_empty() {
            match caller.call(|ec2| ec2.revoke(&found.id, direction, rules)).await {
                Err(refusal) if !refusal.is_missing() => return Err(refusal.into()),
                Ok(()) | Err(_) => {}
            }
        }
    }
    let mut last = None;
    for look in 0..caller.pace.long_looks {
        match caller.call(|ec2| ec2.delete_group(&found.id)).await {
            Ok(()) => return Ok(()),
            Err(refusal) if refusal.is_missing() => return Ok(()),
            Err(refusal) if refusal.code == "DependencyViolation" => last = Some(refusal),
            Err(refusal) => return Err(refusal.into()),
        }
        caller.progress("seconds of waiting until nothing uses the group", caller.seconds(look));
        tokio::time::sleep(caller.pace.look).await;
    }
    Err(last.map_or_else(|| missing(&found.id, caller), CloudError::from))
}

/// Compares a recorded group with what is there.
pub async fn observe(caller: &Caller, spec: &SecurityGroupSpec) -> Result<Observed, CloudError> {
    let Some(id) = &spec.id else { return Ok(Observed::Same) };
    let Some(found) = one(caller, id).await? else {
        return Ok(Observed::Gone(format!("AWS has no {id} in {} any more", caller.region)));
    };
    let mut causes = Vec::new();
    for direction in DIRECTIONS {
        let Difference { lacking, surplus, renamed } =
            difference(spec.rules(direction), found.rules(direction));
        let word = match direction {
            Direction::Ingress => "ingress",
            Direction::Egress => "egress",
        };
        causes.extend(surplus.iter().map(|rule| format!("{word} rule {rule} was added")));
        causes.extend(lacking.iter().map(|rule| format!("{word} rule {rule} is gone")));
        causes.extend(renamed.iter().map(|rule| format!("{word} rule {rule} has another description")));
    }
    causes.extend(tag_causes(&spec.tags, &found.tags));
    Ok(if causes.is_empty() { Observed::Same } else { Observed::Drifted(listed(causes)) })
}

/// Returns what is there under an id, as a spec would say it.
pub async fn find(caller: &Caller, id: &str) -> Result<Attributes, CloudError> {
    let found = one(caller, id).await?.ok_or_else(|| missing(id, caller))?;
    let rules = |rules: &[RuleSpec]| {
        let mut rules = rules.to_vec();
        rules.sort_by_key(order);
        Value::tuple(rules.iter().map(RuleSpec::to_value).collect())
    };
    let tags = Value::map(
        Type::String,
        own(&found.tags).map(|(name, value)| (name.clone(), Value::from(value.as_str()))).collect(),
    );
    let mut attributes = computed(&found, caller);
    attributes.extend([
        ("name".to_owned(), Value::from(found.name.as_str())),
        ("description".to_owned(), Value::from(found.description.as_str())),
        ("ingress".to_owned(), rules(&found.ingress)),
        ("egress".to_owned(), rules(&found.egress)),
        ("tags".to_owned(), tags.clone()),
        ("tags_all".to_owned(), tags),
    ]);
    attributes.extend(found.vpc_id.iter().map(|vpc| ("vpc_id".to_owned(), Value::from(vpc.as_str()))));
    Ok(attributes)
}

/// The order in which a spec's rules are recorded.
fn order(rule: &RuleSpec) -> (String, i64, i64, u8, String) {
    let (sort, text) = match &rule.peer {
        Peer::Own => (0, "self"),
        Peer::Cidr(range) => (if range.contains(':') { 2 } else { 1 }, range.as_str()),
        Peer::PrefixList(list) => (3, list.as_str()),
        Peer::Group(group) => (4, group.as_str()),
    };
    (rule.protocol.clone(), rule.from_port, rule.to_port, sort, text.to_owned())
}

fn missing(id: &str, caller: &Caller) -> CloudError {
    CloudError::Missing { what: format!("security group {id} in {}", caller.region) }
}

fn computed(found: &Group, caller: &Caller) -> Attributes {
    let arn = match found.arn.as_str() {
        "" => caller.arn(&found.owner_id, &format!("security-group/{}", found.id)),
        arn => arn.to_owned(),
    };
    let text = |name: &str, value: &str| (name.to_owned(), Value::from(value));
    [text("id", &found.id), text("arn", &arn), text("owner_id", &found.owner_id)].into()
}

/// Looks for the group of an id.
async fn one(caller: &Caller, id: &str) -> Result<Option<Group>, CloudError> {
    let which = Which::Id(id.to_owned());
    match caller.call(|ec2| ec2.groups(&which)).await {
        Ok(groups) => match groups.into_iter().find(|group| group.id == id) {
            Some(group) => Ok(Some(group)),
            None => Err(CloudError::Odd { call: "DescribeSecurityGroups", why: format!("it lacks {id}") }),
        },
        Err(refusal) if refusal.is_missing() => Ok(None),
        Err(refusal) => Err(refusal.into()),
    }
}

async fn by_token(caller: &Caller, token: &str) -> Result<Option<Group>, CloudError> {
    let which = Which::Token(token.to_owned());
    let mut groups = caller.call(|ec2| ec2.groups(&which)).await?;
    groups.retain(|group| group.tags.get(TOKEN).map(String::as_str) == Some(token));
    match groups.len() {
        0 | 1 => Ok(groups.pop()),
        many => {
            let why = format!("{many} groups carry one token");
            Err(CloudError::Odd { call: "DescribeSecurityGroups", why })
        }
    }
}

/// Makes a group, or finds the one that an earlier try made.
async fn made(
    caller: &Caller,
    task: &Task,
    spec: &SecurityGroupSpec,
    private: &mut BTreeMap<String, Secret>,
) -> Result<Group, StepError> {
    let before = mark::token(private);
    match begun(caller, mark::id(private), before.clone()).await? {
        Some(found) if is_same(&found, spec) => return Ok(found),
        // The spec asks for another group by now, and AWS cannot make that one it.
        Some(found) => remove(caller, &found).await?,
        None => {}
    }
    let token = before.unwrap_or_else(|| mark::new_token(task));
    private.insert(MARK.to_owned(), Secret::new(token.clone()));
    private.insert(ID.to_owned(), Secret::new(String::new()));
    task.keep.keep(private.clone()).await?;
    let mut tags = spec.tags.clone();
    tags.insert(TOKEN.to_owned(), token.clone());
    let new = NewGroup {
        name: spec.name.clone(),
        description: spec.description.clone(),
        vpc_id: spec.vpc_id.clone(),
        tags,
    };
    let id = match caller.call(|ec2| ec2.create_group(&new)).await {
        Ok(id) => id,
        // An answer that was lost, or a view that lags behind: it may be ours.
        Err(refusal) if refusal.code == "InvalidGroup.Duplicate" => {
            return ours(caller, &token, spec).await.map_err(StepError::from);
        }
        Err(refusal) => return Err(CloudError::from(refusal).into()),
    };
    private.insert(ID.to_owned(), Secret::new(id.clone()));
    task.keep.keep(private.clone()).await?;
    for look in 0..caller.pace.lag_looks {
        if let Some(found) = one(caller, &id).await? {
            return Ok(found);
        }
        caller.progress("seconds of waiting until AWS shows the group", caller.seconds(look));
        tokio::time::sleep(caller.pace.look).await;
    }
    Err(late(format!("{id} was made, and AWS does not show it"), caller, caller.pace.lag_looks).into())
}

/// Tells whether a group is the one that the spec says, in what AWS cannot change.
fn is_same(found: &Group, spec: &SecurityGroupSpec) -> bool {
    let vpc = spec.vpc_id.is_none() || spec.vpc_id == found.vpc_id;
    found.name == spec.name && found.description == spec.description && vpc
}

/// Waits for the group that has the name to show whose it is.
async fn ours(caller: &Caller, token: &str, spec: &SecurityGroupSpec) -> Result<Group, CloudError> {
    let which = Which::Name(spec.name.clone(), spec.vpc_id.clone());
    for _ in 0..caller.pace.lag_looks {
        if let Some(found) = by_token(caller, token).await? {
            return Ok(found);
        }
        let named = caller.call(|ec2| ec2.groups(&which)).await?;
        if let Some(other) = named.iter().find(|group| group.tags.get(TOKEN).is_none_or(|it| it != token)) {
            let what = format!("a security group {:?} ({}) in {}", spec.name, other.id, caller.region);
            let remedy = format!(
                "give this one another `name`, or take that one over: `import {{ to = … id = {:?} }}`",
                other.id
            );
            return Err(CloudError::Taken { what, remedy });
        }
        tokio::time::sleep(caller.pace.look).await;
    }
    let what = format!("AWS says that {:?} is taken, and shows no such group", spec.name);
    Err(late(what, caller, caller.pace.lag_looks))
}

fn late(what: String, caller: &Caller, looks: u32) -> CloudError {
    CloudError::Late { what, seconds: caller.seconds(looks), remedy: "apply again".to_owned() }
}

/// What is between the rules that are wanted and those that are there.
#[derive(Debug, Default, PartialEq, Eq)]
struct Difference {
    lacking: Vec<RuleSpec>,
    surplus: Vec<RuleSpec>,
    /// Those that only lack their description.
    renamed: Vec<RuleSpec>,
}

impl Difference {
    fn is_empty(&self) -> bool {
        self.lacking.is_empty() && self.surplus.is_empty() && self.renamed.is_empty()
    }
}

fn difference(wanted: &[RuleSpec], found: &[RuleSpec]) -> Difference {
    let by_traffic = |rules: &'_ [RuleSpec]| -> BTreeMap<_, RuleSpec> {
        let key = |rule: &RuleSpec| {
            let (protocol, from, to, peer) = rule.traffic();
            (protocol.to_owned(), from, to, peer.clone())
        };
        rules.iter().map(|rule| (key(rule), rule.clone())).collect()
    };
    let (wanted, found) = (by_traffic(wanted), by_traffic(found));
    let mut difference = Difference::default();
    for (traffic, rule) in &wanted {
        match found.get(traffic) {
            None => difference.lacking.push(rule.clone()),
            Some(there) if there.description != rule.description => difference.renamed.push(rule.clone()),
            Some(_) => {}
        }
    }
    let surplus = found.into_iter().filter(|(traffic, _)| !wanted.contains_key(traffic));
    difference.surplus = surplus.map(|(_, rule)| rule).collect();
    difference
}

/// Adds and takes rules until those that are there are those that are wanted.
async fn settle_rules(caller: &Caller, group: &Group, spec: &SecurityGroupSpec) -> Result<(), CloudError> {
    let mut now = group.clone();
    for _ in 0..ROUNDS_MAX {
        let mut sound = true;
        for direction in DIRECTIONS {
            let difference = difference(spec.rules(direction), now.rules(direction));
            if !difference.is_empty() {
                sound = false;
                step(caller, (&group.id, direction), &difference).await?;
            }
        }
        if sound {
            return Ok(());
        }
        // What was asked for may take a moment to show.
        for look in 0..caller.pace.lag_looks {
            now = one(caller, &group.id).await?.ok_or_else(|| missing(&group.id, caller))?;
            if DIRECTIONS.iter().all(|it| difference(spec.rules(*it), now.rules(*it)).is_empty()) {
                return Ok(());
            }
            if look >= 2 {
                break;
            }
            tokio::time::sleep(caller.pace.look).await;
        }
    }
    let causes = DIRECTIONS.iter().flat_map(|direction| {
        let Difference { lacking, surplus, renamed } =
            difference(spec.rules(*direction), now.rules(*direction));
        lacking.into_iter().chain(surplus).chain(renamed).map(|rule| rule.to_string())
    });
    let what = format!("the rules of {} are not as they were set: {}", group.id, listed(causes.collect()));
    Err(late(what, caller, ROUNDS_MAX))
}

/// Makes one direction what it is to be. Another look shows whether it is.
async fn step(
    caller: &Caller,
    (id, direction): (&str, Direction),
    difference: &Difference,
) -> Result<(), CloudError> {
    let Difference { lacking, surplus, renamed } = difference;
    if !lacking.is_empty() {
        match caller.call(|ec2| ec2.authorize(id, direction, lacking)).await {
            // Some are there already: AWS's view lagged, or an answer was lost. Which, the next look shows; one by one they fit.
            Err(refusal) if refusal.code == "InvalidPermission.Duplicate" => {
                for rule in lacking {
                    let one = std::slice::from_ref(rule);
                    done(caller.call(|ec2| ec2.authorize(id, direction, one)).await)?;
                }
            }
            // Those that go make room.
            Err(refusal) if refusal.code == "RulesPerSecurityGroupLimitExceeded" && !surplus.is_empty() => {
                done(caller.call(|ec2| ec2.revoke(id, direction, surplus)).await)?;
                return done(caller.call(|ec2| ec2.authorize(id, direction, lacking)).await);
            }
            ended => ended?,
        }
    }
    if !surplus.is_empty() {
        done(caller.call(|ec2| ec2.revoke(id, direction, surplus)).await)?;
    }
    if !renamed.is_empty() {
        done(caller.call(|ec2| ec2.describe_rules(id, direction, renamed)).await)?;
    }
    Ok(())
}

/// Lets pass that something is as it should be already.
fn done(answer: Result<(), Refusal>) -> Result<(), CloudError> {
    match answer {
        Err(refusal)
            if matches!(
                refusal.code.as_str(),
                "InvalidPermission.Duplicate" | "InvalidPermission.NotFound"
            ) =>
        {
            Ok(())
        }
        ended => Ok(ended?),
    }
}

#[cfg(test)]
mod tests;
