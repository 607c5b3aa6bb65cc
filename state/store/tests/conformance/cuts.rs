//! What every backend keeps when its way to the place breaks at any request.
//!
//! Invariant checked: what was acknowledged is there, what is there was at least asked for, and nothing else is.

use std::time::Duration;

use lustre_model::journal::Journal;
use lustre_model::recorded::World;
use lustre_store::{Backend, Recovery};

use crate::behaviour::{opened, record, story};
use crate::subject::{Break, Subject, has, holder, lineage};

const LONG: Duration = Duration::from_secs(60);

/// More requests than a story makes.
const REQUESTS_MAX: usize = 200;

/// Plays the story in two sessions, as far as it goes; returns the serial that was acknowledged and that was asked for.
fn play(backend: &dyn Backend) -> (u64, u64) {
    let (mut acknowledged, mut asked) = (0, 0);
    let story = story();
    for session in [&story[..2], &story[2..]] {
        let Ok(lock) = backend.lock(holder("a@b"), LONG) else { break };
        let Ok(state) = lock.open(lineage()) else { break };
        for events in session {
            asked += events.len() as u64;
            if state.append(events).is_err() {
                return (acknowledged, asked);
            }
            acknowledged = asked;
        }
        if state.close().is_err() {
            break;
        }
    }
    (acknowledged, asked)
}

fn whole() -> u64 {
    story().iter().map(|events| events.len() as u64).sum()
}

/// The worlds of a story in which nothing breaks, by serial.
fn worlds() -> Vec<World> {
    let mut world = World::new(lineage());
    let mut worlds = vec![world.clone()];
    for event in story().iter().flatten() {
        world.apply(event).expect("the story is legal");
        worlds.push(world.clone());
    }
    worlds
}

fn check(subject: &dyn Subject, (acknowledged, asked): (u64, u64), what: &str) {
    let found = subject.client().read().unwrap_or_else(|error| panic!("{what}: {error:?}"));
    if found.recovery == Recovery::Absent {
        assert_eq!(acknowledged, 0, "{what}: acknowledged events are gone");
        return;
    }
    let serial = found.world.serial;
    assert!((acknowledged..=asked).contains(&serial), "{what}: {acknowledged} <= {serial} <= {asked}");
    assert_eq!(found.world, worlds()[serial as usize], "{what}");
}

/// Goes on from what is there, with nothing broken.
fn goes_on(subject: &dyn Subject, what: &str) {
    subject.end_locks();
    let before = subject.client().read().unwrap();
    let state = opened(&*subject.client());
    if before.recovery != Recovery::Absent {
        assert_eq!(*state.world(), before.world, "{what}");
    }
    record(&state, "z");
    state.close().unwrap_or_else(|error| panic!("{what}: {error:?}"));
    assert!(has(&subject.client().read().unwrap().world, "z"), "{what}");
}

pub fn a_cut_at_every_request_loses_nothing_that_was_acknowledged<S: Subject>(make: &dyn Fn() -> S) {
    let mut cuts = 0;
    for how in [Break::Before, Break::After] {
        for at in 0..REQUESTS_MAX {
            let subject = make();
            let promise = play(&*subject.breaking(at, how, true));
            let what = format!("cut {how:?} request {at}");
            if subject.requests() <= at {
                assert_eq!(promise, (whole(), whole()), "{what}");
                break;
            }
            cuts += 1;
            check(&subject, promise, &what);
            goes_on(&subject, &what);
        }
    }
    assert!(cuts > 15, "{cuts}");
}

pub fn a_cut_while_a_cut_state_is_opened_loses_nothing_either<S: Subject>(make: &dyn Fn() -> S) {
    for first in (4..40).step_by(3) {
        for second in 0..REQUESTS_MAX {
            let subject = make();
            let promise = play(&*subject.breaking(first, Break::After, true));
            subject.end_locks();
            let broken = subject.breaking(second, Break::After, true);
            let done = broken.lock(holder("c@d"), LONG).is_ok_and(|lock| lock.open(lineage()).is_ok());
            let what = format!("cut after request {first}, then after {second}");
            check(&subject, promise, &what);
            let whole = subject.requests() <= second;
            if whole {
                assert!(done, "{what}");
            }
            drop(broken);
            goes_on(&subject, &what);
            if whole {
                break;
            }
        }
    }
}

pub fn one_request_that_fails_is_made_again<S: Subject>(make: &dyn Fn() -> S) {
    for how in [Break::Before, Break::After] {
        for at in 0..REQUESTS_MAX {
            let subject = make();
            let promise = play(&*subject.breaking(at, how, false));
            let what = format!("one failure {how:?} request {at}");
            check(&subject, promise, &what);
            if subject.retries() {
                assert_eq!(promise, (whole(), whole()), "{what}");
                assert_eq!(subject.client().read().unwrap().recovery, Recovery::Clean, "{what}");
            }
            if subject.requests() <= at {
                break;
            }
            goes_on(&subject, &what);
        }
    }
}
