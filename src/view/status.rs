//! How everything is now: hosts with their processes, clusters with their targets and links.
//!
//! Invariant: a column is as wide as its widest word, and nothing is cut off.

use std::collections::BTreeMap;

use anstyle::{AnsiColor, Style};
use lustre_apply::observe::{ClusterReport, ClusterState, Credentials, HostReport, TargetReport};
use lustre_model::address::Address;
use lustre_model::control::{ProcessId, ProcessState, ProcessStatus};
use lustre_model::hsm::{LinkState, LinkStatus};
use lustre_model::moment::rfc3339;
use serde_json::{Value as Json, json};

use crate::terminal::paint;

const GOOD: Style = AnsiColor::Green.on_default();
const BAD: Style = AnsiColor::Red.on_default();
const HEAD: Style = Style::new().bold();

/// From this year on a certificate counts as one without an end, in seconds since 1970.
const NO_END: u64 = 32_503_680_000;

/// Everything that was found out.
pub struct Status {
    /// Hosts by address.
    pub hosts: Vec<HostReport>,
    /// Clusters by address.
    pub clusters: Vec<ClusterReport>,
    /// What the state records and is not so, with the cause.
    pub drift: BTreeMap<Address, String>,
}

impl Status {
    /// Returns how many things are not as the state says: objects that drifted, clusters and targets that do not answer,
    /// links that cannot reach their bucket.
    pub fn amiss(&self) -> usize {
        let of_cluster = |report: &ClusterReport| match &report.view {
            Ok(view) => {
                let silent = view.targets.iter().filter(|target| target.space.is_err()).count();
                let broken =
                    |link: &&LinkStatus| matches!(link.state, LinkState::Misconfigured | LinkState::Failed);
                silent + view.links.iter().filter(broken).count()
            }
            Err(_) => 1,
        };
        // A process that fails belongs to an object that drifted, or to one that never came to be.
        let processes = self.hosts.iter().filter_map(|host| host.processes.as_ref().ok()).flatten();
        let failing = processes.filter(|one| matches!(one.state, ProcessState::Failing { .. })).count();
        let ending = self.hosts.iter().map(|host| host.ending().len()).sum::<usize>();
        ending + self.drift.len().max(failing) + self.clusters.iter().map(of_cluster).sum::<usize>()
    }
}

/// Draws it for a person.
pub fn draw(status: &Status, colour: bool) -> String {
    if status.hosts.is_empty() && status.clusters.is_empty() {
        return "Nothing is there: the state has no host and no cluster.\n".to_owned();
    }
    let mut text = String::new();
    for report in &status.hosts {
        text.push_str(&paint(colour, HEAD, &report.host.to_string()));
        match &report.processes {
            Ok(processes) => {
                text.push('\n');
                text.push_str(&table(&process_rows(processes, report.credentials.as_ref()), colour));
                text.push_str(&ending(report, colour));
                text.push_str(&causes(processes, colour));
            }
            Err(error) => text.push_str(&format!("  {}\n", paint(colour, BAD, &error.causes().join(": ")))),
        }
        text.push('\n');
    }
    for report in &status.clusters {
        text.push_str(&paint(colour, HEAD, &report.cluster.to_string()));
        match &report.view {
            Ok(view) => text.push_str(&draw_cluster(view, colour)),
            Err(error) => text.push_str(&format!("  {}\n", paint(colour, BAD, &error.causes().join(": ")))),
        }
        text.push('\n');
    }
    if !status.drift.is_empty() {
        text.push_str(&paint(colour, BAD, "Not as the state says"));
        text.push('\n');
        for (address, cause) in &status.drift {
            text.push_str(&format!("  {address}: {cause}\n"));
        }
        text.push('\n');
    }
    text
}

fn draw_cluster(view: &ClusterState, colour: bool) -> String {
    let mut text = format!("  {} files and directories\n", view.inodes);
    text.push_str(&table(&target_rows(&view.targets), colour));
    for link in &view.links {
        text.push_str(&draw_link(link, colour));
    }
    text
}

