//! What hosts report now: which recorded objects are not as recorded, and whether a plan's conditions hold.
//!
//! Changes nothing and starts nothing, apart from running the agent's own binary to probe a host that has no agent yet; on another
//! machine it is removed at once.
//! Invariant: what cannot be found out is reported as such; silence never counts as health.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream;
use lustre_model::address::Address;
use lustre_model::control::{
    Certified, Facts, Probe, ProbeResult, ProcessId, ProcessSpec, ProcessState, ProcessStatus,
};
use lustre_model::hsm::LinkStatus;
use lustre_model::id::{FsName, TargetId, TargetKind};
use lustre_model::metadata;
use lustre_model::moment::rfc3339;
use lustre_model::object;
use lustre_model::recorded::{Object, Status, World};
use lustre_model::resource::{HostSpec, Kind, Resource};
use lustre_model::space::{OwnRoom, capacities};
use lustre_wire::client::Connection;
use lustre_wire::{Object as ObjectProtocol, Subject};

use crate::bootstrap::{AgentBinary, check_machine, connection};
use crate::clock;
use crate::cloud::Observed;
use crate::connection::{Command, ConnectionError, succeeded};
use crate::credential;
use crate::error::StepError;
use crate::fleet::{Agent, ClusterView, host_spec, is_running, realm};
use crate::trust::{self, Realm, recorded_deployment};

/// How long one attempt to reach an object target may take.
const SPACE_MAX: Duration = Duration::from_secs(2);

/// How many digits of a hash are shown.
const HASH_SHOWN: usize = 12;

/// What one host reports.
pub struct HostReport {
    /// Which.
    pub host: Address,
    /// What its agent keeps, or why that is not known.
    pub processes: Result<Vec<ProcessStatus>, StepError>,
    /// What its agent is, where it says so.
    pub facts: Option<Facts>,
    /// What certificates they have, where its agent can say so.
    pub credentials: Option<Credentials>,
}

impl HostReport {
    /// Returns whose certificates end within a month, and when: the agent's, or a process's.
    pub fn ending(&self) -> Vec<(Option<&ProcessId>, u64)> {
        let Some(credentials) = &self.credentials else { return Vec::new() };
        let agent = (None, credentials.agent.until);
        let processes = credentials.processes.iter().map(|(process, one)| (Some(process), one.until));
        std::iter::once(agent).chain(processes).filter(|(_, until)| trust::ends_soon(*until)).collect()
    }
}

/// What certificates the agent of a host and its processes have.
pub struct Credentials {
    /// The agent's own.
    pub agent: Certified,
    /// Those of its processes.
    pub processes: BTreeMap<ProcessId, Certified>,
}

/// What one cluster reports.
pub struct ClusterReport {
    /// Which.
    pub cluster: Address,
    /// How it is, or why that is not known.
    pub view: Result<ClusterState, StepError>,
}

/// How a cluster is.
pub struct ClusterState {
    /// Files, directories and all else that has a name.
    pub inodes: u64,
    /// How many more there can be.
    pub inodes_free: u64,
    /// Its object targets.
    pub targets: Vec<TargetReport>,
    /// Its links.
    pub links: Vec<LinkStatus>,
}

/// How an object target is.
pub struct TargetReport {
    /// What the metadata target knows of it.
    pub entry: metadata::TargetEntry,
    /// What it stores, or why that is not known.
    pub space: Result<Space, String>,
}

impl TargetReport {
    fn space(&self) -> Option<&Space> {
        self.space.as_ref().ok()
    }
}

/// What an object target stores, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// What it can store, where targets that share a disk share its room: [`capacities`].
    pub capacity: u64,
    /// What is stored, after compression.
    pub used: u64,
    /// How many objects.
    pub objects: u64,
    /// The file system that it lies on, and what that has free.
    disk: (u64, u64),
}

