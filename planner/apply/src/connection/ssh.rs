//! A machine that is reached over SSH: one connection, opened when it is needed, kept, and made again when it broke.
//!
//! Everything is done by `sh` on the host, one script for each operation, as root. There is no SFTP: it cannot become root, and
//! cannot rename over a file.
//! Invariant: the same contract as [`super::Local`]; both pass one list of tests.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use fs_err as fs;
use futures::FutureExt;
use futures::future::BoxFuture;
use lustre_model::resource::SshSpec;
use sha2::{Digest, Sha256};
use tokio::io::{AsyncRead, AsyncSeekExt, BufReader};
use tokio::sync::Mutex;

pub use self::error::SshError;
use self::host_key::HostKey;
use self::login::Login;
use self::script::exit;
use self::session::Session;
use super::{Command, Connection, ConnectionError, Found, READ_MAX, Said, Source};

mod error;
mod host_key;
mod known_hosts;
mod login;
mod script;
mod session;

/// Bytes of a file that are read at a time.
const CHUNK: usize = 1 << 20;

/// How long what needs no input may take: to look, to read, to remove.
const ASK_MAX: Duration = Duration::from_mins(5);

/// How long a file may take to arrive.
const PUT_MAX: Duration = Duration::from_mins(60);

/// How often a file is sent until it has arrived whole.
const PUTS_MAX: u32 = 3;

/// What the user who plans has for logging in; taken from the environment once.
#[derive(Debug, Clone, Default)]
pub struct Surroundings {
    /// The user's home.
    pub home: PathBuf,
    /// Where an SSH agent listens.
    pub agent_socket: Option<PathBuf>,
    /// What opens keys that are encrypted.
    pub passphrase: Option<String>,
}

impl Surroundings {
    /// Reads `HOME`, `SSH_AUTH_SOCK` and `LUSTRE_SSH_PASSPHRASE`.
    pub fn of_process() -> Self {
        let given = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        Self {
            home: given("HOME").map_or_else(|| PathBuf::from("/root"), PathBuf::from),
            agent_socket: given("SSH_AUTH_SOCK").map(PathBuf::from),
            passphrase: given("LUSTRE_SSH_PASSPHRASE").and_then(|value| value.into_string().ok()),
        }
    }

    /// Returns a path in which `~` stands for the user's home.
    fn expand(&self, path: &str) -> PathBuf {
        path.strip_prefix("~/").map_or_else(|| PathBuf::from(path), |rest| self.home.join(rest))
    }
}

/// How a server is reached, and who it has to be.
#[derive(Debug, Clone)]
struct Way {
    address: String,
    port: u16,
    login: Login,
    host_key: HostKey,
    jump: Option<Box<Self>>,
}

impl Way {
    fn new(address: &str, spec: &SshSpec, surroundings: &Surroundings) -> Result<Self, SshError> {
        let files = match &spec.known_hosts_file {
            Some(path) => vec![surroundings.expand(path)],
            None => {
                vec![surroundings.expand("~/.ssh/known_hosts"), PathBuf::from("/etc/ssh/ssh_known_hosts")]
            }
        };
        let expected = |address: &str, port: u16, pinned: &Option<String>| match pinned {
            Some(key) => Ok(HostKey::pinned(address, port, key)),
            None => HostKey::known(address, port, &files),
        };
        let login = |address: &str, port: u16, user: &str, identity_file: &Option<String>| Login {
            address: format!("{address}:{port}"),
            user: user.to_owned(),
            identity_file: identity_file.clone().or_else(|| spec.identity_file.clone()),
            agent: spec.agent,
        };
        let jump = match &spec.jump {
            Some(jump) => Some(Box::new(Self {
                address: jump.address.clone(),
                port: jump.port,
                login: login(&jump.address, jump.port, &jump.user, &jump.identity_file),
                host_key: expected(&jump.address, jump.port, &jump.host_key)?,
                jump: None,
            })),
            None => None,
        };
        Ok(Self {
            address: address.to_owned(),
            port: spec.port,
            login: login(address, spec.port, &spec.user, &spec.identity_file),
            host_key: expected(address, spec.port, &spec.host_key)?,
            jump,
        })
    }
}

