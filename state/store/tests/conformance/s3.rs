//! The suite against a bucket, and what only a bucket has.
//!
//! The bucket is made up, so that each request can fail or stall; a real server is in the tests of the command line.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use lustre_model::journal::Journal as _;
use lustre_store::{Backend, S3, S3Options, StoreError};

use crate::behaviour::{opened, record, small};
use crate::memory::{Client, Fault, Plan};
use crate::subject::{Break, Seals, Subject, encrypted, has, holder, plain};

/// Where the state is in the bucket.
pub const KEY: &str = "team/prod.state";

/// A state in a bucket in memory.
pub struct InBucket {
    pub bucket: Client,
    pub last: Mutex<Client>,
    pub expiry: Duration,
    pub seals: Seals,
}

/// No lock expires within a test that does not ask for it.
const NEVER: Duration = Duration::from_secs(600);

pub fn in_bucket() -> InBucket {
    InBucket { bucket: Client::default(), last: Mutex::default(), expiry: NEVER, seals: plain }
}

fn encrypted_in_bucket() -> InBucket {
    InBucket { seals: encrypted, ..in_bucket() }
}

impl InBucket {
    pub fn through(&self, client: Client) -> S3<Client> {
        let options = S3Options {
            key: KEY.into(),
            bucket: "states".into(),
            lock_expiry: self.expiry,
            pause: Duration::ZERO,
            seal: (self.seals)(),
        };
        S3::new(Arc::new(client), options).expect("threads start")
    }

    fn keys(&self) -> Vec<String> {
        self.bucket.objects().by_key.keys().cloned().collect()
    }
}

impl Subject for InBucket {
    fn client(&self) -> Box<dyn Backend> {
        Box::new(self.through(self.bucket.another()))
    }

    fn breaking(&self, at: usize, how: Break, for_ever: bool) -> Box<dyn Backend> {
        let fault = if how == Break::Before { Fault::Before } else { Fault::After };
        let client = self.bucket.another().failing(Plan { at, fault, for_ever });
        *self.last.lock().unwrap() = client.clone();
        Box::new(self.through(client))
    }

    fn requests(&self) -> usize {
        self.last.lock().unwrap().requests()
    }

    fn end_locks(&self) {
        if let Some(held) = self.client().holder().unwrap() {
            self.client().force_unlock(&held.id).unwrap();
        }
    }

    fn snapshot(&self) -> Option<Vec<u8>> {
        self.bucket.objects().by_key.get(KEY).map(|(bytes, _)| bytes.to_vec())
    }

    fn set_snapshot(&self, bytes: Option<&[u8]>) {
        let mut objects = self.bucket.objects();
        match bytes {
            Some(bytes) => drop(objects.store(KEY, bytes.to_vec().into())),
            None => drop(objects.by_key.remove(KEY)),
        }
    }

    fn retries(&self) -> bool {
        true
    }

    fn unlocks(&self) -> bool {
        true
    }
}

conforms!(in_bucket);

mod sealed {
    use super::encrypted_in_bucket;

    conforms!(encrypted_in_bucket);
}

#[test]
fn a_closed_state_is_its_snapshot_its_lock_and_its_history() {
    let subject = in_bucket();
    for number in 0..14 {
        let state = opened(&*subject.client());
        record(&state, &format!("v{number}"));
        state.close().unwrap();
    }
    let keys = subject.keys();
    let (history, rest): (Vec<_>, Vec<_>) = keys.into_iter().partition(|key| key.contains(".history/"));
    assert_eq!(rest, [KEY.to_owned(), format!("{KEY}.lock")]);
    assert_eq!(history.len(), 10);
    assert!(
        history[9].ends_with(&format!("{:020}", 26)),
        "the newest is from before the last apply: {history:?}"
    );
}

#[test]
fn a_deleted_snapshot_is_an_error_that_says_where_a_copy_is() {
    let subject = in_bucket();
    small(&subject);
    small_again(&subject);
    subject.set_snapshot(None);
    let Err(StoreError::SnapshotDeleted { found, .. }) = subject.client().read() else { panic!("refused") };
    assert!(found.contains(".history/"), "{found}");
    assert!(subject.client().exists().unwrap());
    assert!(subject.client().lock(holder("a@b"), Duration::ZERO).is_err());
}

fn small_again(subject: &InBucket) {
    let state = opened(&*subject.client());
    record(&state, "b");
    state.close().unwrap();
}

#[test]
fn a_segment_that_is_damaged_or_of_another_place_is_refused() {
    let subject = in_bucket();
    small(&subject);
    let state = opened(&*subject.client());
    record(&state, "b");
    let segments: Vec<String> = subject.keys().into_iter().filter(|key| key.contains(".journal/")).collect();
    assert_eq!(segments.len(), 2);
    let bytes = |key: &str| subject.bucket.objects().by_key[key].0.clone();
    let (first, second) = (bytes(&segments[0]), bytes(&segments[1]));
    let mut flipped = first.to_vec();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    for wrong in [Vec::new(), first[..first.len() / 2].to_vec(), flipped, second.to_vec(), b"{}".to_vec()] {
        subject.bucket.objects().store(&segments[0], wrong.clone().into());
        let error = subject.client().read().expect_err("refused").to_string();
        assert!(error.contains(".journal/"), "{error}");
        assert_eq!(bytes(&segments[0]), wrong, "kept as it is");
    }
    subject.bucket.objects().store(&segments[0], first);
    assert!(has(&subject.client().read().unwrap().world, "b"));
    drop(state);
}

#[test]
fn tokens_go_on_when_the_lock_object_was_deleted() {
    let subject = in_bucket();
    small(&subject);
    // Locks that only look have tokens too, and agents know them.
    (0..5).for_each(|_| drop(subject.client().lock(holder("a@b"), Duration::ZERO).unwrap()));
    let known = subject.client().read().unwrap().token;
    subject.bucket.objects().by_key.remove(&format!("{KEY}.lock"));
    assert!(opened(&*subject.client()).token() > known);
}

#[test]
fn a_damaged_lock_is_refused_by_name() {
    let subject = in_bucket();
    small(&subject);
    subject.bucket.objects().store(&format!("{KEY}.lock"), b"garbage".to_vec().into());
    let error = subject.client().lock(holder("a@b"), Duration::ZERO).map(drop).expect_err("refused");
    assert!(error.to_string().contains(".lock"), "{error}");
}

#[test]
fn a_store_that_writes_whatever_the_condition_is_refused() {
    for header in ["If-None-Match", "If-Match"] {
        let state = in_bucket();
        state.bucket.objects().ignored = Some(header);
        let refused = state.client().lock(holder("ann"), Duration::ZERO).err().expect("it is no lock");
        assert!(refused.to_string().contains(header), "{refused}");
        assert_eq!(state.keys(), Vec::<String>::new(), "nothing is left behind");
        state.bucket.objects().ignored = None;
        drop(state.client().lock(holder("ann"), Duration::ZERO).expect("it is one"));
    }
}
