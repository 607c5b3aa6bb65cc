//! Digests of texts and files, names made of them, and hashes of passwords.
//!
//! Randomness is not here: it is drawn by the caller while a plan is applied.
//! Invariant: the hash of every file whose bytes went into a digest is known to the scope.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lustre_model::value::Value;
use sha2::Digest as _;

use crate::function::{Draw, Read, Row, Run, Yield, read_bytes, refuse, text, whole};
use crate::world::{Applying, World};

/// Dearest cost of `bcrypt`: each one more doubles the time, and this is some seconds. Go's limit is 31, which is days.
const COST_MAX: i64 = 16;

/// Longest password, as in Go.
const PASSWORD_BYTES_MAX: usize = 72;

macro_rules! digests {
    ($($of_text:ident $of_file:ident $algorithm:ty, $encode:expr;)*) => {
        $(
            fn $of_text(arguments: &[Value]) -> Yield {
                Ok($encode(<$algorithm>::digest(text(arguments, 0))).into())
            }

            fn $of_file(world: &dyn World, arguments: &[Value]) -> Read {
                let (bytes, hash) = read_bytes(world, text(arguments, 0))?;
                Ok(($encode(<$algorithm>::digest(bytes)).into(), Some(hash)))
            }
        )*
    };
}

digests! {
    md5 file_md5 md5::Md5, hex::encode;
    sha1 file_sha1 sha1::Sha1, hex::encode;
    sha256 file_sha256 sha2::Sha256, hex::encode;
    sha512 file_sha512 sha2::Sha512, hex::encode;
    base64_sha256 file_base64_sha256 sha2::Sha256, |digest| STANDARD.encode(digest);
    base64_sha512 file_base64_sha512 sha2::Sha512, |digest| STANDARD.encode(digest);
}

pub(super) const ROWS: &[Row] = &[
    Row(
        "md5(text string) string",
        "Yields the MD5 of a text in hexadecimal.",
        ["md5(\"hello\")", "\"5d41402abc4b2a76b9719d911017c592\""],
        Run::Values(md5),
    ),
    Row(
        "sha1(text string) string",
        "Yields the SHA-1 of a text in hexadecimal.",
        ["sha1(\"hello\")", "\"aaf4c61ddcc5e8a2dabede0f3b482cd9aea9434d\""],
        Run::Values(sha1),
    ),
    Row(
        "sha256(text string) string",
        "Yields the SHA-256 of a text in hexadecimal.",
        ["sha256(\"hello\")", "\"2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824\""],
        Run::Values(sha256),
    ),
    Row(
        "sha512(text string) string",
        "Yields the SHA-512 of a text in hexadecimal.",
        ["substr(sha512(\"hello\"), 0, 16)", "\"9b71d224bd62f378\""],
        Run::Values(sha512),
    ),
    Row(
        "base64sha256(text string) string",
        "Yields the SHA-256 of a text in base64.",
        ["base64sha256(\"hello\")", "\"LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=\""],
        Run::Values(base64_sha256),
    ),
    Row(
        "base64sha512(text string) string",
        "Yields the SHA-512 of a text in base64.",
        ["length(base64sha512(\"hello\"))", "88"],
        Run::Values(base64_sha512),
    ),
    Row(
        "filemd5(path string) string",
        "Yields the MD5 of a file in hexadecimal.",
        ["filemd5(\"hello.txt\")", "md5(\"hello\")"],
        Run::World(file_md5),
    ),
    Row(
        "filesha1(path string) string",
        "Yields the SHA-1 of a file in hexadecimal.",
        ["filesha1(\"hello.txt\")", "sha1(\"hello\")"],
        Run::World(file_sha1),
    ),
    Row(
        "filesha256(path string) string",
        "Yields the SHA-256 of a file in hexadecimal.",
        ["filesha256(\"hello.txt\")", "sha256(\"hello\")"],
        Run::World(file_sha256),
    ),
    Row(
        "filesha512(path string) string",
        "Yields the SHA-512 of a file in hexadecimal.",
        ["filesha512(\"hello.txt\")", "sha512(\"hello\")"],
        Run::World(file_sha512),
    ),
    Row(
        "filebase64sha256(path string) string",
        "Yields the SHA-256 of a file in base64.",
        ["filebase64sha256(\"hello.txt\")", "base64sha256(\"hello\")"],
        Run::World(file_base64_sha256),
    ),
    Row(
        "filebase64sha512(path string) string",
        "Yields the SHA-512 of a file in base64.",
        ["filebase64sha512(\"hello.txt\")", "base64sha512(\"hello\")"],
        Run::World(file_base64_sha512),
    ),
    Row(
        "uuid() string",
        "Yields a random UUID, which is not known before the plan is applied.",
        ["length(regexall(\"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$\", uuid()))", "1"],
        Run::Later(uuid),
    ),
    Row(
        "uuidv5(namespace string, name string) string",
        "Yields the UUID of a name in a namespace: `dns`, `url`, `oid`, `x500`, or a UUID.",
        ["uuidv5(\"dns\", \"www.terraform.io\")", "\"a5008fae-b28c-5ba5-96cd-82b4c53552d6\""],
        Run::Values(uuid_v5),
    ),
    Row(
        "bcrypt(password string, cost? number) string",
        "Hashes a password with a random salt, which is not known before the plan is applied.",
        ["substr(bcrypt(\"hello\", 4), 0, 7)", "\"$2a$04$\""],
        Run::Later(bcrypt),
    ),
];

