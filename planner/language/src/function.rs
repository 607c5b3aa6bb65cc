//! Functions: one table that names each, with its signature and an example that runs as a test.
//!
//! Names, arguments and results are Terraform's. A signature reads `name(argument type, more? type, ...rest type) type`:
//! `?` may be left out, `...` may be repeated. An argument of type `any` may be null; others may not.
//! Texts that functions make are normalised to NFC, and letters are counted in grapheme clusters, as Terraform does.
//!
//! Remaining differences, each with a test in `tests/functions.rs`:
//! - numbers are exact decimals and never infinite: `1 / 0` and `pow(10, 10000)` are errors;
//! - the bytes that `base64gzip` yields are other ones, which unpack to the same text;
//! - `bcrypt` refuses costs above 16, and every bound on sizes is an error that says so;
//! - a pattern of `fileset` does not leave its folder, and no symbolic link is followed out of it;
//! - a part of a list that is sensitive stays the only sensitive one in `flatten`, and so on;
//! - `yamldecode` refuses infinite numbers.
//!
//! Invariant: a function is pure; files, the clock and randomness come through [`World`](crate::world::World).

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::LazyLock;

use lustre_model::types::Type;
use lustre_model::value::{Number, Value};

use crate::world::{Applying, World};

mod arithmetic;
mod charset;
mod collection;
mod conversion;
mod digest;
mod encoding;
mod file;
mod format;
mod glob;
mod network;
mod pattern;
mod rsa;
mod set;
mod text;
mod time;
pub(crate) mod unknown;
mod yaml;

/// Most elements of a collection that a function makes.
pub(crate) const ELEMENTS_MAX: usize = 1_000_000;

/// Why a function gives no result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// The argument to blame, if it is one.
    pub(crate) argument: Option<usize>,
    /// A sentence for the user, without its full stop.
    pub(crate) reason: String,
}

/// Refuses an argument.
pub(crate) fn refuse<T>(argument: usize, reason: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal { argument: Some(argument), reason: reason.into() })
}

/// What a function yields.
pub(crate) type Yield = Result<Value, Refusal>;

/// What a function that reads files yields: with the hash of what it read.
pub(crate) type Read = Result<(Value, Option<String>), Refusal>;

/// A function that reads files.
pub(crate) type Reader = fn(&dyn World, &[Value]) -> Read;

/// Random bytes for one call.
pub(crate) type Draw = [u8; 32];

/// How a function is run.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Run {
    /// On wholly known values without marks; the result is sensitive if any was.
    Values(fn(&[Value]) -> Yield),
    /// On known values whose parts may be unknown or sensitive, and stay so.
    Parts(fn(&[Value]) -> Yield),
    /// On values as they are.
    Raw(fn(&[Value]) -> Yield),
    /// On wholly known values, with files; the first argument is the path.
    World(Reader),
    /// On wholly known values, while a plan is carried out; unknown before.
    Later(fn(&Applying, &Draw, &[Value]) -> Yield),
    /// `try`
    Try,
    /// `can`
    Can,
    /// `templatefile`
    TemplateFile,
    /// `templatestring`
    TemplateText,
}

/// A row of the table: signature, what it does, an example and what that yields, how it runs.
pub(crate) struct Row(
    pub(crate) &'static str,
    pub(crate) &'static str,
    pub(crate) [&'static str; 2],
    pub(crate) Run,
);

/// All functions, by family.
pub(crate) static FAMILIES: [&[Row]; 15] = [
    arithmetic::ROWS,
    charset::ROWS,
    collection::ROWS,
    conversion::ROWS,
    digest::ROWS,
    encoding::ROWS,
    file::ROWS,
    format::ROWS,
    glob::ROWS,
    network::ROWS,
    rsa::ROWS,
    set::ROWS,
    text::ROWS,
    time::ROWS,
    yaml::ROWS,
];

/// A function.
#[derive(Debug, Clone)]
pub struct Function {
    /// Its name.
    pub name: &'static str,
    /// Its arguments.
    pub parameters: Vec<Parameter>,
    /// What it yields; `any` when that depends on the arguments.
    pub result: Type,
    /// What it does: a sentence.
    pub about: &'static str,
    /// An expression and what it yields.
    pub example: [&'static str; 2],
    signature: &'static str,
    pub(crate) run: Run,
}

/// An argument of a function.
#[derive(Debug, Clone, PartialEq)]
pub struct Parameter {
    /// Its name.
    pub name: String,
    /// What is accepted.
    pub kind: Type,
    /// Whether it may be left out or repeated.
    pub presence: Presence,
}

/// Whether an argument may be left out or repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// It must be given.
    Required,
    /// It may be left out.
    Optional,
    /// It may be left out, or given many times.
    Repeated,
}

static TABLE: LazyLock<HashMap<&'static str, Function>> = LazyLock::new(|| {
    let rows = FAMILIES.iter().flat_map(|family| family.iter());
    rows.filter_map(Function::read).map(|function| (function.name, function)).collect()
});

/// Returns all functions by name.
pub fn functions() -> Vec<&'static Function> {
    let mut all: Vec<&Function> = TABLE.values().collect();
    all.sort_by_key(|function| function.name);
    all
}

