//! S3 links: what a mover does with the actions of a metadata target, and FSx's metadata keys.
//!
//! Two traits carry it to the world: [`lustre_s3::ObjectStorage`] is the bucket, `FileSystem` the metadata target and
//! the bytes of files. It opens no socket and no file of its own, so that whole runs with faults are tests.
//! Invariant: an action that was received is ended, with success or with its failure; none is dropped.

pub mod posix;

pub use lustre_s3::{CredentialsError, KeyPair};
