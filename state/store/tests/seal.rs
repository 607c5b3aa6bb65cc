//! Encryption and signatures, bytes in and bytes out: one answer that another implementation gave, every byte flipped, every
//! cut, wrong keys, rotation, and what is plain.
//!
//! Randomness counts up, and keys are cheap to derive, so that a test is the same each time and takes milliseconds.
//! Invariant: whatever is changed in an envelope or a signed file, it is refused, and no error holds a passphrase.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use lustre_model::recorded::{Lineage, World};
use lustre_store::signature::{SigningKey, VerifyingKey, signed};
use lustre_store::{
    Cost, Key, Keyring, Keys, Plain, Plaintext, Random, Seal, SealError, StoreError, Wrapper, decode, encode,
    sealed_under,
};
use proptest::prelude::{any, prop, prop_assert, prop_assert_eq, proptest};
use zeroize::Zeroizing;

const CHEAP: Cost = Cost { memory_kib: 64, iterations: 1, lanes: 1 };

const PASSPHRASE: &str = "correct horse battery";

/// 0, 1, 2, … over all calls, from a start.
struct Counting(AtomicU8);

impl Random for Counting {
    fn fill(&self, bytes: &mut [u8]) -> io::Result<()> {
        bytes.fill_with(|| self.0.fetch_add(1, Ordering::Relaxed));
        Ok(())
    }
}

fn ring_of(start: u8, keys: Vec<(&str, Key)>, writes: Option<&str>, plaintext: Plaintext) -> Keyring {
    let keys: BTreeMap<String, Key> = keys.into_iter().map(|(name, key)| (name.to_owned(), key)).collect();
    let keys = Keys { keys, writes: writes.map(str::to_owned), plaintext, cost: CHEAP };
    Keyring::new(keys, Box::new(Counting(AtomicU8::new(start))))
}

fn passphrase(text: &str) -> Key {
    Key::Passphrase(Zeroizing::new(text.to_owned()))
}

fn usual() -> Keyring {
    ring_of(0, vec![("2026", passphrase(PASSPHRASE))], Some("2026"), Plaintext::Refused)
}

/// What Python's `cryptography` makes of the same passphrase, salt, keys and nonces.
const KNOWN: &str = concat!(
    r#"{"format":"lustre sealed","version":1,"key":"2026","wrap":{"argon2id":{"memory_kib":64,"iterations":1,"lanes":1,"#,
    r#""salt":"ICEiIyQlJicoKSorLC0uLw=="}},"wrapped":"MDEyMzQ1Njc4OTo7HQyZ8mnnXzaBI6ngrrIeroGeLugW+yKiEbtI5sxsawaO/PkwXqTTqcQ"#,
    r#"QIHid1Asf","nonce":"AAAAAAAAAAAAAAAA"}"#,
    "\tdZ7U/I8d/nTNqUqhd5CQbMD5+o3kxYA="
);

#[test]
fn an_envelope_is_what_another_implementation_makes() {
    let sealed = usual().seal(b"{\"a\":1}", b"about").unwrap().into_owned();
    assert_eq!(String::from_utf8(sealed).unwrap(), KNOWN);
    let other = ring_of(99, vec![("2026", passphrase(PASSPHRASE))], None, Plaintext::Refused);
    assert_eq!(other.unseal(KNOWN.as_bytes(), b"about").unwrap().as_ref(), b"{\"a\":1}");
    assert_eq!(sealed_under(KNOWN.as_bytes()).unwrap().as_deref(), Some("2026"));
}

#[test]
fn every_flipped_bit_and_every_cut_is_refused() {
    let keyring = usual();
    let sealed = KNOWN.as_bytes();
    for at in 0..sealed.len() {
        for bit in 0..8 {
            let mut bytes = sealed.to_vec();
            bytes[at] ^= 1 << bit;
            assert!(keyring.unseal(&bytes, b"about").is_err(), "bit {bit} of byte {at}");
        }
        assert!(keyring.unseal(&sealed[..at], b"about").is_err(), "cut at {at}");
    }
    assert!(keyring.unseal(&[sealed, b"A"].concat(), b"about").is_err());
    assert!(
        matches!(keyring.unseal(sealed, b"another"), Err(SealError::Altered)),
        "it is about something else"
    );
}

