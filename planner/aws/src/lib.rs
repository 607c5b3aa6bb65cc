//! EC2 for steps, refreshes and imports: the only crate that builds its SDK.
//!
//! ```text
//! apply's trait Cloud ── Aws ─┬─ group           what a kind is made of, found by and compared with
//!                             └─ instance        with launch: the keys of its first boot
//!                               │
//!                             Caller             retries with pauses that are shown, bounded; remedies
//!                               │
//!                             trait Ec2 ─┬─ sdk  AWS, or what answers at an endpoint
//!                                        └─ fake memory: tokens, dependencies, throttling, delays (tests)
//! ```
//! **Nothing is made twice.** Before the call that makes an object a token is recorded (`Event::Kept`), which the object carries
//! from its first moment: as a client token where the call takes one, and as the tag `lustre:token`. An apply that was killed at
//! any moment finds the object by it and goes on. The token is a hash of state, address and serial: another one for each time
//! that an object is made, and the same one however often that is tried.
//!
//! **What is there counts.** A step reads the object, does what is missing and reads again; rules of a security group are compared
//! one by one, and rules that nobody declared go. AWS's views lag behind its writes, so what was just made is waited for, within
//! limits. What a refresh finds changed is repaired, what it finds gone is made anew.
//!
//! **How AWS is reached is recorded with the object**: region, profile, role and endpoints, never credentials. It is found and
//! destroyed the same way when its block and its provider are not in the spec any more.
//!
//! Not here: what a spec may say (`planner/plan`), when a step runs (`planner/apply`).
//! Invariant: every id, name and rule of an answer is checked before it is used or recorded.

mod caller;
mod connect;
mod ec2;
#[cfg(test)]
mod fake;
mod group;
mod instance;
#[cfg(test)]
#[path = "tests/lab.rs"]
mod lab;
mod launch;
mod mark;
mod sdk;

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use lustre_apply::cloud::{Cloud, CloudError, Observed};
use lustre_apply::error::StepError;
use lustre_apply::{Left, Task};
use lustre_model::address::Address;
use lustre_model::recorded::Object;
use lustre_model::resource::{
    Attributes, AwsAccess, CloudQuestion, InstanceSpec, Kind, Resource, SecurityGroupSpec,
};
use tokio::sync::Mutex;

use crate::caller::{Caller, Pace};
use crate::ec2::Ec2;
use crate::sdk::Sdk;

/// AWS, connected to when something is first asked of a region.
#[derive(Default)]
pub struct Aws {
    clients: Mutex<BTreeMap<AwsAccess, Arc<dyn Ec2>>>,
}

impl Aws {
    /// Knows no region yet.
    pub fn new() -> Self {
        Self::default()
    }

    async fn caller(&self, access: &AwsAccess) -> Caller {
        let mut clients = self.clients.lock().await;
        let ec2 = match clients.get(access) {
            Some(ec2) => Arc::clone(ec2),
            None => {
                let ec2: Arc<dyn Ec2> = Arc::new(Sdk::new(connect::client(access).await));
                clients.insert(access.clone(), Arc::clone(&ec2));
                ec2
            }
        };
        Caller::new(ec2, access, Pace::REAL)
    }
}

/// An object of a kind that is in AWS.
enum Ours {
    Group(Box<SecurityGroupSpec>),
    Instance(Box<InstanceSpec>),
}

impl Ours {
    /// Reads one; objects of other kinds never come here.
    fn read(kind: Kind, attributes: &Attributes) -> Result<Self, CloudError> {
        match Resource::from_attributes(kind, attributes)? {
            Resource::SecurityGroup(spec) => Ok(Self::Group(Box::new(spec))),
            Resource::Instance(spec) => Ok(Self::Instance(spec)),
            Resource::Host(_)
            | Resource::Cluster(_)
            | Resource::Target(_)
            | Resource::Bucket(_)
            | Resource::DataRepositoryAssociation(_)
            | Resource::Mount(_)
            | Resource::Value(_) => Err(CloudError::Missing { what: format!("{kind} in AWS") }),
        }
    }
}

impl Cloud for Aws {
    fn ensure<'a>(&'a self, task: &'a Task) -> BoxFuture<'a, Result<Left, StepError>> {
        async move {
            let access = AwsAccess::of(task.step.kind, &task.attributes)?;
            let caller = self.caller(&access).await.telling(task.tell.clone());
            match Ours::read(task.step.kind, &task.attributes)? {
                Ours::Group(spec) => group::ensure(&caller, task, &spec).await,
                Ours::Instance(spec) => instance::ensure(&caller, task, &spec).await,
            }
        }
        .boxed()
    }

    fn delete<'a>(&'a self, task: &'a Task) -> BoxFuture<'a, Result<(), StepError>> {
        async move {
            let access = AwsAccess::of(task.step.kind, &task.attributes)?;
            let caller = self.caller(&access).await.telling(task.tell.clone());
            match Ours::read(task.step.kind, &task.attributes)? {
                Ours::Group(spec) => group::delete(&caller, task, &spec).await,
                Ours::Instance(spec) => instance::delete(&caller, task, &spec).await,
            }
        }
        .boxed()
    }

    fn observe<'a>(
        &'a self,
        _address: &'a Address,
        object: &'a Object,
    ) -> BoxFuture<'a, Result<Observed, CloudError>> {
        async move {
            let caller = self.caller(&AwsAccess::of(object.kind, &object.attributes)?).await;
            match Ours::read(object.kind, &object.attributes)? {
                Ours::Group(spec) => group::observe(&caller, &spec).await,
                Ours::Instance(spec) => instance::observe(&caller, &spec).await,
            }
        }
        .boxed()
    }

    fn find<'a>(&'a self, question: &'a CloudQuestion) -> BoxFuture<'a, Result<Attributes, CloudError>> {
        async move {
            let CloudQuestion::Object { kind, access, id } = question;
            let caller = self.caller(access).await;
            match kind {
                Kind::SecurityGroup => group::find(&caller, id).await,
                Kind::Instance => instance::find(&caller, id).await,
                Kind::Host
                | Kind::Cluster
                | Kind::Target
                | Kind::Bucket
                | Kind::DataRepositoryAssociation
                | Kind::Mount
                | Kind::Value => Err(CloudError::Missing { what: format!("{kind} {id} in AWS") }),
            }
        }
        .boxed()
    }
}
