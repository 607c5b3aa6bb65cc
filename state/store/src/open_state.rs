//! A state opened for writing: callers of [`Journal::append`] share commits, whatever keeps them.
//!
//! Does not know where commits go; that is a [`Tape`], one per backend.
//! Invariant: an event is acknowledged only after its commit was, and commits are made one after the other; once one failed,
//! nothing is acknowledged any more.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use lustre_model::journal::{Event, Journal, JournalError};
use lustre_model::recorded::{Lineage, World};

use crate::error::StoreError;
use crate::record::PAYLOAD_MAX;

/// Events that become durable together.
pub(crate) struct Bundle {
    /// The state that they belong to.
    pub lineage: Lineage,
    /// The state's serial before the first of them.
    pub serial: u64,
    /// The state's serial behind the last.
    pub after: u64,
    /// They, as JSON, with commas between them.
    events: Vec<u8>,
}

impl Bundle {
    /// Returns the payload of the record that keeps them.
    pub fn payload(&self) -> Vec<u8> {
        let mut payload = format!("{{\"serial\":{},\"events\":[", self.serial).into_bytes();
        payload.extend_from_slice(&self.events);
        payload.extend_from_slice(b"]}");
        payload
    }
}

/// How an opened state is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leaving {
    /// Everything is written, and nothing more will be.
    Done,
    /// A write failed, and whether it happened is not known.
    Failed,
}

/// What keeps commits, under the lock that it holds. One call at a time.
pub(crate) trait Tape: Send {
    /// Makes a commit durable.
    fn commit(&mut self, bundle: &Bundle) -> Result<(), StoreError>;
    /// Puts a snapshot of the world in the place of all commits.
    fn fold(&mut self, world: &World) -> Result<(), StoreError>;
    /// Tells whether there are commits that no snapshot holds.
    fn is_dirty(&self) -> bool;
    /// Tells whether commits have become so many that a snapshot is better.
    fn is_long(&self) -> bool;
    /// Gives the lock back.
    fn leave(&mut self, leaving: Leaving) -> Result<(), StoreError>;
}

/// A state opened for writing, under a lock.
pub struct OpenState {
    token: u64,
    inner: Mutex<Inner>,
    written: Condvar,
}

impl std::fmt::Debug for OpenState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OpenState").field("token", &self.token).finish_non_exhaustive()
    }
}

struct Inner {
    world: Arc<World>,
    /// Serial of the world that is durable.
    durable: u64,
    /// Events that wait for the next commit, as JSON.
    waiting: Vec<u8>,
    /// Where commits go; away while a thread is at it.
    tape: Option<Box<dyn Tape>>,
    writer: Writer,
}

/// Who writes the next commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Writer {
    /// The next who appends.
    Free,
    /// A thread is at it; others wait for it.
    Busy,
    /// A write failed: what is kept is not known, and nothing is acknowledged any more.
    Failed,
    /// Somebody else has the lock.
    Lost,
    /// The state was closed.
    Closed,
}

impl Writer {
    /// What a failure leaves: what is kept is not known any more.
    fn after(error: &StoreError) -> Self {
        if matches!(error, StoreError::LockLost) { Self::Lost } else { Self::Failed }
    }

    fn refusal(self) -> Option<StoreError> {
        match self {
            Self::Free | Self::Busy => None,
            Self::Failed | Self::Closed => Some(StoreError::Poisoned),
            Self::Lost => Some(StoreError::LockLost),
        }
    }
}

impl OpenState {
    /// Opens a state: this world, which is durable, and what keeps what happens to it.
    pub(crate) fn new(world: World, token: u64, tape: Box<dyn Tape>) -> Self {
        let inner = Inner {
            durable: world.serial,
            world: Arc::new(world),
            waiting: Vec::new(),
            tape: Some(tape),
            writer: Writer::Free,
        };
        Self { token, inner: Mutex::new(inner), written: Condvar::new() }
    }

