//! What a user is told, in full: one mistake a line, as text.

use lustre_language::{EmptyWorld, Graph, ModuleInstance, Program, Scope};
use lustre_model::diagnostic::Diagnostic;
use lustre_model::value::Value;

/// Loads and evaluates; writes every diagnostic.
fn told(text: &str) -> String {
    let (program, mut found) =
        Program::load([("main.hcl".to_owned(), text.to_owned())], &["host", "cluster", "mount"]);
    let mut scope = Scope::new(&program, &EmptyWorld, &[]);
    let mut resources: Vec<_> = program.resources().collect();
    let graph = Graph::new(&program);
    let needs = |resource: &&lustre_language::Resource| {
        let own = |node: &usize| graph.label(*node) == resource.address().to_string();
        (0..graph.nodes().len()).find(own).map_or(0, |node| graph.edges(node).len())
    };
    resources.sort_by_key(needs);
    for resource in resources {
        for instance in scope.expand(ModuleInstance::ROOT, resource) {
            let evaluated = scope.evaluate(resource, &instance);
            let attributes =
                evaluated.body.attributes.into_iter().map(|(name, it)| (name, it.value)).collect();
            if evaluated.complete {
                scope.set(&instance.address, Value::resource_object(instance.address.clone(), attributes));
                scope.postconditions_hold(resource, &instance);
            }
        }
    }
    for output in program.outputs() {
        scope.output(output);
    }
    found.extend(scope.take_diagnostics());
    found.sort();
    let lines: Vec<String> = found.iter().map(|it| write(it, &program)).collect();
    lines.join("\n")
}

fn write(it: &Diagnostic, program: &Program) -> String {
    let mut lines = Vec::new();
    let place = it.span.and_then(|span| {
        let (start, _) = program.sources().positions(span)?;
        Some(format!("{}:{} `{}` ", start.line, start.column, program.sources().text(span)))
    });
    lines.push(format!("{} {}{}", it.code, place.unwrap_or_default(), it.summary));
    lines.extend((!it.detail.is_empty()).then(|| format!("  {}", it.detail)));
    lines.extend(it.hint.iter().map(|hint| format!("  hint: {hint}")));
    lines.extend(it.instance.iter().map(|address| format!("  in {address}")));
    lines.extend(it.values.iter().map(|value| format!("  {} {}", value.traversal, value.statement)));
    lines.extend(it.related.iter().map(|related| {
        let line = program.sources().positions(related.span).map_or(0, |(start, _)| start.line);
        format!("  line {line}: {}", related.label)
    }));
    lines.join("\n")
}

#[test]
fn unknown_names_are_told_with_what_was_meant() {
    insta::assert_snapshot!(told(
        r#"
hots "a" {}
resource "host" "b" {}
host "a" {
  address = var.adress
  name    = loca.x
  upper   = uper("a")
  other   = host.b.address
  self    = host.a.address
  each    = each.key
  path    = path.modul
  bare    = hello
}
variable "address" {
  defualt = "x"
  type    = strng
}
locals { x = 1 }
local { y = 2 }
"#
    ));
}

#[test]
fn several_syntax_errors_are_told_in_one_run() {
    insta::assert_snapshot!(told(
        r#"
host "a" {
  address = 'x'
}

host "b" {
  address = "x
}

host "good" {
  address = 1 / 0
}

host "c" {
  list = [1, 2
}
"#
    ));
}

#[test]
fn errors_show_the_values_of_references_but_no_secrets() {
    insta::assert_snapshot!(told(
        r#"
variable "secret" {
  default   = "abc"
  sensitive = true
}
locals {
  sizes = { a = 1, b = "x" }
  zero  = 0
}
host "a" {
  for_each = local.sizes
  size     = each.value * 2 / local.zero
  other    = var.secret + 1
}
host "b" {
  for_each = toset(["x"])
  who      = host.a["c"].size
  list     = host.a["a"].nothing
}
"#
    ));
}

#[test]
fn what_depends_on_a_mistake_is_silent_and_the_rest_is_not() {
    insta::assert_snapshot!(told(
        r#"
host "broken" {
  address = upper(null)
}
mount "dependent" {
  host = host.broken.address
  path = [][0]
}
host "many" {
  for_each = { for key in host.broken : key => key }
}
output "also" {
  value = host.many["x"].id
}
"#
    ));
}

#[test]
fn cycles_of_locals_are_told_with_their_path() {
    insta::assert_snapshot!(told(
        r#"
locals {
  a = local.b + 1
  b = [local.c]
  c = { x = local.a }
  d = local.a
  own = local.own
}
output "d" { value = local.d }
"#
    ));
}

#[test]
fn repetition_must_be_known_and_of_the_right_kind() {
    insta::assert_snapshot!(told(
        r#"
host "unset" {}
host "list" { for_each = ["a"] }
host "null" { for_each = null }
host "secret" { for_each = sensitive({ a = 1 }) }
host "negative" { count = -1 }
host "half" { count = 0.5 }
host "both" {
  count    = 1
  for_each = {}
}
host "many" { count = 1e9 }
host "single" {
  a = host.unset["k"]
  b = count.index
}
"#
    ));
}

#[test]
fn blocks_and_arguments_are_checked() {
    insta::assert_snapshot!(told(
        r#"
size = 1
lustre {
  version = "1"
  state {}
  backend "s3" {}
}
variable {}
variable "a b" {}
variable "required" {}
variable "twice" { default = 1 }
variable "twice" { default = 2 }
variable "typed" {
  type    = list(number)
  default = ["x"]
}
variable "bare" { type = list }
variable "computed" { default = upper(local.x) }
output "none" {}
output "secret" { value = sensitive(1) }
host "a" {
  lifecycle {
    prevent_destory = true
    ignore_changes  = [address, "size", a.b]
    condition {}
  }
  depends_on = [var.twice]
  dynamic "x" {}
}
"#
    ));
}

#[test]
fn conditions_that_do_not_hold_are_told_in_the_users_words() {
    insta::assert_snapshot!(told(
        r#"
variable "size" {
  default = 3
  validation {
    condition     = var.size > 10
    error_message = "Size ${var.size} is too small."
  }
}
host "a" {
  for_each = { x = 1, y = 2 }
  size     = each.value
  lifecycle {
    precondition {
      condition     = each.value < 2
      error_message = "Value of ${each.key} is ${each.value}."
    }
    postcondition {
      condition     = each.value > 1
      error_message = "After all it is ${each.value}."
    }
  }
}
output "uses" { value = var.size }
"#
    ));
}
