//! The walk over a sealed plan: every step once, in order, in parallel, journalled.
//!
//! Does not know what a step does ([`Perform`]) nor where events are kept ([`Journal`]). Compiles nothing: the graph is
//! the plan's own.
//! Invariant: nothing outside the state is touched before its intent is durable, and nothing is begun any more once the
//! journal refused an event.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use lustre_model::address::Address;
use lustre_model::diagnostic::Diagnostic;
use lustre_model::journal::{Event as Record, Journal, JournalError, Outcome, Resolve, ResolveError};
use lustre_model::plan::{Allowance, Extent, Gate, Mode, Operation, OutputChange, Plan, Step, StepId};
use lustre_model::recorded::{Lineage, Output, World};
use lustre_model::resource::Attributes;
use thiserror::Error;
use tokio::task::JoinSet;

use crate::cloud::Keep;
use crate::error::StepError;
use crate::event::{Event, Watch, What};
use crate::interrupt::{Stop, Urgency};
use crate::order::Order;
use crate::perform::{Left, Perform, Task, Tell};

/// Most steps that touch nothing outside the state and share one write of the journal.
const WAVE_MAX: usize = 256;

/// How often a step that runs is mentioned.
const MENTION_EVERY: Duration = Duration::from_secs(10);

/// How often a step is tried in all when what goes wrong may pass.
const ATTEMPTS_MAX: u32 = 6;

/// Pause before the second attempt; doubles with each.
const PAUSE_FIRST: Duration = Duration::from_millis(200);

/// A plan with all that carrying it out needs.
pub struct Apply {
    /// The plan.
    pub plan: Arc<Plan>,
    /// Keeps the state; its lock is held.
    pub journal: Arc<dyn Journal>,
    /// Makes unknown values known.
    pub resolve: Arc<dyn Resolve>,
    /// Does the work.
    pub perform: Arc<dyn Perform>,
    /// Sees what happens.
    pub watch: Arc<dyn Watch>,
    /// Allowances besides those sealed in the plan.
    pub allowances: Vec<Allowance>,
    /// Most steps at once.
    pub parallelism: usize,
    /// Says when to stop.
    pub stop: Stop,
}

/// Nothing was begun, or the state could not be kept.
#[derive(Debug, Error)]
pub enum ApplyError {
    /// The state is not the one the plan was made for.
    #[error("the plan is stale: the state is at serial {found}, the plan was made for serial {planned}")]
    Stale {
        /// The serial of the plan.
        planned: u64,
        /// The serial of the state.
        found: u64,
    },
    /// The plan belongs to another state.
    #[error("the plan was made for another state")]
    Foreign,
    /// Bytes would be lost, or a destruction is forbidden.
    #[error("stopped before the first step")]
    Gated {
        /// By these.
        gates: Vec<Gate>,
    },
    /// The state could not be written. What was done before is recorded.
    #[error("the apply stopped because its state could not be kept")]
    Journal {
        /// Why.
        #[from]
        source: JournalError,
    },
    /// Every step is done, but an output has no value.
    #[error("every step is done, but the outputs could not be made")]
    Outputs {
        /// Why.
        #[source]
        source: ResolveError,
    },
}

/// A step that failed.
#[derive(Debug, Clone)]
pub struct Failure {
    /// On which object.
    pub address: Address,
    /// What was to be done.
    pub operation: Operation,
    /// What went wrong, outermost first.
    pub causes: Vec<String>,
    /// What to do.
    pub remedy: Option<String>,
}

/// What became of the steps.
#[derive(Debug, Default)]
pub struct Report {
    /// How many of each operation succeeded.
    pub done: BTreeMap<Operation, usize>,
    /// Those that failed.
    pub failed: Vec<Failure>,
    /// Those that were not begun because another failed.
    pub skipped: Vec<Address>,
    /// What checks of the spec warn of, once everything is done.
    pub warnings: Vec<Diagnostic>,
    /// Whether it was asked to stop before everything was begun.
    pub interrupted: bool,
}

