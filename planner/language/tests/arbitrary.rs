//! No text makes the language panic, hang or overflow the stack.

use std::io::Write as _;

use base64::Engine as _;
use lustre_language::{EmptyWorld, Given, Graph, GraphBlock, Input, ModuleInstance, Origin, Program, Scope};
use lustre_model::value::Value;
use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop, prop_assert, prop_oneof, proptest};

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

/// Loads and runs a spec with modules, whatever it is: everything is evaluated that a planner would evaluate, in any order.
fn run_modules(texts: [String; 3]) {
    let paths = ["main.hcl", "m/main.hcl", "n/main.hcl"].map(str::to_owned);
    let (program, _) = Program::load(paths.into_iter().zip(texts), &["host", "data.cluster"]);
    let mut scope = Scope::new(&program, &EmptyWorld, &[]);
    let graph = Graph::new(&program);
    let mut modules = vec![vec![ModuleInstance::ROOT]];
    modules.resize(graph.places(), Vec::new());
    for node in graph.nodes() {
        for module in modules[node.place].clone().into_iter().take(5) {
            match node.block {
                GraphBlock::Resource(resource) => {
                    for instance in scope.expand(module, resource).iter().take(3) {
                        scope.evaluate(resource, instance);
                        scope.postconditions_hold(resource, instance);
                    }
                }
                GraphBlock::Call(call) => {
                    let callees = scope.callees(module, &call.name, None);
                    graph
                        .callee(node.place, call)
                        .into_iter()
                        .for_each(|place| modules[place].extend(&callees));
                }
                GraphBlock::Inputs => scope.validate(module),
                GraphBlock::Output(name) => scope.check_output(module, name),
                GraphBlock::Check(check) => scope.check(module, check),
                GraphBlock::Variable(_) | GraphBlock::Local(_) | GraphBlock::Whole => {}
            }
        }
    }
    scope.imports();
}

const BLOCKS: &[&str] = &[
    "module \"a\" {\n source = \"./m\"\n x = E\n for_each = E\n}\n",
    "module \"b\" {\n source = \"../n\"\n x = E\n depends_on = [E]\n}\n",
    "module \"b\" {\n source = \"./n\"\n count = E\n}\n",
    "variable \"x\" {\n default = E\n ephemeral = E\n validation {\n condition = E\n error_message = \"m\"\n }\n}\n",
    "locals {\n l = E\n k = E\n}\n",
    "output \"o\" {\n value = E\n depends_on = [E]\n}\n",
    "host \"h\" {\n for_each = E\n a = E\n lifecycle {\n prevent_destroy = E\n replace_triggered_by = [E]\n postcondition {\n condition = E\n error_message = E\n }\n }\n}\n",
    "host \"g\" {\n a = E\n}\n",
    "data \"cluster\" \"d\" {\n name = E\n}\n",
    "check \"c\" {\n assert {\n condition = E\n error_message = E\n }\n}\n",
    "moved {\n from = E\n to = E\n}\n",
    "removed {\n from = E\n}\n",
    "import {\n to = E\n id = E\n for_each = E\n}\n",
];

const EXPRESSIONS: &[&str] = &[
    "var.x",
    "local.l",
    "local.k",
    "module.a",
    "module.a[\"k\"].o",
    "module.a[each.key].o",
    "module.b.o",
    "module.b[0].o",
    "module.b[*].o",
    "host.h",
    "host.h[\"k\"].a",
    "host.g",
    "data.cluster.d.name",
    "each.value",
    "self.a",
    "path.module",
    "toset([\"k\", \"l\"])",
    "2",
    "true",
    "\"t\"",
    "length(module.a) > 0",
];

