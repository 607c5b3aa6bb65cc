//! Who a certificate speaks for: `lustre://<scope>/<role>/<name>`.
//!
//! Not trust: that the authority signed it is checked by TLS before a subject is read from it.
//! Invariant: a subject survives the way into a certificate and back unchanged, whatever its name holds.

use std::fmt;
use std::str::FromStr;

use lustre_model::id::TargetId;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

/// How the URI of a subject begins.
const SCHEME: &str = "lustre://";

/// What a peer may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Role {
    /// The planner, on behalf of who owns the state.
    Administrator,
    /// The daemon of a host.
    Agent,
    /// A metadata or object target.
    Target,
    /// Moves data between a repository and a cluster.
    Mover,
    /// A mount.
    Client,
}

/// Whom a certificate names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Subject {
    /// A deployment's id or a file system's name; peers of another scope are refused.
    pub scope: String,
    /// What it is.
    pub role: Role,
    /// Which of them: a host, a target's name, a mount point.
    pub name: String,
}

/// No subject can be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SubjectError {
    /// The text is not of the form.
    #[error("\"{text}\" is not of the form lustre://<scope>/<role>/<name>")]
    Form {
        /// What was given.
        text: String,
    },
    /// The bytes are no certificate.
    #[error("not an X.509 certificate")]
    NotCertificate,
    /// The certificate has no URI of ours, or several.
    #[error("the certificate names {count} subjects lustre://…, it must name one")]
    Count {
        /// How many.
        count: usize,
    },
}

impl Role {
    /// All roles.
    pub const ALL: [Self; 5] = [Self::Administrator, Self::Agent, Self::Target, Self::Mover, Self::Client];

    /// Returns the role as certificates spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Administrator => "administrator",
            Self::Agent => "agent",
            Self::Target => "target",
            Self::Mover => "mover",
            Self::Client => "client",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Subject {
    /// Names a subject.
    pub fn new(scope: impl Into<String>, role: Role, name: impl Into<String>) -> Self {
        Self { scope: scope.into(), role, name: name.into() }
    }

    /// Names a target of a cluster, whose scope is the file system's name.
    pub fn target(target: &TargetId) -> Self {
        Self::new(target.fs_name.as_str(), Role::Target, target.to_string())
    }

    /// Reads the subject that a certificate names. Does not check who signed it.
    pub(crate) fn of_certificate(der: &CertificateDer<'_>) -> Result<Self, SubjectError> {
        let (_, certificate) =
            X509Certificate::from_der(der.as_ref()).map_err(|_| SubjectError::NotCertificate)?;
        let names = certificate.subject_alternative_name().map_err(|_| SubjectError::NotCertificate)?;
        let uris: Vec<&str> = names
            .iter()
            .flat_map(|extension| &extension.value.general_names)
            .filter_map(|name| if let GeneralName::URI(uri) = name { Some(*uri) } else { None })
            .filter(|uri| uri.starts_with(SCHEME))
            .collect();
        match uris.as_slice() {
            [one] => one.parse(),
            [] | [_, _, ..] => Err(SubjectError::Count { count: uris.len() }),
        }
    }
}

/// What tells a certificate from others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issued {
    /// Its number, hex. Our authorities make it from the key, so that all certificates of a key have the same.
    pub serial: String,
    /// When it ends, in seconds since 1970.
    pub until: u64,
}

impl Issued {
    /// Reads a certificate, PEM. Does not check who signed it.
    pub fn of_pem(pem: &str) -> Result<Self, SubjectError> {
        let der = CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|_| SubjectError::NotCertificate)?;
        Self::of_certificate(&der)
    }

    pub(crate) fn of_certificate(der: &CertificateDer<'_>) -> Result<Self, SubjectError> {
        let (_, certificate) =
            X509Certificate::from_der(der.as_ref()).map_err(|_| SubjectError::NotCertificate)?;
        let serial = certificate.raw_serial().iter().map(|byte| format!("{byte:02x}")).collect();
        let until = u64::try_from(certificate.validity().not_after.timestamp()).unwrap_or(0);
        Ok(Self { serial, until })
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}/{}/{}", escape(&self.scope), self.role, escape(&self.name))
    }
}

impl FromStr for Subject {
    type Err = SubjectError;

    fn from_str(text: &str) -> Result<Self, SubjectError> {
        let form = || SubjectError::Form { text: text.to_owned() };
        let rest = text.strip_prefix(SCHEME).ok_or_else(form)?;
        let parts: Vec<&str> = rest.split('/').collect();
        let [scope, role, name] = parts.as_slice() else { return Err(form()) };
        let role = Role::ALL.into_iter().find(|known| known.as_str() == *role).ok_or_else(form)?;
        let scope = unescape(scope).filter(|scope| !scope.is_empty()).ok_or_else(form)?;
        let name = unescape(name).filter(|name| !name.is_empty()).ok_or_else(form)?;
        Ok(Self { scope, role, name })
    }
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~')
}

/// Percent-encodes everything that RFC 3986 does not call unreserved.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if is_plain(byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

fn unescape(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let plain = match byte {
            b'%' => {
                let high = char::from(bytes.next()?).to_digit(16)?;
                let low = char::from(bytes.next()?).to_digit(16)?;
                u8::try_from(high * 16 + low).ok()?
            }
            byte if is_plain(byte) => byte,
            _ => return None,
        };
        out.push(plain);
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{ProptestConfig, any, prop_assert_eq, proptest};

    use super::*;

    #[test]
    fn subjects_print_as_certificates_hold_them() {
        let subject = Subject::new("scratch", Role::Client, "/mnt/fsx");
        assert_eq!(subject.to_string(), "lustre://scratch/client/%2Fmnt%2Ffsx");
    }

    #[test]
    fn texts_of_another_form_are_refused() {
        for text in [
            "",
            "http://a/agent/b",
            "lustre://a/agent",
            "lustre://a/agent/b/c",
            "lustre://a/king/b",
            "lustre:///agent/b",
            "lustre://a/agent/",
            "lustre://a/agent/b%2",
            "lustre://a/agent/%ff",
            "lustre://a/agent/b c",
        ] {
            assert!(text.parse::<Subject>().is_err(), "{text}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn any_name_survives_the_uri(scope in ".{1,20}", role in 0..5_usize, name in ".{1,40}") {
            let subject = Subject::new(scope, Role::ALL[role], name);
            prop_assert_eq!(subject.to_string().parse::<Subject>(), Ok(subject));
        }

        #[test]
        fn any_text_is_read_or_refused(text in any::<String>()) {
            let _ = text.parse::<Subject>();
            let _ = format!("lustre://{text}").parse::<Subject>();
        }
    }
}
