//! What the planner gives out: ports of hosts, indices of object targets, ids of links.
//!
//! Ports come from the host's range. What an object has, it keeps; what was given to an object that is gone is not given
//! again in the same plan.
//! Invariant: an index or id is given once in a cluster's life; two processes never get one port.

use std::collections::{BTreeMap, BTreeSet};

use lustre_model::address::Address;
use lustre_model::recorded::World;
use lustre_model::resource::{Attributes, Fields, Kind, PortRange};
use lustre_model::value::Value;

/// Given out so far: by the recorded world, and by this plan.
#[derive(Debug, Clone)]
pub struct Allotted {
    /// Ports by the network address of their host.
    ports: BTreeMap<String, BTreeSet<u16>>,
    /// Next index of an object target, by cluster.
    targets: BTreeMap<Address, u32>,
    /// Next id of a link, by cluster.
    links: BTreeMap<Address, u32>,
}

impl Allotted {
    /// Starts with what is recorded.
    pub fn new(world: &World) -> Self {
        let mut allotted = Self { ports: BTreeMap::new(), targets: BTreeMap::new(), links: BTreeMap::new() };
        for (cluster, numbers) in &world.allotments {
            allotted.targets.insert(cluster.clone(), numbers.next_ost);
            allotted.links.insert(cluster.clone(), numbers.next_link);
        }
        for object in world.objects.values() {
            allotted.take(object.kind, &object.attributes);
        }
        allotted
    }

    /// Notes what an object has.
    pub fn take(&mut self, kind: Kind, attributes: &Attributes) {
        let fields = Fields::new(kind, attributes);
        if kind == Kind::Host {
            if let (Ok(address), Ok(port)) = (fields.text("address"), fields.number("control_port")) {
                self.take_port(&address, port);
            }
        } else if let Some((address, port)) = listen(attributes) {
            self.take_port(&address, port);
        }
        if let Some((cluster, number)) = kind.allotted(attributes) {
            let numbers = if kind == Kind::Target { &mut self.targets } else { &mut self.links };
            let next = numbers.entry(cluster).or_default();
            *next = (*next).max(number.saturating_add(1));
        }
    }

    fn take_port(&mut self, address: &str, port: u16) {
        self.ports.entry(address.to_owned()).or_default().insert(port);
    }

    /// Lets what a cluster has given follow it to another address.
    pub fn rename(&mut self, from: &Address, to: &Address) {
        for numbers in [&mut self.targets, &mut self.links] {
            if let Some(next) = numbers.remove(from) {
                numbers.insert(to.clone(), next);
            }
        }
    }

    /// Gives the lowest free port of a host; `None` when all are given.
    pub fn port(&mut self, address: &str, range: PortRange) -> Option<u16> {
        let taken = self.ports.entry(address.to_owned()).or_default();
        let port = range.ports().find(|port| !taken.contains(port))?;
        taken.insert(port);
        Some(port)
    }

    /// Gives the next index of an object target; `None` when there are no more.
    pub fn target_index(&mut self, cluster: &Address) -> Option<u16> {
        let next = self.targets.entry(cluster.clone()).or_default();
        let index = u16::try_from(*next).ok()?;
        *next += 1;
        Some(index)
    }

    /// Gives the next id of a link.
    pub fn link_id(&mut self, cluster: &Address) -> u32 {
        let next = self.links.entry(cluster.clone()).or_default();
        let id = *next;
        *next = next.saturating_add(1);
        id
    }
}

/// Returns host and port of a `listen` attribute that is known.
pub fn listen(attributes: &Attributes) -> Option<(String, u16)> {
    let (address, port) = attributes.get("listen").and_then(Value::as_str)?.rsplit_once(':')?;
    Some((address.to_owned(), port.parse().ok()?))
}
