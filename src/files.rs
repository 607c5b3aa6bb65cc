//! The files of a spec's folder: which there are, and what functions of the language may read.
//!
//! Understands nothing of what is in them.
//! Invariant: files are read in the order of their names, and each once.

use std::io;
use std::path::{Path, PathBuf};

use fs_err as fs;
use lustre_language::{World, WorldError};

/// Ends of names that are not part of a spec.
const NOT_SPEC: &[&str] = &[".vars.hcl", ".test.hcl"];

/// The file of values that is read when it is there.
const VARS: &str = "lustre.vars.hcl";

/// The end of names of further files of values.
const AUTO_VARS: &str = ".auto.vars.hcl";

/// Largest text that is read.
pub const TEXT_MAX: u64 = 64 << 20;

/// A file's name and its text.
pub type Text = (String, String);

/// Reads every file of the spec in a folder.
pub fn spec(folder: &Path) -> io::Result<Vec<Text>> {
    let is_spec = |name: &str| name.ends_with(".hcl") && !NOT_SPEC.iter().any(|end| name.ends_with(end));
    named(folder, is_spec)
}

/// Reads the files of values that need not be named: `lustre.vars.hcl`, then `*.auto.vars.hcl`.
pub fn values(folder: &Path) -> io::Result<Vec<Text>> {
    let mut texts = named(folder, |name| name == VARS)?;
    texts.extend(named(folder, |name| name.ends_with(AUTO_VARS))?);
    Ok(texts)
}

fn named(folder: &Path, wanted: impl Fn(&str) -> bool) -> io::Result<Vec<Text>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        // A name that is not UTF-8 cannot end as ours do.
        if let Some(name) = name.to_str().filter(|name| !name.starts_with('.') && wanted(name)) {
            names.push(name.to_owned());
        }
    }
    names.sort();
    names.into_iter().map(|name| Ok((name.clone(), text(&folder.join(&name))?))).collect()
}

/// Reads a text; one that is too large or not UTF-8 is an error that names it.
pub fn text(path: &Path) -> io::Result<String> {
    let file = fs::File::open(path)?;
    let mut text = String::new();
    let mut limited = io::Read::take(file, TEXT_MAX + 1);
    io::Read::read_to_string(&mut limited, &mut text)
        .map_err(|source| io::Error::new(source.kind(), format!("{}: {source}", path.display())))?;
    if text.len() as u64 > TEXT_MAX {
        return Err(io::Error::other(format!("{} is larger than {TEXT_MAX} bytes", path.display())));
    }
    Ok(text)
}

/// The real files around a spec.
#[derive(Debug, Clone)]
pub struct Folder {
    root: PathBuf,
}

impl Folder {
    /// Takes relative paths from here.
    pub fn new(root: PathBuf) -> Self {
        Self { root }
    }
}

fn refused(error: &io::Error) -> WorldError {
    let kind = error.kind();
    if kind == io::ErrorKind::NotFound { WorldError::NotFound } else { WorldError::Refused(kind) }
}

impl World for Folder {
    fn read_file(&self, path: &str) -> Result<Vec<u8>, WorldError> {
        let file = fs::File::open(self.root.join(path)).map_err(|error| refused(&error))?;
        let mut bytes = Vec::new();
        io::Read::read_to_end(&mut io::Read::take(file, TEXT_MAX + 1), &mut bytes)
            .map_err(|error| refused(&error))?;
        if bytes.len() as u64 > TEXT_MAX { Err(WorldError::TooLarge { limit: TEXT_MAX }) } else { Ok(bytes) }
    }

    fn file_exists(&self, path: &str) -> Result<bool, WorldError> {
        match fs::metadata(self.root.join(path)) {
            Ok(found) => Ok(found.is_file()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(refused(&error)),
        }
    }

    fn working_folder(&self) -> String {
        self.root.to_string_lossy().into_owned()
    }

    fn home_folder(&self) -> Option<String> {
        std::env::var("HOME").ok().filter(|home| !home.is_empty())
    }
}
