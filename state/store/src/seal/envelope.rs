//! The envelope around encrypted bytes: a header in clear, and what is encrypted under a key of its own.
//!
//! ```text
//! {"format":"lustre sealed","version":1,"key":"2026","wrap":{"argon2id":{"memory_kib":65536,"iterations":3,"lanes":1,
//!  "salt":"…"}},"wrapped":"…","nonce":"…"}⇥…base64 of AES-256-GCM's ciphertext and tag…
//! ```
//! `wrapped` is the data key, wrapped by the named key: for a passphrase, nonce (12 bytes), ciphertext and tag of AES-256-GCM under
//! the key that Argon2id gives, with `key` and `wrap` authenticated; for a command, what that gave. The body is encrypted as a
//! whole under the data key; authenticated with it are the header, byte for byte, and what the bytes are about.
//! Pure: keys, nonces and salts come in.
//! Invariant: no byte of an envelope can be changed, and no envelope stand where another was, without being refused.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::SealError;

/// The version of the envelope that this code writes and reads.
const VERSION: u32 = 1;

const FORMAT: &str = "lustre sealed";

/// How every envelope begins. The body of a snapshot, a record of a journal and a plan file begin otherwise.
const START: &[u8] = b"{\"format\":\"lustre sealed\"";

/// Between the header and the body: a byte that JSON has only escaped.
const BETWEEN: u8 = b'\t';

/// Bytes of a key.
pub const KEY_BYTES: usize = 32;

/// Most that a header may ask of Argon2id; beyond it was not written by us.
const COST_MAX: Cost = Cost { memory_kib: 1 << 20, iterations: 16, lanes: 16 };

/// A key, gone from memory with its holder.
pub type KeyBytes = Zeroizing<[u8; KEY_BYTES]>;

/// What deriving a key from a passphrase costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cost {
    /// Memory, in KiB.
    pub memory_kib: u32,
    /// Passes over it.
    pub iterations: u32,
    /// Lanes.
    pub lanes: u32,
}

impl Cost {
    /// What RFC 9106 recommends where memory is scarce, in one lane: about a tenth of a second.
    pub const USUAL: Self = Self { memory_kib: 64 << 10, iterations: 3, lanes: 1 };
}

/// How the data key is wrapped.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Wrap {
    /// By a key that Argon2id gives for a passphrase.
    Argon2id {
        /// Memory, in KiB.
        memory_kib: u32,
        /// Passes over it.
        iterations: u32,
        /// Lanes.
        lanes: u32,
        /// Base64.
        salt: String,
    },
    /// By a command of the user.
    Command,
}

/// What stands before an encrypted body, in clear.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    format: String,
    version: u32,
    /// Name of the key that wraps the data key.
    pub key: String,
    /// How.
    pub wrap: Wrap,
    /// The data key, wrapped; base64.
    pub wrapped: String,
    nonce: String,
}

/// An envelope that was read, still closed.
pub struct Envelope<'a> {
    /// Its header.
    pub header: Header,
    raw: &'a [u8],
    body: &'a [u8],
}

/// Returns the name of the key under which bytes are encrypted; none when they are plain.
pub fn sealed_under(bytes: &[u8]) -> Result<Option<String>, SealError> {
    Ok(Envelope::read(bytes)?.map(|envelope| envelope.header.key))
}

impl<'a> Envelope<'a> {
    /// Reads an envelope; none when the bytes are something else.
    pub fn read(bytes: &'a [u8]) -> Result<Option<Self>, SealError> {
        if !bytes.starts_with(START) {
            return Ok(None);
        }
        /// What every version has.
        #[derive(Deserialize)]
        struct Versioned {
            version: u32,
        }
        let malformed = |_| SealError::Malformed;
        let end = bytes.iter().position(|byte| *byte == BETWEEN).ok_or(SealError::Malformed)?;
        let raw = &bytes[..end];
        let Versioned { version } = serde_json::from_slice(raw).map_err(malformed)?;
        if version > VERSION {
            return Err(SealError::Newer { found: version, known: VERSION });
        }
        let header: Header = serde_json::from_slice(raw).map_err(malformed)?;
        if header.format != FORMAT || header.version != VERSION {
            return Err(SealError::Malformed);
        }
        Ok(Some(Self { header, raw, body: &bytes[end + 1..] }))
    }

    /// Decrypts the body with its data key.
    pub fn open(&self, key: &KeyBytes, about: &[u8]) -> Result<Vec<u8>, SealError> {
        let nonce: [u8; NONCE_LEN] =
            decode(&self.header.nonce)?.try_into().map_err(|_| SealError::Malformed)?;
        let mut body = BASE64.decode(self.body).map_err(|_| SealError::Malformed)?;
        let opened = cipher(key)?
            .open_in_place(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(authenticated(self.raw, about)),
                &mut body,
            )
            .map_err(|_| SealError::Altered)?;
        let length = opened.len();
        body.truncate(length);
        Ok(body)
    }
}

