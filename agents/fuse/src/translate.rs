//! Values of the kernel in fuser's types and in ours.
//!
//! No request is named here; those are `kernel`'s.
//! Invariant: a moment keeps its value on each way, also before 1970.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{FileAttr, FileType, INodeNo, TimeOrNow};

use crate::node::{Errno, Moment, MomentOrNow, NodeAttr, NodeId, NodeKind};

/// What `st_blksize` says: the largest request.
const BLOCK_SIZE: u32 = 1 << 20;

pub(crate) fn error(errno: Errno) -> fuser::Errno {
    fuser::Errno::from_i32(errno.0)
}

pub(crate) fn time(moment: Moment) -> SystemTime {
    let nanoseconds = Duration::from_nanos(u64::from(moment.nanoseconds));
    let whole = Duration::from_secs(moment.seconds.unsigned_abs());
    let base = if moment.seconds < 0 { UNIX_EPOCH.checked_sub(whole) } else { UNIX_EPOCH.checked_add(whole) };
    base.and_then(|base| base.checked_add(nanoseconds)).unwrap_or(UNIX_EPOCH)
}

/// A moment as fuser hands it over: it takes the kernel's nanoseconds, which always count forward, from seconds before 1970 instead of
/// adding them, so that what it says is before the moment that was meant.
pub(crate) fn moment(time: SystemTime) -> Moment {
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => Moment {
            seconds: i64::try_from(after.as_secs()).unwrap_or(i64::MAX),
            nanoseconds: after.subsec_nanos(),
        },
        Err(before) => {
            let before = before.duration();
            Moment {
                seconds: 0_i64.checked_sub_unsigned(before.as_secs()).unwrap_or(i64::MIN),
                nanoseconds: before.subsec_nanos(),
            }
        }
    }
}

pub(crate) fn moment_or_now(time: TimeOrNow) -> MomentOrNow {
    match time {
        TimeOrNow::Now => MomentOrNow::Now,
        TimeOrNow::SpecificTime(time) => MomentOrNow::At(moment(time)),
    }
}

pub(crate) fn file_type(kind: NodeKind) -> FileType {
    match kind {
        NodeKind::Regular => FileType::RegularFile,
        NodeKind::Directory => FileType::Directory,
        NodeKind::Symlink => FileType::Symlink,
        NodeKind::Fifo => FileType::NamedPipe,
        NodeKind::Socket => FileType::Socket,
        NodeKind::CharDevice => FileType::CharDevice,
        NodeKind::BlockDevice => FileType::BlockDevice,
    }
}

pub(crate) fn kind_of(mode: u32) -> Option<NodeKind> {
    match mode & 0o170_000 {
        0o010_000 => Some(NodeKind::Fifo),
        0o020_000 => Some(NodeKind::CharDevice),
        0o060_000 => Some(NodeKind::BlockDevice),
        0 | 0o100_000 => Some(NodeKind::Regular),
        0o140_000 => Some(NodeKind::Socket),
        _ => None,
    }
}

pub(crate) fn attr(attr: &NodeAttr) -> FileAttr {
    FileAttr {
        ino: INodeNo(attr.node.0),
        size: attr.size,
        blocks: attr.blocks,
        atime: time(attr.atime),
        mtime: time(attr.mtime),
        ctime: time(attr.ctime),
        crtime: UNIX_EPOCH,
        kind: file_type(attr.kind),
        perm: u16::try_from(attr.mode & 0o7777).unwrap_or(0),
        nlink: attr.link_count,
        uid: attr.uid,
        gid: attr.gid,
        rdev: attr.device,
        blksize: BLOCK_SIZE,
        flags: 0,
    }
}

/// What the kernel takes for "this name does not exist": an entry with inode 0.
pub(crate) fn absent() -> FileAttr {
    let none = Moment { seconds: 0, nanoseconds: 0 };
    attr(&NodeAttr {
        node: NodeId(0),
        kind: NodeKind::Regular,
        mode: 0,
        uid: 0,
        gid: 0,
        link_count: 0,
        size: 0,
        blocks: 0,
        device: 0,
        atime: none,
        mtime: none,
        ctime: none,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What fuser makes of the kernel's numbers.
    fn handed_over(seconds: i64, nanoseconds: u32) -> SystemTime {
        let length = Duration::new(seconds.unsigned_abs(), nanoseconds);
        if seconds < 0 { UNIX_EPOCH - length } else { UNIX_EPOCH + length }
    }

    #[test]
    fn moments_before_1970_are_what_the_kernel_said() {
        for (seconds, nanoseconds) in [(0, 0), (1, 5), (-1, 0), (-1, 999_999_999), (-7, 1), (1 << 33, 1)] {
            let there = Moment { seconds, nanoseconds };
            assert_eq!(moment(handed_over(seconds, nanoseconds)), there);
            let back = time(there);
            let since = back.duration_since(UNIX_EPOCH).map_or_else(
                |before| -i128::try_from(before.duration().as_nanos()).expect("small"),
                |after| i128::try_from(after.as_nanos()).expect("small"),
            );
            assert_eq!(since, i128::from(seconds) * 1_000_000_000 + i128::from(nanoseconds));
        }
    }
}
