//! Tests of values: conversions by table, encodings and arithmetic by property.

use proptest::prelude::{Just, Strategy, any, prop, prop_assert, prop_assert_eq, prop_oneof, proptest};

use super::*;

fn number(text: &str) -> Number {
    text.parse().unwrap()
}

#[test]
fn numbers_are_exact_decimals() {
    let sum = number("0.1").add(&number("0.2")).unwrap();
    assert_eq!(sum.to_string(), "0.3");
    let big = number("18446744073709551615").add(&number("1")).unwrap();
    assert_eq!(big.to_string(), "18446744073709551616");
    assert_eq!(number("1").divide(&number("8")).unwrap().to_string(), "0.125");
    let third = number("1").divide(&number("3")).unwrap().to_string();
    assert_eq!(third, format!("0.{}", "3".repeat(154)));
    assert_eq!(number("-7").remainder(&number("3")).unwrap().to_string(), "-1");
    assert_eq!(number("100").to_string(), "100");
    assert_eq!(number("1e3"), number("1000"));
    assert_eq!(number("1e3").to_json_text(), "1000");
    assert_eq!(Number::from_f64(0.1).unwrap().to_string(), "0.1");
    assert_eq!(Number::parse_radix("-FF", 16).unwrap().to_string(), "-255");
}

impl Number {
    fn to_json_text(&self) -> String {
        Value::from(self.clone()).to_plain().unwrap().to_string()
    }
}

#[test]
fn numbers_beyond_all_measure_are_refused() {
    assert_eq!("1e4097".parse::<Number>(), Err(NumberError::OutOfRange));
    assert_eq!("1e999999999999".parse::<Number>(), Err(NumberError::OutOfRange));
    assert!("1e99999999999999999999999".parse::<Number>().is_err());
    assert_eq!("1e-5000".parse::<Number>(), Err(NumberError::OutOfRange));
    let huge = number("9e4000");
    assert_eq!(huge.multiply(&huge), Err(NumberError::OutOfRange));
    assert_eq!(number("1").divide(&number("0")), Err(NumberError::DivisionByZero));
    assert_eq!(number("1").remainder(&number("0.0")), Ok(number("1")));
    for text in ["", "-", "x", "1_000", "0x10", "inf", "NaN", "e", "--1", "1e", " 1"] {
        assert!(text.parse::<Number>().is_err(), "{text:?}");
    }
}

/// `value | type | result`, each as lossless JSON; a result that begins with `!` is an error.
const CONVERSIONS: &[(&str, &str, &str)] = &[
    ("\"5\"", "number", "5"),
    ("5", "string", "\"5\""),
    ("true", "string", "\"true\""),
    ("\"1\"", "bool", "true"),
    ("\"True\"", "bool", "!a bool is required: `true` or `false`; write `true` in lower case"),
    ("1", "bool", "!bool required, but it is number"),
    ("\"x\"", "number", "!a number is required"),
    ("[1, \"a\"]", "list(string)", "{\"$list\": [\"string\", [\"1\", \"a\"]]}"),
    ("[1, \"a\"]", "list(any)", "{\"$list\": [\"string\", [\"1\", \"a\"]]}"),
    ("[1, [2]]", "list(any)", "!all elements must have the same type"),
    ("[2, 1, 2]", "set(number)", "{\"$set\": [\"number\", [1, 2]]}"),
    ("{\"$set\": [\"string\", [\"b\", \"a\"]]}", "list(string)", "{\"$list\": [\"string\", [\"a\", \"b\"]]}"),
    ("[]", "list(any)", "{\"$list\": [\"any\", []]}"),
    ("[1]", "tuple([string])", "[\"1\"]"),
    ("[1]", "tuple([])", "!a tuple of 0 elements is required, but it has 1"),
    ("{\"a\": 1}", "map(string)", "{\"$map\": [\"string\", {\"a\": \"1\"}]}"),
    ("{\"a\": [1]}", "map(list(bool))", "!attribute a[0]: bool required, but it is number"),
    ("{\"a\": 1, \"b\": 2}", "object({a = string})", "{\"a\": \"1\"}"),
    ("{}", "object({a = string})", "!attribute \"a\" is required"),
    ("{}", "object({a = optional(string)})", "{\"a\": {\"$null\": \"string\"}}"),
    ("{\"x\": {}}", "object({x = object({a = string})})", "!attribute x: attribute \"a\" is required"),
    ("{\"$map\": [\"number\", {\"a\": 1}]}", "object({a = string})", "{\"a\": \"1\"}"),
    ("null", "string", "{\"$null\": \"string\"}"),
    ("{\"$unknown\": \"number\"}", "string", "{\"$unknown\": \"string\"}"),
    ("{\"$unknown\": \"any\"}", "list(any)", "{\"$unknown\": \"list(any)\"}"),
    ("{\"$unknown\": \"list(string)\"}", "list(any)", "{\"$unknown\": \"list(string)\"}"),
    ("{\"$unknown\": \"list(string)\"}", "map(string)", "!map of string required, but it is list of string"),
    ("[{\"$unknown\": \"string\"}]", "set(string)", "{\"$unknown\": \"set(string)\"}"),
    ("{\"$sensitive\": \"5\"}", "number", "{\"$sensitive\": 5}"),
    ("[{\"$sensitive\": \"5\"}]", "list(number)", "{\"$list\": [\"number\", [{\"$sensitive\": 5}]]}"),
    ("[{\"$sensitive\": \"5\"}]", "set(number)", "{\"$sensitive\": {\"$set\": [\"number\", [5]]}}"),
    (
        "{\"$resource\": [\"host.a\", {\"x\": 1}]}",
        "object({x = string})",
        "{\"$resource\": [\"host.a\", {\"x\": \"1\"}]}",
    ),
];

