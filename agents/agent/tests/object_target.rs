//! An object target as clients and metadata targets meet it: a real process, real TLS, real kills, a real file system.
//!
//! The store itself is tested by its own crate, on a disk that can be crashed.
//! Invariant: every child is killed by its own handle, whatever happens to the test.
#![expect(clippy::unwrap_used, reason = "a test program")]

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use lustre_agent::{ProcessDir, object_target};
use lustre_model::control::{Compression, ProcessSpec};
use lustre_model::fault::Fault;
use lustre_model::fid::Fid;
use lustre_model::id::{ClientId, TargetId, TargetKind};
use lustre_model::layout::{ObjectId, OstIndex};
use lustre_model::object::{Answer, Reply, Request, TRANSFER_MAX};
use lustre_wire::authority::{Authority, KeyPair};
use lustre_wire::client::Connection;
use lustre_wire::{Identity, Object, Role, Subject};

/// Longest wait for a child to answer or to end.
const PATIENCE: Duration = Duration::from_secs(30);

const PAUSE: Duration = Duration::from_millis(5);

/// Tells the test binary to be a target, and where.
const CHILD: &str = "LUSTRE_TEST_OBJECT_TARGET";

/// Not a test of its own: the target that the others start.
#[test]
fn child() {
    if let Some(dir) = std::env::var_os(CHILD) {
        object_target::run(&ProcessDir::new(dir)).unwrap();
    }
}

/// A target's folder and process, and the authority of its cluster.
struct Target {
    root: tempfile::TempDir,
    authority: Authority,
    address: String,
    compression: Compression,
    child: Option<Child>,
}

impl Drop for Target {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Target {
    fn start(compression: Compression) -> Self {
        // A port that was free a moment ago; nobody else on a test machine asks for it by number.
        let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let root = tempfile::tempdir().unwrap();
        let authority = Authority::generate("scratch").unwrap();
        let mut target = Self { root, authority, address, compression, child: None };
        fs_err::create_dir(target.dir()).unwrap();
        let (certificate, key) = target.sign(Role::Target, "scratch-OST0000");
        fs_err::write(target.dir().join("cert.pem"), certificate).unwrap();
        fs_err::write(target.dir().join("key.pem"), key).unwrap();
        fs_err::write(target.dir().join("ca.pem"), &target.authority.certificate_pem).unwrap();
        target.restart();
        target
    }

    fn dir(&self) -> std::path::PathBuf {
        self.root.path().join("process")
    }

    fn folder(&self) -> std::path::PathBuf {
        self.root.path().join("ost")
    }

    fn sign(&self, role: Role, name: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let subject = Subject::new("scratch", role, name);
        (self.authority.sign(&key.csr().unwrap(), &subject).unwrap(), key.pem())
    }

    fn spec(&self, index: u16) -> ProcessSpec {
        ProcessSpec::Object {
            target: TargetId { fs_name: "scratch".parse().unwrap(), kind: TargetKind::Ost, index },
            index: OstIndex(index),
            path: self.folder().to_str().unwrap().to_owned(),
            listen: self.address.clone(),
            capacity: 64 << 20,
            compression: self.compression,
        }
    }

    fn command(dir: &Path) -> Command {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "child", "--nocapture"]).env(CHILD, dir).stdout(Stdio::null());
        command
    }

    fn restart(&mut self) {
        let _ = fs_err::remove_file(self.dir().join("ready"));
        let spec = serde_json::to_vec(&self.spec(0)).unwrap();
        fs_err::write(self.dir().join("spec.json"), spec).unwrap();
        self.child = Some(Self::command(&self.dir()).spawn().unwrap());
        let begun = Instant::now();
        while !self.dir().join("ready").exists() {
            assert!(begun.elapsed() < PATIENCE, "the target does not answer");
            let ended = self.child.as_mut().unwrap().try_wait().unwrap();
            assert!(ended.is_none(), "the target ended: {ended:?}");
            std::thread::sleep(PAUSE);
        }
    }

    /// SIGKILL.
    fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// SIGTERM, and the process ends in order.
    fn terminate(&mut self) {
        let mut child = self.child.take().unwrap();
        let pid = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        assert!(child.wait().unwrap().success());
    }

    async fn connect(&self, role: Role) -> Connection<Object> {
        let (certificate, key) = self.sign(role, "peer");
        let identity = Identity::new(&certificate, &key, &self.authority.certificate_pem).unwrap();
        Connection::connect(&self.address, &identity, PATIENCE).await.unwrap().0
    }

    async fn client(&self, client: u128, epoch: u64) -> Connection<Object> {
        let connection = self.connect(Role::Client).await;
        let request = Request::Connect { client: ClientId(client), epoch };
        assert_eq!(ask(&connection, request).await, Ok(Reply::Done));
        connection
    }
}

async fn ask(connection: &Connection<Object>, request: Request) -> Answer {
    connection.call(&request, Bytes::new()).await.unwrap().0
}