/// Counts every disk once among the targets that answered.
fn share_disks(targets: &mut [TargetReport]) {
    let rooms: Vec<OwnRoom> = targets
        .iter()
        .filter_map(TargetReport::space)
        .map(|&Space { capacity, used, disk: (disk, disk_free), .. }| OwnRoom {
            used,
            capacity,
            disk,
            disk_free,
        })
        .collect();
    let answered = targets.iter_mut().filter_map(|target| target.space.as_mut().ok());
    for (space, capacity) in answered.zip(capacities(&rooms)) {
        space.capacity = capacity;
    }
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
        let reports = hosts.map(|(host, _)| self.host(host));
        let reports: Vec<_> = reports.collect();
        stream::iter(reports).buffer_unordered(self.parallelism).collect().await
    }

    async fn host(&self, host: &Address) -> HostReport {
        let asked = async {
            let spec = host_spec(&self.world, host)?;
            let agent = self.agent(host, &spec).await?;
            let agent = agent.ok_or_else(|| StepError::NoAgent { host: Box::new(host.clone()) })?;
            let (processes, facts) = (agent.processes().await?, agent.facts().await?);
            // An agent of an older release does not know the question; the plan replaces it.
            Ok((processes, facts, agent.credentials().await.ok()))
        };
        let host = host.clone();
        match asked.await {
            Ok((processes, facts, credentials)) => {
                let credentials = credentials
                    .map(|(agent, each)| Credentials { agent, processes: each.into_iter().collect() });
                HostReport { host, processes: Ok(processes), facts: Some(facts), credentials }
            }
            Err(error) => HostReport { host, processes: Err(error), facts: None, credentials: None },
        }
    }

    /// Reads the agent's program, where there is one, so that [`Observer::outdated`] need not.
    pub async fn read_agent(binary: &Path) {
        if let Err(error) = AgentBinary::new(binary.to_owned()).hash().await {
            tracing::debug!(%error, "no agent to compare others with");
        }
    }

    /// Returns the hosts whose agent is another one than `binary`, each with both: what an apply replaces. None where there is no
    /// such program, for then nothing can be put on hosts.
    pub async fn outdated(reports: &[HostReport], binary: PathBuf) -> BTreeMap<Address, String> {
        let binary = AgentBinary::new(binary);
        let mut outdated = BTreeMap::new();
        for report in reports {
            let (Some(facts), Ok(ours)) = (&report.facts, binary.hash().await) else { continue };
            if facts.agent_hash != ours {
                let cause = format!(
                    "its agent is {}, and the one beside this program is {}",
                    release(&facts.agent_version, &facts.agent_hash),
                    release(env!("CARGO_PKG_VERSION"), ours)
                );
                outdated.insert(report.host.clone(), cause);
            }
        }
        outdated
    }

    /// Returns the objects whose certificate gets a successor with an apply, each with the day on which it ends.
    pub fn ending(&self, reports: &[HostReport]) -> BTreeMap<Address, String> {
        let known: BTreeMap<&Address, &Credentials> =
            reports.iter().filter_map(|report| Some((&report.host, report.credentials.as_ref()?))).collect();
        let agents = known.iter().map(|(host, credentials)| ((*host).clone(), credentials.agent.until));
        let objects = self.world.objects.iter().filter_map(|(address, object)| {
            let (host, process, _) = expected(object)?;
            Some((address.clone(), known.get(&host)?.processes.get(&process)?.until))
        });
        let due = agents.chain(objects).filter(|(_, until)| trust::is_due(*until));
        due.map(|(address, until)| (address, format!("its certificate ends on {}", rfc3339(until)))).collect()
    }

    async fn agent(&self, host: &Address, spec: &HostSpec) -> Result<Option<Agent>, StepError> {
        let Some(realm) = &self.realm else { return Ok(None) };
        Agent::find(realm, self.token, host, spec).await
    }

    /// Returns the recorded objects that do not run as recorded, each with what is wrong.
    pub fn drifted(&self, reports: &[HostReport]) -> BTreeMap<Address, String> {
        let mut drift = BTreeMap::new();
        for report in reports {
            if let Err(error) = &report.processes {
                drift.insert(report.host.clone(), error.causes().join(": "));
            }
        }
        let kept: BTreeMap<&Address, &HostReport> =
            reports.iter().map(|report| (&report.host, report)).collect();
        for (address, object) in &self.world.objects {
            let Some((host, process, spec)) = expected(object) else { continue };
            let found = kept.get(&host).map(|report| report.processes.as_ref());
            let known = kept.get(&host).and_then(|report| report.credentials.as_ref());
            let cause = missing(found, &process, &spec).or_else(|| self.credulous(object, known?, &process));
            if let Some(cause) = cause {
                drift.insert(address.clone(), cause);
            }
        }
        drift
    }

    /// Says so when a target does not refuse all that is revoked.
    fn credulous(&self, object: &Object, known: &Credentials, process: &ProcessId) -> Option<String> {
        let Ok(Resource::Target(target)) = Resource::from_attributes(object.kind, &object.attributes) else {
            return None;
        };
        let revoked = credential::revoked(&self.world, &target.cluster).ok()?;
        let refused = &known.processes.get(process)?.revoked;
        let accepts = revoked.iter().any(|serial| !refused.contains(serial));
        accepts.then(|| "it still accepts certificates that are revoked".to_owned())
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
            return ask_agent(&agent, spec, probes).await;
        }
        let results = probe_bare(host, spec, binary, &probes).await?;
        // An agent that an apply started before it died may have come up meanwhile: it is who has the port then.
        if control_port(spec, &probes).any(|at| matches!(results.get(at), Some(ProbeResult::Failed { .. })))
            && let Ok(Some(agent)) = self.agent(host, spec).await
        {
            return ask_agent(&agent, spec, probes).await;
        }
        Ok(results)
    }

    /// Asks the metadata target of every recorded cluster, and each object target that it knows.
    pub async fn clusters(&self) -> Vec<ClusterReport> {
        let clusters = self.world.objects.iter().filter(|(_, object)| object.kind == Kind::Cluster);
        let reports = clusters.map(|(cluster, _)| async move {
            ClusterReport { cluster: cluster.clone(), view: self.cluster(cluster).await }
        });
        let reports: Vec<_> = reports.collect();
        stream::iter(reports).buffer_unordered(self.parallelism).collect().await
    }

    /// Asks the metadata target of a recorded cluster for its links.
    pub async fn links(&self, cluster: &Address) -> Result<Vec<LinkStatus>, StepError> {
        let view = ClusterView::open(&self.world, cluster).await?;
        let asked = view.ask("list its links", metadata::Request::Links).await?;
        let metadata::Reply::Links { links } = asked else {
            return Err(StepError::Unfitting { host: Box::new(cluster.clone()), asked: "links" });
        };
        Ok(links)
    }

    async fn cluster(&self, cluster: &Address) -> Result<ClusterState, StepError> {
        let unfitting = |asked| StepError::Unfitting { host: Box::new(cluster.clone()), asked };
        let view = ClusterView::open(&self.world, cluster).await?;
        let links = self.links(cluster).await?;
        let asked = view.ask("count its files", metadata::Request::Statistics).await?;
        let metadata::Reply::Statistics { inodes, inodes_free } = asked else {
            return Err(unfitting("statistics"));
        };
        let asked = view.ask("list its targets", metadata::Request::Targets).await?;
        let metadata::Reply::Targets { targets } = asked else { return Err(unfitting("targets")) };
        let realm = realm(&self.world, cluster)?;
        let fs_name = &view.fs_name;
        let active = targets.into_iter().filter(|entry| entry.state == metadata::TargetState::Active);
        let spaces = active.map(|entry| {
            let realm = &realm;
            async move {
                let space = space(realm, fs_name, &entry).await;
                TargetReport { entry, space }
            }
        });
        let spaces: Vec<_> = spaces.collect();
        let mut targets: Vec<TargetReport> =
            stream::iter(spaces).buffer_unordered(self.parallelism).collect().await;
        targets.sort_by_key(|target| target.entry.index);
        share_disks(&mut targets);
        Ok(ClusterState { inodes, inodes_free, targets, links })
    }
}