/// Blocks of every sort, with expressions of every sort in them.
fn module() -> impl Strategy<Value = String> {
    let block = (
        prop::sample::select(BLOCKS.to_vec()),
        prop::collection::vec(prop::sample::select(EXPRESSIONS.to_vec()), 6),
    );
    let block = block.prop_map(|(block, expressions)| {
        let mut expressions = expressions.into_iter().cycle();
        block.split(" E").fold(String::new(), |text, piece| match text.is_empty() {
            true => piece.to_owned(),
            false => format!("{text} {}{piece}", expressions.next().unwrap_or("1")),
        })
    });
    prop::collection::vec(block, 0..8).prop_map(|blocks| blocks.concat())
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
    fn any_modules_are_loaded_or_refused(texts in [module(), module(), module()]) {
        run_modules(texts);
    }

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

/// Evaluates an output with a text that is too large to write out; says whether it came to a value.
fn evaluates(expression: &str, text: &str) -> bool {
    output(expression, text).is_some_and(|value| value.is_known())
}

fn output(expression: &str, text: &str) -> Option<Value> {
    let spec = format!("variable \"text\" {{}}\noutput \"o\" {{\n value = {expression}\n}}\n");
    let (program, found) = Program::load([("main.hcl".to_owned(), spec)], &[]);
    assert!(!found.has_errors(), "{expression}");
    let input =
        Input { name: "text".to_owned(), given: Given::Value(text.into()), origin: Origin::CommandLine };
    let scope = Scope::new(&program, &EmptyWorld, &[input]);
    program.outputs().next().and_then(|output| scope.output(output))
}

/// What YAML, times, patterns and formats are made of.
const TEXT_PIECES: &[&str] = &[
    "a",
    "- ",
    ": ",
    "\n",
    "  ",
    "{",
    "}",
    "[",
    "]",
    ",",
    "&x ",
    "*x",
    "!!str ",
    "!",
    "|",
    ">",
    "-",
    "+",
    "2",
    "\n  ",
    "\"",
    "'",
    "\\",
    "<<",
    "? ",
    "---\n",
    "...\n",
    "%",
    "#",
    "\t",
    "2001-01-02",
    "T03:04:05",
    ".5",
    "Z",
    "+01:00",
    "YYYY",
    "h",
    "m",
    "1e9",
    "é",
    "~",
    "null",
    "(",
    ")",
    "*",
    "?",
    "{1,9}",
    "[^",
    "\\w",
    "\\Q",
    "(?P<n>",
    "$1",
    "%s",
    "%[2]v",
    "%#5.3g",
    "**/",
    "\u{feff}",
    "\r\n",
];

/// Functions of one text that read a language of their own.
const READERS: &[&str] = &[
    "yamldecode(T)",
    "jsondecode(T)",
    "csvdecode(T)",
    "formatdate(T, \"2000-01-01T00:00:00Z\")",
    "formatdate(\"YYYY\", T)",
    "timeadd(\"2000-01-01T00:00:00Z\", T)",
    "timecmp(T, T)",
    "regexall(T, T)",
    "replace(T, \"/${T}/\", T)",
    "fileset(\".\", T)",
    "format(T, 1, \"x\")",
    "urldecode(T)",
    "base64decode(T)",
    "base64gunzip(base64encode(T))",
    "rsadecrypt(\"AA==\", T)",
    "textdecodebase64(base64encode(T), \"gbk\")",
    "templatestring(T, {})",
    "cidrsubnet(T, 1, 1)",
    "parseint(T, 36)",
    "uuidv5(T, T)",
    "title(T)",
    "strrev(T)",
    "substr(T, 1, 2)",
    "yamldecode(yamlencode({(T) = T}))",
];

fn text_soup() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        prop::collection::vec(prop::sample::select(TEXT_PIECES.to_vec()), 0..30)
            .prop_map(|pieces| pieces.concat()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_decoded_or_refused(text in text_soup(), reader in prop::sample::select(READERS.to_vec())) {
        evaluates(&reader.replace('T', "var.text").replace("2000-01-01var.text00", "2000-01-01T00"), &text);
    }

    #[test]
    fn what_is_encoded_decodes_to_the_same(text in text_soup()) {
        let value = |expression: &str| output(expression, &text).and_then(|value| value.as_bool());
        let normal = value("var.text == join(\"\", [var.text])") != Some(false);
        for expression in [
            "yamldecode(yamlencode([var.text, {k = var.text}])) == [var.text, {k = var.text}]",
            "jsondecode(jsonencode([var.text])) == [var.text]",
            "base64gunzip(base64gzip(var.text)) == base64decode(base64encode(var.text))",
            "urldecode(urlencode(var.text)) == base64decode(base64encode(var.text))",
            ] {
            prop_assert!(value(expression) == Some(true) || !normal, "{expression}");
        }
    }
}

#[test]
fn patterns_take_bounded_time_and_memory() {
    assert!(!evaluates("regex(\"(((a{1000}){1000}){1000}){1000}\", var.text)", "a"));
    assert!(!evaluates("regex(\"(a*)*(a*)*(a*)*b\", var.text)", &"a".repeat(10_000)));
    assert!(!evaluates("regex(var.text, \"a\")", &"(".repeat(100_000)));
    assert!(!evaluates("regex(var.text, \"a\")", &"[".repeat(100_000)));
    assert!(!evaluates("replace(var.text, \"/a*/\", \"$0$0$0$0$0$0$0$0\")", &"a".repeat(20 << 20)));
    assert!(!evaluates("replace(var.text, \"\", var.text)", &"a".repeat(1 << 20)));
    assert!(!evaluates("fileset(\".\", var.text)", &"{a,b}".repeat(1000)));
    assert!(!evaluates("fileset(\".\", var.text)", &"**/".repeat(2000)));
}

#[test]
fn decoded_texts_do_not_explode() {
    let aliases: String =
        (1..40).map(|level| format!("a{level}: &a{level} [*a{0}, *a{0}]\n", level - 1)).collect();
    assert!(!evaluates("yamldecode(var.text)", &format!("a0: &a0 [x]\n{aliases}")));
    let merges: String = (1..40)
        .map(|level| format!("a{level}: &a{level} {{<<: *a{0}, k{level}: *a{0}}}\n", level - 1))
        .collect();
    assert!(!evaluates("jsonencode(yamldecode(var.text))", &format!("a0: &a0 {{x: 1}}\n{merges}")));
    for text in [
        "[".repeat(100_000),
        "{a: ".repeat(100_000),
        "- ".repeat(100_000),
        (0..500).map(|depth| " ".repeat(depth) + "a:\n").collect(),
        "? ".repeat(100_000),
    ] {
        assert!(!evaluates("yamldecode(var.text)", &text), "{:.20}", text);
    }
    assert!(!evaluates("jsondecode(var.text)", &"[".repeat(1_000_000)));
    assert!(!evaluates("jsondecode(var.text)", "1e999999999999"));
    assert!(evaluates("length(yamldecode(var.text))", &"- [1, 2]\n".repeat(20_000)));
    assert!(evaluates("length(csvdecode(var.text))", &"a,b\n".repeat(100_000)));
    assert!(!evaluates("templatestring(var.text, {})", &"%{ if true }".repeat(20_000)));
}

#[test]
fn what_is_dear_is_refused_before_it_is_done() {
    assert!(!evaluates("format(\"%9999999999d\", 1)", ""));
    assert!(!evaluates("format(\"%.9999999999f\", 1)", ""));
    assert!(!evaluates("indent(1e9, \"a\\nb\")", ""));
    assert!(!evaluates("bcrypt(\"x\", 31)", ""));
    assert!(!evaluates("pow(9, 1e9)", ""));
    assert!(!evaluates("rsadecrypt(\"AA==\", var.text)", &"-----BEGIN RSA PRIVATE KEY-----".repeat(1000)));
    assert!(!evaluates("timeadd(\"2000-01-01T00:00:00Z\", var.text)", &"9".repeat(100_000)));
    assert!(!evaluates("timeadd(\"2000-01-01T00:00:00Z\", var.text)", &"1h".repeat(5_000_000)));
    assert!(!evaluates("formatdate(var.text, \"2000-01-01T00:00:00Z\")", &"Y".repeat(1_000_000)));
    assert!(!evaluates("setproduct([for i in range(1000) : i], [for i in range(1000) : i], [1, 2])", ""));
    assert!(!evaluates("cidrsubnets(\"::/0\", [for i in range(1000) : 200]...)", ""));
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    (0..65).for_each(|_| packed.write_all(&[b'a'; 1 << 20]).expect("it is written"));
    let packed = base64::engine::general_purpose::STANDARD.encode(packed.finish().expect("it is packed"));
    assert!(!evaluates("base64gunzip(var.text)", &packed));
}

#[test]
fn numbers_of_any_size_are_read_or_refused() {
    let large = "9".repeat(4000);
    run(&format!("locals {{\n a = {large}\n b = 1e{large}\n c = {large}.{large}\n}}\n"));
    run(&format!("locals {{\n{}}}\n", " a = 1e400\n".repeat(100)));
    for text in ["a = 1e", "a = 1e400e400", "a = ..1e400", "a = é1e400", "a = 1e+400 + 1e-400", "1e400"] {
        run(text);
    }
}
