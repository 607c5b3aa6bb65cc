//! A hermetic cluster: a folder, ports, the `lustre` binary, and an end that leaves nothing.
//!
//! Invariant: no command runs without a limit, so that a hung mount fails a story and never the machine.

use std::ffi::OsStr;
use std::io::Read;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long one command may take.
const COMMAND_LIMIT: Duration = Duration::from_secs(180);

/// How long to wait for something that happens by itself.
const WAIT_LIMIT: Duration = Duration::from_secs(60);

/// Ports that a story may use, from its first on.
const PORTS_PER_LAB: u16 = 60;

/// Ports of all stories: below those that the kernel gives to anybody who connects.
const PORTS: std::ops::Range<u16> = 12_000..32_700;

static NEXT_SLOT: AtomicU16 = AtomicU16::new(0);

/// One story's world.
pub struct Lab {
    folder: tempfile::TempDir,
    control_port: u16,
    /// Keeps others from taking the same ports, also those of another run.
    _ports: fs_err::File,
}

/// What a command said and how it ended.
#[derive(Debug)]
pub struct Said {
    /// Exit code; `None` when it was killed.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Said {
    /// Both streams, for messages.
    pub fn all(&self) -> String {
        format!("exit {:?}\n{}{}", self.code, self.stdout, self.stderr)
    }
}

impl Lab {
    /// Makes a folder and finds free ports.
    pub fn new() -> Self {
        assert!(
            Path::new("/dev/fuse").exists(),
            "/dev/fuse is missing: run `modprobe fuse`, or the container with --device /dev/fuse"
        );
        let folder =
            tempfile::Builder::new().prefix("lustre-story-").tempdir().expect("a folder can be made");
        let (control_port, ports) = free_ports();
        Self { folder, control_port, _ports: ports }
    }

    /// A path inside the story's folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Where the host's agent listens.
    pub fn control_port(&self) -> u16 {
        self.control_port
    }

    /// Writes a file of the story, with its folders.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs_err::create_dir_all(path.parent().expect("a file has a folder")).expect("folders can be made");
        fs_err::write(path, content).expect("a file can be written");
    }

    /// The blocks that most stories begin with: a host and a cluster with `targets` object targets.
    pub fn cluster(&self, targets: u32, compression: &str) -> String {
        let root = self.folder.path().display();
        let (control, first, last) =
            (self.control_port, self.control_port + 1, self.control_port + PORTS_PER_LAB - 1);
        format!(
            r#"
host "here" {{
  connection   = "local"
  path         = "{root}/agent"
  control_port = {control}
  port_range   = "{first}-{last}"
}}

cluster "story" {{
  deployment_type       = "SCRATCH_2"
  data_compression_type = "{compression}"
  metadata {{
    host = host.here
    path = "{root}/mdt"
  }}
  storage {{
    hosts            = host.here
    path             = "{root}/ost"
    targets_per_host = {targets}
    target_capacity  = "1GiB"
  }}
}}
"#
        )
    }

    /// A mount of the cluster at `name` in the story's folder.
    pub fn mount(&self, name: &str) -> String {
        let path = self.path(name);
        format!(
            "\nmount \"{name}\" {{\n  cluster = cluster.story\n  host    = host.here\n  path    = \"{}\"\n}}\n",
            path.display()
        )
    }

    /// A bucket that serves the folder `bucket`, and a link of it at `/data`.
    pub fn link(&self) -> String {
        let path = self.path("bucket");
        format!(
            r#"
bucket "data" {{
  host = host.here
  path = "{}"
}}

data_repository_association "data" {{
  cluster                          = cluster.story
  file_system_path                 = "/data"
  data_repository_path             = bucket.data.data_repository_path
  batch_import_meta_data_on_create = true
  s3 {{
    endpoint_url     = bucket.data.endpoint_url
    credentials_file = bucket.data.credentials_file
    path_style       = true
    auto_export_policy {{
      events = ["NEW", "CHANGED", "DELETED"]
    }}
  }}
}}
"#,
            path.display()
        )
    }

    /// Writes `main.hcl`.
    pub fn spec(&self, text: &str) {
        self.write("main.hcl", text);
    }

    /// Runs `lustre` on the story's folder.
    pub fn lustre<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Said {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lustre"));
        command.arg(format!("-chdir={}", self.folder.path().display())).args(arguments).env("NO_COLOR", "1");
        finish(command, COMMAND_LIMIT)
    }

    /// Starts `lustre` on the story's folder, with what it says in files there: `NAME.out` and `NAME.err`; its temporary files are
    /// in `tmp`.
    pub fn start(&self, name: &str, arguments: &[&str]) -> Child {
        self.write("tmp/.keep", "");
        let file = |end: &str| {
            fs_err::File::create(self.path(&format!("{name}.{end}")))
                .expect("a file can be made")
                .into_parts()
                .0
        };
        let mut command = Command::new(env!("CARGO_BIN_EXE_lustre"));
        command.arg(format!("-chdir={}", self.folder.path().display())).args(arguments);
        command.env("NO_COLOR", "1").env("TMPDIR", self.path("tmp"));
        command.stdin(Stdio::null()).stdout(file("out")).stderr(file("err"));
        command.spawn().expect("the program can be started")
    }

    /// What a file of the story holds.
    pub fn read(&self, name: &str) -> String {
        fs_err::read_to_string(self.path(name)).expect("a file can be read")
    }

    /// Runs `lustre` and fails the story unless it succeeds.
    pub fn must<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Said {
        let said = self.lustre(arguments);
        assert_eq!(said.code, Some(0), "{}", said.all());
        said
    }

    /// Applies the spec without asking.
    pub fn apply(&self) -> Said {
        self.must(["apply", "-auto-approve"])
    }

    /// Runs a shell script in the story's folder and fails unless it succeeds.
    pub fn sh(&self, script: &str) -> String {
        let said = self.try_sh(script);
        assert_eq!(said.code, Some(0), "{script}\n{}", said.all());
        said.stdout
    }

    /// Runs a shell script in the story's folder.
    pub fn try_sh(&self, script: &str) -> Said {
        let mut command = Command::new("sh");
        command.args(["-euc", script]).current_dir(self.folder.path());
        finish(command, COMMAND_LIMIT)
    }

    /// Processes of ours that name the story's folder.
    pub fn processes(&self) -> Vec<(u32, String)> {
        let folder = self.folder.path().to_string_lossy().into_owned();
        let entries = fs_err::read_dir("/proc").expect("/proc is there");
        let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        let lines = pids.filter_map(|pid| {
            let bytes = fs_err::read(format!("/proc/{pid}/cmdline")).ok()?;
            let line = String::from_utf8_lossy(&bytes).replace('\0', " ");
            (line.contains("lustre-agent") && line.contains(&folder)).then_some((pid, line))
        });
        lines.collect()
    }

    /// Kills every agent and every process of theirs with SIGKILL, until none is left.
    pub fn kill_everything(&self) {
        let deadline = Instant::now() + WAIT_LIMIT;
        loop {
            let processes = self.processes();
            if processes.is_empty() {
                return;
            }
            assert!(Instant::now() < deadline, "still alive after SIGKILL: {processes:?}");
            for (pid, _) in processes {
                kill(pid);
            }
            sleep(Duration::from_millis(20));
        }
    }

    /// Mounts below the story's folder.
    pub fn mounts(&self) -> Vec<String> {
        let mounts = fs_err::read_to_string("/proc/self/mounts").expect("/proc is there");
        let folder = self.folder.path().to_string_lossy().into_owned();
        mounts
            .lines()
            .filter_map(|line| line.split(' ').nth(1))
            .filter(|path| path.starts_with(&folder))
            .map(str::to_owned)
            .collect()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.show_logs();
        }
        for mount in self.mounts() {
            let mut command = Command::new("umount");
            command.args(["-l", &mount]);
            finish(command, WAIT_LIMIT);
        }
        self.kill_everything();
    }
}

