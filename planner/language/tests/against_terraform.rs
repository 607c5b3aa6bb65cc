//! Expressions of real modules, evaluated here and by Terraform, and compared: values, types, and what is refused.
//!
//! With `REPOSITORIES` set to a folder of repositories of modules, each folder in it that holds `*.tf` becomes one module of
//! those variables, locals and outputs that need no resource, no data and no file. The same text is given to both. `terraform`
//! is taken from the path, or from `TERRAFORM`. Variables without a default get a value of their type.
//! Where the two may differ is listed in [`KNOWN`], with the reason.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use hcl_edit::Span as _;
use hcl_edit::expr::{Expression, ForExpr, FuncCall, Traversal, TraversalOperator};
use hcl_edit::template::ForDirective;
use hcl_edit::visit::{self, Visit};
use lustre_language::{EmptyWorld, Program, Scope};
use lustre_model::types::Type;
use lustre_model::value::Value;
use serde_json::{Value as Json, json};

/// Functions whose results depend on more than their arguments.
const NOT_PURE: [&str; 19] = [
    "abspath",
    "bcrypt",
    "file",
    "filebase64",
    "filebase64sha256",
    "filebase64sha512",
    "fileexists",
    "filemd5",
    "fileset",
    "filesha1",
    "filesha256",
    "filesha512",
    "pathexpand",
    "plantimestamp",
    "templatefile",
    "templatestring",
    "timestamp",
    "uuid",
    "ephemeralasnull",
];

/// Most times that Terraform is asked about one module, each time without what it refused before.
const ROUNDS_MAX: usize = 12;

/// Differences that are meant: a part of what is told of them, another, and the reason.
const KNOWN: [(&str, &str, &str); 7] = [
    ("only refused by Terraform", "||", "operators decide with what they know since Terraform 1.12"),
    ("only refused by Terraform", "&&", "operators decide with what they know since Terraform 1.12"),
    ("the type is here [\"map\",[\"object\"", "coalesce(", "a type that is known is not given up for `any`"),
    // Terraform knows of a branch that fails at least what a conditional in it would have been.
    ("the type is here [\"tuple\",[]], there [\"list\",\"dynamic\"]", "", "the other branch fails"),
    ("the type is here [\"object\",{}], there [\"map\"", "", "the other branch fails"),
    ("here [0,0], there [\"0\",\"0\"]", "accelerator_core_list", "the other branch, a call, fails"),
    ("the type is here [\"map\",\"dynamic\"], there [\"map\"", "", "the other branch fails"),
];

/// What one block is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Sort {
    Variable,
    Local,
    Output,
}

/// A block of the module that is made.
#[derive(Debug, Clone)]
struct Item {
    sort: Sort,
    name: String,
    text: String,
    needs: BTreeSet<(Sort, String)>,
}

/// What an expression mentions.
#[derive(Default)]
struct Mentions {
    roots: BTreeSet<(String, Option<String>)>,
    bound: BTreeSet<String>,
    calls: BTreeSet<String>,
}

impl Visit for Mentions {
    fn visit_expr(&mut self, node: &Expression) {
        if let Expression::Variable(name) = node {
            self.roots.insert((name.as_str().to_owned(), None));
        }
        visit::visit_expr(self, node);
    }

    fn visit_traversal(&mut self, node: &Traversal) {
        let Expression::Variable(root) = &node.expr else { return visit::visit_traversal(self, node) };
        let first = node.operators.first().map(|operator| operator.value());
        let name = match first {
            Some(TraversalOperator::GetAttr(name)) => Some(name.as_str().to_owned()),
            Some(_) | None => None,
        };
        self.roots.insert((root.as_str().to_owned(), name));
        node.operators.iter().for_each(|operator| self.visit_traversal_operator(operator.value()));
    }

    fn visit_func_call(&mut self, node: &FuncCall) {
        let namespace = if node.name.is_namespaced() { "::" } else { "" };
        self.calls.insert(format!("{namespace}{}", node.name.name.as_str()));
        visit::visit_func_call(self, node);
    }

    fn visit_for_expr(&mut self, node: &ForExpr) {
        self.bound.extend(node.intro.key_var.iter().map(|name| name.as_str().to_owned()));
        self.bound.insert(node.intro.value_var.as_str().to_owned());
        visit::visit_for_expr(self, node);
    }

