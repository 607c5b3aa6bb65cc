//! The world outside as functions of a spec saw it: noted while planning, told again while applying.
//!
//! The time of the apply and what is drawn at random are told only then: drawn from a seed that is made of the plan, so
//! that a plan which is carried on after a crash comes to the same values.
//! Invariant: a plan that is carried out reads no file; what functions are told then is what they were told before.

use std::cell::RefCell;

use lustre_language::{Applying, Entry, EntryKind, Moment, World, WorldError};
use lustre_model::plan::{Plan, SealedWorld};
use lustre_model::recorded::World as Recorded;
use lustre_model::resource::{Attributes, CloudQuestion};
use sha2::{Digest as _, Sha256};

/// Passes questions on to the real world and notes the answers.
pub struct Noting<'a> {
    world: &'a dyn World,
    noted: RefCell<SealedWorld>,
}

impl<'a> Noting<'a> {
    /// Starts with nothing noted.
    pub fn new(world: &'a dyn World) -> Self {
        let (working_folder, home_folder) = (world.working_folder(), world.home_folder());
        let planned_at = world.planned_at().map(|moment| moment.0);
        let noted = SealedWorld { working_folder, home_folder, planned_at, ..SealedWorld::default() };
        Self { world, noted: RefCell::new(noted) }
    }

    /// Returns what was noted.
    pub fn noted(&self) -> SealedWorld {
        self.noted.borrow().clone()
    }
}

impl World for Noting<'_> {
    fn read_file(&self, path: &str) -> Result<Vec<u8>, WorldError> {
        let answer = self.world.read_file(path);
        let text = answer.as_ref().ok().map(hex::encode);
        self.noted.borrow_mut().files.insert(path.to_owned(), text);
        answer
    }

    fn file_exists(&self, path: &str) -> Result<bool, WorldError> {
        let answer = self.world.file_exists(path);
        if let Ok(exists) = answer {
            self.noted.borrow_mut().exists.insert(path.to_owned(), exists);
        }
        answer
    }

    fn list_folder(&self, path: &str) -> Result<Vec<Entry>, WorldError> {
        let answer = self.world.list_folder(path);
        let entries = answer.as_ref().ok().map(|entries| {
            let entry = |entry: &Entry| (entry.name.clone(), entry.kind == EntryKind::Folder);
            entries.iter().map(entry).collect()
        });
        self.noted.borrow_mut().folders.insert(path.to_owned(), entries);
        answer
    }

    fn planned_at(&self) -> Option<Moment> {
        self.world.planned_at()
    }

    fn applying(&self) -> Option<Applying> {
        None
    }

    fn read_state(&self, path: &str) -> Result<Recorded, WorldError> {
        // Of a state only what data takes from it is kept; that is in the plan already.
        self.world.read_state(path)
    }

    fn read_cloud(&self, question: &CloudQuestion) -> Result<Attributes, WorldError> {
        // What was found is in the plan.
        self.world.read_cloud(question)
    }

    fn working_folder(&self) -> String {
        self.world.working_folder()
    }

    fn home_folder(&self) -> Option<String> {
        self.world.home_folder()
    }
}

/// Tells what was noted, and what is known while the plan is carried out; nothing else.
pub struct Telling<'a> {
    noted: &'a SealedWorld,
    applying: Option<Applying>,
}

impl<'a> Telling<'a> {
    /// Tells what a plan noted; `began` is when its apply began.
    pub fn new(plan: &'a Plan, began: Option<Moment>) -> Self {
        let parts = plan.parts();
        let applying = began.map(|began| {
            let serial = parts.serial.to_string();
            let planned_at = format!("{:?}", parts.spec.world.planned_at);
            let pieces = [&parts.lineage.0, &serial, &parts.spec.config_hash, &planned_at];
            let mut hash = Sha256::new();
            for piece in pieces {
                hash.update((piece.len() as u64).to_le_bytes());
                hash.update(piece.as_bytes());
            }
            Applying { began, seed: hash.finalize().into() }
        });
        Self { noted: &parts.spec.world, applying }
    }
}

impl World for Telling<'_> {
    fn read_file(&self, path: &str) -> Result<Vec<u8>, WorldError> {
        let text = self.noted.files.get(path).and_then(Option::as_ref).ok_or(WorldError::NotFound)?;
        hex::decode(text).map_err(|_| WorldError::NotFound)
    }

    fn file_exists(&self, path: &str) -> Result<bool, WorldError> {
        self.noted.exists.get(path).copied().ok_or(WorldError::NotFound)
    }

    fn list_folder(&self, path: &str) -> Result<Vec<Entry>, WorldError> {
        let entries = self.noted.folders.get(path).and_then(Option::as_ref).ok_or(WorldError::NotFound)?;
        let entry = |(name, is_folder): (&String, &bool)| Entry {
            name: name.clone(),
            kind: if *is_folder { EntryKind::Folder } else { EntryKind::File },
        };
        Ok(entries.iter().map(entry).collect())
    }

    fn planned_at(&self) -> Option<Moment> {
        self.noted.planned_at.map(Moment)
    }

    fn applying(&self) -> Option<Applying> {
        self.applying
    }

    fn working_folder(&self) -> String {
        self.noted.working_folder.clone()
    }

    fn home_folder(&self) -> Option<String> {
        self.noted.home_folder.clone()
    }
}
