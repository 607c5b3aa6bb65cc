//! Two who both think they hold the lock on a state in a bucket: the bucket lets one of them write.
//!
//! One is frozen before or after any of its requests, as SIGSTOP and slow networks do; another takes the state over; then the
//! first goes on.
//! Invariant checked: whatever either was told is recorded is there at the end, once, and nothing was overwritten.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lustre_model::journal::{Journal, JournalError};
use lustre_store::Backend;

use crate::behaviour::{opened, record, small};
use crate::memory::{Fault, Plan};
use crate::s3::{InBucket, in_bucket};
use crate::subject::{Subject, create, has, holder, lineage};

const LONG: Duration = Duration::from_secs(60);

/// More requests than a session makes.
const REQUESTS_MAX: usize = 60;

/// What a session came to.
#[derive(Debug, Default)]
struct Session {
    acknowledged: Vec<String>,
    asked: Vec<String>,
    closed: bool,
}

/// Locks, opens, records three objects and closes, as far as it gets.
fn session(backend: &dyn Backend, who: &str) -> Session {
    let mut session = Session::default();
    let Ok(lock) = backend.lock(holder(who), LONG) else { return session };
    let Ok(state) = lock.open(lineage()) else { return session };
    for number in 0..3 {
        let name = format!("{who}{number}");
        session.asked.push(name.clone());
        if state.append(&[create(&name)]).is_err() {
            return session;
        }
        session.acknowledged.push(name);
    }
    session.closed = state.close().is_ok();
    session
}

fn check(subject: &InBucket, sessions: &[&Session], what: &str) {
    let found = subject.client().read().unwrap_or_else(|error| panic!("{what}: {error:?}"));
    let world = &found.world;
    for session in sessions {
        for name in &session.acknowledged {
            assert!(has(world, name), "{what}: {name} was acknowledged and is gone: {sessions:?}");
        }
    }
    let asked = sessions.iter().flat_map(|session| &session.asked).filter(|name| has(world, name)).count();
    assert_eq!(world.objects.len(), asked + 1, "{what}: {:?}", world.objects.keys());
    // Each object is one event; one more made the state.
    assert_eq!(world.serial, 2 + asked as u64, "{what}");
}

/// Lets a session be frozen at a request, does something, and lets it go on. `None` when it made no such request.
fn frozen_at<T>(
    subject: &InBucket,
    (at, fault, who): (usize, Fault, &str),
    meanwhile: impl FnOnce() -> T,
) -> Option<(Session, T)> {
    let client = subject.bucket.another().failing(Plan { at, fault, for_ever: true });
    let (backend, ended) = (subject.through(client.clone()), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let running = scope.spawn(|| {
            let session = session(&backend, who);
            ended.store(true, Ordering::Release);
            session
        });
        client.await_frozen(&|| ended.load(Ordering::Acquire));
        let was_frozen = !ended.load(Ordering::Acquire);
        let done = was_frozen.then(meanwhile);
        client.thaw();
        let session = running.join().expect("a session ends");
        done.map(|done| (session, done))
    })
}

#[test]
fn whoever_is_overtaken_at_any_request_is_fenced_or_was_recorded_before() {
    let mut overtaken = 0;
    for fault in [Fault::FreezeBefore, Fault::FreezeAfter] {
        for at in 0..REQUESTS_MAX {
            let subject = in_bucket();
            small(&subject);
            let what = format!("{fault:?} at {at}");
            let done = frozen_at(&subject, (at, fault, "o"), || {
                subject.end_locks();
                session(&*subject.client(), "n")
            });
            let Some((old, new)) = done else { break };
            // One frozen before its lock was there, or after it was given back, is not overtaken: it waits, or is done.
            assert!(new.closed, "{what}: the new holder works: {new:?}");
            assert_eq!(new.acknowledged.len(), 3, "{what}");
            check(&subject, &[&old, &new], &what);
            overtaken += usize::from(!old.closed);
        }
    }
    assert!(overtaken > 10, "{overtaken}");
}

#[test]
fn three_who_overtake_each_other_lose_nothing_either() {
    for first in 3..24 {
        for second in 2..16 {
            let subject = in_bucket();
            small(&subject);
            let what = format!("the first at {first}, the second at {second}");
            let done = frozen_at(&subject, (first, Fault::FreezeBefore, "o"), || {
                subject.end_locks();
                frozen_at(&subject, (second, Fault::FreezeBefore, "n"), || {
                    subject.end_locks();
                    session(&*subject.client(), "m")
                })
            });
            let Some((old, Some((new, newest)))) = done else { continue };
            assert!(newest.closed, "{what}: {newest:?}");
            check(&subject, &[&old, &new, &newest], &what);
        }
    }
}

#[test]
fn a_holder_that_is_stopped_past_its_expiry_is_overtaken_and_told() {
    let subject = InBucket { expiry: Duration::from_millis(60), ..in_bucket() };
    small(&subject);
    let client = subject.bucket.another();
    let old = opened(&subject.through(client.clone()));
    record(&old, "b");
    client.freeze();
    let new = opened(&*subject.client());
    assert!(new.token() > old.token());
    assert!(has(&new.world(), "b"), "what the old one recorded is there");
    record(&new, "c");
    client.thaw();
    assert!(matches!(old.append(&[create("d")]), Err(JournalError::LockLost)));
    assert!(matches!(old.append(&[create("e")]), Err(JournalError::LockLost)), "and ever after");
    assert!(old.close().is_err());
    record(&new, "f");
    new.close().unwrap();
    let world = subject.client().read().unwrap().world;
    assert!(has(&world, "c") && has(&world, "f") && !has(&world, "d"));
}

#[test]
fn a_holder_that_works_keeps_its_lock_past_its_expiry() {
    let subject = InBucket { expiry: Duration::from_millis(120), ..in_bucket() };
    let state = opened(&*subject.client());
    let waited = subject.client().lock(holder("c@d"), Duration::from_millis(500)).map(drop);
    assert!(waited.is_err(), "it is renewed");
    record(&state, "a");
    state.close().unwrap();
}

#[test]
fn what_a_step_came_to_is_kept_although_the_lock_is_lost() {
    let subject = in_bucket();
    let state = opened(&*subject.client());
    state.append(&[create("a")]).unwrap();
    assert!(state.unrecorded().is_none());
    subject.end_locks();
    drop(subject.client().lock(holder("c@d"), LONG).unwrap());
    assert!(matches!(state.append(&[crate::subject::present("a")]), Err(JournalError::LockLost)));
    let kept = state.unrecorded().expect("something could not be recorded");
    assert_eq!(kept.serial, 2);
    assert_eq!(subject.client().read().unwrap().world.serial, 1);
}
