//! `lustre credential`: hands out what mounts a file system on a machine that no spec names, and ends it.
//!
//! What is signed, recorded and told to targets is decided below; here are files and words.
//! Invariant: a private key is written into the one file that was named, for its owner alone, and is shown nowhere.

use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use fs_err as fs;
use fs_err::os::unix::fs::OpenOptionsExt as _;
use lustre_apply::credential::{self, Bundle, CredentialError};
use lustre_model::address::Address;
use lustre_model::journal::Journal;
use lustre_model::moment::rfc3339;
use lustre_model::resource::Kind;
use serde_json::json;

use super::state::parse;
use super::{recorded, spec};
use crate::cli::ViewFlags;
use crate::cli::credential::{CredentialCommand, IssueFlags, RevokeFlags};
use crate::exit::{Failure, Success, chain};
use crate::terminal::Terminal;

/// Who else may read what is made: nobody.
const MODE: u32 = 0o600;

/// Carries out a command on credentials.
pub fn run(command: &CredentialCommand, terminal: Terminal) -> Result<Success, Failure> {
    match command {
        CredentialCommand::Issue(flags) => issue(flags, terminal),
        CredentialCommand::Revoke(flags) => revoke(flags, terminal),
        CredentialCommand::List { view } => list(view, terminal),
    }
}

fn issue(flags: &IssueFlags, terminal: Terminal) -> Result<Success, Failure> {
    let cluster = parse(&flags.cluster)?;
    let recorded = recorded::lock(spec::place()?, "credential issue", flags.lock.lock_timeout)?;
    credential::check(&recorded.world, &cluster).map_err(|error| failed(&error))?;
    // Before anything is recorded, so that what was recorded is never without its file.
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(MODE).open(&flags.out)?;
    let journal = recorded.open("credential issue")?;
    let issued = credential::issue(journal.as_ref(), (&cluster, &flags.name), flags.valid)
        .map_err(|error| failed(&error));
    let closed = journal.close();
    let written = issued.and_then(|bundle| {
        closed?;
        write(&mut file, &bundle)?;
        Ok(bundle)
    });
    let bundle = match written {
        Ok(bundle) => bundle,
        Err(failure) => {
            fs::remove_file(&flags.out)?;
            return Err(failure);
        }
    };
    let out = flags.out.display();
    terminal.say(&format!(
        "{out} mounts {} until {}: it holds a private key, so bring it there on a safe way. On that machine:\n    \
         lustre mount -credential={out} FOLDER\nEnd it with:\n    lustre credential revoke {cluster} {}",
        bundle.fs_name,
        rfc3339(bundle.until),
        bundle.name
    ));
    Ok(Success::Done)
}

fn write(file: &mut fs::File, bundle: &Bundle) -> Result<(), Failure> {
    let text = serde_json::to_vec_pretty(bundle).map_err(std::io::Error::other)?;
    file.write_all(&text)?;
    file.write_all(b"\n")?;
    Ok(file.sync_all()?)
}

fn revoke(flags: &RevokeFlags, terminal: Terminal) -> Result<Success, Failure> {
    let cluster = parse(&flags.cluster)?;
    let recorded = recorded::lock(spec::place()?, "credential revoke", flags.lock.lock_timeout)?;
    credential::check(&recorded.world, &cluster).map_err(|error| failed(&error))?;
    let journal = recorded.open("credential revoke")?;
    let shared: Arc<dyn Journal> = Arc::clone(&journal) as Arc<dyn Journal>;
    let revoked = super::runtime()?.block_on(credential::revoke(shared, &cluster, &flags.name));
    let closed = journal.close();
    let revocation = revoked.map_err(|error| failed(&error))?;
    closed?;
    if revocation.untold.is_empty() {
        terminal.say(&format!(
            "{} of {cluster} is revoked: its connections are closed, and {} targets refuse it.",
            flags.name, revocation.told
        ));
        return Ok(Success::Done);
    }
    for (target, cause) in &revocation.untold {
        terminal.tell(&format!("{target} could not be told: {cause}"));
    }
    Err(Failure::Said {
        cause: format!(
            "{} is recorded as revoked, and {} of {} targets go on accepting it until they are told",
            flags.name,
            revocation.untold.len(),
            revocation.told + revocation.untold.len()
        ),
        hint: Some("apply, which tells them, or revoke it again when their hosts answer".to_owned()),
    })
}

fn list(view: &ViewFlags, terminal: Terminal) -> Result<Success, Failure> {
    let recorded = recorded::read(spec::place()?)?;
    let clusters = recorded.world.objects.iter().filter(|(_, object)| object.kind == Kind::Cluster);
    let (mut lines, mut all) = (Vec::new(), Vec::new());
    for (cluster, _) in clusters {
        let register = credential::register(&recorded.world, cluster)
            .map_err(|error| Failure::Said { cause: chain(&error), hint: None })?;
        for (name, handed) in &register.handed {
            let revoked = register.revoked.contains_key(&handed.serial);
            let state = if revoked { "revoked" } else { "handed out" };
            let until = rfc3339(handed.until);
            lines.push(format!("{cluster}  {name}  until {until}  {state}"));
            all.push(entry((cluster, name), (&handed.serial, revoked), Some(until)));
        }
        let others = register
            .revoked
            .iter()
            .filter(|(serial, _)| !register.handed.values().any(|handed| handed.serial == **serial));
        for (serial, name) in others {
            lines.push(format!("{cluster}  {name}  revoked"));
            all.push(entry((cluster, name), (serial, true), None));
        }
    }
    if view.json {
        terminal.say(&format!("{:#}", json!({ "format_version": "1.0", "credentials": all })));
    } else if lines.is_empty() {
        terminal.tell("No credential was handed out or revoked.");
    } else {
        terminal.say(&lines.join("\n"));
    }
    Ok(Success::Done)
}

fn entry(
    (cluster, name): (&Address, &str),
    (serial, revoked): (&str, bool),
    until: Option<String>,
) -> serde_json::Value {
    json!({
        "cluster": cluster, "name": name, "certificate_serial": serial, "certificate_until": until, "revoked": revoked
    })
}

fn failed(error: &CredentialError) -> Failure {
    Failure::Said { cause: chain(error), hint: error.remedy() }
}

/// Reads what [`issue`] wrote; refuses what others may read.
pub fn read(path: &Path) -> Result<Bundle, Failure> {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = fs::metadata(path)?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(Failure::Said {
            cause: format!("others than its owner may read {}, which holds a private key", path.display()),
            hint: Some(format!(
                "chmod 600 {}; if anybody may have read it, revoke it and issue another one",
                path.display()
            )),
        });
    }
    let odd = |cause: String| Failure::Said {
        cause: format!("{} is no credential: {cause}", path.display()),
        hint: Some("`lustre credential issue` makes one".to_owned()),
    };
    let bundle: Bundle = serde_json::from_slice(&fs::read(path)?).map_err(|error| odd(error.to_string()))?;
    if bundle.format != 1 {
        return Err(odd(format!("it has format {}, and this program reads format 1", bundle.format)));
    }
    Ok(bundle)
}
