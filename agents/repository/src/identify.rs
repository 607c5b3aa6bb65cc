//! The attributes of an imported name, from its object's metadata.
//!
//! Defaults for what is missing are the metadata target's.
//! Invariant: only an object whose body can be a link's target is identified as a symbolic link.

use lustre_model::hsm::HsmOutcome;
use lustre_s3::ObjectStorage;

use crate::failure::ActionError;
use crate::posix;

/// Longest target of a symbolic link, Linux's limit without the NUL.
const LINK_BYTES_MAX: u64 = 4095;

/// Type bits of a regular file.
const TYPE_REGULAR: u32 = 0o100_000;
const MODE_MASK: u32 = 0o7777;

/// Reads an object's metadata, and the body of a symbolic link.
pub(crate) async fn identify(storage: &impl ObjectStorage, key: &str) -> Result<HsmOutcome, ActionError> {
    let head = storage.head(key).await?;
    let mut metadata = posix::read(&head.metadata);
    let mut symlink = None;
    if posix::is_symlink(&metadata) {
        if (1..=LINK_BYTES_MAX).contains(&head.size) {
            let body = storage.get(key, 0..head.size, Some(&head.etag)).await?.bytes;
            symlink = Some(body.to_vec()).filter(|target| !target.contains(&0));
        }
        if symlink.is_none() {
            metadata.permissions = metadata.permissions.map(|bits| TYPE_REGULAR | (bits & MODE_MASK));
        }
    }
    Ok(HsmOutcome::Identified { metadata, symlink })
}
