//! Repositories of modules in `.lustre/modules`: fetched with the system's git, hashed, compared with the lock file.
//!
//! No shell is involved, and everything that is given to git was checked by the language or is ours. Hooks, prompts,
//! submodules and transports other than those of the source are off.
//! Invariant: a folder appears under its name only when it is whole and fits what is locked.

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use fs_err as fs;
use lustre_language::{LOCK_FILE, Lock, Locked, Program, Remote};
use sha2::{Digest as _, Sha256};

use crate::command::said;
use crate::exit::Failure;

/// Longest that one call of git may take.
const GIT_TIME_MAX: Duration = Duration::from_secs(600);

/// How often git is looked at.
const GIT_LOOK_EVERY: Duration = Duration::from_millis(20);

/// Most bytes of git's complaints that are kept.
const ERRORS_BYTES_MAX: u64 = 64 << 10;

/// Most files of a repository.
const FILES_MAX: usize = 100_000;

/// Settings of git that no configuration of the user changes.
const SETTINGS: [&str; 6] = [
    "core.hooksPath=/dev/null",
    "protocol.allow=never",
    "protocol.https.allow=always",
    "protocol.ssh.allow=always",
    "protocol.file.allow=always",
    "core.autocrlf=false",
];

/// Reads the lock file; without one nothing is locked.
pub fn lock(root: &Path, program: &mut Program) -> Result<Lock, Failure> {
    let text = match fs::read_to_string(root.join(LOCK_FILE)) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Lock::default()),
        Err(error) => return Err(error.into()),
    };
    let (lock, found) = program.read_lock(&text);
    if found.has_errors() {
        return Err(Failure::Diagnosed { diagnostics: found, sources: Box::new(program.sources().clone()) });
    }
    Ok(lock)
}

/// Fetches a repository at the commit that is locked, or at what its ref leads to; returns what it is at.
pub fn fetch(root: &Path, remote: &Remote, locked: Option<&Locked>) -> Result<Locked, Failure> {
    let goal = root.join(&remote.folder);
    let parent = goal.parent().unwrap_or(root).to_owned();
    fs::create_dir_all(&parent)?;
    let scratch = parent.join(format!(".fetching-{}", std::process::id()));
    remove(&scratch)?;
    let fetched = fetch_into(&scratch, remote, locked);
    let placed = fetched.and_then(|now| {
        remove(&goal)?;
        fs::rename(&scratch, &goal)?;
        Ok(now)
    });
    remove(&scratch)?;
    placed
}

fn fetch_into(scratch: &Path, remote: &Remote, locked: Option<&Locked>) -> Result<Locked, Failure> {
    fs::create_dir(scratch)?;
    git(scratch, &["init", "--quiet"], remote)?;
    let reference = remote.reference.as_deref().unwrap_or("HEAD");
    let wanted = locked.map_or(reference, |locked| locked.commit.as_str());
    let shallow =
        ["fetch", "--quiet", "--depth=1", "--no-tags", "--no-recurse-submodules", "--", &remote.url, wanted];
    if let Err(error) = git(scratch, &shallow, remote) {
        // Not every server gives a commit by its name; all branches and tags hold what was locked.
        if locked.is_none() {
            return Err(error);
        }
        let refs = ["+refs/heads/*:refs/heads/fetched/*", "+refs/tags/*:refs/tags/*"];
        let all = ["fetch", "--quiet", "--no-recurse-submodules", "--", &remote.url, refs[0], refs[1]];
        git(scratch, &all, remote)?;
    }
    let at = if locked.is_some() { wanted } else { "FETCH_HEAD" };
    git(scratch, &["checkout", "--quiet", "--detach", at, "--"], remote)?;
    let commit = git(scratch, &["rev-parse", "--verify", "HEAD"], remote)?.trim().to_owned();
    remove(&scratch.join(".git"))?;
    let now = Locked { commit, hash: hash(scratch)? };
    match locked {
        Some(locked) if *locked != now => {
            let cause =
                format!("{} is not what {LOCK_FILE} says: its files hash to {}", remote.source, now.hash);
            Err(said(cause, Some("find out who changed it; `lustre init -upgrade` accepts it".to_owned())))
        }
        Some(_) | None => Ok(now),
    }
}

