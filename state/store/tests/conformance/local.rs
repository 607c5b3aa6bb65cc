//! The suite against files in a folder.
//!
//! The disk is made up, so that each of its operations can fail; the lock is a real one.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use lustre_store::{Backend, Disk as _, Local};

use crate::made::{Cut, Made};
use crate::subject::{Break, Seals, Subject, encrypted, plain};

struct Files {
    folder: tempfile::TempDir,
    disk: Mutex<Made>,
    seals: Seals,
}

fn files(seals: Seals) -> Files {
    Files { folder: tempfile::tempdir().expect("a folder"), disk: Mutex::default(), seals }
}

impl Files {
    fn path(&self) -> PathBuf {
        self.folder.path().join("lustre.state")
    }

    fn disk(&self) -> Made {
        let mut disk = self.disk.lock().unwrap();
        // A client that broke is gone, as a killed process is.
        let broken = disk.0.lock().unwrap().fails_at.is_some();
        if broken {
            *disk = disk.after(Cut::Kill);
        }
        disk.clone()
    }
}

impl Subject for Files {
    fn client(&self) -> Box<dyn Backend> {
        Box::new(Local::new(Arc::new(self.disk()), self.path(), (self.seals)()))
    }

    fn breaking(&self, at: usize, _: Break, for_ever: bool) -> Box<dyn Backend> {
        let contents = self.disk().0.lock().unwrap().clone();
        let disk = Made::failing(contents, at, for_ever);
        *self.disk.lock().unwrap() = disk.clone();
        Box::new(Local::new(Arc::new(disk), self.path(), (self.seals)()))
    }

    fn requests(&self) -> usize {
        self.disk.lock().unwrap().0.lock().unwrap().operations
    }

    fn end_locks(&self) {}

    fn snapshot(&self) -> Option<Vec<u8>> {
        self.disk().read(&self.path()).unwrap()
    }

    fn set_snapshot(&self, bytes: Option<&[u8]>) {
        let path: &Path = &self.path();
        match bytes {
            Some(bytes) => self.disk().create(path).and_then(|mut file| file.write(bytes)).unwrap(),
            None => self.disk().remove(path).unwrap(),
        }
    }

    fn retries(&self) -> bool {
        false
    }

    fn unlocks(&self) -> bool {
        false
    }
}

conforms!(|| files(plain));

mod sealed {
    use super::{encrypted, files};

    conforms!(|| files(encrypted));
}
