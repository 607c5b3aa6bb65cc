//! The agents of the hosts that a state knows, and the metadata targets of its clusters, connected to when needed.
//!
//! Finding, starting and asking; what is asked is decided by the steps. A connection that broke is made again by the
//! next who asks.
//! Invariant: every call carries the fencing token of the lock that is held.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use lustre_model::address::Address;
use lustre_model::control::{self, Call, Certified, Credential, ProcessId, ProcessSpec, ProcessStatus};
use lustre_model::id::{FsName, TargetId, TargetKind};
use lustre_model::metadata;
use lustre_model::recorded::World;
use lustre_model::resource::{ClusterSpec, HostSpec, Kind, Resource};
use lustre_wire::client::Connection;
use lustre_wire::{Control, Identity, Metadata, Refusal, Role, Subject, WireError};

use crate::bootstrap::{self, AgentBinary, Coming};
use crate::connection;
use crate::error::StepError;
use crate::trust::{self, Deployment, Realm, cluster_realm};
use crate::upgrade::{self, Before};

/// How long one attempt to connect may take.
const CONNECT_MAX: Duration = Duration::from_secs(5);

/// How long a daemon that was just started may take until it answers.
const START_MAX: Duration = Duration::from_secs(20);

/// Pause between attempts to connect to a daemon that was just started.
const START_PAUSE: Duration = Duration::from_millis(20);

/// How long an agent may take for a request; starting a process counts in.
const REQUEST_MAX: Duration = Duration::from_mins(3);

/// A slot that one task at a time fills.
type Slot<T> = Arc<tokio::sync::Mutex<Option<T>>>;

/// All agents and metadata targets.
pub struct Fleet {
    token: u64,
    deployment: Deployment,
    binary: AgentBinary,
    agents: Mutex<BTreeMap<Address, Slot<Connection<Control>>>>,
    clusters: Mutex<BTreeMap<Address, Slot<ClusterView>>>,
    ways: Mutex<BTreeMap<Address, Way>>,
    /// Held by who replaces an agent; where that did not work, once it did not.
    upgrades: tokio::sync::Mutex<Option<Address>>,
}

/// How a host is reached before its agent answers, and the spec that says so.
type Way = (HostSpec, Arc<dyn connection::Connection>);

/// An agent that answers.
#[derive(Clone)]
pub struct Agent {
    /// Its host.
    pub host: Address,
    token: u64,
    connection: Connection<Control>,
}

/// A metadata target that answers to the cluster's administrator.
#[derive(Clone)]
pub struct ClusterView {
    cluster: Address,
    /// The file system's name.
    pub fs_name: FsName,
    connection: Connection<Metadata>,
}

impl Fleet {
    /// Knows nobody yet. `binary` is the agent that is put on hosts; `token` that of the lock that is held.
    pub fn new(token: u64, deployment: Deployment, binary: PathBuf) -> Self {
        Self {
            token,
            deployment,
            binary: AgentBinary::new(binary),
            agents: Mutex::new(BTreeMap::new()),
            clusters: Mutex::new(BTreeMap::new()),
            ways: Mutex::new(BTreeMap::new()),
            upgrades: tokio::sync::Mutex::new(None),
        }
    }

    /// Returns the way to a host: one connection for all that is done there.
    pub fn way(&self, host: &Address, spec: &HostSpec) -> Arc<dyn connection::Connection> {
        let mut ways = self.ways.lock().unwrap_or_else(PoisonError::into_inner);
        match ways.get(host) {
            Some((known, way)) if known == spec => Arc::clone(way),
            Some(_) | None => {
                let way = bootstrap::connection(host, spec);
                ways.insert(host.clone(), (spec.clone(), Arc::clone(&way)));
                way
            }
        }
    }

    /// Brings the agent of a host up and connects to it. Where it takes the place of another one, it is one host after the other,
    /// and none any more once a new agent did not work.
    async fn bring_up(&self, host: &Address, spec: &HostSpec) -> Result<Connection<Control>, StepError> {
        let way = self.way(host, spec);
        let coming = bootstrap::prepare(way.as_ref(), (host, spec), &self.binary).await?;
        let Some(before) = &coming.before else { return self.try_out((host, spec), &coming).await };
        let mut failed = self.upgrades.lock().await;
        if let Some(failed) = failed.as_ref() {
            return Err(StepError::Held { host: Box::new(host.clone()), failed: Box::new(failed.clone()) });
        }
        let host_box = || Box::new(host.clone());
        match self.try_out((host, spec), &coming).await {
            Ok(connection) => {
                upgrade::forget(way.as_ref(), &spec.path).await?;
                Ok(connection)
            }
            Err(StepError::Connection(source)) if source.is_lost() => Err(StepError::Connection(source)),
            Err(source) => {
                *failed = Some(host.clone());
                let source = Box::new(source);
                Err(match put_back(way.as_ref(), &spec.path, before).await {
                    Ok(()) => StepError::PutBack { host: host_box(), source },
                    Err(cause) => StepError::NotPutBack { host: host_box(), cause: Box::new(cause), source },
                })
            }
        }
    }

