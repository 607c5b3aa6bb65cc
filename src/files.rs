//! The files of a spec's folder and of its modules: which there are, and what functions of the language may read.
//!
//! Understands nothing of what is in them.
//! Invariant: files are read in the order of their names, and each once; no file of a module lies, behind symbolic links,
//! outside of the folders that the spec spans.

use std::borrow::Cow;
use std::cell::RefCell;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use fs_err as fs;
use lustre_language::{
    Applying, Entry, EntryKind, FolderError, Folders, INSTALLED, Moment, NOT_SPEC, World as Outside,
    WorldError,
};
use lustre_model::recorded::World;
use lustre_model::resource::{Attributes, CloudQuestion};
use lustre_store::{Seal, SealError, StoreError, sealed_under};

use crate::clock;
use crate::exit::chain;
use crate::wiring;

/// The file of values that is read when it is there.
const VARS: &str = "lustre.vars.hcl";

/// The end of names of further files of values.
const AUTO_VARS: &str = ".auto.vars.hcl";

/// The end of names of test files.
const TEST: &str = ".test.hcl";

/// Largest text that is read.
pub const TEXT_MAX: u64 = 64 << 20;

/// Most entries of a folder that are listed.
const ENTRIES_MAX: usize = 100_000;

/// A file's name and its text.
pub type Text = (String, String);

fn is_spec(name: &str) -> bool {
    name.ends_with(".hcl") && !NOT_SPEC.iter().any(|end| name.ends_with(end))
}

/// Reads the test files of a folder, by path from the spec's.
pub fn tests(folder: &str) -> io::Result<Vec<Text>> {
    let here = if folder.is_empty() { Path::new(".") } else { Path::new(folder) };
    let found = named(here, |name| name.ends_with(TEST))?;
    let path = |name: String| if folder.is_empty() { name } else { format!("{folder}/{name}") };
    Ok(found.into_iter().map(|(name, text)| (path(name), text)).collect())
}

/// Reads the files of values that need not be named: `lustre.vars.hcl`, then `*.auto.vars.hcl`.
pub fn values(folder: &Path) -> io::Result<Vec<Text>> {
    let mut texts = named(folder, |name| name == VARS)?;
    texts.extend(named(folder, |name| name.ends_with(AUTO_VARS))?);
    Ok(texts)
}

/// Returns the files of values that Terraform would read unasked, and we do not.
pub fn unread_values(folder: &Path) -> io::Result<Vec<String>> {
    names(folder, |name| {
        let name = name.trim_end_matches(".json");
        name == "terraform.tfvars" || name.ends_with(".auto.tfvars")
    })
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
    let mut bytes = Vec::new();
    let mut limited = io::Read::take(file, TEXT_MAX + 1);
    io::Read::read_to_end(&mut limited, &mut bytes)?;
    if bytes.len() as u64 > TEXT_MAX {
        return Err(io::Error::other(format!("{} is larger than {TEXT_MAX} bytes", path.display())));
    }
    decoded(&path.display().to_string(), bytes)
}

/// Returns bytes as text; where they are none the error says in which line, by the name they are known by.
pub fn decoded(name: &str, bytes: Vec<u8>) -> io::Result<String> {
    String::from_utf8(bytes).map_err(|error| {
        let good = error.as_bytes().get(..error.utf8_error().valid_up_to()).unwrap_or_default();
        let last = good.rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
        let line = good.iter().filter(|byte| **byte == b'\n').count() + 1;
        let column = String::from_utf8_lossy(last).chars().count() + 1;
        let said = format!("{name}:{line}:{column} is not UTF-8; save the file in that encoding");
        io::Error::new(io::ErrorKind::InvalidData, said)
    })
}

/// The real files around a spec.
#[derive(Debug, Clone)]
pub struct Folder {
    root: PathBuf,
    planned_at: Moment,
    /// Whether other states are read.
    online: bool,
    keys: Keys,
}

/// The keys of the spec, once they are known: other states may be encrypted under them too.
#[derive(Clone, Default)]
struct Keys(Arc<OnceLock<Arc<dyn Seal>>>);

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys")
    }
}

impl Seal for Keys {
    fn seal<'a>(&self, plain: &'a [u8], _about: &[u8]) -> Result<Cow<'a, [u8]>, SealError> {
        Ok(Cow::Borrowed(plain))
    }

    /// Another deployment's state is as that deployment has it, whatever is demanded of ours.
    fn unseal<'a>(&self, sealed: &'a [u8], about: &[u8]) -> Result<Cow<'a, [u8]>, SealError> {
        match (sealed_under(sealed)?, self.0.get()) {
            (Some(_), Some(keys)) => keys.unseal(sealed, about),
            (Some(key), None) => Err(SealError::Unexpected { key }),
            (None, _) => Ok(Cow::Borrowed(sealed)),
        }
    }
}

impl Folder {
    /// Takes relative paths from here; the plan's time is now.
    pub fn new(root: PathBuf) -> Self {
        Self { root, planned_at: clock::moment(), online: true, keys: Keys::default() }
    }

    /// Reads other states under these keys too, here and in all copies.
    pub fn read_under(&self, keys: Arc<dyn Seal>) {
        // Who is asked again has the same keys.
        let _known = self.keys.0.set(keys);
    }

    /// Reads no other state.
    pub fn offline(self) -> Self {
        Self { online: false, ..self }
    }
}

