//! The systems: libfuse's pass-through, and a lustre cluster on this machine.
//!
//! Starts and ends them and counts their CPU and memory; no load and no report.
//! Invariant: whatever `up` started, `down` ended, also after a failed round.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long a mount may take to come or go.
const MOUNT_WAIT: Duration = Duration::from_secs(30);

/// Clock ticks a second in `/proc/<pid>/stat` on every Linux that we build for.
const TICKS_PER_SECOND: f64 = 100.0;

enum Kind {
    Passthrough { program: PathBuf, child: Option<Child> },
    Lustre { compression: &'static str },
}

/// One system under test, with all its data below one folder.
pub struct System {
    folder: PathBuf,
    mountpoint: PathBuf,
    kind: Kind,
}

impl System {
    /// The system that the report calls so.
    pub fn named(name: &str, folder: &Path) -> Result<Self, String> {
        match name {
            "fuse-passthrough" => Self::passthrough(folder),
            "lustre" => Ok(Self::lustre(folder, "NONE")),
            "lustre LZ4" => Ok(Self::lustre(folder, "LZ4")),
            _ => Err(format!("there is no system {name:?}")),
        }
    }

    /// libfuse's fastest example, found in `PASSTHROUGH_HP` or on `PATH`.
    fn passthrough(folder: &Path) -> Result<Self, String> {
        let program = std::env::var_os("PASSTHROUGH_HP").map(PathBuf::from).filter(|path| path.exists());
        let program = program
            .ok_or("PASSTHROUGH_HP names no program; run scripts/bench.sh, which builds libfuse's example")?;
        Ok(Self::new(folder, "passthrough", Kind::Passthrough { program, child: None }))
    }

    /// A cluster of one metadata target and four object targets.
    fn lustre(folder: &Path, compression: &'static str) -> Self {
        Self::new(folder, &format!("lustre-{compression}"), Kind::Lustre { compression })
    }

    fn new(folder: &Path, name: &str, kind: Kind) -> Self {
        let folder = folder.join(name);
        Self { mountpoint: folder.join("mnt"), folder, kind }
    }

    /// What the report calls it.
    pub fn name(&self) -> &'static str {
        match &self.kind {
            Kind::Passthrough { .. } => "fuse-passthrough",
            Kind::Lustre { compression: "LZ4" } => "lustre LZ4",
            Kind::Lustre { .. } => "lustre",
        }
    }

    /// Where its files are.
    pub fn mountpoint(&self) -> &Path {
        &self.mountpoint
    }

    /// Brings it up from nothing and gives the seconds that took.
    pub fn up(&mut self) -> Result<f64, String> {
        for folder in [self.folder.join("source"), self.mountpoint.clone()] {
            fs_err::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
        }
        let start = Instant::now();
        match &mut self.kind {
            Kind::Passthrough { .. } => self.mount_passthrough()?,
            Kind::Lustre { compression } => {
                let spec = spec(&self.folder, compression);
                fs_err::write(self.folder.join("main.hcl"), spec).map_err(|e| e.to_string())?;
                self.lustre_command(&["apply", "-auto-approve"])?;
            }
        }
        self.wait_mounted()?;
        Ok(start.elapsed().as_secs_f64())
    }

    /// Ends it and removes its files.
    pub fn down(&mut self) -> Result<(), String> {
        match &mut self.kind {
            Kind::Passthrough { child, .. } => {
                unmount(&self.mountpoint)?;
                if let Some(mut child) = child.take() {
                    child.wait().map_err(|e| e.to_string())?;
                }
            }
            Kind::Lustre { .. } => {
                self.lustre_command(&["destroy", "-auto-approve", "-allow-data-loss=*"])?
            }
        }
        remove_folder(&self.folder)
    }

    /// Mounts anew and drops the machine's caches, where we may.
    pub fn forget_caches(&mut self) -> Result<(), String> {
        unmount(&self.mountpoint)?;
        rustix::fs::sync();
        // Only root may; the remount alone empties the client's caches.
        let _ = fs_err::write("/proc/sys/vm/drop_caches", "3");
        if let Kind::Passthrough { child, .. } = &mut self.kind {
            if let Some(mut ended) = child.take() {
                ended.wait().map_err(|e| e.to_string())?;
            }
            self.mount_passthrough()?;
        }
        self.wait_mounted()
    }

    /// CPU time of all its processes so far.
    pub fn cpu_seconds(&self) -> f64 {
        self.processes().iter().filter_map(|pid| cpu_seconds_of(*pid)).sum()
    }