fn draw_link(status: &LinkStatus, colour: bool) -> String {
    let style = if status.state == LinkState::Available { GOOD } else { BAD };
    let bucket = format!("s3://{}/{}", status.link.repository.bucket, status.link.repository.prefix);
    let mut text = format!(
        "  {} {} ↔ {bucket}: {}, {} names imported, {} exports waiting",
        status.link.name,
        status.link.file_system_path,
        paint(colour, style, state_word(status.state)),
        status.imported,
        status.pending_exports,
    );
    if let Some(released) = status.released.filter(|released| *released > 0) {
        text.push_str(&format!(", {released} files only in the bucket"));
    }
    if status.oldest_export_s > 0 {
        text.push_str(&format!(", the oldest for {} s", status.oldest_export_s));
    }
    text.push('\n');
    status.cause.iter().for_each(|cause| text.push_str(&format!("    because {cause}\n")));
    for refused in &status.refused {
        text.push_str(&format!("    refused {:?}: {}\n", refused.key, refused.reason));
    }
    if status.refused_total > status.refused.len() as u64 {
        text.push_str(&format!("    refused in all: {}\n", status.refused_total));
    }
    for failed in &status.failed_exports {
        let tries = failed.attempts;
        text.push_str(&format!(
            "    not exported after {tries} attempts: {}: {}\n",
            failed.path, failed.cause
        ));
    }
    text
}

fn state_word(state: LinkState) -> &'static str {
    match state {
        LinkState::Creating => "CREATING",
        LinkState::Available => "AVAILABLE",
        LinkState::Misconfigured => "MISCONFIGURED",
        LinkState::Updating => "UPDATING",
        LinkState::Deleting => "DELETING",
        LinkState::Failed => "FAILED",
    }
}

/// The end of a certificate: the day, or nothing where it has none to speak of.
fn day(until: u64) -> String {
    if until >= NO_END { String::new() } else { rfc3339(until).chars().take("2026-11-21".len()).collect() }
}

/// Says which certificates end soon.
fn ending(report: &HostReport, colour: bool) -> String {
    let lines = report.ending().into_iter().map(|(process, until)| {
        let what = process.map_or_else(|| "the agent".to_owned(), name);
        let line =
            format!("the certificate of {what} ends on {}: apply, which signs another one", day(until));
        format!("  {}\n", paint(colour, BAD, &line))
    });
    lines.collect()
}

