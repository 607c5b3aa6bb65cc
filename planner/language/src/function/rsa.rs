//! `rsadecrypt`: RSA with the padding of PKCS #1 v1.5.
//!
//! Keys are PEM: `RSA PRIVATE KEY` (PKCS #1) or `PRIVATE KEY` (PKCS #8), neither encrypted. The time it takes depends on
//! the key; nobody but the owner of the key can measure it here.
//! Invariant: a number read from a key has at most [`MODULUS_BITS_MAX`] bits, so that a power takes bounded time.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lustre_model::value::Value;
use num_bigint::BigUint;

use crate::function::{Row, Run, Yield, refuse, text};

/// Longest modulus.
const MODULUS_BITS_MAX: u64 = 16_384;

pub(super) const ROWS: &[Row] = &[Row(
    "rsadecrypt(ciphertext string, key string) string",
    "Decrypts base64 with an RSA key in PEM.",
    ["can(rsadecrypt(\"AA==\", \"no key\"))", "false"],
    Run::Values(decrypt),
)];

/// Tags of ASN.1.
const INTEGER: u8 = 0x02;
const OCTETS: u8 = 0x04;
const SEQUENCE: u8 = 0x30;

/// What of a private key is used.
struct Key {
    modulus: BigUint,
    exponent: BigUint,
}

fn decrypt(arguments: &[Value]) -> Yield {
    let Ok(ciphertext) = STANDARD.decode(text(arguments, 0)) else {
        return refuse(0, "a cipher text is base64");
    };
    let Some(key) = key(text(arguments, 1)) else {
        return refuse(1, "it is no RSA private key in PEM without a passphrase");
    };
    let ciphertext = BigUint::from_bytes_be(&ciphertext);
    if ciphertext >= key.modulus {
        return refuse(0, "it cannot be decrypted with that key");
    }
    let padded = ciphertext.modpow(&key.exponent, &key.modulus).to_bytes_be();
    // 00 02 PS 00 M, without the leading zero byte; PS has eight bytes at least.
    let message = padded.strip_prefix(&[2]).and_then(|rest| {
        let end = rest.iter().position(|byte| *byte == 0).filter(|end| *end >= 8)?;
        rest.get(end + 1..)
    });
    let width = usize::try_from(key.modulus.bits().div_ceil(8)).unwrap_or(usize::MAX);
    let Some(message) = message.filter(|_| padded.len() + 1 == width) else {
        return refuse(0, "it cannot be decrypted with that key");
    };
    match std::str::from_utf8(message) {
        Ok(message) => Ok(message.into()),
        Err(_) => refuse(0, "what it encodes is not UTF-8 text"),
    }
}

fn key(pem: &str) -> Option<Key> {
    let (_, rest) = pem.split_once("-----BEGIN ")?;
    let (label, rest) = rest.split_once("-----")?;
    let (body, _) = rest.split_once("-----END ")?;
    let body: String = body.chars().filter(|letter| !letter.is_whitespace()).collect();
    let der = STANDARD.decode(body).ok()?;
    match label {
        "RSA PRIVATE KEY" => pkcs1(&der),
        "PRIVATE KEY" => {
            let (_, rest) = element(element(&der, SEQUENCE)?.0, INTEGER)?;
            let (_, rest) = element(rest, SEQUENCE)?;
            pkcs1(element(rest, OCTETS)?.0)
        }
        _ => None,
    }
}

/// Sequence of version, modulus, public exponent, private exponent and what speeds it up.
fn pkcs1(der: &[u8]) -> Option<Key> {
    let (_, rest) = element(element(der, SEQUENCE)?.0, INTEGER)?;
    let (modulus, rest) = element(rest, INTEGER)?;
    let (_, rest) = element(rest, INTEGER)?;
    let (exponent, _) = element(rest, INTEGER)?;
    let key = Key { modulus: BigUint::from_bytes_be(modulus), exponent: BigUint::from_bytes_be(exponent) };
    let bounded = key.modulus.bits() <= MODULUS_BITS_MAX && key.exponent.bits() <= MODULUS_BITS_MAX;
    (bounded && key.modulus.bits() > 0).then_some(key)
}

/// Returns the contents of an element with that tag, and what follows it.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (first, rest) = der.split_first()?;
    let (length, rest) = rest.split_first()?;
    if *first != tag {
        return None;
    }
    let (length, rest) = match usize::from(*length) {
        length @ 0..0x80 => (length, rest),
        long => {
            let (digits, rest) =
                rest.split_at_checked(long - 0x80).filter(|(digits, _)| digits.len() <= 4)?;
            (digits.iter().fold(0usize, |length, byte| length << 8 | usize::from(*byte)), rest)
        }
    };
    rest.split_at_checked(length)
}
