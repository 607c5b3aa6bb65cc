//! Targets: how many there are, which index each has, and what happens when hosts come, go, or change places.

use std::collections::BTreeMap;

use lustre_model::pattern::Pattern;
use lustre_model::plan::{Action, ActionReason, GateReason};
use lustre_model::recorded::World;
use lustre_model::resource::Fields;
use lustre_plan::Options;
use proptest::prelude::{Just, ProptestConfig, Strategy as _, prop, prop_assert, prop_assert_eq, proptest};

use crate::harness::{
    actions, applied, carry_out, destroyed, intent, nothing, options, planned, steps, try_plan,
};

/// A cluster over hosts named by address, in a `for_each` over a map from key to address.
fn spread(hosts: &[(String, u8)], targets_per_host: u32) -> String {
    let entries: Vec<String> =
        hosts.iter().map(|(key, number)| format!("{key:?} = \"10.0.0.{number}\"")).collect();
    format!(
        r#"
host "mds" {{
  address = "10.0.1.1"
}}
host "oss" {{
  for_each = {{ {} }}
  address  = each.value
}}
cluster "x" {{
  metadata {{
    host = host.mds
    path = "/srv/mdt"
  }}
  storage {{
    hosts            = host.oss
    path             = "/srv/ost"
    targets_per_host = {targets_per_host}
    target_capacity  = "2GiB"
  }}
}}
mount "m" {{
  cluster = cluster.x
  host    = host.mds
  path    = "/mnt/x"
}}
"#,
        entries.join(", ")
    )
}

fn named(hosts: &[(&str, u8)]) -> Vec<(String, u8)> {
    hosts.iter().map(|(key, number)| ((*key).to_owned(), *number)).collect()
}

/// Index, by listening address and folder of the target.
fn indices(world: &World) -> BTreeMap<(String, u64), u64> {
    let targets = world.objects.values().filter_map(|object| {
        let fields = Fields::new(object.kind, &object.attributes);
        let index = fields.number("index").ok()?;
        let listen = fields.text("listen").ok()?;
        let (host, _) = listen.split_once(':')?;
        Some(((host.to_owned(), fields.number("ordinal").ok()?), index))
    });
    targets.collect()
}

#[test]
fn four_to_six_targets_are_exactly_two_creates() {
    let hosts = named(&[("a", 1)]);
    let world = applied(&spread(&hosts, 4), &nothing());
    let plan = planned(&spread(&hosts, 6), &world);
    assert_eq!(
        actions(&plan),
        ["create cluster.x.target[\"x-ost0004\"]", "create cluster.x.target[\"x-ost0005\"]"]
    );
    assert!(plan.steps().iter().all(|step| step.waits_for.is_empty()), "nothing to wait for");
    applied(&spread(&hosts, 6), &world);
}

#[test]
fn fewer_targets_lose_data_and_their_indices_are_never_given_again() {
    let hosts = named(&[("a", 1)]);
    let world = applied(&spread(&hosts, 4), &nothing());
    let plan = planned(&spread(&hosts, 3), &world);
    assert_eq!(actions(&plan), ["delete cluster.x.target[\"x-ost0003\"]"]);
    assert_eq!(plan.data_loss().count(), 1);
    let world = carry_out(&plan, &world);
    let plan = planned(&spread(&hosts, 4), &world);
    assert_eq!(actions(&plan), ["create cluster.x.target[\"x-ost0004\"]"]);
}

#[test]
fn a_cluster_comes_before_its_targets_and_goes_after_them() {
    let hosts = named(&[("a", 1)]);
    let plan = planned(&spread(&hosts, 1), &nothing());
    assert_eq!(
        steps(&plan),
        [
            "create host.mds",
            "create host.oss[\"a\"]",
            "create cluster.x",
            "create cluster.x.target[\"x-mdt0000\"]",
            "create cluster.x.target[\"x-ost0000\"]",
            "create mount.m",
        ]
    );
    let world = carry_out(&plan, &nothing());
    let plan = destroyed(&world);
    assert_eq!(
        steps(&plan),
        [
            "delete mount.m",
            "delete cluster.x.target[\"x-ost0000\"]",
            "delete cluster.x.target[\"x-mdt0000\"]",
            "delete cluster.x",
            "delete host.mds",
            "delete host.oss[\"a\"]",
        ]
    );
    assert!(carry_out(&plan, &world).objects.is_empty());
    let losses: Vec<String> = plan.data_loss().map(ToString::to_string).collect();
    assert_eq!(losses.len(), 3, "{losses:?}");
    assert!(plan.closed_gates(&[]).is_empty(), "allowed by the pattern");
    assert!(plan.parts().gates.iter().all(|gate| gate.reason == GateReason::DataLoss));
}

#[test]
fn another_machine_under_a_host_means_its_targets_lose_data() {
    let world = applied(&spread(&named(&[("a", 1)]), 1), &nothing());
    let plan = planned(&spread(&named(&[("a", 9)]), 1), &world);
    let changed: Vec<&str> = plan.data_loss().map(|address| address.name.as_str()).collect();
    assert_eq!(changed, ["x"]);
    assert_eq!(
        actions(&plan),
        [
            "delete cluster.x.target[\"x-ost0000\"]",
            "create cluster.x.target[\"x-ost0001\"]",
            "replace host.oss[\"a\"]"
        ]
    );
    let after = carry_out(&plan, &world);
    assert!(!planned(&spread(&named(&[("a", 9)]), 1), &after).has_changes());
}

