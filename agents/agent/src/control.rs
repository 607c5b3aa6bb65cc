//! The agent's answers to the planner.
//!
//! Decides who may ask and under which lock; what is done is `supervisor`'s and `probe`'s.
//! Invariant: nothing changes for a peer that is not an administrator, nor under a lock older than one that was seen,
//! also by an agent before this one.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use lustre_model::control::{Answer, Call, Certified, Probe, ProbeResult, Refusal, Reply, Request};
use lustre_wire::server::{Peer, Responder, Service};
use lustre_wire::{Control, Role};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::certified::certified;
use crate::durable;
use crate::facts::facts;
use crate::probe::{RepositoryProbe, probe};
use crate::supervisor::{Supervisor, SupervisorError, refused};

/// Most probes of one request.
const PROBES_MAX: usize = 4096;

/// Answers control calls.
pub(crate) struct ControlService {
    inner: Arc<Inner>,
}

struct Inner {
    dir: PathBuf,
    supervisor: Arc<Supervisor>,
    repository: RepositoryProbe,
    agent_hash: String,
    fence: Mutex<Fence>,
    shutdown: CancellationToken,
}

/// The highest token seen, kept in a file.
pub(crate) struct Fence {
    path: PathBuf,
    seen: u64,
}

impl Fence {
    /// Reads the highest token that was seen; a damaged file is an error, never "none".
    pub fn open(path: PathBuf) -> std::io::Result<Self> {
        let seen = match durable::read(&path)? {
            None => 0,
            Some(text) => String::from_utf8_lossy(&text).trim().parse().map_err(|_| {
                std::io::Error::other(format!("{} is damaged: it must hold a number", path.display()))
            })?,
        };
        Ok(Self { path, seen })
    }

    /// Refuses a token lower than one seen; notes a higher one durably before anything is done under it.
    fn check(&mut self, given: u64) -> Result<(), Refusal> {
        if given < self.seen {
            return Err(Refusal::Fenced { given, seen: self.seen });
        }
        if given > self.seen {
            durable::write_text(&self.path, given.to_string().as_bytes())
                .map_err(|error| refused(&SupervisorError::from(error)))?;
            self.seen = given;
        }
        Ok(())
    }
}

impl ControlService {
    /// `dir` is the agent's folder; `shutdown` is cancelled when the planner ends the agent.
    pub fn new(
        (dir, agent_hash): (PathBuf, String),
        supervisor: Arc<Supervisor>,
        repository: RepositoryProbe,
        fence: Fence,
        shutdown: CancellationToken,
    ) -> Self {
        let fence = Mutex::new(fence);
        Self { inner: Arc::new(Inner { dir, supervisor, repository, agent_hash, fence, shutdown }) }
    }
}

impl Service<Control> for ControlService {
    fn call(&self, peer: &Peer<Control>, request: Call, _bulk: Bytes, responder: Responder<Control>) {
        if peer.subject().role != Role::Administrator {
            return responder.send(Err(Refusal::NotAdministrator), Bytes::new());
        }
        info!(peer = %peer.subject(), token = request.token, request = verb(&request.request), "control");
        let inner = Arc::clone(&self.inner);
        let peer = peer.clone();
        tokio::spawn(async move {
            let ends = matches!(request.request, Request::Shutdown);
            let answer = inner.answer(request).await;
            let granted = answer.is_ok();
            responder.send(answer, Bytes::new());
            if ends && granted {
                // Closing sends what is queued first, so the answer arrives.
                peer.close();
                inner.shutdown.cancel();
            }
        });
    }
}

impl Inner {
    async fn answer(&self, call: Call) -> Answer {
        match call.request {
            // These change nothing, so that a plan without a lock may ask.
            Request::Facts => return Ok(Reply::Facts { facts: facts(&self.agent_hash) }),
            Request::Probe { probes } => return self.probe(probes).await,
            Request::Processes => {
                return Ok(Reply::Processes { processes: self.supervisor.statuses().await });
            }
            Request::Credentials => return self.credentials().await,
            Request::Enrol { .. }
            | Request::Ensure { .. }
            | Request::Remove { .. }
            | Request::Revoke { .. }
            | Request::Shutdown => {}
        }
        self.fence.lock().await.check(call.token)?;
        self.change(call.request).await
    }

