//! `data "cluster"`: read while planning or while applying, sealed, and refused with the reason.

use std::collections::BTreeMap;
use std::sync::Arc;

use lustre_language::{World as Outside, WorldError};
use lustre_model::journal::Resolve as _;
use lustre_model::plan::Plan;
use lustre_model::recorded::{Secret, World};
use lustre_model::value::Value;
use lustre_plan::Resolver;

use crate::harness::{address, applied, carry_out, carry_out_step, nothing, options, plan_within};

/// Other states by path.
#[derive(Default)]
struct States(BTreeMap<String, World>);

impl Outside for States {
    fn read_file(&self, _path: &str) -> Result<Vec<u8>, WorldError> {
        Err(WorldError::NotFound)
    }

    fn file_exists(&self, _path: &str) -> Result<bool, WorldError> {
        Ok(false)
    }

    fn read_state(&self, path: &str) -> Result<World, WorldError> {
        match path {
            "offline" => Err(WorldError::Offline),
            path => self.0.get(path).cloned().ok_or(WorldError::NotFound),
        }
    }

    fn list_folder(&self, _path: &str) -> Result<Vec<lustre_language::Entry>, WorldError> {
        Err(WorldError::NotFound)
    }

    fn planned_at(&self) -> Option<lustre_language::Moment> {
        None
    }

    fn applying(&self) -> Option<lustre_language::Applying> {
        None
    }

    fn working_folder(&self) -> String {
        "/".to_owned()
    }

    fn home_folder(&self) -> Option<String> {
        None
    }
}

const LAB: &str = r#"
host "h" {
  address = "10.0.0.7"
}
cluster "scratch" {
  fs_name = "fast"
  metadata {
    host = host.h
    path = "/m"
  }
  storage {
    hosts            = host.h
    path             = "/o"
    targets_per_host = 2
    target_capacity  = "1GiB"
  }
}
"#;

fn states() -> States {
    let mut lab = applied(LAB, &nothing());
    for object in lab.objects.values_mut() {
        object.private.insert("key".to_owned(), Secret::new("geheim".to_owned()));
    }
    States(BTreeMap::from([("../lab/lustre.state".to_owned(), lab)]))
}

fn plan(text: &str, world: &World) -> Result<Plan, String> {
    let (plan, told) = plan_within(text, &[], (world, &states()), &options());
    plan.ok_or(told)
}

const USER: &str = r#"
data "cluster" "lab" {
  state = "../lab/lustre.state"
  name  = "scratch"
}
value "mount" {
  input = "${data.cluster.lab.dns_name}:/${data.cluster.lab.mount_name}"
}
output "lab" {
  value = [data.cluster.lab.targets, data.cluster.lab.agents, data.cluster.lab.address]
}
"#;

#[test]
fn a_cluster_of_another_state_is_read_while_planning_and_sealed_without_its_secrets() {
    let plan = plan(USER, &nothing()).expect("a plan");
    assert!(plan.parts().reads.is_empty());
    let after = plan.changes()[0].after.clone().expect("made");
    assert_eq!(after["input"], Value::from("10.0.0.7:/fast"));
    let bytes = lustre_plan::file::encode(&plan).expect("encodes");
    assert!(!String::from_utf8_lossy(&bytes).contains("geheim"));
    assert_eq!(lustre_plan::file::decode(&bytes).expect("decodes"), plan);
    // Nothing outside is asked any more.
    let world = carry_out(&plan, &nothing());
    let lab = world.outputs["lab"].value.to_plain().expect("known").to_string();
    assert_eq!(
        lab,
        r#"[["fast-MDT0000","fast-OST0000","fast-OST0001"],{"host.h":"10.0.0.7:7988"},"cluster.scratch"]"#
    );
}

#[test]
fn a_refresh_reads_data_anew_and_records_outputs_alone() {
    let world = carry_out(&plan(USER, &nothing()).expect("a plan"), &nothing());
    let mut states = states();
    let moved = applied(&LAB.replace("10.0.0.7", "10.0.0.8"), &nothing());
    states.0.insert("../lab/lustre.state".to_owned(), moved);
    let refresh = lustre_plan::Options { mode: lustre_model::plan::Mode::RefreshOnly, ..options() };
    let (plan, told) = plan_within(USER, &[], (&world, &states), &refresh);
    let plan = plan.unwrap_or_else(|| panic!("{told}"));
    let after = plan.parts().outputs[0].after.clone().expect("it stays");
    let shown = after.value.to_plain().expect("known").to_string();
    assert!(shown.contains("10.0.0.8"), "{shown}");
    assert!(plan.has_changes() && plan.steps().is_empty(), "{told}");
}

