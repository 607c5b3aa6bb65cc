//! Threads that move bytes, so that connections' readers never wait for a disk.
//!
//! Two queues: changes and reads, which mostly meet memory, and syncs, which wait for the disk and must not hold up the
//! others. A queue is bounded by what the wire lets peers have under way.
//! Invariant: every job that was given is done, also when the pool is finished.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

/// Most threads that read and write.
const MOVERS_MAX: usize = 16;

/// Fewest: one that waits for the disk must not stop everything.
const MOVERS_MIN: usize = 4;

/// Threads that sync.
const SYNCERS: usize = 4;

type Job = Box<dyn FnOnce() + Send>;

/// What a job waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Move,
    Sync,
}

/// Running threads.
pub(super) struct Pool {
    moves: Arc<Queue>,
    syncs: Arc<Queue>,
}

#[derive(Default)]
struct Queue {
    state: Mutex<State>,
    given: Condvar,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    ended: bool,
}

impl Pool {
    /// Starts the threads, twice as many movers as there are cores.
    pub fn start() -> io::Result<Self> {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let pool = Self { moves: Arc::default(), syncs: Arc::default() };
        for number in 0..(cores * 2).clamp(MOVERS_MIN, MOVERS_MAX) {
            spawn(format!("move-{number}"), &pool.moves)?;
        }
        for number in 0..SYNCERS {
            spawn(format!("sync-{number}"), &pool.syncs)?;
        }
        Ok(pool)
    }

    /// Gives a job.
    pub fn give(&self, kind: Kind, job: impl FnOnce() + Send + 'static) {
        let queue = match kind {
            Kind::Move => &self.moves,
            Kind::Sync => &self.syncs,
        };
        queue.lock().jobs.push_back(Box::new(job));
        queue.given.notify_one();
    }

    /// Does what was given and ends the threads: those that move first, since they give the others work.
    pub fn finish(&self) {
        for queue in [&self.moves, &self.syncs] {
            queue.lock().ended = true;
            queue.given.notify_all();
            let threads = std::mem::take(&mut *queue.threads());
            for thread in threads {
                if thread.join().is_err() {
                    tracing::error!("a thread that moves bytes had panicked");
                }
            }
        }
    }
}

fn spawn(name: String, queue: &Arc<Queue>) -> io::Result<()> {
    let working = Arc::clone(queue);
    let thread = thread::Builder::new().name(name).spawn(move || working.work())?;
    queue.threads().push(thread);
    Ok(())
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn threads(&self) -> MutexGuard<'_, Vec<JoinHandle<()>>> {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        while let Some(job) = self.next() {
            // A job that panics leaves its caller without an answer, which the wire says; the thread goes on.
            if std::panic::catch_unwind(std::panic::AssertUnwindSafe(job)).is_err() {
                tracing::error!("a request ended in a panic");
            }
        }
    }

    fn next(&self) -> Option<Job> {
        let mut state = self.lock();
        loop {
            if let Some(job) = state.jobs.pop_front() {
                return Some(job);
            }
            if state.ended {
                return None;
            }
            state = self.given.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn every_job_is_done_and_a_panic_stops_nothing() {
        let pool = Arc::new(Pool::start().unwrap());
        let done = Arc::new(AtomicUsize::new(0));
        for number in 0..1000 {
            let (done, other) = (Arc::clone(&done), Arc::clone(&pool));
            let kind = if number % 3 == 0 { Kind::Sync } else { Kind::Move };
            pool.give(kind, move || {
                assert!(number % 100 != 7, "a job that panics on purpose");
                done.fetch_add(1, Ordering::Relaxed);
                if kind == Kind::Move {
                    other.give(Kind::Sync, move || {
                        done.fetch_add(1, Ordering::Relaxed);
                    });
                }
            });
        }
        pool.finish();
        let panicked = (0..1000).filter(|number| number % 100 == 7);
        let moves = |number: &i32| number % 3 != 0;
        let given = 666 - panicked.filter(moves).count();
        assert_eq!(done.load(Ordering::Relaxed), 990 + given);
    }
}
