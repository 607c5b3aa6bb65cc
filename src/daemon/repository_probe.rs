//! The agent's question to a bucket, answered by the mover's own probe.
//!
//! Invariant: no credential and no secret appears in what is said.

use std::sync::Arc;

use lustre_agent::RepositoryProbe;
use lustre_model::control::ProbeResult;
use lustre_repository::probe;

/// Returns the probe that the agent carries out for links.
pub fn repository_probe() -> RepositoryProbe {
    Arc::new(|repository| {
        Box::pin(async move {
            match probe(&repository).await {
                Ok(()) => ProbeResult::Ok,
                Err(failure) => ProbeResult::Failed { cause: failure.cause, remedy: failure.remedy },
            }
        })
    })
}
