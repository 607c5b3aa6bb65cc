//! The border to a cloud: what steps, refreshes and imports ask of AWS. Behind it is `planner/aws`.
//!
//! Nothing here knows a call of AWS; the walk knows order, journal and limits as for hosts.
//! Invariant: making an object that was made before, wholly or in part, ends as making it once does; what a call may leave behind
//! is recorded before the call.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::StreamExt as _;
use futures::future::BoxFuture;
use lustre_model::address::Address;
use lustre_model::recorded::{Object, Secret, Status, World};
use lustre_model::resource::{AttributeError, Attributes, CloudQuestion};
use thiserror::Error;

use crate::error::StepError;
use crate::perform::{Left, Task};

/// How an object was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Observed {
    /// As recorded.
    Same,
    /// There, and not as recorded.
    Drifted(String),
    /// Not there any more.
    Gone(String),
}

/// AWS, or what stands for it.
pub trait Cloud: Send + Sync + 'static {
    /// Makes an object, or makes it what it is to be.
    fn ensure<'a>(&'a self, task: &'a Task) -> BoxFuture<'a, Result<Left, StepError>>;

    /// Removes an object and what was made with it; one that is not there is removed.
    fn delete<'a>(&'a self, task: &'a Task) -> BoxFuture<'a, Result<(), StepError>>;

    /// Compares a recorded object with what is there.
    fn observe<'a>(
        &'a self,
        address: &'a Address,
        object: &'a Object,
    ) -> BoxFuture<'a, Result<Observed, CloudError>>;

    /// Looks something up.
    fn find<'a>(&'a self, question: &'a CloudQuestion) -> BoxFuture<'a, Result<Attributes, CloudError>>;
}

/// Why AWS did not do what was asked of it.
#[derive(Debug, Error)]
pub enum CloudError {
    /// It said no, or nothing.
    #[error("{call} of {what} failed: {code}: {message}")]
    Call {
        /// The call, as AWS's documentation names it.
        call: &'static str,
        /// On what, as AWS knows it.
        what: String,
        /// AWS's code; of an error that never reached AWS, what is wrong in a word.
        code: String,
        /// AWS's message.
        message: String,
        /// What to do, when that is known.
        remedy: Option<String>,
    },
    /// Something that somebody else has is in the way.
    #[error("{what} is there already, and this state does not record it")]
    Taken {
        /// What.
        what: String,
        /// What to do.
        remedy: String,
    },
    /// It is not there.
    #[error("there is no {what}")]
    Missing {
        /// What.
        what: String,
    },
    /// An answer that does not hold together.
    #[error("the answer to {call} cannot be right: {why}")]
    Odd {
        /// The call.
        call: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// Something that was waited for did not come.
    #[error("{what} after {seconds} s")]
    Late {
        /// What is still so.
        what: String,
        /// How long was waited.
        seconds: u64,
        /// What to do.
        remedy: String,
    },
    /// Attributes are not those of the kind.
    #[error("its attributes do not fit")]
    Attributes(#[from] AttributeError),
}

impl CloudError {
    /// Returns what a person can do, when that is known.
    pub fn remedy(&self) -> Option<String> {
        match self {
            Self::Call { remedy, .. } => remedy.clone(),
            Self::Taken { remedy, .. } | Self::Late { remedy, .. } => Some(remedy.clone()),
            Self::Missing { .. } => Some("look whether region and account are the right ones".to_owned()),
            Self::Odd { .. } | Self::Attributes(_) => None,
        }
    }
}

/// Returns how the recorded objects of a world in AWS are: those that are not as recorded, and those that could not be asked.
pub async fn observe(
    cloud: &dyn Cloud,
    world: &Arc<World>,
    parallelism: usize,
) -> (BTreeMap<Address, Observed>, BTreeMap<Address, CloudError>) {
    let there = world.objects.iter().filter(|(_, object)| {
        object.kind.is_in_aws() && matches!(object.status, Status::Present | Status::Updating)
    });
    let asked: Vec<_> = there
        .map(|(address, object)| async move { (address.clone(), cloud.observe(address, object).await) })
        .collect();
    let mut answers = futures::stream::iter(asked).buffer_unordered(parallelism.max(1));
    let (mut found, mut failed) = (BTreeMap::new(), BTreeMap::new());
    while let Some((address, answer)) = answers.next().await {
        match answer {
            Ok(Observed::Same) => {}
            Ok(other) => drop(found.insert(address, other)),
            Err(error) => drop(failed.insert(address, error)),
        }
    }
    (found, failed)
}

/// What recording comes to.
type Recording = BoxFuture<'static, Result<(), StepError>>;

/// Records what a step that runs must not forget.
#[derive(Clone)]
pub struct Keep(Arc<dyn Fn(BTreeMap<String, Secret>) -> Recording + Send + Sync>);

impl Keep {
    /// Passes it on to `record`.
    pub fn new(record: impl Fn(BTreeMap<String, Secret>) -> Recording + Send + Sync + 'static) -> Self {
        Self(Arc::new(record))
    }

    /// Returns when it is recorded for good.
    pub async fn keep(&self, private: BTreeMap<String, Secret>) -> Result<(), StepError> {
        (self.0)(private).await
    }
}
