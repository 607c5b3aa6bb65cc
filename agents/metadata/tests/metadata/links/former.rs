//! Links that go and come again: nothing of what was only in their buckets is lost to the file system.

use lustre_model::fault::Fault;
use lustre_model::fid::Fid;
use lustre_model::hsm::{
    HsmOutcome, HsmVerb, ImportEntry, LinkEvent, LinkId, LinkState, LinkStatus, RefusalReason,
};
use lustre_model::metadata::{Answer, ByteRange, Reply, Request};

use super::{ALL, World, link};
use lustre_metadata::{ConnectionId, Input, Rights};
use lustre_model::attr::{AttrChange, Timestamp};
use lustre_model::metadata::{Call, SessionId, Xid};

const WHOLE: ByteRange = ByteRange { start: 0, end: u64::MAX };

pub(super) fn remove(world: &mut World, id: u32) {
    let request = Request::RemoveLink { link: LinkId(id), delete_data: false };
    let call = Call { session: SessionId(0), xid: Xid(0), acknowledged: Xid(0), request };
    let token = world.cluster.send(ConnectionId(u64::MAX), Rights::Administrator, call);
    world.cluster.pass(2_000);
    assert_eq!(world.cluster.answer(token), Some(Ok(Reply::Done)));
}

/// Adds a link to the same directory, to a prefix, and lets it become available without a listing.
pub(super) fn add(world: &mut World, id: u32, prefix: &str, events: &[LinkEvent]) {
    let mut link = link(events);
    link.id = LinkId(id);
    link.repository.prefix = prefix.into();
    link.batch_import_meta_data_on_create = false;
    world.cluster.admin(Request::PutLink { link }).unwrap();
    for _ in 0..10 {
        for client in 0..2 {
            world.cluster.ask(client, Request::Renew).unwrap();
        }
        world.cluster.now.uptime_ms += 1000;
        world.cluster.input(Input::Tick);
        for action in world.receive(8) {
            world.perform(&action);
        }
        if status(world).state == LinkState::Available {
            return;
        }
    }
    panic!("{:?}", status(world));
}

fn status(world: &mut World) -> LinkStatus {
    world.status()
}

fn import(world: &mut World, id: u32, entries: &[(&str, u64, &str)]) -> Vec<(String, RefusalReason)> {
    let entries = entries.iter().map(|(key, size, etag)| ImportEntry {
        key: (*key).into(),
        size: *size,
        last_modified: Timestamp { seconds: 2000, nanoseconds: 0 },
        etag: (*etag).into(),
    });
    let request = Request::Import { link: LinkId(id), listed: None, entries: entries.collect() };
    let Ok(Reply::Imported { refused, .. }) = world.cluster.ask_as(Rights::Mover, request) else { panic!() };
    refused.into_iter().map(|refusal| (refusal.key, refusal.reason)).collect()
}

/// Reads a whole file; the answer when the mover did what there was.
fn read(world: &mut World, name: &str) -> Answer {
    let fid = find(world, name);
    let token = world.cluster.start(0, Request::Hydrate { fid, range: WHOLE });
    for _ in 0..10 {
        if let Some(answer) = world.cluster.answer(token) {
            return answer;
        }
        for action in world.receive(8) {
            world.perform(&action);
        }
    }
    panic!("{name} is read for ever");
}

fn find(world: &mut World, name: &str) -> Fid {
    let token = world.cluster.start(0, Request::Lookup { parent: world.root, name: name.into() });
    for _ in 0..10 {
        if let Some(answer) = world.cluster.answer(token) {
            return crate::cluster::entry(answer).attr.fid;
        }
        for action in world.receive(8) {
            world.perform(&action);
        }
    }
    panic!("{name} is not found");
}

fn chmod(world: &mut World, fid: Fid) {
    let change = AttrChange { mode: Some(0o600), ..AttrChange::default() };
    world.cluster.ask(0, Request::SetAttr { fid, change }).unwrap();
}

