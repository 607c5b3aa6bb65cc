//! The story that is cut off, and what must be there afterwards.
//!
//! Invariant: the expected worlds come from a run in which nothing fails.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use lustre_model::address::Address;
use lustre_model::journal::{Event, Journal, Outcome};
use lustre_model::plan::Operation;
use lustre_model::recorded::{Lineage, World};
use lustre_model::resource::{Attributes, Kind};
use lustre_model::value::Value;
use lustre_store::{
    Cost, Holder, Key, Keyring, Keys, Plain, Plaintext, Random, Recovery, Seal, StoreError, lock, open, read,
};

use crate::made::{CUTS, Contents, Made};

fn intent(name: &str, operation: Operation) -> Event {
    let attributes = Attributes::from([("input".to_owned(), Value::from(name.repeat(50)))]);
    Event::Intent {
        address: Address::new("value", name),
        kind: Kind::Value,
        operation,
        attributes,
        dependencies: BTreeSet::from([Address::new("value", "root")]),
    }
}

fn present(name: &str) -> Event {
    let outcome = Outcome::Present {
        attributes: Attributes::from([("output".to_owned(), Value::from(7_u64))]),
        private: BTreeMap::new(),
        dependencies: BTreeSet::new(),
    };
    Event::Result { address: Address::new("value", name), outcome }
}

/// Two sessions; each inner list is one append.
fn story() -> Vec<Vec<Vec<Event>>> {
    let moved = Event::Moved { from: Address::new("value", "a"), to: Address::new("value", "c") };
    let gone = Event::Result { address: Address::new("value", "b"), outcome: Outcome::Absent };
    vec![
        vec![
            vec![intent("a", Operation::Create), intent("b", Operation::Create)],
            vec![present("a")],
            vec![present("b")],
        ],
        vec![vec![moved, intent("b", Operation::Delete)], vec![gone], vec![intent("d", Operation::Create)]],
    ]
}

/// The worlds of a run in which nothing fails, by serial.
fn worlds() -> Vec<World> {
    let mut world = World::new(Lineage("l".into()));
    let mut worlds = vec![world.clone()];
    for event in story().into_iter().flatten().flatten() {
        world.apply(&event).expect("the story is legal");
        worlds.push(world.clone());
    }
    worlds
}

/// Plays the story from where the state stands; returns the serial that was acknowledged and the one that was asked for.
fn play(disk: &Made, folder: &Path, seal: &Arc<dyn Seal>) -> (u64, u64) {
    let path = folder.join("lustre.state");
    let (mut acknowledged, mut asked) = (0, 0);
    for session in story() {
        let holder = Holder {
            who: "t".into(),
            operation: "apply".into(),
            version: "0".into(),
            since: "now".into(),
            pid: 1,
        };
        let lock = lock(&path, holder, Duration::ZERO).expect("nobody else");
        let Ok(journal) = open(Arc::new(disk.clone()), &path, (lock, Arc::clone(seal)), Lineage("l".into()))
        else {
            break;
        };
        for events in session {
            asked += events.len() as u64;
            if journal.append(&events).is_err() {
                return (acknowledged, asked);
            }
            acknowledged = asked;
        }
        if journal.close().is_err() {
            break;
        }
    }
    (acknowledged, asked)
}

fn check(
    disk: &Made,
    (folder, seal): (&Path, &Arc<dyn Seal>),
    (acknowledged, asked): (u64, u64),
    what: &str,
) {
    let path = folder.join("lustre.state");
    let worlds = worlds();
    let found = read(disk, &path, seal.as_ref()).unwrap_or_else(|error| panic!("{what}: {error}"));
    if found.recovery == Recovery::Absent {
        assert_eq!(acknowledged, 0, "{what}: acknowledged events are gone");
        return;
    }
    let serial = found.world.serial;
    assert!((acknowledged..=asked).contains(&serial), "{what}: {acknowledged} <= {serial} <= {asked}");
    assert_eq!(found.world, worlds[serial as usize], "{what}");
}

/// Counts up, so that a run is the same each time.
struct Counting(AtomicU8);

impl Random for Counting {
    fn fill(&self, bytes: &mut [u8]) -> std::io::Result<()> {
        bytes.fill_with(|| self.0.fetch_add(1, Ordering::Relaxed));
        Ok(())
    }
}

/// States as they are, and encrypted ones.
fn seals() -> [Arc<dyn Seal>; 2] {
    let key = Key::Passphrase("a passphrase of a test".to_owned().into());
    let keys = Keys {
        keys: [("k".to_owned(), key)].into(),
        writes: Some("k".to_owned()),
        plaintext: Plaintext::Refused,
        cost: Cost { memory_kib: 64, iterations: 1, lanes: 1 },
    };
    [Arc::new(Plain), Arc::new(Keyring::new(keys, Box::new(Counting(AtomicU8::new(0)))))]
}

#[test]
fn a_cut_at_every_operation_loses_nothing_that_was_acknowledged() {
    for seal in seals() {
        cut_everywhere(&seal);
    }
}

fn cut_everywhere(seal: &Arc<dyn Seal>) {
    let folder = tempfile::tempdir().expect("a folder");
    let whole = Made::default();
    play(&whole, folder.path(), seal);
    let operations = whole.0.lock().unwrap().operations;
    assert!(operations > 25, "{operations}");
    for at in 0..operations {
        for for_ever in [true, false] {
            let disk = Made::failing(Contents::default(), at, for_ever);
            let promise = play(&disk, folder.path(), seal);
            for cut in CUTS {
                let found = disk.after(cut);
                check(
                    &found,
                    (folder.path(), seal),
                    promise,
                    &format!("failing at {at} ({for_ever}), then {cut:?}"),
                );
            }
        }
    }
}

#[test]
fn a_second_cut_while_recovering_loses_nothing_either() {
    for seal in seals() {
        cut_twice(&seal);
    }
}

fn cut_twice(seal: &Arc<dyn Seal>) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("lustre.state");
    for first in (0..40).step_by(3) {
        for cut in CUTS {
            let disk = Made::failing(Contents::default(), first, true);
            let promise = play(&disk, folder.path(), seal);
            let found = disk.after(cut).0.lock().unwrap().clone();
            for second in 0..8 {
                let disk = Made::failing(found.clone(), second, true);
                let holder = Holder {
                    who: "t".into(),
                    operation: "apply".into(),
                    version: "0".into(),
                    since: "now".into(),
                    pid: 1,
                };
                let lock = lock(&path, holder, Duration::ZERO).expect("nobody else");
                let opened =
                    open(Arc::new(disk.clone()), &path, (lock, Arc::clone(seal)), Lineage("l".into()))
                        .map(drop);
                assert!(
                    matches!(opened, Ok(()) | Err(StoreError::Io { .. })),
                    "{first} {cut:?} {second}: {opened:?}"
                );
                for cut in CUTS {
                    check(
                        &disk.after(cut),
                        (folder.path(), seal),
                        promise,
                        &format!("{first}, {second}, {cut:?}"),
                    );
                }
            }
        }
    }
}
