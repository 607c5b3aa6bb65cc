//! A data repository association: a directory of a cluster tied to a prefix of a bucket.
//!
//! Fields and values are FSx's (`data_repository_association`), with what other S3 stores need besides.
//! Invariant: the link's id is given once within its cluster.

use super::{AttributeError, Fields};
use crate::address::Address;
use crate::hsm::{Link, LinkEvent, LinkId, RepositoryEndpoint};
use crate::id::FsName;

/// A link as the executor reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AssociationSpec {
    /// The cluster.
    pub cluster: Address,
    /// Its file system.
    pub fs_name: FsName,
    /// The host of the cluster's metadata target; the mover runs there.
    pub metadata_host: Address,
    /// `address:port` where the metadata target answers.
    pub metadata_address: String,
    /// The link as the metadata target takes it; its name is to be the address in the spec.
    pub link: Link,
    /// Whether the files go with the link when it is deleted.
    pub delete_data_in_file_system: bool,
}

impl AssociationSpec {
    pub(super) fn from_fields(fields: &Fields<'_>) -> Result<Self, AttributeError> {
        let repository = RepositoryEndpoint {
            bucket: fields.text("bucket")?,
            prefix: fields.text("prefix")?,
            endpoint_url: fields.optional_text("endpoint_url")?,
            region: fields.optional_text("region")?,
            path_style: fields.flag("path_style")?,
            credentials_file: fields.optional_text("credentials_file")?,
        };
        let link = Link {
            id: LinkId(fields.number("link_id")?),
            name: fields.text("name")?,
            file_system_path: fields.text("file_system_path")?,
            repository,
            batch_import_meta_data_on_create: fields.flag("batch_import_meta_data_on_create")?,
            imported_file_chunk_size: fields.number("imported_file_chunk_size")?,
            auto_import: events(fields, "auto_import_events")?,
            auto_export: events(fields, "auto_export_events")?,
        };
        Ok(Self {
            cluster: fields.parsed("cluster")?,
            fs_name: fields.parsed("fs_name")?,
            metadata_host: fields.parsed("metadata_host")?,
            metadata_address: fields.text("metadata_address")?,
            link,
            delete_data_in_file_system: fields.flag("delete_data_in_filesystem")?,
        })
    }
}

fn events(fields: &Fields<'_>, name: &str) -> Result<Vec<LinkEvent>, AttributeError> {
    let event = |text: String| match text.as_str() {
        "NEW" => Ok(LinkEvent::New),
        "CHANGED" => Ok(LinkEvent::Changed),
        "DELETED" => Ok(LinkEvent::Deleted),
        _ => Err(fields.mistyped(name, "a list of NEW, CHANGED and DELETED")),
    };
    fields.texts(name)?.into_iter().map(event).collect()
}
