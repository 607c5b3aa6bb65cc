//! This machine as a host.
//!
//! Commands run as the user who runs `lustre`, without a shell.
//! Invariant: a command that outlives its limit is killed, and a daemon it left behind does not keep us waiting.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Stdio;

use fs_err as fs;
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{Command, Connection, ConnectionError, Found, READ_MAX, Said, Source};

mod put;

/// Most bytes of a command's output that are kept.
const OUTPUT_MAX: u64 = 4 << 20;

/// The machine that `lustre` runs on.
#[derive(Debug, Clone)]
pub struct Local {
    name: String,
}

impl Local {
    /// Names it as messages shall.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into() }
    }

    fn file_error(&self, source: io::Error) -> ConnectionError {
        ConnectionError::File { host: self.name.clone(), source }
    }

    async fn run_command(&self, command: &Command) -> Result<Said, ConnectionError> {
        let program = command.program.display().to_string();
        let spawn =
            |source| ConnectionError::Spawn { host: self.name.clone(), program: program.clone(), source };
        let mut child = tokio::process::Command::new(&command.program)
            .args(&command.arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(spawn)?;
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let talk = async {
            let feed = async {
                if let Some(mut stdin) = stdin {
                    // A command that does not read its input closes it; what it then says is in its exit code.
                    let _closed_early = stdin.write_all(&command.input).await;
                }
            };
            let (_, stdout, stderr, status) = tokio::join!(feed, drain(stdout), drain(stderr), child.wait());
            let stderr = String::from_utf8_lossy(&stderr?).into_owned();
            Ok(Said { code: status?.code(), stdout: stdout?, stderr })
        };
        match tokio::time::timeout(command.limit, talk).await {
            Ok(said) => said.map_err(spawn),
            Err(_) => {
                Err(ConnectionError::TooLong { host: self.name.clone(), program, limit: command.limit })
            }
        }
    }

    /// Runs blocking file work on a thread for it.
    async fn on_disk<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> Result<T, ConnectionError> {
        let done = tokio::task::spawn_blocking(work).await;
        done.map_err(io::Error::other).and_then(|result| result).map_err(|source| self.file_error(source))
    }
}

impl Connection for Local {
    fn name(&self) -> &str {
        &self.name
    }

    fn run<'a>(&'a self, command: &'a Command) -> BoxFuture<'a, Result<Said, ConnectionError>> {
        self.run_command(command).boxed()
    }

    fn visit<'a>(&'a self, command: &'a Command) -> BoxFuture<'a, Result<Said, ConnectionError>> {
        self.run_command(command).boxed()
    }

    fn put<'a>(
        &'a self,
        source: Source<'a>,
        path: &'a Path,
        mode: u32,
    ) -> BoxFuture<'a, Result<(), ConnectionError>> {
        let path = path.to_owned();
        async move {
            match source {
                Source::Bytes(bytes) => {
                    let bytes = bytes.to_owned();
                    self.on_disk(move || put::bytes(&path, mode, &bytes)).await
                }
                Source::File(from) => {
                    let from = from.to_owned();
                    match self.on_disk(move || put::file(&path, mode, &from)).await? {
                        put::Put::Done => Ok(()),
                        put::Put::NoRoom { folder, needed, free } => {
                            let path = folder.display().to_string();
                            Err(ConnectionError::NoRoom { host: self.name.clone(), path, needed, free })
                        }
                    }
                }
            }
        }
        .boxed()
    }

    fn read<'a>(&'a self, path: &'a Path) -> BoxFuture<'a, Result<Option<Vec<u8>>, ConnectionError>> {
        let path = path.to_owned();
        self.on_disk(move || read_small(&path)).boxed()
    }

    fn stat<'a>(&'a self, path: &'a Path) -> BoxFuture<'a, Result<Found, ConnectionError>> {
        let path = path.to_owned();
        self.on_disk(move || look(&path)).boxed()
    }

    fn remove<'a>(&'a self, path: &'a Path) -> BoxFuture<'a, Result<(), ConnectionError>> {
        let path = path.to_owned();
        self.on_disk(move || remove_tree(&path)).boxed()
    }

    fn remove_empty<'a>(&'a self, path: &'a Path) -> BoxFuture<'a, Result<(), ConnectionError>> {
        let path = path.to_owned();
        self.on_disk(move || match fs::remove_dir(&path) {
            Ok(()) => Ok(()),
            Err(error)
                if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::DirectoryNotEmpty) =>
            {
                Ok(())
            }
            Err(error) => Err(error),
        })
        .boxed()
    }
}

