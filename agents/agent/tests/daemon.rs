//! The agent as the planner and an operator meet it: a daemon with real children, real TLS and real kills.
//!
//! This program is also what the daemon starts: called as `run`, `start` or with the kind of a process it is the agent or
//! a child, which is why it has no harness. A child does what its spec's `metadata` field says.
#![expect(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "a test program")]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use lustre_agent::{ProcessDir, daemon, termination};
use lustre_model::control::{
    Call, Compression, Credential, DataFate, Probe, ProbeResult, ProcessId, ProcessSpec, ProcessState,
    ProcessStatus, Refusal, Reply, Request,
};
use lustre_model::hsm::RepositoryEndpoint;
use lustre_model::id::{TargetId, TargetKind};
use lustre_model::layout::OstIndex;
use lustre_wire::authority::{Authority, KeyPair};
use lustre_wire::client::Connection;
use lustre_wire::{Control, Identity, Role, Subject};
use rustix::process::{Pid, Signal, kill_process};

#[path = "../src/tests/small_disk.rs"]
mod small_disk;

const TIMEOUT: Duration = Duration::from_secs(30);

const PAUSE: Duration = Duration::from_millis(10);

fn main() {
    let words: Vec<String> = std::env::args().collect();
    let dir = words.iter().skip_while(|word| *word != "--dir").nth(1).map(PathBuf::from);
    match (words.get(1).map(String::as_str), dir) {
        (Some("run"), Some(dir)) => agent(&dir, words.iter().any(|word| word == daemon::DETACHED)),
        (Some("start"), Some(dir)) => println!("{:?}", daemon::start(&dir).unwrap()),
        (Some("metadata" | "object" | "mover" | "mount" | "bucket"), Some(dir)) => child(&dir),
        (Some(_) | None, Some(_) | None) => tests(words.get(1).filter(|word| !word.starts_with('-'))),
    }
}

fn agent(dir: &Path, detached: bool) {
    if detached {
        daemon::detach().unwrap();
    }
    let probe =
        Arc::new(|endpoint: RepositoryEndpoint| -> futures::future::BoxFuture<'static, ProbeResult> {
            Box::pin(async move {
                let cause = format!("no bucket {}", endpoint.bucket);
                ProbeResult::Failed { cause, remedy: "create it".to_owned() }
            })
        });
    if let Err(error) = daemon::run(dir, probe) {
        let source = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
        println!("{error}: {source}");
        std::process::exit(1);
    }
}

