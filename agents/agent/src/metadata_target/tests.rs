//! The metadata target over real TLS, with object targets that only know sizes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use lustre_metadata::Config;
use lustre_model::attr::{AttrChange, Owner, Timestamp};
use lustre_model::fault::Fault;
use lustre_model::fid::Fid;
use lustre_model::hsm::{HsmEnd, HsmOutcome, HsmVerb, ImportEntry, Link, LinkId, RepositoryEndpoint};
use lustre_model::id::ClientId;
use lustre_model::layout::{
    ComponentTemplate, END_OF_FILE, LayoutTemplate, ObjectId, OstIndex, STRIPE_SIZE_DEFAULT, StripeCount,
};
use lustre_model::metadata::{
    Answer, Call, LeaseKind, NewInode, Notice, OpenMode, RemoveKind, Reply, Request, SessionId, TargetEntry,
    TargetState, Xid,
};
use lustre_model::object::{self, ObjectStat};
use lustre_wire::authority::{Authority, KeyPair};
use lustre_wire::client::{Connection, Notices};
use lustre_wire::server::{Peer, Responder, Service};
use lustre_wire::{Identity, Metadata, Object, Role, Subject, server};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{MetadataTargetError, Opened, serve};
use crate::small_disk::SmallDisk;

const TIMEOUT: Duration = Duration::from_secs(20);

#[derive(Default)]
struct Sizes {
    sizes: Mutex<BTreeMap<ObjectId, u64>>,
}

impl Service<Object> for Sizes {
    fn call(&self, _: &Peer<Object>, request: object::Request, _: Bytes, responder: Responder<Object>) {
        let mut sizes = self.sizes.lock().unwrap();
        let mut reply = object::Reply::Done;
        match request {
            object::Request::Stat { objects } => {
                let stat = |object| ObjectStat {
                    size: sizes.get(object).copied().unwrap_or(0),
                    blocks: 0,
                    mtime: Timestamp { seconds: 1, nanoseconds: 0 },
                };
                reply = object::Reply::Stats { stats: objects.iter().map(stat).collect() };
            }
            object::Request::Truncate { object, size } => {
                sizes.insert(object, size);
            }
            object::Request::Destroy { objects } => objects.iter().for_each(|object| {
                sizes.remove(object);
            }),
            object::Request::Space => {
                let objects = sizes.len() as u64;
                reply =
                    object::Reply::Space { capacity: 1 << 30, used: 0, objects, disk: 0, disk_free: 1 << 30 };
            }
            object::Request::Connect { .. }
            | object::Request::Fence { .. }
            | object::Request::Sync { .. }
            | object::Request::Read { .. }
            | object::Request::Write { .. }
            | object::Request::Punch { .. } => panic!("a metadata target does not ask for this here"),
        }
        responder.send(Ok(reply), Bytes::new());
    }
}

struct House {
    authority: Authority,
    folder: tempfile::TempDir,
    sizes: Arc<Sizes>,
    stop: CancellationToken,
}

struct Running {
    address: String,
    stop: CancellationToken,
    served: JoinHandle<Result<(), MetadataTargetError>>,
}

struct Session {
    connection: Connection<Metadata>,
    notices: Notices<Metadata>,
    session: SessionId,
    xid: u64,
}

impl House {
    fn build() -> Self {
        let authority = Authority::generate("scratch").unwrap();
        let folder = tempfile::tempdir().unwrap();
        Self { authority, folder, sizes: Arc::default(), stop: CancellationToken::new() }
    }

    fn identity(&self, role: Role) -> Identity {
        self.identity_of(role, "one")
    }

    fn identity_of(&self, role: Role, name: &str) -> Identity {
        let key = KeyPair::generate().unwrap();
        let subject = Subject::new("scratch", role, name);
        let certificate = self.authority.sign(&key.csr().unwrap(), &subject).unwrap();
        Identity::new(&certificate, &key.pem(), &self.authority.certificate_pem).unwrap()
    }

    fn path(&self) -> PathBuf {
        self.folder.path().to_owned()
    }

