//! Who signs whom: the deployment's authority for agents and the planner, a cluster's for its processes.
//!
//! Authority keys come from the recorded world and nowhere else; keys of daemons are made on their hosts and never seen
//! here.
//! Invariant: an authority is recorded before anything is signed by it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lustre_model::address::Address;
use lustre_model::control::Credential;
use lustre_model::journal::{Event, Journal, JournalError};
use lustre_model::recorded::{DeploymentAuthority, Secret, World};
use lustre_wire::authority::{Authority, AuthorityError, KeyPair, Validity};
use lustre_wire::{Identity, IdentityError, Role, Subject, SubjectError};
use thiserror::Error;
use tokio::sync::OnceCell;

/// Where a cluster's certificate is kept among its private values.
const CERTIFICATE: &str = "authority_certificate";

/// Where a cluster's key is kept among its private values.
const KEY: &str = "authority_key";

/// The name in the planner's own certificates.
const ADMINISTRATOR: &str = "lustre";

const DAY: Duration = Duration::from_hours(24);

/// How long a certificate of an agent or a process is good.
pub const VALID: Duration = Duration::from_hours(24 * 730);

/// A certificate that is good for less than this gets a successor with the next apply.
pub const RENEWED_BEFORE: Duration = Duration::from_hours(24 * 365);

/// An end that is nearer than this is worth an alarm.
const SOON: Duration = Duration::from_hours(24 * 30);

/// How long the planner's own certificate is good: it is made anew with each command, and held in memory alone.
const ADMINISTRATOR_VALID: Duration = Duration::from_hours(24 * 7);

/// By how much the clock of a host may be behind ours.
const BEHIND_MAX: Duration = DAY;

/// Returns from when to when something is good that is signed now.
pub fn validity(valid: Duration) -> Validity {
    let now = SystemTime::now();
    Validity { from: now - BEHIND_MAX, until: now + valid }
}

/// Tells whether a certificate is to get a successor, by its end in seconds since 1970.
pub fn is_due(until: u64) -> bool {
    let soon = SystemTime::now() + RENEWED_BEFORE;
    soon.duration_since(UNIX_EPOCH).is_ok_and(|soon| soon.as_secs() > until)
}

/// Tells whether a certificate ends within a month, by its end in seconds since 1970.
pub fn ends_soon(until: u64) -> bool {
    let soon = SystemTime::now() + SOON;
    soon.duration_since(UNIX_EPOCH).is_ok_and(|soon| soon.as_secs() > until)
}

