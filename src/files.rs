//! The files of a spec's folder and of its modules: which there are, and what functions of the language may read.
//!
//! Understands nothing of what is in them.
//! Invariant: files are read in the order of their names, and each once; no file of a module lies, behind symbolic links,
//! outside of the folders that the spec spans.

use std::cell::RefCell;
use std::io;
use std::path::{Path, PathBuf};

use fs_err as fs;
use lustre_language::{FolderError, Folders, World as Outside, WorldError};
use lustre_model::recorded::World;

/// Ends of names that are not part of a spec.
const NOT_SPEC: &[&str] = &[".vars.hcl", ".test.hcl"];

/// The file of values that is read when it is there.
const VARS: &str = "lustre.vars.hcl";

/// The end of names of further files of values.
const AUTO_VARS: &str = ".auto.vars.hcl";

/// Largest text that is read.
const TEXT_MAX: u64 = 64 << 20;

/// A file's name and its text.
pub type Text = (String, String);

fn is_spec(name: &str) -> bool {
    name.ends_with(".hcl") && !NOT_SPEC.iter().any(|end| name.ends_with(end))
}

/// Reads the files of values that need not be named: `lustre.vars.hcl`, then `*.auto.vars.hcl`.
pub fn values(folder: &Path) -> io::Result<Vec<Text>> {
    let mut texts = named(folder, |name| name == VARS)?;
    texts.extend(named(folder, |name| name.ends_with(AUTO_VARS))?);
    Ok(texts)
}

fn named(folder: &Path, wanted: impl Fn(&str) -> bool) -> io::Result<Vec<Text>> {
    names(folder, wanted)?.into_iter().map(|name| Ok((name.clone(), text(&folder.join(&name))?))).collect()
}

fn names(folder: &Path, wanted: impl Fn(&str) -> bool) -> io::Result<Vec<String>> {
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
    Ok(names)
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
    /// Whether other states are read.
    online: bool,
}

impl Folder {
    /// Takes relative paths from here.
    pub fn new(root: PathBuf) -> Self {
        Self { root, online: true }
    }

    /// Reads no other state.
    pub fn offline(self) -> Self {
        Self { online: false, ..self }
    }
}

/// The folders of a spec on this machine, and what was read of them.
#[derive(Debug)]
pub struct SpecFolders {
    root: PathBuf,
    read: RefCell<Vec<Text>>,
}

impl SpecFolders {
    /// Takes folders from here.
    pub fn new(root: PathBuf) -> Self {
        Self { root, read: RefCell::default() }
    }

    /// Returns every file that was read, by path from the spec's folder, in the order in which it was read.
    pub fn into_texts(self) -> Vec<Text> {
        self.read.into_inner()
    }

    /// Returns the folder in which everything lies that a module's folder may lead to: the spec's own, or above it as
    /// many as the module's path goes up.
    fn spanned(&self, folder: &str) -> io::Result<PathBuf> {
        let mut spanned = fs::canonicalize(&self.root)?;
        for _ in folder.split('/').filter(|part| *part == "..") {
            spanned.pop();
        }
        Ok(spanned)
    }

    fn inside(&self, folder: &str, path: &Path) -> Result<(), FolderError> {
        let refused = |error: io::Error| refused_folder(path, &error);
        let real = fs::canonicalize(path).map_err(refused)?;
        if folder == "." || real.starts_with(self.spanned(folder).map_err(refused)?) {
            return Ok(());
        }
        let target = real.display().to_string();
        Err(FolderError::Outside { path: shown(&self.root, path), target })
    }
}

/// A path as the spec's folder sees it.
fn shown(root: &Path, path: &Path) -> String {
    path.strip_prefix(root).unwrap_or(path).display().to_string()
}

fn refused_folder(path: &Path, error: &io::Error) -> FolderError {
    FolderError::Refused { path: path.display().to_string(), cause: error.kind().to_string() }
}

impl Folders for SpecFolders {
    fn files(&self, folder: &str) -> Result<Vec<Text>, FolderError> {
        let place = if folder == "." { self.root.clone() } else { self.root.join(folder) };
        if !place.is_dir() {
            return Err(FolderError::NotFound(folder.to_owned()));
        }
        self.inside(folder, &place)?;
        let names = names(&place, is_spec).map_err(|error| refused_folder(&place, &error))?;
        if names.is_empty() && folder != "." {
            return Err(FolderError::Empty(folder.to_owned()));
        }
        let mut texts = Vec::new();
        for name in names {
            let file = place.join(&name);
            self.inside(folder, &file)?;
            let text = text(&file).map_err(|error| FolderError::Refused {
                path: shown(&self.root, &file),
                cause: error.to_string(),
            })?;
            let path = if folder == "." { name } else { format!("{folder}/{name}") };
            texts.push((path, text));
        }
        self.read.borrow_mut().extend(texts.iter().cloned());
        Ok(texts)
    }
}

fn refused(error: &io::Error) -> WorldError {
    let kind = error.kind();
    if kind == io::ErrorKind::NotFound { WorldError::NotFound } else { WorldError::Refused(kind) }
}

impl Outside for Folder {
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

    fn read_state(&self, path: &str) -> Result<World, WorldError> {
        if !self.online {
            return Err(WorldError::Offline);
        }
        let damaged = |error: lustre_store::StoreError| WorldError::Damaged(error.to_string());
        let read = lustre_store::read(&lustre_store::Folder, &self.root.join(path)).map_err(damaged)?;
        match read.recovery {
            lustre_store::Recovery::Absent => Err(WorldError::NotFound),
            lustre_store::Recovery::Clean | lustre_store::Recovery::Replayed { .. } => Ok(read.world),
        }
    }

    fn working_folder(&self) -> String {
        self.root.to_string_lossy().into_owned()
    }

    fn home_folder(&self) -> Option<String> {
        std::env::var("HOME").ok().filter(|home| !home.is_empty())
    }
}
