//! The state in a bucket: objects below one key, and nothing but conditional writes between two who think they hold the lock.
//!
//! ```text
//! KEY                                   snapshot; its header's token names the epoch that goes on from it
//! KEY.lock                              who works on it, and the newest token
//! KEY.journal/LINEAGE-TOKEN-SERIAL      one commit of the epoch TOKEN, or the fence that ends it
//! KEY.history/TOKEN-SERIAL              snapshots as they were before the last applies
//! ```
//! An *epoch* is what one lock wrote: it begins when a snapshot with the lock's token is put (`If-Match` on the one before, or
//! `If-None-Match` where there is none), and goes on with segments at serial after serial (`If-None-Match`). The state is the
//! snapshot, and the segments of *its* epoch from *its* serial on until one is missing or is a fence.
//!
//! # Why an old holder cannot write
//! O held the lock and was paused; N took it when O's object had not changed for its expiry. Before N's `lock` returns, unless O
//! gave the lock back cleanly, N *takes over*: (1) read snapshot E and its segments, up to a place P that is free; (2) put a
//! fence at P; (3) put a snapshot of all that with N's token, `If-Match: E`. Each is one conditional write, so O and N are
//! ordered by the bucket:
//!
//! | O writes | before N's step | after it |
//! |---|---|---|
//! | a segment at P | (2) fails; N reads the segment and takes it over: acknowledged and kept | O's put meets the fence: O has lost the lock, nothing was acknowledged |
//! | a segment behind P | impossible: O puts in order, and P is free | impossible: O's put at P comes first, and fails |
//! | a snapshot (fold, close) | (3) fails; N begins again from it | O's `If-Match` fails: lost |
//! | its first snapshot, opening | (3), or N's own opening, fails; N reads it and begins again or gives up | O's condition fails: lost |
//! | the lock | N's own condition fails; N sees a lock that is held | O's `If-Match` fails: lost |
//! | nothing, it died | – | – |
//!
//! N itself may be paused and fenced by a third: the same table. N may die between (2) and (3): whoever takes over then finds
//! the fence and does (3); readers stop at it. A segment that arrives late, because a request was stuck, belongs to an epoch
//! that no snapshot names any more or to a place that is never used again: names of segments are never used twice, and fences
//! are never deleted. Whether a put whose answer was lost happened is read back; no two holders write the same bytes, because
//! each has its own token. When the lock object was deleted, tokens go on at a random distance from the snapshot's.
//!
//! Not here: agents, which refuse an older token by themselves.
//! Invariant: an event is acknowledged only after its segment was put at the end of the newest epoch.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use lustre_model::recorded::{Lineage, World};
use lustre_s3::{Endpoint, ObjectStorage, S3Client};

use self::bucket::{Bucket, Put};
use self::chain::Chain;
use self::lock::{Kept, LockObject};
use super::{Backend, Held, LockedState, Recovered, Unlocked};
use crate::background::Background;
use crate::entropy::random;
use crate::error::{LockError, StoreError};
use crate::lock::Holder;
use crate::open_state::OpenState;
use crate::seal::Seal;
use crate::snapshot;

mod bucket;
mod chain;
mod lock;
mod segment;
mod tape;

/// How long a lock lasts without renewal unless the spec says.
pub const LOCK_EXPIRY: Duration = Duration::from_secs(60);

/// Shortest expiry that can be asked for.
pub const LOCK_EXPIRY_MIN: Duration = Duration::from_secs(2);

/// A request on the lock has the lock's expiry, and at least this: it is no use later, and must not hold up the end.
const LOCK_REQUEST_LEAST: Duration = Duration::from_secs(30);

/// Bytes of a snapshot in which its header is.
const HEADER_BYTES_MAX: u64 = 4096;

/// Snapshots that are kept from before the last applies.
const HISTORY_KEPT: usize = 10;

/// Pause before a request is made again.
const PAUSE: Duration = Duration::from_millis(500);

/// A lock that was changed by others this often while it was to be taken away is left alone.
const UNLOCKS_MAX: u32 = 8;

/// Where in a bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3Place {
    /// The bucket and the way to it.
    pub endpoint: Endpoint,
    /// A profile of AWS's shared files.
    pub profile: Option<String>,
    /// The key of the snapshot; all others begin with it.
    pub key: String,
    /// How long a lock lasts without renewal.
    pub lock_expiry: Duration,
}

