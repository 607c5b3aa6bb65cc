//! A cluster in one process: the metadata target as a thread, object targets in memory, all behind the wire.
//!
//! Work for object targets is done at once on their memory. Not a model: the metadata target is the real one.
//! Invariant: inputs of the metadata target are handled one at a time, and nothing leaves before its commit; one that is
//! killed loses all but what it committed.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use lustre_metadata::log::MemoryLog;
use lustre_metadata::store::{Change, MemoryStore, OrderedStore, Pair, Reopened, StoreError};
use lustre_metadata::{Config, ConnectionId, Input, Moment, Output, RequestToken, Rights, Target, Work};
use lustre_model::attr::{Owner, Timestamp};
use lustre_model::fault::Fault;
use lustre_model::id::ClientId;
use lustre_model::layout::{
    ComponentTemplate, END_OF_FILE, LayoutTemplate, ObjectId, OstIndex, Stripe, StripeCount,
};
use lustre_model::metadata::{Call, Request, SessionId, TargetEntry, TargetState, Xid};
use lustre_model::object::{self, ObjectStat};
use lustre_mount::Client;
use lustre_wire::authority::{Authority, KeyPair};
use lustre_wire::server::{Peer, Responder, Service, serve};
use lustre_wire::{Identity, Metadata, Object, Role, Subject};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub const STRIPE: u32 = 64 << 10;
const TARGETS: u16 = 3;
const LEASE_MS: u32 = 6_000;
const CAPACITY: u64 = 8 << 30;

/// A running cluster; ends when it is dropped.
pub struct Cluster {
    authority: Authority,
    metadata: SocketAddr,
    clients: AtomicU64,
    pub objects: Arc<Objects>,
    stop: CancellationToken,
    desk: Arc<Mutex<Desk>>,
    served: Mutex<Served>,
}

/// One life of the metadata target.
struct Served {
    identity: Identity,
    inputs: Sender<Told>,
    life: u64,
    stop: CancellationToken,
    serving: Option<JoinHandle<()>>,
}

/// What the metadata target's thread is told, with the life that it is meant for.
type Told = (u64, Command);

enum Command {
    Input(Box<Input>),
    /// It was killed and starts again.
    Restart,
}

/// What a metadata target that is killed leaves.
#[derive(Clone, Default)]
struct Disk {
    store: Arc<Mutex<MemoryStore>>,
    log: MemoryLog,
}