    fn visit_for_directive(&mut self, node: &ForDirective) {
        self.bound.extend(node.for_expr.key_var.iter().map(|name| name.as_str().to_owned()));
        self.bound.insert(node.for_expr.value_var.as_str().to_owned());
        visit::visit_for_directive(self, node);
    }
}

/// Returns what an expression needs; none when it needs more than variables and locals.
fn needs(expression: &Expression) -> Option<BTreeSet<(Sort, String)>> {
    let mut mentions = Mentions::default();
    mentions.visit_expr(expression);
    if mentions.calls.iter().any(|name| name.contains("::") || NOT_PURE.contains(&name.as_str())) {
        return None;
    }
    let free = mentions.roots.iter().filter(|(root, _)| !mentions.bound.contains(root));
    free.map(|(root, name)| match (root.as_str(), name) {
        ("var", Some(name)) => Some((Sort::Variable, name.clone())),
        ("local", Some(name)) => Some((Sort::Local, name.clone())),
        _ => None,
    })
    .collect()
}

/// A value of a type, for a variable that must be given; none for types that need thought.
fn example(kind: Option<&str>) -> Option<&'static str> {
    let kind = kind.unwrap_or("any").trim().trim_matches('"');
    let simple = [("string", "\"example\""), ("any", "\"example\""), ("number", "3"), ("bool", "true")];
    let nested = [("list", "[]"), ("set", "[]"), ("map", "{}")];
    let simple = simple.iter().find(|(name, _)| *name == kind);
    let found = simple.or_else(|| nested.iter().find(|(name, _)| kind.starts_with(name)));
    found.map(|(_, value)| *value)
}

fn variable(name: &str, block: &hcl_edit::structure::Body, text: &str) -> Option<Item> {
    let written = |name: &str| {
        let attribute = block.get_attribute(name)?;
        Some(text[attribute.value.span()?].to_owned())
    };
    let kind = written("type");
    let default = written("default").or_else(|| example(kind.as_deref()).map(str::to_owned))?;
    let mut made = format!("variable \"{name}\" {{\n");
    for (argument, value) in [("type", kind), ("default", Some(default)), ("nullable", written("nullable"))] {
        if let Some(value) = value {
            writeln!(made, "  {argument} = {value}").ok()?;
        }
    }
    made.push_str("}\n");
    Some(Item { sort: Sort::Variable, name: name.to_owned(), text: made, needs: BTreeSet::new() })
}

/// Takes from the files of a folder what can be evaluated alone; also returns how many files do not parse.
fn items(folder: &Path) -> (Vec<Item>, Vec<String>) {
    let mut items: Vec<Item> = Vec::new();
    let mut number = 0;
    let mut unread = Vec::new();
    let mut paths: Vec<PathBuf> =
        fs_err::read_dir(folder).expect("a folder").flatten().map(|it| it.path()).collect();
    paths.sort();
    for path in paths.iter().filter(|path| path.extension().is_some_and(|end| end == "tf")) {
        let Ok(text) = fs_err::read_to_string(path) else { continue };
        let body = match hcl_edit::parser::parse_body(&text) {
            Ok(body) => body,
            Err(error) => {
                unread.push(format!("{}: {error}", path.display()));
                continue;
            }
        };
        for block in body.blocks() {
            let label = block.labels.first().map(|label| label.as_str());
            match (block.ident.as_str(), label) {
                ("variable", Some(name)) => items.extend(variable(name, &block.body, &text)),
                ("locals", _) => {
                    for attribute in block.body.attributes() {
                        let (Some(needs), Some(span)) = (needs(&attribute.value), attribute.value.span())
                        else {
                            continue;
                        };
                        let name = attribute.key.as_str().to_owned();
                        let made = format!("locals {{\n  {name} = {}\n}}\n", &text[span]);
                        items.push(Item { sort: Sort::Local, name, text: made, needs });
                    }
                }
                ("output", Some(name)) => {
                    let Some(value) = block.body.get_attribute("value") else { continue };
                    let (Some(needs), Some(span)) = (needs(&value.value), value.value.span()) else {
                        continue;
                    };
                    items.push(output(&format!("o_{name}"), &text[span], needs));
                }
                ("terraform" | "provider", _) => {}
                _ => items.extend(arguments(&block.body, &text, &mut number)),
            }
            if block.ident.as_str() == "variable" {
                let validations = block.body.blocks().filter(|inner| inner.ident.as_str() == "validation");
                items.extend(
                    validations
                        .flat_map(|inner| arguments(&inner.body, &text, &mut number))
                        .collect::<Vec<_>>(),
                );
            }
        }
    }
    let shown = |item: &Item| {
        let (root, sign) = match item.sort {
            Sort::Variable => ("var", "v"),
            Sort::Local => ("local", "l"),
            Sort::Output => return None,
        };
        let (name, needs) = (&item.name, BTreeSet::from([(item.sort, item.name.clone())]));
        Some(output(&format!("{sign}_{name}"), &format!("{root}.{name}"), needs))
    };
    let shown: Vec<Item> = items.iter().filter_map(shown).collect();
    items.extend(shown);
    let mut seen = BTreeSet::new();
    items.retain(|item| seen.insert((item.sort, item.name.clone())));
    (closed(items), unread)
}

