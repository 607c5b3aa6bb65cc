//! Modules: addresses, values in and out, order, mistakes, and what many instances cost.

use lustre_model::plan::{ActionReason, Operation};
use lustre_model::value::Value;

use crate::harness::{
    actions, address, applied, carry_out, destroyed, nothing, options, planned, steps, try_plan,
};

const CELLS: &str = r#"
variable "names" {
  default = ["x", "y"]
}
value "root" {
  input = "r"
}
module "cell" {
  source   = "./modules/cell"
  for_each = toset(var.names)
  name     = each.key
  base     = value.root.output
}
module "one" {
  source = "./modules/cell"
  name   = "one"
  base   = module.cell["x"].last
}
value "after" {
  input      = [for name, cell in module.cell : cell.last]
  depends_on = [module.one]
}
output "lasts" {
  value = { for name, cell in module.cell : name => cell.last }
}
output "splat" {
  value = values(module.cell)[*].last
}
-- modules/cell/main.hcl --
variable "name" {
  type = string
  validation {
    condition     = length(var.name) < 5
    error_message = "A name has at most 4 letters, not ${var.name}."
  }
}
variable "base" {
  type    = string
  default = null
}
locals {
  full = "${var.base}-${var.name}"
}
value "first" {
  input = local.full
}
value "second" {
  input = "${value.first.output}!"
}
module "inner" {
  source = "../inner"
  count  = 2
  text   = "${value.second.output}${count.index}"
}
output "last" {
  value = join(",", module.inner[*].text)
}
-- modules/inner/main.hcl --
variable "text" {}
value "it" {
  input = var.text
}
output "text" {
  value = value.it.output
}
"#;

#[test]
fn modules_have_their_own_names_and_addresses() {
    let plan = planned(CELLS, &nothing());
    let order = steps(&plan);
    let place =
        |wanted: &str| order.iter().position(|step| step == &format!("create {wanted}")).expect(wanted);
    assert!(place("value.root") < place("module.cell[\"x\"].value.first"));
    assert!(place("module.cell[\"x\"].module.inner[1].value.it") < place("module.one.value.first"));
    assert!(place("module.one.module.inner[0].value.it") < place("value.after"));
    let world = applied(CELLS, &nothing());
    assert_eq!(world.objects.len(), 2 + 3 * 4);
    let inner = &world.objects[&address("module.cell[\"y\"].module.inner[1].value.it")];
    assert_eq!(inner.attributes["output"], Value::from("r-y!1"));
    let lasts = &world.outputs["lasts"].value;
    assert_eq!(lasts.get("y"), Some(&Value::from("r-y!0,r-y!1")));
    let one = &world.objects[&address("module.one.value.first")];
    assert_eq!(one.attributes["input"], Value::from("r-x!0,r-x!1-one"));
    // Only what it uses: the instance "x", not "y".
    assert!(one.dependencies.contains(&address("module.cell[\"x\"].module.inner[0].value.it")));
    assert!(!one.dependencies.contains(&address("module.cell[\"y\"].module.inner[0].value.it")));
    let second = &world.objects[&address("module.cell[\"x\"].value.second")];
    assert_eq!(
        second.dependencies.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["module.cell[\"x\"].value.first"]
    );
}

#[test]
fn instances_of_modules_come_and_go() {
    let world = applied(CELLS, &nothing());
    let fewer = CELLS.replace("[\"x\", \"y\"]", "[\"x\"]");
    let plan = planned(&fewer, &world);
    let deleted: Vec<String> = actions(&plan).into_iter().filter(|it| it.starts_with("delete")).collect();
    assert_eq!(deleted.len(), 4, "{deleted:?}");
    let world = carry_out(&plan, &world);
    assert!(!planned(&fewer, &world).has_changes());
    let plan = planned("", &world);
    let reasons = plan.changes().iter().map(|change| change.reason);
    assert_eq!(reasons.filter(|reason| *reason == Some(ActionReason::DeleteBecauseNoModule)).count(), 8);
    let plan = destroyed(&world);
    assert!(plan.steps().iter().all(|step| step.operation == Operation::Delete));
    assert!(carry_out(&plan, &world).objects.is_empty());
}

