//! The root folder that all machines start from: a small Debian, made once and kept beside what cargo builds.
//!
//! Machines write into layers of their own; nothing is ever written here.
//! Invariant: a root that has its name is whole.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use fs_err as fs;
use rustix::fs::{FlockOperation, flock};

use super::spawned::must;

/// Changes with what is in the root.
const NAME: &str = "bookworm-1";

const RELEASE: &str = "bookworm";
const PACKAGES: &str = "systemd,systemd-sysv,openssh-server,iproute2,fuse3,procps,sudo,iputils-ping";

/// Programs that the lab needs on this machine, and Debian's packages of them.
const TOOLS: [(&str, &str); 7] = [
    ("systemd-nspawn", "systemd-container"),
    ("debootstrap", "debootstrap"),
    ("ip", "iproute2"),
    ("ssh-keygen", "openssh-client"),
    ("ssh-agent", "openssh-client"),
    ("setpriv", "util-linux"),
    ("nsenter", "util-linux"),
];

/// Returns the root folder, made when there is none: that takes a minute or two, and the network.
pub fn root() -> PathBuf {
    let missing: Vec<&str> =
        TOOLS.iter().filter(|(tool, _)| !is_there(tool)).map(|(_, package)| *package).collect();
    assert!(
        missing.is_empty(),
        "the lab needs programs that are missing. Install them with:\n    apt-get install -y --no-install-recommends {}",
        missing.join(" ")
    );
    assert!(rustix::process::geteuid().is_root(), "the lab makes machines, and needs root: sudo make test");
    if let Some(given) = std::env::var_os("LUSTRE_LAB_ROOT").map(PathBuf::from) {
        assert!(given.join("usr/sbin/sshd").exists(), "LUSTRE_LAB_ROOT={} holds no sshd", given.display());
        return given;
    }
    let binary = Path::new(env!("CARGO_BIN_EXE_lustre"));
    let folder = binary.ancestors().nth(2).expect("cargo builds into a folder in a folder").join("lab");
    fs::create_dir_all(&folder).expect("a folder for the lab can be made");
    let turn = fs::File::create(folder.join("lock")).expect("a lock can be made");
    flock(&turn, FlockOperation::LockExclusive).expect("a lock can be waited for");
    let root = folder.join(NAME);
    if !root.exists() {
        make(&root);
    }
    root
}

fn make(root: &Path) {
    let making = root.with_extension("making");
    if making.exists() {
        assert_eq!(fs::metadata(&making).expect("it is there").uid(), 0);
        fs::remove_dir_all(&making).expect("what was not finished can be removed");
    }
    let mut command = Command::new("debootstrap");
    command.args(["--variant=minbase", &format!("--include={PACKAGES}"), RELEASE]).arg(&making);
    must(command);
    fs::rename(&making, root).expect("a root that is whole can be named");
}

fn is_there(tool: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(system).any(|folder| folder.join(tool).exists())
}
