//! Movers: they take actions, report progress and end them. The verbs are those of Lustre's copytools.
//!
//! Actions are made from queues at the moment they are taken, so that they say what is true then.
//! Invariant: what a queue asks for stays queued until a mover ended it; a mover that is lost gives all it took back.

use std::collections::{BTreeMap, VecDeque};

use lustre_model::fault::Fault;
use lustre_model::fid::Fid;
use lustre_model::hsm::{
    HsmAction, HsmEnd, HsmFailure, HsmOutcome, HsmProgress, HsmVerb, LinkId, LinkState, RepositoryEndpoint,
};
use lustre_model::metadata::{ByteRange, Reply};

use super::check::Checking;
use super::export::Stored;
use super::reconcile::Reconciling;
use super::{ConnectionId, RequestToken, Target};
use crate::failure::{Step, TargetError};
use crate::key;

/// Most actions in one answer.
const ACTIONS_MAX: u32 = 1024;
/// Longest time that a mover may wait.
const WAIT_MS_MAX: u32 = 60_000;
/// Pause after the first failure; doubles up to [`BACKOFF_MS_MAX`].
const BACKOFF_MS: u64 = 500;
/// Longest pause between attempts.
const BACKOFF_MS_MAX: u64 = 60_000;

/// Pause before the next attempt.
pub(super) fn backoff(attempts: u32) -> u64 {
    (BACKOFF_MS << attempts.saturating_sub(1).min(16)).min(BACKOFF_MS_MAX)
}

/// A mover that waits for actions.
#[derive(Debug)]
struct Receiver {
    connection: ConnectionId,
    token: RequestToken,
    limit: u32,
    deadline_ms: u64,
}

/// What an action is for, and what its success means.
#[derive(Debug, Clone)]
pub(super) enum Errand {
    List,
    /// Whether the link's bucket answers.
    Check,
    Identify {
        fid: Fid,
    },
    Restore {
        fid: Fid,
        range: ByteRange,
    },
    /// Content and metadata go to a key.
    Archive {
        key: String,
        stored: Stored,
    },
    /// Metadata go to a key.
    SetMetadata {
        key: String,
        stored: Stored,
    },
    Remove {
        key: String,
    },
    Rename {
        from: String,
        to: String,
        stored: Stored,
    },
}

/// An action that a mover has.
#[derive(Debug)]
struct Flight {
    connection: ConnectionId,
    link: LinkId,
    errand: Errand,
}

/// Movers and what they do.
#[derive(Debug, Default)]
pub(super) struct Movers {
    receivers: VecDeque<Receiver>,
    flights: BTreeMap<u64, Flight>,
    next: u64,
    /// Attempts to list a link, and when the next is due.
    pub(super) listings: BTreeMap<LinkId, (u32, u64)>,
    pub(super) checks: BTreeMap<LinkId, Checking>,
    pub(super) reconciling: BTreeMap<LinkId, Reconciling>,
    /// Inodes whose identifying failed, with attempts, by the time of the next.
    pub(super) identify_later: VecDeque<(u64, Fid)>,
}

impl Movers {
    /// Whether any action of a link is under way.
    pub(super) fn has_flight(&self, link: LinkId) -> bool {
        self.flights.values().any(|flight| flight.link == link)
    }

    fn is_listing_any(&self) -> bool {
        self.flights.values().any(|flight| matches!(flight.errand, Errand::List))
    }

    pub(super) fn is_listing(&self, link: LinkId) -> bool {
        self.flights.values().any(|flight| flight.link == link && matches!(flight.errand, Errand::List))
    }

    /// Whether an action is a listing of a link that is under way.
    pub(super) fn is_listing_by(&self, link: LinkId, cookie: u64) -> bool {
        let flight = self.flights.get(&cookie);
        flight.is_some_and(|flight| flight.link == link && matches!(flight.errand, Errand::List))
    }
}

impl Target {
    /// Notes a mover that waits for actions; it is served at the next commit.
    pub(super) fn receive(
        &mut self,
        (connection, token): (ConnectionId, RequestToken),
        limit: u32,
        wait_ms: u32,
    ) {
        self.links.movers.receivers.push_back(Receiver {
            connection,
            token,
            limit: limit.clamp(1, ACTIONS_MAX),
            deadline_ms: self.now.uptime_ms + u64::from(wait_ms.min(WAIT_MS_MAX)),
        });
    }

