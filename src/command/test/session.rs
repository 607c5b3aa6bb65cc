//! How test files go: run after run, each with what the ones before it left, and the undoing at the end.
//!
//! Invariant: a run passes only when nothing of it failed but what it expected, and all of that did.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use lustre_apply::interrupt::{Stop, Urgency};
use lustre_language::{Input, Scope, TestCommand, TestFile, TestRun};
use lustre_model::address::Key;
use lustre_model::diagnostic::{Diagnostic, Diagnostics, Severity, Span};
use lustre_model::pattern::Pattern;
use lustre_model::plan::{Mode, Plan};
use lustre_model::recorded::World;
use lustre_model::value::Value;
use lustre_plan::{Options, Resolver};

use super::collected;
use super::suite::{Name, Subject, Suite, name};
use super::undo::{self, Bench};
use crate::command::spec::Spec;
use crate::command::{interrupt, runtime};
use crate::exit::Failure;
use crate::terminal::Terminal;
use crate::view::failure::as_diagnostic;
use crate::view::test::{Shown, View};
use crate::wiring;

/// Most steps or questions at once.
const PARALLELISM: usize = 10;

/// How a run, or a file, came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// It was not begun.
    Skip,
    /// All is as expected.
    Pass,
    /// A condition does not hold, or what should have failed did not.
    Fail,
    /// It could not be run to its end.
    Error,
}

/// Runs all files; tells whether all passed.
pub fn run(suite: &Suite, view: &View, terminal: Terminal) -> Result<bool, Failure> {
    let runtime = runtime()?;
    let stop = {
        let _inside = runtime.enter();
        interrupt::quietly()?
    };
    view.begin(suite.files());
    let mut all = Vec::new();
    for place in 0..suite.files().len() {
        let mut session = Session {
            suite,
            view,
            terminal,
            stop: stop.clone(),
            place,
            benches: BTreeMap::new(),
            outputs: Vec::new(),
        };
        all.extend(session.file());
    }
    view.summary(&all);
    Ok(all.iter().all(|status| *status == Status::Pass))
}

/// One file.
struct Session<'a> {
    suite: &'a Suite,
    view: &'a View,
    terminal: Terminal,
    stop: Stop,
    /// Which file.
    place: usize,
    /// The states of what was applied, by what it is about.
    benches: BTreeMap<Name, Bench>,
    /// Outputs of the runs so far.
    outputs: Vec<(String, Value)>,
}

/// One run with all that it needs.
struct Trial<'a> {
    run: &'a TestRun,
    /// The spec with the run's variables.
    spec: Spec,
    /// `run`.
    runs: Value,
}

/// What a run left.
struct Left {
    outputs: Value,
    found: Diagnostics,
    shown: Option<Shown>,
}

