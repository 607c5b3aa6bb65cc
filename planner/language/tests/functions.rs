//! Every function's documented example, and cases that the examples do not show.

use lustre_language::{EmptyWorld, Program, Scope, functions};
use lustre_model::value::Value;

/// Evaluates an expression; an error is its summary and detail.
fn evaluate(text: &str) -> Result<Value, String> {
    let (mut program, _) = Program::load([], &["host"]);
    let told = |found: lustre_model::diagnostic::Diagnostics| {
        let all: Vec<String> = found.iter().map(|it| format!("{}: {}", it.summary, it.detail)).collect();
        all.join(" | ")
    };
    let expression = program.parse_expression(text).map_err(told)?;
    let scope = Scope::new(&program, &EmptyWorld, &[]);
    scope.evaluate_expression(&expression).ok_or_else(|| told(scope.take_diagnostics()))
}

/// Evaluates and writes as JSON; types of collections do not show.
fn plain(text: &str) -> String {
    match evaluate(text) {
        Ok(value) => value.to_plain().map_or("unknown".into(), |json| json.to_string()),
        Err(error) => format!("!{error}"),
    }
}

#[test]
fn every_documented_example_yields_what_it_says() {
    assert!(functions().len() > 90, "{}", functions().len());
    for function in functions() {
        let [expression, expected] = function.example;
        assert!(expression.contains(function.name), "{expression}");
        assert_eq!(plain(expression), plain(expected), "{}", function.signature());
    }
}

