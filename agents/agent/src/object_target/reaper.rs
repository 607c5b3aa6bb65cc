//! Answers to requests to destroy, given when the removal is durable: who asked forgets the objects then.
//!
//! The objects themselves are gone before, and their space is free; here names are synced, for many requests at once.
//! Invariant: no answer says that objects are gone that a power loss could bring back.

use std::io;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bytes::Bytes;
use lustre_model::layout::ObjectId;
use lustre_model::object::Reply;
use lustre_object::{Disk, ObjectStore};
use lustre_wire::Object;
use lustre_wire::server::Responder;

use super::service::fault_of;

/// How long requests gather: destroying is work in the background, syncs hold up others.
const GATHER: Duration = Duration::from_millis(200);

type Request = (Vec<ObjectId>, Responder<Object>);

/// The thread that syncs and answers.
pub(super) struct Reaper {
    given: Mutex<Option<Sender<Request>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Reaper {
    /// Starts the thread.
    pub fn start<D: Disk>(store: Arc<ObjectStore<D>>) -> io::Result<Self> {
        let (given, taken) = mpsc::channel();
        let thread = thread::Builder::new().name("reaper".to_owned()).spawn(move || work(&store, &taken))?;
        Ok(Self { given: Mutex::new(Some(given)), thread: Mutex::new(Some(thread)) })
    }

    /// Answers when it is durable that these objects were removed. Bounded by the requests that peers may have under way.
    pub fn settle(&self, objects: Vec<ObjectId>, responder: Responder<Object>) {
        let given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(given) = given.as_ref() {
            // A thread that has ended drops the responder, and the peer hears that no answer comes.
            let _ = given.send((objects, responder));
        }
    }

    /// Answers what was given and ends the thread.
    pub fn finish(&self) {
        drop(self.given.lock().unwrap_or_else(PoisonError::into_inner).take());
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread that settles removals had panicked");
        }
    }
}

fn work<D: Disk>(store: &ObjectStore<D>, taken: &Receiver<Request>) {
    while let Ok(first) = taken.recv() {
        thread::sleep(GATHER);
        let requests: Vec<Request> = std::iter::once(first).chain(taken.try_iter()).collect();
        let objects: Vec<ObjectId> = requests.iter().flat_map(|(objects, _)| objects).copied().collect();
        let synced = store.sync(&objects).map_err(|error| fault_of("destroy", &error));
        for (_, responder) in requests {
            responder.send(synced.map(|()| Reply::Done), Bytes::new());
        }
    }
}
