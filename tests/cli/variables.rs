//! Where values of variables come from, and which of them wins.

use std::io::{Read as _, Write as _};
use std::process::{Command, Stdio};

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

#[test]
fn files_of_values_that_terraform_would_read_are_named() {
    let folder = Folder::with(SPEC);
    folder.write("terraform.tfvars", "x = \"ignored\"\n");
    folder.write("more.auto.tfvars.json", "{\"x\": \"ignored\"}\n");
    let said = folder.must("plan");
    for told in ["terraform.tfvars is not read", "lustre.vars.hcl", "more.auto.vars.hcl"] {
        assert!(said.stderr.contains(told), "{told}: {}", said.all());
    }
    let given = folder.must("plan -var-file=terraform.tfvars");
    assert!(!given.stderr.contains("terraform.tfvars is not read"), "{}", given.all());
}

/// Plans on a terminal of its own, types an answer to the first question, and returns what the terminal showed.
fn typed(folder: &Folder, answer: &str) -> String {
    let plan = format!("{} plan -no-color", folder.command("").get_program().display());
    let mut command = Command::new("script");
    command.args(["-qfec", &plan, "/dev/null"]).current_dir(folder.path(""));
    let mut script = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("script is there");
    let (mut shown, mut byte) = (Vec::new(), [0]);
    let mut screen = script.stdout.take().expect("piped");
    while !shown.ends_with(b"Enter a value: ") && screen.read(&mut byte).expect("a screen") == 1 {
        shown.push(byte[0]);
    }
    let mut keys = script.stdin.take().expect("piped");
    writeln!(keys, "{answer}").expect("it listens");
    screen.read_to_end(&mut shown).expect("a screen");
    assert!(script.wait().expect("it ends").success());
    String::from_utf8(shown).expect("text")
}

#[test]
fn what_is_typed_for_a_sensitive_variable_is_not_shown() {
    let spec = "variable \"x\" {\n  type = string\nSENSITIVE}\n\nvalue \"x\" {\n  input = length(var.x)\n}\n";
    let open = typed(&Folder::with(&spec.replace("SENSITIVE", "")), "tell-me");
    assert!(open.contains("tell-me") && open.contains("1 to add"), "{open}");
    let hidden = typed(&Folder::with(&spec.replace("SENSITIVE", "  sensitive = true\n")), "tell-me");
    assert!(!hidden.contains("tell-me") && hidden.contains("1 to add"), "{hidden}");
}
