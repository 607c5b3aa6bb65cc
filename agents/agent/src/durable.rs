//! Files that are either whole or not there, and readable by their owner only.
//!
//! Not for data of targets; for specs, keys, tokens and lists of the agent.
//! A full disk: a small file that is there already has its block, and is then written where it is. So what an agent must note
//! to end a process, to start one or to heed a newer lock is noted also where no byte is free.
//! Invariant: after [`write`] returned, the file holds the new bytes also when power fails; before, the old ones.

use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, PermissionsExt};
use std::path::Path;

use fs_err::os::unix::fs::OpenOptionsExt;

/// Mode of files: owner only.
const FILE_MODE: u32 = 0o600;

/// Mode of folders: owner only.
const DIR_MODE: u32 = 0o700;

/// Suffix of a file that is being written.
const UNFINISHED: &str = ".new";

/// Most bytes that are written over what is there: a sector, which disks write whole or not at all.
const SECTOR: usize = 512;

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
    if let Err(error) = file.write_all(bytes).and_then(|()| file.sync_all()) {
        // Not even an empty file shall stay behind.
        let _ = fs_err::remove_file(&unfinished);
        return Err(error);
    }
    drop(file);
    fs_err::rename(&unfinished, path)?;
    sync_parent(path)
}

/// As [`write`], for text that means the same with spaces behind it: where the disk is full, a file of one sector is written
/// where it is.
pub fn write_text(path: &Path, text: &[u8]) -> io::Result<()> {
    match write(path, text) {
        Err(error) if is_full(&error) => write_over(path, text).map_err(|_| error),
        written => written,
    }
}

/// Whether there was no room, and making some would help.
pub fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Writes a small file over itself: its block is there already.
fn write_over(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let file = fs_err::OpenOptions::new().write(true).open(path)?;
    let length = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX);
    if length == 0 || length.max(bytes.len()) > SECTOR {
        return Err(io::ErrorKind::StorageFull.into());
    }
    let mut padded = bytes.to_vec();
    padded.resize(length.max(bytes.len()), b' ');
    file.file().write_all_at(&padded, 0)?;
    file.sync_all()
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

    #[test]
    fn on_a_full_disk_a_small_text_is_noted_and_nothing_is_left_behind() {
        let disk = crate::small_disk::SmallDisk::new(1 << 20);
        let path = disk.path().join("fence");
        write_text(&path, b"99").unwrap();
        disk.fill();
        write_text(&path, b"100").unwrap();
        assert_eq!(read(&path).unwrap().unwrap(), b"100");
        write_text(&path, b"7").unwrap();
        assert_eq!(read(&path).unwrap().unwrap(), b"7  ");
        assert!(is_full(&write(&path, b"8").unwrap_err()), "what is not text is written whole or not at all");
        assert!(is_full(&write_text(&disk.path().join("other"), b"1").unwrap_err()));
        assert!(is_full(&write_text(&path, &[b'x'; 600]).unwrap_err()));
        let names = fs_err::read_dir(disk.path()).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<_> = names.collect();
        names.sort();
        assert_eq!(names, ["fence", "filling"]);
    }
}