    async fn object_target(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let identity = self.identity_of(Role::Target, "scratch-OST0000");
        let sizes = Arc::clone(&self.sizes);
        tokio::spawn(server::serve::<Object, _>(listener, identity, sizes, self.stop.child_token()));
        address
    }

    async fn start(&self) -> Running {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let stop = CancellationToken::new();
        let opened = opened(&self.path(), self.identity(Role::Target), listener);
        let served = tokio::spawn(serve(opened, stop.clone(), || Ok(())));
        Running { address, stop, served }
    }

    async fn connect(&self, running: &Running, role: Role) -> (Connection<Metadata>, Notices<Metadata>) {
        Connection::connect(&running.address, &self.identity(role), TIMEOUT).await.unwrap()
    }

    async fn session(&self, running: &Running, client: u128) -> Session {
        let (connection, notices) = self.connect(running, Role::Client).await;
        let request = Request::Connect { client: ClientId(client), opens: Vec::new() };
        let answer = bare(&connection, request).await;
        let Ok(Reply::Connected { session, .. }) = answer else { panic!("{answer:?}") };
        Session { connection, notices, session, xid: 0 }
    }
}

fn opened(path: &Path, identity: Identity, listener: TcpListener) -> Opened {
    let stripe_count = StripeCount::Exact(1);
    let component =
        ComponentTemplate { end: END_OF_FILE, stripe_size: STRIPE_SIZE_DEFAULT, stripe_count, pool: None };
    let default_layout = LayoutTemplate { components: vec![component] };
    let config = Config {
        fs_name: "scratch".parse().unwrap(),
        default_layout,
        lease_ms: 10_000,
        owner: Owner { uid: 0, gid: 0 },
    };
    Opened { config, path: path.to_owned(), identity, listener }
}

/// Asks without a session, as administrators and movers do.
async fn bare(connection: &Connection<Metadata>, request: Request) -> Answer {
    let call = Call { session: SessionId(0), xid: Xid(0), acknowledged: Xid(0), request };
    connection.call(&call, Bytes::new()).await.unwrap().0
}

impl Session {
    async fn ask(&mut self, request: Request) -> Answer {
        self.xid += 1;
        let (session, xid) = (self.session, Xid(self.xid));
        let call = Call { session, xid, acknowledged: Xid(self.xid - 1), request };
        self.connection.call(&call, Bytes::new()).await.unwrap().0
    }

    async fn create(&mut self, name: &str, inode: NewInode) -> Reply {
        let owner = Owner { uid: 0, gid: 0 };
        let name = name.as_bytes().to_vec();
        let parent = Fid::ROOT;
        self.ask(Request::Create { parent, name, mode: 0o644, owner, exclusive: true, inode }).await.unwrap()
    }
}

impl Running {
    async fn end(self) {
        self.stop.cancel();
        self.served.await.unwrap().unwrap();
    }
}

