//! What programs read: field names are Terraform's.

use serde_json::{Value, json};

use crate::folder::Folder;

const SPEC: &str = "value \"a\" {\n  input = 1\n}\n\noutput \"a\" {\n  value = value.a.output\n}\n";

#[test]
fn validate_reports_every_error_with_its_range_and_snippet() {
    let folder = Folder::with("value \"a\" {\n  input = var.absent\n}\n\nvalue \"b\" {\n  wrong = 1\n}\n");
    let said = folder.run("validate -json");
    assert_eq!(said.code, Some(1), "{}", said.all());
    let json = said.json();
    assert_eq!((&json["valid"], &json["error_count"]), (&json!(false), &json!(2)), "{json:#}");
    let first = &json["diagnostics"][0];
    assert_eq!(first["severity"], "error");
    assert_eq!(first["range"]["filename"], "main.hcl");
    assert_eq!(first["range"]["start"]["line"], 2);
    assert!(first["snippet"]["code"].as_str().is_some_and(|code| code.contains("var.absent")), "{first:#}");
    let folder = Folder::with(SPEC);
    let json = folder.must("validate -json").json();
    assert_eq!(
        json,
        json!({ "format_version": "1.0", "valid": true, "error_count": 0, "warning_count": 0, "diagnostics": [] })
    );
    assert!(folder.must("validate").stdout.contains("Success"));
}

#[test]
fn a_plan_has_the_fields_that_policies_read() {
    let folder = Folder::with(SPEC);
    folder.must("plan -out=p");
    let plan = folder.must("show -json p").json();
    assert!(plan["format_version"].is_string());
    let change = &plan["resource_changes"][0];
    assert_eq!(change["address"], "value.a");
    assert_eq!(
        (&change["mode"], &change["type"], &change["name"]),
        (&json!("managed"), &json!("value"), &json!("a"))
    );
    assert_eq!(change["change"]["actions"], json!(["create"]));
    assert_eq!(change["change"]["before"], Value::Null);
    assert_eq!(change["change"]["after"]["input"], json!(1));
    assert_eq!(plan["output_changes"]["a"]["actions"], json!(["create"]));
}

fn types(lines: &[Value]) -> Vec<&str> {
    lines.iter().map(|line| line["type"].as_str().expect("every line has a type")).collect()
}

#[test]
fn plan_and_apply_are_streams_of_events() {
    let folder = Folder::with(SPEC);
    let lines = folder.must("plan -json").lines();
    assert_eq!(types(&lines), ["version", "planned_change", "change_summary", "outputs"], "{lines:#?}");
    assert_eq!(lines[1]["change"]["resource"]["addr"], "value.a");
    assert_eq!(lines[1]["change"]["action"], "create");
    assert_eq!(lines[2]["changes"]["add"], 1);
    let refused = folder.run("apply -json");
    assert_eq!(refused.code, Some(1), "it cannot ask: {}", refused.all());

    let lines = folder.must("apply -json -auto-approve").lines();
    let expected = [
        "version",
        "planned_change",
        "change_summary",
        "outputs",
        "apply_start",
        "apply_complete",
        "change_summary",
        "outputs",
    ];
    assert_eq!(types(&lines), expected, "{lines:#?}");
    assert_eq!(lines[5]["hook"]["resource"]["addr"], "value.a");
    assert_eq!(lines[5]["hook"]["action"], "create");
    assert_eq!(lines[7]["outputs"]["a"]["value"], 1);
    for line in &lines {
        for field in ["@level", "@message", "@module", "@timestamp"] {
            assert!(line[field].is_string(), "{field}: {line}");
        }
    }
}

#[test]
fn errors_of_a_stream_are_lines_of_it() {
    let folder = Folder::with("value \"a\" {\n  input = var.absent\n}\n");
    let said = folder.run("plan -json");
    assert_eq!(said.code, Some(1));
    let lines = said.lines();
    let last = lines.last().expect("there are lines");
    assert_eq!((&last["type"], &last["@level"]), (&json!("diagnostic"), &json!("error")));
    assert_eq!(last["diagnostic"]["range"]["start"]["line"], 2);
}