async fn drain(stream: Option<impl AsyncReadExt + Unpin>) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if let Some(stream) = stream {
        stream.take(OUTPUT_MAX).read_to_end(&mut bytes).await?;
    }
    Ok(bytes)
}

fn read_small(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let file = match fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut bytes = Vec::new();
    io::Read::read_to_end(&mut io::Read::take(file, READ_MAX), &mut bytes)?;
    Ok(Some(bytes))
}

fn look(path: &Path) -> io::Result<Found> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_file() => Ok(Found::File { size: found.len() }),
        Ok(found) if found.is_dir() => Ok(Found::Directory),
        Ok(_) => Ok(Found::Other),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Found::Absent),
        Err(error) => Err(error),
    }
}

/// Deletes a tree, but refuses when something else is mounted below it.
fn remove_tree(path: &Path) -> io::Result<()> {
    match look(path)? {
        Found::Absent => Ok(()),
        Found::File { .. } | Found::Other => fs::remove_file(path),
        Found::Directory => {
            let device = fs::symlink_metadata(path)?.dev();
            refuse_mounts(path, device)?;
            fs::remove_dir_all(path)
        }
    }
}

fn refuse_mounts(root: &Path, device: u64) -> io::Result<()> {
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            let found = fs::symlink_metadata(&path)?;
            if found.dev() != device {
                let text = format!("{} is on another file system; it is not deleted", path.display());
                return Err(io::Error::other(text));
            }
            if found.is_dir() {
                folders.push(path);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn a_file_is_put_with_its_mode_and_read_back() {
        let folder = tempfile::tempdir().expect("a folder");
        let host = Local::new("here");
        let path = folder.path().join("a/b/key.pem");
        host.put(Source::Bytes(b"secret"), &path, 0o600).await.expect("written");
        assert_eq!(host.read(&path).await.expect("readable"), Some(b"secret".to_vec()));
        assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
        assert_eq!(host.stat(&path).await.expect("there"), Found::File { size: 6 });
        assert_eq!(host.stat(&folder.path().join("a")).await.expect("there"), Found::Directory);
        assert_eq!(fs::read_dir(path.parent().expect("a folder")).expect("listed").count(), 1);
    }

    #[tokio::test]
    async fn what_is_absent_reads_as_none_and_is_removed_without_fuss() {
        let folder = tempfile::tempdir().expect("a folder");
        let host = Local::new("here");
        let path = folder.path().join("nothing");
        assert_eq!(host.read(&path).await.expect("no error"), None);
        assert_eq!(host.stat(&path).await.expect("no error"), Found::Absent);
        host.remove(&path).await.expect("no error");
        host.remove_empty(&path).await.expect("no error");
    }

    #[tokio::test]
    async fn only_an_empty_folder_is_removed_as_empty() {
        let folder = tempfile::tempdir().expect("a folder");
        let host = Local::new("here");
        let inner = folder.path().join("inner");
        host.put(Source::Bytes(b""), &inner.join("file"), 0o644).await.expect("written");
        host.remove_empty(&inner).await.expect("left alone");
        assert_eq!(host.stat(&inner).await.expect("there"), Found::Directory);
        host.remove(&inner).await.expect("removed");
        assert_eq!(host.stat(&inner).await.expect("no error"), Found::Absent);
    }

    #[tokio::test]
    async fn commands_are_fed_heard_and_limited() {
        let host = Local::new("here");
        let mut command = Command::new("cat", &[]);
        command.input = b"words".to_vec();
        assert_eq!(host.run(&command).await.expect("it runs").stdout, b"words");
        let failing = host.run(&Command::new("sh", &["-c", "echo no >&2; exit 3"])).await.expect("it runs");
        assert_eq!((failing.code, failing.stderr.as_str()), (Some(3), "no\n"));
        let mut endless = Command::new("sleep", &["1000"]);
        endless.limit = Duration::from_millis(20);
        assert!(matches!(host.run(&endless).await, Err(ConnectionError::TooLong { .. })));
        assert!(matches!(
            host.run(&Command::new("no-such-program", &[])).await,
            Err(ConnectionError::Spawn { .. })
        ));
    }
}
