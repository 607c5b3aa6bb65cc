//! `lustre mount`: mounts a file system with a credential, on a machine that no spec names.
//!
//! What a mount is belongs to `daemon`; here it gets a folder such as an agent would give it, gone when it ends.
//! Invariant: the private key lies in a folder that only its owner can enter, for as long as the mount.

use std::io::Write as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use fs_err as fs;
use fs_err::os::unix::fs::OpenOptionsExt as _;
use lustre_agent::ProcessDir;
use lustre_apply::credential::Bundle;
use lustre_model::control::ProcessSpec;
use lustre_model::moment::rfc3339;

use super::credential;
use crate::cli::credential::MountFlags;
use crate::daemon;
use crate::exit::{Failure, Success, chain};
use crate::terminal::Terminal;

/// Mounts until somebody unmounts it, or this process is asked to end.
pub fn run(flags: &MountFlags, terminal: Terminal) -> Result<Success, Failure> {
    let bundle = credential::read(&flags.credential)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    if bundle.until <= now {
        return Err(Failure::Said {
            cause: format!("the credential \"{}\" ended on {}", bundle.name, rfc3339(bundle.until)),
            hint: Some("ask for another one: lustre credential issue".to_owned()),
        });
    }
    let path = fs::canonicalize(&flags.path)?;
    let folder = Folder::make(&bundle, (&path, &flags.options))?;
    terminal.tell(&format!("Mounting {} at {}.", bundle.fs_name, path.display()));
    daemon::mounted(&ProcessDir::new(&folder.0)).map_err(|error| Failure::Said {
        cause: format!("{} is not mounted: {}", path.display(), chain(error.as_ref())),
        hint: Some(
            "the machine must reach the cluster's hosts at their addresses; a credential that was revoked or has ended is refused"
                .to_owned(),
        ),
    })?;
    terminal.tell(&format!("{} is unmounted.", path.display()));
    Ok(Success::Done)
}

/// What an agent would give the process of a mount.
struct Folder(PathBuf);

impl Folder {
    fn make(bundle: &Bundle, (path, options): (&Path, &[String])) -> Result<Self, Failure> {
        let root = std::env::var_os("XDG_RUNTIME_DIR").map_or_else(std::env::temp_dir, PathBuf::from);
        let path_of_own = root.join(format!("lustre-mount-{}", std::process::id()));
        std::fs::DirBuilder::new().mode(0o700).create(&path_of_own).map_err(|source| {
            std::io::Error::new(source.kind(), format!("{}: {source}", path_of_own.display()))
        })?;
        let folder = Self(path_of_own);
        let spec = ProcessSpec::Mount {
            fs_name: bundle.fs_name.clone(),
            metadata: bundle.metadata.clone(),
            path: path.display().to_string(),
            options: options.to_vec(),
        };
        let spec = serde_json::to_string(&spec).map_err(std::io::Error::other)?;
        let texts = [
            ("spec.json", &spec),
            ("cert.pem", &bundle.certificate),
            ("ca.pem", &bundle.authority),
            ("key.pem", &bundle.key),
        ];
        for (name, text) in texts {
            let mut options = fs::OpenOptions::new();
            let mut file = options.write(true).create_new(true).mode(0o600).open(folder.0.join(name))?;
            file.write_all(text.as_bytes())?;
        }
        Ok(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Nothing more can be done about it; whoever may read it owns the credential.
        let _left = fs::remove_dir_all(&self.0);
    }
}
