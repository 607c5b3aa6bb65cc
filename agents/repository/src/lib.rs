//! S3 links: what a mover does with the actions of a metadata target, and FSx's metadata keys.
//!
//! Two traits carry it to the world: [`lustre_s3::ObjectStorage`] is a bucket, [`FileSystem`] the metadata target and the
//! bytes of files. It opens no socket and no file of its own, so that whole runs with faults are tests.
//! Invariant: an action that was received is ended, with success or with its failure; none is dropped.

mod archive;
mod change;
mod failure;
mod file_system;
mod identify;
mod list;
mod mover;
pub mod posix;
mod probe;
mod repositories;
mod restore;
mod transfers;

#[cfg(test)]
mod tests;

pub use failure::ActionError;
pub use file_system::{FileSystem, Imported};
pub use lustre_s3::{CredentialsError, KeyPair};
pub use mover::{MoverError, run};
pub use probe::{ProbeFailure, probe};
pub use repositories::{Connect, S3Connect};
