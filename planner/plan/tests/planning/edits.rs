//! Random deployments, edited at random and applied with failures at random: what holds whatever a spec says.
//!
//! Each history is a list of wishes, one edit of the spec after the other. Every apply but the last of a wish may be cut off
//! after any record of its journal, as kill -9 leaves it, or lose one step to a failure.
//! Invariant: the wishes are specs without mistakes, so a plan that is refused is a finding.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use lustre_model::address::Address;
use lustre_model::journal::{Event, Outcome, Resolve as _};
use lustre_model::plan::{Operation, Plan, Step};
use lustre_model::recorded::{Object, Status, World};
use lustre_model::resource::{Fields, Kind};
use proptest::prelude::{
    Just, ProptestConfig, Strategy, any, prop, prop_assert, prop_assert_eq, prop_oneof, proptest,
};

use crate::harness::{
    applied, carry_out, carry_out_moves, carry_out_step, destroyed, intent, nothing, planned, resolver,
};

/// Most machines of a wish.
const MACHINES: u8 = 4;

/// One spec.
#[derive(Debug, Clone)]
struct Wish {
    /// By key, the last number of its address.
    hosts: BTreeMap<String, u8>,
    cluster: Option<Cluster>,
    /// Which numbers of hosts have a mount, of those that there are.
    mounts: BTreeSet<u8>,
    values: Vec<Thing>,
}

#[derive(Debug, Clone)]
struct Cluster {
    targets_per_host: u32,
    compression: bool,
    /// Which folders the metadata target and the object targets are in.
    folders: (bool, bool),
    /// The link's directory and whether it exports.
    link: Option<(char, bool)>,
}

/// A `value`.
#[derive(Debug, Clone)]
struct Thing {
    input: u8,
    trigger: u8,
    /// Which earlier values it is made of.
    after: BTreeSet<usize>,
    count: Option<u8>,
    /// Each instance is made of its counterparts alone, where there are.
    paired: bool,
    create_before_destroy: bool,
}

/// How an apply ends too early, and which of the steps that could be next is next.
#[derive(Debug, Clone, Copy)]
struct Trouble {
    how: How,
    order: u64,
}

#[derive(Debug, Clone, Copy)]
enum How {
    /// So many records were written.
    Killed(usize),
    /// The step at this place fails; what waits for it is not begun.
    Failing(usize),
}

fn cluster() -> impl Strategy<Value = Cluster> {
    let link = prop::option::of((prop::char::range('a', 'c'), any::<bool>()));
    let folders = (prop::bool::weighted(0.1), prop::bool::weighted(0.2));
    (1_u32..3, any::<bool>(), folders, link).prop_map(|(targets_per_host, compression, folders, link)| {
        Cluster { targets_per_host, compression, folders, link }
    })
}

fn thing() -> impl Strategy<Value = Thing> {
    let after = prop::collection::btree_set(0_usize..6, 0..3);
    let count = prop_oneof![3 => Just(None), 1 => (0_u8..3).prop_map(Some)];
    (0_u8..3, 0_u8..2, after, count, any::<[bool; 2]>()).prop_map(
        |(input, trigger, after, count, [paired, create_before_destroy])| Thing {
            input,
            trigger,
            after,
            count,
            paired,
            create_before_destroy,
        },
    )
}

fn wish() -> impl Strategy<Value = Wish> {
    let hosts = prop::collection::btree_map(0..MACHINES, "[a-c]{1,2}", 1..4);
    let mounts = prop::collection::btree_set(0..MACHINES, 0..3);
    let values = prop::collection::vec(thing(), 0..6);
    (hosts, prop::option::weighted(0.8, cluster()), mounts, values).prop_map(
        |(hosts, cluster, mounts, values)| {
            // One key, one machine.
            let hosts = hosts.into_iter().map(|(number, key)| (key, number)).collect();
            Wish { hosts, cluster, mounts, values }
        },
    )
}

fn trouble() -> impl Strategy<Value = Trouble> {
    let how = prop_oneof![(0_usize..60).prop_map(How::Killed), (0_usize..30).prop_map(How::Failing)];
    (how, any::<u64>()).prop_map(|(how, order)| Trouble { how, order })
}

