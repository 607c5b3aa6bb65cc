//! The recorded world: what the state says was last applied, and how each event of an apply changes it.
//!
//! Not how it is stored; that is `state/store`. Not what hosts report; that is *observed*.
//! Invariant: the world is the fold of its events. [`World::apply`] is total: an event that does not fit is refused and
//! changes nothing, so a journal replayed after a crash gives the same world as the process that wrote it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::address::Address;
use crate::journal::{Event, Outcome};
use crate::plan::{Move, Operation};
use crate::resource::{Attributes, Kind};
use crate::value::Value;

/// Names one state for ever: drawn at random when the state is made, and never changed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Lineage(pub String);

impl fmt::Display for Lineage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Text that is never printed: a private key or a password.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secret(String);

impl Secret {
    /// Takes the text.
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// Returns the text, for the one who uses it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// The deployment's own certificate authority: signs agents and the administrator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeploymentAuthority {
    /// Its certificate, PEM.
    pub certificate: String,
    /// Its private key, PEM.
    pub key: Secret,
}

/// How far the last thing done to an object came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Status {
    /// Creation was begun and no result is known. The attributes are those it was to get. Creating again resumes it.
    Creating,
    /// As the attributes say.
    Present,
    /// An update was begun and no result is known. The attributes are those before; an update must be made again.
    Updating,
    /// Deletion was begun and no result is known. What is left may be deleted, or deleted and created anew.
    Deleting,
    /// It is there but cannot be used as it is; only a replacement helps.
    Tainted {
        /// What is wrong.
        cause: String,
    },
    /// Present by the records, but hosts report otherwise; an update makes it whole. Only in a world that a plan is made
    /// from, never in a state.
    Drifted {
        /// What hosts report.
        cause: String,
    },
    /// Present by the records, but it is known not to be there any more; only making it anew helps. Only in a world that a plan is
    /// made from, never in a state.
    Gone {
        /// How that is known.
        cause: String,
    },
}

/// One object of the recorded world: a resource instance, or a target of a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Object {
    /// What it is.
    pub kind: Kind,
    /// What was applied, all known.
    pub attributes: Attributes,
    /// What only the executor reads, such as the key of a cluster's authority. Never printed.
    pub private: BTreeMap<String, Secret>,
    /// Direct dependencies only; deletion goes against them.
    pub dependencies: BTreeSet<Address>,
    /// How far it is.
    pub status: Status,
}

/// The value of an `output`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Output {
    /// What it is.
    pub value: Value,
    /// Whether it must not be printed.
    pub sensitive: bool,
}

/// Numbers of a cluster that are given once and never again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Allotment {
    /// The index that the next object target gets.
    pub next_ost: u32,
    /// The id that the next link gets.
    pub next_link: u32,
}

/// Everything a state records.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct World {
    /// Which state it is.
    pub lineage: Lineage,
    /// Grows by one with every event; a plan is made for exactly one serial.
    pub serial: u64,
    /// Signs agents and the administrator; made by the first apply that meets a host.
    pub authority: Option<DeploymentAuthority>,
    /// All objects.
    pub objects: BTreeMap<Address, Object>,
    /// Outputs of the last apply.
    pub outputs: BTreeMap<String, Output>,
    /// What each cluster has given out so far, also to objects that are gone.
    pub allotments: BTreeMap<Address, Allotment>,
}

/// An event that cannot follow what was recorded before.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum IllegalEvent {
    /// The object is not there.
    #[error("{address} is not in the state, so it cannot be {verb}")]
    Missing {
        /// Which.
        address: Box<Address>,
        /// What was to happen to it.
        verb: &'static str,
    },
    /// The object is there already.
    #[error("{address} is in the state already, so it cannot be {verb}")]
    Taken {
        /// Which.
        address: Box<Address>,
        /// What was to happen to it.
        verb: &'static str,
    },
    /// A result without its intent.
    #[error("a result was recorded for {address}, but nothing had been begun there")]
    NotBegun {
        /// Which.
        address: Box<Address>,
    },
}

impl World {
    /// Returns an empty world of a new lineage.
    pub fn new(lineage: Lineage) -> Self {
        Self { lineage, ..Self::default() }
    }

    /// Returns what a step on one object looks at: the object, and those that its attributes, recorded or `wanted`, refer
    /// to. Costs as much as they are large, however many others there are.
    pub fn around(&self, address: &Address, (kind, wanted): (Kind, &Attributes)) -> Self {
        let recorded = self.objects.get(address).map(|object| &object.attributes);
        let named = |attributes: &Attributes| -> Vec<Address> {
            let texts = kind.references().iter().filter_map(|name| attributes.get(*name)?.as_str());
            texts.filter_map(|text| text.parse().ok()).collect()
        };
        let references = recorded.into_iter().chain([wanted]).flat_map(named);
        let near = references.chain([address.clone()]);
        let objects =
            near.filter_map(|near| Some((near.clone(), self.objects.get(&near)?.clone()))).collect();
        Self {
            lineage: self.lineage.clone(),
            serial: self.serial,
            authority: self.authority.clone(),
            objects,
            outputs: BTreeMap::new(),
            allotments: BTreeMap::new(),
        }
    }

