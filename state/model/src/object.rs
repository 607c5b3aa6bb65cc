//! What clients, movers and metadata targets ask of an object target, and what it answers.
//!
//! Values only; bytes travel beside them as bulk. Behaviour is `agents/object`.
//! Invariant: an object that was never written reads as empty; nobody has to create it.

use serde::{Deserialize, Serialize};

use crate::attr::Timestamp;
use crate::fault::Fault;
use crate::id::ClientId;
use crate::layout::ObjectId;

/// Most bytes that one read or write moves.
pub const TRANSFER_MAX: u32 = 4 << 20;

/// Names an object in a list, with what it is to become or what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectStat {
    /// Bytes up to the last one written.
    pub size: u64,
    /// Blocks of 512 bytes that are really stored.
    pub blocks: u64,
    /// When it was last written.
    pub mtime: Timestamp,
}

/// All that may be asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "fields are explained by the variant and by their types")]
pub enum Request {
    /// First on a connection: who writes, and in which session epoch. Refused with `Fenced` below the fence.
    Connect { client: ClientId, epoch: u64 },
    /// Refuses every request of `client` below `epoch` from now on, durably. Metadata targets only.
    Fence { client: ClientId, epoch: u64 },
    /// Answered by `Read` with as many bytes as there are before the object's end; holes are zeros.
    Read { object: ObjectId, offset: u64, length: u32 },
    /// Writes the bulk at `offset`. Answered by `Written`, when every process may be killed without losing it.
    Write { object: ObjectId, offset: u64 },
    /// Sets the size; bytes behind it are gone, and read as zeros when the object grows again.
    Truncate { object: ObjectId, size: u64 },
    /// Makes a range read as zeros and gives its space back; the size stays.
    Punch { object: ObjectId, offset: u64, length: u64 },
    /// Makes everything written to these objects before survive power loss.
    Sync { objects: Vec<ObjectId> },
    /// Answered by `Stats`, in order.
    Stat { objects: Vec<ObjectId> },
    /// Removes objects; those that do not exist count as removed. Metadata targets only.
    Destroy { objects: Vec<ObjectId> },
    /// Answered by `Space`.
    Space,
}

/// What an object target answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "fields are explained by the variant and by their types")]
pub enum Reply {
    Done,
    /// Bytes follow as bulk.
    Read,
    Written,
    Stats {
        stats: Vec<ObjectStat>,
    },
    /// In bytes; what each means is [`OwnRoom`](crate::space::OwnRoom)'s.
    Space {
        capacity: u64,
        used: u64,
        objects: u64,
        disk: u64,
        disk_free: u64,
    },
}

/// A reply or the reason there is none.
pub type Answer = Result<Reply, Fault>;
