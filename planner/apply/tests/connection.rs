//! This machine as a host, against the list that every way to a host passes.

#[path = "connection/conformance.rs"]
mod conformance;

use lustre_apply::connection::Local;

#[tokio::test]
async fn this_machine_is_a_host_like_any_other() {
    let folder = tempfile::tempdir().expect("a folder");
    conformance::run(&Local::new("here"), &folder.path().join("list")).await;
}