/// How a state in a bucket is reached.
#[derive(Clone)]
pub struct S3Options {
    /// The key of the snapshot; all others begin with it.
    pub key: String,
    /// The name of the bucket, for messages.
    pub bucket: String,
    /// How long a lock lasts without renewal.
    pub lock_expiry: Duration,
    /// Pause before a request that failed is made again.
    pub pause: Duration,
    /// What seals the bytes.
    pub seal: Arc<dyn Seal>,
}

/// A state in a bucket.
pub struct S3<S> {
    bucket: Bucket<S>,
    options: S3Options,
}

impl<S> Clone for S3<S> {
    fn clone(&self) -> Self {
        Self { bucket: self.bucket.clone(), options: self.options.clone() }
    }
}

/// Sets up the way to a state in a bucket; sends nothing yet.
pub fn connect(place: &S3Place, seal: Arc<dyn Seal>) -> Result<S3<S3Client>, StoreError> {
    let io = |source| StoreError::Io { verb: "read", source };
    let background = Arc::new(Background::new().map_err(io)?);
    let (endpoint, profile) = (place.endpoint.clone(), place.profile.clone());
    let client = background.run(async move { S3Client::connect_as(&endpoint, profile.as_deref()).await });
    let client = client.map_err(io)?.map_err(|source| StoreError::Connect { source })?;
    let options = S3Options {
        key: place.key.clone(),
        bucket: place.endpoint.bucket.clone(),
        lock_expiry: place.lock_expiry,
        pause: PAUSE,
        seal,
    };
    Ok(S3 { bucket: Bucket::new(Arc::new(client), background, options.pause), options })
}

impl<S: ObjectStorage> S3<S> {
    /// Keeps a state in any bucket.
    pub fn new(storage: Arc<S>, options: S3Options) -> Result<Self, StoreError> {
        let background = Background::new().map_err(|source| StoreError::Io { verb: "read", source })?;
        Ok(Self { bucket: Bucket::new(storage, Arc::new(background), options.pause), options })
    }

    fn lock_object(&self) -> LockObject<S> {
        let expiry = self.options.lock_expiry;
        let bucket = self.bucket.clone().within(expiry.max(LOCK_REQUEST_LEAST));
        LockObject { bucket, key: format!("{}.lock", self.options.key), expiry }
    }

    /// Names a key for people.
    fn path(&self, key: &str) -> PathBuf {
        PathBuf::from(format!("s3://{}/{key}", self.options.bucket))
    }

    /// Returns the token that a new lock must exceed.
    fn floor(&self, has_lock: bool) -> Result<u64, LockError> {
        let key = &self.options.key;
        let beginning = self.bucket.head_bytes(key, HEADER_BYTES_MAX);
        let Some(found) = beginning.map_err(|source| LockError::Storage { source })? else { return Ok(0) };
        let token = snapshot::token(&self.path(key), &found.bytes);
        let token = token.map_err(|source| LockError::State { source: Box::new(source) })?;
        if has_lock {
            return Ok(token);
        }
        // The lock object was deleted, and with it tokens that nobody knows any more. Random, so that two who find it deleted
        // do not get the same.
        let distance = random().map_err(|source| LockError::Io { source })?;
        Ok(token + u64::from(u32::from_le_bytes(distance)))
    }

    /// Keeps the snapshot as it is now, and drops the oldest that are kept.
    fn keep_history(&self, chain: &Chain) -> Result<(), StoreError> {
        let storage = |source| StoreError::Storage { verb: "written", source };
        let prefix = format!("{}.history/", self.options.key);
        let key = format!("{prefix}{:020}-{:020}", chain.epoch, chain.recovered.world.serial);
        match self.bucket.put(&key, &chain.bytes, lustre_s3::Condition::Always).map_err(storage)? {
            Put::Done(_) | Put::Refused => {}
        }
        let kept = self.bucket.list(&prefix).map_err(storage)?;
        let surplus = kept.len().saturating_sub(HISTORY_KEPT);
        let surplus: Vec<String> = kept.into_iter().take(surplus).map(|kept| kept.key).collect();
        self.bucket.delete(&surplus).map_err(storage)
    }
}

