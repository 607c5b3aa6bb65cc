//! From a bare host to an agent that listens: binary by content hash, key made there, certificate signed here, started.
//!
//! Asks before it acts: what is there and right is left alone, so that doing it again costs little. No shell is used.
//! Invariant: the agent's private key never leaves the host.

use std::env::consts::ARCH;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use lustre_model::address::Address;
use lustre_model::control::AgentSettings;
use lustre_model::resource::{self, HostSpec, SshSpec};
use lustre_wire::{Issued, Role, WireError};
use sha2::{Digest, Sha256};
use tokio::net::TcpStream;
use tokio::sync::OnceCell;

use crate::connection::{
    Command, Connection, ConnectionError, Found, Local, Source, Ssh, Surroundings, run_ok,
};
use crate::error::StepError;
use crate::service::{self, Keeper};
use crate::trust::{self, Realm};
use crate::upgrade::{self, Before, NOTE, SETTINGS};

/// Bytes that are hashed at a time.
const CHUNK: usize = 1 << 20;

/// How long an agent may take to end.
const END_MAX: Duration = Duration::from_secs(20);

/// Pause between looks whether it ended.
const END_PAUSE: Duration = Duration::from_millis(20);

/// The agent that is put on hosts.
pub struct AgentBinary {
    path: PathBuf,
    measured: OnceCell<Measured>,
}

/// What is known of a binary once it was read.
#[derive(Debug, Clone)]
struct Measured {
    hash: String,
    size: u64,
}

impl AgentBinary {
    /// Reads nothing yet.
    pub fn new(path: PathBuf) -> Self {
        Self { path, measured: OnceCell::new() }
    }

    /// Returns its SHA-256, hex.
    pub async fn hash(&self) -> Result<&str, StepError> {
        Ok(&self.measure().await?.hash)
    }

    async fn measure(&self) -> Result<&Measured, StepError> {
        let path = self.path.clone();
        let absent = || StepError::NoAgentBinary { path: self.path.display().to_string() };
        self.measured
            .get_or_try_init(|| async {
                let hashed = tokio::task::spawn_blocking(move || hash(&path)).await;
                hashed.ok().and_then(Result::ok).ok_or_else(absent)
            })
            .await
    }
}

/// What was read last, and which file that was: a process that plans again and again reads it once.
static KNOWN: Mutex<Option<(Stamp, Measured)>> = Mutex::new(None);

/// Tells one content of a file from another: where it is, which file that is, and when it was written.
type Stamp = (PathBuf, u64, (i64, i64), u64);

fn hash(path: &Path) -> std::io::Result<Measured> {
    let found = fs_err::metadata(path)?;
    let stamp = (path.to_owned(), found.ino(), (found.mtime(), found.mtime_nsec()), found.len());
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, measured)) = known.as_ref().filter(|(known, _)| *known == stamp) {
        return Ok(measured.clone());
    }
    let measured = read(path)?;
    *known = Some((stamp, measured.clone()));
    Ok(measured)
}

fn read(path: &Path) -> std::io::Result<Measured> {
    let mut file = fs_err::File::open(path)?;
    let (mut hasher, mut size, mut chunk) = (Sha256::new(), 0, vec![0; CHUNK]);
    loop {
        let count = file.read(&mut chunk)?;
        if count == 0 {
            return Ok(Measured { hash: hex::encode(hasher.finalize()), size });
        }
        hasher.update(&chunk[..count]);
        size += count as u64;
    }
}

/// Returns the way to a host.
pub fn connection(host: &Address, spec: &HostSpec) -> Arc<dyn Connection> {
    match &spec.connection {
        resource::Connection::Local => Arc::new(Local::new(host.to_string())),
        resource::Connection::Ssh(ssh) => Arc::new(Ssh::new(
            host.to_string(),
            spec.address.clone(),
            SshSpec::clone(ssh),
            Surroundings::of_process(),
        )),
    }
}