impl Session<'_> {
    fn file(&mut self) -> Vec<Status> {
        let file = &self.suite.files()[self.place];
        self.view.starting(&file.name);
        let mut all = Vec::new();
        for (at, run) in file.runs.iter().enumerate() {
            let broken = all.contains(&Status::Error) || self.stop.urgency() != Urgency::None;
            let begun = Instant::now();
            let status = if broken { Status::Skip } else { self.one((file, at), begun) };
            if broken {
                self.view.run(&file.name, &run.name, (status, begun.elapsed()));
            }
            all.push(status);
        }
        self.view.tearing_down(&file.name);
        let mut benches: Vec<(Name, Bench)> = std::mem::take(&mut self.benches).into_iter().collect();
        benches.sort_by_key(|(_, bench)| std::cmp::Reverse(bench.last));
        let mut clean = true;
        for (name, bench) in benches {
            let Some(subject) = self.suite.subjects.get(&name) else { continue };
            match self.undone(subject, bench) {
                Ok(None) => {}
                Ok(Some(left)) => {
                    clean = false;
                    self.view.left(&file.name, &left.addresses);
                    self.view.found(&collected([left.diagnostic()]), &subject.sources);
                }
                // The others are undone all the same.
                Err(failure) => {
                    clean = false;
                    self.view.found(&diagnosed(&failure), &subject.sources);
                }
            }
        }
        let worst = all.iter().copied().max().unwrap_or(Status::Pass);
        let status = if clean { worst } else { Status::Error };
        self.view.file(&file.name, status);
        if !clean && worst <= Status::Pass {
            // What stays behind is a failure of the file, although all its runs passed.
            all.push(Status::Error);
        }
        all
    }

    fn undone(&self, subject: &Subject, bench: Bench) -> Result<Option<undo::Left>, Failure> {
        let spec = subject.spec.with_inputs(bench.inputs.clone());
        bench.undo(&spec, (PARALLELISM, self.terminal))
    }

    /// Carries out one run and shows how it came out.
    fn one(&mut self, (file, at): (&TestFile, usize), begun: Instant) -> Status {
        let run = &file.runs[at];
        let Some(subject) = self.suite.subject(run) else { return Status::Error };
        let Some(run) = subject.files.get(self.place).and_then(|file| file.runs.get(at)) else {
            return Status::Error;
        };
        let left = self.trial(subject, run).and_then(|trial| match run.command {
            TestCommand::Plan => self.planned(&trial),
            TestCommand::Apply => self.applied(&trial, at),
        });
        let (found, shown) = match left {
            Ok(left) => {
                self.outputs.push((run.name.clone(), left.outputs));
                (left.found, left.shown)
            }
            Err(found) => (found, None),
        };
        let status = verdict(&found);
        self.view.run(&file.name, &run.name, (status, begun.elapsed()));
        if let Some(shown) = shown {
            self.view.left_by(&file.name, &run.name, &shown);
        }
        self.view.found(&found, &subject.sources);
        status
    }

    /// Gives a run its variables.
    fn trial<'s>(&self, subject: &'s Subject, run: &'s TestRun) -> Result<Trial<'s>, Diagnostics> {
        let runs = Value::object(self.outputs.clone());
        let spec = &subject.spec;
        let declared = |input: &Input| spec.program.variables().any(|it| it.name == input.name);
        let file = &subject.files[self.place];
        let mut inputs = spec.inputs.clone();
        let names = [("var", variables(spec, &inputs))];
        let (given, mut found) = spec.program.test_values(file.variables(), &names, &spec.folder);
        inputs.extend(given.into_iter().filter(declared));
        let names = [("var", variables(spec, &inputs)), ("run", runs.clone())];
        let (given, more) = spec.program.test_values(run.variables(), &names, &spec.folder);
        found.extend(more);
        inputs.extend(given);
        if found.has_errors() {
            return Err(found);
        }
        Ok(Trial { run, spec: spec.with_inputs(inputs), runs })
    }

    fn plan(&self, trial: &Trial<'_>) -> Result<(Plan, Diagnostics), Diagnostics> {
        let path = self.benches.get(&name(trial.run)).map(Bench::state);
        let recorded = undo::read(path).map_err(|failure| diagnosed(&failure))?;
        let observing = trial.run.refresh.then_some(PARALLELISM);
        wiring::plan(&trial.spec, &recorded, options(trial.run), observing).map_err(|error| diagnosed(&error))
    }

    fn planned(&self, trial: &Trial<'_>) -> Result<Left, Diagnostics> {
        let (plan, found) = match self.plan(trial) {
            Ok((plan, warnings)) => (Some(plan), warnings),
            Err(found) => (None, found),
        };
        let mut found = settled(trial, found);
        if found
            .iter()
            .any(|one| one.severity == Severity::Error && one.code != "E0601" && one.code != "E0976")
        {
            return Err(found);
        }
        let path = self.benches.get(&name(trial.run)).map(Bench::state);
        let recorded = undo::read(path).map_err(|failure| diagnosed(&failure))?;
        let ask = |scope: &Scope<'_>| conditions(scope, trial, None);
        let ((outputs, more), _) = wiring::within(&trial.spec, &recorded.world, (&options(trial.run), ask));
        found.extend(more);
        Ok(Left { outputs, found, shown: plan.map(|plan| Shown::Plan(Box::new(plan))) })
    }

    fn applied(&mut self, trial: &Trial<'_>, at: usize) -> Result<Left, Diagnostics> {
        let (plan, warnings) = self.plan(trial).map_err(|found| prevented(trial, found))?;
        let adopted = plan.parts().adopted.first().map(|adoption| adoption.address.clone());
        if let Some(address) = adopted {
            let summary = format!("a test does not take over {address}");
            let detail = "What a test has in its state it destroys at the end, and what `import` names was there before.";
            let hint = "Say `command = plan`.";
            let found = Diagnostic::error("E0980", summary).detail(detail).hint(hint).at(trial.run.span);
            return Err(collected([found]));
        }
        let resolver = self.resolver(trial, &plan)?;
        let name = name(trial.run);
        if !self.benches.contains_key(&name) {
            let bench = Bench::new().map_err(|error| diagnosed(&Failure::File(error)))?;
            self.benches.insert(name.clone(), bench);
        }
        let Some(bench) = self.benches.get_mut(&name) else { return Err(Diagnostics::new()) };
        bench.last = at;
        bench.inputs.clone_from(&trial.spec.inputs);
        let carried = bench.carry_out(plan, Arc::clone(&resolver) as _, (PARALLELISM, self.terminal));
        let (outcome, world) = carried.map_err(|failure| diagnosed(&failure))?;
        // Checks are evaluated again.
        let checked = warnings.into_iter().filter(|warning| !["W0601", "W0610"].contains(&warning.code));
        let mut found = collected(checked);
        let after = |scope: &Scope<'_>| undo::after(scope, &resolver, (trial.run, &outcome));
        let (more, of_data) = resolver.within(&world, after);
        found.extend(more);
        found.extend(of_data);
        let mut found = settled(trial, found);
        if found.iter().any(|one| one.severity == Severity::Error && one.code != "E0976") {
            return Err(found);
        }
        let ((outputs, more), of_data) =
            resolver.within(&world, |scope| conditions(scope, trial, Some(&world)));
        found.extend(more);
        found.extend(of_data);
        Ok(Left { outputs, found, shown: Some(Shown::State(Box::new(world))) })
    }

    fn resolver(&self, trial: &Trial<'_>, plan: &Plan) -> Result<Arc<Resolver>, Diagnostics> {
        let outside = Arc::new(trial.spec.folder.clone());
        let resolver = Resolver::new(plan.clone(), outside).began(crate::clock::moment());
        Ok(Arc::new(resolver.as_loaded(trial.spec.program.clone(), trial.spec.inputs.clone())))
    }
}

