//! Conditions that must hold on hosts before a plan can work, and what is said when they do not.
//!
//! Only for what is to be made, and for links that change: what stays as it is was probed when it came.
//! Invariant: a condition that fails names the host, the cause and the remedy, at the attribute that asks for it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use futures::future::join_all;
use lustre_apply::connection::{ConnectionError, SshError};
use lustre_apply::error::StepError;
use lustre_apply::observe::Observer;
use lustre_language::Program;
use lustre_model::address::Address;
use lustre_model::control::{Probe, ProbeResult, ProcessId};
use lustre_model::diagnostic::{Diagnostic, Diagnostics};
use lustre_model::plan::{Operation, Plan, Step};
use lustre_model::resource::{Attributes, HostSpec, Kind, Resource, TargetRole};

use lustre_plan::{Claim, claims};

use super::unknown;

/// Attributes of a link that say how its bucket is reached.
const WAYS: [&str; 4] = ["endpoint_url", "region", "path_style", "credentials_file"];

/// A condition, and who asks for it with which attribute.
struct Asked {
    probe: Probe,
    address: Address,
    attribute: &'static [&'static str],
}

/// Asks all hosts of a plan, and returns what does not hold.
pub async fn conditions(
    plan: &Plan,
    program: &Program,
    (observer, binary): (&Observer, &Path),
) -> Diagnostics {
    let mut by_host: BTreeMap<Address, Vec<Asked>> = BTreeMap::new();
    let (coming, going) = (coming_buckets(plan), going(plan));
    for step in plan.steps().iter().filter(|step| is_new(step)) {
        for (host, asked) in asked(step, &coming) {
            if claimed(&host, &asked.probe).is_none_or(|claim| !going.contains(&claim)) {
                by_host.entry(host).or_default().push(asked);
            }
        }
    }
    let hosts = by_host.into_iter().filter_map(|(host, asked)| Some((spec(plan, &host)?, host, asked)));
    let answers = join_all(hosts.map(|(spec, host, asked)| async move {
        let probes = asked.iter().map(|asked| asked.probe.clone()).collect();
        let answer = observer.probe(&host, &spec, binary, probes).await;
        (host, asked, answer)
    }));
    let mut found = Diagnostics::new();
    for (host, asked, answer) in answers.await {
        match answer {
            Ok(results) => {
                for (asked, result) in asked.iter().zip(results) {
                    found.extend(failed(&host, asked, result, program));
                }
            }
            Err(error) => {
                let mut diagnostic = unreached(&host, &error);
                diagnostic.span = program.resource(&host).map(|block| block.span);
                found.push(diagnostic);
            }
        }
    }
    found
}

/// Whether a step brings something that was not probed: an object, or another way to a bucket.
fn is_new(step: &Step) -> bool {
    match step.operation {
        Operation::Create => true,
        Operation::Update if step.kind == Kind::DataRepositoryAssociation => {
            let value = |attributes: &Option<Attributes>, name: &str| attributes.as_ref()?.get(name).cloned();
            WAYS.iter().any(|name| value(&step.before, name) != value(&step.after, name))
        }
        Operation::Update => false,
        Operation::Delete | Operation::Read => false,
    }
}

fn failed(host: &Address, asked: &Asked, result: ProbeResult, program: &Program) -> Option<Diagnostic> {
    let ProbeResult::Failed { cause, remedy } = result else { return None };
    let code = match asked.probe {
        Probe::TargetPath { .. } => "E0902",
        Probe::MountPath { .. } => "E0903",
        Probe::Port { .. } => "E0904",
        Probe::Fuse => "E0905",
        Probe::Folder { .. } => "E0906",
        Probe::Repository { .. } => "E0907",
    };
    let mut diagnostic = Diagnostic::error(code, format!("{host} cannot do this"))
        .detail(cause)
        .hint(remedy)
        .instance(asked.address.clone());
    let whole = asked.address.whole();
    diagnostic.span =
        program.resource(&whole).map(|block| block.attribute_span(asked.attribute).unwrap_or(block.span));
    Some(diagnostic)
}

/// Says why a host could not be asked, and what to do.
fn unreached(host: &Address, error: &StepError) -> Diagnostic {
    let (code, summary) = if let StepError::Connection(ConnectionError::Ssh { source, .. }) = error {
        ssh(source)
    } else if let StepError::Machine { .. } = error {
        ("E0912", "has the wrong architecture")
    } else if let StepError::Clock { .. } = error {
        ("E1001", "has another time")
    } else {
        return unknown(host, &error.causes());
    };
    let mut causes = error.causes();
    // What is behind the outer words says the same with more.
    causes.retain(|cause| !cause.ends_with("could not be worked on") && !cause.ends_with("over SSH"));
    let diagnostic = Diagnostic::error(code, format!("{host} {summary}")).detail(causes.join(": "));
    match error.remedy() {
        Some(remedy) => diagnostic.hint(remedy),
        None => diagnostic,
    }
}

