//! What leaves for the bucket, in which order, and what becomes of it when something fails.

use lustre_metadata::{ConnectionId, Input, Rights};
use lustre_model::attr::{AttrChange, FileKind, SetTime, Timestamp};
use lustre_model::fault::Fault;
use lustre_model::fid::Fid;
use lustre_model::hsm::{HsmFailure, HsmVerb, LinkEvent, LinkId};
use lustre_model::metadata::{
    Call, Close, NewInode, OpenMode, RemoveKind, RenameMode, Reply, Request, SessionId, Xid,
};
use proptest::prelude::*;

use super::former::{add, remove};
use super::{ALL, World, actions, link};
use crate::cluster::{LEASE_MS, close};

#[test]
fn changes_follow_each_other_into_the_bucket_in_order() {
    let mut world = World::new(&ALL);
    let fid = world.write(world.root, "f", 10);
    assert_eq!(world.drain(), ["archive in/f"]);
    assert_eq!(world.hsm(fid), "(0x00000009) exists archived, archive_id:1");
    world.write(world.root, "f", 11);
    assert_eq!(world.hsm(fid), "(0x0000000b) exists dirty archived, archive_id:1");
    world.write(world.root, "f", 12);
    assert_eq!(world.drain(), ["archive in/f"], "two changes, one export of the newest");
    let change = AttrChange { mode: Some(0o600), ..AttrChange::default() };
    world.cluster.ask(0, Request::SetAttr { fid, change }).unwrap();
    assert_eq!(world.drain(), ["metadata in/f"]);
    let dir = world.cluster.mkdir(0, world.root, "d");
    world.cluster.create(0, dir, "s", NewInode::Symlink { target: b"t".into() }).unwrap();
    let mut verbs = world.drain();
    verbs.sort();
    assert_eq!(verbs, ["archive in/d/", "archive in/d/s"]);
    world.rename((world.root, "f"), (dir, "g"));
    assert_eq!(world.drain(), ["rename in/f in/d/g"]);
    world.rename((world.root, "d"), (world.root, "e"));
    let mut verbs = world.drain();
    verbs.sort();
    assert_eq!(verbs, ["rename in/d/ in/e/", "rename in/d/g in/e/g", "rename in/d/s in/e/s"]);
    world.cluster.remove(0, dir, "g").unwrap();
    assert_eq!(world.drain(), ["remove in/e/g"]);
    assert_eq!(world.bucket.keys().collect::<Vec<_>>(), ["in/e/", "in/e/s"]);
}

#[test]
fn times_that_are_set_reach_the_bucket_without_the_bytes_and_reading_does_not() {
    let mut world = World::new(&ALL);
    world.import(&[("f", 10), ("d/g", 10)]).unwrap();
    world.drain();
    let f = world.cluster.lookup(0, world.root, "f").unwrap().fid;
    let d = world.cluster.lookup(0, world.root, "d").unwrap().fid;
    world.cluster.create(0, world.root, "s", NewInode::Symlink { target: b"t".into() }).unwrap();
    let s = world.cluster.lookup(0, world.root, "s").unwrap().fid;
    assert_eq!(world.drain(), ["archive in/s"]);
    let (view, open) = world.cluster.open_file(0, f, OpenMode::Read);
    assert_eq!(view.entry.attr.size, 10);
    world.cluster.ask(0, close(f, open, None)).unwrap();
    assert_eq!(world.drain(), Vec::<String>::new(), "what was only read is not exported");
    let time = SetTime::At(Timestamp { seconds: 7, nanoseconds: 0 });
    let change = AttrChange { mtime: Some(time), ..AttrChange::default() };
    for (fid, verb) in [(f, "metadata in/f"), (s, "metadata in/s"), (d, "archive in/d/")] {
        world.cluster.ask(0, Request::SetAttr { fid, change }).unwrap();
        assert_eq!(world.drain(), [verb]);
        world.cluster.ask(0, Request::SetAttr { fid, change }).unwrap();
        assert_eq!(world.drain(), Vec::<String>::new(), "the same time again is no change");
    }
    assert_eq!(world.hsm(f), "(0x0000000d) released exists archived, archive_id:1");
    let change = AttrChange { mode: Some(0o700), ..AttrChange::default() };
    world.cluster.ask(0, Request::SetAttr { fid: d, change }).unwrap();
    assert_eq!(world.drain(), ["metadata in/d/"]);
}

