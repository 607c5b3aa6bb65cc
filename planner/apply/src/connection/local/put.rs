//! Putting a file on this machine: written beside its name, made durable, then given the name.
//!
//! A file that is on the same file system already shares its blocks where the file system can do that, and is copied by the
//! kernel where it cannot. It is never linked: whoever writes over the original would change what runs here.
//! Invariant: a part that was not finished is removed, by who wrote it or by the next who puts the same file.

use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use fs_err as fs;

/// Ends the name of a file that is being written.
const PART: &str = ".part";

/// What came of putting a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Put {
    /// It is there.
    Done,
    /// The disk has no room for it.
    NoRoom {
        /// Where.
        folder: PathBuf,
        /// Bytes of the file.
        needed: u64,
        /// Bytes that are free.
        free: u64,
    },
}

/// Puts bytes under a name.
pub(super) fn bytes(path: &Path, mode: u32, content: &[u8]) -> io::Result<()> {
    put(path, mode, &|part| part.write_all(content))
}

/// Puts the content of another file under a name, when there is room for it.
pub(super) fn file(path: &Path, mode: u32, from: &Path) -> io::Result<Put> {
    let from = fs::File::open(from)?;
    let needed = from.metadata()?.len();
    let folder = folder_of(path);
    fs::create_dir_all(folder)?;
    forget_parts(path);
    let no_room = || Ok(Put::NoRoom { folder: folder.to_owned(), needed, free: free(folder)? });
    let fill = |part: &mut std::fs::File| {
        // Shares the blocks; whatever keeps it from that, a copy may still work.
        if rustix::fs::ioctl_ficlone(&*part, &from).is_ok() {
            return Ok(());
        }
        if free(folder)? < needed {
            return Err(ErrorKind::StorageFull.into());
        }
        // Between two plain files, the kernel copies.
        io::copy(&mut from.file(), part).map(drop)
    };
    match put(path, mode, &fill) {
        Ok(()) => Ok(Put::Done),
        Err(error) if matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded) => no_room(),
        Err(error) => Err(error),
    }
}

fn put(path: &Path, mode: u32, fill: &dyn Fn(&mut std::fs::File) -> io::Result<()>) -> io::Result<()> {
    fs::create_dir_all(folder_of(path))?;
    let part = beside(path);
    let placed = write_part(&part, mode, fill).and_then(|()| fs::rename(&part, path));
    if let Err(error) = placed {
        // It may be what fills the disk.
        let _ = fs::remove_file(&part);
        return Err(error);
    }
    fs::File::open(folder_of(path))?.sync_all()
}

fn write_part(part: &Path, mode: u32, fill: &dyn Fn(&mut std::fs::File) -> io::Result<()>) -> io::Result<()> {
    let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", part.display()));
    let mut file = fs::OpenOptions::new();
    file.write(true).create(true).truncate(true);
    file.options_mut().mode(mode);
    let mut file = file.open(part)?.into_file();
    fill(&mut file).map_err(named)?;
    // The mode of an older leftover would win over the one asked for.
    file.set_permissions(std::fs::Permissions::from_mode(mode)).map_err(named)?;
    file.sync_all().map_err(named)
}

fn folder_of(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new("/"))
}

fn free(folder: &Path) -> io::Result<u64> {
    let found = rustix::fs::statvfs(folder)?;
    Ok(found.f_bavail.saturating_mul(found.f_frsize))
}

/// A name in the same folder that nobody else uses: several hosts of a spec may be this machine.
fn beside(path: &Path) -> PathBuf {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let mut name = path.file_name().map(|name| name.to_os_string()).unwrap_or_default();
    name.push(format!(".{}-{count}{PART}", std::process::id()));
    path.with_file_name(name)
}

/// Removes the parts of this file whose writer has ended without finishing. As best it can: they are only in the way.
fn forget_parts(path: &Path) {
    let Some(name) = path.file_name().and_then(|name| name.to_str()) else { return };
    let Ok(entries) = fs::read_dir(folder_of(path)) else { return };
    for entry in entries.flatten() {
        let is_left =
            entry.file_name().to_str().and_then(|found| writer_of(found, name)).is_some_and(|writer| {
                writer != std::process::id() && !Path::new(&format!("/proc/{writer}")).exists()
            });
        if is_left && let Err(error) = fs::remove_file(entry.path()) {
            tracing::warn!(%error, "a part of a file that was never finished stays");
        }
    }
}

/// Returns the process that writes, or wrote, a part of the file of this name.
fn writer_of(part: &str, name: &str) -> Option<u32> {
    let (writer, _) = part.strip_prefix(name)?.strip_prefix('.')?.strip_suffix(PART)?.split_once('-')?;
    writer.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// A disk of a few megabytes, unmounted at the end.
    struct SmallDisk(tempfile::TempDir);

    impl SmallDisk {
        fn new(bytes: u64) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let size = format!("size={bytes},huge=never");
            let mount =
                Command::new("mount").args(["-t", "tmpfs", "-o", &size, "none"]).arg(folder.path()).status();
            assert!(mount.unwrap().success(), "this test mounts a file system, which takes root");
            Self(folder)
        }
    }

    impl Drop for SmallDisk {
        fn drop(&mut self) {
            let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
        }
    }

    fn names(folder: &Path) -> Vec<String> {
        let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<String> = names.map(|name| name.into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn what_does_not_fit_says_how_much_is_needed_and_leaves_nothing() {
        let disk = SmallDisk::new(1 << 20);
        let elsewhere = tempfile::tempdir().unwrap();
        let from = elsewhere.path().join("agent");
        fs::write(&from, vec![b'x'; 2 << 20]).unwrap();
        let path = disk.0.path().join("bin/agent");
        let put = file(&path, 0o755, &from).unwrap();
        let Put::NoRoom { folder, needed, free } = put else { panic!("{put:?}") };
        assert_eq!((folder.as_path(), needed), (path.parent().unwrap(), 2 << 20));
        assert!(free <= 1 << 20);
        assert!(names(&folder).is_empty());
        let failed = bytes(&path, 0o644, &vec![b'x'; 2 << 20]).unwrap_err();
        assert_eq!(failed.kind(), ErrorKind::StorageFull);
        assert!(failed.to_string().contains("bin/agent"), "{failed}");
        assert!(names(&folder).is_empty(), "a part that did not fit is removed");
    }

    #[test]
    fn parts_of_writers_that_are_gone_are_removed_by_the_next_one() {
        let folder = tempfile::tempdir().unwrap();
        let (from, path) = (folder.path().join("from"), folder.path().join("bin/agent"));
        fs::write(&from, "program").unwrap();
        let mut gone = Command::new("true").spawn().unwrap();
        gone.wait().unwrap();
        let parts =
            [format!("agent.{}-0.part", gone.id()), format!("agent.{}-7.part", 1), "agent.x.part".to_owned()];
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        parts.iter().for_each(|part| fs::write(path.with_file_name(part), "half").unwrap());
        assert_eq!(file(&path, 0o755, &from).unwrap(), Put::Done);
        assert_eq!(fs::read(&path).unwrap(), b"program");
        assert_eq!(names(path.parent().unwrap()), ["agent", "agent.1-7.part", "agent.x.part"]);
    }
}
