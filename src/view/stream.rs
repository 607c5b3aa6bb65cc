//! The event stream of `-json`: one object a line, in the field names of Terraform's UI.
//!
//! Invariant: every line is one whole JSON object with `@level`, `@message`, `@module`, `@timestamp` and `type`.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use fs_err::os::unix::fs::OpenOptionsExt as _;
use lustre_model::address::{Address, Key};
use lustre_model::diagnostic::{Diagnostic, Severity, Sources};
use serde_json::{Value as Json, json};

use crate::clock;
use crate::terminal::Terminal;
use crate::view::diagnostic;

/// Version of the stream's format, Terraform's.
const UI_VERSION: &str = "1.2";

/// Only its owner reads a stream that is left in a file: outputs are in it.
const FILE_MODE: u32 = 0o600;

/// Writes the stream.
#[derive(Debug, Clone)]
pub struct Stream(Sink);

#[derive(Debug, Clone)]
enum Sink {
    Terminal(Terminal),
    File(Arc<Mutex<Left>>),
}

/// A file that is written until it cannot be.
#[derive(Debug)]
struct Left {
    file: Option<fs_err::File>,
    path: PathBuf,
    terminal: Terminal,
}

impl Stream {
    /// A stream to standard output.
    pub fn new(terminal: Terminal) -> Self {
        Self(Sink::Terminal(terminal))
    }

    /// A stream into a file, which is made or emptied now. That it cannot be written later is told on the terminal, once.
    pub fn into_file(path: &Path, terminal: Terminal) -> std::io::Result<Self> {
        crate::files::spare(path)?;
        let mut options = fs_err::OpenOptions::new();
        let file = options.write(true).create(true).truncate(true).mode(FILE_MODE).open(path)?;
        let left = Left { file: Some(file), path: path.to_owned(), terminal };
        Ok(Self(Sink::File(Arc::new(Mutex::new(left)))))
    }

    /// Writes a text that is JSON, and ends the line.
    pub fn write(&self, text: &str) {
        match &self.0 {
            Sink::Terminal(terminal) => terminal.say(text),
            Sink::File(left) => left.lock().unwrap_or_else(PoisonError::into_inner).write(text),
        }
    }

    /// Says who writes. First in every stream.
    pub fn version(&self) {
        let version = env!("CARGO_PKG_VERSION");
        self.line(
            "info",
            &format!("lustre {version}"),
            "version",
            json!({ "lustre": version, "ui": UI_VERSION }),
        );
    }

    /// Writes one line; the fields of `more` stand beside the common ones.
    pub fn line(&self, level: &str, message: &str, kind: &str, more: Json) {
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
        self.write(&line.to_string());
    }

    /// Writes a diagnostic.
    pub fn diagnostic(&self, found: &Diagnostic, sources: &Sources) {
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

impl Left {
    fn write(&mut self, text: &str) {
        let Some(file) = &mut self.file else { return };
        if let Err(error) = writeln!(file, "{text}") {
            self.file = None;
            let path = self.path.display();
            self.terminal
                .tell(&format!("Warning: the event stream in {path} is cut off, the work goes on: {error}"));
        }
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
    let within = address.clone().with_modules(Vec::new());
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