#[test]
fn what_is_removed_before_its_export_costs_nothing() {
    let mut world = World::new(&ALL);
    world.write(world.root, "f", 10);
    world.cluster.remove(0, world.root, "f").unwrap();
    assert_eq!(world.drain(), Vec::<String>::new());
}

#[test]
fn a_file_that_changes_while_it_is_exported_is_exported_again() {
    let mut world = World::new(&ALL);
    world.write(world.root, "f", 10);
    let action = world.receive(1).remove(0);
    world.write(world.root, "f", 11);
    assert!(world.receive(1).is_empty(), "one action at a time for a key");
    world.perform(&action);
    assert_eq!(world.drain(), ["archive in/f"]);
}

#[test]
fn a_file_is_exported_when_its_last_writer_closed_it() {
    let mut world = World::new(&ALL);
    let (view, open) = world.cluster.create_open(0, world.root, "f");
    world.cluster.write_objects(&view, 5);
    world.cluster.input(Input::Tick);
    assert!(world.receive(1).is_empty());
    world.cluster.write_and_close(0, &view, open, 5);
    assert_eq!(world.drain(), ["archive in/f"]);
}

#[test]
fn an_export_that_fails_is_tried_again_and_shown_until_it_worked() {
    let mut world = World::new(&ALL);
    world.write(world.root, "f", 10);
    for attempt in 1..4 {
        for action in world.receive(4) {
            if action.verb == HsmVerb::Check {
                world.perform(&action);
            } else {
                world.fail(action.cookie, HsmFailure::Unreachable, true);
            }
        }
        let status = world.status();
        assert_eq!(status.pending_exports, 1);
        let failed = &status.failed_exports[0];
        assert_eq!(
            (failed.path.as_str(), failed.cause.as_str(), failed.attempts),
            ("/reads/f", "S3 said no", attempt)
        );
        assert!(world.receive(1).is_empty(), "not at once");
        world.cluster.now.wall.seconds += 60;
        world.cluster.now.uptime_ms += 3_000;
        world.cluster.clients.iter_mut().for_each(|client| client.obliging = true);
        for client in 0..2 {
            world.cluster.ask(client, Request::Renew).unwrap();
        }
        world.cluster.input(Input::Tick);
    }
    assert!(world.status().oldest_export_s >= 180);
    world.drain();
    let status = world.status();
    assert!(status.failed_exports.is_empty() && status.pending_exports == 0);
}

#[test]
fn exports_survive_a_crash_of_the_target() {
    let mut world = World::new(&ALL);
    world.write(world.root, "f", 10);
    world.receive(1);
    world.cluster.restart(0);
    assert_eq!(world.drain(), ["archive in/f"]);
}

#[test]
fn an_export_does_not_wait_for_a_lease_that_its_holder_knows_nothing_of() {
    let mut world = World::new(&ALL);
    let (view, open) = world.cluster.create_open(0, world.root, "f");
    // The grant came late: the client closes without giving back what it does not believe to hold.
    let closed = Close { fid: view.entry.attr.fid, open: Some(open), update: None, lower: false };
    world.cluster.ask(0, Request::Close { closes: vec![closed] }).unwrap();
    assert_eq!(world.drain(), ["archive in/f"]);
}

