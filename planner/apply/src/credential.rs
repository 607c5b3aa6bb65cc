//! Credentials of clients: handed to machines that no spec names, and revoked, those of mounts too.
//!
//! What is known of them lies among the private values of their cluster, but no key that was handed out. How targets refuse what
//! is revoked is theirs.
//! Invariant: what is to be refused is recorded before anybody is told, and a target is told before it serves.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lustre_model::address::Address;
use lustre_model::id::FsName;
use lustre_model::journal::{Event, Journal, Outcome};
use lustre_model::plan::Operation;
use lustre_model::recorded::{Object, Secret, Status, World};
use lustre_model::resource::{Kind, Resource, TargetSpec};
use lustre_wire::authority::KeyPair;
use lustre_wire::{Issued, Role};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::error::StepError;
use crate::fleet::{self, Agent};
use crate::trust::{self, TrustError};

/// Where a cluster's credentials are kept among its private values.
const REGISTER: &str = "credentials";

/// Where a mount's number of its certificate is kept among its private values.
pub const SERIAL: &str = "certificate_serial";

/// Format of [`Bundle`].
const FORMAT: u32 = 1;

/// Most letters of a credential's name.
const NAME_MAX: usize = 64;

/// A credential cannot be handed out or revoked.
#[derive(Debug, Error)]
pub enum CredentialError {
    /// No such cluster.
    #[error("{cluster} is not a cluster that the state knows")]
    NoCluster {
        /// What was named.
        cluster: Box<Address>,
    },
    /// An apply was cut off there.
    #[error("{cluster} is not as recorded: an apply was cut off")]
    Unfinished {
        /// Which.
        cluster: Box<Address>,
    },
    /// Not a name.
    #[error("\"{name}\" is no name for a credential: letters, digits, - and _, at most {NAME_MAX} of them")]
    Name {
        /// What was given.
        name: String,
    },
    /// Somebody has it.
    #[error("a credential \"{name}\" of {cluster} is handed out already")]
    Taken {
        /// Which name.
        name: String,
        /// Of which cluster.
        cluster: Box<Address>,
    },
    /// Nobody has it.
    #[error("{cluster} has no credential \"{name}\", and no mount of that address")]
    Unknown {
        /// What was named.
        name: String,
        /// Of which cluster.
        cluster: Box<Address>,
    },
    /// A mount's number is not known.
    #[error("the state does not know the certificate of {mount}, which an older release made")]
    NoSerial {
        /// Which mount.
        mount: Box<Address>,
    },
    /// It cannot be recorded, or signed.
    #[error(transparent)]
    Step(#[from] StepError),
}

impl CredentialError {
    /// Returns what a person can do, when that is known.
    pub fn remedy(&self) -> Option<String> {
        match self {
            Self::NoCluster { .. } => Some("`lustre state list` shows what it knows".to_owned()),
            Self::Unfinished { .. } => Some("apply again first".to_owned()),
            Self::Name { .. } => None,
            Self::Taken { name, cluster } => Some(format!(
                "choose another name, or end that one: lustre credential revoke {cluster} {name}"
            )),
            Self::Unknown { .. } => Some("`lustre credential list` shows those that there are".to_owned()),
            Self::NoSerial { mount } => {
                Some(format!("apply with -replace={mount}, which gives it another key"))
            }
            Self::Step(error) => error.remedy(),
        }
    }
}

/// All that a machine needs to mount a file system. Holds a private key.
#[derive(Clone, Serialize, Deserialize)]
pub struct Bundle {
    /// Which form this has; 1.
    pub format: u32,
    /// The credential's name.
    pub name: String,
    /// Which file system.
    pub fs_name: FsName,
    /// Where its metadata target answers.
    pub metadata: String,
    /// When it ends, in seconds since 1970.
    pub until: u64,
    /// The certificate, PEM.
    pub certificate: String,
    /// The cluster's authority, PEM.
    pub authority: String,
    /// The private key, PEM.
    pub key: String,
}

/// What is known of a cluster's credentials.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Register {
    /// Those that were handed out, by name.
    pub handed: BTreeMap<String, Handed>,
    /// The numbers of those that are refused, with whose they were.
    pub revoked: BTreeMap<String, String>,
}