#[test]
fn each_failure_says_what_it_is() {
    let keyring = |name, text| ring_of(0, vec![(name, passphrase(text))], Some(name), Plaintext::Refused);
    let said = |ring: &dyn Seal, bytes: &[u8]| {
        let error = ring.unseal(bytes, b"about").expect_err("it is refused").to_string();
        assert!(!error.contains(PASSPHRASE) && !error.contains("another one"), "{error}");
        error
    };
    let known = KNOWN.as_bytes();
    assert!(
        said(&keyring("2026", "another one altogether"), known).contains("the key \"2026\" does not open it")
    );
    assert!(said(&keyring("2027", PASSPHRASE), known).contains("reads \"2027\""));
    assert!(said(&usual(), b"{\"lineage\":1}").contains("it is not encrypted"));
    assert!(said(&Plain, known).contains("no `encryption`"));
    let newer = KNOWN.replace("\"version\":1", "\"version\":2");
    assert!(said(&usual(), newer.as_bytes()).contains("use the newer lustre"));
    let costly = KNOWN.replace("\"memory_kib\":64", "\"memory_kib\":4000000000");
    assert!(said(&usual(), costly.as_bytes()).contains("more memory or time"));
    assert!(said(&usual(), b"{\"format\":\"lustre sealed\"}\tAAAA").contains("cut off or altered"));
    let migrating = ring_of(0, vec![("2026", passphrase(PASSPHRASE))], Some("2026"), Plaintext::Read);
    assert_eq!(migrating.unseal(b"{}", b"about").unwrap().as_ref(), b"{}");
    let back = ring_of(0, vec![("2026", passphrase(PASSPHRASE))], None, Plaintext::Read);
    assert_eq!(back.unseal(known, b"about").unwrap().as_ref(), b"{\"a\":1}");
    assert_eq!(
        back.seal(b"{}", b"about").unwrap().as_ref(),
        b"{}",
        "without a key that writes, it is written plain"
    );
}

#[test]
fn a_previous_key_reads_and_the_new_one_writes() {
    let both = vec![("2026", passphrase(PASSPHRASE)), ("2027", passphrase("a newer passphrase"))];
    let rotated = ring_of(50, both, Some("2027"), Plaintext::Refused);
    let plain = rotated.unseal(KNOWN.as_bytes(), b"about").unwrap().into_owned();
    let sealed = rotated.seal(&plain, b"about").unwrap().into_owned();
    assert_eq!(sealed_under(&sealed).unwrap().as_deref(), Some("2027"));
    let only_new =
        ring_of(0, vec![("2027", passphrase("a newer passphrase"))], Some("2027"), Plaintext::Refused);
    assert_eq!(only_new.unseal(&sealed, b"about").unwrap().as_ref(), plain);
    assert!(matches!(usual().unseal(&sealed, b"about"), Err(SealError::UnknownKey { .. })));
}

#[test]
fn no_nonce_comes_twice_under_one_key_and_no_key_twice() {
    let keyring = Arc::new(usual());
    let header = |sealed: &[u8]| {
        let end = sealed.iter().position(|byte| *byte == b'\t').unwrap();
        let header: serde_json::Value = serde_json::from_slice(&sealed[..end]).unwrap();
        (header["wrapped"].to_string(), header["nonce"].to_string())
    };
    let seen = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..100 {
                    seen.lock().unwrap().push(header(&keyring.seal(b"same", b"about").unwrap()));
                }
            });
        }
    });
    let mut seen = seen.into_inner().unwrap();
    seen.push(header(
        &ring_of(7, vec![("2026", passphrase(PASSPHRASE))], Some("2026"), Plaintext::Refused)
            .seal(b"same", b"about")
            .unwrap(),
    ));
    let count = seen.len();
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), count);
}

/// Wraps by turning all bits, and counts how often it is asked.
struct Turning(Arc<AtomicUsize>);

impl Wrapper for Turning {
    fn wrap(&self, data_key: &[u8]) -> Result<Vec<u8>, String> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(data_key.iter().map(|byte| !byte).collect())
    }

    fn unwrap(&self, wrapped: &[u8]) -> Result<Zeroizing<Vec<u8>>, String> {
        self.0.fetch_add(1, Ordering::Relaxed);
        if wrapped.len() == 32 {
            Ok(Zeroizing::new(wrapped.iter().map(|byte| !byte).collect()))
        } else {
            Err("no".to_owned())
        }
    }
}

#[test]
fn a_command_wraps_once_and_unwraps_once_in_a_run() {
    let asked = Arc::new(AtomicUsize::new(0));
    let kms = || vec![("kms", Key::Command(Box::new(Turning(Arc::clone(&asked)))))];
    let keyring = ring_of(0, kms(), Some("kms"), Plaintext::Refused);
    let sealed: Vec<Vec<u8>> =
        [b"one", b"two"].iter().map(|plain| keyring.seal(*plain, b"about").unwrap().into_owned()).collect();
    assert_eq!(asked.load(Ordering::Relaxed), 1);
    let reader = ring_of(0, kms(), Some("kms"), Plaintext::Refused);
    for (bytes, plain) in sealed.iter().zip([b"one", b"two"]) {
        assert_eq!(reader.unseal(bytes, b"about").unwrap().as_ref(), plain);
    }
    assert_eq!(asked.load(Ordering::Relaxed), 2);
    let passphrase = ring_of(0, vec![("kms", passphrase(PASSPHRASE))], None, Plaintext::Refused);
    assert!(matches!(passphrase.unseal(&sealed[0], b"about"), Err(SealError::WrongKey { .. })));
}