#[test]
fn a_file_of_which_object_targets_do_not_answer_is_exported_when_they_do() {
    let mut world = World::new(&ALL);
    let (view, open) = world.cluster.create_open(0, world.root, "f");
    world.cluster.write_objects(&view, 5);
    world.cluster.restart(0);
    world.cluster.prompt = false;
    world.cluster.ask(0, close(view.entry.attr.fid, open, None)).unwrap();
    world.cluster.end_work(Some(Fault::Unreachable));
    assert!(world.receive(1).is_empty());
    world.cluster.prompt = true;
    assert_eq!(world.drain(), ["archive in/f"]);
}

#[test]
fn what_a_killed_client_had_open_is_exported_when_its_session_ended() {
    for restarted in [false, true] {
        let mut world = World::new(&ALL);
        let (written, _) = world.cluster.create_open(0, world.root, "f");
        world.cluster.write_objects(&written, 5);
        world.cluster.create_open(0, world.root, "empty");
        if restarted {
            world.cluster.restart_alone(0);
            world.cluster.reconnect(1);
        } else {
            let connection = world.cluster.clients[0].connection;
            world.cluster.drop_connection(connection);
        }
        for _ in 0..4 {
            assert!(world.receive(1).is_empty());
            world.cluster.pass(u64::from(LEASE_MS) / 4);
            world.cluster.ask(1, Request::Renew).unwrap();
        }
        world.cluster.pass(u64::from(LEASE_MS) / 4);
        let mut verbs = world.drain();
        verbs.sort();
        assert_eq!(verbs, ["archive in/empty", "archive in/f"]);
    }
}

#[test]
fn a_replaced_object_is_not_removed_with_the_file_that_held_it() {
    let mut world = World::new(&ALL);
    world.write(world.root, "f", 10);
    world.drain();
    world.write(world.root, "tmp", 20);
    world.rename((world.root, "tmp"), (world.root, "f"));
    world.drain();
    assert_eq!(world.bucket.keys().collect::<Vec<_>>(), ["in/f"]);
}

#[test]
fn bytes_are_brought_in_before_their_object_goes() {
    let mut world = World::new(&ALL);
    world.import(&[("f", 100)]).unwrap();
    world.drain();
    world.rename((world.root, "f"), (Fid::ROOT, "outside"));
    assert_eq!(world.drain(), ["restore in/f", "remove in/f"]);
    let attr = world.cluster.lookup(0, Fid::ROOT, "outside").unwrap();
    assert_eq!(attr.size, 100);
    let (view, _) = world.cluster.open_file(0, attr.fid, OpenMode::Read);
    assert_eq!(view.present, None);
}

#[test]
fn a_policy_leaves_out_what_it_does_not_name() {
    let mut world = World::new(&[LinkEvent::New]);
    world.write(world.root, "f", 10);
    assert_eq!(world.drain(), ["archive in/f"]);
    world.write(world.root, "f", 11);
    assert_eq!(world.drain(), Vec::<String>::new());
    world.cluster.remove(0, world.root, "f").unwrap();
    assert_eq!(world.drain(), Vec::<String>::new());
}