/// A credential that was handed out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handed {
    /// The number of its certificate, hex.
    pub serial: String,
    /// When it ends, in seconds since 1970.
    pub until: u64,
}

/// What came of a revocation.
#[derive(Debug)]
pub struct Revocation {
    /// How many targets refuse it from now on.
    pub told: usize,
    /// Those that could not be told, each with the reason.
    pub untold: Vec<(Address, String)>,
}

/// Returns what is known of a recorded cluster's credentials.
pub fn register(world: &World, cluster: &Address) -> Result<Register, TrustError> {
    let Some(object) = world.objects.get(cluster) else { return Ok(Register::default()) };
    let Some(text) = object.private.get(REGISTER) else { return Ok(Register::default()) };
    serde_json::from_str(text.reveal())
        .map_err(|source| TrustError::Register { cluster: Box::new(cluster.clone()), source })
}

/// Returns the numbers that targets of a cluster are to refuse.
pub fn revoked(world: &World, cluster: &Address) -> Result<Vec<String>, TrustError> {
    Ok(register(world, cluster)?.revoked.into_keys().collect())
}

/// Makes a credential that is good for a while, and records that it was handed out.
pub fn issue(
    journal: &dyn Journal,
    (cluster, name): (&Address, &str),
    valid: Duration,
) -> Result<Bundle, CredentialError> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if name.is_empty() || name.len() > NAME_MAX || !name.bytes().all(plain) {
        return Err(CredentialError::Name { name: name.to_owned() });
    }
    let world = journal.world();
    let object = present(&world, cluster)?;
    let mut register = register(&world, cluster).map_err(StepError::from)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    if register
        .handed
        .get(name)
        .is_some_and(|one| one.until > now && !register.revoked.contains_key(&one.serial))
    {
        return Err(CredentialError::Taken { name: name.to_owned(), cluster: Box::new(cluster.clone()) });
    }
    let spec = fleet::cluster_spec(&world, cluster)?;
    let realm = fleet::realm(&world, cluster)?;
    let failed = |source| StepError::from(TrustError::Authority { scope: spec.fs_name.to_string(), source });
    let key = KeyPair::generate().map_err(failed)?;
    let csr = key.csr().map_err(failed)?;
    let signed = realm.sign_for(&csr, (Role::Client, &format!("credential:{name}")), valid);
    let signed = signed.map_err(StepError::from)?;
    let issued = Issued::of_pem(&signed.certificate).map_err(|source| {
        StepError::from(TrustError::Unreadable { scope: spec.fs_name.to_string(), source })
    })?;
    let handed = Handed { serial: issued.serial, until: issued.until };
    register.handed.insert(name.to_owned(), handed);
    record(journal, (cluster, object), &register)?;
    Ok(Bundle {
        format: FORMAT,
        name: name.to_owned(),
        fs_name: spec.fs_name,
        metadata: spec.metadata_address,
        until: issued.until,
        certificate: signed.certificate,
        authority: signed.authority,
        key: key.pem(),
    })
}

/// Ends a credential that was handed out, or that of a mount: records that, and tells every target of the cluster.
pub async fn revoke(
    journal: Arc<dyn Journal>,
    cluster: &Address,
    name: &str,
) -> Result<Revocation, CredentialError> {
    let world = journal.world();
    let object = present(&world, cluster)?;
    let mut register = register(&world, cluster).map_err(StepError::from)?;
    let serial = match register.handed.get(name) {
        Some(handed) => handed.serial.clone(),
        None => mount_serial(&world, cluster, name).await?,
    };
    if register.revoked.insert(serial, name.to_owned()).is_none() {
        record(journal.as_ref(), (cluster, object), &register)?;
    }
    let serials: Vec<String> = register.revoked.into_keys().collect();
    let mut revocation = Revocation { told: 0, untold: Vec::new() };
    for (address, object) in &world.objects {
        let Ok(Resource::Target(target)) = Resource::from_attributes(object.kind, &object.attributes) else {
            continue;
        };
        if target.cluster == *cluster {
            match tell(journal.as_ref(), &world, (&target, &serials)).await {
                Ok(()) => revocation.told += 1,
                Err(error) => revocation.untold.push((address.clone(), error.causes().join(": "))),
            }
        }
    }
    Ok(revocation)
}

