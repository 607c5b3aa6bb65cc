//! A mount: the client's files under a directory of this host, until it is unmounted.
//!
//! Not the process around it; that decides when to mount and what to do at the end.
//! Invariant: when [`Mounted::wait`] returned, everything that processes were told is with the targets.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use lustre_fuse::{Audience, Mount, MountError, MountOptions, Restriction, Unmounter};
use tokio::task::JoinHandle;

use crate::client::Client;
use crate::kernel::Files;

/// Threads that take requests from the kernel; they only dispatch.
const THREADS: usize = 4;

/// How long the end of a mount waits for closes that are not told yet.
const DRAIN_MAX: Duration = Duration::from_secs(10);

/// A mount that is being served.
#[derive(Debug)]
pub struct Mounted {
    client: Client,
    files: Arc<Files>,
    unmounter: Unmounter,
    serving: JoinHandle<Result<(), MountError>>,
}

/// Mounts the cluster of `client` on `path` and begins to serve. `source` is what `df` shows.
pub fn mount(
    client: Client,
    path: &Path,
    source: &str,
    restrictions: BTreeSet<Restriction>,
) -> Result<Mounted, MountError> {
    let files = Arc::new(Files::new(Arc::clone(&client.core)));
    let options = MountOptions {
        source: source.to_owned(),
        subtype: "lustre".to_owned(),
        threads: THREADS,
        audience: Audience::EveryoneIfPermitted,
        restrictions,
    };
    let mut mount = Mount::attach(Arc::clone(&files), path, &options)?;
    let notifier = mount.notifier()?;
    let expires = notifier.expire_names();
    tracing::debug!(?expires, "whether the kernel can expire names");
    client.core.names_expire.store(expires.is_ok(), Ordering::Relaxed);
    // A client is mounted once; a second mount of it would not hear of recalls.
    drop(client.core.kernel.set(notifier));
    let unmounter = mount.unmounter();
    let serving = client.core.runtime.spawn_blocking(move || mount.serve());
    Ok(Mounted { client, files, unmounter, serving })
}

impl Mounted {
    /// What ends the mount.
    pub fn unmounter(&self) -> Unmounter {
        self.unmounter.clone()
    }

    /// Waits until the mount ended, then for what is on its way, and ends the session.
    pub async fn wait(self) -> Result<(), MountError> {
        let served = self.serving.await;
        self.files.tasks.close();
        if tokio::time::timeout(DRAIN_MAX, self.files.tasks.wait()).await.is_err() {
            tracing::warn!("not everything that was closed could be told");
        }
        self.client.close().await;
        // The thread does not panic; if it did, the mount is gone all the same.
        served.unwrap_or(Ok(()))
    }
}
