//! Links: listings become names, changes become actions, bytes come when they are needed.
//!
//! Invariant: a mover that answers truthfully ends with the repository holding what the namespace has.

use std::collections::BTreeMap;

use lustre_metadata::{ConnectionId, Input, RequestToken, Rights};
use lustre_model::attr::{AttrChange, FileKind, Timestamp};
use lustre_model::fault::Fault;
use lustre_model::fid::Fid;
use lustre_model::hsm::{
    HsmAction, HsmEnd, HsmFailure, HsmOutcome, HsmVerb, ImportEntry, Link, LinkEvent, LinkId, LinkState,
    LinkStatus, PosixMetadata, RefusalReason, RepositoryEndpoint,
};
use lustre_model::metadata::{
    Answer, ByteRange, Call, NewInode, OpenMode, RemoveKind, RenameMode, Reply, Request, SessionId, Xid,
};
use proptest::prelude::*;

use crate::cluster::{Cluster, entry, opened};

const MOVER: ConnectionId = ConnectionId(1 << 50);

fn link(events: &[LinkEvent]) -> Link {
    Link {
        id: LinkId(1),
        name: "data_repository_association.reads".into(),
        file_system_path: "/reads".into(),
        repository: RepositoryEndpoint {
            bucket: "b".into(),
            prefix: "in/".into(),
            endpoint_url: None,
            region: None,
            path_style: false,
            credentials_file: None,
        },
        batch_import_meta_data_on_create: true,
        imported_file_chunk_size: 1,
        auto_import: vec![],
        auto_export: events.to_vec(),
    }
}

const ALL: [LinkEvent; 3] = [LinkEvent::New, LinkEvent::Changed, LinkEvent::Deleted];

struct World {
    cluster: Cluster,
    root: Fid,
    /// The bucket: etags by key.
    bucket: BTreeMap<String, String>,
    puts: u64,
}

impl World {
    fn new(events: &[LinkEvent]) -> Self {
        let mut cluster = Cluster::new(3, 2);
        cluster.admin(Request::PutLink { link: link(events) }).unwrap();
        let root = cluster.lookup(0, Fid::ROOT, "reads").unwrap().fid;
        let mut world = Self { cluster, root, bucket: BTreeMap::new(), puts: 0 };
        let listing = world.receive(1);
        assert!(matches!(&listing[..], [HsmAction { verb: HsmVerb::List, .. }]), "{listing:?}");
        world.end(listing[0].cookie, HsmOutcome::Done);
        world
    }

    fn poll(&mut self, limit: u32, wait_ms: u32) -> RequestToken {
        let request = Request::HsmReceive { limit, wait_ms };
        let call = Call { session: SessionId(0), xid: Xid(0), acknowledged: Xid(0), request };
        self.cluster.send(MOVER, Rights::Mover, call)
    }

    fn receive(&mut self, limit: u32) -> Vec<HsmAction> {
        let token = self.poll(limit, 0);
        actions(self.cluster.answer(token).expect("an answer at once"))
    }

    fn end(&mut self, cookie: u64, outcome: HsmOutcome) {
        self.cluster.ask_as(Rights::Mover, Request::HsmEnd { end: HsmEnd { cookie, outcome } }).unwrap();
    }

    fn fail(&mut self, cookie: u64, code: HsmFailure, retry: bool) {
        self.end(cookie, HsmOutcome::Failed { cause: "S3 said no".into(), code, retry });
    }

    fn import(&mut self, entries: &[(&str, u64)]) -> Answer {
        let entries = entries.iter().map(|(key, size)| ImportEntry {
            key: (*key).into(),
            size: *size,
            last_modified: Timestamp { seconds: 1000, nanoseconds: 0 },
            etag: format!("etag-{key}"),
        });
        let entries: Vec<ImportEntry> = entries.collect();
        for entry in &entries {
            self.bucket.insert(format!("in/{}", entry.key), entry.etag.clone());
        }
        self.cluster.ask_as(Rights::Mover, Request::Import { link: LinkId(1), entries })
    }

    fn status(&mut self) -> LinkStatus {
        let Ok(Reply::Links { mut links }) = self.cluster.ask_as(Rights::Mover, Request::Links) else {
            panic!()
        };
        links.remove(0)
    }

