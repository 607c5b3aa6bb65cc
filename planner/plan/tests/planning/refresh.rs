//! Plans that touch no object: drift is shown and sealed, outputs follow what is recorded, and acting is refused.

use std::collections::BTreeMap;

use lustre_model::plan::{Mode, Plan, PlanError, PlanParts};
use lustre_model::recorded::World;
use lustre_plan::render::{json, text};
use lustre_plan::{Options, file};

use crate::harness::{address, applied, nothing, options, planned, try_plan};

const CLUSTER: &str = r#"
host "h" {
  connection = "local"
  path       = "/srv/agent"
}
cluster "c" {
  deployment_type = "SCRATCH_2"
  metadata {
    host = host.h
    path = "/srv/mdt"
  }
  storage {
    hosts           = host.h
    path            = "/srv/ost"
    target_capacity = "1GiB"
  }
}
output "where" {
  value = cluster.c.mount_name
}
"#;

fn refreshed(spec: &str, world: &World, drift: &[(&str, &str)]) -> Plan {
    let drift: BTreeMap<_, _> = drift.iter().map(|(of, cause)| (address(of), (*cause).to_owned())).collect();
    let options = Options { mode: Mode::RefreshOnly, drift, ..options() };
    try_plan(spec, &[], world, &options).unwrap_or_else(|told| panic!("{told}"))
}

#[test]
fn what_drifted_is_shown_with_its_cause_and_is_a_difference_but_no_change() {
    let world = applied(CLUSTER, &nothing());
    let target =
        world.objects.keys().find(|it| it.to_string().contains("OST")).expect("it has one").to_string();
    let plan = refreshed(CLUSTER, &world, &[(&target, "its process is gone")]);
    assert!(plan.finds_differences() && !plan.has_changes());
    let shown = text::plan(&plan).plain();
    assert!(shown.contains(&format!("{target} on host.h: its process is gone")), "{shown}");
    assert!(shown.contains("`lustre apply` repairs towards it"), "{shown}");
    let shown = json::plan(&plan);
    assert_eq!(shown["resource_drift"][0]["address"], target);
    assert_eq!(shown["resource_drift"][0]["cause"], "its process is gone");
    assert_eq!(shown["applyable"], false);
    let read = file::decode(&file::encode(&plan).expect("it can be written")).expect("it can be read");
    assert_eq!(read, plan);
}

#[test]
fn where_hosts_report_everything_as_recorded_it_says_so() {
    let world = applied(CLUSTER, &nothing());
    let plan = refreshed(CLUSTER, &world, &[]);
    assert!(!plan.finds_differences());
    let shown = text::plan(&plan).plain();
    assert!(shown.contains("Hosts report everything as recorded"), "{shown}");
}

#[test]
fn a_spec_that_is_ahead_changes_outputs_by_what_is_recorded_only() {
    let world = applied(CLUSTER, &nothing());
    let ahead =
        CLUSTER.replace("cluster.c.mount_name", "\"${cluster.c.mount_name} ${length(cluster.c.targets)}\"");
    let ahead = ahead.replace("path            =", "targets_per_host = 3\n    path            =");
    let plan = refreshed(&ahead, &world, &[]);
    let after = plan.parts().outputs[0].after.as_ref().and_then(|it| it.value.as_str()).map(str::to_owned);
    let recorded = world.objects.keys().filter(|it| it.to_string().contains(".target[")).count();
    assert!(after.as_deref().is_some_and(|text| text.ends_with(&format!(" {recorded}"))), "{after:?}");
    assert!(plan.steps().is_empty());
}

#[test]
fn one_that_would_act_is_not_sealed() {
    let acting = planned("value \"a\" {}\n", &nothing());
    let parts = PlanParts { mode: Mode::RefreshOnly, ..acting.into() };
    assert_eq!(Plan::seal(parts), Err(PlanError::RefreshActs));
}
