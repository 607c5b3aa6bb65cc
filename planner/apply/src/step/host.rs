//! A host: its agent is there, runs and answers; at the end nothing of it is left.
//!
//! A machine that was launched a moment ago is given time to boot.
//! Invariant: a host's folder is cleared only when no process of it runs any more.

use std::time::{Duration, Instant};

use lustre_model::control::{DataFate, ProcessId, ProcessStatus, Request};
use lustre_model::plan::Operation;
use lustre_model::resource::{HostSpec, Kind};

use crate::bootstrap;
use crate::connection::{ConnectionError, Found};
use crate::error::StepError;
use crate::fleet::{Agent, Fleet};
use crate::perform::Task;

/// How long a machine that was just launched may take until it lets us in.
const BOOT_MAX: Duration = Duration::from_mins(5);

/// How often it is tried meanwhile.
const BOOT_LOOK_EVERY: Duration = Duration::from_secs(2);

/// Puts the agent there, starts it, and has it say what the host is.
pub(super) async fn ensure(fleet: &Fleet, task: &Task, spec: &HostSpec) -> Result<(), StepError> {
    let agent = reached(fleet, task, spec).await?;
    agent.facts().await?;
    Ok(())
}

/// Puts the agent there; waits for a machine that this apply may have launched.
async fn reached(fleet: &Fleet, task: &Task, spec: &HostSpec) -> Result<Agent, StepError> {
    let launched = task.step.operation == Operation::Create
        && task.step.dependencies.iter().any(|dependency| dependency.kind == Kind::Instance.name());
    let begun = Instant::now();
    loop {
        match fleet.bootstrap(&task.step.address, spec).await {
            Err(StepError::Connection(ConnectionError::Ssh { source, .. }))
                if launched && source.is_transient() && begun.elapsed() < BOOT_MAX =>
            {
                let waited = begun.elapsed().as_secs();
                task.tell.progress("seconds of waiting until the machine lets us in", waited, None);
                tokio::time::sleep(BOOT_LOOK_EVERY).await;
            }
            ended => return ended,
        }
    }
}

/// Ends the agent and removes what was put on the host. A host that was never begun is done at once.
pub(super) async fn delete(fleet: &Fleet, task: &Task, spec: &HostSpec) -> Result<(), StepError> {
    let host = &task.step.address;
    let connection = fleet.way(host, spec);
    let enrolled = connection.stat(&std::path::Path::new(&spec.path).join("ca.pem")).await?;
    if enrolled != Found::Absent {
        let agent = fleet.agent_with(host, spec).await?;
        sweep(&agent).await?;
        // Systemd would start it again.
        if !bootstrap::end_service(connection.as_ref(), spec).await? {
            match agent.ask(Request::Shutdown).await {
                // An agent that ends may close the connection before its answer is sent.
                Ok(_) | Err(StepError::Agent { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        fleet.forget(host).await;
        bootstrap::wait_until_gone(host, spec).await?;
    }
    bootstrap::clear(connection.as_ref(), spec).await
}

/// Stops what an apply that was cut off left running; refuses while anything holds data that the state should know.
async fn sweep(agent: &Agent) -> Result<(), StepError> {
    let kept = agent.processes().await?;
    let data: Vec<String> = kept.iter().filter(|one| holds_data(one)).map(name).collect();
    if !data.is_empty() {
        return Err(StepError::StillKept { host: Box::new(agent.host.clone()), processes: data });
    }
    for one in kept {
        agent.remove(one.process, DataFate::Erase, None).await?;
    }
    Ok(())
}

fn holds_data(one: &ProcessStatus) -> bool {
    match one.process {
        ProcessId::Target(_) => true,
        ProcessId::Mover(_) | ProcessId::Mount(_) | ProcessId::Bucket(_) => false,
    }
}

fn name(one: &ProcessStatus) -> String {
    match &one.process {
        ProcessId::Target(target) => target.to_string(),
        ProcessId::Mover(fs_name) => format!("the mover of {fs_name}"),
        ProcessId::Mount(path) => format!("the mount at {path}"),
        ProcessId::Bucket(name) => format!("the bucket {name}"),
    }
}