    /// Records one event; on refusal nothing changed.
    pub fn apply(&mut self, event: &Event) -> Result<(), IllegalEvent> {
        match event {
            Event::Intent { address, kind, operation, attributes, dependencies } => {
                let intent = (*kind, attributes, dependencies);
                self.begin(address, *operation, intent)?;
            }
            Event::Result { address, outcome } => self.end(address, outcome)?,
            Event::Moved { from, to } => {
                self.rename(&[Move { from: from.clone(), to: to.clone() }])?;
            }
            Event::MovedAll { moves } => self.rename(moves)?,
            Event::Forgotten { address } => {
                let missing =
                    || IllegalEvent::Missing { address: Box::new(address.clone()), verb: "forgotten" };
                self.objects.remove(address).ok_or_else(missing)?;
            }
            Event::Kept { address, private } => {
                self.object_mut(address, "given what must be kept")?.private.extend(private.clone());
            }
            Event::Depends { address, dependencies } => {
                self.object_mut(address, "given other dependencies")?.dependencies = dependencies.clone();
            }
            Event::Outputs { outputs } => self.outputs = outputs.clone(),
            Event::Authority { authority } => self.authority = Some(authority.clone()),
        }
        self.serial += 1;
        Ok(())
    }

    /// Records events in order, all or none. Costs as much as the objects that they are about are large, and a copy of the
    /// whole only where one of them is about more than one object.
    pub fn apply_all(&mut self, events: &[Event]) -> Result<(), IllegalEvent> {
        let single = |event: &Event| match event {
            Event::Intent { address, .. }
            | Event::Result { address, .. }
            | Event::Kept { address, .. }
            | Event::Depends { address, .. } => Some(address.clone()),
            Event::Moved { .. }
            | Event::MovedAll { .. }
            | Event::Forgotten { .. }
            | Event::Outputs { .. }
            | Event::Authority { .. } => None,
        };
        let Some(addresses) = events.iter().map(single).collect::<Option<Vec<Address>>>() else {
            let mut next = self.clone();
            events.iter().try_for_each(|event| next.apply(event))?;
            *self = next;
            return Ok(());
        };
        let (serial, allotments) = (self.serial, self.allotments.clone());
        let mut before = Vec::with_capacity(events.len());
        for (event, address) in events.iter().zip(addresses) {
            let object = self.objects.get(&address).cloned();
            if let Err(refused) = self.apply(event) {
                for (address, object) in before.into_iter().rev() {
                    match object {
                        Some(object) => drop(self.objects.insert(address, object)),
                        None => drop(self.objects.remove(&address)),
                    }
                }
                (self.serial, self.allotments) = (serial, allotments);
                return Err(refused);
            }
            before.push((address, object));
        }
        Ok(())
    }

    fn begin(
        &mut self,
        address: &Address,
        operation: Operation,
        (kind, attributes, dependencies): (Kind, &Attributes, &BTreeSet<Address>),
    ) -> Result<(), IllegalEvent> {
        match operation {
            Operation::Create => {
                let resumed = self.objects.get(address);
                if resumed.is_some_and(|object| object.status != Status::Creating) {
                    return Err(IllegalEvent::Taken { address: Box::new(address.clone()), verb: "created" });
                }
                let private = resumed.map(|object| object.private.clone()).unwrap_or_default();
                let object = Object {
                    kind,
                    attributes: attributes.clone(),
                    private,
                    dependencies: dependencies.clone(),
                    status: Status::Creating,
                };
                self.allot(&object);
                self.objects.insert(address.clone(), object);
            }
            Operation::Update => {
                let object = self.object_mut(address, "updated")?;
                // Direct edges of both sides until the result is known: either may have to be undone against them.
                object.dependencies.extend(dependencies.iter().cloned());
                object.status = Status::Updating;
            }
            Operation::Delete => self.object_mut(address, "deleted")?.status = Status::Deleting,
            Operation::Read => {}
        }
        Ok(())
    }

    fn end(&mut self, address: &Address, outcome: &Outcome) -> Result<(), IllegalEvent> {
        let not_begun = || IllegalEvent::NotBegun { address: Box::new(address.clone()) };
        let object = self.objects.get_mut(address).ok_or_else(not_begun)?;
        match outcome {
            Outcome::Present { attributes, private, dependencies } => {
                object.attributes = attributes.clone();
                object.private = private.clone();
                object.dependencies = dependencies.clone();
                object.status = Status::Present;
                let object = object.clone();
                self.allot(&object);
            }
            Outcome::Absent => {
                self.objects.remove(address);
                self.allotments.remove(address);
            }
            Outcome::Tainted { cause } => object.status = Status::Tainted { cause: cause.clone() },
            Outcome::Failed { private, .. } => object.private.extend(private.clone()),
        }
        Ok(())
    }