/// Names a release of the agent: its version, and the beginning of its program's hash.
fn release(version: &str, hash: &str) -> String {
    format!("{version} ({})", hash.get(..HASH_SHOWN).unwrap_or(hash))
}

/// Which of these probes are about the port of the host's own agent.
fn control_port<'a>(spec: &HostSpec, probes: &'a [Probe]) -> impl Iterator<Item = usize> + use<'a> {
    let control = spec.control_address();
    let is_control = move |probe: &Probe| matches!(probe, Probe::Port { address, .. } if *address == control);
    probes.iter().enumerate().filter(move |(_, probe)| is_control(probe)).map(|(at, _)| at)
}

/// Asks an agent; the port on which it answers is taken by nobody else.
async fn ask_agent(
    agent: &Agent,
    spec: &HostSpec,
    probes: Vec<Probe>,
) -> Result<Vec<ProbeResult>, StepError> {
    let own: Vec<usize> = control_port(spec, &probes).collect();
    let mut results = agent.probe(probes).await?;
    for at in own {
        if let Some(result) = results.get_mut(at) {
            *result = ProbeResult::Ok;
        }
    }
    Ok(results)
}

/// Has the agent's binary look at a host that has no agent. It is no guest for longer than that: the same checks in `sh` would be
/// others, sooner or later.
async fn probe_bare(
    host: &Address,
    spec: &HostSpec,
    binary: &Path,
    probes: &[Probe],
) -> Result<Vec<ProbeResult>, StepError> {
    let connection = connection(host, spec);
    clock::check(connection.as_ref(), host, spec).await?;
    let unreadable =
        |source: serde_json::Error| ConnectionError::File { host: host.to_string(), source: source.into() };
    let mut command = Command::new(PathBuf::from(binary), &["probe"]);
    command.input = serde_json::to_vec(probes).map_err(unreadable)?;
    check_machine(connection.as_ref(), host, spec).await?;
    let said = connection.visit(&command).await?;
    let said = succeeded(connection.as_ref(), &command, said)?;
    let results: Vec<ProbeResult> = serde_json::from_slice(&said).map_err(unreadable)?;
    if results.len() == probes.len() {
        Ok(results)
    } else {
        Err(StepError::Unfitting { host: Box::new(host.clone()), asked: "probes" })
    }
}

