//! Certificate authorities: one per deployment, one per cluster; they sign what processes enrol with.
//!
//! Keeps nothing: whoever holds an [`Authority`] stores its two PEM texts, the key as a secret. Keys of processes are made
//! where they are used; only signing requests travel.
//! Invariant: a certificate that [`Authority::sign`] issues names exactly the subject that was asked for, whatever the signing
//! request wished for, and is never an authority itself.

use std::fmt;
use std::time::SystemTime;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SanType,
};
use thiserror::Error;

use crate::subject::Subject;

/// Signs the certificates of one scope.
#[derive(Clone)]
pub struct Authority {
    /// Its certificate, PEM; public.
    pub certificate_pem: String,
    /// Its private key, PEM; a secret.
    pub key_pem: String,
}

/// From when to when a certificate is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// Before this it is refused.
    pub from: SystemTime,
    /// After this it is refused.
    pub until: SystemTime,
}

/// A key or certificate cannot be made or read.
#[derive(Debug, Error)]
pub enum AuthorityError {
    /// A key pair cannot be made.
    #[error("cannot generate a key")]
    Generate {
        /// Why.
        #[source]
        source: rcgen::Error,
    },
    /// A text is not what it should be.
    #[error("the {what} cannot be read")]
    Parse {
        /// Key, certificate or signing request.
        what: &'static str,
        /// Why.
        #[source]
        source: rcgen::Error,
    },
    /// A certificate or signing request cannot be signed.
    #[error("cannot sign the {what}")]
    Sign {
        /// What.
        what: &'static str,
        /// Why.
        #[source]
        source: rcgen::Error,
    },
}

impl Authority {
    /// Makes a new authority for a deployment's id or a file system's name.
    pub fn generate(scope: &str) -> Result<Self, AuthorityError> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params.distinguished_name = common_name(&format!("lustre authority of {scope}"));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let certificate = params
            .self_signed(&key.0)
            .map_err(|source| AuthorityError::Sign { what: "authority", source })?;
        Ok(Self { certificate_pem: certificate.pem(), key_pem: key.pem() })
    }

    /// Takes an authority up again from its two PEM texts.
    pub fn load(certificate_pem: &str, key_pem: &str) -> Result<Self, AuthorityError> {
        let authority = Self { certificate_pem: certificate_pem.to_owned(), key_pem: key_pem.to_owned() };
        authority.issuer()?;
        Ok(authority)
    }

    /// Issues a certificate, PEM, for the key of a signing request and for this subject, without an end.
    ///
    /// Only the key is taken from the request; its signature proves that the asker holds it.
    pub fn sign(&self, csr_pem: &str, subject: &Subject) -> Result<String, AuthorityError> {
        self.sign_within(csr_pem, subject, None)
    }

    /// Issues a certificate as [`Authority::sign`] does, good for a while.
    pub fn sign_within(
        &self,
        csr_pem: &str,
        subject: &Subject,
        validity: Option<Validity>,
    ) -> Result<String, AuthorityError> {
        let request = CertificateSigningRequestParams::from_pem(csr_pem)
            .map_err(|source| AuthorityError::Parse { what: "signing request", source })?;
        let sign = |source| AuthorityError::Sign { what: "certificate", source };
        let mut params = CertificateParams::default();
        params.distinguished_name = common_name(&subject.name);
        params.subject_alt_names = vec![SanType::URI(subject.to_string().as_str().try_into().map_err(sign)?)];
        params.is_ca = IsCa::ExplicitNoCa;
        if let Some(validity) = validity {
            params.not_before = validity.from.into();
            params.not_after = validity.until.into();
        }
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
        let certificate = params.signed_by(&request.public_key, &self.issuer()?).map_err(sign)?;
        Ok(certificate.pem())
    }

    fn issuer(&self) -> Result<Issuer<'static, rcgen::KeyPair>, AuthorityError> {
        let key = KeyPair::from_pem(&self.key_pem)?;
        Issuer::from_ca_cert_pem(&self.certificate_pem, key.0)
            .map_err(|source| AuthorityError::Parse { what: "authority's certificate", source })
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").field("certificate_pem", &self.certificate_pem).finish_non_exhaustive()
    }
}

/// An ECDSA P-256 key.
pub struct KeyPair(rcgen::KeyPair);

impl KeyPair {
    /// Makes a new key.
    pub fn generate() -> Result<Self, AuthorityError> {
        rcgen::KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)
            .map(Self)
            .map_err(|source| AuthorityError::Generate { source })
    }

    /// Reads a key that [`KeyPair::pem`] wrote.
    pub fn from_pem(pem: &str) -> Result<Self, AuthorityError> {
        rcgen::KeyPair::from_pem(pem)
            .map(Self)
            .map_err(|source| AuthorityError::Parse { what: "key", source })
    }

    /// Returns the private key, PKCS#8 PEM.
    pub fn pem(&self) -> String {
        self.0.serialize_pem()
    }

    /// Returns a signing request, PEM, that proves possession of the key and asks for no name.
    pub fn csr(&self) -> Result<String, AuthorityError> {
        let sign = |source| AuthorityError::Sign { what: "signing request", source };
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.serialize_request(&self.0).and_then(|request| request.pem()).map_err(sign)
    }
}

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyPair(..)")
    }
}

fn common_name(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::{Identity, IdentityError};
    use crate::subject::Role;

    fn issue(authority: &Authority, subject: &Subject) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        (authority.sign(&key.csr().unwrap(), subject).unwrap(), key.pem())
    }

    #[test]
    fn an_issued_certificate_makes_an_identity_of_its_subject() {
        let authority = Authority::generate("scratch").unwrap();
        let again = Authority::load(&authority.certificate_pem, &authority.key_pem).unwrap();
        let subject = Subject::new("scratch", Role::Client, "/mnt/fsx on héros");
        let (certificate, key) = issue(&again, &subject);
        let identity = Identity::new(&certificate, &key, &authority.certificate_pem).unwrap();
        assert_eq!(identity.subject(), &subject);
    }

    #[test]
    fn parts_that_do_not_belong_together_are_refused() {
        let (one, two) = (Authority::generate("a").unwrap(), Authority::generate("a").unwrap());
        let subject = Subject::new("a", Role::Agent, "h");
        let (certificate, key) = issue(&one, &subject);
        let (_, other_key) = issue(&one, &subject);
        let foreign = Identity::new(&certificate, &key, &two.certificate_pem);
        assert!(matches!(foreign, Err(IdentityError::Mismatch { .. })), "{foreign:?}");
        let mixed = Identity::new(&certificate, &other_key, &one.certificate_pem);
        assert!(matches!(mixed, Err(IdentityError::Mismatch { .. })), "{mixed:?}");
        let nobody = Identity::new(&one.certificate_pem, &one.key_pem, &one.certificate_pem);
        assert!(matches!(nobody, Err(IdentityError::Subject { .. })), "{nobody:?}");
    }

    #[test]
    fn secrets_are_not_printed() {
        let authority = Authority::generate("a").unwrap();
        assert!(!format!("{authority:?} {:?}", KeyPair::generate().unwrap()).contains("PRIVATE"));
    }
}