    /// Peak resident bytes of its processes, by what they are.
    pub fn memory_peaks(&self) -> Vec<(String, u64)> {
        self.processes().iter().filter_map(|pid| Some((role(*pid)?, peak_of(*pid)?))).collect()
    }

    fn mount_passthrough(&mut self) -> Result<(), String> {
        let source = self.folder.join("source");
        let Kind::Passthrough { program, child } = &mut self.kind else { return Ok(()) };
        let mut command = Command::new(program.as_path());
        command.arg("--foreground").arg(source).arg(&self.mountpoint).stdout(Stdio::null());
        *child = Some(command.spawn().map_err(|e| format!("{}: {e}", program.display()))?);
        self.wait_mounted()
    }

    fn lustre_command(&self, arguments: &[&str]) -> Result<(), String> {
        let program = std::env::var("LUSTRE_BENCH_PROGRAM");
        let mut command = Command::new(program.unwrap_or_else(|_| env!("CARGO_BIN_EXE_lustre").to_owned()));
        command.arg(format!("-chdir={}", self.folder.display())).args(arguments).stdin(Stdio::null());
        let output = command.output().map_err(|e| e.to_string())?;
        if output.status.success() {
            return Ok(());
        }
        let text =
            String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
        Err(format!("lustre {} failed:\n{text}", arguments.join(" ")))
    }

    fn wait_mounted(&self) -> Result<(), String> {
        let deadline = Instant::now() + MOUNT_WAIT;
        while !is_mounted(&self.mountpoint) {
            if Instant::now() > deadline {
                return Err(format!("{} is not mounted after {MOUNT_WAIT:?}", self.mountpoint.display()));
            }
            sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Processes whose command line names our folder.
    fn processes(&self) -> Vec<u32> {
        let folder = self.folder.to_string_lossy().into_owned();
        let Ok(entries) = fs_err::read_dir("/proc") else { return Vec::new() };
        let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        pids.filter(|pid| *pid != std::process::id() && command_line(*pid).contains(&folder)).collect()
    }
}

fn spec(folder: &Path, compression: &str) -> String {
    let root = folder.display();
    format!(
        r#"
host "here" {{
  connection = "local"
  path       = "{root}/agent"
}}

cluster "bench" {{
  deployment_type       = "SCRATCH_2"
  data_compression_type = "{compression}"
  metadata {{
    host = host.here
    path = "{root}/mdt"
  }}
  storage {{
    hosts            = host.here
    path             = "{root}/ost"
    targets_per_host = 4
    target_capacity  = "8GiB"
  }}
}}

mount "here" {{
  cluster = cluster.bench
  host    = host.here
  path    = "{root}/mnt"
}}
"#
    )
}

fn is_mounted(path: &Path) -> bool {
    let needle = format!(" {} ", path.display());
    fs_err::read_to_string("/proc/self/mounts").is_ok_and(|mounts| mounts.contains(&needle))
}

fn unmount(path: &Path) -> Result<(), String> {
    let output = Command::new("umount").arg(path).output().map_err(|e| format!("umount: {e}"))?;
    if output.status.success() || !is_mounted(path) {
        return Ok(());
    }
    Err(format!("umount {}: {}", path.display(), String::from_utf8_lossy(&output.stderr)))
}

/// Removes a folder and all below it; absent is fine.
pub fn remove_folder(folder: &Path) -> Result<(), String> {
    match fs_err::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(format!("{}: {error}", folder.display()))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

fn command_line(pid: u32) -> String {
    let bytes = fs_err::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).replace('\0', " ")
}

/// The program and its first word, for example `lustre-agent mount`.
fn role(pid: u32) -> Option<String> {
    let line = command_line(pid);
    let mut words = line.split_whitespace();
    let program = Path::new(words.next()?).file_name()?.to_string_lossy().into_owned();
    let verb = words.next().filter(|word| word.chars().all(|c| c.is_ascii_lowercase()));
    Some(verb.map_or(program.clone(), |verb| format!("{program} {verb}")))
}

fn peak_of(pid: u32) -> Option<u64> {
    let status = fs_err::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kib| kib << 10)
}

/// User and system time of a process in seconds.
pub fn cpu_seconds_of(pid: u32) -> Option<f64> {
    let stat = fs_err::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = stat.rsplit(')').next()?.split_whitespace().collect();
    let ticks = fields.get(11)?.parse::<f64>().ok()? + fields.get(12)?.parse::<f64>().ok()?;
    Some(ticks / TICKS_PER_SECOND)
}
