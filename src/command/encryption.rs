//! The `encryption` block of a spec, read as what seals states and plan files, and whose signatures count.
//!
//! ```hcl
//! encryption {
//!   key "2026" { passphrase = var.state_passphrase }
//!   key "2025" { passphrase_file = "state.2025" }
//!   state { key = "2026"  previous = ["2025"] }
//!   plan  { key = "2026"  signed_by = ["ci.pub"] }
//! }
//! ```
//! Only the keys that one of the two needs are asked for. Commands that wrap keys are run by `command_key`.
//! Invariant: what is not understood is refused by name; a mistake never leads to less encryption than the spec says.

use std::collections::BTreeMap;
use std::io::{self, Read as _};
use std::path::Path;
use std::sync::Arc;

use lustre_language::{Attribute, Block, Scope};
use lustre_model::diagnostic::{Diagnostic, Diagnostics, Span};
use lustre_store::signature::VerifyingKey;
use lustre_store::{Cost, Key, Keyring, Keys, Plain, Plaintext, Random, Seal};
use zeroize::Zeroizing;

use crate::files;
use command_key::CommandKey;

mod command_key;

/// Fewest bytes of a passphrase: fewer are guessed, whatever deriving a key costs.
const PASSPHRASE_BYTES_MIN: usize = 16;

/// What a block `key` says, one of them.
const SOURCES: [&str; 4] = ["passphrase", "passphrase_file", "passphrase_environment", "command"];

/// What `state` has.
const STATE: [&str; 3] = ["key", "previous", "plaintext"];

/// What `plan` has.
const PLAN: [&str; 4] = ["key", "previous", "plaintext", "signed_by"];

/// How plan files are written and read.
pub struct Plans {
    /// What encrypts them.
    pub seal: Arc<dyn Seal>,
    /// Who must have signed one; nobody when it is empty.
    pub signed_by: Vec<VerifyingKey>,
}

/// The system's randomness.
struct Urandom;

impl Random for Urandom {
    fn fill(&self, bytes: &mut [u8]) -> io::Result<()> {
        fs_err::File::open("/dev/urandom")?.read_exact(bytes)
    }
}

/// Returns what seals the state.
pub fn state(scope: &Scope<'_>) -> Result<Arc<dyn Seal>, Diagnostics> {
    let read = |block: &Block, reader: &mut Reader<'_>| {
        reader.attributes(block, &STATE);
        reader.seal(block)
    };
    Ok(part(scope, "state", read)?.flatten().unwrap_or_else(|| Arc::new(Plain)))
}

/// Returns what seals plans, and who signs them.
pub fn plans(scope: &Scope<'_>) -> Result<Plans, Diagnostics> {
    let read = |block: &Block, reader: &mut Reader<'_>| {
        reader.attributes(block, &PLAN);
        let signed_by = reader.signers(block);
        let open = !block.body.attributes.contains_key("key") && !signed_by.is_empty();
        let seal: Option<Arc<dyn Seal>> = if open { Some(Arc::new(Plain)) } else { reader.seal(block) };
        Some(Plans { seal: seal?, signed_by })
    };
    Ok(part(scope, "plan", read)?
        .flatten()
        .unwrap_or_else(|| Plans { seal: Arc::new(Plain), signed_by: Vec::new() }))
}

/// Reads one block of `encryption`, when it is there.
fn part<T>(
    scope: &Scope<'_>,
    kind: &str,
    read: impl Fn(&Block, &mut Reader<'_>) -> T,
) -> Result<Option<T>, Diagnostics> {
    let block = scope.encryption();
    let found = scope.take_diagnostics();
    let Some(encryption) = block else {
        return if found.has_errors() { Err(found) } else { Ok(None) };
    };
    let mut reader = Reader::new(&encryption, found, Asked::Yes);
    let part = reader.only(&encryption, kind).map(|block| read(block, &mut reader));
    if reader.found.has_errors() { Err(reader.found) } else { Ok(part) }
}

/// Returns what is wrong with the block by itself. No passphrase is asked for, and no file is read.
pub fn check(scope: &Scope<'_>) -> Diagnostics {
    scope.take_diagnostics();
    let Some(encryption) = scope.encryption() else { return Diagnostics::new() };
    // What variables are wrong is told when the spec is planned.
    scope.take_diagnostics();
    let mut reader = Reader::new(&encryption, Diagnostics::new(), Asked::No);
    for (kind, known) in [("state", &STATE[..]), ("plan", &PLAN)] {
        if let Some(block) = reader.only(&encryption, kind) {
            reader.attributes(block, known);
            if block.body.attributes.contains_key("key") || !block.body.attributes.contains_key("signed_by") {
                reader.seal(block);
            }
        }
    }
    reader.found
}

/// Whether keys are asked for what they are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asked {
    Yes,
    No,
}

struct Reader<'a> {
    keys: BTreeMap<&'a str, &'a Block>,
    found: Diagnostics,
    asked: Asked,
}

