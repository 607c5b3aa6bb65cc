//! Canonical form: cases, and what holds for any text.

use lustre_model::diagnostic::{Diagnostics, Sources};
use proptest::prelude::{ProptestConfig, Strategy, any, prop, prop_oneof, proptest};

use super::token::{Kind, tokens};
use super::{format, say_the_same};

fn formatted(text: &str) -> Result<String, (Sources, Diagnostics)> {
    let mut sources = Sources::default();
    let id = sources.add("main.hcl", text);
    format(&sources, id).map_err(|found| (sources, found))
}

#[track_caller]
fn canonical(text: &str) -> String {
    formatted(text).unwrap_or_else(|(_, found)| panic!("{text}\n{found:?}"))
}

#[track_caller]
fn check(cases: &[(&str, &str)]) {
    for (text, expected) in cases {
        assert_eq!(canonical(text), *expected, "of {text:?}");
        assert_eq!(canonical(expected), *expected, "of the canonical form");
    }
}

#[track_caller]
fn stays(texts: &[&str]) {
    texts.iter().for_each(|text| check(&[(text, text)]));
}

#[test]
fn blanks_between_tokens() {
    check(&[
        ("", ""),
        ("a=1", "a = 1"),
        ("a=b [c] . d.0 . e.* .f", "a = b[c].d.0.e.*.f"),
        ("a=f ( 1,-2 , - b*-c )", "a = f(1, -2, -b * -c)"),
        ("a=f(b ... )", "a = f(b...)"),
        ("a=p :: q ( )", "a = p::q()"),
        ("a=b?c:-d", "a = b ? c : -d"),
        ("a=! b&&!c||d>=e", "a = !b && !c || d >= e"),
        ("a=[ [ ],{ },{b=1},( c+1 ) ]", "a = [[], {}, { b = 1 }, (c + 1)]"),
        ("a={b:1,( c )=2}", "a = { b : 1, (c) = 2 }"),
        ("a={for k,v in m:k=>-v...if(k!=-1)}", "a = { for k, v in m : k => -v... if (k != -1) }"),
        ("a=[for x in[y] : x]", "a = [for x in [y] : x]"),
        ("a=[for x in(y):if(x)]", "a = [for x in (y) : if(x)]"),
        ("a=x.in-1", "a = x.in-1"),
        ("a=x.if - 1", "a = x.if - 1"),
        ("a=1 .5", "a = 1 .5"),
        ("a = f(b)\t-1", "a = f(b) - 1"),
        ("a = 1   ", "a = 1"),
    ]);
}

#[test]
fn numbers_of_any_size_stay() {
    check(&[("a=1e400", "a = 1e400"), ("a=[-1e+999999999,1e-400]", "a = [-1e+999999999, 1e-400]")]);
}

#[test]
fn sequences_and_what_is_quoted() {
    check(&[
        ("a=\"b  ${ c }${~ d ~} %{ if  e }f%{ endif }\"", "a = \"b  ${c}${~d~} %{if e}f%{endif}\""),
        ("a=\"x${ -1 }\"", "a = \"x${-1}\""),
        ("a=\"x${{b=c}}\"", "a = \"x${ { b = c } }\""),
        ("a=\"x${ \"y${ z }\" }\"", "a = \"x${\"y${z}\"}\""),
        ("a=\"%{ if(b) }c%{ endif }\"", "a = \"%{if (b)}c%{endif}\""),
        ("a=\"$${ b } %%{ c }  \\\"  ${ d }\"", "a = \"$${ b } %%{ c }  \\\"  ${d}\""),
    ]);
}

#[test]
fn heredocs_stay_and_their_sequences_do_not() {
    check(&[
        (
            "a \"b\" {\nc=<<EOT\n  x =  1\n\ty ${ z }\n  EOT\nd=<<-X\n  X1\n X\n}\n",
            "a \"b\" {\n  c = <<EOT\n  x =  1\n\ty ${z}\n  EOT\n  d = <<-X\n  X1\n X\n}\n",
        ),
        ("a=f(<<EOT\n b\nEOT\n,c)\n", "a = f(<<EOT\n b\nEOT\n, c)\n"),
        ("a=f(<<EOT\nEOT , c)\nb=1\n", "a = f(<<EOT\nEOT, c)\nb = 1\n"),
        // A sequence over several lines takes nothing from the lines behind it.
        ("b {\nx=<<E\n${\nf\n}\nE\ny=1\n}\n", "b {\n  x = <<E\n${\n    f\n  }\nE\n  y = 1\n}\n"),
    ]);
}

