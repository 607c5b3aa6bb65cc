//! `lustre fmt`: files into canonical form, as `terraform fmt` does it.
//!
//! Which files, and what becomes of the result; the form itself is the language's. A file that cannot be formatted is told
//! and left as it is, and the others are formatted all the same.
//! Invariant: a file holds its old text or its new one, whatever happens meanwhile.

use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use fs_err as fs;
use fs_err::os::unix::fs::OpenOptionsExt as _;
use lustre_language::LOCK_FILE;
use lustre_model::diagnostic::{Diagnostic, Diagnostics, Sources};

use crate::cli::FmtFlags;
use crate::exit::{Failure, Success};
use crate::files;
use crate::terminal::Terminal;
use crate::view;

/// How standard input is given, and how it is called in messages.
const INPUT: (&str, &str) = ("-", "<stdin>");

/// Formats what the flags name.
pub fn run(flags: &FmtFlags, terminal: Terminal) -> Result<Success, Failure> {
    let input = flags.targets.iter().any(|target| target == Path::new(INPUT.0));
    if input && flags.targets.len() > 1 {
        return Err(Failure::InputAndFiles);
    }
    let mut run =
        Run { flags, terminal, differs: false, found: Diagnostics::new(), sources: Sources::default() };
    if input {
        let mut bytes = Vec::new();
        // One more than is taken, so that a longer text is refused and not cut.
        io::stdin().take(files::TEXT_MAX + 1).read_to_end(&mut bytes)?;
        match files::decoded(INPUT.1, bytes) {
            Ok(text) => run.text(None, INPUT.1, text),
            Err(error) => run.unusable(&error),
        }
    } else if flags.targets.is_empty() {
        run.folder(Path::new(""));
    } else {
        flags.targets.iter().for_each(|target| run.target(target));
    }
    if !run.found.is_empty() {
        return Err(Failure::Diagnosed { diagnostics: run.found, sources: Box::new(run.sources) });
    }
    Ok(if flags.check && run.differs { Success::FormattingDiffers } else { Success::Done })
}

struct Run<'a> {
    flags: &'a FmtFlags,
    terminal: Terminal,
    differs: bool,
    found: Diagnostics,
    sources: Sources,
}

impl Run<'_> {
    fn target(&mut self, given: &Path) {
        // `./a.hcl` and `.` are shown as the files are called from here.
        let path = given.strip_prefix(".").unwrap_or(given);
        match fs::metadata(given) {
            Ok(found) if found.is_dir() => self.folder(path),
            Ok(found) if found.is_file() && path.to_str().is_some_and(|name| name.ends_with(".hcl")) => {
                self.file(path);
            }
            Ok(_) => {
                let summary = format!("{} is not a file *.hcl", path.display());
                self.found.push(Diagnostic::error("E0961", summary).hint("Use `-` to format other text."));
            }
            Err(error) => self.unusable(&error),
        }
    }

    /// Formats the files of a folder, in the order of their names, and of those below it.
    fn folder(&mut self, path: &Path) {
        // A stack, because folders may be nested deeper than calls.
        let mut left = vec![(path.to_owned(), true)];
        while let Some((path, is_folder)) = left.pop() {
            if !is_folder {
                self.file(&path);
                continue;
            }
            match entries(&path) {
                Ok(found) => {
                    let wanted = |(_, is_folder): &(PathBuf, bool)| !is_folder || self.flags.recursive;
                    left.extend(found.into_iter().rev().filter(wanted));
                }
                Err(error) => self.unusable(&error),
            }
        }
    }

    fn file(&mut self, path: &Path) {
        match files::text(path) {
            Ok(text) => self.text(Some(path), &path.to_string_lossy(), text),
            Err(error) => self.unusable(&error),
        }
    }

    /// Formats a text; without a path it came from standard input, and the result goes to standard output.
    fn text(&mut self, path: Option<&Path>, name: &str, old: String) {
        let mut sources = Sources::default();
        // Only the texts of mistakes are kept.
        let id = sources.add(name, old.as_str());
        let new = match lustre_language::format(&sources, id) {
            Ok(new) => new,
            Err(_) => return self.refused(name, old),
        };
        let wanted = self.flags.result;
        let write = wanted.write && !self.flags.check && path.is_some();
        let list = wanted.list && path.is_some();
        if old == new {
            if !write && !list && !wanted.diff && !self.flags.check {
                self.terminal.say_raw(&new);
            }
            return;
        }
        self.differs = true;
        if let Some(path) = path.filter(|_| write)
            && let Err(error) = replace(path, &new)
        {
            return self.unusable(&error);
        }
        if list {
            self.terminal.say(name);
        }
        if wanted.diff {
            self.terminal.say_raw(&view::fmt::diff(name, (&old, &new), self.terminal.out_colour()));
        } else if !write && !list && !self.flags.check {
            self.terminal.say_raw(&new);
        }
    }

    fn refused(&mut self, name: &str, text: String) {
        let id = self.sources.add(name, text);
        if let Err(found) = lustre_language::format(&self.sources, id) {
            self.found.extend(found);
        }
    }

    /// Tells that a file or folder cannot be read or written; the error names it.
    fn unusable(&mut self, error: &io::Error) {
        let found = Diagnostic::error("E0962", "a file or folder cannot be used").detail(format!("{error}."));
        self.found.push(found);
    }
}

/// Returns files *.hcl and folders, sorted, and whether each is a folder. What is hidden is left out, the lock file, which no
/// person writes, and symbolic links to folders.
fn entries(folder: &Path) -> io::Result<Vec<(PathBuf, bool)>> {
    let here = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let mut found = Vec::new();
    for entry in fs::read_dir(here)? {
        let entry = entry?;
        let name = entry.file_name();
        // A name that is not UTF-8 cannot end as ours do; a folder may have one.
        let text = name.to_string_lossy();
        if text.starts_with('.') || text == LOCK_FILE {
            continue;
        }
        let kind = entry.file_type()?;
        let is_file = || kind.is_file() || kind.is_symlink() && entry.path().is_file();
        if kind.is_dir() || text.ends_with(".hcl") && is_file() {
            found.push((folder.join(&name), kind.is_dir()));
        }
    }
    found.sort();
    Ok(found)
}

/// Puts a text in the place of a file: written beside it, made durable, renamed over it. The mode stays.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    // The file behind a symbolic link is replaced, not the link.
    let path = fs::canonicalize(path)?;
    // Renaming asks nobody whether the old file may be written.
    let old = fs::OpenOptions::new().write(true).open(&path)?;
    let permissions = old.metadata()?.permissions();
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let beside = path.with_file_name(format!(".{name}.{}.new", std::process::id()));
    let write = || {
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
        file.write_all(text.as_bytes())?;
        file.set_permissions(permissions)?;
        file.sync_all()?;
        fs::rename(&beside, &path)
    };
    let written = write();
    if written.is_err() {
        // The first error is the one to tell.
        let _gone = fs::remove_file(&beside);
    }
    written?;
    // The rename is durable only with its folder.
    fs::File::open(path.parent().unwrap_or(Path::new("/")))?.sync_all()
}
