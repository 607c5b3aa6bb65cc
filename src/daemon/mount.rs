//! The process of a mount: `lustre-agent mount --dir P`.
//!
//! Connects, mounts, serves; what a mount is belongs to `lustre_mount`. Mounts that a killed process left behind are
//! cleared by the agent before it starts this one.
//! Invariant: the process says that it is ready only after the mount answered through the kernel.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use lustre_agent::{ProcessDir, ProcessDirError, termination};
use lustre_model::control::ProcessSpec;
use lustre_model::id::ClientId;
use lustre_model::resource::MOUNT_OPTIONS;
use lustre_mount::{Client, ConnectError, MountError, Mounted, Restriction, mount};
use thiserror::Error;

/// How long the metadata target may take to answer the first time, and the mount to answer once it is there.
const START_MAX: Duration = Duration::from_secs(30);

/// Pause between attempts to reach the metadata target.
const PAUSE: Duration = Duration::from_millis(100);

/// This program, also when its file was replaced meanwhile, and its verb that lists a folder.
const OWN_PROGRAM: &str = "/proc/self/exe";
const ANSWERS: &str = "answers";

/// Where randomness comes from.
const RANDOM: &str = "/dev/urandom";

/// The mount did not come about or did not end well.
#[derive(Debug, Error)]
pub enum MountProcessError {
    /// The process's folder is not usable.
    #[error(transparent)]
    Dir(#[from] ProcessDirError),
    /// The folder is another process's.
    #[error("this folder does not describe a mount")]
    NotMount,
    /// An option that means nothing here.
    #[error("the mount option \"{option}\" is not known; there are {}", MOUNT_OPTIONS.join(", "))]
    Option {
        /// Which.
        option: String,
    },
    /// No session.
    #[error("no session with the file system")]
    Connect(#[from] ConnectError),
    /// Not mounted.
    #[error(transparent)]
    Mount(#[from] MountError),
    /// It was mounted but does not answer.
    #[error("{} was mounted but does not answer within {} s", .path.display(), START_MAX.as_secs())]
    Silent {
        /// Where.
        path: PathBuf,
    },
    /// The system refuses something.
    #[error("the mount could not be prepared")]
    Io(#[from] io::Error),
}

/// Mounts what the folder describes, until SIGTERM or until somebody unmounts it.
pub fn run(dir: &ProcessDir) -> Result<(), MountProcessError> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let ended = runtime.block_on(serve(dir));
    // What still runs waits for a kernel that has nothing more to say.
    runtime.shutdown_background();
    ended
}

async fn serve(dir: &ProcessDir) -> Result<(), MountProcessError> {
    let ProcessSpec::Mount { fs_name, metadata, path, options } = dir.spec()? else {
        return Err(MountProcessError::NotMount);
    };
    let (path, restrictions) = (PathBuf::from(path), restrictions(&options)?);
    if !path.exists() {
        dir.creates(&path)?;
        fs_err::create_dir_all(&path)?;
    }
    let client = connect(dir, &metadata).await?;
    let mounted = mount(client, &path, &format!("{metadata}:/{fs_name}"), restrictions)?;
    match answers(&path).await {
        Ok(()) => dir.ready()?,
        Err(error) => {
            mounted.unmounter().unmount()?;
            return Err(error);
        }
    }
    tracing::info!(path = %path.display(), "mounted");
    end(mounted).await
}

/// Waits for the end, from within or without.
async fn end(mounted: Mounted) -> Result<(), MountProcessError> {
    let unmounter = mounted.unmounter();
    let asked = tokio::spawn(async move {
        termination::requested().await?;
        Ok::<_, MountProcessError>(tokio::task::spawn_blocking(move || unmounter.unmount()).await)
    });
    mounted.wait().await?;
    if asked.is_finished()
        && let Ok(Ok(Ok(unmounted))) = asked.await
    {
        unmounted?;
    }
    Ok(())
}

/// The targets of a cluster are started together with its mounts: who is first waits for the other.
pub(super) async fn connect(dir: &ProcessDir, metadata: &str) -> Result<Client, MountProcessError> {
    let (id, identity) = (client_id()?, dir.identity()?);
    let deadline = tokio::time::Instant::now() + START_MAX;
    loop {
        match Client::connect(metadata, identity.clone(), id).await {
            Ok(client) => return Ok(client),
            Err(ConnectError::Wire(error)) if tokio::time::Instant::now() < deadline => {
                tracing::info!(error = &error as &dyn std::error::Error, "waiting for the metadata target");
                tokio::time::sleep(PAUSE).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// A new name with each start: the requests of a former life must not be taken for ours.
fn client_id() -> Result<ClientId, io::Error> {
    let mut bytes = [0; 16];
    io::Read::read_exact(&mut fs_err::File::open(RANDOM)?, &mut bytes)?;
    Ok(ClientId(u128::from_le_bytes(bytes)))
}

fn restrictions(options: &[String]) -> Result<BTreeSet<Restriction>, MountProcessError> {
    let mut found = BTreeSet::new();
    for option in options {
        let (restriction, holds) = match option.as_str() {
            "ro" => (Restriction::ReadOnly, true),
            "rw" => (Restriction::ReadOnly, false),
            "nosuid" => (Restriction::NoSuid, true),
            "suid" => (Restriction::NoSuid, false),
            "nodev" => (Restriction::NoDev, true),
            "dev" => (Restriction::NoDev, false),
            "noexec" => (Restriction::NoExec, true),
            "exec" => (Restriction::NoExec, false),
            _ => return Err(MountProcessError::Option { option: option.clone() }),
        };
        if holds {
            found.insert(restriction);
        } else {
            found.remove(&restriction);
        }
    }
    Ok(found)
}

/// Waits until the mount answers. Another process asks: a thread of ours that waits for ourselves could not end when we are
/// killed, nor could the mount.
async fn answers(path: &Path) -> Result<(), MountProcessError> {
    let mut asking = tokio::process::Command::new(OWN_PROGRAM);
    asking.arg(ANSWERS).arg(path).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let asked = tokio::time::timeout(START_MAX, asking.kill_on_drop(true).output()).await;
    match asked {
        Ok(Ok(output)) if output.status.success() => Ok(()),
        Ok(Ok(output)) => {
            Err(io::Error::other(String::from_utf8_lossy(&output.stderr).trim().to_owned()).into())
        }
        Ok(Err(error)) => Err(error.into()),
        Err(_) => Err(MountProcessError::Silent { path: path.to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_that_would_do_nothing_are_refused_and_the_last_one_counts() {
        let read = |options: &[&str]| {
            restrictions(&options.iter().map(|option| (*option).to_owned()).collect::<Vec<_>>())
        };
        assert!(read(&[]).unwrap().is_empty());
        let both = BTreeSet::from([Restriction::ReadOnly, Restriction::NoSuid]);
        assert_eq!(read(&["rw", "nosuid", "ro", "noexec", "exec"]).unwrap(), both);
        assert!(read(&MOUNT_OPTIONS).unwrap().is_empty(), "all that a spec may say is known");
        let refused = read(&["rw", "flock"]).unwrap_err();
        assert!(refused.to_string().contains("\"flock\""), "{refused}");
    }
}
