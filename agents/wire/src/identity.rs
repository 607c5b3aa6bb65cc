//! What a process shows of itself and whom it trusts: certificate, key, authority.
//!
//! Does not issue certificates; that is [`crate::authority`].
//! Invariant: an [`Identity`] that exists is consistent: the key fits the certificate, the authority signed it, and it names a
//! [`Subject`].

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, verify_server_cert_signed_by_trust_anchor};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, ring, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::version::TLS13;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, ServerConfig, SignatureScheme};
use thiserror::Error;

use crate::revoked::{Revoked, UnrevokedClients};
use crate::subject::{Subject, SubjectError};

/// Bytes of TLS records that are collected before the socket is written.
pub(crate) const TLS_BUFFER: usize = 256 << 10;

/// A process's certificate with its key and the authority that it trusts.
///
/// Clones are one identity: what [`Identity::reload`] finds is what all of them show and trust from the next handshake on.
#[derive(Clone)]
pub struct Identity {
    subject: Subject,
    /// The boot of our machine, named to peers so that TLS may end where both are the same.
    boot: Option<String>,
    /// The same for all clones, so that what is renewed is so for all.
    held: Arc<RwLock<Held>>,
    revoked: Revoked,
}

/// What handshakes are made with.
struct Held {
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
}

/// The file with the numbers of revoked certificates, one on a line.
const REVOKED: &str = "revoked";

/// The three files do not make an identity.
#[derive(Debug, Error)]
pub enum IdentityError {
    /// A file cannot be read.
    #[error("cannot read the identity")]
    Read {
        /// Which, and why.
        #[source]
        source: io::Error,
    },
    /// A text is not PEM of what it should be.
    #[error("the {what} is not PEM, or is none")]
    Pem {
        /// Certificate, key or authority.
        what: &'static str,
        /// Why.
        #[source]
        source: rustls::pki_types::pem::Error,
    },
    /// The certificate names nobody.
    #[error("the certificate is not one of lustre's")]
    Subject {
        /// Why.
        #[source]
        source: SubjectError,
    },
    /// The parts do not belong together.
    #[error("certificate, key and authority do not belong together: enrol the process again")]
    Mismatch {
        /// Which, and why.
        #[source]
        source: rustls::Error,
    },
    /// The certificate is somebody else's than before.
    #[error("the certificate names {found}, and this is {expected}")]
    Other {
        /// Whose it was.
        expected: Box<Subject>,
        /// Whose it is.
        found: Box<Subject>,
    },
    /// The authority is unusable.
    #[error("the authority's certificate cannot be used")]
    Authority {
        /// Why.
        #[source]
        source: rustls::client::VerifierBuilderError,
    },
}

impl Identity {
    /// Builds an identity from PEM texts, checking that they belong together.
    pub fn new(certificate_pem: &str, key_pem: &str, authority_pem: &str) -> Result<Self, IdentityError> {
        let revoked = Revoked::none();
        let (subject, held) = hold((certificate_pem, key_pem, authority_pem), &revoked)?;
        let boot = crate::machine::boot();
        Ok(Self { subject, boot, held: Arc::new(RwLock::new(held)), revoked })
    }

    /// Keeps TLS on every connection of this identity, also with a peer on this machine.
    #[must_use]
    pub fn always_tls(self) -> Self {
        Self { boot: None, ..self }
    }

    pub(crate) fn boot(&self) -> Option<String> {
        self.boot.clone()
    }

    /// Reads `cert.pem`, `key.pem` and `ca.pem` of a folder, and `revoked` where there is one.
    pub fn load(dir: &Path) -> Result<Self, IdentityError> {
        let [certificate, key, authority] = texts(dir)?;
        let identity = Self::new(&certificate, &key, &authority)?;
        identity.revoked.replace(revoked(dir)?);
        Ok(identity)
    }

    /// Reads the folder again, for this identity and all its clones. Connections that are there go on, but for those of peers that
    /// are revoked now. Nothing changes when the files do not belong together, or are somebody else's.
    pub fn reload(&self, dir: &Path) -> Result<(), IdentityError> {
        let [certificate, key, authority] = texts(dir)?;
        let (subject, held) = hold((&certificate, &key, &authority), &self.revoked)?;
        if subject != self.subject {
            let (expected, found) = (Box::new(self.subject.clone()), Box::new(subject));
            return Err(IdentityError::Other { expected, found });
        }
        let serials = revoked(dir)?;
        *self.held.write().unwrap_or_else(PoisonError::into_inner) = held;
        self.revoked.replace(serials);
        Ok(())
    }

    /// Tells whether anybody else has a clone of this.
    pub fn is_shared(&self) -> bool {
        Arc::strong_count(&self.held) > 1
    }

    /// Waits until the certificate with this number is revoked.
    pub(crate) async fn until_revoked(&self, serial: &str) {
        self.revoked.holds(serial).await;
    }

    /// Returns whom the certificate names.
    pub fn subject(&self) -> &Subject {
        &self.subject
    }

