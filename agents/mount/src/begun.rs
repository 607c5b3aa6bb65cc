//! Work that begins on the thread that brings it and becomes a task only when it has something to do again.
//!
//! A request of the kernel mostly sends one message and waits for the answer. To spawn a task for it would wake a thread that
//! finds nothing to do yet; here the work waits where it is until its waker is called, by the thread that has the answer.
//! ```text
//! running ──waits──▶ waiting ──woken──▶ a task        running ──ends──▶ done
//!    └──woken meanwhile, then waits──▶ a task
//! ```
//! Invariant: work that waits is in `waiting` before [`begin`] returns, so whoever wakes it finds it, once.

use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use tokio::runtime::Handle;

type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

struct Begun {
    state: Mutex<State>,
    runtime: Handle,
}

enum State {
    Running,
    /// Woken while it ran: there may be more to do than it saw.
    Woken,
    Waiting(Work),
    /// It ended, or it is a task now.
    Gone,
}

/// Does `work` here until it waits, and from then on in a task of `runtime`. To be called on a thread that is none of its own.
pub(crate) fn begin(work: impl Future<Output = ()> + Send + 'static, runtime: &Handle) {
    let mut work: Work = Box::pin(work);
    let begun = Arc::new(Begun { state: Mutex::new(State::Running), runtime: runtime.clone() });
    let waker = Waker::from(Arc::clone(&begun));
    let entered = runtime.enter();
    let polled = work.as_mut().poll(&mut Context::from_waker(&waker));
    drop(entered);
    let mut state = begun.state();
    match (polled, &*state) {
        (Poll::Ready(()), _) => *state = State::Gone,
        (Poll::Pending, State::Woken) => {
            *state = State::Gone;
            drop(state);
            runtime.spawn(work);
        }
        (Poll::Pending, State::Running | State::Waiting(_) | State::Gone) => *state = State::Waiting(work),
    }
}

impl Begun {
    /// Each change is one assignment.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for Begun {
    fn wake(self: Arc<Self>) {
        let mut state = self.state();
        match mem::replace(&mut *state, State::Gone) {
            State::Waiting(work) => {
                drop(state);
                drop(self.runtime.spawn(work));
            }
            State::Running | State::Woken => *state = State::Woken,
            State::Gone => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use tokio::sync::oneshot;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(20);

    #[test]
    fn work_that_need_not_wait_ends_where_it_began() {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
        let (told, ended) = mpsc::channel();
        begin(async move { told.send(std::thread::current().id()).unwrap() }, runtime.handle());
        assert_eq!(ended.try_recv(), Ok(std::thread::current().id()));
    }

    #[test]
    fn work_that_waits_goes_on_whenever_it_is_woken() {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
        for round in 0..2000 {
            let (first, answer) = oneshot::channel();
            let (second, other) = oneshot::channel();
            let (told, ended) = mpsc::channel();
            // From before the work begins to after it waits.
            let answering = std::thread::spawn(move || {
                for _ in 0..round % 50 * 20 {
                    std::hint::spin_loop();
                }
                first.send(round).unwrap();
                second.send(round).unwrap();
            });
            let work = async move {
                let sum = answer.await.unwrap() + other.await.unwrap();
                told.send(sum).unwrap();
            };
            begin(work, runtime.handle());
            assert_eq!(ended.recv_timeout(LIMIT), Ok(2 * round));
            answering.join().unwrap();
        }
    }

    #[test]
    fn work_that_nobody_can_wake_any_more_is_dropped() {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
        let (alive, gone) = mpsc::channel::<()>();
        let (waker, answer) = oneshot::channel::<()>();
        let work = async move {
            let _alive = alive;
            drop(answer.await);
        };
        begin(work, runtime.handle());
        drop(waker);
        assert_eq!(gone.recv_timeout(LIMIT), Err(mpsc::RecvTimeoutError::Disconnected));
    }
}
