//! A data repository association: its mover runs, the metadata target knows it, the listing is imported.
//!
//! Before it goes, everything written below it must have reached the bucket.
//! Invariant: a link is removed with exports outstanding only when the loss was allowed.

use std::time::{Duration, Instant};

use lustre_model::control::{DataFate, ProcessId, ProcessSpec};
use lustre_model::fault::Fault;
use lustre_model::hsm::{Link, LinkState, LinkStatus};
use lustre_model::metadata::{Reply, Request};
use lustre_model::resource::AssociationSpec;
use lustre_wire::Role;

use super::Hosts;
use crate::error::StepError;
use crate::event::What;
use crate::fleet::{self, Fleet};
use crate::perform::Task;

/// How often a link is looked at while something is waited for.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// How long an import may stand still.
const IMPORT_STALL_MAX: Duration = Duration::from_mins(5);

/// How long exports may stand still before those that failed count as failed.
const EXPORT_STALL_MAX: Duration = Duration::from_secs(30);

/// Makes sure that the link is there and its listing imported.
pub(super) async fn ensure(fleet: &Fleet, task: &Task, spec: &AssociationSpec) -> Result<(), StepError> {
    let agent = fleet.agent(&task.world, &spec.metadata_host).await?;
    let realm = fleet::realm(&task.world, &spec.cluster)?;
    let process = ProcessId::Mover(spec.fs_name.clone());
    let mover = ProcessSpec::Mover { fs_name: spec.fs_name.clone(), metadata: spec.metadata_address.clone() };
    let name = format!("{}:{}", spec.metadata_host, spec.fs_name);
    agent.ensure_signed(&realm, Role::Mover, &name, (process, mover)).await?;
    let put = Request::PutLink { link: spec.link.clone() };
    match fleet.administer(&task.world, &spec.cluster, "take the link", put).await {
        Err(refused @ StepError::MetadataRefused { source: Fault::Exists, .. }) => {
            return Err(taken(fleet, task, spec).await?.unwrap_or(refused));
        }
        put => drop(put?),
    }
    let status = imported(fleet, task, spec).await?;
    if status.refused_total > 0 {
        task.tell.say(What::Note(format!(
            "{} keys of the bucket were not imported: they have no valid name as a file, or a file that is here has the \
             name; `lustre status` lists them",
            status.refused_total
        )));
    }
    Ok(())
}

/// Finds the link that is in the way of another, by its directory or its part of the bucket.
async fn taken(fleet: &Fleet, task: &Task, spec: &AssociationSpec) -> Result<Option<StepError>, StepError> {
    let own = &spec.link;
    let folder = |path: &str| format!("{}/", path.trim_end_matches('/'));
    let within = |one: &str, other: &str| one.starts_with(other) || other.starts_with(one);
    let overlaps = |other: &Link| {
        let (mine, its) = (&own.repository, &other.repository);
        let same_bucket = mine.bucket == its.bucket && mine.endpoint_url == its.endpoint_url;
        within(&folder(&own.file_system_path), &folder(&other.file_system_path))
            || (same_bucket && within(&mine.prefix, &its.prefix))
    };
    let others = links(fleet, task, spec).await?.into_iter().map(|status| status.link);
    let other = others.filter(|other| other.id != own.id).find(overlaps);
    Ok(other.map(|other| StepError::LinkTaken {
        repository: format!("s3://{}/{}", other.repository.bucket, other.repository.prefix),
        directory: other.file_system_path,
        name: other.name,
    }))
}

/// Waits until the link is available.
async fn imported(fleet: &Fleet, task: &Task, spec: &AssociationSpec) -> Result<LinkStatus, StepError> {
    let (mut seen, mut since) = (u64::MAX, Instant::now());
    loop {
        let status = look(fleet, task, spec).await?.ok_or(StepError::LinkMissing)?;
        match status.state {
            LinkState::Available => return Ok(status),
            LinkState::Misconfigured | LinkState::Failed => {
                let cause = status.cause.unwrap_or_else(|| "no reason is known".to_owned());
                return Err(StepError::Link { cause });
            }
            LinkState::Creating | LinkState::Updating | LinkState::Deleting => {}
        }
        if status.imported != seen {
            (seen, since) = (status.imported, Instant::now());
            task.tell.progress("names imported", seen, None);
        }
        if since.elapsed() > IMPORT_STALL_MAX {
            return Err(StepError::Stalled { what: "the import", limit: IMPORT_STALL_MAX });
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Lets exports finish, removes the link, and the mover with the cluster's last one.
pub(super) async fn delete(hosts: &Hosts, task: &Task, spec: &AssociationSpec) -> Result<(), StepError> {
    let fleet = &hosts.fleet;
    // The agent brings the metadata target and the mover back when they were killed.
    let agent = fleet.agent(&task.world, &spec.metadata_host).await?;
    if look(fleet, task, spec).await?.is_some() {
        match drained(fleet, task, spec).await {
            Err(StepError::Unexported { pending, .. })
                if hosts.may_lose(&[&task.step.address, &spec.cluster]) =>
            {
                let note = format!("{pending} files were not exported; their loss was allowed");
                task.tell.say(What::Note(note));
            }
            ended => ended?,
        }
        let remove = Request::RemoveLink { link: spec.link.id, delete_data: spec.delete_data_in_file_system };
        fleet.administer(&task.world, &spec.cluster, "remove the link", remove).await?;
    }
    if links(fleet, task, spec).await?.is_empty() {
        let realm = fleet::realm(&task.world, &spec.cluster)?;
        agent.remove(ProcessId::Mover(spec.fs_name.clone()), DataFate::Erase, Some(&realm)).await?;
    }
    Ok(())
}

/// Waits until nothing below the link is unexported.
async fn drained(fleet: &Fleet, task: &Task, spec: &AssociationSpec) -> Result<(), StepError> {
    let (mut least, mut since) = (u64::MAX, Instant::now());
    loop {
        let Some(status) = look(fleet, task, spec).await? else { return Ok(()) };
        if status.pending_exports == 0 {
            // What can never be exported stays in the file system, unless that goes too.
            if spec.delete_data_in_file_system && !status.failed_exports.is_empty() {
                let failed = status.failed_exports;
                return Err(StepError::Unexported { pending: failed.len() as u64, failed });
            }
            return Ok(());
        }
        if status.pending_exports < least {
            (least, since) = (status.pending_exports, Instant::now());
            task.tell.progress("files to export", least, None);
        }
        if since.elapsed() > EXPORT_STALL_MAX {
            return Err(StepError::Unexported {
                pending: status.pending_exports,
                failed: status.failed_exports,
            });
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

async fn look(fleet: &Fleet, task: &Task, spec: &AssociationSpec) -> Result<Option<LinkStatus>, StepError> {
    let links = links(fleet, task, spec).await?;
    Ok(links.into_iter().find(|status| status.link.id == spec.link.id))
}

async fn links(fleet: &Fleet, task: &Task, spec: &AssociationSpec) -> Result<Vec<LinkStatus>, StepError> {
    let reply = fleet.administer(&task.world, &spec.cluster, "list its links", Request::Links).await?;
    let Reply::Links { links } = reply else {
        return Err(StepError::Unfitting { host: Box::new(spec.metadata_host.clone()), asked: "links" });
    };
    Ok(links)
}
