//! Cut-off applies, protection, forced replacement, ignored changes, gates.

use lustre_model::journal::{Event, Outcome};
use lustre_model::plan::{Action, ActionReason, Allowance, GateReason, Operation};
use lustre_plan::Resolver;

use crate::harness::{
    actions, address, applied, carry_out, carry_out_step, destroyed, intent, nothing, options, planned,
    try_plan,
};

const CHAIN: &str = r#"
value "a" {
  input = 1
}
value "b" {
  input = value.a.output
}
value "c" {
  input = value.b.output
}
"#;

#[test]
fn an_apply_cut_off_after_any_event_converges_and_builds_nothing_twice() {
    let clean = applied(CHAIN, &nothing());
    let plan = planned(CHAIN, &nothing());
    let resolver = Resolver::new(plan.clone());
    for cut in 0..=plan.steps().len() {
        for begun in [false, true] {
            let mut world = nothing();
            plan.steps()[..cut].iter().for_each(|step| carry_out_step(step, &resolver, &mut world));
            if let (true, Some(step)) = (begun, plan.steps().get(cut)) {
                let attributes =
                    lustre_model::journal::Resolve::attributes(&resolver, step, &world).expect("resolves");
                world.apply(&intent(step, attributes)).expect("legal");
            }
            let again = planned(CHAIN, &world);
            assert!(
                actions(&again).iter().all(|action| action.starts_with("create")),
                "{:?}",
                actions(&again)
            );
            assert_eq!(again.steps().len(), plan.steps().len() - cut);
            assert_eq!(carry_out(&again, &world).objects, clean.objects);
        }
    }
}

#[test]
fn a_cut_off_update_is_made_again_and_a_cut_off_deletion_replaces() {
    let world = applied(CHAIN, &nothing());
    let begun = |operation| {
        let mut world = world.clone();
        let object = world.objects[&address("value.a")].clone();
        let event = Event::Intent {
            address: address("value.a"),
            kind: object.kind,
            operation,
            attributes: object.attributes,
            dependencies: object.dependencies,
        };
        world.apply(&event).expect("legal");
        world
    };
    let plan = planned(CHAIN, &begun(Operation::Update));
    assert_eq!(actions(&plan), ["update value.a"]);
    assert_eq!(plan.changes()[0].reason, Some(ActionReason::ResumeInterrupted));
    let half = begun(Operation::Delete);
    let plan = planned(CHAIN, &half);
    assert_eq!(plan.changes()[0].action, Action::Replace);
    assert_eq!(plan.changes()[0].reason, Some(ActionReason::ReplaceBecauseHalfDeleted));
    assert!(!planned(CHAIN, &carry_out(&plan, &half)).has_changes());
    assert!(carry_out(&destroyed(&half), &half).objects.is_empty());
}

#[test]
fn tainted_objects_are_replaced() {
    let mut world = applied(CHAIN, &nothing());
    let outcome = Outcome::Tainted { cause: "broken".into() };
    world.apply(&Event::Result { address: address("value.b"), outcome }).expect("legal");
    let plan = planned(CHAIN, &world);
    assert_eq!(actions(&plan), ["replace value.b", "update value.c"]);
    assert!(!planned(CHAIN, &carry_out(&plan, &world)).has_changes());
}

#[test]
fn replacement_on_request_and_by_trigger() {
    let world = applied(CHAIN, &nothing());
    let wanted = lustre_plan::Options { replace: vec!["value.a".into()], ..options() };
    let plan = try_plan(CHAIN, &[], &world, &wanted).expect("a plan");
    assert_eq!(actions(&plan)[0], "replace value.a");
    let triggered = |input: &str| {
        format!(
            "value \"a\" {{\n  input = {input}\n}}\nvalue \"b\" {{\n  lifecycle {{\n    replace_triggered_by = [value.a]\n  }}\n}}\n"
        )
    };
    let world = applied(&triggered("1"), &nothing());
    assert_eq!(actions(&planned(&triggered("2"), &world)), ["update value.a", "replace value.b"]);
}

#[test]
fn ignored_changes_stay_as_recorded() {
    let text = |input: &str| {
        format!("value \"a\" {{\n  input = {input}\n  lifecycle {{\n    ignore_changes = [input]\n  }}\n}}\n")
    };
    let world = applied(&text("1"), &nothing());
    assert!(!planned(&text("2"), &world).has_changes());
    let all = "value \"a\" {\n  input = 3\n  lifecycle {\n    ignore_changes = all\n  }\n}\n";
    assert!(!planned(all, &world).has_changes());
}

#[test]
fn protected_objects_close_a_gate_also_when_their_block_is_gone() {
    let protected = "value \"a\" {\n  input = 1\n  lifecycle {\n    prevent_destroy = true\n  }\n}\n";
    let world = applied(protected, &nothing());
    let plan = planned("", &world);
    assert_eq!(plan.closed_gates(&[Allowance("*".into())]).len(), 1);
    assert_eq!(plan.parts().gates[0].reason, GateReason::PreventDestroy);
    assert_eq!(destroyed(&world).closed_gates(&[]).len(), 1);
    let lifted = applied(&protected.replace("true", "false"), &world);
    assert!(planned("", &lifted).closed_gates(&[]).is_empty());
}

const CLUSTER: &str = r#"
host "h" {}
cluster "x" {
  storage_type = "SSD"
  metadata {
    host = host.h
    path = "/m"
  }
  storage {
    hosts           = host.h
    path            = "/o"
    target_capacity = "1GiB"
  }
}
"#;

#[test]
fn what_cannot_change_in_place_loses_data_and_an_allowance_lifts_the_gate() {
    let world = applied(CLUSTER, &nothing());
    let changed = CLUSTER.replace("SSD", "HDD");
    let plan = planned(&changed, &world);
    assert_eq!(plan.data_loss().count(), 3, "{:?}", actions(&plan));
    assert_eq!(plan.closed_gates(&[]).len(), 3);
    assert_eq!(plan.closed_gates(&[Allowance("cluster.y".into())]).len(), 3);
    assert!(plan.closed_gates(&[Allowance("cluster.x".into())]).is_empty());
    let sealed = lustre_plan::Options { allowances: vec![Allowance("cluster.*".into())], ..options() };
    assert!(try_plan(&changed, &[], &world, &sealed).expect("a plan").closed_gates(&[]).is_empty());
    let after = carry_out(&plan, &world);
    assert!(!planned(&changed, &after).has_changes());
}

#[test]
fn live_changes_are_live_and_restarts_pause() {
    let world = applied(CLUSTER, &nothing());
    let changed = CLUSTER.replace("storage_type = \"SSD\"", "data_compression_type = \"LZ4\"");
    let plan = planned(&changed, &world);
    let shown: Vec<String> = plan
        .changes()
        .iter()
        .filter(|it| it.action != Action::NoOp)
        .map(|it| format!("{} {}", it.address, it.impact))
        .collect();
    assert_eq!(shown, ["cluster.x live", "cluster.x.target[\"x-OST0000\"] pause"]);
    assert_eq!(plan.data_loss().count(), 0);
}
