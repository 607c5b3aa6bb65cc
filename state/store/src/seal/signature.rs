//! Signatures on files: who carries a plan out knows who made it.
//!
//! ```text
//! {"format":"lustre signed","version":1,"key":"…SHA-256 of the public key, hex…","signature":"…Ed25519, base64…"}\n
//! …the file that is signed, byte for byte…
//! ```
//! Keys are what `openssl genpkey -algorithm ed25519` and `openssl pkey -pubout` write: PEM of PKCS#8 and of SPKI (RFC 8410).
//! Pure. Not encryption: what is signed may be encrypted, and is then signed as it is encrypted.
//! Invariant: a signature on a file about one thing is none on the same bytes about another.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use thiserror::Error;
use zeroize::Zeroizing;

/// The version of signed files that this code writes and reads.
const VERSION: u32 = 1;

const FORMAT: &str = "lustre signed";

/// How every signed file begins.
const START: &[u8] = b"{\"format\":\"lustre signed\"";

/// What is before the 32 bytes of an Ed25519 key in its SubjectPublicKeyInfo.
const SPKI_START: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// Bytes of a public key.
const PUBLIC_BYTES: usize = 32;

/// A signature cannot be made, or does not hold. Nothing was carried out.
#[derive(Debug, Error)]
pub enum SignatureError {
    /// The file of a private key.
    #[error(
        "it is not a private key of Ed25519 in PEM; `openssl genpkey -algorithm ed25519 -out FILE` makes one"
    )]
    PrivateKey,
    /// The file of a public key.
    #[error("it is not a public key of Ed25519 in PEM; `openssl pkey -in KEY -pubout -out FILE` makes one")]
    PublicKey,
    /// A signature is demanded.
    #[error("it is not signed, and a signature is demanded; make the plan with -sign-key=FILE")]
    Missing,
    /// By somebody else.
    #[error("it is signed by the key {found}, and only {known} may sign; plan again where one of those is")]
    Stranger {
        /// The key's name.
        found: String,
        /// Those that may.
        known: String,
    },
    /// The bytes are not those that were signed.
    #[error("it was altered since it was signed; plan again")]
    Altered,
    /// It begins like ours, and is not.
    #[error("it begins like something signed, and is cut off or altered; plan again")]
    Malformed,
    /// Newer code signed it.
    #[error(
        "it is signed in version {found}, and this lustre reads versions up to {VERSION}: use the newer lustre that wrote it"
    )]
    Newer {
        /// Its version.
        found: u32,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    format: String,
    version: u32,
    key: String,
    signature: String,
}

/// A key that signs.
pub struct SigningKey(Ed25519KeyPair);

impl SigningKey {
    /// Reads a private key.
    pub fn from_pem(text: &str) -> Result<Self, SignatureError> {
        let der = Zeroizing::new(pem(text, "PRIVATE KEY").ok_or(SignatureError::PrivateKey)?);
        let pair =
            Ed25519KeyPair::from_pkcs8_maybe_unchecked(&der).map_err(|_| SignatureError::PrivateKey)?;
        Ok(Self(pair))
    }

    /// Puts a signature in front of a file.
    pub fn sign(&self, about: &[u8], file: &[u8]) -> Result<Vec<u8>, SignatureError> {
        let header = Header {
            format: FORMAT.to_owned(),
            version: VERSION,
            key: name(self.0.public_key().as_ref()),
            signature: BASE64.encode(self.0.sign(&message(about, file))),
        };
        let mut bytes = serde_json::to_vec(&header).map_err(|_| SignatureError::Malformed)?;
        bytes.push(b'\n');
        bytes.extend_from_slice(file);
        Ok(bytes)
    }
}

/// A key that signatures are held against.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifyingKey([u8; PUBLIC_BYTES]);

impl VerifyingKey {
    /// Reads a public key.
    pub fn from_pem(text: &str) -> Result<Self, SignatureError> {
        let der = pem(text, "PUBLIC KEY").ok_or(SignatureError::PublicKey)?;
        let key = der.strip_prefix(&SPKI_START).and_then(|key| key.try_into().ok());
        Ok(Self(key.ok_or(SignatureError::PublicKey)?))
    }

    /// Returns what the key is called in signed files.
    pub fn name(&self) -> String {
        name(&self.0)
    }
}

/// Splits a file into its signature and what is signed; none when it is not signed.
pub fn signed(bytes: &[u8]) -> Result<Option<Signed<'_>>, SignatureError> {
    if !bytes.starts_with(START) {
        return Ok(None);
    }
    /// What every version has.
    #[derive(Deserialize)]
    struct Versioned {
        version: u32,
    }
    let malformed = |_| SignatureError::Malformed;
    let end = bytes.iter().position(|byte| *byte == b'\n').ok_or(SignatureError::Malformed)?;
    let Versioned { version } = serde_json::from_slice(&bytes[..end]).map_err(malformed)?;
    if version > VERSION {
        return Err(SignatureError::Newer { found: version });
    }
    let header: Header = serde_json::from_slice(&bytes[..end]).map_err(malformed)?;
    if header.format != FORMAT || header.version != VERSION {
        return Err(SignatureError::Malformed);
    }
    Ok(Some(Signed { header, file: &bytes[end + 1..] }))
}

/// A signed file, whose signature holds only when [`Signed::verify`] said so.
pub struct Signed<'a> {
    header: Header,
    file: &'a [u8],
}

impl<'a> Signed<'a> {
    /// Returns what is signed, by whomever.
    pub fn file(&self) -> &'a [u8] {
        self.file
    }

    /// Tells whether one of these keys signed exactly this about exactly that.
    pub fn verify(&self, about: &[u8], keys: &[VerifyingKey]) -> Result<(), SignatureError> {
        let found = &self.header.key;
        let Some(key) = keys.iter().find(|key| key.name() == *found) else {
            let names: Vec<String> = keys.iter().map(VerifyingKey::name).collect();
            return Err(SignatureError::Stranger { found: found.clone(), known: names.join(", ") });
        };
        let signature = BASE64.decode(&self.header.signature).map_err(|_| SignatureError::Malformed)?;
        let holds = UnparsedPublicKey::new(&ED25519, key.0).verify(&message(about, self.file), &signature);
        holds.map_err(|_| SignatureError::Altered)
    }
}

fn name(public: &[u8]) -> String {
    hex::encode(Sha256::digest(public))
}

/// What is signed: never the bare bytes, so that a signature made for another purpose is none here.
fn message(about: &[u8], file: &[u8]) -> Vec<u8> {
    [format!("{FORMAT} {VERSION}\n").as_bytes(), about, b"\n", file].concat()
}

/// Returns what is between the lines that name this label.
fn pem(text: &str, label: &str) -> Option<Vec<u8>> {
    let (begin, end) = (format!("-----BEGIN {label}-----"), format!("-----END {label}-----"));
    let start = text.find(&begin)? + begin.len();
    let body = &text[start..start + text[start..].find(&end)?];
    let letters: Zeroizing<String> = Zeroizing::new(body.split_whitespace().collect());
    BASE64.decode(letters.as_bytes()).ok()
}
