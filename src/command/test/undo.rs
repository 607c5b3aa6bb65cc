//! The state of what a test applies, in a folder of its own, and the undoing of it.
//!
//! The executor is that of `lustre apply`. The folder goes when nothing is left in the state; otherwise it stays, for what is
//! left can be reached with it only.
//! Invariant: no other state is touched.

use std::os::unix::fs::DirBuilderExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use lustre_apply::event::{Event, Watch};
use lustre_apply::{Apply, ApplyError, Hosts, Report, carry_out};
use lustre_language::{Input, Scope, TestRun};
use lustre_model::address::Address;
use lustre_model::diagnostic::{Diagnostic, Diagnostics};
use lustre_model::journal::{Journal, Resolve};
use lustre_model::plan::{Allowance, Mode, Operation, Plan};
use lustre_model::recorded::World;
use lustre_model::value::Value;
use lustre_plan::Resolver;

use super::session::diagnosed;
use lustre_store::Place;

use crate::command::recorded::{self, Recorded, StatePlace};
use crate::command::spec::Spec;
use crate::command::{interrupt, runtime};
use crate::exit::{Failure, chain};
use crate::terminal::Terminal;
use crate::wiring;

/// The state's name in its folder.
const STATE: &str = "lustre.state";

/// Who holds the lock.
const OPERATION: &str = "test";

/// Most names that are tried for a folder.
const NAMES_MAX: u32 = 1000;

/// The attribute that forbids a destruction. A test destroys what it made all the same, as Terraform's do.
const PREVENT_DESTROY: &str = "prevent_destroy";

/// A state of its own.
pub struct Bench {
    folder: PathBuf,
    /// The last run that applied to it.
    pub last: usize,
    /// The variables of that run, with which the spec has no mistakes.
    pub inputs: Vec<Input>,
}

/// What could not be destroyed.
pub struct Left {
    /// Which objects.
    pub addresses: Vec<Address>,
    state: PathBuf,
    causes: Vec<String>,
}

impl Left {
    /// Says so, and how to reach it.
    pub fn diagnostic(&self) -> Diagnostic {
        let names: Vec<String> = self.addresses.iter().map(Address::to_string).collect();
        let summary = format!("a test leaves behind {}", names.join(", "));
        let state = self.state.display();
        let hint = format!(
            "Mend the cause, then destroy it with its state: `lustre destroy` in a copy of the spec with \
             `lustre {{ state \"local\" {{ path = \"{state}\" }} }}`."
        );
        Diagnostic::error("E0979", summary).detail(self.causes.join(". ")).hint(hint)
    }
}

/// How an apply ended.
pub enum Outcome {
    /// Steps were done, or failed.
    Reported(Report),
    /// All steps were done, but outputs have no value.
    NoOutputs(String),
}

/// Reads the state of a bench; of none, one that is empty.
pub fn read(state: Option<PathBuf>) -> Result<Recorded, Failure> {
    // Where nothing is, nothing is read.
    let path = state.unwrap_or_else(|| std::env::temp_dir().join("lustre-test-none").join(STATE));
    recorded::read(StatePlace::plain(Place::Local { path }))
}