fn process_rows(processes: &[ProcessStatus], credentials: Option<&Credentials>) -> Vec<Vec<String>> {
    let head = ["process", "state", "pid", "restarts", "peak memory", "cpu", "certificate until"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for one in processes {
        let (state, pid, restarts) = match &one.state {
            ProcessState::Starting => ("starting".to_owned(), String::new(), String::new()),
            ProcessState::Running { pid, restarts } => {
                ("running".to_owned(), pid.to_string(), restarts.to_string())
            }
            ProcessState::Failing { restarts, .. } => {
                ("failing".to_owned(), String::new(), restarts.to_string())
            }
        };
        let memory = one.memory_peak.map(bytes).unwrap_or_default();
        let cpu = one.cpu_ms.map(|ms| format!("{}.{} s", ms / 1000, ms % 1000 / 100)).unwrap_or_default();
        let certified = credentials.and_then(|known| known.processes.get(&one.process));
        let until = certified.map(|certified| day(certified.until)).unwrap_or_default();
        rows.push(vec![name(&one.process), state, pid, restarts, memory, cpu, until]);
    }
    rows
}

/// Why processes fail: below their table, for a cause may be several lines of a log.
fn causes(processes: &[ProcessStatus], colour: bool) -> String {
    let mut text = String::new();
    for one in processes {
        let ProcessState::Failing { cause, .. } = &one.state else { continue };
        let head = format!("{} is failing:", name(&one.process));
        text.push_str(&format!("  {}\n", paint(colour, BAD, &head)));
        cause.lines().for_each(|line| text.push_str(&format!("    {line}\n")));
    }
    text
}

fn name(process: &ProcessId) -> String {
    match process {
        ProcessId::Target(target) => target.to_string(),
        ProcessId::Mover(fs_name) => format!("mover {fs_name}"),
        ProcessId::Mount(path) => format!("mount {path}"),
        ProcessId::Bucket(name) => format!("bucket {name}"),
    }
}

fn target_rows(targets: &[TargetReport]) -> Vec<Vec<String>> {
    let head = ["target", "address", "capacity", "used", "use%", "objects"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for target in targets {
        let mut row = vec![format!("OST{:04x}", target.entry.index.0), target.entry.address.clone()];
        match &target.space {
            Ok(space) => {
                let percent = (u128::from(space.used) * 100).div_ceil(u128::from(space.capacity.max(1)));
                row.extend([bytes(space.capacity), bytes(space.used)]);
                row.extend([format!("{percent}%"), space.objects.to_string()]);
            }
            Err(cause) => row.push(cause.clone()),
        }
        rows.push(row);
    }
    rows
}

/// Writes bytes with a unit of 1024: `1.5 GiB`.
fn bytes(number: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let place = (number.max(1).ilog2() / 10) as usize;
    if place == 0 {
        return format!("{number} B");
    }
    let tenths = (u128::from(number) * 10) >> (10 * place);
    format!("{}.{} {}", tenths / 10, tenths % 10, units[place])
}

/// Aligns columns; the first row is the head.
fn table(rows: &[Vec<String>], colour: bool) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = rows.iter().filter(|row| row.len() > column + 1).filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for (number, row) in rows.iter().enumerate() {
        let cells: Vec<String> = row
            .iter()
            .enumerate()
            .map(|(column, cell)| {
                let padding = widths[column].saturating_sub(cell.chars().count());
                let painted = if number == 0 { paint(colour, HEAD, cell) } else { cell.clone() };
                format!("{painted}{}", " ".repeat(padding))
            })
            .collect();
        text.push_str(&format!("  {}\n", cells.join("  ").trim_end()));
    }
    text
}

/// Returns it for machines.
pub fn to_json(status: &Status) -> Json {
    let hosts: Vec<Json> = status
        .hosts
        .iter()
        .map(|report| match &report.processes {
            Ok(processes) => {
                let known = report.credentials.as_ref();
                let processes: Vec<Json> = processes.iter().map(|one| process_json(one, known)).collect();
                let until = known.map(|known| rfc3339(known.agent.until));
                json!({
                    "address": report.host, "reachable": true, "certificate_until": until, "processes": processes
                })
            }
            Err(error) => {
                json!({ "address": report.host, "reachable": false, "causes": error.causes() })
            }
        })
        .collect();
    let clusters: Vec<Json> = status
        .clusters
        .iter()
        .map(|report| match &report.view {
            Ok(view) => cluster_json(report, view),
            Err(error) => {
                json!({ "address": report.cluster, "reachable": false, "causes": error.causes() })
            }
        })
        .collect();
    let drift: Vec<Json> =
        status.drift.iter().map(|(address, cause)| json!({ "address": address, "cause": cause })).collect();
    json!({ "format_version": "1.0", "hosts": hosts, "clusters": clusters, "drift": drift })
}

fn process_json(one: &ProcessStatus, credentials: Option<&Credentials>) -> Json {
    let mut json =
        json!({ "name": name(&one.process), "memory_peak": one.memory_peak, "cpu_ms": one.cpu_ms });
    if let Some(certified) = credentials.and_then(|known| known.processes.get(&one.process)) {
        json["certificate_until"] = json!(rfc3339(certified.until));
        json["certificate_serial"] = json!(certified.serial);
    }
    match &one.state {
        ProcessState::Starting => json["state"] = json!("starting"),
        ProcessState::Running { pid, restarts } => {
            json["state"] = json!("running");
            json["pid"] = json!(pid);
            json["restarts"] = json!(restarts);
        }
        ProcessState::Failing { cause, restarts } => {
            json["state"] = json!("failing");
            json["cause"] = json!(cause);
            json["restarts"] = json!(restarts);
        }
    }
    json
}

fn cluster_json(report: &ClusterReport, view: &ClusterState) -> Json {
    let targets: Vec<Json> = view
        .targets
        .iter()
        .map(|target| {
            let entry = &target.entry;
            let mut json = json!({ "index": entry.index, "address": entry.address, "limit": entry.capacity });
            match &target.space {
                Ok(space) => {
                    json["capacity"] = json!(space.capacity);
                    json["used"] = json!(space.used);
                    json["objects"] = json!(space.objects);
                }
                Err(cause) => json["cause"] = json!(cause),
            }
            json
        })
        .collect();
    json!({
        "address": report.cluster,
        "reachable": true,
        "inodes": view.inodes,
        "inodes_free": view.inodes_free,
        "targets": targets,
        "links": view.links,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_written_with_the_unit_that_fits() {
        for (number, text) in
            [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1536, "1.5 KiB"), (u64::MAX, "15.9 EiB")]
        {
            assert_eq!(bytes(number), text);
        }
    }

    #[test]
    fn columns_are_aligned_and_a_last_cell_never_widens_its_column() {
        let rows = vec![vec!["a".to_owned(), "bb".to_owned()], vec!["ccc".to_owned(), "d".to_owned()]];
        assert_eq!(table(&rows, false), "  a    bb\n  ccc  d\n");
    }
}
