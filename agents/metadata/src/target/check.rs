//! Checks: whether a link's bucket answers to what the link says of it.
//!
//! A new or changed link is available only when its bucket answered; one that is available is asked again from time to time, and
//! as soon as one of its actions fails. Every check has the mover read the credentials anew.
//! Invariant: a link that is `MISCONFIGURED` says why, and becomes `AVAILABLE` by itself when its bucket answers again.

use lustre_model::fid::Fid;
use lustre_model::hsm::{HsmFailure, HsmOutcome, HsmVerb, LinkId, LinkState};

use super::Target;
use super::mover::{Errand, backoff};
use crate::failure::TargetError;

/// Pause between two checks of a link that is available.
const CHECK_EVERY_MS: u64 = 60_000;
/// Least pause before a check that a failed action asks for.
const CHECK_SOON_MS: u64 = 1000;
/// Silence that counts as an outage and no fault of the link: so many checks in a row may meet it.
const SILENT_MAX: u32 = 3;

/// When a link is to be checked.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Checking {
    /// Failures in a row.
    attempts: u32,
    due_ms: u64,
    under_way: bool,
}

impl Target {
    /// After a start: links that were found available are believed for a while.
    pub(super) fn load_checks(&mut self) {
        for (id, record) in &self.links.all {
            let pause = if record.state == LinkState::Available { CHECK_EVERY_MS } else { 0 };
            let checking = Checking { due_ms: self.now.uptime_ms + pause, ..Checking::default() };
            self.links.movers.checks.insert(*id, checking);
        }
    }

    /// Has a link's bucket asked at once, also by a listing that waits for its next attempt.
    pub(super) fn check_now(&mut self, link: LinkId) {
        let under_way = self.links.movers.checks.get(&link).is_some_and(|checking| checking.under_way);
        let checking = Checking { attempts: 0, due_ms: self.now.uptime_ms, under_way };
        self.links.movers.checks.insert(link, checking);
        self.links.movers.listings.remove(&link);
    }

    /// An action failed, and it may be the bucket's fault.
    pub(super) fn check_soon(&mut self, link: LinkId, outcome: &HsmOutcome) {
        let HsmOutcome::Failed { code, .. } = outcome else { return };
        match code {
            HsmFailure::AccessDenied | HsmFailure::Unreachable | HsmFailure::Other => {}
            HsmFailure::NotFound | HsmFailure::Changed | HsmFailure::NoSpace => return,
        }
        let soon = self.now.uptime_ms + CHECK_SOON_MS;
        if let Some(checking) = self.links.movers.checks.get_mut(&link) {
            checking.due_ms = checking.due_ms.min(soon);
        }
    }

    pub(super) fn next_check(&mut self) -> Option<(LinkId, Fid, HsmVerb, Errand)> {
        let now = self.now.uptime_ms;
        let due = self
            .links
            .movers
            .checks
            .iter()
            .find(|(_, checking)| checking.due_ms <= now && !checking.under_way);
        let id = due.map(|(id, _)| *id)?;
        let Some(record) = self.links.all.get(&id).filter(|record| record.state != LinkState::Deleting)
        else {
            self.links.movers.checks.remove(&id);
            return None;
        };
        let root = record.root;
        if record.list_wanted || self.is_inheriting(id) {
            // Its listing asks the bucket.
            self.put_off(id);
            return None;
        }
        if let Some(checking) = self.links.movers.checks.get_mut(&id) {
            checking.under_way = true;
        }
        Some((id, root, HsmVerb::Check, Errand::Check))
    }

    /// Asks again a little later.
    fn put_off(&mut self, link: LinkId) {
        let due_ms = self.now.uptime_ms + CHECK_SOON_MS;
        if let Some(checking) = self.links.movers.checks.get_mut(&link) {
            checking.due_ms = due_ms;
        }
    }

    /// A mover was lost with a check.
    pub(super) fn check_lost(&mut self, link: LinkId) {
        if let Some(checking) = self.links.movers.checks.get_mut(&link) {
            checking.under_way = false;
        }
    }

    /// The bucket answered, to a check or to a listing.
    pub(super) fn answered(&mut self, link: LinkId) {
        let due_ms = self.now.uptime_ms + CHECK_EVERY_MS;
        self.links.movers.checks.insert(link, Checking { due_ms, ..Checking::default() });
    }

    pub(super) fn end_check(&mut self, link: LinkId, outcome: &HsmOutcome) -> Result<(), TargetError> {
        let checking = self.links.movers.checks.get(&link).copied().unwrap_or_default();
        let Some(mut record) = self.links.all.get(&link).cloned() else {
            self.links.movers.checks.remove(&link);
            return Ok(());
        };
        if record.state == LinkState::Deleting {
            return Ok(());
        }
        match outcome {
            HsmOutcome::Failed { cause, code, .. } => {
                let attempts = checking.attempts + 1;
                let due_ms = self.now.uptime_ms + backoff(attempts);
                self.links.movers.checks.insert(link, Checking { attempts, due_ms, under_way: false });
                let silent = *code == HsmFailure::Unreachable && attempts < SILENT_MAX;
                if silent || record.cause.as_ref() == Some(cause) {
                    return Ok(());
                }
                tracing::warn!(link = record.link.name, cause, "the link's bucket cannot be used");
                (record.state, record.cause) = (LinkState::Misconfigured, Some(cause.clone()));
                self.put_link_record(record)
            }
            HsmOutcome::Done | HsmOutcome::Identified { .. } | HsmOutcome::Stored { .. } => {
                self.answered(link);
                if record.state == LinkState::Available {
                    return Ok(());
                }
                self.links.movers.listings.remove(&link);
                record.state = if record.list_wanted { LinkState::Creating } else { LinkState::Available };
                record.cause = None;
                self.put_link_record(record)?;
                self.export_link_again(link);
                Ok(())
            }
        }
    }
}
