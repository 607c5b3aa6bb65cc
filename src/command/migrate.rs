//! A state that moves: where the spec had it before, and how it gets to where the spec has it now.
//!
//! Where a state elsewhere was last opened from this folder is noted in `.lustre/state.json`, without secrets; a state in the
//! folder speaks for itself. Both are this machine's only: a fresh checkout knows no other place.
//! Invariant: a spec that names another place never begins anew beside a state that is still there, and a migration never
//! replaces anything but an older copy of the same state, or nothing.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fs_err as fs;
use lustre_model::recorded::World;
use lustre_s3::Endpoint;
use lustre_store::{HttpPlace, Place, S3Place};
use serde::{Deserialize, Serialize};

use super::place;
use super::recorded::{self, Recorded, StatePlace};
use super::spec;
use crate::exit::{Failure, Success, chain};
use crate::terminal::Terminal;

/// Where the place is noted.
const NOTE: &str = ".lustre/state.json";

/// What the migration is called to those who meet its locks.
const OPERATION: &str = "init -migrate-state";

/// What is noted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Note {
    /// What the spec said.
    written: String,
    /// Where that was.
    place: Noted,
}

/// A place as it is noted: what it takes to reach it again, but for secrets, which come from the environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "backend", rename_all = "lowercase")]
enum Noted {
    Local {
        path: PathBuf,
    },
    S3 {
        bucket: String,
        key: String,
        region: Option<String>,
        endpoint_url: Option<String>,
        path_style: bool,
        profile: Option<String>,
        credentials_file: Option<String>,
        lock_expiry_seconds: u64,
    },
    Http {
        address: String,
        lock_address: Option<String>,
        unlock_address: Option<String>,
        methods: [String; 3],
        username: Option<String>,
        skip_cert_verification: bool,
        client_ca_certificate_pem: Option<String>,
        client_certificate_pem: Option<String>,
    },
}

impl Noted {
    fn of(place: &Place) -> Self {
        match place.clone() {
            Place::Local { path } => Self::Local { path },
            Place::S3(S3Place { endpoint, profile, key, lock_expiry }) => Self::S3 {
                bucket: endpoint.bucket,
                key,
                region: endpoint.region,
                endpoint_url: endpoint.endpoint_url,
                path_style: endpoint.path_style,
                profile,
                credentials_file: endpoint.credentials_file,
                lock_expiry_seconds: lock_expiry.as_secs(),
            },
            Place::Http(place) => Self::Http {
                address: place.address,
                lock_address: place.lock_address,
                unlock_address: place.unlock_address,
                methods: [place.update_method, place.lock_method, place.unlock_method],
                username: place.username,
                skip_cert_verification: place.skip_cert_verification,
                client_ca_certificate_pem: place.client_ca_certificate_pem,
                client_certificate_pem: place.client_certificate_pem,
            },
        }
    }

    fn place(self) -> Place {
        match self {
            Self::Local { path } => Place::Local { path },
            Self::S3 {
                bucket,
                key,
                region,
                endpoint_url,
                path_style,
                profile,
                credentials_file,
                lock_expiry_seconds,
            } => {
                let endpoint = Endpoint { bucket, endpoint_url, region, path_style, credentials_file };
                let lock_expiry = Duration::from_secs(lock_expiry_seconds);
                Place::S3(S3Place { endpoint, profile, key, lock_expiry })
            }
            Self::Http {
                address,
                lock_address,
                unlock_address,
                methods: [update_method, lock_method, unlock_method],
                username,
                skip_cert_verification,
                client_ca_certificate_pem,
                client_certificate_pem,
            } => Place::Http(place::with_secrets_of_environment(HttpPlace {
                lock_address,
                unlock_address,
                update_method,
                lock_method,
                unlock_method,
                username,
                skip_cert_verification,
                client_ca_certificate_pem,
                client_certificate_pem,
                ..HttpPlace::new(address)
            })),
        }
    }
}

/// Notes where the state is that was opened from this folder.
pub fn remember(at: &StatePlace) -> Result<(), Failure> {
    let Some(written) = &at.written else { return Ok(()) };
    let note = Path::new(NOTE);
    // The default place needs no note, unless one names another.
    if at.place == default_place() && !note.exists() {
        return Ok(());
    }
    let content = Note { written: written.clone(), place: Noted::of(&at.place) };
    let text = serde_json::to_string_pretty(&content).map_err(std::io::Error::other)?;
    if fs::read_to_string(note).is_ok_and(|old| old == text) {
        return Ok(());
    }
    let folder = note.parent().map_or(Ok(()), fs::create_dir_all);
    match folder.and_then(|()| fs::write(note, text)) {
        // A folder that cannot be written knows no former place, as a fresh checkout does.
        Err(error) if matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem) => {
            Ok(())
        }
        done => Ok(done?),
    }
}

fn noted() -> Result<Option<Note>, Failure> {
    let text = match fs::read_to_string(NOTE) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let damaged = |error: serde_json::Error| Failure::Said {
        cause: format!("{NOTE}, which says where the state was, cannot be read: {error}"),
        hint: Some("delete it when the spec names the place where the state is".to_owned()),
    };
    serde_json::from_str(&text).map(Some).map_err(damaged)
}