impl Report {
    /// Tells whether everything that was planned is done.
    pub fn is_complete(&self) -> bool {
        self.failed.is_empty() && self.skipped.is_empty() && !self.interrupted
    }
}

/// Carries a plan out. Steps that fail do not stop those that do not depend on them.
pub async fn carry_out(apply: Apply) -> Result<Report, ApplyError> {
    let world = apply.journal.world();
    check(&apply, &world)?;
    append(&apply.journal, apply.plan.preparation()).await?;
    let mut walk = Walk {
        order: Order::new(&apply.plan),
        world: World::clone(&apply.journal.world()),
        running: BTreeMap::new(),
        tasks: JoinSet::new(),
        report: Report::default(),
        refused: None,
        apply: Arc::new(apply),
    };
    walk.run_out().await;
    walk.finish().await
}

fn check(apply: &Apply, world: &World) -> Result<(), ApplyError> {
    let parts = apply.plan.parts();
    // A plan that was made before there was a state fits one to which nothing happened yet.
    let before_all = parts.lineage == Lineage::default() && parts.serial == 0;
    if parts.lineage != world.lineage && !before_all {
        return Err(ApplyError::Foreign);
    }
    if parts.serial != world.serial {
        return Err(ApplyError::Stale { planned: parts.serial, found: world.serial });
    }
    let gates: Vec<Gate> = apply.plan.closed_gates(&apply.allowances).into_iter().cloned().collect();
    if gates.is_empty() { Ok(()) } else { Err(ApplyError::Gated { gates }) }
}

/// Appends on a thread that may block. Nothing to append is done at once.
async fn append(journal: &Arc<dyn Journal>, records: Vec<Record>) -> Result<(), JournalError> {
    if records.is_empty() {
        return Ok(());
    }
    let journal = Arc::clone(journal);
    match tokio::task::spawn_blocking(move || journal.append(&records)).await {
        Ok(result) => result,
        Err(panic) => Err(JournalError::Write { source: Box::new(panic) }),
    }
}

/// How a step that ran came out.
enum Ended {
    Done,
    Failed(StepError),
    /// The journal refused; nothing more may be begun.
    Refused(JournalError),
}

struct Walk {
    apply: Arc<Apply>,
    order: Order,
    /// The world as of the last wave; follows the journal's.
    world: World,
    running: BTreeMap<StepId, Instant>,
    tasks: JoinSet<(StepId, Ended)>,
    report: Report,
    refused: Option<JournalError>,
}

impl Walk {
    async fn run_out(&mut self) {
        let mut stop = self.apply.stop.clone();
        let mut seen = stop.urgency();
        let mut mention = tokio::time::interval(MENTION_EVERY);
        mention.reset();
        loop {
            if seen == Urgency::None && self.refused.is_none() {
                self.waves().await;
                self.begin();
            }
            if self.tasks.is_empty() {
                break;
            }
            tokio::select! {
                Some(ended) = self.tasks.join_next() => self.ended(ended),
                urgency = stop.beyond(seen) => {
                    seen = urgency;
                    if seen == Urgency::Abort {
                        self.tasks.abort_all();
                    }
                }
                _ = mention.tick() => self.mention(),
            }
        }
        let ended =
            self.report.done.values().sum::<usize>() + self.report.failed.len() + self.report.skipped.len();
        self.report.interrupted = seen != Urgency::None && ended < self.apply.plan.steps().len();
    }

    /// Settles every ready step that touches nothing outside the state, until none is left.
    async fn waves(&mut self) {
        while self.refused.is_none() && self.apply.stop.urgency() == Urgency::None {
            let (records, settled) = self.wave();
            if records.is_empty() && settled.is_empty() {
                return;
            }
            if let Err(refused) = append(&self.apply.journal, records).await {
                self.refused = Some(refused);
                return;
            }
            for (id, begun) in settled {
                if let Some(step) = self.apply.plan.step(id) {
                    see(&self.apply, step, begun, What::Started);
                }
                self.note_done(id, begun);
            }
        }
    }

