//! The lock file `lustre.lock.hcl`: which commit each repository of modules is at, and what its files hash to.
//!
//! ```hcl
//! module "git::https://example.org/modules.git?ref=v1.2" {
//!   commit = "0123456789abcdef0123456789abcdef01234567"
//!   hash   = "sha256:…"
//! }
//! ```
//! Read and written here as text; who fetches and hashes is the command line.
//! Invariant: writing and reading are inverse, and a commit is never anything but hexadecimal digits.

use std::collections::BTreeMap;

use lustre_model::address::quote;
use lustre_model::diagnostic::{Diagnostic, Diagnostics};
use lustre_model::types::Type;

use crate::evaluate::Context;
use crate::program::Program;
use crate::syntax::{self, BlockSyntax};
use crate::world::EmptyWorld;

/// The name of the lock file.
pub const LOCK_FILE: &str = "lustre.lock.hcl";

/// What a repository is locked to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Locked {
    /// The commit, in hexadecimal digits.
    pub commit: String,
    /// Hash of its files, `sha256:` and hexadecimal digits.
    pub hash: String,
}

/// Repositories by source.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lock(pub BTreeMap<String, Locked>);

impl Lock {
    /// Returns the text of the lock file.
    pub fn render(&self) -> String {
        let mut text = String::from("# Kept by `lustre init`; belongs into version control.\n");
        for (source, locked) in &self.0 {
            text.push_str(&format!("\nmodule {} {{\n", quote(source)));
            text.push_str(&format!(
                "  commit = {}\n  hash   = {}\n}}\n",
                quote(&locked.commit),
                quote(&locked.hash)
            ));
        }
        text
    }
}

impl Program {
    /// Reads a lock file.
    pub fn read_lock(&mut self, text: &str) -> (Lock, Diagnostics) {
        let id = self.sources.add(LOCK_FILE, text);
        let mut found = Diagnostics::new();
        let body = syntax::parse(&self.sources, id, &mut found);
        let mut lock = Lock::default();
        for block in &body.blocks {
            match entry(block) {
                Some((source, locked)) => drop(lock.0.insert(source, locked)),
                None => {
                    let diagnostic = Diagnostic::error("E0250", "this is no entry of a lock file");
                    let hint = "The file is kept by `lustre init`; take the entry out and run that again.";
                    found.push(diagnostic.hint(hint).at(block.header_span));
                }
            }
        }
        (lock, found)
    }
}

fn entry(block: &BlockSyntax) -> Option<(String, Locked)> {
    let [label] = block.labels.as_slice() else { return None };
    let text = |name: &str| {
        let attribute = block.body.attributes.get(name)?;
        let value =
            Context::new(&EmptyWorld, None).evaluate_as(&attribute.value, &Type::String, name).ok()?;
        value.as_str().map(str::to_owned)
    };
    let digits = |text: &str| text.bytes().all(|it| it.is_ascii_hexdigit());
    let commit = text("commit").filter(|text| (40..=64).contains(&text.len()) && digits(text))?;
    let hash = text("hash")
        .filter(|text| text.strip_prefix("sha256:").is_some_and(|it| it.len() == 64 && digits(it)))?;
    let known = block.kind == "module" && block.body.attributes.len() == 2 && block.body.blocks.is_empty();
    known.then(|| (label.text.clone(), Locked { commit, hash }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_anything_else_is_refused() {
        let locked = Locked { commit: "0a".repeat(20), hash: format!("sha256:{}", "0b".repeat(32)) };
        let lock = Lock(BTreeMap::from([("git::https://example.org/m?ref=v1".to_owned(), locked)]));
        let (mut program, _) = Program::load([], &[]);
        let (read, found) = program.read_lock(&lock.render());
        assert!(found.is_empty());
        assert_eq!(read, lock);
        for (from, to) in [("0a0a", "--op"), ("sha256", "md5"), ("commit", "comit"), ("module", "x")] {
            let (read, found) = program.read_lock(&lock.render().replacen(from, to, 1));
            assert!(read.0.is_empty() && found.has_errors(), "{from} → {to}");
        }
    }
}
