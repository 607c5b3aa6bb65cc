//! No text makes the language panic, hang or overflow the stack.

use lustre_language::{EmptyWorld, Graph, ModuleInstance, Program, Scope};
use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop, prop_oneof, proptest};

/// Loads and runs whatever it is.
fn run(text: &str) {
    let (program, _) = Program::load([("main.hcl".to_owned(), text.to_owned())], &["host"]);
    let mut scope = Scope::new(&program, &EmptyWorld, &[]);
    let graph = Graph::new(&program);
    (0..graph.nodes().len()).for_each(|node| drop(graph.label(node)));
    for resource in program.resources() {
        for instance in scope.expand(ModuleInstance::ROOT, resource).iter().take(3) {
            scope.evaluate(resource, instance);
        }
    }
    for output in program.outputs() {
        scope.output(output);
    }
    scope.state_backend();
    for diagnostic in &scope.take_diagnostics() {
        if let Some(span) = diagnostic.span {
            program.sources().positions(span);
        }
    }
}

/// What syntax is made of.
const PIECES: &[&str] = &[
    "host",
    "\"a\"",
    "{",
    "}",
    "(",
    ")",
    "[",
    "]",
    "=",
    "\n",
    "\n",
    " ",
    "1",
    "-",
    "+",
    "*",
    "/",
    "%",
    "?",
    ":",
    ".",
    ",",
    "for",
    "x",
    "in",
    "=>",
    "...",
    "if",
    "\"",
    "${",
    "%{",
    "~}",
    "<<EOT",
    "<<-EOT",
    "EOT",
    "local.a",
    "var.b",
    "each.key",
    "upper(",
    "try(",
    "null",
    "true",
    "1e99999",
    "[*]",
    "&&",
    "||",
    "!",
    "==",
    "locals",
    "output",
    "variable",
    "type",
    "value",
    "for_each",
    "count",
    "dynamic",
    "é",
    "\r\n",
    "#",
    "//",
    "/*",
    "*/",
    "\\",
    "'",
    "lifecycle",
    "object({",
    "optional(",
    "list(",
    "endif",
    "endfor",
    "else",
    "$${",
    "<<",
    "0.5",
];

/// Pieces in any order.
fn soup() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(PIECES.to_vec()), 0..60).prop_map(|pieces| pieces.concat())
}

fn expression() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("1".to_owned()),
        Just("\"a\"".to_owned()),
        Just("null".to_owned()),
        Just("local.v".to_owned()),
        Just("host.h.id".to_owned()),
        Just("var.secret".to_owned()),
        Just("[]".to_owned()),
        Just("{}".to_owned()),
        any::<u32>().prop_map(|number| number.to_string()),
        "\"[a-z$%{}]{0,4}\"",
    ];
    let names: Vec<&'static str> =
        lustre_language::functions().iter().map(|function| function.name).collect();
    leaf.prop_recursive(4, 24, 3, move |inner| {
        let operator = prop::sample::select(vec!["+", "-", "*", "/", "%", "==", "<", "&&", "||"]);
        let name = prop::sample::select(names.clone());
        prop_oneof![
            (inner.clone(), operator, inner.clone())
                .prop_map(|(a, operator, b)| format!("({a} {operator} {b})")),
            (name, prop::collection::vec(inner.clone(), 0..4))
                .prop_map(|(name, args)| format!("{name}({})", args.join(", "))),
            prop::collection::vec(inner.clone(), 0..4).prop_map(|items| format!("[{}]", items.join(", "))),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("{{ a = {a}, (\"b\") = {b} }}")),
            (inner.clone(), inner.clone(), inner.clone()).prop_map(|(a, b, c)| format!("({a} ? {b} : {c})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("[for k, v in {a} : {b} if k != v]")),
            (inner.clone(), inner.clone())
                .prop_map(|(a, b)| format!("{{for v in {a} : \"${{v}}\" => {b}...}}")),
            inner.clone().prop_map(|a| format!("\"x${{{a}}}y%{{ for z in {a} }}${{z}}%{{ endfor }}\"")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("{a}[{b}]")),
            inner.prop_map(|a| format!("{a}[*].a.b")),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_loaded_or_refused(text in any::<String>()) {
        run(&text);
    }

    #[test]
    fn any_soup_of_syntax_is_loaded_or_refused(text in soup()) {
        run(&text);
    }

    #[test]
    fn any_expression_is_evaluated_or_refused(first in expression(), second in expression()) {
        run(&format!(
            "variable \"secret\" {{\n default = \"s\"\n sensitive = true\n}}\nlocals {{\n v = [1, {{ a = \"x\" }}]\n}}\n\
             host \"h\" {{\n a = {first}\n}}\nhost \"i\" {{\n for_each = {second}\n b = each.value\n}}\n\
             output \"o\" {{\n value = {second}\n}}\n"
        ));
    }
}

#[test]
fn deep_nesting_and_long_chains_end_in_errors_or_values() {
    for (open, close) in [
        ("[", "]"),
        ("(", ")"),
        ("{a=", "}"),
        ("upper(", ")"),
        ("\"${", "}\""),
        ("!", ""),
        ("[for x in ", ": x]"),
    ] {
        run(&format!("locals {{\n a = {}1{}\n}}\n", open.repeat(20_000), close.repeat(20_000)));
    }
    run("a{\u{1132a}");
    run(&"host {".repeat(20_000));
    run(&format!("locals {{\n a = 1{}\n}}\n", " + 1".repeat(20_000)));
    run(&format!("locals {{\n a = x{}\n}}\n", ".a".repeat(20_000)));
    let mut chain = String::from("locals {\n l0 = 1\n");
    for index in 1..5_000 {
        chain.push_str(&format!(" l{index} = local.l{} + 1\n", index - 1));
    }
    chain.push_str("}\noutput \"last\" {\n value = local.l4999\n}\n");
    run(&chain);
}

#[test]
fn values_that_double_do_not_explode() {
    let mut text = String::from("locals {\n t0 = \"0123456789\"\n l0 = [1]\n");
    for index in 1..60 {
        let before = index - 1;
        text.push_str(&format!(" t{index} = \"${{local.t{before}}}${{local.t{before}}}\"\n"));
        text.push_str(&format!(" l{index} = [local.l{before}, local.l{before}]\n"));
    }
    text.push_str("}\noutput \"t\" {\n value = local.t59\n}\noutput \"l\" {\n value = local.l59\n}\n");
    let (program, _) = Program::load([("main.hcl".to_owned(), text)], &[]);
    let scope = Scope::new(&program, &EmptyWorld, &[]);
    assert!(program.outputs().all(|output| scope.output(output).is_none()));
    let codes: Vec<&str> = scope.take_diagnostics().iter().map(|it| it.code).collect();
    assert_eq!(codes, ["E0407", "E0401"]);
}