/// Returns a function; `core::` in front of a name says that it is one of these.
pub(crate) fn find(name: &str) -> Option<&'static Function> {
    TABLE.get(name.strip_prefix("core::").unwrap_or(name))
}

impl Function {
    /// Reads a row; none when its signature is malformed, which a test excludes.
    fn read(row: &'static Row) -> Option<Self> {
        let Row(signature, about, example, run) = row;
        let (name, rest) = signature.split_once('(')?;
        let (inside, result) = rest.rsplit_once(") ")?;
        let parameters: Option<Vec<Parameter>> = split(inside).into_iter().map(Parameter::read).collect();
        let result = result.parse().ok()?;
        Some(Self { name, parameters: parameters?, result, about, example: *example, signature, run: *run })
    }

    /// Returns the signature as documented.
    pub fn signature(&self) -> &'static str {
        self.signature
    }

    fn required(&self) -> usize {
        self.parameters.iter().filter(|parameter| parameter.presence == Presence::Required).count()
    }

    fn is_repeating(&self) -> bool {
        self.parameters.last().is_some_and(|last| last.presence == Presence::Repeated)
    }

    pub(crate) fn accepts(&self, given: usize) -> bool {
        given >= self.required() && (self.is_repeating() || given <= self.parameters.len())
    }

    /// Whether a call may fit whose last argument stands for any number.
    pub(crate) fn accepts_spread(&self, given: usize) -> bool {
        // What is spread may be nothing.
        self.is_repeating() || given <= self.parameters.len() + 1
    }

    /// Returns the parameter at a position; the last one repeats.
    pub(crate) fn parameter(&self, position: usize) -> &Parameter {
        static NOTHING: LazyLock<Parameter> = LazyLock::new(|| Parameter {
            name: String::new(),
            kind: Type::Any,
            presence: Presence::Required,
        });
        self.parameters.get(position).or(self.parameters.last()).unwrap_or(&NOTHING)
    }
}

impl Parameter {
    fn read(text: &str) -> Option<Self> {
        let (name, kind) = text.split_once(' ')?;
        let kind = kind.parse().ok()?;
        let (name, presence) = match (name.strip_prefix("..."), name.strip_suffix('?')) {
            (Some(name), _) => (name, Presence::Repeated),
            (None, Some(name)) => (name, Presence::Optional),
            (None, None) => (name, Presence::Required),
        };
        Some(Self { name: name.to_owned(), kind, presence })
    }
}

/// Splits at commas that are not inside brackets.
fn split(text: &str) -> Vec<&str> {
    let (mut depth, mut start, mut parts) = (0usize, 0, Vec::new());
    for (at, letter) in text.char_indices() {
        match letter {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.push(text[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    let last = text[start..].trim();
    parts.extend((!last.is_empty()).then_some(last));
    parts
}

/// Returns the text of an argument; the empty text when it was left out.
pub(crate) fn text(arguments: &[Value], position: usize) -> &str {
    arguments.get(position).and_then(Value::as_str).unwrap_or("")
}

/// Returns the number of an argument.
pub(crate) fn number(arguments: &[Value], position: usize) -> Result<&Number, Refusal> {
    match arguments.get(position).and_then(Value::as_number) {
        Some(number) => Ok(number),
        None => refuse(position, "a number is required"),
    }
}

/// Returns the whole number of an argument.
pub(crate) fn whole(arguments: &[Value], position: usize) -> Result<i64, Refusal> {
    match number(arguments, position)?.to_i64() {
        Some(number) => Ok(number),
        None => refuse(position, "a whole number is required"),
    }
}

/// Returns the count or position of an argument.
pub(crate) fn count(arguments: &[Value], position: usize) -> Result<usize, Refusal> {
    match usize::try_from(whole(arguments, position)?) {
        Ok(number) => Ok(number),
        Err(_) => refuse(position, "it must not be negative"),
    }
}

/// Puts the home folder in the place of a leading `~`.
pub(crate) fn home_expanded<'a>(world: &dyn World, path: &'a str) -> Cow<'a, str> {
    let rest = path.strip_prefix('~').filter(|rest| rest.is_empty() || rest.starts_with('/'));
    match (rest, world.home_folder()) {
        (Some(rest), Some(home)) => format!("{home}{rest}").into(),
        (Some(_), None) | (None, _) => path.into(),
    }
}

/// Reads a file, with the hash of its bytes.
pub(crate) fn read_bytes(world: &dyn World, path: &str) -> Result<(Vec<u8>, String), Refusal> {
    use sha2::Digest as _;
    match world.read_file(&home_expanded(world, path)) {
        Ok(bytes) => {
            let hash = hex::encode(sha2::Sha256::digest(&bytes));
            Ok((bytes, hash))
        }
        Err(error) => refuse(0, format!("{path:?} cannot be read: {error}")),
    }
}

/// Reads a file as text, with the hash of its bytes.
pub(crate) fn read_text(world: &dyn World, path: &str) -> Result<(String, String), Refusal> {
    let (bytes, hash) = read_bytes(world, path)?;
    match String::from_utf8(bytes) {
        Ok(text) => Ok((text, hash)),
        Err(_) => refuse(0, format!("{path:?} is not UTF-8 text; `filebase64` reads any bytes")),
    }
}
