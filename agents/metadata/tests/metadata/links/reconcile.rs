//! Changes of the repository that come in by listing it again: what the link asks for, and never what is newer here.

use lustre_metadata::Rights;
use lustre_model::attr::Timestamp;
use lustre_model::fault::Fault;
use lustre_model::hsm::{HsmOutcome, HsmVerb, ImportEntry, KeyRange, LinkEvent, LinkId, Listed};
use lustre_model::metadata::{Answer, OpenMode, Reply, Request};

use super::{ALL, World, link};
use crate::cluster::close;

/// Lets the time pass behind which a link is listed again; the client says meanwhile that it lives.
fn pause(world: &mut World) {
    for _ in 0..7 {
        world.cluster.pass(5000);
        world.cluster.attr(0, world.root);
    }
}

/// A world whose link takes these changes in, and exports all.
fn taking(events: &[LinkEvent]) -> World {
    let mut world = World::new(&ALL);
    let mut taking = link(&ALL);
    taking.auto_import = events.to_vec();
    world.cluster.admin(Request::PutLink { link: taking }).unwrap();
    world
}

/// Lets time pass and returns the cookie of the listing that begins then; everything else is done on the way.
fn begin(world: &mut World) -> u64 {
    pause(world);
    for _ in 0..100 {
        for action in world.receive(1) {
            if action.verb == HsmVerb::List {
                return action.cookie;
            }
            world.perform(&action);
        }
    }
    panic!("the link is not listed again")
}

/// All that is in the bucket, as a listing finds it.
fn page(world: &World) -> Vec<ImportEntry> {
    let last_modified = Timestamp { seconds: 2000, nanoseconds: 0 };
    let below = world.bucket.iter().filter_map(|(key, etag)| Some((key.strip_prefix("in/")?, etag)));
    let entry = |(key, etag): (&str, &String)| ImportEntry {
        key: key.into(),
        size: 5,
        last_modified,
        etag: etag.clone(),
    };
    below.map(entry).collect()
}

fn send(world: &mut World, cookie: u64, entries: Vec<ImportEntry>) -> Answer {
    let listed = Listed { cookie, range: KeyRange { after: None, until: None } };
    world.cluster.ask_as(Rights::Mover, Request::Import { link: LinkId(1), listed: Some(listed), entries })
}

/// Lists the bucket again, wholly.
fn relist(world: &mut World) {
    let cookie = begin(world);
    let entries = page(world);
    send(world, cookie, entries).unwrap();
    world.end(cookie, HsmOutcome::Done);
}

fn put(world: &mut World, key: &str, etag: &str) {
    world.bucket.insert(format!("in/{key}"), etag.into());
}

fn has(world: &mut World, name: &str) -> bool {
    world.cluster.lookup(0, world.root, name).is_ok()
}

#[test]
fn what_the_link_asks_for_comes_in_and_nothing_else() {
    for events in
        [vec![], vec![LinkEvent::New], vec![LinkEvent::Changed], vec![LinkEvent::Deleted], ALL.to_vec()]
    {
        let mut world = taking(&events);
        world.import(&[("changes", 100), ("goes", 100), ("stays", 100)]).unwrap();
        world.drain();
        put(&mut world, "comes", "etag-new");
        put(&mut world, "d/comes", "etag-new");
        put(&mut world, "changes", "etag-2");
        world.bucket.remove("in/goes");
        if events.is_empty() {
            pause(&mut world);
            assert!(!world.drain().contains(&"list".to_owned()), "nobody asked for it");
        } else {
            relist(&mut world);
        }
        world.drain();
        assert_eq!(has(&mut world, "comes"), events.contains(&LinkEvent::New), "{events:?}");
        assert_eq!(has(&mut world, "d"), events.contains(&LinkEvent::New), "{events:?}");
        assert_eq!(has(&mut world, "goes"), !events.contains(&LinkEvent::Deleted), "{events:?}");
        assert!(has(&mut world, "stays"));
        let size = world.cluster.lookup(0, world.root, "changes").unwrap().size;
        assert_eq!(size, if events.contains(&LinkEvent::Changed) { 5 } else { 100 }, "{events:?}");
    }
}

