//! Plans texts and carries plans out on recorded worlds.
//!
//! Invariant: what it does to a world is what an apply without failures records.

use std::collections::BTreeMap;
use std::sync::Arc;

use lustre_language::{EmptyWorld, Given, Input, Moment, Origin, Program};
use lustre_model::address::Address;
use lustre_model::diagnostic::Diagnostics;
use lustre_model::journal::{Event, Outcome, Resolve as _};
use lustre_model::plan::{Action, Allowance, Mode, Operation, Plan, Step};
use lustre_model::recorded::{Lineage, World};
use lustre_model::resource::{Kind, Resource};
use lustre_model::value::Value;
use lustre_plan::{KINDS, Options, Resolver, SpecText, plan};

pub fn options() -> Options {
    Options {
        mode: Mode::Normal,
        replace: Vec::new(),
        target: Vec::new(),
        exclude: Vec::new(),
        imports: Vec::new(),
        allowances: Vec::new(),
        drift: BTreeMap::new(),
        tool_version: "0.1.0".into(),
    }
}

/// Splits a text into files: each begins behind a line `-- path --`; what is before the first is `main.hcl`.
fn files(text: &str) -> Vec<(String, String)> {
    let mut files = vec![("main.hcl".to_owned(), String::new())];
    for line in text.split_inclusive('\n') {
        let path = line.trim().strip_prefix("-- ").and_then(|line| line.strip_suffix(" --"));
        match (path, files.last_mut()) {
            (Some(path), _) => files.push((path.to_owned(), String::new())),
            (None, Some((_, text))) => text.push_str(line),
            (None, None) => {}
        }
    }
    files
}

/// Plans a text, perhaps of several files; mistakes come as one line each.
pub fn try_plan(text: &str, vars: &[(&str, &str)], world: &World, options: &Options) -> Result<Plan, String> {
    let (plan, told) = plan_and_told(text, vars, world, options);
    plan.ok_or(told)
}

/// Plans a text; with the plan, if there is one, comes everything that was found, warnings too.
pub fn plan_and_told(
    text: &str,
    vars: &[(&str, &str)],
    world: &World,
    options: &Options,
) -> (Option<Plan>, String) {
    plan_within(text, vars, (world, &EmptyWorld), options)
}

/// Like [`plan_and_told`], with a world outside.
pub fn plan_within(
    text: &str,
    vars: &[(&str, &str)],
    (world, outside): (&World, &dyn lustre_language::World),
    options: &Options,
) -> (Option<Plan>, String) {
    let files = files(text);
    let (program, found) = Program::load(files.clone(), &KINDS);
    let input = |(name, value): &(&str, &str)| Input {
        name: (*name).to_owned(),
        given: Given::Text((*value).to_owned()),
        origin: Origin::CommandLine,
    };
    let inputs: Vec<Input> = vars.iter().map(input).collect();
    let text = SpecText { program: &program, files: &files, inputs: &inputs };
    let (plan, found) = plan(text, world, options, outside, found);
    (plan, told(&found, &program))
}

fn told(found: &Diagnostics, program: &Program) -> String {
    let line = |diagnostic: &lustre_model::diagnostic::Diagnostic| {
        let place = diagnostic.span.and_then(|span| program.sources().positions(span));
        let file = diagnostic.span.and_then(|span| program.sources().get(span.source));
        let file = file.filter(|file| file.name != "main.hcl").map(|file| format!("{}:", file.name));
        let file = file.unwrap_or_default();
        let place = place.map(|(start, _)| format!("{file}{}:{}: ", start.line, start.column));
        let place = place.unwrap_or_default();
        let parts = [diagnostic.detail.as_str(), diagnostic.hint.as_deref().unwrap_or("")];
        let rest: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        let rest = if rest.is_empty() { String::new() } else { format!(" | {}", rest.join(" ")) };
        format!("{place}{} {}{rest}\n", diagnostic.code, diagnostic.summary)
    };
    found.iter().map(line).collect()
}

#[track_caller]
pub fn planned(text: &str, world: &World) -> Plan {
    try_plan(text, &[], world, &options()).unwrap_or_else(|told| panic!("{told}"))
}

/// Destroys everything.
#[track_caller]
pub fn destroyed(world: &World) -> Plan {
    let options = Options { mode: Mode::Destroy, allowances: vec![Allowance("*".into())], ..options() };
    try_plan("", &[], world, &options).unwrap_or_else(|told| panic!("{told}"))
}

/// Returns what makes the unknown values of a plan known.
pub fn resolver(plan: &Plan) -> Resolver {
    Resolver::new(plan.clone(), Arc::new(EmptyWorld)).began(Moment(1_767_323_100))
}

/// An empty world.
pub fn nothing() -> World {
    World::new(Lineage("test".into()))
}