#[test]
fn files_of_a_removed_link_fail_at_once_and_are_read_again_when_it_comes_again() {
    let mut world = World::new(&ALL);
    world.import(&[("f", 100), ("dir/g", 50), ("h", 10)]).unwrap();
    world.drain();
    world.write(world.root, "own", 7);
    world.drain();
    assert!(read(&mut world, "h").is_ok());
    assert_eq!(world.status().released, Some(2));
    remove(&mut world, 1);
    world.cluster.restart(0);
    assert_eq!(read(&mut world, "f"), Err(Fault::Io));
    assert!(world.receive(8).is_empty(), "a mover is not asked for what it cannot have");
    // Changed while no link was there.
    let own = world.write(world.root, "own", 9);
    let f = find(&mut world, "f");
    chmod(&mut world, f);

    add(&mut world, 2, "in/", &ALL);
    let status = status(&mut world);
    assert_eq!((status.released, status.refused_total), (Some(2), 0));
    assert!(read(&mut world, "f").is_ok());
    assert_eq!(world.hsm(f), "(0x00000009) exists archived, archive_id:1");
    world.drain();
    assert_eq!(
        world.hsm(own),
        "(0x00000009) exists archived, archive_id:1",
        "what changed meanwhile is exported"
    );
    world.cluster.restart(0);
    let newer = [("dir/g", 70, "v2")];
    world.bucket.insert("in/dir/g".into(), "v2".into());
    assert_eq!(import(&mut world, 2, &newer), [], "what has no bytes here follows its object");
    let entries = [("f", 100, "etag-f"), ("dir/g", 70, "v2"), ("h", 10, "etag-h")];
    assert_eq!(import(&mut world, 2, &entries), [], "a listing finds what it knows");
    assert_eq!(world.status().released, Some(1));
}

#[test]
fn a_link_that_is_long_forgotten_is_found_again_by_what_its_files_say() {
    let mut world = World::new(&ALL);
    world.import(&[("f", 100), ("g", 100)]).unwrap();
    world.drain();
    remove(&mut world, 1);
    for id in 2..70 {
        add(&mut world, id, &format!("p{id}/"), &[]);
        import(&mut world, id, &[(&format!("only{id}"), 1, "e")]);
        remove(&mut world, id);
    }
    add(&mut world, 100, "in/", &ALL);
    assert_eq!(read(&mut world, "f"), Err(Fault::Io));
    assert_eq!(import(&mut world, 100, &[("f", 100, "etag-f"), ("g", 90, "v2")]), []);
    world.bucket.insert("in/g".into(), "v2".into());
    assert!(read(&mut world, "f").is_ok());
    let Ok(Reply::Opened { view, .. }) = read(&mut world, "g") else { panic!() };
    assert_eq!(view.entry.attr.size, 90);
}

#[test]
fn what_was_removed_or_moved_while_no_link_was_there_takes_no_object_along() {
    let mut world = World::new(&ALL);
    world.import(&[("gone", 5), ("moved", 6)]).unwrap();
    world.drain();
    remove(&mut world, 1);
    world.cluster.remove(0, world.root, "gone").unwrap();
    world.rename((world.root, "moved"), (world.root, "elsewhere"));
    add(&mut world, 2, "in/", &ALL);
    let verbs = world.drain();
    assert!(verbs.iter().all(|verb| !verb.starts_with("remove") && !verb.starts_with("rename")), "{verbs:?}");
    assert!(world.bucket.contains_key("in/gone") && world.bucket.contains_key("in/moved"));
    assert!(read(&mut world, "elsewhere").is_ok());
    assert_eq!(import(&mut world, 2, &[("gone", 5, "etag-gone")]), []);
    assert!(read(&mut world, "gone").is_ok());
}

#[test]
fn a_link_to_another_place_takes_up_what_its_listing_finds_in_the_same_version() {
    let mut world = World::new(&[]);
    world.import(&[("same", 10), ("newer", 10), ("mine", 10), ("local", 10)]).unwrap();
    world.drain();
    assert!(read(&mut world, "local").is_ok());
    world.write(world.root, "mine", 3);
    world.write(world.root, "never", 3);
    remove(&mut world, 1);
    for (key, etag) in [("same", "etag-same"), ("newer", "v2"), ("mine", "v2"), ("local", "etag-local")] {
        world.bucket.insert(format!("new/{key}"), etag.into());
    }
    add(&mut world, 2, "new/", &ALL);
    assert_eq!(read(&mut world, "same"), Err(Fault::Io), "no listing said that it is there");
    let entries = [
        ("same", 10, "etag-same"),
        ("newer", 20, "v2"),
        ("mine", 20, "v2"),
        ("local", 10, "etag-local"),
        ("never", 20, "v1"),
    ];
    let refused = import(&mut world, 2, &entries);
    let taken = |key: &str| (key.to_owned(), RefusalReason::NameTaken);
    assert_eq!(refused, [taken("new/mine"), taken("new/never")], "bytes of its own are never overwritten");
    for (name, size) in [("same", 10), ("newer", 20), ("mine", 3), ("local", 10)] {
        let Ok(Reply::Opened { view, .. }) = read(&mut world, name) else { panic!("{name}") };
        assert_eq!((view.entry.attr.size, view.present), (size, None), "{name}");
    }
    assert_eq!(world.status().released, Some(0));
    assert_eq!(world.drain(), Vec::<String>::new());
}