/// Asks an object target for its space; says why when it cannot.
async fn space(realm: &Realm, fs_name: &FsName, entry: &metadata::TargetEntry) -> Result<Space, String> {
    let target = TargetId { fs_name: fs_name.clone(), kind: TargetKind::Ost, index: entry.index.0 };
    let peer = Subject::target(&target);
    let (connection, _) =
        Connection::<ObjectProtocol>::connect_to(&entry.address, &peer, realm.administrator(), SPACE_MAX)
            .await
            .map_err(|error| error.to_string())?;
    let (answer, _) =
        connection.call(&object::Request::Space, Bytes::new()).await.map_err(|error| error.to_string())?;
    let answer = answer.map_err(|fault| fault.to_string())?;
    let object::Reply::Space { capacity, used, objects, disk, disk_free } = answer else {
        return Err("it gave an answer that does not belong to the question".to_owned());
    };
    Ok(Space { capacity, used, objects, disk: (disk, disk_free) })
}

/// Returns the world with each object that drifted marked so, for a plan that makes it whole; the same where none did.
pub fn as_observed(world: &Arc<World>, drift: &BTreeMap<Address, String>) -> Arc<World> {
    if drift.is_empty() {
        return Arc::clone(world);
    }
    let mut observed = World::clone(world);
    for (address, cause) in drift {
        if let Some(object) =
            observed.objects.get_mut(address).filter(|object| object.status == Status::Present)
        {
            object.status = Status::Drifted { cause: cause.clone() };
        }
    }
    Arc::new(observed)
}

/// Returns the world with each object that is gone, or not as recorded, marked so.
pub fn as_found(world: Arc<World>, found: &BTreeMap<Address, Observed>) -> Arc<World> {
    if found.is_empty() {
        return world;
    }
    let mut observed = World::clone(&world);
    for (address, how) in found {
        let Some(object) =
            observed.objects.get_mut(address).filter(|object| object.status == Status::Present)
        else {
            continue;
        };
        match how {
            Observed::Same => {}
            Observed::Drifted(cause) => object.status = Status::Drifted { cause: cause.clone() },
            Observed::Gone(cause) => object.status = Status::Gone { cause: cause.clone() },
        }
    }
    Arc::new(observed)
}

/// Returns the host on which a recorded object's process runs; `None` when it has no process.
pub fn host_of(world: &World, address: &Address) -> Option<Address> {
    Some(expected(world.objects.get(address)?)?.0)
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
        Resource::Host(_)
        | Resource::Cluster(_)
        | Resource::Value(_)
        | Resource::SecurityGroup(_)
        | Resource::Instance(_) => None,
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
