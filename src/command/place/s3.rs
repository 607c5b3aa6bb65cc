//! `state "s3"`: an object in a bucket.
//!
//! Named as the `s3` block of a link is, and as Terraform's users know it where that differs from nothing of ours.
//! Invariant: no credential is read from a spec; they come from where the SDK finds them, or from a file that is named.

use lustre_s3::Endpoint;
use lustre_store::{LOCK_EXPIRY, LOCK_EXPIRY_MIN, Place, S3Place};

use super::attributes::Attributes;

/// What the backend has.
pub const NAMES: &[&str] =
    &["bucket", "key", "region", "endpoint_url", "path_style", "profile", "credentials_file", "lock_expiry"];

/// Longest key of a state: others are made of it, and 1024 bytes are S3's limit.
const KEY_BYTES_MAX: usize = 800;

/// Attributes of Terraform's that are not ours, and what to do.
const NOT_OURS: &[(&str, &str)] = &[
    ("use_lockfile", "Leave it out: the state is always locked, by an object beside it."),
    ("dynamodb_table", "Leave it out: the state is always locked, by an object beside it."),
    ("workspace_key_prefix", "There are no workspaces; give each its own `key`, which may name a variable."),
    ("endpoint", "Use `endpoint_url`."),
    ("endpoints", "Use `endpoint_url`."),
    ("use_path_style", "Use `path_style`."),
    ("force_path_style", "Use `path_style`."),
    ("shared_credentials_file", "Use `credentials_file`."),
    ("shared_credentials_files", "Use `credentials_file`, with one file."),
    ("encrypt", "Leave it out: set encryption as the bucket's default, which every object then has."),
    ("kms_key_id", "Leave it out: set encryption as the bucket's default, which every object then has."),
    ("acl", "Leave it out: access is a matter of the bucket's policy."),
];

/// Credentials as Terraform takes them.
const CREDENTIALS: [&str; 3] = ["access_key", "secret_key", "token"];

/// Reads the block.
pub fn read(attributes: &mut Attributes<'_>) -> Option<Place> {
    attributes.refuse_credentials(
        &CREDENTIALS,
        "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or name a `profile` or a `credentials_file`.",
    );
    attributes.refuse(NOT_OURS);
    let (bucket, key) = (attributes.required("bucket"), attributes.required("key"));
    let (region, endpoint_url) = (attributes.text("region"), attributes.text("endpoint_url"));
    let (profile, credentials_file) = (attributes.text("profile"), attributes.text("credentials_file"));
    let path_style = attributes.flag("path_style");
    let lock_expiry = attributes.duration("lock_expiry", (LOCK_EXPIRY_MIN, LOCK_EXPIRY));
    let (bucket, key) = (bucket?, key?);
    if key.starts_with('/') || key.ends_with('/') || key.len() > KEY_BYTES_MAX {
        let what = format!("a key that neither begins nor ends with `/`, of at most {KEY_BYTES_MAX} bytes");
        attributes.wrong("key", &what);
    }
    let endpoint_url = endpoint_url?;
    if endpoint_url.as_ref().is_some_and(|url| !url.starts_with("http://") && !url.starts_with("https://")) {
        attributes.wrong("endpoint_url", "a URL that begins with https:// or http://");
    }
    let endpoint = Endpoint {
        bucket,
        endpoint_url,
        region: region?.or_else(region_of_environment),
        path_style: path_style?,
        credentials_file: credentials_file?,
    };
    Some(Place::S3(S3Place { endpoint, profile: profile?, key, lock_expiry: lock_expiry? }))
}

/// The region that AWS's own tools take.
fn region_of_environment() -> Option<String> {
    let region = std::env::var("AWS_REGION").or_else(|_| std::env::var("AWS_DEFAULT_REGION"));
    region.ok().filter(|region| !region.is_empty())
}
