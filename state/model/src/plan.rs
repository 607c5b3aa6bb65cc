//! The sealed plan: what is to change, why, with what impact, and in which order.
//!
//! Not how it is computed (`planner/plan`), shown, or carried out (`planner/apply`).
//! Invariant: a plan is immutable once sealed; its steps form a graph without cycles, in which each step names only steps
//! before it, and which leaves the executor nothing to choose.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::address::Address;
use crate::pattern::glob;
use crate::recorded::{Lineage, Output};
use crate::resource::{Attributes, Kind};
use crate::value::Value;

/// The version of the plan that this code writes and reads.
pub const PLAN_VERSION: u32 = 4;

/// What happens to an object, as a person sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// It is made.
    Create,
    /// It is changed in place.
    Update,
    /// It is deleted and made anew.
    Replace,
    /// It is deleted.
    Delete,
    /// It is read.
    Read,
    /// It is dropped from the state and stays as it is.
    Forget,
    /// Nothing.
    NoOp,
}

/// Why an action is what it is; the words are Terraform's where it has the same idea.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ActionReason {
    /// An attribute changed that cannot change in place.
    ReplaceBecauseCannotUpdate,
    /// It is tainted.
    ReplaceBecauseTainted,
    /// It is not there any more: somebody or something else removed it.
    ReplaceBecauseGone,
    /// What it stands on is replaced.
    ReplaceBecauseParentReplaced,
    /// Its `triggers_replace` changed.
    ReplaceByTriggers,
    /// `-replace=ADDRESS` names it.
    ReplaceByRequest,
    /// Its deletion was begun before, and the spec has it.
    ReplaceBecauseHalfDeleted,
    /// The spec has no such block.
    DeleteBecauseNoResourceConfig,
    /// The spec has no such module.
    DeleteBecauseNoModule,
    /// Its `for_each` has no such key.
    DeleteBecauseEachKey,
    /// Its `count` is lower now.
    DeleteBecauseCountIndex,
    /// The cluster's storage block asks for fewer targets, or the host is no longer named there.
    DeleteBecauseNoTarget,
    /// Another target takes its place under another index: what an index named is gone for ever.
    DeleteBecauseTargetReplaced,
    /// A replacement is there, and this is what it replaced.
    DeleteBecauseDeposed,
    /// Everything is to be destroyed.
    DeleteByRequest,
    /// An earlier apply began it and was cut off.
    ResumeInterrupted,
    /// Its host reports that it is not as recorded: a process is gone, or runs with other settings.
    RepairBecauseDrifted,
}

/// What users of the file system feel of a change, from nothing to the worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Impact {
    /// Nothing.
    Live,
    /// Requests wait for seconds and are then answered.
    Pause,
    /// Requests fail or wait for longer while it lasts.
    Outage,
    /// The object is made anew; it holds no bytes that are only there.
    Recreate,
    /// Bytes of files would go.
    DataLoss,
}

impl fmt::Display for Impact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Live => "live",
            Self::Pause => "pause",
            Self::Outage => "outage",
            Self::Recreate => "recreate",
            Self::DataLoss => "DATA LOSS",
        })
    }
}

/// One object and what happens to it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// Which.
    pub address: Address,
    /// Where it was recorded before, when it moved.
    pub previous_address: Option<Address>,
    /// What it is.
    pub kind: Kind,
    /// What happens.
    pub action: Action,
    /// Why, where that is not plain.
    pub reason: Option<ActionReason>,
    /// What users feel.
    pub impact: Impact,
    /// Attributes as recorded; `None` when it is not.
    pub before: Option<Attributes>,
    /// Attributes as planned, with unknown values in them; `None` when it will be gone.
    pub after: Option<Attributes>,
    /// Attributes whose change makes a replacement necessary.
    pub replace_paths: Vec<String>,
    /// Where the old object is kept until the new one is there, for a replacement that creates before it destroys.
    pub deposed: Option<Address>,
    /// What it was known by, when an `import` block takes it over.
    pub imported: Option<String>,
}

/// Names a step within its plan: its place in [`Plan::steps`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct StepId(pub u32);

/// What the executor does in one step. A replacement is a `Delete` and a `Create`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// Make it, or finish making it.
    Create,
    /// Change it in place.
    Update,
    /// Remove it with what it made, and nothing else.
    Delete,
    /// Look at it.
    Read,
}

/// One operation on one object.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// Which step.
    pub id: StepId,
    /// On which object.
    pub address: Address,
    /// What it is.
    pub kind: Kind,
    /// What to do.
    pub operation: Operation,
    /// Attributes as recorded; `None` when it is made.
    pub before: Option<Attributes>,
    /// Attributes as planned; `None` when it is deleted. What is unknown in them, [`Resolve`](crate::journal::Resolve) fills in.
    pub after: Option<Attributes>,
    /// Direct dependencies of the object after the step, to be recorded.
    pub dependencies: BTreeSet<Address>,
    /// Steps that must have succeeded before this one begins; each has a lower id.
    pub waits_for: Vec<StepId>,
}