#[test]
fn a_snapshot_keeps_lineage_and_serial_in_clear_and_nothing_else() {
    let world = World::new(Lineage("first".into()));
    let keyring = usual();
    let path = Path::new("lustre.state");
    let bytes = encode(&world, 7, &keyring).unwrap();
    let text = String::from_utf8(bytes.clone()).unwrap();
    assert!(
        text.starts_with("{\"format\":\"lustre state\"") && text.contains("\"lineage\":\"first\""),
        "{text}"
    );
    assert!(!text.contains("objects"), "{text}");
    assert_eq!(text.lines().count(), 3);
    let read = decode(path, &bytes, &keyring).unwrap();
    assert_eq!((read.world, read.token), (world, 7));
    let plain = decode(path, &bytes, &Plain).expect_err("it is encrypted");
    assert!(matches!(plain, StoreError::Unseal { source: SealError::Unexpected { .. }, .. }), "{plain}");
    // Somebody who can write gives an old snapshot a new header, with a checksum that fits.
    let (head, rest) = text.split_once('\n').unwrap();
    let forged =
        format!("{}\n{}\n", head.replace("\"token\":7", "\"token\":8"), rest.lines().next().unwrap());
    let forged =
        format!("{forged}{}\n", hex::encode(<sha2::Sha256 as sha2::Digest>::digest(forged.as_bytes())));
    let forged = decode(path, forged.as_bytes(), &keyring).expect_err("the token is authenticated");
    assert!(matches!(forged, StoreError::Unseal { source: SealError::Altered, .. }), "{forged}");
}

const PRIVATE: &str = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n-----END PRIVATE KEY-----\n";
const PUBLIC: &str = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----\n";

/// Of the key pair in RFC 8410, section 10.
fn pair() -> (SigningKey, VerifyingKey) {
    (
        SigningKey::from_pem(PRIVATE).expect("a private key"),
        VerifyingKey::from_pem(PUBLIC).expect("a public key"),
    )
}

#[test]
fn a_signature_holds_for_these_bytes_about_this_by_this_key() {
    let (private, public) = pair();
    let bytes = private.sign(b"lustre plan", b"the plan\n").unwrap();
    let found = signed(&bytes).unwrap().expect("it is signed");
    assert_eq!(found.file(), b"the plan\n");
    found.verify(b"lustre plan", std::slice::from_ref(&public)).unwrap();
    assert!(found.verify(b"another", std::slice::from_ref(&public)).is_err());
    assert!(found.verify(b"lustre plan", &[]).is_err());
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut bytes = bytes.clone();
            bytes[at] ^= 1 << bit;
            let holds = signed(&bytes)
                .ok()
                .flatten()
                .map(|it| it.verify(b"lustre plan", std::slice::from_ref(&public)).is_ok());
            assert_ne!(holds, Some(true), "bit {bit} of byte {at}");
        }
    }
    assert!(signed(b"{\"format\":\"lustre plan\"}\n").unwrap().is_none());
    assert!(
        SigningKey::from_pem(PUBLIC).is_err()
            && VerifyingKey::from_pem(PRIVATE).is_err()
            && VerifyingKey::from_pem("").is_err()
    );
}

proptest! {
    #[test]
    fn what_was_sealed_comes_back(plain in prop::collection::vec(any::<u8>(), 0..2000), about in prop::collection::vec(any::<u8>(), 0..40)) {
        let keyring = usual();
        let sealed = keyring.seal(&plain, &about).unwrap().into_owned();
        prop_assert!(!sealed.contains(&0) && !sealed.contains(&b'\n'));
        let back = usual().unseal(&sealed, &about).unwrap().into_owned();
        prop_assert_eq!(back, plain);
    }

    #[test]
    fn any_bytes_are_opened_or_refused(tail in prop::collection::vec(any::<u8>(), 0..300)) {
        let keyring = usual();
        let _ = keyring.unseal(&tail, b"");
        let _ = keyring.unseal(&[b"{\"format\":\"lustre sealed\"", &tail[..]].concat(), b"");
        let _ = signed(&[b"{\"format\":\"lustre signed\"", &tail[..]].concat());
    }
}