/// Returns where the spec had its state before, when it said something else then.
fn former(now: &StatePlace) -> Result<Option<Place>, Failure> {
    let Some(written) = &now.written else { return Ok(None) };
    if let Some(note) = noted()? {
        let place = note.place.place();
        let moved = note.written != *written && place.to_string() != now.place.to_string();
        return Ok(moved.then_some(place));
    }
    let moved = now.place != default_place() && Path::new(place::STATE).exists();
    Ok(moved.then(default_place))
}

fn default_place() -> Place {
    Place::Local { path: place::STATE.into() }
}

/// Fails when a state is still where the spec had it before, and what is where the spec has it now, `here`, does not go on
/// from it: that would be to begin anew beside it, or to go back to an older copy.
pub fn refuse_forgotten(at: &StatePlace, here: &World) -> Result<(), Failure> {
    let Some(before) = former(at)? else { return Ok(()) };
    let now = &at.place;
    let hint = format!(
        "`lustre init -migrate-state` copies it to {now}; where it is to be left behind, delete {NOTE}, and the file when it is \
         in this folder"
    );
    let refused = |what: &str, there: &str| Failure::Said {
        cause: format!("the spec has its state at {now} now, {what}, and had it at {before} before, {there}"),
        hint: Some(hint.clone()),
    };
    let absent = here.lineage.0.is_empty();
    match at.elsewhere(before.clone()).backend().and_then(|backend| Ok(backend.read()?)) {
        Ok(read) if read.world.objects.is_empty() && read.world.outputs.is_empty() => Ok(()),
        Ok(_) if absent => Err(refused("where there is none", "where it still is")),
        Ok(read) if read.world.lineage != here.lineage => {
            Err(refused("where another one is", "where it still is"))
        }
        Ok(read) if read.world.serial > here.serial => {
            let (older, newer) = (here.serial, read.world.serial);
            Err(refused(
                &format!("which is a copy at serial {older}"),
                &format!("where it is at serial {newer}"),
            ))
        }
        Ok(_) => Ok(()),
        // What goes on from it cannot be told from anything else.
        Err(error) => {
            let what = if absent { "where there is none" } else { "where there is one" };
            Err(refused(what, &format!("which cannot be read: {}", chain(&error))))
        }
    }
}

/// Fails when the spec has another place for its state than before and the state was not brought there. Where a place cannot be
/// told yet, for want of a variable's value, planning tells.
pub fn refuse_unmigrated() -> Result<(), Failure> {
    let Ok(at) = spec::unread_place() else { return Ok(()) };
    if former(&at)?.is_some() {
        recorded::read(spec::place()?)?;
    }
    Ok(())
}

/// Copies the state from where the spec had it before, with both places locked.
pub fn run(wait: Duration, terminal: Terminal) -> Result<Success, Failure> {
    let at = spec::place()?;
    let now = &at.place;
    let Some(before) = former(&at)? else {
        terminal.say("The state is where the spec has it; there is nothing to migrate.");
        return Ok(Success::Done);
    };
    let old = recorded::lock(at.elsewhere(before.clone()), OPERATION, wait)?;
    if old.is_absent() {
        return Err(Failure::Said {
            cause: format!("there is no state at {before} to be migrated"),
            hint: Some(format!("delete {NOTE} when the spec names the place where the state is")),
        });
    }
    let mut new = recorded::lock(at.elsewhere(now.clone()), OPERATION, wait)?;
    check(&old, &new)?;
    // Agents have seen the tokens of the old place.
    new.raise(old.token)?;
    let state = new.open(OPERATION)?;
    state.replace(World::clone(&old.world))?;
    state.close()?;
    let copied = recorded::read(at.elsewhere(now.clone()))?;
    if *copied.world != *old.world {
        return Err(Failure::Said {
            cause: format!("what {now} gives back is not what was at {before}"),
            hint: Some(format!("nothing was removed at {before}; name it in the spec again")),
        });
    }
    set_aside(&before, terminal)?;
    remember(&at)?;
    terminal.say(&format!("The state, {} objects, is at {now} now.", old.world.objects.len()));
    Ok(Success::Done)
}

/// Refuses to replace anything but an older copy, or nothing.
fn check(old: &Recorded, new: &Recorded) -> Result<(), Failure> {
    let (there, here) = (&new.world, &old.world);
    let refused = |cause: String| Failure::Said {
        cause,
        hint: Some("compare both with `lustre state pull`, and keep one".to_owned()),
    };
    if new.is_absent() || *there == *here {
        return Ok(());
    }
    if there.lineage != here.lineage {
        let empty = there.objects.is_empty() && there.outputs.is_empty();
        let cause = format!("{} holds another state, {}", new.at.place, there.lineage);
        return if empty { Ok(()) } else { Err(refused(cause)) };
    }
    if there.serial > here.serial {
        let (place, serial) = (&new.at.place, there.serial);
        return Err(refused(format!(
            "{place} has gone on to serial {serial}, and {} is at {}",
            old.at.place, here.serial
        )));
    }
    Ok(())
}

/// Keeps a file of this folder under another name, so that it is not taken for the state; other places stay as they are.
fn set_aside(before: &Place, terminal: Terminal) -> Result<(), Failure> {
    if let Place::Local { path } = before {
        let aside = before.copy_path("migrated");
        fs::rename(path, &aside)?;
        terminal.say(&format!("The file as it was is {} now.", aside.display()));
    } else {
        terminal.say(&format!("What is at {before} was left as it is, and is not used any more."));
    }
    Ok(())
}
