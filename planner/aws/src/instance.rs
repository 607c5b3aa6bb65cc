//! Instances: launched once under a token, waited for, and held to what can change while they live.
//!
//! ```text
//! token, key and what is asked for recorded ─▶ RunInstances(token) ─▶ id recorded ─▶ running ─▶ groups, protection, tags
//! ```
//! A launch that did not come to an end is found by its id, or by its token, or asked for again under the same token, which AWS
//! answers with the same instance. When the spec asks for something else by then, what was begun is terminated first.
//! Invariant: an instance that AWS may have launched for us can be found by what was recorded before the call.

use std::collections::{BTreeMap, BTreeSet};

use lustre_apply::cloud::{CloudError, Observed};
use lustre_apply::error::StepError;
use lustre_apply::{Left, Task};
use lustre_model::plan::Operation;
use lustre_model::recorded::Secret;
use lustre_model::resource::{Attributes, InstanceSpec};
use lustre_model::types::Type;
use lustre_model::value::Value;
use sha2::{Digest as _, Sha256};

use crate::caller::Caller;
use crate::ec2::{Life, Machine, NewMachine, TOKEN, WhichMachine};
use crate::launch::HostKey;
use crate::mark::{self, ID, MARK};

/// Names of private values besides those of [`mark`]: the seed of the machine's key, and a hash of what a launch asks for.
const KEY: &str = "host_key";
const ASKED: &str = "asked";

/// Makes an instance, or makes it what it is to be.
pub async fn ensure(caller: &Caller, task: &Task, spec: &InstanceSpec) -> Result<Left, StepError> {
    let mut private = task.private.clone();
    let id = match (task.step.operation, &spec.id) {
        (Operation::Create, _) | (_, None) => launched(caller, task, spec, &mut private).await?,
        (Operation::Update | Operation::Read | Operation::Delete, Some(id)) => id.clone(),
    };
    let machine = running(caller, &id).await?;
    settle(caller, &machine, spec).await?;
    private.insert(ID.to_owned(), Secret::new(id));
    let mut attributes = task.attributes.clone();
    attributes.extend(computed(&machine, caller, &private));
    Ok(Left { attributes, private })
}

/// Terminates an instance and waits until it is gone, for what it uses can only go behind it.
pub async fn delete(caller: &Caller, task: &Task, spec: &InstanceSpec) -> Result<(), StepError> {
    let id = spec.id.clone().or_else(|| mark::id(&task.private));
    let found = match (id, mark::token(&task.private)) {
        (Some(id), _) => one(caller, &id).await?,
        (None, Some(token)) => by_token(caller, &token).await?,
        (None, None) => None,
    };
    match found {
        Some(machine) => Ok(gone(caller, &machine).await?),
        None => Ok(()),
    }
}

/// Compares a recorded instance with what is there.
pub async fn observe(caller: &Caller, spec: &InstanceSpec) -> Result<Observed, CloudError> {
    let Some(id) = &spec.id else { return Ok(Observed::Same) };
    let machine = match one(caller, id).await? {
        None => return Ok(Observed::Gone(format!("AWS has no {id} in {} any more", caller.region))),
        Some(machine) if machine.life == Life::Terminated => {
            let reason = machine.reason.map(|reason| format!(": {reason}")).unwrap_or_default();
            return Ok(Observed::Gone(format!("{id} was terminated{reason}")));
        }
        Some(machine) => machine,
    };
    let mut causes = Vec::new();
    if machine.life == Life::Stopped {
        let reason = machine.reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default();
        causes.push(format!("it is stopped{reason}"));
    }
    if !machine.metadata_by_token {
        causes.push("it gives metadata without a token (IMDSv1)".to_owned());
    }
    if other_groups(&machine, spec) {
        causes.push(format!("its security groups are {}", machine.groups.join(", ")));
    }
    let protected = caller.call(|ec2| ec2.protected(id)).await?;
    if protected != spec.disable_api_termination {
        let word = if protected { "protected" } else { "not protected" };
        causes.push(format!("it is {word} from termination"));
    }
    causes.extend(mark::tag_causes(&spec.tags, &machine.tags));
    Ok(if causes.is_empty() { Observed::Same } else { Observed::Drifted(mark::listed(causes)) })
}

/// Returns what is there under an id, as a spec would say it.
pub async fn find(caller: &Caller, id: &str) -> Result<Attributes, CloudError> {
    let machine = one(caller, id).await?.filter(|machine| machine.life != Life::Terminated);
    let machine = machine.ok_or_else(|| missing(id, caller))?;
    let protected = caller.call(|ec2| ec2.protected(id)).await?;
    let tags = Value::map(
        Type::String,
        mark::own(&machine.tags).map(|(name, value)| (name.clone(), Value::from(value.as_str()))).collect(),
    );
    let mut attributes = computed(&machine, caller, &BTreeMap::new());
    attributes.extend([
        ("ami".to_owned(), Value::from(machine.ami.as_str())),
        ("instance_type".to_owned(), Value::from(machine.instance_type.as_str())),
        ("disable_api_termination".to_owned(), Value::from(protected)),
        ("vpc_security_group_ids".to_owned(), Value::strings(machine.groups.iter().map(String::as_str))),
        ("tags".to_owned(), tags.clone()),
        ("tags_all".to_owned(), tags),
    ]);
    let subnet = machine.subnet_id.iter().map(|it| ("subnet_id".to_owned(), Value::from(it.as_str())));
    attributes.extend(subnet);
    Ok(attributes)
}