async fn write(connection: &Connection<Object>, object: ObjectId, offset: u64, bytes: &[u8]) -> Answer {
    connection.call(&Request::Write { object, offset }, Bytes::copy_from_slice(bytes)).await.unwrap().0
}

async fn read(
    connection: &Connection<Object>,
    object: ObjectId,
    offset: u64,
    length: u32,
) -> Result<Bytes, Fault> {
    let (answer, bulk) =
        connection.call(&Request::Read { object, offset, length }, Bytes::new()).await.unwrap();
    answer.map(|reply| {
        assert_eq!(reply, Reply::Read);
        bulk
    })
}

fn object(ordinal: u32) -> ObjectId {
    ObjectId { fid: Fid::from_serial(5), ordinal }
}

fn content(length: usize, salt: u8) -> Vec<u8> {
    (0..length).map(|at| (at / 100 % 251) as u8 ^ salt).collect()
}

const BOTH: [Compression; 2] = [Compression::None, Compression::Lz4];

#[tokio::test]
async fn objects_are_written_read_shortened_punched_and_destroyed() {
    for compression in BOTH {
        let target = Target::start(compression);
        let client = target.client(1, 1).await;
        let bytes = content(3_000_000, 0);
        assert_eq!(write(&client, object(1), 10, &bytes).await, Ok(Reply::Written));
        assert!(read(&client, object(1), 10, TRANSFER_MAX).await.unwrap() == bytes);
        assert!(read(&client, object(1), 1_000_000, 70_000).await.unwrap() == bytes[999_990..1_069_990]);
        let shorter = Request::Truncate { object: object(1), size: 2_000_000 };
        assert_eq!(ask(&client, shorter).await, Ok(Reply::Done));
        let hole = Request::Punch { object: object(1), offset: 0, length: 1_000_000 };
        assert_eq!(ask(&client, hole).await, Ok(Reply::Done));
        let found = read(&client, object(1), 0, TRANSFER_MAX).await.unwrap();
        assert!(found.len() == 2_000_000 && found[..1_000_000].iter().all(|byte| *byte == 0));
        assert!(found[1_000_000..] == bytes[999_990..1_999_990]);
        let objects = vec![object(1), object(2)];
        assert_eq!(ask(&client, Request::Sync { objects: objects.clone() }).await, Ok(Reply::Done));
        let Ok(Reply::Stats { stats }) = ask(&client, Request::Stat { objects: objects.clone() }).await
        else {
            panic!("no stats")
        };
        assert_eq!((stats[0].size, stats[1].size), (2_000_000, 0));
        assert!(stats[0].blocks * 512 < 1_100_000 && stats[0].mtime.seconds > 0);
        let metadata = target.connect(Role::Target).await;
        assert_eq!(ask(&metadata, Request::Destroy { objects: objects.clone() }).await, Ok(Reply::Done));
        assert_eq!(ask(&metadata, Request::Destroy { objects }).await, Ok(Reply::Done));
        assert!(read(&client, object(1), 0, 10).await.unwrap().is_empty());
        let space = ask(&client, Request::Space).await;
        let Ok(Reply::Space { capacity, used: 0, objects: 0, disk, disk_free }) = space else {
            panic!("{space:?}")
        };
        assert_eq!(capacity, 64 << 20);
        assert!(disk != 0 && disk_free > capacity, "{space:?}");
    }
}

#[tokio::test]
async fn what_was_acknowledged_survives_kills_and_restarts() {
    for compression in BOTH {
        let mut target = Target::start(compression);
        for round in 0..4_u8 {
            let client = target.client(1, 1).await;
            let offset = u64::from(round) * 1_000_003;
            for ordinal in 0..10 {
                let bytes = content(1_000_003, round);
                assert_eq!(write(&client, object(ordinal), offset, &bytes).await, Ok(Reply::Written));
            }
            if round == 2 {
                target.terminate()
            } else {
                target.kill()
            }
            target.restart();
        }
        let client = target.client(1, 1).await;
        for ordinal in 0..10 {
            for round in 0..4_u8 {
                let found = read(&client, object(ordinal), u64::from(round) * 1_000_003, 1_000_003).await;
                assert!(found.unwrap() == content(1_000_003, round));
            }
        }
    }
}