#[test]
fn what_was_exported_while_the_listing_went_on_is_no_change_of_somebody_else() {
    let mut world = taking(&ALL);
    world.write(world.root, "old", 5);
    world.write(world.root, "gone", 5);
    world.drain();
    let cookie = begin(&mut world);
    // The page is made, and what is exported then is newer than it.
    let entries = page(&world);
    let old = world.cluster.lookup(0, world.root, "old").unwrap().fid;
    world.write(world.root, "old", 7);
    world.write(world.root, "new", 7);
    world.cluster.remove(0, world.root, "gone").unwrap();
    world.drain();
    assert!(!world.bucket.contains_key("in/gone") && world.bucket.contains_key("in/new"));
    send(&mut world, cookie, entries).unwrap();
    world.end(cookie, HsmOutcome::Done);
    assert!(has(&mut world, "new"), "it is not in the page because it is newer");
    assert!(!has(&mut world, "gone"), "it is in the page because that is older");
    assert!(!world.hsm(old).contains("released"), "its bytes are here");
    // The next listing sees all of that and changes nothing.
    relist(&mut world);
    world.drain();
    assert!(has(&mut world, "new") && !has(&mut world, "gone"));
    assert!(!world.hsm(old).contains("released"));
}

#[test]
fn a_page_of_a_listing_that_is_not_under_way_any_more_is_refused() {
    let mut world = taking(&ALL);
    world.write(world.root, "f", 5);
    world.drain();
    let cookie = begin(&mut world);
    world.end(cookie, HsmOutcome::Done);
    assert_eq!(send(&mut world, cookie, Vec::new()), Err(Fault::NotFound));
    assert!(has(&mut world, "f"));
}

#[test]
fn what_changed_here_and_what_is_open_stays() {
    let mut world = taking(&ALL);
    world.import(&[("mine", 100), ("open", 100)]).unwrap();
    world.drain();
    let mut importing = link(&[]);
    importing.auto_import = ALL.to_vec();
    world.cluster.admin(Request::PutLink { link: importing }).unwrap();
    world.write(world.root, "mine", 3);
    let open = world.cluster.lookup(0, world.root, "open").unwrap().fid;
    let (_, opened) = world.cluster.open_file(0, open, OpenMode::Read);
    world.bucket.clear();
    relist(&mut world);
    assert!(has(&mut world, "mine"), "it was written here, and nothing exports it");
    assert!(has(&mut world, "open"), "somebody reads it");
    world.cluster.ask(0, close(open, opened, None)).unwrap();
    relist(&mut world);
    assert!(has(&mut world, "mine") && !has(&mut world, "open"));
}

#[test]
fn thousands_that_are_gone_go_part_by_part() {
    let mut world = taking(&[LinkEvent::Deleted]);
    let names: Vec<String> = (0..9000).map(|number| format!("f{number:05}")).collect();
    let entries: Vec<(&str, u64)> = names.iter().map(|name| (name.as_str(), 0)).collect();
    world.import(&entries).unwrap();
    world.bucket.retain(|key, _| key == "in/f08999");
    let cookie = begin(&mut world);
    let entries = page(&world);
    let mut range = KeyRange { after: None, until: None };
    let mut parts = 0;
    loop {
        let listed = Some(Listed { cookie, range: range.clone() });
        let request = Request::Import { link: LinkId(1), listed, entries: entries.clone() };
        let Ok(Reply::Imported { rest, .. }) = world.cluster.ask_as(Rights::Mover, request) else { panic!() };
        parts += 1;
        let Some(rest) = rest else { break };
        range.after = Some(rest);
    }
    assert_eq!(parts, 3);
    world.end(cookie, HsmOutcome::Done);
    world.drain();
    assert!(has(&mut world, "f08999") && !has(&mut world, "f00000") && !has(&mut world, "f08998"));
}

#[test]
fn a_directory_goes_behind_what_was_in_it() {
    let mut world = taking(&ALL);
    world.import(&[("d/", 0), ("d/f", 5)]).unwrap();
    world.drain();
    world.bucket.clear();
    relist(&mut world);
    let d = world.cluster.lookup(0, world.root, "d").unwrap().fid;
    assert!(world.cluster.lookup(0, d, "f").is_err());
    relist(&mut world);
    assert!(!has(&mut world, "d"));
}
