//! The life of a mount: attach, serve, detach.
//!
//! As root the file system is mounted directly; other users go through `fusermount3`. What is served is the business of
//! the [`FileSystem`].
//! Invariant: after [`Mount::serve`] returned, no request of this mount is answered any more.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use fuser::{Config, MountOption, Session, SessionACL, SessionUnmounter};
use rustix::mount::UnmountFlags;
use thiserror::Error;

use crate::filesystem::FileSystem;
use crate::kernel::Kernel;
use crate::notifier::Notifier;

const DEVICE: &str = "/dev/fuse";
const HELPER_CONFIG: &str = "/etc/fuse.conf";
const HELPERS: &[&str] = &["fusermount3", "fusermount"];

/// Who may use the mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// Every user of the host where that is permitted (root, or `user_allow_other`), else only who mounted it.
    EveryoneIfPermitted,
    /// Only who mounted it.
    Owner,
}

/// What the kernel refuses on a mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Restriction {
    /// Changes.
    ReadOnly,
    /// Honouring set-user-ID and set-group-ID.
    NoSuid,
    /// Opening devices.
    NoDev,
    /// Running programs.
    NoExec,
}

/// How to mount.
#[derive(Debug, Clone)]
pub struct MountOptions {
    /// What `df` and `/proc/mounts` show as the source.
    pub source: String,
    /// The part behind `fuse.` of the type that `/proc/mounts` shows.
    pub subtype: String,
    /// Threads that read requests; they only dispatch.
    pub threads: usize,
    /// Who may use it.
    pub audience: Audience,
    /// What the kernel refuses. Where root does not mount, devices and set-user-ID are always refused.
    pub restrictions: BTreeSet<Restriction>,
}