fn missing(id: &str, caller: &Caller) -> CloudError {
    CloudError::Missing { what: format!("instance {id} in {}", caller.region) }
}

fn computed(machine: &Machine, caller: &Caller, private: &BTreeMap<String, Secret>) -> Attributes {
    let key = private.get(KEY).and_then(|seed| HostKey::read(seed).ok());
    let arn = caller.arn(&machine.owner_id, &format!("instance/{}", machine.id));
    let text = |name: &str, value: Option<&str>| (name.to_owned(), Value::from(value.unwrap_or_default()));
    [
        text("id", Some(&machine.id)),
        text("arn", Some(&arn)),
        text("private_ip", machine.private_ip.as_deref()),
        text("public_ip", machine.public_ip.as_deref()),
        text("private_dns", machine.private_dns.as_deref()),
        text("availability_zone", machine.zone.as_deref()),
        text("host_key", key.map(|key| key.public()).as_deref()),
    ]
    .into()
}

/// Looks for the instance of an id.
async fn one(caller: &Caller, id: &str) -> Result<Option<Machine>, CloudError> {
    let which = WhichMachine::Id(id.to_owned());
    match caller.call(|ec2| ec2.machines(&which)).await {
        Ok(machines) => Ok(machines.into_iter().find(|machine| machine.id == id)),
        Err(refusal) if refusal.is_missing() => Ok(None),
        Err(refusal) => Err(refusal.into()),
    }
}

/// Looks for an instance that AWS named: it is gone only when it stays unseen for longer than views lag behind.
async fn shown(caller: &Caller, id: &str) -> Result<Option<Machine>, CloudError> {
    for look in 0..caller.pace.lag_looks {
        if let Some(machine) = one(caller, id).await? {
            return Ok(Some(machine));
        }
        caller.progress("seconds of waiting until AWS shows the instance", caller.seconds(look));
        tokio::time::sleep(caller.pace.look).await;
    }
    Ok(None)
}

/// Looks for the instance that carries a token and lives.
async fn by_token(caller: &Caller, token: &str) -> Result<Option<Machine>, CloudError> {
    let which = WhichMachine::Token(token.to_owned());
    let mut machines = caller.call(|ec2| ec2.machines(&which)).await?;
    machines.retain(|machine| {
        machine.life != Life::Terminated && machine.tags.get(TOKEN).map(String::as_str) == Some(token)
    });
    match machines.len() {
        0 | 1 => Ok(machines.pop()),
        many => {
            let why = format!("{many} instances carry one token");
            Err(CloudError::Odd { call: "DescribeInstances", why })
        }
    }
}

/// Returns the id of the instance that an earlier try launched, or of a new one.
async fn launched(
    caller: &Caller,
    task: &Task,
    spec: &InstanceSpec,
    private: &mut BTreeMap<String, Secret>,
) -> Result<String, StepError> {
    let asked = asked(spec);
    let same = private.get(ASKED).is_some_and(|before| before.reveal() == asked);
    let (known, before) = (mark::id(private), mark::token(private));
    let begun = match (&known, &before) {
        (Some(id), _) => shown(caller, id).await?.filter(|machine| machine.life != Life::Terminated),
        (None, Some(token)) => by_token(caller, token).await?,
        (None, None) => None,
    };
    match begun {
        Some(machine) if same => return Ok(machine.id),
        Some(machine) => gone(caller, &machine).await?,
        None => {}
    }
    // Under the token of a call whose answer never came AWS gives the same instance; one that is gone needs another.
    let token = before.filter(|_| same && known.is_none()).unwrap_or_else(|| mark::new_token(task));
    let key = match private.get(KEY).filter(|_| same && known.is_none()) {
        Some(seed) => HostKey::read(seed),
        None => HostKey::generate(),
    };
    let key = key.map_err(|why| CloudError::Odd { call: "RunInstances", why: why.to_string() })?;
    private.extend([
        (MARK.to_owned(), Secret::new(token.clone())),
        (KEY.to_owned(), key.secret()),
        (ASKED.to_owned(), Secret::new(asked)),
        (ID.to_owned(), Secret::new(String::new())),
    ]);
    task.keep.keep(private.clone()).await?;
    let new = new(spec, &key, token);
    let id = caller.call(|ec2| ec2.launch(&new)).await.map_err(CloudError::from)?;
    private.insert(ID.to_owned(), Secret::new(id.clone()));
    task.keep.keep(private.clone()).await?;
    Ok(id)
}

