//! Ctrl-C and SIGTERM: the first lets an apply finish what runs, the second aborts it.
//!
//! Invariant: neither ends the process by itself while an apply runs.

use lustre_apply::interrupt::{Stop, Stopper, Urgency, stop};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::terminal::Terminal;

/// Begins to listen; must be called inside a runtime.
pub fn listen(terminal: Terminal) -> std::io::Result<Stop> {
    let (stopper, heard) = stop();
    let signals = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    tokio::spawn(pass_on(signals, stopper, terminal));
    Ok(heard)
}

/// Begins to listen and says nothing, for what goes on between applies; must be called inside a runtime that lives on.
pub fn quietly() -> std::io::Result<Stop> {
    let (stopper, heard) = stop();
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::spawn(async move {
        loop {
            let more = tokio::select! {
                more = interrupt.recv() => more,
                more = terminate.recv() => more,
            };
            if more.is_none() {
                return;
            }
            stopper.ask();
        }
    });
    Ok(heard)
}

async fn pass_on((mut interrupt, mut terminate): (Signal, Signal), stopper: Stopper, terminal: Terminal) {
    loop {
        let more = tokio::select! {
            more = interrupt.recv() => more,
            more = terminate.recv() => more,
        };
        if more.is_none() {
            return;
        }
        match stopper.ask() {
            Urgency::None => {}
            Urgency::Finish => {
                terminal.tell("Interrupt: finishing the steps that run, beginning no other. Again to abort.");
            }
            Urgency::Abort => {
                terminal.tell("Aborting: what was begun is recorded as begun, the next apply finishes it.");
            }
        }
    }
}
