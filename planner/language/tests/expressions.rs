//! Expressions by table: what they yield, or what is told.

use lustre_language::{EmptyWorld, Given, Input, Origin, Program, Scope};
use lustre_model::diagnostic::Diagnostics;

const PROGRAM: &str = r#"
variable "secret" {
  default   = "s3cret"
  sensitive = true
}
variable "names" { default = ["a", "b"] }
variable "nothing" { default = null }
locals {
  one     = 1
  objects = [{ a = 1, b = [10, 20] }, { a = 2, b = [] }]
  nested  = { x = { y = "z" } }
}
host "here" {}
host "each" { for_each = { k = 1 } }
"#;

fn told(found: &Diagnostics) -> String {
    let all: Vec<String> =
        found.iter().map(|it| format!("{} {} | {}", it.code, it.summary, it.detail)).collect();
    all.join(" // ")
}

/// Evaluates with the program's names; resources are unknown. Lossless JSON, or `!` and what was told.
fn evaluate(text: &str) -> String {
    let (mut program, found) = Program::load([("main.hcl".to_owned(), PROGRAM.to_owned())], &["host"]);
    assert!(found.is_empty(), "{found:?}");
    let expression = match program.parse_expression(text) {
        Ok(expression) => expression,
        Err(found) => return format!("!{}", told(&found)),
    };
    let scope = Scope::new(&program, &EmptyWorld, &[]);
    match scope.evaluate_expression(&expression) {
        Some(value) => {
            assert!(scope.take_diagnostics().is_empty(), "{text}");
            value.to_lossless().to_string()
        }
        None => format!("!{}", told(&scope.take_diagnostics())),
    }
}

fn check(cases: &[(&str, &str)]) {
    for (text, expected) in cases {
        let found = evaluate(text);
        match expected.strip_suffix('…') {
            Some(start) => assert!(found.starts_with(start), "{text}: {found}"),
            None => assert_eq!(found, *expected, "{text}"),
        }
    }
}

#[test]
fn arithmetic_is_exact_and_never_wraps() {
    let large = "9".repeat(400);
    check(&[
        ("0.1 + 0.2", "0.3"),
        ("18446744073709551615 + 1", "18446744073709551616"),
        ("123456789012345678901234567890 * 10", "1234567890123456789012345678900"),
        ("1 + \"2\"", "3"),
        ("2 + 3 * 4 - 1", "13"),
        ("(2 + 3) * 4", "20"),
        ("-7 % 3", "-1"),
        ("7 / 2", "3.5"),
        ("- 5", "-5"),
        ("-(-2.50)", "2.5"),
        ("1e400 / 1e398", "100"),
        (&format!("{large} - {large}"), "0"),
        (&format!("[0, {{ a = \"x${{[-{large}, 1][1]}}\" }}][1].a"), "\"x1\""),
        ("1e400 == 10e399 && 2.5e+400 > 2e400 && -1e400 < 0", "true"),
        ("1e5000", "!E0102 invalid number…"),
        ("5 % 0.3", "0.2"),
        ("1 / 0", "!E0411 division by zero | "),
        ("1 % 0", "1"),
        ("9e307 * 9e307 * 10", "8100000000000000000000000000…"),
        ("pow(10, 4000) * pow(10, 4000)", "!E0411 the number is out of range…"),
        ("1 + \"x\"", "!E0403 unsuitable value for an operand of `+` | a number is required."),
        ("1 + null", "!E0410 an operand of `+` is null | "),
    ]);
}

#[test]
fn logic_converts_and_stops_early() {
    check(&[
        ("true || 1 / 0 == 1", "true"),
        ("false && 1 / 0 == 1", "false"),
        ("!\"true\"", "false"),
        ("\"true\" && true", "true"),
        ("var.nothing != null && var.nothing.a == 1", "false"),
        ("host.here.ready || true", "true"),
        ("host.here.ready && true", "{\"$unknown\":\"bool\"}"),
        ("1 && true", "!E0403 unsuitable value for an operand of `&&` | bool required, but it is number."),
        ("1 < 2 == true", "true"),
        ("2 <= 1 || 3 >= 3", "true"),
    ]);
}

#[test]
fn equality_counts_types_but_any_null_is_null() {
    check(&[
        ("1 == \"1\"", "false"),
        ("1 == 1.0", "true"),
        ("null == var.nothing", "true"),
        ("[1, 2] == [1, 2]", "true"),
        ("tolist([1]) == [1]", "false"),
        ("{a = 1} != {a = 2}", "true"),
        ("host.here.x == 1", "{\"$unknown\":\"bool\"}"),
        ("[1, host.here.x] == [2, 1]", "false"),
        ("var.secret == \"x\"", "{\"$sensitive\":false}"),
    ]);
}