/// A machine that is reached over SSH.
pub struct Ssh {
    name: String,
    address: String,
    spec: SshSpec,
    surroundings: Surroundings,
    session: Mutex<Option<Arc<Session>>>,
}

impl Ssh {
    /// Connects to nothing yet.
    pub fn new(
        name: impl Into<String>,
        address: impl Into<String>,
        spec: SshSpec,
        surroundings: Surroundings,
    ) -> Self {
        Self { name: name.into(), address: address.into(), spec, surroundings, session: Mutex::new(None) }
    }

    /// Ends the connection, if there is one; the next operation makes another.
    pub async fn close(&self) {
        if let Some(session) = self.session.lock().await.take() {
            session.close().await;
        }
    }

    async fn session(&self) -> Result<Arc<Session>, ConnectionError> {
        let mut slot = self.session.lock().await;
        if let Some(open) = slot.as_ref().filter(|open| !open.is_closed()) {
            return Ok(Arc::clone(open));
        }
        let way = Way::new(&self.address, &self.spec, &self.surroundings).map_err(|error| self.ssh(error))?;
        let fresh = Session::open(&way, &self.surroundings).await.map_err(|error| self.ssh(error))?;
        Ok(Arc::clone(slot.insert(Arc::new(fresh))))
    }

    fn ssh(&self, source: SshError) -> ConnectionError {
        ConnectionError::Ssh { host: self.name.clone(), source: Box::new(source) }
    }

    fn file_error(&self, source: io::Error) -> ConnectionError {
        ConnectionError::File { host: self.name.clone(), source }
    }

    /// Turns what a script complains about into an error of its kind.
    fn complaint(&self, said: &Said) -> ConnectionError {
        let text = said.stderr.trim();
        let kinds = [
            ("No space left on device", ErrorKind::StorageFull),
            ("quota exceeded", ErrorKind::QuotaExceeded),
            ("Permission denied", ErrorKind::PermissionDenied),
            ("Read-only file system", ErrorKind::ReadOnlyFilesystem),
        ];
        let kind = kinds.into_iter().find(|(words, _)| text.contains(words)).map(|(_, kind)| kind);
        let text = if text.is_empty() { format!("sh ended with {:?}", said.code) } else { text.to_owned() };
        self.file_error(io::Error::new(kind.unwrap_or(ErrorKind::Other), text))
    }

    /// Runs a script with this input, which must end within a limit.
    async fn script(
        &self,
        (script, arguments): (&str, &[&str]),
        input: impl AsyncRead + Unpin,
        limit: Duration,
    ) -> Result<Said, ConnectionError> {
        let session = self.session().await?;
        let ended = tokio::time::timeout(limit, session.script(script, arguments, input)).await;
        let too_long =
            |_| ConnectionError::TooLong { host: self.name.clone(), program: "sh".to_owned(), limit };
        ended.map_err(too_long)?.map_err(|error| self.ssh(error))
    }

    /// Runs a script that needs no input.
    async fn ask(&self, script: &str, arguments: &[&str]) -> Result<Said, ConnectionError> {
        self.script((script, arguments), &[][..], ASK_MAX).await
    }

    /// Runs a script that must succeed, and returns what it printed.
    async fn ask_ok(&self, script: &str, arguments: &[&str]) -> Result<String, ConnectionError> {
        let said = self.ask(script, arguments).await?;
        match said.code {
            Some(0) => Ok(String::from_utf8_lossy(&said.stdout).trim().to_owned()),
            Some(_) | None => Err(self.complaint(&said)),
        }
    }

