//! Sessions: requests that are sent again run once, silent clients are fenced before others go on.
//!
//! Invariant: an answer that was sent is the answer that a resent request gets, also after a crash.

use lustre_metadata::{ConnectionId, Input, Rights, Work};
use lustre_model::attr::{AttrChange, Owner};
use lustre_model::fault::Fault;
use lustre_model::fid::Fid;
use lustre_model::layout::OstIndex;
use lustre_model::metadata::{
    Call, NewInode, Notice, OpenMode, RemoveKind, Reply, Request, SessionId, TargetEntry, TargetState, Xid,
};

use crate::cluster::{Cluster, LEASE_MS, entry, opened, striped};

fn call(cluster: &Cluster, xid: u64, request: Request) -> Call {
    Call { session: cluster.clients[0].session, xid: Xid(xid), acknowledged: Xid(0), request }
}

fn creation(name: &str) -> Request {
    let owner = Owner { uid: 0, gid: 0 };
    let inode = NewInode::Regular { open: Some(OpenMode::Write) };
    Request::Create { parent: Fid::ROOT, name: name.into(), mode: 0o600, owner, exclusive: true, inode }
}

#[test]
fn a_resent_request_runs_once_and_gets_the_same_answer() {
    let mut cluster = Cluster::new(1, 1);
    let first = call(&cluster, 70, creation("f"));
    let removal =
        call(&cluster, 71, Request::Remove { parent: Fid::ROOT, name: b"f".into(), kind: RemoveKind::File });
    let connection = cluster.clients[0].connection;
    let token = cluster.send(connection, Rights::Client, first.clone());
    let (view, open) = opened(cluster.answer(token).expect("created"));
    let token = cluster.send(connection, Rights::Client, removal.clone());
    assert!(matches!(cluster.answer(token), Some(Ok(Reply::Removed { .. }))));
    for keep in [0, usize::MAX] {
        cluster.restart(keep);
        let connection = cluster.clients[0].connection;
        let token = cluster.send(connection, Rights::Client, first.clone());
        let again = opened(cluster.answer(token).expect("answered again"));
        assert_eq!((again.0.entry.attr.fid, again.1), (view.entry.attr.fid, open));
        let token = cluster.send(connection, Rights::Client, removal.clone());
        assert!(matches!(cluster.answer(token), Some(Ok(Reply::Removed { .. }))));
        assert_eq!(cluster.lookup(0, Fid::ROOT, "f"), Err(Fault::NotFound));
    }
}

#[test]
fn a_fault_is_an_answer_too() {
    let mut cluster = Cluster::new(1, 1);
    cluster.mkdir(0, Fid::ROOT, "f");
    let again = call(&cluster, 70, creation("f"));
    let connection = cluster.clients[0].connection;
    let token = cluster.send(connection, Rights::Client, again.clone());
    assert_eq!(cluster.answer(token), Some(Err(Fault::Exists)));
    let (name, kind) = (b"f".to_vec(), RemoveKind::Directory);
    cluster.ask(0, Request::Remove { parent: Fid::ROOT, name, kind }).unwrap();
    let token = cluster.send(connection, Rights::Client, again);
    assert_eq!(cluster.answer(token), Some(Err(Fault::Exists)));
}

#[test]
fn acknowledged_replies_are_forgotten() {
    let mut cluster = Cluster::new(1, 1);
    let first = call(&cluster, 70, creation("f"));
    let connection = cluster.clients[0].connection;
    cluster.send(connection, Rights::Client, first.clone());
    let mut later = call(&cluster, 71, Request::Renew);
    later.acknowledged = Xid(70);
    cluster.send(connection, Rights::Client, later);
    let token = cluster.send(connection, Rights::Client, first);
    assert_eq!(cluster.answer(token), Some(Err(Fault::Exists)), "it ran anew, as nobody should ask");
}

#[test]
fn a_request_that_waits_is_answered_where_it_was_sent_last() {
    let mut cluster = Cluster::new(1, 2);
    let fid = cluster.mkdir(1, Fid::ROOT, "d");
    cluster.attr(1, fid);
    cluster.clients[1].obliging = false;
    let change = AttrChange { mode: Some(0o700), ..AttrChange::default() };
    let waiting = call(&cluster, 70, Request::SetAttr { fid, change });
    let connection = cluster.clients[0].connection;
    let first = cluster.send(connection, Rights::Client, waiting.clone());
    cluster.drop_connection(connection);
    cluster.reconnect(0);
    let connection = cluster.clients[0].connection;
    let second = cluster.send(connection, Rights::Client, waiting);
    cluster.yield_lease(1, fid, lustre_model::metadata::LeaseKind::None);
    assert_eq!(cluster.answer(first), Some(Err(Fault::Unreachable)), "nobody listens there");
    assert_eq!(entry(cluster.answer(second).expect("answered")).attr.mode, 0o700);
}

