//! What a call between two processes of one machine costs: time, processor time of both sides, and how often threads slept.
//!
//! The server is this program once more, as a process of its own; both use the allocator of the product. Services answer
//! at once, so what is measured is the wire alone, without encryption and, for comparison, with TLS.
//! Invariant: every line says what one call, or one GiB, cost; bulk that comes back has the length that was asked for.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark prints")]

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use lustre_wire::authority::{Authority, KeyPair};
use lustre_wire::client::Connection;
use lustre_wire::server::{Peer, Responder, Service, serve};
use lustre_wire::{Identity, Protocol, Role, Subject};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Makes this program the server; its identity comes on standard input, its address goes to standard output.
const SERVER: &str = "--server";
const TIMEOUT: Duration = Duration::from_secs(20);
const ROUND: Duration = Duration::from_millis(700);
const ROUNDS: usize = 5;
const BULK: usize = 1 << 20;

struct Bench;

#[derive(Serialize, Deserialize)]
enum Ask {
    /// As large as a name with its parent.
    Echo([u64; 4]),
    /// Asks for bulk.
    Read(u32),
    /// Brings bulk.
    Write,
    /// Asks for what the server's process has used.
    Usage,
}

impl Protocol for Bench {
    const NAME: &'static str = "bench";
    type Request = Ask;
    type Answer = Usage;
    type Notice = ();
}

/// What a process has used since it began.
#[derive(Debug, Default, Clone, Copy, Serialize, Deserialize)]
struct Usage {
    processor: Duration,
    sleeps: u64,
}

impl Usage {
    fn now() -> Self {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
        let processor = Duration::try_from(time).unwrap();
        let sleeps = fs_err::read_dir("/proc/self/task").unwrap().flatten().map(|task| {
            let status = fs_err::read_to_string(task.path().join("status")).unwrap_or_default();
            let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
            line.and_then(|count| count.trim().parse().ok()).unwrap_or(0_u64)
        });
        Self { processor, sleeps: sleeps.sum() }
    }

    fn since(self, before: Self) -> Self {
        Self { processor: self.processor - before.processor, sleeps: self.sleeps - before.sleeps }
    }
}

struct Server {
    bulk: Bytes,
}

impl Service<Bench> for Server {
    fn call(&self, _: &Peer<Bench>, request: Ask, bulk: Bytes, responder: Responder<Bench>) {
        match request {
            Ask::Echo(_) => responder.send(Usage::default(), Bytes::new()),
            Ask::Read(length) => responder.send(Usage::default(), self.bulk.slice(..length as usize)),
            Ask::Write => {
                drop(bulk);
                responder.send(Usage::default(), Bytes::new());
            }
            Ask::Usage => responder.send(Usage::now(), Bytes::new()),
        }
    }
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    if std::env::args().any(|argument| argument == SERVER) {
        runtime.block_on(answer());
    } else {
        runtime.block_on(ask());
    }
}

async fn answer() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("{}", listener.local_addr().unwrap());
    let mut input = String::new();
    std::io::Read::read_to_string(&mut std::io::stdin(), &mut input).unwrap();
    let mut parts = input.split('\0');
    let mut part = || parts.next().unwrap();
    let identity = Identity::new(part(), part(), part()).unwrap();
    let server = Arc::new(Server { bulk: Bytes::from(vec![7; 8 << 20]) });
    serve::<Bench, _>(listener, identity, server, CancellationToken::new()).await.unwrap();
}

/// The server's process and how to reach it.
struct House {
    process: Child,
    address: String,
    client: Identity,
}

impl Drop for House {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl House {
    fn build() -> Self {
        let authority = Authority::generate("bench").unwrap();
        let signed = |role| {
            let key = KeyPair::generate().unwrap();
            let subject = Subject::new("bench", role, "one");
            (authority.sign(&key.csr().unwrap(), &subject).unwrap(), key.pem())
        };
        let mut process = Command::new(std::env::current_exe().unwrap())
            .arg(SERVER)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (certificate, key) = signed(Role::Target);
        let input = [certificate, key, authority.certificate_pem.clone()].join("\0");
        process.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let mut address = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut address).unwrap();
        let (certificate, key) = signed(Role::Client);
        let client = Identity::new(&certificate, &key, &authority.certificate_pem).unwrap();
        Self { process, address: address.trim().to_owned(), client }
    }
}

