//! Who keeps the agent of a host running: its systemd, where that runs it, else the agent's own supervision.
//!
//! This machine is somebody's desk: nothing is installed there. What runs on other machines comes back after a reboot.
//! Invariant: the agent's processes go on while the agent itself is stopped, started or replaced.

use std::path::{Path, PathBuf};

use lustre_model::resource::{Connection as Way, HostSpec};

use crate::connection::{Command, Connection, ConnectionError, Found, Source, run_ok};

/// Exists where systemd is the first process.
const SYSTEMD_RUNS: &str = "/run/systemd/system";

/// Where units of the administrator are.
const UNITS: &str = "/etc/systemd/system";

/// Seconds within which an agent must say that it listens.
const START_SECONDS: u32 = 20;

/// Seconds within which an agent must end before it is killed.
const STOP_SECONDS: u32 = 15;

/// Seconds within which an agent must say again that it turns.
const WATCHDOG_SECONDS: u32 = 30;

/// How many lines of an agent that does not answer are repeated.
const WORDS_MAX: &str = "4";

/// Who keeps an agent running.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keeper {
    /// A unit of the host's systemd.
    Systemd,
    /// Nobody: the agent is started in the background.
    Nobody,
}

/// Returns who keeps agents running on a host.
pub async fn keeper(connection: &dyn Connection, spec: &HostSpec) -> Result<Keeper, ConnectionError> {
    match spec.connection {
        Way::Local => Ok(Keeper::Nobody),
        Way::Ssh(_) if connection.stat(Path::new(SYSTEMD_RUNS)).await? == Found::Directory => {
            Ok(Keeper::Systemd)
        }
        Way::Ssh(_) => Ok(Keeper::Nobody),
    }
}

/// Has this program run as the agent of a folder, now and after each boot. Returns when it says that it listens.
pub async fn start(
    connection: &dyn Connection,
    keeper: Keeper,
    (program, folder): (&Path, &str),
) -> Result<(), ConnectionError> {
    match keeper {
        Keeper::Nobody => {
            run_ok(connection, &Command::new(program, &["start", "--dir", folder])).await.map(drop)
        }
        Keeper::Systemd => install(connection, folder, &unit(program, folder)).await,
    }
}

/// Makes this text the unit of a folder's agent, and starts it anew.
pub async fn install(connection: &dyn Connection, folder: &str, text: &str) -> Result<(), ConnectionError> {
    let name = unit_name(folder);
    if written(connection, folder).await?.as_deref() != Some(text) {
        connection.put(Source::Bytes(text.as_bytes()), &unit_path(folder), 0o644).await?;
    }
    // Whatever of it was done before: an agent that runs already is replaced by itself, and its processes go on.
    for arguments in [&["daemon-reload"][..], &["enable", "--quiet", &name], &["restart", &name]] {
        run_ok(connection, &Command::new("systemctl", arguments)).await?;
    }
    Ok(())
}

/// Returns the text of the unit that a folder's agent has.
pub async fn written(connection: &dyn Connection, folder: &str) -> Result<Option<String>, ConnectionError> {
    let text = connection.read(&unit_path(folder)).await?;
    Ok(text.map(|text| String::from_utf8_lossy(&text).into_owned()))
}

/// Ends the agent of a folder for good, where systemd keeps it. Its processes are gone already.
pub async fn stop(connection: &dyn Connection, folder: &str) -> Result<(), ConnectionError> {
    let name = unit_name(folder);
    if connection.stat(&unit_path(folder)).await? != Found::Absent {
        run_ok(connection, &Command::new("systemctl", &["disable", "--quiet", "--now", &name])).await?;
    }
    Ok(())
}

