//! The spec of the folder with values for its variables, ready to be planned.
//!
//! Precedence, later wins: `LUSTRE_VAR_x`, `lustre.vars.hcl`, `*.auto.vars.hcl`, then `-var` and `-var-file` in the order
//! they were given. What still has no value is asked for, when there is somebody to ask.
//! Invariant: all mistakes of all files are in one list.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::Arc;

use lustre_language::{FolderError, Folders as _, Given, Input, Origin, Program, Scope};
use lustre_model::diagnostic::{Diagnostic, Diagnostics, Sources};
use lustre_model::plan::SealedSpec;
use lustre_plan::KINDS;

use super::encryption::{self, Plans};
use super::init;
use super::place::{self, Site};
use super::recorded::StatePlace;
use crate::cli::{Variable, VariableFlags};
use crate::exit::Failure;
use crate::files::{self, Folder, SpecFolders, Text};
use crate::terminal::Terminal;

/// How variables of the environment begin.
const ENVIRONMENT: &str = "LUSTRE_VAR_";

/// A spec that was read.
pub struct Spec {
    /// Its texts, and those of its modules, by path from its folder.
    pub files: Vec<Text>,
    /// Its blocks.
    pub program: Program,
    /// Values of variables, the weakest first.
    pub inputs: Vec<Input>,
    /// Mistakes so far.
    pub diagnostics: Diagnostics,
    /// Files that functions may read.
    pub folder: Folder,
}

/// Whether somebody can be asked for values.
#[derive(Debug, Clone, Copy)]
pub enum Asking {
    /// Here.
    Allowed(Terminal),
    /// Nobody.
    Refused,
}

/// Reads the spec of the working folder.
pub fn load(flags: &VariableFlags, asking: Asking) -> Result<Spec, Failure> {
    let root = std::env::current_dir()?;
    let folders = SpecFolders::new(root.clone());
    let (mut program, mut diagnostics) =
        Program::read(&folders, &KINDS).map_err(|error| Failure::File(io::Error::other(error)))?;
    diagnostics.extend(init::verify(&root, &mut program)?);
    let (texts, folder) = (folders.into_texts(), Folder::new(root));
    let mut spec = Spec { files: texts, program, inputs: Vec::new(), diagnostics, folder };
    spec.take_given(flags)?;
    if let Asking::Allowed(terminal) = asking {
        spec.ask(terminal)?;
    }
    Ok(spec)
}

/// Reads a folder as a spec of its own, without values for its variables; or says why it cannot be read.
pub fn load_folder(folder: &str) -> Result<Result<Spec, FolderError>, Failure> {
    let root = std::env::current_dir()?.join(folder);
    if !root.is_dir() {
        return Ok(Err(FolderError::NotFound(folder.to_owned())));
    }
    let folders = SpecFolders::new(root.clone());
    let (mut program, mut diagnostics) = match Program::read(&folders, &KINDS) {
        Ok(read) => read,
        Err(error) => return Ok(Err(error)),
    };
    diagnostics.extend(init::verify(&root, &mut program)?);
    let files = folders.into_texts();
    if files.is_empty() {
        return Ok(Err(FolderError::Empty(folder.to_owned())));
    }
    Ok(Ok(Spec { files, program, inputs: Vec::new(), diagnostics, folder: Folder::new(root) }))
}

impl Spec {
    /// Returns the same spec with other values for its variables, and without what was found wrong before.
    pub fn with_inputs(&self, inputs: Vec<Input>) -> Self {
        Self {
            files: self.files.clone(),
            program: self.program.clone(),
            inputs,
            diagnostics: Diagnostics::new(),
            folder: self.folder.clone(),
        }
    }

