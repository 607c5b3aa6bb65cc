//! Who drives the metadata target: the thread that brings an event, where nobody else does.
//!
//! A thread of its own for the target would cost every request two changes of threads. So an event is queued, and a thread that
//! finds nobody at work takes the writer, has it handle all that is queued, and puts it back. It does so for [`ROUNDS_MAX`]
//! rounds; what is queued then is left to the keeper, a thread that also keeps time.
//! ```text
//! free ──event──▶ busy ──queue empty──▶ free            failed, stopped or panicked ──▶ ended
//!                   └──ROUNDS_MAX──▶ handed ──keeper──▶ busy
//! ```
//! No event is forgotten: it is queued under the lock under which the writer is put back, and that only beside an empty queue.
//! So whoever queues finds the writer free, and drives; or busy, and its driver looks into the queue again; or handed, and the
//! keeper was woken; or ended, and nobody will be answered any more.
//! Invariant: one thread at a time drives the target, and events are handled in the order in which they were queued.

use std::collections::VecDeque;
use std::mem;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use lustre_metadata::TargetError;
use tokio::runtime::Handle;

use super::writer::{Course, Event, TICK};

/// Rounds that a thread drives which only came with an event.
const ROUNDS_MAX: usize = 8;

/// Most events in one round, and so in one commit.
const BATCH_MAX: usize = 1024;

/// So many events, or this part of what is queued, make a round: a commit is shared, but the first answers are on their way
/// while the last requests are still handled.
const BATCH_MIN: usize = 4;
const BATCH_PART: usize = 4;

/// What handles events; the target with its surroundings, or a stand-in in tests.
pub(super) trait Rounds: Send + 'static {
    /// Handles events and what else is due, commits once, and lets everything out.
    fn round(&mut self, events: &mut VecDeque<Event>) -> Result<Course, TargetError>;
}

/// How it ended.
#[derive(Debug)]
pub(super) enum Ending {
    /// It was asked to, or the log could not be synced, which was said.
    Stopped,
    /// The target cannot go on.
    Failed(TargetError),
    /// A bug.
    Panicked,
}

/// The target's place, shared by all who bring events.
pub(super) struct Host {
    state: Mutex<State>,
    /// Wakes the keeper: the writer is handed to it, or has ended.
    changed: Condvar,
}

struct State {
    events: VecDeque<Event>,
    place: Place,
}

/// Where the writer is.
enum Place {
    /// Not there yet: events wait for it.
    Awaited,
    Free(Desk),
    Busy,
    Handed(Desk),
    Ended(Option<Ending>),
}

/// The writer with what it is given next; the memory of one batch serves the next.
struct Desk {
    writer: Box<dyn Rounds>,
    batch: VecDeque<Event>,
}

impl Host {
    /// A place without a writer: events wait for [`Host::keep`].
    pub fn new() -> Arc<Self> {
        let state = State { events: VecDeque::new(), place: Place::Awaited };
        Arc::new(Self { state: Mutex::new(state), changed: Condvar::new() })
    }

    /// Queues an event and, where nobody drives, drives. May take as long as a few commits.
    pub fn give(&self, event: Event) {
        self.queue(event);
        self.drive();
    }

    /// Queues an event for who calls [`Host::drive`] next, which must be soon; the keeper does at every tick.
    pub fn queue(&self, event: Event) {
        let mut state = self.state();
        if matches!(state.place, Place::Ended(_)) {
            drop(state);
            // What cannot be handled is dropped outside the lock: its responder says so to the peer.
            return drop(event);
        }
        state.events.push_back(event);
    }

    /// Handles what is queued, where nobody else is at it.
    pub fn drive(&self) {
        let mut state = self.state();
        if state.events.is_empty() {
            return;
        }
        match mem::replace(&mut state.place, Place::Busy) {
            Place::Free(desk) => {
                drop(state);
                Driver { host: self, desk: Some(desk) }.run(ROUNDS_MAX);
            }
            other @ (Place::Awaited | Place::Busy | Place::Handed(_) | Place::Ended(_)) => {
                state.place = other;
            }
        }
    }

    /// Keeps a target: brings in its writer, drives what is handed over and at every tick, until it ends.
    ///
    /// The thread that calls this is the keeper. While another drives for longer than a tick, `runtime` is given something
    /// to do: it may be one of its threads that waits for a disk, and others must look after its sockets.
    pub fn keep(&self, writer: Box<dyn Rounds>, runtime: &Handle) -> Ending {
        self.state().place = Place::Handed(Desk { writer, batch: VecDeque::new() });
        let mut state = self.state();
        loop {
            match mem::replace(&mut state.place, Place::Busy) {
                Place::Handed(desk) | Place::Free(desk) => {
                    drop(state);
                    Driver { host: self, desk: Some(desk) }.run(usize::MAX);
                    state = self.state();
                }
                Place::Ended(ending) => {
                    state.place = Place::Ended(None);
                    return ending.unwrap_or(Ending::Stopped);
                }
                Place::Awaited | Place::Busy => {
                    drop(runtime.spawn(async {}));
                }
            }
            if matches!(state.place, Place::Free(_) | Place::Busy) {
                let waited = self.changed.wait_timeout(state, TICK);
                state = waited.unwrap_or_else(PoisonError::into_inner).0;
            }
        }
    }

