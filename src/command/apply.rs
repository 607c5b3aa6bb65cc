//! `lustre apply`, `lustre destroy` and `lustre refresh`: a plan, a yes, and its steps.
//!
//! Invariant: gates are looked at before anybody is asked and before the first step.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lustre_apply::{Apply, Hosts, Report, carry_out};
use lustre_model::diagnostic::{Diagnostic, Sources};
use lustre_model::journal::Journal;
use lustre_model::plan::{Allowance, Gate, Mode, Operation, Plan};
use lustre_model::recorded::Output;
use lustre_store::{OpenState, Place, Seal};
use serde_json::json;

use super::plan::{Planner, allowances};
use super::recorded::{self, Recorded};
use super::{interrupt, plan_file, spec};
use crate::cli::{ApplyFlags, DestroyFlags, PlanningFlags, RefreshFlags};
use crate::exit::{Failure, Success};
use crate::view::voice::Voice;
use crate::view::{apply as view, styled, values};
use crate::wiring;

/// The only answer that counts.
const YES: &str = "yes";

/// How to go about it.
struct Manner<'a> {
    planning: &'a PlanningFlags,
    voice: &'a Voice,
    ask: bool,
}

/// Carries out a saved plan, or makes one and asks.
pub fn run(flags: &ApplyFlags, voice: &Voice) -> Result<Success, Failure> {
    let manner = Manner { planning: &flags.planning, voice, ask: !flags.auto_approve };
    manner.begin();
    match &flags.plan_file {
        Some(_) if flags.refresh.refresh_only => Err(Failure::Sealed { flag: "-refresh-only" }),
        Some(path) => manner.saved(path, &flags.verify_key),
        None if flags.refresh.refresh_only => manner.fresh(Mode::RefreshOnly),
        None if flags.destroy => manner.fresh(Mode::Destroy),
        None => manner.fresh(Mode::Normal),
    }
}

/// Removes everything that the state knows.
pub fn destroy(flags: &DestroyFlags, voice: &Voice) -> Result<Success, Failure> {
    let manner = Manner { planning: &flags.planning, voice, ask: !flags.auto_approve };
    manner.begin();
    manner.fresh(Mode::Destroy)
}

/// Records outputs as they are by what is there, without asking; says what to type instead.
pub fn refresh(flags: &RefreshFlags, voice: &Voice) -> Result<Success, Failure> {
    let planning = &flags.planning;
    for (given, flag) in [
        (!planning.refresh, "-refresh=false"),
        (!planning.target.is_empty(), "-target"),
        (!planning.exclude.is_empty(), "-exclude"),
        (!planning.replace.is_empty(), "-replace"),
        (!planning.allow_data_loss.is_empty(), "-allow-data-loss"),
    ] {
        if given {
            let cause = format!("{flag} has no meaning where nothing but what is there is looked at");
            return Err(Failure::Said { cause, hint: Some("leave it out".to_owned()) });
        }
    }
    let manner = Manner { planning, voice, ask: false };
    manner.begin();
    voice
        .terminal
        .tell("Note: `lustre refresh` is deprecated; it is `lustre apply -refresh-only -auto-approve`.");
    manner.fresh(Mode::RefreshOnly)
}

fn verb(mode: Mode) -> &'static str {
    match mode {
        Mode::Normal => "apply",
        Mode::Destroy => "destroy",
        Mode::RefreshOnly => "refresh",
    }
}