/// Says what an entry of a folder counts as; `inside` is the folder without symbolic links.
fn entry_kind(path: &Path, inside: &Path) -> io::Result<Option<EntryKind>> {
    let found = fs::symlink_metadata(path)?;
    if found.is_dir() {
        return Ok(Some(EntryKind::Folder));
    }
    let is_file = if found.is_symlink() {
        // A link that leads nowhere, or out of the folder, is as good as not there.
        fs::canonicalize(path).is_ok_and(|target| target.starts_with(inside) && target.is_file())
    } else {
        found.is_file()
    };
    Ok(is_file.then_some(EntryKind::File))
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
        // A repository spans its own folder only.
        if let Some(inside) = folder.strip_prefix(INSTALLED).and_then(|rest| rest.strip_prefix('/')) {
            let own = inside.split('/').next().unwrap_or_default();
            return Ok(spanned.join(INSTALLED).join(own));
        }
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
    fn has(&self, folder: &str) -> bool {
        self.root.join(folder).is_dir()
    }

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

/// Says why another deployment's state cannot be read.
fn unreadable(error: &StoreError) -> String {
    let StoreError::Unseal { source: SealError::Unexpected { key }, .. } = error else { return chain(error) };
    format!(
        "it is encrypted under the key \"{key}\"; `data` reads it when the spec has that key and names it in `previous` of \
         `state` in `encryption`"
    )
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
            Ok(found) if found.is_file() => Ok(true),
            Ok(_) => Err(WorldError::NotRegular),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(refused(&error)),
        }
    }

    fn list_folder(&self, path: &str) -> Result<Vec<Entry>, WorldError> {
        let folder = self.root.join(path);
        let inside = fs::canonicalize(&folder).map_err(|error| refused(&error))?;
        let mut entries = Vec::new();
        for entry in fs::read_dir(&folder).map_err(|error| refused(&error))? {
            let entry = entry.map_err(|error| refused(&error))?;
            let kind = entry_kind(&entry.path(), &inside).map_err(|error| refused(&error))?;
            // A name that is not UTF-8 cannot be written in a spec.
            let name = entry.file_name().into_string().ok();
            entries.extend(name.zip(kind).map(|(name, kind)| Entry { name, kind }));
            if entries.len() > ENTRIES_MAX {
                return Err(WorldError::TooMany { limit: ENTRIES_MAX });
            }
        }
        entries.sort();
        Ok(entries)
    }

    fn planned_at(&self) -> Option<Moment> {
        Some(self.planned_at)
    }

    fn applying(&self) -> Option<Applying> {
        None
    }

    fn read_state(&self, path: &str) -> Result<World, WorldError> {
        if !self.online {
            return Err(WorldError::Offline);
        }
        let damaged = |error: StoreError| WorldError::Damaged(unreadable(&error));
        let read =
            lustre_store::read(&lustre_store::Folder, &self.root.join(path), &self.keys).map_err(damaged)?;
        match read.recovery {
            lustre_store::Recovery::Absent => Err(WorldError::NotFound),
            lustre_store::Recovery::Clean | lustre_store::Recovery::Replayed { .. } => Ok(read.world),
        }
    }

    fn read_cloud(&self, question: &CloudQuestion) -> Result<Attributes, WorldError> {
        if !self.online {
            return Err(WorldError::Offline);
        }
        wiring::cloud::find(question).map_err(WorldError::Cloud)
    }

    fn working_folder(&self) -> String {
        self.root.to_string_lossy().into_owned()
    }

    fn home_folder(&self) -> Option<String> {
        std::env::var("HOME").ok().filter(|home| !home.is_empty())
    }
}

/// Refuses to write over a spec or a state: who names one as the file of a result mistyped.
pub fn spare(path: &Path) -> io::Result<()> {
    let is_spec = path.extension().is_some_and(|extension| extension == "hcl") && path.exists();
    let holds_state = || {
        let mut head = [0; lustre_store::STATE_BEGIN.len()];
        let file = fs::File::open(path).ok().filter(|_| path.is_file());
        let read = file.is_some_and(|mut file| io::Read::read_exact(&mut file, &mut head).is_ok());
        read && head == *lustre_store::STATE_BEGIN
    };
    let what = if is_spec {
        "a spec"
    } else if holds_state() {
        "a state of lustre"
    } else {
        return Ok(());
    };
    let cause = format!("{} is {what}, which would be lost; name another file", path.display());
    Err(io::Error::new(io::ErrorKind::AlreadyExists, cause))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_listed_in_order_and_no_link_leads_out() {
        let around = tempfile::tempdir().unwrap();
        let root = around.path().join("spec");
        fs::create_dir_all(root.join("b/inner")).unwrap();
        fs::write(root.join("b/z.txt"), "z").unwrap();
        fs::write(root.join("b/a.txt"), "a").unwrap();
        fs::write(around.path().join("secret"), "s").unwrap();
        let link =
            |target: &str, name: &str| std::os::unix::fs::symlink(target, root.join("b").join(name)).unwrap();
        link("a.txt", "good");
        link("../../secret", "out");
        link("/", "root");
        link("inner", "folder");
        link("nowhere", "broken");
        let folder = Folder::new(root);
        let listed = folder.list_folder("b").unwrap();
        let names: Vec<(&str, EntryKind)> = listed.iter().map(|it| (it.name.as_str(), it.kind)).collect();
        let file = EntryKind::File;
        assert_eq!(names, [("a.txt", file), ("good", file), ("inner", EntryKind::Folder), ("z.txt", file)]);
        assert_eq!(folder.list_folder("gone"), Err(WorldError::NotFound));
        assert_eq!(folder.file_exists("b"), Err(WorldError::NotRegular));
        assert!(folder.planned_at().is_some());
        assert!(folder.applying().is_none());
    }
}
