//! Cut-off applies, protection, forced replacement, ignored changes, gates.

use lustre_model::journal::{Event, Outcome};
use lustre_model::plan::{Action, ActionReason, Allowance, GateReason, Operation};

use crate::harness::{
    actions, address, applied, carry_out, carry_out_step, destroyed, intent, nothing, options, planned,
    steps, try_plan,
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
    let resolver = crate::harness::resolver(&plan);
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
    let wanted =
        lustre_plan::Options { replace: vec![lustre_model::pattern::Pattern("value.a".into())], ..options() };
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

#[test]
fn protection_is_an_expression_and_clusters_that_are_not_scratch_have_it() {
    let text = "variable \"keep\" {\n  default = true\n}\nvalue \"a\" {\n  for_each = toset([\"x\", \"y\"])\n  lifecycle {\n    \
                prevent_destroy = var.keep && each.key == \"x\"\n  }\n}\n";
    let world = applied(text, &nothing());
    let gates: Vec<String> =
        destroyed(&world).closed_gates(&[]).iter().map(|gate| gate.address.to_string()).collect();
    assert_eq!(gates, ["value.a[\"x\"]"]);
}

fn first(input: &str, trigger: u32) -> String {
    format!(
        "value \"a\" {{\n  input = {input:?}\n  triggers_replace = {trigger}\n  lifecycle {{\n    create_before_destroy = true\n  }}\n}}\n\
         value \"b\" {{\n  input = value.a.output\n}}\n"
    )
}

#[test]
fn a_replacement_that_is_created_first_goes_behind_everybody_who_uses_the_old_one() {
    let world = applied(&first("one", 1), &nothing());
    let plan = planned(&first("two", 2), &world);
    assert_eq!(actions(&plan), ["replace value.a", "update value.b"]);
    let aside = format!("value.a.deposed[\"{}\"]", world.serial);
    assert_eq!(
        steps(&plan),
        ["create value.a".to_owned(), "update value.b".to_owned(), format!("delete {aside}"),]
    );
    assert_eq!(plan.parts().moves[0].to, address(&aside));
    let shown = lustre_plan::render::text::plan(&plan).plain();
    assert!(shown.contains("+/- value \"a\""), "{shown}");
    let json = lustre_plan::render::json::plan(&plan).to_string();
    assert!(json.contains("[\"create\",\"delete\"]"), "{json}");
    let after = carry_out(&plan, &world);
    assert_eq!(after.objects.len(), 2);
    assert!(!planned(&first("two", 2), &after).has_changes());
}

#[test]
fn a_replacement_cut_off_anywhere_converges_with_the_old_object_last() {
    let before = applied(&first("one", 1), &nothing());
    let text = first("two", 2);
    let plan = planned(&text, &before);
    for cut in 0..=plan.steps().len() {
        let mut world = before.clone();
        let resolver = crate::harness::resolver(&plan);
        crate::harness::carry_out_moves(&plan, &mut world);
        plan.steps()[..cut].iter().for_each(|step| carry_out_step(step, &resolver, &mut world));
        let again = planned(&text, &world);
        let order = steps(&again);
        assert!(cut == 3 || order.last().is_some_and(|last| last.contains("deposed")), "{cut}: {order:?}");
        let after = carry_out(&again, &world);
        assert_eq!(after.objects.len(), 2, "{cut}");
        assert!(!planned(&text, &after).has_changes());
    }
}

#[test]
fn what_stands_below_is_created_first_too_or_the_reason_is_told() {
    let text = |trigger: u32| {
        format!(
            "value \"below\" {{\n  triggers_replace = {trigger}\n}}\nvalue \"a\" {{\n  triggers_replace = {trigger}\n  \
             depends_on = [value.below]\n  lifecycle {{\n    create_before_destroy = true\n  }}\n}}\n"
        )
    };
    let world = applied(&text(1), &nothing());
    let plan = planned(&text(2), &world);
    let order: Vec<String> =
        steps(&plan).iter().map(|it| it.replace(&world.serial.to_string(), "N")).collect();
    assert_eq!(
        order,
        [
            "create value.below",
            "create value.a",
            "delete value.a.deposed[\"N\"]",
            "delete value.below.deposed[\"N\"]"
        ]
    );
    assert_eq!(carry_out(&plan, &world).objects.len(), 2);
    let host = |path: &str| {
        format!(
            "host \"h\" {{\n  path = {path:?}\n}}\nvalue \"a\" {{\n  triggers_replace = {path:?}\n  depends_on = [host.h]\n  \
             lifecycle {{\n    create_before_destroy = true\n  }}\n}}\n"
        )
    };
    let world = applied(&host("/a"), &nothing());
    let told = try_plan(&host("/b"), &[], &world, &options()).expect_err("refused");
    assert!(told.contains("E0816 host.h cannot be created before it is destroyed"), "{told}");
    let own = "host \"h\" {\n  lifecycle {\n    create_before_destroy = true\n  }\n}\n";
    let told = try_plan(own, &[], &nothing(), &options()).expect_err("refused");
    assert!(told.contains("E0806 `create_before_destroy` of a host is not supported | Two agents"), "{told}");
}

#[test]
fn one_instance_triggers_the_replacement_of_one_instance() {
    let text = |input: u32| {
        format!(
            "value \"a\" {{\n  for_each = {{ x = 1, y = {input} }}\n  input = each.value\n}}\nvalue \"b\" {{\n  for_each = value.a\n  \
             lifecycle {{\n    replace_triggered_by = [value.a[each.key].input]\n  }}\n}}\n"
        )
    };
    let world = applied(&text(1), &nothing());
    let plan = planned(&text(2), &world);
    assert_eq!(actions(&plan), ["update value.a[\"y\"]", "replace value.b[\"y\"]"]);
    let wrong =
        "locals {\n  x = 1\n}\nvalue \"b\" {\n  lifecycle {\n    replace_triggered_by = [local.x]\n  }\n}\n";
    let told = try_plan(wrong, &[], &nothing(), &options()).expect_err("refused");
    assert!(told.starts_with("6:29: E0313 `replace_triggered_by` names no resource"), "{told}");
}

const CONDITIONS: &str = r#"
value "n" {
  input = 3
}
value "a" {
  input = "x"
  lifecycle {
    precondition {
      condition     = value.n.output > MINIMUM
      error_message = "${value.n.output} is too small."
    }
  }
}
value "b" {
  for_each = toset(["k"])
  input    = value.n.output
  lifecycle {
    postcondition {
      condition     = self.output < MAXIMUM
      error_message = "${self.output} of ${each.key} is too large."
    }
  }
}
"#;

#[test]
fn conditions_that_are_unknown_are_checked_when_they_are_known() {
    use lustre_model::journal::Resolve as _;
    let text =
        |minimum: &str, maximum: &str| CONDITIONS.replace("MINIMUM", minimum).replace("MAXIMUM", maximum);
    applied(&text("1", "5"), &nothing());
    let plan = planned(&text("4", "3"), &nothing());
    let resolver = crate::harness::resolver(&plan);
    let step = |name: &str| plan.steps().iter().find(|step| step.address == address(name)).expect("a step");
    let mut world = nothing();
    carry_out_step(step("value.n"), &resolver, &mut world);
    let refused = resolver.attributes(step("value.a"), &world).expect_err("refused").to_string();
    assert_eq!(
        refused,
        "value.a cannot be evaluated: the precondition of `value.a` does not hold: 3 is too small."
    );
    let b = step("value.b[\"k\"]");
    carry_out_step(b, &resolver, &mut world);
    let refused = resolver.verify(b, &world).expect_err("refused").to_string();
    let what = "value.b[\"k\"] was applied, but the postcondition of `value.b[\"k\"]` does not hold: 3 of k is too large.";
    assert_eq!(refused, what);
    // What is recorded is known, so that the next plan tells it at once.
    let world = applied(&text("1", "5"), &nothing());
    let told = try_plan(&text("4", "3"), &[], &world, &options()).expect_err("refused");
    assert!(
        told.contains("9:23: E0601 the precondition of `value.a` does not hold | 3 is too small."),
        "{told}"
    );
    assert!(told.contains("19:23: E0601 the postcondition of `value.b[\"k\"]` does not hold"), "{told}");
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

#[test]
fn a_dependency_that_is_added_or_dropped_is_recorded_though_nothing_else_changes() {
    let pair =
        |more: &str| format!("value \"a\" {{\n  input = 1\n}}\nvalue \"b\" {{\n  input = 2\n{more}}}\n");
    let world = applied(&pair(""), &nothing());
    assert_eq!(steps(&destroyed(&world)), ["delete value.a", "delete value.b"]);
    // The plan is empty, and a destroy that knows nothing but the state goes against the new edge.
    let (plain, bound) = (pair(""), pair("  depends_on = [value.a]\n"));
    let plan = planned(&bound, &world);
    assert!(!plan.has_changes() && !plan.parts().dependencies.is_empty());
    let world = carry_out(&plan, &world);
    assert_eq!(steps(&destroyed(&world)), ["delete value.b", "delete value.a"]);
    assert!(planned(&bound, &world).parts().dependencies.is_empty());
    let world = carry_out(&planned(&plain, &world), &world);
    assert_eq!(steps(&destroyed(&world)), ["delete value.a", "delete value.b"]);
}
