//! A disk that is made up: it knows what was written, what was synced, and which names are durable.
//!
//! Invariant: after a cut nothing is there that a real disk could not show.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use lustre_store::{Disk, DiskFile};

#[derive(Debug, Clone, Default)]
struct Inode {
    now: Vec<u8>,
    durable: Vec<u8>,
}

#[derive(Debug, Clone, Default)]
pub struct Contents {
    inodes: Vec<Inode>,
    names: BTreeMap<PathBuf, usize>,
    durable_names: BTreeMap<PathBuf, usize>,
    pub operations: usize,
    /// The operation that fails; with `for_ever`, all after it too.
    pub fails_at: Option<usize>,
    for_ever: bool,
}

#[derive(Clone, Default)]
pub struct Made(pub Arc<Mutex<Contents>>);

impl Made {
    /// Counts an operation; `Err` when it is the one that fails.
    fn step(&self) -> (std::sync::MutexGuard<'_, Contents>, io::Result<()>) {
        let mut contents = self.0.lock().unwrap();
        let at = contents.operations;
        contents.operations += 1;
        let for_ever = contents.for_ever;
        let fails = contents.fails_at.is_some_and(|bad| at == bad || (for_ever && at > bad));
        (contents, if fails { Err(io::Error::other("made to fail")) } else { Ok(()) })
    }

    pub fn failing(contents: Contents, at: usize, for_ever: bool) -> Self {
        let contents = Contents { operations: 0, fails_at: Some(at), for_ever, ..contents };
        Self(Arc::new(Mutex::new(contents)))
    }

    /// The disk as it is found after the cut.
    pub fn after(&self, cut: Cut) -> Self {
        let mut contents = self.0.lock().unwrap().clone();
        contents.fails_at = None;
        for inode in &mut contents.inodes {
            inode.now = match cut {
                Cut::Kill => inode.now.clone(),
                Cut::Power | Cut::PowerAfterNames => inode.durable.clone(),
                Cut::PowerHalfWritten => half_written(inode),
                Cut::PowerZeros => zeros(inode),
            };
            inode.durable = inode.now.clone();
        }
        match cut {
            Cut::Kill | Cut::PowerAfterNames => contents.durable_names = contents.names.clone(),
            Cut::Power | Cut::PowerHalfWritten | Cut::PowerZeros => {
                contents.names = contents.durable_names.clone()
            }
        }
        Self(Arc::new(Mutex::new(contents)))
    }
}

fn half_written(inode: &Inode) -> Vec<u8> {
    if !inode.now.starts_with(&inode.durable) {
        return inode.durable.clone();
    }
    inode.now[..(inode.durable.len() + inode.now.len()) / 2].to_vec()
}

/// The size reached the disk, the bytes did not.
fn zeros(inode: &Inode) -> Vec<u8> {
    let mut bytes = inode.durable.clone();
    bytes.resize(inode.now.len().max(bytes.len()), 0);
    bytes
}

#[derive(Debug, Clone, Copy)]
pub enum Cut {
    Kill,
    Power,
    PowerAfterNames,
    PowerHalfWritten,
    PowerZeros,
}

pub const CUTS: [Cut; 5] =
    [Cut::Kill, Cut::Power, Cut::PowerAfterNames, Cut::PowerHalfWritten, Cut::PowerZeros];

impl Disk for Made {
    fn read(&self, path: &Path) -> io::Result<Option<Vec<u8>>> {
        let contents = self.0.lock().unwrap();
        Ok(contents.names.get(path).map(|inode| contents.inodes[*inode].now.clone()))
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let (mut contents, outcome) = self.step();
        outcome?;
        let inode = match contents.names.get(path) {
            Some(inode) => *inode,
            None => {
                contents.inodes.push(Inode::default());
                contents.inodes.len() - 1
            }
        };
        contents.inodes[inode].now.clear();
        contents.names.insert(path.to_owned(), inode);
        Ok(Box::new(MadeFile { disk: self.clone(), inode }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let (mut contents, outcome) = self.step();
        outcome?;
        let inode = contents.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        contents.names.insert(to.to_owned(), inode);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let (mut contents, outcome) = self.step();
        outcome?;
        contents.names.remove(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(())
    }

    fn sync_folder(&self, _path: &Path) -> io::Result<()> {
        let (mut contents, outcome) = self.step();
        outcome?;
        contents.durable_names = contents.names.clone();
        Ok(())
    }
}

struct MadeFile {
    disk: Made,
    inode: usize,
}

impl DiskFile for MadeFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let (mut contents, outcome) = self.disk.step();
        let written = if outcome.is_ok() { bytes } else { &bytes[..bytes.len() / 2] };
        contents.inodes[self.inode].now.extend_from_slice(written);
        outcome
    }

    fn sync(&mut self) -> io::Result<()> {
        let (mut contents, outcome) = self.disk.step();
        outcome?;
        let inode = &mut contents.inodes[self.inode];
        inode.durable = inode.now.clone();
        Ok(())
    }
}
