//! Every function's documented example, and cases that the examples do not show.

use lustre_language::{Applying, Entry, EntryKind, Moment, Program, Scope, World, WorldError, functions};
use lustre_model::value::Value;

/// A folder with one file, in the middle of an apply.
struct Applied;

impl World for Applied {
    fn read_file(&self, path: &str) -> Result<Vec<u8>, WorldError> {
        if path == "hello.txt" { Ok(b"hello".to_vec()) } else { Err(WorldError::NotFound) }
    }

    fn file_exists(&self, path: &str) -> Result<bool, WorldError> {
        Ok(path == "hello.txt")
    }

    fn list_folder(&self, path: &str) -> Result<Vec<Entry>, WorldError> {
        let entry = |name: &str, kind| Entry { name: name.to_owned(), kind };
        match path {
            "." => Ok(vec![entry("hello.txt", EntryKind::File), entry("sub", EntryKind::Folder)]),
            "./sub" => Ok(vec![entry("a.txt", EntryKind::File), entry("b", EntryKind::File)]),
            _ => Err(WorldError::NotFound),
        }
    }

    fn planned_at(&self) -> Option<Moment> {
        Some(Moment(1_767_323_045))
    }

    fn applying(&self) -> Option<Applying> {
        Some(Applying { began: Moment(1_767_323_100), seed: [7; 32] })
    }

    fn working_folder(&self) -> String {
        "/".into()
    }

    fn home_folder(&self) -> Option<String> {
        Some("/users/ops".into())
    }
}

