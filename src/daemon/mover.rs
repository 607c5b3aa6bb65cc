//! The process of a mover: `lustre-agent mover --dir P`.
//!
//! Joins a session with the file system to the links' mover; what is moved is decided by `lustre_repository`.
//! Invariant: the process says that it is ready only once it has a session.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use lustre_agent::{ProcessDir, ProcessDirError, termination};
use lustre_model::attr::Attr;
use lustre_model::control::ProcessSpec;
use lustre_model::fault::Fault;
use lustre_model::fid::Fid;
use lustre_model::hsm::{HsmAction, HsmEnd, HsmProgress, ImportEntry, Link, LinkId, Listed};
use lustre_model::layout::Layout;
use lustre_model::metadata::{Reply, Request};
use lustre_mount::Client;
use lustre_repository::{FileSystem, Imported, MoverError, S3Connect};
use thiserror::Error;

use super::mount::{MountProcessError, connect};

/// The mover did not come about or cannot go on.
#[derive(Debug, Error)]
pub enum MoverProcessError {
    /// The process's folder is not usable.
    #[error(transparent)]
    Dir(#[from] ProcessDirError),
    /// The folder is another process's.
    #[error("this folder does not describe a mover")]
    NotMover,
    /// No session.
    #[error(transparent)]
    Connect(#[from] MountProcessError),
    /// It cannot go on.
    #[error("the mover cannot go on")]
    Mover(#[from] MoverError),
    /// The system refuses something.
    #[error("the mover could not be prepared")]
    Io(#[from] io::Error),
}

/// Moves data for the links of a file system, until SIGTERM.
pub fn run(dir: &ProcessDir) -> Result<(), MoverProcessError> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(serve(dir))
}

async fn serve(dir: &ProcessDir) -> Result<(), MoverProcessError> {
    let ProcessSpec::Mover { metadata, .. } = dir.spec()? else { return Err(MoverProcessError::NotMover) };
    let client = Arc::new(connect(dir, &metadata).await?);
    dir.ready()?;
    let stop = async {
        if let Err(error) = termination::requested().await {
            tracing::warn!(%error, "cannot listen to signals");
            std::future::pending::<()>().await;
        }
    };
    let ended = lustre_repository::run(Session(Arc::clone(&client)), S3Connect, stop).await;
    client.close().await;
    Ok(ended?)
}

/// A session as the mover wants it.
struct Session(Arc<Client>);

impl Session {
    async fn done(&self, request: Request) -> Result<(), Fault> {
        let reply = self.0.call(&request).await?;
        if let Reply::Done = reply { Ok(()) } else { Err(Fault::Io) }
    }
}

impl FileSystem for Session {
    async fn receive(&self, limit: u32, wait_ms: u32) -> Result<Vec<HsmAction>, Fault> {
        let reply = self.0.call(&Request::HsmReceive { limit, wait_ms }).await?;
        if let Reply::Actions { actions } = reply { Ok(actions) } else { Err(Fault::Io) }
    }

    async fn progress(&self, progress: HsmProgress) -> Result<(), Fault> {
        self.done(Request::HsmProgress { progress }).await
    }

    async fn end(&self, end: HsmEnd) -> Result<(), Fault> {
        self.done(Request::HsmEnd { end }).await
    }

    async fn links(&self) -> Result<Vec<Link>, Fault> {
        let reply = self.0.call(&Request::Links).await?;
        if let Reply::Links { links } = reply {
            Ok(links.into_iter().map(|status| status.link).collect())
        } else {
            Err(Fault::Io)
        }
    }

    async fn import(
        &self,
        link: LinkId,
        listed: Listed,
        entries: Vec<ImportEntry>,
    ) -> Result<Imported, Fault> {
        let reply = self.0.call(&Request::Import { link, listed: Some(listed), entries }).await?;
        if let Reply::Imported { imported, refused, rest } = reply {
            Ok(Imported { imported, refused, rest })
        } else {
            Err(Fault::Io)
        }
    }

    async fn attr(&self, fid: Fid) -> Result<Attr, Fault> {
        let reply = self.0.call(&Request::GetAttr { fid }).await?;
        if let Reply::Entry { entry, .. } = reply { Ok(entry.attr) } else { Err(Fault::Io) }
    }

    async fn read(&self, layout: &Layout, range: Range<u64>) -> Result<Bytes, Fault> {
        self.0.read_objects(layout, range).await
    }

    async fn write(&self, layout: &Layout, offset: u64, bytes: &Bytes) -> Result<(), Fault> {
        self.0.write_objects(layout, offset, bytes).await
    }

    async fn sync(&self, layout: &Layout) -> Result<(), Fault> {
        self.0.sync_objects(layout).await
    }
}