    async fn run_command(&self, command: &Command) -> Result<Said, ConnectionError> {
        let (session, program) = (self.session().await?, command.program.display().to_string());
        let seconds = command.limit.as_secs().max(1);
        let limit = seconds.to_string();
        let mut words = vec![limit.as_str(), program.as_str()];
        words.extend(command.arguments.iter().map(String::as_str));
        let begun = Instant::now();
        let too_long = || ConnectionError::TooLong {
            host: self.name.clone(),
            program: program.clone(),
            limit: command.limit,
        };
        // The host kills it; that we wait a little longer is for hosts that cannot.
        let running = session.script(script::RUN, &words, command.input.as_slice());
        let said = tokio::time::timeout(command.limit + script::GRACE, running)
            .await
            .map_err(|_| too_long())?
            .map_err(|error| self.ssh(error))?;
        let was_killed = said.code.is_none() || said.code == Some(exit::KILLED);
        if was_killed && begun.elapsed() >= command.limit {
            return Err(too_long());
        }
        if said.code == Some(exit::NO_PROGRAM) && said.stderr.trim_end() == script::NO_PROGRAM {
            let source = io::Error::new(ErrorKind::NotFound, "there is no such program");
            return Err(ConnectionError::Spawn { host: self.name.clone(), program, source });
        }
        Ok(said)
    }

    /// Runs a program that is sent for this once. It lies in a folder that the script removes, whatever ends it.
    async fn visit_with(&self, command: &Command) -> Result<Said, ConnectionError> {
        let (hash, size) = measure(&command.program).await.map_err(|source| self.file_error(source))?;
        let (size, limit) = (size.to_string(), command.limit.as_secs().max(1).to_string());
        let input = String::from_utf8_lossy(&command.input);
        let pieces = pieces(&input, script::WORD_MAX);
        let count = pieces.len().to_string();
        let mut words = vec![hash.as_str(), size.as_str(), limit.as_str(), count.as_str()];
        words.extend(pieces);
        words.extend(command.arguments.iter().map(String::as_str));
        let file = tokio::fs::File::open(&command.program).await.map_err(|source| self.file_error(source))?;
        let program = BufReader::with_capacity(CHUNK, file);
        let said = self.script((script::VISIT, &words), program, PUT_MAX).await?;
        if said.code == Some(exit::NO_PLACE) { Err(self.complaint(&said)) } else { Ok(said) }
    }

    async fn put_small(&self, bytes: &[u8], path: &str, mode: &str) -> Result<(), ConnectionError> {
        let hash = hex::encode(Sha256::digest(bytes));
        let said = self.script((script::PUT_SMALL, &[path, &hash, mode]), bytes, PUT_MAX).await?;
        if said.code == Some(0) { Ok(()) } else { Err(self.complaint(&said)) }
    }

    /// Sends a file. What an attempt that was cut off left is continued, and what comes out is checked.
    async fn put_file(&self, from: &Path, path: &str, mode: &str) -> Result<(), ConnectionError> {
        let (hash, size) = measure(from).await.map_err(|source| self.file_error(source))?;
        // Another host of the spec may be the same machine.
        let owner = hex::encode(Sha256::digest(self.name.as_bytes()));
        let part = format!("{path}.{}-{}.part", &hash[..16], &owner[..8]);
        let mut attempt = 1;
        loop {
            match self.put_rest(from, (path, &part), (&hash, size), mode).await? {
                Sent::Whole => return Ok(()),
                Sent::Part(_) if attempt < PUTS_MAX => attempt += 1,
                Sent::Part(said) => return Err(self.complaint(&said)),
            }
        }
    }

    async fn put_rest(
        &self,
        from: &Path,
        (path, part): (&str, &str),
        (hash, size): (&str, u64),
        mode: &str,
    ) -> Result<Sent, ConnectionError> {
        let size_text = size.to_string();
        let look = self.ask_ok(script::PUT_LOOK, &[path, part, &size_text]).await?;
        let odd = |said: String| self.ssh(SshError::Odd { said });
        let found =
            look.split_once(' ').and_then(|(have, free)| Some((have.parse().ok()?, free.parse().ok()?)));
        let Some((have, free)) = found else { return Err(odd(look)) };
        let no_room = |free: u64| {
            let folder = Path::new(path).parent().unwrap_or(Path::new("/")).display().to_string();
            ConnectionError::NoRoom { host: self.name.clone(), path: folder, needed: size, free }
        };
        if size.saturating_sub(have) > free {
            self.ask_ok(script::REMOVE, &[part]).await?;
            return Err(no_room(free.saturating_add(have)));
        }
        let mut file = tokio::fs::File::open(from).await.map_err(|source| self.file_error(source))?;
        file.seek(io::SeekFrom::Start(have)).await.map_err(|source| self.file_error(source))?;
        let (have_text, rest) = (have.to_string(), BufReader::with_capacity(CHUNK, file));
        let arguments = [path, part, hash, mode, &have_text, &size_text];
        let said = self.script((script::PUT_REST, &arguments), rest, PUT_MAX).await?;
        match said.code {
            Some(0) => Ok(Sent::Whole),
            Some(exit::CUT_OFF) => Ok(Sent::Part(said)),
            Some(exit::FULL) => {
                Err(no_room(String::from_utf8_lossy(&said.stdout).trim().parse().unwrap_or(0)))
            }
            Some(_) | None => Err(self.complaint(&said)),
        }
    }
}

