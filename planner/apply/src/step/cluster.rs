//! A cluster: its authority. Everything else of it is in its targets.
//!
//! Invariant: the authority is made once, and recorded before a target that it signs begins.

use std::collections::BTreeMap;

use lustre_model::recorded::Secret;
use lustre_model::resource::ClusterSpec;

use crate::error::StepError;
use crate::perform::Task;
use crate::trust::cluster_authority;

/// Returns the private values with the authority among them.
pub(super) fn ensure(task: &Task, spec: &ClusterSpec) -> Result<BTreeMap<String, Secret>, StepError> {
    Ok(cluster_authority(spec.fs_name.as_str(), task.private.clone())?)
}