    /// Collects the records of up to [`WAVE_MAX`] such steps, freeing those behind them as it goes.
    fn wave(&mut self) -> (Vec<Record>, Vec<(StepId, Instant)>) {
        let apply = Arc::clone(&self.apply);
        let at_once = |id: &StepId| apply.plan.step(*id).is_some_and(|step| apply.perform.at_once(step.kind));
        let (mut records, mut settled) = (Vec::new(), Vec::new());
        let mut ready: std::collections::BTreeSet<StepId> = self.order.ready().filter(at_once).collect();
        if ready.is_empty() {
            return (records, settled);
        }
        let world = &mut self.world;
        apply.journal.look(&mut |current| {
            if current.serial != world.serial {
                *world = current.clone();
            }
        });
        while let Some(id) = ready.pop_first() {
            if settled.len() >= WAVE_MAX {
                break;
            }
            let Some(step) = apply.plan.step(id) else { continue };
            self.order.take(id);
            let begun = Instant::now();
            match settle(&apply, step, &mut self.world) {
                Ok(both) => {
                    records.extend(both);
                    if let Err(error) = verify(&apply, step, &self.world) {
                        self.note_failed(id, begun, &error);
                        continue;
                    }
                    settled.push((id, begun));
                    ready.extend(self.order.succeeded(id).iter().copied().filter(at_once));
                }
                Err(error) => self.note_failed(id, begun, &error),
            }
        }
        (records, settled)
    }

    /// Begins as many of the other ready steps as may run at once.
    fn begin(&mut self) {
        if self.refused.is_some() || self.apply.stop.urgency() != Urgency::None {
            return;
        }
        let room = self.apply.parallelism.saturating_sub(self.running.len());
        let ready: Vec<StepId> = self
            .order
            .ready()
            .filter(|id| self.apply.plan.step(*id).is_some_and(|step| !self.apply.perform.at_once(step.kind)))
            .take(room)
            .collect();
        for id in ready {
            self.order.take(id);
            self.running.insert(id, Instant::now());
            let apply = Arc::clone(&self.apply);
            self.tasks.spawn(async move { (id, run(apply, id).await) });
        }
    }

