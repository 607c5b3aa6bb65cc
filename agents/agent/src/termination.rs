//! How a process of the agent learns that it shall end.
//!
//! Does not end anything itself: the process finishes what it acknowledged and returns from its entry function.
//! Invariant: SIGTERM is the only way the agent asks; who ignores it is killed after a grace period.

use std::io;

use tokio::signal::unix::{SignalKind, signal};

/// Waits for SIGTERM or SIGINT.
pub async fn requested() -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}