    /// Takes values from the environment, from files that need not be named, and from flags.
    fn take_given(&mut self, flags: &VariableFlags) -> Result<(), Failure> {
        self.take_environment();
        for (name, text) in files::values(Path::new("."))? {
            self.take_file(&name, &text);
        }
        let given = |name: &String| {
            flags.given.iter().any(|it| matches!(it, Variable::File(path) if path.ends_with(name)))
        };
        let unread = files::unread_values(Path::new("."))?.into_iter().filter(|name| !given(name));
        self.diagnostics.extend(unread.map(|name| {
            let stem = name.trim_end_matches(".json").trim_end_matches(".tfvars");
            let ours =
                if stem == "terraform" { "lustre.vars.hcl".to_owned() } else { format!("{stem}.vars.hcl") };
            let hint = if name.ends_with(".json") {
                format!("Write its values into {ours}, as `name = value`.")
            } else {
                format!("Name it {ours}, or give it with -var-file={name}.")
            };
            Diagnostic::warning("W0252", format!("{name} is not read")).hint(hint)
        }));
        for given in &flags.given {
            match given {
                Variable::Assignment(text) => self.take_flag(text),
                Variable::File(path) => self.take_file(&path.to_string_lossy(), &files::text(path)?),
            }
        }
        Ok(())
    }

    fn take_environment(&mut self) {
        for variable in self.program.variables() {
            let name = format!("{ENVIRONMENT}{}", variable.name);
            if let Ok(text) = std::env::var(&name) {
                let (given, origin) = (Given::Text(text), Origin::Environment(name));
                self.inputs.push(Input { name: variable.name.clone(), given, origin });
            }
        }
    }

    fn take_file(&mut self, name: &str, text: &str) {
        let (inputs, found) = self.program.read_values(name, text);
        self.inputs.extend(inputs);
        self.diagnostics.extend(found);
    }

    fn take_flag(&mut self, text: &str) {
        if let Some((name, value)) = text.split_once('=') {
            let (name, given) = (name.trim().to_owned(), Given::Text(value.to_owned()));
            self.inputs.push(Input { name, given, origin: Origin::CommandLine });
        }
    }

    /// Asks for the variables that must have a value and have none.
    fn ask(&mut self, terminal: Terminal) -> Result<(), Failure> {
        let missing = self.program.variables().filter(|variable| {
            variable.is_required() && !self.inputs.iter().any(|input| input.name == variable.name)
        });
        let mut answers = Vec::new();
        for variable in missing {
            let about = variable.description.as_ref().map(|text| format!("  {text}\n")).unwrap_or_default();
            let question = format!("var.{}\n{about}\n  Enter a value: ", variable.name);
            let answer =
                if variable.sensitive { terminal.ask_secret(&question)? } else { terminal.ask(&question)? };
            let Some(answer) = answer else { break };
            terminal.tell("");
            let (given, origin) = (Given::Text(answer), Origin::CommandLine);
            answers.push(Input { name: variable.name.clone(), given, origin });
        }
        self.inputs.extend(answers);
        Ok(())
    }

    /// Returns where the state is and what seals it, and fails with all mistakes found so far when the spec says it wrongly.
    pub fn place(&self) -> Result<StatePlace, Failure> {
        let read = |scope: &Scope<'_>| {
            let Site { place, written } = place::of(scope, self.program.sources())?;
            Ok(StatePlace { place, seal: encryption::state(scope)?, written: Some(written) })
        };
        let found = self.setting(read)?;
        self.folder.read_under(Arc::clone(&found.seal));
        Ok(found)
    }

    /// Returns where the state is, for who reads nothing of it: no key is asked for.
    fn unread_place(&self) -> Result<StatePlace, Failure> {
        self.setting(|scope| {
            let Site { place, written } = place::of(scope, self.program.sources())?;
            Ok(StatePlace { written: Some(written), ..StatePlace::plain(place) })
        })
    }

    /// Returns what seals plan files, and who signs them.
    pub fn plans(&self) -> Result<Plans, Failure> {
        self.setting(encryption::plans)
    }

    /// Returns what is wrong with the block `encryption` by itself; neither keys nor values of variables are asked for.
    pub fn check_encryption(&self) -> Diagnostics {
        encryption::check(&Scope::new(&self.program, &self.folder, &self.inputs))
    }

    /// Reads blocks of `lustre`.
    fn setting<T>(&self, read: impl Fn(&Scope<'_>) -> Result<T, Diagnostics>) -> Result<T, Failure> {
        let scope = Scope::new(&self.program, &self.folder, &self.inputs);
        // Mistakes of variables are told when the spec is planned; here only those of the blocks count.
        scope.take_diagnostics();
        read(&scope).map_err(|found| self.failure(found))
    }

    /// Fails with what was found before and this.
    fn failure(&self, more: Diagnostics) -> Failure {
        let mut diagnostics = self.diagnostics.clone();
        diagnostics.extend(more);
        Failure::Diagnosed { diagnostics, sources: Box::new(self.program.sources().clone()) }
    }
}

