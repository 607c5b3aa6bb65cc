//! What each kind of step does to hosts: one file per kind.
//!
//! Order, journal and retries are the walk's. Each step looks before it acts and verifies after.
//! Invariant: a step that is done again changes nothing that is right already.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use lustre_model::address::Address;
use lustre_model::journal::Journal;
use lustre_model::plan::{Allowance, Operation, Plan, Step};
use lustre_model::resource::{Attributes, Kind, Resource};

use crate::cloud::Cloud;
use crate::error::StepError;
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
        Self { fleet: Fleet::new(token, Deployment::new(journal), binary), allowances, going, cloud }
    }

    /// Tells whether an object goes with this plan.
    fn is_going(&self, address: &Address) -> bool {
        self.going.contains(address)
    }

    /// Tells whether bytes of any of these may be lost.
    fn may_lose(&self, addresses: &[&Address]) -> bool {
        self.allowances.iter().any(|allowance| addresses.iter().any(|address| allowance.covers(address)))
    }

    async fn carry_out(&self, task: &Task) -> Result<Left, StepError> {
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
            (Resource::SecurityGroup(_), false) => left = self.cloud.ensure(task).await?,
            (Resource::SecurityGroup(_), true) => self.cloud.delete(task).await?,
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
            | Kind::SecurityGroup => false,
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
