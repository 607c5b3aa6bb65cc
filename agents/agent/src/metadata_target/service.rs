//! Requests of connections become events of the writer.
//!
//! Says what a peer's certificate lets it ask; decides nothing else.
//! Invariant: events of one connection reach the writer in the order in which the peer caused them.

use std::sync::mpsc::Sender;

use bytes::Bytes;
use lustre_metadata::{ConnectionId, Rights};
use lustre_model::fault::Fault;
use lustre_model::metadata::Call;
use lustre_wire::server::{Peer, Responder, Service};
use lustre_wire::{Metadata, Role};

use super::writer::Event;

/// Hands requests to the writer.
pub(super) struct MetadataService {
    events: Sender<Event>,
}

impl MetadataService {
    pub(super) fn new(events: Sender<Event>) -> Self {
        Self { events }
    }

    /// A writer that has ended takes the process with it: what cannot be sent needs no answer.
    fn send(&self, event: Event) {
        let _ = self.events.send(event);
    }
}

/// What a role may ask; `None` when nothing.
fn rights(role: Role) -> Option<Rights> {
    match role {
        Role::Client => Some(Rights::Client),
        Role::Mover => Some(Rights::Mover),
        Role::Administrator => Some(Rights::Administrator),
        Role::Agent | Role::Target => None,
    }
}

impl Service<Metadata> for MetadataService {
    fn connected(&self, peer: &Peer<Metadata>) {
        self.send(Event::Connected { peer: peer.clone() });
    }

    fn disconnected(&self, peer: &Peer<Metadata>) {
        self.send(Event::Disconnected { connection: ConnectionId(peer.id()) });
    }

    fn call(&self, peer: &Peer<Metadata>, call: Call, _bulk: Bytes, responder: Responder<Metadata>) {
        match rights(peer.subject().role) {
            Some(rights) => {
                let connection = ConnectionId(peer.id());
                self.send(Event::Request { connection, rights, call, responder });
            }
            None => responder.send(Err(Fault::NotPermitted), Bytes::new()),
        }
    }
}