#[test]
fn values_convert_by_terraforms_rules() {
    for (value, kind, expected) in CONVERSIONS {
        let value: Value = serde_json::from_str(value).unwrap();
        let found = match value.convert(&kind.parse().unwrap()) {
            Ok(converted) => converted.to_lossless(),
            Err(error) => format!("!{error}").into(),
        };
        let expected = match expected.strip_prefix('!') {
            Some(_) => serde_json::Value::from(*expected),
            None => serde_json::from_str(expected).unwrap(),
        };
        assert_eq!(found, expected, "{value:?} to {kind}");
    }
}

#[test]
fn defaults_fill_what_is_missing_or_null() {
    let attribute = crate::types::Attribute {
        kind: Type::Number,
        presence: crate::types::Presence::Default(Box::new("7".into())),
    };
    let wanted = Type::Object(BTreeMap::from([("a".to_owned(), attribute)]));
    for object in [Value::object::<String>([]), Value::object([("a", Value::null(Type::Any))])] {
        assert_eq!(object.convert(&wanted).unwrap(), Value::object([("a", Value::from(7u64))]));
    }
}

#[test]
fn types_unify_as_hcl_says() {
    for (types, expected) in [
        (vec!["number", "string"], Some("string")),
        (vec!["number", "bool"], None),
        (vec!["tuple([number])", "tuple([string])"], Some("tuple([string])")),
        (vec!["tuple([number])", "tuple([string, bool])"], Some("list(string)")),
        (vec!["object({a = number})", "object({b = string})"], Some("map(string)")),
        (vec!["object({a = number})", "object({a = any})"], Some("object({a = number})")),
        (vec!["list(number)", "tuple([])"], Some("list(number)")),
        (vec!["list(number)", "map(number)"], None),
        (vec!["any", "any"], Some("any")),
        (vec![], Some("any")),
    ] {
        let parsed: Vec<Type> = types.iter().map(|text| text.parse().unwrap()).collect();
        assert_eq!(unify(&parsed).map(|kind| kind.to_string()).as_deref(), expected, "{types:?}");
    }
}

#[test]
fn malformed_json_forms_are_refused() {
    for text in [
        "{\"$list\": [\"string\", [1]]}",
        "{\"$list\": [\"strng\", []]}",
        "{\"$nope\": 1}",
        "{\"$null\": \"string\", \"a\": 1}",
        "{\"$resource\": [\"x\", {}]}",
        "1e999999",
    ] {
        assert!(serde_json::from_str::<Value>(text).is_err(), "{text}");
    }
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::null(Type::String)),
        Just(Value::null(Type::Any)),
        Just(Value::unknown(Type::list(Type::Any))),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_filter_map("finite", |number| Number::from_f64(number).ok().map(Value::from)),
        any::<String>().prop_map(Value::from),
        prop::collection::vec(any::<String>(), 0..3).prop_map(Value::strings),
        prop::collection::vec(any::<u64>(), 0..3)
            .prop_map(|items| Value::set(Type::Number, items.into_iter().map(Value::from))),
        prop::collection::btree_map(any::<String>(), any::<bool>().prop_map(Value::from), 0..3)
            .prop_map(|items| Value::map(Type::Bool, items)),
    ];
    leaf.prop_recursive(3, 20, 4, |inner| {
        let names = prop_oneof!["[$a-z]{1,3}", Just("$list".to_owned())];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::tuple),
            prop::collection::btree_map(names.clone(), inner.clone(), 0..4).prop_map(Value::object),
            prop::collection::btree_map(names, inner.clone(), 0..4)
                .prop_map(|items| Value::resource_object(Address::new("host", "a"), items)),
            inner.prop_map(Value::sensitive),
        ]
    })
}

proptest! {
    #[test]
    fn the_lossless_form_loses_nothing(value in value()) {
        let text = serde_json::to_string(&value).unwrap();
        prop_assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
    }

    #[test]
    fn a_value_converts_to_its_own_type(value in value()) {
        prop_assert_eq!(value.convert(&value.type_of()).unwrap(), value);
    }

    #[test]
    fn unmarked_values_have_no_mark(value in value()) {
        prop_assert!(!value.unmarked().has_sensitive());
    }

    #[test]
    fn arithmetic_agrees_with_integers(a in -1_000_000i64..1_000_000, b in -1_000_000i64..1_000_000) {
        let (x, y) = (Number::from(a), Number::from(b));
        prop_assert_eq!(x.add(&y).unwrap().to_i64(), Some(a + b));
        prop_assert_eq!(x.subtract(&y).unwrap().to_i64(), Some(a - b));
        prop_assert_eq!(x.multiply(&y).unwrap().to_i64(), Some(a * b));
        if b != 0 {
            prop_assert_eq!(x.remainder(&y).unwrap().to_i64(), Some(a % b));
            prop_assert_eq!(x.divide(&y).unwrap().truncate().to_i64(), Some(a / b));
        }
        prop_assert_eq!(x.cmp(&y), a.cmp(&b));
    }

    #[test]
    fn any_text_is_a_number_or_refused(text in "[-+]?[0-9]{0,30}(\\.[0-9]{0,30})?([eE][-+]?[0-9]{0,25})?") {
        if let Ok(number) = text.parse::<Number>() {
            prop_assert_eq!(number.to_string().parse::<Number>(), Ok(number));
        }
    }
}