#[test]
fn indents_follow_brackets() {
    check(&[
        ("a {\nb {\n\t\tc=[\n1,\n  2]\n}\n }\n", "a {\n  b {\n    c = [\n      1,\n    2]\n  }\n}\n"),
        ("a = [[\nb,\n{\nc=1\n}\n]]\n", "a = [[\n  b,\n  {\n    c = 1\n  }\n]]\n"),
        ("a = [[\n[\nb\n]]\n]\n", "a = [[\n  [\n    b\n  ]]\n]\n"),
        ("a = f({\nb = (\n1\n+ 2\n- 3\n)\n})\n", "a = f({\n  b = (\n    1\n    + 2\n    - 3\n  )\n})\n"),
        ("a = [\n- 1,\n- 2\n]\n", "a = [\n  -1,\n  -2\n]\n"),
        ("a = \"x${\nb\n}\"\n", "a = \"x${\n  b\n}\"\n"),
    ]);
}

#[test]
fn assignments_and_trailing_comments_are_in_columns() {
    check(&[
        ("a=1\nlong=2\n\nb=3\n", "a    = 1\nlong = 2\n\nb = 3\n"),
        ("a=1\nlong=[\n1\n]\nb=3\n", "a = 1\nlong = [\n  1\n]\nb = 3\n"),
        ("a=1 # x\nlong=22 // y\nz=3\n", "a    = 1  # x\nlong = 22 // y\nz    = 3\n"),
        ("b {} # x\na=( # y\n1) # z\n", "b {}  # x\na = ( # y\n1)    # z\n"),
        ("ä=\"é🇩🇪\" # x\nbb=1 # y\n", "ä  = \"é🇩🇪\" # x\nbb = 1    # y\n"),
        ("a={\nb=1\nlong=2\n}\n", "a = {\n  b    = 1\n  long = 2\n}\n"),
    ]);
}

#[test]
fn comments_keep_their_place() {
    stays(&[
        "# a  \n\n/* b\n c */\nd = /* e */ 1 /* f */\n// g",
        "a \"b\" /* c */ \"d\" { # e\n  # f\n}\n",
        "a = [\n  # b\n  1, # c\n  # d\n]\n",
    ]);
    check(&[
        ("a /*b*/ c /*d*/ \"e\" /*f*/ {}\n", "a /*b*/ \"c\" /*d*/ \"e\" /*f*/ {}\n"),
        ("a/*b*/=/*c*/1#d", "a /*b*/ = /*c*/ 1 #d"),
    ]);
}

#[test]
fn lines_and_their_ends_stay() {
    check(&[
        ("\n\n a=1\n \t\n\n\nb=2\n\n", "\n\na = 1\n\n\n\nb = 2\n\n"),
        ("a {\r\nb=1 # c\r\n}\r\n", "a {\r\n  b = 1 # c\r\n}\r\n"),
        ("a=<<X\r\n b\r\nX\r\nc=1\n", "a = <<X\r\n b\r\nX\r\nc = 1\n"),
        ("\u{feff}a=1\n", "a = 1\n"),
        ("a {b=1}", "a { b = 1 }"),
    ]);
}

#[test]
fn sequences_alone_are_unwrapped() {
    check(&[
        ("a=\"${b}\"", "a = b"),
        ("a=\"${~ b ~}\" # c", "a = b # c"),
        ("a=\"${\"${\"${b}\"}\"}\"", "a = b"),
        ("a {b=\"${c}\"}", "a { b = c }"),
        ("a=\"${f(\"${b}-c\")}\"", "a = f(\"${b}-c\")"),
        ("a=\"${\n  b\n}\"\n", "a = b\n"),
        ("a=\"${b ?\n c : d}\"\n", "a = (b ?\nc : d)\n"),
        ("a=\"${(b) ?\n c : (d)}\"\n", "a = ((b) ?\nc : (d))\n"),
        ("a=\"${(b ?\n c : d)}\"\n", "a = (b ?\nc : d)\n"),
        ("a=\"${ /*c*/ \"${\nb /*d*/\n/*e*/}\"/*f*/}\"\n", "a = /*c*/ b /*d*/ /*e*/ /*f*/\n"),
        ("a=\"${ # why\n b}\"\n", "a = ( # why\nb)\n"),
    ]);
    stays(&[
        "a = \"${b}${c}\"",
        "a = \"${b} \"",
        "a = \"%{if b}c%{endif}\"",
        "a = [\"${b}\"]",
        "a { b = \"${<<X\nc\nX\n}\" }",
    ]);
}