/// Evaluates the outputs and the conditions of a run.
fn conditions(scope: &Scope<'_>, trial: &Trial<'_>, world: Option<&World>) -> (Value, Diagnostics) {
    let recorded = |name: &str| {
        let output = world?.outputs.get(name)?;
        Some(output.value.clone().marked(output.sensitive))
    };
    let outputs = trial.spec.program.outputs().filter_map(|output| {
        Some((output.name.clone(), recorded(&output.name).or_else(|| scope.output(output))?))
    });
    let outputs = Value::object(outputs.collect::<Vec<_>>());
    // What is wrong with outputs was told with the plan.
    scope.take_diagnostics();
    scope.check_run(trial.run, &trial.runs, &outputs);
    (outputs, scope.take_diagnostics())
}

/// Returns what `var` is with these values.
fn variables(spec: &Spec, inputs: &[Input]) -> Value {
    let scope = Scope::new(&spec.program, &spec.folder, inputs);
    let known = spec.program.variables().filter_map(|it| Some((it.name.clone(), scope.variable(&it.name)?)));
    Value::object(known.collect::<Vec<_>>())
}

fn options(run: &TestRun) -> Options {
    let patterns = |given: &[String]| given.iter().cloned().map(Pattern).collect();
    Options {
        replace: patterns(&run.replace),
        target: patterns(&run.target),
        ..wiring::options(Mode::Normal)
    }
}