    /// Does one action as a truthful mover.
    fn perform(&mut self, action: &HsmAction) {
        let outcome = match &action.verb {
            HsmVerb::List => HsmOutcome::Done,
            HsmVerb::Identify { .. } => HsmOutcome::Identified {
                metadata: PosixMetadata { uid: Some(7), ..PosixMetadata::default() },
                symlink: None,
            },
            HsmVerb::Restore { key, etag, .. } => {
                assert_eq!(self.bucket.get(key), Some(etag), "bytes of a version that is not there");
                HsmOutcome::Done
            }
            HsmVerb::Archive { key, expect, .. } => {
                assert_eq!(self.bucket.get(key), expect.as_ref(), "{key} is not what it was expected to be");
                self.puts += 1;
                let etag = format!("put-{}", self.puts);
                self.bucket.insert(key.clone(), etag.clone());
                HsmOutcome::Stored { etag }
            }
            HsmVerb::SetMetadata { key, expect, .. } => {
                assert_eq!(self.bucket.get(key), expect.as_ref());
                HsmOutcome::Stored { etag: self.bucket[key].clone() }
            }
            HsmVerb::Remove { key, expect } => {
                assert_eq!(self.bucket.remove(key), *expect);
                HsmOutcome::Done
            }
            HsmVerb::Rename { from, to, expect } => {
                let etag = self.bucket.remove(from);
                assert_eq!(&etag, expect);
                assert!(
                    self.bucket.insert(to.clone(), etag.clone().unwrap()).is_none(),
                    "{to} was overwritten"
                );
                HsmOutcome::Stored { etag: etag.unwrap() }
            }
        };
        self.end(action.cookie, outcome);
    }

    /// Performs everything there is to do; returns the verbs in order.
    fn drain(&mut self) -> Vec<String> {
        let mut verbs = Vec::new();
        for _ in 0..200 {
            let actions = self.receive(4);
            for action in &actions {
                verbs.push(shown(&action.verb));
                self.perform(action);
            }
            if actions.is_empty() {
                self.cluster.input(Input::Tick);
                if self.status().pending_exports == 0 {
                    return verbs;
                }
                self.cluster.now.uptime_ms += 100;
            }
        }
        panic!("exports never end: {:?}", self.status());
    }

    fn write(&mut self, parent: Fid, name: &str, size: u64) -> Fid {
        let inode = NewInode::Regular { open: Some(OpenMode::Truncate) };
        let owner = lustre_model::attr::Owner { uid: 1, gid: 1 };
        let name = name.as_bytes().to_vec();
        let request = Request::Create { parent, name, mode: 0o644, owner, exclusive: false, inode };
        let token = self.cluster.start(0, request);
        let answer = loop {
            match self.cluster.answer(token) {
                Some(answer) => break answer,
                None => {
                    for action in self.receive(8) {
                        self.perform(&action);
                    }
                }
            }
        };
        let (view, open) = opened(answer);
        self.cluster.write_and_close(0, &view, open, size);
        view.entry.attr.fid
    }

    fn hsm(&mut self, fid: Fid) -> String {
        let name = b"lustre.hsm".to_vec();
        let Ok(Reply::Bytes { bytes }) = self.cluster.ask(0, Request::GetXattr { fid, name }) else {
            panic!()
        };
        String::from_utf8(bytes).unwrap()
    }

    fn rename(&mut self, from: (Fid, &str), to: (Fid, &str)) {
        let request = Request::Rename {
            from: (from.0, from.1.into()),
            to: (to.0, to.1.into()),
            mode: RenameMode::Replace,
        };
        self.cluster.ask(0, request).unwrap();
    }
}

fn actions(answer: Answer) -> Vec<HsmAction> {
    match answer {
        Ok(Reply::Actions { actions }) => actions,
        other => panic!("not actions: {other:?}"),
    }
}

fn shown(verb: &HsmVerb) -> String {
    match verb {
        HsmVerb::List => "list".into(),
        HsmVerb::Identify { key } => format!("identify {key}"),
        HsmVerb::Restore { key, .. } => format!("restore {key}"),
        HsmVerb::Archive { key, .. } => format!("archive {key}"),
        HsmVerb::SetMetadata { key, .. } => format!("metadata {key}"),
        HsmVerb::Remove { key, .. } => format!("remove {key}"),
        HsmVerb::Rename { from, to, .. } => format!("rename {from} {to}"),
    }
}