fn hyphenated(mut bytes: [u8; 16], version: u8) -> String {
    bytes[6] = bytes[6] & 0x0f | version << 4;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let text = hex::encode(bytes);
    [&text[..8], &text[8..12], &text[12..16], &text[16..20], &text[20..]].join("-")
}

fn first_16(bytes: &[u8]) -> [u8; 16] {
    let mut first = [0; 16];
    first.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
    first
}

fn uuid(_applying: &Applying, draw: &Draw, _arguments: &[Value]) -> Yield {
    Ok(hyphenated(first_16(draw), 4).into())
}

fn uuid_v5(arguments: &[Value]) -> Yield {
    // The well-known namespaces of RFC 9562.
    let well_known = |digit: char| format!("6ba7b81{digit}9dad11d180b400c04fd430c8");
    let namespace = match text(arguments, 0) {
        "dns" => well_known('0'),
        "url" => well_known('1'),
        "oid" => well_known('2'),
        "x500" => well_known('4'),
        other => {
            let bare = other.strip_prefix("urn:uuid:").unwrap_or(other);
            bare.strip_prefix('{').and_then(|bare| bare.strip_suffix('}')).unwrap_or(bare).replace('-', "")
        }
    };
    let Some(namespace) = hex::decode(&namespace).ok().filter(|bytes| bytes.len() == 16) else {
        return refuse(0, "it is neither `dns`, `url`, `oid`, `x500` nor a UUID");
    };
    let digest = sha1::Sha1::new().chain_update(namespace).chain_update(text(arguments, 1)).finalize();
    Ok(hyphenated(first_16(&digest), 5).into())
}

fn bcrypt(_applying: &Applying, draw: &Draw, arguments: &[Value]) -> Yield {
    let cost = if arguments.len() > 1 { whole(arguments, 1)? } else { 10 };
    // Go takes the usual cost where one is too low.
    let cost = if cost < 4 { 10 } else { cost };
    let Some(cost) = u32::try_from(cost).ok().filter(|_| cost <= COST_MAX) else {
        return refuse(1, format!("a cost is at most {COST_MAX}; each one more doubles the time"));
    };
    let password = text(arguments, 0);
    if password.len() > PASSWORD_BYTES_MAX {
        return refuse(0, format!("a password has at most {PASSWORD_BYTES_MAX} bytes"));
    }
    match bcrypt::hash_with_salt(password, cost, first_16(draw)) {
        Ok(parts) => Ok(parts.format_for_version(bcrypt::Version::TwoA).into()),
        Err(error) => refuse(0, error.to_string()),
    }
}