fn new(spec: &InstanceSpec, key: &HostKey, token: String) -> NewMachine {
    let mut tags = spec.tags.clone();
    tags.insert(TOKEN.to_owned(), token.clone());
    NewMachine {
        token,
        ami: spec.ami.clone(),
        instance_type: spec.instance_type.clone(),
        subnet_id: spec.subnet_id.clone(),
        groups: spec.security_groups.clone(),
        key_name: spec.key_name.clone(),
        iam_instance_profile: spec.iam_instance_profile.clone(),
        placement_group: spec.placement_group.clone(),
        spot: spec.spot.clone(),
        volumes: spec.volumes.clone(),
        user_data: key.user_data(&spec.ssh_authorized_keys, spec.user_data.as_deref()),
        protected: spec.disable_api_termination,
        tags,
    }
}

/// Returns a hash of all that a launch asks for, but for its token and key.
fn asked(spec: &InstanceSpec) -> String {
    let launch = InstanceSpec { id: None, ..spec.clone() };
    hex::encode(Sha256::digest(format!("{launch:?}")))
}

/// Waits until an instance runs; starts one that is stopped.
async fn running(caller: &Caller, id: &str) -> Result<Machine, CloudError> {
    let mut started = false;
    let mut unseen = 0;
    for look in 0..caller.pace.long_looks {
        match one(caller, id).await? {
            // AWS's views lag behind a launch.
            None if unseen < caller.pace.lag_looks => unseen += 1,
            None => return Err(missing(id, caller)),
            Some(machine) => match machine.life {
                Life::Running => return Ok(machine),
                Life::Terminated => return Err(ended(&machine)),
                Life::Stopped if !started => {
                    // One that is still stopping cannot start yet.
                    match caller.call(|ec2| ec2.start(id)).await {
                        Ok(()) => started = true,
                        Err(refusal) if refusal.code == "IncorrectInstanceState" => {}
                        Err(refusal) => return Err(refusal.into()),
                    }
                }
                Life::Stopped | Life::Pending => {}
            },
        }
        caller.progress("seconds of waiting until the instance runs", caller.seconds(look));
        tokio::time::sleep(caller.pace.look).await;
    }
    let remedy = "look at it in the EC2 console, and apply again".to_owned();
    let seconds = caller.seconds(caller.pace.long_looks);
    Err(CloudError::Late { what: format!("{id} does not run"), seconds, remedy })
}

/// Says why an instance ended that was to run.
fn ended(machine: &Machine) -> CloudError {
    let message = machine.reason.clone().unwrap_or_else(|| "no further word".to_owned());
    let remedy = match message.split(':').next().unwrap_or_default() {
        "Server.InsufficientInstanceCapacity" => "try another type, or a subnet of another zone",
        "Client.VolumeLimitExceeded" => "ask AWS for a higher quota of volumes, or use smaller ones",
        "Client.InternalError" | "Client.InvalidKMSKey.InvalidState" => {
            "AWS could not use a volume: look whether the key of `kms_key_id` may be used with EC2"
        }
        _ => "mend what AWS says, and apply again: it launches another one",
    };
    CloudError::Call {
        call: "RunInstances",
        what: machine.id.clone(),
        code: "Terminated".to_owned(),
        message,
        remedy: Some(remedy.to_owned()),
    }
}

/// Terminates an instance and waits until it is gone.
async fn gone(caller: &Caller, machine: &Machine) -> Result<(), CloudError> {
    let id = &machine.id;
    if machine.life != Life::Terminated {
        match caller.call(|ec2| ec2.terminate(id)).await {
            Err(refusal) if refusal.is_missing() => return Ok(()),
            ended => ended?,
        }
    }
    for look in 0..caller.pace.long_looks {
        match one(caller, id).await? {
            None => return Ok(()),
            Some(machine) if machine.life == Life::Terminated => return Ok(()),
            Some(_) => {}
        }
        caller.progress("seconds of waiting until the instance is gone", caller.seconds(look));
        tokio::time::sleep(caller.pace.look).await;
    }
    let remedy = "look at it in the EC2 console, and apply again".to_owned();
    let seconds = caller.seconds(caller.pace.long_looks);
    Err(CloudError::Late { what: format!("{id} is still there"), seconds, remedy })
}

/// Whether an instance is in other groups than the spec says; without a word of the spec any are right.
fn other_groups(machine: &Machine, spec: &InstanceSpec) -> bool {
    let set = |groups: &[String]| groups.iter().cloned().collect::<BTreeSet<String>>();
    !spec.security_groups.is_empty() && set(&machine.groups) != set(&spec.security_groups)
}

/// Makes what can change what it is to be.
async fn settle(caller: &Caller, machine: &Machine, spec: &InstanceSpec) -> Result<(), CloudError> {
    let id = &machine.id;
    if other_groups(machine, spec) {
        caller.call(|ec2| ec2.set_groups(id, &spec.security_groups)).await?;
    }
    if !machine.metadata_by_token {
        caller.call(|ec2| ec2.demand_tokens(id)).await?;
    }
    if caller.call(|ec2| ec2.protected(id)).await? != spec.disable_api_termination {
        caller.call(|ec2| ec2.protect(id, spec.disable_api_termination)).await?;
    }
    mark::settle_tags(caller, (id, &machine.tags), &spec.tags).await
}

#[cfg(test)]
mod tests;