/// Expression and its value as JSON.
const AGREEMENTS: &[(&str, &str)] = &[
    // Text.
    ("substr(\"hello world\", 1, 4)", "\"ello\""),
    ("substr(\"hello\", 10, 2)", "\"\""),
    ("replace(\"hello world\", \"/w.*d/\", \"everybody\")", "\"hello everybody\""),
    ("replace(\"ab\", \"/(a)(b)/\", \"$2$1\")", "\"ba\""),
    ("split(\",\", \"\")", "[\"\"]"),
    ("join(\", \", [])", "\"\""),
    ("title(\"they're bill's\")", "\"They're Bill's\""),
    ("regex(\"[a-z]+\", \"53453453.345345aaabbbccc23454\")", "\"aaabbbccc\""),
    (
        "regex(\"(?P<scheme>[a-z]+)://(?P<host>[^/]+)\", \"https://a.b/c\")",
        r#"{"host":"a.b","scheme":"https"}"#,
    ),
    ("regexall(\"x\", \"abc\")", "[]"),
    (
        "format(\"%#v %v %q %5s|%-5s|%05d|%+d|%x|%X|%o|%b|%t|%%\", {a = 1}, [true], \"q\", \"r\", \"l\", 42, 7, 255, 255, 8, 5, true)",
        r#""{\"a\":1} [true] \"q\"     r|l    |00042|+7|ff|FF|10|101|true|%""#,
    ),
    ("format(\"%[2]s %[1]s\", \"a\", \"b\")", "\"b a\""),
    ("format(\"%.3f %e %g %g\", 3.14159, 1500000, 0.00001, 100)", "\"3.142 1.500000e+06 1e-05 100\""),
    ("formatlist(\"%s-%s\", [\"a\", \"b\"], [\"1\", \"2\"])", "[\"a-1\",\"b-2\"]"),
    // Numbers.
    ("pow(2, 0.5) > 1.41", "true"),
    ("log(50, 10) < 1.7", "true"),
    ("parseint(\"-zz\", 36)", "-1295"),
    ("max([1, 3, 2]...)", "3"),
    ("ceil(-0.5)", "0"),
    // Collections.
    ("merge({a = 1}, null, {b = {c = 2}})", r#"{"a":1,"b":{"c":2}}"#),
    ("length(\"ääh\")", "3"),
    ("range(3)", "[0,1,2]"),
    ("range(4, 1)", "[4,3,2]"),
    ("range(1, 1)", "[]"),
    ("range(10, 5, -2)", "[10,8,6]"),
    ("element([1, 2, 3], -1)", "3"),
    ("coalesce(1, \"a\")", "\"1\""),
    ("setproduct([\"a\"], [])", "[]"),
    ("setproduct([\"x\"], [\"a\", 1])", r#"[["x","a"],["x","1"]]"#),
    ("one([])", "null"),
    ("sort([3, 20, 100])", r#"["100","20","3"]"#),
    ("distinct([1, \"1\"])", "[\"1\"]"),
    ("flatten([[1], {a = [2]}])", r#"[1,{"a":[2]}]"#),
    ("zipmap([], [])", "{}"),
    ("keys({\"é\" = 1, z = 2})", r#"["z","é"]"#),
    ("anytrue([])", "false"),
    ("alltrue([])", "true"),
    ("compact([null])", "[]"),
    ("contains([1, 2], \"1\")", "false"),
    ("lookup({a = null}, \"a\", 1)", "null"),
    ("chunklist([], 2)", "[]"),
    // Encodings.
    ("jsonencode(\"<a&b>\")", r#""\"\\u003ca\\u0026b\\u003e\"""#),
    ("jsondecode(\"1e2\")", "100"),
    ("jsonencode(1.10)", "\"1.1\""),
    ("csvdecode(\"a,b\\r\\n\\\"1\\\"\\\"\\\",\\n\")", r#"[{"a":"1\"","b":""}]"#),
    // Networks.
    ("cidrhost(\"10.0.0.0/24\", -1)", "\"10.0.0.255\""),
    ("cidrsubnet(\"fd00:fd12:3456:7890::/56\", 16, 162)", "\"fd00:fd12:3456:7800:a200::/72\""),
    (
        "cidrsubnets(\"fd00:fd12:3456:7890::/56\", 16, 16)",
        r#"["fd00:fd12:3456:7800::/72","fd00:fd12:3456:7800:100::/72"]"#,
    ),
    ("cidrhost(\"::/0\", 5)", "\"::5\""),
    // Files.
    ("dirname(\"/a\")", "\"/\""),
    ("dirname(\"a\")", "\".\""),
    ("basename(\"/\")", "\"/\""),
    (
        "templatestring(\"%%{ for x in xs ~}\\n$${x},\\n%%{ endfor ~}\\nend\", { xs = [1, 2] })",
        "\"1,\\n2,\\nend\"",
    ),
    // Types and marks.
    ("tobool(null)", "null"),
    ("try(1 / 0, tonumber(\"x\"), \"last\")", "\"last\""),
    ("can(1 / 0)", "false"),
    ("type(tolist([1]))", "\"list(number)\""),
    ("issensitive(upper(sensitive(\"a\")))", "true"),
    ("issensitive(length([sensitive(\"a\")]))", "false"),
    ("issensitive(jsonencode([sensitive(\"a\")]))", "true"),
];

#[test]
fn functions_agree_with_terraforms_documentation() {
    for (expression, expected) in AGREEMENTS {
        assert_eq!(plain(expression), *expected, "{expression}");
    }
}

#[test]
fn functions_refuse_with_the_argument_and_the_reason() {
    for (expression, expected) in [
        ("upper(null)", "argument `text` of `upper` is null: "),
        ("upper([])", "unsuitable value for argument `text` of `upper`: string required, but it is tuple."),
        ("upper()", "wrong number of arguments for `upper`: Its signature is `upper(text string) string`."),
        ("uper(\"a\")", "unknown function `uper`: "),
        ("length(1)", "unsuitable argument `value` of `length`: a text, a list, a set or a map is required."),
        ("element([], 0)", "unsuitable argument `list` of `element`: it has no elements."),
        ("range(1, 10, 0)", "unsuitable argument `step` of `range`: a step of zero never ends."),
        ("range(1e6)", "unsuitable argument `limit` of `range`: a range has at most 1024 numbers."),
        ("regex(\"(\", \"a\")", "!"),
        ("regex(\"a\", \"b\")", "unsuitable argument `text` of `regex`: the pattern does not match."),
        ("parseint(\"12\", 63)", "unsuitable argument `base` of `parseint`: a base is between 2 and 62."),
        ("pow(10, 10000)", "unsuitable argument `number` of `pow`: there is no finite result."),
        ("format(\"%d\", 1.5)", "unsuitable argument `values` of `format`: a whole number is required."),
        ("format(\"%s\")", "unsuitable argument `format` of `format`: there is no value for `%s`."),
        (
            "format(\"%99999999d\", 1)",
            "unsuitable argument `format` of `format`: a width or precision is at most 1024.",
        ),
        ("jsondecode(\"{\")", "!"),
        (
            "base64decode(\"/w==\")",
            "unsuitable argument `text` of `base64decode`: what it encodes is not UTF-8 text.",
        ),
        (
            "file(\"nowhere\")",
            "unsuitable argument `path` of `file`: \"nowhere\" cannot be read: no file is there.",
        ),
        (
            "cidrsubnet(\"10.0.0.0/30\", 4, 0)",
            "unsuitable argument `number` of `cidrsubnet`: 10.0.0.0/30 has no such prefix.",
        ),
        ("sum([])", "unsuitable argument `list` of `sum`: it has no elements."),
        ("coalesce(null, \"\")", "`coalesce` failed: No value is neither null nor empty."),
        (
            "indent(1000000000, \"\\n\\n\")",
            "unsuitable argument `spaces` of `indent`: the result would be longer than 64 MiB.",
        ),
        (
            "templatestring(\"$${nmae}\", { name = 1 })",
            "the template knows no name `nmae`: In <template> line 1, column 3:",
        ),
        ("templatestring(\"$${1 / 0}\", {})", "division by zero: In <template> line 1, column 3:"),
    ] {
        match evaluate(expression) {
            Ok(value) => panic!("{expression}: {value:?}"),
            Err(error) => assert!(expected == "!" || error == expected, "{expression}: {error}"),
        }
    }
}