impl Wish {
    fn text(&self) -> String {
        let hosts: Vec<String> =
            self.hosts.iter().map(|(key, number)| format!("{key:?} = \"10.0.0.{number}\"")).collect();
        let mut text = format!(
            "host \"mds\" {{\n  address = \"10.0.1.1\"\n}}\n\
             host \"oss\" {{\n  for_each = {{ {} }}\n  address  = each.value\n}}\n",
            hosts.join(", ")
        );
        if let Some(cluster) = &self.cluster {
            text.push_str(&cluster.text());
            for (key, _) in self.hosts.iter().filter(|(_, number)| self.mounts.contains(number)) {
                let _ = write!(
                    text,
                    "mount \"on-{key}\" {{\n  cluster = cluster.x\n  host = host.oss[{key:?}]\n  path = \"/x\"\n}}\n"
                );
            }
        }
        for (place, thing) in self.values.iter().enumerate() {
            text.push_str(&thing.text(place, &self.values));
        }
        text.push_str("output \"names\" {\n  value = keys(host.oss)\n}\n");
        text
    }
}

impl Cluster {
    fn text(&self) -> String {
        let Self { targets_per_host, compression, folders, link } = self;
        let compression = if *compression { "LZ4" } else { "NONE" };
        let other = |moved: bool| if moved { "/other" } else { "" };
        let (metadata, objects) = (other(folders.0), other(folders.1));
        let mut text = format!(
            "cluster \"x\" {{\n  data_compression_type = \"{compression}\"\n\
             metadata {{\n  host = host.mds\n  path = \"{metadata}/mdt\"\n}}\n\
             storage {{\n  hosts = host.oss\n  path = \"{objects}/ost\"\n  targets_per_host = {targets_per_host}\n  \
             target_capacity = \"2GiB\"\n}}\n}}\n"
        );
        if let Some((directory, exports)) = link {
            let events = if *exports { "\"NEW\", \"CHANGED\", \"DELETED\"" } else { "\"NEW\"" };
            let _ = write!(
                text,
                "bucket \"data\" {{\n  host = host.mds\n  path = \"/data\"\n}}\n\
                 data_repository_association \"l\" {{\n  cluster = cluster.x\n  file_system_path = \"/{directory}\"\n  \
                 data_repository_path = bucket.data.data_repository_path\n  \
                 s3 {{\n  auto_export_policy {{\n  events = [{events}]\n}}\n}}\n}}\n"
            );
        }
        text
    }
}

impl Thing {
    fn text(&self, place: usize, all: &[Self]) -> String {
        let Self { input, trigger, count, create_before_destroy, .. } = self;
        let before = self.after.iter().filter(|before| **before < place);
        let parts: Vec<String> = before
            .map(|before| match all[*before].count {
                Some(_) if self.paired && count.is_some() => {
                    format!("try(value.v{before}[count.index].output, 0)")
                }
                Some(_) => format!("value.v{before}[*].output"),
                None => format!("value.v{before}.output"),
            })
            .collect();
        let count = count.map(|count| format!("  count = {count}\n")).unwrap_or_default();
        format!(
            "value \"v{place}\" {{\n{count}  input = jsonencode([{input}, {}])\n  triggers_replace = {trigger}\n  \
             lifecycle {{\n  create_before_destroy = {create_before_destroy}\n}}\n}}\n",
            parts.join(", ")
        )
    }
}

/// Steps in an order that a walk over the plan may come to.
fn shuffled(plan: &Plan, mut order: u64) -> Vec<&Step> {
    let mut waiting: Vec<&Step> = plan.steps().iter().collect();
    let mut done: BTreeSet<u32> = BTreeSet::new();
    let mut shuffled = Vec::new();
    while !waiting.is_empty() {
        let is_ready = |step: &&Step| step.waits_for.iter().all(|before| done.contains(&before.0));
        let ready: Vec<usize> = (0..waiting.len()).filter(|place| is_ready(&waiting[*place])).collect();
        order = order.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let next = waiting.remove(ready[(order >> 33) as usize % ready.len()]);
        done.insert(next.id.0);
        shuffled.push(next);
    }
    shuffled
}