/// A change of an output.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OutputChange {
    /// Its name.
    pub name: String,
    /// What happens: create, update, delete or nothing.
    pub action: Action,
    /// Recorded.
    pub before: Option<Output>,
    /// Planned; unknown inside when it depends on what is applied.
    pub after: Option<Output>,
}

/// An object that has another address now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Move {
    /// Where it is recorded.
    pub from: Address,
    /// Where the spec has it.
    pub to: Address,
}

/// An object that is there already and becomes recorded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Adoption {
    /// Where it is recorded from now on.
    pub address: Address,
    /// What it is.
    pub kind: Kind,
    /// What it is as it was found, all known.
    pub attributes: Attributes,
}

/// A file of the spec.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// Path below the spec's folder.
    pub path: String,
    /// Its whole text.
    pub text: String,
}

/// What functions were told about the world outside while the plan was made; apply tells them the same.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SealedWorld {
    /// Contents of files that were read, in hex, by the path that was asked for; `None` where nothing could be read.
    pub files: BTreeMap<String, Option<String>>,
    /// Whether files are there, by the path that was asked for.
    pub exists: BTreeMap<String, bool>,
    /// Entries of folders that were listed, and whether each is a folder, by the path that was asked for; `None` where
    /// nothing could be listed.
    #[serde(default)]
    pub folders: BTreeMap<String, Option<BTreeMap<String, bool>>>,
    /// When the plan was made, in seconds since 1970; `None` where no clock was given.
    #[serde(default)]
    pub planned_at: Option<i64>,
    /// The working folder.
    pub working_folder: String,
    /// The user's home folder.
    pub home_folder: Option<String>,
}

/// What the spec was, so that apply evaluates exactly this and nothing that changed since.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SealedSpec {
    /// The files, in the order in which they were loaded.
    pub sources: Vec<Source>,
    /// What functions were told.
    pub world: SealedWorld,
    /// Values of variables.
    pub variables: BTreeMap<String, Value>,
    /// What data was read while the plan was made, by address.
    pub data: BTreeMap<Address, Attributes>,
    /// SHA-256 over the sources, the files that were read, the variables and the data, hex.
    pub config_hash: String,
}

/// Whether a plan builds towards the spec, takes everything down, or touches nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Towards the spec.
    Normal,
    /// Everything recorded is deleted.
    Destroy,
    /// No object is touched: what hosts report is shown, and outputs are recorded as they are by what is applied now.
    RefreshOnly,
}

/// How much of a spec a plan is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Extent {
    /// All of it.
    Whole,
    /// What was asked for; outputs stay as they are.
    Part,
}

/// Allows the loss of data of the addresses that match: an address, or a pattern with `*`. An allowance for a cluster
/// covers its targets.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Allowance(pub String);

impl Allowance {
    /// Tells whether the allowance covers an address.
    pub fn covers(&self, address: &Address) -> bool {
        let matches = |address: &Address| glob(&self.0, &address.to_string());
        matches(address) || matches(&address.whole())
    }
}

/// Why an object may not be touched as planned until somebody says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GateReason {
    /// Bytes would go; `-allow-data-loss=ADDRESS` allows it.
    DataLoss,
    /// `lifecycle.prevent_destroy` holds; the spec must say `false` first.
    PreventDestroy,
}

/// An object that stops an apply before its first step.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Gate {
    /// Which.
    pub address: Address,
    /// Why.
    pub reason: GateReason,
}

/// Everything a plan is made of; sealed by [`Plan::seal`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlanParts {
    /// [`PLAN_VERSION`] of the code that made it.
    pub version: u32,
    /// The version of lustre that made it.
    pub tool_version: String,
    /// Towards what.
    pub mode: Mode,
    /// How much of the spec it is about.
    pub extent: Extent,
    /// The state it was made for.
    pub lineage: Lineage,
    /// That state's serial.
    pub serial: u64,
    /// The spec it was made from.
    pub spec: SealedSpec,
    /// What hosts reported not to be as recorded when it was made, by its address in the state; never recorded.
    pub drift: BTreeMap<Address, String>,
    /// Changes of addresses, made before the first step.
    pub moves: Vec<Move>,
    /// Data that is read when the plan is carried out.
    pub reads: Vec<Address>,
    /// Objects that are taken over behind the moves.
    pub adopted: Vec<Adoption>,
    /// Objects that are dropped from the state behind that, and stay as they are.
    pub forgotten: Vec<Address>,
    /// Every object of the spec and of the state, in the order of their addresses.
    pub changes: Vec<Change>,
    /// What to do.
    pub steps: Vec<Step>,
    /// Direct dependencies of objects that stay as they are and are recorded with others; recorded behind the last step,
    /// so that a later deletion goes against them.
    pub dependencies: BTreeMap<Address, BTreeSet<Address>>,
    /// Changes of outputs.
    pub outputs: Vec<OutputChange>,
    /// What stops it.
    pub gates: Vec<Gate>,
    /// What was allowed when it was made.
    pub allowances: Vec<Allowance>,
}

