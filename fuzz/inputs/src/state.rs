//! States: snapshots and journals.
//!
//! ```text
//! bytes ────────────────────▶ a snapshot as it was found
//! bytes ──── checksum ──────▶ a snapshot whose header and content somebody wrote by hand
//! first line │ other lines ─▶ a snapshot with a journal whose records those are
//! ```
//! Invariant: as for texts, nothing is read but the bytes.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use lustre_model::recorded::{Lineage, World};
use lustre_store::{Disk, DiskFile, Plain, decode, encode, journal_path};
use sha2::{Digest as _, Sha256};

const PATH: &str = "lustre.state";

/// Files that are only read.
struct Files(BTreeMap<PathBuf, Vec<u8>>);

impl Disk for Files {
    fn read(&self, path: &Path) -> io::Result<Option<Vec<u8>>> {
        Ok(self.0.get(path).cloned())
    }

    fn create(&self, _path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn rename(&self, _from: &Path, _to: &Path) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn remove(&self, _path: &Path) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn sync_folder(&self, _path: &Path) -> io::Result<()> {
        Ok(())
    }
}

/// Bytes → recorded world. A state is read, or refused; what is read is written as the same.
pub fn state_file(bytes: &[u8]) {
    read(bytes);
    let sum = hex::encode(Sha256::digest(bytes));
    read(&[bytes, sum.as_bytes(), b"\n"].concat());
    journal(bytes);
}

fn read(bytes: &[u8]) {
    let path = Path::new(PATH);
    let Ok(snapshot) = decode(path, bytes, &Plain) else { return };
    let written = encode(&snapshot.world, snapshot.token, &Plain);
    let again = written.as_deref().map(|bytes| decode(path, bytes, &Plain));
    let same =
        matches!(&again, Ok(Ok(again)) if again.world == snapshot.world && again.token == snapshot.token);
    assert!(same, "a state is read as it was written: {again:?}");
}

/// Reads an empty state with a journal: as it was found, and with each line as a record.
fn journal(bytes: &[u8]) {
    let Ok(state) = encode(&World::new(Lineage("fuzz".to_owned())), 1, &Plain) else { return };
    let framed: Vec<u8> = bytes.split(|byte| *byte == b'\n').flat_map(lustre_store::frame).collect();
    for journal in [bytes.to_vec(), framed] {
        let path = Path::new(PATH);
        let files = [(path.to_owned(), state.clone()), (journal_path(path), journal)];
        if let Ok(recovered) = lustre_store::read(&Files(BTreeMap::from(files)), path, &Plain) {
            let written = encode(&recovered.world, recovered.token, &Plain);
            let again = written.as_deref().map(|bytes| decode(path, bytes, &Plain));
            let same = matches!(&again, Ok(Ok(again)) if again.world == recovered.world);
            assert!(same, "a state is read as it was written: {again:?}");
        }
    }
}
