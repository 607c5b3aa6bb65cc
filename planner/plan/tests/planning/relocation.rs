//! `moved`, `removed`, `import`, and moves that go without saying.

use lustre_model::plan::Action;
use lustre_model::recorded::World;
use lustre_model::value::Value;

use crate::harness::{actions, address, applied, carry_out, nothing, options, planned, try_plan};

const MODULE: &str =
    "-- m/main.hcl --\nvariable \"n\" {\n  default = 1\n}\nvalue \"v\" {\n  count = 2\n  input = var.n\n}\n";

/// Plans, and checks that nothing is made or lost and that applying it is enough.
#[track_caller]
fn only_moves(text: &str, world: &World) -> World {
    let plan = planned(text, world);
    assert_eq!(actions(&plan), [] as [&str; 0]);
    assert!(!plan.parts().moves.is_empty());
    applied(text, world)
}

fn addresses(world: &World) -> Vec<String> {
    world.objects.keys().map(ToString::to_string).collect()
}

#[track_caller]
fn refused(text: &str, world: &World, expected: &[&str]) {
    let told = try_plan(text, &[], world, &options()).expect_err("refused");
    for line in expected {
        assert!(told.lines().any(|told| told.starts_with(line)), "expected `{line}` in:\n{told}");
    }
    assert_eq!(told.lines().count(), expected.len(), "{told}");
}

#[test]
fn resources_move_whole_and_by_instance_and_along_chains() {
    let world = applied("value \"a\" {\n  count = 2\n}\nvalue \"s\" {}\n", &nothing());
    let text = "value \"c\" {\n  for_each = toset([\"x\", \"y\"])\n}\nvalue \"t\" {}\n\
                moved {\n  from = value.b\n  to = value.c\n}\nmoved {\n  from = value.a\n  to = value.b\n}\n\
                moved {\n  from = value.c[0]\n  to = value.c[\"x\"]\n}\nmoved {\n  from = value.c[1]\n  to = value.c[\"y\"]\n}\n\
                moved {\n  from = value.s\n  to = value.t\n}\n";
    let after = only_moves(text, &world);
    assert_eq!(addresses(&after), ["value.c[\"x\"]", "value.c[\"y\"]", "value.t"]);
    let plan = planned(text, &world);
    let moved = plan.changes().iter().find(|change| change.address == address("value.c[\"y\"]"));
    assert_eq!(moved.and_then(|change| change.previous_address.clone()), Some(address("value.a[1]")));
}

#[test]
fn resources_move_into_modules_and_modules_move() {
    let world = applied("value \"a\" {\n  count = 2\n  input = 1\n}\n", &nothing());
    let text = format!(
        "module \"m\" {{\n  source = \"./m\"\n}}\nmoved {{\n  from = value.a\n  to = module.m.value.v\n}}\n{MODULE}"
    );
    let world = only_moves(&text, &world);
    assert_eq!(addresses(&world), ["module.m.value.v[0]", "module.m.value.v[1]"]);
    let text = format!(
        "module \"n\" {{\n  source = \"./m\"\n  for_each = toset([\"k\"])\n}}\nmoved {{\n  from = module.m\n  to = module.n[\"k\"]\n}}\n{MODULE}"
    );
    let world = only_moves(&text, &world);
    assert_eq!(addresses(&world), ["module.n[\"k\"].value.v[0]", "module.n[\"k\"].value.v[1]"]);
    let renamed = text.replace("module \"n\"", "module \"o\"").replace("module.m\n", "module.n\n");
    let text = renamed.replace("module.n[\"k\"]", "module.o");
    let world = only_moves(&text, &world);
    // Said inside of the module it holds for each of its instances.
    let inside = text.replace("value \"v\"", "moved {\n  from = value.v\n  to = value.w\n}\nvalue \"w\"");
    let world = only_moves(&inside, &world);
    assert_eq!(addresses(&world), ["module.o[\"k\"].value.w[0]", "module.o[\"k\"].value.w[1]"]);
}