#[tokio::test]
async fn a_target_killed_amid_writes_has_old_or_new_bytes_everywhere() {
    for compression in BOTH {
        let mut target = Target::start(compression);
        let client = target.client(1, 1).await;
        let old = content(1 << 20, 0);
        assert_eq!(write(&client, object(0), 0, &old).await, Ok(Reply::Written));
        assert_eq!(ask(&client, Request::Sync { objects: vec![object(0)] }).await, Ok(Reply::Done));
        let writers: Vec<_> = (0..8_u8)
            .map(|salt| {
                let client = client.clone();
                tokio::spawn(async move {
                    let bytes = Bytes::from(content(1 << 20, salt));
                    let request = Request::Write { object: object(0), offset: 0 };
                    while client.call(&request, bytes.clone()).await.is_ok() {}
                })
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(60)).await;
        target.kill();
        for writer in writers {
            writer.await.unwrap();
        }
        target.restart();
        let client = target.client(1, 1).await;
        let found = read(&client, object(0), 0, 1 << 20).await.unwrap();
        let written: Vec<Vec<u8>> = (0..8).map(|salt| content(1 << 20, salt)).collect();
        for (index, block) in found.chunks(4096).enumerate() {
            let range = index * 4096..index * 4096 + block.len();
            assert!(written.iter().any(|bytes| *block == bytes[range.clone()]), "block {index}");
        }
    }
}

#[tokio::test]
async fn fenced_clients_are_refused_also_after_a_restart() {
    let mut target = Target::start(Compression::None);
    let (old, other) = (target.client(1, 1).await, target.client(2, 1).await);
    assert_eq!(write(&old, object(1), 0, b"before").await, Ok(Reply::Written));
    let metadata = target.connect(Role::Target).await;
    let fence = Request::Fence { client: ClientId(1), epoch: 2 };
    assert_eq!(ask(&metadata, fence).await, Ok(Reply::Done));
    assert_eq!(write(&old, object(1), 0, b"after").await, Err(Fault::Fenced));
    assert_eq!(read(&old, object(1), 0, 1).await, Err(Fault::Fenced));
    assert_eq!(write(&other, object(1), 0, b"others").await, Ok(Reply::Written));
    target.kill();
    target.restart();
    let late = target.connect(Role::Client).await;
    let connect = |epoch| Request::Connect { client: ClientId(1), epoch };
    assert_eq!(ask(&late, connect(1)).await, Err(Fault::Fenced));
    assert_eq!(write(&late, object(1), 0, b"x").await, Err(Fault::Evicted), "it has not connected");
    assert_eq!(ask(&late, connect(2)).await, Ok(Reply::Done));
    assert_eq!(write(&late, object(1), 0, b"reborn").await, Ok(Reply::Written));
}

#[tokio::test]
async fn roles_may_ask_what_is_theirs() {
    let target = Target::start(Compression::None);
    let stranger = target.connect(Role::Client).await;
    assert_eq!(write(&stranger, object(1), 0, b"x").await, Err(Fault::Evicted));
    for role in [Role::Client, Role::Mover] {
        let peer = target.connect(role).await;
        ask(&peer, Request::Connect { client: ClientId(9), epoch: 0 }).await.unwrap();
        let destroy = Request::Destroy { objects: vec![object(1)] };
        assert_eq!(ask(&peer, destroy).await, Err(Fault::AccessDenied));
        let fence = Request::Fence { client: ClientId(1), epoch: 1 };
        assert_eq!(ask(&peer, fence).await, Err(Fault::AccessDenied));
        assert_eq!(write(&peer, object(1), 0, b"x").await, Ok(Reply::Written));
        let oversized = Request::Read { object: object(1), offset: 0, length: TRANSFER_MAX + 1 };
        assert_eq!(ask(&peer, oversized).await, Err(Fault::Invalid));
    }
    let operator = target.connect(Role::Administrator).await;
    assert_eq!(read(&operator, object(1), 0, 1).await, Err(Fault::AccessDenied));
    assert!(matches!(ask(&operator, Request::Space).await, Ok(Reply::Space { objects: 1, .. })));
}

#[tokio::test]
async fn a_full_target_says_so_at_the_write() {
    let target = Target::start(Compression::None);
    let client = target.client(1, 1).await;
    let mut answers = Vec::new();
    for index in 0..20_u64 {
        answers.push(write(&client, object(1), index << 22, &content(4 << 20, 1)).await);
    }
    assert_eq!(answers[0], Ok(Reply::Written));
    assert_eq!(answers[19], Err(Fault::NoSpace));
    let Ok(Reply::Space { capacity, used, .. }) = ask(&client, Request::Space).await else {
        panic!("no space")
    };
    assert!(used <= capacity && used > capacity * 9 / 10, "{used} of {capacity}");
}

#[test]
fn a_folder_has_one_target_and_one_process() {
    let target = Target::start(Compression::None);
    let other = target.root.path().join("other");
    fs_err::create_dir(&other).unwrap();
    for name in ["cert.pem", "key.pem", "ca.pem", "spec.json"] {
        fs_err::copy(target.dir().join(name), other.join(name)).unwrap();
    }
    let refusal = |index: u16| {
        fs_err::write(other.join("spec.json"), serde_json::to_vec(&target.spec(index)).unwrap()).unwrap();
        object_target::run(&ProcessDir::new(&other)).unwrap_err()
    };
    let same = refusal(0);
    assert!(matches!(same, object_target::ObjectTargetError::InUse { .. }), "{same:?}");
    let foreign = refusal(1);
    assert!(matches!(foreign, object_target::ObjectTargetError::Claim(_)), "{foreign:?}");
}