/// Takes the arguments of a block and of those in it.
fn arguments(body: &hcl_edit::structure::Body, text: &str, number: &mut usize) -> Vec<Item> {
    let mut items = Vec::new();
    for attribute in body.attributes() {
        let (Some(needs), Some(span)) = (needs(&attribute.value), attribute.value.span()) else { continue };
        // What is written out needs no evaluation to speak of.
        if !needs.is_empty() {
            *number += 1;
            items.push(output(&format!("a_{number}"), &text[span], needs));
        }
    }
    for block in body.blocks() {
        items.extend(arguments(&block.body, text, number));
    }
    items
}

fn output(name: &str, value: &str, needs: BTreeSet<(Sort, String)>) -> Item {
    let text = format!("output \"{name}\" {{\n  sensitive = true\n  value = {value}\n}}\n");
    Item { sort: Sort::Output, name: name.to_owned(), text, needs }
}

/// Keeps what has all that it needs.
fn closed(mut items: Vec<Item>) -> Vec<Item> {
    loop {
        let there: BTreeSet<(Sort, String)> =
            items.iter().map(|item| (item.sort, item.name.clone())).collect();
        let before = items.len();
        items.retain(|item| item.needs.is_subset(&there));
        if items.len() == before {
            return items;
        }
    }
}

/// The text of a module, and which item each of its lines is of.
fn module(items: &[Item]) -> (String, Vec<usize>) {
    let mut text = String::new();
    let mut lines = vec![0];
    for (place, item) in items.iter().enumerate() {
        text.push_str(&item.text);
        lines.extend(std::iter::repeat_n(place, item.text.matches('\n').count()));
    }
    (text, lines)
}

/// What one of the two makes of a module.
#[derive(Debug, Default)]
struct Result {
    /// Values and types of outputs.
    values: BTreeMap<String, (Json, Json)>,
    /// What is refused, and why.
    refused: BTreeMap<(Sort, String), String>,
    /// What could be evaluated.
    accepted: BTreeSet<(Sort, String)>,
}

fn ours(items: &[Item]) -> Result {
    let (text, lines) = module(items);
    let (program, mut found) = Program::load([("main.hcl".to_owned(), text)], &[]);
    let scope = Scope::new(&program, &EmptyWorld, &[]);
    let mut result = Result::default();
    for output in program.outputs() {
        if let Some(value) = scope.output(output) {
            let kind = kind(&value);
            result.values.insert(
                output.name.clone(),
                (value.unmarked().to_plain().unwrap_or(json!("(unknown)")), kind),
            );
        }
    }
    found.extend(scope.take_diagnostics());
    for one in found.iter().filter(|it| it.severity == lustre_model::diagnostic::Severity::Error) {
        let line =
            one.span.and_then(|span| program.sources().positions(span)).map_or(0, |(start, _)| start.line);
        let item = &items[lines.get(line as usize).copied().unwrap_or(0)];
        let why = format!("{} {} {}", one.code, one.summary, one.detail);
        result.refused.insert((item.sort, item.name.clone()), why);
    }
    result
}