/// Has one target refuse these certificates.
async fn tell(
    journal: &dyn Journal,
    world: &World,
    (target, serials): (&TargetSpec, &[String]),
) -> Result<(), StepError> {
    asked(journal.token(), world, &target.host).await?.revoke(target.process(), serials.to_vec()).await
}

/// Returns the agent of a host, when it answers.
async fn asked(token: u64, world: &World, host: &Address) -> Result<Agent, StepError> {
    let none = || StepError::NoAgent { host: Box::new(host.clone()) };
    let realm = trust::recorded_deployment(world)?.ok_or_else(none)?;
    Agent::find(&realm, token, host, &fleet::host_spec(world, host)?).await?.ok_or_else(none)
}

/// Finds the number of a mount's certificate: as recorded, or as its agent says.
async fn mount_serial(world: &World, cluster: &Address, name: &str) -> Result<String, CredentialError> {
    let unknown = || CredentialError::Unknown { name: name.to_owned(), cluster: Box::new(cluster.clone()) };
    let address: Address = name.parse().map_err(|_| unknown())?;
    let object = world.objects.get(&address).ok_or_else(unknown)?;
    let Ok(Resource::Mount(mount)) = Resource::from_attributes(object.kind, &object.attributes) else {
        return Err(unknown());
    };
    if mount.cluster != *cluster {
        return Err(unknown());
    }
    if let Some(serial) = object.private.get(SERIAL) {
        return Ok(serial.reveal().to_owned());
    }
    let credentials = match asked(0, world, &mount.host).await {
        Ok(agent) => agent.credentials().await.map(|(_, processes)| processes).unwrap_or_default(),
        Err(_) => Vec::new(),
    };
    let own = credentials.into_iter().find(|(process, _)| *process == mount.process());
    own.map(|(_, certified)| certified.serial)
        .ok_or_else(|| CredentialError::NoSerial { mount: Box::new(address) })
}

/// Refuses what is not a cluster that the state knows, and is as recorded.
pub fn check(world: &World, cluster: &Address) -> Result<(), CredentialError> {
    present(world, cluster).map(drop)
}

fn present<'a>(world: &'a World, cluster: &Address) -> Result<&'a Object, CredentialError> {
    let none = || CredentialError::NoCluster { cluster: Box::new(cluster.clone()) };
    let object = world.objects.get(cluster).filter(|object| object.kind == Kind::Cluster).ok_or_else(none)?;
    if object.status == Status::Present {
        Ok(object)
    } else {
        Err(CredentialError::Unfinished { cluster: Box::new(cluster.clone()) })
    }
}

/// Records a cluster's credentials: an update of the cluster that changes nothing else.
fn record(
    journal: &dyn Journal,
    (cluster, object): (&Address, &Object),
    register: &Register,
) -> Result<(), CredentialError> {
    let text = serde_json::to_string(register).map_err(|source| {
        StepError::from(TrustError::Register { cluster: Box::new(cluster.clone()), source })
    })?;
    let mut private = object.private.clone();
    private.insert(REGISTER.to_owned(), Secret::new(text));
    let (address, attributes, dependencies) =
        (cluster.clone(), object.attributes.clone(), object.dependencies.clone());
    let begin = Event::Intent {
        address: address.clone(),
        kind: object.kind,
        operation: Operation::Update,
        attributes: attributes.clone(),
        dependencies: dependencies.clone(),
    };
    let outcome = Outcome::Present { attributes, private, dependencies };
    let recorded = journal.append(&[begin, Event::Result { address, outcome }]);
    recorded.map_err(|source| CredentialError::Step(StepError::from(TrustError::Journal(source))))
}
