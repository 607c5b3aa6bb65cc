//! A folder of real data as an S3 bucket: the `bucket` resource.
//!
//! Not AWS's S3: one bucket on one host, for development and on premises. Real clients (AWS SDKs and CLI, rclone) work
//! against it with path-style addresses.
//!
//! | in the folder | in the bucket |
//! |---|---|
//! | a file | an object; one that no S3 client wrote has FSx's metadata keys from the file itself, and an entity tag from inode, mtime and size |
//! | a directory | a zero-byte `path/`, so that empty directories and modes survive; those that exist only because a client put a key below them are not listed |
//! | a symbolic link | an object whose bytes are the target and whose mode says link; never followed |
//! | sockets, fifos, devices, names that are not UTF-8 | nothing |
//!
//! Keys that cannot be files (`a//b`, `../x`, `a` beside `a/b`, `dir/` with content, long components) are kept aside in
//! `.lustre-bucket/odd` and served like any other; keys below `.lustre-bucket/` itself are refused. Metadata of written
//! objects set the file's mode and times, as root also its owner.
//!
//! Limits: one bucket, no versions, no events, no access lists, no encryption, plain HTTP; a directory's names are sorted in
//! memory; a listing that runs while keys change shows each key that exists all the time, once; keys kept aside are indexed in
//! memory; Linux 5.6.
//! Invariant: nothing outside the folder is read or written through the bucket, and no symbolic link is followed.

mod answer;
mod body;
mod fault;
mod folder;
mod key;
mod listing;
mod record;
mod service;
mod store;
mod upload;
mod walk;

#[cfg(test)]
mod tests;

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use lustre_model::control::ProcessSpec;
use lustre_repository::{CredentialsError, KeyPair};
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::validation::NameValidation;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

pub use fault::BucketError;

use crate::bucket::key::OWN_FOLDER;
use crate::bucket::service::Service;
use crate::bucket::store::Store;
use crate::{ProcessDir, ProcessDirError, durable, termination};

/// Connections served at a time; more wait.
const CONNECTIONS_MAX: usize = 1024;

/// Time for a client to send the head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// Time for open requests to finish when the bucket is asked to end.
const GRACE: Duration = Duration::from_secs(5);

/// Pause after a connection could not be accepted: descriptors are short.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Random bytes of an access key's name and of its secret.
const ACCESS_KEY_BYTES: usize = 8;
const SECRET_KEY_BYTES: usize = 20;

/// The bucket's process ended because of this.
#[derive(Debug, Error)]
pub enum ServeError {
    /// The process's folder does not serve.
    #[error("the bucket's process cannot use its folder")]
    ProcessDir(#[from] ProcessDirError),
    /// The spec is another kind of process's.
    #[error("the spec is not a bucket's")]
    NotABucket,
    /// The folder cannot be served.
    #[error("{} cannot be served as a bucket", .path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: BucketError,
    },
    /// The keys cannot be read or written.
    #[error("the bucket's keys are not to be had")]
    Credentials(#[from] CredentialsError),
    /// Nobody can connect.
    #[error("the bucket cannot listen on {address}")]
    Listen {
        /// Where.
        address: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The system refuses something basic.
    #[error("the bucket's process cannot run")]
    Io(#[from] std::io::Error),
}

/// Serves the bucket of a process's spec until the process is asked to end.
pub fn run(dir: &ProcessDir) -> Result<(), ServeError> {
    let ProcessSpec::Bucket { name, path, listen, credentials_file } = dir.spec()? else {
        return Err(ServeError::NotABucket);
    };
    let keys = keys(dir, Path::new(&credentials_file))?;
    let own = Path::new(&path).join(OWN_FOLDER);
    if !own.exists() {
        dir.creates(&own)?;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind(&listen)
            .await
            .map_err(|source| ServeError::Listen { address: listen.clone(), source })?;
        let stop = CancellationToken::new();
        let server = serve(listener, Path::new(&path), &name, &keys, stop.clone());
        let ended = async {
            dir.ready()?;
            termination::requested().await?;
            stop.cancel();
            Ok::<(), ServeError>(())
        };
        tokio::try_join!(server, ended).map(|_| ())
    })
}

/// Serves `folder` as the bucket `name` to those who sign with `keys`, until `stop`.
pub async fn serve(
    listener: TcpListener,
    folder: &Path,
    name: &str,
    keys: &KeyPair,
    stop: CancellationToken,
) -> Result<(), ServeError> {
    let failed = |source| ServeError::Folder { path: folder.to_owned(), source };
    let store = Arc::new(Store::open(folder).map_err(failed)?);
    store.remove_abandoned().map_err(failed)?;
    let mut builder = S3ServiceBuilder::new(Service { name: name.to_owned(), store });
    builder.set_auth(SimpleAuth::from_single(keys.access_key.as_str(), keys.secret_key.as_str()));
    builder.set_validation(AnyName);
    let service = builder.build();
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let open = tokio_util::task::TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let (socket, _) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection was not accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { break };
        let (service, stop) = (service.clone(), stop.clone());
        open.spawn(async move {
            connection(socket, service, stop).await;
            drop(slot);
        });
    }
    open.close();
    // Who is still sending then is cut off; nothing that was acknowledged is lost.
    let _ = tokio::time::timeout(GRACE, open.wait()).await;
    Ok(())
}

async fn connection(socket: tokio::net::TcpStream, service: S3Service, stop: CancellationToken) {
    if let Err(error) = socket.set_nodelay(true) {
        tracing::debug!(%error, "a client went away");
        return;
    }
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
    let serving = builder.serve_connection(TokioIo::new(socket), service);
    tokio::pin!(serving);
    let result = tokio::select! {
        result = serving.as_mut() => result,
        () = stop.cancelled() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%error, "a connection ended early");
    }
}

/// The keys that clients sign with: those of the file, which is written when it is absent.
fn keys(dir: &ProcessDir, file: &Path) -> Result<KeyPair, ServeError> {
    if file.exists() {
        return Ok(KeyPair::load(file)?);
    }
    let keys = KeyPair {
        access_key: format!("LUSTRE{}", random_hex(ACCESS_KEY_BYTES)?.to_ascii_uppercase()),
        secret_key: random_hex(SECRET_KEY_BYTES)?,
        session_token: None,
    };
    dir.creates(file)?;
    if let Some(parent) = file.parent() {
        fs_err::create_dir_all(parent)?;
    }
    durable::write(file, keys.to_file().as_bytes())?;
    Ok(keys)
}

/// Draws random bytes from the kernel.
fn random_hex(bytes: usize) -> std::io::Result<String> {
    let mut buffer = vec![0_u8; bytes];
    fs_err::File::open("/dev/urandom")?.read_exact(&mut buffer)?;
    Ok(hex::encode(buffer))
}

/// The bucket's name comes from a spec; whether it is this bucket's is checked by the service.
struct AnyName;

impl NameValidation for AnyName {
    fn validate_bucket_name(&self, name: &str) -> bool {
        !name.is_empty()
    }
}
