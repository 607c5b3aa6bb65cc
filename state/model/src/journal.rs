//! Events of an apply, and the trait of what keeps them.
//!
//! The executor writes an intent before it touches anything and a result after. Who keeps them, and where, is
//! `state/store`; what they mean is [`World::apply`](crate::recorded::World::apply).
//! Invariant: when [`Journal::append`] returned `Ok`, the events survive kill -9 and power loss.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::address::Address;
use crate::diagnostic::Diagnostic;
use crate::plan::{Adoption, Move, Operation, Plan, Step};
use crate::recorded::{DeploymentAuthority, IllegalEvent, Output, Secret, World};
use crate::resource::{Attributes, Kind};

/// What a step came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Outcome {
    /// The object is there with exactly these attributes, all known.
    Present {
        /// What was applied.
        attributes: Attributes,
        /// What only the executor reads.
        private: BTreeMap<String, Secret>,
        /// Direct dependencies now.
        dependencies: BTreeSet<Address>,
    },
    /// The object is gone.
    Absent,
    /// The step failed; doing it again may work. What was begun stays recorded as begun.
    Failed {
        /// Why, as it was shown.
        cause: String,
        /// What must not be forgotten although the step failed; added to what is there.
        private: BTreeMap<String, Secret>,
    },
    /// The object is there, unusable, and only a replacement helps.
    Tainted {
        /// Why.
        cause: String,
    },
}

/// One record of the journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Event {
    /// A step begins.
    Intent {
        /// On which object.
        address: Address,
        /// What it is.
        kind: Kind,
        /// What is about to be done.
        operation: Operation,
        /// What it is to become, all known; empty for a deletion.
        attributes: Attributes,
        /// Direct dependencies it is to have.
        dependencies: BTreeSet<Address>,
    },
    /// A step ended.
    Result {
        /// On which object.
        address: Address,
        /// What came of it.
        outcome: Outcome,
    },
    /// An object has another address now; nothing else about it changed.
    Moved {
        /// The old address.
        from: Address,
        /// The new one.
        to: Address,
    },
    /// Objects have other addresses now, one after the other; recorded at once, however many there are.
    MovedAll {
        /// From where to where.
        moves: Vec<Move>,
    },
    /// An object is dropped from the state without touching it.
    Forgotten {
        /// Which.
        address: Address,
    },
    /// An object stays as it is and depends on others now.
    Depends {
        /// Which object.
        address: Address,
        /// Its direct dependencies from now on.
        dependencies: BTreeSet<Address>,
    },
    /// The outputs are these now.
    Outputs {
        /// All of them.
        outputs: BTreeMap<String, Output>,
    },
    /// A step that runs must not forget this, whatever happens to it.
    Kept {
        /// On which object.
        address: Address,
        /// What only the executor reads; added to what is there.
        private: BTreeMap<String, Secret>,
    },
    /// The deployment's authority was made.
    Authority {
        /// It.
        authority: DeploymentAuthority,
    },
}

/// An event was not recorded.
#[derive(Debug, Error)]
pub enum JournalError {
    /// It cannot follow what was recorded before.
    #[error("the event does not fit the state")]
    Illegal {
        /// Why.
        #[from]
        source: IllegalEvent,
    },
    /// It could not be written. Nothing may be begun any more.
    #[error("the state could not be written")]
    Write {
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Somebody else holds the lock now. Nothing may be begun any more.
    #[error("the lock on the state was lost")]
    LockLost,
}

/// Keeps the events of an apply. Safe to use from many threads; calls made at one time share one write to the disk.
pub trait Journal: Send + Sync {
    /// Records events in order, all or none, and returns when they are durable. Blocks on the disk.
    fn append(&self, events: &[Event]) -> Result<(), JournalError>;

    /// Returns the world as it is after all that was appended. Costs a copy of it when something is appended while the
    /// result lives; to read one object, [`Journal::look`] is cheaper.
    fn world(&self) -> Arc<World>;

