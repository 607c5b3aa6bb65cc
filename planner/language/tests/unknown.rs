//! Values that are not known yet: what is certain about them already, and what they do to what is made of them.

use lustre_language::{EmptyWorld, Given, Input, Origin, Program, Scope};
use lustre_model::value::Value;

/// Names and their values, lossless; one that ends with `!` will not be null.
const NAMES: &[(&str, &str)] = &[
    ("any", r#"{"$unknown": "any"}"#),
    ("text", r#"{"$unknown": "string"}"#),
    ("sure!", r#"{"$unknown": "string"}"#),
    ("number", r#"{"$unknown": "number"}"#),
    ("flag", r#"{"$unknown": "bool"}"#),
    ("list", r#"{"$unknown": "list(string)"}"#),
    ("part", r#"{"$list": ["string", ["a", {"$unknown": "string"}, "c"]]}"#),
    ("tuple", r#"{"$unknown": "tuple([string, bool])"}"#),
    ("object", r#"{"$unknown": "object({a = string, b = number})"}"#),
    ("objects", r#"{"$unknown": "list(object({a = number}))"}"#),
    ("map", r#"{"$unknown": "map(number)"}"#),
    ("set", r#"{"$unknown": "set(number)"}"#),
    ("none", r#"{"$null": "list(string)"}"#),
    ("secret", r#"{"$sensitive": {"$unknown": "string"}}"#),
];

fn evaluate(text: &str) -> String {
    let declared: String =
        NAMES.iter().map(|(name, _)| format!("variable \"{}\" {{}}\n", name.trim_end_matches('!'))).collect();
    let (mut program, found) = Program::load([("main.hcl".to_owned(), declared)], &[]);
    assert!(found.is_empty());
    let input = |(name, json): &(&str, &str)| {
        let value: Value = serde_json::from_str(json).expect("a value");
        let value = if name.ends_with('!') { value.definite() } else { value };
        let name = name.trim_end_matches('!').to_owned();
        Input { name, given: Given::Value(value), origin: Origin::CommandLine }
    };
    let inputs: Vec<Input> = NAMES.iter().map(input).collect();
    let expression = program.parse_expression(text).expect("it parses");
    let scope = Scope::new(&program, &EmptyWorld, &inputs);
    let value = scope.evaluate_expression(&expression);
    let told: Vec<String> = scope.take_diagnostics().iter().map(|it| format!("!{}", it.code)).collect();
    value.map_or(told.join(" "), |value| value.to_lossless().to_string())
}

fn check(cases: &[(&str, &str)]) {
    for (text, expected) in cases {
        let found = evaluate(text);
        // A type alone stands for an unknown value of that type.
        let unknown = format!("{{\"$unknown\":\"{expected}\"}}");
        assert!(found == *expected || found == unknown, "{text}: {found}");
    }
}

#[test]
fn null_is_ruled_out_where_it_cannot_be() {
    check(&[
        ("var.text == null", "bool"),
        ("var.sure == null", "false"),
        ("null != var.sure", "true"),
        ("\"x${var.text}\" != null", "true"),
        ("upper(var.text) == null", "false"),
        ("(var.number + 1) == null", "false"),
        ("(var.flag ? 1 : 2) == null", "false"),
        ("(var.flag ? var.text : \"x\") == null", "bool"),
        ("(var.flag ? var.sure : \"x\") == null", "false"),
        ("sensitive(var.sure) == null", r#"{"$sensitive":false}"#),
        ("tonumber(var.sure) == null", "false"),
        ("element(var.list, 0) == null", "bool"),
        ("[for v in [\"x${var.text}\"] : v][0] != null", "true"),
    ]);
}

#[test]
fn conditionals_keep_what_both_results_share() {
    check(&[
        ("var.flag ? 1 : \"x\"", "string"),
        ("var.flag ? null : null", "null"),
        ("var.flag ? tolist(null) : tolist(null)", r#"{"$null":"list(any)"}"#),
        ("var.flag ? 1 : 1", "1"),
        ("var.flag ? tolist([]) : tolist([])", r#"{"$list":["any",[]]}"#),
        ("var.flag ? \"x\" : \"x\"", "string"),
        ("var.flag ? [1][2] : 1", "any"),
        ("false ? [1, 2] : var.any", "any"),
        ("true ? [1, 2] : var.any", "[1,2]"),
        ("true ? \"x\" : var.secret", r#"{"$sensitive":"x"}"#),
        ("var.flag ? [1] : 2", "!E0405"),
    ]);
}

#[test]
fn logic_is_decided_by_either_side() {
    check(&[
        ("var.flag && false", "false"),
        ("true || var.flag", "true"),
        ("var.flag && [][0]", "bool"),
        ("true && [][0]", "!E0424"),
        ("[][0] && false", "false"),
        ("[][0] || var.flag", "!E0424"),
        ("false && \"x\"", "!E0403"),
        ("var.text && true", "bool"),
        ("null && true", "!E0410"),
        ("false && null", "false"),
    ]);
}

#[test]
fn splats_and_loops_say_their_type() {
    check(&[
        ("var.objects[*].a", "list(number)"),
        ("var.objects.*.a", "list(number)"),
        ("var.tuple[*]", "tuple([string, bool])"),
        ("var.text[*]", "any"),
        ("var.sure[*]", r#"[{"$unknown":"string"}]"#),
        ("var.object[*].b", "any"),
        ("var.object[*].c", "!E0421"),
        ("var.text.*.name", "!E0421"),
        ("var.none[*]", "!E0425"),
        ("tolist([])[*].a", r#"{"$list":["any",[]]}"#),
        ("[for v in var.list : v]", "any"),
        ("[for v in var.text : v]", "!E0431"),
        ("[for v in var.part : v if v != \"a\"]", "any"),
        ("{for k, v in {a = var.text} : k => v}", r#"{"a":{"$unknown":"string"}}"#),
    ]);
}

#[test]
fn functions_say_the_type_of_their_result() {
    check(&[
        ("length(var.tuple)", "2"),
        ("length(var.part)", "3"),
        ("length(var.number)", "!E0505"),
        ("keys(var.object)", r#"["a","b"]"#),
        ("keys(var.map)", "any"),
        ("values(var.map)", "list(number)"),
        ("values(var.object)", "tuple([string, number])"),
        ("element(var.tuple, -1)", "bool"),
        ("element(var.part, var.number)", "string"),
        ("lookup(var.map, \"x\", 1)", "number"),
        ("lookup({a = 1}, var.text, 2)", "any"),
        ("zipmap([\"x\", \"y\"], var.tuple)", "object({x = string, y = bool})"),
        ("zipmap(var.list, var.list)", "map(string)"),
        ("merge(var.map, var.map)", "map(number)"),
        ("merge(var.map, {a = 1})", "any"),
        ("concat(var.list, tolist([1]))", "list(string)"),
        ("concat(var.tuple, [1])", "tuple([string, bool, number])"),
        ("reverse(var.tuple)", "tuple([bool, string])"),
        ("distinct(var.list)", "list(string)"),
        ("chunklist(var.list, 2)", "list(list(string))"),
        ("one(var.set)", "number"),
        ("one(var.tuple)", "!E0505"),
        ("setunion(toset([\"x\"]), var.set)", "set(string)"),
        ("setproduct(var.set, var.list)", "list(tuple([number, string]))"),
        ("setproduct(var.set, [])", r#"{"$list":["tuple([number, any])",[]]}"#),
        ("regex(\"(a)(b)\", var.text)", "tuple([string, string])"),
        ("regexall(\"(?P<x>a)\", var.text)", "list(object({x = string}))"),
        ("contains(var.part, \"c\")", "true"),
        ("contains(var.part, \"x\")", "bool"),
        ("index(var.part, \"a\")", "0"),
        ("index(var.part, \"c\")", "number"),
        ("anytrue([var.flag, true])", "true"),
        ("alltrue([var.flag, false])", "false"),
        ("length(sort(var.part))", "3"),
        ("startswith(var.text, \"\")", "true"),
        ("formatlist(\"%s!\", var.part)", r#"{"$list":["string",["a!",{"$unknown":"string"},"c!"]]}"#),
        ("issensitive(var.text)", "bool"),
        ("upper(var.secret)", r#"{"$sensitive":{"$unknown":"string"}}"#),
        ("timestamp()", "string"),
        ("uuid()", "string"),
        ("bcrypt(\"x\")", "string"),
        ("plantimestamp()", "string"),
        ("max(var.list...)", "number"),
    ]);
}

#[test]
fn conversions_fill_in_the_types_that_are_known() {
    check(&[
        ("toset(var.none)", r#"{"$null":"set(string)"}"#),
        ("tomap(var.object)", "map(string)"),
        ("tolist(var.tuple)", "list(string)"),
        ("toset(tolist([]))", r#"{"$set":["any",[]]}"#),
    ]);
}
