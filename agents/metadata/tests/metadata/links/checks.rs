//! Whether a link's bucket answers, and what its state says of that.

use lustre_metadata::Input;
use lustre_model::hsm::{HsmAction, HsmFailure, HsmOutcome, HsmVerb, LinkId, LinkState, LinkStatus};
use lustre_model::metadata::Request;

use super::{ALL, World, link, shown};

fn checks(actions: &[HsmAction]) -> Vec<u64> {
    let of_checks = actions.iter().filter(|action| action.verb == HsmVerb::Check);
    of_checks.map(|action| action.cookie).collect()
}

/// Lets time pass without anything happening.
fn wait(world: &mut World, ms: u64) {
    world.cluster.now.uptime_ms += ms;
    world.cluster.input(Input::Tick);
}

fn state(world: &mut World) -> (LinkState, Option<String>) {
    let LinkStatus { state, cause, .. } = world.status();
    (state, cause)
}

#[test]
fn a_link_without_a_listing_is_available_once_its_bucket_answered() {
    let mut world = World::new(&ALL);
    let mut other = link(&ALL);
    other.id = LinkId(2);
    other.file_system_path = "/other".into();
    other.repository.prefix = "other/".into();
    other.batch_import_meta_data_on_create = false;
    world.cluster.admin(Request::PutLink { link: other }).unwrap();
    let action = world.receive(4).remove(0);
    assert_eq!((action.link, shown(&action.verb)), (LinkId(2), "check".to_owned()));
    let status =
        |world: &mut World| match world.cluster.ask_as(lustre_metadata::Rights::Mover, Request::Links) {
            Ok(lustre_model::metadata::Reply::Links { mut links }) => links.remove(1).state,
            other => panic!("{other:?}"),
        };
    assert_eq!(status(&mut world), LinkState::Creating);
    world.perform(&action);
    assert_eq!(status(&mut world), LinkState::Available);
}

#[test]
fn a_changed_way_to_the_bucket_is_checked_before_the_link_is_available_again() {
    let mut world = World::new(&ALL);
    let mut changed = link(&ALL);
    changed.repository.endpoint_url = Some("http://other".into());
    let before = world.write(world.root, "f", 1);
    let old = world.receive(1).remove(0);
    assert_eq!(old.fid, before);
    world.cluster.admin(Request::PutLink { link: changed.clone() }).unwrap();
    assert_eq!(state(&mut world), (LinkState::Updating, None));
    world.end(old.cookie, HsmOutcome::Stored { etag: "in the old place".into() });
    let check = world.receive(4);
    let verbs: Vec<String> = check.iter().map(|action| shown(&action.verb)).collect();
    assert_eq!(verbs, ["check", "archive in/f"], "what went the old way goes again");
    world.perform(&check[1]);
    assert_eq!(check[0].repository, changed.repository.fingerprint());
    assert_ne!(check[0].repository, old.repository);
    world.fail(checks(&check)[0], HsmFailure::AccessDenied, true);
    assert_eq!(state(&mut world), (LinkState::Misconfigured, Some("S3 said no".into())));
    // What was said before, said again, has it checked at once.
    world.cluster.admin(Request::PutLink { link: changed }).unwrap();
    assert_eq!(state(&mut world), (LinkState::Updating, None));
    let check = world.receive(4).remove(0);
    world.perform(&check);
    assert_eq!(state(&mut world), (LinkState::Available, None));
}

#[test]
fn a_refused_export_has_the_bucket_checked_and_the_link_recovers_by_itself() {
    let mut world = World::new(&ALL);
    world.write(world.root, "f", 1);
    let archive = world.receive(4).remove(0);
    world.fail(archive.cookie, HsmFailure::AccessDenied, true);
    wait(&mut world, 1000);
    let actions = world.receive(4);
    world.fail(checks(&actions)[0], HsmFailure::AccessDenied, true);
    assert_eq!(state(&mut world).0, LinkState::Misconfigured);
    for action in actions.iter().filter(|action| action.verb != HsmVerb::Check) {
        world.fail(action.cookie, HsmFailure::AccessDenied, true);
    }
    wait(&mut world, 1000);
    for action in world.receive(4) {
        world.perform(&action);
    }
    assert_eq!(state(&mut world), (LinkState::Available, None));
    world.drain();
    assert!(world.bucket.contains_key("in/f"));
}

#[test]
fn a_bucket_that_is_silent_for_a_moment_is_no_misconfiguration() {
    let mut world = World::new(&ALL);
    wait(&mut world, 60_000);
    for attempt in 1..=3 {
        let check = checks(&world.receive(4));
        world.fail(check[0], HsmFailure::Unreachable, true);
        let expected = if attempt < 3 { LinkState::Available } else { LinkState::Misconfigured };
        assert_eq!(state(&mut world).0, expected, "{attempt}");
        wait(&mut world, 2000);
    }
}

#[test]
fn a_check_that_is_lost_with_its_mover_is_made_again() {
    let mut world = World::new(&ALL);
    wait(&mut world, 60_000);
    assert_eq!(checks(&world.receive(4)).len(), 1);
    assert_eq!(checks(&world.receive(4)).len(), 0, "one at a time");
    world.cluster.drop_connection(super::MOVER);
    assert_eq!(checks(&world.receive(4)).len(), 1);
}
