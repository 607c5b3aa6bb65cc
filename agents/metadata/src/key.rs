//! Keys of the metadata tables. The first byte names the table, FIDs are 12 bytes big-endian, texts come last.
//!
//! | table | key | value |
//! |---|---|---|
//! | `I` | fid | inode with layout and its first name |
//! | `D` | directory, slot | entry; the slot is a hash of the name and is also the entry's position in listings |
//! | `L` | fid, parent, name | a further name (hard link) of an inode |
//! | `X` | fid, name | extended attribute |
//! | `Z` | fid | inode without a name that is still open |
//! | `W` | fid | file that somebody may be writing, with the least size it has |
//! | `Y` | fid | such a file whose modification time is in its inode, not at its objects |
//! | `O` | fid, ordinal | objects to destroy |
//! | `S` | session | session |
//! | `R` | session, xid | reply to a request that changed something |
//! | `F` | session, open | open file |
//! | `K` | link | link |
//! | `G` | link, key | refused key |
//! | `P` | fid | inode whose attributes only the repository knows |
//! | `V` | link, key | what the repository holds under a key |
//! | `N` | link | how many files have bytes that are only in its bucket |
//! | `U` | link | link that was removed, while what its bucket holds (`V`) is still remembered |
//! | `E` | link, key | key whose object may differ from the namespace |
//! | `J` | link, walk | part of the namespace or of the repository to look through for such keys |
//! | `T` | index | object target |
//! | `M` | name | counters and the default layout |
//!
//! Invariant: keys of one table and owner are contiguous, so that a range scan finds exactly them.

use lustre_model::fid::Fid;
use lustre_model::hsm::LinkId;
use lustre_model::layout::OstIndex;
use lustre_model::metadata::{OpenId, SessionId, Xid};

/// Where the store keeps the number of the last record it holds. Below every table.
pub(crate) const APPLIED: &[u8] = &[0];

/// Bytes of a FID in a key.
pub(crate) const FID_LENGTH: usize = 12;

fn with_fid(table: u8, fid: Fid, extra: usize) -> Vec<u8> {
    let mut key = Vec::with_capacity(1 + FID_LENGTH + extra);
    key.push(table);
    push_fid(&mut key, fid);
    key
}

fn push_fid(key: &mut Vec<u8>, fid: Fid) {
    key.extend_from_slice(&fid.sequence.to_be_bytes());
    key.extend_from_slice(&fid.object.to_be_bytes());
}

/// Reads the FID at the start of `bytes`.
pub(crate) fn read_fid(bytes: &[u8]) -> Option<Fid> {
    let sequence = u64::from_be_bytes(bytes.get(..8)?.try_into().ok()?);
    let object = u32::from_be_bytes(bytes.get(8..FID_LENGTH)?.try_into().ok()?);
    Some(Fid { sequence, object, version: 0 })
}

/// The first key behind every key that begins with `prefix`.
pub(crate) fn behind(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return end;
        }
    }
    vec![u8::MAX; prefix.len() + 1]
}

/// The first key behind `key`.
pub(crate) fn next(key: &[u8]) -> Vec<u8> {
    let mut next = key.to_vec();
    next.push(0);
    next
}

/// An inode.
pub(crate) fn inode(fid: Fid) -> Vec<u8> {
    with_fid(b'I', fid, 0)
}

/// All entries of a directory.
pub(crate) fn entries(parent: Fid) -> Vec<u8> {
    with_fid(b'D', parent, 0)
}

/// An entry of a directory.
pub(crate) fn entry(parent: Fid, slot: u64) -> Vec<u8> {
    let mut key = with_fid(b'D', parent, 8);
    key.extend_from_slice(&slot.to_be_bytes());
    key
}

/// All further names of an inode.
pub(crate) fn names(fid: Fid) -> Vec<u8> {
    with_fid(b'L', fid, 0)
}

/// A further name of an inode.
pub(crate) fn name(fid: Fid, parent: Fid, name: &[u8]) -> Vec<u8> {
    let mut key = with_fid(b'L', fid, FID_LENGTH + name.len());
    push_fid(&mut key, parent);
    key.extend_from_slice(name);
    key
}

/// All extended attributes of an inode.
pub(crate) fn xattrs(fid: Fid) -> Vec<u8> {
    with_fid(b'X', fid, 0)
}

/// An extended attribute.
pub(crate) fn xattr(fid: Fid, name: &[u8]) -> Vec<u8> {
    let mut key = with_fid(b'X', fid, name.len());
    key.extend_from_slice(name);
    key
}

/// An inode without a name.
pub(crate) fn orphan(fid: Fid) -> Vec<u8> {
    with_fid(b'Z', fid, 0)
}

/// A file that may be written.
pub(crate) fn writing(fid: Fid) -> Vec<u8> {
    with_fid(b'W', fid, 0)
}

/// A file that may be being written, and whose modification time its inode has.
pub(crate) fn time_stands(fid: Fid) -> Vec<u8> {
    with_fid(b'Y', fid, 0)
}