/// Returns a failure as diagnostics.
pub fn diagnosed(failure: &Failure) -> Diagnostics {
    if let Failure::Diagnosed { diagnostics, .. } = failure {
        return diagnostics.clone();
    }
    collected([as_diagnostic(failure)])
}

/// Tells whether a diagnostic is one of a condition that a spec states.
fn is_condition(found: &Diagnostic) -> bool {
    matches!(found.code, "E0601" | "W0601" | "W0610")
}

/// Takes out what was expected, and adds what was expected and did not happen. What else a spec asserts is an error in a test.
fn settled(trial: &Trial<'_>, found: Diagnostics) -> Diagnostics {
    let (mut left, expected) = divided(trial, found);
    for (happened, text, span) in expected {
        if happened.is_empty() {
            let summary = format!("`{text}` was expected to fail and did not");
            let detail = "Each of `expect_failures` must have a condition that does not hold.";
            left.push(Diagnostic::error("E0976", summary).detail(detail).at(span));
        }
    }
    let failing = |one: Diagnostic| match one.code {
        "W0601" | "W0610" => Diagnostic { severity: Severity::Error, code: "E0601", ..one },
        _ => one,
    };
    collected(left.into_iter().map(failing))
}

/// What happened of each expectation, with its text and place.
type Happened = Vec<(Vec<Diagnostic>, String, Span)>;

fn divided(trial: &Trial<'_>, found: Diagnostics) -> (Diagnostics, Happened) {
    let program = &trial.spec.program;
    let mut expected: Happened = Vec::new();
    let mut places = Vec::new();
    for one in &trial.run.expected {
        places.push((program.conditions_of(one).unwrap_or_default(), one.key.clone()));
        expected.push((Vec::new(), one.text.clone(), one.span));
    }
    let mut left = Diagnostics::new();
    for one in found {
        let fits = |(spans, key): &(BTreeSet<Span>, Option<Key>)| {
            let instance = one.instance.as_ref().and_then(|address| address.key.clone());
            one.span.is_some_and(|span| spans.contains(&span)) && (key.is_none() || *key == instance)
        };
        let fitting: Vec<usize> = (0..places.len()).filter(|at| fits(&places[*at])).collect();
        if !is_condition(&one) || fitting.is_empty() {
            left.push(one);
            continue;
        }
        fitting.into_iter().for_each(|at| expected[at].0.push(one.clone()));
    }
    (left, expected)
}

/// Returns what kept a run from applying; an expected failure does too.
fn prevented(trial: &Trial<'_>, found: Diagnostics) -> Diagnostics {
    let (mut left, expected) = divided(trial, found);
    for (happened, text, span) in expected {
        if let Some(first) = happened.into_iter().find(|one| one.severity == Severity::Error) {
            let summary = format!("`{text}` failed while planning, so nothing could be applied");
            let detail = "It was expected to fail, but a run that applies must come so far.";
            let diagnostic = Diagnostic::error("E0977", summary).detail(detail).at(span);
            left.push(diagnostic.hint("Say `command = plan`."));
            left.push(first);
        }
    }
    left
}

fn verdict(found: &Diagnostics) -> Status {
    let errors = || found.iter().filter(|one| one.severity == Severity::Error);
    if errors().any(|one| !matches!(one.code, "E0970" | "E0976")) {
        return Status::Error;
    }
    if errors().next().is_some() { Status::Fail } else { Status::Pass }
}