async fn register(house: &House, running: &Running) {
    let address = house.object_target().await;
    let target = TargetEntry { index: OstIndex(0), address, capacity: 1 << 30, state: TargetState::Active };
    let (administrator, _) = house.connect(running, Role::Administrator).await;
    assert_eq!(bare(&administrator, Request::RegisterTarget { target }).await, Ok(Reply::Done));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_answered_is_there_after_a_restart_and_sizes_come_from_the_objects() {
    let house = House::build();
    let running = house.start().await;
    register(&house, &running).await;
    let mut client = house.session(&running, 1).await;
    let made = client.create("f", NewInode::Regular { open: Some(OpenMode::Write) }).await;
    let Reply::Opened { view, .. } = made else { panic!("{made:?}") };
    assert_eq!(view.entry.lease, LeaseKind::Write);
    let object = view.layout.components[0].stripes[0].object;
    house.sizes.sizes.lock().unwrap().insert(object, 4321);
    client.create("d", NewInode::Directory).await;
    assert_eq!(client.ask(Request::Sync).await, Ok(Reply::Done));
    running.end().await;

    let running = house.start().await;
    // The client that had it open comes back; its requests go on being numbered.
    let before = client.xid;
    let mut client = house.session(&running, 1).await;
    client.xid = before;
    let fid = view.entry.attr.fid;
    let Ok(Reply::Entry { entry, .. }) = client.ask(Request::GetAttr { fid }).await else { panic!() };
    assert_eq!(entry.attr.size, 4321);
    let change = AttrChange { size: Some(7), ..AttrChange::default() };
    client.ask(Request::SetAttr { fid, change }).await.unwrap();
    assert_eq!(house.sizes.sizes.lock().unwrap()[&object], 7);
    let listed = client.ask(Request::ReadDirectory { fid: Fid::ROOT, after: 0, limit: 10 }).await;
    assert!(matches!(listed, Ok(Reply::Entries { entries, .. }) if entries.len() == 2));
    running.end().await;
    house.stop.cancel();
}

/// More connections than threads, each with one call at a time, while one of them changes the namespace.
#[tokio::test(flavor = "multi_thread")]
async fn many_connections_at_once_all_get_their_answers() {
    const CONNECTIONS: usize = 8;
    const CALLS: usize = 200;
    let house = House::build();
    let running = house.start().await;
    register(&house, &running).await;
    let mut asking = Vec::new();
    for _ in 0..CONNECTIONS {
        let (administrator, _) = house.connect(&running, Role::Administrator).await;
        asking.push(tokio::spawn(async move {
            for _ in 0..CALLS {
                let answer = bare(&administrator, Request::Targets).await;
                assert!(matches!(answer, Ok(Reply::Targets { .. })), "{answer:?}");
            }
        }));
    }
    let mut client = house.session(&running, 1).await;
    for file in 0..CALLS {
        client.create(&file.to_string(), NewInode::Regular { open: None }).await;
    }
    for asked in asking {
        tokio::time::timeout(TIMEOUT, asked).await.unwrap().unwrap();
    }
    let listed = client.ask(Request::ReadDirectory { fid: Fid::ROOT, after: 0, limit: 1000 }).await;
    assert!(matches!(listed, Ok(Reply::Entries { entries, .. }) if entries.len() == CALLS));
    running.end().await;
    house.stop.cancel();
}

#[tokio::test(flavor = "multi_thread")]
async fn two_clients_see_each_other_through_recalls() {
    let house = House::build();
    let running = house.start().await;
    let mut one = house.session(&running, 1).await;
    let mut other = house.session(&running, 2).await;
    let Reply::Entry { entry, .. } = one.create("d", NewInode::Directory).await else { panic!() };
    let fid = entry.attr.fid;
    let change = AttrChange { mode: Some(0o700), ..AttrChange::default() };
    let changing = tokio::spawn(async move { other.ask(Request::SetAttr { fid, change }).await });
    let notice = tokio::time::timeout(TIMEOUT, one.notices.next()).await.unwrap();
    assert_eq!(notice, Some(Notice::Recall { fid, keep: LeaseKind::None }));
    one.ask(Request::Downgrade { fid, keep: LeaseKind::None, update: None, open: None }).await.unwrap();
    let Ok(Reply::Entry { entry, .. }) = changing.await.unwrap() else { panic!() };
    assert_eq!(entry.attr.mode, 0o700);
    running.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mover_takes_actions_and_certificates_bound_what_may_be_asked() {
    let house = House::build();
    let running = house.start().await;
    register(&house, &running).await;
    let (administrator, _) = house.connect(&running, Role::Administrator).await;
    let (mover, _) = house.connect(&running, Role::Mover).await;
    let (stranger, _) = house.connect(&running, Role::Target).await;
    let repository = RepositoryEndpoint {
        bucket: "b".into(),
        prefix: String::new(),
        endpoint_url: None,
        region: None,
        path_style: false,
        credentials_file: None,
    };
    let link = Link {
        id: LinkId(1),
        name: "reads".into(),
        file_system_path: "/reads".into(),
        repository,
        batch_import_meta_data_on_create: true,
        imported_file_chunk_size: 1024,
        auto_import: vec![],
        auto_export: vec![],
    };
    let put = Request::PutLink { link };
    assert_eq!(bare(&mover, put.clone()).await, Err(Fault::NotPermitted));
    assert_eq!(bare(&stranger, Request::Targets).await, Err(Fault::NotPermitted));
    // The mover asks first and is woken by what the administrator does.
    let (asking, waiting) = (mover.clone(), Request::HsmReceive { limit: 8, wait_ms: 20_000 });
    let received = tokio::spawn(async move { bare(&asking, waiting).await });
    assert_eq!(bare(&administrator, put).await, Ok(Reply::Done));
    let Ok(Reply::Actions { actions }) = received.await.unwrap() else { panic!() };
    assert!(matches!(actions[0].verb, HsmVerb::List));
    let last_modified = Timestamp { seconds: 9, nanoseconds: 0 };
    let entries = vec![ImportEntry { key: "a/b".into(), size: 3, last_modified, etag: "e".into() }];
    let imported = bare(&mover, Request::Import { link: LinkId(1), listed: None, entries }).await;
    assert!(matches!(imported, Ok(Reply::Imported { imported: 1, .. })));
    let end = HsmEnd { cookie: actions[0].cookie, outcome: HsmOutcome::Done };
    assert_eq!(bare(&mover, Request::HsmEnd { end }).await, Ok(Reply::Done));
    let Ok(Reply::Links { links }) = bare(&administrator, Request::Links).await else { panic!() };
    assert_eq!(links[0].imported, 2);
    running.end().await;
    house.stop.cancel();
}

#[tokio::test(flavor = "multi_thread")]
async fn one_folder_is_served_once() {
    let house = House::build();
    let running = house.start().await;
    house.session(&running, 1).await;
    let second = house.start().await;
    assert!(matches!(second.served.await.unwrap(), Err(MetadataTargetError::InUse { .. })));
    running.end().await;
}

/// A whole target on a disk that others fill to its last byte, and free again, while it is asked.
#[tokio::test(flavor = "multi_thread")]
async fn on_a_full_disk_names_are_removed_and_made_again_when_there_is_room() {
    const FILES: usize = 400;
    let disk = SmallDisk::new(256 << 20);
    let house = House { folder: tempfile::tempdir_in(disk.path()).unwrap(), ..House::build() };
    let running = house.start().await;
    register(&house, &running).await;
    let mut client = house.session(&running, 1).await;
    for file in 0..FILES {
        client.create(&file.to_string(), NewInode::Regular { open: None }).await;
    }
    for round in 0..2 {
        disk.fill();
        let owner = Owner { uid: 0, gid: 0 };
        let inode = NewInode::Directory;
        let (parent, name) = (Fid::ROOT, format!("d{round}").into_bytes());
        let make = Request::Create { parent, name, mode: 0o755, owner, exclusive: true, inode };
        // Until it is noticed that the disk is full, what is held back takes a few.
        let begun = std::time::Instant::now();
        let mut made = 0;
        loop {
            let mut request = make.clone();
            if let Request::Create { name, .. } = &mut request {
                name.extend_from_slice(made.to_string().as_bytes());
            }
            match client.ask(request).await {
                Ok(_) => made += 1,
                Err(fault) => break assert_eq!(fault, Fault::NoSpace),
            }
            assert!(begun.elapsed() < TIMEOUT, "nothing is refused");
        }
        for file in round * FILES / 2..(round + 1) * FILES / 2 {
            let (parent, name) = (Fid::ROOT, file.to_string().into_bytes());
            let remove = Request::Remove { parent, name, kind: RemoveKind::File };
            assert!(client.ask(remove).await.is_ok(), "{file}");
        }
        disk.empty();
        while client.ask(make.clone()).await == Err(Fault::NoSpace) {
            assert!(begun.elapsed() < TIMEOUT, "nothing is taken again");
        }
    }
    running.end().await;
    // What was answered is there.
    let running = house.start().await;
    let mut client = house.session(&running, 2).await;
    let listed = client.ask(Request::ReadDirectory { fid: Fid::ROOT, after: 0, limit: 1000 }).await;
    let Ok(Reply::Entries { entries, .. }) = listed else { panic!("{listed:?}") };
    assert!(entries.iter().all(|entry| entry.name.starts_with(b"d")), "every file was removed");
    running.end().await;
    house.stop.cancel();
}