    /// Starts an agent, and connects to it once it is this one that answers.
    async fn try_out(
        &self,
        (host, spec): (&Address, &HostSpec),
        coming: &Coming,
    ) -> Result<Connection<Control>, StepError> {
        let (realm, way) = (self.deployment.realm().await?, self.way(host, spec));
        bootstrap::start(way.as_ref(), (host, spec), (realm, coming)).await?;
        let (address, begun) = (spec.control_address(), Instant::now());
        loop {
            let connection = match connect_until(&address, realm.administrator(), START_MAX).await {
                Ok(connection) => connection,
                Err(source @ (WireError::Unreachable { .. } | WireError::TimedOut { .. })) => {
                    return Err(bootstrap::silent(way.as_ref(), (host, spec), source).await);
                }
                Err(source) => {
                    return Err(StepError::Agent { host: Box::new(host.clone()), source: Box::new(source) });
                }
            };
            match self.answering(host, &connection).facts().await {
                Ok(facts) if facts.agent_hash == coming.hash => return Ok(connection),
                // The one before may be heard until it has ended.
                Ok(_) | Err(StepError::Agent { .. }) if begun.elapsed() < START_MAX => {
                    tokio::time::sleep(START_PAUSE).await;
                }
                Ok(_) => return Err(StepError::OtherAgent { host: Box::new(host.clone()), address }),
                Err(error) => return Err(error),
            }
        }
    }

    /// Returns the agent of a recorded host, starting it again when it does not answer.
    pub async fn agent(&self, world: &World, host: &Address) -> Result<Agent, StepError> {
        let spec = host_spec(world, host)?;
        self.agent_with(host, &spec).await
    }

    /// Returns the agent of a host with this spec, bringing it up when it does not answer.
    pub async fn agent_with(&self, host: &Address, spec: &HostSpec) -> Result<Agent, StepError> {
        let slot = slot(&self.agents, host);
        let mut connection = slot.lock().await;
        if let Some(open) = connection.as_ref().filter(|open| !open.is_closed()) {
            return Ok(self.answering(host, open));
        }
        let realm = self.deployment.realm().await?;
        let fresh = match connect(&spec.control_address(), realm.administrator()).await {
            Ok(fresh) => fresh,
            // An agent of another release may not understand us.
            Err(
                WireError::Unreachable { .. }
                | WireError::TimedOut { .. }
                | WireError::Refused { source: Refusal::Version { .. }, .. },
            ) => self.bring_up(host, spec).await?,
            Err(source) => {
                return Err(StepError::Agent { host: Box::new(host.clone()), source: Box::new(source) });
            }
        };
        *connection = Some(fresh.clone());
        Ok(self.answering(host, &fresh))
    }

    /// Puts the agent on a host, or what is missing of it, starts it, and returns it when it answers.
    pub async fn bootstrap(&self, host: &Address, spec: &HostSpec) -> Result<Agent, StepError> {
        let connection = self.bring_up(host, spec).await?;
        *slot(&self.agents, host).lock().await = Some(connection.clone());
        Ok(self.answering(host, &connection))
    }

    /// Forgets the connection to a host's agent.
    pub async fn forget(&self, host: &Address) {
        *slot(&self.agents, host).lock().await = None;
    }

    fn answering(&self, host: &Address, connection: &Connection<Control>) -> Agent {
        Agent { host: host.clone(), token: self.token, connection: connection.clone() }
    }

    /// Asks the metadata target of a recorded cluster as its administrator.
    pub async fn administer(
        &self,
        world: &World,
        cluster: &Address,
        what: &'static str,
        request: metadata::Request,
    ) -> Result<metadata::Reply, StepError> {
        self.view(world, cluster).await?.ask(what, request).await
    }

    async fn view(&self, world: &World, cluster: &Address) -> Result<ClusterView, StepError> {
        let slot = slot(&self.clusters, cluster);
        let mut known = slot.lock().await;
        if let Some(view) = known.as_ref().filter(|view| !view.connection.is_closed()) {
            return Ok(view.clone());
        }
        Ok(known.insert(ClusterView::open(world, cluster).await?).clone())
    }
}

impl ClusterView {
    /// Connects to the metadata target as the cluster's administrator.
    pub async fn open(world: &World, address: &Address) -> Result<Self, StepError> {
        let spec = cluster_spec(world, address)?;
        let realm = cluster_realm(world, address, spec.fs_name.as_str())?;
        let target = TargetId { fs_name: spec.fs_name.clone(), kind: TargetKind::Mdt, index: 0 };
        let peer = Subject::target(&target);
        let (connection, _) =
            Connection::connect_to(&spec.metadata_address, &peer, realm.administrator(), CONNECT_MAX)
                .await
                .map_err(|source| StepError::Metadata {
                cluster: Box::new(address.clone()),
                source: Box::new(source),
            })?;
        Ok(Self { cluster: address.clone(), fs_name: spec.fs_name, connection })
    }