    /// Gives waiting movers what there is to do.
    pub(super) fn serve_movers(&mut self) -> Result<(), TargetError> {
        let mut waiting = std::mem::take(&mut self.links.movers.receivers);
        while let Some(receiver) = waiting.pop_front() {
            let mut actions = Vec::new();
            while actions.len() < receiver.limit as usize
                && let Some((link, fid, verb, errand)) = self.next_action()?
            {
                actions.push(self.take_off(receiver.connection, (link, fid, verb), errand));
            }
            if actions.is_empty() && self.now.uptime_ms < receiver.deadline_ms {
                self.links.movers.receivers.push_back(receiver);
            } else {
                self.answer(receiver.token, Ok(Reply::Actions { actions }));
            }
        }
        Ok(())
    }

    fn take_off(
        &mut self,
        connection: ConnectionId,
        (link, fid, verb): (LinkId, Fid, HsmVerb),
        errand: Errand,
    ) -> HsmAction {
        self.links.movers.next += 1;
        let cookie = self.counters.incarnation << 40 | self.links.movers.next;
        self.links.movers.flights.insert(cookie, Flight { connection, link, errand });
        let repository = self.links.all.get(&link).map_or(0, |record| record.link.repository.fingerprint());
        HsmAction { cookie, link, repository, fid, verb }
    }

    /// The most urgent thing to do: what somebody waits for, then listings, then exports, then the rest.
    fn next_action(&mut self) -> Result<Option<(LinkId, Fid, HsmVerb, Errand)>, TargetError> {
        if let Some(action) = self.next_check() {
            return Ok(Some(action));
        }
        if let Some(action) = self.next_identify()? {
            return Ok(Some(action));
        }
        if let Some(action) = self.next_restore()? {
            return Ok(Some(action));
        }
        if let Some(action) = self.next_listing()? {
            return Ok(Some(action));
        }
        if let Some(action) = self.next_export()? {
            return Ok(Some(action));
        }
        // Names come first: what nobody waits for would only take the bucket and the mover from a listing.
        if !self.links.movers.is_listing_any() && self.identify_more()? {
            return self.next_identify();
        }
        Ok(None)
    }

    fn next_listing(&mut self) -> Result<Option<(LinkId, Fid, HsmVerb, Errand)>, TargetError> {
        let now = self.now.uptime_ms;
        let movers = &self.links.movers;
        let due = |id: &LinkId| movers.listings.get(id).is_none_or(|(_, due)| *due <= now);
        let wanted = self.links.all.values().find(|record| {
            (record.list_wanted || self.is_reconcile_due(record))
                && due(&record.link.id)
                && !movers.is_listing(record.link.id)
                && !self.is_inheriting(record.link.id)
        });
        let Some(mut record) = wanted.cloned() else { return Ok(None) };
        let (id, root) = (record.link.id, record.root);
        record.refused_total = 0;
        self.table.delete_all(&key::refused(id, ""))?;
        self.put_link_record(record)?;
        self.listing_begins(id);
        Ok(Some((id, root, HsmVerb::List, Errand::List)))
    }

    pub(super) fn hsm_progress(&mut self, progress: &HsmProgress) -> Step<Reply> {
        let flight = self.links.movers.flights.get(&progress.cookie);
        if let Some(Flight { errand: Errand::Restore { fid, .. }, .. }) = flight {
            let fid = *fid;
            self.put_in_place(fid, &progress.present)?;
        }
        Ok(Reply::Done)
    }

    pub(super) fn hsm_end(&mut self, end: &HsmEnd) -> Step<Reply> {
        // An action of an earlier life of this target is void; its queue gives out a new one.
        let Some(flight) = self.links.movers.flights.remove(&end.cookie) else { return Ok(Reply::Done) };
        let link = flight.link;
        if !matches!(flight.errand, Errand::Check) {
            self.check_soon(link, &end.outcome);
        }
        match flight.errand {
            Errand::Check => self.end_check(link, &end.outcome)?,
            Errand::List => self.listed(link, &end.outcome)?,
            Errand::Identify { fid } => self.end_identify(fid, &end.outcome)?,
            Errand::Restore { fid, range } => self.end_restore(fid, range, &end.outcome)?,
            errand @ (Errand::Archive { .. }
            | Errand::SetMetadata { .. }
            | Errand::Remove { .. }
            | Errand::Rename { .. }) => self.end_export(link, errand, &end.outcome)?,
        }
        Ok(Reply::Done)
    }

