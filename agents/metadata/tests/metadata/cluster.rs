//! A cluster in one thread: a metadata target over a store and a log in memory, object targets that only know sizes,
//! clients that answer recalls.
//!
//! Invariant: a crash loses what was not committed and any number of the store's newest batches, never the log.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use lustre_metadata::log::MemoryLog;
use lustre_metadata::store::{Change, MemoryStore, OrderedStore, Pair, Reopened, StoreError};
use lustre_metadata::{
    Config, ConnectionId, Input, JobId, Moment, Output, RequestToken, Rights, Target, Work,
};
use lustre_model::attr::{Attr, FileKind, Owner, Timestamp};
use lustre_model::fault::Fault;
use lustre_model::fid::Fid;
use lustre_model::id::ClientId;
use lustre_model::layout::{
    ComponentTemplate, END_OF_FILE, LayoutTemplate, ObjectId, OstIndex, STRIPE_SIZE_DEFAULT, StripeCount,
};
use lustre_model::metadata::{
    Answer, Call, Close, Entry, FileView, LeaseKind, NewInode, Notice, OpenId, OpenMode, Reply, Request,
    SessionId, TargetEntry, TargetState, WriteUpdate, Xid,
};
use lustre_model::object::ObjectStat;

/// How long a session lives without a word.
pub const LEASE_MS: u32 = 10_000;

/// Who runs the target.
pub const OWNER: Owner = Owner { uid: 7, gid: 8 };

/// A store that can lose its newest batches.
#[derive(Clone, Default)]
pub struct CrashStore(Arc<Mutex<Stored>>);

#[derive(Default)]
struct Stored {
    live: MemoryStore,
    durable: MemoryStore,
    batches: Vec<Vec<Change>>,
}

impl CrashStore {
    /// Keeps only the first `keep` batches since the last `persist`.
    pub fn crash(&self, keep: usize) {
        let mut stored = self.0.lock().unwrap();
        stored.batches.truncate(keep);
        let mut live = stored.durable.clone();
        for batch in &stored.batches {
            live.apply(batch.clone()).unwrap();
        }
        stored.live = live;
    }
}

impl OrderedStore for CrashStore {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.0.lock().unwrap().live.get(key)
    }

    fn range(&self, start: &[u8], end: &[u8], limit: usize) -> Result<Vec<Pair>, StoreError> {
        self.0.lock().unwrap().live.range(start, end, limit)
    }

    fn apply(&mut self, changes: Vec<Change>) -> Result<(), StoreError> {
        let mut stored = self.0.lock().unwrap();
        stored.batches.push(changes.clone());
        stored.live.apply(changes)
    }

    fn persist(&mut self) -> Result<(), StoreError> {
        let mut stored = self.0.lock().unwrap();
        stored.durable = stored.live.clone();
        stored.batches.clear();
        Ok(())
    }

    fn reopen(&mut self) -> Result<Reopened, StoreError> {
        Ok(Reopened::Done)
    }
}

/// A client of the cluster.
pub struct Client {
    pub id: ClientId,
    pub connection: ConnectionId,
    pub session: SessionId,
    pub epoch: u64,
    pub xid: u64,
    /// What it has open without having said so.
    pub opens: Vec<(Fid, OpenId)>,
    /// Answers recalls at once.
    pub obliging: bool,
    /// What it would say of a file when its write lease is recalled.
    pub written: BTreeMap<Fid, WriteUpdate>,
    pub notices: Vec<Notice>,
}

pub struct Cluster {
    target: Option<Target>,
    pub store: CrashStore,
    pub log: MemoryLog,
    pub now: Moment,
    /// Sizes of objects.
    pub objects: BTreeMap<ObjectId, u64>,
    /// Work is done at once; otherwise it waits in `work`.
    pub prompt: bool,
    pub work: VecDeque<(JobId, Work)>,
    pub fences: Vec<(ClientId, u64)>,
    pub clients: Vec<Client>,
    answers: BTreeMap<RequestToken, Answer>,
    next: u64,
}

