//! The lock: one object, changed only by conditional writes.
//!
//! The object stays when the lock is given back, because it carries the token over; `holder` is gone then. It is renewed by a
//! thread while it is held. Whether a lock has expired is decided by whoever wants it, on his own clock: the object must have
//! been the same for as long as it says. `until` is for people, and for nothing else.
//! Invariant: every lock has a higher token than all before it; who finds his object changed has lost it for good.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use lustre_model::moment::rfc3339;
use lustre_s3::{Condition, ObjectStorage, StorageError};
use serde::{Deserialize, Serialize};

use super::bucket::{Bucket, Put};
use crate::backend::{Ends, Held};
use crate::entropy::random;
use crate::error::LockError;
use crate::lock::Holder;

/// Says what the object is.
const FORMAT: &str = "lustre lock";

/// A lock is renewed this many times before it would expire.
const RENEWALS_PER_EXPIRY: u32 = 3;

/// How often a held lock is looked at, at the least.
const LOOK_EVERY_MAX: Duration = Duration::from_secs(1);

/// How often a held lock is looked at before it could expire, at the least.
const LOOKS_PER_EXPIRY: u32 = 8;

/// Longest expiry that is believed of a lock that somebody else wrote.
const EXPIRY_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// Changes of our own object that are followed when the answer to one was lost.
const FOLLOWED_MAX: u32 = 3;

/// A version that no object has: the MD5 of nothing.
const NO_VERSION: &str = "d41d8cd98f00b204e9800998ecf8427e";

/// The object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    format: String,
    version: u32,
    /// The fencing token of this lock, or of the last one.
    pub token: u64,
    /// Drawn for this lock, so that its holder knows it again.
    nonce: String,
    /// Grows with every renewal, so that no two versions are alike.
    renewals: u64,
    /// How long it lasts without a renewal.
    expiry_ms: u64,
    /// When that would be, on the clock of its holder.
    until: String,
    /// Who holds it; nobody when it was given back.
    pub holder: Option<Holder>,
    /// Whether nothing of its holder is on its way to the state any more.
    pub clean: bool,
}

impl Record {
    fn new(token: u64, holder: Holder, expiry: Duration) -> Result<Self, LockError> {
        let expiry_ms = u64::try_from(expiry.as_millis()).unwrap_or(u64::MAX);
        let record = Self {
            format: FORMAT.to_owned(),
            version: 1,
            token,
            nonce: hex::encode(random::<16>().map_err(|source| LockError::Io { source })?),
            renewals: 0,
            expiry_ms,
            until: String::new(),
            holder: Some(holder),
            clean: false,
        };
        Ok(record.prolonged())
    }

    fn expiry(&self) -> Duration {
        Duration::from_millis(self.expiry_ms).min(EXPIRY_MAX)
    }

    fn prolonged(self) -> Self {
        let until = rfc3339(now_seconds() + self.expiry().as_secs());
        Self { until, renewals: self.renewals + 1, ..self }
    }

    /// Returns it without a holder.
    pub fn given_back(self, clean: bool) -> Self {
        Self { holder: None, clean, renewals: self.renewals + 1, ..self }
    }

    /// Returns who holds it.
    pub fn held(&self) -> Option<Held> {
        let holder = self.holder.clone()?;
        Some(Held { id: self.token.to_string(), holder, ends: Ends::At(self.until.clone()) })
    }

    fn bytes(&self) -> Result<Bytes, LockError> {
        let json = serde_json::to_vec(self).map_err(|source| LockError::Encoding { source })?;
        Ok(Bytes::from(json))
    }
}

fn now_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// A lock object in a bucket.
pub struct LockObject<S> {
    pub bucket: Bucket<S>,
    pub key: String,
    pub expiry: Duration,
}

impl<S> Clone for LockObject<S> {
    fn clone(&self) -> Self {
        Self { bucket: self.bucket.clone(), key: self.key.clone(), expiry: self.expiry }
    }
}

impl<S: ObjectStorage> LockObject<S> {
    /// Returns the object and its version.
    pub fn look(&self) -> Result<Option<(Record, String)>, LockError> {
        let Some(found) = self.bucket.get(&self.key).map_err(storage)? else { return Ok(None) };
        let damaged = || LockError::Damaged { path: self.key.clone().into() };
        let record: Record = serde_json::from_slice(&found.bytes).map_err(|_| damaged())?;
        if record.format != FORMAT || record.version != 1 {
            return Err(damaged());
        }
        Ok(Some((record, found.etag)))
    }

    /// Puts the object in place of a version of it, or where there is none.
    pub fn change(&self, record: &Record, before: Option<&str>) -> Result<Put, LockError> {
        let condition = before.map_or(Condition::IfAbsent, |etag| Condition::IfMatch(etag.to_owned()));
        self.bucket.put(&self.key, &record.bytes()?, condition).map_err(storage)
    }

    /// Takes the lock. `floor` gives the token that the new one must exceed, and is told whether the object is there.
    ///
    /// Returns also whether the holder before is known to write no more.
    pub fn take(
        &self,
        holder: Holder,
        wait: Duration,
        floor: &dyn Fn(bool) -> Result<u64, LockError>,
    ) -> Result<(Kept<S>, bool), LockError> {
        let begun = Instant::now();
        let mut watched: Option<(String, Instant)> = None;
        loop {
            let found = self.look()?;
            let busy = found.as_ref().and_then(|(record, etag)| Some((record.held()?, record, etag)));
            if let Some((held, record, etag)) = busy {
                let since = match &watched {
                    Some((version, since)) if version == etag => *since,
                    Some(_) | None => Instant::now(),
                };
                watched = Some((etag.clone(), since));
                if since.elapsed() < record.expiry() {
                    if begun.elapsed() >= wait {
                        return Err(LockError::Held { held: Box::new(held) });
                    }
                    std::thread::sleep(LOOK_EVERY_MAX.min(record.expiry() / LOOKS_PER_EXPIRY));
                    continue;
                }
            }
            let floor = floor(found.is_some())?.max(found.as_ref().map_or(0, |(record, _)| record.token));
            let record = Record::new(floor + 1, holder.clone(), self.expiry)?;
            let before = found.as_ref().map(|(_, etag)| etag.as_str());
            if let Put::Done(etag) = self.change(&record, before)? {
                if found.is_none() {
                    self.check_conditions(&record, &etag)?;
                }
                let clean = found.is_some_and(|(record, _)| record.holder.is_none() && record.clean);
                return Kept::new(self.clone(), record, etag).map(|kept| (kept, clean));
            }
        }
    }

