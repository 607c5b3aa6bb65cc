//! `test`: runs that pass and fail, what they see of each other, and that nothing of them stays.

use std::time::Duration;

use crate::folder::{Folder, Said};

const MAIN: &str = r#"
variable "size" {
  type    = number
  default = 2
  validation {
    condition     = var.size > 0
    error_message = "size must be positive."
  }
}

locals {
  double = var.size * 2
}

value "v" {
  input = "size ${var.size}"
}

check "small" {
  assert {
    condition     = var.size < 100
    error_message = "That is large."
  }
}

output "text" {
  value = value.v.output
}

output "double" {
  value = local.double
}
"#;

/// A folder with the spec and `tests/a.test.hcl`.
fn folder(test: &str) -> Folder {
    let folder = Folder::with(MAIN);
    fs_err::create_dir_all(folder.path("tests")).expect("a folder can be made");
    folder.write("tests/a.test.hcl", test);
    folder
}

/// Runs tests with temporary folders inside of the test's own.
fn run(folder: &Folder, words: &str) -> Said {
    fs_err::create_dir_all(folder.path("tmp")).expect("a folder can be made");
    let mut command = folder.command(words);
    command.env("TMPDIR", folder.path("tmp"));
    crate::folder::finish(command, "")
}

/// What states are left of tests.
fn left(folder: &Folder) -> usize {
    fs_err::read_dir(folder.path("tmp")).expect("it can be listed").count()
}

/// A message without the frame that it is drawn in.
fn words(text: &str) -> String {
    text.split_whitespace().filter(|word| *word != "│").collect::<Vec<_>>().join(" ")
}

#[test]
fn runs_that_hold_pass_and_leave_nothing() {
    let folder = folder(
        r#"
variables {
  size = 3
}

run "plans" {
  command = plan
  assert {
    condition     = local.double == 6 && var.size == 3 && output.double == 6
    error_message = "The file's variables do not count."
  }
}

run "applies" {
  variables {
    size = run.plans.double + 1
  }
  assert {
    condition     = value.v.output == "size 7"
    error_message = "It is ${value.v.output}."
  }
  assert {
    condition     = output.text == "size 7" && run.plans.double == 6
    error_message = "It is ${output.text}."
  }
}

run "sees_what_was_applied" {
  command = plan
  variables {
    size = 7
  }
  assert {
    condition     = value.v.output == "size 7"
    error_message = "What was applied is known."
  }
}
"#,
    );
    let said = run(&folder, "test");
    assert_eq!(said.code, Some(0), "{}", said.all());
    assert_eq!(
        said.stdout,
        "tests/a.test.hcl... in progress\n  run \"plans\"... pass\n  run \"applies\"... pass\n  \
         run \"sees_what_was_applied\"... pass\ntests/a.test.hcl... tearing down\ntests/a.test.hcl... pass\n\n\
         Success! 3 passed, 0 failed.\n"
    );
    assert_eq!(left(&folder), 0, "the state goes");
    assert_eq!(folder.names(), ["main.hcl", "tests", "tmp"], "the spec's own state is not made");
}

#[test]
fn an_assertion_that_fails_shows_values_and_the_next_run_goes_on() {
    let folder = folder(
        "run \"a\" {\n  assert {\n    condition     = value.v.output == \"other\"\n    error_message = \"It is another.\"\n  }\n}\n\
         run \"b\" {}\n",
    );
    let said = run(&folder, "test");
    assert_eq!(said.code, Some(1), "{}", said.all());
    assert!(
        said.stdout.contains("run \"a\"... fail") && said.stdout.contains("run \"b\"... pass"),
        "{}",
        said.all()
    );
    assert!(said.stdout.ends_with("Failure! 1 passed, 1 failed.\n"), "{}", said.all());
    let told = words(&said.stderr);
    for part in ["E0970", "It is another.", "value.v.output is \"size 2\"", "tests/a.test.hcl:3"] {
        assert!(told.contains(part), "{part}: {}", said.all());
    }
    assert_eq!(left(&folder), 0, "what was applied is destroyed after a failure too");
}

