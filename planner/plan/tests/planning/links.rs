//! Links: what their changes and their end mean, and which cannot be beside each other.

use lustre_model::plan::{Action, GateReason, Impact, Plan};

use crate::harness::{actions, applied, destroyed, nothing, options, planned, try_plan};

const CLUSTER: &str = r#"
host "h" {}
cluster "x" {
  metadata {
    host = host.h
    path = "/m"
  }
  storage {
    hosts           = host.h
    path            = "/o"
    target_capacity = "1GiB"
  }
}
"#;

fn link(name: &str, path: &str, repository: &str, more: &str) -> String {
    format!(
        "data_repository_association \"{name}\" {{\n  cluster = cluster.x\n  file_system_path = \"{path}\"\n  \
         data_repository_path = \"{repository}\"\n{more}\n}}\n"
    )
}

fn spec(more: &str) -> String {
    format!("{CLUSTER}{}", link("l", "/a", "s3://bkt/p/", more))
}

/// What happens to the link, and what is felt.
fn felt(plan: &Plan) -> (Action, Impact) {
    let change = plan.changes().iter().find(|change| change.address.to_string().contains(".l"));
    change.map(|change| (change.action, change.impact)).expect("the link is planned")
}

#[test]
fn what_a_bucket_is_reached_by_changes_in_place_and_where_it_leads_does_not() {
    let world = applied(&spec(""), &nothing());
    for more in [
        "s3 {\n endpoint_url = \"http://127.0.0.1:9000\"\n}",
        "s3 {\n region = \"eu-central-1\"\n}",
        "s3 {\n credentials_file = \"/keys\"\n}",
        "s3 {\n path_style = true\n}",
        "s3 {\n auto_export_policy {\n  events = [\"NEW\"]\n }\n}",
        "s3 {\n auto_import_policy {\n  events = [\"NEW\"]\n }\n}",
        "imported_file_chunk_size = 7",
    ] {
        assert_eq!(felt(&planned(&spec(more), &world)), (Action::Update, Impact::Live), "{more}");
    }
    for (path, repository) in [("/b", "s3://bkt/p/"), ("/a", "s3://bkt/q/"), ("/a", "s3://other/p/")] {
        let other = format!("{CLUSTER}{}", link("l", path, repository, ""));
        assert_eq!(
            felt(&planned(&other, &world)),
            (Action::Replace, Impact::Recreate),
            "{path} {repository}"
        );
    }
}

#[test]
fn the_end_of_a_link_is_an_outage_of_what_is_only_behind_it() {
    let world = applied(&spec(""), &nothing());
    let plan = planned(CLUSTER, &world);
    assert_eq!(felt(&plan), (Action::Delete, Impact::Outage));
    let text = lustre_plan::render::text::plan(&plan).plain();
    assert!(text.contains("# impact: outage") && text.contains("cannot be read until a link"), "{text}");
    assert!(plan.parts().gates.is_empty(), "its bytes are safe");
    assert_eq!(felt(&destroyed(&world)), (Action::Delete, Impact::Live), "its cluster's end says more");
}

#[test]
fn files_that_go_with_a_link_and_are_not_exported_are_data_loss() {
    let deletes = "delete_data_in_filesystem = true";
    let world = applied(&spec(deletes), &nothing());
    let plan = planned(CLUSTER, &world);
    assert_eq!(felt(&plan), (Action::Delete, Impact::DataLoss));
    assert_eq!(plan.parts().gates[0].reason, GateReason::DataLoss);
    let exports =
        format!("{deletes}\ns3 {{\n auto_export_policy {{\n  events = [\"NEW\", \"CHANGED\"]\n }}\n}}");
    let world = applied(&spec(&exports), &nothing());
    assert_eq!(felt(&planned(CLUSTER, &world)), (Action::Delete, Impact::Outage));
}

#[test]
fn links_within_each_other_are_told_with_both_places() {
    let two = |one: String, other: String| format!("{CLUSTER}{one}{other}");
    let table = [
        (
            two(link("l", "/a", "s3://bkt", ""), link("m", "/a/c", "s3://other", "")),
            Some("/a/c of data_repository_association.m lies within /a"),
        ),
        (
            two(link("l", "/a/c", "s3://bkt", ""), link("m", "/", "s3://other", "")),
            Some("/a/c of data_repository_association.l lies within /"),
        ),
        (
            two(link("l", "/a", "s3://bkt/p", ""), link("m", "/c", "s3://bkt/p/q/", "")),
            Some("link the same objects"),
        ),
        (
            two(link("l", "/a", "s3://bkt", ""), link("m", "/c", "s3://bkt", "")),
            Some("link the same objects"),
        ),
        (two(link("l", "/a", "s3://bkt/p", ""), link("m", "/ab", "s3://bkt/pq", "")), None),
        (
            two(
                link("l", "/a", "s3://bkt", ""),
                link("m", "/c", "s3://bkt", "s3 {\n endpoint_url = \"http://127.0.0.1:9000\"\n}"),
            ),
            None,
        ),
    ];
    for (text, expected) in table {
        match (try_plan(&text, &[], &nothing(), &options()), expected) {
            (Ok(_), None) => {}
            (Err(told), Some(part)) => {
                assert!(told.contains(part) && told.contains("E0817"), "{told}");
                assert_eq!(told.lines().count(), 1, "{told}");
                assert!(told.starts_with("20:1: "), "at the second block: {told}");
            }
            (Ok(plan), Some(part)) => panic!("{part}: {:?}", actions(&plan)),
            (Err(told), None) => panic!("{told}"),
        }
    }
}