impl<'a> Reader<'a> {
    fn new(encryption: &'a Block, found: Diagnostics, asked: Asked) -> Self {
        let mut reader = Self { keys: BTreeMap::new(), found, asked };
        reader.attributes(encryption, &[]);
        encryption.body.blocks.iter().for_each(|block| reader.block(block));
        reader
    }

    /// Returns the block of a kind of which there is at most one.
    fn only(&mut self, encryption: &'a Block, kind: &str) -> Option<&'a Block> {
        let mut parts = encryption.body.blocks.iter().filter(|block| block.kind == kind);
        let (first, second) = (parts.next(), parts.next());
        if let Some(second) = second {
            self.wrong("E0986", format!("`{kind}` is there twice in `encryption`"), second.span, "Keep one.");
        }
        first
    }

    fn wrong(&mut self, code: &'static str, summary: impl Into<String>, at: Span, hint: impl Into<String>) {
        self.found.push(Diagnostic::error(code, summary).hint(hint).at(at));
    }

    /// Takes in a block of `encryption`.
    fn block(&mut self, block: &'a Block) {
        match (block.kind.as_str(), block.labels.first()) {
            ("key", Some(label)) => {
                self.attributes(block, &SOURCES);
                if source(block).is_none() {
                    let hint =
                        "Say one of `passphrase`, `passphrase_file`, `passphrase_environment` and `command`.";
                    self.wrong(
                        "E0987",
                        format!("it is not plain what the key \"{}\" is", label.text),
                        block.span,
                        hint,
                    );
                }
                if self.keys.insert(&label.text, block).is_some() {
                    let summary = format!("the key \"{}\" is there twice", label.text);
                    self.wrong("E0986", summary, block.span, "Give one of them another name.");
                }
            }
            ("key", None) => {
                self.wrong("E0986", "a key has no name", block.span, "Write `key \"name\" { … }`.")
            }
            ("state" | "plan", None) => {}
            ("state" | "plan", Some(label)) => {
                self.wrong(
                    "E0986",
                    format!("`{}` of `encryption` has no label", block.kind),
                    label.span,
                    "Leave it out.",
                );
            }
            (other, _) => {
                let summary = format!("`encryption` has no block `{other}`");
                self.wrong("E0986", summary, block.span, "It has `key`, `state` and `plan`.");
            }
        }
    }

    /// Refuses attributes that a block does not have, and blocks inside it.
    fn attributes(&mut self, block: &Block, known: &[&str]) {
        let names: Vec<String> = known.iter().map(|name| format!("`{name}`")).collect();
        let has = if names.is_empty() {
            "It has blocks only.".to_owned()
        } else {
            format!("It has {}.", names.join(", "))
        };
        for (name, attribute) in
            block.body.attributes.iter().filter(|(name, _)| !known.contains(&name.as_str()))
        {
            self.wrong(
                "E0986",
                format!("`{}` has no attribute `{name}`", block.kind),
                attribute.name_span,
                &has,
            );
        }
        if let Some(inner) = block.body.blocks.first().filter(|_| !known.is_empty()) {
            self.wrong("E0986", format!("`{}` has no block `{}`", block.kind, inner.kind), inner.span, has);
        }
    }

    /// Returns what a block `state` or `plan` says; none when it says it wrongly.
    fn seal(&mut self, block: &Block) -> Option<Arc<dyn Seal>> {
        let attribute = |name: &str| block.body.attributes.get(name);
        if attribute("plaintext").is_some_and(|it| self.is_open(it)) {
            return None;
        }
        let plaintext =
            attribute("plaintext").map(|it| (it.value.as_str().unwrap_or_default().to_owned(), it.span));
        let writes = match attribute("key") {
            Some(named) => Some(self.name(named)?),
            None => None,
        };
        let mut names = match attribute("previous") {
            Some(previous) => self.names(previous)?,
            None => Vec::new(),
        };
        let plaintext = match (plaintext.as_ref().map(|(word, span)| (word.as_str(), *span)), &writes) {
            (None | Some(("refuse", _)), Some(_)) => Plaintext::Refused,
            (Some(("migrate", _)), Some(_)) | (Some(("write", _)), None) => Plaintext::Read,
            (None | Some(("refuse" | "migrate", _)), None) => {
                let hint = "Say `key = \"name\"`; to give encryption up, `plaintext = \"write\"` and the old key in `previous`.";
                self.wrong("E0986", format!("`{}` names no key", block.kind), block.span, hint);
                return None;
            }
            (Some((_, span)), _) => {
                let hint = "With `key`: \"refuse\", or \"migrate\" to read what is not encrypted yet. Without: \"write\".";
                self.wrong("E0986", "`plaintext` is not understood", span, hint);
                return None;
            }
        };
        names.extend(writes.clone().map(|name| (name, attribute("key").map_or(block.span, |it| it.span))));
        let mut keys = BTreeMap::new();
        let wanted = names.len();
        for (name, span) in names {
            keys.extend(self.key(&name, span).map(|key| (name, key)));
        }
        if keys.len() < wanted {
            return None;
        }
        let keys = Keys { keys, writes, plaintext, cost: Cost::USUAL };
        Some(Arc::new(Keyring::new(keys, Box::new(Urandom))))
    }

    /// Tells whether a value may still become right: nobody was asked for values.
    fn is_open(&self, attribute: &Attribute) -> bool {
        self.asked == Asked::No && !attribute.value.is_wholly_known()
    }

    fn name(&mut self, attribute: &Attribute) -> Option<String> {
        let name = attribute.value.as_str().map(str::to_owned);
        if name.is_none() && !self.is_open(attribute) {
            self.wrong(
                "E0986",
                "the name of a key must be a text that is known",
                attribute.span,
                "Write `key = \"name\"`.",
            );
        }
        name
    }

    fn names(&mut self, attribute: &Attribute) -> Option<Vec<(String, Span)>> {
        let texts =
            texts(attribute).map(|names| names.into_iter().map(|name| (name, attribute.span)).collect());
        if texts.is_none() && !self.is_open(attribute) {
            self.wrong(
                "E0986",
                "a list of texts that are known is needed",
                attribute.span,
                "Write `[\"one\", \"two\"]`.",
            );
        }
        texts
    }

    /// Returns a key that is to be used, with what it is made of.
    fn key(&mut self, name: &str, at: Span) -> Option<Key> {
        let Some(&block) = self.keys.get(name) else {
            let names: Vec<&str> = self.keys.keys().copied().collect();
            let hint = if names.is_empty() {
                "There is none.".to_owned()
            } else {
                format!("There are: {}.", names.join(", "))
            };
            self.wrong("E0987", format!("`encryption` has no key \"{name}\""), at, hint);
            return None;
        };
        // A block that does not say exactly one was told already.
        let (source, attribute) = source(block)?;
        if self.asked == Asked::No {
            return None;
        }
        let made = if source == "command" { command(name, attribute) } else { passphrase(source, attribute) };
        made.map_err(|cause| {
            self.wrong("E0988", format!("the key \"{name}\" cannot be used"), attribute.span, cause)
        })
        .ok()
    }

    /// Returns the public keys that `signed_by` names.
    fn signers(&mut self, block: &Block) -> Vec<VerifyingKey> {
        let Some(attribute) = block.body.attributes.get("signed_by") else { return Vec::new() };
        let mut keys = Vec::new();
        for (path, span) in self.names(attribute).unwrap_or_default() {
            match verifying_key(Path::new(&path)) {
                Ok(key) => keys.push(key),
                Err(cause) => {
                    self.wrong("E0988", format!("the public key {path} cannot be used"), span, cause)
                }
            }
        }
        if keys.is_empty() && !self.found.has_errors() {
            self.wrong(
                "E0986",
                "`signed_by` names nobody",
                attribute.span,
                "Name files of public keys, or leave it out.",
            );
        }
        keys
    }
}

/// Returns what a key is made of, when its block says exactly one thing.
fn source(block: &Block) -> Option<(&'static str, &Attribute)> {
    let mut given = SOURCES.iter().filter_map(|source| Some((*source, block.body.attributes.get(*source)?)));
    given.next().filter(|_| given.next().is_none())
}

/// Reads a public key.
pub fn verifying_key(path: &Path) -> Result<VerifyingKey, String> {
    let text = files::text(path).map_err(|error| error.to_string())?;
    VerifyingKey::from_pem(&text).map_err(|error| format!("{}: {error}", path.display()))
}

fn texts(attribute: &Attribute) -> Option<Vec<String>> {
    let value = &attribute.value;
    if !value.is_wholly_known() || value.as_str().is_some() || value.as_map().is_some() {
        return None;
    }
    value.parts().map(|part| part.as_str().map(str::to_owned)).collect()
}

fn command(name: &str, attribute: &Attribute) -> Result<Key, String> {
    let words = texts(attribute).filter(|words| !words.is_empty());
    let words = words.ok_or("Write the command and its arguments as a list of texts.")?;
    Ok(Key::Command(Box::new(CommandKey { name: name.to_owned(), words })))
}

fn passphrase(source: &str, attribute: &Attribute) -> Result<Key, String> {
    let Some(text) = attribute.value.as_str().filter(|_| attribute.value.is_wholly_known()) else {
        return Err(match source {
            "passphrase" => {
                "Its variable has no value: give it in the environment, as LUSTRE_VAR_name, or with -var."
                    .to_owned()
            }
            _ => format!("`{source}` must be a text that is known."),
        });
    };
    let passphrase = match source {
        "passphrase_file" => {
            let read = Zeroizing::new(files::text(Path::new(text)).map_err(|error| error.to_string())?);
            Zeroizing::new(read.strip_suffix('\n').unwrap_or(&read).trim_end_matches('\r').to_owned())
        }
        "passphrase_environment" => Zeroizing::new(
            std::env::var(text).map_err(|_| format!("The environment has no {text}: set it."))?,
        ),
        _ => Zeroizing::new(text.to_owned()),
    };
    if passphrase.len() < PASSPHRASE_BYTES_MIN {
        return Err(format!(
            "A passphrase has at least {PASSPHRASE_BYTES_MIN} bytes; `openssl rand -base64 24` makes one."
        ));
    }
    Ok(Key::Passphrase(passphrase))
}
