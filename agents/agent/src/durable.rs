//! Files that are either whole or not there, and readable by their owner only.
//!
//! Not for data of targets; for specs, keys, tokens and lists of the agent.
//! Invariant: after [`write`] returned, the file holds the new bytes also when power fails; before, the old ones.

use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;

use fs_err::os::unix::fs::OpenOptionsExt;

/// Mode of files: owner only.
const FILE_MODE: u32 = 0o600;

/// Mode of folders: owner only.
const DIR_MODE: u32 = 0o700;

/// Suffix of a file that is being written.
const UNFINISHED: &str = ".new";

/// Writes a file by temporary file, fsync, rename and fsync of the folder. Mode 0600.
///
/// One writer per path at a time; what a killed writer left is overwritten.
pub fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(UNFINISHED);
    let mut file = fs_err::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(FILE_MODE)
        .open(&unfinished)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    drop(file);
    fs_err::rename(&unfinished, path)?;
    sync_parent(path)
}

/// Removes a file, if it is there, for good.
pub fn remove(path: &Path) -> io::Result<()> {
    match fs_err::remove_file(path) {
        Ok(()) => sync_parent(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Reads a file; `None` when there is none.
pub fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs_err::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Creates a folder and its parents for their owner only, or takes rights of others away from one that is there.
pub fn create_dir(path: &Path) -> io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true).mode(DIR_MODE);
    builder.create(path).map_err(|error| named(path, &error))?;
    fs_err::set_permissions(path, std::fs::Permissions::from_mode(DIR_MODE))?;
    sync_parent(path)
}

/// Makes the entries of the folder that holds `path` survive power loss.
pub fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => fs_err::File::open(parent)?.sync_all(),
        Some(_) | None => Ok(()),
    }
}

fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_replaced_whole_and_private() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("a/b");
        create_dir(&folder).unwrap();
        let path = folder.join("spec.json");
        for bytes in [&b"first"[..], b"second, longer", b""] {
            write(&path, bytes).unwrap();
            assert_eq!(read(&path).unwrap().as_deref(), Some(bytes));
        }
        let mode = |path: &Path| fs_err::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(&folder)), (0o600, 0o700));
        assert_eq!(fs_err::read_dir(&folder).unwrap().count(), 1, "nothing unfinished stays");
        remove(&path).unwrap();
        remove(&path).unwrap();
        assert_eq!(read(&path).unwrap(), None);
    }
}
