//! Where the crates meet: the spec becomes a plan, what hosts report enters it, the plan's values become known.
//!
//! Siblings never meet elsewhere; this file holds no decision of its own.
//! Invariant: a plan is made from what hosts report only when they were asked.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lustre_apply::observe::{Observer, as_found, as_observed, host_of};
use lustre_language::{Given, Input, Origin, Program, Scope};
use lustre_model::address::Address;
use lustre_model::diagnostic::{Diagnostic, Diagnostics};
use lustre_model::journal::Resolve;
use lustre_model::plan::{Mode, Plan};
use lustre_model::recorded::World;
use lustre_model::value::Value;
use lustre_plan::{Options, Resolver, SpecText};
use lustre_store::Seal;

use crate::clock;
use crate::command::{Recorded, Spec, runtime};
use crate::exit::Failure;
use crate::files::Folder;

pub mod cloud;
mod cut_off;
mod probe;

/// The agent's binary, beside ours.
const AGENT: &str = "lustre-agent";

/// Returns everything that is wrong with a spec by itself. Variables without a value count as unknown.
pub fn validate(spec: &Spec) -> Diagnostics {
    let mut inputs = spec.inputs.clone();
    for variable in spec.program.variables().filter(|variable| variable.is_required()) {
        if !inputs.iter().any(|input| input.name == variable.name) {
            let given = Given::Value(Value::unknown(variable.constraint.clone()));
            inputs.push(Input { name: variable.name.clone(), given, origin: Origin::CommandLine });
        }
    }
    let offline = spec.folder.clone().offline();
    let (_, mut found) = planned((spec, &offline), &inputs, &World::default(), options(Mode::Normal));
    found.sort();
    found
}

/// Returns how to plan when no flag says more.
pub fn options(mode: Mode) -> Options {
    Options {
        mode,
        replace: Vec::new(),
        target: Vec::new(),
        exclude: Vec::new(),
        imports: Vec::new(),
        allowances: Vec::new(),
        drift: BTreeMap::new(),
        tool_version: env!("CARGO_PKG_VERSION").to_owned(),
    }
}

/// Evaluates an expression with the values that a plan made now would give.
pub fn evaluate(spec: &Spec, recorded: &World, text: &str) -> Result<Value, Diagnostics> {
    let mut program = spec.program.clone();
    let expression = program.parse_expression(text)?;
    let whole = SpecText { program: &program, files: &spec.files, inputs: &spec.inputs };
    let ask = |scope: &Scope<'_>| (scope.evaluate_expression(&expression), scope.take_diagnostics());
    let ((value, mut found), _) =
        lustre_plan::within((whole, recorded), &options(Mode::Normal), &spec.folder, ask);
    found.sort();
    value.ok_or(found)
}