    /// Asks once; `what` completes "the metadata target could not …".
    pub async fn ask(
        &self,
        what: &'static str,
        request: metadata::Request,
    ) -> Result<metadata::Reply, StepError> {
        let call = metadata::Call {
            session: metadata::SessionId(0),
            xid: metadata::Xid(0),
            acknowledged: metadata::Xid(0),
            request,
        };
        let failed = |source| StepError::Metadata {
            cluster: Box::new(self.cluster.clone()),
            source: Box::new(source),
        };
        let (answer, _) = self.connection.call(&call, Bytes::new()).await.map_err(failed)?;
        answer.map_err(|source| StepError::MetadataRefused {
            cluster: Box::new(self.cluster.clone()),
            what,
            source,
        })
    }
}

impl Agent {
    /// Returns the agent of a host only when it answers now; starts nothing.
    pub async fn find(
        realm: &Realm,
        token: u64,
        host: &Address,
        spec: &HostSpec,
    ) -> Result<Option<Self>, StepError> {
        match connect(&spec.control_address(), realm.administrator()).await {
            Ok(connection) => Ok(Some(Self { host: host.clone(), token, connection })),
            Err(WireError::Unreachable { .. } | WireError::TimedOut { .. }) => Ok(None),
            Err(source) => Err(StepError::Agent { host: Box::new(host.clone()), source: Box::new(source) }),
        }
    }

    /// Asks once.
    pub async fn ask(&self, request: control::Request) -> Result<control::Reply, StepError> {
        let call = Call { token: self.token, request };
        let failed =
            |source| StepError::Agent { host: Box::new(self.host.clone()), source: Box::new(source) };
        let answer = match tokio::time::timeout(REQUEST_MAX, self.connection.call(&call, Bytes::new())).await
        {
            Ok(answered) => answered.map_err(failed)?.0,
            Err(_) => return Err(StepError::Stalled { what: "the agent's request", limit: REQUEST_MAX }),
        };
        answer.map_err(|source| StepError::Refused { host: Box::new(self.host.clone()), source })
    }

    fn unfitting(&self, asked: &'static str) -> StepError {
        StepError::Unfitting { host: Box::new(self.host.clone()), asked }
    }

    /// Returns what the host is.
    pub async fn facts(&self) -> Result<control::Facts, StepError> {
        let control::Reply::Facts { facts } = self.ask(control::Request::Facts).await? else {
            return Err(self.unfitting("facts"));
        };
        Ok(facts)
    }

    /// Returns what it keeps.
    pub async fn processes(&self) -> Result<Vec<ProcessStatus>, StepError> {
        let control::Reply::Processes { processes } = self.ask(control::Request::Processes).await? else {
            return Err(self.unfitting("processes"));
        };
        Ok(processes)
    }

    /// Returns what came of these probes, in order.
    pub async fn probe(&self, probes: Vec<control::Probe>) -> Result<Vec<control::ProbeResult>, StepError> {
        let asked = probes.len();
        let reply = self.ask(control::Request::Probe { probes }).await?;
        if let control::Reply::Probed { results } = reply
            && results.len() == asked
        {
            return Ok(results);
        }
        Err(self.unfitting("probes"))
    }

    /// Returns what certificate it has, and those of its processes.
    pub async fn credentials(&self) -> Result<(Certified, Vec<(ProcessId, Certified)>), StepError> {
        let reply = self.ask(control::Request::Credentials).await?;
        let control::Reply::Credentials { agent, processes } = reply else {
            return Err(self.unfitting("credentials"));
        };
        Ok((agent, processes))
    }

    /// Has a process refuse these certificates, and no others.
    pub async fn revoke(&self, process: ProcessId, serials: Vec<String>) -> Result<(), StepError> {
        let reply = self.ask(control::Request::Revoke { process, serials }).await?;
        if reply == control::Reply::Done { Ok(()) } else { Err(self.unfitting("revoke")) }
    }

    /// Tells whether a process's certificate is to get a successor.
    async fn is_due(&self, process: &ProcessId) -> Result<bool, StepError> {
        let (_, processes) = self.credentials().await?;
        Ok(processes.iter().any(|(one, certified)| one == process && trust::is_due(certified.until)))
    }

    /// Tells whether the process runs with exactly this spec.
    pub async fn runs(&self, process: &ProcessId, spec: &ProcessSpec) -> Result<bool, StepError> {
        let kept = self.processes().await?;
        Ok(kept.iter().any(|one| one.process == *process && one.spec == *spec && is_running(one)))
    }

