//! Programs from text to evaluated resources, as the planner drives them.

use std::collections::BTreeMap;

use lustre_language::{
    EmptyWorld, Given, Graph, GraphBlock, Input, ModuleInstance, Origin, Program, Reach, Resource, Scope,
};
use lustre_model::diagnostic::{Diagnostics, Sources};
use lustre_model::value::Value;

const KINDS: [&str; 4] = ["host", "cluster", "mount", "value"];

/// What a run yields.
struct Ran {
    /// Values of attributes as lossless JSON, by `address.attribute`; blocks as `address.block.attribute`.
    values: BTreeMap<String, String>,
    /// Outputs as lossless JSON.
    outputs: BTreeMap<String, String>,
    /// What was found, one a line.
    found: String,
}

/// Evaluates all resources in the order that their references ask for; attributes become what references see.
fn run(text: &str, inputs: &[(&str, &str)]) -> Ran {
    let (program, mut diagnostics) = Program::load([("main.hcl".to_owned(), text.to_owned())], &KINDS);
    let inputs: Vec<Input> = inputs
        .iter()
        .map(|(name, text)| Input {
            name: (*name).to_owned(),
            given: Given::Text((*text).to_owned()),
            origin: Origin::CommandLine,
        })
        .collect();
    let mut scope = Scope::new(&program, &EmptyWorld, &inputs);
    let mut values = BTreeMap::new();
    for (module, resource) in ordered(&program, &mut scope, |_, _| {}) {
        for instance in scope.expand(module, resource) {
            let evaluated = scope.evaluate(resource, &instance);
            let mut attributes =
                BTreeMap::from([("id".to_owned(), Value::unknown(lustre_model::types::Type::String))]);
            for (name, attribute) in &evaluated.body.attributes {
                values.insert(
                    format!("{}.{name}", instance.address),
                    attribute.value.to_lossless().to_string(),
                );
                attributes.insert(name.clone(), attribute.value.clone());
            }
            for (at, block) in evaluated.body.blocks.iter().enumerate() {
                for (name, attribute) in &block.body.attributes {
                    let key = format!("{}.{}{at}.{name}", instance.address, block.kind);
                    values.insert(key, attribute.value.to_lossless().to_string());
                }
            }
            if evaluated.complete {
                scope.set(&instance.address, Value::resource_object(instance.address.clone(), attributes));
            }
        }
    }
    let outputs = program
        .outputs()
        .filter_map(|output| Some((output.name.clone(), scope.output(output)?.to_lossless().to_string())))
        .collect();
    diagnostics.extend(scope.take_diagnostics());
    diagnostics.sort();
    Ran { values, outputs, found: render(&diagnostics, program.sources()) }
}

/// Goes through the graph in the order of evaluation; returns the resources of all instances of modules, and tells of each
/// what stands behind it.
fn ordered<'a>(
    program: &'a Program,
    scope: &mut Scope<'a>,
    mut tell: impl FnMut(String, Vec<String>),
) -> Vec<(ModuleInstance, &'a Resource)> {
    let graph = Graph::new(program);
    let (mut order, mut seen) = (Vec::new(), vec![false; graph.nodes().len()]);
    fn visit(graph: &Graph<'_>, node: usize, seen: &mut [bool], order: &mut Vec<usize>) {
        if !std::mem::replace(&mut seen[node], true) {
            graph.edges(node).iter().for_each(|edge| visit(graph, edge.to, seen, order));
            order.push(node);
        }
    }
    (0..graph.nodes().len()).for_each(|node| visit(&graph, node, &mut seen, &mut order));
    let (mut instances, mut reach) = (vec![Vec::new(); graph.places()], Reach::default());
    instances[0].push(ModuleInstance::ROOT);
    let mut found = Vec::new();
    for node in order {
        let at = graph.nodes()[node];
        for module in instances[at.place].clone() {
            let behind = reach.of(&graph, scope, (node, module));
            match at.block {
                GraphBlock::Resource(resource) => {
                    let address = resource.address().with_modules(scope.path(module));
                    tell(address.to_string(), behind.iter().map(ToString::to_string).collect());
                    found.push((module, resource));
                }
                GraphBlock::Call(call) => {
                    let place = graph.callee(at.place, call);
                    let more = scope.callees(module, &call.name, None);
                    place.into_iter().for_each(|place| instances[place].extend(more.clone()));
                }
                GraphBlock::Inputs => scope.validate(module),
                GraphBlock::Output(name) if at.place > 0 => scope.check_output(module, name),
                GraphBlock::Check(check) => scope.check(module, check),
                GraphBlock::Output(_)
                | GraphBlock::Variable(_)
                | GraphBlock::Local(_)
                | GraphBlock::Whole => {}
            }
        }
    }
    found
}

