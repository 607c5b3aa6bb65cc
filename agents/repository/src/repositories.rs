//! The ways to the buckets of a cluster's links.
//!
//! A way is set up when it is first needed, and anew when the link changed or its credentials were doubted.
//! Invariant: an action goes to the bucket that its link names at that time.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lustre_model::hsm::{Link, LinkId, RepositoryEndpoint};
use lustre_s3::{ConnectError, Endpoint, ObjectStorage, S3Client};

use crate::failure::ActionError;
use crate::file_system::FileSystem;

/// Sets up the way to a bucket.
pub trait Connect: Send + Sync + 'static {
    /// The bucket.
    type Storage: ObjectStorage;

    /// Prepares to talk to a bucket; need not send anything.
    fn connect(
        &self,
        repository: &RepositoryEndpoint,
    ) -> impl Future<Output = Result<Self::Storage, ConnectError>> + Send;
}

/// The way that the product takes: the AWS SDK.
#[derive(Debug, Clone, Copy)]
pub struct S3Connect;

impl Connect for S3Connect {
    type Storage = S3Client;

    async fn connect(&self, repository: &RepositoryEndpoint) -> Result<S3Client, ConnectError> {
        S3Client::connect(&endpoint(repository)).await
    }
}

/// Returns a repository as the S3 client takes it.
pub(crate) fn endpoint(repository: &RepositoryEndpoint) -> Endpoint {
    Endpoint {
        bucket: repository.bucket.clone(),
        endpoint_url: repository.endpoint_url.clone(),
        region: repository.region.clone(),
        path_style: repository.path_style,
        credentials_file: repository.credentials_file.clone(),
    }
}

/// A link and its bucket.
#[derive(Debug)]
pub(crate) struct Repository<S> {
    pub link: Link,
    pub storage: S,
}

/// The links that were needed so far.
#[derive(Debug)]
pub(crate) struct Repositories<C: Connect> {
    connect: C,
    known: Mutex<HashMap<LinkId, Arc<Repository<C::Storage>>>>,
}

impl<C: Connect> Repositories<C> {
    pub(crate) fn new(connect: C) -> Self {
        Self { connect, known: Mutex::default() }
    }

    /// Returns a link's bucket, by the way that has this fingerprint.
    pub(crate) async fn get(
        &self,
        file_system: &impl FileSystem,
        (link, fingerprint): (LinkId, u64),
    ) -> Result<Arc<Repository<C::Storage>>, ActionError> {
        let known = self.known().get(&link).cloned();
        match known.filter(|known| known.link.repository.fingerprint() == fingerprint) {
            Some(repository) => Ok(repository),
            None => self.look_up(file_system, link).await,
        }
    }

    /// Asks for the link again, and keeps the way to its bucket where that is still the same.
    pub(crate) async fn look_up(
        &self,
        file_system: &impl FileSystem,
        id: LinkId,
    ) -> Result<Arc<Repository<C::Storage>>, ActionError> {
        let links = file_system.links().await?;
        let link = links.into_iter().find(|link| link.id == id).ok_or(ActionError::UnknownLink(id))?;
        let known = self.known().get(&id).cloned();
        if let Some(known) = known.filter(|known| known.link == link) {
            return Ok(known);
        }
        let storage = self.connect.connect(&link.repository).await?;
        let repository = Arc::new(Repository { link, storage });
        self.known().insert(id, Arc::clone(&repository));
        Ok(repository)
    }

    /// Forgets a link, so that the next action sets its way up anew.
    pub(crate) fn forget(&self, link: LinkId) {
        self.known().remove(&link);
    }

    fn known(&self) -> MutexGuard<'_, HashMap<LinkId, Arc<Repository<C::Storage>>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