/// A sealed plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "PlanParts", into = "PlanParts")]
pub struct Plan(PlanParts);

/// The parts do not make a plan.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PlanError {
    /// Made by other code.
    #[error("the plan has version {found}, this is {PLAN_VERSION}: plan again with this version of lustre")]
    Version {
        /// What it has.
        found: u32,
    },
    /// The steps are not a graph in order.
    #[error("step {step} of the plan is out of order")]
    Order {
        /// Where.
        step: usize,
    },
    /// It touches no object by its mode, and has steps or changes what is recorded of objects.
    #[error("the plan is one that only refreshes, and yet it would act")]
    RefreshActs,
}

impl Plan {
    /// Seals the parts; refuses another version, steps that wait for themselves or for later ones, and a refresh that acts.
    pub fn seal(parts: PlanParts) -> Result<Self, PlanError> {
        if parts.version != PLAN_VERSION {
            return Err(PlanError::Version { found: parts.version });
        }
        for (place, step) in parts.steps.iter().enumerate() {
            let in_order = step.id.0 as usize == place
                && step.waits_for.iter().all(|before| (before.0 as usize) < place);
            if !in_order {
                return Err(PlanError::Order { step: place });
            }
        }
        let acts = !parts.steps.is_empty() || records_objects(&parts);
        if parts.mode == Mode::RefreshOnly && acts {
            return Err(PlanError::RefreshActs);
        }
        Ok(Self(parts))
    }

    /// Returns what the plan is made of.
    pub fn parts(&self) -> &PlanParts {
        &self.0
    }

    /// Returns the steps; each waits only for steps before it.
    pub fn steps(&self) -> &[Step] {
        &self.0.steps
    }

    /// Returns a step of this plan.
    pub fn step(&self, id: StepId) -> Option<&Step> {
        self.0.steps.get(id.0 as usize)
    }

    /// Returns the changes of all objects, those that stay the same among them.
    pub fn changes(&self) -> &[Change] {
        &self.0.changes
    }

    /// Tells whether carrying the plan out changes anything at all.
    pub fn has_changes(&self) -> bool {
        let outputs = self.0.outputs.iter().any(|output| output.action != Action::NoOp);
        outputs || !self.0.steps.is_empty() || records_objects(&self.0)
    }

    /// Tells whether anything is not as it should be: there is something to do, or, of a refresh, something drifted.
    pub fn finds_differences(&self) -> bool {
        self.has_changes() || self.0.mode == Mode::RefreshOnly && !self.0.drift.is_empty()
    }

    /// Returns the addresses whose bytes would go, allowed or not.
    pub fn data_loss(&self) -> impl Iterator<Item = &Address> {
        self.0.gates.iter().filter(|gate| gate.reason == GateReason::DataLoss).map(|gate| &gate.address)
    }

    /// Returns the gates that neither the plan's own allowances nor these lift. Apply must stop unless it is empty.
    pub fn closed_gates(&self, allowances: &[Allowance]) -> Vec<&Gate> {
        let allowed =
            |address: &Address| self.0.allowances.iter().chain(allowances).any(|a| a.covers(address));
        let closed = |gate: &&Gate| match gate.reason {
            GateReason::DataLoss => !allowed(&gate.address),
            GateReason::PreventDestroy => true,
        };
        self.0.gates.iter().filter(closed).collect()
    }
}

/// Tells whether what is recorded of objects changes before the first step.
fn records_objects(parts: &PlanParts) -> bool {
    !(parts.moves.is_empty() && parts.adopted.is_empty() && parts.forgotten.is_empty())
}

impl TryFrom<PlanParts> for Plan {
    type Error = PlanError;

    fn try_from(parts: PlanParts) -> Result<Self, PlanError> {
        Self::seal(parts)
    }
}

impl From<Plan> for PlanParts {
    fn from(plan: Plan) -> Self {
        plan.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_match_like_a_shell_without_folders() {
        for (pattern, text, fits) in [
            ("cluster.a", "cluster.a", true),
            ("cluster.*", "cluster.a", true),
            ("*", "", true),
            ("c*r.*b*", "cluster.abc", true),
            ("cluster.a", "cluster.ab", false),
            ("*.a", "cluster.ab", false),
        ] {
            assert_eq!(glob(pattern, text), fits, "{pattern} {text}");
        }
    }
}
