//! The state in a folder: what is refused, what is kept, who may write.
//!
//! On the real disk; crashes are in `crash`.
//! Invariant checked: a file that is not a whole state is refused by name and left as it was.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use lustre_model::address::Address;
use lustre_model::journal::{Event, Journal, JournalError, Outcome};
use lustre_model::plan::Operation;
use lustre_model::recorded::{Lineage, Secret, Status};
use lustre_model::resource::{Attributes, Kind};
use lustre_model::value::Value;
use lustre_store::{
    Folder, Holder, Lock, LockError, OpenState, Plain, Recovery, StoreError, journal_path, lock, open, read,
};

fn holder(who: &str) -> Holder {
    Holder {
        who: who.into(),
        operation: "apply".into(),
        version: "0.1".into(),
        since: "today".into(),
        pid: 7,
    }
}

fn take(path: &Path) -> Lock {
    lock(path, holder("a@b"), Duration::ZERO).expect("nobody else has it")
}

fn opened(path: &Path) -> OpenState {
    open(Arc::new(Folder), path, (take(path), Arc::new(Plain)), Lineage("first".into())).expect("a state")
}

fn create(name: &str) -> Event {
    Event::Intent {
        address: Address::new("value", name),
        kind: Kind::Value,
        operation: Operation::Create,
        attributes: Attributes::from([("input".to_owned(), Value::from(name).sensitive())]),
        dependencies: BTreeSet::new(),
    }
}

fn present(name: &str) -> Event {
    let outcome = Outcome::Present {
        attributes: Attributes::from([("input".to_owned(), Value::from(name).sensitive())]),
        private: BTreeMap::from([("key".to_owned(), Secret::new("pem".into()))]),
        dependencies: BTreeSet::new(),
    };
    Event::Result { address: Address::new("value", name), outcome }
}

/// A state with one object, closed.
fn small(folder: &Path) -> PathBuf {
    let path = folder.join("lustre.state");
    let journal = opened(&path);
    journal.append(&[create("a")]).expect("legal");
    journal.append(&[present("a")]).expect("legal");
    journal.close().expect("closed");
    path
}

#[test]
fn what_was_recorded_is_read_back_and_is_one_file_for_its_owner_only() {
    let folder = tempfile::tempdir().unwrap();
    let path = small(folder.path());
    let found = read(&Folder, &path, &Plain).unwrap();
    assert_eq!((found.recovery, found.world.serial), (Recovery::Clean, 2));
    let object = &found.world.objects[&Address::new("value", "a")];
    assert_eq!(object.status, Status::Present);
    assert_eq!(object.private["key"].reveal(), "pem");
    assert!(object.attributes["input"].is_sensitive());
    assert!(!journal_path(&path).exists());
    let mode = fs_err::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_process_that_never_closed_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = small(folder.path());
    let journal = opened(&path);
    journal.append(&[create("b")]).unwrap();
    drop(journal);
    let found = read(&Folder, &path, &Plain).unwrap();
    assert_eq!(found.recovery, Recovery::Replayed { events: 1, torn: 0 });
    assert_eq!(found.world.objects[&Address::new("value", "b")].status, Status::Creating);
    assert_eq!(opened(&path).world().serial, 3);
    assert_eq!(read(&Folder, &path, &Plain).unwrap().recovery, Recovery::Clean);
}

#[test]
fn files_that_are_not_whole_states_are_refused_and_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = small(folder.path());
    let good = fs_err::read(&path).unwrap();
    let flipped = |at: usize| {
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        bytes
    };
    let newer = String::from_utf8(good.clone()).unwrap().replacen("\"version\":1", "\"version\":9", 1);
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("is empty", Vec::new()),
        ("ends too early", good[..good.len() / 2].to_vec()),
        ("ends too early", good[..20].to_vec()),
        ("checksum", flipped(good.len() - 100)),
        ("bytes follow", [good.clone(), b"x".to_vec()].concat()),
        ("version 9", newer.into_bytes()),
        ("not a state of lustre", b"{\"version\": 4, \"terraform_version\": \"1.15\"}".to_vec()),
    ];
    for (expected, bytes) in cases {
        fs_err::write(&path, &bytes).unwrap();
        let error = read(&Folder, &path, &Plain).expect_err(expected).to_string();
        assert!(error.contains(expected), "{expected}: {error}");
        let again =
            open(Arc::new(Folder), &path, (take(&path), Arc::new(Plain)), Lineage("x".into())).map(drop);
        assert!(again.is_err(), "{expected}");
        assert_eq!(fs_err::read(&path).unwrap(), bytes, "{expected}");
    }
    for at in 0..good.len() {
        fs_err::write(&path, flipped(at)).unwrap();
        assert!(read(&Folder, &path, &Plain).is_err(), "a flipped bit at {at} went unnoticed");
    }
}

