//! All processes of a host: which there are, from disk; and their beginning, change and end.
//!
//! Decides who is kept; how one process is kept running is `keeper`'s.
//! Invariant: what an `ensure` answered for is on disk, and is kept again by the next agent of the same folder.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lustre_model::control::{
    Credential, DataFate, ProcessId, ProcessSpec, ProcessState, ProcessStatus, Refusal,
};
use lustre_wire::authority::{AuthorityError, KeyPair};
use thiserror::Error;
use tokio::sync::watch;
use tracing::{info, warn};

use crate::claim::{self, ClaimError};
use crate::durable;
use crate::keeper::{Keeper, Launch, READY_MAX};
use crate::observed::observed;
use crate::process_dir::{ProcessDir, ProcessDirError};
use crate::process_name::{folder_name, matches};
use crate::running;

mod credentials;

/// How often a process may die before it answers until `ensure` gives up waiting. It is tried on behind that.
const DEATHS_MAX: u32 = 3;

/// Longest wait of `ensure`: a start that takes all its time, and a restart.
const ENSURE_MAX: Duration = Duration::from_secs(READY_MAX.as_secs() + 15);

/// Keeps the processes of one folder.
#[derive(Debug)]
pub(crate) struct Supervisor {
    root: PathBuf,
    program: PathBuf,
    kept: Mutex<BTreeMap<ProcessId, Arc<Slot>>>,
}

/// One process; the lock orders what is asked about it.
#[derive(Debug)]
struct Slot {
    dir: ProcessDir,
    turn: tokio::sync::Mutex<Turn>,
}

/// What is known of a process, read without its lock held for long.
#[derive(Debug, Default)]
struct Turn {
    /// `None` while it is only enrolled.
    spec: Option<ProcessSpec>,
    keeper: Option<Keeper>,
    /// Set once it is removed, for those who waited for the lock.
    gone: bool,
}

