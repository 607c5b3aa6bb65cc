//! `data_repository_association`: FSx's fields, and what other S3 stores need besides.
//!
//! Invariant: bucket and prefix are split here, once; a prefix is empty or ends in `/`.

use lustre_language::Block;
use lustre_model::resource::{Attributes, Kind};
use lustre_model::types::Type;
use lustre_model::value::Value;

use super::bucket::bucket_name;
use super::reader::{Need, Reader, absolute_path, any, attributes};

const EVENTS: [&str; 3] = ["NEW", "CHANGED", "DELETED"];

/// FSx's own limits.
const CHUNK_DEFAULT: u64 = 1024;
const CHUNK_MAX: i64 = 512_000;
const PATH_MAX: usize = 4357;

pub fn decode(reader: &mut Reader<'_>) -> Attributes {
    reader.refuse("file_system_id", "Write `cluster = cluster.<name>`.");
    reader.refuse("tags", "There is nothing that would read tags.");
    reader.refuse("client_request_token", "Applying twice never builds twice.");
    reader.refuse("nfs", "Repositories are S3 buckets; NFS belongs to FSx's file caches.");
    let cluster = reader.reference("cluster", Kind::Cluster);
    let of_cluster = |name: &str| cluster.as_ref().and_then(|(_, cluster)| cluster.get(name).cloned());
    let file_system_path = reader.text("file_system_path", Need::Required, directory);
    let repository = reader.text("data_repository_path", Need::Required, |text| split(text).map(drop));
    let (bucket, prefix) = match repository.as_ref().map(Value::as_str) {
        Some(Some(text)) => {
            split(text).ok().map(|(bucket, prefix)| (Value::from(bucket), Value::from(prefix))).unzip()
        }
        Some(None) => (Some(Value::unknown(Type::String)), Some(Value::unknown(Type::String))),
        None => (None, None),
    };
    let import = reader.flag("batch_import_meta_data_on_create", false);
    let delete = reader.flag("delete_data_in_filesystem", false);
    let chunk = reader.number("imported_file_chunk_size", Need::Optional, 1..=CHUNK_MAX);
    let name = Value::from(reader.address().to_string());
    let mut decoded = attributes([
        ("cluster", cluster.as_ref().map(|(address, _)| Value::from(address.to_string()))),
        ("fs_name", of_cluster("fs_name")),
        ("metadata_host", of_cluster("metadata_host")),
        ("metadata_address", of_cluster("metadata_address")),
        ("name", Some(name)),
        ("file_system_path", file_system_path),
        ("data_repository_path", repository),
        ("bucket", bucket),
        ("prefix", prefix),
        ("batch_import_meta_data_on_create", import),
        ("delete_data_in_filesystem", delete),
        ("imported_file_chunk_size", chunk.or_else(|| Some(Value::from(CHUNK_DEFAULT)))),
    ]);
    let store = match reader.block("s3", Need::Optional) {
        Some(block) => reader.nested("s3 block", block, s3),
        None => defaults(),
    };
    decoded.extend(store);
    decoded
}

fn defaults() -> Attributes {
    attributes([
        ("auto_import_events", Some(Value::strings::<&str>([]))),
        ("auto_export_events", Some(Value::strings::<&str>([]))),
        ("path_style", Some(Value::from(false))),
    ])
}

fn s3(reader: &mut Reader<'_>) -> Attributes {
    let inline = "Keys in a spec end up in version control; write them to a file in AWS's format on the host of the \
                  metadata target, and name it in `credentials_file`.";
    for name in ["access_key_id", "secret_access_key", "session_token", "access_key", "secret_key"] {
        reader.refuse(name, inline);
    }
    let block = reader.block("auto_import_policy", Need::Optional);
    let import = block.and_then(|block| policy(reader, "auto_import_policy block", block));
    let export = reader.block("auto_export_policy", Need::Optional);
    let export = export.and_then(|block| policy(reader, "auto_export_policy block", block));
    let endpoint = reader.text("endpoint_url", Need::Optional, endpoint_url);
    let region = reader.text("region", Need::Optional, any);
    let credentials = reader.text("credentials_file", Need::Optional, absolute_path);
    // A store with its own endpoint rarely has a DNS name for each bucket.
    let path_style = reader.flag("path_style", endpoint.is_some());
    let mut decoded = defaults();
    decoded.extend(attributes([
        ("auto_import_events", import),
        ("auto_export_events", export),
        ("endpoint_url", endpoint),
        ("region", region),
        ("credentials_file", credentials),
        ("path_style", path_style),
    ]));
    decoded
}

fn policy(reader: &mut Reader<'_>, what: &str, block: &Block) -> Option<Value> {
    reader.nested(what, block, |reader| {
        let (value, span) = reader.typed("events", &Type::set(Type::String), Need::Required)?;
        let words: Vec<String> = value.parts().filter_map(Value::as_str).map(str::to_owned).collect();
        if let Some(wrong) = words.iter().find(|word| !EVENTS.contains(&word.as_str())) {
            let reason = format!("{wrong} is not one of NEW, CHANGED and DELETED.");
            return reader.invalid("events", &value, (&reason, span));
        }
        if !value.is_wholly_known() {
            return Some(Value::unknown(Type::list(Type::String)));
        }
        // In FSx's order, so that another order in the spec is no change.
        Some(Value::strings(EVENTS.into_iter().filter(|event| words.iter().any(|word| word == event))))
    })
}

/// `/`, or a directory.
fn directory(text: &str) -> Result<(), String> {
    if text == "/" { Ok(()) } else { absolute_path(text) }
}

/// Splits `s3://bucket/prefix` into bucket and prefix.
fn split(text: &str) -> Result<(String, String), String> {
    let expected = "It is `s3://bucket` or `s3://bucket/prefix/`.".to_owned();
    let rest = text.strip_prefix("s3://").ok_or_else(|| expected.clone())?;
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    bucket_name(bucket).map_err(|reason| format!("{expected} A bucket's name: {reason}"))?;
    let parts = || prefix.trim_end_matches('/').split('/');
    let plain = prefix.is_empty() || parts().all(|part| !part.is_empty() && part != "." && part != "..");
    if !plain || prefix.ends_with("//") || text.len() > PATH_MAX || prefix.chars().any(char::is_control) {
        return Err(format!("{expected} A prefix has no empty part, `.` or `..`."));
    }
    let slash = if prefix.is_empty() || prefix.ends_with('/') { "" } else { "/" };
    Ok((bucket.to_owned(), format!("{prefix}{slash}")))
}

fn endpoint_url(text: &str) -> Result<(), String> {
    let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    let plain = rest.is_some_and(|rest| !rest.is_empty() && !rest.contains(['@', ' ', '?', '#']));
    if plain { Ok(()) } else { Err("It is a URL such as http://127.0.0.1:9000.".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repository_paths_are_split_into_bucket_and_prefix() {
        for (text, expected) in [
            ("s3://data", Some(("data", ""))),
            ("s3://data/", Some(("data", ""))),
            ("s3://data/a/b", Some(("data", "a/b/"))),
            ("s3://data/a/b/", Some(("data", "a/b/"))),
            ("s3://data/a//b", None),
            ("s3://data/../b", None),
            ("s3://data/a//", None),
            ("s3://Data/", None),
            ("data/a", None),
            ("s3://", None),
        ] {
            let found = split(text).ok();
            let found = found.as_ref().map(|(bucket, prefix)| (bucket.as_str(), prefix.as_str()));
            assert_eq!(found, expected, "{text}");
        }
    }
}