#[test]
fn a_target_that_is_replaced_gets_another_index_and_a_metadata_target_takes_its_cluster_with_it() {
    let text = spread(&named(&[("a", 1)]), 2);
    let world = applied(&text, &nothing());
    let replacing = |pattern: &str, world: &World| {
        let options = Options { replace: vec![Pattern(pattern.to_owned())], ..options() };
        try_plan(&text, &[], world, &options).unwrap_or_else(|told| panic!("{told}"))
    };
    let plan = replacing("cluster.x.target[\"x-OST0000\"]", &world);
    assert_eq!(
        actions(&plan),
        ["delete cluster.x.target[\"x-ost0000\"]", "create cluster.x.target[\"x-ost0002\"]"]
    );
    let reason =
        plan.changes().iter().find(|change| change.action == Action::Delete).expect("it goes").reason;
    assert_eq!(reason, Some(ActionReason::DeleteBecauseTargetReplaced));
    let world = carry_out(&plan, &world);
    assert!(!planned(&text, &world).has_changes());

    let plan = replacing("cluster.x.target[\"x-MDT0000\"]", &world);
    let replaced: Vec<String> = actions(&plan);
    assert!(replaced.iter().any(|line| line == "replace cluster.x"), "{replaced:?}");
    assert!(!planned(&text, &carry_out(&plan, &world)).has_changes());
}

#[test]
fn a_target_whose_end_was_cut_off_does_not_come_back_under_its_index() {
    let text = spread(&named(&[("a", 1)]), 2);
    let mut world = applied(&text, &nothing());
    let fewer = planned(&spread(&named(&[("a", 1)]), 1), &world);
    world.apply(&intent(&fewer.steps()[0], BTreeMap::new())).expect("it may go");
    let plan = planned(&text, &world);
    assert_eq!(
        actions(&plan),
        ["delete cluster.x.target[\"x-ost0001\"]", "create cluster.x.target[\"x-ost0002\"]"]
    );
    assert!(!planned(&text, &carry_out(&plan, &world)).has_changes());
}

#[test]
fn a_cluster_that_never_had_metadata_holds_no_data() {
    let hosts = named(&[("a", 1)]);
    let plan = planned(&spread(&hosts, 1), &nothing());
    let mut world = nothing();
    let resolver = crate::harness::resolver(&plan);
    for step in &plan.steps()[..3] {
        crate::harness::carry_out_step(step, &resolver, &mut world);
    }
    assert_eq!(destroyed(&world).data_loss().count(), 0);
}

#[test]
fn capacity_for_all_is_shared_out() {
    let text = r#"
host "h" {}
cluster "x" {
  storage_capacity = 12
  metadata {
    host = host.h
    path = "/m"
  }
  storage {
    hosts            = [host.h]
    path             = "/o"
    targets_per_host = 4
  }
}
"#;
    let world = applied(text, &nothing());
    let capacities = world.objects.values().filter_map(|object| object.attributes.get("capacity")?.as_u64());
    assert_eq!(capacities.collect::<Vec<_>>(), [3 << 30; 4]);
}

fn hosts() -> impl proptest::prelude::Strategy<Value = Vec<(String, u8)>> {
    let numbers = prop::collection::btree_set(1_u8..12, 1..5);
    numbers.prop_flat_map(|numbers| {
        let numbers: Vec<u8> = numbers.into_iter().collect();
        let keys = prop::collection::btree_set("[a-z]{1,3}", numbers.len());
        (Just(numbers).prop_shuffle(), keys)
            .prop_map(|(numbers, keys)| keys.into_iter().zip(numbers).collect())
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn renamed_and_reordered_hosts_keep_their_targets(
        before in hosts(), more in hosts(), per_host in (1_u32..3, 1_u32..3),
    ) {
        let world = applied(&spread(&before, per_host.0), &nothing());
        // The same machines under other keys, and new ones among them.
        let mut after: Vec<(String, u8)> = before.iter().map(|(key, number)| (format!("n{key}"), *number)).collect();
        let fresh = more.into_iter().filter(|(_, number)| before.iter().all(|(_, old)| old != number));
        after.extend(fresh.map(|(key, number)| (format!("m{key}"), number)));
        after.reverse();
        let per_host_after = per_host.0.max(per_host.1);
        let plan = planned(&spread(&after, per_host_after), &world);
        for change in plan.changes() {
            prop_assert!(matches!(change.action, Action::Create | Action::NoOp), "{:?}", actions(&plan));
        }
        let then = carry_out(&plan, &world);
        prop_assert!(!planned(&spread(&after, per_host_after), &then).has_changes());
        let (old, new) = (indices(&world), indices(&then));
        for (place, index) in &old {
            prop_assert_eq!(new.get(place), Some(index));
        }
        let distinct: std::collections::BTreeSet<&u64> = new.values().collect();
        prop_assert_eq!(distinct.len(), new.len());
        prop_assert_eq!(new.len(), after.len() * per_host_after as usize);
        let nothing_left = carry_out(&destroyed(&then), &then);
        prop_assert!(nothing_left.objects.is_empty());
    }
}