/// What came of sending a file.
enum Sent {
    /// It is there.
    Whole,
    /// Not all of it; the next attempt continues.
    Part(Said),
}

/// Returns the hash and the size of a file.
async fn measure(path: &Path) -> io::Result<(String, u64)> {
    let path = path.to_owned();
    let measured = tokio::task::spawn_blocking(move || {
        let (mut file, mut hasher) = (fs::File::open(path)?, Sha256::new());
        let size = io::copy(&mut file, &mut hasher)?;
        Ok((hex::encode(hasher.finalize()), size))
    });
    measured.await.map_err(io::Error::other)?
}

/// Cuts a text into pieces of at most so many bytes.
fn pieces(mut text: &str, most: usize) -> Vec<&str> {
    let mut pieces = Vec::new();
    while !text.is_empty() {
        let end =
            (0..=most.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(text.len());
        let (piece, rest) = text.split_at(end);
        pieces.push(piece);
        text = rest;
    }
    pieces
}

/// Returns a path as a word for `sh`.
fn word(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

impl Connection for Ssh {
    fn name(&self) -> &str {
        &self.name
    }

    fn run<'a>(&'a self, command: &'a Command) -> BoxFuture<'a, Result<Said, ConnectionError>> {
        self.run_command(command).boxed()
    }

    fn visit<'a>(&'a self, command: &'a Command) -> BoxFuture<'a, Result<Said, ConnectionError>> {
        self.visit_with(command).boxed()
    }

    fn put<'a>(
        &'a self,
        source: Source<'a>,
        path: &'a Path,
        mode: u32,
    ) -> BoxFuture<'a, Result<(), ConnectionError>> {
        async move {
            let mode = format!("{mode:o}");
            match source {
                Source::Bytes(bytes) => self.put_small(bytes, &word(path), &mode).await,
                Source::File(from) => self.put_file(from, &word(path), &mode).await,
            }
        }
        .boxed()
    }

    fn read<'a>(&'a self, path: &'a Path) -> BoxFuture<'a, Result<Option<Vec<u8>>, ConnectionError>> {
        async move {
            let said = self.ask(script::READ, &[&word(path), &READ_MAX.to_string()]).await?;
            match said.code {
                Some(0) => Ok(Some(said.stdout)),
                Some(exit::ABSENT) => Ok(None),
                Some(_) | None => Err(self.complaint(&said)),
            }
        }
        .boxed()
    }

    fn stat<'a>(&'a self, path: &'a Path) -> BoxFuture<'a, Result<Found, ConnectionError>> {
        async move {
            match self.ask_ok(script::STAT, &[&word(path)]).await?.as_str() {
                "absent" => Ok(Found::Absent),
                "directory" => Ok(Found::Directory),
                "other" => Ok(Found::Other),
                size => match size.parse() {
                    Ok(size) => Ok(Found::File { size }),
                    Err(_) => Err(self.ssh(SshError::Odd { said: size.to_owned() })),
                },
            }
        }
        .boxed()
    }

    fn remove<'a>(&'a self, path: &'a Path) -> BoxFuture<'a, Result<(), ConnectionError>> {
        async move { self.ask_ok(script::REMOVE, &[&word(path)]).await.map(drop) }.boxed()
    }

    fn remove_empty<'a>(&'a self, path: &'a Path) -> BoxFuture<'a, Result<(), ConnectionError>> {
        async move { self.ask_ok(script::REMOVE_EMPTY, &[&word(path)]).await.map(drop) }.boxed()
    }
}