/// Records a step as done, as the executor does.
#[track_caller]
pub fn carry_out_step(step: &Step, resolver: &Resolver, world: &mut World) {
    let mut attributes = match step.operation {
        Operation::Delete => BTreeMap::new(),
        Operation::Create | Operation::Update | Operation::Read => {
            resolver.attributes(step, world).expect("the plan resolves")
        }
    };
    world.apply(&intent(step, attributes.clone())).expect("the intent fits");
    let outcome = if step.operation == Operation::Delete {
        Outcome::Absent
    } else {
        if step.kind == Kind::Value {
            let input = attributes.get("input").cloned();
            attributes.extend(input.map(|input| ("output".to_owned(), input)));
        }
        if step.kind.is_in_aws() {
            let names = [
                "id",
                "arn",
                "owner_id",
                "private_ip",
                "public_ip",
                "private_dns",
                "availability_zone",
                "host_key",
            ];
            let machine = step.kind == Kind::Instance;
            let of = |name: &&str| if machine { *name != "owner_id" } else { names[..3].contains(name) };
            let text = |name: &str| match name {
                "private_ip" => "10.0.0.7",
                "host_key" => {
                    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGdQ0Zk3JrS1mG4sVt8q6lC0i6sQx3v0o7t1Yb5xQm3X"
                }
                _ => "sg-00000000",
            };
            let given = names.into_iter().filter(of).map(|name| (name.to_owned(), Value::from(text(name))));
            for (name, value) in given {
                attributes.entry(name).or_insert(value);
            }
        }
        Resource::from_attributes(step.kind, &attributes)
            .unwrap_or_else(|error| panic!("{}: {error}", step.address));
        Outcome::Present { attributes, private: BTreeMap::new(), dependencies: step.dependencies.clone() }
    };
    world.apply(&Event::Result { address: step.address.clone(), outcome }).expect("the result fits");
}

pub fn intent(step: &Step, attributes: lustre_model::resource::Attributes) -> Event {
    Event::Intent {
        address: step.address.clone(),
        kind: step.kind,
        operation: step.operation,
        attributes,
        dependencies: step.dependencies.clone(),
    }
}

/// Makes the plan's moves, takes over what it adopts, and forgets what it forgets.
pub fn carry_out_moves(plan: &Plan, world: &mut World) {
    for event in plan.preparation() {
        world.apply(&event).expect("the preparation fits");
    }
}

/// Carries a whole plan out.
#[track_caller]
pub fn carry_out(plan: &Plan, world: &World) -> World {
    let mut world = world.clone();
    let resolver = resolver(plan);
    carry_out_moves(plan, &mut world);
    for step in plan.steps() {
        for dependency in &step.dependencies {
            assert!(world.objects.contains_key(dependency), "{} before {dependency}", step.address);
        }
        if step.operation == Operation::Delete {
            let let_go = |address: &Address| {
                plan.parts().dependencies.get(address).is_some_and(|now| !now.contains(&step.address))
            };
            let dependents = world
                .objects
                .iter()
                .filter(|(address, object)| object.dependencies.contains(&step.address) && !let_go(address));
            let names: Vec<String> = dependents.map(|(address, _)| address.to_string()).collect();
            let replaced =
                plan.steps().iter().any(|it| it.address == step.address && it.operation == Operation::Create);
            assert!(names.is_empty() || replaced, "{} goes before {names:?}", step.address);
        }
        carry_out_step(step, &resolver, &mut world);
    }
    for (address, dependencies) in plan.parts().dependencies.clone() {
        world.apply(&Event::Depends { address, dependencies }).expect("it stays");
    }
    let outputs = match plan.parts().mode {
        Mode::Normal => resolver.outputs(&world).expect("outputs resolve"),
        Mode::Destroy | Mode::RefreshOnly => BTreeMap::new(),
    };
    world.apply(&Event::Outputs { outputs }).expect("outputs fit");
    world
}

/// Plans, carries out, and checks that the same text then needs nothing.
#[track_caller]
pub fn applied(text: &str, world: &World) -> World {
    let plan = planned(text, world);
    let world = carry_out(&plan, world);
    let again = planned(text, &world);
    assert!(
        !again.has_changes(),
        "not empty after apply:\n{}",
        lustre_plan::render::text::plan(&again).plain()
    );
    world
}

/// What a plan does, as `action address` lines without what stays.
pub fn actions(plan: &Plan) -> Vec<String> {
    let acts = plan.changes().iter().filter(|change| change.action != Action::NoOp);
    acts.map(|change| format!("{:?} {}", change.action, change.address).to_lowercase()).collect()
}

/// Steps as `operation address`, in the plan's order.
pub fn steps(plan: &Plan) -> Vec<String> {
    plan.steps().iter().map(|step| format!("{:?} {}", step.operation, step.address).to_lowercase()).collect()
}

pub fn address(text: &str) -> Address {
    text.parse().expect("an address")
}
