//! Reading of a program: the root's folder, then those of the modules that are called, each once.
//!
//! The folders themselves come through [`Folders`]; nothing is opened here.
//! Invariant: a module is checked after all modules that it calls, so that what it refers to in them is known.

use std::collections::HashMap;
use std::sync::Arc;

use lustre_model::diagnostic::{Diagnostic, Diagnostics, Sources, Span};
use thiserror::Error;

use crate::graph::PLACES_MAX;
use crate::program::call::{Callee, ModuleCall};
use crate::program::source::{self, Remote, Source};
use crate::program::{Module, ModuleId, Program};
use crate::syntax;

/// Ends of names of files that are beside a spec and not in it.
pub const NOT_SPEC: [&str; 3] = [".vars.hcl", ".test.hcl", ".lock.hcl"];

/// Most folders of modules in a program.
const MODULES_MAX: usize = 1000;

/// Most calls of modules within each other.
pub(crate) const MODULE_DEPTH_MAX: usize = 32;

/// Why the files of a folder cannot be had; the text is for the user.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum FolderError {
    /// There is no such folder.
    #[error("there is no folder {0}")]
    NotFound(String),
    /// It is there, but holds no file of a spec.
    #[error("{0} holds no *.hcl file")]
    Empty(String),
    /// A symbolic link leads out of the spec's folders.
    #[error("{path} leads to {target}, outside of the spec's folders")]
    Outside {
        /// What was followed.
        path: String,
        /// Where it leads.
        target: String,
    },
    /// The system refused.
    #[error("{path} cannot be read: {cause}")]
    Refused {
        /// What.
        path: String,
        /// Why.
        cause: String,
    },
}

/// Gives the files of a spec's folders.
pub trait Folders {
    /// Returns the files of a folder, by path from the root's folder, with their texts; in the order of their names.
    ///
    /// `folder` is `.` or a path with `/` from the root's folder, without `.` inside and with `..` only in front.
    fn files(&self, folder: &str) -> Result<Vec<(String, String)>, FolderError>;

    /// Returns whether there is such a folder, with files of a spec in it or not.
    fn has(&self, folder: &str) -> bool;
}

/// Files that were read before.
struct Texts(HashMap<String, Vec<(String, String)>>);

impl Texts {
    fn new(files: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut folders: HashMap<String, Vec<(String, String)>> = HashMap::new();
        for (path, text) in files {
            let folder = path.rsplit_once('/').map_or(".", |(folder, _)| folder).to_owned();
            folders.entry(folder).or_default().push((path, text));
        }
        Self(folders)
    }
}

impl Folders for Texts {
    fn has(&self, folder: &str) -> bool {
        self.0.keys().any(|known| known == folder || known.starts_with(&format!("{folder}/")))
    }

    fn files(&self, folder: &str) -> Result<Vec<(String, String)>, FolderError> {
        let files = self.0.get(folder).cloned();
        match files {
            None if folder == "." => Ok(Vec::new()),
            None => Err(FolderError::NotFound(folder.to_owned())),
            Some(files) => Ok(files),
        }
    }
}

impl Program {
    /// Reads the files of a spec, given as path from its folder and text, with the kinds of resources that exist.
    ///
    /// Files in other folders are those of modules. Files named `*.vars.hcl` and `*.test.hcl` are left out. Whatever is
    /// good in a folder with errors is in the program, so that evaluation finds further errors.
    pub fn load(files: impl IntoIterator<Item = (String, String)>, kinds: &[&str]) -> (Self, Diagnostics) {
        // Texts always have a root folder, perhaps an empty one.
        Self::read(&Texts::new(files), kinds).unwrap_or_else(|_| (Self::empty(kinds), Diagnostics::new()))
    }

    /// Reads a spec and the modules that it calls out of their folders; fails when the root's cannot be read.
    pub fn read(folders: &dyn Folders, kinds: &[&str]) -> Result<(Self, Diagnostics), FolderError> {
        let kinds: Arc<[String]> = kinds.iter().map(|kind| (*kind).to_owned()).collect();
        let files = folders.files(".")?;
        let mut loader = Loader {
            folders,
            kinds,
            program: Self { sources: Sources::default(), modules: Vec::new(), remotes: Vec::new() },
            by_folder: HashMap::new(),
            chain: Vec::new(),
            found: Diagnostics::new(),
        };
        loader.module(".", files);
        loader.count_places();
        Ok((loader.program, loader.found))
    }

    fn empty(kinds: &[&str]) -> Self {
        let kinds = kinds.iter().map(|kind| (*kind).to_owned()).collect();
        let modules = vec![Module::new(".", kinds)];
        Self { sources: Sources::default(), modules, remotes: Vec::new() }
    }
}

struct Loader<'a> {
    folders: &'a dyn Folders,
    kinds: Arc<[String]>,
    program: Program,
    by_folder: HashMap<String, ModuleId>,
    /// Folders that are being read, and the name of the call that led into each.
    chain: Vec<(String, String)>,
    found: Diagnostics,
}

