//! Bytes that went with a removed target, of files that the repository has.

use lustre_model::layout::OstIndex;

use super::*;

/// Every object that is there goes with all three targets; a fourth takes their place.
fn replace_targets(world: &mut World) {
    for index in 0..3 {
        world.cluster.admin(Request::RemoveTarget { index: OstIndex(index) }).unwrap();
    }
    world.cluster.objects.clear();
    let target = lustre_model::metadata::TargetEntry {
        index: OstIndex(3),
        address: "ost:3".into(),
        capacity: 1 << 40,
        state: lustre_model::metadata::TargetState::Active,
    };
    world.cluster.admin(Request::RegisterTarget { target }).unwrap();
}

fn look(world: &mut World, fid: Fid) -> lustre_model::metadata::FileView {
    world.cluster.open_file(1, fid, OpenMode::Read).0
}

#[test]
fn an_exported_file_whose_objects_are_gone_is_read_from_the_repository() {
    let mut world = World::new(&ALL);
    let fid = world.write(world.root, "f", 5_000_000);
    world.drain();
    replace_targets(&mut world);
    let view = look(&mut world, fid);
    assert_eq!(
        (view.present, view.entry.attr.size),
        (Some(vec![ByteRange { start: 5_000_000, end: u64::MAX }]), 5_000_000)
    );
    assert!(world.hsm(fid).contains("released"), "{}", world.hsm(fid));
    assert_eq!(world.status().released, Some(1));
    let range = ByteRange { start: 0, end: 5_000_000 };
    let reading = world.cluster.start(1, Request::Hydrate { fid, range });
    let actions = world.receive(4);
    let [HsmAction { verb: HsmVerb::Restore { layout, .. }, .. }] = &actions[..] else {
        panic!("{actions:?}")
    };
    assert!(layout.stripes().all(|stripe| stripe.target == OstIndex(3)));
    world.perform(&actions[0]);
    assert!(matches!(world.cluster.answer(reading), Some(Ok(Reply::Opened { .. }))));
    assert_eq!(world.drain(), Vec::<String>::new(), "nothing of it is exported again");
    assert_eq!(world.status().released, Some(0));
}

#[test]
fn an_imported_file_that_was_partly_here_is_brought_in_anew() {
    let mut world = World::new(&ALL);
    world.import(&[("f", 9_000_000)]).unwrap();
    world.drain();
    let fid = world.cluster.lookup(0, world.root, "f").unwrap().fid;
    let range = ByteRange { start: 0, end: 1 };
    let _ = world.cluster.start(0, Request::Hydrate { fid, range });
    let actions = world.receive(4);
    world.perform(&actions[0]);
    assert!(look(&mut world, fid).present.is_some_and(|present| present[0].start == 0));
    replace_targets(&mut world);
    assert_eq!(look(&mut world, fid).present, Some(vec![ByteRange { start: 9_000_000, end: u64::MAX }]));
}

#[test]
fn a_file_that_was_changed_behind_its_export_is_not_replaced_by_what_it_was() {
    let mut world = World::new(&ALL);
    let fid = world.write(world.root, "f", 10);
    world.drain();
    world.write(world.root, "f", 20);
    replace_targets(&mut world);
    let view = look(&mut world, fid);
    assert_eq!((view.present, view.entry.attr.size), (None, 20));
}

#[test]
fn a_file_that_is_open_for_writing_is_brought_in_before_it_is_written() {
    let mut world = World::new(&ALL);
    let fid = world.write(world.root, "f", 70);
    world.drain();
    let (_, open) = world.cluster.open_file(0, fid, OpenMode::Write);
    replace_targets(&mut world);
    // The client's connection went with the target, and its leases with that.
    world.cluster.reconnect(0);
    let token =
        world.cluster.start(0, Request::Lease { fid, kind: lustre_model::metadata::LeaseKind::Write });
    let Some(Ok(Reply::Opened { view, .. })) = world.cluster.answer(token) else { panic!() };
    assert_eq!(view.present, Some(vec![ByteRange { start: 70, end: u64::MAX }]));
    let range = ByteRange { start: 0, end: u64::MAX };
    let reading = world.cluster.start(0, Request::Hydrate { fid, range });
    for action in world.receive(4) {
        world.perform(&action);
    }
    assert!(
        matches!(world.cluster.answer(reading), Some(Ok(Reply::Opened { view, .. })) if view.present.is_none())
    );
    world.cluster.ask(0, crate::cluster::close(fid, open, None)).unwrap();
    assert_eq!(world.drain(), Vec::<String>::new(), "it was not written");
}

#[test]
fn the_last_copy_of_a_moved_file_stays_until_there_is_another() {
    let mut world = World::new(&ALL);
    let fid = world.write(world.root, "f", 10);
    world.drain();
    world.write(world.root, "f", 20);
    replace_targets(&mut world);
    let rename = Request::Rename {
        from: (world.root, b"f".to_vec()),
        to: (world.root, b"g".to_vec()),
        mode: RenameMode::Replace,
    };
    world.cluster.ask(0, rename).unwrap();
    for _ in 0..5 {
        for action in world.receive(4) {
            // Its bytes are gone: the mover cannot read them.
            assert!(matches!(action.verb, HsmVerb::Archive { .. }), "{action:?}");
            world.fail(action.cookie, HsmFailure::Other, false);
        }
        world.cluster.now.uptime_ms += 2000;
        world.cluster.input(Input::Tick);
    }
    assert!(world.bucket.contains_key("in/f"), "{:?}", world.bucket);
    assert_eq!(world.cluster.attr(0, fid).size, 20);
}