#[test]
fn values_that_a_plan_does_not_know_are_an_error_and_what_follows_is_skipped() {
    let folder = folder(
        "run \"a\" {\n  command = plan\n  assert {\n    condition     = value.v.id != \"\"\n    error_message = \"-\"\n  }\n}\n\
         run \"b\" {}\n",
    );
    let main = MAIN.replace("value.v.output\n", "value.w.output\n");
    folder.write("main.hcl", &format!("{main}\nvalue \"w\" {{\n  input = timestamp()\n}}\n"));
    folder.write("tests/a.test.hcl", &folder.read("tests/a.test.hcl").replace("value.v.id", "output.text"));
    let said = run(&folder, "test");
    assert_eq!(said.code, Some(1), "{}", said.all());
    assert!(
        said.stderr.contains("E0971") && words(&said.stderr).contains("known only after apply"),
        "{}",
        said.all()
    );
    assert!(said.stdout.contains("run \"b\"... skip"), "{}", said.all());
    assert!(said.stdout.ends_with("Failure! 0 passed, 1 failed, 1 skipped.\n"), "{}", said.all());
    folder.write("tests/a.test.hcl", &folder.read("tests/a.test.hcl").replace("command = plan", ""));
    let said = run(&folder, "test");
    assert_eq!(said.code, Some(0), "an apply knows it: {}", said.all());
}

#[test]
fn what_is_expected_to_fail_must_fail() {
    let expecting = |what: &str, size: &str, command: &str| {
        let folder = folder(&format!(
            "run \"a\" {{\n  {command}\n  variables {{\n    size = {size}\n  }}\n  expect_failures = [{what}]\n}}\n"
        ));
        let said = run(&folder, "test");
        assert_eq!(left(&folder), 0, "{}", said.all());
        said
    };
    for (what, size, command) in [
        ("var.size", "-1", "command = plan"),
        ("check.small", "500", "command = plan"),
        ("check.small", "500", ""),
    ] {
        let said = expecting(what, size, command);
        assert_eq!(said.code, Some(0), "{what} {command}: {}", said.all());
    }
    for (what, size, command, code) in [
        ("var.size", "1", "command = plan", "E0976"),
        ("check.small", "1", "", "E0976"),
        ("var.size", "500", "command = plan", "E0601"),
        ("", "500", "", "E0601"),
        ("", "-1", "", "E0601"),
        ("var.size", "-1", "", "E0977"),
        ("var.sise", "1", "", "E0972"),
        ("value.v", "1", "", "E0972"),
        ("local.double", "1", "", "E0972"),
    ] {
        let said = expecting(what, size, command);
        assert_eq!(said.code, Some(1), "{what} {size}: {}", said.all());
        assert!(said.stderr.contains(code), "{what} {size} {code}: {}", said.all());
    }
}

#[test]
fn a_postcondition_that_fails_while_applying_can_be_expected() {
    let folder = folder("run \"a\" {\n  expect_failures = [value.late]\n}\n");
    folder.write(
        "main.hcl",
        "value \"late\" {\n  input = timestamp()\n  lifecycle {\n    postcondition {\n      condition     = self.output == \"never\"\n\
         error_message = \"No.\"\n    }\n  }\n}\n\nvalue \"other\" {\n  input = 1\n}\n",
    );
    let said = run(&folder, "test");
    assert_eq!(said.code, Some(0), "{}", said.all());
    folder.write("tests/a.test.hcl", "run \"a\" {}\n");
    let said = run(&folder, "test");
    assert_eq!(said.code, Some(1), "{}", said.all());
    assert!(said.stderr.contains("E0601"), "{}", said.all());
    assert_eq!(left(&folder), 0, "half an apply is destroyed as well");
}