    /// Shows the world as it is after all that was appended. Nothing is appended meanwhile.
    fn look(&self, look: &mut dyn FnMut(&World));

    /// Returns the fencing token of the lock that is held; every control call to an agent carries it.
    fn token(&self) -> u64;

    /// Records that a step begins; `attributes` are what the object is to become, all known.
    fn intent(&self, step: &Step, attributes: &Attributes) -> Result<(), JournalError> {
        self.append(&[Event::Intent {
            address: step.address.clone(),
            kind: step.kind,
            operation: step.operation,
            attributes: attributes.clone(),
            dependencies: step.dependencies.clone(),
        }])
    }

    /// Records what came of a step.
    fn result(&self, step: &Step, outcome: Outcome) -> Result<(), JournalError> {
        self.append(&[Event::Result { address: step.address.clone(), outcome }])
    }
}

impl Adoption {
    /// Returns the events that record the object as it was found.
    pub fn events(&self) -> [Event; 2] {
        let intent = Event::Intent {
            address: self.address.clone(),
            kind: self.kind,
            operation: Operation::Create,
            attributes: self.attributes.clone(),
            dependencies: BTreeSet::new(),
        };
        let outcome = Outcome::Present {
            attributes: self.attributes.clone(),
            private: BTreeMap::new(),
            dependencies: BTreeSet::new(),
        };
        [intent, Event::Result { address: self.address.clone(), outcome }]
    }
}

impl Plan {
    /// Returns the events that come before the first step: moves, what is taken over, what is forgotten.
    pub fn preparation(&self) -> Vec<Event> {
        let parts = self.parts();
        let mut events = Vec::new();
        if !parts.moves.is_empty() {
            events.push(Event::MovedAll { moves: parts.moves.clone() });
        }
        for adopted in &parts.adopted {
            events.extend(adopted.events());
        }
        let forgotten = parts.forgotten.iter().cloned();
        events.extend(forgotten.map(|address| Event::Forgotten { address }));
        events
    }
}

/// Fills in, while a plan is carried out, what was not known when it was made. Compiles nothing new: the sources are
/// those sealed in the plan.
pub trait Resolve: Send + Sync {
    /// Returns what the step's object is to become, all known, given what was applied so far.
    fn attributes(&self, step: &Step, world: &World) -> Result<Attributes, ResolveError>;

    /// Checks what the spec asserts of an object behind a step: its postconditions.
    fn verify(&self, _step: &Step, _world: &World) -> Result<(), ResolveError> {
        Ok(())
    }

    /// Returns what `check` blocks warn of, given what was applied.
    fn warnings(&self, _world: &World) -> Vec<Diagnostic> {
        Vec::new()
    }

    /// Returns the outputs, given what was applied.
    fn outputs(&self, world: &World) -> Result<BTreeMap<String, Output>, ResolveError>;
}

/// A value did not become known, or became one that does not fit the plan.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ResolveError {
    /// The sealed sources do not evaluate. Every diagnostic's text is here.
    #[error("{address} cannot be evaluated: {}", causes.join("; "))]
    Evaluation {
        /// Which object or output.
        address: String,
        /// Why.
        causes: Vec<String>,
    },
    /// The object is there, but not as the spec asserts.
    #[error("{address} was applied, but {}", causes.join("; "))]
    Unfulfilled {
        /// Which object.
        address: String,
        /// What does not hold.
        causes: Vec<String>,
    },
    /// A value is still not known although all the step waits for is done.
    #[error("{address}: {attribute} is still not known")]
    StillUnknown {
        /// Which object or output.
        address: String,
        /// Which attribute.
        attribute: String,
    },
    /// A value that the plan showed came out differently.
    #[error("{address}: {attribute} came out differently from what the plan shows; plan again")]
    Differs {
        /// Which object.
        address: String,
        /// Which attribute.
        attribute: String,
    },
}
