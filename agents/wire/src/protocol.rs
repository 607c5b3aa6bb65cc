//! The three protocols: what may be asked, answered and noticed on a connection.
//!
//! Types only; the nouns are `lustre_model`'s.
//! Invariant: a connection speaks one protocol, named in its first frame.

use lustre_model::{control, metadata, object};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Names the three kinds of messages of one kind of connection.
pub trait Protocol: Send + Sync + 'static {
    /// Said in the first frame; both sides must mean the same.
    const NAME: &'static str;
    /// What a client asks.
    type Request: Serialize + DeserializeOwned + Send + 'static;
    /// What a server answers.
    type Answer: Serialize + DeserializeOwned + Send + 'static;
    /// What a server says without being asked.
    type Notice: Serialize + DeserializeOwned + Send + 'static;
}

/// The planner to an agent.
#[derive(Debug, Clone, Copy)]
pub struct Control;

impl Protocol for Control {
    const NAME: &'static str = "control";
    type Request = control::Call;
    type Answer = control::Answer;
    type Notice = ();
}

/// Clients, movers and administrators to a metadata target.
#[derive(Debug, Clone, Copy)]
pub struct Metadata;

impl Protocol for Metadata {
    const NAME: &'static str = "metadata";
    type Request = metadata::Call;
    type Answer = metadata::Answer;
    type Notice = metadata::Notice;
}

/// Clients, movers and metadata targets to an object target.
#[derive(Debug, Clone, Copy)]
pub struct Object;

impl Protocol for Object {
    const NAME: &'static str = "object";
    type Request = object::Request;
    type Answer = object::Answer;
    type Notice = ();
}
