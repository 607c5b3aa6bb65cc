//! `lustre init`: fetches the repositories that modules come from, and keeps the lock file.
//!
//! What is fetched is at the commit that the lock file says; with `-upgrade`, and where it says nothing, at what the ref
//! leads to now. Fetched repositories may name further ones.
//! Invariant: a folder of a repository is there wholly and as locked, or not at all.

use std::path::Path;

use lustre_language::{LOCK_FILE, Lock, Program, Remote};
use lustre_model::diagnostic::{Diagnostic, Diagnostics};
use lustre_plan::KINDS;

use super::migrate;
use crate::cli::{InitFlags, LockfileMode};
use crate::exit::{Failure, Success};
use crate::files::SpecFolders;
use crate::installed::{self, hash};
use crate::terminal::Terminal;

/// Most rounds of fetching: repositories that name repositories, so many deep.
const ROUNDS_MAX: usize = 32;

/// Fetches what is missing, or all with `-upgrade`.
pub fn run(flags: &InitFlags, terminal: Terminal) -> Result<Success, Failure> {
    let root = std::env::current_dir()?;
    let mut fetched: Vec<String> = Vec::new();
    let mut lock = Lock::default();
    for _ in 0..ROUNDS_MAX {
        let (mut program, _) = read(&root)?;
        let old = installed::lock(&root, &mut program)?;
        let new: Vec<Remote> =
            program.remotes().iter().filter(|it| !fetched.contains(&it.source)).cloned().collect();
        if new.is_empty() {
            let done = finish((&root, flags), (&old, &lock), terminal)?;
            return if flags.migrate_state {
                migrate::run(flags.lock.lock_timeout, terminal)
            } else {
                Ok(done)
            };
        }
        for remote in new {
            let known = old.0.get(&remote.source).filter(|_| !flags.upgrade);
            let there = root.join(&remote.folder);
            let locked = match known {
                Some(known) if there.is_dir() && hash(&there)? == known.hash => known.clone(),
                _ => {
                    terminal.say(&format!("Fetching {} …", remote.source));
                    installed::fetch(&root, &remote, known)?
                }
            };
            lock.0.insert(remote.source.clone(), locked);
            fetched.push(remote.source);
        }
    }
    Err(said(format!("repositories name each other more than {ROUNDS_MAX} deep"), None))
}

fn read(root: &Path) -> Result<(Program, Diagnostics), Failure> {
    let folders = SpecFolders::new(root.to_owned());
    Program::read(&folders, &KINDS).map_err(|error| Failure::File(std::io::Error::other(error)))
}

/// Writes the lock file when it changed, and says how things are.
fn finish(
    (root, flags): (&Path, &InitFlags),
    (old, new): (&Lock, &Lock),
    terminal: Terminal,
) -> Result<Success, Failure> {
    if old != new {
        if flags.lockfile == Some(LockfileMode::Readonly) {
            let changed = new.0.iter().filter(|(source, locked)| old.0.get(*source) != Some(*locked));
            let mut names: Vec<&str> = changed.map(|(source, _)| source.as_str()).collect();
            names.extend(old.0.keys().filter(|source| !new.0.contains_key(*source)).map(String::as_str));
            let cause = format!("{LOCK_FILE} does not fit the spec: {}", names.join(", "));
            return Err(said(
                cause,
                Some("run `lustre init` without -lockfile=readonly, and keep the file".to_owned()),
            ));
        }
        let path = root.join(LOCK_FILE);
        if new.0.is_empty() {
            fs_err::remove_file(path)?;
        } else {
            fs_err::write(path, new.render())?;
        }
    }
    let (program, found) = read(root)?;
    if found.has_errors() {
        return Err(Failure::Diagnosed { diagnostics: found, sources: Box::new(program.sources().clone()) });
    }
    if !flags.migrate_state {
        migrate::refuse_unmigrated()?;
    }
    match new.0.len() {
        0 => terminal.say("Nothing to fetch. The spec is ready."),
        1 => terminal.say("1 repository of modules is as locked. The spec is ready."),
        count => terminal.say(&format!("{count} repositories of modules are as locked. The spec is ready.")),
    }
    Ok(Success::Done)
}

/// Builds a failure of this command.
pub fn said(cause: String, hint: Option<String>) -> Failure {
    Failure::Said { cause, hint }
}

/// Reports repositories whose files are not as the lock file says.
pub fn verify(root: &Path, program: &mut Program) -> Result<Diagnostics, Failure> {
    let mut found = Diagnostics::new();
    if program.remotes().is_empty() {
        return Ok(found);
    }
    let lock = installed::lock(root, program)?;
    for remote in program.remotes() {
        let folder = root.join(&remote.folder);
        // What is not there was reported where it is named.
        if !folder.is_dir() {
            continue;
        }
        let wrong = match lock.0.get(&remote.source) {
            None => Some(format!("{} is not in {LOCK_FILE}", remote.source)),
            Some(locked) if hash(&folder)? != locked.hash => {
                Some(format!("the files of {} are not those of {LOCK_FILE}", remote.source))
            }
            Some(_) => None,
        };
        found.extend(wrong.map(|summary| {
            let hint =
                "Run `lustre init`, which fetches what is locked; with -upgrade, what the ref leads to now.";
            Diagnostic::error("E0251", summary).hint(hint).at(remote.span)
        }));
    }
    Ok(found)
}
