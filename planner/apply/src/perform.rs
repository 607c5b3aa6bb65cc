//! The border between the walk over a plan and what its steps do to the world.
//!
//! The walk knows order, journal and limits; behind [`Perform`] are hosts and agents. Tests put an imagined world there.
//! Invariant: performing a step that was performed before, wholly or in part, ends as performing it once does.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::future::BoxFuture;
use lustre_model::plan::Step;
use lustre_model::recorded::{Secret, World};
use lustre_model::resource::{Attributes, Kind};

use crate::cloud::Keep;
use crate::error::StepError;
use crate::event::{Progress, What};

/// One step with all it needs.
#[derive(Clone)]
pub struct Task {
    /// The step.
    pub step: Step,
    /// What the object is to become, all known; what is recorded, for a deletion.
    pub attributes: Attributes,
    /// What only the executor reads.
    pub private: BTreeMap<String, Secret>,
    /// What was recorded when the step began, of the object and of those that it refers to.
    pub world: Arc<World>,
    /// Takes news of the step.
    pub tell: Tell,
    /// Records what the step must not forget before it ends.
    pub keep: Keep,
}

/// Says how a step goes on.
#[derive(Clone)]
pub struct Tell(Arc<dyn Fn(What) + Send + Sync>);

impl Tell {
    /// Passes news on to `hear`.
    pub fn new(hear: impl Fn(What) + Send + Sync + 'static) -> Self {
        Self(Arc::new(hear))
    }

    /// Says how far the step is.
    pub fn progress(&self, what: &str, done: u64, total: Option<u64>) {
        (self.0)(What::Progress(Some(Progress { what: what.to_owned(), done, total })));
    }

    /// Says anything.
    pub fn say(&self, what: What) {
        (self.0)(what);
    }
}

/// What a step that succeeded leaves to be recorded.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Left {
    /// What the object is now.
    pub attributes: Attributes,
    /// What only the executor reads.
    pub private: BTreeMap<String, Secret>,
}

/// Carries out single steps.
pub trait Perform: Send + Sync + 'static {
    /// Tells whether steps on objects of this kind touch nothing outside the state; they need no intent of their own.
    fn at_once(&self, kind: Kind) -> bool;

    /// Returns what such a step leaves.
    fn settle(&self, step: &Step, attributes: Attributes) -> Left;

    /// Carries a step out: looks, acts, verifies. What a deletion leaves is ignored.
    fn perform(self: Arc<Self>, task: Task) -> BoxFuture<'static, Result<Left, StepError>>;
}
