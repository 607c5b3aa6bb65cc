//! A target: a process under the cluster's certificate; an object target is made known to the metadata target.
//!
//! Invariant: no target is registered before it answers; the metadata target knows that one is removed before its bytes go.

use lustre_model::control::DataFate;
use lustre_model::metadata::{Request, TargetEntry, TargetState};
use lustre_model::resource::{TargetRole, TargetSpec};
use lustre_wire::Role;

use super::Hosts;
use crate::credential;
use crate::error::StepError;
use crate::fleet::{self, Fleet};
use crate::perform::Task;

/// Makes sure that it runs and is known.
pub(super) async fn ensure(fleet: &Fleet, task: &Task, spec: &TargetSpec) -> Result<(), StepError> {
    let agent = fleet.agent(&task.world, &spec.host).await?;
    let realm = fleet::realm(&task.world, &spec.cluster)?;
    let wanted = (spec.process(), spec.process_spec());
    let revoked = credential::revoked(&task.world, &spec.cluster)?;
    if !revoked.is_empty() {
        agent.revoke(spec.process(), revoked).await?;
    }
    agent.ensure_signed(&realm, Role::Target, &spec.target.to_string(), wanted).await?;
    let (what, request) = match &spec.role {
        TargetRole::Metadata { default_layout } => {
            ("set the default layout", Request::SetDefaultLayout { template: default_layout.clone() })
        }
        TargetRole::Object { index, capacity, .. } => {
            let target = TargetEntry {
                index: *index,
                address: spec.listen.clone(),
                capacity: *capacity,
                state: TargetState::Active,
            };
            ("take the object target", Request::RegisterTarget { target })
        }
    };
    fleet.administer(&task.world, &spec.cluster, what, request).await?;
    Ok(())
}

/// Stops it and deletes its bytes; the gate was passed before. Where the cluster stays, nothing waits for it any more.
pub(super) async fn delete(hosts: &Hosts, task: &Task, spec: &TargetSpec) -> Result<(), StepError> {
    let fleet = &hosts.fleet;
    let agent = fleet.agent(&task.world, &spec.host).await?;
    if let TargetRole::Object { index, .. } = &spec.role
        && !hosts.is_going(&spec.cluster)
    {
        let remove = Request::RemoveTarget { index: *index };
        fleet.administer(&task.world, &spec.cluster, "let go of the object target", remove).await?;
    }
    let realm = fleet::realm(&task.world, &spec.cluster)?;
    agent.remove(spec.process(), DataFate::Erase, Some(&realm)).await
}
