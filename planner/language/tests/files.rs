//! Files as they come: byte order marks, line ends, one-line blocks, values files, files that functions read.

use std::collections::BTreeMap;

use lustre_language::{Applying, Entry, EntryKind, Input, Moment, Program, Scope, World, WorldError};

/// A world of files in memory.
struct Folder(BTreeMap<&'static str, &'static [u8]>);

impl World for Folder {
    fn read_file(&self, path: &str) -> Result<Vec<u8>, WorldError> {
        self.0.get(path).map(|bytes| bytes.to_vec()).ok_or(WorldError::NotFound)
    }

    fn file_exists(&self, path: &str) -> Result<bool, WorldError> {
        Ok(self.0.contains_key(path))
    }

    fn list_folder(&self, path: &str) -> Result<Vec<Entry>, WorldError> {
        let all = self.0.keys().filter(|_| path == ".");
        Ok(all.map(|name| Entry { name: (*name).to_owned(), kind: EntryKind::File }).collect())
    }

    fn planned_at(&self) -> Option<Moment> {
        None
    }

    fn applying(&self) -> Option<Applying> {
        None
    }

    fn working_folder(&self) -> String {
        "/folder".to_owned()
    }

    fn home_folder(&self) -> Option<String> {
        Some("/users/ops".to_owned())
    }
}

/// Evaluates the outputs of files, as plain JSON in one line each.
fn outputs(files: &[(&str, &str)], world: &Folder) -> (String, BTreeMap<String, String>) {
    let files = files.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
    let (mut program, mut found) = Program::load(files, &["host"]);
    let (inputs, values): (Vec<Input>, _) = program.read_values("x.vars.hcl", "given = [1]\n");
    found.extend(values);
    let scope = Scope::new(&program, world, &inputs);
    let lines: Vec<String> = program
        .outputs()
        .filter_map(|output| Some(format!("{} = {}", output.name, scope.output(output)?.to_plain()?)))
        .collect();
    found.extend(scope.take_diagnostics());
    let told: Vec<String> = found.iter().map(|it| format!("! {} {}", it.code, it.summary)).collect();
    ([lines, told].concat().join("\n"), scope.files_read())
}

fn check(files: &[(&str, &str)], expected: &str) {
    let world = Folder(BTreeMap::new());
    let (found, _) = outputs(files, &world);
    assert_eq!(found, format!("{expected}\n! W0604 value for undeclared variable `given`"));
}

#[test]
fn byte_order_marks_and_both_line_ends_are_taken() {
    check(&[("a.hcl", "\u{feff}output \"a\" { value = 1 }\n")], "a = 1");
    check(
        &[("a.hcl", "output \"a\" {\r\n  value = <<EOT\r\nx\r\n  y\r\nEOT\r\n}\r\n")],
        "a = \"x\\r\\n  y\\r\\n\"",
    );
    check(
        &[("a.hcl", "output \"a\" {\r\n  value = <<-EOT\r\n    x\r\n      y\r\n    EOT\r\n}\r\n")],
        "a = \"x\\r\\n  y\\r\\n\"",
    );
}

#[test]
fn places_in_a_file_with_a_byte_order_mark_are_those_of_the_file() {
    let text = "\u{feff}output \"a\" {\n  value = 1 / 0\n}\n";
    let (program, _) = Program::load([("a.hcl".to_owned(), text.to_owned())], &[]);
    let world = Folder(BTreeMap::new());
    let scope = Scope::new(&program, &world, &[]);
    program.outputs().for_each(|output| assert_eq!(scope.output(output), None));
    let found = scope.take_diagnostics();
    let span = found.iter().next().and_then(|it| it.span).unwrap();
    assert_eq!(program.sources().text(span), "1 / 0");
}

#[test]
fn comments_and_empty_files_are_nothing() {
    check(
        &[
            ("a.hcl", ""),
            (
                "b.hcl",
                "# one\n// two\n/* three\n{ */\noutput \"a\" { # four\n  value = /* five */ 1 // six\n}",
            ),
        ],
        "a = 1",
    );
}

#[test]
fn values_and_tests_are_no_part_of_the_program() {
    check(
        &[
            ("a.vars.hcl", "x = y"),
            ("b.test.hcl", "run \"x\" {}"),
            ("c.hcl", "output \"a\" {\n value = 1\n}"),
        ],
        "a = 1",
    );
}

#[test]
fn names_are_shared_by_the_files_of_a_folder() {
    check(
        &[
            ("a.hcl", "output \"a\" {\n value = local.x\n}"),
            ("b.hcl", "locals {\n x = var.y\n}"),
            ("c.hcl", "variable \"y\" {\n default = 5\n}"),
        ],
        "a = 5",
    );
}

#[test]
fn values_files_hold_constants_only() {
    let (mut program, _) = Program::load([], &[]);
    let text = "a = 1\nb = var.x\nc = upper(\"x\")\nblock {}\n";
    let (inputs, found) = program.read_values("x.vars.hcl", text);
    assert_eq!(inputs.iter().map(|input| input.name.as_str()).collect::<Vec<_>>(), ["a", "c"]);
    let codes: Vec<&str> = found.iter().map(|it| it.code).collect();
    assert_eq!(codes, ["E0603", "E0406"]);
}

#[test]
fn functions_read_through_the_world_and_what_they_read_is_known() {
    let world = Folder(BTreeMap::from([
        ("greeting.tpl", b"%{ for name in names ~}\nHello ${upper(name)}!\n%{ endfor ~}\n".as_slice()),
        ("data.json", b"{\"a\": [1]}".as_slice()),
        ("raw", b"\xff\x00".as_slice()),
    ]));
    let text = r#"
variable "given" {}
output "text" { value = templatefile("greeting.tpl", { names = ["a", "b"] }) }
output "json" { value = jsondecode(file("data.json")).a[0] }
output "raw" { value = filebase64("raw") }
output "bad" { value = file("raw") }
output "there" { value = [fileexists("raw"), fileexists("gone")] }
output "paths" { value = [abspath("x"), pathexpand("~/x"), path.cwd, path.module] }
output "given" { value = var.given }
"#;
    let (found, files) = outputs(&[("a.hcl", text)], &world);
    insta::assert_snapshot!(found, @r#"
    text = "Hello A!\nHello B!\n"
    json = 1
    raw = "/wA="
    there = [true,false]
    paths = ["/folder/x","/users/ops/x","/folder","."]
    given = [1]
    ! E0505 unsuitable argument `path` of `file`
    "#);
    assert_eq!(files.keys().collect::<Vec<_>>(), ["data.json", "greeting.tpl", "raw"]);
    assert_eq!(files["raw"], "ea5dbf9596d187e9500f23e9a680109475341cf4e81f7e043f7d97152c10772f");
}