#[test]
fn labels_are_quoted_and_types_written_out() {
    check(&[
        ("resource a b{}\n", "resource \"a\" \"b\" {}\n"),
        ("a \"b\"c {\nd e {}\n}\n", "a \"b\" \"c\" {\n  d \"e\" {}\n}\n"),
        ("variable a {\ntype=list\n}\n", "variable \"a\" {\n  type = list(any)\n}\n"),
        ("variable a {\ntype=\"map\" # b\n}\n", "variable \"a\" {\n  type = map(string) # b\n}\n"),
        ("variable a {\ntype=\"string\"\n}\n", "variable \"a\" {\n  type = string\n}\n"),
    ]);
    stays(&[
        "variable \"a\" {\n  type = list(object({ b = list }))\n}\n",
        "variable \"a\" {\n  default = \"string\"\n  b { type = list }\n}\n",
        "type = list\n",
    ]);
}

#[test]
fn a_text_that_does_not_parse_is_refused_with_its_places() {
    for (text, lines) in [
        ("a = \"b\n", vec![1]),
        ("a {\n", vec![1]),
        ("a = <<X\nb\n", vec![2]),
        ("a = [1\nb = 2\n", vec![2]),
        ("a = 1 +\nb \"c\" {\n", vec![1, 2]),
        ("a = \"${\"b}\n", vec![1]),
        ("a = 1 /* b\n", vec![1]),
    ] {
        let Err((sources, found)) = formatted(text) else { panic!("{text:?} is taken") };
        let starts = found.iter().filter_map(|one| sources.positions(one.span?));
        assert_eq!(starts.map(|(start, _)| start.line).collect::<Vec<_>>(), lines, "of {text:?}: {found:?}");
    }
}

#[test]
fn nothing_is_unbounded() {
    for piece in ["[", "{", "(", "\"${", "a{\n", "a = <<X\n${", "!", "a.", "[\n", "\"", "/*", "%{", "a ="] {
        assert!(formatted(&piece.repeat(10_000)).is_err(), "{piece:?}");
        assert!(formatted(&format!("a = {}", piece.repeat(10_000))).is_err(), "{piece:?}");
    }
    // One very long name or line would move each of many short ones by its length.
    let short: String = (0..2_000).map(|number| format!("a{number}=1 # b\n")).collect();
    for long in [format!("{}=1\n", "x".repeat(100_000)), format!("x=\"{}\" # c\n", "y".repeat(100_000))] {
        let text = long + &short;
        let result = canonical(&text);
        assert!(result.len() < 2 * text.len(), "{} of {}", result.len(), text.len());
        assert_eq!(canonical(&result), result);
    }
}

/// Comments in their order.
fn comments(text: &str) -> Vec<&str> {
    let found = tokens(text).into_iter().filter(|token| token.kind == Kind::Comment);
    found.map(|token| token.text.trim_end_matches(['\r', '\n'])).collect()
}

/// What holds of any text that is taken.
#[track_caller]
fn holds(text: &str) {
    if let Ok(result) = formatted(text) {
        assert_eq!(canonical(&result), result, "twice, of {text}");
        assert!(say_the_same(&result, text), "the meaning of {text}");
        assert_eq!(comments(&result), comments(text), "the comments of {text}");
    }
}