    /// Fails when the store does not keep to conditions, behind the first write of the object: there two would hold the lock at
    /// once, and each would believe that it was alone.
    fn check_conditions(&self, record: &Record, etag: &str) -> Result<(), LockError> {
        let other = record.clone().prolonged();
        let tries =
            [("If-None-Match", Condition::IfAbsent), ("If-Match", Condition::IfMatch(NO_VERSION.to_owned()))];
        for (header, condition) in tries {
            match self.bucket.put(&self.key, &other.bytes()?, condition) {
                Ok(Put::Refused) => {}
                Ok(Put::Done(_)) => {
                    // It is ours whatever was asked of the store, and holds up nobody.
                    let _stays = self.bucket.delete(std::slice::from_ref(&self.key));
                    return Err(LockError::Unconditional { header });
                }
                Err(source) => {
                    let _expires = self.change(&record.clone().given_back(false), Some(etag));
                    return Err(storage(source));
                }
            }
        }
        Ok(())
    }
}

fn storage(source: StorageError) -> LockError {
    LockError::Storage { source }
}

/// A lock that is held and renewed until it is given back.
pub struct Kept<S: ObjectStorage> {
    shared: Arc<Shared<S>>,
    token: u64,
    renewer: Option<JoinHandle<()>>,
    /// Whether nothing of ours would be on its way to the state any more if the lock were dropped now.
    pub is_clean: bool,
}

struct Shared<S> {
    object: LockObject<S>,
    state: Mutex<State>,
    /// Told when the lock is given back.
    changed: Condvar,
    /// Beside the state, because that is away while a renewal is on its way.
    lost: AtomicBool,
}

struct State {
    record: Record,
    etag: String,
    ended: bool,
}

impl<S: ObjectStorage> Kept<S> {
    fn new(object: LockObject<S>, record: Record, etag: String) -> Result<Self, LockError> {
        let token = record.token;
        let state = State { record, etag, ended: false };
        let shared = Arc::new(Shared {
            object,
            state: Mutex::new(state),
            changed: Condvar::new(),
            lost: AtomicBool::new(false),
        });
        let renewing = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("state-lock".to_owned());
        let renewer = thread.spawn(move || renewing.renew()).map_err(|source| LockError::Io { source })?;
        Ok(Self { shared, token, renewer: Some(renewer), is_clean: false })
    }

    /// Returns the fencing token.
    pub fn token(&self) -> u64 {
        self.token
    }

    /// Makes the token exceed `floor`.
    pub fn raise(&mut self, floor: u64) -> Result<(), LockError> {
        if self.token > floor {
            return Ok(());
        }
        let mut state = self.shared.state();
        let record = Record { token: floor + 1, ..state.record.clone() }.prolonged();
        self.shared.change(&mut state, record)?;
        self.token = state.record.token;
        Ok(())
    }

    /// Tells whether somebody else is known to have it.
    pub fn is_lost(&self) -> bool {
        self.shared.lost.load(Ordering::Acquire)
    }

    /// Gives it back. What cannot be given back expires, and the next holder fences the state first; so failures are not
    /// told.
    pub fn give_back(&mut self) {
        let Some(renewer) = self.renewer.take() else { return };
        self.shared.state().ended = true;
        self.shared.changed.notify_all();
        let _panicked = renewer.join();
        let mut state = self.shared.state();
        if !self.is_lost() {
            let record = state.record.clone().given_back(self.is_clean);
            let _expires = self.shared.change(&mut state, record);
        }
    }
}

impl<S: ObjectStorage> Drop for Kept<S> {
    fn drop(&mut self) {
        self.give_back();
    }
}

impl<S> Shared<S> {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: ObjectStorage> Shared<S> {
    /// Renews the lock until it is given back or lost.
    fn renew(&self) {
        let every = self.object.expiry / RENEWALS_PER_EXPIRY;
        let mut state = self.state();
        while !state.ended && !self.lost.load(Ordering::Acquire) {
            let (next, waited) =
                self.changed.wait_timeout(state, every).unwrap_or_else(PoisonError::into_inner);
            state = next;
            if waited.timed_out() && !state.ended {
                let record = state.record.clone().prolonged();
                // What cannot be renewed now is tried again; nobody takes it before it has expired.
                let _again = self.change(&mut state, record);
            }
        }
    }

    /// Puts a new version of our object in the place of the one we know.
    fn change(&self, state: &mut State, record: Record) -> Result<(), LockError> {
        for _ in 0..FOLLOWED_MAX {
            if let Put::Done(etag) = self.object.change(&record, Some(&state.etag))? {
                (state.record, state.etag) = (record, etag);
                return Ok(());
            }
            // A renewal of ours whose answer was lost is still ours.
            match self.object.look()? {
                Some((found, etag)) if found.nonce == record.nonce && found.holder.is_some() => {
                    state.etag = etag
                }
                Some(_) | None => {
                    self.lost.store(true, Ordering::Release);
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}