#[test]
fn count_comes_and_goes_without_a_word() {
    let single = applied("value \"a\" {}\n", &nothing());
    let counted = only_moves("value \"a\" {\n  count = 1\n}\n", &single);
    assert_eq!(addresses(&counted), ["value.a[0]"]);
    assert_eq!(addresses(&only_moves("value \"a\" {}\n", &counted)), ["value.a"]);
    let module = |count: &str| format!("module \"m\" {{\n  source = \"./m\"\n{count}}}\n{MODULE}");
    let world = applied(&module(""), &nothing());
    let world = only_moves(&module("  count = 1\n"), &world);
    assert_eq!(addresses(&world), ["module.m[0].value.v[0]", "module.m[0].value.v[1]"]);
    // What is there already is not moved over.
    let two = applied("value \"a\" {\n  count = 2\n}\n", &nothing());
    assert_eq!(actions(&planned("value \"a\" {}\n", &two)), ["delete value.a[1]"]);
}

#[test]
fn clusters_move_with_their_targets_and_keep_their_numbers() {
    let text = |name: &str, targets: u32| {
        format!(
            "host \"h\" {{}}\ncluster \"{name}\" {{\n  fs_name = \"x\"\n  metadata {{\n    host = host.h\n    path = \"/m\"\n  }}\n  \
             storage {{\n    hosts = host.h\n    path = \"/o\"\n    targets_per_host = {targets}\n    target_capacity = \"1GiB\"\n  }}\n}}\n"
        )
    };
    let world = applied(&text("a", 2), &nothing());
    let moved = format!("{}moved {{\n  from = cluster.a\n  to = cluster.b\n}}\n", text("b", 3));
    let plan = planned(&moved, &world);
    assert_eq!(actions(&plan), ["create cluster.b.target[\"x-ost0002\"]"]);
    assert_eq!(plan.data_loss().count(), 0);
    applied(&moved, &world);
}

#[test]
fn moves_that_are_not_clear_are_refused() {
    let two = "moved {\n  from = value.a\n  to = value.b\n}\n";
    refused(
        &format!("{two}moved {{\n  from = value.a\n  to = value.c\n}}\n"),
        &nothing(),
        &["5:1: E0830 two moves from value.a | Keep the one that is true."],
    );
    refused(
        &format!("{two}moved {{\n  from = value.c\n  to = value.b\n}}\n"),
        &nothing(),
        &["5:1: E0830 two moves to value.b"],
    );
    refused(
        &format!("{two}moved {{\n  from = value.b\n  to = value.a\n}}\n"),
        &nothing(),
        &["5:1: E0831 moves in a circle: value.a → value.b → value.a"],
    );
    refused(
        &format!("value \"a\" {{}}\n{two}"),
        &nothing(),
        &["3:10: E0832 value.a is moved, but still in the spec"],
    );
    let both = applied("value \"a\" {}\nvalue \"b\" {}\n", &nothing());
    refused(
        &format!("value \"b\" {{}}\n{two}"),
        &both,
        &["2:1: E0833 value.a cannot move to value.b: that is where value.b belongs"],
    );
    refused(
        "moved {\n  from = value.a\n  to = host.a\n}\nmoved {\n  from = valeu.a\n  to = value.b\n}\nmoved {\n  from = value.a\n}\n\
         moved {\n  from = value.a\n  to = value.a\n}\nmoved {\n  from = \"value.a\"\n  to = value.a.x\n}\n",
        &nothing(),
        &[
            "3:8: E0230 a move changes what the object is",
            "6:10: E0236 there is no kind `valeu` | Did you mean `value`?",
            "9:1: E0206 argument `to` is missing",
            "12:1: E0231 a move to where it comes from",
            "17:10: E0235 this is no address",
            "18:16: E0235 this is no address | Nothing follows behind the resource and its key.",
        ],
    );
}

#[test]
fn what_is_removed_is_forgotten_or_destroyed() {
    let text = "value \"a\" {\n  count = 2\n  input = 1\n  lifecycle {\n    prevent_destroy = true\n  }\n}\nvalue \"b\" {\n  input = value.a[0].output\n}\n";
    let world = applied(text, &nothing());
    let removed = "value \"b\" {}\nremoved {\n  from = value.a\n  lifecycle {\n    destroy = false\n  }\n}\n";
    let plan = planned(removed, &world);
    assert_eq!(actions(&plan), ["forget value.a[0]", "forget value.a[1]", "update value.b"]);
    assert!(plan.closed_gates(&[]).is_empty() && plan.steps().len() == 1);
    let after = carry_out(&plan, &world);
    assert_eq!(addresses(&after), ["value.b"]);
    assert!(!planned(removed, &after).has_changes());
    let plan = planned(&removed.replace("false", "true"), &world);
    assert_eq!(actions(&plan), ["delete value.a[0]", "delete value.a[1]", "update value.b"]);
    refused(
        &format!("value \"a\" {{}}\n{removed}"),
        &world,
        &["4:10: E0832 value.a is removed, but still in the spec"],
    );
    refused("removed {\n  from = value.a[0]\n}\n", &world, &["2:10: E0232 `removed` names an instance"]);
    let module = format!("module \"m\" {{\n  source = \"./m\"\n}}\n{MODULE}");
    let world = applied(&module, &nothing());
    let plan = planned("removed {\n  from = module.m\n  lifecycle {\n    destroy = false\n  }\n}\n", &world);
    assert_eq!(plan.parts().forgotten.len(), 2);
    assert!(carry_out(&plan, &world).objects.is_empty());
}