    fn ended(&mut self, joined: Result<(StepId, Ended), tokio::task::JoinError>) {
        let (id, ended) = match joined {
            Ok(ended) => ended,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_aborted) => return,
        };
        let begun = self.running.remove(&id).unwrap_or_else(Instant::now);
        match ended {
            Ended::Done => {
                self.order.succeeded(id);
                self.note_done(id, begun);
            }
            Ended::Failed(error) => self.note_failed(id, begun, &error),
            Ended::Refused(refused) => self.refused = Some(refused),
        }
    }

    fn note_done(&mut self, id: StepId, begun: Instant) {
        let apply = Arc::clone(&self.apply);
        let Some(step) = apply.plan.step(id) else { return };
        *self.report.done.entry(step.operation).or_default() += 1;
        see(&apply, step, begun, What::Done);
    }

    fn note_failed(&mut self, id: StepId, begun: Instant, error: &StepError) {
        let apply = Arc::clone(&self.apply);
        let Some(step) = apply.plan.step(id) else { return };
        let (causes, remedy) = (error.causes(), error.remedy());
        see(&apply, step, begun, What::Failed { causes: causes.clone(), remedy: remedy.clone() });
        let failure = Failure { address: step.address.clone(), operation: step.operation, causes, remedy };
        self.report.failed.push(failure);
        for lost in self.order.failed(id) {
            let Some(next) = apply.plan.step(lost) else { continue };
            see(&apply, next, Instant::now(), What::Skipped { because: step.address.clone() });
            self.report.skipped.push(next.address.clone());
        }
    }

    fn mention(&self) {
        for (id, begun) in &self.running {
            if let Some(step) = self.apply.plan.step(*id) {
                see(&self.apply, step, *begun, What::Progress(None));
            }
        }
    }

    /// Records the outputs when everything is done.
    async fn finish(mut self) -> Result<Report, ApplyError> {
        if let Some(source) = self.refused {
            return Err(ApplyError::Journal { source });
        }
        if !self.report.is_complete() {
            return Ok(self.report);
        }
        let apply = Arc::clone(&self.apply);
        let world = apply.journal.world();
        let parts = apply.plan.parts();
        let outputs = match (parts.extent, parts.mode) {
            (Extent::Part, _) => world.outputs.clone(),
            (Extent::Whole, Mode::Destroy) => BTreeMap::new(),
            // What the plan showed is what is recorded.
            (Extent::Whole, Mode::RefreshOnly) => planned_outputs(&apply.plan),
            (Extent::Whole, Mode::Normal) => {
                self.apply.resolve.outputs(&world).map_err(|source| ApplyError::Outputs { source })?
            }
        };
        if (parts.extent, parts.mode) == (Extent::Whole, Mode::Normal) {
            self.report.warnings = self.apply.resolve.warnings(&world);
        }
        let staying = parts.dependencies.iter();
        let mut records: Vec<Record> = staying
            .map(|(address, dependencies)| Record::Depends {
                address: address.clone(),
                dependencies: dependencies.clone(),
            })
            .collect();
        records.extend((outputs != world.outputs).then_some(Record::Outputs { outputs }));
        drop(world);
        append(&self.apply.journal, records).await?;
        Ok(self.report)
    }
}

/// Returns the outputs as a plan has them.
fn planned_outputs(plan: &Plan) -> BTreeMap<String, Output> {
    let after = |change: &OutputChange| Some((change.name.clone(), change.after.clone()?));
    plan.parts().outputs.iter().filter_map(after).collect()
}

fn see(apply: &Apply, step: &Step, begun: Instant, what: What) {
    apply.watch.see(&Event {
        address: step.address.clone(),
        kind: step.kind,
        operation: step.operation,
        elapsed: begun.elapsed(),
        what,
    });
}

/// Returns what the object is to become; for a deletion, what it is.
fn attributes(apply: &Apply, step: &Step, world: &World) -> Result<Attributes, StepError> {
    match step.operation {
        Operation::Create | Operation::Update | Operation::Read => {
            Ok(apply.resolve.attributes(step, world)?)
        }
        Operation::Delete => {
            let recorded = world.objects.get(&step.address).map(|object| object.attributes.clone());
            Ok(recorded.or_else(|| step.before.clone()).unwrap_or_default())
        }
    }
}

fn intent(step: &Step, attributes: &Attributes) -> Record {
    let attributes = match step.operation {
        Operation::Delete => Attributes::new(),
        Operation::Create | Operation::Update | Operation::Read => attributes.clone(),
    };
    Record::Intent {
        address: step.address.clone(),
        kind: step.kind,
        operation: step.operation,
        attributes,
        dependencies: step.dependencies.clone(),
    }
}

fn result(step: &Step, left: Left) -> Record {
    let outcome = match step.operation {
        Operation::Delete => Outcome::Absent,
        Operation::Create | Operation::Update | Operation::Read => Outcome::Present {
            attributes: left.attributes,
            private: left.private,
            dependencies: step.dependencies.clone(),
        },
    };
    Record::Result { address: step.address.clone(), outcome }
}

/// Makes both records of a step that touches nothing outside the state, and lets the world follow.
fn settle(apply: &Apply, step: &Step, world: &mut World) -> Result<[Record; 2], StepError> {
    let attributes = attributes(apply, step, world)?;
    let begin = intent(step, &attributes);
    let end = result(step, apply.perform.settle(step, attributes));
    world.apply(&begin)?;
    world.apply(&end)?;
    Ok([begin, end])
}