pub fn striped(count: u16) -> LayoutTemplate {
    let stripe_count = StripeCount::Exact(count);
    let component =
        ComponentTemplate { end: END_OF_FILE, stripe_size: STRIPE_SIZE_DEFAULT, stripe_count, pool: None };
    LayoutTemplate { components: vec![component] }
}

impl Cluster {
    /// A cluster with `osts` object targets and `clients` connected clients.
    pub fn new(osts: u16, clients: usize) -> Self {
        let mut cluster = Self {
            target: None,
            store: CrashStore::default(),
            log: MemoryLog::default(),
            now: Moment { wall: Timestamp { seconds: 1_700_000_000, nanoseconds: 0 }, uptime_ms: 1_000 },
            objects: BTreeMap::new(),
            prompt: true,
            work: VecDeque::new(),
            fences: Vec::new(),
            clients: Vec::new(),
            answers: BTreeMap::new(),
            next: 0,
        };
        cluster.open();
        for index in 0..osts {
            let target = TargetEntry {
                index: OstIndex(index),
                address: format!("ost:{index}"),
                capacity: 1 << 40,
                state: TargetState::Active,
            };
            cluster.admin(Request::RegisterTarget { target }).unwrap();
        }
        for _ in 0..clients {
            cluster.add_client();
        }
        cluster
    }

    fn open(&mut self) {
        let config = Config {
            fs_name: "scratch".parse().unwrap(),
            default_layout: striped(2),
            lease_ms: LEASE_MS,
            owner: OWNER,
        };
        let target = Target::open(config, Box::new(self.store.clone()), Box::new(self.log.clone()), self.now);
        self.target = Some(target.unwrap());
        self.commit();
    }

    /// Kills the target and starts it again; the store keeps `keep` batches of those it had not made durable.
    pub fn restart(&mut self, keep: usize) {
        self.restart_alone(keep);
        for client in 0..self.clients.len() {
            self.reconnect(client);
        }
    }

    /// The same, while no client has come back yet.
    pub fn restart_alone(&mut self, keep: usize) {
        self.target = None;
        self.work.clear();
        self.store.crash(keep);
        self.open();
    }

    pub fn add_client(&mut self) -> usize {
        let id = ClientId(100 + self.clients.len() as u128);
        let (connection, session) = (ConnectionId(0), SessionId(0));
        let (written, notices) = (BTreeMap::new(), Vec::new());
        self.clients.push(Client {
            id,
            connection,
            session,
            epoch: 0,
            xid: 0,
            opens: Vec::new(),
            obliging: true,
            written,
            notices,
        });
        self.reconnect(self.clients.len() - 1);
        self.clients.len() - 1
    }

    pub fn reconnect(&mut self, client: usize) {
        self.next += 1;
        let connection = ConnectionId(self.next);
        let request =
            Request::Connect { client: self.clients[client].id, opens: self.clients[client].opens.clone() };
        let call = Call { session: SessionId(0), xid: Xid(0), acknowledged: Xid(0), request };
        let token = self.send(connection, Rights::Client, call);
        let answer = self.answers.remove(&token).expect("connect is answered");
        let Ok(Reply::Connected { session, epoch, .. }) = answer else { panic!("{answer:?}") };
        let client = &mut self.clients[client];
        (client.connection, client.session, client.epoch) = (connection, session, epoch);
    }

    pub fn drop_connection(&mut self, connection: ConnectionId) {
        self.input(Input::Disconnected { connection });
    }

    /// Lets time pass in small steps.
    pub fn pass(&mut self, ms: u64) {
        for _ in 0..ms.div_ceil(500) {
            self.now.uptime_ms += 500;
            self.now.wall.seconds += i64::try_from(self.now.uptime_ms / 500 % 2).unwrap();
            self.input(Input::Tick);
        }
    }

    pub fn input(&mut self, input: Input) {
        let now = self.now;
        self.target.as_mut().unwrap().handle(now, input).unwrap();
        self.commit();
    }

    /// Gives an input without committing it.
    pub fn handle_only(&mut self, client: usize, request: Request) {
        let (connection, call) = self.call(client, request);
        self.next += 1;
        let token = RequestToken(self.next);
        let now = self.now;
        let input = Input::Request { connection, token, rights: Rights::Client, call };
        self.target.as_mut().unwrap().handle(now, input).unwrap();
    }

