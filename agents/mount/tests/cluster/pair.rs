//! Two mounts of one cluster, through the kernel.
//!
//! Skipped, and said so, where FUSE cannot be used.
//! Invariant: a mount that does not answer in time is aborted, so that the test fails instead of hanging.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use lustre_mount::mount;

use crate::host::Cluster;

/// How long one test may take before its mounts are aborted.
const WATCHDOG: Duration = Duration::from_secs(60);

/// Two mounts.
pub struct Pair {
    pub a: PathBuf,
    pub b: PathBuf,
    pub cluster: Cluster,
    pub runtime: tokio::runtime::Handle,
}

fn abort(device: u64) {
    let path = format!("/sys/fs/fuse/connections/{}/abort", device & 0xff | (device >> 12) & !0xff);
    eprintln!("aborting {path}: {:?}", fs_err::write(&path, "1"));
}

/// Runs `body` on two mounts, with a watchdog.
pub fn on_two_mounts(body: impl FnOnce(&Pair) + Send + 'static) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(3).enable_all().build().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (a, b) = (folder.path().join("a"), folder.path().join("b"));
    let cluster = runtime.block_on(Cluster::start());
    let mut mounts = Vec::new();
    for path in [&a, &b] {
        fs_err::create_dir(path).unwrap();
        let client = runtime.block_on(cluster.client());
        let _guard = runtime.enter();
        match mount(client, path, "demo", BTreeSet::new()) {
            Ok(mounted) => mounts.push(mounted),
            Err(error) => return eprintln!("skipped: {error}"),
        }
    }
    let pair = Pair { a, b, cluster, runtime: runtime.handle().clone() };
    let (done, ended) = mpsc::channel();
    let testing = std::thread::spawn(move || {
        body(&pair);
        done.send(()).unwrap();
        pair
    });
    let in_time = !matches!(ended.recv_timeout(WATCHDOG), Err(mpsc::RecvTimeoutError::Timeout));
    if !in_time {
        let mountinfo = fs_err::read_to_string("/proc/self/mountinfo").unwrap();
        let ours = mountinfo.lines().filter(|line| line.contains(folder.path().to_str().unwrap()));
        for line in ours {
            let device = line.split(' ').nth(2).unwrap();
            let minor: u64 = device.split(':').nth(1).unwrap().parse().unwrap();
            abort(minor);
        }
    }
    let result = testing.join();
    for mounted in mounts {
        mounted.unmounter().unmount().unwrap();
        runtime.block_on(mounted.wait()).unwrap();
    }
    assert!(in_time, "the mounts hung");
    if let Err(panic) = result {
        std::panic::resume_unwind(panic);
    }
    runtime.shutdown_timeout(Duration::from_secs(1));
}

/// The names in a directory, in order.
pub fn names(path: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs_err::read_dir(path)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}