impl OrderedStore for Disk {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.store.lock().unwrap().get(key)
    }

    fn range(&self, start: &[u8], end: &[u8], limit: usize) -> Result<Vec<Pair>, StoreError> {
        self.store.lock().unwrap().range(start, end, limit)
    }

    fn apply(&mut self, changes: Vec<Change>) -> Result<(), StoreError> {
        self.store.lock().unwrap().apply(changes)
    }

    fn persist(&mut self) -> Result<(), StoreError> {
        self.store.lock().unwrap().persist()
    }

    fn reopen(&mut self) -> Result<Reopened, StoreError> {
        self.store.lock().unwrap().reopen()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn identity(authority: &Authority, role: Role, name: &str) -> Identity {
    let key = KeyPair::generate().unwrap();
    let subject = Subject { scope: "demo".to_owned(), role, name: name.to_owned() };
    let certificate = authority.sign(&key.csr().unwrap(), &subject).unwrap();
    Identity::new(&certificate, &key.pem(), &authority.certificate_pem).unwrap()
}

impl Cluster {
    /// Starts one; two components, the first of one stripe.
    pub async fn start() -> Self {
        let authority = Authority::generate("demo").unwrap();
        let stop = CancellationToken::new();
        let objects = Arc::new(Objects::default());
        let mut addresses = Vec::new();
        for index in 0..TARGETS {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            addresses.push(listener.local_addr().unwrap().to_string());
            let object_identity = identity(&authority, Role::Target, &format!("demo-OST{index:04x}"));
            tokio::spawn(serve::<Object, _>(listener, object_identity, Arc::clone(&objects), stop.clone()));
        }
        let component =
            |end, stripe_count| ComponentTemplate { end, stripe_size: STRIPE, stripe_count, pool: None };
        let default_layout = LayoutTemplate {
            components: vec![
                component(u64::from(STRIPE), StripeCount::Exact(1)),
                component(END_OF_FILE, StripeCount::All),
            ],
        };
        let config = Config {
            fs_name: "demo".parse().unwrap(),
            default_layout,
            lease_ms: LEASE_MS,
            owner: Owner { uid: 0, gid: 0 },
        };
        let (inputs, receiver) = channel();
        let desk: Arc<Mutex<Desk>> = Arc::default();
        for (index, address) in (0..TARGETS).zip(addresses) {
            let target = TargetEntry {
                index: OstIndex(index),
                address,
                capacity: CAPACITY,
                state: TargetState::Active,
            };
            let call = Call {
                session: SessionId(0),
                xid: Xid(0),
                acknowledged: Xid(0),
                request: Request::RegisterTarget { target },
            };
            let (connection, token) = (ConnectionId(0), RequestToken(u64::from(index)));
            let input = Input::Request { connection, token, rights: Rights::Administrator, call };
            inputs.send((1, Command::Input(Box::new(input)))).unwrap();
        }
        let (work, answering, own) = (Arc::clone(&objects), Arc::clone(&desk), inputs.clone());
        std::thread::spawn(move || run(config, (receiver, own), answering, work));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let metadata = listener.local_addr().unwrap();
        let identity = identity(&authority, Role::Target, "demo-MDT0000");
        let mut served = Served { identity, inputs, life: 1, stop: stop.child_token(), serving: None };
        served.serve(listener, &desk);
        let served = Mutex::new(served);
        Self { authority, metadata, clients: AtomicU64::new(1), objects, stop, desk, served }
    }

    /// Kills the metadata target and starts it again from what it committed.
    pub async fn restart_metadata(&self) {
        let serving = {
            let mut served = self.served.lock().unwrap();
            served.stop.cancel();
            served.serving.take()
        };
        serving.unwrap().await.unwrap();
        let life = {
            let mut served = self.served.lock().unwrap();
            served.life += 1;
            served.inputs.send((served.life, Command::Restart)).unwrap();
            served.life
        };
        *self.desk.lock().unwrap() = Desk { tokens: life << 32, ..Desk::default() };
        let listener = TcpListener::bind(self.metadata).await.unwrap();
        let mut served = self.served.lock().unwrap();
        served.stop = self.stop.child_token();
        served.serve(listener, &self.desk);
    }

    /// Requests that the metadata target got so far.
    pub fn requests(&self) -> u64 {
        self.desk.lock().unwrap().tokens
    }

    /// A new client.
    pub async fn client(&self) -> Client {
        let number = self.clients.fetch_add(1, Ordering::Relaxed);
        let identity = identity(&self.authority, Role::Client, &format!("client{number}"));
        Client::connect(&self.metadata.to_string(), identity, ClientId(u128::from(number))).await.unwrap()
    }
}

/// Who waits for what.
#[derive(Default)]
struct Desk {
    responders: BTreeMap<RequestToken, Responder<Metadata>>,
    peers: BTreeMap<ConnectionId, Peer<Metadata>>,
    tokens: u64,
}

struct MetadataService {
    inputs: Sender<Told>,
    life: u64,
    desk: Arc<Mutex<Desk>>,
}

impl Served {
    fn serve(&mut self, listener: TcpListener, desk: &Arc<Mutex<Desk>>) {
        let service =
            MetadataService { inputs: self.inputs.clone(), life: self.life, desk: Arc::clone(desk) };
        let (identity, stop) = (self.identity.clone(), self.stop.clone());
        let serving =
            async move { drop(serve::<Metadata, _>(listener, identity, Arc::new(service), stop).await) };
        self.serving = Some(tokio::spawn(serving));
    }
}

impl MetadataService {
    fn tell(&self, input: Input) {
        drop(self.inputs.send((self.life, Command::Input(Box::new(input)))));
    }
}

impl Service<Metadata> for MetadataService {
    fn connected(&self, peer: &Peer<Metadata>) {
        self.desk.lock().unwrap().peers.insert(ConnectionId(peer.id() + 1), peer.clone());
    }

    fn disconnected(&self, peer: &Peer<Metadata>) {
        let connection = ConnectionId(peer.id() + 1);
        self.desk.lock().unwrap().peers.remove(&connection);
        self.tell(Input::Disconnected { connection });
    }

    fn call(&self, peer: &Peer<Metadata>, call: Call, _bulk: Bytes, responder: Responder<Metadata>) {
        let mut desk = self.desk.lock().unwrap();
        desk.tokens += 1;
        let token = RequestToken(desk.tokens + 1000);
        desk.responders.insert(token, responder);
        let connection = ConnectionId(peer.id() + 1);
        drop(desk);
        self.tell(Input::Request { connection, token, rights: Rights::Mover, call });
    }
}

fn wall() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Timestamp { seconds: since.as_secs().try_into().unwrap(), nanoseconds: since.subsec_nanos() }
}