#[test]
fn keys_that_are_no_paths_are_refused_one_by_one_and_the_rest_goes_in() {
    let long = "x".repeat(256);
    let deep = format!("ok/{long}/f");
    let table = [
        ("good", 1, None),
        ("a//b", 1, Some(RefusalReason::NotPosixCompliant)),
        ("/lead", 1, Some(RefusalReason::NotPosixCompliant)),
        ("./x", 1, Some(RefusalReason::NotPosixCompliant)),
        ("a/../../etc/passwd", 1, Some(RefusalReason::NotPosixCompliant)),
        ("..", 1, Some(RefusalReason::NotPosixCompliant)),
        ("", 1, Some(RefusalReason::NotPosixCompliant)),
        ("nul\0", 1, Some(RefusalReason::NotPosixCompliant)),
        (long.as_str(), 1, Some(RefusalReason::ComponentTooLong)),
        (deep.as_str(), 1, Some(RefusalReason::ComponentTooLong)),
        ("full/", 5, Some(RefusalReason::DirectoryWithContent)),
        ("dir/", 0, None),
        ("dir/sub/deep", 3, None),
        ("dir/sub", 3, Some(RefusalReason::FileAndPrefix)),
    ];
    let mut world = World::new(&[]);
    let entries: Vec<(&str, u64)> = table.iter().map(|(key, size, _)| (*key, *size)).collect();
    let Ok(Reply::Imported { imported, refused }) = world.import(&entries) else { panic!() };
    let found: BTreeMap<String, RefusalReason> = refused.into_iter().map(|r| (r.key, r.reason)).collect();
    for (key, _, reason) in &table {
        assert_eq!(found.get(&format!("in/{key}")), reason.as_ref(), "{key:?}");
    }
    assert_eq!(imported, 3);
    assert_eq!(world.status().refused_total, found.len() as u64);
    let again = world.import(&entries);
    assert!(matches!(again, Ok(Reply::Imported { imported: 3, .. })));
    let status = world.status();
    assert_eq!(
        (status.imported, status.refused_total),
        (4, found.len() as u64),
        "an import repeated changes nothing"
    );
    assert_eq!(status.state, LinkState::Available);
}

#[test]
fn a_file_that_is_also_a_prefix_gives_way_in_either_order() {
    for order in [["a", "a/b"], ["a/b", "a"]] {
        let mut world = World::new(&[]);
        for key in order {
            world.import(&[(key, 1)]).unwrap();
        }
        world.drain();
        assert_eq!(world.cluster.lookup(0, world.root, "a").unwrap().kind, FileKind::Directory);
        let status = world.status();
        let refused: Vec<(&str, RefusalReason)> =
            status.refused.iter().map(|r| (r.key.as_str(), r.reason)).collect();
        assert_eq!(refused, [("in/a", RefusalReason::FileAndPrefix)], "{order:?}");
    }
}

#[test]
fn what_is_here_already_is_never_overwritten_by_an_import() {
    let mut world = World::new(&ALL);
    let fid = world.write(world.root, "mine", 10);
    let answer = world.import(&[("mine", 99), ("mine/below", 1)]);
    let Ok(Reply::Imported { imported: 0, refused }) = answer else { panic!("{answer:?}") };
    assert!(refused.iter().all(|refusal| refusal.reason == RefusalReason::NameTaken), "{refused:?}");
    assert_eq!(world.cluster.attr(0, fid).size, 10);
}

#[test]
fn no_owner_is_shown_before_it_is_known() {
    let mut world = World::new(&[]);
    world.import(&[("f", 5), ("g", 6)]).unwrap();
    let look = world.cluster.start(0, Request::Lookup { parent: world.root, name: b"g".into() });
    assert!(world.cluster.answer(look).is_none());
    let first = world.receive(1);
    assert_eq!(shown(&first[0].verb), "identify in/g", "what somebody waits for comes first");
    let metadata = PosixMetadata {
        permissions: Some(0o100_640),
        uid: Some(1000),
        gid: Some(100),
        mtime: Some(Timestamp { seconds: 5, nanoseconds: 6 }),
        ..PosixMetadata::default()
    };
    world.end(first[0].cookie, HsmOutcome::Identified { metadata, symlink: None });
    let attr = entry(world.cluster.answer(look).expect("known now")).attr;
    assert_eq!((attr.uid, attr.gid, attr.mode, attr.size), (1000, 100, 0o640, 6));
    assert_eq!(attr.mtime, Timestamp { seconds: 5, nanoseconds: 6 });
    let request = Request::ReadDirectory { fid: world.root, after: 0, limit: 10 };
    let listing = world.cluster.start(0, request);
    assert!(world.cluster.answer(listing).is_none());
    let rest = world.receive(10);
    assert_eq!(rest.len(), 1);
    world.fail(rest[0].cookie, HsmFailure::NotFound, false);
    let Some(Ok(Reply::Entries { entries, .. })) = world.cluster.answer(listing) else { panic!() };
    let f = entries.iter().find(|entry| entry.name == b"f").unwrap().entry.attr;
    assert_eq!(
        (f.mode, f.uid, f.gid, f.mtime.seconds),
        (0o755, 0, 0, 1000),
        "what FSx gives objects without metadata"
    );
}