    pub(crate) fn client(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.held.read().unwrap_or_else(PoisonError::into_inner).client)
    }

    pub(crate) fn server(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.held.read().unwrap_or_else(PoisonError::into_inner).server)
    }
}

fn texts(dir: &Path) -> Result<[String; 3], IdentityError> {
    let read =
        |name: &str| fs_err::read_to_string(dir.join(name)).map_err(|source| IdentityError::Read { source });
    Ok([read("cert.pem")?, read("key.pem")?, read("ca.pem")?])
}

fn revoked(dir: &Path) -> Result<BTreeSet<String>, IdentityError> {
    match fs_err::read_to_string(dir.join(REVOKED)) {
        Ok(text) => Ok(text.lines().map(str::to_owned).collect()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(BTreeSet::new()),
        Err(source) => Err(IdentityError::Read { source }),
    }
}

fn hold(
    (certificate_pem, key_pem, authority_pem): (&str, &str, &str),
    revoked: &Revoked,
) -> Result<(Subject, Held), IdentityError> {
    let pem = |what| move |source| IdentityError::Pem { what, source };
    let certificate =
        CertificateDer::from_pem_slice(certificate_pem.as_bytes()).map_err(pem("certificate"))?;
    let key = PrivateKeyDer::from_pem_slice(key_pem.as_bytes()).map_err(pem("key"))?;
    let authority = CertificateDer::from_pem_slice(authority_pem.as_bytes()).map_err(pem("authority"))?;
    let subject =
        Subject::of_certificate(&certificate).map_err(|source| IdentityError::Subject { source })?;
    let mut roots = RootCertStore::empty();
    roots.add(authority).map_err(mismatch)?;
    let roots = Arc::new(roots);
    let provider = Arc::new(provider());
    let verifier = AuthorityVerifier {
        roots: Arc::clone(&roots),
        algorithms: provider.signature_verification_algorithms,
        revoked: revoked.clone(),
    };
    verifier.check(&certificate, &[], UnixTime::now()).map_err(mismatch)?;
    let signed = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(&provider))
        .build()
        .map_err(|source| IdentityError::Authority { source })?;
    let clients = Arc::new(UnrevokedClients { signed, revoked: revoked.clone() });
    let client = client_config(&provider, verifier, certificate.clone(), key.clone_key())?;
    let server = server_config(&provider, clients, certificate, key)?;
    Ok((subject, Held { client: Arc::new(client), server: Arc::new(server) }))
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("subject", &self.subject).finish_non_exhaustive()
    }
}

fn mismatch(source: rustls::Error) -> IdentityError {
    IdentityError::Mismatch { source }
}

/// AES-GCM only, 128 bits first: the fastest with AES instructions, and no other suite is measurably safer here.
fn provider() -> CryptoProvider {
    CryptoProvider {
        cipher_suites: vec![
            ring::cipher_suite::TLS13_AES_128_GCM_SHA256,
            ring::cipher_suite::TLS13_AES_256_GCM_SHA384,
        ],
        ..ring::default_provider()
    }
}

fn client_config(
    provider: &Arc<CryptoProvider>,
    verifier: AuthorityVerifier,
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
) -> Result<ClientConfig, IdentityError> {
    let mut config = ClientConfig::builder_with_provider(Arc::clone(provider))
        .with_protocol_versions(&[&TLS13])
        .map_err(mismatch)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_client_auth_cert(vec![certificate], key)
        .map_err(mismatch)?;
    // Peers are known by the subject in their certificate, whatever name or address led to them.
    config.enable_sni = false;
    config.resumption = Resumption::disabled();
    Ok(config)
}

fn server_config(
    provider: &Arc<CryptoProvider>,
    clients: Arc<dyn ClientCertVerifier>,
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
) -> Result<ServerConfig, IdentityError> {
    let mut config = ServerConfig::builder_with_provider(Arc::clone(provider))
        .with_protocol_versions(&[&TLS13])
        .map_err(mismatch)?
        .with_client_cert_verifier(clients)
        .with_single_cert(vec![certificate], key)
        .map_err(mismatch)?;
    // Every connection proves its certificate anew.
    config.send_tls13_tickets = 0;
    Ok(config)
}

/// Trusts a server for its authority alone; its subject is read and compared after the handshake.
#[derive(Debug)]
struct AuthorityVerifier {
    roots: Arc<RootCertStore>,
    algorithms: WebPkiSupportedAlgorithms,
    revoked: Revoked,
}

impl AuthorityVerifier {
    fn check(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), rustls::Error> {
        let parsed = ParsedCertificate::try_from(certificate)?;
        verify_server_cert_signed_by_trust_anchor(
            &parsed,
            &self.roots,
            intermediates,
            now,
            self.algorithms.all,
        )
    }
}

impl ServerCertVerifier for AuthorityVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.check(end_entity, intermediates, now)?;
        self.revoked.check(end_entity)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::PeerIncompatible(rustls::PeerIncompatible::Tls12NotOffered))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