#[test]
fn a_run_may_be_about_a_module_and_has_a_state_of_its_own() {
    let folder = folder(
        "run \"setup\" {\n  module {\n    source = \"./tests/setup\"\n  }\n  variables {\n    seed = \"x\"\n  }\n  assert {\n    \
         condition     = value.s.output == \"x\"\n    error_message = \"-\"\n  }\n}\n\nrun \"main\" {\n  variables {\n    \
         size = run.setup.size\n  }\n  assert {\n    condition     = output.double == 10\n    error_message = \"-\"\n  }\n}\n",
    );
    fs_err::create_dir_all(folder.path("tests/setup")).expect("a folder can be made");
    folder.write(
        "tests/setup/main.hcl",
        "variable \"seed\" {}\nvalue \"s\" {\n  input = var.seed\n}\noutput \"size\" {\n  value = 5\n}\n",
    );
    let said = run(&folder, "test");
    assert_eq!(said.code, Some(0), "{}", said.all());
    assert_eq!(left(&folder), 0);
    folder.write("tests/setup/main.hcl", "value \"s\" {\n  input = var.sead\n}\n");
    let said = run(&folder, "test");
    assert_eq!(said.code, Some(1), "{}", said.all());
    assert!(said.stderr.contains("tests/setup/main.hcl:2"), "{}", said.all());
    folder.write("tests/a.test.hcl", "run \"a\" {\n  module {\n    source = \"./nowhere\"\n  }\n}\n");
    let said = run(&folder, "test");
    assert!(said.stderr.contains("E0225") && said.stderr.contains("tests/a.test.hcl:3"), "{}", said.all());
}

#[test]
fn all_mistakes_of_all_files_are_told_at_once_and_nothing_runs() {
    let folder = folder(
        "run \"a\" {\n  comand = plan\n  command = plans\n  assert {\n    condition = run.later.x == 1\n    error_message = \"-\"\n  }\n}\n\
         run \"a\" {}\nrun \"b\" {\n  plan_options {\n    mode = refresh-only\n  }\n}\nmock_provider \"aws\" {}\n",
    );
    folder.write(
        "b.test.hcl",
        "variables {\n  size = value.v.output\n}\nrun \"c\" {\n  assert {\n    condition     = output.tixt == \"\" && var.sizes == 1\n    \
         error_message = \"-\"\n  }\n}\nruns \"d\" {}\n",
    );
    for command in ["test", "validate"] {
        let said = run(&folder, command);
        assert_eq!(said.code, Some(1), "{}", said.all());
        for code in ["E0211", "E0973", "E0975", "E0201", "E0974", "E0304", "E0203"] {
            assert!(said.stderr.contains(code), "{command} {code}: {}", said.all());
        }
        let told = words(&said.stderr);
        for part in
            ["Did you mean `text`?", "Did you mean `size`?", "refresh-only", "mock_provider", "b.test.hcl:2:"]
        {
            assert!(told.contains(part), "{command} {part}: {}", said.all());
        }
        assert!(!said.stdout.contains("run \""), "{}", said.all());
    }
    let json = run(&folder, "validate -json");
    assert!(json.json()["error_count"].as_u64() > Some(7), "{}", json.all());
    run(&folder, "plan -input=false").code.filter(|code| *code == 0).expect("a plan does not read tests");
}

#[test]
fn filters_and_another_folder_choose_files() {
    let folder = folder("run \"a\" {}\n");
    folder.write("b.test.hcl", "run \"b\" {}\n");
    fs_err::create_dir_all(folder.path("more")).expect("a folder can be made");
    folder.write("more/c.test.hcl", "run \"c\" {}\n");
    let ran = |words: &str| {
        let said = run(&folder, words);
        assert_eq!(said.code, Some(0), "{words}: {}", said.all());
        let names =
            ["a", "b", "c"].into_iter().filter(|name| said.stdout.contains(&format!("run \"{name}\"")));
        names.collect::<String>()
    };
    assert_eq!(ran("test"), "ab");
    assert_eq!(ran("test -filter=tests/a.test.hcl"), "a");
    assert_eq!(ran("test -filter=tests/a.test.hcl -filter=b.test.hcl"), "ab");
    assert_eq!(ran("test -test-directory=more"), "bc");
    for words in ["test -filter=tests/x.test.hcl", "test -test-directory=nowhere"] {
        let said = run(&folder, words);
        assert_eq!(said.code, Some(1), "{}", said.all());
        assert!(said.stderr.contains("E0981"), "{}", said.all());
    }
}

