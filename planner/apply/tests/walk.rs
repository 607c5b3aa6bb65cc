//! The walk over a plan, against an imagined world and a journal in memory.
//!
//! The oracle for order is the plan itself; the oracle for crashes is a run that was not cut off.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use futures::FutureExt;
use futures::future::BoxFuture;
use lustre_apply::error::StepError;
use lustre_apply::event::{Event as Seen, Watch, What};
use lustre_apply::interrupt::{Stopper, stop};
use lustre_apply::{Apply, ApplyError, Left, Perform, Report, Task, carry_out};
use lustre_model::address::Address;
use lustre_model::journal::{Event, Journal, JournalError, Resolve, ResolveError};
use lustre_model::plan::{
    Allowance, Gate, GateReason, Mode, Operation, PLAN_VERSION, Plan, PlanParts, SealedSpec, SealedWorld,
    Step, StepId,
};
use lustre_model::recorded::{Lineage, Output, Status, World};
use lustre_model::resource::{Attributes, Kind};
use lustre_model::value::Value;
use proptest::prelude::{ProptestConfig, Strategy, prop, prop_assert, prop_assert_eq, proptest};

/// Keeps events in memory; fails for good after a number of them.
struct Memory {
    world: Mutex<Arc<World>>,
    room: AtomicUsize,
}

impl Memory {
    fn new(world: World, room: usize) -> Arc<Self> {
        Arc::new(Self { world: Mutex::new(Arc::new(world)), room: AtomicUsize::new(room) })
    }
}

impl Journal for Memory {
    fn append(&self, events: &[Event]) -> Result<(), JournalError> {
        let mut world = self.world.lock().expect("no thread died with it");
        let room = self.room.load(Ordering::SeqCst);
        if room < events.len() {
            self.room.store(0, Ordering::SeqCst);
            return Err(JournalError::LockLost);
        }
        self.room.store(room - events.len(), Ordering::SeqCst);
        let mut next = World::clone(&world);
        for event in events {
            next.apply(event)?;
        }
        *world = Arc::new(next);
        Ok(())
    }

    fn world(&self) -> Arc<World> {
        Arc::clone(&self.world.lock().expect("no thread died with it"))
    }

    fn look(&self, look: &mut dyn FnMut(&World)) {
        look(&self.world.lock().expect("no thread died with it"));
    }

    fn token(&self) -> u64 {
        1
    }
}

/// Knows everything; says of these steps that their objects are not as asserted.
struct Known(BTreeSet<u32>);

impl Resolve for Known {
    fn verify(&self, step: &Step, _world: &World) -> Result<(), ResolveError> {
        if self.0.contains(&step.id.0) {
            let causes = vec!["it is too small".to_owned()];
            return Err(ResolveError::Unfulfilled { address: step.address.to_string(), causes });
        }
        Ok(())
    }

    fn attributes(&self, step: &Step, _world: &World) -> Result<Attributes, ResolveError> {
        Ok(step.after.clone().unwrap_or_default())
    }

    fn outputs(&self, world: &World) -> Result<BTreeMap<String, Output>, ResolveError> {
        let count = Value::from(world.objects.len());
        Ok([("count".to_owned(), Output { value: count, sensitive: false })].into())
    }
}

/// An imagined world: who is there, in which order it came, and how many were at work at once.
#[derive(Default)]
struct Imagined {
    there: Mutex<BTreeMap<String, usize>>,
    order: Mutex<Vec<StepId>>,
    at_work: AtomicUsize,
    at_work_most: AtomicUsize,
    failing: BTreeSet<u32>,
    /// Steps whose objects are not as the spec asserts.
    unfulfilled: BTreeSet<u32>,
    passing: AtomicUsize,
    journal: Mutex<Option<Arc<Memory>>>,
}

impl Perform for Imagined {
    fn at_once(&self, kind: Kind) -> bool {
        kind == Kind::Value
    }

    fn settle(&self, step: &Step, attributes: Attributes) -> Left {
        self.order.lock().expect("no thread died with it").push(step.id);
        Left { attributes, ..Left::default() }
    }