#[track_caller]
fn refused(text: &str, expected: &[&str]) {
    let told = try_plan(text, &[], &nothing(), &options()).expect_err("refused");
    for line in expected {
        assert!(told.lines().any(|told| told.starts_with(line)), "expected `{line}` in:\n{told}");
    }
    assert_eq!(told.lines().count(), expected.len(), "{told}");
}

#[test]
fn mistakes_of_all_modules_are_told_in_one_run_each_with_its_file() {
    refused(
        r#"
module "a" {
  source = "./a"
  sice   = 1
}
module "b" {
  source = "./b"
  size   = "many"
}
module "c" {
  source   = "./b"
  for_each = toset(["x"])
  size     = 1
}
module "gone" {
  source = "./gone"
}
module "registry" {
  source = "modules/a"
}
output "o" {
  value = [module.a.sum, module.c.summ, module.d.x, module.b["x"], module.c["y"].sum]
}
-- a/main.hcl --
variable "size" {}
output "sum" {
  value = var.sized
}
-- b/main.hcl --
variable "size" {
  type = number
  validation {
    condition     = var.size > 1
    error_message = "Too small."
  }
}
output "sum" {
  value = var.size + 1
}
"#,
        &[
            "a/main.hcl:3:11: E0304 undeclared variable `sized` | Did you mean `size`?",
            "4:3: E0222 `module.a` has no variable `sice` | Did you mean `size`?",
            "2:1: E0223 `module.a` needs a value for its variable `size`",
            "8:12: E0607 unsuitable value for variable `size`",
            "16:12: E0225 `module.gone` cannot be read: there is no folder gone",
            "19:12: E0225 \"modules/a\" is no source of a module | A folder beside this one is written with `./`",
            "22:26: E0311 `module.c` has several instances",
            "22:41: E0304 undeclared module `d`",
            "22:53: E0306 `module.b` has one instance only",
            "b/main.hcl:4:21: E0601 the validation of `size` does not hold | Too small.",
            "22:68: E0310 `module.c[\"y\"]` does not exist",
        ],
    );
}

#[test]
fn modules_that_call_each_other_without_end_are_told_with_the_calls() {
    refused(
        "module \"a\" {\n  source = \"./a\"\n}\n-- a/main.hcl --\nmodule \"b\" {\n  source = \"../b\"\n}\n\
         -- b/main.hcl --\nmodule \"c\" {\n  source = \"../a\"\n}\n",
        &[
            "b/main.hcl:2:12: E0226 modules call each other without end | From a, module.b → module.c leads to a again.",
        ],
    );
    refused(
        "module \"a\" {\n  source = \"./a\"\n}\n-- a/main.hcl --\nmodule \"b\" {\n  source = \"../\"\n}\n",
        &[
            "a/main.hcl:2:12: E0226 modules call each other without end | From ., module.a → module.b leads to . again.",
        ],
    );
}

#[test]
fn calls_that_double_on_each_level_are_refused() {
    let mut text = "module \"a\" {\n  source = \"./m0\"\n}\n".to_owned();
    for level in 0..20 {
        let next = level + 1;
        text += &format!("-- m{level}/main.hcl --\n");
        for call in ["a", "b"] {
            text += &format!("module \"{call}\" {{\n  source = \"../m{next}\"\n}}\n");
        }
    }
    text += "-- m20/main.hcl --\nvalue \"v\" {}\n";
    refused(&text, &["1:1: E0227 too many calls of modules"]);
}

#[test]
fn circles_through_modules_are_told_with_their_path() {
    refused(
        "module \"a\" {\n  source = \"./a\"\n  in = module.b.out\n}\nmodule \"b\" {\n  source = \"./a\"\n  in = module.a.out\n}\n\
         -- a/main.hcl --\nvariable \"in\" {}\noutput \"out\" {\n  value = var.in\n}\n",
        &["3:8: E0812 a circle of references: module.a.var.in → module.b.output.out → module.b.var.in → \
           module.a.output.out → module.a.var.in"],
    );
}