fn run(
    config: Config,
    (inputs, own): (Receiver<Told>, Sender<Told>),
    desk: Arc<Mutex<Desk>>,
    objects: Arc<Objects>,
) {
    let born = Instant::now();
    let now = || Moment { wall: wall(), uptime_ms: born.elapsed().as_millis().try_into().unwrap() };
    let disk = Disk::default();
    let open = || {
        let (store, log) = (Box::new(disk.clone()), Box::new(disk.log.clone()));
        Target::open(config.clone(), store, log, now()).unwrap()
    };
    let (mut target, mut life) = (open(), 1);
    loop {
        let first = match inputs.recv_timeout(Duration::from_millis(50)) {
            Ok(command) => command,
            Err(RecvTimeoutError::Timeout) => (life, Command::Input(Box::new(Input::Tick))),
            Err(RecvTimeoutError::Disconnected) => return,
        };
        for (meant, command) in std::iter::once(first).chain(inputs.try_iter().take(100)) {
            match command {
                // What was not committed is lost.
                Command::Restart => (target, life) = (open(), meant),
                Command::Input(input) if meant == life => target.handle(now(), *input).unwrap(),
                Command::Input(_) => {}
            }
        }
        for output in target.commit().unwrap() {
            carry_out(output, (life, &own), &desk, &objects);
        }
    }
}

fn carry_out(output: Output, (life, inputs): (u64, &Sender<Told>), desk: &Mutex<Desk>, objects: &Objects) {
    let tell = |input| inputs.send((life, Command::Input(Box::new(input)))).unwrap();
    match output {
        Output::Reply { token, answer } => {
            let responder = desk.lock().unwrap().responders.remove(&token);
            if let Some(responder) = responder {
                responder.send(answer, Bytes::new());
            }
        }
        Output::Notice { connection, notice } => {
            if let Some(peer) = desk.lock().unwrap().peers.get(&connection) {
                peer.notify(notice);
            }
        }
        Output::Work { job, work } => tell(Input::WorkDone { job, result: Ok(objects.work(work)) }),
        Output::SyncLog { sequence } => tell(Input::LogSynced { sequence }),
        Output::Targets { .. } => {}
    }
}

/// All object targets' bytes.
#[derive(Default)]
pub struct Objects {
    stored: Mutex<BTreeMap<ObjectId, (Vec<u8>, Timestamp)>>,
    /// Writes are refused for want of space while this is set.
    pub full: std::sync::atomic::AtomicBool,
    pub reads: AtomicU64,
}

