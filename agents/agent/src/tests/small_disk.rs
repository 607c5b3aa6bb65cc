//! A disk of a few megabytes in memory, for tests of what happens when one is full. Needs root.
//!
//! Not a disk that loses what was synced; those are the store's own simulation.
//! Invariant: it is unmounted when the value is dropped, whatever became of the test.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A mounted disk.
pub(crate) struct SmallDisk {
    mount: PathBuf,
    _folder: tempfile::TempDir,
}

impl SmallDisk {
    /// Mounts a disk of so many bytes.
    pub(crate) fn new(bytes: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mount = folder.path().to_owned();
        let size = format!("size={bytes},huge=never");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "none"]).arg(&mount).status();
        assert!(mounted.unwrap().success(), "this test mounts a file system, which takes root");
        Self { mount, _folder: folder }
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.mount
    }

    /// Fills it to the last byte.
    pub(crate) fn fill(&self) {
        let mut file = fs_err::OpenOptions::new().create(true).append(true).open(self.filling()).unwrap();
        while file.write(&[b'x'; 4096]).is_ok_and(|count| count > 0) {}
    }

    /// Gives back what filled it.
    pub(crate) fn empty(&self) {
        fs_err::remove_file(self.filling()).unwrap();
    }

    fn filling(&self) -> PathBuf {
        self.mount.join("filling")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.mount).status();
    }
}