fn terraforms(items: &[Item]) -> Result {
    let mut result = Result::default();
    let mut items = items.to_vec();
    for _ in 0..ROUNDS_MAX {
        let folder = tempfile::tempdir().expect("a folder");
        let (text, lines) = module(&items);
        fs_err::write(folder.path().join("main.tf"), text).expect("a file");
        let binary = std::env::var_os("TERRAFORM").unwrap_or("terraform".into());
        let mut command = Command::new(binary);
        command.args(["apply", "-json", "-auto-approve", "-input=false", "-lock=false"]);
        command.env("CHECKPOINT_DISABLE", "1").current_dir(folder.path());
        let said = command.output().expect("terraform runs: install it, or say where it is in TERRAFORM");
        let events = String::from_utf8_lossy(&said.stdout).into_owned();
        let events: Vec<Json> = events.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let mut wrong = BTreeMap::new();
        for event in &events {
            let told = &event["diagnostic"];
            if told["severity"] != "error" {
                continue;
            }
            let line = told["range"]["start"]["line"].as_u64().unwrap_or(0);
            let place = lines.get(usize::try_from(line).unwrap_or(0)).copied().unwrap_or(0);
            let why = format!("{} {}", told["summary"], told["detail"]);
            wrong.insert((items[place].sort, items[place].name.clone()), why);
        }
        if wrong.is_empty() {
            assert!(said.status.success(), "terraform fails: {}", String::from_utf8_lossy(&said.stdout));
            let state =
                fs_err::read_to_string(folder.path().join("terraform.tfstate")).unwrap_or("{}".to_owned());
            let state: Json = serde_json::from_str(&state).expect("a state is JSON");
            for item in items.iter().filter(|item| item.sort == Sort::Output) {
                let found = &state["outputs"][&item.name];
                result.values.insert(item.name.clone(), (found["value"].clone(), found["type"].clone()));
            }
            result.accepted = items.into_iter().map(|item| (item.sort, item.name)).collect();
            return result;
        }
        items.retain(|item| !wrong.contains_key(&(item.sort, item.name.clone())));
        items = closed(items);
        result.refused.extend(wrong);
    }
    result
}

/// A type as Terraform writes it.
fn kind(value: &Value) -> Json {
    if value.is_null() {
        // A state keeps no type of an output that is null.
        return Json::Null;
    }
    written(&value.type_of())
}

fn written(kind: &Type) -> Json {
    match kind {
        Type::Any => json!("dynamic"),
        Type::Bool => json!("bool"),
        Type::Number => json!("number"),
        Type::String => json!("string"),
        Type::List(element) => json!(["list", written(element)]),
        Type::Set(element) => json!(["set", written(element)]),
        Type::Map(element) => json!(["map", written(element)]),
        Type::Tuple(elements) => json!(["tuple", elements.iter().map(written).collect::<Vec<_>>()]),
        Type::Object(attributes) => {
            let each = attributes.iter().map(|(name, it)| (name.clone(), written(&it.kind)));
            json!(["object", each.collect::<BTreeMap<_, _>>()])
        }
    }
}

/// Compares JSON; numbers as numbers, however they are written.
fn same(left: &Json, right: &Json) -> bool {
    match (left, right) {
        (Json::Number(left), Json::Number(right)) => {
            let (left, right) = (left.as_f64().unwrap_or(0.0), right.as_f64().unwrap_or(1.0));
            (left - right).abs() <= left.abs() * 1e-12
        }
        (Json::Array(left), Json::Array(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(left, right)| same(left, right))
        }
        (Json::Object(left), Json::Object(right)) => {
            left.len() == right.len()
                && left.iter().all(|(name, value)| right.get(name).is_some_and(|other| same(value, other)))
        }
        (left, right) => left == right,
    }
}

/// What a comparison came to.
#[derive(Debug, Default)]
struct Count {
    modules: usize,
    unread: Vec<String>,
    expressions: usize,
    refused_by_both: usize,
    differences: Vec<String>,
}

