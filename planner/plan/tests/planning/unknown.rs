//! Values that are known only after apply, and what is recorded that makes them known.

use lustre_model::plan::Action;
use lustre_model::value::Value;
use proptest::prelude::{ProptestConfig, any, prop, prop_assert, proptest};

use crate::harness::{actions, address, applied, carry_out, destroyed, nothing, planned};

#[test]
fn what_is_recorded_and_stays_is_known_and_what_changes_is_not() {
    let text = |first: &str| {
        format!(
            r#"
value "a" {{
  input = {first:?}
}}
value "b" {{
  input = "${{value.a.output}}-b"
}}
value "c" {{
  input = [for v in [value.b.output] : "${{v}}!"]
}}
output "c" {{
  value = value.c.output
}}
"#
        )
    };
    let world = applied(&text("one"), &nothing());
    let recorded = &world.objects[&address("value.c")].attributes["output"];
    assert_eq!(recorded.parts().cloned().collect::<Vec<_>>(), [Value::from("one-b!")]);
    let plan = planned(&text("two"), &world);
    assert_eq!(actions(&plan), ["update value.a", "update value.b", "update value.c"]);
    let b = plan.changes().iter().find(|change| change.address == address("value.b")).expect("b");
    assert!(!b.after.as_ref().expect("stays")["input"].is_known());
    assert!(plan.has_changes());
    assert!(!planned(&text("one"), &world).has_changes());
    applied(&text("two"), &world);
}

#[test]
fn a_value_without_input_has_no_output_and_that_is_known() {
    let text = "value \"a\" {}\nvalue \"b\" {\n  input = value.a.output == null ? \"none\" : \"some\"\n}\n";
    let world = applied(text, &nothing());
    assert_eq!(world.objects[&address("value.b")].attributes["output"], Value::from("none"));
}

#[test]
fn a_path_that_is_known_only_after_apply_is_filled_in() {
    let text = r#"
value "root" {
  input = "/srv"
}
host "h" {
  path = "${value.root.output}/agent"
}
bucket "data" {
  host = host.h
  path = "${value.root.output}/data"
}
cluster "x" {
  metadata {
    host = host.h
    path = "${value.root.output}/mdt"
  }
  storage {
    hosts           = host.h
    path            = "${value.root.output}/ost"
    target_capacity = "1GiB"
  }
}
mount "m" {
  cluster = cluster.x
  host    = host.h
  path    = "${value.root.output}/mnt"
}
"#;
    let plan = planned(text, &nothing());
    let target = |plan: &lustre_model::plan::Plan| {
        let found = plan.changes().iter().find(|it| it.address == address("cluster.x.target[\"x-OST0000\"]"));
        found.and_then(|it| it.after.clone()).expect("a target")
    };
    assert!(!target(&plan)["path"].is_known());
    assert!(target(&plan)["listen"].is_known(), "ports are given while planning");
    let world = carry_out(&plan, &nothing());
    let recorded = &world.objects[&address("cluster.x.target[\"x-OST0000\"]")].attributes;
    assert_eq!(recorded["path"], Value::from("/srv/ost/x-OST0000"));
    assert_eq!(recorded["listen"], target(&plan)["listen"]);
    assert_eq!(
        world.objects[&address("bucket.data")].attributes["credentials_file"],
        Value::from("/srv/agent/credentials/data")
    );
    assert!(!planned(text, &world).has_changes());
}

#[test]
fn a_count_that_is_known_only_after_apply_is_refused() {
    let text = r#"
value "n" {
  input = 3
}
value "many" {
  count = value.n.output
}
"#;
    let told =
        crate::harness::try_plan(text, &[], &nothing(), &crate::harness::options()).expect_err("refused");
    assert!(told.contains("count"), "{told}");
    let first = applied("value \"n\" {\n  input = 3\n}\n", &nothing());
    let world = applied(text, &first);
    assert_eq!(world.objects.len(), 4, "recorded and unchanged, so known");
}

/// Random values that refer to lower ones.
fn random(edges: &[Vec<usize>], inputs: &[u8]) -> String {
    let block = |(number, (before, input)): (usize, (&Vec<usize>, &u8))| {
        let before: Vec<String> =
            before.iter().filter(|it| **it < number).map(|it| format!("value.v{it}.output")).collect();
        format!("value \"v{number}\" {{\n  input = [{input}, {}]\n}}\n", before.join(", "))
    };
    edges.iter().zip(inputs).enumerate().map(block).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn a_plan_carried_out_needs_no_other_and_destroys_completely(
        edges in prop::collection::vec(prop::collection::vec(0_usize..10, 0..3), 1..10),
        more in prop::collection::vec(prop::collection::vec(0_usize..10, 0..3), 1..10),
        inputs in prop::collection::vec(any::<u8>(), 10..11), others in prop::collection::vec(any::<u8>(), 10..11),
    ) {
        let world = applied(&random(&edges, &inputs), &nothing());
        let world = applied(&random(&more, &others), &world);
        prop_assert!(world.objects.len() == more.len());
        let plan = destroyed(&world);
        prop_assert!(plan.changes().iter().all(|change| change.action == Action::Delete));
        prop_assert!(carry_out(&plan, &world).objects.is_empty());
    }
}

#[test]
fn what_only_apply_knows_is_unknown_before_and_the_same_for_all_after() {
    let text = r#"
locals {
  id = uuid()
}
value "a" {
  input = local.id
}
value "b" {
  input = [local.id, timestamp(), uuid()]
}
output "id" {
  value = local.id
}
output "hash" {
  value = bcrypt("secret", 4)
}
"#;
    let plan = planned(text, &nothing());
    assert!(
        plan.changes().iter().all(|change| !change.after.as_ref().expect("made")["input"].is_wholly_known())
    );
    let world = carry_out(&plan, &nothing());
    let input = |name: &str| world.objects[&address(name)].attributes["input"].clone();
    let parts: Vec<Value> = input("value.b").parts().cloned().collect();
    assert_eq!(parts[0], input("value.a"));
    assert_eq!(parts[1], Value::from("2026-01-02T03:05:00Z"));
    assert_ne!(parts[2], parts[0]);
    assert_eq!(world.outputs["id"].value, parts[0]);
    assert!(world.outputs["hash"].value.as_str().is_some_and(|hash| hash.starts_with("$2a$04$")));
    // A plan that is carried on after a crash comes to the same, another plan does not.
    let again = carry_out(&plan, &nothing());
    assert_eq!(again.outputs["hash"], world.outputs["hash"]);
    let later = carry_out(&planned(text, &world), &world);
    assert_ne!(later.outputs["id"], world.outputs["id"]);
}

#[test]
fn what_apply_computes_is_known_not_to_be_null() {
    let text = r#"
value "a" {
  input = "x"
}
value "b" {
  count = value.a.output != null ? 2 : 0
}
"#;
    assert_eq!(planned(text, &nothing()).changes().len(), 3);
}