#[test]
fn a_file_without_bytes_or_link_is_reported_and_not_tried_for_ever() {
    let mut world = World::new(&ALL);
    world.import(&[("f", 100)]).unwrap();
    world.drain();
    remove(&mut world, 1);
    add(&mut world, 2, "new/", &ALL);
    let f = find(&mut world, "f");
    chmod(&mut world, f);
    assert_eq!(world.drain(), Vec::<String>::new());
    let failed = &world.status().failed_exports;
    assert_eq!(failed.len(), 1);
    assert!(failed[0].cause.starts_with("S3ExportLocalObjectReleaseWithoutS3Source"), "{failed:?}");
    assert_eq!(failed[0].path, "/reads/f");
    // Back to where it was: readable, and exported as nothing but what it is.
    remove(&mut world, 2);
    add(&mut world, 3, "in/", &ALL);
    assert!(read(&mut world, "f").is_ok());
    assert_eq!(
        world.drain().iter().map(|verb| verb.as_str()).filter(|verb| verb.starts_with("archive")).count(),
        0
    );
}

#[test]
fn owners_that_were_not_asked_for_are_asked_for_when_the_link_comes_again() {
    let mut world = World::new(&[]);
    world.import(&[("f", 100)]).unwrap();
    remove(&mut world, 1);
    add(&mut world, 2, "in/", &[]);
    let verbs = world.drain();
    assert!(verbs.iter().all(|verb| verb.starts_with("identify")), "{verbs:?}");
    let f = find(&mut world, "f");
    assert_eq!(world.cluster.attr(0, f).uid, 7);
}

/// A link that is replaced may come with its own number.
#[test]
fn a_link_that_comes_again_under_its_number_takes_up_its_files_too() {
    let mut world = World::new(&ALL);
    world.import(&[("f", 100), ("g", 50)]).unwrap();
    world.drain();
    let own = world.write(world.root, "own", 7);
    world.drain();
    let changed = world.write(world.root, "changed", 3);
    world.drain();
    remove(&mut world, 1);
    world.write(world.root, "changed", 5);
    world.cluster.remove(0, world.root, "g").unwrap();
    add(&mut world, 1, "in/", &ALL);
    world.cluster.restart(0);
    assert_eq!((status(&mut world).released, status(&mut world).refused_total), (Some(1), 0));
    assert!(read(&mut world, "f").is_ok());
    world.drain();
    for fid in [own, changed] {
        assert_eq!(world.hsm(fid), "(0x00000009) exists archived, archive_id:1");
    }
    assert!(world.bucket["in/changed"].starts_with("put-"));
}

/// A listing takes its time: what it found first may be replaced by an export before it is told.
#[test]
fn nothing_is_exported_while_a_listing_may_still_tell_of_what_was_there_before() {
    let mut world = World::new(&ALL);
    let fid = world.write(world.root, "f", 70);
    world.drain();
    let before = world.bucket["in/f"].clone();
    remove(&mut world, 1);
    world.write(world.root, "f", 6);
    let mut link = link(&ALL);
    link.id = LinkId(2);
    world.cluster.admin(Request::PutLink { link }).unwrap();
    let mut listing = None;
    for _ in 0..10 {
        for action in world.receive(8) {
            if matches!(action.verb, HsmVerb::List) {
                listing = Some(action.cookie);
            } else {
                world.perform(&action);
            }
        }
        world.cluster.now.uptime_ms += 1000;
        world.cluster.input(Input::Tick);
    }
    let listing = listing.expect("the bucket is listed");
    assert_eq!(world.bucket["in/f"], before, "the export waits");
    assert_eq!(import(&mut world, 2, &[("f", 70, &before)]), []);
    world.end(listing, HsmOutcome::Done);
    world.drain();
    assert_ne!(world.bucket["in/f"], before);
    assert_eq!(world.cluster.attr(0, fid).size, 6);
    assert_eq!(world.hsm(fid), "(0x00000009) exists archived, archive_id:1");
}
