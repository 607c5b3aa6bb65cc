//! Whether a process that is said to run does: it is alive, and what it is there for is to be had.
//!
//! Looks from outside, as its users do; what a target stores is asked of the target itself.
//! Invariant: no process is told as running that could not be seen to.

use std::path::PathBuf;
use std::time::Duration;

use lustre_model::control::{ProcessSpec, ProcessState, ProcessStatus};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::mounts;
use crate::running::Proof;

/// How long a process of this host may take to accept a connection.
const ACCEPT_MAX: Duration = Duration::from_secs(3);

/// Returns the status with what is seen now in the place of what was noted.
pub(crate) async fn observed(mut status: ProcessStatus) -> ProcessStatus {
    if let ProcessState::Running { pid, restarts } = status.state
        && let Some(cause) = amiss(pid, &status.spec).await
    {
        status.state = ProcessState::Failing { cause, restarts };
    }
    status
}

/// Says what is wrong with a process, when anything is.
async fn amiss(pid: u32, spec: &ProcessSpec) -> Option<String> {
    match Proof::of(pid) {
        Ok(Some(_)) => {}
        Ok(None) => return Some(format!("its process {pid} has ended")),
        Err(error) => return Some(format!("its process {pid} cannot be looked at: {error}")),
    }
    match spec {
        ProcessSpec::Metadata { listen, .. }
        | ProcessSpec::Object { listen, .. }
        | ProcessSpec::Bucket { listen, .. } => refuses(listen).await,
        ProcessSpec::Mount { path, .. } => unmounted(path),
        ProcessSpec::Mover { .. } => None,
    }
}

async fn refuses(address: &str) -> Option<String> {
    match timeout(ACCEPT_MAX, TcpStream::connect(address)).await {
        Ok(Ok(_)) => None,
        Ok(Err(error)) => Some(format!("it takes no connection at {address}: {error}")),
        Err(_) => Some(format!("it takes no connection at {address} within {} s", ACCEPT_MAX.as_secs())),
    }
}

/// A mount is looked up, and not touched: one whose cluster is down would hang who asks.
fn unmounted(path: &str) -> Option<String> {
    let plain = PathBuf::from(path);
    // The mount table knows no symbolic links; the mount point itself is not touched to find one.
    let parent = plain.parent().and_then(|parent| fs_err::canonicalize(parent).ok());
    let real = parent.zip(plain.file_name()).map_or(plain.clone(), |(parent, name)| parent.join(name));
    let found =
        mounts::at(&plain).and_then(|found| found.map_or_else(|| mounts::at(&real), |found| Ok(Some(found))));
    match found {
        Ok(Some(mounted)) if mounted.kind == mounts::OURS => None,
        Ok(Some(mounted)) => Some(format!("{path} is a mount of another kind ({})", mounted.kind)),
        Ok(None) => Some(format!("nothing is mounted at {path}")),
        Err(error) => Some(format!("the mounts of the host cannot be read: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use lustre_model::control::ProcessId;
    use tokio::net::TcpListener;

    use super::*;

    fn running(pid: u32, listen: &str) -> ProcessStatus {
        let spec = ProcessSpec::Bucket {
            name: "data".to_owned(),
            path: "/".to_owned(),
            listen: listen.to_owned(),
            credentials_file: "/keys".to_owned(),
        };
        let state = ProcessState::Running { pid, restarts: 2 };
        let process = ProcessId::Bucket("data".to_owned());
        ProcessStatus { process, spec, state, memory_peak: None, cpu_ms: None }
    }

    #[tokio::test]
    async fn a_process_runs_when_it_lives_and_answers_and_never_otherwise() {
        let ours = std::process::id();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let seen = observed(running(ours, &address)).await;
        assert_eq!(seen.state, ProcessState::Running { pid: ours, restarts: 2 });
        drop(listener);
        let cause_of = |status: ProcessStatus| {
            let ProcessState::Failing { cause, restarts: 2 } = status.state.clone() else {
                panic!("{status:?}")
            };
            cause
        };
        let cause = cause_of(observed(running(ours, &address)).await);
        assert!(cause.contains(&address), "{cause}");
        let mut child = std::process::Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        let cause = cause_of(observed(running(child.id(), &address)).await);
        assert!(cause.contains("has ended"), "{cause}");
    }
}