#[test]
fn a_journal_without_its_state_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = small(folder.path());
    let journal = opened(&path);
    journal.append(&[create("b")]).unwrap();
    drop(journal);
    let older = fs_err::read(&path).unwrap();
    fs_err::remove_file(&path).unwrap();
    assert!(matches!(read(&Folder, &path, &Plain), Err(StoreError::SnapshotMissing { .. })));

    let other = tempfile::tempdir().unwrap();
    let foreign = other.path().join("lustre.state");
    open(Arc::new(Folder), &foreign, (take(&foreign), Arc::new(Plain)), Lineage("other".into()))
        .unwrap()
        .close()
        .unwrap();
    fs_err::copy(&foreign, &path).unwrap();
    assert!(matches!(read(&Folder, &path, &Plain), Err(StoreError::OtherLineage { .. })));

    fs_err::write(&path, &older).unwrap();
    assert_eq!(read(&Folder, &path, &Plain).unwrap().world.serial, 3);
}

#[test]
fn an_older_copy_of_the_state_under_a_newer_journal_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lustre.state");
    opened(&path).close().unwrap();
    let oldest = fs_err::read(&path).unwrap();
    small(folder.path());
    let journal = opened(&path);
    journal.append(&[create("b")]).unwrap();
    drop(journal);
    fs_err::write(&path, oldest).unwrap();
    assert!(matches!(read(&Folder, &path, &Plain), Err(StoreError::Gap { begins: 2, ends: 0, .. })));
}

#[test]
fn events_that_do_not_fit_are_refused_all_or_none() {
    let folder = tempfile::tempdir().unwrap();
    let path = small(folder.path());
    let journal = opened(&path);
    let refused = journal.append(&[create("b"), create("a")]);
    assert!(matches!(refused, Err(JournalError::Illegal { .. })), "{refused:?}");
    assert_eq!(journal.world().serial, 2);
    journal.append(&[create("b")]).unwrap();
    journal.close().unwrap();
    assert_eq!(read(&Folder, &path, &Plain).unwrap().world.objects.len(), 2);
}

#[test]
fn the_second_who_locks_is_told_who_has_it_and_gets_it_when_the_first_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lustre.state");
    let first = take(&path);
    let LockError::Held { held: told } = lock(&path, holder("c@d"), Duration::ZERO).expect_err("held") else {
        panic!("it is held by somebody with a name");
    };
    assert_eq!(told.holder, holder("a@b"));
    let waiting = {
        let path = path.clone();
        std::thread::spawn(move || lock(&path, holder("c@d"), Duration::from_secs(60)))
    };
    let token = first.token();
    drop(first);
    let second = waiting.join().unwrap().expect("it waits until the first is gone");
    assert_eq!(second.token(), token + 1);
}

#[test]
fn tokens_grow_although_a_write_of_the_lock_file_was_cut_off_or_the_file_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let path = small(folder.path());
    let lock_file = folder.path().join("lustre.state.lock");
    let token = take(&path).token();
    let mut bytes = fs_err::read(&lock_file).unwrap();
    let newest = (token % 2) as usize * 1024;
    bytes.resize(2048, 0);
    bytes[newest..newest + 300].fill(0);
    fs_err::write(&lock_file, &bytes).unwrap();
    assert_eq!(take(&path).token(), token);

    fs_err::remove_file(&lock_file).unwrap();
    assert!(opened(&path).token() > 1);

    fs_err::write(&lock_file, b"garbage").unwrap();
    assert!(matches!(lock(&path, holder("x"), Duration::ZERO), Err(LockError::Damaged { .. })));
}

#[test]
fn appends_from_many_threads_are_all_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lustre.state");
    let journal = opened(&path);
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let journal = &journal;
            scope.spawn(move || {
                for number in 0..20 {
                    let name = format!("v{thread}-{number}");
                    journal.append(&[create(&name)]).unwrap();
                    journal.append(&[present(&name)]).unwrap();
                }
            });
        }
    });
    drop(journal);
    let found = read(&Folder, &path, &Plain).unwrap();
    assert_eq!((found.world.objects.len(), found.world.serial), (160, 320));
}

#[test]
fn the_stored_sample_of_each_version_is_still_read() {
    for version in 1..=1 {
        let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/samples/v{version}.state"));
        let found = read(&Folder, &sample, &Plain).unwrap();
        assert_eq!(found.world.serial, 2, "version {version}");
        assert_eq!(found.world.objects[&Address::new("value", "a")].status, Status::Present);
    }
}