#[test]
fn flags_give_variables_and_files_and_runs_outdo_them() {
    let folder = folder(
        "run \"a\" {\n  command = plan\n  assert {\n    condition     = var.size == 9\n    error_message = \"-\"\n  }\n}\n\
         run \"b\" {\n  command = plan\n  variables {\n    size = var.size + 1\n  }\n  assert {\n    condition     = var.size == 10\n    \
         error_message = \"-\"\n  }\n}\n",
    );
    let said = run(&folder, "test -var size=9 -verbose");
    assert_eq!(said.code, Some(0), "{}", said.all());
    assert!(said.stdout.contains("Plan: 1 to add"), "{}", said.all());
    folder.write("x.vars.hcl", "size = 9\n");
    let said = run(&folder, "test -var-file=x.vars.hcl");
    assert_eq!(said.code, Some(0), "{}", said.all());
}

#[test]
fn json_has_terraforms_events() {
    let folder = folder(
        "run \"a\" {}\nrun \"b\" {\n  assert {\n    condition     = value.v.output == \"\"\n    error_message = \"-\"\n  }\n}\n",
    );
    let said = run(&folder, "test -json");
    assert_eq!(said.code, Some(1), "{}", said.all());
    let lines = said.lines();
    let kinds: Vec<&str> = lines.iter().filter_map(|line| line["type"].as_str()).collect();
    assert_eq!(
        kinds,
        [
            "version",
            "test_abstract",
            "test_file",
            "test_run",
            "test_run",
            "diagnostic",
            "test_file",
            "test_file",
            "test_summary"
        ]
    );
    assert_eq!(lines[1]["test_abstract"], serde_json::json!({ "tests/a.test.hcl": ["a", "b"] }));
    assert_eq!(lines[2]["test_file"]["progress"], "starting");
    assert_eq!(lines[3]["test_run"]["status"], "pass");
    assert_eq!(lines[4]["@testrun"], "b");
    assert_eq!(lines[4]["test_run"]["status"], "fail");
    assert_eq!(lines[5]["diagnostic"]["snippet"]["values"][0]["traversal"], "value.v.output");
    assert_eq!(lines[6]["test_file"]["progress"], "teardown");
    assert_eq!(lines[7]["test_file"]["status"], "fail");
    let summary =
        serde_json::json!({ "status": "fail", "passed": 1, "failed": 1, "errored": 0, "skipped": 0 });
    assert_eq!(lines[8]["test_summary"], summary);
}

#[test]
fn the_spec_s_own_state_is_not_touched() {
    let folder = folder("run \"a\" {\n  variables {\n    size = 50\n  }\n}\n");
    folder.must("apply -auto-approve");
    let before = folder.read("lustre.state");
    let said = run(&folder, "test");
    assert_eq!(said.code, Some(0), "{}", said.all());
    assert_eq!(folder.read("lustre.state"), before);
}

#[test]
fn plan_options_replace_and_target() {
    let folder = folder(
        "run \"a\" {}\nrun \"b\" {\n  command = plan\n  plan_options {\n    mode    = normal\n    refresh = false\n    \
         replace = [value.v]\n    target  = [value.v]\n  }\n}\n",
    );
    let said = run(&folder, "test -verbose");
    assert_eq!(said.code, Some(0), "{}", said.all());
    assert!(said.stdout.contains("Plan: 1 to add, 0 to change, 1 to destroy"), "{}", said.all());
}

#[test]
fn what_is_protected_is_destroyed_at_the_end_all_the_same() {
    let folder = folder("run \"a\" {}\n");
    folder
        .write("main.hcl", "value \"v\" {\n  input = 1\n  lifecycle {\n    prevent_destroy = true\n  }\n}\n");
    let said = run(&folder, "test");
    assert_eq!(said.code, Some(0), "{}", said.all());
    assert_eq!(left(&folder), 0);
}

#[test]
fn test_files_are_formatted() {
    let folder = folder("run \"a\" {\ncommand = plan\n}\n");
    let said = folder.run("fmt -check -recursive");
    assert_eq!((said.code, said.stdout.contains("tests/a.test.hcl")), (Some(3), true), "{}", said.all());
}