#[test]
fn a_silent_client_is_fenced_before_its_leases_are_given_away() {
    let mut cluster = Cluster::new(2, 2);
    let (view, _) = cluster.create_open(0, Fid::ROOT, "f");
    let fid = view.entry.attr.fid;
    cluster.clients[0].obliging = false;
    cluster.prompt = false;
    let token = cluster.start(1, Request::Open { fid, mode: OpenMode::Write });
    for _ in 0..3 {
        cluster.pass(u64::from(LEASE_MS) / 2);
        cluster.ask(1, Request::Renew).unwrap();
    }
    assert!(cluster.clients[0].notices.contains(&Notice::Evicted));
    assert_eq!(cluster.ask(0, Request::Renew), Err(Fault::Evicted));
    assert!(cluster.answer(token).is_none(), "object targets may still take its writes");
    let work = cluster.end_work(Some(Fault::Unreachable));
    let Work::Fence { client, epoch, targets } = work else { panic!("{work:?}") };
    assert_eq!(client, cluster.clients[0].id);
    assert!(epoch > cluster.clients[0].epoch);
    assert_eq!(targets, [OstIndex(0), OstIndex(1)]);
    assert!(cluster.answer(token).is_none());
    cluster.prompt = true;
    cluster.pass(2000);
    assert!(cluster.answer(token).is_some());
    cluster.reconnect(0);
    assert!(cluster.clients[0].epoch >= epoch, "its new session may write again");
}

#[test]
fn an_eviction_goes_on_after_a_restart() {
    let mut cluster = Cluster::new(1, 1);
    cluster.prompt = false;
    cluster.pass(u64::from(LEASE_MS) + 2000);
    assert_eq!(cluster.work.len(), 1);
    cluster.clients[0].connection = ConnectionId(0);
    let client = cluster.clients.pop().expect("one client");
    cluster.prompt = true;
    cluster.restart(usize::MAX);
    assert_eq!(cluster.fences, [(client.id, client.epoch + 1)]);
}

#[test]
fn sessions_and_rights_are_checked() {
    let mut cluster = Cluster::new(1, 2);
    let session = cluster.clients[1].session;
    let connection = cluster.clients[0].connection;
    let foreign = Call { session, xid: Xid(900), acknowledged: Xid(0), request: Request::Renew };
    let token = cluster.send(connection, Rights::Client, foreign);
    assert_eq!(cluster.answer(token), Some(Err(Fault::Evicted)), "a session belongs to its connection");
    let bare = Call {
        session: SessionId(0),
        xid: Xid(1),
        acknowledged: Xid(0),
        request: Request::GetAttr { fid: Fid::ROOT },
    };
    let token = cluster.send(connection, Rights::Client, bare);
    assert_eq!(cluster.answer(token), Some(Err(Fault::NotPermitted)));
    let target =
        TargetEntry { index: OstIndex(9), address: "x:1".into(), capacity: 1, state: TargetState::Active };
    let admin = [
        Request::RegisterTarget { target },
        Request::SetDefaultLayout { template: striped(1) },
        Request::RemoveLink { link: lustre_model::hsm::LinkId(1), delete_data: true },
    ];
    for request in admin {
        for rights in [Rights::Client, Rights::Mover] {
            assert_eq!(cluster.ask_as(rights, request.clone()), Err(Fault::NotPermitted));
        }
    }
    assert_eq!(cluster.ask_as(Rights::Client, Request::Links), Err(Fault::NotPermitted));
    assert!(cluster.ask_as(Rights::Mover, Request::Links).is_ok());
}

#[test]
fn sync_waits_for_the_disk() {
    let mut cluster = Cluster::new(1, 1);
    cluster.mkdir(0, Fid::ROOT, "d");
    assert_eq!(cluster.ask(0, Request::Sync), Ok(Reply::Done));
    cluster.input(Input::Tick);
    assert_eq!(cluster.ask(0, Request::Sync), Ok(Reply::Done));
}