    fn commit(&mut self) {
        let outputs = self.target.as_mut().unwrap().commit().unwrap();
        for output in outputs {
            self.output(output);
        }
    }

    fn output(&mut self, output: Output) {
        match output {
            Output::Reply { token, answer } => {
                assert!(self.answers.insert(token, answer).is_none(), "answered twice");
            }
            Output::Notice { connection, notice } => self.notice(connection, notice),
            Output::Work { job, work } if self.prompt => {
                let result = Ok(self.perform(&work));
                self.input(Input::WorkDone { job, result });
            }
            Output::Work { job, work } => self.work.push_back((job, work)),
            Output::SyncLog { sequence } => self.input(Input::LogSynced { sequence }),
            Output::Targets { .. } => {}
        }
    }

    fn notice(&mut self, connection: ConnectionId, notice: Notice) {
        let Some(index) = self.clients.iter().position(|client| client.connection == connection) else {
            return;
        };
        self.clients[index].notices.push(notice.clone());
        if let Notice::Recall { fid, keep } = notice
            && self.clients[index].obliging
        {
            self.yield_lease(index, fid, keep);
        }
    }

    /// Answers a recall.
    pub fn yield_lease(&mut self, client: usize, fid: Fid, keep: LeaseKind) {
        let update = self.clients[client].written.remove(&fid);
        self.ask(client, Request::Downgrade { fid, keep, update, open: None }).unwrap();
    }

    /// Does what object targets would.
    pub fn perform(&mut self, work: &Work) -> Vec<ObjectStat> {
        let mut stats = Vec::new();
        match work {
            Work::Glimpse { stripes } => {
                for stripe in stripes {
                    let size = self.objects.get(&stripe.object).copied().unwrap_or(0);
                    stats.push(ObjectStat { size, blocks: size.div_ceil(512), mtime: self.now.wall });
                }
            }
            Work::Truncate { sizes } => {
                for (stripe, size) in sizes {
                    self.objects.entry(stripe.object).and_modify(|old| *old = (*old).min(*size));
                }
            }
            Work::Destroy { stripes } => {
                for stripe in stripes {
                    self.objects.remove(&stripe.object);
                }
            }
            Work::Fence { client, epoch, .. } => self.fences.push((*client, *epoch)),
        }
        stats
    }

    /// Ends the oldest piece of waiting work with this result.
    pub fn end_work(&mut self, fault: Option<Fault>) -> Work {
        let (job, work) = self.work.pop_front().expect("work waits");
        let result = match fault {
            Some(fault) => Err(fault),
            None => Ok(self.perform(&work)),
        };
        self.input(Input::WorkDone { job, result });
        work
    }

    fn call(&mut self, client: usize, request: Request) -> (ConnectionId, Call) {
        let client = &mut self.clients[client];
        client.xid += 1;
        let xid = Xid(client.xid);
        (client.connection, Call { session: client.session, xid, acknowledged: Xid(0), request })
    }

    /// Sends a call as it is.
    pub fn send(&mut self, connection: ConnectionId, rights: Rights, call: Call) -> RequestToken {
        self.next += 1;
        let token = RequestToken(self.next);
        self.input(Input::Request { connection, token, rights, call });
        token
    }

    /// Sends a request of a client; its answer may come later.
    pub fn start(&mut self, client: usize, request: Request) -> RequestToken {
        let (connection, call) = self.call(client, request);
        self.send(connection, Rights::Client, call)
    }

    /// Takes an answer that came.
    pub fn answer(&mut self, token: RequestToken) -> Option<Answer> {
        self.answers.remove(&token)
    }

    /// Sends a request of a client that is answered at once.
    pub fn ask(&mut self, client: usize, request: Request) -> Answer {
        let shown = format!("{request:?}");
        let token = self.start(client, request);
        self.answer(token).unwrap_or_else(|| panic!("no answer to {shown}"))
    }

    pub fn admin(&mut self, request: Request) -> Answer {
        self.ask_as(Rights::Administrator, request)
    }

