//! `lustre plan`, and the making of plans for `apply` and `destroy`.
//!
//! A plan asks hosts unless told not to: what is recorded but does not run is planned to be repaired, and what a host
//! could not do is a diagnostic now and not a failure later.
//! Invariant: planning changes nothing, on no host and in no state.

use lustre_model::diagnostic::{Diagnostic, Diagnostics};
use lustre_model::pattern::Pattern;
use lustre_model::plan::{Allowance, Mode, Plan};
use lustre_plan::Options;
use lustre_plan::render::markdown;

use super::plan_file;
use super::recorded::{self, Recorded, StatePlace};
use super::spec::{self, Asking, Spec};
use crate::cli::{PlanFlags, PlanningFlags};
use crate::exit::{Failure, Success};
use crate::view::voice::Voice;
use crate::view::{diagnostic, plan as view};
use crate::wiring;

/// Makes a plan, shows it, and saves it when asked to.
pub fn run(flags: &PlanFlags, voice: &Voice) -> Result<Success, Failure> {
    let mode = match (flags.destroy, flags.refresh.refresh_only) {
        (true, _) => Mode::Destroy,
        (false, true) => Mode::RefreshOnly,
        (false, false) => Mode::Normal,
    };
    if let Some(stream) = &voice.stream {
        stream.version();
    }
    let planner = Planner::new(&flags.planning, voice)?;
    let writer = match &flags.out {
        Some(_) => Some(plan_file::Writer::new(planner.spec.plans()?, flags.sign_key.as_deref())?),
        None => None,
    };
    // A plan made beside somebody's work may be stale when it is shown; a saved one is then refused.
    let recorded = if flags.lock {
        recorded::lock_if_there(planner.place()?, "plan", flags.planning.lock.lock_timeout)?
    } else {
        recorded::read(planner.place()?)?
    };
    let (plan, warnings) = planner.plan_and_warnings(&recorded, mode)?;
    if let Some(path) = &flags.markdown_into {
        let said: Vec<String> = warnings.iter().map(|found| planner.said(found)).collect();
        plan_file::write_private(path, markdown::plan(&plan, &said).as_bytes())?;
    }
    if let (Some(path), Some(writer)) = (&flags.out, writer) {
        writer.write(path, &plan)?;
        if voice.has_words() {
            let path = path.display();
            voice
                .terminal
                .say(&format!("\nSaved as {path}. To carry out exactly this:\n    lustre apply {path}"));
        }
    }
    let changes = flags.detailed_exitcode && plan.finds_differences();
    Ok(if changes { Success::Changes } else { Success::Done })
}

/// Makes plans from the spec of the working folder.
pub struct Planner<'a> {
    spec: Spec,
    flags: &'a PlanningFlags,
    voice: &'a Voice,
}

impl<'a> Planner<'a> {
    /// Reads the spec, asking for what has no value.
    pub fn new(flags: &'a PlanningFlags, voice: &'a Voice) -> Result<Self, Failure> {
        let asks = flags.input && voice.has_words();
        let asking = if asks { Asking::Allowed(voice.terminal) } else { Asking::Refused };
        let spec = spec::load(&flags.variables, asking)?;
        Ok(Self { spec, flags, voice })
    }

    /// Returns where the state is.
    pub fn place(&self) -> Result<StatePlace, Failure> {
        self.spec.place()
    }

    /// Makes a plan and shows it, with the warnings that came up.
    pub fn plan(&self, recorded: &Recorded, mode: Mode) -> Result<Plan, Failure> {
        self.plan_and_warnings(recorded, mode).map(|(plan, _)| plan)
    }

    /// Like [`Planner::plan`]; the warnings, which it shows too, are returned beside.
    fn plan_and_warnings(&self, recorded: &Recorded, mode: Mode) -> Result<(Plan, Diagnostics), Failure> {
        let patterns = |given: &[String]| given.iter().cloned().map(Pattern).collect();
        let options = Options {
            replace: patterns(&self.flags.replace),
            target: patterns(&self.flags.target),
            exclude: patterns(&self.flags.exclude),
            allowances: allowances(&self.flags.allow_data_loss),
            ..wiring::options(mode)
        };
        let observing = self.flags.refresh.then_some(self.flags.parallelism);
        let (plan, warnings) = wiring::plan(&self.spec, recorded, options, observing)?;
        self.show(&plan, &warnings);
        Ok((plan, warnings))
    }

    /// Says a warning in one line, with its place.
    fn said(&self, found: &Diagnostic) -> String {
        let sources = self.spec.program.sources();
        let file = found.span.and_then(|span| Some((sources.get(span.source)?, sources.positions(span)?.0)));
        let place = file.map(|(file, start)| format!("{}:{}: ", file.name, start.line)).unwrap_or_default();
        let detail = if found.detail.is_empty() { String::new() } else { format!(": {}", found.detail) };
        format!("{place}{}{detail}", found.summary)
    }

    fn show(&self, plan: &Plan, warnings: &Diagnostics) {
        let sources = self.spec.program.sources();
        if let Some(stream) = &self.voice.stream {
            warnings.iter().for_each(|found| stream.diagnostic(found, sources));
            view::stream(stream, plan);
        }
        if self.voice.has_words() {
            let terminal = self.voice.terminal;
            if !warnings.is_empty() {
                let drawn = diagnostic::draw(warnings, sources, terminal.err_colour());
                terminal.tell(drawn.trim_end());
            }
            view::show(terminal, plan);
        }
    }
}

/// Returns the allowances that were given as flags.
pub fn allowances(given: &[String]) -> Vec<Allowance> {
    given.iter().cloned().map(Allowance).collect()
}