/// Writes diagnostics as text, everything in them.
fn render(diagnostics: &Diagnostics, sources: &Sources) -> String {
    let mut lines = Vec::new();
    for it in diagnostics {
        let place = it.span.and_then(|span| sources.positions(span));
        let place =
            place.map(|(start, end)| format!("{}:{}-{}:{}", start.line, start.column, end.line, end.column));
        lines.push(format!("{} {} {}", it.code, place.unwrap_or_default(), it.summary));
        lines.extend((!it.detail.is_empty()).then(|| format!("  {}", it.detail)));
        lines.extend(it.hint.iter().map(|hint| format!("  hint: {hint}")));
        lines.extend(it.instance.iter().map(|address| format!("  in {address}")));
        lines.extend(it.values.iter().map(|value| format!("  {} {}", value.traversal, value.statement)));
        lines.extend(it.related.iter().map(|related| {
            let line = sources.positions(related.span).map_or(0, |(start, _)| start.line);
            format!("  line {line}: {}", related.label)
        }));
    }
    lines.join("\n")
}

fn clean(text: &str) -> Ran {
    let ran = run(text, &[]);
    assert_eq!(ran.found, "");
    ran
}

#[test]
fn the_spec_of_the_manual_evaluates() {
    let ran = run(
        r#"
        lustre {
          required_version = ">= 0.1"
          state "local" {
            path = "lustre.state"
          }
        }
        variable "addresses" {
          type = map(string)
        }
        locals {
          name = "scratch"
        }
        host "oss" {
          for_each = var.addresses
          address  = each.value
          label    = "${local.name}-${each.key}"
        }
        cluster "scratch" {
          name = local.name
          metadata {
            host = host.oss["a"].address
          }
          storage {
            hosts            = [for key, host in host.oss : "${key}=${host.address}"]
            targets_per_host = 1 + 1
          }
          dynamic "component" {
            for_each = [1, -1]
            content {
              stripe_count = component.value
            }
          }
        }
        mount "login" {
          count   = 2
          cluster = cluster.scratch.id
          path    = "/mnt/${count.index}"
        }
        output "paths" {
          value = mount.login[*].path
        }
        "#,
        &[("addresses", r#"{ a = "10.0.0.1", b = "10.0.0.2" }"#)],
    );
    assert_eq!(ran.found, "");
    let found: Vec<String> = ran.values.iter().map(|(key, value)| format!("{key} = {value}")).collect();
    insta::assert_snapshot!(found.join("\n"));
    assert_eq!(ran.outputs["paths"], "[\"/mnt/0\",\"/mnt/1\"]");
}

#[test]
fn the_block_state_is_evaluated() {
    let text = "lustre {\n state \"local\" {\n path = \"${path.root}/x\"\n }\n}".to_owned();
    let (program, _) = Program::load([("a.hcl".to_owned(), text)], &KINDS);
    let scope = Scope::new(&program, &EmptyWorld, &[]);
    let block = scope.state_backend().unwrap();
    assert_eq!(
        (block.labels[0].text.as_str(), block.body.attributes["path"].value.as_str()),
        ("local", Some("./x"))
    );
}

#[test]
fn references_name_the_instance_where_the_key_is_written_out() {
    let text = r#"
        host "a" { for_each = { x = 1 } }
        host "b" {}
        locals { all = host.b }
        cluster "c" {
          one        = host.a["x"]
          through    = local.all
          depends_on = [mount.m]
        }
        mount "m" { who = host.a[var.k].z }
        variable "k" { default = "x" }
    "#;
    let (program, diagnostics) = Program::load([("a.hcl".to_owned(), text.to_owned())], &KINDS);
    assert!(diagnostics.is_empty(), "{diagnostics:?}");
    let mut behind = BTreeMap::new();
    let mut scope = Scope::new(&program, &EmptyWorld, &[]);
    ordered(&program, &mut scope, |address, all| drop(behind.insert(address, all)));
    assert_eq!(behind["cluster.c"], ["host.a[\"x\"]", "host.b", "mount.m"]);
    assert_eq!(behind["mount.m"], ["host.a"]);
}

#[test]
fn a_reference_to_a_resource_says_which_it_is() {
    let ran = clean("host \"a\" { address = \"x\" }\nmount \"m\" { host = host.a }");
    assert_eq!(
        ran.values["mount.m.host"],
        r#"{"$resource":["host.a",{"address":"x","id":{"$unknown":"string"}}]}"#
    );
}