#[test]
fn an_apply_that_cannot_be_carried_out_is_an_error() {
    let folder = folder("run \"a\" {}\nrun \"b\" {}\n");
    folder.write("main.hcl", "value \"v\" {\n  input = file(timestamp())\n}\n");
    let said = run(&folder, "test");
    assert_eq!(said.code, Some(1), "{}", said.all());
    assert!(said.stdout.contains("run \"b\"... skip"), "{}", said.all());
    assert_eq!(left(&folder), 0);
}

#[test]
fn an_interrupt_ends_the_runs_and_leaves_nothing() {
    let many: String = (0..2000)
        .map(|at| format!("run \"r{at}\" {{\n  variables {{\n    size = {}\n  }}\n}}\n", at % 90 + 1))
        .collect();
    let folder = folder(&many);
    fs_err::create_dir_all(folder.path("tmp")).expect("a folder can be made");
    let mut command = folder.command("test");
    let out = fs_err::File::create(folder.path("out")).expect("a file can be made");
    command.env("TMPDIR", folder.path("tmp")).stdout(out.into_parts().0).stderr(std::process::Stdio::null());
    let mut child = command.spawn().expect("the binary starts");
    while !folder.read("out").contains("run \"r1\"... pass") {
        assert!(child.try_wait().expect("it can be asked").is_none(), "it ended before it was interrupted");
        std::thread::sleep(Duration::from_millis(5));
    }
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("it is there");
    let code = child.wait().expect("it ends").code();
    let out = folder.read("out");
    assert_eq!(code, Some(1), "{out}");
    assert!(out.contains("... skip") && out.contains("Failure!"), "{out}");
    assert_eq!(left(&folder), 0, "{out}");
}

#[test]
fn words_are_printed_and_the_events_are_left_in_a_file() {
    let folder = folder(
        "run \"good\" {}\nrun \"bad\" {\n  assert {\n    condition = 1 > 2\n    error_message = \"Never.\"\n  }\n}\n",
    );
    let printed = run(&folder, "test -json -verbose");
    let said = run(&folder, "test -json-into=test.jsonl -verbose");
    assert_eq!((printed.code, said.code), (Some(1), Some(1)), "{}", said.all());
    assert!(
        said.stdout.contains("run \"good\"... pass") && said.stdout.contains("1 passed, 1 failed"),
        "{}",
        said.all()
    );
    assert!(said.stderr.contains("Never."), "{}", said.all());
    let types = |text: &str| -> Vec<String> {
        let lines = text.lines().map(|line| serde_json::from_str(line).expect("each line is JSON"));
        lines
            .map(|line: serde_json::Value| line["type"].as_str().expect("it has a type").to_owned())
            .collect()
    };
    assert_eq!(types(&folder.read("test.jsonl")), types(&printed.stdout));
    assert!(types(&printed.stdout).contains(&"test_state".to_owned()));
    let both = run(&folder, "test -json -json-into=test.jsonl");
    assert!(both.stderr.contains("cannot be used with"), "{}", both.all());
}

#[test]
fn data_of_a_check_that_cannot_be_read_fails_a_run_unless_it_is_expected() {
    let check = "check \"lab\" {\n  data \"cluster\" \"lab\" {\n    state = \"nowhere\"\n    name  = \"x\"\n  }\n  assert {\n    condition = \
                 data.cluster.lab.fs_name == \"x\"\n    error_message = \"m\"\n  }\n}\n";
    for command in ["plan", "apply"] {
        let folder = folder(&format!(
            "run \"expected\" {{\n  command = {command}\n  expect_failures = [check.lab]\n}}\nrun \"told\" {{\n  command = {command}\n}}\n"
        ));
        folder.write("main.hcl", &format!("value \"v\" {{\n  input = 1\n}}\n{check}"));
        let said = run(&folder, "test");
        assert!(said.stdout.contains("run \"told\"... fail"), "{command}: {}", said.all());
        assert!(said.stdout.contains("run \"expected\"... pass"), "{command}: {}", said.all());
        assert!(words(&said.stderr).contains("could not read its data"), "{}", said.all());
    }
}