/// Returns where the state of the working folder is; its variables need no values for that, unless it is encrypted by them.
pub fn place() -> Result<StatePlace, Failure> {
    placed(Spec::place)
}

/// Returns where the state of the working folder is, for who reads nothing of it.
pub fn unread_place() -> Result<StatePlace, Failure> {
    placed(Spec::unread_place)
}

fn placed(place: impl Fn(&Spec) -> Result<StatePlace, Failure>) -> Result<StatePlace, Failure> {
    let spec = load(&VariableFlags::default(), Asking::Refused)?;
    let place = place(&spec)?;
    // With mistakes in the spec the state may be elsewhere; "nothing is there" would be a lie.
    if spec.diagnostics.has_errors() && !place.backend()?.exists()? {
        return Err(spec.failure(Diagnostics::new()));
    }
    Ok(place)
}

/// Returns what seals plan files by the spec of the working folder, and who signs them. Modules and hosts do not matter.
///
/// A spec that cannot be parsed might demand a signature, so that it is an error.
pub fn folder_plans(flags: &VariableFlags) -> Result<Plans, Failure> {
    let root = std::env::current_dir()?;
    let files =
        SpecFolders::new(root.clone()).files(".").map_err(|error| Failure::File(io::Error::other(error)))?;
    let (program, found) = Program::load(files.clone(), &KINDS);
    let incomplete = program.is_incomplete();
    let diagnostics = if incomplete { found } else { Diagnostics::new() };
    let mut spec = Spec { files, program, inputs: Vec::new(), diagnostics, folder: Folder::new(root) };
    if incomplete {
        return Err(spec.failure(Diagnostics::new()));
    }
    spec.take_given(flags)?;
    spec.diagnostics = Diagnostics::new();
    spec.plans()
}

/// Returns where the state is that a sealed spec names, and what seals it.
///
/// Ephemeral variables are not in a plan: their values come from where they came from when it was made. No other may be given.
pub fn sealed_place(sealed: &SealedSpec, flags: &VariableFlags) -> Result<StatePlace, Failure> {
    let texts = sealed.sources.iter().map(|source| (source.path.clone(), source.text.clone()));
    let files: Vec<Text> = texts.collect();
    let (program, diagnostics) = Program::load(files.clone(), &KINDS);
    let folder = Folder::new(std::env::current_dir()?);
    let mut spec = Spec { files, inputs: Vec::new(), program, diagnostics: Diagnostics::new(), folder };
    let ephemeral: BTreeSet<String> =
        spec.program.variables().filter(|it| it.ephemeral).map(|it| it.name.clone()).collect();
    for given in &flags.given {
        match given {
            Variable::Assignment(text)
                if text.split_once('=').is_some_and(|(name, _)| ephemeral.contains(name.trim())) => {}
            Variable::Assignment(_) => return Err(Failure::Sealed { flag: "-var" }),
            Variable::File(_) => return Err(Failure::Sealed { flag: "-var-file" }),
        }
    }
    spec.take_given(flags)?;
    spec.inputs.retain(|input| ephemeral.contains(&input.name));
    spec.inputs.extend(sealed.variables.iter().map(|(name, value)| Input {
        name: name.clone(),
        given: Given::Value(value.clone()),
        origin: Origin::CommandLine,
    }));
    spec.diagnostics = diagnostics;
    spec.place()
}

/// Returns the texts of a spec for whoever draws its diagnostics.
pub fn sources(spec: &Spec) -> Box<Sources> {
    Box::new(spec.program.sources().clone())
}