/// Encrypts a body under a data key, whose wrapping is said; `count` must be another one each time for one data key.
pub fn close(
    (key, count): (&KeyBytes, u64),
    (name, wrap, wrapped): (&str, &Wrap, &str),
    (plain, about): (&[u8], &[u8]),
) -> Result<Vec<u8>, SealError> {
    let mut nonce = [0; NONCE_LEN];
    nonce[NONCE_LEN - size_of::<u64>()..].copy_from_slice(&count.to_be_bytes());
    let header = Header {
        format: FORMAT.to_owned(),
        version: VERSION,
        key: name.to_owned(),
        wrap: wrap.clone(),
        wrapped: wrapped.to_owned(),
        nonce: BASE64.encode(nonce),
    };
    let mut bytes = serde_json::to_vec(&header).map_err(|_| SealError::Malformed)?;
    let mut body = plain.to_vec();
    cipher(key)?
        .seal_in_place_append_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(authenticated(&bytes, about)),
            &mut body,
        )
        .map_err(|_| SealError::TooLarge)?;
    bytes.push(BETWEEN);
    bytes.extend_from_slice(BASE64.encode(body).as_bytes());
    Ok(bytes)
}

/// Derives the key that wraps data keys from a passphrase.
pub fn derive(name: &str, passphrase: &str, wrap: &Wrap) -> Result<KeyBytes, SealError> {
    let Wrap::Argon2id { memory_kib, iterations, lanes, salt } = wrap else {
        return Err(SealError::WrongKey { key: name.to_owned() });
    };
    if *memory_kib > COST_MAX.memory_kib || *iterations > COST_MAX.iterations || *lanes > COST_MAX.lanes {
        return Err(SealError::TooCostly);
    }
    let refused = |_| SealError::Derivation { key: name.to_owned() };
    let params = argon2::Params::new(*memory_kib, *iterations, *lanes, Some(KEY_BYTES)).map_err(refused)?;
    let mut memory = Zeroizing::new(vec![argon2::Block::default(); params.block_count()]);
    let argon = argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params);
    let mut key = KeyBytes::default();
    argon
        .hash_password_into_with_memory(
            passphrase.as_bytes(),
            &decode(salt)?,
            key.as_mut(),
            memory.as_mut_slice(),
        )
        .map_err(refused)?;
    Ok(key)
}

/// Wraps a data key by a derived one.
pub fn wrap_key(
    (wrapping, nonce): (&KeyBytes, [u8; NONCE_LEN]),
    (name, wrap): (&str, &Wrap),
    data: &KeyBytes,
) -> Result<String, SealError> {
    let mut sealed = data.to_vec();
    cipher(wrapping)?
        .seal_in_place_append_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(named(name, wrap)?),
            &mut sealed,
        )
        .map_err(|_| SealError::TooLarge)?;
    Ok(BASE64.encode([&nonce[..], &sealed].concat()))
}

/// Unwraps a data key by a derived one.
pub fn unwrap_key(wrapping: &KeyBytes, header: &Header) -> Result<KeyBytes, SealError> {
    let wrong = || SealError::WrongKey { key: header.key.clone() };
    let mut bytes = Zeroizing::new(decode(&header.wrapped)?);
    let (nonce, sealed) = bytes.split_at_mut_checked(NONCE_LEN).ok_or(SealError::Malformed)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| SealError::Malformed)?;
    let opened = cipher(wrapping)?
        .open_in_place(nonce, Aad::from(named(&header.key, &header.wrap)?), sealed)
        .map_err(|_| wrong())?;
    key(opened).ok_or_else(wrong)
}

/// Takes bytes for a key.
pub fn key(bytes: &[u8]) -> Option<KeyBytes> {
    let mut key = KeyBytes::default();
    (bytes.len() == KEY_BYTES).then(|| key.copy_from_slice(bytes))?;
    Some(key)
}

/// Writes bytes in base64.
pub fn encode(bytes: &[u8]) -> String {
    BASE64.encode(bytes)
}

/// Reads base64 of a header.
pub fn decode(text: &str) -> Result<Vec<u8>, SealError> {
    BASE64.decode(text).map_err(|_| SealError::Malformed)
}

fn cipher(key: &KeyBytes) -> Result<LessSafeKey, SealError> {
    let key = UnboundKey::new(&AES_256_GCM, key.as_ref()).map_err(|_| SealError::Malformed)?;
    Ok(LessSafeKey::new(key))
}

/// What is authenticated with a body. The header's length comes first, so that its end cannot move.
fn authenticated(header: &[u8], about: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_be_bytes()[..], header, about].concat()
}

/// What is authenticated with a wrapped data key.
fn named(name: &str, wrap: &Wrap) -> Result<Vec<u8>, SealError> {
    serde_json::to_vec(&(FORMAT, VERSION, name, wrap)).map_err(|_| SealError::Malformed)
}