/// Something cannot be signed.
#[derive(Debug, Error)]
pub enum TrustError {
    /// The authority does not load, or does not sign.
    #[error("the authority of {scope} cannot sign")]
    Authority {
        /// Whose authority.
        scope: String,
        /// Why.
        #[source]
        source: AuthorityError,
    },
    /// The planner's own certificate does not load.
    #[error("the administrator's certificate for {scope} cannot be used")]
    Administrator {
        /// In which scope.
        scope: String,
        /// Why.
        #[source]
        source: IdentityError,
    },
    /// What the authority signed cannot be read.
    #[error("what the authority of {scope} signed is no certificate")]
    Unreadable {
        /// Whose authority.
        scope: String,
        /// Why.
        #[source]
        source: SubjectError,
    },
    /// What the state knows of a cluster's credentials cannot be read or written.
    #[error("the credentials of {cluster} are damaged in the state")]
    Register {
        /// Which cluster.
        cluster: Box<Address>,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// The state has the cluster but not its authority.
    #[error("the state has no authority for {cluster}")]
    Missing {
        /// Which cluster.
        cluster: Box<Address>,
    },
    /// A new authority could not be recorded, so it was not used.
    #[error("a new authority could not be recorded")]
    Journal(#[from] JournalError),
}

/// An authority that can sign, with an administrator's identity under it.
#[derive(Clone)]
pub struct Realm {
    scope: String,
    authority: Arc<Authority>,
    administrator: Identity,
}

impl Realm {
    fn open(scope: &str, authority: Authority) -> Result<Self, TrustError> {
        let fail = |source| TrustError::Authority { scope: scope.to_owned(), source };
        let key = KeyPair::generate().map_err(fail)?;
        let csr = key.csr().map_err(fail)?;
        let subject = Subject::new(scope, Role::Administrator, ADMINISTRATOR);
        let validity = Some(validity(ADMINISTRATOR_VALID));
        let certificate = authority.sign_within(&csr, &subject, validity).map_err(fail)?;
        let administrator = Identity::new(&certificate, &key.pem(), &authority.certificate_pem)
            .map_err(|source| TrustError::Administrator { scope: scope.to_owned(), source })?;
        Ok(Self { scope: scope.to_owned(), authority: Arc::new(authority), administrator })
    }

    /// Returns the planner's identity in this realm.
    pub fn administrator(&self) -> &Identity {
        &self.administrator
    }

    /// Returns the authority's certificate.
    pub fn authority_pem(&self) -> &str {
        &self.authority.certificate_pem
    }

    /// Signs a request made by a key that lives on a host.
    pub fn sign(&self, csr: &str, role: Role, name: &str) -> Result<Credential, TrustError> {
        self.sign_for(csr, (role, name), VALID)
    }

    /// Signs a request for a time of its own.
    pub fn sign_for(
        &self,
        csr: &str,
        (role, name): (Role, &str),
        valid: Duration,
    ) -> Result<Credential, TrustError> {
        let subject = Subject::new(self.scope.as_str(), role, name);
        let fail = |source| TrustError::Authority { scope: self.scope.clone(), source };
        let certificate = self.authority.sign_within(csr, &subject, Some(validity(valid))).map_err(fail)?;
        Ok(Credential { certificate, authority: self.authority.certificate_pem.clone() })
    }
}

/// Returns the deployment's realm; `None` when no apply has met a host yet.
pub fn recorded_deployment(world: &World) -> Result<Option<Realm>, TrustError> {
    let Some(recorded) = &world.authority else { return Ok(None) };
    let scope = world.lineage.to_string();
    let authority = Authority::load(&recorded.certificate, recorded.key.reveal())
        .map_err(|source| TrustError::Authority { scope: scope.clone(), source })?;
    Realm::open(&scope, authority).map(Some)
}

/// The deployment's realm, made and recorded when first needed.
pub struct Deployment {
    journal: Arc<dyn Journal>,
    realm: OnceCell<Realm>,
}

impl Deployment {
    /// Looks at nothing yet.
    pub fn new(journal: Arc<dyn Journal>) -> Self {
        Self { journal, realm: OnceCell::new() }
    }

    /// Returns the realm; the first call may make and record its authority.
    pub async fn realm(&self) -> Result<&Realm, TrustError> {
        self.realm
            .get_or_try_init(|| async {
                let journal = Arc::clone(&self.journal);
                let opened = tokio::task::spawn_blocking(move || open_or_make(journal.as_ref())).await;
                opened.unwrap_or_else(|panic| {
                    Err(TrustError::Journal(JournalError::Write { source: Box::new(panic) }))
                })
            })
            .await
    }
}

fn open_or_make(journal: &dyn Journal) -> Result<Realm, TrustError> {
    let world = journal.world();
    if let Some(realm) = recorded_deployment(&world)? {
        return Ok(realm);
    }
    let scope = world.lineage.to_string();
    drop(world);
    let authority = Authority::generate(&scope)
        .map_err(|source| TrustError::Authority { scope: scope.clone(), source })?;
    let recorded = DeploymentAuthority {
        certificate: authority.certificate_pem.clone(),
        key: Secret::new(authority.key_pem.clone()),
    };
    journal.append(&[Event::Authority { authority: recorded }])?;
    Realm::open(&scope, authority)
}

/// Makes the authority of a new cluster, as private values to record; keeps the one that is there.
pub fn cluster_authority(
    fs_name: &str,
    mut private: BTreeMap<String, Secret>,
) -> Result<BTreeMap<String, Secret>, TrustError> {
    if !private.contains_key(CERTIFICATE) || !private.contains_key(KEY) {
        let authority = Authority::generate(fs_name)
            .map_err(|source| TrustError::Authority { scope: fs_name.to_owned(), source })?;
        private.insert(CERTIFICATE.to_owned(), Secret::new(authority.certificate_pem.clone()));
        private.insert(KEY.to_owned(), Secret::new(authority.key_pem.clone()));
    }
    Ok(private)
}

/// Opens the realm of a recorded cluster.
pub fn cluster_realm(world: &World, cluster: &Address, fs_name: &str) -> Result<Realm, TrustError> {
    let missing = || TrustError::Missing { cluster: Box::new(cluster.clone()) };
    let private = &world.objects.get(cluster).ok_or_else(missing)?.private;
    let certificate = private.get(CERTIFICATE).ok_or_else(missing)?;
    let key = private.get(KEY).ok_or_else(missing)?;
    let authority = Authority::load(certificate.reveal(), key.reveal())
        .map_err(|source| TrustError::Authority { scope: fs_name.to_owned(), source })?;
    Realm::open(fs_name, authority)
}
