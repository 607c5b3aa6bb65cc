//! Data-loss gates: a plan shows them, apply and destroy stop before the first step with exit 4.
//!
//! The state is written by hand, so that no agent is needed: a gate that failed to stop would fail differently.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use lustre_model::address::Address;
use lustre_model::journal::{Event, Journal, Outcome};
use lustre_model::plan::Operation;
use lustre_model::recorded::Lineage;
use lustre_model::resource::{Attributes, Kind};
use lustre_model::value::Value;
use lustre_store::{Holder, lock, open};

use crate::folder::Folder;

/// Records a cluster and its metadata target as present, as if they had been applied. Without such a target no file can
/// be lost.
fn record_cluster(folder: &Folder) {
    let holder = Holder {
        who: String::new(),
        operation: String::new(),
        version: String::new(),
        since: String::new(),
        pid: 0,
    };
    let path = folder.path("lustre.state");
    let lock = lock(&path, holder, Duration::ZERO).expect("nobody has it");
    let journal = open(
        Arc::new(lustre_store::Folder),
        &path,
        (lock, Arc::new(lustre_store::Plain)),
        Lineage("l".to_owned()),
    )
    .expect("it opens");
    let cluster = Address::new("cluster", "precious");
    let target = cluster.clone().part("target", "precious-MDT0000");
    let attributes: Attributes = [("fs_name".to_owned(), Value::from("precious"))].into();
    present(&journal, (cluster.clone(), Kind::Cluster), attributes, BTreeSet::new());
    let attributes: Attributes = [("role".to_owned(), Value::from("MDT"))].into();
    present(&journal, (target, Kind::Target), attributes, [cluster].into());
    journal.close().expect("it closes");
}

fn present(
    journal: &dyn Journal,
    (address, kind): (Address, Kind),
    attributes: Attributes,
    dependencies: BTreeSet<Address>,
) {
    let begun = Event::Intent {
        address: address.clone(),
        kind,
        operation: Operation::Create,
        attributes: attributes.clone(),
        dependencies: dependencies.clone(),
    };
    let outcome = Outcome::Present { attributes, private: BTreeMap::new(), dependencies };
    journal.append(&[begun, Event::Result { address, outcome }]).expect("it is recorded");
}

#[test]
fn a_destroy_that_loses_bytes_stops_with_exit_4_and_names_the_flag() {
    let folder = Folder::with("");
    record_cluster(&folder);
    let plan = folder.must("plan");
    assert!(plan.stdout.contains("DATA LOSS"), "a plan only shows it: {}", plan.all());
    assert_eq!(folder.run("plan -detailed-exitcode").code, Some(2));
    for words in ["apply -auto-approve", "destroy -auto-approve"] {
        let said = folder.run(words);
        assert_eq!(said.code, Some(4), "{words}: {}", said.all());
        assert!(said.stderr.contains("-allow-data-loss=cluster.precious"), "{}", said.all());
        assert!(!said.stderr.contains("Destroying"), "nothing was begun: {}", said.all());
        assert_eq!(folder.must("state list").stdout.lines().count(), 2);
    }
    folder.must("plan -out=p");
    assert_eq!(folder.run("apply p").code, Some(4), "a saved plan is no way around");
}

#[test]
fn an_allowance_is_given_at_plan_or_at_apply() {
    let passes = |folder: &Folder, words: &str| {
        // The target has no host that could be asked, so its step fails; but it begins.
        let said = folder.run(words);
        assert_eq!(said.code, Some(1), "{words}: {}", said.all());
        assert!(said.stderr.contains("precious-MDT0000\"]: Destroying"), "{words}: {}", said.all());
    };
    for [plan, apply] in [
        ["plan -allow-data-loss=cluster.precious -out=p", "apply p"],
        ["plan -out=p", "apply -allow-data-loss=cluster.* p"],
    ] {
        let folder = Folder::with("");
        record_cluster(&folder);
        folder.must(plan);
        passes(&folder, apply);
    }
    let folder = Folder::with("");
    record_cluster(&folder);
    passes(&folder, "destroy -auto-approve -allow-data-loss=cluster.precious");
}

#[test]
fn programs_are_told_which_addresses_stop_it() {
    let folder = Folder::with("");
    record_cluster(&folder);
    let said = folder.run("destroy -auto-approve -json");
    assert_eq!(said.code, Some(4));
    let gated = said.lines().into_iter().find(|line| line["type"] == "gated").expect("the gate is a line");
    assert_eq!(gated["gates"][0]["addr"], "cluster.precious");
    assert_eq!(gated["data_loss"], true);
    folder.must("plan -out=p");
    assert_eq!(folder.must("show -json p").json()["data_loss"][0], "cluster.precious");
}

#[test]
fn an_allowance_that_names_nothing_is_noticed() {
    let folder = Folder::with("");
    record_cluster(&folder);
    let said = folder.must("plan -allow-data-loss=cluster.precius");
    assert!(said.all().contains("W0851") && said.all().contains("`cluster.precious`"), "{}", said.all());
    let said = folder.must("plan -allow-data-loss=cluster.*");
    assert!(!said.all().contains("W0851"), "{}", said.all());
}

#[test]
fn a_folder_without_a_spec_is_no_wish_to_delete_everything() {
    let folder = Folder::with("");
    record_cluster(&folder);
    fs_err::remove_file(folder.path("main.hcl")).expect("the spec can be removed");
    for words in ["plan", "apply -auto-approve -allow-data-loss=*"] {
        let said = folder.run(words);
        assert_eq!(said.code, Some(1), "{words}: {}", said.all());
        assert!(said.stderr.contains("E0818") && said.stderr.contains("-chdir"), "{words}: {}", said.all());
    }
    assert!(folder.must("plan -destroy").stdout.contains("cluster.precious"));
}