fn child(dir: &Path) {
    let dir = ProcessDir::new(dir);
    let _entered = dir.enter().unwrap();
    let mut listen = None;
    match dir.spec().unwrap() {
        ProcessSpec::Mover { metadata, .. } if metadata == "die" => {
            println!("earlier words");
            println!("port 7 is taken");
            std::process::exit(3);
        }
        ProcessSpec::Object { path, listen: address, .. } => {
            listen = Some(address);
            let objects = Path::new(&path).join("objects");
            dir.creates(&objects).unwrap();
            fs_err::create_dir_all(objects.join("0")).unwrap();
        }
        ProcessSpec::Mover { .. }
        | ProcessSpec::Metadata { .. }
        | ProcessSpec::Mount { .. }
        | ProcessSpec::Bucket { .. } => {}
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let listener = listen.map(|listen| std::net::TcpListener::bind(listen).unwrap());
    dir.ready().unwrap();
    runtime.block_on(termination::requested()).unwrap();
    drop(listener);
}

type Test = (&'static str, fn(&House));

const TESTS: &[Test] = &[
    ("ensure_starts_once_restarts_on_change_and_reports", ensure_starts_once_restarts_on_change_and_reports),
    ("a_killed_child_comes_back", a_killed_child_comes_back),
    (
        "a_full_disk_ends_no_supervision_and_hinders_no_removal",
        a_full_disk_ends_no_supervision_and_hinders_no_removal,
    ),
    ("children_outlive_a_killed_agent_and_are_adopted", children_outlive_a_killed_agent_and_are_adopted),
    ("everything_killed_comes_back_from_disk", everything_killed_comes_back_from_disk),
    (
        "a_process_that_dies_is_refused_with_its_last_words",
        a_process_that_dies_is_refused_with_its_last_words,
    ),
    ("an_older_lock_is_fenced_off", an_older_lock_is_fenced_off),
    ("only_administrators_are_answered", only_administrators_are_answered),
    ("a_second_agent_in_one_folder_is_refused", a_second_agent_in_one_folder_is_refused),
    (
        "start_does_nothing_twice_and_replaces_what_differs",
        start_does_nothing_twice_and_replaces_what_differs,
    ),
    (
        "removal_erases_what_was_created_and_shutdown_follows",
        removal_erases_what_was_created_and_shutdown_follows,
    ),
    ("removal_that_a_kill_interrupted_is_finished", removal_that_a_kill_interrupted_is_finished),
    ("two_processes_do_not_share_a_folder_or_an_address", two_processes_do_not_share_a_folder_or_an_address),
    ("probes_say_what_is_wrong_and_what_to_do", probes_say_what_is_wrong_and_what_to_do),
];

fn tests(filter: Option<&String>) {
    let mut count = 0;
    for (name, test) in TESTS {
        if filter.is_some_and(|filter| !name.contains(filter.as_str())) {
            continue;
        }
        let begun = Instant::now();
        let mut house = House::build();
        house.start();
        test(&house);
        println!("test {name} ... ok ({} ms)", begun.elapsed().as_millis());
        count += 1;
    }
    println!("{count} passed");
}

/// A folder with an agent, and the planner's side of it. Everything of it ends with it.
struct House {
    dir: tempfile::TempDir,
    authority: Authority,
    address: String,
    runtime: tokio::runtime::Runtime,
    agent: Option<Child>,
}

impl House {
    fn build() -> Self {
        Self::build_in(tempfile::tempdir().unwrap())
    }

    fn build_in(dir: tempfile::TempDir) -> Self {
        let authority = Authority::generate("deployment-1").unwrap();
        let address = free_address();
        let settings = format!("{{\"listen\":\"{address}\"}}");
        fs_err::create_dir(dir.path().join("agent")).unwrap();
        fs_err::write(dir.path().join("agent/agent.json"), settings).unwrap();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let house = Self { dir, authority, address, runtime, agent: None };
        let csr = daemon::enrol(&house.agent_dir()).unwrap();
        assert!(csr.contains("CERTIFICATE REQUEST"));
        let certificate =
            house.authority.sign(&csr, &Subject::new("deployment-1", Role::Agent, "host.here")).unwrap();
        fs_err::write(house.agent_dir().join("cert.pem"), certificate).unwrap();
        fs_err::write(house.agent_dir().join("ca.pem"), &house.authority.certificate_pem).unwrap();
        house
    }

    fn agent_dir(&self) -> PathBuf {
        self.dir.path().join("agent")
    }

    fn start(&mut self) {
        self.agent = Some(program(&["run"], &self.agent_dir()).spawn().unwrap());
    }

    fn connect(&self, role: Role) -> Connection<Control> {
        let key = KeyPair::generate().unwrap();
        let subject = Subject::new("deployment-1", role, "someone");
        let certificate = self.authority.sign(&key.csr().unwrap(), &subject).unwrap();
        let identity = Identity::new(&certificate, &key.pem(), &self.authority.certificate_pem).unwrap();
        let begun = Instant::now();
        loop {
            let connected =
                self.runtime.block_on(Connection::<Control>::connect(&self.address, &identity, TIMEOUT));
            match connected {
                Ok((connection, _notices)) => return connection,
                Err(error) => assert!(begun.elapsed() < TIMEOUT, "{error:?}"),
            }
            std::thread::sleep(PAUSE);
        }
    }

    fn ask_on(
        &self,
        connection: &Connection<Control>,
        token: u64,
        request: Request,
    ) -> Result<Reply, Refusal> {
        let call = Call { token, request };
        self.runtime.block_on(connection.call(&call, Bytes::new())).unwrap().0
    }

    fn ask(&self, request: Request) -> Result<Reply, Refusal> {
        self.ask_on(&self.connect(Role::Administrator), 1, request)
    }

    fn mover(&self, metadata: &str) -> Result<ProcessStatus, Refusal> {
        let process = ProcessId::Mover("scratch".parse().unwrap());
        let spec = ProcessSpec::Mover { fs_name: "scratch".parse().unwrap(), metadata: metadata.to_owned() };
        self.ensure(process, spec)
    }

    fn ensure(&self, process: ProcessId, spec: ProcessSpec) -> Result<ProcessStatus, Refusal> {
        // What is signed does not matter to the agent, so one text keeps the credential from changing.
        let credential =
            Some(Credential { certificate: "certificate".to_owned(), authority: "authority".to_owned() });
        let reply = self.ask(Request::Ensure { process, spec, credential })?;
        let Reply::Process { status } = reply else { panic!("{reply:?}") };
        Ok(status)
    }

    fn processes(&self) -> Vec<ProcessStatus> {
        let reply = self.ask(Request::Processes).unwrap();
        let Reply::Processes { processes } = reply else { panic!("{reply:?}") };
        processes
    }

    /// Waits until the only process runs under another number than `before`.
    fn running_other_than(&self, before: u32) -> u32 {
        let begun = Instant::now();
        loop {
            if let Some(ProcessState::Running { pid, .. }) =
                self.processes().first().map(|one| one.state.clone())
                && pid != before
            {
                return pid;
            }
            assert!(begun.elapsed() < TIMEOUT, "{:?}", self.processes());
            std::thread::sleep(PAUSE);
        }
    }

    /// Kills the agent that runs, however it was started.
    fn kill_agent(&self) {
        kill(self.agent_pid());
        self.until_unlocked();
    }

    fn agent_pid(&self) -> u32 {
        let begun = Instant::now();
        loop {
            let text = fs_err::read_to_string(self.agent_dir().join("agent.pid")).unwrap_or_default();
            let value: Option<serde_json::Value> = serde_json::from_str(&text).ok();
            if let Some(pid) = value.and_then(|value| value["proof"]["pid"].as_u64()) {
                return u32::try_from(pid).unwrap();
            }
            assert!(begun.elapsed() < TIMEOUT, "the agent does not listen");
            std::thread::sleep(PAUSE);
        }
    }

    fn until_unlocked(&self) {
        let begun = Instant::now();
        let file = fs_err::File::open(self.agent_dir().join("agent.lock")).unwrap();
        while rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive).is_err() {
            assert!(begun.elapsed() < TIMEOUT, "the agent does not end");
            std::thread::sleep(PAUSE);
        }
    }

    /// Starts the agent in the background, as the planner does, and returns what that said.
    fn start_detached(&self) -> String {
        let output = program(&["start"], &self.agent_dir()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }
}

impl Drop for House {
    fn drop(&mut self) {
        let pid_file = fs_err::read_to_string(self.agent_dir().join("agent.pid")).unwrap_or_default();
        let value: serde_json::Value = serde_json::from_str(&pid_file).unwrap_or_default();
        if let Some(pid) = value["proof"]["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok()) {
            kill(pid);
        }
        if let Some(agent) = self.agent.as_mut() {
            let _ = agent.kill();
            let _ = agent.wait();
        }
        let Ok(entries) = fs_err::read_dir(self.agent_dir().join("processes")) else { return };
        for entry in entries.flatten() {
            let text = fs_err::read_to_string(entry.path().join("process")).unwrap_or_default();
            let value: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
            if let Some(pid) = value["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok())
                && is_ours(pid)
            {
                kill(pid);
            }
        }
    }
}

/// Supervision on a disk without a free byte: a child, then the agent and the child, and last their removal.
fn a_full_disk_ends_no_supervision_and_hinders_no_removal(_: &House) {
    let disk = small_disk::SmallDisk::new(32 << 20);
    let mut house = House::build_in(tempfile::tempdir_in(disk.path()).unwrap());
    house.start();
    house.mover("a").unwrap();
    let mut pid = house.running_other_than(0);
    disk.fill();
    for _ in 0..3 {
        kill(pid);
        pid = house.running_other_than(pid);
    }
    house.kill_agent();
    kill(pid);
    house.start();
    pid = house.running_other_than(pid);
    // Another lock, and an end: both are noted first.
    let process = ProcessId::Mover("scratch".parse().unwrap());
    let remove = Request::Remove { process, data: DataFate::Erase, authority: None };
    let connection = house.connect(Role::Administrator);
    assert_eq!(house.ask_on(&connection, 1000, remove), Ok(Reply::Done));
    assert!(house.processes().is_empty());
    assert!(!is_ours(pid), "its process has ended");
    disk.empty();
}

/// Processes of these tests are this very program.
fn is_ours(pid: u32) -> bool {
    let exe = fs_err::read_link(format!("/proc/{pid}/exe"));
    exe.is_ok_and(|exe| exe == std::env::current_exe().unwrap())
}

fn kill(pid: u32) {
    if is_ours(pid) {
        let _ = kill_process(Pid::from_raw(i32::try_from(pid).unwrap()).unwrap(), Signal::KILL);
    }
}

fn program(words: &[&str], dir: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(words).arg("--dir").arg(dir).stdin(Stdio::null());
    command
}

fn free_address() -> String {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

fn pid_of(status: &ProcessStatus) -> u32 {
    let ProcessState::Running { pid, .. } = &status.state else { panic!("{status:?}") };
    *pid
}

fn object(path: &Path, index: u16, listen: &str) -> (ProcessId, ProcessSpec) {
    let target = TargetId { fs_name: "scratch".parse().unwrap(), kind: TargetKind::Ost, index };
    let spec = ProcessSpec::Object {
        target: target.clone(),
        index: OstIndex(index),
        path: path.to_str().unwrap().to_owned(),
        listen: listen.to_owned(),
        capacity: 1 << 30,
        compression: Compression::None,
    };
    (ProcessId::Target(target), spec)
}

fn ensure_starts_once_restarts_on_change_and_reports(house: &House) {
    let status = house.mover("ok").unwrap();
    let first = pid_of(&status);
    assert!(status.memory_peak.unwrap() > 0 && status.cpu_ms.is_some(), "{status:?}");
    assert_eq!(pid_of(&house.mover("ok").unwrap()), first, "asking again changes nothing");
    let second = pid_of(&house.mover("moved").unwrap());
    assert_ne!(second, first);
    assert!(!is_ours(first), "the one before has ended");
    let reply = house.ask(Request::Facts).unwrap();
    let Reply::Facts { facts } = reply else { panic!("{reply:?}") };
    assert!(facts.agent_hash.len() == 64 && facts.memory > 0, "{facts:?}");
}

fn a_killed_child_comes_back(house: &House) {
    let first = pid_of(&house.mover("ok").unwrap());
    kill(first);
    let second = house.running_other_than(first);
    kill(second);
    house.running_other_than(second);
    let state = house.processes()[0].state.clone();
    assert!(matches!(state, ProcessState::Running { restarts: 2, .. }), "{state:?}");
}

fn children_outlive_a_killed_agent_and_are_adopted(house: &House) {
    let pid = pid_of(&house.mover("ok").unwrap());
    house.kill_agent();
    assert!(is_ours(pid), "the child runs on");
    assert_eq!(house.start_detached(), "Now");
    assert_eq!(house.running_other_than(0), pid, "adopted, not started again");
    assert_eq!(pid_of(&house.mover("ok").unwrap()), pid);
    kill(pid);
    house.running_other_than(pid);
}

fn everything_killed_comes_back_from_disk(house: &House) {
    let (process, spec) = object(&house.dir.path().join("srv/0"), 0, "127.0.0.1:7001");
    let first = pid_of(&house.mover("ok").unwrap());
    let second = pid_of(&house.ensure(process, spec).unwrap());
    kill(house.agent_pid());
    kill(first);
    kill(second);
    house.until_unlocked();
    house.start_detached();
    let begun = Instant::now();
    loop {
        let states: Vec<_> = house.processes().into_iter().map(|one| one.state).collect();
        let run = states.iter().filter(|state| matches!(state, ProcessState::Running { .. })).count();
        if run == 2 {
            break;
        }
        assert!(begun.elapsed() < TIMEOUT, "{states:?}");
        std::thread::sleep(PAUSE);
    }
}

fn a_process_that_dies_is_refused_with_its_last_words(house: &House) {
    let refusal = house.mover("die").unwrap_err();
    assert!(
        matches!(&refusal, Refusal::NotStarted { cause, remedy }
            if cause.ends_with("port 7 is taken") && remedy.contains("/log")),
        "{refusal:?}"
    );
    assert!(matches!(house.processes()[0].state, ProcessState::Failing { .. } | ProcessState::Starting));
    pid_of(&house.mover("ok").unwrap());
}

fn an_older_lock_is_fenced_off(house: &House) {
    let administrator = house.connect(Role::Administrator);
    let enrol = || Request::Enrol { process: ProcessId::Bucket("data".to_owned()) };
    let csr = |reply| match reply {
        Ok(Reply::Csr { pem }) => pem,
        other => panic!("{other:?}"),
    };
    assert!(csr(house.ask_on(&administrator, 5, enrol())).contains("CERTIFICATE REQUEST"));
    let refused = house.ask_on(&administrator, 4, enrol());
    assert_eq!(refused, Err(Refusal::Fenced { given: 4, seen: 5 }));
    house.kill_agent();
    house.start_detached();
    let administrator = house.connect(Role::Administrator);
    let refused = house.ask_on(&administrator, 4, enrol());
    assert_eq!(refused, Err(Refusal::Fenced { given: 4, seen: 5 }), "the next agent remembers");
    assert!(house.ask_on(&administrator, 0, Request::Facts).is_ok(), "who only looks needs no lock");
    csr(house.ask_on(&administrator, 5, enrol()));
}

fn only_administrators_are_answered(house: &House) {
    for role in [Role::Agent, Role::Target, Role::Mover, Role::Client] {
        let refused = house.ask_on(&house.connect(role), 9, Request::Facts);
        assert_eq!(refused, Err(Refusal::NotAdministrator), "{role}");
    }
}

fn a_second_agent_in_one_folder_is_refused(house: &House) {
    house.connect(Role::Administrator);
    let output = program(&["run"], &house.agent_dir()).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(!output.status.success() && said.contains("another agent runs"), "{said}");
}

fn start_does_nothing_twice_and_replaces_what_differs(house: &House) {
    let pid = pid_of(&house.mover("ok").unwrap());
    let agent = house.agent_pid();
    assert_eq!(house.start_detached(), "Already");
    assert_eq!(house.agent_pid(), agent);
    let settings = format!("{{ \"listen\" : \"{}\" }}", house.address);
    fs_err::write(house.agent_dir().join("agent.json"), settings).unwrap();
    assert_eq!(house.start_detached(), "Now");
    assert_ne!(house.agent_pid(), agent);
    assert_eq!(house.running_other_than(0), pid, "its processes go on");
}

fn removal_erases_what_was_created_and_shutdown_follows(house: &House) {
    let path = house.dir.path().join("srv/ost");
    let (process, spec) = object(&path, 0, "127.0.0.1:7001");
    let pid = pid_of(&house.ensure(process.clone(), spec).unwrap());
    assert!(path.join("objects/0").exists());
    fs_err::write(path.join("notes.txt"), "of the operator").unwrap();
    let refused = house.ask(Request::Shutdown);
    assert!(matches!(refused, Err(Refusal::Conflict { .. })), "{refused:?}");
    let remove = |authority: Option<&str>| {
        let (process, authority) = (process.clone(), authority.map(str::to_owned));
        house.ask(Request::Remove { process, data: DataFate::Erase, authority })
    };
    // Who names another authority means another process, which is not there.
    assert_eq!(remove(Some("of somebody else")), Ok(Reply::Done));
    assert!(is_ours(pid) && path.join("objects/0").exists());
    for _ in 0..2 {
        assert_eq!(remove(None), Ok(Reply::Done));
    }
    assert!(!is_ours(pid));
    assert!(path.join("notes.txt").exists() && !path.join("objects").exists());
    assert!(house.processes().is_empty());
    assert_eq!(fs_err::read_dir(house.agent_dir().join("processes")).unwrap().count(), 0);
    assert_eq!(house.ask(Request::Shutdown), Ok(Reply::Done));
    house.until_unlocked();
}

fn removal_that_a_kill_interrupted_is_finished(house: &House) {
    let path = house.dir.path().join("ost");
    let (process, spec) = object(&path, 0, "127.0.0.1:7001");
    let pid = pid_of(&house.ensure(process, spec).unwrap());
    house.kill_agent();
    // As an agent leaves it that was killed between noting the removal and ending the process.
    let dir = house.agent_dir().join("processes/target-scratch-OST0000");
    fs_err::write(dir.join("removing"), "\"Erase\"").unwrap();
    house.start_detached();
    assert!(house.processes().is_empty());
    assert!(!is_ours(pid) && !path.exists() && !dir.exists());
}

fn two_processes_do_not_share_a_folder_or_an_address(house: &House) {
    let path = house.dir.path().join("ost");
    let (process, spec) = object(&path, 0, "127.0.0.1:7001");
    house.ensure(process, spec).unwrap();
    for (path, listen) in [(path.clone(), "127.0.0.1:7002"), (house.dir.path().join("b"), "127.0.0.1:7001")] {
        let (process, spec) = object(&path, 1, listen);
        let refused = house.ensure(process, spec);
        assert!(
            matches!(&refused, Err(Refusal::Conflict { cause, .. }) if cause.contains("OST0000")),
            "{refused:?}"
        );
    }
}

fn probes_say_what_is_wrong_and_what_to_do(house: &House) {
    let root = house.dir.path();
    let (process, spec) = object(&root.join("ost"), 0, &free_address());
    let ProcessSpec::Object { target, listen, .. } = spec.clone() else { panic!("an object target") };
    house.ensure(process.clone(), spec).unwrap();
    fs_err::create_dir(root.join("full")).unwrap();
    fs_err::write(root.join("full/a"), "").unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().map(|address| (address.to_string(), taken)).unwrap();
    let text = |path: PathBuf| path.to_str().unwrap().to_owned();
    let path = |path: &str, target: &TargetId| Probe::TargetPath {
        path: text(root.join(path)),
        target: target.clone(),
        capacity: 1 << 40,
    };
    let other = TargetId { index: 1, ..target.clone() };
    let repository = RepositoryEndpoint {
        bucket: "data".to_owned(),
        prefix: String::new(),
        endpoint_url: None,
        region: None,
        path_style: false,
        credentials_file: None,
    };
    let cases = [
        (path("ost", &target), None),
        (path("new/deep", &target), None),
        (path("ost", &other), Some("belongs to scratch-OST0000")),
        (path("full", &target), Some("not empty")),
        (path("full/a", &target), Some("not a folder")),
        (path("../x", &target), Some("not an absolute path")),
        (Probe::Folder { path: text(root.join("full")) }, None),
        (Probe::Folder { path: text(root.join("none")) }, Some("does not exist")),
        (Probe::MountPath { path: text(root.join("mnt")) }, None),
        (Probe::MountPath { path: text(root.join("full")) }, Some("not empty")),
        (Probe::MountPath { path: "/proc".to_owned() }, Some("mount point already")),
        (Probe::Port { address: free_address(), owner: process.clone() }, None),
        (Probe::Port { address: listen, owner: process.clone() }, None),
        (Probe::Port { address: taken.0, owner: process.clone() }, Some("taken")),
        (
            Probe::Port { address: "192.0.2.1:99".to_owned(), owner: process },
            Some("not an address of this host"),
        ),
        (Probe::Repository { repository }, Some("no bucket data")),
    ];
    let probes = cases.iter().map(|(probe, _)| probe.clone()).collect();
    let reply = house.ask(Request::Probe { probes }).unwrap();
    let Reply::Probed { results } = reply else { panic!("{reply:?}") };
    assert_eq!(results.len(), cases.len());
    for ((probe, expected), result) in cases.iter().zip(results) {
        match (&result, expected) {
            (ProbeResult::Ok, None) => {}
            (ProbeResult::Failed { cause, remedy }, Some(words)) => {
                assert!(cause.contains(words) && !remedy.is_empty(), "{probe:?}: {cause} / {remedy}");
            }
            (ProbeResult::Ok | ProbeResult::Failed { .. }, _) => panic!("{probe:?}: {result:?}"),
        }
    }
    assert!(!root.join("new").exists() && !root.join("mnt").exists(), "probes change nothing");
}
