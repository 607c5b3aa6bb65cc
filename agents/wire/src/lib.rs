//! How processes of lustre talk: frames over TCP, mutual TLS 1.3, certificates with a role, calls and notices.
//!
//! Knows no request's meaning: a [`Protocol`] names three types, and a [`server::Service`] gives them behaviour. What is a
//! frame, what may follow what, and how two releases agree on a version is decided without sockets (`frame`,
//! `session`, `handshake`); sockets only move bytes (`link`, `outlet`).
//!
//! A connection is one TLS stream, which goes on in the clear behind the handshake where both ends are one machine
//! (`machine`). Requests are numbered and multiplexed: answers come in any order. Bulk bytes travel
//! raw behind the encoded body. Both sides say that they live every [`limit::BEAT_EVERY`]; who is silent for
//! [`limit::SILENCE_MAX`] is gone, and every call that waits for it fails.
//! Invariant: no request reaches a service, and no answer a caller, from a peer whose certificate the same authority did
//! not sign for the same scope.

pub mod authority;
pub mod client;
mod error;
mod frame;
mod handshake;
mod identity;
pub mod limit;
mod link;
mod machine;
mod outlet;
mod protocol;
mod revoked;
pub mod server;
mod session;
mod subject;

pub use error::{CodecError, Step, WireError};
pub use frame::FrameError;
pub use handshake::Refusal;
pub use identity::{Identity, IdentityError};
pub use protocol::{Control, Metadata, Object, Protocol};
pub use session::SessionError;
pub use subject::{Issued, Role, Subject, SubjectError};