impl Lab {
    /// Prints the end of each log, for a story that failed.
    #[expect(clippy::print_stdout, reason = "what a failed test prints is what its reader has")]
    fn show_logs(&self) {
        let said = self.try_sh(
            "find agent -name '*log*' -type f | while read f; do echo \"--- $f\"; tail -n 15 \"$f\"; done",
        );
        println!("{}", said.stdout);
    }
}

/// Waits for the end of what was started; returns its exit code.
pub fn ended(mut child: Child) -> Option<i32> {
    let deadline = Instant::now() + COMMAND_LIMIT;
    loop {
        if let Some(status) = child.try_wait().expect("a child can be waited for") {
            return status.code();
        }
        if Instant::now() > deadline {
            child.kill().expect("a child can be killed");
            assert!(Instant::now() < deadline, "it did not end within {COMMAND_LIMIT:?}");
        }
        sleep(Duration::from_millis(5));
    }
}

/// Sends SIGKILL; a process that is gone already is fine.
pub fn kill(pid: u32) {
    let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw);
    if let Some(pid) = pid {
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }
}

/// Waits until `condition` holds, or fails the story.
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + WAIT_LIMIT;
    while !condition() {
        assert!(Instant::now() < deadline, "waited {WAIT_LIMIT:?} in vain: {what}");
        sleep(Duration::from_millis(20));
    }
}

/// Starts a command and gives what it said, or kills it at the limit.
fn finish(mut command: Command, limit: Duration) -> Said {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program can be started");
    let mut out = child.stdout.take().expect("stdout is a pipe");
    let mut err = child.stderr.take().expect("stderr is a pipe");
    let out = std::thread::spawn(move || read_all(&mut out));
    let err = std::thread::spawn(move || read_all(&mut err));
    let deadline = Instant::now() + limit;
    let status = loop {
        if let Some(status) = child.try_wait().expect("a child can be waited for") {
            break status;
        }
        if Instant::now() > deadline {
            child.kill().expect("a child can be killed");
            assert!(Instant::now() < deadline, "{command:?} did not end within {limit:?}");
        }
        sleep(Duration::from_millis(5));
    };
    let output = Output {
        status,
        stdout: out.join().expect("the reader ends"),
        stderr: err.join().expect("the reader ends"),
    };
    Said {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

fn read_all(stream: &mut impl Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).expect("a pipe can be read");
    bytes
}

/// The first of [`PORTS_PER_LAB`] ports that nobody listens on and nobody else was given, and what says so.
fn free_ports() -> (u16, fs_err::File) {
    let slots = PORTS.len() as u32 / u32::from(PORTS_PER_LAB);
    loop {
        let slot = (std::process::id() + u32::from(NEXT_SLOT.fetch_add(1, Ordering::Relaxed))) % slots;
        let first = PORTS.start + u16::try_from(slot).expect("few slots") * PORTS_PER_LAB;
        let lock = std::env::temp_dir().join(format!("lustre-story-ports-{first}"));
        let lock = fs_err::File::create(lock).expect("a lock can be made");
        let mut ports = first..first + PORTS_PER_LAB;
        if lock.file().try_lock().is_ok() && ports.all(|port| TcpListener::bind(("127.0.0.1", port)).is_ok())
        {
            return (first, lock);
        }
    }
}