#[test]
fn data_that_depends_on_what_is_applied_is_read_then() {
    let text = USER
        .replace("\"scratch\"", "value.name.output")
        .replace("value \"mount\"", "value \"name\" {\n  input = \"scratch\"\n}\nvalue \"mount\"");
    for text in [
        text,
        USER.replace("value \"mount\"", "value \"first\" {}\nvalue \"mount\"")
            .replace("\n}\nvalue \"first\"", "\n  depends_on = [value.first]\n}\nvalue \"first\""),
    ] {
        let plan = plan(&text, &nothing()).expect("a plan");
        assert_eq!(plan.parts().reads, [address("data.cluster.lab")]);
        let shown = lustre_plan::render::text::plan(&plan).plain();
        assert!(shown.contains("# data.cluster.lab will be read during apply"), "{shown}");
        let mount = plan.steps().iter().find(|step| step.address == address("value.mount")).expect("a step");
        assert_eq!(mount.dependencies.len(), 1, "what the data is read from");
        let resolver = Resolver::new(plan.clone(), Arc::new(states()));
        let mut world = nothing();
        plan.steps().iter().for_each(|step| carry_out_step(step, &resolver, &mut world));
        assert_eq!(
            world.objects[&address("value.mount")].attributes["output"],
            Value::from("10.0.0.7:/fast")
        );
        assert!(resolver.outputs(&world).expect("known").contains_key("lab"));
        // Without the other state the step fails and says why.
        let resolver = Resolver::new(plan.clone(), Arc::new(States::default()));
        let refused = resolver.attributes(mount, &world).expect_err("refused").to_string();
        assert!(
            refused.contains("the state \"../lab/lustre.state\" cannot be read: no file is there"),
            "{refused}"
        );
    }
}

#[test]
fn data_in_modules_and_with_for_each() {
    let text = "module \"m\" {\n  source = \"./m\"\n}\noutput \"o\" {\n  value = module.m.names\n}\n-- m/main.hcl --\n\
                data \"cluster\" \"all\" {\n  for_each = toset([\"scratch\", \"cluster.scratch\"])\n  state = \"../lab/lustre.state\"\n  \
                name = each.key\n  lifecycle {\n    postcondition {\n      condition = self.fs_name == \"fast\"\n      error_message = \"Slow.\"\n    }\n  }\n}\n\
                output \"names\" {\n  value = [for it in data.cluster.all : it.fs_name]\n}\n";
    let plan = plan(text, &nothing()).expect("a plan");
    let world = carry_out(&plan, &nothing());
    assert_eq!(world.outputs["o"].value.parts().count(), 2);
}

#[test]
fn mistakes_of_data_are_told_with_the_reason() {
    let text = r#"
data "cluster" "gone" {
  state = "nowhere"
  name  = "x"
}
data "cluster" "typo" {
  state = "../lab/lustre.state"
  name  = "scrach"
  size  = 1
}
data "cluster" "near" {
  state = "../lab/lustre.state"
  name  = "scrach"
  lifecycle {
    prevent_destroy = true
  }
}
data "clutser" "x" {}
data "cluster" {}
output "o" {
  value = [data.cluster.nope.x, data.clustr.x, data.cluster.gone.dns_name]
}
"#;
    let told = plan(text, &nothing()).expect_err("refused");
    for line in [
        "3:11: E0854 the state \"nowhere\" cannot be read: no file is there",
        "9:3: E0801 a `data` block has no attribute `size`",
        "13:11: E0840 the state \"../lab/lustre.state\" records no cluster \"scrach\" | Did you mean \"scratch\"?",
        "15:5: E0243 `prevent_destroy` of data has no meaning",
        "18:6: E0244 there is no data of the kind `clutser` | Kinds of data are cluster. Did you mean `cluster`?",
        "19:1: E0208 wrong number of labels for `data`",
        "21:12: E0304 undeclared data.cluster `nope` | Did you mean",
        "21:33: E0244 there is no data of the kind `clustr`",
    ] {
        assert!(
            told.lines().any(|told| told.starts_with(line.trim_end_matches(" | Did you mean"))),
            "expected `{line}` in:\n{told}"
        );
    }
}

#[test]
fn what_is_only_validated_reads_no_other_state() {
    let plan = plan(&USER.replace("../lab/lustre.state", "offline"), &nothing()).expect("a plan");
    assert_eq!(plan.parts().reads.len(), 1);
}

const CHECKED: &str = r#"
value "name" {
  input = "scratch"
}
check "lab" {
  data "cluster" "lab" {
    state = "../lab/lustre.state"
    name  = "scratch"
  }
  assert {
    condition     = data.cluster.lab.fs_name == "slow"
    error_message = "It is ${data.cluster.lab.fs_name}."
  }
}
"#;

fn told(text: &str, world: &World, states: &States) -> (Option<Plan>, String) {
    plan_within(text, &[], (world, states), &options())
}

fn warnings(plan: &Plan, world: &World, states: States) -> Vec<String> {
    let found = Resolver::new(plan.clone(), Arc::new(states)).warnings(world);
    found.iter().map(|it| format!("{} {}: {}", it.code, it.summary, it.detail)).collect()
}

