//! The specification suite of HCL: files, what a decoder specification makes of them, and the mistakes that are told.
//!
//! Each case is three files: `NAME.hcl`, `NAME.hcldec` (what is expected in it) and `NAME.t` (the result, its type, the
//! places of mistakes). With `SUITES` set to the `tests` folder of a copy of hashicorp/hcl's `specsuite`, or to a folder
//! around it, all cases in it run; cases of the same shape in `specsuite/` always run. Two things are wider here than there: numbers
//! are exact decimals, so that a result in binary digits is compared to 150 digits, and a mistake counts as told when it
//! is told on one of the lines that are named, in however many diagnostics.

use std::path::{Path, PathBuf};

use lustre_language::{Body, EmptyWorld, Program, Scope};
use lustre_model::types::Type;
use lustre_model::value::{Kind, Number, Value};

/// Puts a file's text into a block, whose body is then evaluated as it is.
const HEAD: &str = "host \"file\" {\n";

/// A text as a body, with the program that holds its places and the lines that mistakes are told on.
struct Parsed {
    program: Program,
    body: Option<Body>,
    error_lines: Vec<u32>,
}

fn parse(text: &str) -> Parsed {
    let (program, mut found) = Program::load([("file".to_owned(), format!("{HEAD}{text}\n}}\n"))], &["host"]);
    let body = {
        let mut scope = Scope::new(&program, &EmptyWorld, &[]);
        let resource = program.resources().next();
        let body = resource.and_then(|resource| {
            let instance =
                scope.expand(lustre_language::ModuleInstance::ROOT, resource).into_iter().next()?;
            Some(scope.evaluate(resource, &instance).body)
        });
        found.extend(scope.take_diagnostics());
        body
    };
    let places = found.iter().filter_map(|it| program.sources().positions(it.span?));
    let error_lines = places.map(|(start, _)| start.line - 1).collect();
    Parsed { program, body, error_lines }
}

impl Parsed {
    /// Reads a type where one is written; as values, types are unknown names.
    fn kind(&self, body: &Body, name: &str) -> Option<Type> {
        let text = self.program.sources().text(body.attributes.get(name)?.span);
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        let text = lines.join(",").replace("{,", "{");
        Some(text.parse().expect("a type is written there"))
    }
}

/// What a specification makes of a body; a mistake is told with its line.
fn decode(spec: &Parsed, wanted: &Body, found: &Parsed, body: &Body) -> Result<Value, u32> {
    let part = wanted.blocks.iter().find(|part| part.kind != "variables");
    let part = part.expect("a specification has a block");
    let label = part.labels.first().map(|label| label.text.as_str());
    let inner = |body: &Body| decode(spec, &part.body, found, body);
    let kind = part.body.attributes.get("block_type").and_then(|it| it.value.as_str().map(str::to_owned));
    let kind = kind.or(label.map(str::to_owned)).unwrap_or_default();
    match part.kind.as_str() {
        "literal" => Ok(part.body.attributes["value"].value.clone()),
        "object" => object(spec, &part.body, found, body),
        "attr" => {
            let wanted = spec.kind(&part.body, "type").unwrap_or(Type::Any);
            let Some(attribute) = body.attributes.get(label.expect("an attribute has a name")) else {
                return Ok(Value::null(wanted));
            };
            let line = found.program.sources().positions(attribute.span).map_or(1, |(start, _)| start.line);
            attribute.value.convert(&wanted).map_err(|_| line - 1)
        }
        "block" => {
            body.blocks_of(&kind).next().map_or(Ok(Value::null(Type::Any)), |block| inner(&block.body))
        }
        "block_list" => {
            body.blocks_of(&kind).map(|block| inner(&block.body)).collect::<Result<_, _>>().map(Value::tuple)
        }
        "block_map" => {
            let entries =
                body.blocks_of(&kind).map(|block| Ok((block.labels[0].text.clone(), inner(&block.body)?)));
            entries.collect::<Result<Vec<_>, u32>>().map(Value::object)
        }
        other => unreachable!("the specification says `{other}`, which is not known here"),
    }
}

fn object(spec: &Parsed, wanted: &Body, found: &Parsed, body: &Body) -> Result<Value, u32> {
    let expected: Vec<&str> =
        wanted.blocks.iter().filter_map(|it| Some(it.labels.first()?.text.as_str())).collect();
    for (name, attribute) in &body.attributes {
        if !expected.contains(&name.as_str()) {
            let line =
                found.program.sources().positions(attribute.name_span).map_or(1, |(start, _)| start.line);
            return Err(line - 1);
        }
    }
    let entries = wanted.blocks.iter().map(|part| {
        let one = Body { blocks: vec![part.clone()], ..wanted.clone() };
        let name = part.labels.first().expect("a part of an object has a name").text.clone();
        Ok((name, decode(spec, &one, found, body)?))
    });
    entries.collect::<Result<Vec<_>, u32>>().map(Value::object)
}

/// Compares, with numbers to 150 digits.
fn alike(found: &Value, wanted: &Value) -> bool {
    match (found.kind(), wanted.kind()) {
        (Kind::Number(a), Kind::Number(b)) => {
            let near: Number = "1e-150".parse().expect("a number");
            a.subtract(b).is_ok_and(|difference| difference.abs() <= near)
        }
        (Kind::Null(_), Kind::Null(_)) => true,
        (_, _) if found.as_map().is_some() && wanted.as_map().is_some() => {
            let (a, b) = (found.as_map().expect("a map"), wanted.as_map().expect("a map"));
            a.keys().eq(b.keys()) && a.values().zip(b.values()).all(|(a, b)| alike(a, b))
        }
        (_, _) if found.as_list().is_some() && wanted.as_list().is_some() => {
            let (a, b) = (found.as_list().expect("a list"), wanted.as_list().expect("a list"));
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| alike(a, b))
        }
        (a, b) => a == b,
    }
}