#[test]
fn devices_are_not_exported_and_names_that_are_not_text_are_reported() {
    let mut world = World::new(&ALL);
    world.cluster.create(0, world.root, "p", NewInode::Node { kind: FileKind::Fifo, device: 0 }).unwrap();
    let owner = lustre_model::attr::Owner { uid: 0, gid: 0 };
    let (name, inode) = (vec![b'x', 0xff], NewInode::Regular { open: None });
    let request = Request::Create { parent: world.root, name, mode: 0, owner, exclusive: true, inode };
    world.cluster.ask(0, request).unwrap();
    assert_eq!(world.drain(), Vec::<String>::new());
    let status = world.status();
    assert_eq!(status.failed_exports.len(), 1);
    assert!(status.failed_exports[0].cause.contains("UTF-8"));
    world.cluster.restart(0);
    assert_eq!(world.drain(), Vec::<String>::new());
    let failed = &world.status().failed_exports;
    assert_eq!(failed.len(), 1, "a report outlives a start");
    assert_eq!(failed[0].path, "/reads/x\\xff");
    let dir = world.cluster.mkdir(0, world.root, "d");
    let from = (world.root, vec![b'x', 0xff]);
    let request = Request::Rename { from, to: (dir, vec![b'y', 0xff]), mode: RenameMode::Replace };
    world.cluster.ask(0, request).unwrap();
    world.drain();
    let paths = |world: &mut World| -> Vec<String> {
        world.status().failed_exports.into_iter().map(|failed| failed.path).collect()
    };
    assert_eq!(paths(&mut world), ["/reads/d/y\\xff"]);
    world.rename((world.root, "d"), (world.root, "e"));
    world.drain();
    assert_eq!(paths(&mut world), ["/reads/e/y\\xff"]);
    let (name, kind) = (vec![b'y', 0xff], RemoveKind::File);
    world.cluster.ask(0, Request::Remove { parent: dir, name, kind }).unwrap();
    world.drain();
    assert_eq!(paths(&mut world), Vec::<String>::new(), "it goes with the name");
}

#[test]
fn a_mover_waits_for_work_as_long_as_it_likes() {
    let mut world = World::new(&ALL);
    let token = world.poll(4, 5_000);
    assert!(world.cluster.answer(token).is_none());
    world.write(world.root, "f", 1);
    assert_eq!(actions(world.cluster.answer(token).expect("woken")).len(), 1);
    let token = world.poll(4, 5_000);
    world.cluster.pass(6_000);
    assert_eq!(actions(world.cluster.answer(token).expect("timed out")).len(), 0);
}

#[test]
fn a_removed_link_leaves_files_or_takes_them() {
    for delete_data in [false, true] {
        let mut world = World::new(&ALL);
        let dir = world.cluster.mkdir(0, world.root, "d");
        world.write(dir, "f", 10);
        world.import(&[("x/y/z", 5)]).unwrap();
        world.drain();
        let request = Request::RemoveLink { link: LinkId(1), delete_data };
        let call = Call { session: SessionId(0), xid: Xid(0), acknowledged: Xid(0), request };
        let token = world.cluster.send(ConnectionId(u64::MAX), Rights::Administrator, call);
        world.cluster.pass(2_000);
        assert_eq!(world.cluster.answer(token), Some(Ok(Reply::Done)));
        assert_eq!(world.cluster.list(0, world.root, 10).len(), if delete_data { 0 } else { 2 });
        assert_eq!(world.cluster.ask_as(Rights::Mover, Request::Links), Ok(Reply::Links { links: vec![] }));
        assert!(world.bucket.contains_key("in/d/f"), "the bucket keeps its objects");
    }
}

#[test]
fn links_may_not_lie_within_each_other() {
    let mut world = World::new(&ALL);
    let other = |path: &str, prefix: &str| {
        let mut link = link(&ALL);
        link.id = LinkId(2);
        link.file_system_path = path.into();
        link.repository.prefix = prefix.into();
        Request::PutLink { link }
    };
    for (path, prefix) in
        [("/reads/below", "x/"), ("/", "x/"), ("/reads", "x/"), ("/y", "in/below/"), ("/y", "")]
    {
        assert_eq!(world.cluster.admin(other(path, prefix)), Err(Fault::Exists), "{path} {prefix}");
    }
    assert_eq!(world.cluster.admin(other("/y", "no-slash")), Err(Fault::Invalid));
    world.cluster.admin(other("/readsmore", "x/")).unwrap();
    let (name, kind) = (b"reads".to_vec(), RemoveKind::Directory);
    assert_eq!(world.cluster.ask(0, Request::Remove { parent: Fid::ROOT, name, kind }), Err(Fault::Busy));
}