    /// Gives objects other addresses, one move after the other; every mention of an old one follows. Costs one walk over
    /// the world, however many moves there are.
    fn rename(&mut self, moves: &[Move]) -> Result<(), IllegalEvent> {
        // Where each object that moved was recorded, by where it is after the moves so far.
        let mut origins: BTreeMap<&Address, &Address> = BTreeMap::new();
        let mut vacated: BTreeSet<&Address> = BTreeSet::new();
        for Move { from, to } in moves {
            let missing = || IllegalEvent::Missing { address: Box::new(from.clone()), verb: "moved" };
            let recorded =
                |address: &Address| self.objects.contains_key(address) && !vacated.contains(address);
            if recorded(to) || origins.contains_key(to) {
                return Err(IllegalEvent::Taken { address: Box::new(to.clone()), verb: "moved there" });
            }
            let unmoved = || Some(from).filter(|from| recorded(from));
            let origin = origins.get(from).copied().or_else(unmoved).ok_or_else(missing)?;
            origins.remove(from);
            vacated.insert(origin);
            origins.insert(to, origin);
        }
        let renamed: BTreeMap<Address, Address> =
            origins.iter().map(|(to, from)| ((*from).clone(), (*to).clone())).collect();
        let objects: Vec<_> = renamed.keys().map(|from| self.objects.remove(from)).collect();
        let allotments: Vec<_> = renamed.keys().map(|from| self.allotments.remove(from)).collect();
        for ((to, object), allotment) in renamed.values().zip(objects).zip(allotments) {
            self.objects.extend(object.map(|object| (to.clone(), object)));
            self.allotments.extend(allotment.map(|allotment| (to.clone(), allotment)));
        }
        for object in self.objects.values_mut() {
            if object.dependencies.iter().any(|dependency| renamed.contains_key(dependency)) {
                let now = |address: Address| renamed.get(&address).cloned().unwrap_or(address);
                object.dependencies = std::mem::take(&mut object.dependencies).into_iter().map(now).collect();
            }
            object.kind.rename_references(&mut object.attributes, &renamed);
        }
        Ok(())
    }

    /// Keeps the numbers of a target or link from ever being given again.
    fn allot(&mut self, object: &Object) {
        let Some((cluster, number)) = object.kind.allotted(&object.attributes) else { return };
        let allotment = self.allotments.entry(cluster).or_default();
        let next = number.saturating_add(1);
        match object.kind {
            Kind::Target => allotment.next_ost = allotment.next_ost.max(next),
            Kind::DataRepositoryAssociation => allotment.next_link = allotment.next_link.max(next),
            Kind::Host | Kind::Cluster | Kind::Bucket | Kind::Mount | Kind::Value => {}
            Kind::SecurityGroup | Kind::Instance => {}
        }
    }

    fn object_mut(&mut self, address: &Address, verb: &'static str) -> Result<&mut Object, IllegalEvent> {
        let missing = || IllegalEvent::Missing { address: Box::new(address.clone()), verb };
        self.objects.get_mut(address).ok_or_else(missing)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{Just, Strategy, any, prop, prop_assert_eq, prop_oneof, proptest};

    use super::*;

    fn events() -> impl Strategy<Value = Vec<Event>> {
        let address = (0..4_u8).prop_map(|number| Address::new("value", format!("v{number}")));
        let operation =
            prop_oneof![Just(Operation::Create), Just(Operation::Update), Just(Operation::Delete)];
        let outcome = prop_oneof![
            any::<u8>().prop_map(|number| Outcome::Present {
                attributes: Attributes::from([("input".to_owned(), Value::from(u64::from(number)))]),
                private: BTreeMap::new(),
                dependencies: BTreeSet::new(),
            }),
            Just(Outcome::Absent),
        ];
        let event = prop_oneof![
            4 => (address.clone(), operation).prop_map(|(address, operation)| Event::Intent {
                address,
                kind: Kind::Value,
                operation,
                attributes: Attributes::new(),
                dependencies: BTreeSet::new(),
            }),
            4 => (address.clone(), outcome).prop_map(|(address, outcome)| Event::Result { address, outcome }),
            1 => (address.clone(), address).prop_map(|(from, to)| Event::Moved { from, to }),
        ];
        prop::collection::vec(event, 0..6)
    }

    proptest! {
        #[test]
        fn events_are_recorded_in_order_all_or_none(first in events(), second in events()) {
            let mut world = World::new(Lineage("l".to_owned()));
            for event in &first {
                // What does not fit is left out; the world is any that can come about.
                let _refused = world.apply(event);
            }
            let mut one_by_one = world.clone();
            let outcome = second.iter().try_for_each(|event| one_by_one.apply(event));
            let mut at_once = world.clone();
            prop_assert_eq!(at_once.apply_all(&second), outcome.clone());
            prop_assert_eq!(&at_once, if outcome.is_ok() { &one_by_one } else { &world });
        }
    }
}
