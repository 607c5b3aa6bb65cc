//! Being asked to stop: once to finish what runs, twice to abort.
//!
//! Knows no signals; who hears Ctrl-C calls [`Stopper::ask`].
//! Invariant: a request to stop is never taken back.

use tokio::sync::watch;

/// How urgently an apply shall end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Urgency {
    /// Go on.
    None,
    /// Begin nothing new; finish what runs.
    Finish,
    /// Drop what runs; its intents stay recorded, so that the next apply does it again.
    Abort,
}

/// Asks an apply to stop.
#[derive(Debug)]
pub struct Stopper(watch::Sender<Urgency>);

/// Hears whether to stop.
#[derive(Debug, Clone)]
pub struct Stop(watch::Receiver<Urgency>);

/// Returns both ends.
pub fn stop() -> (Stopper, Stop) {
    let (sender, receiver) = watch::channel(Urgency::None);
    (Stopper(sender), Stop(receiver))
}

impl Stopper {
    /// Asks more urgently than before; returns how urgent it is now.
    pub fn ask(&self) -> Urgency {
        self.0.send_modify(|urgency| {
            *urgency = match *urgency {
                Urgency::None => Urgency::Finish,
                Urgency::Finish | Urgency::Abort => Urgency::Abort,
            };
        });
        *self.0.borrow()
    }
}

impl Stop {
    /// Returns how urgent it is.
    pub fn urgency(&self) -> Urgency {
        *self.0.borrow()
    }

    /// Waits until it is more urgent than `seen`; for ever when nobody can ask any more.
    pub async fn beyond(&mut self, seen: Urgency) -> Urgency {
        loop {
            let now = *self.0.borrow_and_update();
            if now > seen {
                return now;
            }
            if self.0.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}
