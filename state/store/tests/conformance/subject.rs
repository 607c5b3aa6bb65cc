//! What a behaviour of the suite is given: a place to keep a state, reached by any number of clients.
//!
//! Invariant: clients share nothing but the place.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use lustre_model::address::Address;
use lustre_model::journal::{Event, Outcome};
use lustre_model::plan::Operation;
use lustre_model::recorded::{Lineage, Secret, World};
use lustre_model::resource::{Attributes, Kind};
use lustre_model::value::Value;
use lustre_store::{Backend, Cost, Holder, Key, Keyring, Keys, Plain, Plaintext, Random, Seal};

/// How a client's way to the place breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Break {
    /// Requests are lost on the way.
    Before,
    /// Requests happen, and their answers are lost.
    After,
}

/// A place under test.
pub trait Subject {
    /// A new client, as another process has it.
    fn client(&self) -> Box<dyn Backend>;
    /// A new client on another machine.
    fn elsewhere(&self) -> Box<dyn Backend> {
        self.client()
    }
    /// A client whose request number `at` breaks, and with `for_ever` all after it.
    fn breaking(&self, at: usize, how: Break, for_ever: bool) -> Box<dyn Backend>;
    /// How many requests the last breaking client made.
    fn requests(&self) -> usize;
    /// Ends the locks of clients that are gone.
    fn end_locks(&self);
    /// The snapshot as it is stored.
    fn snapshot(&self) -> Option<Vec<u8>>;
    /// Puts other bytes in its place.
    fn set_snapshot(&self, bytes: Option<&[u8]>);
    /// Whether one request that fails is made again.
    fn retries(&self) -> bool;
    /// Whether a lock that outlived its holder can be taken away.
    fn unlocks(&self) -> bool;
}

/// Makes what a client seals with; each has its own.
pub type Seals = fn() -> Arc<dyn Seal>;

/// Bytes as they are.
pub fn plain() -> Arc<dyn Seal> {
    Arc::new(Plain)
}

/// Counts up over all clients, so that no two have one data key.
struct Counting;

impl Random for Counting {
    fn fill(&self, bytes: &mut [u8]) -> std::io::Result<()> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed).to_le_bytes();
        bytes.iter_mut().zip(number.iter().cycle()).for_each(|(byte, digit)| *byte = *digit);
        Ok(())
    }
}

/// A passphrase, cheap to derive from.
pub fn encrypted() -> Arc<dyn Seal> {
    let key = Key::Passphrase("a passphrase of a test".to_owned().into());
    let keys = Keys {
        keys: [("k".to_owned(), key)].into(),
        writes: Some("k".to_owned()),
        plaintext: Plaintext::Refused,
        cost: Cost { memory_kib: 8, iterations: 1, lanes: 1 },
    };
    Arc::new(Keyring::new(keys, Box::new(Counting)))
}

pub fn holder(who: &str) -> Holder {
    Holder {
        who: who.into(),
        operation: "apply".into(),
        version: "0.1".into(),
        since: "today".into(),
        pid: 7,
    }
}

pub fn lineage() -> Lineage {
    Lineage("first".into())
}

pub fn create(name: &str) -> Event {
    Event::Intent {
        address: Address::new("value", name),
        kind: Kind::Value,
        operation: Operation::Create,
        attributes: Attributes::from([("input".to_owned(), Value::from(name).sensitive())]),
        dependencies: BTreeSet::new(),
    }
}

pub fn present(name: &str) -> Event {
    let outcome = Outcome::Present {
        attributes: Attributes::from([("input".to_owned(), Value::from(name).sensitive())]),
        private: BTreeMap::from([("key".to_owned(), Secret::new("pem".into()))]),
        dependencies: BTreeSet::new(),
    };
    Event::Result { address: Address::new("value", name), outcome }
}

pub fn has(world: &World, name: &str) -> bool {
    world.objects.contains_key(&Address::new("value", name))
}