#[test]
fn an_object_that_says_so_becomes_a_symbolic_link() {
    let mut world = World::new(&[]);
    world.import(&[("l", 6)]).unwrap();
    let action = world.receive(1).remove(0);
    let metadata = PosixMetadata { permissions: Some(0o120_777), ..PosixMetadata::default() };
    world.end(action.cookie, HsmOutcome::Identified { metadata, symlink: Some(b"target".into()) });
    let attr = world.cluster.lookup(0, world.root, "l").unwrap();
    assert_eq!((attr.kind, attr.size), (FileKind::Symlink, 6));
    assert_eq!(
        world.cluster.ask(0, Request::ReadLink { fid: attr.fid }),
        Ok(Reply::Bytes { bytes: b"target".into() })
    );
}

#[test]
fn bytes_come_when_they_are_read_and_a_lost_mover_gives_them_back() {
    let mut world = World::new(&ALL);
    world.import(&[("big", 100 << 20)]).unwrap();
    world.drain();
    let fid = world.cluster.lookup(0, world.root, "big").unwrap().fid;
    assert_eq!(world.hsm(fid), "(0x0000000d) released exists archived, archive_id:1");
    let (view, _) = world.cluster.open_file(0, fid, OpenMode::Read);
    assert_eq!(view.present, Some(vec![ByteRange { start: 100 << 20, end: u64::MAX }]));
    let range = ByteRange { start: 5 << 20, end: (5 << 20) + 1 };
    let token = world.cluster.start(0, Request::Hydrate { fid, range });
    let action = world.receive(1).remove(0);
    let HsmVerb::Restore { ranges, layout, .. } = &action.verb else { panic!("{action:?}") };
    assert_eq!(*ranges, [ByteRange { start: 4 << 20, end: 8 << 20 }]);
    assert_eq!(
        layout.components[0].stripes.len(),
        3,
        "a stripe for each chunk, on as many targets as there are"
    );
    assert!(world.receive(1).is_empty(), "nobody brings in the same bytes twice");
    world.cluster.drop_connection(MOVER);
    let again = world.receive(1).remove(0);
    assert_ne!(again.cookie, action.cookie);
    world.end(action.cookie, HsmOutcome::Done);
    assert!(world.cluster.answer(token).is_none(), "an action that was taken back says nothing");
    world.perform(&again);
    assert!(matches!(world.cluster.answer(token), Some(Ok(Reply::Opened { .. }))));
    let whole = ByteRange { start: 0, end: u64::MAX };
    let token = world.cluster.start(0, Request::Hydrate { fid, range: whole });
    world.drain();
    let Some(Ok(Reply::Opened { view, .. })) = world.cluster.answer(token) else { panic!() };
    assert_eq!(view.present, None);
    assert_eq!(world.hsm(fid), "(0x00000009) exists archived, archive_id:1");
}

#[test]
fn a_released_file_can_be_cut_without_its_bytes() {
    let mut world = World::new(&ALL);
    world.import(&[("f", 100)]).unwrap();
    world.drain();
    let fid = world.cluster.lookup(0, world.root, "f").unwrap().fid;
    for (size, limit) in [(40, 40), (90, 40)] {
        let change = AttrChange { size: Some(size), ..AttrChange::default() };
        world.cluster.ask(0, Request::SetAttr { fid, change }).unwrap();
        let (view, _) = world.cluster.open_file(0, fid, OpenMode::Read);
        assert_eq!(view.entry.attr.size, size);
        assert_eq!(view.present, Some(vec![ByteRange { start: limit, end: u64::MAX }]));
    }
    world.write(world.root, "f", 0);
    let (view, _) = world.cluster.open_file(0, fid, OpenMode::Read);
    assert_eq!(view.present, None);
}

#[test]
fn bytes_that_cannot_come_are_an_error_for_those_who_wait() {
    let mut world = World::new(&ALL);
    world.import(&[("f", 100)]).unwrap();
    world.drain();
    let fid = world.cluster.lookup(0, world.root, "f").unwrap().fid;
    let range = ByteRange { start: 0, end: 10 };
    let token = world.cluster.start(0, Request::Hydrate { fid, range });
    let action = world.receive(1).remove(0);
    world.fail(action.cookie, HsmFailure::Changed, false);
    assert_eq!(world.cluster.answer(token), Some(Err(Fault::Io)));
}

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
        let action = world.receive(1).remove(0);
        world.fail(action.cookie, HsmFailure::Unreachable, true);
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
        let mut generation = 0;
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
