//! The keys of a spec, and which of them writes: data keys are made, wrapped, unwrapped and kept for one run.
//!
//! Pure but for what it is given: randomness, and commands that wrap keys.
//! Invariant: one data key encrypts what one keyring writes, and each time under another nonce, a count; a data key is never
//! used by two keyrings.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use ring::aead::NONCE_LEN;
use zeroize::Zeroizing;

use super::envelope::{self, Cost, Envelope, Header, KeyBytes, Wrap};
use super::{Seal, SealError};

/// Bytes of a salt.
const SALT_BYTES: usize = 16;

/// Where randomness comes from.
pub trait Random: Send + Sync {
    /// Fills all bytes, each unpredictable.
    fn fill(&self, bytes: &mut [u8]) -> io::Result<()>;
}

/// Wraps data keys where no key can be looked at: a KMS, an HSM, an agent.
pub trait Wrapper: Send + Sync {
    /// Returns the key wrapped.
    fn wrap(&self, data_key: &[u8]) -> Result<Vec<u8>, String>;
    /// Returns the key that was wrapped so.
    fn unwrap(&self, wrapped: &[u8]) -> Result<Zeroizing<Vec<u8>>, String>;
}

/// What wraps data keys.
pub enum Key {
    /// A passphrase, by Argon2id.
    Passphrase(Zeroizing<String>),
    /// A command of the user.
    Command(Box<dyn Wrapper>),
}

/// What becomes of bytes that are not encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plaintext {
    /// They are refused.
    Refused,
    /// They are read; what is written is encrypted.
    Read,
}

/// The keys of a spec.
pub struct Keys {
    /// By name; only these are read.
    pub keys: BTreeMap<String, Key>,
    /// The one that writes, one of `keys`; without one, bytes are written as they are.
    pub writes: Option<String>,
    /// What becomes of bytes that are not encrypted.
    pub plaintext: Plaintext,
    /// What deriving a key costs.
    pub cost: Cost,
}

/// Encrypts what is written, and decrypts what is read.
pub struct Keyring {
    keys: Keys,
    random: Box<dyn Random>,
    known: Mutex<Known>,
}

/// What was derived and unwrapped so far.
#[derive(Default)]
struct Known {
    /// Keys that wrap, by name and parameters.
    wrapping: BTreeMap<(String, Wrap), KeyBytes>,
    /// Data keys, by the name of what wrapped them, and wrapped.
    data: BTreeMap<(String, String), KeyBytes>,
    writing: Option<Writing>,
}

/// The data key of what this keyring writes.
#[derive(Clone)]
struct Writing {
    key: KeyBytes,
    name: String,
    wrap: Wrap,
    wrapped: String,
    /// Nonces that were used: 0 to this, without this.
    used: u64,
}

