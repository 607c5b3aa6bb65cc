//! Objects in memory, and which of them hold changes that are not durable.
//!
//! Bounds open files; knows nothing of their content.
//! Invariant: as long as anybody holds an object, the cache returns the same one for its id, so its lock is the only one.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lustre_model::layout::ObjectId;

use crate::object::Object;

/// The share of objects that is let go at once when there are too many.
const EVICT_SHARE: usize = 8;

#[derive(Debug)]
pub(crate) struct Cache<F> {
    objects_max: usize,
    clock: AtomicU64,
    objects: Mutex<HashMap<ObjectId, Arc<Object<F>>>>,
    changed: Mutex<HashMap<ObjectId, Arc<Object<F>>>>,
}

impl<F> Cache<F> {
    /// Keeps at most `objects_max` objects that nobody uses.
    pub fn new(objects_max: usize) -> Self {
        let (objects, changed) = (Mutex::default(), Mutex::default());
        Self { objects_max, clock: AtomicU64::new(0), objects, changed }
    }

    /// Returns the object of that name.
    pub fn get(&self, id: ObjectId) -> Arc<Object<F>> {
        let mut objects = lock(&self.objects);
        let object = objects.entry(id).or_insert_with(|| Arc::new(Object::new(id)));
        let object = Arc::clone(object);
        object.used_at.store(self.clock.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
        if objects.len() > self.objects_max {
            evict(&mut objects);
        }
        object
    }

    /// Notes that an object has changes that are not durable; returns how many have.
    pub fn changed(&self, object: &Arc<Object<F>>) -> usize {
        let mut changed = lock(&self.changed);
        changed.entry(object.id).or_insert_with(|| Arc::clone(object));
        changed.len()
    }

    /// Notes that an object has none any more. Its lock is held, so that no change comes in between.
    pub fn settled(&self, id: ObjectId) {
        lock(&self.changed).remove(&id);
    }

    /// Returns the objects with changes that are not durable, in order.
    pub fn all_changed(&self) -> Vec<Arc<Object<F>>> {
        let mut all: Vec<Arc<Object<F>>> = lock(&self.changed).values().cloned().collect();
        all.sort_by_key(|object| object.id);
        all
    }

    /// Returns those of these objects that have changes that are not durable, in order, each once.
    pub fn changed_among(&self, ids: &[ObjectId]) -> Vec<Arc<Object<F>>> {
        let changed = lock(&self.changed);
        let mut found: Vec<Arc<Object<F>>> = ids.iter().filter_map(|id| changed.get(id).cloned()).collect();
        drop(changed);
        found.sort_by_key(|object| object.id);
        found.dedup_by_key(|object| object.id);
        found
    }

    /// Returns how many objects have changes that are not durable.
    pub fn changed_count(&self) -> usize {
        lock(&self.changed).len()
    }
}

/// Lets go of the objects that were used longest ago; those with changes are held by the map of changes.
fn evict<F>(objects: &mut HashMap<ObjectId, Arc<Object<F>>>) {
    let mut idle: Vec<(u64, ObjectId)> = objects
        .values()
        .filter(|object| Arc::strong_count(object) == 1)
        .map(|object| (object.used_at.load(Ordering::Relaxed), object.id))
        .collect();
    idle.sort_unstable();
    for (_, id) in idle.iter().take((objects.len() / EVICT_SHARE).max(1)) {
        objects.remove(id);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
