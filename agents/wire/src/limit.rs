//! Every limit of the wire, by name.
//!
//! Not configuration: both sides of a connection rely on them, and a change of one that the peer can see is a change of
//! the wire version.
//! Invariant: a peer within these limits can never make this process hold more than they add up to.

use std::time::Duration;

/// Most bytes of one encoded request, answer or notice.
pub const BODY_MAX: usize = 4 << 20;

/// Most raw bytes beside one request or answer.
pub const BULK_MAX: usize = 8 << 20;

/// Most calls of one connection that wait for an answer.
pub const CALLS_MAX: usize = 16_384;

/// Bytes of requests and answers of one connection that a server holds before it stops reading more.
pub const SERVER_BYTES_MAX: usize = 64 << 20;

/// Notices that may wait for a slow peer before it is cut off.
pub const NOTICES_MAX: usize = 65_536;

/// Connections that one server serves at a time.
pub const CONNECTIONS_MAX: usize = 4_096;

/// Time for TLS and the version handshake on the side of the server.
pub const HANDSHAKE_MAX: Duration = Duration::from_secs(10);

/// How often each side says that it lives.
pub const BEAT_EVERY: Duration = Duration::from_secs(5);

/// Silence after which a peer counts as gone: four beats.
pub const SILENCE_MAX: Duration = Duration::from_secs(20);

/// Time to send what is queued when a connection is closed from this side.
pub const CLOSE_MAX: Duration = Duration::from_secs(2);

/// Pause of a server that could not accept, for want of file descriptors.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Frames that are written with one flush.
pub(crate) const BATCH_MAX: usize = 256;

/// Batches that a thread writes which only came to send one frame; what is left is the writer's.
pub(crate) const INLINE_BATCHES_MAX: usize = 4;

/// Bytes that are written to a socket before others get their turn, one largest frame and more.
pub(crate) const INLINE_BYTES_MAX: usize = 16 << 20;

/// Parts that one write to a socket gathers.
pub(crate) const SLICES_MAX: usize = 64;

/// Bytes that are collected before they are handed to TLS.
pub(crate) const STAGING_MAX: usize = 64 << 10;

/// Bulk up to this size is copied beside its head, so that both share a TLS record.
pub(crate) const BULK_COPY_MAX: usize = 8 << 10;

/// Room that is made for a read of frames; bulk that comes with it is copied where it is not whole.
pub(crate) const READ_MIN: usize = 64 << 10;

/// Room that a read offers at least.
pub(crate) const READ_LEAST: usize = 4 << 10;