fn compare(name: &str, items: &[Item], count: &mut Count) {
    if !items.iter().any(|item| item.sort == Sort::Output) {
        return;
    }
    count.modules += 1;
    let (ours, theirs) = (ours(items), terraforms(items));
    let text = |key: &(Sort, String)| {
        let item = items.iter().find(|item| (item.sort, &item.name) == (key.0, &key.1));
        item.map_or("", |item| &item.text)
    };
    for (key, why) in &ours.refused {
        match theirs.refused.get(key) {
            Some(_) => count.refused_by_both += 1,
            // What depends on something that Terraform refused is not evaluated there.
            None if !theirs.accepted.contains(key) => {}
            None => count.differences.push(format!("{name}: only refused here: {why}\n{}", text(key))),
        }
    }
    for (key, why) in theirs.refused.iter().filter(|(key, _)| !ours.refused.contains_key(*key)) {
        count.differences.push(format!("{name}: only refused by Terraform: {why}\n{}", text(key)));
    }
    for (output, (value, kind)) in &theirs.values {
        let Some((own, own_kind)) = ours.values.get(output) else { continue };
        count.expressions += 1;
        if !same(own, value) {
            let text = text(&(Sort::Output, output.clone()));
            count.differences.push(format!("{name}: {output}: here {own}, there {value}\n{text}"));
        } else if own_kind != kind {
            let text = text(&(Sort::Output, output.clone()));
            count
                .differences
                .push(format!("{name}: {output}: the type is here {own_kind}, there {kind}\n{text}"));
        }
    }
}

/// All folders that hold files of Terraform.
fn folders(root: &Path) -> Vec<PathBuf> {
    let (mut waiting, mut found) = (vec![root.to_owned()], Vec::new());
    while let Some(folder) = waiting.pop() {
        let mut holds = false;
        for entry in fs_err::read_dir(&folder).expect("a folder can be read").flatten() {
            let path = entry.path();
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                waiting.push(path);
            } else {
                holds |= path.extension().is_some_and(|end| end == "tf");
            }
        }
        if holds {
            found.push(folder);
        }
    }
    found.sort();
    found
}

#[test]
fn expressions_of_real_modules_come_out_as_terraform_has_them_where_repositories_are_given() {
    let Some(root) = std::env::var_os("REPOSITORIES") else { return };
    let mut count = Count::default();
    for folder in folders(Path::new(&root)) {
        let (items, unread) = items(&folder);
        count.unread.extend(unread);
        let name = folder.strip_prefix(&root).unwrap_or(&folder).display().to_string();
        compare(&name, &items, &mut count);
    }
    count
        .differences
        .retain(|told| !KNOWN.iter().any(|(one, other, _)| told.contains(one) && told.contains(other)));
    println!(
        "{} modules, {} expressions, {} refused by both, {} files that do not parse, {} differences",
        count.modules,
        count.expressions,
        count.refused_by_both,
        count.unread.len(),
        count.differences.len()
    );
    println!("{}", count.unread.join("\n"));
    assert!(count.expressions > 0, "there are no modules in {}", Path::new(&root).display());
    assert!(count.differences.is_empty(), "{}", count.differences.join("\n"));
}

#[test]
fn what_needs_no_resource_is_taken_from_a_module() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = "variable \"a\" {\n  type = list(string)\n}\nvariable \"b\" {\n  type = object({ c = string })\n}\nlocals {\n  \
                d = [for x in var.a : upper(x)]\n  e = [local.d, var.b]\n  f = file(\"x\")\n}\nresource \"t\" \"n\" {\n  count = \
                length(local.d)\n  g = each.key\n}\noutput \"h\" {\n  value = t.n[0].id\n}\n";
    fs_err::write(folder.path().join("main.tf"), text).expect("a file");
    let (items, unread) = items(folder.path());
    let names: Vec<&str> = items.iter().map(|item| item.name.as_str()).collect();
    assert_eq!(names, ["a", "d", "a_1", "v_a", "l_d"]);
    assert!(unread.is_empty(), "{unread:?}");
    let result = ours(&items);
    assert!(result.refused.is_empty(), "{:?}", result.refused);
    assert_eq!(result.values["a_1"], (json!(0), json!("number")));
    assert_eq!(result.values["v_a"], (json!([]), json!(["list", "string"])));
}
