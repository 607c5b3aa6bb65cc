//! What is known of one resource in one instance of a module: its instances and their values.
//!
//! Invariant: a value is never both there and poisoned.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use lustre_model::address::{Address, Key};
use lustre_model::types::Type;
use lustre_model::value::Value;

/// Instances of a block by key, each with its `each.value`.
pub type Expansion = Arc<BTreeMap<Option<Key>, Option<Value>>>;

/// What was applied, for a run that fills in what a plan left unknown.
pub trait Applied {
    /// Returns the keys of the instances of a block, in order.
    fn keys(&self, block: &Address) -> Vec<Option<Key>>;

    /// Returns the value of an instance.
    fn value(&self, instance: &Address) -> Option<Value>;

    /// Returns an expansion that was kept.
    fn expansion(&self, block: &Address) -> Option<Expansion>;

    /// Keeps an expansion in which nothing is unknown, so that the next run need not make it again.
    fn keep(&self, block: &Address, expansion: Expansion);
}

/// What is known of one resource.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// Values of instances by key.
    instances: RefCell<BTreeMap<Option<Key>, Value>>,
    /// Instances that failed.
    poisoned: RefCell<BTreeSet<Option<Key>>>,
    /// Which instances there will be; none before it is expanded.
    expanded: RefCell<Option<BTreeSet<Option<Key>>>>,
    /// It could not be expanded.
    failed: RefCell<bool>,
    /// All instances as one value, made when first asked for.
    whole: RefCell<Option<Value>>,
}

impl Known {
    pub(super) fn set(&self, key: &Option<Key>, value: Value) {
        self.instances.borrow_mut().insert(key.clone(), value);
        self.whole.take();
    }

    pub(super) fn poison(&self, key: &Option<Key>) {
        self.poisoned.borrow_mut().insert(key.clone());
        self.whole.take();
    }

    /// Notes which instances there are; none when that could not be found out.
    pub(super) fn expand(&self, keys: Option<BTreeSet<Option<Key>>>) {
        *self.failed.borrow_mut() = keys.is_none();
        *self.expanded.borrow_mut() = keys;
        self.whole.take();
    }

    pub(super) fn has_failed(&self, key: &Option<Key>) -> bool {
        *self.failed.borrow() || self.poisoned.borrow().contains(key)
    }

    pub(super) fn any_failed(&self) -> bool {
        *self.failed.borrow() || !self.poisoned.borrow().is_empty()
    }

    pub(super) fn value(&self, key: &Option<Key>) -> Option<Value> {
        self.instances.borrow().get(key).cloned()
    }

    /// Returns which instances there are, once that is known.
    pub(super) fn keys(&self) -> Option<BTreeSet<Option<Key>>> {
        self.expanded.borrow().clone()
    }

    /// An object for `for_each`, a tuple for `count`; unknown before it is expanded.
    pub(super) fn gathered(&self, counted: bool) -> Value {
        if let Some(value) = self.whole.borrow().as_ref() {
            return value.clone();
        }
        let value = match &*self.expanded.borrow() {
            Some(keys) => {
                let instances = self.instances.borrow();
                let value = |key| instances.get(key).cloned().unwrap_or_else(|| Value::unknown(Type::Any));
                gather(keys.iter().map(|key| (key, value(key))), counted)
            }
            None => Value::unknown(Type::Any),
        };
        *self.whole.borrow_mut() = Some(value.clone());
        value
    }
}

/// Makes one value of those of all instances.
pub(super) fn gather<'a>(values: impl Iterator<Item = (&'a Option<Key>, Value)>, counted: bool) -> Value {
    let (mut named, mut numbered) = (Vec::new(), Vec::new());
    for (key, value) in values {
        match key {
            Some(Key::Name(name)) => named.push((name.clone(), value)),
            Some(Key::Index(_)) | None => numbered.push(value),
        }
    }
    if counted { Value::tuple(numbered) } else { Value::object(named) }
}
