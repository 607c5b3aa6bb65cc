//! A deployment of one object against EC2 in memory, for tests.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt as _;
use lustre_apply::cloud::Keep;
use lustre_apply::error::StepError;
use lustre_apply::{Left, Task, Tell};
use lustre_model::address::Address;
use lustre_model::plan::{Operation, Step, StepId};
use lustre_model::recorded::{Lineage, Secret, World};
use lustre_model::resource::{Attributes, AwsAccess, Kind};
use lustre_model::types::Type;
use lustre_model::value::Value;

use crate::caller::{Caller, Pace};
use crate::fake::Fake;

const PACE: Pace = Pace {
    first: Duration::from_millis(1),
    most: Duration::from_millis(2),
    look: Duration::from_millis(1),
    lag_looks: 5,
    long_looks: 8,
};

/// What the object is to be, what its journal keeps, and EC2.
pub struct Lab {
    pub fake: Arc<Fake>,
    pub kept: Arc<Mutex<BTreeMap<String, Secret>>>,
    pub told: Arc<Mutex<Vec<String>>>,
    pub attributes: Attributes,
    kind: Kind,
    address: Address,
    /// Grows with each step, as a state's does.
    serial: Mutex<u64>,
}

impl Lab {
    pub fn new(kind: Kind, name: &str) -> Self {
        let provider = Value::object([("max_retries", Value::from(3_u64))]);
        let attributes = [("region", Value::from("eu-central-1")), ("provider", provider)];
        Self {
            fake: Arc::new(Fake::new()),
            kept: Arc::default(),
            told: Arc::default(),
            attributes: attributes.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
            kind,
            address: Address::new(kind.name(), name),
            serial: Mutex::new(0),
        }
    }

    pub fn tags(&mut self, tags: &[(&str, &str)]) {
        let tags = tags.iter().map(|(name, value)| ((*name).to_owned(), Value::from(*value))).collect();
        self.attributes.insert("tags_all".to_owned(), Value::map(Type::String, tags));
    }

    pub fn caller(&self) -> Caller {
        let access = AwsAccess::of(self.kind, &self.attributes).unwrap();
        let told = Arc::clone(&self.told);
        Caller::new(Arc::clone(&self.fake) as _, &access, PACE)
            .telling(Tell::new(move |what| told.lock().unwrap().push(format!("{what:?}"))))
    }

    /// A step of an apply that knows what earlier ones kept, and dies instead of keeping more when `room` is used up.
    pub fn task(&self, operation: Operation, room: usize) -> Task {
        let kept = Arc::clone(&self.kept);
        let room = Arc::new(Mutex::new(room));
        let keep = Keep::new(move |private| {
            let (kept, room) = (Arc::clone(&kept), Arc::clone(&room));
            async move {
                let mut room = room.lock().unwrap();
                *room = room.checked_sub(1).ok_or(StepError::LinkMissing)?;
                kept.lock().unwrap().extend(private);
                Ok(())
            }
            .boxed()
        });
        let step = Step {
            id: StepId(0),
            address: self.address.clone(),
            kind: self.kind,
            operation,
            before: None,
            after: None,
            dependencies: BTreeSet::new(),
            waits_for: Vec::new(),
        };
        let mut serial = self.serial.lock().unwrap();
        *serial += 1;
        let world = World { serial: *serial, ..World::new(Lineage("l".to_owned())) };
        Task {
            step,
            attributes: self.attributes.clone(),
            private: self.kept.lock().unwrap().clone(),
            world: Arc::new(world),
            tell: Tell::new(|_| {}),
            keep,
        }
    }

    /// Records what a step left.
    pub fn keep(&mut self, left: Left) {
        self.attributes = left.attributes;
        self.kept.lock().unwrap().extend(left.private);
    }

    pub fn count(&self, call: &str) -> usize {
        self.fake.calls().iter().filter(|name| **name == call).count()
    }
}