async fn usage_there(connection: &Connection<Bench>) -> Usage {
    connection.call(&Ask::Usage, Bytes::new()).await.unwrap().0
}

#[derive(Clone, Copy)]
enum Load {
    Call,
    Read,
    Write,
}

/// What one round came to.
struct Round {
    calls: u64,
    time: Duration,
    here: Usage,
    there: Usage,
}

async fn round(connection: &Connection<Bench>, load: Load, callers: usize) -> Round {
    let (here, there) = (Usage::now(), usage_there(connection).await);
    let begun = Instant::now();
    let bulk = Bytes::from(vec![1; BULK]);
    let calling: Vec<_> = (0..callers)
        .map(|_| {
            let (connection, bulk) = (connection.clone(), bulk.clone());
            tokio::spawn(async move {
                let mut calls = 0_u64;
                while begun.elapsed() < ROUND {
                    let (request, sent, wanted) = match load {
                        Load::Call => (Ask::Echo([calls; 4]), Bytes::new(), 0),
                        Load::Read => (Ask::Read(BULK as u32), Bytes::new(), BULK),
                        Load::Write => (Ask::Write, bulk.clone(), 0),
                    };
                    let (_, came) = connection.call(&request, sent).await.unwrap();
                    assert_eq!(came.len(), wanted);
                    calls += 1;
                }
                calls
            })
        })
        .collect();
    let mut calls = 0;
    for caller in calling {
        calls += caller.await.unwrap();
    }
    let time = begun.elapsed();
    let there = usage_there(connection).await.since(there);
    Round { calls, time, here: Usage::now().since(here), there }
}

/// Prints the round whose time per call is the median.
async fn measure(connection: &Connection<Bench>, name: &str, load: Load, callers: usize) {
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        rounds.push(round(connection, load, callers).await);
    }
    rounds.sort_by_key(|round| round.calls);
    let Round { calls, time, here, there } = rounds.swap_remove(ROUNDS / 2);
    let micros = |time: Duration| time.as_secs_f64() * 1e6 / calls as f64;
    let per_call = |count: u64| count as f64 / calls as f64;
    print!(
        "{name:<26} {:>8.1} µs wall {:>7.1} + {:>6.1} µs CPU {:>5.2} + {:>5.2} sleeps",
        micros(time),
        micros(here.processor),
        micros(there.processor),
        per_call(here.sleeps),
        per_call(there.sleeps),
    );
    match load {
        Load::Call => println!("  {:>8.0} calls/s", calls as f64 / time.as_secs_f64()),
        Load::Read | Load::Write => {
            let gib = calls as f64 * BULK as f64 / f64::from(1 << 30);
            let cpu = |usage: Usage| usage.processor.as_secs_f64() / gib;
            let rate = gib / time.as_secs_f64();
            println!("  {rate:>8.2} GiB/s, {:.3} + {:.3} s CPU/GiB", cpu(here), cpu(there));
        }
    }
}

async fn ask() {
    let house = House::build();
    println!("per call: time, then client + server");
    for (cover, identity) in [("plain", house.client.clone()), ("tls", house.client.clone().always_tls())] {
        let (connection, _notices) =
            Connection::<Bench>::connect(&house.address, &identity, TIMEOUT).await.unwrap();
        for (name, load, callers) in [
            ("call, 1 caller", Load::Call, 1),
            ("call, 8 callers", Load::Call, 8),
            ("read 1 MiB, 1 caller", Load::Read, 1),
            ("read 1 MiB, 8 callers", Load::Read, 8),
            ("write 1 MiB, 1 caller", Load::Write, 1),
            ("write 1 MiB, 8 callers", Load::Write, 8),
        ] {
            measure(&connection, &format!("{cover} {name}"), load, callers).await;
        }
    }
}
