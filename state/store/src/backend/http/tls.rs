//! TLS to a state's server: whom it trusts, and as whom it comes.
//!
//! Plain HTTP needs no root certificates, so none are looked for where no address needs them.
//! Invariant: a certificate goes unchecked only where the spec says so by name.

use std::sync::Arc;

use hyper_rustls::ConfigBuilderExt as _;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, ring};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use super::HttpPlace;
use super::client::HttpError;

/// Returns how connections are secured.
pub fn config(place: &HttpPlace) -> Result<ClientConfig, HttpError> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(set_up)?;
    let secure = place.addresses().any(|address| address.starts_with("https://"));
    let builder = if place.skip_cert_verification {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(Unchecked::new(&provider)))
    } else if let Some(pem) = &place.client_ca_certificate_pem {
        let mut roots = RootCertStore::empty();
        for certificate in certificates(pem)? {
            roots.add(certificate).map_err(set_up)?;
        }
        builder.with_root_certificates(roots)
    } else if secure {
        builder.with_native_roots().map_err(set_up)?
    } else {
        builder.with_root_certificates(RootCertStore::empty())
    };
    match (&place.client_certificate_pem, &place.client_private_key_pem) {
        (Some(certificate), Some(key)) => {
            let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(set_up)?;
            builder.with_client_auth_cert(certificates(certificate)?, key).map_err(set_up)
        }
        (None, None) => Ok(builder.with_no_client_auth()),
        (Some(_), None) | (None, Some(_)) => Err(HttpError::SetUp {
            cause: "a client's certificate and its private key come together or not at all".to_owned(),
        }),
    }
}

fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, HttpError> {
    CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<_, _>>().map_err(set_up)
}

fn set_up(error: impl std::fmt::Display) -> HttpError {
    HttpError::SetUp { cause: error.to_string() }
}

/// Takes any certificate, as `skip_cert_verification` asks.
#[derive(Debug)]
struct Unchecked(WebPkiSupportedAlgorithms);

impl Unchecked {
    fn new(provider: &CryptoProvider) -> Self {
        Self(provider.signature_verification_algorithms)
    }
}

impl ServerCertVerifier for Unchecked {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls12_signature(message, certificate, signed, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signed, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}