/// Carries a plan out as far as the trouble lets it.
fn carry_out_in_trouble(plan: &Plan, world: &World, trouble: Trouble) -> World {
    let mut world = world.clone();
    let resolver = resolver(plan);
    // Moves, what is taken over and what is forgotten are one record of the journal.
    let mut records = usize::from(!plan.preparation().is_empty());
    let killed = match trouble.how {
        How::Killed(at) => at,
        How::Failing(_) => usize::MAX,
    };
    if killed < records {
        return world;
    }
    carry_out_moves(plan, &mut world);
    let mut lost: BTreeSet<u32> = BTreeSet::new();
    for (place, step) in shuffled(plan, trouble.order).into_iter().enumerate() {
        if killed <= records {
            return world;
        }
        if step.waits_for.iter().any(|before| lost.contains(&before.0)) {
            lost.insert(step.id.0);
            continue;
        }
        let fails = matches!(trouble.how, How::Failing(at) if at == place);
        if !fails && killed > records + 1 {
            carry_out_step(step, &resolver, &mut world);
            records += 2;
            continue;
        }
        let attributes = match step.operation {
            Operation::Delete => BTreeMap::new(),
            Operation::Create | Operation::Update | Operation::Read => {
                resolver.attributes(step, &world).expect("the plan resolves")
            }
        };
        world.apply(&intent(step, attributes)).expect("the intent fits");
        if !fails {
            return world;
        }
        let outcome = Outcome::Failed { cause: "no".into(), private: BTreeMap::new() };
        world.apply(&Event::Result { address: step.address.clone(), outcome }).expect("the result fits");
        lost.insert(step.id.0);
    }
    world
}

/// Which target lies where; only those that are there.
fn targets(world: &World) -> BTreeMap<u64, (String, u64)> {
    let targets = world.objects.values().filter(|object| object.kind == Kind::Target).filter_map(|object| {
        let fields = Fields::new(object.kind, &object.attributes);
        let listen = fields.text("listen").ok()?.split_once(':')?.0.to_owned();
        let is_object = fields.text("role").ok()? == "OST";
        is_object.then_some((fields.number("index").ok()?, (listen, fields.number("ordinal").ok()?)))
    });
    targets.collect()
}

/// What refers to an object that is not recorded, and to which.
fn dangling(world: &World) -> Vec<(&Address, &Address)> {
    let missing = |it: &&Address| !world.objects.contains_key(*it);
    let of = |(address, object)| -> Vec<(&Address, &Address)> {
        let (address, object): (&Address, &Object) = (address, object);
        object.dependencies.iter().filter(missing).map(|it| (address, it)).collect()
    };
    world.objects.iter().flat_map(of).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn whatever_is_edited_and_wherever_an_apply_stops_the_next_one_arrives(
        history in prop::collection::vec((wish(), prop::collection::vec(trouble(), 0..3)), 1..5),
    ) {
        let mut world = nothing();
        // Numbers are those of a file system; with other metadata it is another one, and begins anew.
        let mut file_system = None;
        let mut given: BTreeMap<u64, (String, u64)> = BTreeMap::new();
        for (wish, troubles) in &history {
            let text = wish.text();
            for trouble in troubles {
                world = carry_out_in_trouble(&planned(&text, &world), &world, *trouble);
            }
            world = applied(&text, &world);
            prop_assert!(world.objects.values().all(|object| object.status == Status::Present));
            prop_assert!(dangling(&world).is_empty(), "{:?} in\n{text}", dangling(&world));
            let there = targets(&world);
            let metadata = wish.cluster.as_ref().map(|cluster| cluster.folders.0);
            if std::mem::replace(&mut file_system, metadata) != metadata {
                given.clear();
            }
            for (index, place) in &there {
                let known = given.insert(*index, place.clone());
                prop_assert!(known.is_none_or(|known| known == *place), "OST index {index} went to another place");
            }
            let expected = wish.cluster.as_ref().map_or(0, |it| wish.hosts.len() * it.targets_per_host as usize);
            prop_assert_eq!(there.len(), expected);
        }
        prop_assert!(carry_out(&destroyed(&world), &world).objects.is_empty());
    }

    #[test]
    fn a_destroy_that_is_cut_off_is_finished_by_the_next(
        wish in wish(), troubles in prop::collection::vec(trouble(), 1..4),
    ) {
        let mut world = applied(&wish.text(), &nothing());
        for trouble in troubles {
            world = carry_out_in_trouble(&destroyed(&world), &world, trouble);
            prop_assert!(dangling(&world).is_empty(), "{:?}", dangling(&world));
        }
        prop_assert!(carry_out(&destroyed(&world), &world).objects.is_empty());
    }
}
