//! The event stream of `-json`: one object a line, in the field names of Terraform's UI.
//!
//! Invariant: every line is one whole JSON object with `@level`, `@message`, `@module`, `@timestamp` and `type`.

use lustre_model::address::{Address, Key};
use lustre_model::diagnostic::{Diagnostic, Severity, Sources};
use serde_json::{Value as Json, json};

use crate::clock;
use crate::terminal::Terminal;
use crate::view::diagnostic;

/// Version of the stream's format, Terraform's.
const UI_VERSION: &str = "1.2";

/// Writes the stream.
#[derive(Debug, Clone, Copy)]
pub struct Stream(pub Terminal);

impl Stream {
    /// Says who writes. First in every stream.
    pub fn version(self) {
        let version = env!("CARGO_PKG_VERSION");
        self.line(
            "info",
            &format!("lustre {version}"),
            "version",
            json!({ "lustre": version, "ui": UI_VERSION }),
        );
    }

    /// Writes one line; the fields of `more` stand beside the common ones.
    pub fn line(self, level: &str, message: &str, kind: &str, more: Json) {
        let mut line = json!({
            "@level": level,
            "@message": message,
            "@module": "lustre.ui",
            "@timestamp": clock::now(),
            "type": kind,
        });
        if let (Json::Object(line), Json::Object(more)) = (&mut line, more) {
            line.extend(more);
        }
        self.0.say(&line.to_string());
    }

    /// Writes a diagnostic.
    pub fn diagnostic(self, found: &Diagnostic, sources: &Sources) {
        let (level, word) = match found.severity {
            Severity::Error => ("error", "Error"),
            Severity::Warning => ("warn", "Warning"),
        };
        let message = format!("{word}: {}", found.summary);
        self.line(
            level,
            &message,
            "diagnostic",
            json!({ "diagnostic": diagnostic::to_json(found, sources) }),
        );
    }
}

/// Returns an address as the stream names resources.
pub fn resource(address: &Address) -> Json {
    let module: Vec<String> = address
        .modules
        .iter()
        .map(|step| {
            format!("module.{}{}", step.name, step.key.as_ref().map(Key::to_string).unwrap_or_default())
        })
        .collect();
    let within = Address { modules: Vec::new(), ..address.clone() };
    json!({
        "addr": address,
        "module": module.join("."),
        "resource": within,
        "implied_provider": "lustre",
        "resource_type": address.parts.last().map_or(&address.kind, |part| &part.kind),
        "resource_name": address.parts.last().map_or(&address.name, |part| &part.name),
        "resource_key": match &address.key {
            None => Json::Null,
            Some(Key::Index(index)) => json!(index),
            Some(Key::Name(name)) => json!(name),
        },
    })
}