    /// Folds the commits into a snapshot and gives up the lock; a second call does nothing.
    ///
    /// Not calling it loses nothing; the next who opens the state does it.
    pub fn close(&self) -> Result<(), StoreError> {
        let mut inner = self.idle();
        let refused = inner.writer.refusal();
        let Some(mut tape) = inner.tape.take() else {
            return if inner.writer == Writer::Closed { Ok(()) } else { refused.map_or(Ok(()), Err) };
        };
        inner.writer = if refused.is_none() { Writer::Closed } else { inner.writer };
        let folded = match refused {
            Some(refused) => Err(refused),
            None if tape.is_dirty() => tape.fold(&inner.world),
            None => Ok(()),
        };
        let left = tape.leave(if folded.is_ok() { Leaving::Done } else { Leaving::Failed });
        folded.and(left)
    }

    /// Puts another world in the place of this one; durable when it returns.
    pub fn replace(&self, world: World) -> Result<(), StoreError> {
        let mut inner = self.idle();
        if let Some(refused) = inner.writer.refusal() {
            return Err(refused);
        }
        let Inner { world: current, tape: Some(tape), .. } = &mut *inner else {
            return Err(StoreError::Poisoned);
        };
        // A journal that is left beside another world's snapshot could not be told from a damaged state.
        let folded = if tape.is_dirty() { tape.fold(current) } else { Ok(()) };
        let replaced = folded.and_then(|()| tape.fold(&world));
        if let Err(error) = replaced {
            inner.writer = Writer::after(&error);
            return Err(error);
        }
        inner.durable = world.serial;
        inner.world = Arc::new(world);
        Ok(())
    }

    /// Returns the world when something in it could not be recorded.
    pub fn unrecorded(&self) -> Option<Arc<World>> {
        let inner = self.idle();
        (inner.world.serial > inner.durable).then(|| Arc::clone(&inner.world))
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // A panic elsewhere leaves `writer` as it was, and one in a commit leaves it failed.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until nobody writes.
    fn idle(&self) -> MutexGuard<'_, Inner> {
        let mut inner = self.inner();
        while inner.writer == Writer::Busy {
            inner = self.wait(inner);
        }
        inner
    }

    fn wait<'a>(&'a self, inner: MutexGuard<'a, Inner>) -> MutexGuard<'a, Inner> {
        self.written.wait(inner).unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes what waits, with the lock on `inner` released meanwhile, so that others can join the next commit.
    fn commit<'a>(
        &'a self,
        mut inner: MutexGuard<'a, Inner>,
    ) -> (MutexGuard<'a, Inner>, Result<(), StoreError>) {
        let Some(mut tape) = inner.tape.take() else { return (inner, Err(StoreError::Poisoned)) };
        let bundle = Bundle {
            lineage: inner.world.lineage.clone(),
            serial: inner.durable,
            after: inner.world.serial,
            events: std::mem::take(&mut inner.waiting),
        };
        inner.writer = Writer::Busy;
        drop(inner);
        let unfinished = Unfinished(self);
        let written = tape.commit(&bundle);
        std::mem::forget(unfinished);
        let mut inner = self.inner();
        let outcome = written.and_then(|()| {
            inner.durable = bundle.after;
            let quiet = inner.waiting.is_empty();
            if quiet && tape.is_long() { tape.fold(&inner.world) } else { Ok(()) }
        });
        inner.tape = Some(tape);
        inner.writer = outcome.as_ref().map_or_else(Writer::after, |()| Writer::Free);
        self.written.notify_all();
        (inner, outcome)
    }
}

/// A commit that is being made; when a panic ends it, those who wait are told.
struct Unfinished<'a>(&'a OpenState);

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        self.0.inner().writer = Writer::Failed;
        self.0.written.notify_all();
    }
}

/// Keeps in mind what a step came to although it cannot be recorded any more: whoever saves the world saves it too.
fn remember(inner: &mut Inner, events: &[Event]) {
    let results = events.iter().filter(|event| matches!(event, Event::Result { .. }));
    for result in results {
        // One whose intent was refused was never begun, and does not fit.
        let _unbegun = Arc::make_mut(&mut inner.world).apply(result);
    }
}

fn journal_error(source: StoreError) -> JournalError {
    if matches!(source, StoreError::LockLost) {
        return JournalError::LockLost;
    }
    JournalError::Write { source: Box::new(source) }
}

