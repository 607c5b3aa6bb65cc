//! A mount: a process under a client's certificate.
//!
//! Invariant: two mounts never share a certificate.

use lustre_model::control::DataFate;
use lustre_model::resource::MountSpec;
use lustre_wire::Role;

use crate::error::StepError;
use crate::fleet::{self, Fleet};
use crate::perform::Task;

/// Makes sure that it is mounted.
pub(super) async fn ensure(fleet: &Fleet, task: &Task, spec: &MountSpec) -> Result<(), StepError> {
    let agent = fleet.agent(&task.world, &spec.host).await?;
    let realm = fleet::realm(&task.world, &spec.cluster)?;
    let name = format!("{}:{}", spec.host, spec.path);
    let wanted = (spec.process(), spec.process_spec());
    agent.ensure_signed(&realm, Role::Client, &name, wanted).await
}

/// Unmounts it.
pub(super) async fn delete(fleet: &Fleet, task: &Task, spec: &MountSpec) -> Result<(), StepError> {
    let agent = fleet.agent(&task.world, &spec.host).await?;
    let realm = fleet::realm(&task.world, &spec.cluster)?;
    agent.remove(spec.process(), DataFate::Erase, Some(&realm)).await
}