#[derive(Debug, Clone)]
enum Op {
    Write(u8, u8),
    Remove(u8, u8),
    Rename((u8, u8), (u8, u8)),
    MoveDirectory,
    Chmod(u8, u8),
    Work(u32),
    Crash,
    Relink,
}

fn op() -> impl Strategy<Value = Op> {
    let place = || (0_u8..3, 0_u8..3);
    prop_oneof![
        4 => place().prop_map(|(dir, name)| Op::Write(dir, name)),
        2 => place().prop_map(|(dir, name)| Op::Remove(dir, name)),
        4 => (place(), place()).prop_map(|(from, to)| Op::Rename(from, to)),
        1 => Just(Op::MoveDirectory),
        1 => place().prop_map(|(dir, name)| Op::Chmod(dir, name)),
        3 => (1_u32..4).prop_map(Op::Work),
        1 => Just(Op::Crash),
        1 => Just(Op::Relink),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]
    #[test]
    fn the_bucket_ends_as_the_namespace_whatever_happens_in_between(ops in proptest::collection::vec(op(), 1..40)) {
        let mut world = World::new(&ALL);
        world.import(&[("n0", 10), ("n1", 20)]).unwrap();
        let sub = world.cluster.mkdir(0, world.root, "sub0");
        let outside = world.cluster.mkdir(0, Fid::ROOT, "outside");
        let dirs = [world.root, sub, outside];
        let (mut generation, mut link_id) = (0, 1);
        for op in ops {
            let name = |name: u8| format!("n{name}");
            match op {
                Op::Write(dir, file) => {
                    world.write(dirs[dir as usize], &name(file), u64::from(file) + 1);
                }
                Op::Remove(dir, file) => {
                    let _ = world.cluster.remove(0, dirs[dir as usize], &name(file));
                }
                Op::Rename(from, to) => {
                    let request = Request::Rename {
                        from: (dirs[from.0 as usize], name(from.1).into()),
                        to: (dirs[to.0 as usize], name(to.1).into()),
                        mode: RenameMode::Replace,
                    };
                    let token = world.cluster.start(0, request);
                    while world.cluster.answer(token).is_none() {
                        for action in world.receive(8) {
                            world.perform(&action);
                        }
                    }
                }
                Op::MoveDirectory => {
                    let next = generation + 1;
                    let (old, new) = (format!("sub{generation}"), format!("sub{next}"));
                    world.rename((world.root, &old), (world.root, &new));
                    generation = next;
                }
                Op::Chmod(dir, file) => {
                    let parent = dirs[dir as usize];
                    let token = world.cluster.start(0, Request::Lookup { parent, name: name(file).into() });
                    let answer = loop {
                        if let Some(answer) = world.cluster.answer(token) {
                            break answer;
                        }
                        for action in world.receive(8) {
                            world.perform(&action);
                        }
                    };
                    if let Ok(Reply::Entry { entry, .. }) = answer {
                        let change = AttrChange { mode: Some(0o600), ..AttrChange::default() };
                        world.cluster.ask(0, Request::SetAttr { fid: entry.attr.fid, change }).unwrap();
                    }
                }
                Op::Work(limit) => {
                    for action in world.receive(limit) {
                        world.perform(&action);
                    }
                }
                Op::Crash => world.cluster.restart(0),
                Op::Relink => {
                    world.drain();
                    remove(&mut world, link_id);
                    link_id += 1;
                    add(&mut world, link_id, "in/", &ALL);
                }
            }
        }
        world.drain();
        world.drain();
        let mut expected: Vec<String> = vec![format!("in/sub{generation}/")];
        for (name, _) in world.cluster.list(0, world.root, 100) {
            if name.starts_with('n') {
                expected.push(format!("in/{name}"));
            }
        }
        for (name, _) in world.cluster.list(0, sub, 100) {
            expected.push(format!("in/sub{generation}/{name}"));
        }
        expected.sort();
        prop_assert_eq!(world.bucket.keys().cloned().collect::<Vec<_>>(), expected);
    }
}