fn encoded(events: &[Event]) -> Result<Vec<u8>, JournalError> {
    let mut encoded = Vec::new();
    for event in events {
        let json = serde_json::to_vec(event);
        let json = json.map_err(|source| journal_error(StoreError::Encoding { source }))?;
        encoded.extend_from_slice(&json);
        encoded.push(b',');
    }
    encoded.pop();
    Ok(encoded)
}

impl Journal for OpenState {
    fn append(&self, events: &[Event]) -> Result<(), JournalError> {
        let encoded = encoded(events)?;
        let mut inner = self.inner();
        // A commit has room for what one more caller brings; beyond that, callers wait for it to be written.
        while inner.writer == Writer::Busy && inner.waiting.len() + encoded.len() > PAYLOAD_MAX / 2 {
            inner = self.wait(inner);
        }
        if let Some(refused) = inner.writer.refusal() {
            remember(&mut inner, events);
            return Err(journal_error(refused));
        }
        Arc::make_mut(&mut inner.world).apply_all(events)?;
        if !inner.waiting.is_empty() && !encoded.is_empty() {
            inner.waiting.push(b',');
        }
        inner.waiting.extend_from_slice(&encoded);
        let mine = inner.world.serial;
        loop {
            if inner.durable >= mine {
                return Ok(());
            }
            if let Some(refused) = inner.writer.refusal() {
                return Err(journal_error(refused));
            }
            if inner.writer == Writer::Busy {
                inner = self.wait(inner);
                continue;
            }
            let (next, outcome) = self.commit(inner);
            outcome.map_err(journal_error)?;
            inner = next;
        }
    }

    fn world(&self) -> Arc<World> {
        Arc::clone(&self.inner().world)
    }

    fn look(&self, look: &mut dyn FnMut(&World)) {
        look(&self.inner().world);
    }

    fn token(&self) -> u64 {
        self.token
    }
}

#[cfg(test)]
mod tests {
    use lustre_model::address::Address;

    use super::*;

    /// Does what it is told to.
    struct Told(fn() -> Result<(), StoreError>);

    impl Tape for Told {
        fn commit(&mut self, _: &Bundle) -> Result<(), StoreError> {
            (self.0)()
        }

        fn fold(&mut self, _: &World) -> Result<(), StoreError> {
            (self.0)()
        }

        fn is_dirty(&self) -> bool {
            true
        }

        fn is_long(&self) -> bool {
            false
        }

        fn leave(&mut self, _: Leaving) -> Result<(), StoreError> {
            Ok(())
        }
    }

    fn opened(does: fn() -> Result<(), StoreError>) -> OpenState {
        OpenState::new(World::new(Lineage("l".into())), 1, Box::new(Told(does)))
    }

    fn outputs() -> Event {
        Event::Outputs { outputs: std::collections::BTreeMap::new() }
    }

    #[test]
    fn a_panic_in_a_commit_fails_the_state_and_nobody_waits_for_ever() {
        let state = opened(|| panic!("a bug"));
        std::thread::scope(|scope| {
            let panicked = scope.spawn(|| state.append(&[outputs()])).join();
            assert!(panicked.is_err());
        });
        assert!(matches!(state.append(&[outputs()]), Err(JournalError::Write { .. })));
        assert!(matches!(state.close(), Err(StoreError::Poisoned)));
    }

    #[test]
    fn a_replacement_that_failed_leaves_nothing_to_append_to() {
        let state = opened(|| Err(StoreError::Backwards));
        assert!(state.replace(World::new(Lineage("m".into()))).is_err());
        assert!(matches!(state.append(&[outputs()]), Err(JournalError::Write { .. })));
    }

    #[test]
    fn results_are_remembered_after_a_failure_and_intents_are_not() {
        let state = opened(|| Err(StoreError::LockLost));
        assert!(matches!(state.append(&[outputs()]), Err(JournalError::LockLost)));
        let forgotten = Event::Forgotten { address: Address::new("value", "a") };
        assert!(matches!(state.append(&[forgotten]), Err(JournalError::LockLost)));
        assert_eq!(state.unrecorded().map(|world| world.serial), Some(1));
    }
}
