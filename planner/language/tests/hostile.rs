//! What would take all memory, all time or all stack is refused at its place.

use std::time::{Duration, Instant};

use lustre_language::{EmptyWorld, ModuleInstance, Program, Scope};

/// Generous: none of this takes a second, but tests run beside each other on small machines.
const TIME_MAX: Duration = Duration::from_secs(60);

/// Loads and evaluates; says of each error its code and where it is.
fn told(files: &[(&str, String)]) -> Vec<String> {
    let began = Instant::now();
    let files = files.iter().map(|(path, text)| ((*path).to_owned(), text.clone()));
    let (program, mut found) = Program::load(files, &["host"]);
    let mut scope = Scope::new(&program, &EmptyWorld, &[]);
    for resource in program.resources() {
        for instance in scope.expand(ModuleInstance::ROOT, resource).iter().take(3) {
            scope.evaluate(resource, instance);
        }
    }
    program.outputs().for_each(|output| drop(scope.output(output)));
    found.extend(scope.take_diagnostics());
    found.sort();
    assert!(began.elapsed() < TIME_MAX, "it took {:?}", began.elapsed());
    let line = |diagnostic: &lustre_model::diagnostic::Diagnostic| {
        let place = diagnostic.span.and_then(|span| {
            let (start, _) = program.sources().positions(span)?;
            Some(format!("{}:{}:{}", program.sources().get(span.source)?.name, start.line, start.column))
        });
        format!("{} {}", place.unwrap_or_else(|| "nowhere".to_owned()), diagnostic.code)
    };
    found.iter().map(line).collect()
}

/// One text of one file.
#[track_caller]
fn refused(text: &str, expected: &[&str]) {
    let found = told(&[("main.hcl", text.to_owned())]);
    assert_eq!(found, expected, "of {:.120}", text);
}

/// One value in the second line.
#[track_caller]
fn refused_value(value: &str, expected: &[&str]) {
    refused(&format!("output \"o\" {{\n  value = {value}\n}}\n"), expected);
}

#[test]
fn deep_nesting_has_a_place() {
    for (open, close, column) in [
        ("[", "]", 75),
        ("(", ")", 75),
        ("{a=", "}", 201),
        ("upper(", ")", 395),
        ("\"${", "}\"", 203),
        ("!", "", 75),
        ("-", "", 75),
        ("[for x in ", "]", 651),
        ("a[", "]", 139),
        ("a ? ", "", 267),
    ] {
        let value = open.repeat(10_000) + "1" + &close.repeat(10_000);
        refused_value(&value, &[&format!("main.hcl:2:{column} E0101")]);
        let found =
            told(&[("main.hcl", format!("output \"o\" {{\n  value = {}\n}}\n", open.repeat(10_000)))]);
        assert!(found.iter().all(|told| told.starts_with("main.hcl:2:")) && !found.is_empty(), "{found:?}");
    }
    let directives = format!("\"{}{}\"", "%{ if true }".repeat(10_000), "%{ endif }".repeat(10_000));
    refused_value(&directives, &["main.hcl:2:774 E0101"]);
    for blocks in ["host \"h\" {\n".repeat(10_000), "a {\n".repeat(10_000) + &"}\n".repeat(10_000)] {
        let found = told(&[("main.hcl", blocks)]);
        assert!(found.first().is_some_and(|told| told.starts_with("main.hcl:65:")), "{:?}", found.first());
    }
}

#[test]
fn huge_numbers_have_a_place() {
    let digits = "9".repeat(100_000);
    for number in ["1e999999999", "-1e999999999", "1e-999999999", &format!("0.{digits}")] {
        refused_value(number, &["main.hcl:2:11 E0102"]);
    }
    for number in [&digits, &format!("1e{digits}"), &format!("{digits}.{digits}e{digits}")] {
        refused_value(number, &["main.hcl:2:11 E0102"]);
    }
    refused_value("9e4095 * 9e4095", &["main.hcl:2:11 E0411"]);
    for (call, column) in [
        ("pow(10, 1e9)", 15),
        ("range(1e9)", 11),
        ("range(0, 1e9, 1e-9)", 20),
        ("substr(\"a\", -1e300, 1e300)", 23),
        ("element([1], 1e300)", 24),
        ("slice([1], 1e300, -1e300)", 22),
        ("parseint(\"zz\", 1e9)", 26),
        ("chunklist([1], 1e-300)", 26),
        ("indent(1e9, \"a\\nb\")", 18),
        ("format(\"%*d\", 1e9, 1)", 18),
        ("format(\"%1000000000s\", \"a\")", 18),
        ("format(\"%.1000000000f\", 1)", 18),
        ("format(\"%99999999999999999999999s\", 1)", 18),
        ("formatlist(\"%1000000000s\", [\"a\"])", 22),
    ] {
        refused_value(call, &[&format!("main.hcl:2:{column} E0505")]);
    }
}