#[test]
fn conditionals_unify_their_results() {
    check(&[
        ("true ? 1 : \"x\"", "\"1\""),
        ("false ? 1 : \"x\"", "\"x\""),
        (
            "true ? 1 : [2]",
            "!E0405 inconsistent result types of a conditional | Both results must have one type, but one is number and the other tuple.",
        ),
        ("true ? null : 1", "{\"$null\":\"number\"}"),
        ("true ? [1] : [\"a\", \"b\"]", "{\"$list\":[\"string\",[\"1\"]]}"),
        ("true ? {a = 1} : {b = \"x\"}", "{\"$map\":[\"string\",{\"a\":\"1\"}]}"),
        ("true ? 1 : 1 / 0", "1"),
        ("host.here.x ? 1 : 2", "{\"$unknown\":\"number\"}"),
        ("var.secret == \"s3cret\" ? 1 : 2", "{\"$sensitive\":1}"),
        ("null ? 1 : 2", "!E0404 the condition is null | It must be true or false."),
    ]);
}

#[test]
fn parts_are_reached_by_name_and_index() {
    check(&[
        ("local.nested.x.y", "\"z\""),
        ("local.nested[\"x\"].y", "\"z\""),
        ("[\"a\", \"b\"][1]", "\"b\""),
        ("[\"a\"][\"0\"]", "\"a\""),
        ("var.names.1", "\"b\""),
        ("{true = 1}[true]", "1"),
        ("host.here.address", "{\"$unknown\":\"any\"}"),
        ("host.each[\"k\"].a.b[0]", "{\"$unknown\":\"any\"}"),
        ("[1][1]", "!E0424 invalid index | There is one element, number 0."),
        ("[1][-1]", "!E0424 invalid index | There is one element, number 0."),
        ("[1][0.5]", "!E0424 invalid index…"),
        ("[1][99999999999999999999999]", "!E0424 invalid index…"),
        ("local.nested.x.yy", "!E0421 no attribute `yy` | This object has no attribute of that name."),
        ("local.one.a", "!E0421 no attribute `a` | This number has no attribute of that name."),
        ("var.nothing.a", "!E0420 attribute of null | The value is null, so it has no attribute `a`."),
        ("[[1]].0.0", "!E0104 invalid access | "),
        ("toset([1])[0]", "!E0423 value has no elements by index | It is a set of number."),
    ]);
}

#[test]
fn splats_walk_and_wrap() {
    check(&[
        ("local.objects[*].a", "[1,2]"),
        ("local.objects.*.a", "[1,2]"),
        ("local.objects[*].b[0]", "!E0424 invalid index | There are no elements."),
        ("local.objects.*.b[0]", "[10,20]"),
        ("[[1], [2]].*.0", "[1,2]"),
        ("[[{ x = 1 }]][*][*].x", "[[1]]"),
        ("local.one[*]", "[1]"),
        ("var.nothing[*]", "[]"),
        ("[[1]].*.*", "!E0104 invalid access | "),
        ("[[1], [2]][*][*]", "[[1],[2]]"),
        ("tolist([\"a\"])[*]", "{\"$list\":[\"string\",[\"a\"]]}"),
        ("host.here.list[*].x", "{\"$unknown\":\"any\"}"),
    ]);
}

#[test]
fn for_walks_in_key_order_and_groups() {
    check(&[
        ("[for k, v in {b = 1, a = 2} : \"${k}${v}\"]", "[\"a2\",\"b1\"]"),
        ("[for i, v in [\"x\", \"y\"] : i if v != \"x\"]", "[1]"),
        ("{for v in [\"x\", \"y\"] : v => upper(v)}", "{\"x\":\"X\",\"y\":\"Y\"}"),
        (
            "{for v in [\"aa\", \"ab\", \"b\"] : substr(v, 0, 1) => v...}",
            "{\"a\":[\"aa\",\"ab\"],\"b\":[\"b\"]}",
        ),
        ("{for v in [\"a\", \"a\"] : v => 1}", "!E0433 duplicate key | Two elements have the key \"a\"."),
        ("[for v in toset([\"b\", \"a\"]) : v]", "[\"a\",\"b\"]"),
        ("[for x in [[1, 2], [3]] : [for y in x : y * 2]]", "[[2,4],[6]]"),
        ("[for v in host.here.list : v]", "{\"$unknown\":\"any\"}"),
        ("[for v in null : v]", "!E0430 `for` over null…"),
        ("[for v in 1 : v]", "!E0431 `for` over a value without elements…"),
        ("[for v in [1] : w]", "!E0307 unknown name `w` | "),
        ("{for v in [null] : v => 1}", "!E0402 null is no key | "),
        ("[for v in [1] : v if host.here.x]", "{\"$unknown\":\"any\"}"),
    ]);
}

