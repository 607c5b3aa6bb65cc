//! Whose key a host may have: OpenSSH's `known_hosts`, read by ourselves.
//!
//! Plain and hashed names, lists, wildcards, negation, `[host]:port`, `@revoked` and `@cert-authority`. Pure; files are read by
//! who asks.
//! Invariant: a revoked key is never good, on whichever line, and a line that cannot be understood makes no key good.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;

/// The port that is not written beside a name.
pub(super) const PORT: u16 = 22;

/// What known hosts say about a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The host has it.
    Known,
    /// Nothing is said about the host.
    Unheard,
    /// Only keys of other types are known of the host, the first on this line.
    OtherType {
        /// Counted from one.
        line: usize,
    },
    /// The host had another key of that type.
    Changed {
        /// Counted from one.
        line: usize,
    },
    /// The key must not be used any more.
    Revoked {
        /// Counted from one.
        line: usize,
    },
    /// Only an authority of certificates is known of the host.
    Authority {
        /// Counted from one.
        line: usize,
    },
}

/// A public key as it is written: the name of its type and the base64 of all of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Key<'a> {
    /// `ssh-ed25519` or another.
    pub(super) kind: &'a str,
    /// The key.
    pub(super) base64: &'a str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Marker {
    None,
    Revoked,
    Authority,
}

/// A line that says something.
struct Line<'a> {
    number: usize,
    marker: Marker,
    patterns: &'a str,
    key: Key<'a>,
}

/// Returns the name of a host as it stands in known hosts.
pub(super) fn name(address: &str, port: u16) -> String {
    let address = address.to_ascii_lowercase();
    if port == PORT { address } else { format!("[{address}]:{port}") }
}

/// Judges the key that the host of that name (see [`name`]) shows.
pub(super) fn judge(text: &str, host: &str, shown: Key<'_>) -> Verdict {
    let about: Vec<Line<'_>> = lines(text).filter(|line| matches(line.patterns, host)).collect();
    let is_shown = |line: &&Line<'_>| line.key == shown;
    let marked = |marker: Marker| about.iter().filter(move |line| line.marker == marker);
    if let Some(line) = marked(Marker::Revoked).find(is_shown) {
        return Verdict::Revoked { line: line.number };
    }
    if marked(Marker::None).any(|line| line.key == shown) {
        return Verdict::Known;
    }
    if let Some(line) = marked(Marker::None).find(|line| line.key.kind == shown.kind) {
        return Verdict::Changed { line: line.number };
    }
    if let Some(line) = marked(Marker::None).next() {
        return Verdict::OtherType { line: line.number };
    }
    match marked(Marker::Authority).next() {
        Some(line) => Verdict::Authority { line: line.number },
        None => Verdict::Unheard,
    }
}

/// Returns the types of the keys that are known of a host, in the order of the text: it is asked for one of these first.
pub(super) fn kinds<'a>(text: &'a str, host: &str) -> Vec<&'a str> {
    let plain = lines(text).filter(|line| line.marker == Marker::None && matches(line.patterns, host));
    plain.map(|line| line.key.kind).collect()
}

fn lines(text: &str) -> impl Iterator<Item = Line<'_>> {
    text.lines().enumerate().filter_map(|(at, line)| {
        let line = line.trim();
        if line.starts_with('#') {
            return None;
        }
        let mut words = line.split_ascii_whitespace().peekable();
        let marker = match *words.peek()? {
            "@revoked" => Marker::Revoked,
            "@cert-authority" => Marker::Authority,
            _ => Marker::None,
        };
        if marker != Marker::None {
            words.next();
        }
        let patterns = words.next().filter(|patterns| !patterns.starts_with('@'))?;
        let key = Key { kind: words.next()?, base64: words.next()? };
        Some(Line { number: at + 1, marker, patterns, key })
    })
}

/// Tells whether a list of patterns means a host: at least one does, and none denies it.
fn matches(patterns: &str, host: &str) -> bool {
    if patterns.starts_with('|') {
        return is_hash_of(patterns, host).unwrap_or(false);
    }
    let mut found = false;
    for pattern in patterns.split(',') {
        match pattern.strip_prefix('!') {
            Some(denied) if fits(denied, host) => return false,
            Some(_) => {}
            None => found |= fits(pattern, host),
        }
    }
    found
}

/// `|1|salt|hash`, both in base64: HMAC-SHA1 of the name.
fn is_hash_of(hashed: &str, host: &str) -> Option<bool> {
    let (salt, hash) = hashed.strip_prefix("|1|")?.split_once('|')?;
    let (salt, hash) = (STANDARD.decode(salt).ok()?, STANDARD.decode(hash).ok()?);
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &salt);
    Some(hmac::verify(&key, host.as_bytes(), &hash).is_ok())
}