/// Removes the unit of an agent that was ended.
pub async fn remove(connection: &dyn Connection, folder: &str) -> Result<(), ConnectionError> {
    let path = unit_path(folder);
    if connection.stat(&path).await? != Found::Absent {
        stop(connection, folder).await?;
        connection.remove(&path).await?;
        run_ok(connection, &Command::new("systemctl", &["daemon-reload"])).await?;
        // A unit that was ended while it was being started has failed, and systemd would show it for ever. One that did not is
        // not known any more, which is an error here and nowhere else.
        let _unknown =
            run_ok(connection, &Command::new("systemctl", &["reset-failed", &unit_name(folder)])).await;
    }
    Ok(())
}

/// Returns the end of what the agent of a folder said, where systemd keeps it; as best it can.
pub async fn last_words(connection: &dyn Connection, folder: &str) -> Option<String> {
    let name = unit_name(folder);
    let arguments = ["--unit", &name, "--lines", WORDS_MAX, "--output", "cat", "--no-pager", "--quiet"];
    let said = run_ok(connection, &Command::new("journalctl", &arguments)).await.ok()?;
    let said = String::from_utf8_lossy(&said);
    let lines: Vec<&str> = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    (!lines.is_empty()).then(|| lines.join("; "))
}

fn unit_path(folder: &str) -> PathBuf {
    Path::new(UNITS).join(unit_name(folder))
}

/// Returns the name of a folder's unit: the folder, with everything else than letters, digits and dots as `\xNN` would be, but
/// with `_`, which no shell or log has to escape.
fn unit_name(folder: &str) -> String {
    let mut name = String::from("lustre-agent");
    for byte in folder.bytes() {
        match byte {
            b'/' => name.push('-'),
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' => name.push(char::from(byte)),
            other => name.push_str(&format!("_{other:02x}")),
        }
    }
    name.push_str(".service");
    name
}

/// Returns the text of the unit. Whatever hangs is ended: a start that is not ready within its time, and an agent that does not tell
/// its watchdog that it turns. Its processes go on all the while.
///
/// What would give the agent a mount namespace of its own (`ProtectSystem`, `PrivateTmp`, …) is left out: its mounts
/// are there for everybody on the host.
pub fn unit(program: &Path, folder: &str) -> String {
    let (program, folder) = (word(&program.display().to_string()), word(folder));
    format!(
        "# Written by lustre; removed by `lustre destroy`.
[Unit]
Description=Agent of lustre in {folder}
Wants=network-online.target
After=network-online.target
StartLimitIntervalSec=0

[Service]
Type=notify
NotifyAccess=main
ExecStart={program} run --dir {folder}
TimeoutStartSec={START_SECONDS}
TimeoutStopSec={STOP_SECONDS}
WatchdogSec={WATCHDOG_SECONDS}
Restart=always
RestartSec=1
KillMode=process
LimitNOFILE=1048576
TasksMax=infinity
OOMScoreAdjust=-500
NoNewPrivileges=yes
LockPersonality=yes
RestrictRealtime=yes
RestrictNamespaces=yes
SystemCallArchitectures=native

[Install]
WantedBy=multi-user.target
"
    )
}

/// Writes a word as units read it: in quotes, with `%` and `$` doubled.
fn word(text: &str) -> String {
    let plain = text.replace('\\', r"\\").replace('"', "\\\"").replace('%', "%%").replace('$', "$$");
    format!("\"{plain}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_have_units_of_their_own_with_names_that_need_no_escaping() {
        assert_eq!(unit_name("/var/lib/lustre"), "lustre-agent-var-lib-lustre.service");
        assert_eq!(unit_name("/srv/a b-c_d"), "lustre-agent-srv-a_20b_2dc_5fd.service");
        assert_ne!(unit_name("/a/b"), unit_name("/a-b"));
    }

    #[test]
    fn strange_folders_stand_in_the_unit_as_they_are() {
        let text = unit(Path::new("/a b/100%/$x/lustre-agent"), "/a \"b");
        assert!(text.contains("Type=notify\n") && text.contains("WatchdogSec=30\n"), "{text}");
        assert!(text.contains(r#"ExecStart="/a b/100%%/$$x/lustre-agent" run --dir "/a \"b""#), "{text}");
    }
}
