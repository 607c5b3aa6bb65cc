//! Names of the store's files and the folders they lie in.
//!
//! Makes paths; opens nothing.
//! Invariant: a path parses back to its name, and consists of hexadecimal digits, letters, `-` and `/`.

use lustre_model::fid::Fid;
use lustre_model::layout::ObjectId;

use crate::checksum::mix;

/// Folders that objects are spread over.
pub(crate) const FOLDERS: usize = 256;

/// A file of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FileName {
    /// What is known of the whole store.
    Ledger,
    /// One of the two logs of intended overwrites.
    Intents(u8),
    /// An object.
    Object(ObjectId),
}

/// A folder of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Folder {
    /// The target's own.
    Root,
    /// One of those that objects are spread over.
    Objects(u8),
}

impl Folder {
    /// Returns its path below the target's folder; the root's is empty.
    pub fn path(self) -> String {
        match self {
            Self::Root => String::new(),
            Self::Objects(number) => format!("objects/{number:02x}"),
        }
    }

    /// Iterates over the folders that hold objects.
    pub fn of_objects() -> impl Iterator<Item = Self> {
        (0..=u8::MAX).map(Self::Objects)
    }
}

impl FileName {
    /// Returns the folder it lies in.
    pub fn folder(self) -> Folder {
        match self {
            Self::Ledger | Self::Intents(_) => Folder::Root,
            Self::Object(object) => Folder::Objects(folder_number(object)),
        }
    }

    /// Returns its name within its folder.
    pub fn base(self) -> String {
        match self {
            Self::Ledger => "ledger".to_owned(),
            Self::Intents(half) => format!("intents-{half}"),
            Self::Object(ObjectId { fid, ordinal }) => {
                format!("{:x}-{:x}-{:x}-{ordinal:x}", fid.sequence, fid.object, fid.version)
            }
        }
    }

    /// Returns its path below the target's folder.
    pub fn path(self) -> String {
        match self.folder() {
            Folder::Root => self.base(),
            folder @ Folder::Objects(_) => format!("{}/{}", folder.path(), self.base()),
        }
    }

    /// Returns the object whose file is called `base`, if that is an object's name.
    pub fn parse_object(base: &str) -> Option<ObjectId> {
        let mut parts = base.split('-');
        let mut next = || parts.next().and_then(|part| u64::from_str_radix(part, 16).ok());
        let (sequence, object, version, ordinal) = (next()?, next()?, next()?, next()?);
        let narrow = |value: u64| u32::try_from(value).ok();
        let fid = Fid { sequence, object: narrow(object)?, version: narrow(version)? };
        let id = ObjectId { fid, ordinal: narrow(ordinal)? };
        (Self::Object(id).base() == base).then_some(id)
    }
}

fn folder_number(object: ObjectId) -> u8 {
    let name = u64::from(object.fid.object) | u64::from(object.ordinal) << 32;
    (mix(name ^ mix(object.fid.sequence)) >> 56) as u8
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn names_of_objects_parse_back(sequence: u64, object: u32, version: u32, ordinal: u32) {
            let id = ObjectId { fid: Fid { sequence, object, version }, ordinal };
            prop_assert_eq!(FileName::parse_object(&FileName::Object(id).base()), Some(id));
        }
    }

    #[test]
    fn other_files_are_not_objects() {
        for base in ["", "1-2-3", "1-2-3-4-5", "01-2-3-4", "1-2-3-100000000", "1-2-3-x", "ledger", "+1-2-3-4"]
        {
            assert_eq!(FileName::parse_object(base), None, "{base}");
        }
    }

    #[test]
    fn neighbouring_files_spread_over_folders() {
        let mut counts = vec![0; FOLDERS];
        for serial in 0..25_600 {
            let id = ObjectId { fid: Fid::from_serial(serial), ordinal: 0 };
            counts[usize::from(folder_number(id))] += 1;
        }
        assert!(counts.iter().all(|count| (50..150).contains(count)), "{counts:?}");
    }
}