/// The lines that the mistakes of a case are expected on.
fn expected_lines(test: &Body) -> Vec<(u64, u64)> {
    let errors = test.blocks_of("diagnostics").flat_map(|block| block.body.blocks_of("error"));
    let line = |body: &Body, name: &str| {
        body.blocks_of(name).next().and_then(|at| at.body.attributes["line"].value.as_u64()).expect("a line")
    };
    errors.map(|error| (line(&error.body, "from"), line(&error.body, "to"))).collect()
}

/// Writes the variables that a specification gives as locals: names without a root are none of the language's.
fn with_variables(text: String, spec: &Parsed) -> String {
    let given = spec.body.iter().flat_map(|body| body.blocks_of("variables"));
    given.flat_map(|block| &block.body.attributes).fold(text, |text, (name, attribute)| {
        let Some(value) = attribute.value.as_str() else { return text };
        text.replace(&format!("${{{name}}}"), &format!("${{\"{value}\"}}"))
    })
}

/// Runs a case; says what is wrong.
fn run(test: &Path) -> Result<(), String> {
    let read = |extension: &str| {
        fs_err::read_to_string(test.with_extension(extension)).map_err(|error| error.to_string())
    };
    let (test, spec) = (parse(&read("t")?), parse(&read("hcldec")?));
    let found = parse(&with_variables(read("hcl")?, &spec));
    let told = test.body.as_ref().ok_or("the test does not parse")?;
    let wanted = spec.body.as_ref().ok_or("the specification does not parse")?;
    let result = match (&found.body, found.error_lines.as_slice()) {
        (Some(body), []) => decode(&spec, wanted, &found, body).map_err(|line| vec![line]),
        (_, lines) => Err(lines.to_vec()),
    };
    let expected = expected_lines(told);
    match (result, expected.is_empty()) {
        (Err(lines), true) => Err(format!("mistakes are told on the lines {lines:?}")),
        (Err(lines), false) => {
            let told = lines
                .iter()
                .any(|line| expected.iter().any(|(from, to)| (*from..=*to).contains(&u64::from(*line))));
            if told { Ok(()) } else { Err(format!("told on the lines {lines:?}, expected on {expected:?}")) }
        }
        (Ok(value), false) => Err(format!("no mistake is told, but {}", value.to_lossless())),
        (Ok(value), true) => {
            if let Some(kind) = test.kind(told, "result_type") {
                value.convert(&kind).map_err(|error| format!("not of the type {kind}: {error}"))?;
            }
            let Some(wanted) = told.attributes.get("result") else { return Ok(()) };
            let same = alike(&value, &wanted.value);
            let (value, wanted) = (value.to_lossless(), wanted.value.to_lossless());
            if same { Ok(()) } else { Err(format!("is {value}\n  not {wanted}")) }
        }
    }
}

fn tests_below(folder: &Path, found: &mut Vec<PathBuf>) {
    let entries = fs_err::read_dir(folder).expect("the folder of the suite can be read");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            tests_below(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "t") {
            found.push(path);
        }
    }
}

fn run_all(folder: &Path) -> usize {
    let mut tests = Vec::new();
    tests_below(folder, &mut tests);
    let wrong = tests.iter().filter_map(|test| Some(format!("{}: {}", test.display(), run(test).err()?)));
    let wrong: Vec<String> = wrong.collect();
    assert!(wrong.is_empty(), "{} of {} cases:\n{}", wrong.len(), tests.len(), wrong.join("\n"));
    tests.len()
}

#[test]
fn own_cases_come_out_as_they_say() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/specsuite");
    assert_eq!(run_all(&folder), 5);
}

#[test]
fn a_case_that_is_wrong_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let case = |hcl: &str, test: &str| {
        for (name, text) in
            [("x.hcl", hcl), ("x.hcldec", "object {\n attr \"a\" { type = any }\n}\n"), ("x.t", test)]
        {
            fs_err::write(folder.path().join(name), text).expect("a file");
        }
        run(&folder.path().join("x.t"))
    };
    assert_eq!(case("a = 1\n", "result = { a = 1 }\n"), Ok(()));
    assert!(case("a = 1\n", "result = { a = 2 }\n").is_err());
    assert!(case("b = 1\n", "result = { a = null }\n").is_err());
    assert!(case("a = \n", "result = { a = null }\n").is_err());
    let place = "diagnostics {\n error {\n  from {\n   line = 2\n  }\n  to {\n   line = 2\n  }\n }\n}\n";
    assert!(case("a = 1\n", place).is_err());
    assert!(case("\n\n\nb = 1\n", place).is_err());
    assert_eq!(case("\nb = 1\n", place), Ok(()));
}

#[test]
fn the_suite_of_hashicorp_passes_where_it_is_given() {
    if let Some(folder) = std::env::var_os("SUITES") {
        assert!(run_all(Path::new(&folder)) > 0, "there are no cases in {}", Path::new(&folder).display());
    }
}
