//! Whom a command speaks to: a person in words, a program in JSON, or both.
//!
//! Invariant: words and JSON tell the same; neither is left out because the other is there.

use std::path::Path;

use crate::exit::Failure;
use crate::terminal::Terminal;
use crate::view::failure;
use crate::view::stream::Stream;

/// Where words go, and where JSON goes.
#[derive(Debug, Clone)]
pub struct Voice {
    /// Where words go.
    pub terminal: Terminal,
    /// Where JSON goes, when a program listens.
    pub stream: Option<Stream>,
    words: bool,
}

impl Voice {
    /// Speaks to standard output: JSON, or words.
    pub fn new(terminal: Terminal, json: bool) -> Self {
        Self { terminal, stream: json.then(|| Stream::new(terminal)), words: !json }
    }

    /// Leaves JSON in a file besides, as `-json-into` asks; refused when the file cannot be written.
    pub fn into_file(self, path: &Path) -> Result<Self, Failure> {
        let stream = Some(Stream::into_file(path, self.terminal)?);
        Ok(Self { stream, ..self })
    }

    /// Tells whether a person reads.
    pub fn has_words(&self) -> bool {
        self.words
    }

    /// Says how a command failed.
    pub fn fail(&self, failure: &Failure) {
        if let Some(stream) = &self.stream {
            failure::stream(stream, failure);
        }
        if self.words {
            failure::show(self.terminal, failure);
        }
    }
}
