//! A bucket: a process that serves a folder of the user.
//!
//! Invariant: the folder's content outlives the bucket.

use lustre_model::control::DataFate;
use lustre_model::resource::BucketSpec;

use crate::error::StepError;
use crate::fleet::Fleet;
use crate::perform::Task;

/// Makes sure that it is served.
pub(super) async fn ensure(fleet: &Fleet, task: &Task, spec: &BucketSpec) -> Result<(), StepError> {
    let agent = fleet.agent(&task.world, &spec.host).await?;
    if agent.runs(&spec.process(), &spec.process_spec()).await? {
        return Ok(());
    }
    agent.ensure(spec.process(), spec.process_spec(), None).await
}

/// Ends it; the agent deletes the keys it made, and no object.
pub(super) async fn delete(fleet: &Fleet, task: &Task, spec: &BucketSpec) -> Result<(), StepError> {
    let agent = fleet.agent(&task.world, &spec.host).await?;
    agent.remove(spec.process(), DataFate::Erase, None).await
}
