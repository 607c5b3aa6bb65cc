//! Reconcile: what changes in a repository comes into the file system, by listing it again and again.
//!
//! A listing says what was there when each page was made. What was exported since is newer: keys whose export ended while the
//! listing was under way are left alone, as marked ones are, and a page of a listing that is no longer under way is refused. So
//! what this file system put there itself is never taken for a change of somebody else's.
//! A listing is made every [`EVERY_MS`], but takes no more than a twentieth of the time of whoever lists.
//! Invariant: nothing that changed here, or that is open, is removed or replaced.

use std::collections::BTreeSet;

use lustre_model::fault::Fault;
use lustre_model::fid::Fid;
use lustre_model::hsm::{ImportEntry, KeyRange, LinkEvent, LinkId, LinkState, Listed};

use super::export::Stored;
use super::import::Batch;
use super::lease::Claim;
use super::link::LinkRecord;
use super::{Caller, Target};
use crate::failure::{Step, TargetError};
use crate::inode::Inode;
use crate::{key, record};

/// Pause between two listings.
const EVERY_MS: u64 = 30_000;
/// A pause is at least so many times as long as the listing was.
const PAUSE_PER_LISTING: u64 = 20;
/// Keys that one request looks for among those that the repository is known to have held.
const SWEEP_MAX: usize = 4096;

/// How a link is listed again.
#[derive(Debug, Default)]
pub(super) struct Reconciling {
    begun_ms: u64,
    due_ms: u64,
    /// Keys whose export ended while the listing is under way; none while there is none.
    echoes: Option<BTreeSet<String>>,
}

impl Target {
    /// Whether a link is to be listed again.
    pub(super) fn is_reconcile_due(&self, record: &LinkRecord) -> bool {
        let reconciling = self.links.movers.reconciling.get(&record.link.id);
        record.state == LinkState::Available
            && !record.link.auto_import.is_empty()
            && reconciling.is_none_or(|it| it.due_ms <= self.now.uptime_ms)
    }

    /// Has the link listed again that a file's bytes were not to be had from.
    pub(super) fn reconcile_soon(&mut self, fid: Fid) -> Result<(), TargetError> {
        let inode = self.table.get::<Inode>(&key::inode(fid))?;
        let link = inode.and_then(|inode| inode.absent().map(|absent| absent.link));
        if let Some(reconciling) = link.and_then(|link| self.links.movers.reconciling.get_mut(&link)) {
            reconciling.due_ms = self.now.uptime_ms;
        }
        Ok(())
    }

    pub(super) fn listing_begins(&mut self, link: LinkId) {
        let begun_ms = self.now.uptime_ms;
        let reconciling = Reconciling { begun_ms, due_ms: begun_ms, echoes: Some(BTreeSet::new()) };
        self.links.movers.reconciling.insert(link, reconciling);
    }

    pub(super) fn listing_ended(&mut self, link: LinkId) {
        let now = self.now.uptime_ms;
        if let Some(reconciling) = self.links.movers.reconciling.get_mut(&link) {
            let took = now.saturating_sub(reconciling.begun_ms);
            reconciling.due_ms = now + EVERY_MS.max(took.saturating_mul(PAUSE_PER_LISTING));
            reconciling.echoes = None;
        }
    }

    /// Notes keys whose export ended, whatever came of it.
    pub(super) fn echo(&mut self, link: LinkId, keys: &[String]) {
        let reconciling = self.links.movers.reconciling.get_mut(&link);
        if let Some(echoes) = reconciling.and_then(|it| it.echoes.as_mut()) {
            echoes.extend(keys.iter().cloned());
        }
    }

    /// Whether a listing may have seen a key as it was before an export of ours.
    pub(super) fn is_echo(&self, link: LinkId, whole: &str) -> bool {
        let reconciling = self.links.movers.reconciling.get(&link);
        reconciling.and_then(|it| it.echoes.as_ref()).is_some_and(|echoes| echoes.contains(whole))
    }

    /// What a part of a listing may change: at first all that there is comes in, later what the link says.
    pub(super) fn events_of(&self, record: &LinkRecord, listed: Option<&Listed>) -> Step<Vec<LinkEvent>> {
        let Some(listed) = listed else { return Ok(vec![LinkEvent::New, LinkEvent::Changed]) };
        if !self.links.movers.is_listing_by(record.link.id, listed.cookie) {
            return Err(Fault::NotFound.into());
        }
        if record.list_wanted {
            return Ok(vec![LinkEvent::New, LinkEvent::Changed]);
        }
        Ok(record.link.auto_import.clone())
    }

    /// Removes what a listing did not find in a range of keys; returns the key up to which it is done, when there are more.
    pub(super) fn sweep(
        &mut self,
        caller: &Caller,
        batch: &Batch,
        (range, entries): (&KeyRange, &[ImportEntry]),
    ) -> Step<Option<String>> {
        let link = batch.record.link.id;
        let present: BTreeSet<String> = entries.iter().map(|entry| batch.key(&entry.key)).collect();
        let all = key::stored(link, "");
        let from =
            range.after.as_ref().map_or_else(|| all.clone(), |after| key::next(&key::stored(link, after)));
        let end = range
            .until
            .as_ref()
            .map_or_else(|| key::behind(&all), |until| key::next(&key::stored(link, until)));
        let known = self.table.scan(&from, &end, SWEEP_MAX)?;
        let is_all = known.len() < SWEEP_MAX;
        let mut last = None;
        for (place, bytes) in known {
            let stored: Stored = record::decode(&place, &bytes)?;
            let Some((_, whole)) = key::read_link(&place) else { continue };
            if !present.contains(&whole) && !self.is_marked(link, &whole) && !self.is_echo(link, &whole) {
                self.vanish(caller, &batch.record, (&whole, &stored))?;
            }
            last = Some(whole);
        }
        Ok(last.filter(|_| !is_all))
    }

    /// Takes the name of an object that is no more, when nothing else came of it here.
    fn vanish(&mut self, caller: &Caller, record: &LinkRecord, (whole, stored): (&str, &Stored)) -> Step<()> {
        let Some(path) = whole.strip_prefix(&record.link.repository.prefix) else { return Ok(()) };
        let path = path.trim_end_matches('/');
        let found = self.resolve(record.root, path.as_bytes())?.filter(|(fid, _)| *fid == stored.fid);
        let Some((fid, mut inode)) = found else {
            // Here it was removed or moved before.
            self.table.delete(key::stored(record.link.id, whole));
            return Ok(());
        };
        let same = stored.data_version == inode.data_version && stored.attr_version == inode.attr_version;
        let in_use = self.opens.contains_key(&fid) || self.writing.contains_key(&fid);
        if !same || in_use || self.restores_under_way(fid) || self.check_removable(fid, &inode).is_err() {
            return Ok(());
        }
        let (above, name) = path.rsplit_once('/').unwrap_or(("", path));
        let Some((parent, mut directory)) = self.resolve(record.root, above.as_bytes())? else {
            return Ok(());
        };
        let Some((slot, _)) = self.find(parent, name.as_bytes())? else { return Ok(()) };
        self.claim_all(caller, &[(parent, Claim::Change), (fid, Claim::Change)])?;
        self.remove_entry((parent, &mut directory), slot)?;
        directory.link_count -= u32::from(inode.directory().is_some());
        directory.modified(self.now.wall);
        self.put_inode(parent, &directory)?;
        self.forget_restores(fid);
        self.lose_name((fid, &mut inode), parent, name.as_bytes())?;
        self.table.delete(key::stored(record.link.id, whole));
        Ok(())
    }
}