impl Loader<'_> {
    /// Takes in the files of one folder, and before it is checked those of the modules that it calls.
    fn module(&mut self, folder: &str, files: Vec<(String, String)>) -> ModuleId {
        let mut module = Module::new(folder, Arc::clone(&self.kinds));
        for (name, text) in files {
            if NOT_SPEC.iter().any(|end| name.ends_with(end)) {
                continue;
            }
            let id = self.program.sources.add(name, text);
            let before = self.found.len();
            let body = syntax::parse(&self.program.sources, id, &mut self.found);
            module.incomplete |= self.found.len() > before;
            module.declare(body, &mut self.found);
        }
        if folder != "." {
            let settings = &mut module.settings;
            self.found.extend(settings.state.take().into_iter().chain(settings.encryption.take()).map(
                |block| {
                    let detail =
                        "Where the state is kept, and how, is said by the folder that lustre runs in.";
                    Diagnostic::warning("W0224", format!("`{}` of a module does nothing", block.kind))
                        .detail(detail)
                        .at(block.header_span)
                },
            ));
        }
        let mut calls = std::mem::take(&mut module.calls);
        for call in calls.values_mut() {
            let Some((source, span)) = call.source.clone() else { continue };
            call.callee = self.call(folder, (&call.name, &source, span));
        }
        module.calls = calls;
        module.check(&mut self.found);
        module.mark_cycles(&mut self.found);
        module.check_ephemeral(&mut self.found);
        module.check_passphrases(&mut self.found);
        let id = ModuleId(self.program.modules.len());
        self.by_folder.insert(folder.to_owned(), id);
        self.program.modules.push(module);
        id
    }

    /// Refuses calls that multiply beyond all measure: modules that each call several others, many levels deep.
    fn count_places(&mut self) {
        let mut places: Vec<usize> = Vec::new();
        for module in &self.program.modules {
            let callees = module.calls.values().filter_map(|call| call.callee.as_ref());
            // Modules stand behind those that they call.
            let below = callees.map(|callee| places.get(callee.module.0).copied().unwrap_or(0));
            places.push(below.fold(1, usize::saturating_add));
        }
        // Of the root's calls, the first of those that lead to the most is told.
        let Some((root, all)) = self.program.modules.last().zip(places.last()) else { return };
        if *all > PLACES_MAX {
            let below =
                |call: &&ModuleCall| call.callee.as_ref().and_then(|callee| places.get(callee.module.0));
            let largest = root.calls.values().rev().max_by_key(below);
            let detail = format!("Through all levels, at most {PLACES_MAX} calls lead to modules.");
            let diagnostic = Diagnostic::error("E0227", "too many calls of modules").detail(detail);
            let place = largest.map(|call| call.span);
            self.found.push(place.into_iter().fold(diagnostic, Diagnostic::at));
        }
    }

    /// Notes a repository; returns whether its files are there.
    fn note(&mut self, remote: Remote) -> bool {
        let there = self.folders.has(&remote.folder);
        if !self.program.remotes.iter().any(|known| known.source == remote.source) {
            self.program.remotes.push(remote);
        }
        there
    }

    fn call(&mut self, from: &str, (name, source, span): (&str, &str, Span)) -> Option<Callee> {
        let refuse = |summary: String, hint: &str| {
            let diagnostic = Diagnostic::error("E0225", summary).at(span);
            if hint.is_empty() { diagnostic } else { diagnostic.hint(hint) }
        };
        let (folder, remote) = match source::read(from, source, span) {
            Ok(Source::Local(folder)) => (folder, None),
            Ok(Source::Remote(remote, folder)) => (folder, Some(remote)),
            Err(hint) => {
                self.found.push(refuse(format!("{source:?} is no source of a module"), hint));
                return None;
            }
        };
        let installed = remote.map(|remote| self.note(remote));
        let callee = |loader: &Self, id: ModuleId| Callee::new(id, loader.program.module(id));
        if let Some(id) = self.by_folder.get(&folder) {
            return Some(callee(self, *id));
        }
        let from_chain = self.chain.iter().position(|(open, _)| *open == folder);
        if from_chain.is_some() || folder == "." {
            let names = self.chain.iter().skip(from_chain.map_or(0, |at| at + 1)).map(|(_, call)| call);
            let names: Vec<String> =
                names.map(String::as_str).chain([name]).map(|name| format!("module.{name}")).collect();
            let detail = format!("From {folder}, {} leads to {folder} again.", names.join(" → "));
            let diagnostic = Diagnostic::error("E0226", "modules call each other without end");
            self.found.push(diagnostic.detail(detail).at(span));
            return None;
        }
        if self.chain.len() >= MODULE_DEPTH_MAX || self.by_folder.len() + self.chain.len() >= MODULES_MAX {
            let summary = "too many modules";
            let detail = format!(
                "A spec has at most {MODULES_MAX} folders of modules, called at most {MODULE_DEPTH_MAX} deep."
            );
            self.found.push(Diagnostic::error("E0227", summary).detail(detail).at(span));
            return None;
        }
        match self.folders.files(&folder) {
            Ok(files) => {
                self.chain.push((folder.clone(), name.to_owned()));
                let id = self.module(&folder, files);
                self.chain.pop();
                Some(callee(self, id))
            }
            Err(FolderError::NotFound(_)) if installed == Some(false) => {
                let summary = format!("`module.{name}` is not installed");
                self.found.push(refuse(summary, "Run `lustre init`."));
                None
            }
            Err(error) => {
                self.found.push(refuse(format!("`module.{name}` cannot be read: {error}"), ""));
                None
            }
        }
    }
}
