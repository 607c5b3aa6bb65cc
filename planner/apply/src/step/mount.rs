//! A mount: a process under a client's certificate.
//!
//! Invariant: two mounts never share a certificate.

use lustre_model::control::DataFate;
use lustre_model::recorded::Secret;
use lustre_model::resource::MountSpec;
use lustre_wire::Role;

use crate::credential::SERIAL;
use crate::error::StepError;
use crate::fleet::{self, Fleet};
use crate::perform::Task;

/// Makes sure that it is mounted. Returns what to remember of it: the number of its certificate, for the day on which its host is
/// lost and the certificate must not be good for anything any more.
pub(super) async fn ensure(
    fleet: &Fleet,
    task: &Task,
    spec: &MountSpec,
) -> Result<Option<(String, Secret)>, StepError> {
    let agent = fleet.agent(&task.world, &spec.host).await?;
    let realm = fleet::realm(&task.world, &spec.cluster)?;
    let name = format!("{}:{}", spec.host, spec.path);
    let wanted = (spec.process(), spec.process_spec());
    agent.ensure_signed(&realm, Role::Client, &name, wanted).await?;
    let (_, credentials) = agent.credentials().await?;
    let own = credentials.into_iter().find(|(process, _)| *process == spec.process());
    Ok(own.map(|(_, certified)| (SERIAL.to_owned(), Secret::new(certified.serial))))
}

/// Unmounts it.
pub(super) async fn delete(fleet: &Fleet, task: &Task, spec: &MountSpec) -> Result<(), StepError> {
    let agent = fleet.agent(&task.world, &spec.host).await?;
    let realm = fleet::realm(&task.world, &spec.cluster)?;
    agent.remove(spec.process(), DataFate::Erase, Some(&realm)).await
}
