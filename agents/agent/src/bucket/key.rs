//! Which keys are paths in the bucket's folder, and which are not.
//!
//! Text only; whether something is there is `folder.rs`'s business.
//! Invariant: a [`Name::File`] or [`Name::Directory`] has only plain components: none is empty, `.`, `..`, longer than 255
//! bytes or holds a NUL, and the first is not the bucket's own folder.

use crate::bucket::fault::BucketError;

/// The folder in which the bucket keeps what is its own.
pub(crate) const OWN_FOLDER: &str = ".lustre-bucket";

/// Bytes of a key, S3's limit.
const KEY_BYTES_MAX: usize = 1024;

/// Bytes of a file name, Linux's limit.
const COMPONENT_BYTES_MAX: usize = 255;

/// What a key is in a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Name<'k> {
    /// The path of a file.
    File(&'k str),
    /// The path of a directory, without its last slash.
    Directory(&'k str),
    /// Not a path; kept aside.
    Odd,
}

impl<'k> Name<'k> {
    /// Sorts a key.
    pub(crate) fn of(key: &'k str) -> Result<Self, BucketError> {
        if key.is_empty() || key.len() > KEY_BYTES_MAX {
            return Err(BucketError::KeyLength);
        }
        if key == OWN_FOLDER || key.strip_prefix(OWN_FOLDER).is_some_and(|rest| rest.starts_with('/')) {
            return Err(BucketError::KeyReserved);
        }
        let path = key.strip_suffix('/').unwrap_or(key);
        let plain = path.split('/').all(is_plain);
        Ok(match (plain, key.ends_with('/')) {
            (false, _) => Self::Odd,
            (true, true) => Self::Directory(path),
            (true, false) => Self::File(path),
        })
    }
}

fn is_plain(component: &str) -> bool {
    !matches!(component, "" | "." | "..")
        && component.len() <= COMPONENT_BYTES_MAX
        && !component.contains('\0')
}

/// Splits a path into the path of its directory (empty for the root) and its last component.
pub(crate) fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_cannot_be_paths_are_told_apart() {
        let long = "x".repeat(256);
        for odd in ["/a", "a//b", "a/../b", "..", ".", "a/./b", "//", "/", "a//", "a\0b", &long] {
            assert_eq!(Name::of(odd).unwrap(), Name::Odd, "{odd:?}");
        }
        for (key, name) in [
            ("a", Name::File("a")),
            ("a/b", Name::File("a/b")),
            ("a/", Name::Directory("a")),
            ("...", Name::File("...")),
            (".lustre-bucketx", Name::File(".lustre-bucketx")),
        ] {
            assert_eq!(Name::of(key).unwrap(), name, "{key:?}");
        }
    }

    #[test]
    fn the_bucket_s_own_folder_has_no_keys() {
        for key in [".lustre-bucket", ".lustre-bucket/", ".lustre-bucket/odd/x"] {
            assert!(matches!(Name::of(key), Err(BucketError::KeyReserved)), "{key}");
        }
        assert!(matches!(Name::of(""), Err(BucketError::KeyLength)));
        assert!(matches!(Name::of(&"k/".repeat(600)), Err(BucketError::KeyLength)));
    }
}
