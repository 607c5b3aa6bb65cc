//! Conditions on a host that must hold before a plan can work, each with what to do when it does not.
//!
//! Looks and changes nothing.
//! Invariant: every failure names its cause and a remedy.

use std::io::ErrorKind;
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use lustre_model::control::{Probe, ProbeResult, ProcessId};
use lustre_model::hsm::RepositoryEndpoint;
use rustix::fs::{Access, access, statvfs};

use crate::claim::{self, ClaimError};
use crate::supervisor::{Supervisor, chain};
use crate::{disk_floor, mounts};

/// Asks whether a bucket answers; handed in from above, where the S3 client is.
pub type RepositoryProbe = Arc<dyn Fn(RepositoryEndpoint) -> BoxFuture<'static, ProbeResult> + Send + Sync>;

/// Longest wait for one probe; a dead network file system may hang.
const PROBE_MAX: Duration = Duration::from_secs(15);

/// Free bytes above the floor without which no target can begin. Its capacity is a limit, not a reservation.
const FREE_MIN: u64 = 64 << 20;

/// The kernel's door to FUSE.
const FUSE_DEVICE: &str = "/dev/fuse";

/// What lets ordinary users mount.
const FUSERMOUNT: &str = "fusermount3";

/// Carries out one probe.
pub(crate) async fn probe(
    probe: Probe,
    supervisor: &Arc<Supervisor>,
    repository: &RepositoryProbe,
) -> ProbeResult {
    let looked = if let Probe::Repository { repository: endpoint } = probe {
        tokio::time::timeout(PROBE_MAX, repository(endpoint)).await.ok()
    } else {
        let supervisor = Arc::clone(supervisor);
        let look = tokio::task::spawn_blocking(move || look(&probe, &supervisor));
        tokio::time::timeout(PROBE_MAX, look).await.ok().and_then(Result::ok)
    };
    looked.unwrap_or_else(|| {
        let seconds = PROBE_MAX.as_secs();
        failed(
            format!("the host gave no answer within {seconds} s"),
            "look for a file system that hangs there",
        )
    })
}

fn look(probe: &Probe, supervisor: &Supervisor) -> ProbeResult {
    match probe {
        Probe::TargetPath { path, target, capacity } => {
            target_path(Path::new(path), &target.to_string(), *capacity)
        }
        Probe::MountPath { path } => mount_path(path, supervisor),
        Probe::Port { address, owner } => port(address, owner, supervisor),
        Probe::Fuse => fuse(),
        Probe::Folder { path } => folder(Path::new(path)),
        Probe::Repository { .. } => failed("a bucket is not a matter of the host", "this is a bug"),
    }
}

fn failed(cause: impl Into<String>, remedy: impl Into<String>) -> ProbeResult {
    ProbeResult::Failed { cause: cause.into(), remedy: remedy.into() }
}

fn unclaimable(error: &ClaimError) -> ProbeResult {
    let remedy = match error {
        ClaimError::Path { .. } => "write the path from the root",
        ClaimError::Foreign { .. } => "choose another path, or empty this one if nothing in it is needed",
        ClaimError::Owned { .. } => "choose another path; one target, one folder",
        ClaimError::NotFolder { .. } => "choose the path of a folder",
        ClaimError::Io { .. } | ClaimError::Note { .. } => "give the agent's user the right to it",
    };
    failed(chain(error), remedy)
}

fn target_path(path: &Path, owner: &str, capacity: u64) -> ProbeResult {
    if let Err(error) = claim::check_target(path, owner) {
        return unclaimable(&error);
    }
    let Some(existing) = existing(path) else {
        return failed(format!("nothing above {} exists", path.display()), "choose another path");
    };
    if let Some(result) = not_writable(existing) {
        return result;
    }
    // One that is there is made whole on a full disk too: then it can be read, and removed from.
    if path.join(claim::MARKER).exists() {
        return ProbeResult::Ok;
    }
    match statvfs(existing) {
        Ok(space) => {
            let free = space.f_bavail.saturating_mul(space.f_frsize);
            let floor = disk_floor::of_objects(space.f_blocks.saturating_mul(space.f_frsize));
            let needed = FREE_MIN.min(capacity).saturating_add(floor);
            if free >= needed {
                return ProbeResult::Ok;
            }
            failed(
                format!(
                    "{} MiB are free at {}, where targets leave {} MiB alone",
                    free >> 20,
                    existing.display(),
                    floor >> 20
                ),
                format!(
                    "free at least {} MiB in all, or choose a path on another disk",
                    needed.div_ceil(1 << 20)
                ),
            )
        }
        Err(error) => failed(
            format!("cannot ask for free space at {}: {error}", existing.display()),
            "choose another path",
        ),
    }
}

