//! `check`, values that are written nowhere, what should not be used any more, and providers.

use lustre_model::journal::Resolve as _;

use crate::harness::{applied, carry_out, nothing, options, plan_and_told, planned, try_plan};

#[track_caller]
fn refused(text: &str, vars: &[(&str, &str)], expected: &[&str]) {
    let told = try_plan(text, vars, &nothing(), &options()).expect_err("refused");
    for line in expected {
        assert!(told.lines().any(|told| told.starts_with(line)), "expected `{line}` in:\n{told}");
    }
    assert_eq!(told.lines().count(), expected.len(), "{told}");
}

const CHECKED: &str = r#"
value "a" {
  input = 3
}
check "known" {
  assert {
    condition     = 1 > 2
    error_message = "One is not more than two."
  }
  assert {
    condition     = 2 > 1
    error_message = "Never."
  }
}
module "m" {
  source = "./m"
  n      = value.a.output
}
-- m/main.hcl --
variable "n" {}
check "later" {
  assert {
    condition     = var.n > 5
    error_message = "${var.n} is not enough."
  }
}
"#;

#[test]
fn checks_only_warn_when_planned_and_again_when_applied() {
    let (plan, told) = plan_and_told(CHECKED, &[], &nothing(), &options());
    assert_eq!(told, "7:21: W0601 check `known` does not hold | One is not more than two.\n");
    let plan = plan.expect("a plan");
    let world = carry_out(&plan, &nothing());
    let warnings = crate::harness::resolver(&plan).warnings(&world);
    let mut told: Vec<String> = warnings.iter().map(|it| format!("{}: {}", it.summary, it.detail)).collect();
    told.sort();
    assert_eq!(
        told,
        [
            "check `known` does not hold: One is not more than two.",
            "check `later` does not hold: 3 is not enough."
        ]
    );
    let (_, told) = plan_and_told(CHECKED, &[], &world, &options());
    assert!(told.contains("m/main.hcl:4:21: W0601 check `later` does not hold | 3 is not enough."), "{told}");
}

#[test]
fn checks_that_cannot_be_evaluated_warn_and_misshapen_ones_are_refused() {
    let (plan, told) = plan_and_told(
        "check \"c\" {\n  assert {\n    condition = tonumber(\"x\") > 1\n    error_message = \"m\"\n  }\n}\n",
        &[],
        &nothing(),
        &options(),
    );
    assert!(plan.is_some() && told.starts_with("3:"), "{told}");
    refused(
        "check \"c\" {}\ncheck \"c\" {}\ncheck \"d\" {\n  asert {}\n}\n",
        &[],
        &[
            "1:1: E0215 `check` without `assert`",
            "2:1: E0201 duplicate check `c`",
            "4:3: E0212 unknown block `asert` in `check` | Did you mean `assert`?",
        ],
    );
}

const EPHEMERAL: &str = r#"
variable "password" {
  ephemeral = true
  validation {
    condition     = length(var.password) > 3
    error_message = "Too short."
  }
}
locals {
  long = "${var.password}!"
}
value "a" {
  input = 1
  lifecycle {
    precondition {
      condition     = length(local.long) > 4
      error_message = "Too short."
    }
  }
}
module "m" {
  source = "./m"
  secret = local.long
}
check "c" {
  assert {
    condition     = length(module.m.secret) > 4
    error_message = "Too short."
  }
}
-- m/main.hcl --
variable "secret" {
  ephemeral = true
}
output "secret" {
  value     = var.secret
  ephemeral = true
}
"#;

#[test]
fn ephemeral_values_are_in_no_plan_and_no_state() {
    let plan = try_plan(EPHEMERAL, &[("password", "hunter22")], &nothing(), &options()).expect("a plan");
    let bytes = lustre_plan::file::encode(&plan).expect("encodes");
    assert!(!String::from_utf8_lossy(&bytes).contains("hunter22"));
    let world = carry_out(&plan, &nothing());
    assert_eq!(world.objects.len(), 1);
    refused(
        EPHEMERAL,
        &[("password", "abc")],
        &["5:21: E0601 the validation of `password` does not hold | Too short."],
    );
}

#[test]
fn ephemeral_values_do_not_flow_where_they_would_be_written() {
    let wrong = r#"
variable "p" {
  ephemeral = true
  default   = "x"
}
locals {
  a = local.b
  b = var.p
}
value "v" {
  input = [local.a]
}
module "m" {
  source = "./m"
  plain  = var.p
}
output "o" {
  value = module.m.out
}
output "e" {
  value     = var.p
  ephemeral = true
}
-- m/main.hcl --
variable "plain" {}
variable "own" {
  ephemeral = true
  default   = 1
}
output "out" {
  value     = var.own
  ephemeral = true
}
output "leak" {
  value = var.own
}
"#;
    refused(
        wrong,
        &[],
        &[
            "11:12: E0241 an ephemeral value in `value.v` | It would be written into plan and state.",
            "15:12: E0241 an ephemeral value in variable `plain` of `module.m`, which is not ephemeral",
            "18:11: E0241 an ephemeral value in output `o`",
            "22:3: E0242 output `e` of the root is ephemeral",
            "18:11: E0602 output `o` shows a sensitive value",
            "21:15: E0602 output `e` shows a sensitive value",
            "m/main.hcl:11:11: E0241 an ephemeral value in output `leak`",
        ],
    );
}

#[test]
fn what_is_deprecated_warns_where_it_is_used() {
    let text = r#"
variable "old" {
  default    = 1
  deprecated = "Use `new`."
}
module "m" {
  source = "./m"
  size   = 2
}
output "o" {
  value = module.m.sum
}
-- m/main.hcl --
variable "size" {
  default    = 1
  deprecated = "Use `sizes`."
}
output "sum" {
  value      = var.size
  deprecated = "Use `sums`."
}
"#;
    let (plan, told) = plan_and_told(text, &[("old", "2")], &nothing(), &options());
    assert!(plan.is_some());
    assert_eq!(
        told,
        "11:11: W0229 output `sum` of `module.m` is deprecated | Use `sums`.\n8:3: W0228 variable `size` of `module.m` is \
         deprecated | Use `sizes`.\nW0609 variable `old` is deprecated | Use `new`.\n"
    );
    let (_, told) = plan_and_told(&text.replace("  size   = 2\n", ""), &[], &nothing(), &options());
    assert_eq!(told.lines().count(), 1, "{told}");
    applied(text, &nothing());
    assert!(planned(text, &nothing()).has_changes());
}

#[test]
fn providers_that_there_are_not_are_refused_by_name() {
    refused(
        "provider \"aws\" {\n  region = \"eu-central-1\"\n}\nprovider \"google\" {}\n",
        &[],
        &["4:1: E0240 provider \"google\" is not supported | Kinds of resources are built in"],
    );
}