    async fn change(&self, request: Request) -> Answer {
        let supervisor = &self.supervisor;
        match request {
            Request::Enrol { process } => {
                let pem = supervisor.enrol(&process).await.map_err(|error| refused(&error))?;
                Ok(Reply::Csr { pem })
            }
            Request::Ensure { process, spec, credential } => {
                Ok(Reply::Process { status: supervisor.ensure(process, spec, credential).await? })
            }
            Request::Remove { process, data, authority } => {
                supervisor
                    .remove(&process, data, authority.as_deref())
                    .await
                    .map_err(|error| refused(&error))?;
                Ok(Reply::Done)
            }
            Request::Shutdown => {
                let kept = supervisor.statuses().await.len();
                if kept == 0 {
                    return Ok(Reply::Done);
                }
                Err(Refusal::Conflict {
                    cause: format!("the agent keeps {kept} processes"),
                    remedy: "remove them first".to_owned(),
                })
            }
            Request::Revoke { process, serials } => {
                supervisor.revoke(&process, serials).await?;
                Ok(Reply::Done)
            }
            Request::Facts | Request::Probe { .. } | Request::Processes | Request::Credentials => {
                Ok(Reply::Done)
            }
        }
    }

    async fn credentials(&self) -> Answer {
        let processes = self.supervisor.credentials().await.map_err(|error| refused(&error))?;
        let agent = certified(&self.dir).map_err(|error| refused(&SupervisorError::from(error)))?;
        let agent = agent.ok_or_else(|| Refusal::Conflict {
            cause: format!("{} holds no certificate any more", self.dir.display()),
            remedy: "apply again, which writes another one".to_owned(),
        })?;
        // What an agent shows it has from its start on, and a start is what follows another certificate.
        Ok(Reply::Credentials { agent: Certified { taken: true, ..agent }, processes })
    }

    async fn probe(&self, probes: Vec<Probe>) -> Answer {
        if probes.len() > PROBES_MAX {
            return Err(Refusal::Conflict {
                cause: format!("{} probes in one request", probes.len()),
                remedy: format!("ask for at most {PROBES_MAX}"),
            });
        }
        let probing: Vec<_> = probes
            .into_iter()
            .map(|one| {
                let (supervisor, repository) = (Arc::clone(&self.supervisor), Arc::clone(&self.repository));
                tokio::spawn(async move { probe(one, &supervisor, &repository).await })
            })
            .collect();
        let mut results = Vec::with_capacity(probing.len());
        for result in probing {
            results.push(result.await.unwrap_or_else(|error| ProbeResult::Failed {
                cause: format!("the agent failed at a probe: {error}"),
                remedy: "look into the agent's log".to_owned(),
            }));
        }
        Ok(Reply::Probed { results })
    }
}

fn verb(request: &Request) -> &'static str {
    match request {
        Request::Facts => "facts",
        Request::Probe { .. } => "probe",
        Request::Enrol { .. } => "enrol",
        Request::Ensure { .. } => "ensure",
        Request::Remove { .. } => "remove",
        Request::Processes => "processes",
        Request::Shutdown => "shutdown",
        Request::Credentials => "credentials",
        Request::Revoke { .. } => "revoke",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_token_is_remembered_by_the_next_agent() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("fence");
        let mut fence = Fence::open(path.clone()).unwrap();
        for token in [3, 3, 7] {
            fence.check(token).unwrap();
        }
        let mut next = Fence::open(path.clone()).unwrap();
        assert_eq!(next.check(6), Err(Refusal::Fenced { given: 6, seen: 7 }));
        next.check(7).unwrap();
        fs_err::write(&path, "").unwrap();
        assert!(Fence::open(path).is_err(), "a torn file is not a token of 0");
    }
}