#[test]
fn templates_interpolate_branch_repeat_and_strip() {
    check(&[
        ("\"${1}\"", "1"),
        ("\"a${1}b${true}\"", "\"a1btrue\""),
        ("\"$${x} %%{y} \\u00e9 \\\"q\\\"\"", "\"${x} %{y} é \\\"q\\\"\""),
        ("\"${\"nested ${1 + 1}\"}!\"", "\"nested 2!\""),
        ("\"%{ if true }yes%{ else }no%{ endif }\"", "\"yes\""),
        ("\"%{ for n in var.names }<${n}>%{ endfor }\"", "\"<a><b>\""),
        ("\"a  ${~ 1 ~}  b\"", "\"a1b\""),
        ("\" ${~ true ~} \"", "\"true\""),
        ("\"%{ for i, n in var.names ~}  ${i}${n} %{~ endfor }\"", "\"0a1b\""),
        ("\"%{ if false }x%{ endif }\"", "\"\""),
        ("\"e\u{301}\" == \"é\"", "true"),
        ("length(\"e\u{301}${1}\")", "2"),
        ("\"x${null}\"", "!E0408 null in a text | A null cannot be written into a text."),
        ("\"x${[1]}\"", "!E0403 unsuitable value for a text | string required, but it is tuple."),
        ("\"x${host.here.a}\"", "{\"$unknown\":\"string\"}"),
        ("\"x${var.secret}\"", "{\"$sensitive\":\"xs3cret\"}"),
    ]);
}

#[test]
fn heredocs_keep_every_letter() {
    check(&[
        ("<<EOT\n  a\n b\nEOT", "\"  a\\n b\\n\""),
        ("<<-EOT\n    a\n      b\n    EOT", "\"a\\n  b\\n\""),
        // hcl-edit drops text here: a line in the first column means nothing is cut.
        ("<<-EOT\nt:\n  x\n    ${\"Y\"}\nz\nEOT", "\"t:\\n  x\\n    Y\\nz\\n\""),
        ("<<-EOT\n    t:\n      ${\"Y\"}\n\n    z\n    EOT", "\"t:\\n  Y\\n\\nz\\n\""),
        ("<<-EOT\n  ${1}\n    b\n  EOT", "\"1\\n  b\\n\""),
        ("<<-EOT\n  %{ if true ~}\n    in\n  %{ endif ~}\n  out\n  EOT", "\"  in\\nout\\n\""),
        ("<<EOT\n$${x} \\n\nEOT", "\"${x} \\\\n\\n\""),
        ("<<EOT\nEOT", "\"\""),
        ("\n\n<<EOT\nx\nEOT\n", "\"x\\n\""),
        ("[\n  <<-EOT\n    x\n  y\n  EOT\n]\n", "[\"  x\\ny\\n\"]"),
        ("upper(<<EOT\nx\nEOT\n)", "\"X\\n\""),
    ]);
}

#[test]
fn objects_and_tuples_take_names_and_computed_keys() {
    check(&[
        ("{a = 1, \"b c\" = 2, (\"d\") = 3, 4 = 5}", "{\"4\":5,\"a\":1,\"b c\":2,\"d\":3}"),
        ("{null = 1}", "{\"null\":1}"),
        ("{a : 1, b = 2}", "{\"a\":1,\"b\":2}"),
        ("{\n a = 1\n b = 2,\n}", "{\"a\":1,\"b\":2}"),
        ("{\"${\"a\"}b\" = 1}", "{\"ab\":1}"),
        ("{(local.one) = 2}", "{\"1\":2}"),
        ("{local.one = 2}", "!E0103 ambiguous attribute key…"),
        ("{(host.here.x) = 2}", "{\"$unknown\":\"any\"}"),
        ("{(null) = 2}", "!E0402 null is no key | "),
        ("[1, \"a\", null, [true]]", "[1,\"a\",null,[true]]"),
    ]);
}

