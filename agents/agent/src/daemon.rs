//! The agent's own life: enrolling, running, starting in the background, being replaced.
//!
//! Prints nothing; the program above does.
//! Invariant: one agent per folder. A second one is refused by the lock, not by looking first.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use lustre_model::control::{self, AgentSettings};
use lustre_wire::{Control, Identity, IdentityError, WireError};
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use thiserror::Error;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::control::{ControlService, Fence};
use crate::durable;
use crate::facts::program_hash;
use crate::keeper::end;
use crate::log_tail::{LogTail, trim_log};
use crate::notify::Notifier;
use crate::probe::{self, RepositoryProbe};
use crate::running::Proof;
use crate::supervisor::{Supervisor, SupervisorError, signing_request};
use crate::termination;

/// Time from start to listening.
const START_MAX: Duration = Duration::from_secs(20);

/// Pause between looks whether a started agent listens.
const START_PAUSE: Duration = Duration::from_millis(20);

/// Says on the command line of `run` that it shall leave its caller's session.
pub const DETACHED: &str = "--detached";

/// The agent cannot begin or go on.
#[derive(Debug, Error)]
pub enum DaemonError {
    /// A file of the folder cannot be used.
    #[error("cannot use the agent's folder")]
    Io(#[from] std::io::Error),
    /// The settings are missing.
    #[error("{} is missing: the planner writes it", .path.display())]
    NoSettings {
        /// Which file.
        path: PathBuf,
    },
    /// A file is damaged.
    #[error("{} is damaged: apply again, which writes it anew", .path.display())]
    Json {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// Certificate, key and authority do not make an identity.
    #[error("{} holds no valid identity: enrol the agent, then apply", .path.display())]
    Identity {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        source: IdentityError,
    },
    /// Another agent runs in the folder.
    #[error("another agent runs in {}", .path.display())]
    Running {
        /// Where.
        path: PathBuf,
    },
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: choose another control port, or end who has it")]
    Listen {
        /// Where.
        address: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The processes cannot be kept.
    #[error("cannot keep processes")]
    Supervisor(#[from] SupervisorError),
    /// Serving failed.
    #[error("cannot serve control")]
    Serve(#[from] WireError),
    /// A started agent ended.
    #[error("the agent ended at once: {words}")]
    Ended {
        /// What it said.
        words: String,
    },
    /// A started agent did not listen in time.
    #[error("the agent did not listen within {} s: see {}", START_MAX.as_secs(), .log.display())]
    Slow {
        /// Its log.
        log: PathBuf,
    },
}

/// Which agent runs in a folder, written once it listens.
#[derive(Debug, Serialize, Deserialize)]
struct Running {
    proof: Proof,
    /// Changes with its program, settings and certificate.
    fingerprint: String,
}

/// What came of a start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Started {
    /// One like it ran already.
    Already,
    /// It runs now.
    Now,
}

/// Makes the agent's key, unless it has one, and returns a signing request for it.
pub fn enrol(dir: &Path) -> Result<String, DaemonError> {
    durable::create_dir(dir)?;
    Ok(signing_request(dir)?)
}

/// Looks at a host that has no agent yet; needs no folder and leaves nothing.
pub fn probe(
    probes: Vec<control::Probe>,
    repository: &RepositoryProbe,
) -> Result<Vec<control::ProbeResult>, DaemonError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let nobody = Arc::new(Supervisor::without_processes());
    let each = probes.into_iter().map(|probe| probe::probe(probe, &nobody, repository));
    Ok(runtime.block_on(futures::future::join_all(each)))
}

/// Runs the agent of a folder until SIGTERM or the planner's `Shutdown`. Its processes run on behind a SIGTERM.
pub fn run(dir: &Path, repository: RepositoryProbe) -> Result<(), DaemonError> {
    let dir = fs_err::canonicalize(dir)?;
    let _lock = lock(&dir)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let program = std::env::current_exe()?;
    runtime.block_on(serve(&dir, program, repository))
}

async fn serve(dir: &Path, program: PathBuf, repository: RepositoryProbe) -> Result<(), DaemonError> {
    let settings = settings(dir)?;
    // Control carries secrets and hardly any bytes: it stays inside TLS on one machine too.
    let identity = Identity::load(dir)
        .map_err(|source| DaemonError::Identity { path: dir.to_owned(), source })?
        .always_tls();
    let fence = Fence::open(dir.join("fence"))?;
    let agent_hash = program_hash()?;
    let fingerprint = fingerprint(dir, &agent_hash)?;
    let address = settings.listen;
    let listener = TcpListener::bind(&address)
        .await
        .map_err(|source| DaemonError::Listen { address: address.clone(), source })?;
    let listener = keep_listening(listener)?;
    let supervisor = Arc::new(Supervisor::open(dir.join("processes"), program)?);
    // What was begun to be removed may take its time, and is not what a start is measured by.
    if let Some(notifier) = Notifier::of_process() {
        notifier.ready();
        let supervisor = Arc::clone(&supervisor);
        tokio::spawn(async move { notifier.keep_telling(supervisor).await });
    }
    supervisor.finish_removals().await;
    let stop = CancellationToken::new();
    let control = ControlService::new(
        (dir.to_owned(), agent_hash),
        Arc::clone(&supervisor),
        repository,
        fence,
        stop.clone(),
    );
    note_running(dir, fingerprint)?;
    info!(%address, "the agent listens");
    let terminated = stop.clone();
    tokio::spawn(async move {
        if let Err(error) = termination::requested().await {
            warn!(%error, "cannot listen to signals");
        }
        terminated.cancel();
    });
    lustre_wire::server::serve::<Control, _>(listener, identity, Arc::new(control), stop).await?;
    supervisor.release().await;
    info!("the agent ends");
    Ok(())
}

/// Keeps an address taken until this process has ended: who waits for the agent to go sees that by its address.
fn keep_listening(listener: TcpListener) -> Result<TcpListener, DaemonError> {
    static UNTIL_EXIT: OnceLock<std::net::TcpListener> = OnceLock::new();
    let listener = listener.into_std()?;
    // A process runs one agent.
    drop(UNTIL_EXIT.set(listener.try_clone()?));
    Ok(TcpListener::from_std(listener)?)
}

/// Starts the agent of a folder in the background, and returns when it listens. One that differs in program, settings or
/// certificate is replaced; its processes go on.
pub fn start(dir: &Path) -> Result<Started, DaemonError> {
    let dir = fs_err::canonicalize(dir)?;
    // Two starts at a time take turns at the folder itself.
    let turn = fs_err::File::open(&dir)?;
    flock(&turn, FlockOperation::LockExclusive).map_err(std::io::Error::from)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(replace(&dir))
}

async fn replace(dir: &Path) -> Result<Started, DaemonError> {
    settings(dir)?;
    let program = std::env::current_exe()?;
    let wanted = fingerprint(dir, &program_hash()?)?;
    if let Some(running) = running(dir)?
        && let Some(alive) = running.proof.open()?
    {
        if running.fingerprint == wanted {
            return Ok(Started::Already);
        }
        info!(pid = alive.proof.pid, "replacing an agent that differs");
        end(&alive).await;
    }
    spawn(dir, &program)
}

fn spawn(dir: &Path, program: &Path) -> Result<Started, DaemonError> {
    let path = dir.join("agent.log");
    trim_log(&path)?;
    let words = LogTail::from_now(&path);
    let log = fs_err::OpenOptions::new().create(true).append(true).open(&path)?;
    let mut child = Command::new(program)
        .args(["run", DETACHED, "--dir"])
        .arg(dir)
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(log.file().try_clone()?)
        .stderr(log.into_file())
        .spawn()?;
    let begun = Instant::now();
    while begun.elapsed() < START_MAX {
        // What an agent before this one noted is written over: removed, it might find no room again.
        let proof = Proof::of(child.id())?;
        if running(dir)?.is_some_and(|running| Some(running.proof) == proof) {
            return Ok(Started::Now);
        }
        if let Some(status) = child.try_wait()? {
            let words = words.last_words().unwrap_or_else(|| status.to_string());
            return Err(DaemonError::Ended { words });
        }
        std::thread::sleep(START_PAUSE);
    }
    Err(DaemonError::Slow { log: path })
}

/// Leaves the session of who started this process, so that no terminal's end reaches it.
pub fn detach() -> Result<(), DaemonError> {
    match rustix::process::setsid() {
        // It leads a group already: a shell with job control started it.
        Ok(_) | Err(rustix::io::Errno::PERM) => Ok(()),
        Err(error) => Err(std::io::Error::from(error).into()),
    }
}

fn lock(dir: &Path) -> Result<fs_err::File, DaemonError> {
    let file = fs_err::OpenOptions::new().create(true).append(true).open(dir.join("agent.lock"))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(DaemonError::Running { path: dir.to_owned() }),
        Err(error) => Err(std::io::Error::from(error).into()),
    }
}

fn settings(dir: &Path) -> Result<AgentSettings, DaemonError> {
    let path = dir.join("agent.json");
    let Some(text) = durable::read(&path)? else { return Err(DaemonError::NoSettings { path }) };
    let settings: AgentSettings =
        serde_json::from_slice(&text).map_err(|source| DaemonError::Json { path, source })?;
    Ok(settings)
}

fn running(dir: &Path) -> Result<Option<Running>, DaemonError> {
    let path = dir.join("agent.pid");
    let Some(text) = durable::read(&path)? else { return Ok(None) };
    serde_json::from_slice(&text).map(Some).map_err(|source| DaemonError::Json { path, source })
}

fn note_running(dir: &Path, fingerprint: String) -> Result<(), DaemonError> {
    let path = dir.join("agent.pid");
    let pid = std::process::id();
    let Some(proof) = Proof::of(pid)? else { return Ok(()) };
    let text = serde_json::to_vec(&Running { proof, fingerprint })
        .map_err(|source| DaemonError::Json { path: path.clone(), source })?;
    Ok(durable::write_text(&path, &text)?)
}

/// One number for everything an agent is started with.
fn fingerprint(dir: &Path, agent_hash: &str) -> Result<String, DaemonError> {
    let mut hasher = Sha256::new();
    hasher.update(agent_hash.as_bytes());
    for name in ["agent.json", "cert.pem", "ca.pem"] {
        let bytes = durable::read(&dir.join(name))?.unwrap_or_default();
        hasher.update((bytes.len() as u64).to_le_bytes());
        hasher.update(&bytes);
    }
    Ok(hex::encode(hasher.finalize()))
}