/// Runs git in a folder and returns what it prints.
fn git(folder: &Path, words: &[&str], remote: &Remote) -> Result<String, Failure> {
    let mut command = Command::new("git");
    for setting in SETTINGS {
        command.args(["-c", setting]);
    }
    command.arg("-C").arg(folder).args(words);
    command.env("GIT_TERMINAL_PROMPT", "0").env("GIT_LFS_SKIP_SMUDGE", "1");
    // A spec that is itself in a repository must not lend it to this one.
    for name in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_EXEC_PATH"] {
        command.env_remove(name);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let failed = |cause: String| {
        said(format!("{} cannot be fetched: {cause}", remote.source), Some(remedy(remote).to_owned()))
    };
    let mut child = command.spawn().map_err(|error| failed(format!("git cannot be run: {error}")))?;
    // Read meanwhile, so that git never waits for room.
    let errors = child.stderr.take().map(|errors| std::thread::spawn(move || limited(errors)));
    let begun = Instant::now();
    while child.try_wait()?.is_none() {
        if begun.elapsed() > GIT_TIME_MAX {
            child.kill()?;
            child.wait()?;
            return Err(failed(format!("git took longer than {} s", GIT_TIME_MAX.as_secs())));
        }
        std::thread::sleep(GIT_LOOK_EVERY);
    }
    let output = child.wait_with_output()?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let told = errors.and_then(|errors| errors.join().ok()).unwrap_or_default();
    let told = String::from_utf8_lossy(&told);
    let lines: Vec<&str> = told.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    Err(failed(lines.last().map_or("git failed", |line| *line).to_owned()))
}

/// Reads as much as is kept of what git complains about, and throws the rest away.
fn limited(mut errors: impl io::Read) -> Vec<u8> {
    let mut kept = Vec::new();
    // What could not be read is not shown; whether git failed its status says.
    let _read = io::Read::take(&mut errors, ERRORS_BYTES_MAX).read_to_end(&mut kept);
    let _rest = io::copy(&mut errors, &mut io::sink());
    kept
}

fn remedy(remote: &Remote) -> &'static str {
    match remote.reference {
        Some(_) => "check the URL, that you may read it, and that the ref exists",
        None => "check the URL, and that you may read it",
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        ended => ended,
    }
}

/// Returns the hash of all files below a folder: names, what links lead to, and contents, in the order of their paths.
pub fn hash(folder: &Path) -> io::Result<String> {
    let mut paths = Vec::new();
    let mut waiting = vec![PathBuf::new()];
    while let Some(inside) = waiting.pop() {
        for entry in fs::read_dir(folder.join(&inside))? {
            let entry = entry?;
            let path = inside.join(entry.file_name());
            if entry.file_type()?.is_dir() {
                waiting.push(path);
            } else {
                paths.push(path);
            }
            if paths.len() > FILES_MAX {
                let cause = format!("{} holds more than {FILES_MAX} files", folder.display());
                return Err(io::Error::other(cause));
            }
        }
    }
    paths.sort();
    let mut hash = Sha256::new();
    for path in paths {
        let full = folder.join(&path);
        let link = fs::symlink_metadata(&full)?.is_symlink();
        let content =
            if link { fs::read_link(&full)?.into_os_string().into_encoded_bytes() } else { fs::read(&full)? };
        let name = path.into_os_string().into_encoded_bytes();
        // Lengths keep two files from being read as one.
        for part in [name.as_slice(), &[u8::from(link)], content.as_slice()] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
    }
    Ok(format!("sha256:{}", hex::encode(hash.finalize())))
}
