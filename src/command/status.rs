//! `lustre status`: how everything that the state knows is now.
//!
//! Asks agents and metadata targets; starts and changes nothing.
//! Invariant: what does not answer is shown as such, and the rest is shown all the same; the exit code is 0 only when all is as
//! the state says.

use std::sync::Arc;

use lustre_apply::observe::Observer;

use super::{recorded, spec};
use crate::cli::StatusFlags;
use crate::exit::{Failure, Success, chain};
use crate::terminal::Terminal;
use crate::view::status::{self, Status};
use crate::wiring;

/// Questions that are asked at once.
const PARALLELISM: usize = 16;

/// Prints the status.
pub fn run(flags: &StatusFlags, terminal: Terminal) -> Result<Success, Failure> {
    let recorded = recorded::read(spec::place()?)?;
    let world = Arc::clone(&recorded.world);
    let observer = Observer::new(recorded.world, recorded.token, PARALLELISM).map_err(Failure::Observe)?;
    let status = super::runtime()?.block_on(async {
        let (mut hosts, mut clusters) = tokio::join!(observer.hosts(), observer.clusters());
        hosts.sort_by(|a, b| a.host.cmp(&b.host));
        clusters.sort_by(|a, b| a.cluster.cmp(&b.cluster));
        let mut drift = observer.drifted(&hosts);
        let (found, unasked) = wiring::cloud::look(&world, PARALLELISM).await;
        drift.extend(found.iter().map(|(address, how)| (address.clone(), wiring::cloud::cause(how))));
        drift.extend(unasked.into_iter().map(|(address, error)| (address, chain(&error))));
        Status { hosts, clusters, drift }
    });
    if flags.view.json {
        terminal.say(&format!("{:#}", status::to_json(&status)));
    } else {
        terminal.say_raw(&status::draw(&status, terminal.out_colour()));
    }
    match status.amiss() {
        0 => Ok(Success::Done),
        amiss => Err(Failure::Amiss { amiss }),
    }
}
