//! What hosts report now: which recorded objects are not as recorded, and whether a plan's conditions hold.
//!
//! Changes nothing and starts nothing, apart from running the agent's own binary to probe a host that has no agent yet.
//! Invariant: what cannot be found out is reported as such; silence never counts as health.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::StreamExt;
use futures::stream;
use lustre_model::address::Address;
use lustre_model::control::{Probe, ProbeResult, ProcessId, ProcessSpec, ProcessState, ProcessStatus};
use lustre_model::metadata;
use lustre_model::recorded::{Object, Status, World};
use lustre_model::resource::{HostSpec, Kind, Resource};

use crate::bootstrap::connection;
use crate::connection::{Command, ConnectionError, run_ok};
use crate::error::StepError;
use crate::fleet::{Agent, host_spec, is_running};
use crate::trust::{Realm, recorded_deployment};

pub use lustre_model::hsm::LinkStatus;

/// What one host reports.
pub struct HostReport {
    /// Which.
    pub host: Address,
    /// What its agent keeps, or why that is not known.
    pub processes: Result<Vec<ProcessStatus>, StepError>,
}

/// A connection to the deployment's agents that only looks.
pub struct Observer {
    world: Arc<World>,
    realm: Option<Realm>,
    token: u64,
    parallelism: usize,
}

impl Observer {
    /// Looks at nothing yet.
    pub fn new(world: Arc<World>, token: u64, parallelism: usize) -> Result<Self, StepError> {
        let realm = recorded_deployment(&world)?;
        Ok(Self { world, realm, token, parallelism: parallelism.max(1) })
    }

    /// Asks every recorded host what it keeps.
    pub async fn hosts(&self) -> Vec<HostReport> {
        let hosts = self.world.objects.iter().filter(|(_, object)| object.kind == Kind::Host);
        let reports = hosts.map(|(host, _)| async move {
            HostReport { host: host.clone(), processes: self.processes(host).await }
        });
        let reports: Vec<_> = reports.collect();
        stream::iter(reports).buffer_unordered(self.parallelism).collect().await
    }

    async fn processes(&self, host: &Address) -> Result<Vec<ProcessStatus>, StepError> {
        let spec = host_spec(&self.world, host)?;
        self.agent(host, &spec)
            .await?
            .ok_or_else(|| StepError::NoAgent { host: host.clone() })?
            .processes()
            .await
    }

    async fn agent(&self, host: &Address, spec: &HostSpec) -> Result<Option<Agent>, StepError> {
        let Some(realm) = &self.realm else { return Ok(None) };
        Agent::find(realm, self.token, host, spec).await
    }

    /// Returns the recorded objects that do not run as recorded, each with what is wrong.
    pub async fn drift(&self) -> BTreeMap<Address, String> {
        let reports = self.hosts().await;
        let mut drift = BTreeMap::new();
        for report in &reports {
            if let Err(error) = &report.processes {
                drift.insert(report.host.clone(), error.causes().join(": "));
            }
        }
        let kept: BTreeMap<&Address, &HostReport> =
            reports.iter().map(|report| (&report.host, report)).collect();
        for (address, object) in &self.world.objects {
            let Some((host, process, spec)) = expected(object) else { continue };
            let found = kept.get(&host).map(|report| report.processes.as_ref());
            if let Some(cause) = missing(found, &process, &spec) {
                drift.insert(address.clone(), cause);
            }
        }
        drift
    }

    /// Asks a host whether these conditions hold: its agent when it answers, else the agent's binary `binary`.
    pub async fn probe(
        &self,
        host: &Address,
        spec: &HostSpec,
        binary: &Path,
        probes: Vec<Probe>,
    ) -> Result<Vec<ProbeResult>, StepError> {
        if let Some(agent) = self.agent(host, spec).await? {
            return agent.probe(probes).await;
        }
        let asked = probes.len();
        let connection = connection(host, spec);
        let unreadable = |source: serde_json::Error| ConnectionError::File {
            host: host.to_string(),
            source: source.into(),
        };
        let mut command = Command::new(PathBuf::from(binary), &["probe"]);
        command.input = serde_json::to_vec(&probes).map_err(unreadable)?;
        let said = run_ok(connection.as_ref(), &command).await?;
        let results: Vec<ProbeResult> = serde_json::from_slice(&said).map_err(unreadable)?;
        if results.len() == asked {
            Ok(results)
        } else {
            Err(StepError::Unfitting { host: host.clone(), asked: "probes" })
        }
    }

    /// Returns how the links of a recorded cluster are.
    pub async fn links(&self, cluster: &Address) -> Result<Vec<LinkStatus>, StepError> {
        let view = crate::fleet::ClusterView::open(&self.world, cluster).await?;
        match view.ask("list its links", metadata::Request::Links).await? {
            metadata::Reply::Links { links } => Ok(links),
            _other => Err(StepError::Unfitting { host: cluster.clone(), asked: "links" }),
        }
    }
}

/// Returns the process that a recorded object stands for, and where it runs.
fn expected(object: &Object) -> Option<(Address, ProcessId, Option<ProcessSpec>)> {
    if object.status != Status::Present {
        return None;
    }
    match Resource::from_attributes(object.kind, &object.attributes).ok()? {
        Resource::Target(spec) => Some((spec.host.clone(), spec.process(), Some(spec.process_spec()))),
        Resource::Bucket(spec) => Some((spec.host.clone(), spec.process(), Some(spec.process_spec()))),
        Resource::Mount(spec) => Some((spec.host.clone(), spec.process(), Some(spec.process_spec()))),
        Resource::DataRepositoryAssociation(spec) => {
            Some((spec.metadata_host, ProcessId::Mover(spec.fs_name), None))
        }
        Resource::Host(_) | Resource::Cluster(_) | Resource::Value(_) => None,
    }
}

/// Says what is wrong with a process, when anything is.
fn missing(
    found: Option<Result<&Vec<ProcessStatus>, &StepError>>,
    process: &ProcessId,
    spec: &Option<ProcessSpec>,
) -> Option<String> {
    let Some(Ok(kept)) = found else { return Some("the agent of its host does not answer".to_owned()) };
    let Some(one) = kept.iter().find(|one| one.process == *process) else {
        return Some("its process is gone".to_owned());
    };
    if let ProcessState::Failing { cause, restarts } = &one.state {
        return Some(format!("its process fails, {restarts} times so far: {cause}"));
    }
    if !is_running(one) {
        return Some("its process does not answer yet".to_owned());
    }
    let other = spec.as_ref().is_some_and(|spec| *spec != one.spec);
    other.then(|| "its process runs with other settings".to_owned())
}