/// An agent whose program is on its host, and which is not started yet.
pub struct Coming {
    program: PathBuf,
    /// SHA-256 of its program, hex.
    pub hash: String,
    /// Who keeps it running.
    pub keeper: Keeper,
    settings: String,
    /// What it takes the place of.
    pub before: Option<Before>,
}

/// Puts the agent's program on a host, unless it is there, and looks what runs there.
pub async fn prepare(
    connection: &dyn Connection,
    (host, spec): (&Address, &HostSpec),
    binary: &AgentBinary,
) -> Result<Coming, StepError> {
    check_machine(connection, host, spec).await?;
    let (program, hash) = put_binary(connection, Path::new(&spec.path), binary).await?;
    let keeper = service::keeper(connection, spec).await?;
    let settings = settings(connection, spec)?;
    let before = upgrade::replaced(connection, (keeper, &spec.path), (&program, &settings)).await?;
    Ok(Coming { program, hash, keeper, settings, before })
}

/// Starts an agent, with all that it needs, in the place of the one that was there.
pub async fn start(
    connection: &dyn Connection,
    (host, spec): (&Address, &HostSpec),
    (realm, coming): (&Realm, &Coming),
) -> Result<(), StepError> {
    if let Some(before) = &coming.before {
        upgrade::note(connection, &spec.path, before).await?;
    }
    enrol(connection, coming, (host, spec), realm).await?;
    match service::start(connection, coming.keeper, (&coming.program, &spec.path)).await {
        Err(ConnectionError::Failed { said, .. }) if coming.keeper == Keeper::Systemd => {
            let words = service::last_words(connection, &spec.path).await.unwrap_or(said);
            Err(StepError::NotUp { host: Box::new(host.clone()), words })
        }
        ended => Ok(ended?),
    }
}

/// Makes sure that our agent can run on a machine.
pub async fn check_machine(
    connection: &dyn Connection,
    host: &Address,
    spec: &HostSpec,
) -> Result<(), StepError> {
    if spec.connection == resource::Connection::Local {
        return Ok(());
    }
    let machine = run_ok(connection, &Command::new("uname", &["-sm"])).await?;
    let machine = String::from_utf8_lossy(&machine).trim().to_owned();
    let ours = format!("Linux {ARCH}");
    if machine == ours {
        return Ok(());
    }
    Err(StepError::Machine { host: Box::new(host.clone()), machine, ours })
}

/// Puts the binary under its content hash, unless it is there.
async fn put_binary(
    connection: &dyn Connection,
    folder: &Path,
    binary: &AgentBinary,
) -> Result<(PathBuf, String), StepError> {
    let measured = binary.measure().await?;
    let program = folder.join("bin").join(&measured.hash).join("lustre-agent");
    // Files are put whole or not at all, so the size under the hash tells that it is the same.
    if connection.stat(&program).await? != (Found::File { size: measured.size }) {
        connection.put(Source::File(&binary.path), &program, 0o755).await?;
    }
    Ok((program, measured.hash.clone()))
}

/// Returns the text of an agent's settings.
fn settings(connection: &dyn Connection, spec: &HostSpec) -> Result<String, StepError> {
    let settings = AgentSettings { listen: spec.control_address() };
    let text = serde_json::to_string_pretty(&settings);
    Ok(text.map_err(|source| ConnectionError::File {
        host: connection.name().to_owned(),
        source: source.into(),
    })?)
}

