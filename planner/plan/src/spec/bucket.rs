//! `bucket`: a folder that an agent serves as an S3 endpoint.
//!
//! Where it listens is given by the planner, unless the spec says a port.
//! Invariant: the name is one that every S3 client takes.

use lustre_model::resource::{Attributes, Kind};
use lustre_model::types::Type;
use lustre_model::value::Value;

use super::reader::{Need, Reader, absolute_path, attributes};

pub fn decode(reader: &mut Reader<'_>) -> Attributes {
    let host = reader.reference("host", Kind::Host);
    let path = reader.text("path", Need::Required, absolute_path);
    let label = reader.address().name.clone();
    let name = match reader.text("name", Need::Optional, bucket_name) {
        Some(name) => Some(name),
        None => default_name(reader, &label),
    };
    let port = reader.number("port", Need::Optional, 1..=65_535);
    let credentials_file = host.as_ref().zip(name.as_ref()).and_then(|((_, host), name)| {
        let folder = host.get("path")?;
        Some(match (folder.as_str(), name.as_str()) {
            (Some(folder), Some(name)) => Value::from(format!("{folder}/credentials/{name}")),
            (_, _) => Value::unknown(Type::String),
        })
    });
    let repository = name.as_ref().map(|name| match name.as_str() {
        Some(name) => Value::from(format!("s3://{name}")),
        None => Value::unknown(Type::String),
    });
    attributes([
        ("host", host.map(|(address, _)| Value::from(address.to_string()))),
        ("path", path),
        ("name", name),
        ("port", port),
        ("credentials_file", credentials_file),
        ("data_repository_path", repository),
    ])
}

fn default_name(reader: &mut Reader<'_>, label: &str) -> Option<Value> {
    if reader.attribute("name", Need::Optional).is_some() {
        return None;
    }
    let name = label.to_ascii_lowercase().replace('_', "-");
    let value = Value::from(name.as_str());
    match bucket_name(&name) {
        Ok(()) => Some(value),
        Err(reason) => {
            let reason = format!("{reason} The label is no such name, so give one with `name`.");
            reader.invalid("name", &value, (&reason, reader.span()))
        }
    }
}

/// S3's own rules.
pub fn bucket_name(text: &str) -> Result<(), String> {
    let edge = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    let letter =
        |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.');
    let fits = (3..=63).contains(&bytes.len()) && bytes.iter().all(letter) && !text.contains("..");
    if fits && edge(bytes.first()) && edge(bytes.last()) {
        return Ok(());
    }
    Err("It has 3 to 63 lower-case letters, digits, dots and hyphens, and begins and ends with a letter or digit."
        .to_owned())
}