#[test]
fn marks_follow_values() {
    check(&[
        ("[var.secret]", "[{\"$sensitive\":\"s3cret\"}]"),
        ("upper(var.secret)", "{\"$sensitive\":\"S3CRET\"}"),
        ("{a = var.secret}.a", "{\"$sensitive\":\"s3cret\"}"),
        ("length(var.secret)", "{\"$sensitive\":6}"),
        ("[for v in sensitive([1]) : v]", "{\"$sensitive\":[1]}"),
        ("nonsensitive(var.secret)", "\"s3cret\""),
        ("merge({a = 1}, {b = var.secret})", "{\"a\":1,\"b\":{\"$sensitive\":\"s3cret\"}}"),
        ("{a = 1}[sensitive(\"a\")]", "{\"$sensitive\":1}"),
    ]);
}

#[test]
fn all_independent_errors_of_an_expression_are_told() {
    check(&[
        ("[1 / 0, nothing, upper([])]", "!E0307 unknown name `nothing` | "),
        ("[1 / 0, null + 1]", "!E0411 division by zero |  // E0410 an operand of `+` is null | "),
    ]);
}

#[test]
fn inputs_convert_to_the_type_of_their_variable() {
    let text = r#"
        variable "n" { type = number }
        variable "l" { type = list(number) }
        variable "o" { type = object({ a = string, b = optional(number, 7) }) }
        variable "s" { type = string }
        variable "d" {
          type     = string
          default  = "kept"
          nullable = false
        }
    "#;
    let (program, found) = Program::load([("main.hcl".to_owned(), text.to_owned())], &[]);
    assert!(found.is_empty(), "{found:?}");
    let given = |name: &str, text: &str| Input {
        name: name.to_owned(),
        given: Given::Text(text.to_owned()),
        origin: Origin::CommandLine,
    };
    let null = Input {
        name: "d".to_owned(),
        given: Given::Value(lustre_model::value::Value::null(lustre_model::types::Type::Any)),
        origin: Origin::CommandLine,
    };
    let inputs =
        [given("n", "5"), given("l", "[1, \"2\"]"), given("o", "{ a = true }"), given("s", "[x"), null];
    let scope = Scope::new(&program, &EmptyWorld, &inputs);
    let json = |name: &str| scope.variable(name).map(|value| value.to_lossless().to_string());
    assert_eq!(json("n").as_deref(), Some("5"));
    assert_eq!(json("l").as_deref(), Some("{\"$list\":[\"number\",[1,2]]}"));
    assert_eq!(json("o").as_deref(), Some("{\"a\":\"true\",\"b\":7}"));
    assert_eq!(json("s").as_deref(), Some("\"[x\""));
    assert_eq!(json("d").as_deref(), Some("\"kept\""));
    assert_eq!(told(&scope.take_diagnostics()), "");
    let scope = Scope::new(&program, &EmptyWorld, &[given("n", "x"), given("l", "[1"), given("zz", "1")]);
    let found = scope.take_diagnostics();
    let codes: Vec<&str> = found.iter().map(|it| it.code).collect();
    assert_eq!(codes, ["E0604", "E0607", "E0608", "E0605", "E0605"], "{}", told(&found));
}

#[test]
fn lines_go_on_where_line_ends_mean_nothing() {
    check(&[
        ("{ for k in [\"a\"] : k => true ? \"x\" :\n \"y\" }", "{\"a\":\"x\"}"),
        (
            "{\n for k in [\"a\"] :\n k =>\n 1 + # one\n 1 ==\n 2 &&\n anytrue([\n true,\n ])\n}",
            "{\"a\":true}",
        ),
        ("{ for k in [\"a\"] : k => true ?\n {\n b = 1\n c = 2 } : null }", "{\"a\":{\"b\":1,\"c\":2}}"),
        ("{ for k in [\"a\"] : k => <<-E\n  x # y\n  E\n if k ==\n \"a\" }", "{\"a\":\"x # y\\n\"}"),
    ]);
}

#[test]
fn a_heredoc_without_a_line_ends_where_it_says() {
    check(&[
        ("[<<E\nE\n, <<-E\n  x\n  E\n]", "[\"\",\"x\\n\"]"),
        ("[<<-E\n  E\n, \"${<<E\nE\n}\", <<E\n<<F\nF\nE\n]", "[\"\",\"\",\"<<F\\nF\\n\"]"),
        ("<<E\nE\n", "\"\""),
    ]);
}

#[test]
fn a_conditional_gives_what_both_branches_can_be() {
    check(&[
        ("try((false ? toset([\"a\"]) : [])[0], \"a set has no index\")", "\"a set has no index\""),
        ("try((true ? [] : toset([1]))[0], \"a set has no index\")", "\"a set has no index\""),
        ("(true ? [\"a\"] : tolist([1]))[0]", "\"a\""),
        ("false ? [upper(null)] : []", "{\"$list\":[\"any\",[]]}"),
    ]);
}
