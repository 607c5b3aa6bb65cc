//! What every backend does when nothing breaks.
//!
//! Invariant checked: the rules of `lustre_store::Backend`.

use std::time::Duration;

use lustre_model::journal::{Event, Journal, JournalError};
use lustre_model::recorded::{Lineage, World};
use lustre_store::{Backend, LockError, OpenState, Recovery, Unlocked};

use crate::subject::{Subject, create, has, holder, lineage, present};

const LONG: Duration = Duration::from_secs(60);

/// Locks and opens.
pub fn opened(backend: &dyn Backend) -> OpenState {
    let mut lock = backend.lock(holder("a@b"), LONG).expect("nobody else has it");
    let read = lock.read().expect("it is whole");
    let open = lock.open(lineage()).expect("it opens");
    if read.recovery != Recovery::Absent {
        assert_eq!(*open.world(), read.world, "what is opened is what was read under the lock");
    }
    open
}

/// Records one object.
pub fn record(state: &OpenState, name: &str) {
    state.append(&[create(name)]).expect("it is recorded");
    state.append(&[present(name)]).expect("it is recorded");
}

/// Makes a state with one object.
pub fn small(subject: &dyn Subject) {
    let state = opened(&*subject.client());
    record(&state, "a");
    state.close().expect("it closes");
}

pub fn nothing_there_is_absent_and_looking_or_locking_makes_nothing(subject: &dyn Subject) {
    let client = subject.client();
    assert!(!client.exists().unwrap());
    assert_eq!(client.read().unwrap().recovery, Recovery::Absent);
    let mut lock = client.lock(holder("a@b"), LONG).unwrap();
    assert_eq!(lock.read().unwrap().recovery, Recovery::Absent);
    drop(lock);
    assert!(!subject.client().exists().unwrap());
    assert_eq!(subject.client().read().unwrap().recovery, Recovery::Absent);
}

pub fn what_was_recorded_is_read_back_and_gone_on_with(subject: &dyn Subject) {
    small(subject);
    let found = subject.client().read().unwrap();
    assert_eq!((found.recovery, found.world.serial, &found.world.lineage), (Recovery::Clean, 2, &lineage()));
    let state = opened(&*subject.client());
    assert_eq!(*state.world(), found.world);
    record(&state, "b");
    let kept = World::clone(&state.world());
    state.close().unwrap();
    assert!(state.append(&[create("c")]).is_err(), "a closed state takes nothing");
    state.close().expect("once more does nothing");
    let found = subject.client().read().unwrap();
    assert_eq!((found.recovery, found.world), (Recovery::Clean, kept));
}

pub fn what_was_acknowledged_is_read_while_the_state_is_open(subject: &dyn Subject) {
    small(subject);
    let state = opened(&*subject.client());
    for name in ["b", "c", "d"] {
        record(&state, name);
        assert_eq!(subject.client().read().unwrap().world, *state.world());
    }
    // Whoever ends without closing loses nothing.
    let kept = World::clone(&state.world());
    drop(state);
    subject.end_locks();
    assert_eq!(subject.client().read().unwrap().world, kept);
    assert_eq!(*opened(&*subject.client()).world(), kept);
}

pub fn a_second_lock_is_refused_and_told_who_has_it(subject: &dyn Subject) {
    let client = subject.client();
    assert_eq!(client.holder().unwrap(), None);
    let first = client.lock(holder("a@b"), LONG).unwrap();
    let refused = subject.client().lock(holder("c@d"), Duration::ZERO).map(drop);
    let Err(LockError::Held { held }) = refused else { panic!("{refused:?}") };
    assert_eq!(held.holder, holder("a@b"));
    assert_eq!(subject.client().holder().unwrap().unwrap().id, held.id);
    drop(first);
    assert_eq!(subject.client().holder().unwrap(), None);
    drop(subject.client().lock(holder("c@d"), Duration::ZERO).expect("it is free"));
}

pub fn a_lock_is_waited_for(subject: &dyn Subject) {
    let first = subject.client().lock(holder("a@b"), LONG).unwrap();
    let second = subject.client();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| second.lock(holder("c@d"), LONG).map(drop));
        while !waiting.is_finished() && first_looks(subject) < 3 {
            std::thread::sleep(Duration::from_millis(5));
        }
        assert!(!waiting.is_finished(), "it waits");
        drop(first);
        waiting.join().unwrap().expect("it waits until the first is gone");
    });
}

/// Looks at the lock, and counts.
fn first_looks(subject: &dyn Subject) -> usize {
    use std::cell::Cell;
    thread_local!(static LOOKS: Cell<usize> = const { Cell::new(0) });
    assert_eq!(subject.client().holder().unwrap().unwrap().holder, holder("a@b"));
    LOOKS.with(|looks| {
        looks.set(looks.get() + 1);
        looks.get()
    })
}

