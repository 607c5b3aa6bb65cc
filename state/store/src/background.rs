//! A runtime of our own, on which blocking callers have their requests sent.
//!
//! A journal is appended to from threads of other runtimes, where nothing may wait for a future; these wait for a channel.
//! Invariant: it never outlives its owner, and dropping it waits for nothing.

use std::future::Future;
use std::io;
use std::sync::mpsc::sync_channel;

use tokio::runtime::{Builder, Runtime};

/// Threads that send requests: a lock is renewed while a long commit is on its way.
const THREADS: usize = 2;

/// The runtime.
pub(crate) struct Background(Option<Runtime>);

impl Background {
    /// Starts it.
    pub fn new() -> io::Result<Self> {
        let runtime =
            Builder::new_multi_thread().worker_threads(THREADS).thread_name("state").enable_all().build()?;
        Ok(Self(Some(runtime)))
    }

    /// Runs a future there and waits for it.
    pub fn run<T: Send + 'static>(&self, future: impl Future<Output = T> + Send + 'static) -> io::Result<T> {
        let ended = || io::Error::other("a request for the state ended without an answer");
        let (answer, answered) = sync_channel(1);
        let runtime = self.0.as_ref().ok_or_else(ended)?;
        runtime.spawn(async move {
            // Nobody waits any more when this fails.
            let _ = answer.send(future.await);
        });
        answered.recv().map_err(|_| ended())
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