#[test]
fn the_version_is_told() {
    let folder = Folder::new();
    let json = folder.must("version -json").json();
    assert_eq!(json["lustre_version"], env!("CARGO_PKG_VERSION"));
    assert!(folder.must("version").stdout.starts_with("lustre "));
    assert!(folder.must("-version").stdout.contains(env!("CARGO_PKG_VERSION")));
}

const MODULES: &str = r#"
variable "secret" {
  sensitive = true
  default   = "s3cret"
}

value "a" {
  for_each         = { x = var.secret, y = "2" }
  input            = { shown = each.key, hidden = each.value }
  triggers_replace = "first"
}

value "gone" {
  input = 1
}

module "m" {
  source = "./m"
  number = 2
}

output "deep" {
  value = module.m.first
}

output "hidden" {
  value     = var.secret
  sensitive = true
}
"#;

fn modules() -> Folder {
    let folder = Folder::with(MODULES);
    fs_err::create_dir(folder.path("m")).expect("a folder can be made");
    let inner = "variable \"number\" {\n  type = number\n}\n\nvalue \"in\" {\n  count = var.number\n  input = count.index\n}\n\n\
                 output \"first\" {\n  value = value.in[0].output\n}\n";
    folder.write("m/main.hcl", inner);
    folder
}

/// Every resource of `values`, as a policy walks them: the root's, then those of each module.
fn walked(module: &Value, found: &mut Vec<String>) {
    for resource in module["resources"].as_array().into_iter().flatten() {
        found.push(resource["address"].as_str().expect("an address").to_owned());
    }
    for child in module["child_modules"].as_array().into_iter().flatten() {
        assert!(child["address"].as_str().is_some_and(|address| address.starts_with("module.")), "{child}");
        walked(child, found);
    }
}

#[test]
fn planned_values_and_the_prior_state_are_nested_by_module() {
    let folder = modules();
    folder.must("apply -auto-approve");
    let changed = MODULES.replace("first\"\n", "second\"\n").replace("number = 2", "number = 3");
    folder.write("main.hcl", &changed.replace("value \"gone\" {\n  input = 1\n}\n", ""));
    folder.must("plan -out=p");
    let plan = folder.must("show -json p").json();
    let root = &plan["planned_values"]["root_module"];
    let mut planned = Vec::new();
    walked(root, &mut planned);
    let inner = ["module.m.value.in[0]", "module.m.value.in[1]", "module.m.value.in[2]"];
    assert_eq!(planned, [&["value.a[\"x\"]", "value.a[\"y\"]"][..], &inner].concat(), "{plan:#}");
    let mut prior = Vec::new();
    walked(&plan["prior_state"]["values"]["root_module"], &mut prior);
    assert_eq!(prior, [&["value.a[\"x\"]", "value.a[\"y\"]", "value.gone"][..], &inner[..2]].concat());
    assert_eq!(root["child_modules"][0]["resources"][2]["values"], json!({ "input": 2 }));
    let first = &root["resources"][0];
    assert_eq!(first["values"]["input"], json!({ "shown": "x", "hidden": null }));
    assert_eq!(first["sensitive_values"]["input"], json!({ "hidden": true }));
    assert_eq!(plan["planned_values"]["outputs"]["hidden"], json!({ "sensitive": true }));
    assert_eq!(plan["prior_state"]["values"]["outputs"]["deep"]["value"], json!(0));
    assert!(!plan.to_string().contains("s3cret"), "{plan:#}");
    for field in ["terraform_version", "timestamp"] {
        assert!(plan[field].is_string(), "{field}: readers refuse a plan without it");
    }
    let mut recorded = Vec::new();
    let state = folder.must("show -json").json();
    walked(&state["values"]["root_module"], &mut recorded);
    assert_eq!(recorded, prior);
    assert_eq!(
        state["values"]["root_module"]["resources"][0]["sensitive_values"]["input"],
        json!({ "hidden": true })
    );
}