/// The processes cannot be kept.
#[derive(Debug, Error)]
pub enum SupervisorError {
    /// The folder cannot be used.
    #[error("cannot use the agent's folder")]
    Io(#[from] std::io::Error),
    /// A process's folder is damaged.
    #[error("a process cannot be taken up again")]
    Dir(#[from] ProcessDirError),
    /// A removal that was begun cannot be finished.
    #[error("cannot delete what a removed process made")]
    Erase(#[from] ClaimError),
    /// A key cannot be made.
    #[error("cannot make a key")]
    Key(#[from] AuthorityError),
}

impl Supervisor {
    /// Keeps nothing: for looking at a host that has no agent yet.
    pub fn without_processes() -> Self {
        Self { root: PathBuf::new(), program: PathBuf::new(), kept: Mutex::default() }
    }

    /// Takes up every process that is on disk, and finishes removals that were interrupted.
    pub fn open(root: PathBuf, program: PathBuf) -> Result<Self, SupervisorError> {
        durable::create_dir(&root)?;
        let supervisor = Self { root, program, kept: Mutex::default() };
        for entry in fs_err::read_dir(&supervisor.root)? {
            let dir = ProcessDir::new(entry?.path());
            if let Err(error) = supervisor.take_up(&dir) {
                // One damaged folder must not keep the others from running.
                warn!(process = %dir.path().display(), error = %chain(&error), "cannot take a process up again");
            }
        }
        Ok(supervisor)
    }

    fn take_up(&self, dir: &ProcessDir) -> Result<(), SupervisorError> {
        let Some(process) = dir.optional::<ProcessId>("id.json")? else { return Ok(()) };
        let spec = dir.optional::<ProcessSpec>("spec.json")?;
        if dir.optional::<DataFate>("removing")?.is_some() {
            // Not started any more; `finish_removals` ends it.
            self.insert(process, dir.clone(), Turn { spec, ..Turn::default() });
            return Ok(());
        }
        let keeper = spec.as_ref().map(|spec| Keeper::begin(dir.clone(), self.launch(spec)));
        info!(process = %dir.path().display(), kept = keeper.is_some(), "taken up");
        self.insert(process, dir.clone(), Turn { spec, keeper, gone: false });
        Ok(())
    }

    fn insert(&self, process: ProcessId, dir: ProcessDir, turn: Turn) -> Arc<Slot> {
        let slot = Arc::new(Slot { dir, turn: tokio::sync::Mutex::new(turn) });
        self.kept().insert(process, Arc::clone(&slot));
        slot
    }

    fn kept(&self) -> MutexGuard<'_, BTreeMap<ProcessId, Arc<Slot>>> {
        // Each change of the map is one insertion or removal, so a thread that died in it left it whole.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn launch(&self, spec: &ProcessSpec) -> Launch {
        let (kind, mount) = match spec {
            ProcessSpec::Metadata { .. } => ("metadata", None),
            ProcessSpec::Object { .. } => ("object", None),
            ProcessSpec::Mover { .. } => ("mover", None),
            ProcessSpec::Mount { path, .. } => ("mount", Some(PathBuf::from(path))),
            ProcessSpec::Bucket { .. } => ("bucket", None),
        };
        Launch { program: self.program.clone(), kind, mount }
    }

    /// Returns the process's place, making its folder when it has none.
    fn slot(&self, process: &ProcessId) -> Result<Arc<Slot>, SupervisorError> {
        if let Some(slot) = self.kept().get(process) {
            return Ok(Arc::clone(slot));
        }
        let dir = ProcessDir::new(self.root.join(folder_name(process)));
        durable::create_dir(dir.path())?;
        dir.put("id.json", process)?;
        dir.provide()?;
        let mut kept = self.kept();
        let slot = kept
            .entry(process.clone())
            .or_insert_with(|| Arc::new(Slot { dir, turn: tokio::sync::Mutex::default() }));
        Ok(Arc::clone(slot))
    }

    /// Makes a key for a process, unless it has one, and returns a signing request for it.
    pub async fn enrol(&self, process: &ProcessId) -> Result<String, SupervisorError> {
        let slot = self.slot(process)?;
        let _turn = slot.turn.lock().await;
        signing_request(slot.dir.path())
    }

    /// Makes the process run with this spec, and waits until it answers.
    pub async fn ensure(
        &self,
        process: ProcessId,
        spec: ProcessSpec,
        credential: Option<Credential>,
    ) -> Result<ProcessStatus, Refusal> {
        if !matches(&process, &spec) {
            return Err(conflict("the spec is not that of the process", "this is a bug of the planner"));
        }
        let slot = self.slot(&process).map_err(|error| refused(&error))?;
        let mut turn = slot.turn.lock().await;
        if turn.gone {
            return Err(conflict("the process is being removed", "apply again"));
        }
        self.check_others(&process, &spec)?;
        self.put(&slot.dir, &mut turn, spec, credential).await?;
        let removed = || conflict("the process is being removed", "apply again");
        let seen = turn.keeper.as_ref().map(Keeper::watch).ok_or_else(removed)?;
        // Who waits for readiness keeps nobody from asking how the process is.
        drop(turn);
        until_running(seen, &slot.dir).await?;
        status(process, &*slot.turn.lock().await).ok_or_else(removed)
    }

    /// Writes what changed, and starts the process anew when something did.
    async fn put(
        &self,
        dir: &ProcessDir,
        turn: &mut Turn,
        spec: ProcessSpec,
        credential: Option<Credential>,
    ) -> Result<(), Refusal> {
        let io = |error: std::io::Error| refused(&SupervisorError::from(error));
        if let Some(before) = &turn.spec
            && claim::folder_of(before) != claim::folder_of(&spec)
        {
            return Err(conflict("the folder of a process cannot change", "remove it, then create it anew"));
        }
        let certified = credential.is_some() || dir.path().join("cert.pem").exists();
        if !certified && !std::matches!(spec, ProcessSpec::Bucket { .. }) {
            return Err(conflict("the process has no certificate", "enrol it first"));
        }
        if is_foreign(dir.path(), credential.as_ref().map(|credential| credential.authority.as_str()))
            .map_err(io)?
        {
            let path = dir.path().display();
            return Err(conflict(
                "a process of this name belongs to another deployment: its certificate is signed by another authority",
                &format!(
                    "destroy it with the state that made it, or choose other names; when that state is gone for good, stop the agent and \
                     remove {path}"
                ),
            ));
        }
        let renewed = changed_credential(dir.path(), credential.as_ref()).map_err(io)?;
        let same = turn.spec.as_ref() == Some(&spec) && !renewed && turn.keeper.is_some();
        if same {
            return Ok(());
        }
        if turn.spec.as_ref() == Some(&spec)
            && let Some(credential) = &credential
            && self.exchange(dir, turn, credential).await?
        {
            return Ok(());
        }
        if let Some(keeper) = turn.keeper.take() {
            keeper.end().await;
        }
        claim::claim(dir, &spec).map_err(|error| not_claimed(&error))?;
        if let Some(credential) = credential {
            durable::write(&dir.path().join("cert.pem"), credential.certificate.as_bytes()).map_err(io)?;
            durable::write(&dir.path().join("ca.pem"), credential.authority.as_bytes()).map_err(io)?;
        }
        let recorded = durable::remove(&dir.path().join("removing")).map_err(ProcessDirError::from);
        recorded.and_then(|()| dir.put("spec.json", &spec)).map_err(|error| refused(&error.into()))?;
        turn.keeper = Some(Keeper::begin(dir.clone(), self.launch(&spec)));
        turn.spec = Some(spec);
        Ok(())
    }

    /// Two processes never share a folder or an address.
    fn check_others(&self, process: &ProcessId, spec: &ProcessSpec) -> Result<(), Refusal> {
        let others: Vec<Arc<Slot>> =
            self.kept().iter().filter(|(id, _)| *id != process).map(|(_, slot)| Arc::clone(slot)).collect();
        for other in others {
            // One that changes at this moment is checked from the other side.
            let Ok(turn) = other.turn.try_lock() else { continue };
            let Some(taken) = turn.spec.as_ref() else { continue };
            let folder = claim::folder_of(spec).filter(|folder| claim::folder_of(taken) == Some(*folder));
            let address = listen_of(spec).filter(|address| listen_of(taken) == Some(*address));
            let clash = folder.map(|folder| folder.display().to_string()).or(address.map(str::to_owned));
            if let Some(clash) = clash {
                let owner = other.dir.path().file_name().unwrap_or_default().to_string_lossy();
                return Err(conflict(
                    &format!("{clash} is used by {owner} on this host"),
                    "choose another one",
                ));
            }
        }
        Ok(())
    }

    /// Ends the process and forgets it; what is not there counts as removed, and so does what has a certificate of another
    /// authority than the one that is given: that is somebody else's.
    pub async fn remove(
        &self,
        process: &ProcessId,
        fate: DataFate,
        authority: Option<&str>,
    ) -> Result<(), SupervisorError> {
        let Some(slot) = self.kept().get(process).cloned() else { return Ok(()) };
        let mut turn = slot.turn.lock().await;
        if turn.gone {
            return Ok(());
        }
        if is_foreign(slot.dir.path(), authority)? {
            warn!(process = %slot.dir.path().display(), "not removed: it belongs to another deployment");
            return Ok(());
        }
        match slot.dir.put("removing", &fate) {
            // The note has a killed agent's successor finish this. A removal makes room, so it does not wait for any.
            Err(ProcessDirError::Io { source }) if durable::is_full(&source) => {
                warn!(process = %slot.dir.path().display(), %source, "removed without a note of it");
            }
            noted => noted?,
        }
        if let Some(keeper) = turn.keeper.take() {
            keeper.end().await;
        } else {
            end_left_over(&slot.dir).await?;
        }
        let (dir, spec) = (slot.dir.clone(), turn.spec.clone());
        let deleted = tokio::task::spawn_blocking(move || delete(&dir, spec.as_ref(), fate)).await;
        deleted.map_err(std::io::Error::other)??;
        turn.gone = true;
        self.kept().remove(process);
        Ok(())
    }

    /// Finishes the removals that an earlier agent had begun.
    pub async fn finish_removals(&self) {
        let slots: Vec<_> =
            self.kept().iter().map(|(process, slot)| (process.clone(), Arc::clone(slot))).collect();
        for (process, slot) in slots {
            let Ok(Some(fate)) = slot.dir.optional::<DataFate>("removing") else { continue };
            if let Err(error) = self.remove(&process, fate, None).await {
                warn!(process = %slot.dir.path().display(), error = %chain(&error), "cannot finish a removal");
            }
        }
    }

    /// Returns all processes that have a spec and how they are, as they are observed now.
    pub async fn statuses(&self) -> Vec<ProcessStatus> {
        let slots: Vec<_> =
            self.kept().iter().map(|(process, slot)| (process.clone(), Arc::clone(slot))).collect();
        let mut statuses = Vec::with_capacity(slots.len());
        for (process, slot) in slots {
            let turn = slot.turn.lock().await;
            statuses.extend(status(process, &turn));
        }
        futures::future::join_all(statuses.into_iter().map(observed)).await
    }

    /// Says whether whoever listens on an address is this process, or may be.
    pub fn may_hold(&self, process: &ProcessId, address: &str) -> bool {
        let Some(slot) = self.kept().get(process).cloned() else { return false };
        // It is being started or stopped at this moment, perhaps for a command that is gone: who does that learns whether
        // the address is free.
        let Ok(turn) = slot.turn.try_lock() else { return true };
        let Some(keeper) = turn.keeper.as_ref() else { return false };
        let listens = match keeper.state() {
            ProcessState::Starting | ProcessState::Running { .. } => true,
            ProcessState::Failing { .. } => false,
        };
        let own = match &turn.spec {
            Some(
                ProcessSpec::Metadata { listen, .. }
                | ProcessSpec::Object { listen, .. }
                | ProcessSpec::Bucket { listen, .. },
            ) => listen == address,
            Some(ProcessSpec::Mover { .. } | ProcessSpec::Mount { .. }) | None => false,
        };
        listens && own
    }

    /// Says whether a mount process is kept for this path, running or not.
    pub fn keeps_mount(&self, path: &str) -> bool {
        self.kept().contains_key(&ProcessId::Mount(path.to_owned()))
    }

    /// Returns how many processes there are.
    pub fn count(&self) -> usize {
        self.kept().len()
    }

    /// Stops keeping; the processes run on for the next agent.
    pub async fn release(&self) {
        let slots: Vec<_> = self.kept().values().cloned().collect();
        for slot in slots {
            if let Some(keeper) = slot.turn.lock().await.keeper.take() {
                keeper.release().await;
            }
        }
    }
}

fn listen_of(spec: &ProcessSpec) -> Option<&str> {
    match spec {
        ProcessSpec::Metadata { listen, .. }
        | ProcessSpec::Object { listen, .. }
        | ProcessSpec::Bucket { listen, .. } => Some(listen),
        ProcessSpec::Mover { .. } | ProcessSpec::Mount { .. } => None,
    }
}

/// Makes `key.pem` in a folder, unless it is there, and returns a signing request for it.
pub(crate) fn signing_request(dir: &Path) -> Result<String, SupervisorError> {
    let path = dir.join("key.pem");
    let key = match durable::read(&path)? {
        Some(pem) => KeyPair::from_pem(&String::from_utf8_lossy(&pem))?,
        None => {
            let key = KeyPair::generate()?;
            durable::write(&path, key.pem().as_bytes())?;
            key
        }
    };
    Ok(key.csr()?)
}

/// Tells whether a process has a certificate of another authority than this one.
fn is_foreign(dir: &Path, authority: Option<&str>) -> std::io::Result<bool> {
    let Some(authority) = authority else { return Ok(false) };
    let own = durable::read(&dir.join("ca.pem"))?;
    Ok(own.is_some_and(|own| own != authority.as_bytes()))
}

fn changed_credential(dir: &Path, credential: Option<&Credential>) -> std::io::Result<bool> {
    let Some(credential) = credential else { return Ok(false) };
    let certificate = durable::read(&dir.join("cert.pem"))?;
    let authority = durable::read(&dir.join("ca.pem"))?;
    Ok(certificate.as_deref() != Some(credential.certificate.as_bytes())
        || authority.as_deref() != Some(credential.authority.as_bytes()))
}

async fn until_running(mut seen: watch::Receiver<ProcessState>, dir: &ProcessDir) -> Result<(), Refusal> {
    let begun = match &*seen.borrow() {
        ProcessState::Starting => 0,
        ProcessState::Running { restarts, .. } | ProcessState::Failing { restarts, .. } => *restarts,
    };
    let remedy =
        || format!("see {} on the host, mend the cause, then apply again", dir.path().join("log").display());
    let settled = seen.wait_for(|state| match state {
        ProcessState::Starting => false,
        ProcessState::Running { .. } => true,
        ProcessState::Failing { restarts, .. } => restarts.saturating_sub(begun) >= DEATHS_MAX,
    });
    match tokio::time::timeout(ENSURE_MAX, settled).await {
        Ok(Ok(state)) => match &*state {
            ProcessState::Running { .. } => Ok(()),
            ProcessState::Failing { cause, .. } => {
                Err(Refusal::NotStarted { cause: cause.clone(), remedy: remedy() })
            }
            ProcessState::Starting => {
                Err(Refusal::NotStarted { cause: "it does not start".into(), remedy: remedy() })
            }
        },
        Ok(Err(_)) => Err(conflict("the process was stopped", "apply again")),
        Err(_) => {
            let cause = format!("it did not answer within {} s", ENSURE_MAX.as_secs());
            Err(Refusal::NotStarted { cause, remedy: remedy() })
        }
    }
}

fn status(process: ProcessId, turn: &Turn) -> Option<ProcessStatus> {
    let (spec, keeper) = (turn.spec.clone()?, turn.keeper.as_ref()?);
    let state = keeper.state();
    let pid = match &state {
        ProcessState::Running { pid, .. } => Some(*pid),
        ProcessState::Starting | ProcessState::Failing { .. } => None,
    };
    let proof = pid.and_then(|pid| running::Proof::of(pid).ok().flatten());
    let usage = proof.as_ref().and_then(running::usage);
    let memory_peak = usage.map(|usage| usage.memory_peak);
    Some(ProcessStatus { process, spec, state, memory_peak, cpu_ms: usage.map(|usage| usage.cpu_ms) })
}

/// Ends what a killed agent left running of a process whose removal it had begun.
async fn end_left_over(dir: &ProcessDir) -> Result<(), SupervisorError> {
    for proof in dir.candidates()? {
        if let Some(alive) = proof.open()? {
            crate::keeper::end(&alive).await;
        }
    }
    Ok(())
}

fn delete(dir: &ProcessDir, spec: Option<&ProcessSpec>, fate: DataFate) -> Result<(), SupervisorError> {
    if let Some(ProcessSpec::Mount { path, .. }) = spec {
        crate::mounts::release(Path::new(path))?;
    }
    match (fate, spec) {
        (DataFate::Erase, Some(spec)) => claim::erase(dir, spec)?,
        (DataFate::Erase, None) | (DataFate::Keep, _) => {}
    }
    fs_err::remove_dir_all(dir.path())?;
    Ok(durable::sync_parent(dir.path())?)
}

fn conflict(cause: &str, remedy: &str) -> Refusal {
    Refusal::Conflict { cause: cause.to_owned(), remedy: remedy.to_owned() }
}

/// A failure of the agent itself as a refusal, with all its causes in one line.
pub(crate) fn refused(error: &SupervisorError) -> Refusal {
    conflict(&chain(error), "mend the cause on the host, then apply again")
}

fn not_claimed(error: &ClaimError) -> Refusal {
    conflict(&chain(error), "choose another path, or empty it if nothing there is needed")
}

/// An error with its causes, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        text.push_str(": ");
        text.push_str(&source.to_string());
        cause = source.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_address_may_be_held_by_a_process_that_is_being_changed() {
        let folder = tempfile::tempdir().unwrap();
        let supervisor = Supervisor::open(folder.path().join("processes"), PathBuf::new()).unwrap();
        let process = ProcessId::Bucket("data".to_owned());
        let address = "127.0.0.1:9";
        assert!(!supervisor.may_hold(&process, address), "nobody has heard of it");
        let slot = supervisor.slot(&process).unwrap();
        assert!(!supervisor.may_hold(&process, address), "it is not even begun");
        let turn = slot.turn.lock().await;
        assert!(supervisor.may_hold(&process, address), "it is being started for somebody");
        drop(turn);
        assert!(!supervisor.may_hold(&process, address));
    }
}
