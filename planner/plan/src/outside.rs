//! The world outside as functions of a spec saw it: noted while planning, told again while applying.
//!
//! Invariant: a plan that is carried out reads no file; what functions are told then is what they were told before.

use std::cell::RefCell;

use lustre_language::{World, WorldError};
use lustre_model::plan::SealedWorld;
use lustre_model::recorded::World as Recorded;

/// Passes questions on to the real world and notes the answers.
pub struct Noting<'a> {
    world: &'a dyn World,
    noted: RefCell<SealedWorld>,
}

impl<'a> Noting<'a> {
    /// Starts with nothing noted.
    pub fn new(world: &'a dyn World) -> Self {
        let (working_folder, home_folder) = (world.working_folder(), world.home_folder());
        let noted = SealedWorld { working_folder, home_folder, ..SealedWorld::default() };
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

    fn read_state(&self, path: &str) -> Result<Recorded, WorldError> {
        // Of a state only what data takes from it is kept; that is in the plan already.
        self.world.read_state(path)
    }

    fn working_folder(&self) -> String {
        self.world.working_folder()
    }

    fn home_folder(&self) -> Option<String> {
        self.world.home_folder()
    }
}

/// Tells what was noted, and nothing else.
pub struct Telling<'a>(pub &'a SealedWorld);

impl World for Telling<'_> {
    fn read_file(&self, path: &str) -> Result<Vec<u8>, WorldError> {
        let text = self.0.files.get(path).and_then(Option::as_ref).ok_or(WorldError::NotFound)?;
        hex::decode(text).map_err(|_| WorldError::NotFound)
    }

    fn file_exists(&self, path: &str) -> Result<bool, WorldError> {
        self.0.exists.get(path).copied().ok_or(WorldError::NotFound)
    }

    fn working_folder(&self) -> String {
        self.0.working_folder.clone()
    }

    fn home_folder(&self) -> Option<String> {
        self.0.home_folder.clone()
    }
}