/// What policies ask of a plan: what goes, what of it is replaced and why, and what is changed from what to what.
#[test]
fn a_policy_finds_deletions_their_reasons_and_what_is_unknown() {
    let folder = modules();
    folder.must("apply -auto-approve");
    folder.write("main.hcl", &MODULES.replace("first\"\n", "second\"\n").replace("number = 2", "number = 1"));
    folder.must("plan -out=p");
    let plan = folder.must("show -json p").json();
    let changes = plan["resource_changes"].as_array().expect("a list");
    let with = |action: &str| -> Vec<(&str, &str)> {
        let has = |change: &&Value| {
            change["change"]["actions"].as_array().is_some_and(|actions| actions.contains(&json!(action)))
        };
        let said = |change| -> (&str, &str) {
            let change: &Value = change;
            (change["address"].as_str().unwrap_or(""), change["action_reason"].as_str().unwrap_or(""))
        };
        changes.iter().filter(has).map(said).collect()
    };
    let replaced = [("value.a[\"x\"]", "replace_by_triggers"), ("value.a[\"y\"]", "replace_by_triggers")];
    let gone = [("module.m.value.in[1]", "delete_because_count_index")];
    let mut deleted = with("delete");
    deleted.sort_unstable();
    assert_eq!(deleted, [&gone[..], &replaced].concat());
    assert_eq!(with("create"), replaced);
    for change in changes {
        let sides = &change["change"];
        for side in ["after_unknown", "before_sensitive", "after_sensitive"] {
            assert!(sides[side].is_object() || sides[side] == json!(false), "{side}: {change:#}");
        }
    }
    let first = changes.iter().find(|change| change["address"] == "value.a[\"x\"]").expect("it is there");
    assert_eq!(first["change"]["replace_paths"], json!([["triggers_replace"]]));
    assert_eq!(first["change"]["after_unknown"]["output"], json!(true));
    assert_eq!(
        first["change"]["after"].get("output"),
        None,
        "what is not known is left out, sensitive or not"
    );
    folder.write(
        "main.hcl",
        &MODULES.replace("input = 1", "input = 2").replace("module.m.first", "value.gone.output"),
    );
    folder.must("plan -out=p");
    let output = &folder.must("show -json p").json()["output_changes"]["deep"];
    assert_eq!((output.get("after"), &output["after_unknown"]), (None, &json!(true)), "{output:#}");
    folder.write("main.hcl", &MODULES.replace("first\"\n", "second\"\n").replace("number = 2", "number = 1"));
    let words = folder.must("plan -json").lines();
    let reasons: Vec<&Value> = words
        .iter()
        .filter(|line| line["type"] == "planned_change")
        .map(|line| &line["change"]["reason"])
        .collect();
    assert!(reasons.contains(&&json!("delete_because_count_index")), "{reasons:?}");
    folder.write("main.hcl", &MODULES.replace("input = 1", "input = 2"));
    let lines = folder.must("plan -json -replace=value.gone").lines();
    let change = lines.iter().find(|line| line["type"] == "planned_change").expect("it is planned");
    assert_eq!(
        (&change["change"]["action"], &change["change"]["reason"]),
        (&json!("replace"), &json!("requested"))
    );
}

#[test]
fn imports_and_moves_are_counted_and_told() {
    let folder =
        Folder::with("value \"a\" {\n  input = \"4\"\n}\n\nimport {\n  to = value.a\n  id = \"4\"\n}\n");
    let lines = folder.must("plan -json").lines();
    assert_eq!(lines[1]["change"]["action"], "import");
    assert_eq!(lines[1]["change"]["importing"], json!({ "id": "4" }));
    assert_eq!(lines[2]["changes"]["import"], 1, "{lines:#?}");
    assert_eq!(lines[2]["@message"], "Plan: 1 to import, 0 to add, 0 to change, 0 to destroy.");
    let lines = folder.must("apply -json -auto-approve").lines();
    let counted: Vec<&Value> = lines
        .iter()
        .filter(|line| line["type"] == "change_summary")
        .map(|line| &line["changes"]["import"])
        .collect();
    assert_eq!(counted, [&json!(1), &json!(1)], "{lines:#?}");
    folder.write(
        "main.hcl",
        "value \"b\" {\n  input = \"4\"\n}\n\nmoved {\n  from = value.a\n  to   = value.b\n}\n",
    );
    let lines = folder.must("plan -json").lines();
    assert_eq!(lines[1]["change"]["action"], "move", "{lines:#?}");
    assert_eq!(lines[1]["change"]["previous_resource"]["addr"], "value.a");
}