#[test]
fn patterns_that_explode_have_a_place() {
    refused_value("regex(\"(((a{1000}){1000}){1000}){1000}\", \"a\")", &["main.hcl:2:17 E0505"]);
    let long = "x".repeat(100_000);
    refused_value(&format!("regex(\"(x+x+)+y\", \"{long}\")"), &["main.hcl:2:29 E0505"]);
}

#[test]
fn bytes_that_are_no_text_have_a_place() {
    for (text, expected) in [
        ("\u{0}", "main.hcl:1:1 E0101"),
        ("output \"o\" {\n  value = 1\u{0}\n}", "main.hcl:2:12 E0101"),
        ("output \"o\" {\n\n\u{feff}  value = 1\n}", "main.hcl:3:1 E0101"),
        ("\u{feff}\u{feff}output \"o\" {}", "main.hcl:1:2 E0101"),
        ("output \"o\" {\r\n  value = 1 / 0\r\n}\r\n", "main.hcl:2:11 E0411"),
        ("\u{feff}output \"o\" {\r\n  value = 'x'\r\n}\r\n", "main.hcl:2:11 E0101"),
        ("output \"o\" {\r  value = 1\r}\r", "main.hcl:1:13 E0101"),
        ("output \"o\" {\n  value = \"\\uD800\"\n}", "main.hcl:2:14 E0101"),
        ("locals {\n  a = local.b\n  b = local.a\n}", "main.hcl:2:3 E0301"),
    ] {
        refused(text, &[expected]);
    }
}

#[test]
fn texts_and_lists_that_multiply_have_a_place() {
    let (mut doubled, mut joined) = ("locals {\n  t0 = \"0123456789\"\n".to_owned(), String::new());
    joined.clone_from(&doubled);
    for index in 1..40 {
        let before = index - 1;
        doubled += &format!("  t{index} = \"${{local.t{before}}}${{local.t{before}}}\"\n");
        joined += &format!("  t{index} = join(local.t{before}, [local.t{before}, local.t{before}])\n");
    }
    let end = "}\noutput \"t\" {\n  value = local.t39\n}\n";
    refused(&(doubled + end), &["main.hcl:25:9 E0407"]);
    refused(&(joined + end), &["main.hcl:17:14 E0505"]);
}

/// A text of 1 MiB and a list of 100 000 elements.
const LARGE: &str = "locals {\n  text = join(\"\", [for i in range(1024) : format(\"%1024d\", i)])\n  \
                     list = flatten([for i in range(100) : range(1000)])\n}\n";

#[test]
fn large_results_that_a_loop_repeats_have_a_place() {
    for (each, code) in [("\"${local.text}!\"", "E0506"), ("templatestring(local.text, {})", "E0432")] {
        let value = format!("output \"o\" {{\n  value = [for i in range(1024) : {each}]\n}}\n");
        refused(&(LARGE.to_owned() + &value), &[&format!("main.hcl:6:35 {code}")]);
    }
    let value = "output \"o\" {\n  value = [for i in range(1024) : concat(local.list, [i])]\n}\n";
    refused(&(LARGE.to_owned() + value), &["main.hcl:6:35 E0506"]);
}

#[test]
fn large_values_that_many_blocks_take_have_a_place() {
    let outputs = (0..1030).map(|number| format!("output \"o{number}\" {{\n  value = local.text\n}}\n"));
    let found = told(&[("main.hcl", LARGE.to_owned() + &outputs.collect::<String>())]);
    assert!((1..20).contains(&found.len()), "{}", found.len());
    assert!(
        found.iter().all(|told| told.starts_with("main.hcl:30") && told.ends_with(":11 E0401")),
        "{found:?}"
    );
}

#[test]
fn templates_in_a_loop_take_steps_of_one_expression() {
    let text = "locals {\n  t = \"%%{for a in l}%%{for b in l}.%%{endfor}%%{endfor}\"\n}\noutput \"o\" {\n  \
                value = [for i in range(1000) : templatestring(local.t, {l = range(100)})]\n}\n";
    refused(text, &["main.hcl:5:35 E0432"]);
}

#[test]
fn a_file_of_blocks_that_are_not_closed_is_told_in_few_errors() {
    let found = told(&[("main.hcl", "value \"a\" {\n".repeat(10_000))]);
    assert_eq!(found.len(), 21, "{found:?}");
    let (program, found) = Program::load([("main.hcl".to_owned(), "a \"b\" {\n".repeat(100))], &["host"]);
    let rest = found.iter().find(|it| it.summary.contains("more syntax errors")).expect("it says so");
    assert_eq!(rest.summary, "and 16 more syntax errors in this file, from here on");
    let place = rest.span.and_then(|span| program.sources().positions(span)).map(|(start, _)| start.line);
    assert!(place.is_some_and(|line| (80..90).contains(&line)), "{place:?}");
}

#[test]
fn a_number_that_is_too_large_has_its_own_place() {
    let large = "1".repeat(5000);
    refused(&format!("locals {{\n  a = [1, {large}]\n}}\n"), &["main.hcl:2:11 E0102"]);
    refused(&format!("locals {{\n  a = \"{large} ${{{large}}}\"\n}}\n"), &["main.hcl:2:5011 E0102"]);
}
