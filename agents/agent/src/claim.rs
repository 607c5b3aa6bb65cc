//! Who owns which folder: making a target's folder before it starts, and deleting what a process made when it goes.
//!
//! Never deletes by name or by guess: only what was noted before it was made (`ProcessDir::creates`, and the folders noted
//! here).
//! Invariant: a file that no process of ours noted as its own survives every removal.

use std::collections::BTreeSet;
use std::io::{self, ErrorKind};
use std::path::{Component, Path, PathBuf};

use lustre_model::control::ProcessSpec;
use thiserror::Error;
use tracing::warn;

use crate::durable;
use crate::process_dir::{ProcessDir, ProcessDirError};

/// The file in a target's folder that names its owner.
pub(crate) const MARKER: &str = ".lustre-target";

/// Most bytes of a marker that are read.
const MARKER_MAX: usize = 4096;

/// A folder cannot be used.
#[derive(Debug, Error)]
pub enum ClaimError {
    /// It must be named from the root, without detours.
    #[error("{} is not an absolute path without \".\" and \"..\"", .path.display())]
    Path {
        /// Which.
        path: PathBuf,
    },
    /// Something else is there.
    #[error("{} is not empty and not a folder of {owner}", .path.display())]
    Foreign {
        /// Where.
        path: PathBuf,
        /// Who wants it.
        owner: String,
    },
    /// Another target owns it.
    #[error("{} belongs to {owner}", .path.display())]
    Owned {
        /// Where.
        path: PathBuf,
        /// Whose it is.
        owner: String,
    },
    /// It is no folder.
    #[error("{} is not a folder", .path.display())]
    NotFolder {
        /// Where.
        path: PathBuf,
    },
    /// The system refuses.
    #[error("cannot use the folder")]
    Io {
        /// Which, and why.
        #[source]
        source: io::Error,
    },
    /// What is made cannot be noted.
    #[error("cannot note what is made")]
    Note {
        /// Why.
        #[source]
        source: ProcessDirError,
    },
}

impl From<io::Error> for ClaimError {
    fn from(source: io::Error) -> Self {
        Self::Io { source }
    }
}

impl From<ProcessDirError> for ClaimError {
    fn from(source: ProcessDirError) -> Self {
        Self::Note { source }
    }
}

/// Returns the folder that a process works on.
pub(crate) fn folder_of(spec: &ProcessSpec) -> Option<&Path> {
    match spec {
        ProcessSpec::Metadata { path, .. }
        | ProcessSpec::Object { path, .. }
        | ProcessSpec::Mount { path, .. }
        | ProcessSpec::Bucket { path, .. } => Some(Path::new(path)),
        ProcessSpec::Mover { .. } => None,
    }
}

/// Refuses paths that do not mean the same from everywhere.
pub(crate) fn check_path(path: &Path) -> Result<(), ClaimError> {
    let plain = path.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
    if path.is_absolute() && plain { Ok(()) } else { Err(ClaimError::Path { path: path.to_owned() }) }
}

/// Checks that `owner` may have this folder: it is absent, empty, or already its own. Changes nothing.
pub(crate) fn check_target(path: &Path, owner: &str) -> Result<(), ClaimError> {
    check_path(path)?;
    if !is_folder(path)? {
        return Ok(());
    }
    if let Some(marker) = durable::read(&path.join(MARKER))? {
        let text = String::from_utf8_lossy(&marker[..marker.len().min(MARKER_MAX)]);
        let found = text.trim();
        if found == owner {
            return Ok(());
        }
        return Err(ClaimError::Owned { path: path.to_owned(), owner: found.to_owned() });
    }
    // A marker that was being written when the power failed makes the folder no less empty.
    let unfinished = format!("{MARKER}.new");
    for entry in fs_err::read_dir(path)? {
        if entry?.file_name() != unfinished.as_str() {
            return Err(ClaimError::Foreign { path: path.to_owned(), owner: owner.to_owned() });
        }
    }
    Ok(())
}

/// Says whether there is a folder; something else there is an error.
pub(crate) fn is_folder(path: &Path) -> Result<bool, ClaimError> {
    match fs_err::metadata(path) {
        Ok(found) if found.is_dir() => Ok(true),
        Ok(_) => Err(ClaimError::NotFolder { path: path.to_owned() }),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) if error.kind() == ErrorKind::NotADirectory => {
            Err(ClaimError::NotFolder { path: path.to_owned() })
        }
        Err(error) => Err(error.into()),
    }
}