/// The mount did not come about, or did not end well.
#[derive(Debug, Error)]
pub enum MountError {
    /// No FUSE in this kernel.
    #[error(
        "{DEVICE} is missing: load FUSE with `modprobe fuse`; in a container, start it with `--device {DEVICE}`"
    )]
    NoDevice,
    /// The device is there, but not for this user.
    #[error("this user may not open {DEVICE}: run as root, or `chmod 666 {DEVICE}`")]
    DeviceDenied(#[source] io::Error),
    /// Not root, and the helper is missing.
    #[error(
        "mounting without root needs fusermount3: install it with `apt-get install fuse3`, or run as root"
    )]
    NoHelper,
    /// The mount point cannot be used.
    #[error("{path} cannot be a mount point: {source}", path = path.display())]
    MountPoint {
        /// The mount point.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The kernel or the helper refused.
    #[error("mounting on {path} was refused", path = path.display())]
    Refused {
        /// The mount point.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The connection to the kernel broke.
    #[error("the connection to the kernel for {path} broke", path = path.display())]
    Connection {
        /// The mount point.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It would not end.
    #[error("{path} cannot be unmounted", path = path.display())]
    Unmount {
        /// The mount point.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// An attached file system that waits to be served.
pub struct Mount<F: FileSystem> {
    session: Session<Kernel<F>>,
    path: PathBuf,
}

impl<F: FileSystem> Mount<F> {
    /// Mounts `file_system` on `path` and shakes hands with the kernel. Nothing is answered before [`Mount::serve`].
    pub fn attach(file_system: Arc<F>, path: &Path, options: &MountOptions) -> Result<Self, MountError> {
        check_device()?;
        check_helper()?;
        let path = canonical(path)?;
        let session = Session::new(Kernel(file_system), &path, &config(options))
            .map_err(|source| MountError::Refused { path: path.clone(), source })?;
        Ok(Self { session, path })
    }

    /// What tells the kernel to forget.
    pub fn notifier(&self) -> Result<Notifier, MountError> {
        let connection = self.session.as_fd().try_clone_to_owned();
        connection
            .map(Notifier::new)
            .map_err(|source| MountError::Connection { path: self.path.clone(), source })
    }

    /// What ends the mount from another thread.
    pub fn unmounter(&mut self) -> Unmounter {
        Unmounter { inner: Arc::new(Mutex::new(self.session.unmount_callable())), path: self.path.clone() }
    }

    /// Answers requests until the mount ends, by us or by an `umount` from outside.
    pub fn serve(self) -> Result<(), MountError> {
        let path = self.path;
        self.session.run().map_err(|source| MountError::Connection { path, source })
    }
}

/// Ends a mount.
#[derive(Debug, Clone)]
pub struct Unmounter {
    inner: Arc<Mutex<SessionUnmounter>>,
    path: PathBuf,
}

impl Unmounter {
    /// Unmounts; a mount that is in use is detached from the tree and ends with its last user.
    pub fn unmount(&self) -> Result<(), MountError> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let Err(error) = inner.unmount() else { return Ok(()) };
        if error.raw_os_error() != Some(rustix::io::Errno::BUSY.raw_os_error()) {
            return Err(MountError::Unmount { path: self.path.clone(), source: error });
        }
        tracing::warn!(path = %self.path.display(), "in use: detached, ends with its last user");
        rustix::mount::unmount(&self.path, UnmountFlags::DETACH)
            .map_err(|errno| MountError::Unmount { path: self.path.clone(), source: errno.into() })
    }
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn check_device() -> Result<(), MountError> {
    match fs_err::OpenOptions::new().read(true).write(true).open(DEVICE) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(MountError::DeviceDenied(error)),
        Err(_) => Err(MountError::NoDevice),
    }
}

/// Without root somebody must do the mounting for us.
fn check_helper() -> Result<(), MountError> {
    let search = std::env::var_os("PATH").unwrap_or_default();
    let found =
        || std::env::split_paths(&search).any(|dir| HELPERS.iter().any(|name| dir.join(name).exists()));
    if is_root() || found() { Ok(()) } else { Err(MountError::NoHelper) }
}

fn canonical(path: &Path) -> Result<PathBuf, MountError> {
    let wrong = |source| MountError::MountPoint { path: path.to_owned(), source };
    let path = fs_err::canonicalize(path).map_err(wrong)?;
    if path.is_dir() { Ok(path) } else { Err(wrong(io::ErrorKind::NotADirectory.into())) }
}

/// Whether `allow_other` will not be refused.
fn everyone_is_permitted() -> bool {
    let allows = |text: String| text.lines().any(|line| line.trim() == "user_allow_other");
    is_root() || fs_err::read_to_string(HELPER_CONFIG).is_ok_and(allows)
}

/// Lets the table of mounts say `fuse.<subtype>`. Root mounts without the helper, and then fuser keeps the option to
/// itself unless it is handed on as the kernel spells it.
fn subtype(subtype: &str) -> MountOption {
    if is_root() {
        MountOption::CUSTOM(format!("subtype={subtype}"))
    } else {
        MountOption::Subtype(subtype.to_owned())
    }
}

fn config(options: &MountOptions) -> Config {
    let mut config = Config::default();
    config.mount_options = vec![
        MountOption::FSName(options.source.clone()),
        subtype(&options.subtype),
        MountOption::DefaultPermissions,
        MountOption::NoAtime,
    ];
    let choose = |restriction, restricted: MountOption, free: MountOption| {
        if options.restrictions.contains(&restriction) { restricted } else { free }
    };
    config.mount_options.extend([
        choose(Restriction::ReadOnly, MountOption::RO, MountOption::RW),
        choose(Restriction::NoExec, MountOption::NoExec, MountOption::Exec),
    ]);
    if is_root() {
        config.mount_options.extend([
            choose(Restriction::NoDev, MountOption::NoDev, MountOption::Dev),
            choose(Restriction::NoSuid, MountOption::NoSuid, MountOption::Suid),
        ]);
    }
    let everyone = options.audience == Audience::EveryoneIfPermitted && everyone_is_permitted();
    config.acl = if everyone { SessionACL::All } else { SessionACL::Owner };
    config.n_threads = Some(options.threads.max(1));
    config.clone_fd = true;
    config
}