#[test]
fn values_are_imported_and_then_changed_as_the_spec_says() {
    let text = "value \"a\" {\n  input = \"old\"\n}\nvalue \"b\" {\n  for_each = { x = \"new\" }\n  input = each.value\n}\n\
                import {\n  to = value.a\n  id = \"old\"\n}\nimport {\n  for_each = toset([\"x\"])\n  to = value.b[each.key]\n  id = \"old-${each.key}\"\n}\n";
    let plan = planned(text, &nothing());
    assert_eq!(actions(&plan), ["update value.b[\"x\"]"]);
    let change = plan.changes().iter().find(|change| change.address == address("value.b[\"x\"]")).expect("b");
    assert_eq!(change.imported.as_deref(), Some("old-x"));
    assert_eq!(change.before.as_ref().expect("imported")["output"], Value::from("old-x"));
    let shown = lustre_plan::render::text::plan(&plan).plain();
    assert!(
        shown.contains("# value.a will be imported")
            && shown.contains("Plan: 2 to import, 0 to add, 1 to change"),
        "{shown}"
    );
    let world = applied(text, &nothing());
    assert_eq!(world.objects[&address("value.a")].attributes["output"], Value::from("old"));
    assert!(planned(text, &world).changes().iter().all(|change| change.action == Action::NoOp));
}

#[test]
fn imports_that_mean_nothing_are_refused_with_the_reason() {
    refused(
        "host \"h\" {}\nvalue \"v\" {}\nimport {\n  to = host.h\n  id = \"127.0.0.1\"\n}\nimport {\n  to = value.w\n  id = value.v.output\n}\n\
         import {\n  to = value.v\n  id = \"\"\n}\nimport {\n  to = value.v[each.key]\n  id = \"x\"\n}\n",
        &nothing(),
        &[
            "3:1: E0836 a host cannot be imported | Its agent answers only to the deployment",
            "9:8: E0238 unsuitable value for `id` of an import | It must be known before anything is applied.",
            "13:8: E0238 unsuitable value for `id` of an import | It is empty.",
            "16:16: E0309 `each` has no meaning here",
        ],
    );
    refused(
        "value \"v\" {}\nimport {\n  to = value.w\n  id = \"x\"\n}\n",
        &nothing(),
        &["2:1: E0835 `import` names value.w, which the spec does not have | Did you mean `value.v`?"],
    );
}

#[test]
fn moving_many_costs_as_much_as_there_is() {
    let text = |name: &str, count: usize| {
        format!(
            "module \"{name}\" {{\n  source = \"./m\"\n  count = {count}\n}}\n-- m/main.hcl --\nvalue \"v\" {{\n  input = 1\n}}\nvalue \"w\" {{\n  input = value.v.output\n}}\n"
        )
    };
    let measure = |count: usize| {
        let world = applied(&text("a", count), &nothing());
        let moved = format!("moved {{\n  from = module.a\n  to = module.b\n}}\n{}", text("b", count));
        let begun = std::time::Instant::now();
        let plan = planned(&moved, &world);
        assert_eq!((plan.steps().len(), plan.parts().moves.len()), (0, 2 * count));
        assert_eq!(carry_out(&plan, &world).objects.len(), 2 * count);
        begun.elapsed()
    };
    let best = |count: usize| (0..3).map(|_| measure(count)).min().unwrap_or_default();
    let (small, large) = (best(50), best(1000));
    assert!(large < small * 100, "50 instances: {small:?}, 1000 instances: {large:?}");
}
