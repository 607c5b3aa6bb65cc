//! Cuts the power, or the process, at every single operation on the disk, and reads the state back.
//!
//! The disk is made up: it knows what was written, what was synced, and which names are durable.
//! Invariant checked: what was acknowledged is there, what is there was at least asked for, and nothing else is.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lustre_model::address::Address;
use lustre_model::journal::{Event, Journal, Outcome};
use lustre_model::plan::Operation;
use lustre_model::recorded::{Lineage, World};
use lustre_model::resource::{Attributes, Kind};
use lustre_model::value::Value;
use lustre_store::{Disk, DiskFile, Holder, Recovery, StoreError, lock, open, read};

#[derive(Debug, Clone, Default)]
struct Inode {
    now: Vec<u8>,
    durable: Vec<u8>,
}

#[derive(Debug, Clone, Default)]
struct Contents {
    inodes: Vec<Inode>,
    names: BTreeMap<PathBuf, usize>,
    durable_names: BTreeMap<PathBuf, usize>,
    operations: usize,
    /// The operation that fails; with `for_ever`, all after it too.
    fails_at: Option<usize>,
    for_ever: bool,
}

#[derive(Clone, Default)]
struct Made(Arc<Mutex<Contents>>);

impl Made {
    /// Counts an operation; `Err` when it is the one that fails.
    fn step(&self) -> (std::sync::MutexGuard<'_, Contents>, io::Result<()>) {
        let mut contents = self.0.lock().unwrap();
        let at = contents.operations;
        contents.operations += 1;
        let for_ever = contents.for_ever;
        let fails = contents.fails_at.is_some_and(|bad| at == bad || (for_ever && at > bad));
        (contents, if fails { Err(io::Error::other("made to fail")) } else { Ok(()) })
    }

    fn failing(contents: Contents, at: usize, for_ever: bool) -> Self {
        let contents = Contents { operations: 0, fails_at: Some(at), for_ever, ..contents };
        Self(Arc::new(Mutex::new(contents)))
    }

    /// The disk as it is found after the cut.
    fn after(&self, cut: Cut) -> Self {
        let mut contents = self.0.lock().unwrap().clone();
        contents.fails_at = None;
        for inode in &mut contents.inodes {
            inode.now = match cut {
                Cut::Kill => inode.now.clone(),
                Cut::Power | Cut::PowerAfterNames => inode.durable.clone(),
                Cut::PowerHalfWritten => half_written(inode),
                Cut::PowerZeros => zeros(inode),
            };
            inode.durable = inode.now.clone();
        }
        match cut {
            Cut::Kill | Cut::PowerAfterNames => contents.durable_names = contents.names.clone(),
            Cut::Power | Cut::PowerHalfWritten | Cut::PowerZeros => {
                contents.names = contents.durable_names.clone()
            }
        }
        Self(Arc::new(Mutex::new(contents)))
    }
}

fn half_written(inode: &Inode) -> Vec<u8> {
    if !inode.now.starts_with(&inode.durable) {
        return inode.durable.clone();
    }
    inode.now[..(inode.durable.len() + inode.now.len()) / 2].to_vec()
}

/// The size reached the disk, the bytes did not.
fn zeros(inode: &Inode) -> Vec<u8> {
    let mut bytes = inode.durable.clone();
    bytes.resize(inode.now.len().max(bytes.len()), 0);
    bytes
}

#[derive(Debug, Clone, Copy)]
enum Cut {
    Kill,
    Power,
    PowerAfterNames,
    PowerHalfWritten,
    PowerZeros,
}

const CUTS: [Cut; 5] = [Cut::Kill, Cut::Power, Cut::PowerAfterNames, Cut::PowerHalfWritten, Cut::PowerZeros];

impl Disk for Made {
    fn read(&self, path: &Path) -> io::Result<Option<Vec<u8>>> {
        let contents = self.0.lock().unwrap();
        Ok(contents.names.get(path).map(|inode| contents.inodes[*inode].now.clone()))
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let (mut contents, outcome) = self.step();
        outcome?;
        let inode = match contents.names.get(path) {
            Some(inode) => *inode,
            None => {
                contents.inodes.push(Inode::default());
                contents.inodes.len() - 1
            }
        };
        contents.inodes[inode].now.clear();
        contents.names.insert(path.to_owned(), inode);
        Ok(Box::new(MadeFile { disk: self.clone(), inode }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let (mut contents, outcome) = self.step();
        outcome?;
        let inode = contents.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        contents.names.insert(to.to_owned(), inode);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let (mut contents, outcome) = self.step();
        outcome?;
        contents.names.remove(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(())
    }

    fn sync_folder(&self, _path: &Path) -> io::Result<()> {
        let (mut contents, outcome) = self.step();
        outcome?;
        contents.durable_names = contents.names.clone();
        Ok(())
    }
}

struct MadeFile {
    disk: Made,
    inode: usize,
}

impl DiskFile for MadeFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let (mut contents, outcome) = self.disk.step();
        let written = if outcome.is_ok() { bytes } else { &bytes[..bytes.len() / 2] };
        contents.inodes[self.inode].now.extend_from_slice(written);
        outcome
    }

    fn sync(&mut self) -> io::Result<()> {
        let (mut contents, outcome) = self.disk.step();
        outcome?;
        let inode = &mut contents.inodes[self.inode];
        inode.durable = inode.now.clone();
        Ok(())
    }
}

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
fn play(disk: &Made, folder: &Path) -> (u64, u64) {
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
        let Ok(journal) = open(Arc::new(disk.clone()), &path, lock, Lineage("l".into())) else { break };
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

fn check(disk: &Made, folder: &Path, (acknowledged, asked): (u64, u64), what: &str) {
    let path = folder.join("lustre.state");
    let worlds = worlds();
    let found = read(disk, &path).unwrap_or_else(|error| panic!("{what}: {error}"));
    if found.recovery == Recovery::Absent {
        assert_eq!(acknowledged, 0, "{what}: acknowledged events are gone");
        return;
    }
    let serial = found.world.serial;
    assert!((acknowledged..=asked).contains(&serial), "{what}: {acknowledged} <= {serial} <= {asked}");
    assert_eq!(found.world, worlds[serial as usize], "{what}");
}

#[test]
fn a_cut_at_every_operation_loses_nothing_that_was_acknowledged() {
    let folder = tempfile::tempdir().expect("a folder");
    let whole = Made::default();
    play(&whole, folder.path());
    let operations = whole.0.lock().unwrap().operations;
    assert!(operations > 25, "{operations}");
    for at in 0..operations {
        for for_ever in [true, false] {
            let disk = Made::failing(Contents::default(), at, for_ever);
            let promise = play(&disk, folder.path());
            for cut in CUTS {
                let found = disk.after(cut);
                check(&found, folder.path(), promise, &format!("failing at {at} ({for_ever}), then {cut:?}"));
            }
        }
    }
}

#[test]
fn a_second_cut_while_recovering_loses_nothing_either() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("lustre.state");
    for first in (0..40).step_by(3) {
        for cut in CUTS {
            let disk = Made::failing(Contents::default(), first, true);
            let promise = play(&disk, folder.path());
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
                let opened = open(Arc::new(disk.clone()), &path, lock, Lineage("l".into())).map(drop);
                assert!(
                    matches!(opened, Ok(()) | Err(StoreError::Io { .. })),
                    "{first} {cut:?} {second}: {opened:?}"
                );
                for cut in CUTS {
                    check(&disk.after(cut), folder.path(), promise, &format!("{first}, {second}, {cut:?}"));
                }
            }
        }
    }
}
