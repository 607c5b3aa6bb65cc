//! What the program says of itself: schema, completion, manual pages.

use serde_json::json;

use crate::folder::Folder;

#[test]
fn the_schema_is_in_terraforms_shape_and_has_every_kind() {
    let folder = Folder::new();
    let schema = folder.must("schema -json").json();
    assert_eq!(schema["format_version"], json!("1.0"));
    let kinds = &schema["provider_schemas"]["lustre"]["resource_schemas"];
    for kind in ["host", "cluster", "bucket", "data_repository_association", "mount", "value"] {
        assert!(kinds[kind]["block"]["attributes"].is_object(), "{kind}");
    }
    let cluster = &kinds["cluster"]["block"];
    let compression = &cluster["attributes"]["data_compression_type"];
    assert_eq!(compression["type"], json!("string"));
    assert_eq!(compression["values"], json!(["NONE", "LZ4"]));
    assert_eq!(cluster["block_types"]["storage"]["min_items"], json!(1));
    assert_eq!(kinds["mount"]["block"]["attributes"]["options"]["type"], json!(["list", "string"]));
    let one = folder.must("schema mount").stdout;
    assert!(one.starts_with("mount \"NAME\"\n") && !one.contains("storage"), "{one}");
    let wrong = folder.run("schema clusterr");
    assert_eq!(wrong.code, Some(1));
    assert!(wrong.stderr.contains("did you mean cluster?"), "{}", wrong.all());
}

#[test]
fn shells_and_man_learn_every_command() {
    let folder = Folder::new();
    for shell in ["bash", "zsh", "fish"] {
        let script = folder.must(&format!("completion {shell}")).stdout;
        assert!(script.contains("force-unlock") && script.contains("allow-data-loss"), "{shell}");
    }
    folder.must("man pages");
    let page = folder.read("pages/lustre-plan.1");
    assert!(page.contains("detailed\\-exitcode"), "{page}");
    assert!(folder.path("pages/lustre.1").is_file());
}