    fn perform(self: Arc<Self>, task: Task) -> BoxFuture<'static, Result<Left, StepError>> {
        async move {
            let now = self.at_work.fetch_add(1, Ordering::SeqCst) + 1;
            self.at_work_most.fetch_max(now, Ordering::SeqCst);
            tokio::task::yield_now().await;
            self.at_work.fetch_sub(1, Ordering::SeqCst);
            let journal = self.journal.lock().expect("no thread died with it").clone();
            if let Some(journal) = journal {
                let status = journal.world().objects[&task.step.address].status.clone();
                assert_ne!(status, Status::Present, "the intent is recorded before anything is touched");
            }
            if self.failing.contains(&task.step.id.0) {
                return Err(StepError::LinkMissing);
            }
            if self.passing.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_ok() {
                let host = task.step.address.clone();
                let source = lustre_wire::WireError::Ended { address: "a:1".to_owned() };
                return Err(StepError::Agent { host: Box::new(host), source: Box::new(source) });
            }
            let mut there = self.there.lock().expect("no thread died with it");
            let name = task.step.address.to_string();
            match task.step.operation {
                Operation::Delete => there.remove(&name).map_or(0, |_| 0),
                Operation::Create | Operation::Update | Operation::Read => {
                    // Doing it again finds it there.
                    *there.entry(name).or_insert(1)
                }
            };
            self.order.lock().expect("no thread died with it").push(task.step.id);
            Ok(Left { attributes: task.attributes, private: task.private })
        }
        .boxed()
    }
}

#[derive(Default)]
struct Watched(Mutex<Vec<String>>);

impl Watch for Watched {
    fn see(&self, event: &Seen) {
        let what = match &event.what {
            What::Started => "started",
            What::Progress(_) => "progress",
            What::Note(_) => "note",
            What::Retrying { .. } => "retrying",
            What::Done => "done",
            What::Failed { .. } => "failed",
            What::Skipped { .. } => "skipped",
        };
        self.0.lock().expect("no thread died with it").push(format!("{what} {}", event.address));
    }
}

fn name(index: usize) -> Address {
    Address::new("host", format!("h{index}"))
}

/// A plan that creates objects; `waits[i]` are the places before `i` that it waits for.
fn plan(kinds: &[Kind], waits: &[Vec<usize>], world: &World) -> Plan {
    let steps = kinds.iter().zip(waits).enumerate().filter(|(index, _)| {
        world.objects.get(&name(*index)).is_none_or(|object| object.status != Status::Present)
    });
    let mut ids: BTreeMap<usize, StepId> = BTreeMap::new();
    let mut sealed = Vec::new();
    for (index, (kind, waits)) in steps {
        let id = StepId(u32::try_from(sealed.len()).expect("few steps"));
        ids.insert(index, id);
        sealed.push(Step {
            id,
            address: name(index),
            kind: *kind,
            operation: Operation::Create,
            before: None,
            after: Some([("input".to_owned(), Value::from(index))].into()),
            dependencies: waits.iter().map(|wait| name(*wait)).collect(),
            waits_for: waits.iter().filter_map(|wait| ids.get(wait).copied()).collect(),
        });
    }
    seal(sealed, world)
}

fn parts(steps: Vec<Step>, world: &World) -> PlanParts {
    PlanParts {
        version: PLAN_VERSION,
        tool_version: "0".to_owned(),
        mode: Mode::Normal,
        drift: BTreeMap::new(),
        extent: lustre_model::plan::Extent::Whole,
        lineage: world.lineage.clone(),
        serial: world.serial,
        spec: SealedSpec {
            sources: Vec::new(),
            world: SealedWorld::default(),
            variables: BTreeMap::new(),
            data: BTreeMap::new(),
            config_hash: String::new(),
        },
        reads: Vec::new(),
        adopted: Vec::new(),
        forgotten: Vec::new(),
        moves: Vec::new(),
        changes: Vec::new(),
        steps,
        dependencies: BTreeMap::new(),
        outputs: Vec::new(),
        gates: Vec::new(),
        allowances: Vec::new(),
    }
}

fn seal(steps: Vec<Step>, world: &World) -> Plan {
    Plan::seal(parts(steps, world)).expect("the steps are in order")
}

struct Run {
    report: Result<Report, ApplyError>,
    imagined: Arc<Imagined>,
    watched: Arc<Watched>,
    world: Arc<World>,
}