/// The nearest folder on the way to a path that is there.
fn existing(path: &Path) -> Option<&Path> {
    path.ancestors().find(|ancestor| ancestor.is_dir())
}

fn not_writable(folder: &Path) -> Option<ProbeResult> {
    access(folder, Access::WRITE_OK | Access::EXEC_OK).err().map(|error| {
        let uid = rustix::process::geteuid().as_raw();
        failed(
            format!("{} is not writable by the agent (uid {uid}): {error}", folder.display()),
            format!("chown {uid} {}", folder.display()),
        )
    })
}

fn mount_path(path: &str, supervisor: &Supervisor) -> ProbeResult {
    let folder = Path::new(path);
    if let Err(error) = claim::check_path(folder) {
        return unclaimable(&error);
    }
    // Our own mount is not touched: its cluster may be down, and then asking hangs.
    match mounts::at(folder) {
        Ok(Some(mounted)) if mounted.kind == mounts::OURS && supervisor.keeps_mount(path) => {
            return ProbeResult::Ok;
        }
        Ok(Some(mounted)) => {
            let cause = format!("{path} is a mount point already ({})", mounted.kind);
            return failed(cause, format!("umount {path}, or choose another path"));
        }
        Ok(None) => {}
        Err(error) => return failed(error.to_string(), "mount /proc on the host"),
    }
    match claim::is_folder(folder) {
        Err(error) => unclaimable(&error),
        Ok(true) => match fs_err::read_dir(folder).map(|mut entries| entries.next().is_none()) {
            Ok(true) => ProbeResult::Ok,
            Ok(false) => {
                failed(format!("{path} is not empty"), "choose an empty folder, or one that is not there")
            }
            Err(error) => failed(error.to_string(), "give the agent's user the right to it"),
        },
        Ok(false) => existing(folder).and_then(not_writable).unwrap_or(ProbeResult::Ok),
    }
}

fn port(address: &str, owner: &ProcessId, supervisor: &Supervisor) -> ProbeResult {
    if supervisor.may_hold(owner, address) {
        return ProbeResult::Ok;
    }
    let number = address.rsplit(':').next().unwrap_or(address);
    match TcpListener::bind(address).map_err(|error| (error.kind(), error)) {
        Ok(_) => ProbeResult::Ok,
        Err((ErrorKind::AddrInUse, _)) => failed(
            format!("{address} is taken by another process"),
            format!("see who it is with: ss -ltnp 'sport = :{number}'; or choose another port"),
        ),
        Err((ErrorKind::AddrNotAvailable, _)) => {
            failed(format!("{address} is not an address of this host"), "choose one that `ip address` shows")
        }
        Err((ErrorKind::PermissionDenied, _)) => failed(
            format!("the agent's user may not listen on port {number}"),
            "choose a port above 1023, or run the agent as root",
        ),
        Err((_, error)) => failed(format!("cannot listen on {address}: {error}"), "write it as host:port"),
    }
}

fn fuse() -> ProbeResult {
    let device = fs_err::OpenOptions::new().read(true).write(true).open(FUSE_DEVICE);
    let root = rustix::process::geteuid().is_root();
    match device {
        Ok(_) if root || in_path(FUSERMOUNT) => ProbeResult::Ok,
        Ok(_) => failed(
            format!("{FUSERMOUNT} is missing, without which only root may mount"),
            "sudo apt-get install -y fuse3 (or: sudo dnf install -y fuse3)",
        ),
        Err(error) if error.kind() == ErrorKind::NotFound => failed(
            format!("{FUSE_DEVICE} is missing"),
            "sudo modprobe fuse; in a container, start it with --device /dev/fuse --cap-add SYS_ADMIN",
        ),
        Err(error) => failed(error.to_string(), format!("sudo chmod 666 {FUSE_DEVICE}")),
    }
}

fn in_path(program: &str) -> bool {
    std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join(program).is_file()))
}

fn folder(path: &Path) -> ProbeResult {
    if let Err(error) = claim::check_path(path) {
        return unclaimable(&error);
    }
    match claim::is_folder(path) {
        Err(error) => unclaimable(&error),
        Ok(false) => {
            failed(format!("{} does not exist", path.display()), format!("mkdir -p {}", path.display()))
        }
        Ok(true) => match fs_err::read_dir(path) {
            Ok(_) => ProbeResult::Ok,
            Err(error) => failed(error.to_string(), "give the agent's user the right to read it"),
        },
    }
}