impl<S: ObjectStorage> Backend for S3<S> {
    fn exists(&self) -> Result<bool, StoreError> {
        let storage = |source| StoreError::Storage { verb: "read", source };
        let there = self.bucket.version(&self.options.key).map_err(storage)?.is_some();
        Ok(there || self.leftover()?.is_some())
    }

    fn read(&self) -> Result<Recovered, StoreError> {
        let chain = self.chain()?;
        let newest = self.lock_object().look();
        let newest = newest.map_err(|source| StoreError::Lock { source: Box::new(source) })?;
        let token = chain.recovered.token.max(newest.map_or(0, |(record, _)| record.token));
        Ok(Recovered { token, ..chain.recovered })
    }

    fn lock(&self, holder: Holder, wait: Duration) -> Result<Box<dyn LockedState>, LockError> {
        let (mut kept, clean) = self.lock_object().take(holder, wait, &|has_lock| self.floor(has_lock))?;
        let chain = if clean { self.chain() } else { self.take_over(kept.token()) };
        match chain {
            Ok(chain) => {
                // Nothing is on its way until it is opened.
                kept.is_clean = true;
                Ok(Box::new(Locked { s3: self.clone(), kept, chain }))
            }
            Err(source) => {
                kept.is_clean = clean;
                Err(LockError::State { source: Box::new(source) })
            }
        }
    }

    fn holder(&self) -> Result<Option<Held>, LockError> {
        Ok(self.lock_object().look()?.and_then(|(record, _)| record.held()))
    }

    fn force_unlock(&self, id: &str) -> Result<Unlocked, LockError> {
        let object = self.lock_object();
        for _ in 0..UNLOCKS_MAX {
            let Some((record, etag)) = object.look()? else { return Ok(Unlocked::Free) };
            let Some(held) = record.held() else { return Ok(Unlocked::Free) };
            if held.id != id {
                return Ok(Unlocked::Other(held));
            }
            // What its holder still writes is met by the fence of the next.
            if let Put::Done(_) = object.change(&record.given_back(false), Some(&etag))? {
                return Ok(Unlocked::Taken(held));
            }
        }
        Ok(object.look()?.and_then(|(record, _)| record.held()).map_or(Unlocked::Free, Unlocked::Other))
    }
}

/// A state in a bucket, under its lock.
struct Locked<S: ObjectStorage> {
    s3: S3<S>,
    kept: Kept<S>,
    chain: Chain,
}

impl<S: ObjectStorage> LockedState for Locked<S> {
    fn read(&mut self) -> Result<Recovered, StoreError> {
        let recovered = self.chain.recovered.clone();
        Ok(Recovered { token: recovered.token.max(self.kept.token()), ..recovered })
    }

    fn raise(&mut self, floor: u64) -> Result<(), LockError> {
        self.kept.raise(floor)
    }

    fn open(self: Box<Self>, new_lineage: Lineage) -> Result<OpenState, StoreError> {
        let Self { s3, mut kept, mut chain } = *self;
        kept.is_clean = false;
        s3.begin_epoch(&mut chain, kept.token(), new_lineage)?;
        let (world, token) = (chain.recovered.world.clone(), kept.token());
        Ok(OpenState::new(world, token, Box::new(tape::Segments::new(s3, kept, chain))))
    }
}

impl<S: ObjectStorage> S3<S> {
    /// Puts the first snapshot of the lock's epoch.
    fn begin_epoch(&self, chain: &mut Chain, token: u64, new_lineage: Lineage) -> Result<(), StoreError> {
        if chain.etag.is_none() {
            chain.recovered.world = World::new(new_lineage);
        } else {
            self.keep_history(chain)?;
        }
        if chain.epoch == token && chain.etag.is_some() {
            return Ok(());
        }
        let world = &chain.recovered.world;
        let bytes = Bytes::from(snapshot::encode(world, token, self.options.seal.as_ref())?);
        let etag = self.put_snapshot(&bytes, chain.etag.as_deref())?.ok_or(StoreError::LockLost)?;
        let segments = std::mem::take(&mut chain.segments);
        (chain.epoch, chain.etag, chain.bytes) = (token, Some(etag), bytes);
        self.delete_segments(&segments)
    }
}
