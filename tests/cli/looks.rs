//! `console` and `graph`: looks at a spec that change nothing.

use crate::folder::Folder;

const SPEC: &str = r#"
variable "size" {
  default = 2
}

locals {
  names = [for number in range(var.size) : "n${number}"]
}

value "a" {
  input = { names = local.names }
}

value "b" {
  for_each = toset(local.names)
  input    = value.a.output
}
"#;

#[test]
fn a_console_knows_variables_locals_and_what_a_plan_would_give() {
    let folder = Folder::with(SPEC);
    let said =
        folder.answer("console", "local.names\nvalue.a.input.names[1]\nupper(\n  \"x\"\n)\nvalue.a.output\n");
    assert_eq!(said.code, Some(0), "{}", said.all());
    for text in ["\"n0\"", "\"n1\"", "\"X\"", "known after apply"] {
        assert!(said.stdout.contains(text), "{text}: {}", said.all());
    }
    folder.must("apply -auto-approve");
    let said = folder.answer("console", "value.b[\"n0\"].output.names[0]\n");
    assert_eq!(said.stdout, "\"n0\"\n", "{}", said.all());
    let said = folder.answer("console -var size=3", "length(local.names)\nlength(value.b)\n");
    assert_eq!(said.stdout, "3\n3\n", "{}", said.all());
    assert_eq!(folder.must("state list").stdout.lines().count(), 3);
}

#[test]
fn a_wrong_expression_says_why_and_the_next_one_counts() {
    let folder = Folder::with(SPEC);
    let said = folder.answer("console", "local.nmaes\n1 +\n\"fine\"\n");
    assert_eq!(said.code, Some(1), "{}", said.all());
    assert!(said.stdout.contains("\"fine\""), "{}", said.all());
    assert!(said.stderr.contains("names") && said.stderr.contains("syntax error"), "{}", said.all());
}

#[test]
fn a_graph_is_drawn_for_each_format_of_a_spec_and_of_a_plan() {
    let folder = Folder::with(SPEC);
    let dot = folder.must("graph").stdout;
    assert!(dot.contains("\"value.b[\\\"n0\\\"]\" -> \"value.a\";"), "{dot}");
    let mermaid = folder.must("graph -format=mermaid").stdout;
    assert!(mermaid.starts_with("flowchart") && mermaid.contains("-->"), "{mermaid}");
    let svg = folder.must("graph -format=svg").stdout;
    assert!(svg.starts_with("<svg ") && svg.contains("value.a</text>"), "{svg}");
    folder.must("plan -out=saved");
    let steps = folder.must("graph -plan=saved").stdout;
    assert!(steps.contains("\"create value.b[\\\"n1\\\"]\" -> \"create value.a\";"), "{steps}");
    assert!(!folder.path("lustre.state").exists());
}