/// Expressions with marks: 1 where a blank may be, 2 where a line may end too, 3 for what opens a heredoc.
fn expression() -> impl Strategy<Value = String> {
    let leaf = prop::sample::select(vec![
        "1",
        "2.5e3",
        "null",
        "local.v",
        "a.b.0.c",
        "x.in",
        "\"t  $${ u\"",
        "\"\"",
        "each\u{1}.\u{1}key",
        "a\u{1}[*]\u{1}.b",
        "[\u{2}]",
        "{\u{2}}",
        "\"a\\\"\\n\"",
        "\u{3}-E\n  l ${\u{2}b\u{2}}\n   m = n\n  E\n",
    ]);
    leaf.prop_map(str::to_owned).prop_recursive(4, 24, 3, |inner| {
        let operator = prop::sample::select(vec!["+", "-", "*", "/", "%", "==", "!=", "<", ">=", "&&", "||"]);
        let two = (inner.clone(), inner.clone());
        prop_oneof![
            (inner.clone(), operator, inner.clone())
                .prop_map(|(a, operator, b)| format!("(\u{2}{a}\u{2}{operator}\u{2}{b}\u{2})")),
            two.clone().prop_map(|(a, b)| format!("f\u{1}(\u{2}{a}\u{2},\u{2}{b}\u{2})")),
            two.clone().prop_map(|(a, b)| format!("[\u{2}{a}\u{2},\u{2}{b}\u{2},\u{2}]")),
            two.clone()
                .prop_map(|(a, b)| format!("{{\n\u{1}k\u{1}=\u{1}{a}\n\u{1}(\u{2}q\u{2})\u{1}=\u{1}{b}\n}}")),
            two.clone().prop_map(|(a, b)| format!("(\u{2}{a}\u{2}?\u{2}{b}\u{2}:\u{2}c\u{2})")),
            two.clone()
                .prop_map(|(a, b)| format!("[\u{2}for k\u{2},\u{2}v in {a}\u{2}:\u{2}{b}\u{2} if (k)\u{2}]")),
            two.prop_map(|(a, b)| format!("{{\u{2}for v in {a}\u{2}:\u{2}v\u{2}=>\u{2}{b}\u{2}...\u{2}}}")),
            inner.clone().prop_map(|a| format!("\"${{\u{2}{a}\u{2}}}\"")),
            inner
                .clone()
                .prop_map(|a| format!("\"x${{~\u{2}{a}\u{2}~}}y%{{\u{2}if b\u{2}}} z%{{\u{2}endif\u{2}}}\"")),
            inner.clone().prop_map(|a| format!("-\u{1}{a}")),
            inner.prop_map(|a| format!("!\u{1}{a}")),
        ]
    })
}

/// Attributes and blocks with marks; 4 is where a line ends.
fn marked() -> impl Strategy<Value = String> {
    let attribute = expression().prop_map(|value| format!("\u{1}=\u{1}{value}\u{1}\u{4}\n"));
    let name = prop::sample::select(vec!["a", "long_name", "é", "in"]);
    let items = prop::collection::vec((name, attribute, 0..4u8), 1..5);
    items.prop_map(|items| {
        let mut text = String::new();
        for (number, (name, attribute, shape)) in items.into_iter().enumerate() {
            match shape {
                0 => text.push_str(&format!(
                    "\u{1}{name}\u{1}l{number}\u{1}\"m\"\u{1}{{\u{4}\n\u{1}{name}{attribute}\n}}\u{4}\n"
                )),
                1 => text.push_str("\u{1}# alone\n\n"),
                _ => text.push_str(&format!("\u{1}{name}{number}{attribute}")),
            }
        }
        text
    })
}

/// Puts blanks, comments and line ends where the marks are.
fn filled(marked: &str, choices: &[u8]) -> String {
    let mut choices = choices.iter().cycle();
    let mut text = String::new();
    for letter in marked.chars() {
        let mut pick =
            |from: &[&'static str]| from[usize::from(choices.next().copied().unwrap_or(0)) % from.len()];
        match letter {
            '\u{1}' => text.push_str(pick(&[" ", " ", "\t ", "  ", " /* c */ "])),
            '\u{2}' => text.push_str(pick(&[
                "",
                " ",
                "  ",
                "\n",
                " \n\t",
                " # e\n",
                "/* m\n */",
                "// x\r\n",
                "\r\n",
            ])),
            '\u{3}' => text.push_str("<<"),
            '\u{4}' => text.push_str(pick(&["", " ", "# d", " // d", " /* e */ "])),
            other => text.push(other),
        }
    }
    text
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn canonical_form_keeps_what_is_said(
        marked in marked(),
        choices in prop::collection::vec(any::<u8>(), 1..60),
    ) {
        holds(&filled(&marked, &choices));
    }

    #[test]
    fn any_text_is_formatted_or_refused(text in any::<String>()) {
        holds(&text);
    }
}

#[test]
fn most_generated_texts_are_taken() {
    use proptest::strategy::ValueTree as _;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let strategy = (marked(), prop::collection::vec(any::<u8>(), 1..60));
    let taken = (0..200).filter(|_| {
        let tree = strategy.new_tree(&mut runner).expect("a text is generated");
        let (marked, choices) = tree.current();
        formatted(&filled(&marked, &choices)).is_ok()
    });
    assert!(taken.count() > 100, "the property is about too few texts");
}
