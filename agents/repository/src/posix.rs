//! POSIX attributes in S3 user metadata, byte for byte as FSx writes them.
//!
//! | key | value |
//! |---|---|
//! | `file-permissions` | octal type and mode, `0100664`, `040755`, `0120777` |
//! | `file-owner`, `file-group` | decimal |
//! | `file-atime`, `file-mtime` | nanoseconds since the epoch with suffix `ns`; without one, milliseconds |
//! | `user-agent` | written, not read |
//!
//! What is missing or unreadable is absent in [`PosixMetadata`]; defaults are the metadata target's business.
//! Invariant: set-user-id and set-group-id never travel, in neither direction.

use std::collections::BTreeMap;

use lustre_model::attr::Timestamp;
use lustre_model::hsm::PosixMetadata;

/// `x-amz-meta-file-permissions`
pub const PERMISSIONS: &str = "file-permissions";
/// `x-amz-meta-file-owner`
pub const OWNER: &str = "file-owner";
/// `x-amz-meta-file-group`
pub const GROUP: &str = "file-group";
/// `x-amz-meta-file-atime`
pub const ATIME: &str = "file-atime";
/// `x-amz-meta-file-mtime`
pub const MTIME: &str = "file-mtime";
/// `x-amz-meta-user-agent`
pub const USER_AGENT: &str = "user-agent";

/// What FSx calls itself in [`USER_AGENT`].
const USER_AGENT_VALUE: &str = "aws-fsx-lustre";

/// Type bits of `st_mode`.
const TYPE_MASK: u32 = 0o170_000;

/// Type bits of a symbolic link.
const TYPE_SYMLINK: u32 = 0o120_000;

/// Permission bits that travel: not set-user-id and set-group-id.
const MODE_MASK: u32 = 0o1777;

const NANOSECONDS: i128 = 1_000_000_000;
const NANOSECONDS_PER_MILLISECOND: i128 = 1_000_000;

/// All attributes that an object carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Posix {
    /// Type and permission bits, as in `st_mode`.
    pub permissions: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Last access.
    pub atime: Timestamp,
    /// Last change.
    pub mtime: Timestamp,
}

/// Returns the user metadata that FSx writes for these attributes.
pub fn write(posix: &Posix) -> BTreeMap<String, String> {
    let permissions = posix.permissions & (TYPE_MASK | MODE_MASK);
    [
        (PERMISSIONS, format!("0{permissions:o}")),
        (OWNER, posix.uid.to_string()),
        (GROUP, posix.gid.to_string()),
        (ATIME, nanoseconds(posix.atime)),
        (MTIME, nanoseconds(posix.mtime)),
        (USER_AGENT, USER_AGENT_VALUE.to_owned()),
    ]
    .map(|(key, value)| (key.to_owned(), value))
    .into()
}

/// Reads what an object's user metadata say; anything missing or malformed is absent.
pub fn read(metadata: &BTreeMap<String, String>) -> PosixMetadata {
    let value = |key: &str| metadata.get(key).map(|text| text.trim());
    PosixMetadata {
        permissions: value(PERMISSIONS).and_then(permissions),
        uid: value(OWNER).and_then(|text| text.parse().ok()),
        gid: value(GROUP).and_then(|text| text.parse().ok()),
        atime: value(ATIME).and_then(timestamp),
        mtime: value(MTIME).and_then(timestamp),
    }
}

/// Says whether these attributes make the object a symbolic link, whose body is its target.
pub fn is_symlink(posix: &PosixMetadata) -> bool {
    posix.permissions.is_some_and(|bits| bits & TYPE_MASK == TYPE_SYMLINK)
}

fn nanoseconds(time: Timestamp) -> String {
    format!("{}ns", i128::from(time.seconds) * NANOSECONDS + i128::from(time.nanoseconds))
}

fn permissions(text: &str) -> Option<u32> {
    let bits = u32::from_str_radix(text, 8).ok()?;
    (bits <= TYPE_MASK | 0o7777).then_some(bits & (TYPE_MASK | MODE_MASK))
}

fn timestamp(text: &str) -> Option<Timestamp> {
    let total = match text.strip_suffix("ns") {
        Some(digits) => digits.parse::<i128>().ok()?,
        None => text.parse::<i128>().ok()?.checked_mul(NANOSECONDS_PER_MILLISECOND)?,
    };
    let seconds = i64::try_from(total.div_euclid(NANOSECONDS)).ok()?;
    let nanoseconds = u32::try_from(total.rem_euclid(NANOSECONDS)).ok()?;
    Some(Timestamp { seconds, nanoseconds })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn values_are_fsx_s_byte_for_byte() {
        let time = Timestamp { seconds: 1_595_002_920, nanoseconds: 0 };
        let posix = Posix { permissions: 0o100_664, uid: 500, gid: 0, atime: time, mtime: time };
        let metadata = write(&posix);
        let text: Vec<String> = metadata.iter().map(|(key, value)| format!("{key}={value}")).collect();
        assert_eq!(
            text,
            [
                "file-atime=1595002920000000000ns",
                "file-group=0",
                "file-mtime=1595002920000000000ns",
                "file-owner=500",
                "file-permissions=0100664",
                "user-agent=aws-fsx-lustre",
            ]
        );
        for (bits, text) in [(0o040_755, "040755"), (0o120_777, "0120777"), (0o106_755, "0100755")] {
            assert_eq!(write(&Posix { permissions: bits, ..posix })[PERMISSIONS], text);
        }
    }

    #[test]
    fn times_without_a_suffix_are_milliseconds() {
        let metadata = [(MTIME.to_owned(), "1595002920123".to_owned())].into();
        assert_eq!(
            read(&metadata).mtime,
            Some(Timestamp { seconds: 1_595_002_920, nanoseconds: 123_000_000 })
        );
    }

    #[test]
    fn what_is_malformed_is_absent() {
        for (key, value) in
            [(PERMISSIONS, "9"), (PERMISSIONS, "7777777"), (OWNER, "-1"), (GROUP, "x"), (MTIME, "1e9ns")]
        {
            let metadata = [(key.to_owned(), value.to_owned())].into();
            assert_eq!(read(&metadata), PosixMetadata::default(), "{key}={value}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            mode in 0_u32..0o2000, uid: u32, gid: u32, seconds in -1_i64 << 40..1_i64 << 40,
            nanoseconds in 0_u32..1_000_000_000,
        ) {
            let time = Timestamp { seconds, nanoseconds };
            let posix = Posix { permissions: 0o100_000 | mode, uid, gid, atime: time, mtime: time };
            let back = read(&write(&posix));
            prop_assert_eq!(back.permissions, Some(0o100_000 | mode));
            prop_assert_eq!((back.uid, back.gid), (Some(uid), Some(gid)));
            prop_assert_eq!((back.atime, back.mtime), (Some(time), Some(time)));
        }

        #[test]
        fn no_text_panics(text in ".{0,40}") {
            let metadata = [PERMISSIONS, OWNER, MTIME].map(|key| (key.to_owned(), text.clone())).into();
            read(&metadata);
        }
    }
}