/// Whether a name fits a pattern in which `*` stands for any text and `?` for one character. Takes no more than the
/// product of both lengths.
fn fits(pattern: &str, name: &str) -> bool {
    let pattern: Vec<char> = pattern.to_ascii_lowercase().chars().collect();
    let mut reached = vec![false; pattern.len() + 1];
    reached[0] = true;
    let skip_stars = |reached: &mut Vec<bool>| {
        for (at, one) in pattern.iter().enumerate() {
            if *one == '*' && reached[at] {
                reached[at + 1] = true;
            }
        }
    };
    skip_stars(&mut reached);
    for character in name.chars() {
        let mut next = vec![false; pattern.len() + 1];
        for (at, one) in pattern.iter().enumerate().filter(|(at, _)| reached[*at]) {
            match *one {
                '*' => next[at] = true,
                '?' => next[at + 1] = true,
                literal => next[at + 1] |= literal == character,
            }
        }
        skip_stars(&mut next);
        reached = next;
    }
    reached[pattern.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Key<'_> = Key { kind: "ssh-ed25519", base64: "AAAAa" };
    const B: Key<'_> = Key { kind: "ssh-ed25519", base64: "AAAAb" };
    const C: Key<'_> = Key { kind: "ecdsa-sha2-nistp256", base64: "AAAAc" };

    fn check(text: &str, host: &str, key: Key<'_>, expected: Verdict) {
        assert_eq!(judge(text, host, key), expected, "{host} in\n{text}");
    }

    #[test]
    fn plain_names_lists_and_ports_are_found() {
        check("h ssh-ed25519 AAAAa comment\n", "h", A, Verdict::Known);
        check("\n# h ssh-ed25519 AAAAb\ng,h ssh-ed25519 AAAAa", "h", A, Verdict::Known);
        check("H.Example ssh-ed25519 AAAAa", &name("h.EXAMPLE", 22), A, Verdict::Known);
        check("h ssh-ed25519 AAAAa", &name("h", 2222), A, Verdict::Unheard);
        check("[h]:2222 ssh-ed25519 AAAAa", &name("h", 2222), A, Verdict::Known);
        check("", "h", A, Verdict::Unheard);
    }

    #[test]
    fn another_key_of_the_type_is_a_changed_one_and_a_key_of_another_type_is_not() {
        check("g ssh-ed25519 AAAAa\nh ssh-ed25519 AAAAa", "h", B, Verdict::Changed { line: 2 });
        check("h ssh-ed25519 AAAAa\nh ssh-ed25519 AAAAb", "h", B, Verdict::Known);
        check("h ssh-ed25519 AAAAa", "h", C, Verdict::OtherType { line: 1 });
        assert_eq!(
            kinds("h ssh-ed25519 AAAAa\n@revoked h ssh-dss A\n* ecdsa-sha2-nistp256 B", "h"),
            [A.kind, C.kind]
        );
    }

    #[test]
    fn wildcards_match_and_negation_wins() {
        check("10.0.0.* ssh-ed25519 AAAAa", "10.0.0.7", A, Verdict::Known);
        check("10.0.0.* ssh-ed25519 AAAAa", "10.0.1.7", A, Verdict::Unheard);
        check("h? ssh-ed25519 AAAAa", "h1", A, Verdict::Known);
        check("h? ssh-ed25519 AAAAa", "h", A, Verdict::Unheard);
        check("*,!h1 ssh-ed25519 AAAAa", "h1", A, Verdict::Unheard);
        check("!h1,* ssh-ed25519 AAAAa", "h2", A, Verdict::Known);
        check("!h1 ssh-ed25519 AAAAa", "h2", A, Verdict::Unheard);
        check("[h*]:22?? ssh-ed25519 AAAAa", "[h9]:2222", A, Verdict::Known);
    }

    #[test]
    fn hashed_names_are_found() {
        // ssh-keygen -H made it of "10.213.7.1".
        let salt = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, b"01234567890123456789");
        let hash = STANDARD.encode(hmac::sign(&salt, b"10.213.7.1"));
        let line = format!("|1|{}|{hash} ssh-ed25519 AAAAa", STANDARD.encode(b"01234567890123456789"));
        check(&line, "10.213.7.1", A, Verdict::Known);
        check(&line, "10.213.7.2", A, Verdict::Unheard);
        check("|2|abc|def ssh-ed25519 AAAAa", "h", A, Verdict::Unheard);
        check("|1|***|def ssh-ed25519 AAAAa", "h", A, Verdict::Unheard);
    }

    #[test]
    fn a_hash_that_openssh_made_is_found() {
        // From `ssh-keygen -H` over the name h1.lab.
        let text = include_str!("hashed_known_hosts");
        check(
            text,
            "h1.lab",
            Key { kind: "ssh-ed25519", base64: text.split(' ').nth(2).unwrap().trim() },
            Verdict::Known,
        );
    }

    #[test]
    fn a_revoked_key_is_refused_wherever_it_stands() {
        let text = "h ssh-ed25519 AAAAa\n@revoked * ssh-ed25519 AAAAa\n";
        check(text, "h", A, Verdict::Revoked { line: 2 });
        check("@revoked h ssh-ed25519 AAAAa\nh ssh-ed25519 AAAAb", "h", B, Verdict::Known);
        check("@revoked h ssh-ed25519 AAAAa", "h", B, Verdict::Unheard);
    }

    #[test]
    fn an_authority_makes_no_plain_key_good() {
        check("@cert-authority *.lab ssh-ed25519 AAAAa", "h.lab", A, Verdict::Authority { line: 1 });
        check("@cert-authority *.lab ssh-ed25519 AAAAa\nh.lab ssh-ed25519 AAAAa", "h.lab", A, Verdict::Known);
        check("@unheard h ssh-ed25519 AAAAa", "h", A, Verdict::Unheard);
    }

    #[test]
    fn a_hostile_pattern_takes_no_time() {
        let pattern = format!("{}b ssh-ed25519 AAAAa", "*a".repeat(2000));
        check(&pattern, &"a".repeat(250), A, Verdict::Unheard);
    }
}