impl Manner<'_> {
    fn begin(&self) {
        if let Some(stream) = &self.voice.stream {
            stream.version();
        }
    }

    fn fresh(&self, mode: Mode) -> Result<Success, Failure> {
        if !self.voice.has_words() && self.ask {
            return Err(Failure::JsonCannotAsk);
        }
        let planner = Planner::new(self.planning, self.voice)?;
        let recorded = recorded::lock(planner.place()?, verb(mode), self.planning.lock.lock_timeout)?;
        let plan = planner.plan(&recorded, mode)?;
        if !plan.has_changes() && !plan.parts().dependencies.is_empty() {
            // Nothing is touched: the state learns in which order things would have to go.
            return self.execute(plan, recorded, Vec::new());
        }
        if !plan.has_changes() {
            self.show_outputs(&recorded.world.outputs);
            return Ok(Success::Done);
        }
        stop_at_gates(&plan, &[])?;
        if self.ask {
            self.approve(mode)?;
        }
        self.execute(plan, recorded, Vec::new())
    }

    fn saved(&self, path: &Path, verify_keys: &[PathBuf]) -> Result<Success, Failure> {
        let planning = self.planning;
        for (given, flag) in [
            (!planning.refresh, "-refresh"),
            (!planning.target.is_empty(), "-target"),
            (!planning.exclude.is_empty(), "-exclude"),
            (!planning.replace.is_empty(), "-replace"),
        ] {
            if given {
                return Err(Failure::Sealed { flag });
            }
        }
        let mut plans = spec::folder_plans(&planning.variables)?;
        plan_file::trust_only(&mut plans, verify_keys)?;
        let plan = plan_file::read(path, &plans)?;
        let place = spec::sealed_place(&plan.parts().spec, &planning.variables)?;
        let verb = verb(plan.parts().mode);
        let recorded = recorded::lock(place, verb, self.planning.lock.lock_timeout)?;
        lustre_plan::file::check_fresh(&plan, &recorded.world).map_err(Failure::Stale)?;
        let allowances = allowances(&self.planning.allow_data_loss);
        stop_at_gates(&plan, &allowances)?;
        self.execute(plan, recorded, allowances)
    }

    /// Asks; only the whole word counts.
    fn approve(&self, mode: Mode) -> Result<(), Failure> {
        if !self.planning.input {
            return Err(Failure::NobodyToAsk);
        }
        let question = match mode {
            Mode::Normal => {
                "\nDo you want to perform these actions?\n  They will be carried out as shown above."
            }
            Mode::RefreshOnly => {
                "\nDo you want to record these outputs?\n  No host and no object is touched."
            }
            Mode::Destroy => "\nDo you really want to destroy all of this?\n  There is no undo.",
        };
        let question = format!("{question}\n  Only 'yes' will be accepted to approve.\n\n  Enter a value: ");
        match self.voice.terminal.ask(&question)? {
            None => Err(Failure::NobodyToAsk),
            Some(answer) if answer == YES => {
                self.voice.terminal.tell("");
                Ok(())
            }
            Some(_) => Err(Failure::Cancelled { verb: verb(mode) }),
        }
    }

    fn execute(
        &self,
        plan: Plan,
        recorded: Recorded,
        allowances: Vec<Allowance>,
    ) -> Result<Success, Failure> {
        let mode = plan.parts().mode;
        let imported = plan.parts().adopted.len();
        let (place, seal) = (recorded.at.place.clone(), Arc::clone(&recorded.at.seal));
        let journal = recorded.open(verb(mode))?;
        let binary = wiring::agent_binary()?;
        let report =
            super::runtime()?.block_on(self.walk(plan, &journal, (allowances, binary, Arc::clone(&seal))));
        let outputs = journal.world().outputs.clone();
        let closed = journal.close();
        if closed.is_err() || report.is_err() {
            self.keep(&journal, (&place, seal.as_ref()))?;
        }
        let report = report?;
        closed?;
        self.conclude(report, (mode, imported), &outputs)
    }

    /// Keeps on this machine what a state elsewhere would not take.
    fn keep(&self, journal: &OpenState, (place, seal): (&Place, &dyn Seal)) -> Result<(), Failure> {
        let Some(world) = journal.unrecorded().filter(|_| !matches!(place, Place::Local { .. })) else {
            return Ok(());
        };
        let path = place.copy_path("errored");
        lustre_store::save(&path, (&world, journal.token()), seal)?;
        let path = path.display();
        self.voice.terminal.tell(&format!(
            "Not all that was done could be recorded at {place}. It is kept in {path}. When {place} answers again, and \
             nobody else went on from there, record it with\n    lustre state push {path}"
        ));
        Ok(())
    }

    async fn walk(
        &self,
        plan: Plan,
        journal: &Arc<OpenState>,
        (allowances, binary, keys): (Vec<Allowance>, PathBuf, Arc<dyn Seal>),
    ) -> Result<Report, Failure> {
        let journal: Arc<dyn Journal> = Arc::clone(journal) as Arc<dyn Journal>;
        let plan = Arc::new(plan);
        let allowed = plan.parts().allowances.iter().chain(&allowances).cloned().collect();
        let apply = Apply {
            resolve: wiring::resolve(&plan, keys)?,
            perform: Arc::new(Hosts::new(
                &plan,
                Arc::clone(&journal),
                (binary, allowed),
                wiring::cloud::aws(),
            )),
            watch: view::watcher(self.voice, wiring::places(&plan)),
            plan,
            journal,
            allowances,
            parallelism: self.planning.parallelism,
            stop: interrupt::listen(self.voice.terminal)?,
        };
        carry_out(apply).await.map_err(Failure::Apply)
    }

    /// Says what was done, and how it ended.
    fn conclude(
        &self,
        report: Report,
        (mode, imported): (Mode, usize),
        outputs: &BTreeMap<String, Output>,
    ) -> Result<Success, Failure> {
        let count = |operation| report.done.get(&operation).copied().unwrap_or(0);
        let (added, changed) = (count(Operation::Create), count(Operation::Update));
        let destroyed = count(Operation::Delete);
        let counts = match mode {
            Mode::Normal if imported > 0 => {
                format!("{imported} imported, {added} added, {changed} changed, {destroyed} destroyed")
            }
            Mode::Normal => format!("{added} added, {changed} changed, {destroyed} destroyed"),
            Mode::Destroy => format!("{destroyed} destroyed"),
            Mode::RefreshOnly => "none touched".to_owned(),
        };
        let word = match (mode, report.is_complete()) {
            (Mode::Normal, true) => "Apply complete!",
            (Mode::Destroy, true) => "Destroy complete!",
            (Mode::RefreshOnly, true) => "Refresh complete!",
            (Mode::RefreshOnly, false) => "Refresh incomplete.",
            (Mode::Normal, false) => "Apply incomplete.",
            (Mode::Destroy, false) => "Destroy incomplete.",
        };
        let text = format!("{word} Resources: {counts}.");
        self.show_warnings(&report.warnings);
        if let Some(stream) = &self.voice.stream {
            let changes = json!({
                "add": added, "change": changed, "remove": destroyed, "import": imported, "operation": verb(mode),
            });
            stream.line("info", &text, "change_summary", json!({ "changes": changes }));
        }
        if self.voice.has_words() {
            self.voice.terminal.say(&format!("\n{text}"));
        }
        if report.is_complete() {
            self.show_outputs(outputs);
            return Ok(Success::Done);
        }
        if report.failed.is_empty() {
            return Err(Failure::Interrupted);
        }
        Err(Failure::Steps { failed: report.failed.len(), skipped: report.skipped.len() })
    }

    fn show_warnings(&self, warnings: &[Diagnostic]) {
        let sources = Sources::default();
        for warning in warnings {
            if let Some(stream) = &self.voice.stream {
                stream.diagnostic(warning, &sources);
            }
            if self.voice.has_words() {
                self.voice.terminal.tell(&format!("Warning: {}: {}", warning.summary, warning.detail));
            }
        }
    }

    fn show_outputs(&self, outputs: &BTreeMap<String, Output>) {
        if let Some(stream) = &self.voice.stream {
            let message = format!("Outputs: {}", outputs.len());
            let shown = json!({ "outputs": values::outputs_shown_json(outputs) });
            stream.line("info", &message, "outputs", shown);
        }
        if self.voice.has_words() && !outputs.is_empty() {
            let terminal = self.voice.terminal;
            let drawn = styled::draw(&values::outputs(outputs), terminal.out_colour());
            terminal.say(&format!("\nOutputs:\n\n{}", drawn.trim_end()));
        }
    }
}

fn stop_at_gates(plan: &Plan, allowances: &[Allowance]) -> Result<(), Failure> {
    let gates: Vec<Gate> = plan.closed_gates(allowances).into_iter().cloned().collect();
    if gates.is_empty() { Ok(()) } else { Err(Failure::Gated { gates }) }
}
