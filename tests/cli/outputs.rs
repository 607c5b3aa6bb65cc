//! `output`, `show` and `state show`: every type, raw and as JSON; what is sensitive stays hidden.

use serde_json::json;

use crate::folder::Folder;

const SPEC: &str = r#"
value "v" {
  input = { name = "x", numbers = [1, 2.5], nothing = null }
}

output "text" {
  value = "two\nlines"
}

output "number" {
  value = 12345678901234567890
}

output "flag" {
  value = true
}

output "object" {
  value = value.v.output
}

output "secret" {
  value     = "hush"
  sensitive = true
}
"#;

#[test]
fn outputs_are_shown_in_every_shape() {
    let folder = Folder::with(SPEC);
    folder.must("apply -auto-approve");
    assert_eq!(folder.must("output -raw text").stdout, "two\nlines");
    assert_eq!(folder.must("output -raw number").stdout, "12345678901234567890");
    assert_eq!(folder.must("output -raw flag").stdout, "true");
    assert_eq!(folder.must("output number").stdout, "12345678901234567890\n");
    assert_eq!(folder.must("output flag").stdout, "true\n");
    let raw = folder.run("output -raw object");
    assert_eq!(raw.code, Some(1), "{}", raw.all());
    let all = folder.must("output -json").json();
    assert_eq!(all["flag"], json!({ "sensitive": false, "type": "bool", "value": true }));
    assert_eq!(all["text"]["value"], json!("two\nlines"));
    assert_eq!(all["object"]["value"]["numbers"], json!([1, 2.5]));
    // As Terraform writes types in JSON, wherever outputs are.
    let kind = json!(["object", { "name": "string", "nothing": "dynamic", "numbers": ["tuple", ["number", "number"]] }]);
    assert_eq!(all["object"]["type"], kind);
    assert_eq!(folder.must("show -json").json()["values"]["outputs"]["object"]["type"], kind);
    let told = folder.must("apply -auto-approve -json").lines();
    assert_eq!(told.last().expect("outputs come last")["outputs"]["object"]["type"], kind);
    assert_eq!(all["secret"]["sensitive"], json!(true));
    let absent = folder.run("output absent");
    assert_eq!(absent.code, Some(1));
    assert!(absent.stderr.contains("\"absent\""), "{}", absent.all());
}

#[test]
fn what_is_sensitive_is_not_printed_unless_asked_for_by_name() {
    let folder = Folder::with(SPEC);
    let applied = folder.must("apply -auto-approve");
    for said in [applied, folder.must("output"), folder.must("show"), folder.must("plan")] {
        assert!(!said.all().contains("hush"), "{}", said.all());
    }
    assert_eq!(folder.must("output -raw secret").stdout, "hush");
}

#[test]
fn the_state_is_shown_whole_and_in_parts() {
    let folder = Folder::with(SPEC);
    folder.must("apply -auto-approve");
    let shown = folder.must("state show value.v").stdout;
    assert!(shown.contains("value.v") && shown.contains("numbers"), "{shown}");
    let json = folder.must("show -json").json();
    assert_eq!(json["format_version"], json!("1.0"));
    let resource = &json["values"]["root_module"]["resources"][0];
    assert_eq!(resource["address"], json!("value.v"));
    assert_eq!(
        (&resource["mode"], &resource["type"], &resource["name"]),
        (&json!("managed"), &json!("value"), &json!("v"))
    );
    assert_eq!(resource["values"]["output"]["name"], json!("x"));
    assert_eq!(folder.run("state show value.absent").code, Some(1));
}