    /// The state stays whole even if a thread died holding it: what is changed under it cannot fail half way.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self, ending: Ending) {
        let mut state = self.state();
        state.place = Place::Ended(Some(ending));
        let events = mem::take(&mut state.events);
        drop(state);
        self.changed.notify_all();
        drop(events);
    }
}

/// Whoever drives; ends the target where it panics.
struct Driver<'a> {
    host: &'a Host,
    /// `None` once it was put back.
    desk: Option<Desk>,
}

impl Driver<'_> {
    /// Drives until the queue is empty; after so many rounds the keeper goes on.
    fn run(mut self, rounds: usize) {
        for _ in 0..rounds {
            let Some(Desk { writer, batch }) = self.desk.as_mut() else { return };
            take_batch(&mut self.host.state().events, batch);
            match writer.round(batch) {
                Ok(Course::On) => {}
                Ok(Course::End) => return self.end(Ending::Stopped),
                Err(error) => return self.end(Ending::Failed(error)),
            }
            if self.put_back() {
                return;
            }
        }
        let mut state = self.host.state();
        if let Some(desk) = self.desk.take() {
            state.place = Place::Handed(desk);
            self.host.changed.notify_all();
        }
    }

    /// Puts the writer back where nothing is queued.
    fn put_back(&mut self) -> bool {
        let mut state = self.host.state();
        if !state.events.is_empty() {
            return false;
        }
        if let Some(desk) = self.desk.take() {
            state.place = Place::Free(desk);
        }
        true
    }

    fn end(&mut self, ending: Ending) {
        // Store and log are closed before anyone learns that it ended.
        drop(self.desk.take());
        self.host.end(ending);
    }
}

impl Drop for Driver<'_> {
    fn drop(&mut self) {
        if self.desk.is_some() {
            self.end(Ending::Panicked);
        }
    }
}