fn run(plan: Plan, journal: Arc<Memory>, imagined: Imagined, before: impl FnOnce(&Stopper)) -> Run {
    let imagined = Arc::new(imagined);
    *imagined.journal.lock().expect("no thread died with it") = Some(Arc::clone(&journal));
    let watched = Arc::new(Watched::default());
    let (stopper, stop) = stop();
    before(&stopper);
    let apply = Apply {
        plan: Arc::new(plan),
        journal: Arc::clone(&journal) as Arc<dyn Journal>,
        resolve: Arc::new(Known(imagined.unfulfilled.clone())),
        perform: Arc::clone(&imagined) as Arc<dyn Perform>,
        watch: Arc::clone(&watched) as Arc<dyn Watch>,
        allowances: Vec::new(),
        parallelism: 3,
        stop,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .expect("a runtime");
    let report = runtime.block_on(carry_out(apply));
    *imagined.journal.lock().expect("no thread died with it") = None;
    Run { report, imagined, watched, world: journal.world() }
}

fn graphs() -> impl Strategy<Value = (Vec<Kind>, Vec<Vec<usize>>)> {
    prop::collection::vec((prop::bool::ANY, prop::collection::vec(0_usize..100, 0..4)), 1..40).prop_map(
        |nodes| {
            let kinds =
                nodes.iter().map(|(at_once, _)| if *at_once { Kind::Value } else { Kind::Host }).collect();
            let waits = nodes
                .iter()
                .enumerate()
                .map(|(index, (_, waits))| {
                    let before: BTreeSet<usize> =
                        waits.iter().filter(|_| index > 0).map(|wait| wait % index.max(1)).collect();
                    before.into_iter().collect()
                })
                .collect();
            (kinds, waits)
        },
    )
}

#[test]
fn an_object_that_is_not_as_asserted_is_recorded_and_stops_what_depends_on_it() {
    for kind in [Kind::Value, Kind::Host] {
        let world = World::new(Lineage("l".to_owned()));
        let imagined = Imagined { unfulfilled: [0].into(), ..Imagined::default() };
        let plan = plan(&[kind, kind, kind], &[vec![], vec![0], vec![]], &world);
        let ran = run(plan, Memory::new(world, usize::MAX), imagined, |_| {});
        let report = ran.report.expect("it runs");
        assert_eq!((report.failed.len(), report.skipped.len()), (1, 1), "{kind}");
        assert!(report.failed[0].causes[1].ends_with("was applied, but it is too small"), "{report:?}");
        assert_eq!(ran.world.objects.len(), 2, "{kind}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn every_step_runs_once_and_after_what_it_waits_for((kinds, waits) in graphs()) {
        let world = World::new(Lineage("l".to_owned()));
        let ran = run(plan(&kinds, &waits, &world), Memory::new(world, usize::MAX), Imagined::default(), |_| {});
        let report = ran.report.expect("it runs");
        prop_assert!(report.is_complete());
        let order = ran.imagined.order.lock().expect("no thread died with it").clone();
        prop_assert_eq!(order.len(), kinds.len());
        let place: BTreeMap<StepId, usize> = order.iter().enumerate().map(|(at, id)| (*id, at)).collect();
        prop_assert_eq!(place.len(), kinds.len());
        for (index, waits) in waits.iter().enumerate() {
            let here = place[&StepId(u32::try_from(index).expect("few steps"))];
            prop_assert!(waits.iter().all(|wait| place[&StepId(u32::try_from(*wait).expect("few steps"))] < here));
        }
        prop_assert!(ran.imagined.at_work_most.load(Ordering::SeqCst) <= 3);
        prop_assert_eq!(ran.world.objects.len(), kinds.len());
        prop_assert!(ran.world.objects.values().all(|object| object.status == Status::Present));
        prop_assert_eq!(ran.world.outputs["count"].value.as_u64(), Some(kinds.len() as u64));
    }

    #[test]
    fn a_failure_stops_only_what_depends_on_it((kinds, waits) in graphs(), broken in 0_u32..40) {
        let world = World::new(Lineage("l".to_owned()));
        let imagined = Imagined { failing: [broken].into(), ..Imagined::default() };
        let ran = run(plan(&kinds, &waits, &world), Memory::new(world, usize::MAX), imagined, |_| {});
        let report = ran.report.expect("it runs");
        let fails = kinds.get(broken as usize).is_some_and(|kind| *kind == Kind::Host);
        let mut lost = BTreeSet::new();
        for (index, waits) in waits.iter().enumerate() {
            let root = fails && index == broken as usize;
            if root || waits.iter().any(|wait| lost.contains(wait)) {
                lost.insert(index);
            }
        }
        prop_assert_eq!(report.failed.len(), usize::from(fails));
        prop_assert_eq!(report.skipped.len(), lost.len().saturating_sub(1));
        prop_assert_eq!(report.done.values().sum::<usize>(), kinds.len() - lost.len());
        for index in 0..kinds.len() {
            let status = ran.world.objects.get(&name(index)).map(|object| object.status.clone());
            let expected = match (lost.contains(&index), fails && index == broken as usize) {
                (false, _) => Some(Status::Present),
                (true, true) => Some(Status::Creating),
                (true, false) => None,
            };
            prop_assert_eq!(status, expected);
        }
    }

    #[test]
    fn cut_off_at_any_event_and_applied_again_it_converges((kinds, waits) in graphs(), room in 0_usize..120) {
        let world = World::new(Lineage("l".to_owned()));
        let journal = Memory::new(world.clone(), room);
        let first = run(plan(&kinds, &waits, &world), Arc::clone(&journal), Imagined::default(), |_| {});
        let there = first.imagined.there.lock().expect("no thread died with it").clone();
        // What was made is recorded at least as begun.
        for made in there.keys() {
            prop_assert!(first.world.objects.keys().any(|address| address.to_string() == *made));
        }
        journal.room.store(usize::MAX, Ordering::SeqCst);
        let imagined = Imagined { there: Mutex::new(there), ..Imagined::default() };
        let again = plan(&kinds, &waits, &first.world);
        let second = run(again, journal, imagined, |_| {});
        prop_assert!(second.report.expect("it runs").is_complete());
        prop_assert!(second.world.objects.values().all(|object| object.status == Status::Present));
        prop_assert_eq!(second.world.objects.len(), kinds.len());
        let made = second.imagined.there.lock().expect("no thread died with it");
        let hosts = kinds.iter().filter(|kind| **kind == Kind::Host).count();
        prop_assert_eq!(made.len(), hosts);
        prop_assert!(made.values().all(|times| *times == 1), "nothing is built twice");
    }
}

#[test]
fn what_passes_is_tried_again_and_what_stays_is_not() {
    let world = World::new(Lineage("l".to_owned()));
    let imagined = Imagined { passing: AtomicUsize::new(5), ..Imagined::default() };
    let ran =
        run(plan(&[Kind::Host], &[Vec::new()], &world), Memory::new(world.clone(), 10), imagined, |_| {});
    assert!(ran.report.expect("it runs").is_complete());
    let retries = ran
        .watched
        .0
        .lock()
        .expect("no thread died with it")
        .iter()
        .filter(|seen| seen.starts_with("retrying"))
        .count();
    assert_eq!(retries, 5);

    let imagined = Imagined { passing: AtomicUsize::new(100), ..Imagined::default() };
    let ran = run(plan(&[Kind::Host], &[Vec::new()], &world), Memory::new(world, 10), imagined, |_| {});
    assert_eq!(ran.report.expect("it runs").failed.len(), 1);
}

#[test]
fn asked_to_stop_nothing_is_begun() {
    let world = World::new(Lineage("l".to_owned()));
    let kinds = [Kind::Host, Kind::Value];
    let sealed = plan(&kinds, &[Vec::new(), Vec::new()], &world);
    let ran = run(sealed, Memory::new(world, 10), Imagined::default(), |stopper| {
        stopper.ask();
    });
    let report = ran.report.expect("it ends");
    assert!(report.interrupted && !report.is_complete());
    assert!(ran.world.objects.is_empty());
}

#[test]
fn a_stale_a_foreign_and_a_gated_plan_touch_nothing() {
    let world = World::new(Lineage("l".to_owned()));
    let journal = |world: &World| Memory::new(world.clone(), 10);
    let made = || plan(&[Kind::Host], &[Vec::new()], &world);

    let moved = World { serial: 7, ..world.clone() };
    let ran = run(made(), journal(&moved), Imagined::default(), |_| {});
    assert!(matches!(ran.report, Err(ApplyError::Stale { planned: 0, found: 7 })));

    let foreign = World::new(Lineage("other".to_owned()));
    let ran = run(made(), journal(&foreign), Imagined::default(), |_| {});
    assert!(matches!(ran.report, Err(ApplyError::Foreign)));

    let mut gated = PlanParts::from(made());
    gated.gates = vec![Gate { address: name(0), reason: GateReason::DataLoss }];
    let ran = run(Plan::seal(gated.clone()).expect("in order"), journal(&world), Imagined::default(), |_| {});
    assert!(matches!(ran.report, Err(ApplyError::Gated { .. })));
    assert!(
        ran.world.objects.is_empty() && ran.imagined.order.lock().expect("no thread died with it").is_empty()
    );

    gated.allowances = vec![Allowance("host.*".to_owned())];
    let ran = run(Plan::seal(gated).expect("in order"), journal(&world), Imagined::default(), |_| {});
    assert!(ran.report.expect("it is allowed").is_complete());
}

#[test]
fn a_plan_made_before_there_was_a_state_fits_the_new_one() {
    let sealed = plan(&[Kind::Value], &[Vec::new()], &World::default());
    let fresh = World::new(Lineage("drawn later".to_owned()));
    let ran = run(sealed, Memory::new(fresh, 10), Imagined::default(), |_| {});
    assert!(ran.report.expect("it runs").is_complete());
}