pub fn a_lock_is_taken_away_only_by_its_number(subject: &dyn Subject) {
    small(subject);
    assert_eq!(subject.client().force_unlock("1").unwrap(), Unlocked::Free);
    let kept = subject.client().lock(holder("a@b"), LONG).unwrap();
    let held = subject.client().holder().unwrap().unwrap();
    if subject.unlocks() {
        let other = subject.client().force_unlock("another").unwrap();
        assert!(matches!(other, Unlocked::Other(it) if it.id == held.id));
        assert!(
            matches!(subject.client().force_unlock(&held.id).unwrap(), Unlocked::Taken(it) if it.id == held.id)
        );
        assert_eq!(subject.client().holder().unwrap(), None);
        drop(subject.elsewhere().lock(holder("c@d"), Duration::ZERO).expect("it is free"));
    } else {
        let left = subject.client().force_unlock(&held.id).unwrap();
        assert!(matches!(left, Unlocked::EndsWithItsProcess(it) if it.id == held.id));
        assert!(subject.client().lock(holder("c@d"), Duration::ZERO).is_err());
    }
    drop(kept);
}

pub fn tokens_grow_with_every_lock(subject: &dyn Subject) {
    let mut before = 0;
    for _ in 0..3 {
        let state = opened(&*subject.client());
        assert!(state.token() > before);
        before = state.token();
        record(&state, &format!("v{before}"));
        state.close().unwrap();
        assert!(subject.client().read().unwrap().token >= before, "who only looks is answered by agents too");
    }
}

pub fn events_that_do_not_fit_are_refused_all_or_none(subject: &dyn Subject) {
    small(subject);
    let state = opened(&*subject.client());
    let refused = state.append(&[create("b"), create("a")]);
    assert!(matches!(refused, Err(JournalError::Illegal { .. })), "{refused:?}");
    assert_eq!(state.world().serial, 2);
    record(&state, "b");
    state.close().unwrap();
    assert_eq!(subject.client().read().unwrap().world.objects.len(), 2);
}

pub fn another_world_takes_the_place_of_this_one(subject: &dyn Subject) {
    small(subject);
    let mut other = World::new(Lineage("other".into()));
    other.apply(&create("z")).unwrap();
    let state = opened(&*subject.client());
    state.replace(other.clone()).unwrap();
    assert_eq!(subject.client().read().unwrap().world, other);
    state.append(&[present("z")]).unwrap();
    state.close().unwrap();
    other.apply(&present("z")).unwrap();
    assert_eq!(subject.client().read().unwrap().world, other);
}

pub fn appends_from_many_threads_are_all_there(subject: &dyn Subject) {
    let state = opened(&*subject.client());
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let state = &state;
            scope.spawn(move || (0..10).for_each(|number| record(state, &format!("v{thread}-{number}"))));
        }
    });
    drop(state);
    let found = subject.client().read().unwrap();
    assert_eq!((found.world.objects.len(), found.world.serial), (80, 160));
}

pub fn empty_torn_flipped_newer_and_foreign_bytes_are_refused_and_kept(subject: &dyn Subject) {
    small(subject);
    let good = subject.snapshot().expect("there is a state");
    let newer = String::from_utf8(good.clone()).unwrap().replacen("\"version\":1", "\"version\":9", 1);
    let mut flipped = good.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    let cases: [(&str, Vec<u8>); 5] = [
        ("empty", Vec::new()),
        ("torn", good[..good.len() / 2].to_vec()),
        ("flipped", flipped),
        ("newer", newer.into_bytes()),
        ("foreign", b"{\"version\": 4, \"terraform_version\": \"1.9.0\"}\n".to_vec()),
    ];
    for (what, bytes) in &cases {
        subject.set_snapshot(Some(bytes));
        let error = subject.client().read().expect_err(what);
        assert!(error.to_string().len() > 30, "{what}: {error}");
        assert!(subject.client().exists().unwrap(), "{what}");
        let locked = subject.client().lock(holder("a@b"), LONG);
        let opened = locked.map(|mut lock| (lock.read().is_err(), lock.open(lineage()).is_err()));
        assert!(matches!(opened, Err(_) | Ok((true, true))), "{what} is not opened");
        assert_eq!(subject.snapshot().as_deref(), Some(bytes.as_slice()), "{what} is kept as it is");
        subject.end_locks();
    }
    subject.set_snapshot(Some(&good));
    assert!(has(&subject.client().read().unwrap().world, "a"), "the original is read again");
}

/// The events of a story that is cut; each inner list is one append.
pub fn story() -> Vec<Vec<Event>> {
    vec![
        vec![create("a"), create("b")],
        vec![present("a")],
        vec![present("b"), create("c")],
        vec![present("c")],
        vec![create("d")],
    ]
}
