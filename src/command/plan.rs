//! `lustre plan`, and the making of plans for `apply` and `destroy`.
//!
//! A plan asks hosts unless told not to: what is recorded but does not run is planned to be repaired, and what a host
//! could not do is a diagnostic now and not a failure later.
//! Invariant: planning changes nothing, on no host and in no state.

use std::path::Path;

use lustre_model::diagnostic::Diagnostics;
use lustre_model::pattern::Pattern;
use lustre_model::plan::{Allowance, Mode, Plan};
use lustre_plan::Options;

use super::place::Site;
use super::recorded::{self, Recorded};
use super::spec::{self, Asking, Spec};
use crate::cli::{PlanFlags, PlanningFlags};
use crate::exit::{Failure, Success};
use crate::view::voice::Voice;
use crate::view::{diagnostic, plan as view};
use crate::wiring;

/// Only its owner reads a plan: it holds what the state holds.
const PLAN_MODE: u32 = 0o600;

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
    let recorded = recorded::lock_if_there(planner.place()?, "plan", flags.planning.lock.lock_timeout)?;
    let plan = planner.plan(&recorded, mode)?;
    if let Some(path) = &flags.out {
        save(&plan, path)?;
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

fn save(plan: &Plan, path: &Path) -> Result<(), Failure> {
    use std::io::Write as _;

    use fs_err::os::unix::fs::OpenOptionsExt as _;
    let source = |source| Failure::PlanFile { path: path.display().to_string(), source };
    let bytes = lustre_plan::file::encode(plan).map_err(source)?;
    let mut options = fs_err::OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(PLAN_MODE).open(path)?;
    file.write_all(&bytes)?;
    Ok(())
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
    pub fn place(&self) -> Result<Site, Failure> {
        self.spec.place()
    }

    /// Makes a plan and shows it, with the warnings that came up.
    pub fn plan(&self, recorded: &Recorded, mode: Mode) -> Result<Plan, Failure> {
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
        Ok(plan)
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
