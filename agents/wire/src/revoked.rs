//! Certificates that are refused although their authority signed them, by their numbers.
//!
//! Who decides that is not here: a process is told, in a file beside its certificate.
//! Invariant: from the moment a number is here, no handshake with it succeeds, and each connection with it is told.

use std::collections::BTreeSet;
use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, SignatureScheme};
use tokio::sync::watch;

use crate::subject::Issued;

/// The numbers, as all parts of an identity see them.
#[derive(Debug, Clone)]
pub(crate) struct Revoked(Arc<watch::Sender<BTreeSet<String>>>);

impl Revoked {
    pub fn none() -> Self {
        Self(Arc::new(watch::Sender::new(BTreeSet::new())))
    }

    pub fn replace(&self, serials: BTreeSet<String>) {
        self.0.send_if_modified(|known| {
            let changed = *known != serials;
            *known = serials;
            changed
        });
    }

    /// Refuses a certificate that is among them.
    pub fn check(&self, certificate: &CertificateDer<'_>) -> Result<(), rustls::Error> {
        let known = self.0.borrow();
        if known.is_empty() {
            return Ok(());
        }
        let issued = Issued::of_certificate(certificate)
            .map_err(|_| rustls::Error::InvalidCertificate(CertificateError::BadEncoding))?;
        if known.contains(&issued.serial) {
            return Err(rustls::Error::InvalidCertificate(CertificateError::Revoked));
        }
        Ok(())
    }

    /// Waits until this number is among them; for ever when it never is.
    pub async fn holds(&self, serial: &str) {
        let mut seen = self.0.subscribe();
        if seen.wait_for(|known| known.contains(serial)).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// Trusts clients that their authority signed and that are not revoked.
#[derive(Debug)]
pub(crate) struct UnrevokedClients {
    pub signed: Arc<dyn ClientCertVerifier>,
    pub revoked: Revoked,
}

impl ClientCertVerifier for UnrevokedClients {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.signed.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let verified = self.signed.verify_client_cert(end_entity, intermediates, now)?;
        self.revoked.check(end_entity)?;
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.signed.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.signed.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.signed.supported_verify_schemes()
    }
}