/// Checks what the spec asserts of an object behind its step.
fn verify(apply: &Apply, step: &Step, world: &World) -> Result<(), StepError> {
    match step.operation {
        Operation::Create | Operation::Update | Operation::Read => {
            apply.resolve.verify(step, world).map_err(StepError::Unfulfilled)
        }
        Operation::Delete => Ok(()),
    }
}

/// Asks something of the world as it is now, without a copy of it: one that lived while others append would cost each of
/// them another.
fn at_present<T>(apply: &Apply, ask: impl Fn(&World) -> T) -> T {
    let mut answer = None;
    apply.journal.look(&mut |world| answer = Some(ask(world)));
    answer.unwrap_or_else(|| ask(&apply.journal.world()))
}

/// Returns what the step's object is to become, and what of the world the step looks at.
fn prepared(apply: &Apply, step: &Step, world: &World) -> Result<(Attributes, Arc<World>), StepError> {
    let attributes = attributes(apply, step, world)?;
    let around = world.around(&step.address, (step.kind, &attributes));
    Ok((attributes, Arc::new(around)))
}

/// Runs one step: intent, work, result.
async fn run(apply: Arc<Apply>, id: StepId) -> Ended {
    let Some(step) = apply.plan.step(id).cloned() else { return Ended::Done };
    let begun = Instant::now();
    see(&apply, &step, begun, What::Started);
    let (attributes, world) = match at_present(&apply, |world| prepared(&apply, &step, world)) {
        Ok(prepared) => prepared,
        Err(error) => return Ended::Failed(error),
    };
    let private = world.objects.get(&step.address).map(|object| object.private.clone()).unwrap_or_default();
    if let Err(refused) = append(&apply.journal, vec![intent(&step, &attributes)]).await {
        return Ended::Refused(refused);
    }
    let tell = {
        let (apply, step) = (Arc::clone(&apply), step.clone());
        Tell::new(move |what| see(&apply, &step, begun, what))
    };
    let task = Task { step: step.clone(), attributes, private, world, tell, keep: keep(&apply, &step) };
    match attempt(&apply, task).await {
        Ok(left) => match append(&apply.journal, vec![result(&step, left)]).await {
            Ok(()) => match at_present(&apply, |world| verify(&apply, &step, world)) {
                Ok(()) => Ended::Done,
                Err(error) => Ended::Failed(error),
            },
            Err(refused) => Ended::Refused(refused),
        },
        Err(error) => {
            let outcome = Outcome::Failed { cause: error.causes().join(": "), private: BTreeMap::new() };
            let record = Record::Result { address: step.address.clone(), outcome };
            match append(&apply.journal, vec![record]).await {
                Ok(()) => Ended::Failed(error),
                Err(refused) => Ended::Refused(refused),
            }
        }
    }
}

/// Returns what records, for a step that runs, what it must not forget.
fn keep(apply: &Arc<Apply>, step: &Step) -> Keep {
    let (journal, address) = (Arc::clone(&apply.journal), step.address.clone());
    Keep::new(move |private| {
        let record = Record::Kept { address: address.clone(), private };
        let journal = Arc::clone(&journal);
        async move { append(&journal, vec![record]).await.map_err(StepError::Journal) }.boxed()
    })
}

/// Tries a step until it succeeds, or fails for good, or failed too often.
async fn attempt(apply: &Apply, task: Task) -> Result<Left, StepError> {
    let mut pause = PAUSE_FIRST;
    for _ in 1..ATTEMPTS_MAX {
        match Arc::clone(&apply.perform).perform(task.clone()).await {
            Err(error) if error.is_transient() && apply.stop.urgency() == Urgency::None => {
                task.tell.say(What::Retrying { cause: error.causes().join(": "), pause });
                tokio::time::sleep(pause).await;
                pause *= 2;
            }
            ended => return ended,
        }
    }
    Arc::clone(&apply.perform).perform(task).await
}