/// Has a key made on the host and puts its certificate and settings beside it, unless they are there and the certificate is good for
/// long.
async fn enrol(
    connection: &dyn Connection,
    coming: &Coming,
    (host, spec): (&Address, &HostSpec),
    realm: &Realm,
) -> Result<(), StepError> {
    let folder = Path::new(&spec.path);
    put_if_other(connection, coming.settings.as_bytes(), &folder.join(SETTINGS)).await?;
    if let Some(trusted) = connection.read(&folder.join("ca.pem")).await? {
        if trusted != realm.authority_pem().as_bytes() {
            return Err(StepError::Foreign { host: Box::new(host.clone()), path: spec.path.clone() });
        }
        let certificate = connection.read(&folder.join("cert.pem")).await?.unwrap_or_default();
        let issued = Issued::of_pem(&String::from_utf8_lossy(&certificate));
        if issued.is_ok_and(|issued| !trust::is_due(issued.until)) {
            return Ok(());
        }
    }
    let csr = run_ok(connection, &Command::new(&coming.program, &["enrol", "--dir", &spec.path])).await?;
    let credential = realm.sign(&String::from_utf8_lossy(&csr), Role::Agent, &host.to_string())?;
    connection.put(Source::Bytes(credential.certificate.as_bytes()), &folder.join("cert.pem"), 0o644).await?;
    // Last, because its presence says that the certificate beside it belongs to it.
    connection.put(Source::Bytes(credential.authority.as_bytes()), &folder.join("ca.pem"), 0o644).await?;
    Ok(())
}

async fn put_if_other(connection: &dyn Connection, bytes: &[u8], path: &Path) -> Result<(), StepError> {
    if connection.read(path).await?.as_deref() != Some(bytes) {
        connection.put(Source::Bytes(bytes), path, 0o644).await?;
    }
    Ok(())
}

/// Waits until nothing listens any more where the agent of a host did.
pub async fn wait_until_gone(host: &Address, spec: &HostSpec) -> Result<(), StepError> {
    let begun = Instant::now();
    while TcpStream::connect(spec.control_address()).await.is_ok() {
        if begun.elapsed() > END_MAX {
            return Err(StepError::StillKept {
                host: Box::new(host.clone()),
                processes: vec!["its agent".to_owned()],
            });
        }
        tokio::time::sleep(END_PAUSE).await;
    }
    Ok(())
}

/// Says why an agent that was started does not answer, as far as its host can tell.
pub async fn silent(
    connection: &dyn Connection,
    (host, spec): (&Address, &HostSpec),
    source: WireError,
) -> StepError {
    let (host, source) = (Box::new(host.clone()), Box::new(source));
    match service::keeper(connection, spec).await {
        Ok(Keeper::Systemd) => match service::last_words(connection, &spec.path).await {
            Some(words) => StepError::Silent { host, address: spec.control_address(), words, source },
            None => StepError::Agent { host, source },
        },
        Ok(Keeper::Nobody) | Err(_) => StepError::Agent { host, source },
    }
}

/// Ends the agent of a host where its systemd keeps it; tells whether that is so.
pub async fn end_service(connection: &dyn Connection, spec: &HostSpec) -> Result<bool, StepError> {
    if service::keeper(connection, spec).await? == Keeper::Nobody {
        return Ok(false);
    }
    service::stop(connection, &spec.path).await?;
    Ok(true)
}

/// Removes from a host what bootstrap and the agent put there: its unit, its files, and the folder when nothing else is in it.
pub async fn clear(connection: &dyn Connection, spec: &HostSpec) -> Result<(), StepError> {
    let folder = Path::new(&spec.path);
    if service::keeper(connection, spec).await? == Keeper::Systemd {
        service::remove(connection, &spec.path).await?;
    }
    for name in OURS {
        connection.remove(&folder.join(name)).await?;
    }
    // Buckets keep their keys here unless the spec names another place.
    connection.remove_empty(&folder.join("credentials")).await?;
    connection.remove_empty(folder).await?;
    Ok(())
}

/// Everything that is ever put into a host's folder by us.
const OURS: &[&str] = &[
    "bin",
    SETTINGS,
    NOTE,
    "cert.pem",
    "ca.pem",
    "key.pem",
    "agent.pid",
    "agent.log",
    "agent.lock",
    "fence",
    "processes",
];