fn ssh(error: &SshError) -> (&'static str, &'static str) {
    match error {
        SshError::Unreachable { .. }
        | SshError::Slow { .. }
        | SshError::Handshake { .. }
        | SshError::Lost { .. }
        | SshError::Odd { .. } => ("E0908", "cannot be reached over SSH"),
        SshError::NoHostKey { .. }
        | SshError::UnknownHostKey { .. }
        | SshError::ChangedHostKey { .. }
        | SshError::RevokedHostKey { .. }
        | SshError::KnownHosts { .. } => ("E0909", "may be another machine"),
        SshError::Identity { .. } | SshError::Encrypted { .. } | SshError::Refused { .. } => {
            ("E0910", "does not let us in")
        }
        SshError::Sudo { .. } => ("E0911", "does not let us be root"),
    }
}

/// Endpoints that the plan itself brings up or moves; they cannot answer yet.
fn coming_buckets(plan: &Plan) -> BTreeSet<String> {
    let steps = plan.steps().iter().filter(|step| step.kind == Kind::Bucket);
    let endpoint = |step: &Step| step.after.as_ref()?.get("endpoint_url")?.as_str().map(str::to_owned);
    steps.filter_map(endpoint).collect()
}

/// What the plan itself sets free before somebody else takes it; now it is still taken.
fn going(plan: &Plan) -> BTreeSet<Claim> {
    let deletions = plan.steps().iter().filter(|step| step.operation == Operation::Delete);
    deletions.flat_map(|step| step.before.iter().flat_map(|before| claims(step.kind, before))).collect()
}

/// Returns what a probe finds taken while somebody has it.
fn claimed(host: &Address, probe: &Probe) -> Option<Claim> {
    match probe {
        Probe::Port { address, .. } => Some(Claim::Port(address.clone())),
        Probe::MountPath { path } => Some(Claim::MountPoint { host: host.to_string(), path: path.clone() }),
        Probe::TargetPath { .. } | Probe::Fuse | Probe::Folder { .. } | Probe::Repository { .. } => None,
    }
}

/// Returns the spec of a host as planned, when it is known.
fn spec(plan: &Plan, host: &Address) -> Option<HostSpec> {
    let change = plan.changes().iter().find(|change| change.address == *host)?;
    let Resource::Host(spec) = typed(Kind::Host, change.after.as_ref()?)? else { return None };
    Some(spec)
}

/// Reads attributes, unless some are not known yet: then nothing can be probed.
fn typed(kind: Kind, attributes: &Attributes) -> Option<Resource> {
    Resource::from_attributes(kind, attributes).ok()
}

fn asked(step: &Step, coming: &BTreeSet<String>) -> Vec<(Address, Asked)> {
    let Some(resource) = step.after.as_ref().and_then(|after| typed(step.kind, after)) else {
        return Vec::new();
    };
    let ask = |host: &Address, probe, attribute: &'static [&'static str]| {
        (host.clone(), Asked { probe, address: step.address.clone(), attribute })
    };
    match resource {
        Resource::Host(spec) => {
            // The agent is no process that it keeps; a name that none can have stands for it.
            let owner = ProcessId::Bucket(String::new());
            let probe = Probe::Port { address: spec.control_address(), owner };
            vec![ask(&step.address, probe, &["control_port"])]
        }
        Resource::Target(spec) => {
            let (capacity, path_at): (u64, &'static [&'static str]) = match &spec.role {
                TargetRole::Metadata { .. } => (0, &["metadata", "path"]),
                TargetRole::Object { capacity, .. } => (*capacity, &["storage", "path"]),
            };
            let path = Probe::TargetPath { path: spec.path.clone(), target: spec.target.clone(), capacity };
            let port = Probe::Port { address: spec.listen.clone(), owner: spec.process() };
            vec![ask(&spec.host, path, path_at), ask(&spec.host, port, path_at)]
        }
        Resource::Bucket(spec) => {
            let port = Probe::Port { address: spec.listen.clone(), owner: spec.process() };
            let folder = Probe::Folder { path: spec.path.clone() };
            vec![ask(&spec.host, folder, &["path"]), ask(&spec.host, port, &["port"])]
        }
        Resource::Mount(spec) => {
            let path = Probe::MountPath { path: spec.path.clone() };
            vec![ask(&spec.host, path, &["path"]), ask(&spec.host, Probe::Fuse, &["host"])]
        }
        Resource::DataRepositoryAssociation(spec) => {
            let repository = spec.link.repository;
            if repository.endpoint_url.as_ref().is_some_and(|url| coming.contains(url)) {
                return Vec::new();
            }
            vec![ask(&spec.metadata_host, Probe::Repository { repository }, &["data_repository_path"])]
        }
        Resource::Cluster(_) | Resource::Value(_) | Resource::SecurityGroup(_) | Resource::Instance(_) => {
            Vec::new()
        }
    }
}