impl Keyring {
    /// Takes the keys of a spec.
    pub fn new(keys: Keys, random: Box<dyn Random>) -> Self {
        Self { keys, random, known: Mutex::default() }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn random<const N: usize>(&self) -> Result<[u8; N], SealError> {
        let mut bytes = [0; N];
        self.random.fill(&mut bytes).map_err(|source| SealError::Random { source })?;
        Ok(bytes)
    }

    /// Returns the data key of an envelope.
    fn data_key(&self, header: &Header) -> Result<KeyBytes, SealError> {
        let key = self.keys.keys.get(&header.key).ok_or_else(|| self.unknown(&header.key))?;
        let place = (header.key.clone(), header.wrapped.clone());
        let mut known = self.known();
        if let Some(found) = known.data.get(&place) {
            return Ok(found.clone());
        }
        let found = match key {
            Key::Passphrase(passphrase) => {
                let wrapping = wrapping(&mut known, &header.key, (passphrase, &header.wrap))?;
                envelope::unwrap_key(&wrapping, header)?
            }
            Key::Command(wrapper) => {
                if header.wrap != Wrap::Command {
                    return Err(SealError::WrongKey { key: header.key.clone() });
                }
                let failed = |cause| SealError::Command { key: header.key.clone(), cause };
                let bytes = wrapper.unwrap(&envelope::decode(&header.wrapped)?).map_err(failed)?;
                envelope::key(&bytes).ok_or_else(|| SealError::WrongKey { key: header.key.clone() })?
            }
        };
        known.data.insert(place, found.clone());
        Ok(found)
    }

    fn unknown(&self, key: &str) -> SealError {
        let names: Vec<String> = self.keys.keys.keys().map(|name| format!("\"{name}\"")).collect();
        let known = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        SealError::UnknownKey { key: key.to_owned(), known }
    }

    /// Returns the data key of what is written, with a count that nobody had before.
    fn writing(&self, name: &str) -> Result<Writing, SealError> {
        let mut known = self.known();
        if known.writing.is_none() {
            known.writing = Some(self.begin(&mut known, name)?);
        }
        let Some(writing) = &mut known.writing else { return Err(self.unknown(name)) };
        let now = writing.clone();
        writing.used += 1;
        Ok(now)
    }

    /// Makes a data key and wraps it.
    fn begin(&self, known: &mut Known, name: &str) -> Result<Writing, SealError> {
        let key: KeyBytes = Zeroizing::new(self.random()?);
        let (wrap, wrapped) = match self.keys.keys.get(name).ok_or_else(|| self.unknown(name))? {
            Key::Command(wrapper) => {
                let failed = |cause| SealError::Command { key: name.to_owned(), cause };
                (Wrap::Command, envelope::encode(&wrapper.wrap(key.as_ref()).map_err(failed)?))
            }
            Key::Passphrase(passphrase) => {
                // What was derived to read need not be derived again to write: each wrapping has a random nonce.
                let cost = self.keys.cost;
                let usual = |wrap: &Wrap| {
                    matches!(wrap, Wrap::Argon2id { memory_kib, iterations, lanes, .. }
                    if cost == Cost { memory_kib: *memory_kib, iterations: *iterations, lanes: *lanes })
                };
                let derived = known.wrapping.keys().find(|(of, wrap)| of == name && usual(wrap));
                let wrap = match derived {
                    Some((_, wrap)) => wrap.clone(),
                    None => {
                        let salt = envelope::encode(&self.random::<SALT_BYTES>()?);
                        let Cost { memory_kib, iterations, lanes } = cost;
                        Wrap::Argon2id { memory_kib, iterations, lanes, salt }
                    }
                };
                let wrapping = wrapping(known, name, (passphrase, &wrap))?;
                let nonce = self.random::<NONCE_LEN>()?;
                let wrapped = envelope::wrap_key((&wrapping, nonce), (name, &wrap), &key)?;
                (wrap, wrapped)
            }
        };
        Ok(Writing { key, name: name.to_owned(), wrap, wrapped, used: 0 })
    }
}

/// Returns the key that a passphrase gives, derived once.
fn wrapping(
    known: &mut Known,
    name: &str,
    (passphrase, wrap): (&Zeroizing<String>, &Wrap),
) -> Result<KeyBytes, SealError> {
    let place = (name.to_owned(), wrap.clone());
    if let Some(derived) = known.wrapping.get(&place) {
        return Ok(derived.clone());
    }
    let derived = envelope::derive(name, passphrase, wrap)?;
    known.wrapping.insert(place, derived.clone());
    Ok(derived)
}

impl Seal for Keyring {
    fn seal<'a>(&self, plain: &'a [u8], about: &[u8]) -> Result<Cow<'a, [u8]>, SealError> {
        let Some(name) = &self.keys.writes else { return Ok(Cow::Borrowed(plain)) };
        let Writing { key, name, wrap, wrapped, used } = self.writing(name)?;
        Ok(Cow::Owned(envelope::close((&key, used), (&name, &wrap, &wrapped), (plain, about))?))
    }

    fn unseal<'a>(&self, sealed: &'a [u8], about: &[u8]) -> Result<Cow<'a, [u8]>, SealError> {
        match Envelope::read(sealed)? {
            Some(envelope) => Ok(Cow::Owned(envelope.open(&self.data_key(&envelope.header)?, about)?)),
            None if self.keys.plaintext == Plaintext::Refused => Err(SealError::NotSealed),
            None => Ok(Cow::Borrowed(sealed)),
        }
    }

    fn writes_under(&self) -> Option<&str> {
        self.keys.writes.as_deref()
    }
}