/// Objects to destroy: those of a file from this ordinal on.
pub(crate) fn destroy((fid, ordinal): (Fid, u32)) -> Vec<u8> {
    let mut key = with_fid(b'O', fid, 4);
    key.extend_from_slice(&ordinal.to_be_bytes());
    key
}

/// Reads file and ordinal of a key of objects to destroy.
pub(crate) fn read_destroy(key: &[u8]) -> Option<(Fid, u32)> {
    let ordinal = key.get(1 + FID_LENGTH..)?.try_into().ok()?;
    Some((read_fid(key.get(1..)?)?, u32::from_be_bytes(ordinal)))
}

/// An inode whose attributes are not known.
pub(crate) fn unidentified(fid: Fid) -> Vec<u8> {
    with_fid(b'P', fid, 0)
}

/// A session.
pub(crate) fn session(session: SessionId) -> Vec<u8> {
    let mut key = vec![b'S'];
    key.extend_from_slice(&session.0.to_be_bytes());
    key
}

/// All replies kept for a session.
pub(crate) fn replies(session: SessionId) -> Vec<u8> {
    let mut key = Vec::with_capacity(17);
    key.push(b'R');
    key.extend_from_slice(&session.0.to_be_bytes());
    key
}

/// A kept reply.
pub(crate) fn reply(session: SessionId, xid: Xid) -> Vec<u8> {
    let mut key = replies(session);
    key.extend_from_slice(&xid.0.to_be_bytes());
    key
}

/// An open file.
pub(crate) fn open(session: SessionId, open: OpenId) -> Vec<u8> {
    let mut key = Vec::with_capacity(17);
    key.push(b'F');
    key.extend_from_slice(&session.0.to_be_bytes());
    key.extend_from_slice(&open.0.to_be_bytes());
    key
}

/// Reads the two numbers behind the table's byte.
pub(crate) fn read_pair(key: &[u8]) -> Option<(u64, u64)> {
    let first = u64::from_be_bytes(key.get(1..9)?.try_into().ok()?);
    let second = u64::from_be_bytes(key.get(9..17)?.try_into().ok()?);
    Some((first, second))
}

/// A link.
pub(crate) fn link(link: LinkId) -> Vec<u8> {
    of_link(b'K', link, "")
}

/// A refused key of a link.
pub(crate) fn refused(link: LinkId, text: &str) -> Vec<u8> {
    of_link(b'G', link, text)
}

/// What the repository holds under a key.
pub(crate) fn stored(link: LinkId, text: &str) -> Vec<u8> {
    of_link(b'V', link, text)
}

/// The number of files that need a link's bucket.
pub(crate) fn released(link: LinkId) -> Vec<u8> {
    of_link(b'N', link, "")
}

/// A link that was removed.
pub(crate) fn former(link: LinkId) -> Vec<u8> {
    of_link(b'U', link, "")
}

/// A key that may differ.
pub(crate) fn export(link: LinkId, text: &str) -> Vec<u8> {
    of_link(b'E', link, text)
}

/// A walk through a directory.
pub(crate) fn walk(link: LinkId, directory: Fid) -> Vec<u8> {
    let mut key = of_link(b'J', link, "2");
    push_fid(&mut key, directory);
    key
}

/// A walk through the repository's keys below a prefix. Sorts before the walks through directories, so that objects that
/// follow their files are found before their files are taken for new.
pub(crate) fn sweep(link: LinkId, prefix: &str) -> Vec<u8> {
    let mut key = of_link(b'J', link, "1");
    key.extend_from_slice(prefix.as_bytes());
    key
}

/// All walks of a link.
pub(crate) fn walks(link: LinkId) -> Vec<u8> {
    of_link(b'J', link, "")
}

/// Reads link, kind (`1` for the repository's keys, `2` for a directory) and subject of a walk's key.
pub(crate) fn read_walk(key: &[u8]) -> Option<(LinkId, u8, &[u8])> {
    let link = u32::from_be_bytes(key.get(1..5)?.try_into().ok()?);
    Some((LinkId(link), *key.get(5)?, key.get(6..)?))
}

fn of_link(table: u8, link: LinkId, text: &str) -> Vec<u8> {
    let mut key = Vec::with_capacity(5 + text.len());
    key.push(table);
    key.extend_from_slice(&link.0.to_be_bytes());
    key.extend_from_slice(text.as_bytes());
    key
}

/// Reads link and text of a key of the link tables.
pub(crate) fn read_link(key: &[u8]) -> Option<(LinkId, String)> {
    let link = u32::from_be_bytes(key.get(1..5)?.try_into().ok()?);
    Some((LinkId(link), String::from_utf8(key.get(5..)?.to_vec()).ok()?))
}

/// An object target.
pub(crate) fn target(index: OstIndex) -> Vec<u8> {
    let mut key = vec![b'T'];
    key.extend_from_slice(&index.0.to_be_bytes());
    key
}

/// A counter or setting.
pub(crate) fn setting(name: &str) -> Vec<u8> {
    let mut key = vec![b'M'];
    key.extend_from_slice(name.as_bytes());
    key
}