impl Bench {
    /// Makes its folder, which nobody else may look into: a state holds keys.
    pub fn new() -> std::io::Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let mut last = None;
        for _ in 0..NAMES_MAX {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let folder = std::env::temp_dir().join(format!("lustre-test-{}-{number}", std::process::id()));
            match std::fs::DirBuilder::new().mode(0o700).create(&folder) {
                Ok(()) => return Ok(Self { folder, last: 0, inputs: Vec::new() }),
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => last = Some(error),
                Err(error) => {
                    let text = format!("{} cannot be made: {error}", folder.display());
                    return Err(std::io::Error::new(error.kind(), text));
                }
            }
        }
        Err(last.unwrap_or_else(|| std::io::Error::other("no name is free for a temporary folder")))
    }

    /// Returns where the state is.
    pub fn state(&self) -> PathBuf {
        self.folder.join(STATE)
    }

    fn place(&self) -> StatePlace {
        StatePlace::plain(Place::Local { path: self.state() })
    }

    /// Carries a plan out and returns what is recorded then.
    pub fn carry_out(
        &self,
        plan: Plan,
        resolve: Arc<dyn Resolve>,
        (parallelism, terminal): (usize, Terminal),
    ) -> Result<(Outcome, World), Failure> {
        let recorded = recorded::lock(self.place(), OPERATION, Duration::ZERO)?;
        let journal = recorded.open(OPERATION)?;
        let binary = wiring::agent_binary()?;
        // All bytes here are the test's own.
        let allowances = vec![Allowance("*".to_owned())];
        let plan = Arc::new(plan);
        let done = runtime()?.block_on(async {
            let journal: Arc<dyn Journal> = Arc::clone(&journal) as Arc<dyn Journal>;
            let apply = Apply {
                resolve,
                perform: Arc::new(Hosts::new(
                    &plan,
                    Arc::clone(&journal),
                    (binary, allowances.clone()),
                    wiring::cloud::aws(),
                )),
                plan: Arc::clone(&plan),
                journal,
                watch: Arc::new(Silent),
                allowances,
                parallelism,
                stop: interrupt::listen(terminal)?,
            };
            Ok::<_, Failure>(carry_out(apply).await)
        })?;
        let world = World::clone(&journal.world());
        let closed = journal.close();
        let outcome = match done {
            Ok(report) => Outcome::Reported(report),
            Err(ApplyError::Outputs { source }) => Outcome::NoOutputs(chain(&source)),
            Err(error) => return Err(Failure::Apply(error)),
        };
        closed?;
        Ok((outcome, world))
    }

    /// Destroys everything; returns what is left.
    pub fn undo(self, spec: &Spec, manner: (usize, Terminal)) -> Result<Option<Left>, Failure> {
        let before = recorded::read(self.place())?;
        let mut left = Left { addresses: Vec::new(), state: self.state(), causes: Vec::new() };
        if !before.world.objects.is_empty() {
            match self.destroy(before, spec, manner) {
                Ok((outcome, world)) => {
                    left.addresses = world.objects.into_keys().collect();
                    left.causes = causes(outcome);
                }
                Err(failure) => {
                    left.addresses = recorded::read(self.place())?.world.objects.keys().cloned().collect();
                    let found = diagnosed(&failure);
                    left.causes =
                        found.iter().map(|one| format!("{}: {}", one.summary, one.detail)).collect();
                }
            }
        }
        if left.addresses.is_empty() {
            fs_err::remove_dir_all(&self.folder)?;
            return Ok(None);
        }
        Ok(Some(left))
    }

    fn destroy(
        &self,
        mut before: Recorded,
        spec: &Spec,
        manner: (usize, Terminal),
    ) -> Result<(Outcome, World), Failure> {
        let mut world = World::clone(&before.world);
        for object in world.objects.values_mut() {
            if let Some(forbids) = object.attributes.get_mut(PREVENT_DESTROY) {
                *forbids = Value::from(false);
            }
        }
        before.world = Arc::new(world);
        let (plan, _) = wiring::plan(spec, &before, wiring::options(Mode::Destroy), None)?;
        let resolve = wiring::resolve(&plan, Arc::clone(&before.at.seal))?;
        self.carry_out(plan, resolve, manner)
    }
}

fn causes(outcome: Outcome) -> Vec<String> {
    match outcome {
        Outcome::Reported(report) => report
            .failed
            .iter()
            .map(|failed| format!("{}: {}", failed.address, failed.causes.join(": ")))
            .chain(report.interrupted.then(|| "It was interrupted".to_owned()))
            .collect(),
        Outcome::NoOutputs(cause) => vec![cause],
    }
}

/// Returns what an apply found wrong: conditions of the spec, and steps that failed for another reason.
pub fn after(scope: &Scope<'_>, resolver: &Resolver, (run, outcome): (&TestRun, &Outcome)) -> Diagnostics {
    let mut found = Diagnostics::new();
    match outcome {
        Outcome::NoOutputs(cause) => {
            scope.program().outputs().for_each(|output| drop(scope.output(output)));
            found.extend(scope.take_diagnostics());
            if !found.has_errors() {
                let summary = "the outputs of a run could not be made";
                found.push(Diagnostic::error("E0978", summary).detail(cause.clone()).at(run.span));
            }
        }
        Outcome::Reported(report) => {
            for failed in &report.failed {
                let unfulfilled = postconditions(scope, &failed.address);
                if unfulfilled.has_errors() {
                    found.extend(unfulfilled);
                    continue;
                }
                let summary = format!("{} could not be {}", failed.address, participle(failed.operation));
                let detail = failed.causes.join(": ");
                let diagnostic = Diagnostic::error("E0978", summary).detail(detail).at(run.span);
                found.push(match &failed.remedy {
                    Some(remedy) => diagnostic.hint(remedy.clone()),
                    None => diagnostic,
                });
            }
            if report.interrupted {
                let summary = "the run was interrupted";
                found.push(Diagnostic::error("E0978", summary).at(run.span));
            }
        }
    }
    resolver.check_all(scope);
    found.extend(scope.take_diagnostics());
    found
}

/// Evaluates the postconditions of an object that is there.
fn postconditions(scope: &Scope<'_>, address: &Address) -> Diagnostics {
    let program = scope.program();
    let resource = program.resource(address).filter(|it| address.parts.is_empty() && it.has_postconditions());
    let instance = resource.and_then(|resource| {
        let module = scope.module(&address.modules)?;
        Some((resource, scope.instance(module, resource, address.key.clone())?))
    });
    if let Some((resource, instance)) = instance {
        scope.postconditions_hold(resource, &instance);
    }
    scope.take_diagnostics()
}

fn participle(operation: Operation) -> &'static str {
    match operation {
        Operation::Create => "created",
        Operation::Update => "changed",
        Operation::Delete => "destroyed",
        Operation::Read => "read",
    }
}

/// Shows nothing of the steps: of a run only its end counts.
struct Silent;

impl Watch for Silent {
    fn see(&self, _: &Event) {}
}
