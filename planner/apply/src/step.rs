//! What each kind of step does to hosts: one file per kind.
//!
//! Order, journal and retries are the walk's. Each step looks before it acts and verifies after.
//! Invariant: a step that is done again changes nothing that is right already.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use lustre_model::address::Address;
use lustre_model::journal::Journal;
use lustre_model::plan::{Allowance, Operation, Plan, Step};
use lustre_model::recorded::Object;
use lustre_model::resource::{Attributes, Kind, Resource};

use crate::cloud::{Cloud, Observed};
use crate::error::StepError;
use crate::event::What;
use crate::fleet::Fleet;
use crate::perform::{Left, Perform, Task};
use crate::trust::Deployment;

mod bucket;
mod cluster;
mod host;
mod link;
mod mount;
mod target;
mod value;

/// Carries steps out on real hosts.
pub struct Hosts {
    fleet: Fleet,
    allowances: Vec<Allowance>,
    /// What the plan deletes.
    going: BTreeSet<Address>,
    cloud: Arc<dyn Cloud>,
    journal: Arc<dyn Journal>,
}

impl Hosts {
    /// Knows no host yet. `binary` is the agent to put on them; `allowances` are those of the plan and of the apply.
    pub fn new(
        plan: &Plan,
        journal: Arc<dyn Journal>,
        (binary, allowances): (PathBuf, Vec<Allowance>),
        cloud: Arc<dyn Cloud>,
    ) -> Self {
        let token = journal.token();
        let going = plan.parts().steps.iter().filter(|step| step.operation == Operation::Delete);
        let going = going.map(|step| step.address.clone()).collect();
        let fleet = Fleet::new(token, Deployment::new(Arc::clone(&journal)), binary);
        Self { fleet, allowances, going, cloud, journal }
    }

    /// Tells whether an object goes with this plan.
    fn is_going(&self, address: &Address) -> bool {
        self.going.contains(address)
    }

    /// Tells whether bytes of any of these may be lost.
    fn may_lose(&self, addresses: &[&Address]) -> bool {
        self.allowances.iter().any(|allowance| addresses.iter().any(|address| allowance.covers(address)))
    }

    /// Carries a step out. Where the machine of an object is gone for good, so is the object.
    async fn carry_out(&self, task: &Task) -> Result<Left, StepError> {
        match self.act(task).await {
            Err(error) if task.step.operation == Operation::Delete && !task.step.kind.is_in_aws() => {
                let Some(instance) = self.gone_under(task).await else { return Err(error) };
                task.tell.say(What::Note(format!("it is gone with {instance}")));
                Ok(Left::default())
            }
            ended => ended,
        }
    }

    /// Returns the instance that the object of a step was on, when AWS says that it is gone.
    async fn gone_under(&self, task: &Task) -> Option<Address> {
        let named =
            task.step.kind.references().iter().filter_map(|name| task.attributes.get(*name)?.as_str());
        let hosts: Vec<Address> =
            named.filter_map(|text| text.parse().ok()).chain([task.step.address.clone()]).collect();
        let mut instances: BTreeMap<Address, Object> = BTreeMap::new();
        self.journal.look(&mut |world| {
            let below =
                hosts.iter().filter_map(|host| world.objects.get(host)).filter(|it| it.kind == Kind::Host);
            for address in below.flat_map(|host| &host.dependencies) {
                let instance = world.objects.get(address).filter(|object| object.kind == Kind::Instance);
                instances.extend(instance.map(|object| (address.clone(), object.clone())));
            }
        });
        for (address, object) in instances {
            if let Ok(Observed::Gone(_)) = self.cloud.observe(&address, &object).await {
                return Some(address);
            }
        }
        None
    }

    async fn act(&self, task: &Task) -> Result<Left, StepError> {
        let resource = Resource::from_attributes(task.step.kind, &task.attributes)?;
        let deleted = task.step.operation == Operation::Delete;
        let mut left = Left { attributes: task.attributes.clone(), private: task.private.clone() };
        match (resource, deleted) {
            (Resource::Host(spec), false) => host::ensure(&self.fleet, task, &spec).await?,
            (Resource::Host(spec), true) => host::delete(&self.fleet, task, &spec).await?,
            (Resource::Cluster(spec), false) => left.private = cluster::ensure(task, &spec)?,
            (Resource::Cluster(_) | Resource::Value(_), true) => {}
            (Resource::Target(spec), false) => target::ensure(&self.fleet, task, &spec).await?,
            (Resource::Target(spec), true) => target::delete(self, task, &spec).await?,
            (Resource::Bucket(spec), false) => bucket::ensure(&self.fleet, task, &spec).await?,
            (Resource::Bucket(spec), true) => bucket::delete(&self.fleet, task, &spec).await?,
            (Resource::DataRepositoryAssociation(spec), false) => {
                link::ensure(&self.fleet, task, &spec).await?;
            }
            (Resource::DataRepositoryAssociation(spec), true) => link::delete(self, task, &spec).await?,
            (Resource::Mount(spec), false) => {
                left.private.extend(mount::ensure(&self.fleet, task, &spec).await?);
            }
            (Resource::Mount(spec), true) => mount::delete(&self.fleet, task, &spec).await?,
            (Resource::SecurityGroup(_) | Resource::Instance(_), false) => {
                left = self.cloud.ensure(task).await?
            }
            (Resource::SecurityGroup(_) | Resource::Instance(_), true) => self.cloud.delete(task).await?,
            (Resource::Value(_), false) => left = self.settle(&task.step, left.attributes),
        }
        Ok(left)
    }
}

impl Perform for Hosts {
    fn at_once(&self, kind: Kind) -> bool {
        match kind {
            Kind::Value => true,
            Kind::Host
            | Kind::Cluster
            | Kind::Target
            | Kind::Bucket
            | Kind::DataRepositoryAssociation
            | Kind::Mount
            | Kind::SecurityGroup
            | Kind::Instance => false,
        }
    }

    fn settle(&self, step: &Step, attributes: Attributes) -> Left {
        match step.operation {
            Operation::Create | Operation::Update | Operation::Read => value::settle(attributes),
            Operation::Delete => Left::default(),
        }
    }

    fn perform(self: Arc<Self>, task: Task) -> BoxFuture<'static, Result<Left, StepError>> {
        async move { self.carry_out(&task).await }.boxed()
    }
}