#[test]
fn a_module_may_depend_on_its_own_other_half() {
    // What flows in through one variable may come from an output that does not depend on it.
    let text = "module \"a\" {\n  source = \"./a\"\n  late = module.a2.early\n}\nmodule \"a2\" {\n  source = \"./a\"\n  \
                late = module.a.early\n}\n-- a/main.hcl --\nvariable \"late\" {}\nvalue \"early\" {\n  input = 1\n}\n\
                value \"late\" {\n  input = var.late\n}\noutput \"early\" {\n  value = value.early.output\n}\n";
    assert_eq!(applied(text, &nothing()).objects.len(), 4);
}

#[test]
fn depends_on_of_a_module_reaches_everything_in_it() {
    let text = "value \"first\" {}\nmodule \"m\" {\n  source = \"./m\"\n  depends_on = [value.first]\n}\nvalue \"last\" {\n  \
                depends_on = [module.m]\n}\n-- m/main.hcl --\nvalue \"a\" {}\nmodule \"inner\" {\n  source = \"./i\"\n}\n\
                -- m/i/main.hcl --\nvalue \"b\" {}\n";
    let plan = planned(text, &nothing());
    assert_eq!(steps(&plan).first().map(String::as_str), Some("create value.first"));
    assert_eq!(steps(&plan).last().map(String::as_str), Some("create value.last"));
    let inner = plan.steps().iter().find(|step| step.address == address("module.m.module.inner.value.b"));
    assert!(inner.expect("a step").dependencies.contains(&address("value.first")));
    applied(text, &nothing());
}

#[test]
fn sensitive_outputs_of_modules_stay_sensitive() {
    let text = |show: &str| {
        format!(
            "module \"m\" {{\n  source = \"./m\"\n}}\noutput \"o\" {{\n  value = module.m.secret\n{show}}}\n\
             -- m/main.hcl --\nvariable \"s\" {{\n  default = \"geheim\"\n}}\noutput \"secret\" {{\n  value = var.s\n  sensitive = true\n}}\n"
        )
    };
    refused(&text(""), &["5:11: E0602 output `o` shows a sensitive value"]);
    let world = applied(&text("  sensitive = true\n"), &nothing());
    assert!(world.outputs["o"].sensitive);
}

#[test]
fn paths_say_where_a_module_is() {
    let text = "module \"m\" {\n  source = \"./modules/m\"\n}\noutput \"o\" {\n  value = [path.module, path.root, module.m.p]\n}\n\
                -- modules/m/main.hcl --\noutput \"p\" {\n  value = \"${path.module}/x ${path.root}\"\n}\n";
    let world = applied(text, &nothing());
    let shown = world.outputs["o"].value.parts().map(|part| part.as_str().unwrap_or("").to_owned());
    assert_eq!(shown.collect::<Vec<_>>(), [".", ".", "modules/m/x ."]);
}

#[test]
fn a_thousand_instances_cost_twenty_times_fifty() {
    let text = |count: usize| {
        format!(
            "module \"m\" {{\n  source   = \"./m\"\n  for_each = toset([for i in range({count}) : \"k${{i}}\"])\n  name     = each.key\n}}\n\
             value \"all\" {{\n  input = [for m in module.m : m.out]\n}}\n-- m/main.hcl --\nvariable \"name\" {{}}\nlocals {{\n  a = var.name\n  \
             b = local.a\n}}\nvalue \"x\" {{\n  input = local.b\n}}\nvalue \"y\" {{\n  input = value.x.output\n}}\noutput \"out\" {{\n  value = value.y.output\n}}\n"
        )
    };
    let measure = |count: usize| {
        let begun = std::time::Instant::now();
        let plan = planned(&text(count), &nothing());
        assert_eq!(plan.steps().len(), 2 * count + 1);
        let world = carry_out(&plan, &nothing());
        assert_eq!(world.objects.len(), 2 * count + 1);
        begun.elapsed()
    };
    // The best of some: others work on the machine too.
    let best = |count: usize| (0..3).map(|_| measure(count)).min().unwrap_or_default();
    let (small, large) = (best(50), best(1000));
    // Twenty times as much; a hundred leaves room for logarithms and a busy machine, and none for squares, which are 400.
    assert!(large < small * 100, "50 instances: {small:?}, 1000 instances: {large:?}");
}