/// Makes ready what the process needs to find: a target's folder with its marker, a mount's empty folder.
pub(crate) fn claim(dir: &ProcessDir, spec: &ProcessSpec) -> Result<(), ClaimError> {
    match spec {
        ProcessSpec::Metadata { target, path, .. } | ProcessSpec::Object { target, path, .. } => {
            let (path, owner) = (Path::new(path), target.to_string());
            check_target(path, &owner)?;
            make_folders(dir, path)?;
            let marker = path.join(MARKER);
            dir.creates(&marker)?;
            // At every start: a disk that has filled since must not keep the target from it.
            if marker.exists() {
                return Ok(());
            }
            Ok(durable::write(&marker, format!("{owner}\n").as_bytes())?)
        }
        ProcessSpec::Mount { path, .. } => {
            check_path(Path::new(path))?;
            // A mount in place shows the cluster's root, and asking it may hang: it is looked up in the table instead.
            if crate::mounts::at(Path::new(path))?.is_none() {
                make_folders(dir, Path::new(path))?;
            }
            Ok(())
        }
        ProcessSpec::Bucket { path, .. } => check_path(Path::new(path)),
        ProcessSpec::Mover { .. } => Ok(()),
    }
}

/// Makes a folder and those above it, noting each before it is made. Folders above that were made for a neighbour are
/// noted too, so that whichever of them ends last removes them.
fn make_folders(dir: &ProcessDir, path: &Path) -> Result<(), ClaimError> {
    let (mut missing, mut present) = (Vec::new(), Vec::new());
    for ancestor in path.ancestors() {
        if !present.is_empty() || is_folder(ancestor)? {
            present.push(ancestor);
        } else {
            missing.push(ancestor);
        }
    }
    let of_neighbours = made_for_neighbours(dir)?;
    for folder in present.into_iter().rev().filter(|folder| of_neighbours.contains(*folder)) {
        dir.makes_folder(folder)?;
    }
    for folder in missing.into_iter().rev() {
        dir.makes_folder(folder)?;
        match fs_err::create_dir(folder) {
            Ok(()) => durable::sync_parent(folder)?,
            // Another process's claim made it meanwhile; who finds it empty at its end removes it.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Folders that were made for the other processes of this agent.
fn made_for_neighbours(dir: &ProcessDir) -> Result<BTreeSet<PathBuf>, ClaimError> {
    let Some(processes) = dir.path().parent() else { return Ok(BTreeSet::new()) };
    let mut made = BTreeSet::new();
    for entry in fs_err::read_dir(processes)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            made.extend(ProcessDir::new(entry.path()).made_folders()?);
        }
    }
    Ok(made)
}

/// Deletes what the process noted as created, then the folders made for it that are empty.
pub(crate) fn erase(dir: &ProcessDir, spec: &ProcessSpec) -> Result<(), ClaimError> {
    for path in dir.created()?.iter().rev() {
        if !belongs(path, spec) {
            warn!(path = %path.display(), "left alone: a process noted it outside its own folder");
            continue;
        }
        delete(path)?;
    }
    for folder in dir.made_folders()?.iter().rev() {
        match fs_err::remove_dir(folder) {
            Ok(()) => settle_removal(folder)?,
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::DirectoryNotEmpty) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// A process may only call its own what lies inside its folder, no symbolic link on the way, or is its credentials file.
fn belongs(path: &Path, spec: &ProcessSpec) -> bool {
    if let ProcessSpec::Bucket { credentials_file, .. } = spec
        && path == Path::new(credentials_file)
    {
        return true;
    }
    let (Some(folder), Some(parent)) = (folder_of(spec), path.parent()) else { return false };
    let plain = check_path(path).is_ok();
    let real = |path: &Path| fs_err::canonicalize(path).ok();
    plain
        && match (real(folder), real(parent)) {
            (Some(folder), Some(parent)) => parent.starts_with(folder),
            // What is gone needs no deleting.
            (None, _) | (_, None) => path.starts_with(folder) && path != folder,
        }
}

/// Makes the removal of a folder durable. Its parent may be gone too: another process's removal that came after it, or waits
/// for nothing but this, takes the folders that both were made in.
fn settle_removal(path: &Path) -> io::Result<()> {
    match durable::sync_parent(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        settled => settled,
    }
}

fn delete(path: &Path) -> io::Result<()> {
    let found = match fs_err::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(()),
        Err(error) => return Err(error),
    };
    if found.is_dir() {
        fs_err::remove_dir_all(path)?;
        settle_removal(path)
    } else {
        durable::remove(path)
    }
}

#[cfg(test)]
mod tests {
    use lustre_model::control::Compression;
    use lustre_model::id::{TargetId, TargetKind};
    use lustre_model::layout::OstIndex;

    use super::*;

    fn object(path: &Path, index: u16) -> ProcessSpec {
        ProcessSpec::Object {
            target: TargetId { fs_name: "scratch".parse().unwrap(), kind: TargetKind::Ost, index },
            index: OstIndex(index),
            path: path.to_str().unwrap().to_owned(),
            listen: "127.0.0.1:1".to_owned(),
            capacity: 1,
            compression: Compression::None,
        }
    }

    fn process(root: &Path, name: &str) -> ProcessDir {
        let path = root.join(name);
        durable::create_dir(&path).unwrap();
        ProcessDir::new(path)
    }

    #[test]
    fn removal_deletes_what_was_made_and_nothing_else() {
        let root = tempfile::tempdir().unwrap();
        let (one, two) = (process(root.path(), "p1"), process(root.path(), "p2"));
        let base = root.path().join("srv/ost");
        let (first, second) = (object(&base.join("0"), 0), object(&base.join("1"), 1));
        claim(&one, &first).unwrap();
        claim(&two, &second).unwrap();
        for (dir, path) in [(&one, base.join("0")), (&two, base.join("1"))] {
            dir.creates(&path.join("objects")).unwrap();
            fs_err::create_dir_all(path.join("objects/a/b")).unwrap();
            fs_err::write(path.join("objects/a/b/c"), "bytes").unwrap();
        }
        fs_err::write(base.join("0/notes.txt"), "of the operator").unwrap();
        erase(&one, &first).unwrap();
        assert_eq!(fs_err::read(base.join("0/notes.txt")).unwrap(), b"of the operator");
        assert!(!base.join("0/objects").exists() && base.join("1/objects/a/b/c").exists());
        erase(&two, &second).unwrap();
        assert!(!base.join("1").exists() && base.join("0").exists());
        fs_err::remove_file(base.join("0/notes.txt")).unwrap();
        erase(&one, &first).unwrap();
        assert!(!root.path().join("srv").exists(), "folders that were made go when they are empty");
        erase(&one, &first).unwrap();
    }

    #[test]
    fn the_last_target_out_removes_the_folder_that_the_first_one_made() {
        let root = tempfile::tempdir().unwrap();
        let (one, two) = (process(root.path(), "one"), process(root.path(), "two"));
        let base = root.path().join("srv/ost");
        let (first, second) = (object(&base.join("0"), 0), object(&base.join("1"), 1));
        claim(&one, &first).unwrap();
        claim(&two, &second).unwrap();
        erase(&one, &first).unwrap();
        assert!(base.join("1").exists());
        erase(&two, &second).unwrap();
        assert!(!root.path().join("srv").exists());
    }

    #[test]
    fn targets_that_go_at_the_same_time_do_not_trip_over_each_other() {
        const TARGETS: u16 = 8;
        let root = tempfile::tempdir().unwrap();
        for round in 0..40 {
            let base = root.path().join(format!("srv{round}/ost"));
            let targets: Vec<(ProcessDir, ProcessSpec)> = (0..TARGETS)
                .map(|index| {
                    let dir = process(root.path(), &format!("p{round}-{index}"));
                    let spec = object(&base.join(index.to_string()), index);
                    claim(&dir, &spec).unwrap();
                    (dir, spec)
                })
                .collect();
            std::thread::scope(|scope| {
                let erasing: Vec<_> =
                    targets.iter().map(|(dir, spec)| scope.spawn(|| erase(dir, spec))).collect();
                for erased in erasing {
                    erased.join().unwrap().unwrap();
                }
            });
            assert!(!base.parent().unwrap().exists(), "round {round}");
        }
    }

    #[test]
    fn what_a_process_notes_outside_its_folder_is_left_alone() {
        let root = tempfile::tempdir().unwrap();
        let dir = process(root.path(), "p");
        let (folder, other) = (root.path().join("ost"), root.path().join("other"));
        let spec = object(&folder, 0);
        claim(&dir, &spec).unwrap();
        fs_err::create_dir_all(&other).unwrap();
        fs_err::write(other.join("keep"), "x").unwrap();
        std::os::unix::fs::symlink(&other, folder.join("link")).unwrap();
        for path in [other.join("keep"), folder.join("link/keep"), folder.join("../other/keep")] {
            dir.creates(&path).unwrap();
        }
        erase(&dir, &spec).unwrap();
        assert!(other.join("keep").exists());
    }

    #[test]
    fn a_folder_of_others_is_not_claimed() {
        let root = tempfile::tempdir().unwrap();
        let dir = process(root.path(), "p");
        let path = root.path().join("ost");
        claim(&dir, &object(&path, 0)).unwrap();
        claim(&dir, &object(&path, 0)).unwrap();
        let owned = claim(&dir, &object(&path, 1));
        assert!(
            matches!(&owned, Err(ClaimError::Owned { owner, .. }) if owner == "scratch-OST0000"),
            "{owned:?}"
        );
        let full = root.path().join("full");
        fs_err::create_dir(&full).unwrap();
        fs_err::write(full.join("a"), "").unwrap();
        assert!(matches!(claim(&dir, &object(&full, 0)), Err(ClaimError::Foreign { .. })));
        assert!(matches!(claim(&dir, &object(&full.join("a"), 0)), Err(ClaimError::NotFolder { .. })));
        for path in ["relative", "/a/../b"] {
            assert!(matches!(claim(&dir, &object(Path::new(path), 0)), Err(ClaimError::Path { .. })));
        }
    }
}
