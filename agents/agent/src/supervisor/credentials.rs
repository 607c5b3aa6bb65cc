//! Certificates of processes that run: which they have, another one, and whom they refuse.
//!
//! How a process takes them without being started anew is [`crate::certified`]'s.
//! Invariant: who is told that certificates are refused can rely on it, whatever program the process runs.

use std::time::Duration;

use lustre_model::control::{Certified, Credential, ProcessId, ProcessSpec, ProcessState, Refusal};
use tokio::time::Instant;

use super::{Keeper, Supervisor, SupervisorError, Turn, conflict, refused};
use crate::certified;
use crate::durable;
use crate::process_dir::ProcessDir;

/// How long a process may take until it goes by what was written for it.
const TAKE_MAX: Duration = Duration::from_secs(10);

/// Pause between looks whether it does.
const TAKE_PAUSE: Duration = Duration::from_millis(50);

impl Supervisor {
    /// Returns what certificates the processes have.
    pub async fn credentials(&self) -> Result<Vec<(ProcessId, Certified)>, SupervisorError> {
        let slots: Vec<_> =
            self.kept().iter().map(|(process, slot)| (process.clone(), slot.dir.clone())).collect();
        let mut found = Vec::with_capacity(slots.len());
        for (process, dir) in slots {
            found.extend(certified::certified(dir.path())?.map(|certified| (process, certified)));
        }
        Ok(found)
    }

    /// Has a process refuse these certificates and no others; one that is only enrolled refuses them from its start on.
    pub async fn revoke(&self, process: &ProcessId, serials: Vec<String>) -> Result<(), Refusal> {
        let io = |error: std::io::Error| refused(&SupervisorError::from(error));
        let slot = self.slot(process).map_err(|error| refused(&error))?;
        let mut turn = slot.turn.lock().await;
        if turn.gone {
            return Err(conflict("the process is being removed", "apply again"));
        }
        let mut text = serials.join("\n");
        text.push('\n');
        let path = slot.dir.path().join(certified::REVOKED);
        if durable::read(&path).map_err(io)?.unwrap_or_default() != text.as_bytes() {
            durable::write(&path, text.as_bytes()).map_err(io)?;
        }
        if !is_running(&turn) || is_taken_soon(&slot.dir).await.map_err(io)? {
            return Ok(());
        }
        // It runs a program that does not look.
        if let (Some(keeper), Some(spec)) = (turn.keeper.take(), turn.spec.clone()) {
            keeper.end().await;
            turn.keeper = Some(Keeper::begin(slot.dir.clone(), self.launch(&spec)));
        }
        Ok(())
    }

    /// Gives a process another certificate while it runs. `false` when it has to be started anew.
    pub(super) async fn exchange(
        &self,
        dir: &ProcessDir,
        turn: &Turn,
        credential: &Credential,
    ) -> Result<bool, Refusal> {
        let io = |error: std::io::Error| refused(&SupervisorError::from(error));
        if !is_running(turn) {
            return Ok(false);
        }
        durable::write(&dir.path().join("cert.pem"), credential.certificate.as_bytes()).map_err(io)?;
        durable::write(&dir.path().join("ca.pem"), credential.authority.as_bytes()).map_err(io)?;
        if is_taken_soon(dir).await.map_err(io)? {
            return Ok(true);
        }
        if let Some(ProcessSpec::Mount { path, .. }) = &turn.spec {
            // Who has files open there would lose them.
            return Err(conflict(
                &format!(
                    "the mount at {path} runs the program of an older release, which keeps its certificate until it ends"
                ),
                "unmount it when nobody uses it, and its agent mounts it again with the new one",
            ));
        }
        Ok(false)
    }
}

fn is_running(turn: &Turn) -> bool {
    match turn.keeper.as_ref().map(Keeper::state) {
        Some(ProcessState::Running { .. }) => true,
        Some(ProcessState::Starting | ProcessState::Failing { .. }) | None => false,
    }
}

async fn is_taken_soon(dir: &ProcessDir) -> std::io::Result<bool> {
    let begun = Instant::now();
    loop {
        if certified::is_taken(dir.path())? {
            return Ok(true);
        }
        if begun.elapsed() > TAKE_MAX {
            return Ok(false);
        }
        tokio::time::sleep(TAKE_PAUSE).await;
    }
}