impl Objects {
    fn work(&self, work: Work) -> Vec<ObjectStat> {
        let mut stored = self.stored.lock().unwrap();
        match work {
            Work::Glimpse { stripes } => stripes.iter().map(|stripe| stat(&stored, stripe.object)).collect(),
            Work::Truncate { sizes } => {
                for (Stripe { object, .. }, size) in sizes {
                    if let Some((bytes, _)) = stored.get_mut(&object) {
                        bytes.truncate(size.try_into().unwrap());
                    }
                }
                Vec::new()
            }
            Work::Destroy { stripes } => {
                for stripe in stripes {
                    stored.remove(&stripe.object);
                }
                Vec::new()
            }
            Work::Fence { .. } => Vec::new(),
        }
    }

    /// Objects there are.
    pub fn count(&self) -> usize {
        self.stored.lock().unwrap().len()
    }

    fn execute(&self, request: object::Request, bulk: &Bytes) -> Result<(object::Reply, Bytes), Fault> {
        let mut stored = self.stored.lock().unwrap();
        match request {
            object::Request::Read { object, offset, length } => {
                self.reads.fetch_add(1, Ordering::Relaxed);
                let Some((bytes, _)) = stored.get(&object) else {
                    return Ok((object::Reply::Read, Bytes::new()));
                };
                let from = usize::try_from(offset).unwrap().min(bytes.len());
                let until = (from + usize::try_from(length).unwrap()).min(bytes.len());
                Ok((object::Reply::Read, Bytes::copy_from_slice(&bytes[from..until])))
            }
            object::Request::Write { object, offset } => {
                if self.full.load(Ordering::Relaxed) {
                    return Err(Fault::NoSpace);
                }
                let (bytes, mtime) = stored.entry(object).or_default();
                let (from, until) =
                    (usize::try_from(offset).unwrap(), usize::try_from(offset).unwrap() + bulk.len());
                if bytes.len() < until {
                    bytes.resize(until, 0);
                }
                bytes[from..until].copy_from_slice(bulk);
                *mtime = wall();
                Ok((object::Reply::Written, Bytes::new()))
            }
            object::Request::Punch { object, offset, length } => {
                if let Some((bytes, _)) = stored.get_mut(&object) {
                    let from = usize::try_from(offset).unwrap().min(bytes.len());
                    let until = usize::try_from(offset + length).unwrap().min(bytes.len());
                    bytes[from..until].fill(0);
                }
                Ok((object::Reply::Done, Bytes::new()))
            }
            object::Request::Stat { objects } => {
                let stats = objects.iter().map(|object| stat(&stored, *object)).collect();
                Ok((object::Reply::Stats { stats }, Bytes::new()))
            }
            object::Request::Space => {
                let used = stored.values().map(|(bytes, _)| bytes.len() as u64).sum();
                let (capacity, objects, disk_free) = (CAPACITY, stored.len() as u64, CAPACITY - used);
                Ok((object::Reply::Space { capacity, used, objects, disk: 0, disk_free }, Bytes::new()))
            }
            object::Request::Connect { .. }
            | object::Request::Fence { .. }
            | object::Request::Truncate { .. }
            | object::Request::Sync { .. }
            | object::Request::Destroy { .. } => Ok((object::Reply::Done, Bytes::new())),
        }
    }
}

fn stat(stored: &BTreeMap<ObjectId, (Vec<u8>, Timestamp)>, object: ObjectId) -> ObjectStat {
    let Some((bytes, mtime)) = stored.get(&object) else {
        return ObjectStat { size: 0, blocks: 0, mtime: Timestamp::default() };
    };
    ObjectStat { size: bytes.len() as u64, blocks: bytes.len().div_ceil(512) as u64, mtime: *mtime }
}

impl Service<Object> for Objects {
    fn call(
        &self,
        _peer: &Peer<Object>,
        request: object::Request,
        bulk: Bytes,
        responder: Responder<Object>,
    ) {
        match self.execute(request, &bulk) {
            Ok((reply, bytes)) => responder.send(Ok(reply), bytes),
            Err(fault) => responder.send(Err(fault), Bytes::new()),
        }
    }
}
