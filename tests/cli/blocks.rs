//! Blocks about what is recorded and what should hold, through the binary: moved, removed, import, check, data, lifecycle.

use crate::folder::{Folder, finish};

fn value(name: &str, input: &str) -> String {
    format!("value \"{name}\" {{\n  input = \"{input}\"\n}}\n")
}

#[test]
fn objects_move_are_forgotten_and_imported() {
    let folder = Folder::with(&format!("{}{}", value("a", "1"), value("b", "2")));
    folder.must("apply -auto-approve");
    let next = "moved {\n  from = value.a\n  to   = value.c\n}\nremoved {\n  from = value.b\n  lifecycle {\n    destroy = false\n  }\n}\n\
                import {\n  to = value.d\n  id = \"4\"\n}\n";
    folder.write("main.hcl", &format!("{}{}{next}", value("c", "1"), value("d", "4")));
    let plan = folder.must("plan").stdout;
    for line in [
        "value.c has moved",
        "it was value.a",
        "value.b will no longer be managed",
        "imported from \"4\"",
        "1 to import, 0 to add, 0 to change, 0 to destroy, 1 to forget",
    ] {
        assert!(plan.contains(line), "{line} in\n{plan}");
    }
    folder.must("apply -auto-approve");
    assert_eq!(folder.must("state list").stdout, "value.c\nvalue.d\n");
    let again = folder.run("plan -detailed-exitcode");
    assert_eq!(again.code, Some(0), "{}", again.all());
}

#[test]
fn a_replacement_is_created_first_and_the_old_one_goes_last() {
    let spec = |trigger: u32| {
        format!(
            "value \"a\" {{\n  triggers_replace = {trigger}\n  lifecycle {{\n    create_before_destroy = true\n  }}\n}}\n"
        )
    };
    let folder = Folder::with(&spec(1));
    folder.must("apply -auto-approve");
    folder.write("main.hcl", &spec(2));
    let said = folder.must("apply -auto-approve");
    assert!(said.stdout.contains("1 added, 0 changed, 1 destroyed"), "{}", said.all());
    assert_eq!(folder.must("state list").stdout, "value.a\n");
}

#[test]
fn checks_warn_and_postconditions_fail_behind_the_step() {
    let spec = "value \"a\" {\n  input = 3\n  lifecycle {\n    postcondition {\n      condition     = self.output < 3\n      error_message = \"Too much.\"\n    }\n  }\n}\n\
                check \"c\" {\n  assert {\n    condition     = 1 > 2\n    error_message = \"Odd.\"\n  }\n}\n";
    let folder = Folder::with(spec);
    let said = folder.run("apply -auto-approve");
    assert_eq!(said.code, Some(1), "{}", said.all());
    assert!(said.all().contains("Too much."), "{}", said.all());
    assert_eq!(folder.must("state list").stdout, "value.a\n");
    folder.write("main.hcl", &spec.replace("< 3", "> 2"));
    let said = folder.must("apply -auto-approve");
    assert!(said.stderr.contains("Odd."), "{}", said.all());
}

#[test]
fn ephemeral_values_are_in_no_file() {
    let spec = "variable \"p\" {\n  type      = string\n  ephemeral = true\n}\n\nvalue \"a\" {\n  input = 1\n  lifecycle {\n    precondition {\n      \
                condition     = length(var.p) == 8\n      error_message = \"Wrong.\"\n    }\n  }\n}\n";
    let folder = Folder::with(spec);
    let mut command = folder.command("plan -out=saved");
    command.env("LUSTRE_VAR_p", "hunter22");
    let said = finish(command, "");
    assert_eq!(said.code, Some(0), "{}", said.all());
    folder.must("apply saved");
    for name in folder.names() {
        let bytes = fs_err::read(folder.path(&name)).expect("a file can be read");
        assert!(!String::from_utf8_lossy(&bytes).contains("hunter22"), "{name}");
    }
}

#[test]
fn data_reads_the_state_of_another_folder() {
    let folder = Folder::with(
        "data \"cluster\" \"x\" {\n  state = \"lab/lustre.state\"\n  name  = \"scratch\"\n}\noutput \"o\" {\n  value = data.cluster.x.dns_name\n}\n",
    );
    let said = folder.run("plan");
    assert_eq!(said.code, Some(1), "{}", said.all());
    assert!(said.stderr.contains("no file is there"), "{}", said.all());
    folder.must("validate");
    fs_err::create_dir_all(folder.path("lab")).expect("a folder can be made");
    folder.write("lab/main.hcl", "value \"v\" {}\n");
    folder.must("-chdir=lab apply -auto-approve");
    let said = folder.run("plan");
    assert_eq!(said.code, Some(1), "{}", said.all());
    assert!(said.stderr.contains("It records no cluster."), "{}", said.all());
}
