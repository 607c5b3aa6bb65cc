//! What the planner asks of an agent, and what it answers.
//!
//! One agent per host; it keeps a process per target, bucket, mover and mount (`DESIGN` §1, §5). Control only: no byte of a
//! file passes here.
//! Invariant: every request is idempotent; asking again for what is there changes nothing.

use serde::{Deserialize, Serialize};

use crate::id::{FsName, TargetId};
use crate::layout::{LayoutTemplate, OstIndex};

/// Names one process that an agent keeps, unique on its host.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ProcessId {
    /// A target of a cluster.
    Target(TargetId),
    /// The mover of a cluster.
    Mover(FsName),
    /// A mount, by its mount point.
    Mount(String),
    /// A bucket, by its name.
    Bucket(String),
}

/// How an object target stores bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Compression {
    /// As they are.
    None,
    /// LZ4 in chunks; chunks that do not shrink are stored as they are.
    Lz4,
}

/// A certificate and the authority that peers must be signed by, PEM. The key never leaves the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credential {
    /// The process's certificate.
    pub certificate: String,
    /// The cluster's authority.
    pub authority: String,
}

/// What a process is and all it needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "fields are explained by the variant and by their types")]
pub enum ProcessSpec {
    Metadata {
        target: TargetId,
        path: String,
        listen: String,
        default_layout: LayoutTemplate,
    },
    Object {
        target: TargetId,
        index: OstIndex,
        path: String,
        listen: String,
        capacity: u64,
        compression: Compression,
    },
    /// Moves data for all links of the cluster; `metadata` is where the metadata target answers.
    Mover {
        fs_name: FsName,
        metadata: String,
    },
    Mount {
        fs_name: FsName,
        metadata: String,
        path: String,
        options: Vec<String>,
    },
    /// Serves a folder as an S3 bucket; writes its keys to `credentials_file` (mode 0600) when that is absent.
    Bucket {
        name: String,
        path: String,
        listen: String,
        credentials_file: String,
    },
}

/// A condition that must hold before a plan can work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "fields are explained by the variant and by their types")]
pub enum Probe {
    /// The path is absent, or an empty directory, or one that this cluster's target already owns; and writable.
    TargetPath { path: String, target: TargetId, capacity: u64 },
    /// The mount point is absent or an empty directory, and nothing else is mounted there.
    MountPath { path: String },
    /// Nobody but our own process `owner` listens there.
    Port { address: String, owner: ProcessId },
    /// FUSE can be used by this user.
    Fuse,
    /// The folder exists and can be read.
    Folder { path: String },
    /// The bucket answers to these credentials.
    Repository { repository: crate::hsm::RepositoryEndpoint },
}

/// What came of a probe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ProbeResult {
    /// It holds.
    Ok,
    /// It does not.
    Failed {
        /// What is wrong, one sentence.
        cause: String,
        /// What to do, one sentence or a command.
        remedy: String,
    },
}

/// What may be asked of an agent. Only an administrator's certificate of the deployment gets an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "fields are explained by the variant and by their types")]
pub enum Request {
    /// Answered by `Facts`.
    Facts,
    /// Answered by `Probed`, in order.
    Probe { probes: Vec<Probe> },
    /// Makes a key for the process when it has none, and answers with a `Csr` for it.
    Enrol { process: ProcessId },
    /// Starts the process with this spec, or restarts it when the spec changed, and waits until it answers. `Process`.
    Ensure { process: ProcessId, spec: ProcessSpec, credential: Option<Credential> },
    /// Stops the process and forgets it. One whose certificate is not signed by `authority` (PEM) is another deployment's:
    /// it stays, and what was to be removed is not there. Answered by `Done`.
    Remove { process: ProcessId, data: DataFate, authority: Option<String> },
    /// Answered by `Processes`.
    Processes,
    /// Ends the agent; its processes must be removed before. Answered by `Done`.
    Shutdown,
    /// Answered by `Credentials`.
    Credentials,
    /// Has the process refuse these certificates, by their numbers, and no other ones; answered by `Done` once it does.
    Revoke { process: ProcessId, serials: Vec<String> },
}

/// What certificate an agent or a process has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certified {
    /// The certificate's number, hex: the same for all certificates of a key.
    pub serial: String,
    /// When it ends, in seconds since 1970.
    pub until: u64,
    /// Whether the process that runs shows this certificate, and knows what is revoked.
    pub taken: bool,
    /// The numbers of certificates that it refuses.
    pub revoked: Vec<String>,
}

/// What becomes of a process's files when it is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum DataFate {
    /// They stay.
    Keep,
    /// What the process created is deleted, and nothing else.
    Erase,
}

/// A request with the fencing token of the lock under which it is made; agents refuse a token lower than one they saw.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// The token; grows with every lock that is taken.
    pub token: u64,
    /// What is asked.
    pub request: Request,
}

/// How a process is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ProcessState {
    /// Started, not answering yet.
    Starting,
    /// Answers.
    Running {
        /// Its process number.
        pid: u32,
        /// How often it was restarted since the agent started.
        restarts: u32,
    },
    /// Ended and is being started again.
    Failing {
        /// The end of what it said.
        cause: String,
        /// How often it was restarted since the agent started.
        restarts: u32,
    },
}

/// A process and how it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessStatus {
    /// Which.
    pub process: ProcessId,
    /// What it is.
    pub spec: ProcessSpec,
    /// How it is.
    pub state: ProcessState,
    /// Peak resident memory in bytes, when it runs.
    pub memory_peak: Option<u64>,
    /// CPU time used, in milliseconds, when it runs.
    pub cpu_ms: Option<u64>,
}

/// What an agent reads from `agent.json` in its folder when it starts, beside `key.pem` (made there by
/// `lustre-agent enrol --dir`, which prints a signing request), `cert.pem` and `ca.pem`. The planner writes the last three
/// and then runs `lustre-agent start --dir`, which returns when the agent listens and does nothing when one with the same
/// binary, settings and certificate runs already; one that differs is replaced, its processes go on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentSettings {
    /// `address:port` of control.
    pub listen: String,
}

/// What a host is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Facts {
    pub agent_version: String,
    /// SHA-256 of the agent's binary, hex.
    pub agent_hash: String,
    pub hostname: String,
    pub architecture: String,
    pub kernel: String,
    pub uid: u32,
    pub cores: u32,
    pub memory: u64,
}

/// What an agent answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "fields are explained by the variant and by their types")]
pub enum Reply {
    Done,
    Facts { facts: Facts },
    Probed { results: Vec<ProbeResult> },
    Csr { pem: String },
    Process { status: ProcessStatus },
    Processes { processes: Vec<ProcessStatus> },
    Credentials { agent: Certified, processes: Vec<(ProcessId, Certified)> },
}

/// Why an agent did not do it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    /// A newer lock was seen.
    #[error("refused: the lock's token {given} is older than {seen}; another apply took over")]
    Fenced {
        /// The token of the call.
        given: u64,
        /// The highest seen.
        seen: u64,
    },
    /// The process could not be started or did not answer in time.
    #[error("{cause}")]
    NotStarted {
        /// What is wrong, with the end of what the process said.
        cause: String,
        /// What to do.
        remedy: String,
    },
    /// The request does not fit what is there.
    #[error("{cause}")]
    Conflict {
        /// What is in the way.
        cause: String,
        /// What to do.
        remedy: String,
    },
    /// The peer's certificate is not an administrator's.
    #[error("this certificate may not control the agent")]
    NotAdministrator,
}

/// A reply or a refusal.
pub type Answer = Result<Reply, Refusal>;
