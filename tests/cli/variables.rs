//! Where values of variables come from, and which of them wins.

use crate::folder::{Folder, finish};

const SPEC: &str = "variable \"x\" {\n  type    = string\n  default = \"default\"\n}\n\noutput \"x\" {\n  value = var.x\n}\n";

fn value(folder: &Folder, words: &str, environment: Option<&str>) -> String {
    let mut command = folder.command(&format!("apply -auto-approve {words}"));
    command.envs(environment.map(|text| ("LUSTRE_VAR_x", text)));
    let said = finish(command, "");
    assert_eq!(said.code, Some(0), "{}", said.all());
    folder.must("output -raw x").stdout
}

#[test]
fn later_sources_win_over_earlier_ones() {
    let folder = Folder::with(SPEC);
    assert_eq!(value(&folder, "", None), "default");
    assert_eq!(value(&folder, "", Some("environment")), "environment");
    folder.write("lustre.vars.hcl", "x = \"file\"\n");
    assert_eq!(value(&folder, "", Some("environment")), "file");
    folder.write("b.auto.vars.hcl", "x = \"b\"\n");
    folder.write("a.auto.vars.hcl", "x = \"a\"\n");
    assert_eq!(value(&folder, "", None), "b");
    folder.write("named.hcl.txt", "x = \"named\"\n");
    assert_eq!(value(&folder, "-var x=flag", None), "flag");
    assert_eq!(value(&folder, "-var x=flag -var-file=named.hcl.txt", None), "named");
    assert_eq!(value(&folder, "-var-file=named.hcl.txt -var x=flag", None), "flag");
}

#[test]
fn texts_are_converted_to_the_type_of_the_variable() {
    let spec = "variable \"x\" {\n  type = list(number)\n}\n\noutput \"x\" {\n  value = var.x[1]\n}\n";
    let folder = Folder::with(spec);
    assert_eq!(value(&folder, "-var x=[1,2]", None), "2");
    assert_eq!(value(&folder, "", Some("[1,3]")), "3");
    let wrong = folder.run("plan -var x=hello");
    assert_eq!(wrong.code, Some(1), "{}", wrong.all());
}

#[test]
fn a_variable_without_value_is_asked_for_or_missed() {
    let folder = Folder::with("variable \"x\" {\n  type = string\n}\n\noutput \"x\" {\n  value = var.x\n}\n");
    let missed = folder.run("plan -input=false");
    assert_eq!(missed.code, Some(1), "{}", missed.all());
    assert!(missed.stderr.contains("x"), "{}", missed.all());
    let asked = folder.answer("apply -auto-approve", "typed\n");
    assert_eq!(asked.code, Some(0), "{}", asked.all());
    assert!(asked.stderr.contains("var.x"), "{}", asked.all());
    assert_eq!(folder.must("output -raw x").stdout, "typed");
}

#[test]
fn an_undeclared_variable_is_an_error_on_the_command_line() {
    let folder = Folder::with(SPEC);
    let said = folder.run("plan -var y=1");
    assert_eq!(said.code, Some(1), "{}", said.all());
    assert!(said.stderr.contains("\"y\"") || said.stderr.contains("`y`"), "{}", said.all());
}