/// Asks for something with the values that a plan made now would give, and returns what is wrong with the spec beside.
pub fn within<R>(
    spec: &Spec,
    recorded: &World,
    (options, ask): (&Options, impl FnOnce(&Scope<'_>) -> R),
) -> (R, Diagnostics) {
    let text = SpecText { program: &spec.program, files: &spec.files, inputs: &spec.inputs };
    lustre_plan::within((text, recorded), options, &spec.folder, ask)
}

/// Returns what each object of the spec needs directly, and everything that is wrong with the spec.
pub fn dependencies(
    spec: &Spec,
    recorded: &World,
    options: Options,
) -> (BTreeMap<Address, BTreeSet<Address>>, Diagnostics) {
    let text = SpecText { program: &spec.program, files: &spec.files, inputs: &spec.inputs };
    let (needs, more) = lustre_plan::dependencies(text, recorded, &options, &spec.folder);
    let mut found = spec.diagnostics.clone();
    found.extend(more);
    found.sort();
    (needs, found)
}

/// Makes a plan; with `observing`, hosts are asked first, so many at once.
pub fn plan(
    spec: &Spec,
    recorded: &Recorded,
    mut options: Options,
    observing: Option<usize>,
) -> Result<(Plan, Diagnostics), Failure> {
    let binary = agent_binary()?;
    let diagnosed = |mut diagnostics: Diagnostics| {
        diagnostics.sort();
        Failure::Diagnosed { diagnostics, sources: Box::new(spec.program.sources().clone()) }
    };
    if options.mode != Mode::Destroy && spec.files.is_empty() {
        let mut found = Diagnostics::default();
        found.push(no_spec()?);
        return Err(diagnosed(found));
    }
    let observer = match observing {
        Some(parallelism) => Some(observer(recorded, parallelism)?),
        None => None,
    };
    let mut told = Diagnostics::new();
    let world = match &observer {
        Some(observer) if !recorded.world.objects.is_empty() => {
            let parallelism = observing.unwrap_or(1);
            let (world, more) =
                looked_at(recorded, &spec.program, (observer, &binary, parallelism), &mut options)?;
            told.extend(more);
            world
        }
        Some(_) | None => Arc::clone(&recorded.world),
    };
    let (plan, mut found) = planned((spec, &spec.folder), &spec.inputs, &world, options);
    found.extend(told);
    // What is wrong with AWS is said beside what is wrong with the spec.
    let Some(plan) = plan else { return Err(diagnosed(found)) };
    if let Some(observer) = observer {
        found.extend(runtime()?.block_on(probe::conditions(&plan, &spec.program, (&observer, &binary))));
        found.extend(runtime()?.block_on(cut_off::warnings(&plan, &spec.program, &observer)));
    }
    if found.has_errors() { Err(diagnosed(found)) } else { Ok((plan, found)) }
}

/// Returns the world as hosts and AWS report it, with what there is to say about it. Drift goes into the options.
fn looked_at(
    recorded: &Recorded,
    program: &Program,
    (observer, binary, parallelism): (&Observer, &Path, usize),
    options: &mut Options,
) -> Result<(Arc<World>, Diagnostics), Failure> {
    let mut told = Diagnostics::new();
    // What is read of the agent's program meanwhile need not be read then.
    let look = async {
        tokio::join!(
            observer.hosts(),
            cloud::look(&recorded.world, parallelism),
            Observer::read_agent(binary)
        )
    };
    let (reports, (found, unasked), ()) = runtime()?.block_on(look);
    told.extend(unasked.iter().map(|one| cloud::unasked(one, program)));
    options.drift = observer.drifted(&reports);
    let in_aws = found.iter().map(|(address, how)| (address.clone(), cloud::cause(how)));
    if options.mode == Mode::RefreshOnly {
        // The plan itself shows it.
        options.drift.extend(in_aws);
        return Ok((Arc::clone(&recorded.world), told));
    }
    told.extend(options.drift.iter().map(|one| drifted(one, &recorded.world, program)));
    told.extend(found.iter().map(|one| cloud::differs(one, program)));
    // What is to go needs no newer agent for that.
    if options.mode == Mode::Normal {
        let outdated = runtime()?.block_on(Observer::outdated(&reports, binary.to_owned()));
        told.extend(outdated.iter().map(|one| replaced(one, program)));
        let mut ending = observer.ending(&reports);
        ending.retain(|address, _| !options.drift.contains_key(address) && !outdated.contains_key(address));
        told.extend(ending.iter().map(|one| renewed(one, program)));
        options.drift.extend(outdated);
        options.drift.extend(ending);
    }
    let world = as_found(as_observed(&recorded.world, &options.drift), &found);
    options.drift.extend(in_aws);
    Ok((world, told))
}

/// An empty spec would be a plan to delete everything, and a wrong folder is more likely meant.
fn no_spec() -> Result<Diagnostic, Failure> {
    let summary = format!("{} holds no spec: it has no file *.hcl", std::env::current_dir()?.display());
    let hint = "Go to the spec's folder, or name it with -chdir=FOLDER. `lustre destroy` is what removes everything.";
    Ok(Diagnostic::error("E0818", summary).hint(hint))
}

/// Says what is wrong with an object that is not as recorded, where, and what to do.
fn drifted((address, cause): (&Address, &String), world: &World, program: &Program) -> Diagnostic {
    let (place, hint) = match host_of(world, address) {
        Some(host) => (
            format!(" on {host}"),
            "its agent goes on trying to start it: mend the cause there; `lustre apply` repairs what is wrong by then",
        ),
        None => (
            String::new(),
            "see to it that the machine can be reached; `lustre apply` starts the agent again",
        ),
    };
    let mut diagnostic = Diagnostic::warning("W0909", format!("{address}{place} is not as recorded"))
        .detail(cause.clone())
        .hint(hint)
        .instance(address.clone());
    diagnostic.span = program.resource(&address.whole()).map(|block| block.span);
    diagnostic
}

/// Says that a host gets another agent.
fn replaced((host, cause): (&Address, &String), program: &Program) -> Diagnostic {
    let mut diagnostic = Diagnostic::warning("W1001", format!("{host} gets another agent"))
        .detail(cause.clone())
        .hint(
            "`lustre apply` replaces agents one host after the other, and puts the one before back where the new one does not answer; \
             targets and mounts go on",
        )
        .instance(host.clone());
    diagnostic.span = program.resource(&host.whole()).map(|block| block.span);
    diagnostic
}

/// Says that an object gets another certificate.
fn renewed((address, cause): (&Address, &String), program: &Program) -> Diagnostic {
    let mut diagnostic = Diagnostic::warning("W1002", format!("{address} gets another certificate"))
        .detail(cause.clone())
        .hint("`lustre apply` signs another one; what runs takes it without an interruption.")
        .instance(address.clone());
    diagnostic.span = program.resource(&address.whole()).map(|block| block.span);
    diagnostic
}

fn observer(recorded: &Recorded, parallelism: usize) -> Result<Observer, Failure> {
    Observer::new(Arc::clone(&recorded.world), recorded.token, parallelism).map_err(Failure::Observe)
}

fn planned(
    (spec, outside): (&Spec, &Folder),
    inputs: &[Input],
    world: &World,
    options: Options,
) -> (Option<Plan>, Diagnostics) {
    let text = SpecText { program: &spec.program, files: &spec.files, inputs };
    lustre_plan::plan(text, world, &options, outside, spec.diagnostics.clone())
}

/// Returns what makes the plan's unknown values known; other states are read under these keys too.
pub fn resolve(plan: &Plan, keys: Arc<dyn Seal>) -> Result<Arc<dyn Resolve>, Failure> {
    let outside = Arc::new(Folder::new(std::env::current_dir()?));
    outside.read_under(keys);
    Ok(Arc::new(Resolver::new(plan.clone(), outside).began(clock::moment())))
}

/// Returns where the blocks of the objects that a plan works on are, as `main.hcl:10`.
pub fn places(plan: &Plan) -> BTreeMap<Address, String> {
    let files = plan.parts().spec.sources.iter().map(|source| (source.path.clone(), source.text.clone()));
    let (program, _) = Program::load(files, &lustre_plan::KINDS);
    let place = |address: Address| {
        let span = program.resource(&address)?.span;
        let (file, start) = (program.sources().get(span.source)?, program.sources().positions(span)?.0);
        Some((address, format!("{}:{}", file.name, start.line)))
    };
    plan.steps().iter().filter_map(|step| place(step.address.whole())).collect()
}

/// Returns the agent's binary that is put on hosts.
pub fn agent_binary() -> Result<PathBuf, Failure> {
    let own = std::env::current_exe()?;
    Ok(own.parent().unwrap_or(Path::new(".")).join(AGENT))
}

/// Returns a diagnostic for what could not be found out about a host.
fn unknown(host: &dyn std::fmt::Display, causes: &[String]) -> Diagnostic {
    let summary = format!("{host} could not be asked");
    Diagnostic::error("E0901", summary).detail(causes.join(": ")).hint("-refresh=false plans without asking.")
}
