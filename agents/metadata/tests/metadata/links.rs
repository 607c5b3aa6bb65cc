//! Links: listings become names, changes become actions, bytes come when they are needed.
//!
//! Invariant: a mover that answers truthfully ends with the repository holding what the namespace has.

use std::collections::BTreeMap;

use crate::cluster::{Cluster, OWNER, entry, opened};
use lustre_metadata::{ConnectionId, Input, RequestToken, Rights};
use lustre_model::attr::{AttrChange, FileKind, Timestamp};
use lustre_model::fault::Fault;
use lustre_model::fid::Fid;
use lustre_model::hsm::{
    HsmAction, HsmEnd, HsmFailure, HsmOutcome, HsmVerb, ImportEntry, Link, LinkEvent, LinkId, LinkState,
    LinkStatus, PosixMetadata, RefusalReason, RepositoryEndpoint,
};
use lustre_model::metadata::{
    Answer, ByteRange, Call, NewInode, OpenMode, RenameMode, Reply, Request, SessionId, Xid,
};

mod checks;
mod exports;
mod former;
mod reconcile;
mod removed;

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
        let (mut world, listing) = Self::listing(events);
        world.end(listing, HsmOutcome::Done);
        world
    }

    /// A world whose link is being listed, with the listing's cookie.
    fn listing(events: &[LinkEvent]) -> (Self, u64) {
        let mut cluster = Cluster::new(3, 2);
        cluster.admin(Request::PutLink { link: link(events) }).unwrap();
        let root = cluster.lookup(0, Fid::ROOT, "reads").unwrap().fid;
        let mut world = Self { cluster, root, bucket: BTreeMap::new(), puts: 0 };
        let listing = world.receive(1);
        assert!(matches!(&listing[..], [HsmAction { verb: HsmVerb::List, .. }]), "{listing:?}");
        (world, listing[0].cookie)
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
        self.cluster.ask_as(Rights::Mover, Request::Import { link: LinkId(1), listed: None, entries })
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
            HsmVerb::List | HsmVerb::Check => HsmOutcome::Done,
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
        HsmVerb::Check => "check".into(),
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
    let Ok(Reply::Imported { imported, refused, .. }) = world.import(&entries) else { panic!() };
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
    let Ok(Reply::Imported { imported: 0, refused, .. }) = answer else { panic!("{answer:?}") };
    assert!(refused.iter().all(|refusal| refusal.reason == RefusalReason::NameTaken), "{refused:?}");
    assert_eq!(world.cluster.attr(0, fid).size, 10);
}

#[test]
fn while_names_come_in_only_what_somebody_waits_for_is_identified() {
    let (mut world, listing) = World::listing(&[]);
    world.import(&[("f", 5), ("g", 6)]).unwrap();
    assert_eq!(world.receive(10), [], "nobody waits for anything");
    let look = world.cluster.start(0, Request::Lookup { parent: world.root, name: b"g".into() });
    assert!(world.cluster.answer(look).is_none());
    let wanted = world.receive(10);
    assert_eq!(wanted.iter().map(|action| shown(&action.verb)).collect::<Vec<_>>(), ["identify in/g"]);
    world.end(listing, HsmOutcome::Done);
    let rest = world.receive(10);
    assert_eq!(rest.iter().map(|action| shown(&action.verb)).collect::<Vec<_>>(), ["identify in/f"]);
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
    let ahead = Request::LookAhead { fid: world.root, after: 0, limit: 10 };
    let Ok(Reply::Ahead { entries, skipped, .. }) = world.cluster.ask(0, ahead) else { panic!() };
    let names: Vec<&[u8]> = entries.iter().map(|entry| entry.name.as_slice()).collect();
    assert_eq!((names, skipped), (vec![b"g".as_slice()], true), "looking ahead waits for nobody");
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
        (0o755, OWNER.uid, OWNER.gid, 1000),
        "mode 755 and the target's own user, which is root as with FSx where it runs as root"
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