    /// Has a key made for the process, and signs it.
    pub async fn enrol(
        &self,
        realm: &Realm,
        role: Role,
        process: &ProcessId,
        name: &str,
    ) -> Result<Credential, StepError> {
        let reply = self.ask(control::Request::Enrol { process: process.clone() }).await?;
        let control::Reply::Csr { pem } = reply else { return Err(self.unfitting("enrol")) };
        Ok(realm.sign(&pem, role, name)?)
    }

    /// Makes sure that the process runs, and answers.
    pub async fn ensure(
        &self,
        process: ProcessId,
        spec: ProcessSpec,
        credential: Option<Credential>,
    ) -> Result<(), StepError> {
        let reply = self.ask(control::Request::Ensure { process, spec, credential }).await?;
        if let control::Reply::Process { status } = reply
            && is_running(&status)
        {
            return Ok(());
        }
        Err(self.unfitting("ensure"))
    }

    /// Makes sure that a process runs with this spec under a certificate of its cluster that bears this name.
    pub async fn ensure_signed(
        &self,
        realm: &Realm,
        role: Role,
        name: &str,
        (process, spec): (ProcessId, ProcessSpec),
    ) -> Result<(), StepError> {
        if self.runs(&process, &spec).await? && !self.is_due(&process).await? {
            return Ok(());
        }
        let credential = self.enrol(realm, role, &process, name).await?;
        self.ensure(process, spec, Some(credential)).await
    }

    /// Stops the process and forgets it; one that is not there is fine.
    ///
    /// With the realm of its cluster, one that another deployment made under the same name stays as it is.
    pub async fn remove(
        &self,
        process: ProcessId,
        data: control::DataFate,
        realm: Option<&Realm>,
    ) -> Result<(), StepError> {
        let authority = realm.map(|realm| realm.authority_pem().to_owned());
        let reply = self.ask(control::Request::Remove { process, data, authority }).await?;
        if reply == control::Reply::Done { Ok(()) } else { Err(self.unfitting("remove")) }
    }
}

/// Tells whether a process answers.
pub fn is_running(status: &ProcessStatus) -> bool {
    match status.state {
        control::ProcessState::Running { .. } => true,
        control::ProcessState::Starting | control::ProcessState::Failing { .. } => false,
    }
}

/// Returns the recorded spec of a host.
pub fn host_spec(world: &World, host: &Address) -> Result<HostSpec, StepError> {
    let missing = || StepError::NoHost { host: Box::new(host.clone()) };
    let object = world.objects.get(host).ok_or_else(missing)?;
    if let Resource::Host(spec) = Resource::from_attributes(Kind::Host, &object.attributes)? {
        Ok(spec)
    } else {
        Err(missing())
    }
}

/// Returns who signs for a recorded cluster.
pub fn realm(world: &World, cluster: &Address) -> Result<Realm, StepError> {
    let spec = cluster_spec(world, cluster)?;
    Ok(cluster_realm(world, cluster, spec.fs_name.as_str())?)
}

/// Returns the recorded spec of a cluster.
pub fn cluster_spec(world: &World, cluster: &Address) -> Result<ClusterSpec, StepError> {
    let missing = || StepError::NoHost { host: Box::new(cluster.clone()) };
    let object = world.objects.get(cluster).ok_or_else(missing)?;
    if let Resource::Cluster(spec) = Resource::from_attributes(Kind::Cluster, &object.attributes)? {
        Ok(spec)
    } else {
        Err(missing())
    }
}

fn slot<T>(slots: &Mutex<BTreeMap<Address, Slot<T>>>, address: &Address) -> Slot<T> {
    let mut slots = slots.lock().unwrap_or_else(PoisonError::into_inner);
    Arc::clone(slots.entry(address.clone()).or_default())
}

/// Has the agent run again that ran before, and forgets that there was another one.
async fn put_back(way: &dyn connection::Connection, folder: &str, before: &Before) -> Result<(), StepError> {
    upgrade::put_back(way, folder, before).await?;
    Ok(upgrade::forget(way, folder).await?)
}

async fn connect(address: &str, identity: &Identity) -> Result<Connection<Control>, WireError> {
    Connection::connect(address, identity, CONNECT_MAX).await.map(|(connection, _)| connection)
}

/// Connects to a daemon that was just started, giving it time to listen.
async fn connect_until(
    address: &str,
    identity: &Identity,
    limit: Duration,
) -> Result<Connection<Control>, WireError> {
    let begun = Instant::now();
    loop {
        match connect(address, identity).await {
            Err(WireError::Unreachable { .. } | WireError::TimedOut { .. }) if begun.elapsed() < limit => {
                tokio::time::sleep(START_PAUSE).await;
            }
            ended => return ended,
        }
    }
}
