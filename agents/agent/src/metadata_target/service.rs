//! Requests of connections become events of the target.
//!
//! Says what a peer's certificate lets it ask; decides nothing else. Requests that arrive together are handled together.
//! Invariant: events of one connection reach the target in the order in which the peer caused them, and none stays queued when
//! its connection's reader waits or ends.

use std::sync::Arc;

use bytes::Bytes;
use lustre_metadata::{ConnectionId, Rights};
use lustre_model::fault::Fault;
use lustre_model::metadata::Call;
use lustre_wire::server::{Peer, Responder, Service};
use lustre_wire::{Metadata, Role};

use super::host::Host;
use super::writer::Event;

/// Hands requests to the target.
pub(super) struct MetadataService {
    host: Arc<Host>,
}

impl MetadataService {
    pub(super) fn new(host: Arc<Host>) -> Self {
        Self { host }
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
        self.host.queue(Event::Connected { peer: peer.clone() });
    }

    fn disconnected(&self, peer: &Peer<Metadata>) {
        self.host.give(Event::Disconnected { connection: ConnectionId(peer.id()) });
    }

    fn call(&self, peer: &Peer<Metadata>, call: Call, _bulk: Bytes, responder: Responder<Metadata>) {
        match rights(peer.subject().role) {
            Some(rights) => {
                let connection = ConnectionId(peer.id());
                self.host.queue(Event::Request { connection, rights, call, responder });
            }
            None => responder.send(Err(Fault::NotPermitted), Bytes::new()),
        }
    }
    fn paused(&self, _: &Peer<Metadata>) {
        self.host.drive();
    }
}
