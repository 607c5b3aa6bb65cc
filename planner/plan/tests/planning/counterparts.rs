//! Blocks whose instances go in pairs: each instance depends on its counterpart, and on nothing else of the other block.

use std::collections::{BTreeMap, BTreeSet};

use lustre_model::recorded::World;

use crate::harness::{applied, carry_out, nothing, planned};

/// What every object of an applied text is recorded to depend on.
fn recorded(text: &str) -> BTreeMap<String, Vec<String>> {
    dependencies(&applied(text, &nothing()))
}

fn dependencies(world: &World) -> BTreeMap<String, Vec<String>> {
    let names = |objects: &BTreeSet<_>| objects.iter().map(ToString::to_string).collect();
    world.objects.iter().map(|(address, object)| (address.to_string(), names(&object.dependencies))).collect()
}

/// Says that `b` depends on its counterparts in `a`, key by key, with the keys as addresses write them.
#[track_caller]
fn pairs(text: &str, keys: &[&str], (a, b): (&str, &str)) {
    let found = recorded(text);
    for key in keys {
        assert_eq!(found[&b.replace("KEY", key)], [a.replace("KEY", key)], "{text}");
    }
}

const NAMED: [&str; 2] = ["\"x\"", "\"y\""];
const AB: (&str, &str) = ("value.a[KEY]", "value.b[KEY]");

fn two(a: &str, b: &str) -> String {
    format!("value \"a\" {{\n{a}\ninput = 1\n}}\nvalue \"b\" {{\n{b}\n}}\n")
}

#[test]
fn an_instance_depends_on_the_counterpart_that_it_names() {
    let each = "for_each = toset([\"x\", \"y\"])";
    pairs(&two("count = 2", "count = 2\ninput = value.a[count.index].output"), &["0", "1"], AB);
    pairs(&two(each, &format!("{each}\ninput = value.a[each.key].output")), &NAMED, AB);
    pairs(&two(each, &format!("{each}\ninput = \"<${{value.a[each.key].output}}>\"")), &NAMED, AB);
    pairs(&two(each, &format!("{each}\ninput = [for i in [1] : value.a[each.key].output]")), &NAMED, AB);
    let triggered = "lifecycle {\nreplace_triggered_by = [value.a[each.key]]\n}";
    pairs(&two(each, &format!("{each}\ninput = 1\n{triggered}")), &NAMED, AB);
}

#[test]
fn an_instance_depends_on_the_counterpart_that_it_is_repeated_for() {
    let each = "for_each = { x = 1, y = 2 }";
    pairs(&two(each, "for_each = value.a\ninput = each.value.output"), &NAMED, AB);
    pairs(&two(each, "for_each = value.a\ninput = each.key"), &NAMED, AB);
    let counted = "count = length(value.a)\ninput = value.a[count.index].output";
    pairs(&two("count = 2", counted), &["0", "1"], AB);
    let keys = "for_each = toset(keys(value.a))\ninput = value.a[each.key].output";
    let found = recorded(&two(each, keys));
    assert_eq!(found["value.b[\"x\"]"], ["value.a[\"x\"]", "value.a[\"y\"]"], "the set is of all");
}

#[test]
fn counterparts_are_found_through_modules() {
    let into = "value \"a\" {\nfor_each = { x = 1, y = 2 }\ninput = each.value\n}\n\
        module \"m\" {\nsource = \"./m\"\nfor_each = value.a\nfrom = MEANT.output\n}\n\
        value \"c\" {\nfor_each = value.a\ninput = module.m[each.key].it\n}\n\
        -- m/main.hcl --\nvariable \"from\" {\n}\nvalue \"b\" {\ninput = var.from\n}\noutput \"it\" {\nvalue = value.b.output\n}\n";
    for meant in ["each.value", "value.a[each.key]"] {
        let text = into.replace("MEANT", meant);
        pairs(&text, &NAMED, ("value.a[KEY]", "module.m[KEY].value.b"));
        let found = recorded(&text);
        for key in NAMED {
            let both = [format!("value.a[{key}]"), format!("module.m[{key}].value.b")];
            let found: BTreeSet<&String> = found[&format!("value.c[{key}]")].iter().collect();
            assert_eq!(found, both.iter().collect(), "{meant}");
        }
    }
}

#[test]
fn what_only_looks_like_a_counterpart_is_all_of_the_block() {
    let each = "for_each = toset([\"x\", \"y\"])";
    let all = ["value.a[\"x\"]", "value.a[\"y\"]"];
    for input in [
        "value.a[each.key == \"x\" ? \"y\" : \"x\"].output",
        "[for each in [{ key = \"x\" }] : value.a[each.key].output]",
        "[value.a[each.key].output, length(value.a)]",
        "values(value.a)[0].output",
    ] {
        assert_eq!(
            recorded(&two(each, &format!("{each}\ninput = {input}")))["value.b[\"x\"]"],
            all,
            "{input}"
        );
    }
}

#[test]
fn a_counterpart_that_is_not_there_is_no_dependency() {
    let text = two("count = 1", "count = 2\ninput = try(value.a[count.index].output, 0)");
    let found = recorded(&text);
    assert_eq!(found["value.b[0]"], ["value.a[0]"]);
    assert_eq!(found["value.b[1]"], Vec::<String>::new());
}

#[test]
fn what_was_recorded_to_depend_on_all_depends_on_its_counterpart_after_the_next_apply() {
    let all = two("count = 2", "count = 2\ninput = (value.a[*].output)[count.index]");
    let world = applied(&all, &nothing());
    assert_eq!(dependencies(&world)["value.b[0]"], ["value.a[0]", "value.a[1]"]);
    let own = two("count = 2", "count = 2\ninput = value.a[count.index].output");
    let plan = planned(&own, &world);
    assert!(!plan.has_changes() && plan.parts().dependencies.len() == 2);
    assert_eq!(dependencies(&carry_out(&plan, &world))["value.b[0]"], ["value.a[0]"]);
}