    pub fn ask_as(&mut self, rights: Rights, request: Request) -> Answer {
        let call = Call { session: SessionId(0), xid: Xid(0), acknowledged: Xid(0), request };
        let token = self.send(ConnectionId(u64::MAX), rights, call);
        self.answer(token).expect("answered at once")
    }

    // -- requests by name

    pub fn create(&mut self, client: usize, parent: Fid, name: &str, inode: NewInode) -> Answer {
        let owner = Owner { uid: 10, gid: 20 };
        let name = name.as_bytes().to_vec();
        self.ask(client, Request::Create { parent, name, mode: 0o644, owner, exclusive: true, inode })
    }

    pub fn mkdir(&mut self, client: usize, parent: Fid, name: &str) -> Fid {
        entry(self.create(client, parent, name, NewInode::Directory)).attr.fid
    }

    /// Creates a file and opens it for writing.
    pub fn create_open(&mut self, client: usize, parent: Fid, name: &str) -> (FileView, OpenId) {
        opened(self.create(client, parent, name, NewInode::Regular { open: Some(OpenMode::Write) }))
    }

    pub fn open_file(&mut self, client: usize, fid: Fid, mode: OpenMode) -> (FileView, OpenId) {
        opened(self.ask(client, Request::Open { fid, mode }))
    }

    /// Puts bytes into objects as a client with a write lease would, and closes with the news.
    pub fn write_and_close(&mut self, client: usize, view: &FileView, open: OpenId, size: u64) {
        self.write_objects(view, size);
        let update = Some(WriteUpdate { size, blocks: None, mtime: self.now.wall });
        self.ask(client, close(view.entry.attr.fid, open, update)).unwrap();
    }

    pub fn write_objects(&mut self, view: &FileView, size: u64) {
        for piece in view.layout.pieces(0..size).unwrap() {
            let end = self.objects.entry(piece.stripe.object).or_insert(0);
            *end = (*end).max(piece.object_offset + piece.length);
        }
    }

    pub fn lookup(&mut self, client: usize, parent: Fid, name: &str) -> Result<Attr, Fault> {
        let name = name.as_bytes().to_vec();
        self.ask(client, Request::Lookup { parent, name }).map(|reply| entry(Ok(reply)).attr)
    }

    pub fn attr(&mut self, client: usize, fid: Fid) -> Attr {
        entry(self.ask(client, Request::GetAttr { fid })).attr
    }

    pub fn remove(&mut self, client: usize, parent: Fid, name: &str) -> Answer {
        let (name, kind) = (name.as_bytes().to_vec(), lustre_model::metadata::RemoveKind::File);
        self.ask(client, Request::Remove { parent, name, kind })
    }

    /// All entries of a directory, in parts of `limit`.
    pub fn list(&mut self, client: usize, fid: Fid, limit: u32) -> Vec<(String, Attr)> {
        let (mut all, mut after) = (Vec::new(), 0);
        loop {
            let answer = self.ask(client, Request::ReadDirectory { fid, after, limit });
            let Ok(Reply::Entries { entries, end, .. }) = answer else { panic!("{answer:?}") };
            for entry in entries {
                after = entry.cookie;
                all.push((String::from_utf8(entry.name).unwrap(), entry.entry.attr));
            }
            if end {
                return all;
            }
        }
    }
}

/// The last close of a client, which gives up its write lease.
pub fn close(fid: Fid, open: OpenId, update: Option<WriteUpdate>) -> Request {
    Request::Close { closes: vec![Close { fid, open: Some(open), update, lower: true }] }
}

pub fn entry(answer: Answer) -> Entry {
    match answer {
        Ok(Reply::Entry { entry, .. }) => entry,
        Ok(Reply::Opened { view, open: None, .. }) => view.entry,
        other => panic!("not an entry: {other:?}"),
    }
}

pub fn opened(answer: Answer) -> (FileView, OpenId) {
    match answer {
        Ok(Reply::Opened { view, open: Some(open), .. }) => (view, open),
        other => panic!("not opened: {other:?}"),
    }
}

pub fn is_directory(attr: &Attr) -> bool {
    attr.kind == FileKind::Directory
}