/// Moves the first events into an empty batch.
fn take_batch(queue: &mut VecDeque<Event>, batch: &mut VecDeque<Event>) {
    let count = (queue.len() / BATCH_PART).clamp(BATCH_MIN, BATCH_MAX);
    if queue.len() <= count {
        mem::swap(queue, batch);
    } else {
        batch.extend(queue.drain(..count));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
    use std::sync::mpsc;
    use std::thread::{self, JoinHandle, ThreadId};
    use std::time::{Duration, Instant};

    use tokio::runtime::Runtime;

    use super::*;

    const GIVERS: u64 = 8;
    const EACH: u64 = 2000;
    const TIMEOUT: Duration = Duration::from_secs(20);

    /// Stands in for the writer: notes what it handles, and ends as it is told to.
    #[derive(Default)]
    struct Note {
        busy: AtomicBool,
        handled: Mutex<Vec<u64>>,
        drivers: Mutex<Vec<ThreadId>>,
        dropped: AtomicUsize,
    }

    struct Notes {
        note: Arc<Note>,
        /// Called with every number that is handled.
        at: Box<dyn FnMut(u64) -> Result<Course, TargetError> + Send>,
    }

    impl Rounds for Notes {
        fn round(&mut self, events: &mut VecDeque<Event>) -> Result<Course, TargetError> {
            assert!(!self.note.busy.swap(true, Ordering::SeqCst), "two threads drive");
            self.note.drivers.lock().unwrap().push(thread::current().id());
            let mut course = Course::On;
            for event in events.drain(..) {
                let Event::LogSynced { sequence } = event else {
                    course = Course::End;
                    continue;
                };
                self.note.handled.lock().unwrap().push(sequence);
                course = (self.at)(sequence)?;
            }
            self.note.busy.store(false, Ordering::SeqCst);
            Ok(course)
        }
    }

    impl Drop for Notes {
        fn drop(&mut self) {
            self.note.dropped.fetch_add(1, Ordering::SeqCst);
        }
    }

    struct House {
        host: Arc<Host>,
        note: Arc<Note>,
        keeper: JoinHandle<Ending>,
        _runtime: Runtime,
    }

    impl House {
        fn build(at: impl FnMut(u64) -> Result<Course, TargetError> + Send + 'static) -> Self {
            Self::around(Host::new(), at)
        }

        fn around(
            host: Arc<Host>,
            at: impl FnMut(u64) -> Result<Course, TargetError> + Send + 'static,
        ) -> Self {
            let note = Arc::<Note>::default();
            let notes = Box::new(Notes { note: Arc::clone(&note), at: Box::new(at) });
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
            let (keeping, handle) = (Arc::clone(&host), runtime.handle().clone());
            let keeper = thread::spawn(move || keeping.keep(notes, &handle));
            Self { host, note, keeper, _runtime: runtime }
        }

        /// Waits until the writer is free, so that the next thread drives.
        fn settle(&self) {
            let begun = Instant::now();
            while !matches!(self.host.state().place, Place::Free(_)) {
                assert!(begun.elapsed() < TIMEOUT, "the writer is never put back");
                thread::yield_now();
            }
        }
    }

    fn number(sequence: u64) -> Event {
        Event::LogSynced { sequence }
    }

    #[test]
    fn many_threads_have_every_event_handled_once_and_in_their_order() {
        let house = House::build(|_| Ok(Course::On));
        let givers = (0..GIVERS).map(|giver| {
            let host = Arc::clone(&house.host);
            thread::spawn(move || (0..EACH).for_each(|i| host.give(number(giver * EACH + i))))
        });
        givers.collect::<Vec<_>>().into_iter().for_each(|giver| giver.join().unwrap());
        house.host.give(Event::Stop);
        assert!(matches!(house.keeper.join().unwrap(), Ending::Stopped));
        let handled = house.note.handled.lock().unwrap();
        for giver in 0..GIVERS {
            let own: Vec<u64> = handled.iter().copied().filter(|n| n / EACH == giver).collect();
            assert_eq!(own, (giver * EACH..(giver + 1) * EACH).collect::<Vec<_>>());
        }
        assert_eq!(handled.len() as u64, GIVERS * EACH);
    }

    /// No event waits for the tick: each is answered before its thread brings the next one.
    #[test]
    fn an_event_is_handled_without_waiting_for_the_keeper() {
        let (answered, answers) = mpsc::channel();
        let house = House::build(move |n| {
            answered.send(n).unwrap();
            Ok(Course::On)
        });
        house.settle();
        let begun = Instant::now();
        for n in 0..EACH {
            house.host.give(number(n));
            assert_eq!(answers.recv_timeout(TIMEOUT), Ok(n));
        }
        let at_ticks = TICK * u32::try_from(EACH).unwrap();
        assert!(begun.elapsed() < at_ticks / 4, "events waited for ticks");
        house.host.give(Event::Stop);
        house.keeper.join().unwrap();
    }

    #[test]
    fn a_thread_that_brought_one_event_is_not_kept_for_ever() {
        let host = Host::new();
        let more = Arc::clone(&host);
        // Every event but the last brings another one.
        let house = House::around(Arc::clone(&host), move |n| {
            if n < EACH {
                more.queue(number(n + 1));
            }
            Ok(Course::On)
        });
        house.settle();
        house.note.drivers.lock().unwrap().clear();
        host.give(number(0));
        let (ours, begun) = (thread::current().id(), Instant::now());
        while house.note.handled.lock().unwrap().len() as u64 <= EACH {
            assert!(begun.elapsed() < TIMEOUT, "the keeper does not go on");
            thread::yield_now();
        }
        let drivers = house.note.drivers.lock().unwrap().clone();
        host.give(Event::Stop);
        assert!(matches!(house.keeper.join().unwrap(), Ending::Stopped));
        assert!(drivers.iter().filter(|id| **id == ours).count() <= ROUNDS_MAX);
        assert!(drivers.len() > ROUNDS_MAX, "the keeper went on");
    }

    #[test]
    fn a_target_that_fails_ends_and_takes_nothing_more() {
        let house = House::build(|n| {
            if n < 3 { Ok(Course::On) } else { Err(TargetError::Record { key: "k".to_owned() }) }
        });
        (0..6).for_each(|n| house.host.give(number(n)));
        assert!(matches!(house.keeper.join().unwrap(), Ending::Failed(TargetError::Record { .. })));
        assert!(house.note.handled.lock().unwrap().iter().all(|n| *n <= 3));
        assert_eq!(house.note.dropped.load(Ordering::SeqCst), 1, "its store is closed");
        house.host.give(number(9));
        assert!(house.host.state().events.is_empty());
    }

    #[test]
    fn a_target_that_panics_in_a_foreign_thread_ends_too() {
        let house = House::build(|n| if n == 0 { panic!("as it should") } else { Ok(Course::On) });
        house.settle();
        let host = Arc::clone(&house.host);
        let _ = thread::spawn(move || host.give(number(0))).join();
        assert!(matches!(house.keeper.join(), Ok(Ending::Panicked) | Err(_)));
        assert!(matches!(house.host.state().place, Place::Ended(_)));
    }

    /// Events that were queued before there was a writer are not lost.
    #[test]
    fn what_came_before_the_target_was_open_is_handled() {
        let host = Host::new();
        (0..3).for_each(|n| host.give(number(n)));
        let house = House::around(Arc::clone(&host), |_| Ok(Course::On));
        host.give(Event::Stop);
        house.keeper.join().unwrap();
        assert_eq!(*house.note.handled.lock().unwrap(), [0, 1, 2]);
    }
}
