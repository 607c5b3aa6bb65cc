//! What a process shows and whom it refuses, while it runs: it follows the files in its folder.
//!
//! The agent writes them, the process looks at them every second and says by a hash which ones it goes by; so nobody has to be
//! started anew for another certificate.
//! Invariant: what is noted as taken is what every handshake from then on is made with.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use lustre_model::control::Certified;
use lustre_wire::{Identity, IdentityError, Issued};
use sha2::{Digest, Sha256};
use tracing::{info, warn};

use crate::durable;

/// The files that are followed.
const FILES: [&str; 3] = ["cert.pem", "ca.pem", REVOKED];

/// Numbers of certificates that are refused, one on a line.
pub(crate) const REVOKED: &str = "revoked";

/// Says what the process goes by.
pub(crate) const TAKEN: &str = "taken";

/// How often a process looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Tells one version of the files from another.
type Seen = [Option<(u64, i64, i64)>; 3];

/// Loads the identity of a folder, and has it follow the folder's files for as long as somebody else holds it.
pub(crate) fn follow(dir: &Path) -> Result<Identity, IdentityError> {
    let seen = look(dir);
    let identity = Identity::load(dir)?;
    note(dir);
    let (dir, followed) = (dir.to_owned(), identity.clone());
    let thread = std::thread::Builder::new().name("certificate".to_owned());
    thread.spawn(move || keep(&dir, &followed, seen)).map_err(|source| IdentityError::Read { source })?;
    Ok(identity)
}

fn keep(dir: &Path, identity: &Identity, mut seen: Seen) {
    let mut failed = None;
    while identity.is_shared() {
        std::thread::sleep(LOOK_EVERY);
        let now = look(dir);
        if now == seen {
            continue;
        }
        match identity.reload(dir) {
            Ok(()) => {
                info!("another certificate, or others that are revoked, from now on");
                note(dir);
                (seen, failed) = (now, None);
            }
            // The files are written one after the other.
            Err(error) if failed == Some(now) => {
                warn!(error = &error as &dyn std::error::Error, "the certificate stays as it was");
                seen = now;
            }
            Err(_) => failed = Some(now),
        }
    }
}

fn look(dir: &Path) -> Seen {
    FILES.map(|name| {
        let found = fs_err::metadata(dir.join(name)).ok()?;
        Some((found.ino(), found.mtime(), found.mtime_nsec()))
    })
}

/// Notes what this process goes by.
fn note(dir: &Path) {
    let noted = fingerprint(dir).and_then(|hash| durable::write_text(&dir.join(TAKEN), hash.as_bytes()));
    if let Err(error) = noted {
        warn!(%error, "cannot note which certificate is shown");
    }
}

fn fingerprint(dir: &Path) -> io::Result<String> {
    let mut hasher = Sha256::new();
    for name in FILES {
        let bytes = durable::read(&dir.join(name))?.unwrap_or_default();
        hasher.update((bytes.len() as u64).to_le_bytes());
        hasher.update(&bytes);
    }
    Ok(hex::encode(hasher.finalize()))
}

/// Tells whether the process of a folder goes by the files that are there.
pub(crate) fn is_taken(dir: &Path) -> io::Result<bool> {
    let noted = durable::read(&dir.join(TAKEN))?.unwrap_or_default();
    Ok(String::from_utf8_lossy(&noted).trim() == fingerprint(dir)?)
}

/// Returns what certificate lies in a folder; `None` where there is none that can be read.
pub(crate) fn certified(dir: &Path) -> io::Result<Option<Certified>> {
    let Some(pem) = durable::read(&dir.join("cert.pem"))? else { return Ok(None) };
    let Ok(issued) = Issued::of_pem(&String::from_utf8_lossy(&pem)) else { return Ok(None) };
    let revoked = durable::read(&dir.join(REVOKED))?.unwrap_or_default();
    let revoked = String::from_utf8_lossy(&revoked).lines().map(str::to_owned).collect();
    Ok(Some(Certified { serial: issued.serial, until: issued.until, taken: is_taken(dir)?, revoked }))
}
