//! File identifiers: 128-bit names of inodes that are never reused within a cluster.
//!
//! The shape and the printed form `[0x200000402:0x1:0x0]` are Lustre's (`lu_fid`): sequence, object, version.
//! Invariant: [`Fid::inode_number`] is one-to-one over the FIDs that a metadata target hands out.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// First sequence that a metadata target hands out; those below are reserved, as in Lustre.
pub const SEQUENCE_FIRST: u64 = 0x2_0000_0400;

/// FIDs in one sequence. Lustre uses the same width, so that an inode number fits 64 bits.
pub const SEQUENCE_WIDTH: u32 = 0x2_0000;

/// Names one inode of a cluster for ever.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Fid {
    /// Sequence, owned by one metadata target.
    pub sequence: u64,
    /// Number within the sequence, from 1 to [`SEQUENCE_WIDTH`] exclusive.
    pub object: u32,
    /// Always 0 today; kept because Lustre prints it.
    pub version: u32,
}

impl Fid {
    /// The root directory of a file system, the same FID that Lustre gives it.
    pub const ROOT: Self = Self { sequence: 0x2_0000_0007, object: 1, version: 0 };

    /// Returns the FID at position `serial` (from 0) of a metadata target's numbering.
    pub fn from_serial(serial: u64) -> Self {
        let width = u64::from(SEQUENCE_WIDTH) - 1;
        let object = u32::try_from(serial % width + 1).unwrap_or(u32::MAX);
        Self { sequence: SEQUENCE_FIRST + serial / width, object, version: 0 }
    }

    /// Returns the inode number that `stat` shows: 1 for the root, unique for every FID that was handed out.
    pub fn inode_number(self) -> u64 {
        if self == Self::ROOT {
            return 1;
        }
        self.sequence.wrapping_sub(SEQUENCE_FIRST - 1).wrapping_mul(u64::from(SEQUENCE_WIDTH))
            + u64::from(self.object)
    }

    /// Returns the FID of an inode number that [`Fid::inode_number`] made.
    pub fn from_inode_number(number: u64) -> Self {
        if number == 1 {
            return Self::ROOT;
        }
        let width = u64::from(SEQUENCE_WIDTH);
        let object = u32::try_from(number % width).unwrap_or(0);
        Self { sequence: (SEQUENCE_FIRST - 1).wrapping_add(number / width), object, version: 0 }
    }
}

impl fmt::Display for Fid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{:#x}:{:#x}:{:#x}]", self.sequence, self.object, self.version)
    }
}

impl fmt::Debug for Fid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is not a FID.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("\"{text}\" is not a FID; one looks like [0x200000402:0x1:0x0]")]
pub struct FidParseError {
    /// What was given.
    pub text: String,
}

impl FromStr for Fid {
    type Err = FidParseError;

    /// Parses the printed form, with or without brackets, as `lfs fid2path` does.
    fn from_str(text: &str) -> Result<Self, FidParseError> {
        let error = || FidParseError { text: text.to_owned() };
        let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(text);
        let mut parts = bare.split(':').map(|part| {
            let digits = part.strip_prefix("0x").ok_or_else(error)?;
            u64::from_str_radix(digits, 16).map_err(|_| error())
        });
        let mut next = || parts.next().unwrap_or_else(|| Err(error()));
        let (sequence, object, version) = (next()?, next()?, next()?);
        if parts.next().is_some() {
            return Err(error());
        }
        let narrow = |value: u64| u32::try_from(value).map_err(|_| error());
        Ok(Self { sequence, object: narrow(object)?, version: narrow(version)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn inode_numbers_name_one_fid(serial in 0_u64..1 << 46) {
            let fid = Fid::from_serial(serial);
            prop_assert!(fid.inode_number() > 1);
            prop_assert_eq!(Fid::from_inode_number(fid.inode_number()), fid);
        }

        #[test]
        fn printed_fids_parse_back(sequence: u64, object: u32, version: u32) {
            let fid = Fid { sequence, object, version };
            prop_assert_eq!(fid.to_string().parse::<Fid>(), Ok(fid));
        }
    }

    #[test]
    fn neighbouring_serials_never_share_an_inode_number() {
        let edge = u64::from(SEQUENCE_WIDTH) - 1;
        let numbers: Vec<u64> = (edge - 2..edge + 2).map(|s| Fid::from_serial(s).inode_number()).collect();
        assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]), "{numbers:?}");
    }

    #[test]
    fn garbage_is_refused() {
        for text in ["", "[", "1:2:3", "[0x1:0x2]", "[0x1:0x2:0x3:0x4]", "[0x1:0x1ffffffff:0x0]"] {
            assert!(text.parse::<Fid>().is_err(), "{text}");
        }
    }
}