/// Evaluates an expression; an error is its summary and detail.
fn evaluate(text: &str) -> Result<Value, String> {
    let (mut program, _) = Program::load([], &["host"]);
    let told = |found: lustre_model::diagnostic::Diagnostics| {
        let all: Vec<String> = found.iter().map(|it| format!("{}: {}", it.summary, it.detail)).collect();
        all.join(" | ")
    };
    let expression = program.parse_expression(text).map_err(told)?;
    let scope = Scope::new(&program, &Applied, &[]);
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
    assert!(functions().len() > 120, "{}", functions().len());
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
    ("upper(\"ßﬄᾳi\")", "\"ßﬄᾼI\""),
    ("lower(\"İΑΣ\")", "\"iασ\""),
    ("length(\"💃🏿\")", "1"),
    ("substr(\"e\u{301}xy\", 0, 2)", "\"éx\""),
    ("strrev(\"a💃🏿b\")", "\"b💃🏿a\""),
    ("format(\"%3s|%-3s|%.1s\", \"💃🏿\", \"é\", \"💃🏿a\")", "\"  💃🏿|é  |💃🏿\""),
    ("jsondecode(\"\\\"e\\\\u0301\\\"\") == \"é\"", "true"),
    ("regexall(\"\\\\w+\", \"aéb\")", r#"["a","b"]"#),
    ("core::upper(\"a\")", "\"A\""),
    ("upper(\"a\", []...)", "\"A\""),
    ("templatestring(\"$${x}\", { x = true })", "true"),
    ("join(\", \", [])", "\"\""),
    ("title(\"they're a_b ǆx ßé\")", "\"They'Re A_b ǅx ßé\""),
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
    ("lookup(tomap({a = 1}), \"b\", \"2\")", "2"),
    ("type(keys({a = 1}))", "\"tuple([string])\""),
    ("type(keys(tomap({a = 1})))", "\"list(string)\""),
    ("type(merge(tomap({a = 1}), {b = 2}))", "\"object({a = number, b = number})\""),
    ("type(concat(tolist([1]), tolist([\"a\"])))", "\"list(string)\""),
    ("type(one(tolist([1])))", "\"number\""),
    ("type(toset(tolist(toset([for v in [1] : v if false]))))", "\"set(any)\""),
    ("type(setproduct(toset([1]), toset([])))", "\"set(tuple([number, any]))\""),
    ("matchkeys([\"a\", \"b\", \"c\"], [1, 2, 3], [1, \"3\"])", r#"["a","c"]"#),
    ("issensitive(setproduct([\"a\"], [sensitive(\"b\")]))", "false"),
    ("issensitive(flatten([[sensitive(\"a\")], \"b\"]))", "false"),
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
    ("cidrhost(\"010.001.0.0/24\", 6)", "\"10.1.0.6\""),
    ("cidrsubnet(\"::ffff:192.168.0.0/112\", 8, 6)", "\"192.168.6.0/24\""),
    ("cidrcontains(\"fe80::/48\", \"fe81::1\")", "false"),
    ("cidrcontains(\"10.0.0.0/8\", \"10.1.0.0/16\")", "true"),
    ("cidrcontains(\"10.1.0.0/16\", \"10.0.0.0/8\")", "false"),
    // Files.
    ("dirname(\"/a\")", "\"/\""),
    ("dirname(\"a\")", "\".\""),
    ("basename(\"/\")", "\"/\""),
    (
        "templatestring(\"%%{ for x in xs ~}\\n$${x},\\n%%{ endfor ~}\\nend\", { xs = [1, 2] })",
        "\"1,\\n2,\\nend\"",
    ),
    ("fileset(\".\", \"**/*.txt\")", r#"["hello.txt","sub/a.txt"]"#),
    ("fileset(\".\", \"**\")", r#"["hello.txt","sub/a.txt","sub/b"]"#),
    ("fileset(\"sub\", \"*\")", "[]"),
    ("fileset(\"gone\", \"*\")", "[]"),
    ("fileset(\".\", \"sub/[^a]\")", r#"["sub/b"]"#),
    ("fileexists(\"~/x\")", "false"),
    ("basename(\"\")", "\".\""),
    // Times.
    (
        "formatdate(\"'o''clock' YY M D h H aa ZZZZ ZZZZZ Z\", \"2006-01-02T15:04:05.5-07:30\")",
        r#""o'clock 06 1 2 15 3 pm -0730 -07:30 -07:30""#,
    ),
    (
        "formatdate(\"EEE, DD MMM YYYY hh:mm:ss ZZZ\", \"1900-03-01T00:00:00Z\")",
        "\"Thu, 01 Mar 1900 00:00:00 UTC\"",
    ),
    ("timeadd(\"2024-02-28T23:00:00+01:00\", \"24h30m1.5s\")", "\"2024-02-29T23:30:01+01:00\""),
    ("timeadd(\"2024-03-01T00:00:00Z\", \"-1ns\")", "\"2024-02-29T23:59:59Z\""),
    ("timecmp(\"2024-01-01T00:00:00Z\", \"2024-01-01T00:00:00.1Z\")", "-1"),
    ("timecmp(timestamp(), plantimestamp())", "1"),
    // Digests and randomness.
    ("[for i in range(2) : uuid()][0] == [for i in range(2) : uuid()][1]", "false"),
    ("length(distinct([for i in range(20) : uuid()]))", "20"),
    (
        "uuidv5(\"6ba7b810-9dad-11d1-80b4-00c04fd430c8\", \"tada\")",
        "\"faa898db-9b9d-5b75-86a9-149e7bb8e3b8\"",
    ),
    // Other encodings.
    ("textencodebase64(\"é\", \"windows-1252\")", "\"6Q==\""),
    ("textdecodebase64(\"YQBiAA==\", \"utf-16le\")", "\"ab\""),
    ("urldecode(\"a%00+%C3%BC\")", "\"a\\u0000 ü\""),
    // YAML.
    (
        "yamlencode([[], {}, [[1]], {a = [{b = 1, c = null}]}, true])",
        r#""- []\n- {}\n- - - 1\n- \"a\":\n  - \"b\": 1\n    \"c\": null\n- true\n""#,
    ),
    (
        "yamlencode({a = \"x\\ny\", b = \"\\n\", c = \" x\\n\\n\", d = \"x \\ny\", e = \"\\t\\\"\\u0001\"})",
        r#""\"a\": |-\n  x\n  y\n\"b\": |2+\n\n\"c\": |2+\n   x\n\n\"d\": \"x \\ny\"\n\"e\": \"\\t\\\"\\x01\"\n""#,
    ),
    ("yamlencode(5)", "\"5\\n...\\n\""),
    (
        "yamldecode(\"[yes, No, 0x10, 0o17, +1, 1e2, .5, ~, '1', 1_0, !!int 1_0, !!str 1, 2001-1-2, 2001-01-02 03:04:05]\")",
        r#"[true,false,16,15,1,100,0.5,null,"1","1_0",10,"1","2001-01-02T00:00:00Z","2001-01-02T03:04:05Z"]"#,
    ),
    (
        "yamldecode(\"a: &x {b: 1}\\nc:\\n  <<: [*x, {d: 2}]\\n  e: 3\\n\")",
        r#"{"a":{"b":1},"c":{"b":1,"d":2,"e":3}}"#,
    ),
    ("yamldecode(\"|-\\n  a\\n  b\")", "\"a\\nb\""),
    ("yamldecode(\"true: 1\\n2: x\\na: 1\\na: 2\")", r#"{"2":"x","a":2,"true":1}"#),
    ("yamldecode(\"---\")", "null"),
    (
        "yamldecode(yamlencode({a = [\"yes\", \"1\", null, 1.5, \"a\\n\", {}]}))",
        r#"{"a":["yes","1",null,1.5,"a\n",{}]}"#,
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

/// Expression and what is told of it; `!` alone stands for anything.
const REFUSALS: &[(&str, &str)] = &[
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
    (
        "formatdate(\"YYY\", \"2001-01-01T00:00:00Z\")",
        "unsuitable argument `format` of `formatdate`: invalid date format verb \"YYY\": year must either be \"YY\" or \"YYYY\".",
    ),
    (
        "formatdate(\"\", \"2017-02-31T00:00:00Z\")",
        "unsuitable argument `time` of `formatdate`: not a valid RFC3339 timestamp: day out of range.",
    ),
    (
        "formatdate(\"\", \"2017-01-02T00\")",
        "unsuitable argument `time` of `formatdate`: not a valid RFC3339 timestamp: end of string where \":\" is expected.",
    ),
    (
        "formatdate(\"\", \"2017-01-02 00:00:00Z\")",
        "unsuitable argument `time` of `formatdate`: not a valid RFC3339 timestamp: missing required time introducer 'T'.",
    ),
    (
        "formatdate(\"'a\", \"2017-01-02T00:00:00+24:00\")",
        "unsuitable argument `time` of `formatdate`: not a valid RFC3339 timestamp: cannot use \"+24:00\" as UTC offset.",
    ),
    (
        "formatdate(\"'a\", timestamp())",
        "unsuitable argument `format` of `formatdate`: unterminated literal '.",
    ),
    (
        "timeadd(\"2017-01-02T00:00:00Z\", \"1d\")",
        "unsuitable argument `duration` of `timeadd`: \"1d\" is no duration, as `1h30m` is.",
    ),
    ("timeadd(\"9999-12-31T23:59:59Z\", \"1s\")", "!"),
    (
        "bcrypt(\"x\", 31)",
        "unsuitable argument `cost` of `bcrypt`: a cost is at most 16; each one more doubles the time.",
    ),
    (
        "uuidv5(\"x\", \"y\")",
        "unsuitable argument `namespace` of `uuidv5`: it is neither `dns`, `url`, `oid`, `x500` nor a UUID.",
    ),
    (
        "textencodebase64(\"ж\", \"windows-1252\")",
        "unsuitable argument `text` of `textencodebase64`: it contains letters that cannot be represented in windows-1252.",
    ),
    (
        "textencodebase64(\"a\", \"nope\")",
        "unsuitable argument `encoding` of `textencodebase64`: \"nope\" is not a known IANA encoding name or alias.",
    ),
    (
        "base64gunzip(\"aGVsbG8=\")",
        "unsuitable argument `text` of `base64gunzip`: what it encodes is not gzip.",
    ),
    (
        "urldecode(\"%zz\")",
        "unsuitable argument `text` of `urldecode`: a `%` is not followed by two hexadecimal digits.",
    ),
    (
        "fileset(\".\", \"../*\")",
        "unsuitable argument `pattern` of `fileset`: a pattern stays inside its folder; name another folder in the first argument.",
    ),
    ("fileset(\".\", \"[\")", "unsuitable argument `pattern` of `fileset`: a `[` is not closed."),
    (
        "yamldecode(\"a: 1\\n---\\nb: 2\")",
        "unsuitable argument `text` of `yamldecode`: it is not YAML: only a single document is allowed.",
    ),
    ("yamldecode(\"\")", "unsuitable argument `text` of `yamldecode`: it is not YAML: there is no document."),
    ("yamldecode(\"[1\")", "!"),
    (
        "yamldecode(\"a: &x [*x]\")",
        "unsuitable argument `text` of `yamldecode`: it is not YAML: on line 1, an anchor is referred to from inside its own definition.",
    ),
    (
        "yamldecode(\"!!set {a: 1}\")",
        "unsuitable argument `text` of `yamldecode`: it is not YAML: on line 1, a collection cannot be read as tag:yaml.org,2002:!set.",
    ),
    // What is refused here and not by Terraform.
    ("1 / 0", "division by zero: "),
    ("yamldecode(\".inf\")", "!"),
    ("merge({}, tostring(null))", "unsuitable argument `maps` of `merge`: a map or object is required."),
    (
        "lookup(tomap({a = 1}), \"a\", \"x\")",
        "unsuitable argument `default` of `lookup`: a number is required.",
    ),
    ("transpose({a = null})", "unsuitable argument `map` of `transpose`: an element is null."),
    (
        "templatestring(\"x\", { \"1\" = 1 })",
        "a template is given a value without a name: \"1\" is no name: a name begins with a letter, then letters, digits, `_` or `-`.",
    ),
    (
        "cidrcontains(\"10.0.0.0/8\", \"::1\")",
        "unsuitable argument `address` of `cidrcontains`: one is of IPv4 and the other of IPv6.",
    ),
    ("cidrhost(\"10.256.0.0/8\", 1)", "!"),
    ("replace(\"a\", \"/(/\", \"b\")", "!"),
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
];

#[test]
fn functions_refuse_with_the_argument_and_the_reason() {
    for (expression, expected) in REFUSALS {
        match evaluate(expression) {
            Ok(value) => panic!("{expression}: {value:?}"),
            Err(error) => assert!(*expected == "!" || error == *expected, "{expression}: {error}"),
        }
    }
}

/// A key of 512 bits that secures nothing, as PKCS #1 and as PKCS #8, and what it decrypts.
const KEYS: [(&str, &str); 2] = [
    (
        "RSA",
        "MIIBOwIBAAJBAO+iiGwgAvvnzkgjQVslDUusGj4JP8nzhemAho17lmeZ+A48ChNTGBrEDnKSorW4ZgGGo4PWw8wWMMsLWe9Krz0CAwEAAQJAUOoPqHrSpx5pf+AvpEgJikCth771xAovcF3OkR1m9snWMz3QZxHezIaGfu6uziWUGI4nN2AOCxPTft+q8PqcgQIhAP0kelnwY4+6HyDzD1LSi8zSLPtezsQh/vBfgG0yxordAiEA8lcFbQddXalz7FYAw6Tigr2PLOwQjfel07+wta+Tf+ECIQDKS51vRHj8AfwgY71KLbHE4+1IkJJiENzgESHboikiDQIgfZzhsRvqJ0xYTB5gEwj6Z+49snlCM3Q0PkfUHri9acECIQCSJfxCImlmvwuRHQb61TU3eGddhP71FFmwOS7lFlh8qA==",
    ),
    (
        "",
        "MIIBVQIBADANBgkqhkiG9w0BAQEFAASCAT8wggE7AgEAAkEA76KIbCAC++fOSCNBWyUNS6waPgk/yfOF6YCGjXuWZ5n4DjwKE1MYGsQOcpKitbhmAYajg9bDzBYwywtZ70qvPQIDAQABAkBQ6g+oetKnHml/4C+kSAmKQK2HvvXECi9wXc6RHWb2ydYzPdBnEd7MhoZ+7q7OJZQYjic3YA4LE9N+36rw+pyBAiEA/SR6WfBjj7ofIPMPUtKLzNIs+17OxCH+8F+AbTLGit0CIQDyVwVtB11dqXPsVgDDpOKCvY8s7BCN96XTv7C1r5N/4QIhAMpLnW9EePwB/CBjvUotscTj7UiQkmIQ3OARIduiKSINAiB9nOGxG+onTFhMHmATCPpn7j2yeUIzdDQ+R9QeuL1pwQIhAJIl/EIiaWa/C5EdBvrVNTd4Z12E/vUUWbA5LuUWWHyo",
    ),
];
const CIPHERTEXT: &str =
    "D5tb30T+9pFivi1R1Pp5grC9uDZvQsxsL+Vw5kVOrszNFmmv08QQTnLJmko1f8tpcXcDeVQ2HTnd75eHsvlVQw==";

#[test]
fn keys_in_both_forms_decrypt() {
    for (prefix, key) in KEYS {
        let label = format!("{prefix} PRIVATE KEY");
        let label = label.trim();
        let pem = format!("-----BEGIN {label}-----\\n{key}\\n-----END {label}-----\\n");
        let decrypted = |ciphertext: &str| plain(&format!("rsadecrypt(\"{ciphertext}\", \"{pem}\")"));
        assert_eq!(decrypted(CIPHERTEXT), "\"the message\"");
        assert!(decrypted("AAAA").starts_with("!unsuitable argument `ciphertext`"));
        assert!(decrypted(&"/".repeat(88)).starts_with("!unsuitable argument `ciphertext`"));
        let cut = plain(&format!("rsadecrypt(\"{CIPHERTEXT}\", \"{}\")", pem.replace(&key[20..60], "")));
        assert!(cut.starts_with('!'), "{cut}");
    }
}
