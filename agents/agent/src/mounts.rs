//! What is mounted where, and the end of mounts whose server died.
//!
//! Does not mount. Reads the mount table as text and never touches a mount point, which may hang.
//! Invariant: only mounts of our own kind are ended.

use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The kernel's table of this process's mounts.
const TABLE: &str = "/proc/self/mountinfo";

/// What the kernel calls our mounts.
pub(crate) const OURS: &str = "fuse.lustre";

/// Where the kernel lets the owner of a mount break its connection, by the number of its device.
const CONNECTIONS: &str = "/sys/fs/fuse/connections";

/// Mounts that may lie on top of each other at one path.
const STACK_MAX: usize = 16;

/// One mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mounted {
    /// Where.
    pub path: PathBuf,
    /// Of what kind.
    pub kind: String,
    /// The number of its device.
    device: u32,
}

/// Returns the topmost mount at exactly this path.
pub(crate) fn at(path: &Path) -> io::Result<Option<Mounted>> {
    let table = fs_err::read(TABLE)?;
    Ok(parse(&table).into_iter().rfind(|mounted| mounted.path == path))
}

/// Ends every mount of ours at this path, also when it is busy; others are left alone.
///
/// For mounts whose server is gone or was told to go: whoever still waits for an answer gets an error.
pub(crate) fn release(path: &Path) -> io::Result<()> {
    for _ in 0..STACK_MAX {
        let Some(mounted) = at(path)?.filter(|mounted| mounted.kind == OURS) else { return Ok(()) };
        // A server that was killed while one of its own threads waited for the kernel to hear from it cannot end, and keeps
        // its connection open, until that is broken.
        let connection = format!("{CONNECTIONS}/{}/abort", mounted.device);
        if let Err(error) = fs_err::write(&connection, "1") {
            tracing::debug!(%error, "the connection of a dead mount breaks when it is unmounted");
        }
        unmount(path)?;
    }
    Ok(())
}

fn unmount(path: &Path) -> io::Result<()> {
    if rustix::process::geteuid().is_root() {
        let flags = rustix::mount::UnmountFlags::FORCE | rustix::mount::UnmountFlags::DETACH;
        return Ok(rustix::mount::unmount(path, flags)?);
    }
    let output =
        Command::new("fusermount3").args(["-u", "-z", "--"]).arg(path).stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(io::Error::other(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
}

/// `36 35 98:0 /root /mount/point options… - kind source options`
fn parse(table: &[u8]) -> Vec<Mounted> {
    table.split(|byte| *byte == b'\n').filter_map(parse_line).collect()
}

fn parse_line(line: &[u8]) -> Option<Mounted> {
    let mut fields = line.split(|byte| *byte == b' ');
    let device = std::str::from_utf8(fields.nth(2)?).ok()?.rsplit(':').next()?.parse().ok()?;
    let path = unescape(fields.nth(1)?);
    let kind = fields.skip_while(|field| *field != b"-").nth(1)?;
    let kind = String::from_utf8_lossy(kind).into_owned();
    Some(Mounted { path: PathBuf::from(std::ffi::OsString::from_vec(path)), kind, device })
}

/// Blanks, tabs, newlines and backslashes are written as a backslash and three octal digits.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, behind)) = rest.split_first() {
        let octal = behind.get(..3).filter(|_| *first == b'\\').and_then(|digits| {
            let text = std::str::from_utf8(digits).ok()?;
            u8::from_str_radix(text, 8).ok()
        });
        out.push(octal.unwrap_or(*first));
        rest = if octal.is_some() { &behind[3..] } else { behind };
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_with_blanks_and_optional_fields_are_read() {
        let table = b"21 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n\
            99 21 0:50 / /mnt/a\\040b\\134c rw,nosuid shared:2 master:3 - fuse.lustre scratch rw\n\nbroken line\n";
        let mounted = parse(table);
        assert_eq!(mounted.len(), 2);
        let expected =
            Mounted { path: PathBuf::from("/mnt/a b\\c"), kind: "fuse.lustre".to_owned(), device: 50 };
        assert_eq!(mounted[1], expected);
    }

    #[test]
    fn a_mount_of_another_kind_is_not_ended() {
        assert!(at(Path::new("/proc")).unwrap().is_some());
        release(Path::new("/proc")).unwrap();
        assert!(at(Path::new("/proc")).unwrap().is_some());
    }
}