#[test]
fn data_of_a_check_is_read_for_it_alone_and_again_behind_the_apply() {
    let (plan, told) = told(CHECKED, &nothing(), &states());
    assert_eq!(told, "11:21: W0601 check `lab` does not hold | It is fast.\n");
    let plan = plan.expect("a plan");
    assert!(plan.parts().reads.is_empty() && plan.parts().spec.data.is_empty(), "it is no part of the plan");
    let world = carry_out(&plan, &nothing());
    assert_eq!(warnings(&plan, &world, states()), ["W0601 check `lab` does not hold: It is fast."]);
    // What the other deployment did meanwhile counts.
    let slow = States(BTreeMap::from([(
        "../lab/lustre.state".to_owned(),
        applied(&LAB.replace("\"fast\"", "\"slow\""), &nothing()),
    )]));
    assert_eq!(warnings(&plan, &world, slow), [] as [String; 0]);
}

#[test]
fn data_of_a_check_that_cannot_be_read_only_warns() {
    let (plan, told) = told(CHECKED, &nothing(), &States::default());
    assert_eq!(
        told,
        "7:13: W0610 check `lab` could not read its data | the state \"../lab/lustre.state\" cannot be read: no file \
         is there. What it asserts about the data is not checked. Say where that deployment keeps its state; a path that is \
         not absolute begins at this folder.\n"
    );
    let plan = plan.expect("a plan");
    let world = carry_out(&plan, &nothing());
    let after = warnings(&plan, &world, States::default());
    assert_eq!(after.len(), 1, "{after:?}");
    assert!(after[0].starts_with("W0610 check `lab` could not read its data: the state"), "{after:?}");
}

#[test]
fn data_of_a_check_waits_for_what_it_depends_on() {
    for (from, to) in [
        ("name  = \"scratch\"\n  }", "name  = value.name.output\n  }"),
        ("name  = \"scratch\"\n  }", "name  = \"scratch\"\n    depends_on = [value.name]\n  }"),
    ] {
        let (plan, told) = told(&CHECKED.replacen(from, to, 1), &nothing(), &States::default());
        assert_eq!(told, "", "it may only come to be with this plan");
        let plan = plan.expect("a plan");
        let world = carry_out(&plan, &nothing());
        assert_eq!(warnings(&plan, &world, states()), ["W0601 check `lab` does not hold: It is fast."]);
    }
    let (plan, told) = told(&CHECKED.replace("../lab/lustre.state", "offline"), &nothing(), &states());
    assert!(plan.is_some() && told.is_empty(), "{told}");
}

#[test]
fn data_of_a_check_in_each_instance_of_a_module() {
    let text = format!(
        "module \"m\" {{\n  source = \"./m\"\n  for_each = toset([\"fast\", \"slow\"])\n  want = each.key\n}}\n-- m/main.hcl --\n\
         variable \"want\" {{}}\n{}",
        CHECKED.replace("\"slow\"", "var.want")
    );
    let (plan, told) = told(&text, &nothing(), &states());
    assert!(told.contains("m/main.hcl:12:21: W0601 check `lab` does not hold | It is fast.\n"), "{told}");
    assert_eq!(told.lines().count(), 1, "{told}");
    let plan = plan.expect("a plan");
    let world = carry_out(&plan, &nothing());
    assert_eq!(warnings(&plan, &world, states()).len(), 1);
}

#[test]
fn data_of_a_check_is_out_of_sight_elsewhere() {
    let text = format!(
        "{CHECKED}{}",
        r#"output "o" {
  value = data.cluster.lab.fs_name
}
value "after" {
  depends_on = [data.cluster.lab]
}
check "other" {
  data "cluster" "lab" {
    state = "x"
    name  = "y"
  }
  data "cluster" "second" {
    state = "x"
    name  = "y"
  }
  assert {
    condition     = data.cluster.lab.fs_name == "fast"
    error_message = "m"
  }
}
check "odd" {
  data "cluster" "odd" {
    for_each = toset(["a"])
    state    = "x"
    name     = "y"
    lifecycle {}
  }
}
"#
    );
    let refused = plan(&text, &nothing()).expect_err("refused");
    for line in [
        "16:11: E0314 `data.cluster.lab` is seen only inside check `lab` | Move",
        "19:17: E0314 `data.cluster.lab` is seen only inside check `lab` | Move",
        "22:3: E0201 duplicate data.cluster `lab`",
        "26:3: E0201 duplicate block `data`",
        "31:21: E0314 `data.cluster.lab` is seen only inside check `lab` | Move",
        "35:1: E0215 `check` without `assert`",
        "37:5: E0315 `for_each` in the data of a check",
        "40:5: E0315 `lifecycle` in the data of a check",
    ] {
        assert!(refused.lines().any(|told| told.starts_with(line)), "expected `{line}` in:\n{refused}");
    }
    assert_eq!(refused.lines().count(), 10, "two warnings besides: {refused}");
}