    fn listed(&mut self, link: LinkId, outcome: &HsmOutcome) -> Result<(), TargetError> {
        self.listing_ended(link);
        let Some(mut record) = self.links.all.get(&link).cloned() else { return Ok(()) };
        if record.state == LinkState::Deleting {
            return Ok(());
        }
        match outcome {
            HsmOutcome::Failed { cause, .. } => {
                let attempts = self.links.movers.listings.get(&link).map_or(0, |(attempts, _)| *attempts) + 1;
                self.links.movers.listings.insert(link, (attempts, self.now.uptime_ms + backoff(attempts)));
                record.state = LinkState::Misconfigured;
                record.cause = Some(cause.clone());
            }
            HsmOutcome::Done | HsmOutcome::Identified { .. } | HsmOutcome::Stored { .. } => {
                self.links.movers.listings.remove(&link);
                self.answered(link);
                record.state = LinkState::Available;
                record.cause = None;
                record.list_wanted = false;
            }
        }
        self.put_link_record(record)?;
        // Exports waited for the listing's end.
        self.export_link_again(link);
        Ok(())
    }

    /// Takes back what a lost mover had.
    pub(super) fn mover_lost(&mut self, connection: ConnectionId) {
        for receiver in std::mem::take(&mut self.links.movers.receivers) {
            if receiver.connection == connection {
                self.answer(receiver.token, Ok(Reply::Actions { actions: Vec::new() }));
            } else {
                self.links.movers.receivers.push_back(receiver);
            }
        }
        let lost = self.links.movers.flights.iter().filter(|(_, flight)| flight.connection == connection);
        let lost: Vec<u64> = lost.map(|(cookie, _)| *cookie).collect();
        for cookie in lost {
            let Some(flight) = self.links.movers.flights.remove(&cookie) else { continue };
            self.give_back(flight);
        }
    }

    /// Queues again what an action was for.
    fn give_back(&mut self, flight: Flight) {
        match flight.errand {
            Errand::List => self.listing_ended(flight.link),
            Errand::Check => self.check_lost(flight.link),
            Errand::Identify { fid } => self.links.identify.push_front(fid),
            Errand::Restore { fid, range } => self.restore_again(fid, range, 0),
            Errand::Archive { key, .. } | Errand::SetMetadata { key, .. } | Errand::Remove { key } => {
                self.export_lost(flight.link, &[key]);
            }
            Errand::Rename { from, to, .. } => self.export_lost(flight.link, &[from, to]),
        }
    }

    /// Makes void what movers do for a link by a way that is no longer its own: it is done again by the new one.
    ///
    /// Restores go on: they bring bytes of a named version, by whichever way. Exports are void only when they go to another
    /// place: to the same one they must not be made twice at a time.
    pub(super) fn void_flights(
        &mut self,
        link: LinkId,
        (before, now): (&RepositoryEndpoint, &RepositoryEndpoint),
    ) {
        let other_place = before.endpoint_url != now.endpoint_url;
        let is_void = |flight: &Flight| match flight.errand {
            Errand::Restore { .. } | Errand::Identify { .. } => false,
            Errand::List | Errand::Check => true,
            Errand::Archive { .. } | Errand::SetMetadata { .. } => other_place,
            Errand::Remove { .. } | Errand::Rename { .. } => other_place,
        };
        let flights = &self.links.movers.flights;
        let void = flights.iter().filter(|(_, flight)| flight.link == link && is_void(flight));
        for cookie in void.map(|(cookie, _)| *cookie).collect::<Vec<u64>>() {
            if let Some(flight) = self.links.movers.flights.remove(&cookie) {
                self.give_back(flight);
            }
        }
    }

    pub(super) fn tick_links(&mut self) {
        let now = self.now.uptime_ms;
        while let Some((_, fid)) = self.links.movers.identify_later.pop_front_if(|(due, _)| *due <= now) {
            self.links.identify.push_back(fid);
        }
        self.tick_exports();
    }
}

/// The fault that an application sees when a mover could not do it.
pub(super) fn fault_of(code: HsmFailure) -> Fault {
    match code {
        HsmFailure::AccessDenied => Fault::AccessDenied,
        HsmFailure::NoSpace => Fault::NoSpace,
        HsmFailure::NotFound | HsmFailure::Changed | HsmFailure::Unreachable | HsmFailure::Other => Fault::Io,
    }
}
